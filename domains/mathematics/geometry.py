"""Exact plane geometry on integer points, and two descriptors of a set of points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from qdkit.domains.mathematics.exact_arithmetic import integers

Point = tuple[int, int]


def lattice(points: np.ndarray) -> tuple[list[Point], int]:
    """Returns float points `[n, 2]` as integer points over one power of two, exactly.

    See `exact_arithmetic.integers`.
    """
    flat, shift = integers(points.ravel().tolist())
    return list(zip(flat[::2], flat[1::2], strict=True)), shift


def twice_area(a: Point, b: Point, c: Point) -> int:
    """Returns twice the signed area of a triangle; positive if it turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def distance2(a: Point, b: Point) -> int:
    """Returns the square of a distance."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def hull(points: Sequence[Point]) -> list[Point]:
    """Returns the corners of the convex hull, turning left (Andrew 1979).

    Points on an edge are no corners.
    """
    order = sorted(set(points))
    chains: list[list[Point]] = []
    for row in (order, order[::-1]):
        chain: list[Point] = []
        for point in row:
            while len(chain) > 1 and twice_area(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        chains.append(chain[:-1])
    return chains[0] + chains[1]


def twice_polygon(corners: Sequence[Point]) -> int:
    """Returns twice the area of a polygon whose corners turn left."""
    return sum(
        a[0] * b[1] - a[1] * b[0]
        for a, b in zip(corners, [*corners[1:], *corners[:1]], strict=True)
    )


def least_twice_area(points: Sequence[Point]) -> int:
    """Returns twice the area of the smallest triangle among the points."""
    return min(abs(twice_area(a, b, c)) for a, b, c in combinations(points, 3))


def radial_spread(points: np.ndarray) -> float:
    """Returns the standard deviation of the distances from the centroid over their mean.

    It is 0 for a ring.
    """
    scaled = points / max(np.abs(points).max(), np.finfo(float).tiny)
    distance = np.linalg.norm(scaled - scaled.mean(0), axis=1)
    return float(distance.std() / distance.mean())


def affine_spread(points: np.ndarray) -> float:
    """Returns `radial_spread` after the affine map that gives the points a round covariance.

    It is the same for every affine image of the points.
    """
    scaled = points / max(np.abs(points).max(), np.finfo(float).tiny)
    whitened, *_ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    return radial_spread(whitened)
