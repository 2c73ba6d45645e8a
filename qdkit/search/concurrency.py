"""Concurrency: `Flow` runs tasks at the same time, and yields their results in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from itertools import count
from typing import Any, Generic, TypeVar

from qdkit.core.process_exit import at_work
from qdkit.core.time_limits import TICK

_Task = TypeVar("_Task")

_Made = TypeVar("_Made")

_Done = TypeVar("_Done")


class Flow(Generic[_Task, _Made, _Done]):
    """Does the work of tasks in up to `in_flight` threads.

    The work has two halves: `make(task)` in any order, and `work(task, made)` once all tasks that
    were started before it are made, so that it may read what was made of them. A task has no
    thread between the halves.

    At most `ahead` tasks are started and not yet taken. Start i (from 0) happens after exactly
    max(0, i + 1 - ahead) results were taken, however long each takes, so the same results give the
    same run. A larger `ahead` keeps the threads busy while a slow task is waited for, and lets a
    start read an older state. Only `make` and `work` leave the caller's thread, and with `ahead=1`
    they do so only where they are `watched`.

    watched: whether tasks can be given up during their work, for which they need other threads.

    A flow that was stopped, by its caller or by an error, can go on: a thread finishes the work
    that it is at, work that was waiting is submitted again, and a result that could not be taken
    is taken again.
    """

    def __init__(
        self,
        make: Callable[[_Task], _Made],
        work: Callable[[_Task, _Made], _Done],
        *,
        in_flight: int = 1,
        ahead: int = 1,
        watched: bool = False,
    ):
        self._make, self._work, self._in_flight, self._ahead = make, work, in_flight, ahead
        self._threaded = watched or ahead > 1
        self._started: deque[_Job[_Task, _Made, _Done]] = deque()
        self._queue: queue.PriorityQueue[
            tuple[int, int, _Job[_Task, _Made, _Done], Future[Any]]
        ] = queue.PriorityQueue()
        self._threads: list[threading.Thread] = []
        self._numbers, self._entries, self._lock = count(), count(), threading.Lock()
        # jobs that are made while one before them is not
        self._waiting: dict[int, _Job[_Task, _Made, _Done]] = {}
        self._made_below = 0  # every job below this number is made

    @property
    def pending(self) -> int:
        """How many tasks are started and not yet taken."""
        return len(self._started)

    def run(
        self,
        start: Callable[[], _Task | None],
        n: int,
        take: Callable[[_Done], Any] = lambda done: done,
        *,
        check: Callable[[], None] = lambda: None,
        give_up: Callable[[_Task, _Made | None, bool], _Done | None] = lambda task, made, begun: (
            None
        ),
    ) -> Iterator[Any]:
        """Yields what `take` makes of the next `n` results, in the order of the starts.

        Fewer when `start` has no more to give. A result that `take` raises for is not taken: it
        comes first again.

        check: is called before each start and while a result is awaited; an exception ends the
          flow there.
        give_up: is called with the task whose result is awaited, with what was made of it (None
          before that), and with whether its work has begun; nothing begins during the call. A
          result that it returns takes the place of the task's own, whose thread is left behind.
        """
        self._resubmit()
        try:
            for _ in range(n):
                check()
                while len(self._started) < self._ahead and (task := start()) is not None:
                    job: _Job[_Task, _Made, _Done] = _Job(next(self._numbers), task)
                    self._started.append(job)
                    with self._lock:
                        self._submit(job, job.made)
                if not self._started:
                    return
                job = self._started[0]
                if self._threaded:
                    self._await(job, check, give_up)
                elif not job.done.done():
                    job.done.set_result(self._work(job.task, self._make(job.task)))
                taken = take(job.done.result())
                self._started.popleft()
                yield taken
        finally:
            for job in self._started:
                job.made.cancel()
                job.done.cancel()

    def _await(
        self,
        job: _Job[_Task, _Made, _Done],
        check: Callable[[], None],
        give_up: Callable[..., Any],
    ) -> None:
        """Waits until the task has a result of its own or is given up."""
        while not job.done.done():
            check()
            with self._lock:  # or the work could begin after it is read that it has not
                made = job.made.result() if job.made.done() and not _failed(job.made) else None
                is_running = made is not None and job.done.running()
                if (done := give_up(job.task, made, is_running)) is not None:
                    self._abandon(job, done)
            wait([job.done], TICK)

    def _abandon(self, job: _Job[_Task, _Made, _Done], done: _Done) -> None:
        """Sets this result, and lets another thread take the place of the one still at work.

        The caller holds the lock.
        """
        if job.made.running() or job.done.running():
            self._threads.remove(job.thread)
        job.made.cancel()
        job.done.cancel()
        job.done = Future()
        job.done.set_result(done)

    def _submit(self, job: _Job[_Task, _Made, _Done], half: Future[Any]) -> None:
        if self._threaded:
            if len(self._threads) < self._in_flight:
                # daemons, so that a program that stops does not wait for calls under way
                self._threads.append(
                    threading.Thread(target=self._serve, daemon=True, name="qdkit-flow")
                )
                self._threads[-1].start()
            self._queue.put((job.number, next(self._entries), job, half))  # the oldest first

    def _resubmit(self) -> None:
        """Submits work that was cancelled or that failed once more."""
        with self._lock:
            for job in self._started:
                if job.done.done() and not (job.done.cancelled() or _failed(job.done)):
                    continue
                if job.made.cancelled() or _failed(job.made) or _failed(job.done):
                    job.made, job.done = Future(), Future()
                    self._submit(job, job.made)
                elif job.done.cancelled():
                    job.done = Future()
                    # otherwise it is submitted when the jobs before it are made
                    if job.made.done() and job.number < self._made_below:
                        self._submit(job, job.done)

    def _serve(self) -> None:
        me = threading.current_thread()
        while me in self._threads:
            _, _, job, half = self._queue.get()
            with self._lock:
                if not half.set_running_or_notify_cancel():
                    continue
                job.thread = me
            try:
                with at_work():
                    if half is job.made:
                        self._set_made(job, self._make(job.task))
                    else:
                        half.set_result(self._work(job.task, job.made.result()))
            except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
                with self._lock:
                    half.set_exception(error)
                    if (
                        half is job.made
                        and not job.done.done()
                        and job.done.set_running_or_notify_cancel()
                    ):
                        job.done.set_exception(error)

    def _set_made(self, job: _Job[_Task, _Made, _Done], made: _Made) -> None:
        """Submits the second halves of the jobs that no longer wait for another to be made."""
        with self._lock:
            job.made.set_result(made)
            self._waiting[job.number] = job
            while self._made_below in self._waiting:
                self._made_below += 1
            for number in sorted(number for number in self._waiting if number < self._made_below):
                ready = self._waiting.pop(number)
                # a job that is done was given up, or cancelled until it is submitted again
                if not ready.done.done():
                    self._submit(ready, ready.done)


class _Job(Generic[_Task, _Made, _Done]):
    """A started task and the results of its halves."""

    def __init__(self, number: int, task: _Task):
        self.number, self.task = number, task
        self.made: Future[_Made] = Future()
        self.done: Future[_Done] = Future()
        self.thread = threading.current_thread()  # that worked on it last


def _failed(half: Future[Any]) -> bool:
    return half.done() and not half.cancelled() and half.exception() is not None
