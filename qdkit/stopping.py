"""When a search has done enough: rules that read how it went, joined with `|` (either) and `&` (both).

    search.run(until=Target(2.63) | Stagnation(5_000))
    search.run(until=Coverage(0.9) & Target(100.0))

What a run may spend is a `qdkit.Budget`; it holds beside these, and a limit of it is never passed.
"""

from __future__ import annotations

import abc
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qdkit.rows import Commit


class Stop(abc.ABC):
    """A rule that says when to stop. It is asked after every step, and what it says depends on `commits` alone."""

    @abc.abstractmethod
    def why(self, commits: Sequence[Commit]) -> str:
        """Why the search stops now, in words; "" if it goes on. `commits` has one entry a step, the last one last."""

    def __or__(self, other: Stop) -> Stop:
        return _Either(self, other)

    def __and__(self, other: Stop) -> Stop:
        return _Both(self, other)


@dataclass(frozen=True)
class Target(Stop):
    """Stops when the best objective is at least `objective`, a finite number."""

    objective: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.objective):
            raise ValueError(f"a target is a finite number, not {self.objective}")

    def why(self, commits: Sequence[Commit]) -> str:
        best = commits[-1].best
        return (
            f"the best objective is {best:.9g}, and the target {self.objective:.9g}" if best >= self.objective else ""
        )


@dataclass(frozen=True)
class Coverage(Stop):
    """Stops when at least this `share` of the cells, above 0 and up to 1, has an elite."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"coverage is a share of the cells, above 0 and up to 1, not {self.share}")

    def why(self, commits: Sequence[Commit]) -> str:
        covered = commits[-1].coverage
        return f"{covered:.1%} of the cells have an elite, and {self.share:.1%} were wanted" * (covered >= self.share)


@dataclass(frozen=True)
class Stagnation(Stop):
    """Stops when the last so many `evaluations` have not raised a measure.

    of: "qd_score", "best" or "coverage".
    """

    evaluations: int
    of: Literal["qd_score", "best", "coverage"] = "qd_score"

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(f"evaluations is how many may bring nothing, 1 or more, not {self.evaluations}")
        if self.of not in ("qd_score", "best", "coverage"):
            raise ValueError(f'of is "qd_score", "best" or "coverage", not {self.of!r}')

    def why(self, commits: Sequence[Commit]) -> str:
        now = commits[-1]
        before = bisect_right(commits, now.evaluations - self.evaluations, key=lambda commit: commit.evaluations)
        if not before or getattr(now, self.of) > (then := getattr(commits[before - 1], self.of)) or then != then:
            return ""
        return f"{self.evaluations:,} evaluations have not raised the {self.of.replace('_', ' ')}"


@dataclass(frozen=True)
class _Either(Stop):
    first: Stop
    second: Stop

    def why(self, commits: Sequence[Commit]) -> str:
        return self.first.why(commits) or self.second.why(commits)


@dataclass(frozen=True)
class _Both(Stop):
    first: Stop
    second: Stop

    def why(self, commits: Sequence[Commit]) -> str:
        reasons = self.first.why(commits), self.second.why(commits)
        return "; ".join(reasons) if all(reasons) else ""


__all__ = ["Coverage", "Stagnation", "Stop", "Target"]
