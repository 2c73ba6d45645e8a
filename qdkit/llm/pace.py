"""When a call may be sent: rate limits, waits that the server asks for, and outages.

There is one `Pace` for each model of each server and key, and every call of that model goes
through it. A call that waits delays no calls of other models and none that are under way.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from qdkit.llm.fault import Fault, FaultKind
from qdkit.llm.presence import Fruitless, Presence

OUTAGE = 5  # faults in a row after which a server counts as down
_FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds: the longest that the first wait, and any, can be
_RAMP_SECONDS = 10.0  # after which the number of calls is no longer limited by a ramp


class OutOfPatience(Exception):
    """The patience of the call ended before it could be sent."""


class Clock:
    """Time in seconds, and waiting.

    A test replaces `CLOCK` by a clock whose time passes at once.
    """

    def now(self) -> float:
        """Returns seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(seconds)

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Waits for a notification, at most `seconds`."""
        condition.wait(min(seconds, threading.TIMEOUT_MAX))

    def notify(self, condition: threading.Condition) -> None:
        """Wakes all waiting threads."""
        condition.notify_all()


CLOCK = Clock()  # the default clock of a pace


@dataclass(frozen=True)
class RateLimits:
    """Requests and tokens per minute; None means no limit."""

    requests: float | None = None
    tokens: float | None = None

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if number is not None and not number > 0:
                raise ValueError(
                    f"{name} per minute is a number above 0, or None for no limit: {number!r}"
                )


UNLIMITED = RateLimits()


@dataclass
class Turn:
    """The permission to send one call.

    probe: whether the call tests a server that is down.
    sent, ended: times of the clock.
    result: the reply or fault, which the caller sets.
    """

    probe: bool
    sent: float
    result: Mapping[str, Any] | Fault | None = None
    ended: float = math.nan


@dataclass
class Pace:
    """When calls of one model of one server are sent.

    A server that failed `OUTAGE` times in a row is down: one call at a time tests it, at growing
    intervals, and all others wait. After a server refused a call because it is busy, no call is
    sent for as long as it asks, or for a growing time, unless it answered another call meanwhile;
    the next answer ends this wait. After either kind of wait a few calls go out first, and twice
    as many each second.

    address: of the server, for messages.
    refused: the features that the server does not support, with its refusals; requests for them
      are not sent again.
    width: the length of an embedding vector, once known; else 0.
    presence: whether the server can be reached.
    fruitless: the count of calls in a row, of any model, that got no answer.
    """

    clock: Clock = field(default_factory=lambda: CLOCK)
    address: str = ""
    refused: dict[str | None, Fault] = field(default_factory=dict)
    width: int = 0
    presence: Presence = field(default_factory=Presence)
    fruitless: Fruitless = field(default_factory=Fruitless)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._free = {"requests": 0.0, "tokens": 0.0}  # when the next call may start
        self._blocked_until = -math.inf  # no call is sent before
        self._faults = self._failed_probes = self._refusals = 0  # in a row
        self._probing = False
        self._last_answer = -math.inf  # when it came
        self._last_answered_call = -math.inf  # when the latest of the answered calls was sent
        self._ramp: _Ramp | None = None
        self._calls = 0  # the number of calls without an answer yet
        self._failing_since: float | None = None  # the first fault since the last answer
        self._last_fault = ""

    def book(self, limits: RateLimits, tokens: int) -> float:
        """Waits until the rate limits allow a call. Returns the seconds of the wait.

        Calls are spaced evenly, because servers refuse bursts.
        """
        with self._changed:
            at = now = self.clock.now()
            for name, amount, per_minute in (
                ("requests", 1, limits.requests),
                ("tokens", tokens, limits.tokens),
            ):
                if per_minute is not None:
                    start = max(now, self._free[name])
                    self._free[name] = start + amount * 60 / per_minute
                    at = max(at, start)
        if at > now:
            self.clock.sleep(at - now)
        return at - now

    def settle(self, limits: RateLimits, booked: int, used: int) -> None:
        """Books the tokens that were used, in place of those that were booked."""
        if limits.tokens is not None:
            with self._changed:
                self._free["tokens"] += (used - booked) * 60 / limits.tokens

    @contextmanager
    def turn(self, until: float) -> Iterator[Turn]:
        """Waits until a call may be sent. At the end of the scope, takes note of `Turn.result`.

        Raises OutOfPatience at `until`, a time of the clock.
        """
        turn = self._enter(until)
        try:
            yield turn
        finally:
            self._leave(turn)

    def back_off(self, turn: Turn, failures: int, until: float, spread: str) -> None:
        """Waits before the next attempt of a call that failed so often, at most to `until`.

        The wait doubles with each failure, from `_FIRST_WAIT` to `LONGEST_WAIT` seconds, and is no
        shorter than the server asked for. Once a call that was sent after the refusal is answered,
        the server takes calls again, and its request to wait no longer counts.

        spread: the text of the request, which varies the wait, so that calls that failed together
          are not repeated together.
        """
        fault = turn.result
        asked_for = fault.retry_after or 0.0 if isinstance(fault, Fault) else 0.0
        busy = isinstance(fault, Fault) and fault.kind == FaultKind.BUSY
        begun, text = self.clock.now(), f"{spread} {failures}"
        own = begun + _vary(_longest_wait(failures), text)
        full = max(own, begun + asked_for + _vary(_FIRST_WAIT, text)) if asked_for else own
        with self._changed:
            while True:
                early = busy and self._last_answered_call >= turn.ended
                end = min(own if early else full, until)
                if (now := self.clock.now()) >= end:
                    return
                self.clock.wait(self._changed, end - now)

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Counts a call as one without an answer yet."""
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1

    def waiting(self) -> tuple[float, str]:
        """Returns for how many seconds calls have met faults and no answer, and the last fault.

        The seconds are 0 where no call waits or the last result was an answer.
        """
        with self._changed:
            since = self._failing_since
            waits = self._calls > 0 and since is not None
            return (self.clock.now() - (since or 0.0) if waits else 0.0), self._last_fault

    def _enter(self, until: float) -> Turn:
        with self._changed:
            while True:
                now = self.clock.now()
                blocked = self._is_down() and self._probing
                at = max(self._blocked_until, self._ramp.next() if self._ramp else -math.inf)
                if now >= at and not blocked:
                    break
                if now >= until:
                    raise OutOfPatience
                self.clock.wait(self._changed, until - now if blocked else min(until, at) - now)
            self._probing = self._is_down()
            if self._ramp:
                in_ramp = now - self._ramp.since < _RAMP_SECONDS
                self._ramp = self._ramp.after_sending() if in_ramp else None
            return Turn(self._probing, now)

    def _leave(self, turn: Turn) -> None:
        with self._changed:
            result, turn.ended = turn.result, self.clock.now()
            if turn.probe:
                self._probing = False
            failures = (FaultKind.DOWN, FaultKind.LOST, FaultKind.ABSENT)
            if isinstance(result, Fault) and result.kind in failures:
                self._on_failure(turn, result)
            elif isinstance(result, Fault) and result.kind == FaultKind.BUSY:
                self._faults = self._failed_probes = 0
                self._on_busy(turn, result)
            elif result is not None:
                self._on_answer(turn)
            self.clock.notify(self._changed)

    def _on_failure(self, turn: Turn, fault: Fault) -> None:
        self._note_fault(turn, fault)
        self._faults += 1
        self._failed_probes += turn.probe
        if fault.retry_after is not None:
            self._block(fault.retry_after)
        if turn.probe:
            self._block(_vary(_longest_wait(self._failed_probes), str(self._failed_probes)))

    def _on_busy(self, turn: Turn, fault: Fault) -> None:
        """Blocks all calls for a while, and then ramps up.

        If another call was answered after this one was sent, only ramps up.
        """
        self._note_fault(turn, fault)
        self._refusals += 1
        if self._last_answer < turn.sent:
            seconds = fault.retry_after
            if seconds is None:
                seconds = _vary(_longest_wait(self._refusals), str(self._refusals))
            self._block(seconds)
        self._ramp = _Ramp(max(self._blocked_until, turn.ended))

    def _on_answer(self, turn: Turn) -> None:
        now = turn.ended
        if self._is_down() or self._blocked_until > now:
            self._ramp = _Ramp(now)
        elif self._ramp:
            self._ramp = self._ramp.after_answer()
        self._blocked_until, self._failing_since = min(self._blocked_until, now), None
        self._faults = self._failed_probes = self._refusals = 0
        self._last_answer = now
        self._last_answered_call = max(self._last_answered_call, turn.sent)

    def _note_fault(self, turn: Turn, fault: Fault) -> None:
        self._last_fault = fault.message
        if self._failing_since is None:
            self._failing_since = turn.ended

    def _is_down(self) -> bool:
        return self._faults >= OUTAGE

    def _block(self, seconds: float) -> None:
        self._blocked_until = max(self._blocked_until, self.clock.now() + seconds)


