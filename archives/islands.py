"""Separate populations over one geometry (Tanese 1989; resets as in FunSearch, Romera-Paredes et al. 2024).

An island is one more coordinate of a cell: cell = island * C + cell of the geometry, for its C cells.
So one `insert` serves all islands, and what happens between them are pure functions of the elites.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.elites import NOWHERE, Added, Archive, Elites, insert

EVERYWHERE = -1  # the island of a candidate that goes to all that a run begins with: a seed


class Change(abc.ABC):
    """What happens between islands after a step, if it is `due`."""

    @abc.abstractmethod
    def due(self, steps: int, stagnant: int) -> bool:
        """Whether it happens after `steps` steps, of which the last `stagnant` have not raised the best objective."""

    @abc.abstractmethod
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        """The elites afterwards. Pure; the cells of an island stand together."""


@dataclass(frozen=True)
class Migrate(Change):
    """Every so many steps each island sends copies of its elites to another, which keeps those that are better there.

    every: steps.
    share: how much of an island's elites is drawn, at least one.
    by: "ring", to the next island; "random", each island to one of the others.
    """

    every: int = 50
    share: float = 0.1
    by: Literal["ring", "random"] = "ring"

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.share <= 1 or self.by not in ("ring", "random"):
            raise ValueError(f'every is 1 or more, share above 0 and up to 1, by "ring" or "random", not {self}')

    def due(self, steps: int, stagnant: int) -> bool:
        return steps % self.every == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        draw, way = jax.random.split(key)
        each = len(elites.objective) // islands
        chance = jnp.where(elites.occupied, jax.random.uniform(draw, elites.objective.shape), jnp.inf)
        first = jnp.repeat(chance.reshape(islands, each).min(1), each)
        sent = elites.occupied & ((chance < self.share) | (chance == first))
        hop = 1 if self.by == "ring" else jax.random.randint(way, (islands, 1), 1, max(islands, 2))
        to = (jnp.arange(islands)[:, None] + hop) % islands
        cell = (to * each + jnp.arange(each)[None]).reshape(-1)
        objective = jnp.where(sent, elites.objective, jnp.nan)
        return insert(elites, cell, objective, elites.descriptor, elites.payload)[0]


@dataclass(frozen=True)
class Reset(Change):
    """Every so many steps the weaker half of the islands, by their best, is emptied and begun again.

    Each begins with a copy of the best elite of one of the others, drawn evenly.
    """

    every: int = 200

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is a number of steps, 1 or more, not {self.every}")

    def due(self, steps: int, stagnant: int) -> bool:
        return steps % self.every == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        best = elites.objective.reshape(islands, -1).max(1)
        lived = best > -jnp.inf
        order = jnp.argsort(jnp.where(lived, best, jnp.inf), stable=True)  # the weakest first, the empty ones last
        rank = jnp.zeros(islands, int).at[order].set(jnp.arange(islands))
        half = lived.sum() // 2
        weak = lived & (rank < half)
        strong = order[half + jax.random.randint(key, (islands,), 0, jnp.maximum(lived.sum() - half, 1))]
        return _founded(elites, islands, weak, strong)


@dataclass(frozen=True)
class Spawn(Change):
    """After so many steps without a better best, the next empty island begins with a copy of one elite.

    after: steps without a better best; and again after as many more.
    founder: "best", the best elite of all; "random", any. There is an empty island as long as not all
      have begun: see `Islands.begin`.
    """

    after: int = 100
    founder: Literal["best", "random"] = "best"

    def __post_init__(self) -> None:
        if self.after < 1 or self.founder not in ("best", "random"):
            raise ValueError(f'after is 1 or more and founder "best" or "random", not {self}')

    def due(self, steps: int, stagnant: int) -> bool:
        return stagnant > 0 and stagnant % self.after == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        lived = elites.occupied.reshape(islands, -1).any(1)
        empty = ~lived & (jnp.cumsum(~lived) == 1)
        if self.founder == "best":
            source = jnp.argmax(elites.objective)
        else:
            chance = jax.random.uniform(key, elites.objective.shape)
            source = jnp.argmax(jnp.where(elites.occupied, chance, -1.0))
        return _copied(elites, islands, empty, jnp.full(islands, source))


@partial(jax.tree_util.register_dataclass, data_fields=("archive",), meta_fields=("count", "begin", "changes"))
@dataclass(frozen=True, eq=False)
class Islands(Archive):
    """`count` separate populations of the elites of `archive`; children stay on the island of their parents.

    begin: how many of them the seeds are put on, all where left out; the others wait for a `Spawn`.
    changes: what happens between them, such as `(Migrate(every=50), Reset(every=500))`; nothing where empty.

    Candidates are made for the islands in turn. A map, coverage and QD score show each kind of cell
    once, with the best of all islands. Raises ValueError for less than one island.
    """

    archive: Archive
    count: int = 4
    begin: int | None = None
    changes: tuple[Change, ...] = (Migrate(),)

    def __post_init__(self) -> None:
        if self.count < 1 or not 1 <= (self.begin or self.count) <= self.count:
            raise ValueError(
                f"count is 1 or more islands, and begin between 1 and count, not {self.count}, {self.begin}"
            )

    @property
    def islands(self) -> int:  # type: ignore[override]
        """How many there are."""
        return self.count

    @property
    def map(self) -> Archive:
        """The geometry of each."""
        return self.archive.map

    @property
    def cells(self) -> int:
        """Those of all islands."""
        return self.count * self.archive.cells

    @property
    def axes(self) -> int:
        """As of the archive."""
        return self.archive.axes

    @property
    def names(self) -> tuple[str, ...]:
        """As of the archive."""
        return tuple(getattr(self.archive, "names", ()))

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the middle of each cell."""
        return np.tile(self.archive.centres, (self.count, 1))

    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`: the cell on the first island, or `NOWHERE`."""
        return self.archive.cell(descriptor)

    def inside(self, descriptor: Any) -> jax.Array:
        """bool `[n]`: as the archive says."""
        return self.archive.inside(descriptor)

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """float64 `[n, axes]`: as the archive does."""
        return self.archive.encode(descriptor)

    def add(
        self, elites: Elites, objective: Any, descriptor: Any, payload: Any, island: Any = EVERYWHERE
    ) -> tuple[Elites, Added]:
        """`elites` and the batch, whoever is better in each cell of its island, int `[n]`; see `qdkit.elites.insert`.

        What goes `EVERYWHERE` goes to the islands that a run begins with, and its status is the best of them.
        """
        objective, descriptor = np.asarray(objective), np.asarray(descriptor)
        n, begin = len(objective), self.begin or self.count
        island = np.broadcast_to(np.asarray(island), (n,))
        inner = self.archive.cell(descriptor)
        if not (island == EVERYWHERE).any():
            cell = jnp.where(inner == NOWHERE, NOWHERE, inner + island * self.archive.cells)
            return insert(elites, cell, objective, descriptor, jax.tree.map(np.asarray, payload))
        place = np.arange(self.count)
        there = np.where(island[:, None] == EVERYWHERE, place < begin, island[:, None] == place)
        row, place = (index.ravel() for index in np.indices(there.shape))
        cell = jnp.where((inner[row] == NOWHERE) | ~there.ravel(), NOWHERE, inner[row] + place * self.archive.cells)
        copies = jax.tree.map(lambda column: np.asarray(column)[row], payload)
        elites, added = insert(elites, cell, objective[row], descriptor[row], copies)
        status, value, where = (np.asarray(column).reshape(there.shape) for column in added)
        best = np.argmax(np.where(there, status, -1), 1)[:, None]
        return elites, Added(*(np.take_along_axis(column, best, 1)[:, 0] for column in (status, value, where)))  # type: ignore[arg-type]

    def united(self, elites: Elites) -> Elites:
        """The elites of `archive`'s cells: the best of all islands in each, of equals that of the first."""
        by_island = lambda column: np.asarray(column).reshape(self.count, self.archive.cells, *np.shape(column)[1:])
        best = by_island(elites.objective).argmax(0)
        chosen = jax.tree.map(lambda column: by_island(column)[best, np.arange(self.archive.cells)], elites)
        return self.archive.united(chosen)

    def changed(self, key: Any, elites: Elites, steps: int, stagnant: int) -> Elites:
        """The elites after what is due after `steps` steps, of which the last `stagnant` have not raised the best."""
        for number, change in enumerate(self.changes):
            if change.due(steps, stagnant):
                elites = change.change(jax.random.fold_in(key, number), elites, self.count)
        return elites


def _founded(elites: Elites, islands: int, emptied: jax.Array, source: jax.Array) -> Elites:
    """The `emptied` islands, bool `[islands]`, begun again, each with the best of the island `source` says."""
    each = len(elites.objective) // islands
    founder = source * each + elites.objective.reshape(islands, each).argmax(1)[source]
    clear = jnp.repeat(emptied, each)
    wipe = lambda column, blank: jnp.where(clear.reshape(-1, *[1] * (column.ndim - 1)), blank, column)
    cleared = Elites(
        wipe(elites.objective, -jnp.inf),
        wipe(elites.descriptor, jnp.nan),
        jax.tree.map(lambda column: wipe(column, jnp.asarray(-1, column.dtype)), elites.payload),
    )
    return _copied(cleared, islands, emptied, founder, elites)


def _copied(elites: Elites, islands: int, to: jax.Array, row: jax.Array, of: Elites | None = None) -> Elites:
    """Copies of the elites in the cells `row`, int `[islands]`, on the islands `to`, bool `[islands]`."""
    each, of = len(elites.objective) // islands, of or elites
    cell = jnp.arange(islands) * each + row % each
    objective = jnp.where(to, of.objective[row], jnp.nan)
    return insert(elites, cell, objective, of.descriptor[row], jax.tree.map(lambda x: x[row], of.payload))[0]
