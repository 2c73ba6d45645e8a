"""An archive of whatever is far from all that it has (novelty search, Lehman & Stanley 2011)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Elites, champions, fit, put

from .neighbours import inserted, neighbours
from .unstructured import Unstructured

SETTINGS = ("dimensions", "capacity", "neighbours", "names", "threshold", "competition")


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=SETTINGS)
@dataclass(frozen=True)
class Novelty(Unstructured):
    """Keeps whoever is novel: at a mean distance of `threshold` or more from the nearest that are kept.

    dimensions: how many axes a descriptor has. Distances are Euclidean, so the axes should be of one scale.
    capacity: how many it can keep; once it is full, nobody is new any more.
    neighbours: over how many of the nearest the mean is taken; over all while there are fewer. They are found exactly,
      but for rounding; as distances are squared, float32 knows none below 1e-19 or beyond 1e19.
    threshold: the least mean distance, in the units of the descriptor.
    competition: who is not novel takes the place of the nearest if its objective is better (local competition).
    names: what the axes measure, for plots and tables.

    Rows count one after another: a batch keeps what its rows would keep if each came alone, so that of
    500 equal rows one enters. With `competition`, those that are not novel compete once all that are
    novel are in, each with its nearest; the best gets the place, the first of equals.

    `Added.status` is `NEW` for the novel and `IMPROVED` for who takes another's place. `Added.value` is
    the novelty against the elites before the batch, and `threshold` while there are none; with
    `competition` the objective of the novel, and the gain over the nearest of the others.

    Raises ValueError for settings that are none.
    """

    capacity: int = 4096
    neighbours: int = 15
    threshold: float = 0.0
    competition: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.threshold) and self.threshold > 0):
            raise ValueError(f"threshold is {self.threshold}: a distance above 0 is needed, in units of the descriptor")

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """Whoever is far enough from the others; see the class."""
        objective = objective.astype(elites.objective.dtype)
        descriptor = descriptor.astype(elites.descriptor.dtype)  # distances are those of what is kept
        valid = fit(cell, objective, descriptor)
        if not len(valid):
            return elites, Added(cell, objective, cell)
        count, there = elites.occupied.sum(dtype=jnp.int32), jnp.where(valid[:, None], descriptor, 0)
        closest, away = neighbours(there, elites.descriptor, count, self.neighbours)
        before = _mean(away)
        place, novel, closest = self._one_by_one(valid, there, away, closest, count)

        after = put(elites, jnp.where(novel, place, self.capacity), objective, descriptor, payload)
        status = jnp.where(novel, NEW, REJECTED)
        value = jnp.where(jnp.isfinite(before), before, self.threshold)
        if self.competition:
            rival = after.objective[closest]
            better = valid & ~novel & (objective > rival)
            target = champions(better, closest, objective, self.capacity)
            after = put(after, target, objective, descriptor, payload)
            status = jnp.where(better, IMPROVED, status)
            value = jnp.where(novel, objective, objective - rival)
        cell = jnp.where(valid, cell, NOWHERE)
        return after, Added(status.astype(jnp.int32), jnp.where(valid, value, jnp.nan), cell.astype(jnp.int32))

    def _one_by_one(
        self, valid: jax.Array, descriptor: jax.Array, away: jax.Array, closest: jax.Array, count: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(place int32 `[n]`, novel bool `[n]`, closest int32 `[n]`): each row held against those kept before it.

        away: float `[k, n]`, the distances to the nearest elites, rising; closest: the place of the first of them.
        Only rows that enter take a turn, each of which tells all others how near it is.
        """
        n = len(valid)
        rows = jnp.arange(n, dtype=jnp.int32)

        def following(away: jax.Array, last: jax.Array) -> jax.Array:
            """The next row that enters, or n. Found once: XLA may round a mean in two ways if it is asked twice."""
            return jnp.where(valid & (rows > last) & (_mean(away) >= self.threshold), rows, n).min()

        def waiting(state: Any) -> jax.Array:
            return (state[-2] < n) & (state[-1] < self.capacity)

        def enter(state: Any) -> Any:
            away, closest, place, row, free = state
            far = jnp.sqrt(((descriptor - descriptor[row][None]) ** 2).sum(1))
            closest, away = jnp.where(far < away[0], free, closest), inserted(away, far)
            return away, closest, place.at[row].set(free), following(away, row), free + 1

        nobody = jnp.full_like(rows, -1)
        start = away, closest, nobody, following(away, nobody[0]), count
        _, closest, place, *_ = jax.lax.while_loop(waiting, enter, start)
        return place, place >= 0, closest


def _mean(away: jax.Array) -> jax.Array:
    """float `[n]`: the mean of those distances that are finite; infinite where none is."""
    known = jnp.isfinite(away)
    total = jnp.where(known, away, 0).sum(0) / jnp.maximum(known.sum(0), 1)
    return jnp.where(known.any(0), total, jnp.inf)
