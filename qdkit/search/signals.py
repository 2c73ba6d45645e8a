"""Signals that end a search: a handler remembers them, and the search acts on them between steps.

SIGINT (Ctrl-C), SIGTERM (`kill`, Slurm, Kubernetes, docker stop) and SIGHUP (a closed terminal)
are handled alike. The handler does not raise: jax calls Python code from the garbage collector,
where an exception is printed and dropped, and the signal would be lost with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_GRACE = 1.0  # seconds that a step under way may go on for after a signal

# the innermost scope of the main thread; other threads cannot have handlers
_open: Handling | None = None


class Handling:
    """A scope in which signals that end the process are remembered; nested scopes act as one.

        with Handling("go on with ...") as signals:
            while ...:
                signals.check()  # raises KeyboardInterrupt, SystemExit(143) or SystemExit(129)
                step()

    advice: a sentence that says how to resume; it is printed once, to stderr, when the outermost
      scope ends. That of the innermost scope counts; "" for none.
    finish: a function that a second signal calls before it ends the process.
    at_once: whether the handler also raises, where no inner scope has it off.

    The first signal is remembered, and raised by `check` or at the end of the outermost scope:
    SIGINT as KeyboardInterrupt, SIGTERM as SystemExit(143), SIGHUP as SystemExit(129). By then the
    caller's handlers are back, and one that the caller wrote has been called. A second signal ends
    the process at once.

    Signals that are ignored, as under nohup, stay ignored. In other threads than the main one, and
    in the kernel of a notebook, nothing is changed and nothing remembered: KeyboardInterrupt comes
    as always.
    """

    def __init__(
        self,
        advice: str = "",
        *,
        finish: Callable[[], None] = lambda: None,
        at_once: bool = False,
    ):
        self._advice, self._finish, self._at_once = advice, finish, at_once
        self._outer: Handling | None = None
        self._active = False
        self._before: dict[int, Any] = {}
        self._process = os.getpid()
        self.number = 0  # of the first signal
        self.since = 0.0  # when it came

    def check(self) -> None:
        """Raises the exception of the remembered signal, if there is one."""
        if self._first.number:
            raise _error(self._first.number)

    @property
    def overdue(self) -> bool:
        """Whether a signal was remembered more than `_GRACE` seconds ago."""
        first = self._first
        return bool(first.number) and time.monotonic() - first.since > _GRACE

    def __enter__(self) -> Handling:
        global _open
        if threading.current_thread() is not threading.main_thread() or _in_notebook():
            return self
        self._active, self._outer, _open = True, _open, self
        if self._outer is None:
            for number in _SIGNALS:
                # None stands for a handler that was set outside of Python
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        global _open
        if not self._active:
            return
        self._active, _open, first = False, self._outer, self._first
        ends = kind is None or issubclass(kind, KeyboardInterrupt | SystemExit)
        if self._outer is not None:
            first._advice = self._advice or first._advice
            if first.number and (kind is None or ends):
                raise _error(first.number) from None
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if not self.number:
            return
        _print(self._sentence())
        handler = self._before[self.number]
        if callable(handler) and handler is not signal.default_int_handler:
            handler(self.number, None)
        if ends:
            raise _error(self.number) from None

    @property
    def _first(self) -> Handling:
        """The outermost scope, which has the handlers."""
        scope = self
        while scope._outer is not None:
            scope = scope._outer
        return scope

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # a forked child ends as it would without a search
        if os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        innermost = _open or self
        if self.number:
            innermost._finish()
            _print(self._sentence())
            os._exit(128 + number)
        self.number, self.since = number, time.monotonic()
        if innermost._at_once:
            raise _error(number)

    def _sentence(self) -> str:
        advice = (_open._advice if _open else "") or self._advice
        return f"qdkit: stopped by {signal.Signals(self.number).name}" + (
            f"; {advice}" if advice else ""
        )


def _error(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _print(sentence: str) -> None:
    """Writes a line to the descriptor of stderr: Python may be writing to the stream."""
    with suppress(OSError, ValueError):  # the stream is closed
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2,
            f"{sentence}\n".encode(errors="replace"),
        )


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
