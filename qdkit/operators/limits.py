"""Arrays of floats and their limits, for the operators over vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

Numbers = float | Sequence[float] | np.ndarray  # one for all entries of a genome, or one for each
GenomeLimits = tuple[Numbers, Numbers]  # (low, high); -inf or inf where there is no limit
Outside = Literal["reflect", "clip"]


def check_limits(limits: GenomeLimits | None, outside: Outside) -> None:
    """Raises ValueError unless low < high everywhere and `outside` is "reflect" or "clip"."""
    if outside not in ("reflect", "clip"):
        raise ValueError(f"outside is 'reflect' or 'clip', not {outside!r}")
    if limits is None:
        return
    if len(limits) != 2:
        raise ValueError(
            f"limits is a pair (low, high), each one number or one for each entry, not {limits!r}"
        )
    low, high = (np.asarray(limit, np.float64) for limit in limits)
    if not np.all(low < high):
        raise ValueError(f"limits is (low, high) with low < high in every entry, not {limits!r}")


def float_genomes(genomes: Any, name: str) -> np.ndarray:
    """Returns the genomes as a numpy array.

    Raises TypeError if they are not an array of floats.
    """
    if not isinstance(genomes, np.ndarray | jax.Array):
        raise TypeError(
            f"the operator {name!r} changes arrays of floats, and these genomes are a "
            f"{type(genomes)}: use an operator for such genomes, or give the domain `operators` "
            "of its own, as qdkit.domains.Words has"
        )
    check_float_dtype(genomes.dtype, name)
    return np.asarray(genomes)


def check_float_dtype(dtype: Any, name: str) -> None:
    """Raises TypeError unless `dtype` is a dtype of floats."""
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"the operator {name!r} changes arrays of floats, and these genomes are {dtype}: "
            "make the domain's seeds as floats, or write an operator that makes whole numbers"
        )


def as_genome_dtype(numbers: Numbers, dtype: Any, what: str) -> np.ndarray:
    """Returns `numbers` in the dtype of the genomes.

    Raises ValueError if that makes one of them 0 or infinite.
    """
    wide = np.asarray(numbers, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        narrow = wide.astype(dtype)
    overflow, underflow = np.isfinite(wide) & ~np.isfinite(narrow), (wide != 0) & (narrow == 0)
    if (lost := overflow | underflow).any():
        raise ValueError(
            f"{what} is {wide[lost].flat[0]}, and that is {narrow[lost].flat[0]} as {dtype}, the "
            f"dtype of the genomes: make the domain's seeds as float64, or choose another {what}"
        )
    return narrow


def broadcast_to_genome(
    numbers: Numbers, genomes: jax.Array | np.ndarray, what: str
) -> np.ndarray:
    """Returns `numbers` as `[1, ...]`, with the shape and dtype of one of the genomes `[n, ...]`.

    Raises ValueError if the shapes do not fit.
    """
    array = as_genome_dtype(numbers, genomes.dtype, what)
    try:
        return np.broadcast_to(array, genomes.shape[1:])[None]
    except ValueError:
        raise ValueError(
            f"{what} has shape {array.shape} and a genome {genomes.shape[1:]}: give one number, "
            "or one for each entry"
        ) from None


def limit_arrays(
    limits: GenomeLimits | None, genomes: jax.Array | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `(low, high)` broadcast to the shape of a genome, infinite if there are no limits.

    A limit that the genomes' dtype cannot hold exactly is rounded inwards.
    """
    low, high = (-np.inf, np.inf) if limits is None else limits
    bottom = _limit_array(low, genomes, "the lower limit")
    top = _limit_array(high, genomes, "the upper limit")
    bottom = np.where(bottom < np.asarray(low, np.float64), np.nextafter(bottom, np.inf), bottom)
    top = np.where(top > np.asarray(high, np.float64), np.nextafter(top, -np.inf), top)
    return bottom.astype(genomes.dtype), top.astype(genomes.dtype)


def _limit_array(limit: Numbers, genomes: jax.Array | np.ndarray, what: str) -> np.ndarray:
    """Returns a limit as `broadcast_to_genome` does.

    A limit beyond the range of the dtype becomes infinite, one too small for it becomes 0.
    """
    wide, info = np.asarray(limit, np.float64), jnp.finfo(genomes.dtype)
    too_large = np.abs(wide) > float(info.max)
    too_small = np.abs(wide) < float(info.smallest_subnormal)
    nearest = np.where(too_large, np.copysign(np.inf, wide), np.where(too_small, 0.0, wide))
    return broadcast_to_genome(nearest, genomes, what)


def apply_limits(genome: jax.Array, low: Any, high: Any, outside: Outside | None) -> jax.Array:
    """Returns the genomes with entries beyond a limit reflected at it or set to it ("clip").

    outside: "reflect", "clip", or None if there are no limits.

    Reflection folds the line, as between two mirrors, so one step suffices from any distance. An
    infinite entry has no reflection and is set to the limit.
    """
    if outside is None:  # without this, the remainders by infinity take most of a step's time
        return genome
    if outside == "reflect":
        width = high - low
        phase = jnp.mod(genome - low, 2 * width)
        between = low + width - jnp.abs(phase - width)
        above, below = low + jnp.abs(genome - low), high - jnp.abs(high - genome)
        folded = jnp.where(
            jnp.isfinite(width), between, jnp.where(jnp.isfinite(low), above, below)
        )
        beyond = (genome < low) | (genome > high)
        genome = jnp.where(beyond & jnp.isfinite(folded), folded, genome)
    return jnp.clip(genome, low, high)  # folding rounds, and may end just beyond a limit
