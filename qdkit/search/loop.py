"""The loop of a search: it starts tasks, commits their results, and lets the parts learn.

Starts and commits run in order in the caller's thread. All state changes at commits; the work on
a task sees nothing but the task (see `qdkit.search.worker`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from qdkit import metrics
from qdkit.core.elites import NOWHERE, Added, Elites, double
from qdkit.core.record import recording
from qdkit.core.stages import assign_descriptors, count_evaluated, filter_novel
from qdkit.core.types import Batch, Candidate, Key, Outcome, Proposal
from qdkit.runs.alerts import Alerts, printable_traceback
from qdkit.runs.ledger import Ledger
from qdkit.runs.rows import Commit, moved_cells
from qdkit.search.budget import BudgetTracker
from qdkit.search.clock import RunClock
from qdkit.search.history import RunHistory
from qdkit.search.insertion import Insertion
from qdkit.search.parts import SearchParts
from qdkit.search.reevaluation import ReevaluationTask
from qdkit.search.relearning import FIRST_CALL, Learning
from qdkit.search.selector import Selector, TurnSelection
from qdkit.search.task_record import TaskRecord
from qdkit.search.tasks import BatchTask, Goal, TaskResult, keys
from qdkit.search.worker import Work
from qdkit.selection.parents import Annealed, has_rule


class Loop:
    """The state of a search between its tasks, and the rules by which it changes.

    seeds: the genomes to start from; the first tasks evaluate them.
    example: the payload of one elite.
    learning: the state of axes that learn; None for other axes.

    stopped: why the last call ended before its goal, or "".
    torn: whether a start, or what the parts learn of a commit, is half done.
    traceback: the first traceback of the last batch, "" for none.
    failures: how many candidates were not ok, by outcome.
    """

    def __init__(
        self,
        parts: SearchParts,
        ledger: Ledger,
        history: RunHistory,
        insertion: Insertion,
        learning: Learning | None,
        tracker: BudgetTracker,
        work: Work,
        *,
        root: Key,
        batch: int,
        ahead: int,
        seeds: Proposal,
        example: dict[str, Any],
    ):
        self.parts, self.ledger, self.tracker, self.work = parts, ledger, tracker, work
        self.history, self.insertion, self.learning = history, insertion, learning
        self.clock, self.alerts = RunClock(), Alerts(parts.floor)
        with double():
            self.elites = parts.archive.init(example)
        numeric = "genome" in example
        slots = len(self.elites.objective)
        rule = parts.steering.parents
        self.selector = Selector(parts.archive, rule, ledger, numeric, slots)
        self.commits: list[Commit] = []
        self.failures: dict[str, int] = {}
        self.stopped, self.torn, self.traceback = "", False, ""
        self._root, self._batch, self._ahead, self._seeds = root, batch, ahead, seeds
        self._started = 0
        # evaluations that tasks may make which are not committed yet, by task
        self._reserved: dict[int, int] = {}
        # how many tasks it takes to try the seeds
        self.founding = -(-len(seeds.genome) // batch)

    @property
    def candidates(self) -> int:
        """How many candidates were committed."""
        return self.commits[-1].first + self.commits[-1].rows if self.commits else 0

    @property
    def evaluations(self) -> int:
        """How many evaluations were committed."""
        return self.commits[-1].evaluations if self.commits else 0

    # How far starts go.

    def aim(self, goal: Goal, reason: str = "") -> None:
        """Sets how far starts may go, and why, if that is the end."""
        self.stopped = reason
        self.history.aim(len(self.commits), goal, reason)

    def stop_starting(self, evaluations: int | None, reason: str) -> None:
        """Starts nothing more, for a reason; what is under way is finished."""
        self.aim(Goal(self._started, evaluations), reason)

    # Starts.

    def start(self) -> BatchTask | ReevaluationTask | None:
        """The next task; None where nothing more may be started now."""
        self.torn = True
        task = self._next_task()
        self.torn = False
        return task

    def _next_task(self) -> BatchTask | ReevaluationTask | None:
        number, is_new = self._started, not self.history.is_recorded(self._started)
        goal = self.history.goal(len(self.commits))
        allowed = self._allowance(goal)
        if number >= goal.steps or not allowed:
            return None
        if is_new and (reason := self.tracker.exhausted()):
            self.aim(goal._replace(steps=number), reason)
            return None
        if number >= self.founding > len(self.commits):
            return None  # nothing to start from until every seed was tried
        if number == self.founding and is_new:
            self._check_seeds(self.ledger.batch(number - 1))
        text = self.history.task_text(number)
        lessons = self.parts.steering.lessons
        if text and lessons:
            lessons.task = text
        making, judging, pick = keys(self._root, number + 1)
        if number >= self.founding:
            left = self._left(goal)
            if again := self.insertion.turn(number, self.elites, judging, left):
                self._started += 1
                self._reserved[number] = again.judgements
                return again
        if number < self.founding:
            make, selection = self._seeds_of(number)
        else:
            make, selection = self._turn(number, goal, text, making, pick)
        self._started += 1
        self._reserved[number] = allowed
        lesson = lessons.turn() if lessons else None
        known = self.candidates
        return BatchTask(
            number, make, selection, lesson, judging, allowed, known, len(self.commits)
        )

    def _seeds_of(self, number: int) -> tuple[Any, TurnSelection]:
        """How one of the first tasks makes its seeds, and their selection."""
        seeds = self._seeds.take(slice(number * self._batch, (number + 1) * self._batch))
        return (lambda: seeds), self.selector.for_seeds(len(seeds.genome))

    def _turn(
        self, number: int, goal: Goal, text: str, making: Key, pick: Key
    ) -> tuple[Any, TurnSelection]:
        """How the operator makes the candidates of a task, and the selection for it."""
        operator, n = self.parts.operator.turn(self._batch), self._batch
        if not self.history.has_goal:
            rules = [request.parents for request in operator.requests(n) if request.parents]
            if any(has_rule(rule, (Annealed,)) for rule in rules):
                self.history.record_goal(len(self.commits), goal)
        lessons = self.parts.steering.lessons
        context, selection = self.selector.context(
            pick,
            self.elites,
            operator,
            n,
            number,
            self._progress(goal),
            lessons.text if lessons else "",
        )
        context = replace(context, task=text)
        return (lambda: operator.propose(making, context, n)), selection

    def _progress(self, goal: Goal) -> float:
        """The share of the way to the goal that is done."""
        if goal.evaluations:
            return self.evaluations / goal.evaluations
        return len(self.commits) / goal.steps

    def _allowance(self, goal: Goal) -> int:
        """How many evaluations the next task may make."""
        left = self._left(goal)
        if left <= 0 and not self._reserved:
            self.stopped = f"{self.evaluations:,} of {goal.evaluations:,} evaluations are used"
        return int(min(self._batch, max(0, left)))

    def _left(self, goal: Goal) -> float:
        """How many evaluations may still be begun, those of re-evaluations included."""
        if goal.evaluations is None:
            return math.inf
        return goal.evaluations - self.evaluations - sum(self._reserved.values())

    # Commits.

    def commit(self, done: TaskResult) -> tuple[Batch, Added | None]:
        """Puts the batch into the archive and the ledger.

        Returns the batch, and what became of its rows as the parts learn it; None for
        re-evaluations. If it raises, nothing has changed, and it may be tried again.
        """
        task = done.task
        with self.insertion.committing(task if isinstance(task, ReevaluationTask) else None):
            number = len(self.commits)
            if self.history.is_recorded(number):
                self.clock.set(self.history.recorded[number])
            else:
                self.clock.read()
            if isinstance(task, ReevaluationTask):
                return self._commit_reevaluation(task, done.judgements)
            return self._commit_batch(task, done)

    def _commit_batch(self, task: BatchTask, done: TaskResult) -> tuple[Batch, Added]:
        first, number, parts = self.candidates, len(self.commits), self.parts
        rows = len(done.batch)
        batch = done.batch.replace(id=np.arange(first, first + rows, dtype=np.int32))
        if parts.novelty is not None:
            batch = filter_novel(batch, parts.novelty, first, first)
        if self.learning:
            self.learning.drain(number)
        batch = assign_descriptors(batch, parts.axes, parts.archive.axes)
        inserted = self.insertion.insert(batch, self.elites, task.selection, self.commits)
        batch, elites = inserted.batch, inserted.elites
        state = self._state_after_batch(batch, elites, inserted.added, task.selection)
        if not self.history.is_recorded(number):
            moved = None
            if parts.archive.islands > 1:
                moved = moved_cells(batch, inserted.added, self.elites, elites)
            self.ledger.commit(batch, inserted.added, state, moved)
        before = self.elites
        self._accept(state, elites)
        self.selector.learn(batch, inserted.first, task.selection, before, elites)
        if parts.steering.lessons:
            parts.steering.lessons.hear(done.lesson)
        for outcome in batch.outcome[~batch.ok].tolist():
            self.failures[outcome] = self.failures.get(outcome, 0) + 1
        self.traceback = done.traceback
        return batch, inserted.first

    def _commit_reevaluation(
        self, task: ReevaluationTask, judgements: tuple[np.ndarray, np.ndarray]
    ) -> tuple[Batch, None]:
        """Changes the cells by re-evaluations: a commit without candidates."""
        elites, event = self.insertion.settle(task, *judgements, self.elites)
        state = self._state_after(elites, rows=0, evaluations=task.judgements)
        if not self.history.is_recorded(state.number):
            self.ledger.settle(state, event)
        empty, before = self.ledger.take([]), self.elites
        self._accept(state, elites)
        self.selector.learn(empty, None, self.selector.for_seeds(0), before, elites)
        return empty, None

    def _accept(self, state: Commit, elites: Elites) -> None:
        """Takes over the result of a commit, once it is written down.

        Raises RuntimeError where a replay comes to another result than the recorded one.
        """
        self.torn = True  # until the parts have learnt of it
        self.history.check(state)
        self.elites = elites
        self.commits.append(state)
        self._reserved.pop(state.number)
        self.work.forget(state.number - self._ahead)

    def _state_after_batch(
        self, batch: Batch, elites: Elites, added: Added, selection: TurnSelection
    ) -> Commit:
        """The state of the run after `batch`."""
        refused = batch.ok & (added.cell == NOWHERE)
        with double():  # as cells are, or a clipped descriptor would not be counted
            inside = np.asarray(self.parts.archive.inside(batch.descriptor))
        clipped = batch.ok & ~inside & ~refused
        return self._state_after(
            elites,
            len(batch),
            count_evaluated(batch),
            int(clipped.sum()),
            int(refused.sum()),
            selection.effective,
        )

    def _state_after(
        self,
        elites: Elites,
        rows: int,
        evaluations: int,
        clipped: int = 0,
        refused: int = 0,
        parents: float | None = None,
    ) -> Commit:
        """The state of the run with these elites, after so many further rows and evaluations."""
        elites = jax.tree.map(np.asarray, self.parts.archive.united(elites))
        last = self.commits[-1] if self.commits else None
        return Commit(
            number=len(self.commits),
            first=self.candidates,
            rows=rows,
            evaluations=self.evaluations + evaluations,
            coverage=metrics.coverage(elites),
            qd_score=metrics.qd_score(elites, self.parts.floor),
            best=metrics.best_objective(elites),
            clipped=(last.clipped if last else 0) + clipped,
            refused=(last.refused if last else 0) + refused,
            parents=(last.parents if last else math.nan) if parents is None else parents,
            seconds=self.clock.seconds,
            cpu=self.clock.cpu,
        )

    # Learning.

    def learn(self, batch: Batch, added: Added | None) -> None:
        """Tells the parts that learn of a commit; of a re-evaluation (None) they learn nothing."""
        parts = self.parts
        if added is not None:
            parts.operator.learn(batch, added)
            if parts.steering.lessons:
                parts.steering.lessons.learn(batch, added, self.ledger.take)
            if parts.novelty is not None:
                parts.novelty.learn(batch)
            if self.learning:
                self._learn_axes(self.learning, batch)
        self.torn = False
        if added is None:
            return
        if len(self.commits) == self.founding and not self.tracker.overdue(0.0):
            self._check_seeds(batch)

    def _learn_axes(self, learning: Learning, batch: Batch) -> None:
        """Lets the axes learn; where they do, every candidate is inserted anew."""
        steps = len(self.commits)
        record = TaskRecord(self.ledger, self.tracker, steps - 1, False, FIRST_CALL)
        key = jax.random.fold_in(jax.random.fold_in(self._root, 0), steps)
        elites = learning.after(key, batch, self.elites, steps, lambda: recording(record))
        if elites is not self.elites:
            self.selector.moved(self.elites, elites)
            self.parts.axes, self.elites = learning.axes, elites
            self.parts.operator.remeasure(learning.axes)

    def _check_seeds(self, batch: Batch) -> None:
        """Raises RuntimeError where no seed is in the archive, with the reason for the first."""
        if not self.united().occupied.any():
            reasons = filter(None, map(self._refusal, batch))
            reason = next(reasons, "the archive gives no reason")
            where = f"\n{printable_traceback(self.traceback)}" if self.traceback else ""
            raise RuntimeError(
                "no seed could enter the archive, so there is nothing to start from; the first: "
                f"{reason}{where}"
            )

    def _refusal(self, candidate: Candidate) -> str:
        """Why a candidate did not enter the empty archive: its error, or the archive's reason."""
        if candidate.outcome is not Outcome.OK:
            return str(candidate.notes.get("error", f"its outcome is {candidate.outcome.value}"))
        return self.parts.archive.refusal(candidate.objective, np.array(candidate.descriptor))

    def united(self) -> Elites:
        """The elites of all islands together, as numpy arrays (float64)."""
        return jax.tree.map(np.asarray, self.parts.archive.united(self.elites))
