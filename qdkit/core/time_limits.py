"""Calls of foreign code that are abandoned when they take too long.

Python cannot end a thread, so a call that may be abandoned runs in a daemon thread of its own. The
caller goes on without it, and the thread runs until its call returns or the process ends. Nothing
that an abandoned call does is recorded.
"""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from qdkit.core.process_exit import at_work, while_waiting
from qdkit.core.record import NOTHING, Cost, Halt, Record, current, recording

TICK = 0.1  # seconds between two checks whether a call is abandoned
_OWN_PACKAGES = {"qdkit", "jax", "jaxlib", "numpy"}
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Overdue(Exception):
    """A call was abandoned; the message holds the reason."""


class Abandoned(Halt):
    """Raised in the thread of an abandoned call when it uses its record."""


def call_watched(
    call: Callable[[], _Result], given_up: Callable[[], str], seconds: float | None = None
) -> _Result:
    """Runs `call()` in a daemon thread with the context variables of this one.

    Returns what it returns, and raises what it raises.

    given_up: a function that is called every `TICK` seconds. The call is abandoned if it returns
      a reason other than "", or raises.
    seconds: how long the call may take; None for no limit.

    Raises Overdue with the reason if the call is abandoned. The record of the call is then revoked
    (see `Revocable`).
    """
    done: Future[_Result] = Future()
    record, scopes = Revocable(current()), _jax_scopes()

    def body() -> None:
        try:
            with ExitStack() as stack:
                stack.enter_context(at_work())
                for scope in scopes:
                    stack.enter_context(scope())
                with recording(record):
                    result = call()
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            done.set_exception(error)
        else:
            done.set_result(result)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(body,), daemon=True, name="qdkit-watched")
    thread.start()
    try:
        with while_waiting():
            reason = _wait_for(thread, given_up, seconds)
    except BaseException:
        record.revoke()
        raise
    if reason:
        record.revoke()
        raise Overdue(reason)
    return done.result()


def call_with_timeout(call: Callable[[], _Result], seconds: float) -> _Result:
    """Runs `call()` in a daemon thread. Returns what it returns, and raises what it raises.

    For calls that wait for another machine, which Python may unwind when the process ends. Raises
    Overdue if the call takes longer than `seconds`; its thread then stays behind.
    """
    done: Future[_Result] = Future()

    def body() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(body,), daemon=True, name="qdkit-within").start()
    try:
        with while_waiting():
            return done.result(min(seconds, threading.TIMEOUT_MAX))
    except TimeoutError:
        if done.done():
            raise  # the call itself raised TimeoutError
        raise Overdue(f"it had not ended after {seconds:g} s") from None


def _wait_for(thread: threading.Thread, given_up: Callable[[], str], seconds: float | None) -> str:
    """Waits for a thread. Returns why it is abandoned, "" if it ended."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        thread.join(TICK if end is None else max(0.0, min(TICK, end - time.monotonic())))
        if not thread.is_alive():
            return ""
        if end is not None and time.monotonic() >= end:
            return f"it had not ended after {seconds:g} s"
        if reason := given_up():
            return reason


def runs_foreign_code(thread: int | None) -> bool:
    """Returns whether a thread, by its identifier, runs foreign code.

    That is code outside qdkit, jax, numpy and the standard library.
    """
    frame = sys._current_frames().get(thread) if thread is not None else None
    while frame is not None:
        root = frame.f_globals.get("__name__", "").partition(".")[0]
        own = root in _OWN_PACKAGES or root in sys.stdlib_module_names
        if not own or root == "__main__":
            return True
        frame = frame.f_back
    return False


def map_in_threads(
    call: Callable[[_Item], _Result], items: Sequence[_Item], threads: int
) -> list[_Result]:
    """Returns `[call(item) for item in items]`, computed by up to `threads` daemon threads.

    After an error no further call begins, and the first error in the order of the items is raised.
    Unlike the threads of a `ThreadPoolExecutor`, these do not keep the process alive when the
    caller is interrupted.
    """
    results: list[Future[_Result]] = [Future() for _ in items]
    jobs: queue.SimpleQueue[tuple[Future[_Result], _Item]] = queue.SimpleQueue()
    for job in zip(results, items, strict=True):
        jobs.put(job)
    errors: list[BaseException] = []

    def serve() -> None:
        with at_work():
            work()

    def work() -> None:
        while True:
            try:
                result, item = jobs.get_nowait()
            except queue.Empty:
                return
            try:
                if errors:
                    result.set_exception(errors[0])
                else:
                    result.set_result(call(item))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
                errors.append(error)
                result.set_exception(error)

    for _ in range(min(threads, len(items))):
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(serve,), daemon=True, name="qdkit-beside"
        ).start()
    wait(results)
    return [result.result() for result in results]


class Revocable:
    """A record that can be revoked.

    After `revoke` every request raises Abandoned, so that an abandoned call cannot change the run
    any more. Its reservations of the budget are charged in full, as the actual costs are unknown.
    """

    def __init__(self, record: Record):
        self._record, self._lock = record, threading.RLock()
        self._revoked = False
        self._reservations: dict[object, tuple[Cost, Callable[[], None]]] = {}

    @property
    def place(self) -> tuple[int, int] | None:
        """See `qdkit.core.record.Record`."""
        return self._record.place

    def recall(self, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """See `qdkit.core.record.Record`."""
        with self._lock:
            self._check()
            return self._record.recall(request)

    @contextmanager
    def reserve(self, most: Cost) -> Iterator[Callable[[Cost], None]]:
        """See `qdkit.core.record.Record`."""
        reservation, key = ExitStack(), object()
        # `reserve` may wait, so the lock is not held here.
        spend = reservation.enter_context(self._record.reserve(most))
        with self._lock:
            if self._revoked:
                spend(NOTHING)
                reservation.close()
                self._check()
            self._reservations[key] = most, reservation.close
        try:
            yield spend
        finally:
            with self._lock:
                if self._reservations.pop(key, None) is not None:
                    reservation.close()

    def keep(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """See `qdkit.core.record.Record`."""
        with self._lock:
            self._check()
            self._record.keep(request, answer)

    def revoke(self) -> Cost:
        """Revokes the record. Returns the sum of the open reservations, which are charged now."""
        with self._lock:
            self._revoked = True
            reservations, self._reservations = [*self._reservations.values()], {}
        total = NOTHING
        for most, close in reservations:
            total += most
            close()
        return total

    def _check(self) -> None:
        if self._revoked:
            raise Abandoned("the call was abandoned, and nothing of it is recorded any more")


def _jax_scopes() -> list[Callable[[], Any]]:
    """Returns contexts that set the precision and device of jax as in this thread."""
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "config"):
        return []
    x64, device = jax.config.jax_enable_x64, jax.config.jax_default_device
    if hasattr(jax, "enable_x64"):
        precision = partial(jax.enable_x64, x64)
    else:
        from jax.experimental import enable_x64  # type: ignore[attr-defined]  # jax < 0.8

        precision = partial(enable_x64, x64)
    return [precision, partial(jax.default_device, device)]
