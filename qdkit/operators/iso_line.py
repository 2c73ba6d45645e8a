"""Noise along the line through two parents (Iso+LineDD, Vassiliades & Mouret 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from qdkit.core.elites import double
from qdkit.core.prng import fast_key
from qdkit.core.types import Context, Key, Operator, Proposal

from .limits import (
    GenomeLimits,
    Outside,
    apply_limits,
    as_genome_dtype,
    check_float_dtype,
    check_limits,
    float_genomes,
    limit_arrays,
)


@dataclass(frozen=True, eq=False)
class IsoLine(Operator):
    """Adds isotropic noise to an elite, and noise along the line to a second elite.

    The child of x and y is x + iso N(0, I) + line N(0, 1) (y - x). Good elites lie close
    together, so the line between two of them often leads to more.

    iso: the standard deviation of the noise on every entry.
    line: that of the step along the line, in units of the distance between the parents.
    limits, outside: as of `Gaussian`.

    Rows 2i and 2i + 1 of the parents are x and y of child i. Raises ValueError for a negative iso
    or line, or low >= high.
    """

    iso: float = 0.01
    line: float = 0.2
    limits: GenomeLimits | None = None
    outside: Outside = "reflect"
    name: str = "line"
    arity: int = 2

    def __post_init__(self) -> None:
        check_limits(self.limits, self.outside)
        if not (self.iso >= 0 and self.line >= 0):
            raise ValueError(
                f"iso and line are standard deviations, 0 or more, not {self.iso!r} and "
                f"{self.line!r}"
            )

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        parents = float_genomes(context.parents.genome, self.name)
        with double():  # genomes of every float dtype, float64 included, keep their dtype
            return Proposal.of(np.asarray(self.vary(key, parents)), self.name, context.parents)

    def vary(self, key: Key, parents: Any) -> jax.Array:
        """Returns the children `[n, ...]` of `parents` `[2n, ...]`.

        It is a pure function that `jax.jit` and `lax.scan` can trace.
        """
        check_float_dtype(parents.dtype, self.name)
        iso = as_genome_dtype(self.iso, parents.dtype, "iso")
        line = as_genome_dtype(self.line, parents.dtype, "line")
        outside = None if self.limits is None else self.outside
        return _add_noise(
            key, parents, iso, line, *limit_arrays(self.limits, parents), outside=outside
        )


@partial(jax.jit, static_argnames="outside")
def _add_noise(
    key: Key, parents: Any, iso: Any, line: Any, low: Any, high: Any, outside: Outside | None
) -> jax.Array:
    iso_key, line_key = jax.random.split(fast_key(key))
    x, y = parents[0::2], parents[1::2]
    noise = jax.random.normal(iso_key, x.shape, x.dtype)
    step = jax.random.normal(line_key, (len(x),) + (1,) * (x.ndim - 1), x.dtype)
    return apply_limits(x + iso * noise + line * step * (y - x), low, high, outside)
