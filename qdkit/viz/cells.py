"""Where the cells of an archive lie in the plane: the geometry of the maps, without drawing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from qdkit.viz.style import axis_labels


class Level(NamedTuple):
    """One axis of a nested grid, along one side of the picture.

    axis: its number in the archive.
    size: the number of its cells.
    width: the number of cells of the picture that one of its cells spans.
    repeats: how often the axis is repeated.
    """

    axis: int
    size: int
    width: int
    repeats: int


def nested(
    shape: tuple[int, ...], values: np.ndarray
) -> tuple[np.ndarray, list[Level], list[Level]]:
    """Lays out a grid of any number of axes in the plane.

    Dimensional stacking, LeBlanc et al. 1990. Even axes run along x and odd ones along y; the
    first of each is innermost, and every further one tiles the axes inside it. Returns `values`
    `[C]` as `[rows, columns]`, the levels along x and the levels along y, innermost first.
    """
    across, upward = (list(range(first, len(shape), 2)) for first in (0, 1))
    order = upward[::-1] + across[::-1]
    rows = math.prod(shape[axis] for axis in upward)
    return (
        values.reshape(shape).transpose(order).reshape(rows, -1),
        _levels(shape, across),
        _levels(shape, upward),
    )


def _levels(shape: tuple[int, ...], axes: list[int]) -> list[Level]:
    """Returns the levels of these axes, innermost first."""
    sizes = [shape[axis] for axis in axes]
    return [
        Level(axis, sizes[i], math.prod(sizes[:i]), math.prod(sizes[i + 1 :]))
        for i, axis in enumerate(axes)
    ]


def cell_names(archive: Any, axis: int) -> list[str]:
    """Returns a name for each cell along an axis of a grid: its label or range of numbers."""
    if labels := axis_labels(archive, axis):
        return list(labels)
    edges = archive.edges(axis)
    return [f"{low:.2g}–{high:.2g}" for low, high in pairwise(edges)]


def drawn_bounds(bounds: Any) -> np.ndarray:
    """Returns the bounds as they are drawn, float64 `[d, 2]`.

    An axis on which all numbers are equal gets a width.
    """
    low, high = np.asarray(bounds, np.float64).T
    flat = np.where(low < high, 0.0, 0.5)
    return np.stack([low - flat, high + flat], 1)


def intervals(centroids: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cells of centroids `[C]` on a line.

    Returns the edges `[k + 1]` from left to right, and the cell between each two of them `[k]`. Of
    equal centroids, the first has the cell and the others have none, as in `CVT.cell`.
    """
    unique, first = np.unique(centroids, return_index=True)
    low, high = bounds
    middles = (unique[:-1] + unique[1:]) / 2
    return np.clip(np.concatenate([[low], middles, [high]]), low, high), first


def voronoi(centroids: np.ndarray, bounds: np.ndarray) -> list[np.ndarray]:
    """Returns the part of the box `[2, 2]` nearest to each of the centroids `[C, 2]`.

    Returns `C` polygons `[k, 2]`. Of equal centroids, the first has the cell and the others have
    an empty one, as in `CVT.cell`.
    """
    from scipy.spatial import Voronoi

    _, first = np.unique(centroids, axis=0, return_index=True)
    extent = np.vstack([centroids, bounds.T])
    low, high = extent.min(0), extent.max(0)
    # Four points so far away that no part of the box is nearest to them. They close every cell.
    far = (low + high) / 2 + 10 * (high - low).max() * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    diagram = Voronoi(np.vstack([centroids[first], far]))
    cells = [np.empty((0, 2))] * len(centroids)
    for point, cell in enumerate(first):
        corners = diagram.vertices[diagram.regions[diagram.point_region[point]]]
        cells[cell] = corners if _within(corners, bounds) else _clip_polygon(corners, bounds)
    return cells


def _clip_polygon(corners: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Returns the part of a convex polygon `[k, 2]` within the box (Sutherland & Hodgman 1974)."""
    for axis, ends in enumerate(bounds):
        for sign, end in zip((1, -1), ends, strict=True):
            depth = sign * (corners[:, axis] - end)
            clipped: list[np.ndarray] = []
            next_corners, next_depth = np.roll(corners, -1, 0), np.roll(depth, -1)
            for here, there, a, b in zip(corners, next_corners, depth, next_depth, strict=True):
                if a >= 0:
                    clipped.append(here)
                if (a >= 0) != (b >= 0):
                    clipped.append(here + (there - here) * a / (a - b))
            corners = np.array(clipped).reshape(-1, 2)
    return corners


def _within(corners: np.ndarray, bounds: np.ndarray) -> bool:
    """Returns whether all corners lie in the box."""
    return bool((corners >= bounds[:, 0]).all() and (corners <= bounds[:, 1]).all())
