"""Separate populations over one geometry of cells (Tanese 1989).

The resets are those of FunSearch (Romera-Paredes et al. 2024). An island is one more coordinate of
a cell: cell = island * C + cell of the geometry, for its C cells. So one `insert` serves all
islands, and migration, resets and spawning are pure functions of the elites.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import NOWHERE, Added, Archive, Elites, Wrapped, insert
from qdkit.core.shapes import as_array, check_columns, check_elites, check_state

from .checks import checked_integer, checked_real

EVERYWHERE = -1  # stands for all islands that a run begins with: where a seed goes


class _Change(abc.ABC):
    """A change to the islands after a step, if it is `due`."""

    @abc.abstractmethod
    def due(self, steps: int, stagnant: int) -> bool:
        """Returns whether the change takes place after `steps` steps.

        stagnant: the number of the last steps that have not raised the best objective.
        """

    @abc.abstractmethod
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        """Returns the elites after the change.

        The function is pure. The cells of an island are next to each other.
        """


@dataclass(frozen=True)
class Migrate(_Change):
    """Every so many steps each island sends copies of some elites to another island.

    An elite that arrives stays if it is better than the elite of its cell there.

    every: the number of steps between two migrations.
    share: the share of an island's elites that is sent, at least one elite.
    by: "ring" sends to the next island, "random" sends each island's elites to one of the others.
    """

    every: int = 50
    share: float = 0.1
    by: Literal["ring", "random"] = "ring"

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", checked_integer("every", self.every))
        share = checked_real("share", self.share, "a number above 0 and up to 1 is needed")
        if not 0 < share <= 1 or self.by not in ("ring", "random"):
            raise ValueError(
                f'every is 1 or more, share above 0 and up to 1, by "ring" or "random", not {self}'
            )

    def due(self, steps: int, stagnant: int) -> bool:
        return steps % self.every == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        elite_key, target_key = jax.random.split(key)
        each = len(elites.objective) // islands
        uniform = jax.random.uniform(elite_key, elites.objective.shape)
        chance = jnp.where(elites.occupied, uniform, jnp.inf)
        first = jnp.repeat(chance.reshape(islands, each).min(1), each)
        migrates = elites.occupied & ((chance < self.share) | (chance == first))
        hop: Any
        if self.by == "ring":
            hop = 1
        else:
            hop = jax.random.randint(target_key, (islands, 1), 1, max(islands, 2))
        target = (jnp.arange(islands)[:, None] + hop) % islands
        cell = (target * each + jnp.arange(each)[None]).reshape(-1)
        objective = jnp.where(migrates, elites.objective, jnp.nan)
        return insert(elites, cell, objective, elites.descriptor, elites.payload)[0]


@dataclass(frozen=True)
class Reset(_Change):
    """Every so many steps the weaker half of the islands is emptied and restarted.

    Islands are compared by their best objective. Each emptied island restarts with a copy of the
    best elite of one of the other islands, drawn uniformly.
    """

    every: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", checked_integer("every", self.every))

    def due(self, steps: int, stagnant: int) -> bool:
        return steps % self.every == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        best = elites.objective.reshape(islands, -1).max(1)
        inhabited = best > -jnp.inf
        # the weakest first, the empty ones last
        order = jnp.argsort(jnp.where(inhabited, best, jnp.inf), stable=True)
        rank = jnp.zeros(islands, int).at[order].set(jnp.arange(islands))
        count = inhabited.sum()
        half = count // 2
        weak = inhabited & (rank < half)
        offset = jax.random.randint(key, (islands,), 0, jnp.maximum(count - half, 1))
        return _restart(elites, islands, weak, order[half + offset])


@dataclass(frozen=True)
class Spawn(_Change):
    """After so many steps without a better best objective, an empty island receives an elite.

    after: the number of steps without a better best objective; another island follows after as
      many more.
    founder: "best" copies the best elite of all islands, "random" copies any elite. There are
      empty islands only where a run begins on some of them: see `Islands.begin`.
    """

    after: int = 100
    founder: Literal["best", "random"] = "best"

    def __post_init__(self) -> None:
        object.__setattr__(self, "after", checked_integer("after", self.after))
        if self.founder not in ("best", "random"):
            raise ValueError(f'after is 1 or more and founder "best" or "random", not {self}')

    def due(self, steps: int, stagnant: int) -> bool:
        return stagnant > 0 and stagnant % self.after == 0

    @partial(jax.jit, static_argnums=(0, 3))
    def change(self, key: Any, elites: Elites, islands: int) -> Elites:
        empty = ~elites.occupied.reshape(islands, -1).any(1)
        first_empty = empty & (jnp.cumsum(empty) == 1)
        if self.founder == "best":
            source = jnp.argmax(elites.objective)
        else:
            chance = jax.random.uniform(key, elites.objective.shape)
            source = jnp.argmax(jnp.where(elites.occupied, chance, -1.0))
        return _with_copies(elites, islands, first_empty, jnp.full(islands, source))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("archive",),
    meta_fields=("count", "begin", "changes"),
)
@dataclass(frozen=True, eq=False)
class Islands(Wrapped):
    """`count` separate populations, each with an elite in each cell of `archive`.

    Children stay on the island of their parents.

    begin: the number of islands that receive the seeds, all where left out; the others wait for a
      `Spawn`.
    changes: the changes between islands, such as `(Migrate(every=50), Reset(every=500))`; none
      where empty.

    Candidates are made for the islands in turn. A map, coverage and QD score count each cell of
    `archive` once, with the best elite of all islands.

    Raises ValueError for less than one island, and for an archive with an insertion rule of its
    own.
    """

    count: int = 4
    begin: int | None = None
    changes: tuple[_Change, ...] = (Migrate(),)

    def __post_init__(self) -> None:
        if not isinstance(self.archive, Archive):
            return  # jax is rebuilding the tree, with a placeholder in place of the archive
        object.__setattr__(self, "count", checked_integer("count", self.count))
        if self.begin is not None:
            object.__setattr__(self, "begin", checked_integer("begin", self.begin))
        if wrong := [change for change in self.changes if not isinstance(change, _Change)]:
            raise ValueError(f"changes are such as Migrate(every=50), and one is {wrong[0]!r}")
        if (self.begin or self.count) > self.count:
            raise ValueError(
                f"count is 1 or more islands and begin 1 to count of them, not {self.count}, "
                f"{self.begin}"
            )
        if not self.archive.elitist or self.archive.islands > 1:
            inner = type(self.archive).__name__
            raise ValueError(
                f"on every island the best of a cell stays, and a {inner} has another rule: "
                "give Islands the cells alone, such as a Grid or a CVT"
            )

    @property
    def islands(self) -> int:  # type: ignore[override]
        """The number of islands."""
        return self.count

    @property
    def cells(self) -> int:
        """The number of cells of all islands."""
        return self.count * self.archive.cells

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the middle of each cell."""
        return np.tile(self.archive.centres, (self.count, 1))

    def add(
        self,
        elites: Elites,
        objective: Any,
        descriptor: Any,
        payload: Any,
        island: Any = EVERYWHERE,
    ) -> tuple[Elites, Added]:
        """Returns the elites after the batch and the fate of each row: see `core.elites.insert`.

        island: the island of each row, int `[n]`, or one for all rows. A row for `EVERYWHERE` goes
          to the islands that a run begins with, and its status is the best of theirs.
        """
        objective, descriptor = (
            as_array("objective", objective),
            as_array("descriptor", descriptor),
        )
        payload = jax.tree.map(lambda column: as_array("the payload", column, real=False), payload)
        check_elites(elites, self.cells, self.axes)
        check_state(elites, Elites(elites.objective, elites.descriptor, ()))
        check_columns(elites, objective, descriptor, payload)
        objective, descriptor = np.asarray(objective), np.asarray(descriptor)
        n, begin = len(objective), self.begin or self.count
        island = self._checked_islands(island, n)
        inner = self.archive.cell(descriptor)
        if not (island == EVERYWHERE).any():
            cell = jnp.where(inner == NOWHERE, NOWHERE, inner + island * self.archive.cells)
            return insert(elites, cell, objective, descriptor, jax.tree.map(np.asarray, payload))
        number = np.arange(self.count)
        goes = np.where(island[:, None] == EVERYWHERE, number < begin, island[:, None] == number)
        row, target = (index.ravel() for index in np.indices(goes.shape))
        left_out = (inner[row] == NOWHERE) | ~goes.ravel()
        cell = jnp.where(left_out, NOWHERE, inner[row] + target * self.archive.cells)
        copies = jax.tree.map(lambda column: np.asarray(column)[row], payload)
        elites, added = insert(elites, cell, objective[row], descriptor[row], copies)
        columns = [np.asarray(column).reshape(goes.shape) for column in added]
        best = np.argmax(np.where(goes, columns[0], -1), 1)[:, None]
        best_columns = (np.take_along_axis(column, best, 1)[:, 0] for column in columns)
        return elites, Added(*best_columns)  # type: ignore[arg-type]

    def update(
        self,
        elites: Elites,
        objective: Any,
        descriptor: Any,
        payload: Any,
        island: Any = EVERYWHERE,
    ) -> tuple[Elites, Added]:
        """Returns the same as `add`. The memory of `elites` is not reused."""
        return self.add(elites, objective, descriptor, payload, island)

    def _checked_islands(self, island: Any, n: int) -> np.ndarray:
        """Returns the island of each row, int `[n]`, from one for each row or one for all."""
        numbers = np.asarray(island)
        if numbers.shape not in ((), (n,)) or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"island must be one integer or have shape ({n},) for a batch of {n} rows, and "
                f"has {numbers.shape} of {numbers.dtype}"
            )
        if ((numbers < EVERYWHERE) | (numbers >= self.count)).any():
            raise ValueError(
                f"island is from 0 to {self.count - 1}, or {EVERYWHERE} for everywhere, and is "
                f"{numbers.tolist()}"
            )
        return np.broadcast_to(numbers, (n,))

    def united(self, elites: Elites) -> Elites:
        """Returns the elites of the cells of `archive`: in each cell the best of all islands.

        Of equals, the elite of the first island counts.
        """
        cells = self.archive.cells
        by_island = lambda column: np.asarray(column).reshape(
            self.count, cells, *np.shape(column)[1:]
        )
        best = by_island(elites.objective).argmax(0)
        best_elites = jax.tree.map(
            lambda column: by_island(column)[best, np.arange(cells)], elites
        )
        return self.archive.united(best_elites)

    def changed(self, key: Any, elites: Elites, steps: int, stagnant: int) -> Elites:
        """Returns the elites after the changes between islands that are due after `steps` steps.

        stagnant: the number of the last steps that have not raised the best objective.
        """
        for number, change in enumerate(self.changes):
            if change.due(steps, stagnant):
                elites = change.change(jax.random.fold_in(key, number), elites, self.count)
        return elites


