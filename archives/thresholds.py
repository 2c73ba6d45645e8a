"""Cells whose acceptance threshold rises slowly (CMA-MAE, Fontaine & Nikolaidis 2023)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import (
    IMPROVED,
    NEW,
    NOWHERE,
    REJECTED,
    Added,
    Elites,
    best_entering,
    can_enter,
    put,
)
from qdkit.core.shapes import check_columns

from .checks import checked_real
from .wrapper import Ruled


@partial(
    jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=("rate", "minimum")
)
@dataclass(frozen=True, eq=False)
class Thresholds(Ruled):
    """The cells of `archive`, each with an acceptance threshold that follows its candidates.

    The threshold t of a cell begins at `minimum`. A candidate with an objective f > t enters, even
    if it is worse than the elite, and t <- (1 - rate) t + rate f (CMA-MAE, algorithm 1). Of the
    rows of a batch that pass, the best stays, and with c of them, of mean m, t <- (1 - rate)^c t +
    (1 - (1 - rate)^c) m, as in pyribs.

    rate: how fast a threshold rises, from 0 (never: the last candidate of a cell stays) to 1 (at
      once: a worse candidate never enters). The paper's experiments have 0.01.
    minimum: an objective must be above it to enter at all; about the least objective there can be.

    `Added.value` is f - t with the threshold before the batch, also in an empty cell. The best
    candidate of a cell may be lost, so coverage never falls but the QD score may. The thresholds
    are in `Elites.state`, float `[C]`.

    Raises ValueError for an invalid rate or minimum, and for an archive with an insertion rule of
    its own.
    """

    rate: float = 0.01
    minimum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        rate = checked_real("rate", self.rate, "a number from 0 to 1 is needed")
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {self.rate}: a number from 0 to 1 is needed")
        needed = "a finite number is needed, about the least objective there can be"
        object.__setattr__(self, "rate", rate)
        object.__setattr__(self, "minimum", checked_real("minimum", self.minimum, needed))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "archive":
            raise AttributeError(name)
        # shape, edges, centroids: maps are drawn as those of the wrapped archive
        return getattr(self.archive, name)

    def init(self, payload: Any = 0) -> Elites:
        """Returns an empty archive with every threshold at `minimum`."""
        elites = self.archive.init(payload)
        return replace(elites, state=jnp.full_like(elites.objective, self.minimum))

    def refusal(self, objective: float, descriptor: np.ndarray) -> str:
        """Returns why a candidate cannot enter; its objective must be above `minimum`."""
        if objective <= self.minimum:
            return (
                f"its objective {objective} is not above the minimum of Thresholds, "
                f"{self.minimum}: give a minimum below the objectives, such as the least there "
                "can be"
            )
        return self.archive.refusal(objective, descriptor)

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Inserts the rows that pass the threshold of their cell; see the class."""
        check_columns(elites, objective, descriptor, payload, cell)
        cells, objective = len(elites.objective), objective.astype(elites.objective.dtype)
        valid = can_enter(cell, objective, descriptor)
        index = jnp.where(valid, cell, 0)
        threshold, vacant = elites.state[index], elites.objective[index] == -jnp.inf
        passes = valid & (objective > threshold)
        status = jnp.where(passes, jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
        value = jnp.where(valid, objective - threshold, jnp.nan)
        target = best_entering(passes, index, objective, cells)
        after = put(elites, target, objective, descriptor, payload)

        count = jax.ops.segment_sum(passes.astype(objective.dtype), index, cells)
        total = jax.ops.segment_sum(jnp.where(passes, objective, 0), index, cells)
        stays = (1 - self.rate) ** count
        risen = stays * elites.state + (1 - stays) * total / jnp.maximum(count, 1)
        thresholds = jnp.where(count > 0, risen, elites.state)
        added = Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))
        return replace(after, state=thresholds), added
