"""What a run may spend, and the account of what it has.

A `Budget` is the limits; a `Purse` holds them while calls are under way. What is in flight is
reserved at the most it can cost, so no limit is passed, however many calls run side by side.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from qdkit.record import NOTHING, Cost, Exhausted

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
_WORD = {
    "dollars": "{:,.2f} US dollars",
    "tokens": "{:,.0f} tokens",
    "calls": "{:,.0f} calls",
    "evaluations": "{:,.0f} evaluations",
    "seconds": "{:,.0f} seconds",
}


@dataclass(frozen=True)
class Budget:
    """The limits of a run; None is no limit. Raises ValueError for a limit that is not above zero.

    dollars: US dollars.
    calls: of models and other doors, those that were answered or whose answer was lost.
    seconds: of the clock, all sittings of a run together; nothing new is begun after them, and what
      is under way then ends by its own limit of time.
    """

    dollars: float | None = None
    tokens: int | None = None
    calls: int | None = None
    evaluations: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits().items():
            if not 0 < limit < math.inf:
                raise ValueError(f"a budget of {limit} {name} buys nothing: give a number above zero, or leave it out")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """A budget written as "5usd", "2000calls" or "30min + 100000tokens".

        The units are usd, tokens, calls, evaluations, s, min and h; `+` or `,` stands between limits.
        """
        limits: dict[str, Any] = {}
        for part in re.split(r"[+,]", text):
            found = re.fullmatch(r"\s*([\d_.]+)\s*([a-z]+)\s*", part.lower())
            unit = found and next((u for u in (found[2], found[2] + "s") if u in _UNITS), None)
            if not (found and unit):
                raise ValueError(
                    f"a budget is a number and a unit of {', '.join(_UNITS)}, such as 5usd+2h: {part.strip()!r} is not"
                )
            name, scale = _UNITS[unit]
            if name in limits:
                raise ValueError(f"the budget {text!r} limits {name} twice")
            limits[name] = _number(found[1]) * scale
        return cls(**{name: v if name in ("dollars", "seconds") else _whole(v, name) for name, v in limits.items()})

    def limits(self) -> dict[str, float]:
        """The limits there are, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def __str__(self) -> str:
        units = {"dollars": "usd", "seconds": "s"}
        return "+".join(f"{limit:.12g}{units.get(name, name)}" for name, limit in self.limits().items())

    def forecast(self, each: Cost, what: str = "calls", seconds: float = math.nan) -> str:
        """A sentence that says what the budget buys if each of `what` costs `each`, and which limit is met first.

        seconds: the time from the end of one of `what` to the next; nan leaves a limit of time out.
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
        return f"{_listed({first: limits[first]})} buys about {math.floor(counts[first] + 1e-9):,} {what}{cost}{tail}"


class Purse:
    """What is left of a budget, for any number of threads at once.

    spent, seconds: what earlier sittings of the same run have used.
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
        self._spent, self._held = spent, NOTHING
        self._clock, self._opened = clock, clock() - seconds
        self._changed = threading.Condition()

    @property
    def spent(self) -> Cost:
        """All that was charged, here and in earlier sittings."""
        return self._spent

    @property
    def seconds(self) -> float:
        """Time used, in all sittings."""
        return self._clock() - self._opened

    def left(self) -> dict[str, float]:
        """What is left under each limit, less what is in flight."""
        with self._changed:
            used = {**vars(self._spent + self._held), "seconds": self.seconds}
        return {name: limit - used[name] for name, limit in self.budget.limits().items()}

    def exhausted(self) -> str:
        """Which limit is used up, in words; "" while there is something left under each."""
        used = {**vars(self._spent), "seconds": self.seconds}
        full = [name for name, limit in self.budget.limits().items() if used[name] >= limit]
        return "; ".join(self._used(name) for name in full)

    @contextmanager
    def reserve(self, most: Cost) -> Iterator[Callable[[Cost], None]]:
        """Holds `most`, and yields the function to call once with the actual cost; see `qdkit.record.Record.reserve`.

        An actual cost whose price is unknown counts as `most`. Waits while only what others hold is in
        the way: they may turn out cheaper. Raises Exhausted if `most` is more than is left, and ValueError
        if dollars are limited and the price is unknown.
        """
        _priced(self.budget, most)
        self._take(most)
        paid: list[Cost] = []
        try:
            yield paid.append
        finally:
            with self._changed:
                actual = paid[-1] if paid else most
                self._spent += replace(actual, dollars=most.dollars) if math.isnan(actual.dollars) else actual
                self._held += -most
                self._changed.notify_all()

    def _take(self, most: Cost) -> None:
        with self._changed:
            while True:
                if past := self._past(self._spent + most):
                    raise Exhausted(f"the budget does not cover the next call: {past}")
                if not self._past(self._spent + self._held + most):
                    break
                self._changed.wait()
            self._held += most

    def _past(self, total: Cost) -> str:
        """Which limits `total` would pass, in words."""
        over = [n for n, limit in self.budget.limits().items() if n != "seconds" and _above(getattr(total, n), limit)]
        if self.budget.seconds is not None and self.seconds >= self.budget.seconds:
            over.append("seconds")
        return "; ".join(self._used(name) for name in over)

    def _used(self, name: str) -> str:
        used = {**vars(self._spent), "seconds": self.seconds}[name]
        return f"{_WORD[name].format(used)} of {_WORD[name].format(self.budget.limits()[name])} are used"


def _above(total: float, limit: float) -> bool:
    return total > limit * (1 + 1e-12)  # ten calls of 0.1 are 1.0, whatever their sum in binary


def _priced(budget: Budget, cost: Cost) -> None:
    if budget.dollars is not None and math.isnan(cost.dollars):
        raise ValueError(
            "the budget is in dollars and the price of a call is unknown: give the model "
            "prices={name: (in, out)} in US dollars per million tokens, or limit tokens or calls instead"
        )


def _listed(limits: dict[str, float]) -> str:
    return " and ".join(_WORD[name].format(limit) for name, limit in limits.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a budget is a number and a unit, and {text!r} is no number") from None


def _whole(number: float, name: str) -> int:
    if number != int(number):
        raise ValueError(f"a budget of {number} {name} should be a whole number")
    return int(number)
