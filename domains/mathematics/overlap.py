"""Erdős' minimum overlap problem: a function and its complement overlap at some shift.

Minimise max over t of ∫ h(x) (1 - h(x + t)) dx over step functions h: [0, 2] -> [0, 1] with
∫ h = 1, where 1 - h counts on [0, 2] only (Haugland 2016; AlphaEvolve B.5). With k steps the
maximum is at a multiple of 2 / k and all numbers are rational. Floats rarely have an integral of
exactly 1, and a slack there would lower the constant, so the referee scales it to 1 in integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from qdkit.domains.mathematics.exact_arithmetic import convolution, float_not_above, integers
from qdkit.domains.mathematics.problem import InvalidAnswer, Problem, checked_steps

_MOST = 4000  # heights; the exact product of that many takes a fraction of a second


@dataclass(frozen=True)
class MinimumOverlap(Problem):
    """The answer is the list of heights; the objective is minus the constant.

    The constant is that of the function after `balanced`. The descriptor is how far the function
    is from its mirror image (0 for an even one), and how far it is from the indicator of a set:
    the mean of 4 h (1 - h), which is 0 if every height is 0 or 1.
    """

    name: ClassVar = "overlap"
    bounds: ClassVar = ((0.0, 1.0), (0.0, 1.0))
    names: ClassVar = ("asymmetry", "haziness")
    floor: ClassVar = -1.0

    @property
    def best_known(self) -> float:
        # TTT-Discover, as reported, with ∫ h within 1e-3; AlphaEvolve 0.38092303510845016
        return -0.380876

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        height = checked_steps(output, _MOST)
        if height.max() > 1:
            raise InvalidAnswer(f"expected heights between 0 and 1, and {height.max()} came")
        inside, outside, whole = balanced(height)
        worst = max(convolution(inside, outside[::-1]))
        h = np.array([x / whole for x in inside])
        asymmetry = np.abs(h - h[::-1]).sum() / (2 * h.sum())
        place = (float(asymmetry), float((4 * h * (1 - h)).mean()))
        return float_not_above(-Fraction(2 * worst, len(h) * whole**2)), place

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the balanced function, the overlap at every shift, and a line at its maximum."""
        inside, _, whole = balanced(np.asarray(output, np.float64))
        h = np.array([x / whole for x in inside])
        ax.stairs(h, np.linspace(0, 2, len(h) + 1), fill=True, alpha=0.4, label="h")
        shared = np.concatenate([[0], np.correlate(h, 1 - h, "full") * 2 / len(h), [0]])
        shift = np.linspace(-2, 2, len(shared))
        ax.plot(shift, shared, color="tab:red", linewidth=1, label="overlap at a shift")
        ax.axhline(shared.max(), color="tab:red", linewidth=0.5, linestyle=":")
        ax.legend()
        return ax


def balanced(height: np.ndarray) -> tuple[list[int], list[int], int]:
    """Returns integers H, G and w: H / w are heights with a mean of exactly 1/2, and G = w - H.

    A function with a mean above 1/2 is scaled down. If the mean is below 1/2, the complement is
    scaled down instead: the two have the same overlaps, at opposite shifts.
    """
    exact, shift = integers(height.tolist())
    one, k = 1 << shift, len(exact)
    if 2 * sum(exact) < k * one:
        exact = [one - x for x in exact]
    whole = 2 * sum(exact)
    inside = [k * x for x in exact]
    return inside, [whole - x for x in inside], whole
