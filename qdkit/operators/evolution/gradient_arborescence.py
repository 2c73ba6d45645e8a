"""CMA-MEGA and CMA-MAEGA: gradient arborescence, for domains written in JAX.

CMA-MEGA: Fontaine & Nikolaidis 2021, https://arxiv.org/abs/2106.03894. CMA-MAEGA: Fontaine &
Nikolaidis 2023, https://arxiv.org/abs/2205.10752.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import Added
from qdkit.core.prng import fast_key
from qdkit.core.types import Domain, Key

from ..limits import GenomeLimits, Numbers, Outside, apply_limits, check_limits, limit_arrays
from . import cma
from .emitters import starting_points
from .pure_operator import Pure, SampleElites, check_traced, evaluate_traced
from .ranking import Restart, Selection, StrategyRules, where_each

_HUGE = 1e15  # the square of a greater float32 may overflow
_TINY = 1e-8  # added to the length of a gradient, which may be 0, as in pyribs


class ArborescenceState(NamedTuple):
    """The state of `e` emitters.

    point: float `[e, d]`, the solution point from which each emitter branches.
    strategies: the strategies over the coefficients of the gradients.
    coefficients: float `[e, batch - 1, 1 + axes]`, those of the last batch.
    anew, restarts, steps: as in `EvolutionState`.
    """

    point: jax.Array
    strategies: cma.Strategy
    coefficients: jax.Array
    anew: jax.Array
    restarts: jax.Array
    steps: jax.Array


@dataclass(eq=False)
class GradientArborescence(Pure):
    """CMA-MEGA: steps along the gradients of objective and descriptor, with learnt coefficients.

    An emitter's batch is its point θ, and θ + Σ c_j ∇_j / |∇_j| for each row of coefficients c,
    where j runs over the objective and the axes. The coefficients are drawn from a normal
    distribution that CMA-ES adapts. Then θ moves to the weighted mean of the parents, which is
    gradient ascent with a rate of 1.

    domain: a domain whose `evaluate` jax can trace, to compute its gradients.
    axes: the number of axes of the descriptor.
    sigma: the first standard deviation of the coefficients, in units of the genome; 10 in the
      paper.
    x0, emitters, batch, selection, restart: as in `Evolution`; a batch includes θ.
    ranker: "2imp"; "imp" over an archive with thresholds is CMA-MAEGA.
    limits: `(low, high)` of the genomes, those of the domain if left out; entries beyond are
      reflected.

    Entries of a gradient that are nan or infinite are replaced by 0. A gradient without a finite
    entry is replaced by a random direction for this step, so its branches are candidates too.

    Raises TypeError for a domain that jax cannot trace, and ValueError for one with another number
    of axes.
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
    limits: GenomeLimits | None = None

    def __post_init__(self) -> None:
        self._limits = getattr(self.domain, "limits", None) if self.limits is None else self.limits
        check_limits(self._limits, "reflect")
        # StrategyRules raises ValueError for a ranker that it does not know.
        self._rule = StrategyRules(self.ranker, self.selection, self.restart, None)  # type: ignore[arg-type]
        if self.emitters < 1 or self.batch < 3 or self.axes < 1 or not self.sigma > 0:
            raise ValueError(
                "at least 1 emitter of at least 3 candidates, 1 axis and a positive sigma are "
                f"needed, not emitters={self.emitters}, batch={self.batch}, axes={self.axes}, "
                f"sigma={self.sigma}"
            )
        self.size = self.emitters * self.batch

    def begin(self, key: Key, genome: Any) -> ArborescenceState:
        point: Any = starting_points(self.name, self.x0, jnp.asarray(genome), self.emitters)
        _, descriptor = check_traced(self.domain, jnp.asarray(point)[:1])
        if descriptor.shape[1] != self.axes:
            raise ValueError(
                f"axes is {self.axes}, and {self.domain!r} gives descriptors of "
                f"{descriptor.shape[1]}: pass axes={descriptor.shape[1]}"
            )
        point = np.asarray(self._within_limits(jnp.asarray(point)))
        coefficients: Any = np.zeros((self.emitters, self.batch - 1, 1 + self.axes), point.dtype)
        full: Any = partial(np.full, self.emitters)
        steps: Any = np.int32(0)
        strategies, anew = self._new_strategies(point.dtype), full(self.x0 is None)
        return ArborescenceState(point, strategies, coefficients, anew, full(0, np.int32), steps)

    def ask(
        self, key: Key, state: ArborescenceState, elites: SampleElites
    ) -> tuple[ArborescenceState, jax.Array]:
        restart = partial(self._restart, elites)
        state = jax.lax.cond(state.anew.any(), restart, lambda same: same, state)
        keys = jax.random.split(fast_key(key), self.emitters)
        directions = self._directions(key, jax.vmap(self._gradients)(state.point))
        draw = jax.vmap(lambda key, strategy: cma.draw(key, strategy, self.batch - 1))
        coefficients = draw(keys, state.strategies)
        branches = state.point[:, None] + coefficients @ directions
        genomes = jnp.concatenate([state.point[:, None], branches], 1).reshape(self.size, -1)
        return state._replace(coefficients=coefficients), self._within_limits(genomes)

    def tell(
        self,
        state: ArborescenceState,
        genomes: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        added: Added,
    ) -> ArborescenceState:
        by_emitter = lambda column: column.reshape(self.emitters, self.batch, *column.shape[1:])
        x, objective, descriptor, added = jax.tree.map(
            lambda column: by_emitter(column)[:, 1:],  # the branches, without the points
            (genomes, objective, descriptor, added),
        )
        ranking = self._rule.ranking(jnp.zeros((self.emitters, 0)), objective, descriptor, added)
        rank, parents = ranking.rank, ranking.parents
        strategies = jax.vmap(cma.learn)(state.strategies, state.coefficients, rank, parents)
        strategies = jax.vmap(cma.update_factor)(strategies)  # fast, for so few entries
        rates = jax.vmap(
            lambda rank, parents: cma.rates(rank, parents, 1 + self.axes, separable=False)
        )
        weights = rates(rank, parents).weights.astype(x.dtype)
        mean = jnp.einsum("en,end->ed", weights, jnp.where(weights[:, :, None] > 0, x, 0.0))
        steps = state.steps + 1
        anew = self._rule.stopped(strategies, ranking, steps)
        point = where_each(parents > 0, mean, state.point)
        restarts = state.restarts + anew
        return ArborescenceState(point, strategies, state.coefficients, anew, restarts, steps)

    def _gradients(self, point: jax.Array) -> jax.Array:
        """Returns the gradients of the objective and of each axis, float `[1 + axes, d]`."""

        def objective_and_descriptor(x: jax.Array) -> jax.Array:
            objective, descriptor = evaluate_traced(self.domain, x[None])
            return jnp.concatenate([objective, descriptor[0]])

        return jax.jacrev(objective_and_descriptor)(point)

    def _directions(self, key: Key, gradient: jax.Array) -> jax.Array:
        """Returns the gradients `[e, 1 + axes, d]` scaled to length 1.

        A gradient whose finite entries are all 0, while others are not finite, becomes a random
        direction.
        """
        finite = jnp.where(jnp.isfinite(gradient), gradient, 0.0)
        greatest = jnp.abs(finite).max(-1, keepdims=True)
        scaled = finite / jnp.where(greatest > _HUGE, greatest, 1.0)  # so that no square overflows
        direction = scaled / (jnp.linalg.norm(scaled, axis=-1, keepdims=True) + _TINY)
        unknown = (greatest == 0) & ~jnp.isfinite(gradient).all(-1, keepdims=True)

        def with_random(direction: jax.Array) -> jax.Array:
            random_key = jax.random.fold_in(fast_key(key), 1)
            noise = jax.random.normal(random_key, gradient.shape, gradient.dtype)
            random_direction = noise / jnp.linalg.norm(noise, axis=-1, keepdims=True)
            return jnp.where(unknown, random_direction, direction)

        return jax.lax.cond(unknown.any(), with_random, lambda direction: direction, direction)

    def _within_limits(self, genomes: jax.Array) -> jax.Array:
        """Returns the genomes `[n, d]` with entries beyond the limits reflected."""
        outside: Outside | None = None if self._limits is None else "reflect"
        return apply_limits(genomes, *limit_arrays(self._limits, genomes), outside)

    def _new_strategies(self, dtype: Any) -> cma.Strategy:
        mean = np.zeros((self.emitters, 1 + self.axes), dtype)
        return cma.begin_each(mean, self.sigma, separable=False)

    def _restart(self, elites: SampleElites, state: ArborescenceState) -> ArborescenceState:
        """Restarts the emitters whose strategies have stopped, each at its own elite."""
        point = self._within_limits(elites(self.emitters).astype(state.point.dtype))
        new = point, self._new_strategies(point.dtype)
        point, strategies = where_each(state.anew, new, (state.point, state.strategies))
        return state._replace(point=point, strategies=strategies)