@dataclass(frozen=True)
class _Ramp:
    """The growing number of calls after a time without any.

    One call goes out at once, two more with each answer, and twice as many each second.

    since: when the ramp began.
    sent, answered: the numbers of calls that were sent and answered since then.
    """

    since: float
    sent: int = 0
    answered: int = 0

    def next(self) -> float:
        """Returns when the next call may be sent.

        `2 ** (seconds since then) + 2 * answered` calls are allowed at a time.
        """
        return self.since + math.log2(max(1, self.sent + 1 - 2 * self.answered))

    def after_sending(self) -> _Ramp:
        return _Ramp(self.since, self.sent + 1, self.answered)

    def after_answer(self) -> _Ramp:
        return _Ramp(self.since, self.sent, self.answered + 1)


def _longest_wait(failures: int) -> float:
    """Returns the longest wait in seconds after so many failures."""
    return min(LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(failures - 1, 10))


def _vary(seconds: float, text: str) -> float:
    """Returns between half and all of `seconds`, by a hash of the text.

    So the same call waits equally long in every run.
    """
    return seconds * (0.5 + 0.5 * zlib.crc32(text.encode()) / 2**32)


_PACES: dict[tuple[str, ...], Pace] = {}
_LOCK = threading.Lock()


def pace_of(base_url: str, model: str, api_key: str = "", address: str = "") -> Pace:
    """Returns the only pace in this process of a model, server and key."""
    key = (hashlib.sha256(api_key.encode()).hexdigest(),) if api_key else ()
    with _LOCK:
        pace = _PACES.get((base_url, model, *key))
        if pace is None:
            # Models of one server share its presence, and all models share the count.
            others = _PACES.items()
            presence = next(
                (other.presence for (url, *_), other in others if url == base_url), Presence()
            )
            fruitless = next((other.fruitless for _, other in others), Fruitless())
            pace = Pace(CLOCK, address or base_url, presence=presence, fruitless=fruitless)
            _PACES[base_url, model, *key] = pace
        return pace


def waiting_servers(least: float = 1.0) -> list[tuple[str, float, str]]:
    """Returns (address, seconds, fault) of each server whose calls wait, the longest wait first.

    least: the seconds for which calls must have been waiting.
    """
    with _LOCK:
        paces = [*_PACES.values()]
    waits = [(pace.address, *pace.waiting()) for pace in paces]
    return sorted((wait for wait in waits if wait[1] >= least), key=lambda wait: -wait[1])
