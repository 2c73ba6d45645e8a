"""Dominated Novelty Search: the competition of a whole archive in place of cells (Bahlous-Boldi et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.elites import NEW, NOWHERE, REJECTED, Added, Elites, fit, put

from .unstructured import Unstructured


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(),
    meta_fields=("dimensions", "capacity", "neighbours", "names"),
)
@dataclass(frozen=True)
class Dominated(Unstructured):
    """Keeps the `capacity` candidates that are furthest from those better than they are.

    A candidate's score is its mean distance to the `neighbours` nearest of those that are fitter, over
    all of them where there are fewer; the best has an infinite one. Of elites and batch together the
    highest scores stay (Dominated Novelty Search, Bahlous-Boldi et al. 2025). Of two with the same
    objective the one that came first counts as fitter, so that of equal candidates one stays.

    dimensions: how many axes a descriptor has. Distances are Euclidean, so the axes should be of one scale.
    capacity: how many it keeps. Each batch costs (capacity + n)² distances.
    neighbours: 3 in the paper.
    names: what the axes measure, for plots and tables.

    `Added.status` is `NEW` for who stays, and `Added.value` its score, infinite for the best.

    Raises ValueError for settings that are none.
    """

    capacity: int = 1024
    neighbours: int = 3

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """Those furthest from the fitter ones; see the class."""
        objective = objective.astype(elites.objective.dtype)
        valid = fit(cell, objective, descriptor)
        everyone = jnp.concatenate([elites.objective, jnp.where(valid, objective, -jnp.inf)])
        there = jnp.where(valid[:, None], descriptor, 0).astype(elites.descriptor.dtype)
        score = _scores(everyone, jnp.concatenate([elites.descriptor, there]), self.neighbours)
        best = jax.lax.top_k(score, self.capacity)[1]
        stays = jnp.zeros(len(score), bool).at[best].set(True) & (everyone > -jnp.inf)

        kept, enters = stays[: self.capacity], stays[self.capacity :]
        free = jnp.flatnonzero(~kept, size=self.capacity, fill_value=self.capacity)
        target = jnp.where(enters, free[jnp.cumsum(enters) - 1], self.capacity)  # as many come as go, or there is room
        after = put(elites, target, objective, descriptor, payload)
        status = jnp.where(enters, NEW, REJECTED).astype(jnp.int32)
        value = jnp.where(valid, score[self.capacity :], jnp.nan)
        return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


def _scores(objective: jax.Array, descriptor: jax.Array, k: int) -> jax.Array:
    """float `[m]`: the mean distance to the `k` nearest that are fitter; -inf for who is not there."""
    rows = jnp.arange(len(objective))

    def score(row: jax.Array) -> jax.Array:
        fitter = (objective > objective[row]) | ((objective == objective[row]) & (rows < row))
        far = jnp.sqrt(((descriptor - descriptor[row][None]) ** 2).sum(1))
        near = -jax.lax.top_k(-jnp.where(fitter, far, jnp.inf), k)[0]
        known = jnp.isfinite(near)
        mean = jnp.where(known, near, 0).sum() / jnp.maximum(known.sum(), 1)
        return jnp.where(objective[row] == -jnp.inf, -jnp.inf, jnp.where(known.any(), mean, jnp.inf))

    return jax.lax.map(score, rows, batch_size=256)  # some memory, and most of the speed
