"""CMA-ME and CMA-MAE: evolution strategies that follow what improves an archive.

(Fontaine et al. 2020, https://arxiv.org/abs/1912.02400; Fontaine & Nikolaidis 2023,
https://arxiv.org/abs/2205.10752.) All strategies of an operator make one step together, batched in
one `vmap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import Added
from qdkit.keys import quick
from qdkit.types import Key

from ..limits import Limits, Numbers, check, spread, walls, within
from . import cma
from .pure import Elites, Pure
from .ranking import Ranker, Restart, Rule, Selection, where_each


class Evolving(NamedTuple):
    """The state of `e` emitters.

    strategies: each array with a leading axis `[e]`.
    direction: float `[e, axes]`, where a random direction is followed.
    anew: bool `[e]`, which begin at an elite before their next batch.
    restarts: int32 `[e]`. steps: int32, how many batches were heard of.
    """

    strategies: cma.Strategy
    direction: jax.Array
    anew: jax.Array
    restarts: jax.Array
    steps: jax.Array


@dataclass(eq=False)
class Evolution(Pure):
    """CMA-ME: `emitters` evolution strategies (CMA-ES) that make `batch` candidates each.

    sigma: how far around it a strategy looks at first, a standard deviation.
    x0: where all begin, one number or one for each entry; each at an elite where left out.
    ranker: what a strategy follows. "imp": the gain over the elite of the cell; "rd": a random direction
      of descriptors, drawn at each restart; "obj": the objective. With a 2 before it, candidates that
      found a new cell come first, then those that improved one.
    selection: who are parents: all that entered the archive ("filter"), or the better half ("mu").
    restart: when a strategy begins anew at a random elite: once nothing of a batch entered the archive
      ("no_improvement"), after so many batches, or ("basic") only when CMA-ES itself is at its end, as
      it may be in the other cases too.
    separable: learn the variance of each entry alone (sep-CMA-ES), for genomes of many hundreds.
    bounds: `(low, high)` of each axis of the descriptor, as in `Grid`; needed to follow a direction.
    limits: `(low, high)` of the genomes; what would lie beyond is reflected.

    Defaults are what pyribs recommends for CMA-ME. CMA-MAE is `cma_mae(...)`, and needs an archive
    with soft thresholds. It computes in the dtype of the genomes, which are vectors of floats.
    Candidates that failed are no parents. Whom candidates were made from is not known: `NOBODY`.
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
    limits: Limits | None = None
    name: str = "cma-me"

    def __post_init__(self) -> None:
        check(self.limits, "reflect")
        self._rule = Rule(self.ranker, self.selection, self.restart, self.bounds)
        if self.emitters < 1 or self.batch < 2 or not self.sigma > 0:
            raise ValueError(
                "at least 1 emitter of at least 2 candidates and a positive sigma are needed, not "
                f"emitters={self.emitters}, batch={self.batch}, sigma={self.sigma}"
            )
        self.size = self.emitters * self.batch

    @property
    def restarts(self) -> int:
        """How often its strategies began anew in a search, all together."""
        return 0 if self._state is None else int(self._state.restarts.sum())

    def begin(self, key: Key, genome: Any) -> Evolving:
        mean = starting_points(self.name, self.x0, jnp.asarray(genome), self.emitters)
        every: Any = partial(np.full, self.emitters)  # with numpy, as each call of jnp here is a program to compile
        none: Any = np.int32(0)
        direction = self._rule.directions(key, self.emitters)
        return Evolving(self._fresh(mean), direction, every(self.x0 is None), every(0, np.int32), none)

    def ask(self, key: Key, state: Evolving, elites: Elites) -> tuple[Evolving, jax.Array]:
        turning, drawing = jax.random.split(quick(key))
        begun = partial(self._begun_anew, turning, elites)
        state = jax.lax.cond(state.anew.any(), begun, lambda same: same, state)
        keys = jax.random.split(drawing, self.emitters)
        genomes = jax.vmap(lambda key, strategy: cma.draw(key, strategy, self.batch))(keys, state.strategies)
        genomes = genomes.reshape(self.size, -1)
        return state, within(genomes, *walls(self.limits, genomes), None if self.limits is None else "reflect")

    def tell(
        self, state: Evolving, genomes: jax.Array, objective: jax.Array, descriptor: jax.Array, added: Added
    ) -> Evolving:
        each = lambda column: column.reshape(self.emitters, self.batch, *column.shape[1:])
        x, objective, descriptor, added = jax.tree.map(each, (genomes, objective, descriptor, added))
        ranking = self._rule.ranking(state.direction, objective, descriptor, added)
        strategies = jax.vmap(cma.learn)(state.strategies, x, ranking.rank, ranking.parents)
        steps = state.steps + 1
        every = 1 if self.separable else cma.gap(self.batch, x.shape[2])
        strategies = jax.lax.cond(steps % every == 0, jax.vmap(cma.factored), lambda same: same, strategies)
        anew = self._rule.over(strategies, ranking, steps)
        return Evolving(strategies, state.direction, anew, state.restarts + anew, steps)

    def _fresh(self, mean: jax.Array | np.ndarray) -> cma.Strategy:
        return cma.begin_each(mean, self.sigma, self.separable)

    def _begun_anew(self, key: Key, elites: Elites, state: Evolving) -> Evolving:
        """Those that are to begin anew do so, each at an elite of its own."""
        mean = elites(self.emitters).astype(state.strategies.mean.dtype)
        new = self._fresh(mean), self._rule.directions(key, self.emitters)
        strategies, direction = where_each(state.anew, new, (state.strategies, state.direction))
        return state._replace(strategies=strategies, direction=direction)


def cma_mae(sigma: float = 0.5, **settings: Any) -> Evolution:
    """CMA-MAE: as `Evolution`, over an archive whose thresholds rise slowly to what was found there.

    settings: of `Evolution`. A strategy follows the gain over the threshold, with the better half as
    parents, and begins anew only when CMA-ES is at its end.
    """
    return Evolution(sigma, **{"ranker": "imp", "selection": "mu", "restart": "basic", "name": "cma-mae"} | settings)


def starting_points(name: str, x0: Numbers | None, genome: jax.Array, emitters: int) -> np.ndarray:
    """float `[e, d]`, 0 where each begins at an elite anyhow. Raises ValueError for genomes that are no vectors."""
    if genome.ndim != 1 or not jnp.issubdtype(genome.dtype, jnp.floating):
        raise ValueError(f"{name!r} searches over vectors of floats, and a genome is {genome.dtype}{genome.shape}")
    shaped = np.empty((1, *genome.shape), genome.dtype)
    return np.broadcast_to(spread(0.0 if x0 is None else x0, shaped, "x0"), (emitters, len(genome)))
