"""CMA-MEGA and CMA-MAEGA: strategies over gradients, for domains written in JAX.

(Fontaine & Nikolaidis 2021, https://arxiv.org/abs/2106.03894; 2023, https://arxiv.org/abs/2205.10752.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import Added
from qdkit.keys import quick
from qdkit.types import Domain, Key

from ..limits import Numbers
from . import cma
from .emitters import starting_points
from .pure import Elites, Pure, measured
from .ranking import Restart, Rule, Selection, where_each

TINY = 1e-8  # added to the length of a gradient, which may be 0; as in pyribs


class Branching(NamedTuple):
    """The state of `e` emitters: the point `[e, d]` each branches from, and its strategy over coefficients.

    coefficients: float `[e, batch - 1, 1 + axes]`, those of the last batch. The others as in `Evolving`.
    """

    point: jax.Array
    strategies: cma.Strategy
    coefficients: jax.Array
    anew: jax.Array
    restarts: jax.Array
    steps: jax.Array


@dataclass(eq=False)
class Arborescence(Pure):
    """CMA-MEGA: from a point, steps along the gradients of objective and descriptor, in learnt proportions.

    An emitter's batch is its point θ, and θ + Σ c_j ∇_j / |∇_j| for each row of coefficients c, normal
    noise that CMA-ES adapts; j runs over the objective and the axes. Then θ moves to the weighted mean
    of the parents, which is gradient ascent with a rate of 1.

    domain: its `evaluate` goes through jax alone; it gives the gradients.
    axes: how many numbers make a descriptor.
    sigma: how far a first step goes, in units of the genome; that of the paper is 10.
    x0, emitters, batch, selection, restart: as of `Evolution`; a batch holds θ too.
    ranker: "2imp", or "imp" over an archive with soft thresholds, which is CMA-MAEGA.

    Genomes have no limits, which nobody knows how to keep here.
    """

    domain: Domain
    axes: int = 2
    sigma: float = 10.0
    x0: Numbers | None = None
    emitters: int = 15
    batch: int = 36
    ranker: str = "2imp"
    selection: Selection = "filter"
    restart: Restart = "no_improvement"
    name: str = "cma-mega"

    def __post_init__(self) -> None:
        self._rule = Rule(self.ranker, self.selection, self.restart, None)  # type: ignore[arg-type]  # it checks
        if self.emitters < 1 or self.batch < 3 or self.axes < 1 or not self.sigma > 0:
            raise ValueError(
                "at least 1 emitter of at least 3 candidates, 1 axis and a positive sigma are needed, not "
                f"emitters={self.emitters}, batch={self.batch}, axes={self.axes}, sigma={self.sigma}"
            )
        self.size = self.emitters * self.batch

    def begin(self, key: Key, genome: Any) -> Branching:
        point: Any = starting_points(self.name, self.x0, jnp.asarray(genome), self.emitters)
        coefficients: Any = np.zeros((self.emitters, self.batch - 1, 1 + self.axes), point.dtype)
        every: Any = partial(np.full, self.emitters)
        none: Any = np.int32(0)
        return Branching(
            point, self._fresh(point.dtype), coefficients, every(self.x0 is None), every(0, np.int32), none
        )

    def ask(self, key: Key, state: Branching, elites: Elites) -> tuple[Branching, jax.Array]:
        begun = partial(self._begun_anew, elites)
        state = jax.lax.cond(state.anew.any(), begun, lambda same: same, state)
        keys = jax.random.split(quick(key), self.emitters)
        coefficients = jax.vmap(lambda key, strategy: cma.draw(key, strategy, self.batch - 1))(keys, state.strategies)
        slope = jax.vmap(self._gradients)(state.point)
        branches = state.point[:, None] + coefficients @ slope
        genomes = jnp.concatenate([state.point[:, None], branches], 1).reshape(self.size, -1)
        return state._replace(coefficients=coefficients), genomes

    def tell(
        self, state: Branching, genomes: jax.Array, objective: jax.Array, descriptor: jax.Array, added: Added
    ) -> Branching:
        each = lambda column: column.reshape(self.emitters, self.batch, *column.shape[1:])[:, 1:]  # the branches
        x, objective, descriptor, added = jax.tree.map(each, (genomes, objective, descriptor, added))
        ranking = self._rule.ranking(jnp.zeros((self.emitters, 0)), objective, descriptor, added)
        rank, parents = ranking.rank, ranking.parents
        strategies = jax.vmap(cma.learn)(state.strategies, state.coefficients, rank, parents)
        strategies = jax.vmap(cma.factored)(strategies)  # of a few entries: it costs nothing
        rates = jax.vmap(lambda rank, parents: cma.rates(rank, parents, 1 + self.axes, separable=False))
        weights = rates(rank, parents).weights.astype(x.dtype)
        mean = jnp.einsum("en,end->ed", weights, jnp.where(weights[:, :, None] > 0, x, 0.0))
        steps = state.steps + 1
        anew = self._rule.over(strategies, ranking, steps)
        point = where_each(parents > 0, mean, state.point)
        return Branching(point, strategies, state.coefficients, anew, state.restarts + anew, steps)

    def _gradients(self, point: jax.Array) -> jax.Array:
        """float `[1 + axes, d]`: those of the objective and of each axis, of length 1."""

        def both(x: jax.Array) -> jax.Array:
            objective, descriptor = measured(self.domain, x[None])
            return jnp.concatenate([objective, descriptor[0]])

        slope = jax.jacrev(both)(point)
        return slope / (jnp.linalg.norm(slope, axis=1, keepdims=True) + TINY)

    def _fresh(self, dtype: Any) -> cma.Strategy:
        mean = np.zeros((self.emitters, 1 + self.axes), dtype)
        return cma.begin_each(mean, self.sigma, separable=False)

    def _begun_anew(self, elites: Elites, state: Branching) -> Branching:
        """Those that are to begin anew do so, each at an elite of its own."""
        point = elites(self.emitters).astype(state.point.dtype)
        new = point, self._fresh(point.dtype)
        point, strategies = where_each(state.anew, new, (state.point, state.strategies))
        return state._replace(point=point, strategies=strategies)
