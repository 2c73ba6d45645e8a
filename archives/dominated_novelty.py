"""Dominated Novelty Search: competition across the whole archive in place of cells.

Bahlous-Boldi et al. 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.core.elites import NEW, NOWHERE, REJECTED, Added, Elites, can_enter, put
from qdkit.core.shapes import check_columns

from .unstructured import Unstructured


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(),
    meta_fields=("dimensions", "capacity", "neighbours", "names"),
)
@dataclass(frozen=True)
class DominatedNovelty(Unstructured):
    """Keeps the `capacity` candidates that are furthest from those with a better objective.

    The score of a candidate is its mean distance to the `neighbours` nearest of the fitter
    candidates, over all of them where there are fewer; the score of the best is infinite. Of
    elites and batch together the highest scores stay (Dominated Novelty Search, Bahlous-Boldi et
    al. 2025). Of two candidates with the same objective the earlier counts as fitter, so that one
    of several equal candidates stays.

    dimensions: the number of descriptor axes. Distances are Euclidean, so the axes should be of
      one scale.
    capacity: the number of candidates it keeps. Each batch costs (capacity + n)² distances.
    neighbours: 3 in the paper.
    names: what the axes measure, for plots and tables.

    `Added.status` is `NEW` for a candidate that stays, and `Added.value` its score, infinite for
    the best.

    Raises ValueError for invalid settings.
    """

    capacity: int = 1024
    neighbours: int = 3

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Keeps the candidates that are furthest from the fitter ones; see the class."""
        check_columns(elites, objective, descriptor, payload, cell)
        objective = objective.astype(elites.objective.dtype)
        valid = can_enter(cell, objective, descriptor)
        finite = jnp.where(valid[:, None], descriptor, 0).astype(elites.descriptor.dtype)
        objectives = jnp.concatenate([elites.objective, jnp.where(valid, objective, -jnp.inf)])
        descriptors = jnp.concatenate([elites.descriptor, finite])
        score = _scores(objectives, descriptors, self.neighbours)
        best = jax.lax.top_k(score, self.capacity)[1]
        stays = jnp.zeros(len(score), bool).at[best].set(True) & (objectives > -jnp.inf)

        kept, enters = stays[: self.capacity], stays[self.capacity :]
        free = jnp.flatnonzero(~kept, size=self.capacity, fill_value=self.capacity)
        # no more rows enter than slots are free
        target = jnp.where(enters, free[jnp.cumsum(enters) - 1], self.capacity)
        after = put(elites, target, objective, descriptor, payload)
        status = jnp.where(enters, NEW, REJECTED).astype(jnp.int32)
        value = jnp.where(valid, score[self.capacity :], jnp.nan)
        return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


def _scores(objective: jax.Array, descriptor: jax.Array, k: int) -> jax.Array:
    """Returns the mean distance to the `k` nearest fitter candidates, float `[m]`.

    The score is -inf in an empty slot.
    """
    rows = jnp.arange(len(objective))

    def score(row: jax.Array) -> jax.Array:
        fitter = (objective > objective[row]) | ((objective == objective[row]) & (rows < row))
        far = jnp.sqrt(((descriptor - descriptor[row][None]) ** 2).sum(1))
        near = -jax.lax.top_k(-jnp.where(fitter, far, jnp.inf), k)[0]
        known = jnp.isfinite(near)
        mean = jnp.where(known, near, 0).sum() / jnp.maximum(known.sum(), 1)
        mean = jnp.where(known.any(), mean, jnp.inf)
        return jnp.where(objective[row] == -jnp.inf, -jnp.inf, mean)

    return jax.lax.map(score, rows, batch_size=256)  # little memory, and nearly full speed
