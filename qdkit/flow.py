"""The one place where things happen at the same time, and where the code of domains is run.

`Flow` starts tasks and hands back their results in order, whatever the timing. `attempt` evaluates
genomes so that the exception of one fails that one alone; `Workers` does it on an executor.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, Generic, NamedTuple, TypeVar

from qdkit.record import Halt, Unanswered
from qdkit.types import Domain, Evaluation, Genomes, Outcome

Task = TypeVar("Task")
Done = TypeVar("Done")


class Flow(Generic[Task, Done]):
    """Does the `work` of tasks in up to `in_flight` threads, at most `ahead` of them started and not yet taken.

    Start i (from 0) happens after exactly max(0, i + 1 - ahead) results were taken, however long
    each takes; so the same answers give the same run. A larger `ahead` keeps the threads busy while
    a slow one is waited for, and lets a start see an older state. Only `work` leaves the caller's
    thread, and with `ahead=1` it does not either.

    A flow that was stopped, by its caller or by an error, can be taken up again: what was at work
    then is finished by its thread, what was waiting is begun again, what could not be taken is taken again.
    """

    def __init__(self, work: Callable[[Task], Done], *, in_flight: int = 1, ahead: int = 1):
        self._work, self._in_flight, self._ahead = work, in_flight, ahead
        self._started: deque[tuple[Task, Future[Done]]] = deque()
        self._queue: queue.SimpleQueue[tuple[Task, Future[Done]]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    @property
    def pending(self) -> int:
        """How many tasks are started and not yet taken."""
        return len(self._started)

    def run(
        self, start: Callable[[], Task | None], n: int, take: Callable[[Done], Any] = lambda done: done
    ) -> Iterator[Any]:
        """Yields what `take` makes of the next `n` results, in the order of the starts.

        Fewer when `start` has no more to give. A result that `take` raises for is not taken: it comes first again.
        """
        self._begin_again()
        try:
            for _ in range(n):
                while len(self._started) < self._ahead and (task := start()) is not None:
                    self._started.append((task, self._submit(task)))
                if not self._started:
                    return
                task, future = self._started[0]
                if self._ahead == 1 and not future.done():
                    future.set_result(self._work(task))
                taken = take(future.result())
                self._started.popleft()
                yield taken
        finally:
            for _, future in self._started:
                future.cancel()

    def _submit(self, task: Task) -> Future[Done]:
        future: Future[Done] = Future()
        if self._ahead > 1:
            if len(self._threads) < self._in_flight:
                # Daemons: a program that is told to stop does not wait for calls that are under way.
                self._threads.append(threading.Thread(target=self._serve, daemon=True, name="qdkit-flow"))
                self._threads[-1].start()
            self._queue.put((task, future))
        return future

    def _begin_again(self) -> None:
        """What was cancelled, or failed with an error, is submitted once more, in its place."""
        for place, (task, future) in enumerate(self._started):
            if future.cancelled() or (future.done() and future.exception() is not None):
                self._started[place] = (task, self._submit(task))

    def _serve(self) -> None:
        while True:
            task, future = self._queue.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._work(task))
                except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
                    future.set_exception(error)


class Failure(NamedTuple):
    """Why one genome has no evaluation."""

    outcome: Outcome
    error: str


class Call(NamedTuple):
    """One evaluation on its way, and the executor that has it."""

    executor: Executor
    future: Future[Tried]


TRIES = 3
Tried = list[tuple[slice, Evaluation | Failure]]  # which rows, and what came of them


def attempt(domain: Domain, genomes: Genomes) -> Tried:
    """Evaluates all genomes at once; if that raises, one by one, so that only the guilty fail."""
    try:
        return [(slice(0, len(genomes)), domain.evaluate(genomes))]
    except Halt:
        raise
    except Unanswered as error:
        return [(slice(0, len(genomes)), Failure(Outcome.INFRASTRUCTURE, str(error)))]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the domain's code; what it raises is the outcome
        if len(genomes) == 1:
            return [(slice(0, 1), Failure(Outcome.FAILED, in_words(error)))]
    return [(slice(i, i + 1), attempt(domain, genomes[i : i + 1])[0][1]) for i in range(len(genomes))]


def in_words(error: BaseException) -> str:
    """What was raised and where, in one line: enough to find the place, without the whole traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (line {frames[-1].lineno} of {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {str(error)[:500]}{place}"


class Workers:
    """Evaluates each genome by itself on an executor, and makes a new one when a worker's death broke it.

    make: builds the executor, such as `partial(ProcessPoolExecutor, 4, mp_context=get_context("spawn"))`.
      jax has threads of its own, so processes that are forked may hang: take "spawn" or "forkserver".
    """

    def __init__(self, make: Callable[[], Executor]):
        if isinstance(make, Executor):
            raise TypeError(
                f"executor is a function that makes one, so that it can be made again when it breaks: "
                f"hand in lambda: {type(make).__name__}(...) instead of the executor itself"
            )
        self._make, self._executor, self._lock = make, make(), threading.Lock()

    def attempt(self, domain: Domain, genomes: Genomes) -> Tried:
        """Like the function of that name, each genome in a call of its own."""
        first = [self._submit(domain, genomes[i : i + 1]) for i in range(len(genomes))]
        return [(slice(i, i + 1), self._result(domain, genomes[i : i + 1], call)) for i, call in enumerate(first)]

    def close(self) -> None:
        """Gives the workers back; what they have not begun is not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _result(self, domain: Domain, one: Genomes, call: Call) -> Evaluation | Failure:
        # One dead worker breaks the executor under all its calls, so an innocent may lose more than one try.
        for _ in range(TRIES):
            try:
                return call.future.result()[0][1]
            except BrokenExecutor:
                call = self._submit(domain, one, instead_of=call.executor)
        return Failure(Outcome.INFRASTRUCTURE, f"the worker that tried it died, {TRIES} times")

    def _submit(self, domain: Domain, one: Genomes, instead_of: Executor | None = None) -> Call:
        with self._lock:
            if self._executor is instead_of:
                self._renew()
            try:
                return Call(self._executor, self._executor.submit(attempt, domain, one))
            except BrokenExecutor:
                self._renew()
                return Call(self._executor, self._executor.submit(attempt, domain, one))

    def _renew(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._make()
