"""The best candidate of each cell, as arrays. All archives made of cells use this module.

`Elites` holds the elites, an `Archive` assigns a cell to each descriptor, and `insert` decides
which candidates stay. All functions are pure and work under `jax.jit`, `vmap` and `lax.scan`.
"""

from __future__ import annotations

import abc
import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.shapes import as_array, check_columns, check_descriptor, check_elites, check_state

_LAST = 2**31 - 1  # the numbers of cells are int32
NOWHERE = -1  # the cell of a descriptor that belongs to no cell

REJECTED, IMPROVED, NEW = 0, 1, 2  # the values of `Added.status`, as in pyribs


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("objective", "descriptor", "payload", "state"),
    meta_fields=("depth",),
)
@dataclass(frozen=True)
class Elites:
    """`C` slots for elites, `depth` of them in each cell; `d` is the number of axes.

    objective: float `[C]`, -inf in an empty slot.
    descriptor: float `[C, d]`, nan in an empty slot.
    payload: any pytree of arrays `[C, ...]` that is stored with the elites. A search stores the
      ids of the candidates there, and numeric genomes too.
    state: the state of the insertion rule, a pytree of arrays; `()` for most rules.
    depth: the number of slots of a cell. They are adjacent, and the first holds the best elite.
    """

    objective: jax.Array
    descriptor: jax.Array
    payload: Any
    state: Any = ()
    depth: int = 1

    @property
    def occupied(self) -> jax.Array:
        """bool `[C]`: whether the slot holds an elite."""
        return self.objective > -np.inf


class Added(NamedTuple):
    """The result of adding a batch, compared with the elites before the batch (as in pyribs).

    status: int32 `[n]`: `REJECTED` 0, not better than the elite of the cell; `IMPROVED` 1, better;
      `NEW` 2, the cell was empty.
    value: float `[n]`: the gain over the elite of the cell; the objective itself for an empty
      cell; nan for a candidate that cannot enter.
    cell: int32 `[n]`, `NOWHERE` for a candidate that belongs to no cell.
    """

    status: jax.Array
    value: jax.Array
    cell: jax.Array


def empty(cells: int, axes: int, payload: Any) -> Elites:
    """Returns `Elites` without an elite.

    payload: the payload of one elite as an example, a pytree of scalars or arrays. Every slot
      holds -1 in its place.

    Raises ValueError for a payload that jax cannot hold, and for more cells than int32 can number
    or memory can hold.
    """
    payload = jax.tree.map(lambda x: as_array("the payload", x, real=False), payload)
    _check_memory(cells, axes, payload)
    unset = lambda x: jnp.full((cells, *jnp.shape(x)), -1, jnp.asarray(x).dtype)
    objective = jnp.full(cells, -jnp.inf, float)
    descriptor = jnp.full((cells, axes), jnp.nan, float)
    return Elites(objective, descriptor, jax.tree.map(unset, payload))


@jax.jit
def insert(
    elites: Elites, cell: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
) -> tuple[Elites, Added]:
    """Keeps, in each cell, the best of its elite and the batch; of equal rows the first.

    A row enters only if it has a cell and its objective and descriptor are finite, so that failed
    and padded rows need no special case. Raises ValueError for columns of other shapes
    (`check_columns`).
    """
    check_columns(elites, objective, descriptor, payload, cell)
    # Compared in the dtype of the elites, or rounding alone could count as an improvement.
    objective = objective.astype(elites.objective.dtype)
    valid = can_enter(cell, objective, descriptor)
    slot = jnp.where(valid, cell, 0)
    before = elites.objective[slot]
    better, vacant = valid & (objective > before), before == -jnp.inf
    status = jnp.where(better, jnp.where(vacant, NEW, IMPROVED), REJECTED).astype(jnp.int32)
    value = jnp.where(valid, objective - jnp.where(vacant, 0.0, before), jnp.nan)
    target = best_entering(better, slot, objective, len(elites.objective))
    after = put(elites, target, objective, descriptor, payload)
    return after, Added(status, value, jnp.where(valid, cell, NOWHERE).astype(jnp.int32))


# Functions for insertion rules.


