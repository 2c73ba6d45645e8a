"""Seeds: whole numbers of any size. Different seeds start different runs."""

from __future__ import annotations

import hashlib
import operator
import secrets
from typing import Any

import numpy as np

Seed = int | np.random.SeedSequence | None
_HASHED = 2**63  # seeds from 0 to below this are used directly; all others are hashed


def seed_number(seed: Any) -> int:
    """Returns a seed as an int, which reproduces the run.

    seed: a whole number of any size and sign; a `np.random.SeedSequence`, which is hashed to a
      number from 2¹²⁷; or None, for which a new number below 2⁵³ is drawn.

    Raises TypeError for anything else: a float, a bool, a text, a key or a generator.
    """
    if seed is None:
        return secrets.randbits(53)  # JSON readers that use float64 represent it exactly
    if isinstance(seed, np.random.SeedSequence):
        return _hash_number("SeedSequence", *seed.generate_state(8).tolist())
    try:
        if isinstance(seed, bool):
            raise TypeError
        return operator.index(seed)
    except TypeError:
        raise TypeError(
            "a seed is a whole number, a np.random.SeedSequence or None for a new one, not "
            f"{seed!r:.80} of type {type(seed).__name__}"
        ) from None


def numpy_seed(seed: Any) -> int:
    """Returns a seed for numpy's generators, 0 or more; different for different seeds.

    Raises TypeError as `seed_number` does.
    """
    number = seed_number(seed)
    return number if number >= 0 else _hash_number("int", number)


def seed_words(seed: Any) -> tuple[int, int]:
    """Returns a seed as two numbers of 32 bits, the high one first, for a jax key.

    Seeds from 0 to 2⁶³ - 1 are the number itself. All others are hashed to a number with the first
    bit set, so that they differ from these. Raises TypeError as `seed_number` does.
    """
    number = seed_number(seed)
    if not 0 <= number < _HASHED:
        number = _HASHED | _hash_number("int", number) % _HASHED
    return number >> 32, number & 0xFFFFFFFF


def _hash_number(*description: str | int) -> int:
    """Returns an int from 2¹²⁷ to 2¹²⁸ - 1: 127 bits of the SHA-256 of a description."""
    digest = hashlib.sha256(repr(description).encode()).digest()
    return 2**127 | int.from_bytes(digest[:16], "big")
