"""When a call may be sent: the rate limits of a model, its server's wishes, and outages.

There is one `Pace` for each model of each server, and all who ask that model go through it. A call
waits here and holds up no other: other models go on, and so do the calls that are under way.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qdkit.llm.fault import Fault, Kind

OUTAGE = 5  # faults in a row after which a server counts as down
FIRST, LONGEST = 0.5, 8.0  # seconds: the ceiling of the first wait, and of any


class OutOfPatience(Exception):
    """The call waited as long as it may, and was not sent."""


class Clock:
    """Time in seconds, and waiting; a test hands in one whose time passes at once."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Waits for news, at most so long."""
        condition.wait(seconds)


@dataclass(frozen=True)
class Limits:
    """Requests and tokens per minute; None is no limit."""

    requests: float | None = None
    tokens: float | None = None


UNLIMITED = Limits()


@dataclass
class Turn:
    """Leave to send one call, and what was heard; `probe` marks the one call that tries a server that is down."""

    probe: bool
    heard: Mapping[str, Any] | Fault | None = None


@dataclass
class Pace:
    """How fast, and whether, one model of one server is asked.

    A server that failed `OUTAGE` times in a row is down: then one call at a time tries it, at growing
    intervals, and all others wait for news. The jitter touches the timing alone, never a result.

    refused: what the model was asked and its server does not do, by feature, with its answer; that is not sent again.
    """

    clock: Clock = field(default_factory=Clock)
    jitter: random.Random = field(default_factory=random.Random)
    refused: dict[str | None, Fault] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._news = threading.Condition()
        self._free = {"requests": 0.0, "tokens": 0.0}  # when the next may start
        self._parked = 0.0  # nothing is sent before
        self._faults = self._failed_probes = 0  # in a row
        self._probing = False

    def book(self, limits: Limits, tokens: int) -> float:
        """Waits for a place under the rate limits, evenly spaced, as a burst is what servers refuse; the seconds."""
        with self._news:
            at = now = self.clock.now()
            for name, amount, per_minute in (("requests", 1, limits.requests), ("tokens", tokens, limits.tokens)):
                if per_minute is not None:
                    start = max(now, self._free[name])
                    self._free[name] = start + amount * 60 / per_minute
                    at = max(at, start)
        if at > now:
            self.clock.sleep(at - now)
        return at - now

    def settle(self, limits: Limits, booked: int, used: int) -> None:
        """Gives back the tokens that were booked and not used, or takes those that were used beyond."""
        if limits.tokens is not None:
            with self._news:
                self._free["tokens"] += (used - booked) * 60 / limits.tokens

    @contextmanager
    def turn(self, until: float) -> Iterator[Turn]:
        """Waits until a call may be sent, and hears from the `Turn` how it went.

        Raises OutOfPatience at `until`, a time of the clock.
        """
        turn = Turn(self._enter(until))
        try:
            yield turn
        finally:
            self._leave(turn)

    def back_off(self, failures: int, until: float, at_least: float = 0.0) -> None:
        """Waits before the next attempt of a call that failed so often: full jitter, and not beyond `until`."""
        wait = at_least + self.jitter.uniform(0, _ceiling(failures))
        self.clock.sleep(max(0.0, min(wait, until - self.clock.now())))

    def _enter(self, until: float) -> bool:
        with self._news:
            while True:
                now = self.clock.now()
                blocked = self._down() and self._probing
                if now >= self._parked and not blocked:
                    break
                if now >= until:
                    raise OutOfPatience
                self.clock.wait(self._news, until - now if blocked else min(until, self._parked) - now)
            self._probing = self._down()
            return self._probing

    def _leave(self, turn: Turn) -> None:
        with self._news:
            if turn.probe:
                self._probing = False
            if isinstance(turn.heard, Fault) and turn.heard.retry_after is not None:
                self._park(turn.heard.retry_after)
            if isinstance(turn.heard, Fault) and turn.heard.kind in (Kind.DOWN, Kind.LOST):
                self._faults += 1
                self._failed_probes += turn.probe
                if turn.probe:
                    self._park(_ceiling(self._failed_probes) * self.jitter.uniform(0.5, 1))
            elif turn.heard is not None:
                self._faults = self._failed_probes = 0
            self._news.notify_all()

    def _down(self) -> bool:
        return self._faults >= OUTAGE

    def _park(self, seconds: float) -> None:
        self._parked = max(self._parked, self.clock.now() + seconds)


def _ceiling(times: int) -> float:
    return min(LONGEST, FIRST * 2.0 ** (times - 1))


_PACES: dict[tuple[str, str], Pace] = {}
_LOCK = threading.Lock()


def pace_of(base_url: str, model: str) -> Pace:
    """The one pace of a model of a server in this process."""
    with _LOCK:
        return _PACES.setdefault((base_url, model), Pace())
