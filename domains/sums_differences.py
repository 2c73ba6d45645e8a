"""Sums and differences: a finite set of integers with many differences and few sums.

Maximise 1 + log(|U - U| / |U + U|) / log(2 max U + 1) over finite sets U of non-negative integers
that contain 0 (Gyarmati, Hennecart & Ruzsa 2007; AlphaEvolve B.6). Sums and differences are counted
exactly; only the two logarithms are rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .problem import Problem, Refused

MOST = 2048  # members: two million sums and as many differences to sort, less than a second
GREATEST = 2**62 - 1  # sums of two stay within int64


@dataclass(frozen=True)
class SumsDifferences(Problem):
    """The answer is the list of the members of U, each once, in any order.

    The best known value was reached with 54 265 members, far more than this referee counts: with
    `MOST` members at most it stands as a mark on the horizon. The descriptor is the logarithm to
    base 10 of how many members there are, and of the greatest.
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
        once, diagonal = np.triu_indices(len(u))
        plus, minus = _different(u[once] + u[diagonal]), 2 * _different(u[diagonal] - u[once]) - 1
        objective = 1 + math.log(minus / plus) / math.log(2 * int(u[-1]) + 1)
        return objective, (math.log10(len(u)), math.log10(int(u[-1])))

    def draw(self, output: Any, ax: Any) -> Any:
        """The members as ticks, above how often each difference occurs."""
        u = _members(output)
        ax.hist(np.subtract.outer(u, u).ravel(), bins=min(2 * int(u[-1]) + 1, 200), color="tab:blue", alpha=0.5)
        ax.plot(u, np.zeros(len(u)), "k|", markersize=12)
        ax.set_xlabel("differences; the members as ticks")
        return ax


def _different(numbers: np.ndarray) -> int:
    """How many different numbers there are; by sorting, as `np.unique` is slow on millions of them."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(numbers))))


def _members(output: Any) -> np.ndarray:
    """int64 `[k]`, sorted, 0 and at least one more, or Refused. Integers stay integers: no float is accepted."""
    if type(output) is np.ndarray and output.dtype in (np.int64, np.int32) and output.ndim == 1:
        output = output[: MOST + 1].tolist()
    if type(output) not in (list, tuple):
        raise Refused(f"expected a list of integers, and a {type(output).__name__} came")
    if not 2 <= len(output) <= MOST:
        raise Refused(f"expected between 2 and {MOST} integers, and another number of them came")
    if any(type(x) not in (int, np.int64) for x in output):
        raise Refused("expected integers, and something else came among them")
    if min(output) != 0 or max(output) > GREATEST:
        raise Refused("expected integers from 0, which is a member, up to 2**62 - 1, and others came")
    if len(set(output)) != len(output):
        raise Refused("expected each integer once, and some came twice")
    return np.array(sorted(output), np.int64)
