"""What a strategy follows: which of its candidates come first, which become parents, and when it begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import REJECTED, Added
from qdkit.types import Key

from . import cma
from .pure import apart

Ranker = Literal["imp", "2imp", "rd", "2rd", "obj", "2obj"]
Selection = Literal["filter", "mu"]
Restart = Literal["no_improvement", "basic"] | int


class Ranking(NamedTuple):
    """The order of the batches of `e` strategies of `n` candidates each.

    rank: int32 `[e, n]`, 0 for the best. parents: int `[e]`, how many of them are.
    entered: int `[e]`, how many entered the archive.
    width: float `[e]`, how far the worst lies from the best in what is followed; nan if all failed.
    """

    rank: jax.Array
    parents: jax.Array
    entered: jax.Array
    width: jax.Array


@dataclass(frozen=True)
class Rule:
    """A ranker, a rule of selection and a rule of restarting, as `Evolution` explains them. Raises ValueError."""

    ranker: Ranker
    selection: Selection
    restart: Restart
    bounds: Sequence[tuple[float, float]] | None

    def __post_init__(self) -> None:
        _one_of("ranker", self.ranker, get_args(Ranker))
        _one_of("selection", self.selection, get_args(Selection))
        if not isinstance(self.restart, int) or self.restart < 1:
            _one_of("restart", self.restart, ("no_improvement", "basic", "a number of batches from 1"))
        if self.ranker.endswith("rd") and self.bounds is None:
            raise ValueError("a random direction is drawn within the descriptor's bounds: say bounds=archive.bounds")

    def directions(self, key: Key, emitters: int) -> jax.Array:
        """float `[e, axes]`, any direction in units of the bounds as likely as another; `[e, 0]` if none is asked."""
        if not self.ranker.endswith("rd"):
            return jnp.asarray(np.zeros((emitters, 0)))
        low, high = np.asarray(self.bounds, float).T
        return (high - low)[None] * jax.random.normal(key, (emitters, len(low)))

    def ranking(self, direction: jax.Array, objective: jax.Array, descriptor: jax.Array, added: Added) -> Ranking:
        """Of columns `[e, n, ...]`. Candidates that failed come last and are no parents."""
        follow = objective if self.ranker.endswith("obj") else added.value
        if self.ranker.endswith("rd"):
            follow = jnp.einsum("end,ed->en", descriptor, direction)
        known = jnp.isfinite(added.value) & jnp.isfinite(follow)
        follow = apart(follow, known.any())  # or a row could be found better than itself
        entered = (added.status > REJECTED).sum(1)
        half = jnp.minimum(follow.shape[1] // 2, known.sum(1))
        rank, width = jax.vmap(partial(ranked, staged=self.ranker.startswith("2")))(follow, added.status, known)
        return Ranking(rank, entered if self.selection == "filter" else half, entered, width)

    def over(self, strategies: cma.Strategy, ranking: Ranking, steps: jax.Array) -> jax.Array:
        """bool `[e]`: which begin anew, after so many steps."""
        over = jax.vmap(cma.exhausted)(strategies, ranking.width)
        if self.restart == "no_improvement":
            over |= ranking.entered == 0
        elif isinstance(self.restart, int):
            over |= steps % self.restart == 0
        return over


def ranked(follow: jax.Array, status: jax.Array, known: jax.Array, staged: bool) -> tuple[jax.Array, jax.Array]:
    """int32 `[n]`, 0 for the row with the highest `follow`, and how far the lowest lies from it; nan if none is known.

    Rows that are not known come last, the first of equals first; staged: a higher status comes before
    a higher value. For each row those before it are counted, which for a few hundred is faster than to sort.
    """
    follow = jnp.where(known, follow, -jnp.inf)
    stage = jnp.where(known, status, -1) if staged else jnp.zeros_like(status)
    order = jnp.arange(len(follow))
    (s, t), (f, g), (i, j) = ((x[:, None], x[None]) for x in (stage, follow, order))
    before = (t > s) | ((t == s) & ((g > f) | ((g == f) & (j < i))))
    between = lambda x: jnp.where(known, x, -jnp.inf).max() - jnp.where(known, x, jnp.inf).min()
    width = between(follow) + (between(stage.astype(follow.dtype)) if staged else 0.0)
    return before.sum(1).astype(jnp.int32), jnp.where(known.any(), width, jnp.nan)


def where_each(chosen: jax.Array, new: Any, old: Any) -> Any:
    """Two pytrees of arrays `[e, ...]` as one: the rows of `new` where `chosen` `[e]`, else those of `old`."""
    return jax.tree.map(lambda x, y: jnp.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old)


def _one_of(what: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise ValueError(f"{what} is one of {', '.join(map(str, choices))}, not {value!r}")
