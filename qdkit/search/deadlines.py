"""The end of steps that do not end by themselves: by a signal or by the budget's seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from qdkit.core.evaluating import EvaluationPool
from qdkit.core.time_limits import Overdue, call_watched, runs_foreign_code
from qdkit.core.types import Batch
from qdkit.search.loop import Loop
from qdkit.search.reevaluation import ReevaluationTask
from qdkit.search.signals import Handling
from qdkit.search.tasks import BatchTask, ProposedBatch, TaskResult

# seconds after the budget's for which a search may be at other people's code outside of its tasks
LAST = 0.8
# seconds after the budget's for which it may be at its own code: a first commit compiles
COMMIT = 20.0


class Deadlines:
    """Ends the steps of a loop on signals and at the end of the budget's seconds.

    pool: where candidates are evaluated; None for this process.
    limited: whether the budget limits seconds.

    given_up: how many steps of the current call were given up.
    stuck: why the loop cannot go on, or "".
    """

    def __init__(self, loop: Loop, pool: EvaluationPool | None, limited: bool):
        self.given_up, self.stuck = 0, ""
        self._loop, self._pool, self._limited = loop, pool, limited
        self._signals, self._advice = Handling(), ""
        self._thread = 0  # in which steps are made, where seconds are limited

    def handling(self) -> Handling:
        """A scope in which signals are remembered, with advice how to go on."""
        from qdkit.search.progress import how_to_go_on

        self._advice = self._advice or how_to_go_on(self._loop.ledger)
        self._signals = Handling(self._advice, finish=self.end_evaluation)
        return self._signals

    def check_signals(self) -> None:
        """Raises what a remembered signal stands for."""
        self._signals.check()

    def next(self, batches: Iterator[Batch]) -> Batch | None:
        """The next batch, None after the last.

        Where seconds are limited, every part of the search is held to the limit.
        """
        try:
            if not self._limited:
                return next(batches, None)
            late: list[float] = []  # times at which this step was too late
            return call_watched(lambda: self._step(batches), lambda: self._too_late(late))
        except Overdue as reason:
            self.stuck = str(reason)
            self._loop.stopped = f"{self._loop.tracker.exhausted()}; {reason}"
            self.end_evaluation()
            return None
        except (KeyboardInterrupt, SystemExit):
            self.end_evaluation()
            raise

    def give_up(
        self, task: BatchTask | ReevaluationTask, made: ProposedBatch | None, begun: bool
    ) -> TaskResult | None:
        """The result of a task that has not ended in time; None while it has time left."""
        if not self._loop.tracker.overdue():
            return None
        self.given_up += 1
        where = "evaluated" if begun else "made" if made is None else "waiting to be evaluated"
        return self._loop.work.abandon(
            task, made, begun, f"it was still {where} when the seconds of the budget were used"
        )

    def end_evaluation(self) -> None:
        """Ends the processes in which candidates are evaluated."""
        if self._pool:
            self._pool.stop()
        if hasattr(self._loop.parts.domain, "interrupt"):
            self._loop.parts.domain.interrupt()

    def _step(self, batches: Iterator[Batch]) -> Batch | None:
        self._thread = threading.get_ident()
        return next(batches, None)

    def _too_late(self, late: list[float]) -> str:
        """The reason to give up a step as a whole, or "".

        There is one where a part of the search that is no task does not end.
        """
        if self._signals.overdue:
            self.stuck = "a signal stopped it in the middle of a step"
            self._signals.check()
        if self._loop.tracker.overdue():
            late.append(time.monotonic())
        patience = LAST if late and runs_foreign_code(self._thread) else COMMIT
        if late and late[-1] - late[0] > patience:
            return "a part of the search did not end, and was given up"
        return ""
