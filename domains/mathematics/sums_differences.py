"""Sums and differences: a finite set of integers with many differences and few sums.

Maximise 1 + log(|U - U| / |U + U|) / log(2 max U + 1) over finite sets U of non-negative integers
that contain 0 (Gyarmati, Hennecart & Ruzsa 2007; AlphaEvolve B.6). Sums and differences are
counted exactly; only the two logarithms are rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qdkit.domains.mathematics.problem import InvalidAnswer, Problem

_MOST = 2048  # members: two million sums and as many differences are sorted in less than a second
_GREATEST = 2**62 - 1  # the sum of two members stays within int64


@dataclass(frozen=True)
class SumsDifferences(Problem):
    """The answer is the list of the members of U, each once, in any order.

    The best known value belongs to a set of 54 265 members. This referee accepts at most `_MOST`
    members, so that value is for comparison only. The descriptor is the logarithm to base 10 of
    the number of members, and of the greatest member.
    """

    name: ClassVar = "sums_differences"
    bounds: ClassVar = ((0.0, 4.0), (0.0, 19.0))
    names: ClassVar = ("log10 of the count", "log10 of the greatest")
    floor: ClassVar = 0.0

    @property
    def best_known(self) -> float:
        return 1.158417281556896  # AlphaEvolve B.6

    def measure(self, output: Any) -> tuple[float, tuple[float, ...]]:
        u = _members(output)
        i, j = np.triu_indices(len(u))
        sums, differences = _count_different(u[i] + u[j]), 2 * _count_different(u[j] - u[i]) - 1
        objective = 1 + math.log(differences / sums) / math.log(2 * int(u[-1]) + 1)
        return objective, (math.log10(len(u)), math.log10(int(u[-1])))

    def draw(self, output: Any, ax: Any) -> Any:
        """Draws the members as ticks, and how often each difference occurs as a histogram."""
        u = _members(output)
        differences, bins = np.subtract.outer(u, u).ravel(), min(2 * int(u[-1]) + 1, 200)
        ax.hist(differences, bins=bins, color="tab:blue", alpha=0.5)
        ax.plot(u, np.zeros(len(u)), "k|", markersize=12)
        ax.set_xlabel("differences; the members as ticks")
        return ax


def _count_different(numbers: np.ndarray) -> int:
    """Returns how many different numbers there are.

    Sorts them, as `np.unique` is slow on millions of numbers.
    """
    return 1 + int(np.count_nonzero(np.diff(np.sort(numbers))))


def _members(output: Any) -> np.ndarray:
    """Returns the members as int64 `[k]`, sorted: 0 and at least one more.

    Raises InvalidAnswer if they are something else. No float is accepted.
    """
    if type(output) is np.ndarray and output.dtype in (np.int64, np.int32) and output.ndim == 1:
        output = output[: _MOST + 1].tolist()
    if type(output) not in (list, tuple):
        raise InvalidAnswer(f"expected a list of integers, and a {type(output).__name__} came")
    if not 2 <= len(output) <= _MOST:
        raise InvalidAnswer(
            f"expected between 2 and {_MOST} integers, and another number of them came"
        )
    if any(type(x) not in (int, np.int64) for x in output):
        raise InvalidAnswer("expected integers, and something else came among them")
    if min(output) != 0 or max(output) > _GREATEST:
        raise InvalidAnswer(
            "expected integers from 0, which is a member, up to 2**62 - 1, and others came"
        )
    if len(set(output)) != len(output):
        raise InvalidAnswer("expected each integer once, and some came twice")
    return np.array(sorted(output), np.int64)
