"""Where a search evaluates and how many steps it works on at the same time."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass


@dataclass(frozen=True)
class Workers:
    """Where a search evaluates, and how much at once.

        Search(..., workers=Workers(in_flight=16))

    in_flight: how many steps are worked on at the same time. Keep 1 for numbers, and take as many
      for language models as the server bears.
    ahead: from how old a state a step may start, in steps; `4 * in_flight` where left out, and 1
      for an `in_flight` of 1.
    executor: a function that makes an executor (processes, a cluster), on which candidates are
      evaluated one by one.
    seconds: how long one call of the domain's `evaluate` may take: that of a whole batch, or with
      an executor that of one candidate. All candidates of a call that takes longer time out. None
      for no limit.

    Raises ValueError for numbers that are none of these.
    """

    in_flight: int = 1
    ahead: int | None = None
    executor: Callable[[], Executor] | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_count("in_flight", self.in_flight)
        check_count("ahead", self.steps_ahead)
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(
                f"seconds is {self.seconds}: a limit of time above zero is needed, or None for no "
                "limit"
            )

    @property
    def steps_ahead(self) -> int:
        """`ahead`, or the number that takes its place where it is left out."""
        if self.ahead is not None:
            return self.ahead
        return 1 if self.in_flight == 1 else 4 * self.in_flight


def check_count(name: str, value: float) -> None:
    """Raises ValueError unless `value` is a whole number from 1."""
    if value != int(value) or value < 1:
        raise ValueError(f"{name} is {value}: a whole number from 1 is needed")
