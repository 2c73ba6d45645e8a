"""A grid of cells over a box of descriptors (MAP-Elites, Mouret & Clune 2015).

Each axis is divided evenly between two bounds, at given edges, or into labels. A grid may mix the
three.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from qdkit.core.elites import NOWHERE, Archive, as_descriptors
from qdkit.core.shapes import check_descriptor

from . import axis_edges as even

_Axis = tuple[float, ...] | tuple[str, ...]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(),
    meta_fields=("shape", "bounds", "outside", "names"),
)
@dataclass(frozen=True)
class Grid(Archive):
    """A grid with `shape` cells along each axis of the box `bounds`.

    shape: the number of cells along each axis.
    bounds: for each axis, `(low, high)` for cells of equal width; or all its edges, sorted, one
      more than cells; or a label for each cell.
      `Grid((10, 3, 2), ((0, 1), (0, 1, 10, 100), ("haiku", "ode")))` has one axis of each.
    outside: "clip" puts a descriptor outside the box into the nearest border cell, "reject"
      refuses it. A search counts and shows such descriptors either way.
    names: what the axes measure, for plots and tables.

    Cells are numbered in C order: the last axis runs fastest. A descriptor on an edge belongs to
    the cell above the edge, and a descriptor on the upper bound to the last cell. Cells are exact
    in float64, at every scale and offset (see `archives/axis_edges.py`).

    Raises ValueError for a shape that is not positive, bounds with low >= high, edges that are not
    sorted, labels that repeat, and cells too narrow for float64. Outside
    `qdkit.core.elites.double()`, `cell` and `add` raise it for cells too narrow for float32.
    """

    shape: tuple[int, ...]
    bounds: tuple[_Axis, ...]
    outside: Literal["clip", "reject"] = "clip"
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Sequence | np.ndarray):
            raise ValueError(
                f"shape has an entry for each axis: ({self.shape},), not {self.shape}"
            )
        if len(self.shape) == 0 or len(self.shape) != len(self.bounds):
            raise ValueError(
                f"shape has {len(self.shape)} axes and bounds has {len(self.bounds)}: "
                "give one entry of each for every axis"
            )
        if self.outside not in ("clip", "reject"):
            raise ValueError(f"outside is 'clip' or 'reject', not {self.outside!r}")
        bounds = tuple(
            _checked_axis(axis, size, bounds)
            for axis, (size, bounds) in enumerate(zip(self.shape, self.bounds, strict=True))
        )
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(len(bounds)))
        if len(names) != len(bounds):
            raise ValueError(
                f"names has {len(names)} entries for {len(bounds)} axes: name all of them or none"
            )
        for name, value in {
            "shape": tuple(int(s) for s in self.shape),
            "bounds": bounds,
            "names": names,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def cells(self) -> int:
        """The number of cells."""
        return math.prod(self.shape)

    @property
    def axes(self) -> int:
        """The number of descriptor axes."""
        return len(self.shape)

    def labels(self, axis: int) -> tuple[str, ...] | None:
        """Returns the labels of an axis made of labels, else None."""
        first, *_ = bounds = self.bounds[axis]
        return tuple(map(str, bounds)) if isinstance(first, str) else None

    def edges(self, axis: int) -> np.ndarray:
        """Returns the edges of the cells along an axis, float64 `[cells + 1]`, sorted.

        Label k is stored as the number k and lies between the edges k - ½ and k + ½.
        """
        bounds, size = self.bounds[axis], self.shape[axis]
        if self.labels(axis):
            return np.arange(size + 1) - 0.5
        edges = np.asarray(bounds, np.float64)
        return even.even_edges(*edges.tolist(), size).copy() if len(edges) == 2 else edges

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the middle of each cell; for a label, its number."""
        middles = [edges[:-1] / 2 + edges[1:] / 2 for edges in map(self.edges, range(self.axes))]
        return np.stack(np.meshgrid(*middles, indexing="ij"), -1).reshape(self.cells, self.axes)

    @jax.jit
    def cell(self, descriptor: jax.Array) -> jax.Array:
        """Returns the cell of each descriptor, int32 `[n]`.

        A descriptor with a nan belongs to no cell (`NOWHERE`). `outside` says what happens to a
        descriptor outside the box.
        """
        descriptor = jnp.asarray(descriptor)
        check_descriptor(descriptor, self.axes)
        axes = range(self.axes)
        index = jnp.stack([self._along(axis, descriptor[:, axis]) for axis in axes], 1)
        cell = sum(index[:, axis] * math.prod(self.shape[axis + 1 :]) for axis in axes)
        belongs = ~jnp.isnan(descriptor).any(1)
        if self.outside == "reject":
            belongs &= self.inside(descriptor)
        return jnp.where(belongs, cell, NOWHERE).astype(jnp.int32)

    @jax.jit
    def inside(self, descriptor: jax.Array) -> jax.Array:
        """Returns whether each descriptor is within the bounds of every axis, bool `[n]`.

        A descriptor on a bound is inside.
        """
        descriptor = jnp.asarray(descriptor)
        check_descriptor(descriptor, self.axes)
        edges = [self.edges(axis) for axis in range(self.axes)]
        low, high = np.array([(axis[0], axis[-1]) for axis in edges]).T[:, None]
        return ((low <= descriptor) & (descriptor <= high)).all(1)

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """Returns the descriptors as float64 `[n, axes]`.

        A label becomes its number; None and nan become nan. Raises ValueError for a label that the
        axis does not have.
        """
        if not any(map(self.labels, range(self.axes))):
            return as_descriptors(descriptor, self.axes)
        if (
            isinstance(descriptor, str | bytes)
            or not hasattr(descriptor, "__len__")
            or getattr(descriptor, "ndim", 1) == 0
        ):
            raise ValueError(
                f"the archive has {self.axes} axes, so descriptors have {self.axes} entries for "
                f"each candidate, and these are {descriptor!r:.80}"
            )
        rows = [self._row(row) for row in descriptor]
        return as_descriptors(
            [[self._number(i, x) for i, x in enumerate(row)] for row in rows], self.axes
        )

    def _row(self, row: Any) -> tuple[Any, ...]:
        """Returns one descriptor as a tuple.

        Raises ValueError unless it has an entry for each axis.
        """
        if isinstance(row, str | bytes) or not hasattr(row, "__len__") or len(row) != self.axes:
            raise ValueError(
                f"the archive has {self.axes} axes, so each descriptor has {self.axes} entries; "
                f"one is {row!r:.80}"
            )
        return tuple(row)

    def _number(self, axis: int, value: Any) -> Any:
        """Returns one entry of a descriptor as a number: a label as its number, None as nan."""
        labels = self.labels(axis)
        if value is None:
            return math.nan
        if labels is None or (isinstance(value, float | np.floating) and math.isnan(value)):
            return value
        if str(value) in labels:
            return labels.index(str(value))
        raise ValueError(
            f"{self.names[axis]} has the labels {', '.join(labels)}, and a candidate was "
            f"described as {value!r}: add that label to the archive, or describe with None "
            "what has no label"
        )

    def _along(self, axis: int, value: jax.Array) -> jax.Array:
        """Returns the cell along one axis, int32 `[n]`; the border cells for values outside."""
        bounds, size = self.bounds[axis], self.shape[axis]
        edges, dtype = self.edges(axis), jax.dtypes.canonicalize_dtype(np.float64)
        even.check_precision(self.names[axis], edges, dtype)
        if len(bounds) == 2 and not self.labels(axis):
            return even.axis_cells(edges[0].item(), edges[-1].item(), size, value)
        index = jnp.searchsorted(edges.astype(dtype), value.astype(dtype), side="right") - 1
        return jnp.clip(jnp.where(jnp.isnan(value), 0, index), 0, size - 1).astype(jnp.int32)


