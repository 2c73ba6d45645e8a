"""Cells that keep their best few."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from qdkit.elites import IMPROVED, NEW, NOWHERE, REJECTED, Added, Elites, empty, fit

from .ruled import Ruled


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=("depth",))
@dataclass(frozen=True, eq=False)
class Deep(Ruled):
    """The cells of `archive`, each with its `depth` best candidates: more to build on, and more to choose from.

    For objectives that are noisy, and for texts and programs, of which the second best of a kind is
    worth having. Parents are drawn from all that are kept; coverage and QD score count a cell once, by its best.

    depth: how many a cell keeps; 1 is the archive itself.

    The candidates of cell c are in the places c * depth to c * depth + depth - 1 of `Elites`, the best
    first, of equals the one that came first. `Added` speaks of a cell's last place: a candidate that is
    better than who stands there has the status `IMPROVED`, or `NEW` in a cell that was empty, and its
    value is the gain over that one; where nobody stood there, the objective itself.

    Raises ValueError for a depth that is no whole number from 1, and for an archive that has a rule of its own.
    """

    depth: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth != int(self.depth) or self.depth < 1:
            raise ValueError(f"depth is {self.depth}: a whole number from 1 is needed")

    def init(self, payload: Any = 0) -> Elites:
        """An empty archive, of `cells * depth` places."""
        return replace(empty(self.cells * self.depth, self.axes, payload), depth=self.depth)

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """The best of each cell's candidates and the batch; see the class."""
        objective = objective.astype(elites.objective.dtype)
        valid = fit(cell, objective, descriptor)
        kept = elites.objective.reshape(-1, self.depth)
        there = kept[jnp.where(valid, cell, 0)]
        vacant, last = there[:, 0] == -jnp.inf, there[:, -1]
        status = jnp.where(valid & (objective > last), jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
        value = jnp.where(valid, objective - jnp.where(last == -jnp.inf, 0.0, last), jnp.nan)
        target, source = _merged(kept, jnp.where(valid, cell, len(kept)), objective)

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


def _merged(kept: jax.Array, cell: jax.Array, objective: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where to put what: int32 `[n, depth]` places, beyond the last where there is nothing to put, and whence.

    kept: float `[C, depth]`, the objectives of each cell, falling; cell: int32 `[n]`, C for a row that has none.
    Whence counts through the places, then through the rows. Each cell that the batch falls into is told
    once, by the first of its rows in the order of cells and of falling objectives.
    """
    (cells, depth), n = kept.shape, len(cell)
    rows, places = jnp.arange(n, dtype=jnp.int32), jnp.arange(depth, dtype=jnp.int32)
    order = jnp.lexsort((-objective, cell)).astype(jnp.int32)  # stable, so the first of equals comes first
    cell, objective = cell[order], objective[order]
    leads = jnp.concatenate([jnp.ones_like(cell[:1], bool), cell[1:] != cell[:-1]])
    leader = jax.lax.cummax(jnp.where(leads, rows, 0))
    own = cell[:, None] * depth + places[None]
    there = kept[jnp.minimum(cell, cells - 1)]

    pushed = jax.ops.segment_sum((objective[:, None] > there).astype(jnp.int32), leader, n)[leader]
    moved = places[None] + pushed  # where those who are there go
    rank = rows - leader + (there >= objective[:, None]).sum(1, dtype=jnp.int32)  # where the rows go
    source = jnp.zeros((n, depth), jnp.int32)
    source = source.at[jnp.where(leads, rows, n)[:, None], moved].set(own, mode="drop")
    source = source.at[leader, rank].set(cells * depth + order, mode="drop")
    return jnp.where((leads & (cell < cells))[:, None], own, cells * depth), source
