"""Arrays of numbers as the operators over vectors need them: of floats, and within their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Numbers = float | Sequence[float] | np.ndarray  # one for all entries of a genome, or one for each
Limits = tuple[Numbers, Numbers]  # (low, high); -inf or inf where there is none
Outside = Literal["reflect", "clip"]


def check(limits: Limits | None, outside: Outside) -> None:
    """Raises ValueError unless low < high everywhere and `outside` is one of the two ways."""
    if outside not in ("reflect", "clip"):
        raise ValueError(f"outside is 'reflect' or 'clip', not {outside!r}")
    if limits is None:
        return
    if len(limits) != 2:
        raise ValueError(f"limits is a pair (low, high), each one number or one for each entry, not {limits!r}")
    low, high = (np.asarray(limit, np.float64) for limit in limits)
    if not np.all(low < high):
        raise ValueError(f"limits is (low, high) with low < high in every entry, not {limits!r}")


def floats(genomes: Any, name: str) -> np.ndarray:
    """The genomes as the array of floats they are, or an error that says what they are instead."""
    if not isinstance(genomes, np.ndarray | jax.Array):
        raise TypeError(
            f"the operator {name!r} changes arrays of floats, and these genomes are a {type(genomes)}: "
            "take an operator for such genomes, or give the domain `operators` of its own, as qdkit.domains.Words has"
        )
    if not jnp.issubdtype(genomes.dtype, jnp.floating):
        raise TypeError(
            f"the operator {name!r} changes arrays of floats, and these genomes are {genomes.dtype}: "
            "have the domain's seeds made as floats"
        )
    return np.asarray(genomes)


def spread(numbers: Numbers, genomes: jax.Array | np.ndarray, what: str) -> np.ndarray:
    """`numbers` as `[1, ...]`, of the shape and dtype of one of the genomes `[n, ...]`."""
    given = np.asarray(numbers, genomes.dtype)
    try:
        return np.broadcast_to(given, genomes.shape[1:])[None]
    except ValueError:
        raise ValueError(
            f"{what} has shape {given.shape} and a genome {genomes.shape[1:]}: give one number, or one for each entry"
        ) from None


def walls(limits: Limits | None, genomes: jax.Array | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(low, high)` spread over a genome; rounded inwards where the genomes' dtype is coarser than the limits."""
    low, high = (-np.inf, np.inf) if limits is None else limits
    bottom, top = spread(low, genomes, "the lower limit"), spread(high, genomes, "the upper limit")
    bottom = np.where(bottom < np.asarray(low, np.float64), np.nextafter(bottom, np.inf), bottom)
    top = np.where(top > np.asarray(high, np.float64), np.nextafter(top, -np.inf), top)
    return bottom.astype(genomes.dtype), top.astype(genomes.dtype)


def within(genome: jax.Array, low: Any, high: Any, outside: Outside | None) -> jax.Array:
    """The genomes, with what lies beyond a limit reflected at it, or set onto it ("clip"); None if there are no limits.

    Reflection folds the line, as between two mirrors, so that it takes one step from any distance;
    an infinite entry, which has no reflection, is set onto the limit.
    """
    if outside is None:  # the remainder by infinity, of every entry, took most of the time of a step
        return genome
    if outside == "reflect":
        width = high - low
        phase = jnp.mod(genome - low, 2 * width)
        between = low + width - jnp.abs(phase - width)
        above, below = low + jnp.abs(genome - low), high - jnp.abs(high - genome)
        folded = jnp.where(jnp.isfinite(width), between, jnp.where(jnp.isfinite(low), above, below))
        beyond = (genome < low) | (genome > high)
        genome = jnp.where(beyond & jnp.isfinite(folded), folded, genome)
    return jnp.clip(genome, low, high)  # folding rounds, and may end one step beyond
