"""A pool of the latest candidates that were good and novel enough.

The baselines of QDAIF draw the examples of their prompts from such a pool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import NEW, NOWHERE, REJECTED, Added, Elites, can_enter
from qdkit.core.shapes import check_columns

from .axis_edges import check_precision
from .checks import checked_integer, checked_real
from .unstructured import Unstructured

# The factors by which the threshold changes, and after how many rows in a row that entered or did
# not, as in QDAIF.
_RISE, _RISE_AFTER = 1.05, 3
_FALL, _FALL_AFTER = 0.95, 21


class _PoolState(NamedTuple):
    """The state of a pool beside its elites; files of compiled runs have the names of its fields.

    came: how many candidates ever entered.
    threshold: the novelty that a candidate must exceed.
    accepted, refused: how many in a row entered, or did not, since the threshold last changed.
    """

    came: jax.Array
    threshold: jax.Array
    accepted: jax.Array
    refused: jax.Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(),
    meta_fields=(
        "dimensions",
        "capacity",
        "neighbours",
        "names",
        "least",
        "threshold",
        "edges",
        "free",
    ),
)
@dataclass(frozen=True)
class Recent(Unstructured):
    """Keeps the last `capacity` candidates that entered; the oldest leaves first, however good.

    least: an objective must be above it to enter; any may enter where left out.
    threshold: the mean distance to the `neighbours` nearest must be above it at first; 0 for no
      such rule. It is multiplied by 1.05 after 3 candidates in a row that entered, and by 0.95
      after 21 in a row that did not (novelty search in judgement space, Bradley et al. 2023).
    free: the number of first candidates that enter whatever they are, such as the seeds.
    edges: for each axis the edges of cells that count as equally wide. Distances are measured on
      axes stretched accordingly, linearly between the edges. The axes are as they are where left
      out.

    The rows of a batch come one after another. `Added.status` is `NEW` for a row that enters, and
    `Added.value` the objective. The pool holds examples for prompts; a map of the elites is made
    afterwards.

    Raises ValueError for invalid settings.
    """

    capacity: int = 100
    neighbours: int = 15
    least: float = -math.inf
    threshold: float = 0.0
    edges: tuple[tuple[float, ...], ...] = ()
    free: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = "a distance is needed, or 0 for none"
        threshold = checked_real("threshold", self.threshold, needed)
        if threshold < 0:
            raise ValueError(f"threshold is {self.threshold}: {needed}")
        needed = "a number is needed, or -inf for none"
        least = checked_real("least", self.least, needed, finite=False)
        edges = tuple(tuple(map(float, axis)) for axis in self.edges)
        if edges and len(edges) != self.dimensions:
            raise ValueError(
                f"edges has {len(edges)} entries for {self.dimensions} axes: give one for each, "
                "or none"
            )
        for axis, numbers in enumerate(edges):
            rising = len(numbers) >= 2 and all(a < b for a, b in pairwise(numbers))
            if not rising or not all(map(math.isfinite, numbers)):
                raise ValueError(
                    f"edges[{axis}] is {numbers}: finite numbers, each greater than the one "
                    "before, are needed"
                )
        settings = {
            "threshold": threshold,
            "least": least,
            "edges": edges,
            "free": checked_integer("free", self.free, 0),
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)

    def init(self, payload: Any = 0) -> Elites:
        """Returns an empty pool."""
        # three buffers, as `update` donates each of them
        entered, accepted, refused = (jnp.zeros((), jnp.int32) for _ in range(3))
        state = _PoolState(entered, jnp.array(self.threshold, float), accepted, refused)
        return replace(super().init(payload), state=state)

    def refusal(self, objective: float, descriptor: np.ndarray) -> str:
        """Returns why a candidate cannot enter, also where its objective is not above `least`."""
        if objective <= self.least and not self.free:
            return (
                f"its objective {objective} is not above least, {self.least}: give a lower one, "
                "or let some in free"
            )
        return super().refusal(objective, descriptor)

    def stretched(self, descriptor: Any) -> jax.Array:
        """Returns the descriptors on the stretched axes, float `[n, d]`.

        Along these axes the cells between `edges` are equally wide, from 0 to 1.
        """
        descriptor = jnp.asarray(descriptor)
        if not self.edges:
            return descriptor
        return jnp.stack([self._along(axis, descriptor[:, axis]) for axis in range(self.axes)], 1)

    def _along(self, axis: int, value: jax.Array) -> jax.Array:
        """Returns the position along an axis, float `[n]`, from 0 to 1, linear between edges.

        `jnp.interp` fails for narrow cells.
        """
        dtype, cells = jax.dtypes.canonicalize_dtype(np.float64), len(self.edges[axis]) - 1
        check_precision(self.names[axis], np.asarray(self.edges[axis]), dtype)
        edges, value = jnp.asarray(np.asarray(self.edges[axis], dtype)), value.astype(dtype)
        cell = jnp.clip(jnp.searchsorted(edges, value, side="right") - 1, 0, cells - 1)
        share = (value - edges[cell]) / (edges[cell + 1] - edges[cell])
        return (cell + jnp.clip(share, 0, 1)) / cells

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Inserts the rows one after another; see the class."""
        check_columns(elites, objective, descriptor, payload, cell)
        objective, descriptor = (
            new.astype(old.dtype)
            for new, old in ((objective, elites.objective), (descriptor, elites.descriptor))
        )
        valid, good = can_enter(cell, objective, descriptor), objective > self.least

        def insert_row(pool: Elites, row: Any) -> tuple[Elites, tuple[jax.Array, jax.Array]]:
            valid, good, *columns = row
            state: _PoolState = pool.state
            novel = (self.threshold == 0) | (self._novelty(pool, columns[1]) > state.threshold)
            enters = valid & ((good & novel) | (state.came < self.free))
            slot = jnp.where(enters, state.came % self.capacity, self.capacity)
            put = lambda old, new: old.at[slot].set(new.astype(old.dtype), mode="drop")
            after = replace(
                pool,
                objective=put(pool.objective, columns[0]),
                descriptor=put(pool.descriptor, columns[1]),
                payload=jax.tree.map(put, pool.payload, columns[2]),
                state=_next_state(state, enters),
            )
            return after, (enters, slot)

        rows = valid, good, objective, descriptor, payload
        elites, (enters, slot) = jax.lax.scan(insert_row, elites, rows)
        status = jnp.where(enters, NEW, REJECTED).astype(jnp.int32)
        value = jnp.where(valid, objective, jnp.nan)
        return elites, Added(status, value, jnp.where(enters, slot, NOWHERE).astype(jnp.int32))

    def _novelty(self, pool: Elites, descriptor: jax.Array) -> jax.Array:
        """Returns the mean distance to the nearest elites; infinite where there are none."""
        here, others = self.stretched(descriptor[None]), self.stretched(pool.descriptor)
        far = jnp.where(pool.occupied, jnp.sqrt(((others - here) ** 2).sum(1)), jnp.inf)
        nearest = jnp.sort(far)[: self.neighbours]
        known = jnp.isfinite(nearest)
        mean = jnp.where(known, nearest, 0).sum() / jnp.maximum(known.sum(), 1)
        return jnp.where(known.any(), mean, jnp.inf)


def _next_state(state: _PoolState, enters: jax.Array) -> _PoolState:
    """Returns the state after one more row."""
    accepted = jnp.where(enters, state.accepted + 1, 0)
    refused = jnp.where(enters, 0, state.refused + 1)
    rises, falls = accepted >= _RISE_AFTER, refused >= _FALL_AFTER
    threshold = state.threshold * jnp.where(rises, _RISE, jnp.where(falls, _FALL, 1.0))
    return _PoolState(
        state.came + enters.astype(jnp.int32),
        threshold.astype(state.threshold.dtype),
        jnp.where(rises, 0, accepted).astype(jnp.int32),
        jnp.where(falls, 0, refused).astype(jnp.int32),
    )
