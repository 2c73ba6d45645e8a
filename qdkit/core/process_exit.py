"""The end of a process while daemon threads of this package still run.

Abandoned calls leave such threads behind. When the interpreter ends, Python unwinds the stack of a
daemon thread. If the thread runs C++ code, such as a compilation by jax, that aborts the whole
process: its exit status is lost, and the terminal shows "FATAL: exception not rethrown". So a
script waits a moment for such threads, and a command ends without unwinding them.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PATIENCE = 2.0  # seconds that a script waits for working threads as it ends

_working: set[threading.Thread] = set()


@contextmanager
def at_work() -> Iterator[None]:
    """A context in which this daemon thread runs code that Python must not unwind."""
    me = threading.current_thread()
    if me in _working:  # a nested context
        yield
        return
    _working.add(me)
    try:
        yield
    finally:
        _working.discard(me)


@contextmanager
def while_waiting() -> Iterator[None]:
    """A context within `at_work` in which this thread only waits, so that Python may unwind it."""
    me = threading.current_thread()
    if me not in _working:
        yield
        return
    _working.discard(me)
    try:
        yield
    finally:
        _working.add(me)


def run_and_exit(call: Callable[[], None]) -> None:
    """Calls `call`, and ends the process at once if threads are at work afterwards.

    The exit status is that of the SystemExit that `call` raises, else 0. The standard streams are
    flushed. Any other exception is raised as usual.
    """
    exit_error: SystemExit | None = None
    try:
        call()
    except SystemExit as error:
        exit_error = error
    if any(thread.is_alive() for thread in _working.copy()):
        _exit_at_once(exit_error.code if exit_error else None)
    if exit_error:
        raise exit_error


def _exit_at_once(code: int | str | None) -> None:
    """Ends the process with the status of `sys.exit(code)`, without unwinding any thread."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        # The reader is gone, the stream is closed, or there is none.
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(1 if isinstance(code, str) else (code or 0) & 0xFF)


@atexit.register
def _wait_for_working_threads() -> None:
    end = time.monotonic() + _PATIENCE
    while any(thread.is_alive() for thread in _working.copy()) and time.monotonic() < end:
        time.sleep(0.01)


def _clear_after_fork() -> None:
    _working.clear()  # these are threads of the parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clear_after_fork)
