"""Normal noise on one parent (MAP-Elites, Mouret & Clune 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from qdkit.elites import double
from qdkit.keys import quick
from qdkit.types import Context, Key, Operator, Proposal

from .limits import Limits, Numbers, Outside, check, floats, spread, walls, within


@dataclass(frozen=True, eq=False)
class Gaussian(Operator):
    """Adds normal noise of standard deviation `sigma` to every entry of an elite.

    sigma: one number, or one for each entry of a genome.
    limits: `(low, high)` of the genomes, each one number or one for each entry; infinite where there is none.
    outside: what would lie beyond a limit is reflected at it, or set onto it ("clip").

    Genomes are float arrays `[n, ...]` and keep their dtype. Raises ValueError for a negative sigma
    or low >= high.
    """

    sigma: Numbers
    limits: Limits | None = None
    outside: Outside = "reflect"
    name: str = "gaussian"

    def __post_init__(self) -> None:
        check(self.limits, self.outside)
        if not np.all(np.asarray(self.sigma) >= 0):
            raise ValueError(f"sigma is a standard deviation, 0 or more, not {self.sigma!r}")

    def propose(self, key: Key, context: Context, n: int) -> Proposal:
        parents = floats(context.parents.genome, self.name)
        with double():  # float64 genomes stay float64, and the others what they are
            return Proposal.of(np.asarray(self.vary(key, parents)), self.name, context.parents)

    def vary(self, key: Key, parents: Any) -> jax.Array:
        """The children `[n, ...]` of `parents` `[n, ...]`; pure, and fit for `jax.jit` and `lax.scan`."""
        sigma = spread(self.sigma, parents, "sigma")
        outside = None if self.limits is None else self.outside
        return _add_noise(key, parents, sigma, *walls(self.limits, parents), outside=outside)


@partial(jax.jit, static_argnames="outside")
def _add_noise(key: Key, parents: Any, sigma: Any, low: Any, high: Any, outside: Outside | None) -> jax.Array:
    return within(parents + sigma * jax.random.normal(quick(key), parents.shape, parents.dtype), low, high, outside)
