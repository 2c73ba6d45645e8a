"""Evaluation of genomes by the code of a domain: in this thread, in another, or on an executor.

`attempt` evaluates genomes so that an exception fails only the genome that raised it.
`EvaluationPool` does the same on an executor.
"""

from __future__ import annotations

import tempfile
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from itertools import count
from pathlib import Path
from typing import NamedTuple

from qdkit.core.processes import exit_after, kill_workers, set_up_worker
from qdkit.core.record import Halt, Unanswered
from qdkit.core.redaction import redacted
from qdkit.core.time_limits import TICK, Overdue, call_watched
from qdkit.core.types import Domain, Evaluation, Genomes, Outcome

_TRIES = 3
_PATIENCE = 0.5  # seconds to wait for an executor to end
# Seconds after the time limit at which a process is ended whose threads do not get to run.
_MARGIN = 1.0


class Failure(NamedTuple):
    """The reason why a genome has no evaluation.

    error: one line, which is recorded.
    traceback: the traceback as a text, which can be sent between processes. It is printed and not
      recorded; "" if nothing was raised.
    """

    outcome: Outcome
    error: str
    traceback: str = ""


EvaluationResults = list[tuple[slice, Evaluation | Failure]]  # rows, and the result for them


def attempt(domain: Domain, genomes: Genomes, seconds: float | None = None) -> EvaluationResults:
    """Evaluates all genomes in one call; if that raises, each genome in a call of its own.

    So an exception fails only the genome that raised it.

    seconds: how long one call of `evaluate` may take, in a thread of its own; all genomes of a
      call that takes longer time out. If None, `evaluate` is called in this thread.
    """
    everything = slice(0, len(genomes))
    try:
        return [(everything, _evaluate(domain, genomes, seconds))]
    except (Halt, KeyboardInterrupt):
        raise
    except Overdue as error:
        return [(everything, Failure(Outcome.TIMEOUT, str(error)))]
    except Unanswered as error:
        return [(everything, Failure(Outcome.INFRASTRUCTURE, redacted(str(error))))]
    except BaseException as error:  # noqa: BLE001 - the domain may raise any exception
        if len(genomes) == 1:
            failure = Failure(Outcome.FAILED, _error_line(error), _domain_traceback(error))
            return [(slice(0, 1), failure)]
    return [
        (slice(i, i + 1), attempt(domain, genomes[i : i + 1], seconds)[0][1])
        for i in range(len(genomes))
    ]


def _evaluate(domain: Domain, genomes: Genomes, seconds: float | None) -> Evaluation:
    if seconds is None:
        return domain.evaluate(genomes)
    return call_watched(lambda: domain.evaluate(genomes), lambda: "", seconds)


def _error_line(error: BaseException) -> str:
    """Returns the type, message and place of an exception in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (line {frames[-1].lineno} of {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {redacted(_message(error))[:500]}{place}"


def _message(error: BaseException) -> str:
    """Returns the message of an exception, whose `__str__` may be the domain's and may raise."""
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - the domain may raise any exception
        return f"<its message cannot be made: {type(another).__name__}>"


class _Call(NamedTuple):
    """One evaluation under way.

    mark: the file that is left if its process was ended; None if the process is not watched.
    """

    executor: Executor
    future: Future[EvaluationResults]
    mark: Path | None


def _domain_traceback(error: BaseException) -> str:
    """Returns the traceback of the domain's code, without the frames of this module above it."""
    summary = traceback.TracebackException.from_exception(error)
    own = [i for i, frame in enumerate(summary.stack) if frame.filename == __file__]
    last = max(own, default=-1)
    summary.stack[:] = summary.stack[last + 1 :] or summary.stack
    return str(redacted("".join(summary.format())))


