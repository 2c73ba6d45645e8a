"""The best candidate of each cell, as arrays. Every archive made of cells shares this.

`Elites` is what is kept; an `Archive` says in which cell a descriptor belongs; `insert` says who
stays there. All of it is pure and fit for `jax.jit`, `vmap` and `lax.scan`.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

NOWHERE = -1  # the cell of a descriptor that belongs to none

REJECTED, IMPROVED, NEW = 0, 1, 2  # the values of `Added.status`, as in pyribs


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("objective", "descriptor", "payload", "state"),
    meta_fields=("depth",),
)
@dataclass(frozen=True)
class Elites:
    """`C` places for elites, `depth` of them in each cell; `d` is the number of axes.

    objective: float `[C]`, -inf where the place is empty.
    descriptor: float `[C, d]`, nan where empty.
    payload: any pytree of arrays `[C, ...]` that ride along with an elite. A search keeps the
      candidate's id there, so that a poem is held by its number, and numeric genomes themselves.
    state: what the insertion rule remembers beside the elites, a pytree of arrays; `()` for most.
    depth: how many places a cell has, which stand next to each other, the best elite in the first of them.
    """

    objective: jax.Array
    descriptor: jax.Array
    payload: Any
    state: Any = ()
    depth: int = 1

    @property
    def occupied(self) -> jax.Array:
        """bool `[C]`."""
        return self.objective > -np.inf


class Added(NamedTuple):
    """What became of each candidate of a batch, against the elites before the batch (as in pyribs).

    status: int32 `[n]`: `REJECTED` 0, not better than the cell's elite; `IMPROVED` 1; `NEW` 2, the cell was empty.
    value: float `[n]`: the gain over the cell's elite; in an empty cell the objective itself; nan if it cannot enter.
    cell: int32 `[n]`, `NOWHERE` for a row that belongs to no cell.
    """

    status: jax.Array
    value: jax.Array
    cell: jax.Array


def empty(cells: int, axes: int, payload: Any) -> Elites:
    """No elites yet. `payload` is one example: a pytree of scalars or arrays, of which -1 is stored everywhere."""
    spread = lambda x: jnp.full((cells, *jnp.shape(x)), -1, jnp.asarray(x).dtype)
    objective, descriptor = jnp.full(cells, -jnp.inf, float), jnp.full((cells, axes), jnp.nan, float)
    return Elites(objective, descriptor, jax.tree.map(spread, payload))


@jax.jit
def insert(
    elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
) -> tuple[Elites, Added]:
    """Keeps, in each cell, the best of its elite and the batch; the first row wins a tie.

    A row enters only if its objective and descriptor are finite and its cell is one, so a failed
    or padded row needs no special case.
    """
    objective = objective.astype(elites.objective.dtype)  # compared as kept, or rounding alone could improve
    valid = fit(cell, objective, descriptor)
    place = jnp.where(valid, cell, 0)
    before = elites.objective[place]
    better, vacant = valid & (objective > before), before == -jnp.inf
    status = jnp.where(better, jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
    value = jnp.where(valid, objective - jnp.where(vacant, 0.0, before), jnp.nan)
    target = champions(better, place, objective, len(elites.objective))
    after = put(elites, target, objective, descriptor, payload)
    return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


# What insertion rules are made of.


def fit(cell: jax.Array, objective: jax.Array, descriptor: jax.Array) -> jax.Array:
    """bool `[n]`: the row has a cell, and nothing of it is nan or infinite."""
    return (cell >= 0) & jnp.isfinite(objective) & jnp.isfinite(descriptor).all(1)


def champions(entering: jax.Array, cell: jax.Array, objective: jax.Array, cells: int) -> jax.Array:
    """int32 `[n]`: its cell for the row that is the best of those `entering` it, the first of equals; else `cells`.

    `cells` is one beyond the last, which `put` leaves out. `cell` is a cell in every row.
    """
    order = jnp.arange(len(cell), dtype=jnp.int32)
    best = jax.ops.segment_max(jnp.where(entering, objective, -jnp.inf), cell, cells)
    tied = jnp.where(entering & (objective == best[cell]), order, len(cell))
    first = jax.ops.segment_min(tied, cell, cells)
    return jnp.where(entering & (first[cell] == order), cell, cells).astype(jnp.int32)


def put(elites: Elites, target: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any) -> Elites:
    """`elites` with each row in the place `target`, int32 `[n]`; rows with a place out of range are left out."""
    put = lambda old, new: old.at[target].set(new.astype(old.dtype), mode="drop")
    return replace(
        elites,
        objective=put(elites.objective, objective),
        descriptor=put(elites.descriptor, descriptor),
        payload=jax.tree.map(put, elites.payload, payload),
    )


@partial(jax.jit, static_argnames="n")
def sample(key: jax.Array, elites: Elites, n: int) -> jax.Array:
    """int32 `[n]`: cells of elites, drawn uniformly with replacement. Meaningless while there are none.

    Counts through all `C` cells: an array of the occupied ones alone would change its shape from
    step to step, and jax would compile anew each time.
    """
    upto = jnp.cumsum(elites.occupied)
    rank = jax.random.randint(key, (n,), 0, jnp.maximum(upto[-1], 1))
    return jnp.searchsorted(upto, rank, side="right").astype(jnp.int32)


class Archive(abc.ABC):
    """A geometry of cells. Who writes one gives `cells`, `axes` and `cell`; the rest follows.

    An archive holds nothing: `init` gives the elites of an empty one, and `add` gives new elites.
    """

    elitist: ClassVar[bool] = True  # a cell is held by the best that ever came, the first of equals
    islands: ClassVar[int] = 1  # separate populations that its cells are, of equally many each

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """How many cells there are."""

    @property
    @abc.abstractmethod
    def axes(self) -> int:
        """How many numbers make a descriptor."""

    @abc.abstractmethod
    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`, the cell of each descriptor `[n, axes]`; `NOWHERE` if it belongs to none."""

    def inside(self, descriptor: Any) -> jax.Array:
        """bool `[n]`: within the bounds. What lies outside is clipped or refused by `cell`, and counted."""
        return jnp.ones(len(descriptor), bool)

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, axes]`: the middle of each cell, nan where it has none."""
        return np.full((self.cells, self.axes), np.nan)

    @property
    def map(self) -> Archive:
        """The geometry by which its elites, `united`, are drawn and compared."""
        return self

    def united(self, elites: Elites) -> Elites:
        """The elites as a map shows and metrics count them: one in each kind of cell."""
        return elites

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """float64 `[n, axes]` from what a domain gave, which may be labels where the archive has labels.

        Raises ValueError if it has another number of axes or is not made of numbers.
        """
        return numbers(descriptor, self.axes)

    def init(self, payload: Any = 0) -> Elites:
        """An empty archive; `payload` is an example of what rides along with an elite."""
        return empty(self.cells, self.axes, payload)

    def insert(
        self, elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
    ) -> tuple[Elites, Added]:
        """Who stays: the best of each cell (see `qdkit.elites.insert`), unless the archive has a rule of its own."""
        return insert(elites, cell, objective, descriptor, payload)

    def add(self, elites: Elites, objective: Any, descriptor: Any, payload: Any) -> tuple[Elites, Added]:
        """The elites with the batch, and what became of each of its rows: see `insert`.

        The elites that were given stay as they are, which costs a copy of all cells. A loop that has
        no more use for them calls `update`.
        """
        return self._placed(_add, elites, objective, descriptor, payload)

    def update(self, elites: Elites, objective: Any, descriptor: Any, payload: Any) -> tuple[Elites, Added]:
        """As `add`, in the memory of `elites`: they are gone, and jax raises RuntimeError where they are used again."""
        return self._placed(_update, elites, objective, descriptor, payload)

    def _placed(self, add: Any, elites: Elites, objective: Any, descriptor: Any, payload: Any) -> tuple[Elites, Added]:
        plain = isinstance(payload, jax.Array)
        rows = _array(objective), _array(descriptor), payload if plain else jax.tree.map(_array, payload)
        if _foreign(self):
            return self.insert(elites, self.cell(rows[1]), *rows)
        return add(self, elites, *rows)


@dataclass(frozen=True, eq=False)
class Wrapped(Archive):
    """The geometry of `archive`, of which a subclass changes something."""

    archive: Archive

    @property
    def cells(self) -> int:
        """As many as the archive has."""
        return self.archive.cells

    @property
    def axes(self) -> int:
        """As of the archive."""
        return self.archive.axes

    @property
    def names(self) -> tuple[str, ...]:
        """As of the archive."""
        return tuple(getattr(self.archive, "names", ())) or tuple(f"axis {i}" for i in range(self.axes))

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, axes]`: as of the archive."""
        return self.archive.centres

    @property
    def map(self) -> Archive:
        """As of the archive."""
        return self.archive.map

    def cell(self, descriptor: Any) -> jax.Array:
        """int32 `[n]`: as the archive says."""
        return self.archive.cell(descriptor)

    def inside(self, descriptor: Any) -> jax.Array:
        """bool `[n]`: as the archive says."""
        return self.archive.inside(descriptor)

    def encode(self, descriptor: Any) -> np.ndarray:
        """float64 `[n, axes]`: as the archive does."""
        return self.archive.encode(descriptor)


_FOREIGN: dict[type, bool] = {}


def _foreign(archive: Archive) -> bool:
    """Whether its class is unknown to jax, so that its `cell` may be any code; found out once, as calls are short."""
    kind = type(archive)
    if kind not in _FOREIGN:
        _FOREIGN[kind] = jax.tree_util.all_leaves([archive])
    return _FOREIGN[kind]


def _whole(archive: Archive, elites: Elites, objective: Any, descriptor: Any, payload: Any) -> tuple[Elites, Added]:
    """From descriptors to elites, to be compiled as one."""
    return archive.insert(elites, archive.cell(descriptor), objective, descriptor, payload)


_add, _update = jax.jit(_whole), jax.jit(_whole, donate_argnums=1)


def _array(values: Any) -> Any:
    """`values` as what a jitted function takes; it moves numpy's arrays itself, at a tenth of the cost."""
    return values if isinstance(values, jax.Array) else np.asarray(values)


def numbers(descriptor: Any, axes: int) -> np.ndarray:
    """`descriptor` as float64 `[n, axes]`, or an error that says what it was."""
    try:
        place = np.asarray(descriptor, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a descriptor is {axes} numbers for each candidate, and this is not numbers: {error}. "
            "Labels need an archive whose axis has labels."
        ) from None
    if place.shape == (0,):
        return place.reshape(0, axes)  # a list of no rows does not show its axes
    if place.ndim != 2 or place.shape[1] != axes:
        raise ValueError(
            f"the archive has {axes} axes, so descriptors have shape (n, {axes}), and these have {place.shape}"
        )
    return place


def double() -> AbstractContextManager[Any]:
    """A scope in which jax computes in float64, as objectives of dear candidates need it.

    In float32 the best known circle packing and the one before it compare equal.
    """
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # type: ignore[attr-defined]  # jax < 0.8

    return enable_x64()