def can_enter(cell: jax.Array, objective: jax.Array, descriptor: jax.Array) -> jax.Array:
    """Returns bool `[n]`: whether a row has a cell, a finite objective and a finite descriptor."""
    return (cell >= 0) & jnp.isfinite(objective) & jnp.isfinite(descriptor).all(1)


def best_entering(
    entering: jax.Array, cell: jax.Array, objective: jax.Array, cells: int
) -> jax.Array:
    """Returns int32 `[n]`: the cell of a row that is the best `entering` it, else `cells`.

    Of equal rows the first is the best. `cells` is one beyond the last cell, so `put` leaves the
    row out. `cell` must be a valid cell in every row.
    """
    order = jnp.arange(len(cell), dtype=jnp.int32)
    best = jax.ops.segment_max(jnp.where(entering, objective, -jnp.inf), cell, cells)
    tied = jnp.where(entering & (objective == best[cell]), order, len(cell))
    first = jax.ops.segment_min(tied, cell, cells)
    return jnp.where(entering & (first[cell] == order), cell, cells).astype(jnp.int32)


def put(
    elites: Elites, target: jax.Array, objective: jax.Array, descriptor: jax.Array, payload: Any
) -> Elites:
    """Returns `elites` with each row in the slot `target`, int32 `[n]`.

    Rows with a slot out of range are left out.
    """
    store = lambda old, new: old.at[target].set(new.astype(old.dtype), mode="drop")
    return replace(
        elites,
        objective=store(elites.objective, objective),
        descriptor=store(elites.descriptor, descriptor),
        payload=jax.tree.map(store, elites.payload, payload),
    )


@partial(jax.jit, static_argnames="n")
def sample(key: jax.Array, elites: Elites, n: int) -> jax.Array:
    """Returns int32 `[n]`: slots of elites, drawn uniformly with replacement.

    The result is undefined if there are no elites. The function counts through all `C` slots: an
    array of the occupied slots alone would change its shape from step to step, and jax would
    compile again each time.
    """
    upto = jnp.cumsum(elites.occupied)
    rank = jax.random.randint(key, (n,), 0, jnp.maximum(upto[-1], 1))
    return jnp.searchsorted(upto, rank, side="right").astype(jnp.int32)