def _restart(elites: Elites, islands: int, weak: jax.Array, source: jax.Array) -> Elites:
    """Returns the elites after a restart of the `weak` islands, bool `[islands]`.

    Each restarts with a copy of the best elite of the island `source`, int `[islands]`.
    """
    each = len(elites.objective) // islands
    founder = source * each + elites.objective.reshape(islands, each).argmax(1)[source]
    clear = jnp.repeat(weak, each)
    wipe = lambda column, blank: jnp.where(
        clear.reshape(-1, *[1] * (column.ndim - 1)), blank, column
    )
    cleared = Elites(
        wipe(elites.objective, -jnp.inf),
        wipe(elites.descriptor, jnp.nan),
        jax.tree.map(lambda column: wipe(column, jnp.asarray(-1, column.dtype)), elites.payload),
    )
    return _with_copies(cleared, islands, weak, founder, elites)


def _with_copies(
    elites: Elites, islands: int, target: jax.Array, row: jax.Array, source: Elites | None = None
) -> Elites:
    """Returns the elites with a copy of one elite on each of the `target` islands.

    target: bool `[islands]`.
    row: int `[islands]`, the cell of each copied elite in `source`, which is `elites` by default.
    """
    each, source = len(elites.objective) // islands, source or elites
    cell = jnp.arange(islands) * each + row % each
    objective = jnp.where(target, source.objective[row], jnp.nan)
    payload = jax.tree.map(lambda x: x[row], source.payload)
    return insert(elites, cell, objective, source.descriptor[row], payload)[0]
