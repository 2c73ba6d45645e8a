"""The ranking of a strategy's candidates, the selection of parents, and the rule for restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import REJECTED, Added
from qdkit.core.types import Key

from . import cma
from .pure_operator import compute_once

Ranker = Literal["imp", "2imp", "rd", "2rd", "obj", "2obj"]
Selection = Literal["filter", "mu"]
Restart = Literal["no_improvement", "basic"] | int


class Ranking(NamedTuple):
    """The order of the batches of `e` strategies of `n` candidates each.

    rank: int32 `[e, n]`, 0 for the best.
    parents: int `[e]`, the number of parents, which are the best.
    entered: int `[e]`, the number of candidates that entered the archive.
    width: float `[e]`, the best of the ranked values minus the worst; nan if all failed.
    """

    rank: jax.Array
    parents: jax.Array
    entered: jax.Array
    width: jax.Array


@dataclass(frozen=True)
class StrategyRules:
    """A ranker, a selection rule and a restart rule; see `Evolution`.

    Raises ValueError for settings that are none of the choices.
    """

    ranker: Ranker
    selection: Selection
    restart: Restart
    bounds: Sequence[tuple[float, float]] | None

    def __post_init__(self) -> None:
        _one_of("ranker", self.ranker, get_args(Ranker))
        _one_of("selection", self.selection, get_args(Selection))
        if not isinstance(self.restart, int) or self.restart < 1:
            _one_of(
                "restart", self.restart, ("no_improvement", "basic", "a number of batches from 1")
            )
        if self.ranker.endswith("rd") and self.bounds is None:
            raise ValueError(
                "a random direction is drawn within the descriptor's bounds: pass "
                "bounds=archive.bounds"
            )

    def directions(self, key: Key, emitters: int) -> jax.Array:
        """Returns a random direction for each emitter, float `[e, axes]`.

        It is isotropic in units of the bounds. For rankers without a direction it is `[e, 0]`.
        """
        if not self.ranker.endswith("rd"):
            return jnp.asarray(np.zeros((emitters, 0)))
        low, high = np.asarray(self.bounds, float).T
        return (high - low)[None] * jax.random.normal(key, (emitters, len(low)))

    def ranking(
        self, direction: jax.Array, objective: jax.Array, descriptor: jax.Array, added: Added
    ) -> Ranking:
        """Returns the ranking of columns `[e, n, ...]`.

        Candidates that failed come last and are not parents.
        """
        value = objective if self.ranker.endswith("obj") else added.value
        if self.ranker.endswith("rd"):
            value = jnp.einsum("end,ed->en", descriptor, direction)
        known = jnp.isfinite(added.value) & jnp.isfinite(value)
        value = compute_once(value, known.any())  # otherwise a row may rank before itself
        entered = (added.status > REJECTED).sum(1)
        half = jnp.minimum(value.shape[1] // 2, known.sum(1))
        rank, width = jax.vmap(partial(rank_rows, staged=self.ranker.startswith("2")))(
            value, added.status, known
        )
        return Ranking(rank, entered if self.selection == "filter" else half, entered, width)

    def stopped(self, strategies: cma.Strategy, ranking: Ranking, steps: jax.Array) -> jax.Array:
        """Returns which strategies restart after a number of steps, bool `[e]`."""
        stopped = jax.vmap(cma.exhausted)(strategies, ranking.width)
        if self.restart == "no_improvement":
            stopped |= ranking.entered == 0
        elif isinstance(self.restart, int):
            stopped |= steps % self.restart == 0
        return stopped


def rank_rows(
    value: jax.Array, status: jax.Array, known: jax.Array, staged: bool
) -> tuple[jax.Array, jax.Array]:
    """Returns the rank of each row, int32 `[n]`, and the highest value minus the lowest.

    The row with the highest value has rank 0. Rows that are not known come last, and of equal rows
    the first comes first. The difference is nan if no row is known.

    staged: whether rows are ordered by status before value.

    The rank of a row is the number of rows before it. For a few hundred rows, counting them is
    faster than sorting.
    """
    value = jnp.where(known, value, -jnp.inf)
    stage = jnp.where(known, status, -1) if staged else jnp.zeros_like(status)
    order = jnp.arange(len(value))
    (s, t), (f, g), (i, j) = ((x[:, None], x[None]) for x in (stage, value, order))
    before = (t > s) | ((t == s) & ((g > f) | ((g == f) & (j < i))))
    extent = lambda x: jnp.where(known, x, -jnp.inf).max() - jnp.where(known, x, jnp.inf).min()
    width = extent(value) + (extent(stage.astype(value.dtype)) if staged else 0.0)
    return before.sum(1).astype(jnp.int32), jnp.where(known.any(), width, jnp.nan)


def where_each(chosen: jax.Array, new: Any, old: Any) -> Any:
    """Returns a pytree of arrays `[e, ...]`: rows of `new` if `chosen` `[e]`, else of `old`."""
    return jax.tree.map(
        lambda x, y: jnp.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old
    )


def _one_of(what: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ValueError(f"{what} is one of {', '.join(map(str, choices))}, not {value!r}")
