"""An archive of candidates far from each other (novelty search, Lehman & Stanley 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

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
from .neighbours import neighbours, with_distance
from .unstructured import Unstructured

_SETTINGS = ("dimensions", "capacity", "neighbours", "names", "threshold", "competition")


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=_SETTINGS)
@dataclass(frozen=True)
class Novelty(Unstructured):
    """Keeps the novel candidates: those far from the nearest elites.

    A candidate is novel if its mean distance to the nearest elites is at least `threshold`.

    dimensions: the number of descriptor axes. Distances are Euclidean, so the axes should be of
      one scale.
    capacity: the most elites it can keep; once it is full, no candidate is novel any more.
    neighbours: the number of nearest elites in the mean distance; all elites while there are
      fewer. They are exact, but for rounding; as distances are squared, float32 has none below
      1e-19 or above 1e19.
    threshold: the least mean distance, in the units of the descriptor.
    competition: whether a candidate that is not novel replaces the nearest elite if its objective
      is better (local competition).
    names: what the axes measure, for plots and tables.

    Rows count one after another: a batch keeps what its rows would keep if each came alone, so
    that of 500 equal rows one enters. With `competition`, the rows that are not novel compete once
    all novel rows are in, each with its nearest elite; the best of them replaces it, the first of
    equals.

    `Added.status` is `NEW` for a novel row and `IMPROVED` for one that replaces an elite.
    `Added.value` is the novelty against the elites before the batch, and `threshold` while there
    are none. With `competition` it is the objective of a novel row, and the gain over the nearest
    elite for the others.

    Raises ValueError for invalid settings.
    """

    capacity: int = 4096
    neighbours: int = 15
    threshold: float = 0.0
    competition: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = "a distance above 0 is needed, in units of the descriptor"
        if not checked_real("threshold", self.threshold, needed) > 0:
            raise ValueError(f"threshold is {self.threshold}: {needed}")
        object.__setattr__(self, "threshold", float(self.threshold))

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Inserts the rows that are far enough from the others; see the class."""
        check_columns(elites, objective, descriptor, payload, cell)
        objective = objective.astype(elites.objective.dtype)
        descriptor = descriptor.astype(elites.descriptor.dtype)  # distances are as stored
        valid = can_enter(cell, objective, descriptor)
        if not len(valid):
            return elites, Added(cell, objective, cell)
        count = elites.occupied.sum(dtype=jnp.int32)
        finite = jnp.where(valid[:, None], descriptor, 0)
        closest, away = neighbours(finite, elites.descriptor, count, self.neighbours)
        before = _mean_of_finite(away)
        slot, novel, closest = self._one_by_one(valid, finite, away, closest, count)

        after = put(elites, jnp.where(novel, slot, self.capacity), objective, descriptor, payload)
        status = jnp.where(novel, NEW, REJECTED)
        value = jnp.where(jnp.isfinite(before), before, self.threshold)
        if self.competition:
            rival = after.objective[closest]
            better = valid & ~novel & (objective > rival)
            target = best_entering(better, closest, objective, self.capacity)
            after = put(after, target, objective, descriptor, payload)
            status = jnp.where(better, IMPROVED, status)
            value = jnp.where(novel, objective, objective - rival)
        cell = jnp.where(valid, cell, NOWHERE)
        return after, Added(
            status.astype(jnp.int32), jnp.where(valid, value, jnp.nan), cell.astype(jnp.int32)
        )

    def _one_by_one(
        self,
        valid: jax.Array,
        descriptor: jax.Array,
        away: jax.Array,
        closest: jax.Array,
        count: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Compares each row with the elites and with the rows that entered before it.

        away: float `[k, n]`, the distances to the nearest elites, rising.
        closest: the slot of the nearest.

        Returns (slot int32 `[n]`, -1 for rows that do not enter; novel bool `[n]`; closest int32
        `[n]`). The loop runs once for each row that enters, and updates the distances of all other
        rows to it.
        """
        n = len(valid)
        rows = jnp.arange(n, dtype=jnp.int32)

        def next_novel(away: jax.Array, last: jax.Array) -> jax.Array:
            """Returns the next row that enters, or n.

            Computed once for each row, as XLA may round the same mean in two ways.
            """
            novel = valid & (rows > last) & (_mean_of_finite(away) >= self.threshold)
            return jnp.where(novel, rows, n).min()

        def unfinished(state: Any) -> jax.Array:
            return (state[-2] < n) & (state[-1] < self.capacity)

        def enter(state: Any) -> Any:
            away, closest, slot, row, free = state
            far = jnp.sqrt(((descriptor - descriptor[row][None]) ** 2).sum(1))
            closest, away = jnp.where(far < away[0], free, closest), with_distance(away, far)
            return away, closest, slot.at[row].set(free), next_novel(away, row), free + 1

        no_slot = jnp.full_like(rows, -1)
        start = away, closest, no_slot, next_novel(away, no_slot[0]), count
        _, closest, slot, *_ = jax.lax.while_loop(unfinished, enter, start)
        return slot, slot >= 0, closest


def _mean_of_finite(away: jax.Array) -> jax.Array:
    """Returns the mean of the finite distances, float `[n]`; infinite where none is finite."""
    known = jnp.isfinite(away)
    total = jnp.where(known, away, 0).sum(0) / jnp.maximum(known.sum(0), 1)
    return jnp.where(known.any(0), total, jnp.inf)