class Archive(abc.ABC):
    """A geometry of cells. A subclass implements `cells`, `axes` and `cell`.

    An archive holds no elites: `init` returns those of an empty archive, and `add` returns new
    ones.
    """

    # Whether a cell always holds the best candidate that it ever received, the first of equals.
    elitist: ClassVar[bool] = True
    islands: ClassVar[int] = 1  # separate populations, each with the same number of cells

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """The number of cells."""

    @property
    @abc.abstractmethod
    def axes(self) -> int:
        """The number of axes of a descriptor."""

    @abc.abstractmethod
    def cell(self, descriptor: Any) -> jax.Array:
        """Returns int32 `[n]`: the cell of each descriptor `[n, axes]`, or `NOWHERE`."""

    def inside(self, descriptor: Any) -> jax.Array:
        """Returns bool `[n]`: whether a descriptor lies within the bounds.

        `cell` clips or rejects a descriptor outside the bounds, and metrics count it.
        """
        check_descriptor(descriptor, self.axes)
        return jnp.ones(len(descriptor), bool)

    def refusal(self, objective: float, descriptor: np.ndarray) -> str:
        """Returns why a candidate cannot enter the empty archive; "" if it can.

        descriptor: `[axes]`.
        """
        if not math.isfinite(objective):
            return f"its objective is {objective}"
        if not np.isfinite(descriptor).all():
            return f"its descriptor is {np.asarray(descriptor).tolist()}"
        row = np.asarray(descriptor, np.float64)[None]
        with double():
            cell = np.asarray(self.cell(row))[0]
        if int(cell) != NOWHERE:
            return ""
        bounds = getattr(self.map, "bounds", None)
        where = "in no cell"
        if bounds:
            where = f"outside the bounds {bounds}: widen them, or clip with outside='clip'"
        return f"its descriptor {np.asarray(descriptor).tolist()} lies {where}"

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, axes]`: the centroid of each cell, nan for a cell without one."""
        return np.full((self.cells, self.axes), np.nan)

    @property
    def map(self) -> Archive:
        """The archive whose cells plots and comparisons use for the elites of `united`."""
        return self

    def united(self, elites: Elites) -> Elites:
        """Returns the elites that plots and metrics use: one for each cell of `map`."""
        return elites

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """Returns the descriptors of a domain as float64 `[n, axes]`.

        They may be labels if the archive has labels. Raises ValueError for another number of axes,
        and for other values than numbers.
        """
        return as_descriptors(descriptor, self.axes)

    def init(self, payload: Any = 0) -> Elites:
        """Returns the elites of an empty archive; `payload` is an example of one payload."""
        return empty(self.cells, self.axes, payload)

    def insert(
        self,
        elites: Elites,
        cell: jax.Array,
        objective: jax.Array,
        descriptor: jax.Array,
        payload: Any,
    ) -> tuple[Elites, Added]:
        """Inserts a batch: keeps the best of each cell (see `qdkit.core.elites.insert`).

        A subclass with another insertion rule calls `qdkit.core.shapes.check_columns` first, as
        jax would broadcast columns of other shapes.
        """
        return insert(elites, cell, objective, descriptor, payload)

    def add(
        self, elites: Elites, objective: Any, descriptor: Any, payload: Any
    ) -> tuple[Elites, Added]:
        """Adds a batch. Returns the new elites and the result of each row (see `insert`).

        objective: numbers `[n]`.
        descriptor: numbers `[n, axes]`.
        payload: a pytree like that of `init`, of arrays `[n, ...]`.

        The arrays of `elites` stay valid, so all cells are copied. A loop that does not need the
        old elites calls `update` instead. Outside `double()` jax computes in float32 and rounds
        descriptors before their cells are computed. An archive whose cells float32 cannot
        distinguish raises an error.

        Raises ValueError for columns or elites of other shapes; nothing is broadcast.
        """
        return self._insert_rows(_add, elites, objective, descriptor, payload)

    def update(
        self, elites: Elites, objective: Any, descriptor: Any, payload: Any
    ) -> tuple[Elites, Added]:
        """Adds a batch as `add` does, but reuses the memory of `elites`.

        jax raises RuntimeError if the old elites are used afterwards.
        """
        return self._insert_rows(_update, elites, objective, descriptor, payload)

    def _insert_rows(
        self, jitted: Any, elites: Elites, objective: Any, descriptor: Any, payload: Any
    ) -> tuple[Elites, Added]:
        if not isinstance(payload, jax.Array):
            payload = jax.tree.map(lambda x: as_array("the payload", x, real=False), payload)
        rows = as_array("objective", objective), as_array("descriptor", descriptor), payload
        if _unknown_to_jax(self):
            _check(self, elites, *rows)
            return self.insert(elites, self.cell(rows[1]), *rows)
        return jitted(self, elites, *rows)


@dataclass(frozen=True, eq=False)
class Wrapped(Archive):
    """The geometry of `archive`; a subclass changes a part of it."""

    archive: Archive

    @property
    def cells(self) -> int:
        """The number of cells of the archive."""
        return self.archive.cells

    @property
    def axes(self) -> int:
        """The number of axes of the archive."""
        return self.archive.axes

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the axes; numbered if the archive has no names."""
        names = tuple(getattr(self.archive, "names", ()))
        return names or tuple(f"axis {i}" for i in range(self.axes))

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, axes]`: the centroids of the archive."""
        return self.archive.centres

    @property
    def map(self) -> Archive:
        """The map of the archive."""
        return self.archive.map

    def cell(self, descriptor: Any) -> jax.Array:
        """Returns int32 `[n]`: the cells in the archive."""
        return self.archive.cell(descriptor)

    def inside(self, descriptor: Any) -> jax.Array:
        """Returns bool `[n]`: whether a descriptor lies within the bounds of the archive."""
        return self.archive.inside(descriptor)

    def refusal(self, objective: float, descriptor: np.ndarray) -> str:
        """Returns why a candidate cannot enter the archive; "" if it can."""
        return self.archive.refusal(objective, descriptor)

    def encode(self, descriptor: Any) -> np.ndarray:
        """Returns float64 `[n, axes]`: the descriptors as the archive encodes them."""
        return self.archive.encode(descriptor)


_UNKNOWN_TO_JAX: dict[type, bool] = {}


def _unknown_to_jax(archive: Archive) -> bool:
    """Whether the class of an archive is no pytree, so that its `cell` may be any code.

    The answer is cached for each class, as calls of `add` are short.
    """
    kind = type(archive)
    if kind not in _UNKNOWN_TO_JAX:
        _UNKNOWN_TO_JAX[kind] = jax.tree_util.all_leaves([archive])
    return _UNKNOWN_TO_JAX[kind]


def _cell_and_insert(
    archive: Archive, elites: Elites, objective: Any, descriptor: Any, payload: Any
) -> tuple[Elites, Added]:
    """Computes the cells and inserts the rows, to be compiled as one function."""
    check_state(elites, jax.eval_shape(lambda: archive.init(0)))
    _check(archive, elites, objective, descriptor, payload)
    return archive.insert(elites, archive.cell(descriptor), objective, descriptor, payload)


_add = jax.jit(_cell_and_insert)
_update = jax.jit(_cell_and_insert, donate_argnums=1)


def _check(
    archive: Archive, elites: Elites, objective: Any, descriptor: Any, payload: Any
) -> None:
    """Raises ValueError unless the elites are of this archive and the columns of one batch."""
    check_elites(elites, archive.cells * elites.depth, archive.axes)
    check_columns(elites, objective, descriptor, payload)


def _check_memory(slots: int, axes: int, payload: Any) -> None:
    """Raises ValueError for more slots than int32 can number, or memory can hold twice.

    Memory holds them twice, as `add` copies them.
    """
    leaves = [(jnp.shape(x), jnp.result_type(x)) for x in jax.tree.leaves(payload)]
    float_bytes = jax.dtypes.canonicalize_dtype(np.float64).itemsize
    payload_bytes = sum(
        math.prod(shape) * getattr(dtype, "itemsize", 8) for shape, dtype in leaves
    )
    slot_bytes = float_bytes * (1 + axes) + payload_bytes
    available, needed = _available_memory(), slots * slot_bytes
    if slots > _LAST or 2 * needed > available:
        limit = f"this machine has {available:,}"
        if slots > _LAST:
            limit = f"at most {_LAST:,} cells can be numbered"
        raise ValueError(
            f"the archive would have {slots:,} cells of {slot_bytes:,} bytes, {needed:,} bytes in "
            f"all and twice that while a batch is added, and {limit}: take fewer cells, or a CVT "
            "or an archive without cells, whose number does not grow with the axes"
        )


@cache
def _available_memory() -> float:
    """Returns the bytes of memory that this process may use; infinity if the limit is unknown."""
    available = math.inf
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(getattr(os, "sysconf_names", {})):
        pages = os.sysconf("SC_PHYS_PAGES")
        available = os.sysconf("SC_PAGE_SIZE") * pages if pages > 0 else available
    container_limit = Path("/sys/fs/cgroup/memory.max")
    try:
        text = container_limit.read_text(encoding="ascii").strip()
    except OSError:
        return available
    return min(available, int(text)) if text.isdigit() else available


def as_descriptors(descriptor: Any, axes: int) -> np.ndarray:
    """Returns descriptors as float64 `[n, axes]`. Raises ValueError for anything else."""
    if getattr(getattr(descriptor, "dtype", None), "kind", "") == "c":
        raise ValueError(
            f"a descriptor is {axes} real numbers for each candidate, and this has "
            f"{descriptor.dtype}"
        )
    try:
        values = np.asarray(descriptor, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a descriptor is {axes} numbers for each candidate, and this is not numbers: "
            f"{error}. Labels need an archive whose axis has labels."
        ) from None
    if values.shape == (0,):
        return values.reshape(0, axes)  # a list without rows has no second dimension
    if values.ndim != 2 or values.shape[1] != axes:
        raise ValueError(
            f"the archive has {axes} axes, so descriptors have shape (n, {axes}), and these have "
            f"{values.shape}"
        )
    return values


def double() -> AbstractContextManager[Any]:
    """Returns a context in which jax computes in float64.

    Objectives of expensive candidates need it: in float32 the best known circle packing and its
    predecessor compare equal.
    """
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # type: ignore[attr-defined]  # jax < 0.8

    return enable_x64()
