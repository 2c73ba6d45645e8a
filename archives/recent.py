"""A pool of the last that were good and new enough, as searches by example draw from (the baselines of QDAIF)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import NEW, NOWHERE, REJECTED, Added, Elites, fit

from .unstructured import Unstructured

RISE, RISE_AFTER = 1.05, 3  # of the threshold, and after how many in a row that came in; as in QDAIF
FALL, FALL_AFTER = 0.95, 21  # and that did not


class Pool(NamedTuple):
    """How a pool stands: how many ever came in, its threshold, and how many in a row came in or did not."""

    came: jax.Array
    threshold: jax.Array
    accepted: jax.Array
    refused: jax.Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(),
    meta_fields=("dimensions", "capacity", "neighbours", "names", "least", "threshold", "edges", "free"),
)
@dataclass(frozen=True)
class Recent(Unstructured):
    """Keeps the last `capacity` that came in; the oldest goes first, however good it is.

    least: what an objective must be above to come in; anything, where left out.
    threshold: what the mean distance to the `neighbours` nearest must be above, at first; 0 for no such rule. It is
      multiplied by 1.05 after 3 in a row that came in, and by 0.95 after 21 in a row that did not (novelty
      search in judgement space, Bradley et al. 2023).
    free: how many come in at first, whatever they are, such as the seeds.
    edges: for each axis the edges of cells that are to count as equally wide: distances are measured on axes
      stretched so, linearly between the edges. The axes as they are where left out.

    The rows of a batch come one after another. `Added.status` is `NEW` for who comes in, `Added.value` the
    objective. What this keeps are examples to write by; a map of what was found is made afterwards.

    Raises ValueError for settings that are none.
    """

    capacity: int = 100
    neighbours: int = 15
    least: float = -math.inf
    threshold: float = 0.0
    edges: tuple[tuple[float, ...], ...] = ()
    free: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise ValueError(f"threshold is {self.threshold}: a distance is needed, or 0 for none")
        edges = tuple(tuple(map(float, axis)) for axis in self.edges)
        if edges and len(edges) != self.dimensions:
            raise ValueError(f"edges has {len(edges)} entries for {self.dimensions} axes: give one for each, or none")
        object.__setattr__(self, "edges", edges)

    def init(self, payload: Any = 0) -> Elites:
        """An empty pool."""
        came, accepted, refused = (jnp.zeros((), jnp.int32) for _ in range(3))  # a buffer each, as they are given away
        return replace(super().init(payload), state=Pool(came, jnp.array(self.threshold, float), accepted, refused))

    def stretched(self, descriptor: Any) -> jax.Array:
        """float `[n, d]`: places on axes along which the cells between `edges` are equally wide, from 0 to 1."""
        place = jnp.asarray(descriptor)
        if not self.edges:
            return place
        along = [
            jnp.interp(place[:, axis], np.asarray(edges), np.linspace(0, 1, len(edges)))
            for axis, edges in enumerate(self.edges)
        ]
        return jnp.stack(along, 1)

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """Each row in its turn; see the class."""
        objective, descriptor = (
            new.astype(old.dtype) for new, old in ((objective, elites.objective), (descriptor, elites.descriptor))
        )
        known, good = fit(cell, objective, descriptor), objective > self.least

        def come(kept: Elites, row: Any) -> tuple[Elites, tuple[jax.Array, jax.Array]]:
            known, good, *columns = row
            state: Pool = kept.state
            new = (self.threshold == 0) | (self._novelty(kept, columns[1]) > state.threshold)
            enters = known & ((good & new) | (state.came < self.free))
            at = jnp.where(enters, state.came % self.capacity, self.capacity)
            put = lambda old, new: old.at[at].set(new.astype(old.dtype), mode="drop")
            after = replace(
                kept,
                objective=put(kept.objective, columns[0]),
                descriptor=put(kept.descriptor, columns[1]),
                payload=jax.tree.map(put, kept.payload, columns[2]),
                state=_after(state, enters),
            )
            return after, (enters, at)

        elites, (enters, at) = jax.lax.scan(come, elites, (known, good, objective, descriptor, payload))
        status = jnp.where(enters, NEW, REJECTED).astype(jnp.int32)
        value = jnp.where(known, objective, jnp.nan)
        return elites, Added(status, value, jnp.where(enters, at, NOWHERE).astype(jnp.int32))

    def _novelty(self, kept: Elites, descriptor: jax.Array) -> jax.Array:
        """The mean distance to the nearest that are kept; infinite where there are none."""
        here, there = self.stretched(descriptor[None]), self.stretched(kept.descriptor)
        far = jnp.where(kept.occupied, jnp.sqrt(((there - here) ** 2).sum(1)), jnp.inf)
        nearest = jnp.sort(far)[: self.neighbours]
        known = jnp.isfinite(nearest)
        return jnp.where(known.any(), jnp.where(known, nearest, 0).sum() / jnp.maximum(known.sum(), 1), jnp.inf)


def _after(state: Pool, enters: jax.Array) -> Pool:
    accepted = jnp.where(enters, state.accepted + 1, 0)
    refused = jnp.where(enters, 0, state.refused + 1)
    rises, falls = accepted >= RISE_AFTER, refused >= FALL_AFTER
    threshold = state.threshold * jnp.where(rises, RISE, jnp.where(falls, FALL, 1.0))
    return Pool(
        state.came + enters.astype(jnp.int32),
        threshold.astype(state.threshold.dtype),
        jnp.where(rises, 0, accepted).astype(jnp.int32),
        jnp.where(falls, 0, refused).astype(jnp.int32),
    )
