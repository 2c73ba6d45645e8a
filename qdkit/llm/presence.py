"""Whether a server can be reached, and when a run has waited long enough for answers.

A server that refuses calls or fails at them can be reached, and may recover. Where no connection
can be made, the server may not exist: the user is warned at once, and the run ends after a while.
A run also ends after several calls in a row that got no answer, whatever the reason: such a run
makes no candidates and never uses up a budget.
"""

from __future__ import annotations

import contextlib
import math
import threading
import warnings

# Seconds of patience with a server that never answered, and with one that did.
_PATIENCE_UNKNOWN, _PATIENCE_KNOWN = 60.0, 300.0
FORGET_AFTER = 60.0  # seconds without an attempt after which an absence begins anew


def check_timeouts(timeout: float, patience: float | None) -> None:
    """Raises ValueError unless `timeout` is above 0 and `patience` at least 0, both finite."""
    if not 0 < timeout < math.inf:
        raise ValueError(f"timeout is a number of seconds above 0, and this is {timeout!r}")
    if patience is not None and not 0 <= patience < math.inf:
        raise ValueError(
            f"patience is a number of seconds from 0, or None, and this is {patience!r}"
        )


class Presence:
    """Whether one server can be reached, from the calls to all of its models.

    Times are those of the clock of a pace.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._has_replied = False
        self._absent_since: float | None = None
        self._last_try = -math.inf
        self._reason = ""
        self._warned: set[str] = set()

    def record_reply(self) -> None:
        """Records that the server replied."""
        with self._lock:
            self._has_replied, self._absent_since = True, None

    def record_absence(
        self, address: str, reason: str, now: float, patience: float | None
    ) -> float:
        """Records that no connection could be made, and warns of it the first time.

        Returns the time until which to try.
        """
        with self._lock:
            since = self._absent_since
            first = since is None or now - self._last_try > FORGET_AFTER
            since = now if first or since is None else since
            self._absent_since, self._last_try, self._reason = since, now, reason
            seconds = self._patience(patience)
        if first:
            _warn(f"no answer from {address} ({reason}): trying for {seconds:.0f} s")
        return since + seconds

    def warn_once(self, sentence: str) -> None:
        """Warns of something about the server, once."""
        with self._lock:
            first = sentence not in self._warned
            self._warned.add(sentence)
        if first:
            _warn(sentence)

    def patience(self, setting: float | None) -> float:
        """Returns the seconds after which a call is given up; `setting` itself unless None."""
        with self._lock:
            return self._patience(setting)

    def absence(self, now: float) -> tuple[float, str] | None:
        """Returns for how many seconds the server has been absent, and why.

        None if it is not known to be absent.
        """
        with self._lock:
            return None if self._absent_since is None else (now - self._absent_since, self._reason)

    def _patience(self, setting: float | None) -> float:
        if setting is not None:
            return setting
        known = self._has_replied or self._absent_since is None
        return _PATIENCE_KNOWN if known else _PATIENCE_UNKNOWN


def _warn(sentence: str) -> None:
    """Warns the user, from any thread.

    A warning filter that raises errors must not raise one here: the failed call would look like a
    mistake of the program, and the condition ends the run by itself, with a message, if it has to.
    """
    with contextlib.suppress(UserWarning):
        # No line of this package would tell the user more.
        warnings.warn_explicit(sentence, UserWarning, "qdkit", 1)


class Fruitless:
    """Counts the calls in a row that got no answer; an answer to any call resets the count.

    Calls that overlap in time count as one, so that the count does not depend on how many run at
    the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count, self._last = 0, -math.inf

    def reset(self) -> None:
        """Resets the count, after an answer."""
        with self._lock:
            self._count, self._last = 0, -math.inf

    def count_failure(self, since: float, now: float) -> int:
        """Counts a call, begun at `since`, that got no answer. Returns how many there are."""
        with self._lock:
            if since >= self._last:
                self._count, self._last = self._count + 1, now
            return self._count