class EvaluationPool:
    """Evaluates each genome in a call of its own on an executor.

    When the death of a worker breaks the executor, a new one replaces it.

    make: builds the executor, such as `partial(ProcessPoolExecutor, 4,
      mp_context=get_context("spawn"))`. jax has threads of its own, so forked processes may hang:
      take "spawn" or "forkserver".
    seconds: how long the evaluation of one genome may take, from when a worker begins it; None for
      no limit.
    """

    def __init__(self, make: Callable[[], Executor], seconds: float | None = None):
        if isinstance(make, Executor):
            raise TypeError(
                "executor is a function that makes one, so that it can be made again when it "
                f"breaks: hand in lambda: {type(make).__name__}(...) instead of the executor "
                "itself"
            )
        self._make, self._executor, self._lock = make, make(), threading.Lock()
        self._seconds, self._stopped, self._numbers = seconds, False, count()
        self._marks: tempfile.TemporaryDirectory[str] | None = None

    def attempt(self, domain: Domain, genomes: Genomes) -> EvaluationResults:
        """Evaluates each genome in a call of its own.

        Returns the results as the function `attempt` does. Raises Halt after `stop`.
        """
        first = [self._submit(domain, genomes[i : i + 1]) for i in range(len(genomes))]
        return [
            (slice(i, i + 1), self._result(domain, genomes[i : i + 1], call))
            for i, call in enumerate(first)
        ]

    def stop(self) -> None:
        """Ends all evaluations and their processes; `attempt` raises Halt until `start`."""
        with self._lock:
            self._stopped = True
            ending = threading.Thread(
                target=kill_workers, args=(self._executor,), daemon=True, name="qdkit-ending"
            )
        ending.start()
        ending.join(_PATIENCE)  # the executor of a cluster may take longer

    def start(self) -> None:
        """Makes a new executor after `stop`."""
        with self._lock:
            if self._stopped:
                self._stopped, self._executor = False, self._make()

    def close(self) -> None:
        """Shuts the executor down: cancels what has not begun, and ends processes."""
        kill_workers(self._executor)
        if self._marks is not None:
            self._marks.cleanup()

    def _result(self, domain: Domain, one: Genomes, call: _Call) -> Evaluation | Failure:
        # A dead worker breaks the executor for all calls, so a genome may lose several tries
        # through others.
        for _ in range(_TRIES):
            try:
                result = self._await(call)
            except (BrokenExecutor, CancelledError):
                self._check()
                if call.mark is not None and _is_written(call.mark):
                    return Failure(Outcome.TIMEOUT, f"it had not ended after {self._seconds:g} s")
                call = self._submit(domain, one, instead_of=call.executor)
                continue
            if isinstance(result, Failure) and result.outcome == Outcome.TIMEOUT:
                self._replace_busy(call.executor)
            return result
        return Failure(Outcome.INFRASTRUCTURE, f"the worker that tried it died, {_TRIES} times")

    def _await(self, call: _Call) -> Evaluation | Failure:
        """Waits for the result of a call.

        Raises Halt after `stop`, and if the executor reports that it has no workers.
        """
        while not wait([call.future], TICK).done:
            self._check()
            if idle := getattr(call.executor, "idle", lambda: "")():
                raise Halt(idle)
        return call.future.result()[0][1]

    def _check(self) -> str:
        """Raises Halt after `stop`; returns "" before it."""
        if self._stopped:
            raise Halt("evaluation was stopped")
        return ""

    def _submit(self, domain: Domain, one: Genomes, instead_of: Executor | None = None) -> _Call:
        with self._lock:
            self._check()
            if self._executor is instead_of:
                self._renew()
            try:
                return self._call(domain, one)
            except BrokenExecutor:
                self._renew()
                return self._call(domain, one)

    def _call(self, domain: Domain, one: Genomes) -> _Call:
        executor = self._executor
        if isinstance(executor, ProcessPoolExecutor):
            mark = self._new_mark()
            future = executor.submit(_attempt_in_process, domain, one, self._seconds, mark)
            return _Call(executor, future, mark)
        if isinstance(executor, ThreadPoolExecutor):
            return _Call(executor, executor.submit(self._attempt_in_thread, domain, one), None)
        return _Call(executor, executor.submit(attempt, domain, one, self._seconds), None)

    def _new_mark(self) -> Path | None:
        if self._seconds is None:
            return None
        if self._marks is None:
            self._marks = tempfile.TemporaryDirectory(prefix="qdkit-", ignore_cleanup_errors=True)
        return Path(self._marks.name, str(next(self._numbers)))

    def _attempt_in_thread(self, domain: Domain, one: Genomes) -> EvaluationResults:
        """Evaluates in a daemon thread, as Python waits for those of an executor at its end."""
        try:
            return call_watched(lambda: attempt(domain, one), self._check, self._seconds)
        except Overdue as error:
            return [(slice(0, 1), Failure(Outcome.TIMEOUT, str(error)))]

    def _replace_busy(self, executor: Executor) -> None:
        """Replaces an executor if one of its processes is still busy with an abandoned call."""
        with self._lock:
            if executor is self._executor and isinstance(executor, ProcessPoolExecutor):
                executor.shutdown(wait=False)
                self._executor = self._make()

    def _renew(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._make()


def _attempt_in_process(
    domain: Domain, one: Genomes, seconds: float | None, mark: Path | None
) -> EvaluationResults:
    set_up_worker()
    with exit_after(None if seconds is None else seconds + _MARGIN, mark):
        return attempt(domain, one, seconds)


def _is_written(mark: Path) -> bool:
    return mark.exists() and mark.stat().st_size > 0
