"""Rules that stop a search, joined with `|` (either) and `&` (both).

    search.run(until=Target(2.63) | Stagnation(5_000))
    search.run(until=Coverage(0.9) & Target(100.0))

The limits of a `qdkit.Budget` hold beside these rules, and are never exceeded.
"""

from __future__ import annotations

import abc
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qdkit.runs.rows import Commit


class Stop(abc.ABC):
    """A rule that says when a search stops.

    It is called after every step, and depends on `commits` only.
    """

    @abc.abstractmethod
    def why(self, commits: Sequence[Commit]) -> str:
        """Returns the reason to stop now, or "" to go on.

        commits: one for each step, the latest last.
        """

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
            f"the best objective is {best:.9g}, and the target {self.objective:.9g}"
            if best >= self.objective
            else ""
        )


@dataclass(frozen=True)
class Coverage(Stop):
    """Stops when at least this `share` of the cells, above 0 and up to 1, has an elite."""

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(
                f"coverage is a share of the cells, above 0 and up to 1, not {self.share}"
            )

    def why(self, commits: Sequence[Commit]) -> str:
        covered = commits[-1].coverage
        if covered < self.share:
            return ""
        wanted = f"{_percent(self.share)} were wanted"
        return f"{_percent(covered)} of the cells have an elite, and {wanted}"


@dataclass(frozen=True)
class Stagnation(Stop):
    """Stops when the last `evaluations` evaluations brought no progress.

    of: "qd_score" for any progress: a higher QD score (a better elite in a filled cell), a new
      cell, or a higher best objective. The QD score is not enough, as a new cell lowers it where
      objectives are below the floor. "best" or "coverage" for that measure alone.

    The rule does not depend on the zero of the objective, if the floor moves with it.
    """

    evaluations: int
    of: Literal["qd_score", "best", "coverage"] = "qd_score"

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(
                f"evaluations is how many may bring nothing, 1 or more, not {self.evaluations}"
            )
        if self.of not in ("qd_score", "best", "coverage"):
            raise ValueError(f'of is "qd_score", "best" or "coverage", not {self.of!r}')

    def why(self, commits: Sequence[Commit]) -> str:
        now = commits[-1]
        before = bisect_right(
            commits, now.evaluations - self.evaluations, key=lambda commit: commit.evaluations
        )
        if not before:
            return ""
        then = commits[before - 1]
        measures = ("qd_score", "coverage", "best") if self.of == "qd_score" else (self.of,)
        if any(_raised(getattr(then, measure), getattr(now, measure)) for measure in measures):
            return ""
        return f"{self.evaluations:,} evaluations have not raised the {self._measures}"

    @property
    def _measures(self) -> str:
        return "QD score, the coverage or the best objective" if self.of == "qd_score" else self.of


def _raised(then: float, now: float) -> bool:
    """Whether a measure rose, or became known after nan."""
    return now > then or (math.isnan(then) and not math.isnan(now))


def _percent(share: float) -> str:
    """The share in percent, to a tenth; below one percent to three digits."""
    return f"{share:.1%}" if share >= 0.01 else f"{100 * share:.3g}%"


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
