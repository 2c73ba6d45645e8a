"""Points in the plane with a small ratio of the greatest to the least distance.

Minimise (greatest distance / least distance)² (AlphaEvolve B.8). Squares of float coordinates are
rational, so the ratio is computed without any rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any, ClassVar

from qdkit.domains.mathematics.exact_arithmetic import float_not_above
from qdkit.domains.mathematics.geometry import distance2, hull, lattice, radial_spread
from qdkit.domains.mathematics.problem import InvalidAnswer, PointProblem, checked_points

# exact, by `point_solver` from random points; AlphaEvolve B.8 claims 12.889266112
_BEST_KNOWN = {16: 12.8892299077}


@dataclass(frozen=True)
class MinMaxDistance(PointProblem):
    """`n` points anywhere; the objective is minus the squared ratio.

    The descriptor is the share of the points that are corners of the hull, and how much their
    distances from the centroid differ (see `radial_spread`).
    """

    n: int = 16
    name: ClassVar = "min_max_distance"
    bounds: ClassVar = ((0.0, 1.0), (0.0, 0.8))
    names: ClassVar = ("share on the hull", "radial spread")
    floor: ClassVar = -1e6  # random points come near each other; nothing bounds the ratio

    @property
    def best_known(self) -> float:
        return -_BEST_KNOWN.get(self.n, math.nan)

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        array = checked_points(output, self.n)
        exact, _ = lattice(array)
        squares = [distance2(a, b) for a, b in combinations(exact, 2)]
        if min(squares) == 0:
            raise InvalidAnswer("expected different points, and two of them coincide")
        objective = float_not_above(-Fraction(max(squares), min(squares)))
        return objective, (len(hull(exact)) / self.n, radial_spread(array))

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the points, and the pairs within a millionth of the least or greatest distance."""
        import numpy as np

        array = np.reshape(output, (-1, 2))
        pairs = list(combinations(array, 2))
        length = np.array([np.linalg.norm(a - b) for a, b in pairs])
        for extreme, colour in ((length.max(), "tab:red"), (length.min(), "tab:blue")):
            for k in np.flatnonzero(np.abs(length - extreme) < 1e-6 * extreme):
                ax.plot(*np.transpose(pairs[k]), color=colour, linewidth=0.8)
        ax.plot(*array.T, "ko", markersize=4)
        ax.set_aspect("equal")
        return ax
