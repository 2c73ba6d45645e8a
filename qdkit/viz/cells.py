"""Where the cells of an archive lie in the plane: the geometry of the maps, without a line of drawing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np


class Level(NamedTuple):
    """One axis of a nested grid, along one side of the picture.

    axis: its number in the archive; size: how many cells it has.
    width: how many cells of the picture one of its own cells spans; repeats: how often it comes.
    """

    axis: int
    size: int
    width: int
    repeats: int


def nested(shape: tuple[int, ...], values: np.ndarray) -> tuple[np.ndarray, list[Level], list[Level]]:
    """A grid of any number of axes laid out in the plane (dimensional stacking, LeBlanc et al. 1990).

    Even axes run along x and odd ones along y; the first of each is innermost, and every further
    one tiles what is inside it. Gives `values` `[C]` as `[rows, columns]`, the levels along x and
    those along y, innermost first.
    """
    across, upward = (list(range(first, len(shape), 2)) for first in (0, 1))
    order = upward[::-1] + across[::-1]
    rows = math.prod(shape[axis] for axis in upward)
    return values.reshape(shape).transpose(order).reshape(rows, -1), _levels(shape, across), _levels(shape, upward)


def _levels(shape: tuple[int, ...], axes: list[int]) -> list[Level]:
    sizes = [shape[axis] for axis in axes]
    return [Level(axis, sizes[i], math.prod(sizes[:i]), math.prod(sizes[i + 1 :])) for i, axis in enumerate(axes)]


def cell_names(archive: Any, axis: int) -> list[str]:
    """What each cell along an axis of a grid holds: its label, or the range of its numbers."""
    if archive.labels(axis):
        return list(archive.labels(axis))
    edges = archive.edges(axis)
    return [f"{low:.2g}–{high:.2g}" for low, high in pairwise(edges)]


def box(bounds: Any) -> np.ndarray:
    """float64 `[d, 2]`: the bounds as they are drawn; an axis on which all is one number gets a width."""
    low, high = np.asarray(bounds, np.float64).T
    flat = np.where(low < high, 0.0, 0.5)
    return np.stack([low - flat, high + flat], 1)


def intervals(centroids: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells of centroids `[C]` on a line: edges `[k + 1]` from left to right, and the cell between each two `[k]`.

    Of equal centroids, the first has the cell and the others have none, as in `CVT.cell`.
    """
    places, first = np.unique(centroids, return_index=True)
    low, high = bounds
    middles = (places[:-1] + places[1:]) / 2
    return np.clip(np.concatenate([[low], middles, [high]]), low, high), first


def voronoi(centroids: np.ndarray, bounds: np.ndarray) -> list[np.ndarray]:
    """The part of the box `[2, 2]` that is nearest to each of the centroids `[C, 2]`: `C` polygons `[k, 2]`.

    Of equal centroids, the first has the cell and the others have an empty one, as in `CVT.cell`.
    """
    from scipy.spatial import Voronoi

    _, first = np.unique(centroids, axis=0, return_index=True)
    everything = np.vstack([centroids, bounds.T])
    low, high = everything.min(0), everything.max(0)
    # Four points so far away that they take nothing of the box, and close every cell within it.
    far = (low + high) / 2 + 10 * (high - low).max() * np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])
    diagram = Voronoi(np.vstack([centroids[first], far]))
    cells = [np.empty((0, 2))] * len(centroids)
    for place, cell in enumerate(first):
        corners = diagram.vertices[diagram.regions[diagram.point_region[place]]]
        cells[cell] = corners if _within(corners, bounds) else clipped(corners, bounds)
    return cells


def clipped(corners: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The part of a convex polygon `[k, 2]` within the box (Sutherland & Hodgman 1974)."""
    for axis, ends in enumerate(bounds):
        for sign, end in zip((1, -1), ends, strict=True):
            depth = sign * (corners[:, axis] - end)
            kept: list[np.ndarray] = []
            for here, there, a, b in zip(corners, np.roll(corners, -1, 0), depth, np.roll(depth, -1), strict=True):
                if a >= 0:
                    kept.append(here)
                if (a >= 0) != (b >= 0):
                    kept.append(here + (there - here) * a / (a - b))
            corners = np.array(kept).reshape(-1, 2)
    return corners


def _within(corners: np.ndarray, bounds: np.ndarray) -> bool:
    return bool((corners >= bounds[:, 0]).all() and (corners <= bounds[:, 1]).all())
