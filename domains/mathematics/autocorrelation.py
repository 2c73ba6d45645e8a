"""The first autocorrelation inequality: a function whose autoconvolution has no high peak.

Minimise max(f * f) / (∫ f)² over step functions f >= 0 on [-1/4, 1/4] (AlphaEvolve B.1). With k
steps of width 1 / (2 k), f * f is linear between the multiples of that width, so its maximum is at
one of them, and the constant is 2 k max(c) / (Σ f)², where c is the discrete convolution of the
heights with themselves. It is rational in the heights, and computed without any rounding.
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
class Autocorrelation(Problem):
    """The answer is the list of heights; the objective is minus the constant.

    The descriptor is the share of the steps that are higher than a hundredth of the highest, and
    how far the function is from its mirror image: 0 for an even function, 1 if they never meet.
    """

    name: ClassVar = "autocorrelation"
    bounds: ClassVar = ((0.0, 1.0), (0.0, 1.0))
    names: ClassVar = ("support", "asymmetry")
    floor: ClassVar = -4.0

    @property
    def best_known(self) -> float:
        # ThetaEvolve, as reported; AlphaEvolve 1.503164, before that 1.5052939684401607
        return -1.503133

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        height = checked_steps(output, _MOST)
        exact, _ = integers(height.tolist())
        if sum(exact) == 0:
            raise InvalidAnswer(
                "expected a function with an integral above zero, and every height is 0"
            )
        constant = Fraction(2 * len(exact) * max(convolution(exact, exact)), sum(exact) ** 2)
        shape = height / height.max()
        asymmetry = np.abs(shape - shape[::-1]).sum() / (2 * shape.sum())
        return float_not_above(-constant), (float((shape > 0.01).mean()), float(asymmetry))

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the function, scaled to ∫ f = 1, its autoconvolution, and the maximum of that."""
        height = np.asarray(output, np.float64)
        height, width = height / height.mean() * 2, 0.5 / len(height)
        ax.stairs(
            height, np.linspace(-0.25, 0.25, len(height) + 1), fill=True, alpha=0.4, label="f"
        )
        square = np.concatenate([[0], np.convolve(height, height) * width, [0]])
        x = np.linspace(-0.5, 0.5, len(square))
        ax.plot(x, square, color="tab:red", linewidth=1, label="f * f")
        ax.axhline(square.max(), color="tab:red", linewidth=0.5, linestyle=":")
        ax.legend()
        return ax
