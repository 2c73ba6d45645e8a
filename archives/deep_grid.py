"""Cells that keep their best few candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.core.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Elites, can_enter, empty
from qdkit.core.shapes import check_columns

from .checks import checked_integer
from .wrapper import Ruled


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=("depth",))
@dataclass(frozen=True, eq=False)
class DeepGrid(Ruled):
    """The cells of `archive`, each with its `depth` best candidates.

    For objectives that are noisy, and for texts and programs, where the second best of a cell is
    worth keeping. Parents are drawn from all candidates that are kept; coverage and QD score count
    a cell once, by its best.

    depth: the number of candidates that a cell keeps; 1 is the same as `archive`.

    The candidates of cell c are in the slots c * depth to c * depth + depth - 1 of `Elites`, the
    best first, of equals the earlier first. `Added` compares a candidate with the last slot of its
    cell: a candidate that is better has the status `IMPROVED`, or `NEW` in an empty cell. Its
    value is the gain over the last slot. While slots of the cell are free, the value is the gain
    over the worst candidate of the cell, which may be below 0; in an empty cell, it is the
    objective itself.

    Raises ValueError for a depth that is not an integer from 1, and for an archive with an
    insertion rule of its own.
    """

    depth: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "depth", checked_integer("depth", self.depth))

    def init(self, payload: Any = 0) -> Elites:
        """Returns an empty archive of `cells * depth` slots."""
        return replace(empty(self.cells * self.depth, self.axes, payload), depth=self.depth)

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Keeps the best of each cell's candidates and the batch; see the class."""
        check_columns(elites, objective, descriptor, payload, cell)
        objective = objective.astype(elites.objective.dtype)
        valid = can_enter(cell, objective, descriptor)
        by_cell = elites.objective.reshape(-1, self.depth)
        slots = by_cell[jnp.where(valid, cell, 0)]
        vacant, last = slots[:, 0] == -jnp.inf, slots[:, -1]
        # the worst candidate of the cell: no gain depends on the zero of the objective
        worst = jnp.where(slots > -jnp.inf, slots, jnp.inf).min(1)
        status = jnp.where(valid & (objective > last), jnp.where(vacant, NEW, IMPROVED), REJECTED)
        status = status.astype(jnp.int32)
        value = jnp.where(valid, objective - jnp.where(vacant, 0.0, worst), jnp.nan)
        target, source = _merge(by_cell, jnp.where(valid, cell, len(by_cell)), objective)

        def put(old: jax.Array, new: jax.Array) -> jax.Array:
            both = jnp.concatenate([old, new.astype(old.dtype)])
            return old.at[target].set(both[source], mode="drop")

        after = replace(
            elites,
            objective=put(elites.objective, objective),
            descriptor=put(elites.descriptor, descriptor),
            payload=jax.tree.map(put, elites.payload, payload),
        )
        return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


def _merge(kept: jax.Array, cell: jax.Array, objective: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the slots to write, and the candidates to write there, int32 `[n, depth]` each.

    kept: float `[C, depth]`, the objectives of each cell, falling.
    cell: int32 `[n]`, C for a row that has none.

    A slot beyond the last stands for nothing to write. Candidates are numbered through the slots,
    then through the rows. The first row of each cell, in the order of cells and of falling
    objectives, writes all slots of the cell.
    """
    (cells, depth), n = kept.shape, len(cell)
    rows, slots = jnp.arange(n, dtype=jnp.int32), jnp.arange(depth, dtype=jnp.int32)
    # the sort is stable, so the first of equals comes first
    order = jnp.lexsort((-objective, cell)).astype(jnp.int32)
    cell, objective = cell[order], objective[order]
    leads = jnp.concatenate([jnp.ones_like(cell[:1], bool), cell[1:] != cell[:-1]])
    leader = jax.lax.cummax(jnp.where(leads, rows, 0))
    own = cell[:, None] * depth + slots[None]
    current = kept[jnp.minimum(cell, cells - 1)]

    better = (objective[:, None] > current).astype(jnp.int32)
    old_slot = slots[None] + jax.ops.segment_sum(better, leader, n)[leader]
    row_slot = rows - leader + (current >= objective[:, None]).sum(1, dtype=jnp.int32)
    source = jnp.zeros((n, depth), jnp.int32)
    source = source.at[jnp.where(leads, rows, n)[:, None], old_slot].set(own, mode="drop")
    source = source.at[leader, row_slot].set(cells * depth + order, mode="drop")
    return jnp.where((leads & (cell < cells))[:, None], own, cells * depth), source
