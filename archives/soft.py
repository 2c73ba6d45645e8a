"""Cells whose bar rises by degrees (CMA-MAE, Fontaine & Nikolaidis 2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Elites, champions, fit, put

from .ruled import Ruled


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=("rate", "minimum"))
@dataclass(frozen=True, eq=False)
class Soft(Ruled):
    """The cells of `archive`, each with a bar that a candidate has to pass, which follows those that pass it.

    A cell's bar t begins at `minimum`. Whoever has an objective f > t enters, even if it is worse
    than the elite, and t <- (1 - rate) t + rate f (CMA-MAE, algorithm 1). Of a batch the best of
    those that pass stays, and with c of them, of mean m, t <- (1 - rate)^c t + (1 - (1 - rate)^c) m, as in pyribs.

    rate: how fast a bar rises, from 0 (never: the last of a cell stays) to 1 (at once: a worse one never
      enters). The paper's experiments have 0.01.
    minimum: what an objective has to be above to enter at all; about the least objective there can be.

    `Added.value` is f - t with the bar before the batch, also in an empty cell. A cell's best may be
    lost, so coverage never falls but the QD score may. The bars are in `Elites.state`, float `[C]`.

    Raises ValueError for a rate or a minimum that is none, and for an archive that has a rule of its own.
    """

    rate: float = 0.01
    minimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate is {self.rate}: a number from 0 to 1 is needed")
        if not math.isfinite(self.minimum):
            raise ValueError(
                f"minimum is {self.minimum}: a finite number is needed, about the least objective there can be"
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "archive":
            raise AttributeError(name)
        return getattr(self.archive, name)  # shape, edges, centroids: one elite a cell, so maps are drawn as ever

    def init(self, payload: Any = 0) -> Elites:
        """An empty archive with every bar at `minimum`."""
        elites = self.archive.init(payload)
        return replace(elites, state=jnp.full_like(elites.objective, self.minimum))

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """Who passes the bar of a cell enters it; see the class."""
        cells, objective = len(elites.objective), objective.astype(elites.objective.dtype)
        valid = fit(cell, objective, descriptor)
        place = jnp.where(valid, cell, 0)
        bar, vacant = elites.state[place], elites.objective[place] == -jnp.inf
        passes = valid & (objective > bar)
        status = jnp.where(passes, jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
        value = jnp.where(valid, objective - bar, jnp.nan)
        after = put(elites, champions(passes, place, objective, cells), objective, descriptor, payload)

        count = jax.ops.segment_sum(passes.astype(objective.dtype), place, cells)
        total = jax.ops.segment_sum(jnp.where(passes, objective, 0), place, cells)
        stays = (1 - self.rate) ** count
        risen = stays * elites.state + (1 - stays) * total / jnp.maximum(count, 1)
        bars = jnp.where(count > 0, risen, elites.state)
        return replace(after, state=bars), Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))
