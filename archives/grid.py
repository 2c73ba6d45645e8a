"""A grid of cells over a box of descriptors (MAP-Elites, Mouret & Clune 2015).

Each axis is divided in one of three ways, and a grid may mix them: evenly between two bounds, at
given edges, or into labels.
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

from qdkit.elites import NOWHERE, Archive, numbers

Axis = tuple[float, ...] | tuple[str, ...]
NUDGE = 1e-6  # as in pyribs: 0.29 * 100 cells is 28.999999999999996 and belongs to cell 29


@partial(jax.tree_util.register_dataclass, data_fields=(), meta_fields=("shape", "bounds", "outside", "names"))
@dataclass(frozen=True)
class Grid(Archive):
    """`shape` cells along each axis of the box `bounds`.

    shape: how many cells along each axis.
    bounds: for each axis, `(low, high)` for cells of equal width; or all its edges, sorted, one
      more than cells; or a label for each cell. `Grid((10, 3, 2), ((0, 1), (0, 1, 10, 100), ("haiku", "ode")))`
      has one axis of each.
    outside: a descriptor outside the box is put into the nearest border cell ("clip") or refused
      ("reject"); a search counts and shows it either way.
    names: what the axes measure, for plots and tables.

    Cells are numbered in C order: the last axis runs fastest. Raises ValueError for a shape that is
    not positive, bounds with low >= high, edges that are not sorted, labels that repeat.
    """

    shape: tuple[int, ...]
    bounds: tuple[Axis, ...]
    outside: Literal["clip", "reject"] = "clip"
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not isinstance(self.shape, Sequence | np.ndarray):
            raise ValueError(f"shape has an entry for each axis: ({self.shape},), not {self.shape}")
        if len(self.shape) == 0 or len(self.shape) != len(self.bounds):
            raise ValueError(
                f"shape has {len(self.shape)} axes and bounds has {len(self.bounds)}: "
                "give one entry of each for every axis"
            )
        if self.outside not in ("clip", "reject"):
            raise ValueError(f"outside is 'clip' or 'reject', not {self.outside!r}")
        bounds = tuple(
            _checked(axis, size, given) for axis, (size, given) in enumerate(zip(self.shape, self.bounds, strict=True))
        )
        names = tuple(self.names) or tuple(f"axis {i}" for i in range(len(bounds)))
        if len(names) != len(bounds):
            raise ValueError(f"names has {len(names)} entries for {len(bounds)} axes: name all of them or none")
        for name, value in {"shape": tuple(int(s) for s in self.shape), "bounds": bounds, "names": names}.items():
            object.__setattr__(self, name, value)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return math.prod(self.shape)

    @property
    def axes(self) -> int:
        """How many numbers make a descriptor."""
        return len(self.shape)

    def labels(self, axis: int) -> tuple[str, ...] | None:
        """The labels of an axis made of labels, else None."""
        first, *_ = given = self.bounds[axis]
        return tuple(map(str, given)) if isinstance(first, str) else None

    def edges(self, axis: int) -> np.ndarray:
        """float64 `[cells + 1]`, sorted. Label k, held as the number k, lies between the edges k - ½ and k + ½."""
        given, size = self.bounds[axis], self.shape[axis]
        if self.labels(axis):
            return np.arange(size + 1) - 0.5
        edges = np.asarray(given, np.float64)
        return np.linspace(edges[0], edges[1], size + 1) if len(edges) == 2 else edges

    @property
    def centres(self) -> np.ndarray:
        """float64 `[C, d]`: the middle of each cell; of a label, its number."""
        middles = [(edges[:-1] + edges[1:]) / 2 for edges in map(self.edges, range(self.axes))]
        return np.stack(np.meshgrid(*middles, indexing="ij"), -1).reshape(self.cells, self.axes)

    @jax.jit
    def cell(self, descriptor: jax.Array) -> jax.Array:
        """int32 `[n]`. A nan belongs to no cell; what is outside the box as `outside` says."""
        descriptor = jnp.asarray(descriptor)
        place = jnp.stack([self._along(axis, descriptor[:, axis]) for axis in range(self.axes)], 1)
        cell = sum(place[:, axis] * math.prod(self.shape[axis + 1 :]) for axis in range(self.axes))
        belongs = ~jnp.isnan(descriptor).any(1)
        if self.outside == "reject":
            belongs &= self.inside(descriptor)
        return jnp.where(belongs, cell, NOWHERE).astype(jnp.int32)

    @jax.jit
    def inside(self, descriptor: jax.Array) -> jax.Array:
        """bool `[n]`: within the bounds of every axis, the bounds included."""
        low, high = np.array([(edges[0], edges[-1]) for edges in map(self.edges, range(self.axes))]).T[:, None]
        return ((low <= descriptor) & (descriptor <= high)).all(1)

    def encode(self, descriptor: Sequence[Sequence[Any]] | np.ndarray | Any) -> np.ndarray:
        """float64 `[n, axes]`; a label becomes its number, None and nan become nan.

        Raises ValueError for a label that the axis does not have.
        """
        if not any(map(self.labels, range(self.axes))):
            return numbers(descriptor, self.axes)
        rows = [tuple(row) for row in descriptor]
        if any(len(row) != self.axes for row in rows):
            raise ValueError(
                f"the archive has {self.axes} axes, so each descriptor has {self.axes} entries; one has another number"
            )
        return numbers([[self._number(i, x) for i, x in enumerate(row)] for row in rows], self.axes)

    def _number(self, axis: int, value: Any) -> Any:
        labels = self.labels(axis)
        if labels is None or value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
            return math.nan if value is None else value
        if str(value) in labels:
            return labels.index(str(value))
        raise ValueError(
            f"{self.names[axis]} has the labels {', '.join(labels)}, and a candidate was described as {value!r}: "
            "add that label to the archive, or describe with None what has no label"
        )

    def _along(self, axis: int, value: jax.Array) -> jax.Array:
        """int32 `[n]`: the cell along one axis, border cells for what lies beyond."""
        given, size = self.bounds[axis], self.shape[axis]
        if self.labels(axis) or len(given) == 2:
            low, *_, high = self.edges(axis)
            place = jnp.floor((size * (value - low) + NUDGE) / (high - low))
        else:
            place = jnp.searchsorted(self.edges(axis), value, side="right") - 1
        return jnp.clip(jnp.nan_to_num(place), 0, size - 1).astype(jnp.int32)


def _checked(axis: int, size: int, given: Any) -> Axis:
    """One entry of `bounds` as a tuple, or an error that says what is wrong with it."""
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise ValueError(f"bounds[{axis}] is (low, high), a list of edges or a list of labels, not {given!r}")
    given = tuple(given)
    if not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"shape[{axis}] is {size}: an axis has a whole number of cells, at least one")
    if given and all(isinstance(x, str) for x in given):
        if len(given) != size or len(set(given)) != size:
            raise ValueError(f"axis {axis} has {size} cells, so bounds[{axis}] is {size} different labels, not {given}")
        return given
    try:
        edges = tuple(float(x) for x in given)
    except (TypeError, ValueError):
        raise ValueError(f"bounds[{axis}] mixes labels and numbers: {given}") from None
    if len(edges) not in (2, size + 1):
        raise ValueError(
            f"axis {axis} has {size} cells, so bounds[{axis}] is (low, high) or {size + 1} edges, "
            f"not {len(edges)} numbers"
        )
    if not all(math.isfinite(x) for x in edges) or any(a >= b for a, b in itertools.pairwise(edges)):
        raise ValueError(f"bounds[{axis}] is {edges}: finite numbers, each greater than the one before, are needed")
    return edges
