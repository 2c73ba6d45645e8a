"""A local optimiser for problems that maximise the quotient min(lows) / max(highs) of a point set.

For `MinMaxDistance` lows and highs are squared distances; for `Heilbronn` they are areas of
triangles and the area of the hull. `climb` replaces each number by its tangent and moves the
points by the solution of a linear programme, no farther than a radius that shrinks if the tangents
were wrong (Dinkelbach 1967 for the quotient; sequential linear programming in a box for the rest).
It converges fast because the optima are vertices: as many numbers tie there as there are
coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np


class Tangents(NamedTuple):
    """Functions of the points, to first order."""

    value: np.ndarray  # [k]
    slope: np.ndarray  # [k, 2 n]: the derivatives by each coordinate


Measure = Callable[[np.ndarray], tuple[Tangents, Tangents]]  # of points [n, 2]: lows, highs


def climb(points: np.ndarray, measure: Measure, turns: int = 200) -> np.ndarray:
    """Returns points `[n, 2]` near `points` where min(lows) / max(highs) has a local maximum."""
    lows, highs = measure(points)
    quotient, reach = lows.value.min() / highs.value.max(), 0.1
    for _ in range(turns):
        step = _linear_step(lows, highs, quotient, reach)
        moved = points + step.reshape(points.shape)
        after = measure(moved)
        value = after[0].value.min() / after[1].value.max()
        if value > quotient:
            points, (lows, highs), quotient, reach = moved, after, value, min(2 * reach, 0.1)
        else:
            reach /= 4
        if reach < 1e-13:
            break
    return points


def _linear_step(lows: Tangents, highs: Tangents, quotient: float, reach: float) -> np.ndarray:
    """Returns the move `[2 n]` within `reach` that maximises t - quotient * s.

    t is at most the least of the lows, s at least the greatest of the highs. The unknowns are the
    move in units of `reach`, and the changes of t and s in units of the change that such a move
    may bring, so that the tolerances of the solver shrink with the step.
    """
    from scipy.optimize import linprog

    (low, fall), (high, rise) = lows, highs
    unit = reach * max(np.abs(fall).max(), np.abs(rise).max())
    column = lambda value, side: np.full((len(side), 1), value)
    below = [-fall * reach / unit, column(1.0, low), column(0.0, low)]
    above = [rise * reach / unit, column(0.0, high), column(-1.0, high)]
    rows = np.block([below, above])
    limits = np.concatenate([low - low.min(), high.max() - high]) / unit
    box = [(-1.0, 1.0)] * fall.shape[1] + [(-1e3, 1e3)] * 2
    cost = np.concatenate([np.zeros(fall.shape[1]), [-1.0, quotient]])
    near = limits < 2 * np.abs(rows[:, :-2]).sum(1).max()  # this move cannot reach the others
    result = linprog(cost, A_ub=rows[near], b_ub=limits[near], bounds=box, method="highs")
    return reach * result.x[:-2]


def pair_distances(points: np.ndarray) -> tuple[Tangents, Tangents]:
    """Returns the squared distances of all pairs, as lows and as highs."""
    n = len(points)
    i, j = np.triu_indices(n, 1)
    difference, row = points[i] - points[j], np.arange(len(i))
    slope = np.zeros((len(i), n, 2))
    slope[row, i], slope[row, j] = 2 * difference, -2 * difference
    tangents = Tangents((difference**2).sum(1), slope.reshape(len(i), -1))
    return tangents, tangents


def triangles(points: np.ndarray) -> tuple[Tangents, Tangents]:
    """Returns twice the areas of all triangles as lows, and twice that of the hull as the high."""
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
    """Returns twice the signed areas of triangles; `corners` `[k, 3]` are rows of `points`."""
    a, b, c = points[corners].transpose(1, 0, 2)
    value = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    slope, row = np.zeros((len(corners), *points.shape)), np.arange(len(corners))
    for k, opposite in enumerate((c - b, a - c, b - a)):
        slope[row, corners[:, k]] = np.stack([-opposite[:, 1], opposite[:, 0]], 1)
    return Tangents(value, slope.reshape(len(corners), -1))


def improve_distances(genomes: np.ndarray) -> np.ndarray:
    """Takes genomes `[m, 2 n]` of `MinMaxDistance` to local optima; for `Polish`.

    The points are scaled to fit the unit square.
    """
    return _climb_all(genomes, pair_distances, lambda p: (p - p.min(0)) / np.ptp(p, 0).max())


def improve_triangles(genomes: np.ndarray) -> np.ndarray:
    """Takes genomes `[m, 2 n]` of `Heilbronn` to local optima; for `Polish`.

    The points are stretched to fill the unit square.
    """
    return _climb_all(genomes, triangles, lambda p: (p - p.min(0)) / np.ptp(p, 0))


def _climb_all(
    genomes: np.ndarray, measure: Measure, fit: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Returns the local optimum of each genome, after `fit`, clipped to the unit square."""
    optima = [fit(climb(g.reshape(-1, 2), measure)) for g in np.asarray(genomes, np.float64)]
    return np.clip(np.stack(optima).reshape(genomes.shape), 0, 1)


__all__ = ["climb", "improve_distances", "improve_triangles", "pair_distances", "triangles"]
