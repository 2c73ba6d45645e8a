"""Normal noise on one parent (MAP-Elites, Mouret & Clune 2015)."""

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
    Numbers,
    Outside,
    apply_limits,
    broadcast_to_genome,
    check_float_dtype,
    check_limits,
    float_genomes,
    limit_arrays,
)


@dataclass(frozen=True, eq=False)
class Gaussian(Operator):
    """Adds normal noise of standard deviation `sigma` to every entry of an elite.

    sigma: one number, or one for each entry of a genome.
    limits: `(low, high)` of the genomes, each one number or one for each entry; infinite where
      there is no limit.
    outside: entries beyond a limit are reflected at it ("reflect") or set to it ("clip").

    Genomes are float arrays `[n, ...]` and keep their dtype. Raises ValueError for a negative
    sigma or low >= high.
    """

    sigma: Numbers
    limits: GenomeLimits | None = None
    outside: Outside = "reflect"
    name: str = "gaussian"

    def __post_init__(self) -> None:
        check_limits(self.limits, self.outside)
        if not np.all(np.asarray(self.sigma) >= 0):
            raise ValueError(f"sigma is a standard deviation, 0 or more, not {self.sigma!r}")

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        parents = float_genomes(context.parents.genome, self.name)
        with double():  # genomes of every float dtype, float64 included, keep their dtype
            return Proposal.of(np.asarray(self.vary(key, parents)), self.name, context.parents)

    def vary(self, key: Key, parents: Any) -> jax.Array:
        """Returns the children `[n, ...]` of `parents` `[n, ...]`.

        It is a pure function that `jax.jit` and `lax.scan` can trace.
        """
        check_float_dtype(parents.dtype, self.name)
        sigma = broadcast_to_genome(self.sigma, parents, "sigma")
        outside = None if self.limits is None else self.outside
        return _add_noise(
            key, parents, sigma, *limit_arrays(self.limits, parents), outside=outside
        )


@partial(jax.jit, static_argnames="outside")
def _add_noise(
    key: Key, parents: Any, sigma: Any, low: Any, high: Any, outside: Outside | None
) -> jax.Array:
    noise = jax.random.normal(fast_key(key), parents.shape, parents.dtype)
    return apply_limits(parents + sigma * noise, low, high, outside)
