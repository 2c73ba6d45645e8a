"""Circles in the unit square with the greatest sum of radii (AlphaEvolve B.12).

An answer holds only the centres. The referee computes the radii: for given centres the best radii
solve a linear programme. Radii that rounding left too long are shortened until no two circles
overlap and none leaves the square, in integer arithmetic and at tolerance zero. The objective is
thus the sum of radii of a packing that exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from qdkit.domains.mathematics.exact_arithmetic import float_not_above, integers
from qdkit.domains.mathematics.problem import InvalidAnswer, PointProblem, checked_points

# 26 and 32: at tolerance zero, by the solver beside this file. The others: Numaro, as reported.
_BEST_KNOWN = {
    26: 2.6359830849,
    32: 2.9395727712,
    33: 2.9872850086,
    36: 3.1210039084,
    40: 3.2923915726,
    41: 3.3346864337,
    42: 3.3769116039,
}
_TOUCHING = 1e-6  # in the descriptor, a circle this near to a side counts as touching it


@dataclass(frozen=True)
class CirclePacking(PointProblem):
    """The centres of `n` circles; the objective is the greatest sum of radii they allow.

    The descriptor is how much the radii differ (their deviation over their mean), and the share of
    the circles that touch a side of the square.
    """

    n: int = 26
    name: ClassVar = "circle_packing"
    bounds: ClassVar = ((0.0, 1.0), (0.0, 1.0))
    names: ClassVar = ("radius spread", "share on the sides")
    floor: ClassVar = 0.0

    @property
    def best_known(self) -> float:
        return _BEST_KNOWN.get(self.n, math.nan)

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        centres = checked_points(output, self.n)
        if centres.min() < 0 or centres.max() > 1:
            raise InvalidAnswer("expected centres in the unit square, and one lies outside")
        radius = radii(centres)
        total = sum(map(Fraction, radius.tolist()), Fraction(0))
        on_side = sides(centres) - radius < _TOUCHING
        spread = float(radius.std() / max(radius.mean(), 1e-300))
        return float_not_above(total), (spread, float(on_side.mean()))

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the circles in the square."""
        centres = np.reshape(output, (-1, 2)).astype(float)
        for (x, y), r in zip(centres, radii(centres), strict=True):
            ax.add_patch(_circle(x, y, r))
        ax.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect="equal")
        return ax


def _circle(x: float, y: float, r: float) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, y), r, facecolor=(0.2, 0.4, 0.7, 0.35), edgecolor="black", linewidth=0.8)


def sides(centres: np.ndarray) -> np.ndarray:
    """Returns float `[n]`: the distance of each centre from the nearest side of the square."""
    return np.minimum(centres, 1 - centres).min(1)


def radii(centres: np.ndarray) -> np.ndarray:
    """Returns float64 `[n]`: radii with the greatest sum for centres `[n, 2]` in the unit square.

    The circles are exactly a packing. Each radius is shortened by half of its worst overlap, and
    by a margin that is doubled until the exact check holds: usually a few units in the last place.
    """
    i, j = np.triu_indices(len(centres), 1)
    distance, side = np.linalg.norm(centres[i] - centres[j], axis=1), sides(centres)
    radius = _by_linear_programme(distance, side, i, j)
    overlap = np.maximum(radius[i] + radius[j] - distance, 0) / 2
    short = np.maximum(radius - side, 0)
    np.maximum.at(short, i, overlap)
    np.maximum.at(short, j, overlap)
    margin = 0.0
    while not packed(centres, shortened := np.maximum(radius - short - margin, 0)):
        margin = max(2 * margin, 2.0**-54)
    return shortened


def packed(centres: np.ndarray, radius: np.ndarray) -> bool:
    """Returns whether the circles lie in the unit square and do not overlap, exactly.

    Touching is allowed.
    """
    n = len(radius)
    exact, shift = integers([*centres.ravel().tolist(), *radius.tolist(), 1.0])
    x, y, r, one = exact[: 2 * n : 2], exact[1 : 2 * n : 2], exact[2 * n : 3 * n], 1 << shift
    if any(r[k] < 0 or not r[k] <= z <= one - r[k] for k in range(n) for z in (x[k], y[k])):
        return False
    return all(
        (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 >= (r[i] + r[j]) ** 2
        for i, j in combinations(range(n), 2)
    )


def _by_linear_programme(
    distance: np.ndarray, side: np.ndarray, i: np.ndarray, j: np.ndarray
) -> np.ndarray:
    """Returns radii with the greatest sum, to the tolerance of the solver.

    The radii of two circles add up to at most their distance. If several solutions have the
    greatest sum, a larger weight for the circles nearer to a side picks one, so that the radii
    depend on the layout and not on the order of its circles. The sum stays the greatest: the dual
    variables of a basis are multiples of one half, and weights that differ from 1 by less than
    that in all cannot change their signs.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    near = np.flatnonzero(distance < side[i] + side[j])  # the others cannot meet
    if len(near) == 0:
        return side
    pair = np.concatenate([i[near], j[near]])
    rows = np.tile(np.arange(len(near)), 2)
    matrix = csr_array((np.ones(len(pair)), (rows, pair)), shape=(len(near), len(side)))
    limits = np.stack([np.zeros_like(side), side], 1)
    weight = 1 - side / (8 * len(side))
    result = linprog(-weight, A_ub=matrix, b_ub=distance[near], bounds=limits, method="highs")
    return result.x
