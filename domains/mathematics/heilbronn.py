"""Heilbronn's problem in a convex region: points of which no three make a small triangle.

Maximise the area of the smallest triangle over the area of the convex hull (AlphaEvolve B.10). The
region is the hull of the points itself, so there is no region that points have to lie in. Both
areas are rational in the coordinates, and the ratio is computed without any rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any, ClassVar

from qdkit.domains.mathematics.exact_arithmetic import float_not_above
from qdkit.domains.mathematics.geometry import (
    affine_spread,
    hull,
    lattice,
    least_twice_area,
    twice_polygon,
)
from qdkit.domains.mathematics.problem import InvalidAnswer, PointProblem, checked_points

# AlphaEvolve B.10; areas are homogeneous, so these values have no slack
_BEST_KNOWN = {13: 0.030936889034895654, 14: 0.027835571458482138}


@dataclass(frozen=True)
class Heilbronn(PointProblem):
    """`n` points anywhere; an affine map of them changes neither the objective nor the descriptor.

    The descriptor is the share of the points that are corners of the hull, and how much their
    distances from the centroid differ (see `affine_spread`).
    """

    n: int = 13
    name: ClassVar = "heilbronn"
    bounds: ClassVar = ((0.0, 1.0), (0.0, 0.8))
    names: ClassVar = ("share on the hull", "radial spread")
    floor: ClassVar = 0.0

    @property
    def best_known(self) -> float:
        return _BEST_KNOWN.get(self.n, math.nan)

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        array = checked_points(output, self.n)
        exact, _ = lattice(array)
        corners = hull(exact)
        if len(corners) < 3:
            raise InvalidAnswer(
                "expected points with a convex hull of some area, and all of them lie on a line"
            )
        ratio = Fraction(least_twice_area(exact), twice_polygon(corners))
        return float_not_above(ratio), (len(corners) / self.n, affine_spread(array))

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the points, their hull, and every triangle within a millionth of the smallest."""
        import numpy as np

        array = np.reshape(output, (-1, 2))
        a, b, c = np.array(list(combinations(array, 3))).transpose(1, 2, 0)
        area = np.abs((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
        for k in np.flatnonzero(area <= area.min() * (1 + 1e-6)):
            triangle = np.stack([a[:, k], b[:, k], c[:, k]], 1)
            ax.fill(*triangle, color="tab:orange", alpha=0.2, linewidth=0)
        exact, shift = lattice(array)
        corners = np.array([[x / 2**shift, y / 2**shift] for x, y in hull(exact)])
        ax.fill(*corners.T, facecolor="none", edgecolor="tab:blue")
        ax.plot(*array.T, "ko", markersize=4)
        ax.set_aspect("equal")
        return ax