def _checked_axis(axis: int, size: int, bounds: Any) -> _Axis:
    """Returns one entry of `bounds` as a tuple. Raises ValueError that says what is wrong."""
    if isinstance(bounds, str) or not isinstance(bounds, Sequence | np.ndarray):
        raise ValueError(
            f"bounds[{axis}] is (low, high), a list of edges or a list of labels, not {bounds!r}"
        )
    bounds = tuple(bounds)
    if isinstance(size, bool | np.bool_) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(
            f"shape[{axis}] is {size}: an axis has a whole number of cells, at least one"
        )
    if bounds and all(isinstance(x, str) for x in bounds):
        if len(bounds) != size or len(set(bounds)) != size:
            raise ValueError(
                f"axis {axis} has {size} cells, so bounds[{axis}] is {size} different labels, not "
                f"{bounds}"
            )
        return bounds
    try:
        edges = tuple(float(x) for x in bounds)
    except (TypeError, ValueError):
        raise ValueError(f"bounds[{axis}] mixes labels and numbers: {bounds}") from None
    if len(edges) not in (2, size + 1):
        raise ValueError(
            f"axis {axis} has {size} cells, so bounds[{axis}] is (low, high) or {size + 1} edges, "
            f"not {len(edges)} numbers"
        )
    rising = all(a < b for a, b in itertools.pairwise(edges))
    if not rising or not all(math.isfinite(x) for x in edges):
        raise ValueError(
            f"bounds[{axis}] is {edges}: finite numbers, each greater than the one before, are "
            "needed"
        )
    if len(edges) == 2:
        even.check_even(f"axis {axis}", *edges, size)
    return edges
