"""A local optimiser for problems about the least of many numbers over the greatest of others.

Both `MinMaxDistance` and `Heilbronn` ask for points that make least(lows) / greatest(highs) great:
squared distances over squared distances, areas of triangles over the area of the hull. `climb`
replaces each number by its tangent, moves the points as a linear programme says, no farther than a
radius that shrinks where the tangents were wrong (Dinkelbach 1967 for the quotient; a sequential
linear programme in a box for the rest). It converges fast, as the optima are corners: as many
numbers tie there as there are coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np


class Tangents(NamedTuple):
    """Numbers `[k]` at some points, and how they change with each coordinate, `[k, 2 n]`."""

    value: np.ndarray
    slope: np.ndarray


Measure = Callable[[np.ndarray], tuple[Tangents, Tangents]]  # of points [n, 2]: lows, highs


def climb(points: np.ndarray, measure: Measure, turns: int = 200) -> np.ndarray:
    """Points `[n, 2]` near the given ones where least(lows) / greatest(highs) has a local maximum."""
    lows, highs = measure(points)
    quotient, reach = lows.value.min() / highs.value.max(), 0.1
    for _ in range(turns):
        step = _linear_step(lows, highs, quotient, reach)
        tried = points + step.reshape(points.shape)
        after = measure(tried)
        value = after[0].value.min() / after[1].value.max()
        if value > quotient:
            points, (lows, highs), quotient, reach = tried, after, value, min(2 * reach, 0.1)
        else:
            reach /= 4
        if reach < 1e-13:
            break
    return points


def _linear_step(lows: Tangents, highs: Tangents, quotient: float, reach: float) -> np.ndarray:
    """`[2 n]`: the move within `reach` that makes t - quotient * s greatest, t below all lows, s above all highs.

    The unknowns are the move in units of `reach`, and t and s as gains in units of the change that
    such a move may bring, so that the tolerances of the solver shrink with the step.
    """
    from scipy.optimize import linprog

    (low, fall), (high, rise) = lows, highs
    unit = reach * max(np.abs(fall).max(), np.abs(rise).max())
    zero, one = (np.zeros((len(low), 1)), np.zeros((len(high), 1))), (np.ones((len(low), 1)), np.ones((len(high), 1)))
    rows = np.block([[-fall * reach / unit, one[0], zero[0]], [rise * reach / unit, zero[1], -one[1]]])
    limits = np.concatenate([low - low.min(), high.max() - high]) / unit
    box = [(-1.0, 1.0)] * fall.shape[1] + [(-1e3, 1e3)] * 2
    cost = np.concatenate([np.zeros(fall.shape[1]), [-1.0, quotient]])
    near = limits < 2 * np.abs(rows[:, :-2]).sum(1).max()  # the others cannot be reached by this move
    return reach * linprog(cost, A_ub=rows[near], b_ub=limits[near], bounds=box, method="highs").x[:-2]


def distances(points: np.ndarray) -> tuple[Tangents, Tangents]:
    """The squared distances of all pairs, as lows and as highs."""
    n = len(points)
    i, j = np.triu_indices(n, 1)
    difference, row = points[i] - points[j], np.arange(len(i))
    slope = np.zeros((len(i), n, 2))
    slope[row, i], slope[row, j] = 2 * difference, -2 * difference
    tangents = Tangents((difference**2).sum(1), slope.reshape(len(i), -1))
    return tangents, tangents


def triangles(points: np.ndarray) -> tuple[Tangents, Tangents]:
    """Twice the areas of all triangles as lows, twice the area of the convex hull as the one high."""
    from scipy.spatial import ConvexHull

    n = len(points)
    corners = np.array(list(combinations(range(n), 3)))
    lows = _areas(points, corners)
    sign = np.where(lows.value < 0, -1.0, 1.0)
    around = ConvexHull(points).vertices
    fan = np.array([(around[0], a, b) for a, b in pairwise(around[1:])])
    parts = _areas(points, fan)
    highs = Tangents(parts.value.sum(keepdims=True), parts.slope.sum(0, keepdims=True))
    return Tangents(sign * lows.value, sign[:, None] * lows.slope), highs


def _areas(points: np.ndarray, corners: np.ndarray) -> Tangents:
    """Twice the signed areas of triangles, given by three row numbers each, `[k, 3]`."""
    a, b, c = points[corners].transpose(1, 0, 2)
    value = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    slope, row = np.zeros((len(corners), *points.shape)), np.arange(len(corners))
    for k, opposite in enumerate((c - b, a - c, b - a)):
        slope[row, corners[:, k]] = np.stack([-opposite[:, 1], opposite[:, 0]], 1)
    return Tangents(value, slope.reshape(len(corners), -1))


def improve_distances(genomes: np.ndarray) -> np.ndarray:
    """Genomes `[m, 2 n]` of `MinMaxDistance` at local optima, scaled to fit the unit square: for `Polish`."""
    return _each(genomes, distances, lambda p: (p - p.min(0)) / np.ptp(p, 0).max())


def improve_triangles(genomes: np.ndarray) -> np.ndarray:
    """Genomes `[m, 2 n]` of `Heilbronn` at local optima, stretched to fill the unit square: for `Polish`."""
    return _each(genomes, triangles, lambda p: (p - p.min(0)) / np.ptp(p, 0))


def _each(genomes: np.ndarray, measure: Measure, fit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    found = [fit(climb(g.reshape(-1, 2), measure)) for g in np.asarray(genomes, np.float64)]
    return np.clip(np.stack(found).reshape(genomes.shape), 0, 1)


__all__ = ["climb", "distances", "improve_distances", "improve_triangles", "triangles"]
