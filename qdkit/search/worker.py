"""The work on the tasks of a search, which runs beside other tasks and sees its own task only.

Tasks are made in any order. A task is finished once all tasks that were started before it are
made. Where a run is resumed, the results of its recorded tasks come from the ledger, once it is
sure that they are about the same candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from qdkit.core.elites import Archive
from qdkit.core.evaluating import EvaluationPool, EvaluationResults, attempt
from qdkit.core.jsonable import digest, nan_as_none
from qdkit.core.record import NOTHING, Exhausted, Unanswered, recording
from qdkit.core.stages import (
    PLACEHOLDER_ORIGIN,
    assign_descriptors,
    evaluate_batch,
    filter_novel,
    judge_batch,
    mark_never_made,
    placeholders,
    proposed_batch,
    reject_twins,
    rejudge_batch,
    with_outcome,
)
from qdkit.core.time_limits import Revocable
from qdkit.core.types import Axes, Batch, Domain, Filter, Genomes, Judge, Outcome
from qdkit.runs.alerts import Tracebacks
from qdkit.runs.ledger import Ledger
from qdkit.runs.rejudged import reevaluation_results
from qdkit.runs.rows import parent_ids
from qdkit.search.budget import BudgetTracker
from qdkit.search.reevaluation import ReevaluationTask, is_about, judgements_in
from qdkit.search.task_record import TaskRecord
from qdkit.search.tasks import BatchTask, ProposedBatch, TaskResult, given_up

_ABANDONED = "abandoned"  # the event of a task that was given up while it was at work


class Trial(NamedTuple):
    """The parts by which candidates are evaluated, judged and described.

    seconds: how long one call of the domain may take; None for any time.
    """

    domain: Domain
    archive: Archive
    novelty: Filter | None
    judge: Judge
    axes: Axes
    pool: EvaluationPool | None
    seconds: float | None = None

    @property
    def attempt(self) -> Callable[[Genomes], EvaluationResults]:
        """The function that evaluates genomes: on the workers, or here with the limit of time."""
        if self.pool:
            return partial(self.pool.attempt, self.domain)
        return partial(attempt, self.domain, seconds=self.seconds)


class Work:
    """The two halves of the work on a task, `make` and `finish`.

    recorded: how many tasks are in the ledger already.
    like: genomes of the kind that is searched.
    most: how many candidates a task makes.
    """

    def __init__(
        self,
        trial: Trial,
        ledger: Ledger,
        tracker: BudgetTracker,
        recorded: int,
        like: Genomes,
        most: int,
    ):
        self._trial, self._ledger, self._tracker = trial, ledger, tracker
        self._recorded, self._like, self._most = recorded, like, most
        # the forms that each task made, as long as other tasks may read them
        self._making: dict[int, Sequence[str | None]] = {}
        self._records: dict[int, Revocable] = {}
        self._never_made = {
            value["task"]
            for _, kind, value in ledger.events()
            if kind == _ABANDONED and not value["made"]
        }

    def forget(self, number: int) -> None:
        """Drops what a task made, which no other task reads any more."""
        self._making.pop(number, None)
        self._records.pop(number, None)

    def abandon(
        self,
        task: BatchTask | ReevaluationTask,
        made: ProposedBatch | None,
        begun: bool,
        reason: str,
    ) -> TaskResult:
        """Gives a task up, and returns the result that is committed in its place.

        The task cannot change the run any more. Candidates whose evaluation or judgement has begun
        time out; others were never tried. An event records whether the candidates were made, as a
        replay does not make candidates that were never made, and what the calls under way may have
        cost.
        """
        record = self._records.get(task.number)
        cost = record.revoke() if record else NOTHING
        value = {"task": task.number, "made": made is not None, "cost": nan_as_none(vars(cost))}
        self._ledger.event(task.number, _ABANDONED, value)
        if isinstance(task, ReevaluationTask):
            shape = task.times, len(task.judged)
            nothing = np.full(shape, np.nan), np.full((*shape, self._trial.archive.axes), np.nan)
            return TaskResult(task, task.judged, "", nothing)
        if made is None:
            return TaskResult(
                task, given_up(placeholders(self._like, self._most), Exhausted(reason)), ""
            )
        outcome = Outcome.TIMEOUT if begun else Outcome.SKIPPED
        return TaskResult(
            task, with_outcome(made.batch, made.batch.ok, outcome, reason), made.lesson
        )

    def make(self, task: BatchTask | ReevaluationTask) -> ProposedBatch:
        """Makes the candidates of a task, before anything is spent on them."""
        record = Revocable(
            TaskRecord(self._ledger, self._tracker, task.number, task.number < self._recorded)
        )
        self._records[task.number] = record
        if isinstance(task, ReevaluationTask):
            self._making[task.number] = []
            return ProposedBatch(task.judged, [], record, "")
        if self._was_never_made(task.number):
            batch = placeholders(self._like, self._most)
            self._making[task.number] = [None] * len(batch)
            return ProposedBatch(batch, self._making[task.number], record, "")
        with recording(record):
            lesson = ""
            try:
                # the lesson comes first: a replay makes the calls of a task in this order
                lesson = self._lesson(task)
                batch = proposed_batch(task.make(), self._like, self._most)
            except (Exhausted, Unanswered) as error:
                batch = given_up(placeholders(self._like, self._most), error)
        batch = mark_never_made(batch)
        forms = self._making[task.number] = self._forms(batch)
        return ProposedBatch(batch, forms, record, lesson)

    def _was_never_made(self, number: int) -> bool:
        """Whether a recorded task was given up before its candidates were made.

        Making them may not end.
        """
        if number >= self._recorded or number not in self._never_made:
            return False
        return {*self._ledger.batch(number).origin} == {PLACEHOLDER_ORIGIN}

    def _lesson(self, task: BatchTask) -> str:
        """The lesson that this task writes, or "" where it writes none.

        Raises Exhausted where the budget does not cover it.
        """
        try:
            return task.lesson() if task.lesson else ""
        except Unanswered:
            return ""

    def finish(self, task: BatchTask | ReevaluationTask, made: ProposedBatch) -> TaskResult:
        """Evaluates and judges the candidates of a task, or returns them as they were recorded."""
        if isinstance(task, ReevaluationTask):
            return TaskResult(task, made.batch, "", self._judged_again(task, made))
        if task.number < self._recorded:
            return TaskResult(task, self._recorded_batch(task.number, made.batch), made.lesson)
        tracebacks = Tracebacks()
        batch = self._evaluated(task, made, tracebacks)
        return TaskResult(task, batch, made.lesson, traceback=tracebacks.first)

    def _evaluated(self, task: BatchTask, made: ProposedBatch, tracebacks: Tracebacks) -> Batch:
        """The batch, evaluated and judged as far as it is new and the budget allows."""
        earlier = [
            form for number in range(task.after, task.number) for form in self._making[number]
        ]
        batch = reject_twins(made.batch, made.forms, earlier, task.known)
        with recording(made.record):
            try:
                if self._trial.novelty is not None:
                    batch = filter_novel(
                        batch, self._trial.novelty, task.known, task.known + len(earlier)
                    )
                late = batch.ok & (np.cumsum(batch.ok) > task.allowed)
                batch = with_outcome(
                    batch, late, Outcome.SKIPPED, "the budget of evaluations is used up"
                )
                attempted = tracebacks.of(self._trial.attempt)
                batch = evaluate_batch(batch, attempted, self._trial.archive)
                return judge_batch(batch, self._trial.judge, task.judging)
            except (Exhausted, Unanswered) as error:
                return given_up(batch, error)

    def _judged_again(
        self, task: ReevaluationTask, made: ProposedBatch
    ) -> tuple[np.ndarray, np.ndarray]:
        """The judgements of a re-evaluation; nan where there is none.

        Returns values, float `[times, n]`, and descriptors, float `[times, n, d]`.
        """
        trial, d = self._trial, self._trial.archive.axes
        if task.number < self._recorded:
            event = reevaluation_results(self._ledger, task.number)
            if not is_about(event, task):
                raise RuntimeError(
                    f"step {task.number} of {self._ledger.path} judges other candidates again "
                    "than recorded"
                )
            return judgements_in(event, task, d)
        shape = task.times, len(task.judged)
        values, descriptors = np.full(shape, np.nan), np.full((*shape, d), np.nan)
        with recording(made.record):
            try:
                for time, key in enumerate(jax.random.split(task.judging, task.times)):
                    judged = rejudge_batch(
                        task.judged, trial.judge, key, trial.attempt, trial.archive
                    )
                    batch = assign_descriptors(judged, trial.axes, d)
                    values[time], descriptors[time] = batch.objective, batch.descriptor
            except (Exhausted, Unanswered):
                pass  # judgements that are missing stay nan
        return values, descriptors

    def _forms(self, batch: Batch) -> Sequence[str | None]:
        """The forms by which candidates of tasks under way are compared.

        None for candidates that are not compared.
        """
        form = None
        if not isinstance(self._like, np.ndarray):
            form = getattr(self._trial.novelty, "form", None)
        if form is None:
            return [None] * len(batch)
        return [
            digest(form(genome)) if ok else None
            for genome, ok in zip(batch.genome, batch.ok, strict=True)
        ]

    def _recorded_batch(self, number: int, batch: Batch) -> Batch:
        """The recorded batch of a task.

        Raises RuntimeError unless it is about the same candidates as `batch`.
        """
        recorded = self._ledger.batch(number)
        if isinstance(self._like, np.ndarray):
            genomes = np.asarray(recorded.genome), np.asarray(batch.genome)
            is_equal = np.array_equal(*genomes, equal_nan=True)
        else:
            is_equal = recorded.genome == batch.genome
        if not is_equal or parent_ids(recorded.parents) != parent_ids(batch.parents):
            raise RuntimeError(
                f"step {number} of {self._ledger.path} comes out with other candidates than "
                "recorded. Operators must take all randomness from their key, and a run goes on "
                "with the versions that began it"
            )
        return recorded
