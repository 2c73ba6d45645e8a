"""The budget of a run, and what of it is spent.

A `Budget` has the limits. A `BudgetTracker` holds them while calls are under way: each call
reserves the most that it can cost, so that no limit is exceeded, however many calls run side by
side.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from qdkit.core.record import NOTHING, Cost, Exhausted

_UNITS = {
    "usd": ("dollars", 1.0),
    "dollars": ("dollars", 1.0),
    "tokens": ("tokens", 1.0),
    "calls": ("calls", 1.0),
    "evaluations": ("evaluations", 1.0),
    "s": ("seconds", 1.0),
    "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
}
_COUNTS = ("tokens", "calls", "evaluations")
_WORD = {"dollars": "US dollars"}  # where a sentence has another word than the field
# seconds for which calls under way may go on after those of the budget
_GRACE = 1.0


@dataclass(frozen=True)
class Budget:
    """The limits of a run; None is no limit.

    dollars: US dollars.
    calls: calls of models and other services that were answered, or whose answer was lost.
    seconds: of the clock, all sittings of a run together. Nothing new is begun after them, and
      work under way is given up one second later.

    Raises ValueError for a limit that is not above zero, and for a part of a token, a call or an
    evaluation.
    """

    dollars: float | None = None
    tokens: int | None = None
    calls: int | None = None
    evaluations: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            if not 0 < limit < math.inf:
                raise ValueError(
                    f"a budget of {limit} {name} buys nothing: give a number above zero, or leave "
                    f"it out"
                )
            if name in _COUNTS:
                # the ledger keeps counts as ints, and 1e6 is one
                object.__setattr__(self, name, _integer(limit, name))

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget written as "5usd", "2000calls" or "30min + 100000tokens".

        The units are usd, tokens, calls, evaluations, s, min and h; `+` or `,` stands between
        limits.
        """
        limits: dict[str, Any] = {}
        for part in re.split(r"[+,]", text):
            match = re.fullmatch(r"\s*([\d_.]+)\s*([a-z]+)\s*", part.lower())
            unit = match and next((u for u in (match[2], match[2] + "s") if u in _UNITS), None)
            if not (match and unit):
                raise ValueError(
                    f"a budget is a number and a unit of {', '.join(_UNITS)}, such as 5usd+2h: "
                    f"{part.strip()!r} is not"
                )
            name, scale = _UNITS[unit]
            if name in limits:
                raise ValueError(f"the budget {text!r} limits {name} twice")
            limits[name] = _number(match[1]) * scale
        return cls(**limits)

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) is not None
        }

    def __str__(self) -> str:
        units = {"dollars": "usd", "seconds": "s"}
        return "+".join(
            f"{limit:.12g}{units.get(name, name)}" for name, limit in self.limits().items()
        )

    def forecast(self, each: Cost, what: str = "calls", seconds: float = math.nan) -> str:
        """A sentence that says how many of `what` the budget buys, and which limit is met first.

        each: the cost of one of `what`.
        seconds: the time from the end of one of `what` to the next; nan leaves a limit of time
          out.

        Raises ValueError if dollars are limited and the price is unknown.
        """
        limits = self.limits()
        if not limits:
            return f"no limit is set: {what} go on until the search ends"
        _priced(self, each)
        price = {**vars(each), "seconds": seconds}
        counts = {name: limit / price[name] for name, limit in limits.items() if price[name] > 0}
        if not counts:
            return f"{_listed(limits)} at most"
        first = min(counts, key=lambda name: counts[name])
        cost = f" at {each.dollars:.2g} US dollars each" if each.dollars > 0 else ""
        others = {name: limit for name, limit in limits.items() if name != first}
        tail = f"; {_listed(others)} would last longer" if others else ""
        count = math.floor(counts[first] + 1e-9)
        return f"{_listed({first: limits[first]})} buys about {count:,} {what}{cost}{tail}"


