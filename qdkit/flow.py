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
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

from qdkit.record import Halt, Unanswered
from qdkit.types import Domain, Evaluation, Genomes, Outcome

Task = TypeVar("Task")
Made = TypeVar("Made")
Done = TypeVar("Done")


class Flow(Generic[Task, Made, Done]):
    """Does the work of tasks in up to `in_flight` threads, at most `ahead` of them started and not yet taken.

    A task is worked on in two halves: `make` in any order, and `work(task, made)` once all tasks that
    were started before it are made too, so that it may look at what was made of those. Between the
    halves it holds no thread.

    Start i (from 0) happens after exactly max(0, i + 1 - ahead) results were taken, however long
    each takes; so the same answers give the same run. A larger `ahead` keeps the threads busy while
    a slow one is waited for, and lets a start see an older state. Only `make` and `work` leave the
    caller's thread, and with `ahead=1` they do not either.

    A flow that was stopped, by its caller or by an error, can be taken up again: what was at work
    then is finished by its thread, what was waiting is begun again, what could not be taken is taken again.
    """

    def __init__(
        self, make: Callable[[Task], Made], work: Callable[[Task, Made], Done], *, in_flight: int = 1, ahead: int = 1
    ):
        self._make, self._work, self._in_flight, self._ahead = make, work, in_flight, ahead
        self._started: deque[_Job[Task, Made, Done]] = deque()
        self._queue: queue.PriorityQueue[tuple[int, int, _Job[Task, Made, Done], Future[Any]]] = queue.PriorityQueue()
        self._threads: list[threading.Thread] = []
        self._numbers, self._entries, self._lock = count(), count(), threading.Lock()
        self._waiting: dict[int, _Job[Task, Made, Done]] = {}  # made, and one before them is not
        self._through = 0  # every start below this number was made

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
                    job: _Job[Task, Made, Done] = _Job(next(self._numbers), task)
                    self._started.append(job)
                    with self._lock:
                        self._submit(job, job.made)
                if not self._started:
                    return
                job = self._started[0]
                if self._ahead == 1 and not job.done.done():
                    job.done.set_result(self._work(job.task, self._make(job.task)))
                taken = take(job.done.result())
                self._started.popleft()
                yield taken
        finally:
            for job in self._started:
                job.made.cancel()
                job.done.cancel()

    def _submit(self, job: _Job[Task, Made, Done], half: Future[Any]) -> None:
        if self._ahead > 1:
            if len(self._threads) < self._in_flight:
                # Daemons: a program that is told to stop does not wait for calls that are under way.
                self._threads.append(threading.Thread(target=self._serve, daemon=True, name="qdkit-flow"))
                self._threads[-1].start()
            self._queue.put((job.number, next(self._entries), job, half))  # the oldest first

    def _begin_again(self) -> None:
        """What was cancelled, or failed with an error, is submitted once more, in its place."""
        with self._lock:
            for job in self._started:
                if job.done.done() and not (job.done.cancelled() or _failed(job.done)):
                    continue
                if job.made.cancelled() or _failed(job.made) or _failed(job.done):
                    job.made, job.done = Future(), Future()
                    self._submit(job, job.made)
                elif job.done.cancelled():
                    job.done = Future()
                    if job.made.done() and job.number < self._through:  # else it is submitted when they are made
                        self._submit(job, job.done)

    def _serve(self) -> None:
        while True:
            _, _, job, half = self._queue.get()
            if not half.set_running_or_notify_cancel():
                continue
            try:
                if half is job.made:
                    self._let_through(job, self._make(job.task))
                else:
                    half.set_result(self._work(job.task, job.made.result()))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
                with self._lock:
                    half.set_exception(error)
                    if half is job.made and job.done.set_running_or_notify_cancel():
                        job.done.set_exception(error)

    def _let_through(self, job: _Job[Task, Made, Done], made: Made) -> None:
        """Submits the second half of this task, and of those that waited for it alone; or this one waits."""
        with self._lock:
            job.made.set_result(made)
            self._waiting[job.number] = job
            while self._through in self._waiting:
                self._through += 1
            for number in sorted(number for number in self._waiting if number < self._through):
                through = self._waiting.pop(number)
                self._submit(through, through.done)


class _Job(Generic[Task, Made, Done]):
    """A task that is started, and what comes of its halves."""

    def __init__(self, number: int, task: Task):
        self.number, self.task = number, task
        self.made: Future[Made] = Future()
        self.done: Future[Done] = Future()


def _failed(half: Future[Any]) -> bool:
    return half.done() and not half.cancelled() and half.exception() is not None


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
