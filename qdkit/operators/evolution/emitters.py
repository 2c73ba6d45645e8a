"""CMA-ME and CMA-MAE: evolution strategies that follow the improvement of an archive.

CMA-ME: Fontaine et al. 2020, https://arxiv.org/abs/1912.02400. CMA-MAE: Fontaine & Nikolaidis
2023, https://arxiv.org/abs/2205.10752. All strategies of an operator make a step together, in one
`vmap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import Added
from qdkit.core.prng import fast_key
from qdkit.core.types import Key

from ..limits import (
    GenomeLimits,
    Numbers,
    Outside,
    apply_limits,
    broadcast_to_genome,
    check_limits,
    limit_arrays,
)
from . import cma
from .pure_operator import Pure, SampleElites
from .ranking import Ranker, Restart, Selection, StrategyRules, where_each


class EvolutionState(NamedTuple):
    """The state of `e` emitters.

    strategies: each array with a leading axis `[e]`.
    direction: float `[e, axes]`, the random direction of each emitter; `[e, 0]` for rankers
      without one.
    anew: bool `[e]`, which emitters restart at an elite before their next batch.
    restarts: int32 `[e]`. steps: int32, the number of batches received.
    """

    strategies: cma.Strategy
    direction: jax.Array
    anew: jax.Array
    restarts: jax.Array
    steps: jax.Array


@dataclass(eq=False)
class Evolution(Pure):
    """CMA-ME: `emitters` evolution strategies (CMA-ES) that make `batch` candidates each.

    sigma: the first standard deviation of each strategy.
    x0: the first mean of all strategies, one number or one for each entry; each starts at an elite
      if None.
    emitters, batch: the number of strategies, and of the candidates of each per step.
    ranker: how candidates are ranked. "imp": by the gain over the elite of the cell. "rd": along
      a random direction of descriptors, drawn at each restart. "obj": by the objective. With a 2
      before it, candidates in new cells come first, then those that improved a cell. For an empty
      cell of a grid, "imp" takes the objective itself as the gain, as published. So it alone
      depends on the zero of the objective, and is meant for archives with thresholds
      (`Thresholds`), whose gain is over the threshold.
    selection: the parents are all candidates that entered the archive ("filter"), or the better
      half ("mu").
    restart: a strategy restarts at a random elite once no candidate of a batch entered the archive
      ("no_improvement"), after a number of batches (an int), or only if CMA-ES itself has to stop
      ("basic"), which is a reason in the other cases too.
    separable: whether only the variance of each entry is learnt (sep-CMA-ES), for genomes of many
      hundred entries.
    bounds: `(low, high)` of each axis of the descriptor, as in `Grid`; needed for a random
      direction.
    limits: `(low, high)` of the genomes; entries beyond are reflected.

    The defaults are those that pyribs recommends for CMA-ME. `cma_mae(...)` gives CMA-MAE, which
    needs an archive with thresholds. Genomes are vectors of floats, and are computed in their
    dtype. Failed candidates are not parents. The parents of its candidates are not known and are
    recorded as `NO_CANDIDATE`.
    """

    sigma: float = 0.5
    x0: Numbers | None = None
    emitters: int = 15
    batch: int = 36
    ranker: Ranker = "2imp"
    selection: Selection = "filter"
    restart: Restart = "no_improvement"
    separable: bool = False
    bounds: Sequence[tuple[float, float]] | None = None
    limits: GenomeLimits | None = None
    name: str = "cma-me"

    def __post_init__(self) -> None:
        check_limits(self.limits, "reflect")
        self._rule = StrategyRules(self.ranker, self.selection, self.restart, self.bounds)
        if self.emitters < 1 or self.batch < 2 or not self.sigma > 0:
            raise ValueError(
                "at least 1 emitter of at least 2 candidates and a positive sigma are needed, not "
                f"emitters={self.emitters}, batch={self.batch}, sigma={self.sigma}"
            )
        self.size = self.emitters * self.batch

    @property
    def restarts(self) -> int:
        """The number of restarts of all its strategies in a search."""
        return 0 if self._state is None else int(self._state.restarts.sum())

    def begin(self, key: Key, genome: Any) -> EvolutionState:
        mean = starting_points(self.name, self.x0, jnp.asarray(genome), self.emitters)
        # With numpy, since each call of jax.numpy here would compile a program.
        full: Any = partial(np.full, self.emitters)
        steps: Any = np.int32(0)
        direction = self._rule.directions(key, self.emitters)
        strategies, anew = self._new_strategies(mean), full(self.x0 is None)
        return EvolutionState(strategies, direction, anew, full(0, np.int32), steps)

    def ask(
        self, key: Key, state: EvolutionState, elites: SampleElites
    ) -> tuple[EvolutionState, jax.Array]:
        restart_key, draw_key = jax.random.split(fast_key(key))
        restart = partial(self._restart, restart_key, elites)
        state = jax.lax.cond(state.anew.any(), restart, lambda same: same, state)
        keys = jax.random.split(draw_key, self.emitters)
        draw = jax.vmap(lambda key, strategy: cma.draw(key, strategy, self.batch))
        genomes = draw(keys, state.strategies).reshape(self.size, -1)
        outside: Outside | None = None if self.limits is None else "reflect"
        return state, apply_limits(genomes, *limit_arrays(self.limits, genomes), outside)

    def tell(
        self,
        state: EvolutionState,
        genomes: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        added: Added,
    ) -> EvolutionState:
        by_emitter = lambda column: column.reshape(self.emitters, self.batch, *column.shape[1:])
        x, objective, descriptor, added = jax.tree.map(
            by_emitter, (genomes, objective, descriptor, added)
        )
        ranking = self._rule.ranking(state.direction, objective, descriptor, added)
        strategies = jax.vmap(cma.learn)(state.strategies, x, ranking.rank, ranking.parents)
        steps = state.steps + 1
        interval = 1 if self.separable else cma.factor_interval(self.batch, x.shape[2])
        strategies = jax.lax.cond(
            steps % interval == 0, jax.vmap(cma.update_factor), lambda same: same, strategies
        )
        anew = self._rule.stopped(strategies, ranking, steps)
        return EvolutionState(strategies, state.direction, anew, state.restarts + anew, steps)

    def _new_strategies(self, mean: jax.Array | np.ndarray) -> cma.Strategy:
        return cma.begin_each(mean, self.sigma, self.separable)

    def _restart(self, key: Key, elites: SampleElites, state: EvolutionState) -> EvolutionState:
        """Restarts the strategies that have stopped, each at its own elite."""
        mean = elites(self.emitters).astype(state.strategies.mean.dtype)
        new = self._new_strategies(mean), self._rule.directions(key, self.emitters)
        strategies, direction = where_each(state.anew, new, (state.strategies, state.direction))
        return state._replace(strategies=strategies, direction=direction)


def cma_mae(sigma: float = 0.5, **settings: Any) -> Evolution:
    """Returns CMA-MAE, which is `Evolution` over an archive with thresholds that rise slowly.

    settings: those of `Evolution`.

    Candidates are ranked by their gain over the threshold, the better half are parents, and a
    strategy restarts only if CMA-ES has to stop.
    """
    return Evolution(
        sigma,
        **{"ranker": "imp", "selection": "mu", "restart": "basic", "name": "cma-mae"} | settings,
    )


def starting_points(name: str, x0: Numbers | None, genome: jax.Array, emitters: int) -> np.ndarray:
    """Returns the first mean of each emitter, float `[e, d]`; 0 if they start at elites.

    Raises ValueError for genomes that are not vectors of floats.
    """
    if genome.ndim != 1 or not jnp.issubdtype(genome.dtype, jnp.floating):
        raise ValueError(
            f"{name!r} searches over vectors of floats, and a genome is "
            f"{genome.dtype}{genome.shape}"
        )
    example = np.empty((1, *genome.shape), genome.dtype)
    mean = broadcast_to_genome(0.0 if x0 is None else x0, example, "x0")
    return np.broadcast_to(mean, (emitters, len(genome)))