class BudgetTracker:
    """The rest of a budget, for any number of threads at once.

    spent, seconds: what earlier sittings of the run have used.
    """

    def __init__(
        self,
        budget: Budget,
        spent: Cost = NOTHING,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _priced(budget, spent)
        self.budget = budget
        self._spent, self._reserved = spent, NOTHING
        self._clock, self._opened = clock, clock() - seconds
        self._changed = threading.Condition()

    @property
    def spent(self) -> Cost:
        """The cost so far, of all sittings."""
        return self._spent

    @property
    def seconds(self) -> float:
        """The time used so far, in all sittings."""
        return self._clock() - self._opened

    def overdue(self, grace: float = _GRACE) -> bool:
        """Whether the seconds of the budget have been used up for `grace` seconds."""
        return self.budget.seconds is not None and self.seconds >= self.budget.seconds + grace

    def left(self) -> dict[str, float]:
        """What is left under each limit, without what is reserved."""
        with self._changed:
            used = {**vars(self._spent + self._reserved), "seconds": self.seconds}
        return {name: limit - used[name] for name, limit in self.budget.limits().items()}

    def exhausted(self) -> str:
        """A sentence that says which limits are used up; "" for none."""
        used = {**vars(self._spent), "seconds": self.seconds}
        full = [name for name, limit in self.budget.limits().items() if used[name] >= limit]
        return "; ".join(self._used(name) for name in full)

    @contextmanager
    def reserve(self, most: Cost) -> Iterator[Callable[[Cost], None]]:
        """Reserves `most`, and yields the function to call once with the actual cost.

        See `qdkit.core.record.Record.reserve`.

        A figure of the actual cost that is unknown or cannot be true, such as a negative one,
        counts as that of `most`. Waits while only the reservations of other calls are in the way,
        as these may turn out cheaper. Raises Exhausted if `most` is more than is left, and
        ValueError if dollars are limited and the price is unknown.
        """
        _priced(self.budget, most)
        self._take(most)
        paid: list[Cost] = []
        try:
            yield paid.append
        finally:
            with self._changed:
                actual = paid[-1] if paid else most
                self._spent += _sound(actual, most)
                self._reserved += -most
                self._changed.notify_all()

    def _take(self, most: Cost) -> None:
        with self._changed:
            while True:
                if past := self._past(self._spent + most):
                    raise Exhausted(f"the budget does not cover the next call: {past}")
                if not self._past(self._spent + self._reserved + most):
                    break
                self._changed.wait()
            self._reserved += most

    def _past(self, total: Cost) -> str:
        """A sentence that says which limits `total` would exceed; "" for none."""
        over = [
            n
            for n, limit in self.budget.limits().items()
            if n != "seconds" and _above(getattr(total, n), limit)
        ]
        if self.budget.seconds is not None and self.seconds >= self.budget.seconds:
            over.append("seconds")
        return "; ".join(self._used(name) for name in over)

    def _used(self, name: str) -> str:
        used = {**vars(self._spent), "seconds": self.seconds}[name]
        return f"{amount(name, used)} of {amount(name, self.budget.limits()[name])} are used"


def amount(name: str, number: float) -> str:
    """An amount with its unit: 0.5 seconds, 1,200 tokens, 0.0004 US dollars."""
    return f"{money(number) if name == 'dollars' else digits(number)} {_WORD.get(name, name)}"


def money(number: float) -> str:
    """The number to the cent, and below a cent to two digits."""
    return f"{number:,.2f}" if number == 0 or abs(number) >= 0.01 else f"{number:.2g}"


def digits(number: float) -> str:
    """The number with all digits if it is whole, otherwise with three, or all before the point."""
    return f"{number:,.0f}" if number % 1 == 0 or abs(number) >= 100 else f"{number:.3g}"


def _sound(actual: Cost, most: Cost) -> Cost:
    """`actual`, with the figure of `most` for each that is not a finite number from 0."""
    return Cost(
        **{
            name: n if 0 <= n < math.inf else getattr(most, name)
            for name, n in vars(actual).items()
        }
    )


def _above(total: float, limit: float) -> bool:
    return total > limit * (1 + 1e-12)  # ten calls of 0.1 are 1.0, whatever their sum in binary


def _priced(budget: Budget, cost: Cost) -> None:
    if budget.dollars is not None and math.isnan(cost.dollars):
        raise ValueError(
            "the budget is in dollars and the price of a call is unknown: give the model "
            "prices={name: (in, out)} in US dollars per million tokens, or limit tokens or calls "
            "instead"
        )


def _listed(limits: dict[str, float]) -> str:
    return " and ".join(amount(name, limit) for name, limit in limits.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a budget is a number and a unit, and {text!r} is no number") from None


def _integer(number: float, name: str) -> int:
    if number != int(number):
        raise ValueError(f"a budget of {number} {name} should be a whole number")
    return int(number)
