"""The work on the tasks of a search, which goes on beside other tasks and sees its task and nothing else.

A task is made in any order, and finished once all that were started before it are made. What was recorded
when a run was made before is taken from its ledger, once it is sure that it is about the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from qdkit.budget import Purse
from qdkit.challenge import Bout, same, told_in
from qdkit.elites import Archive
from qdkit.flow import Workers, attempt
from qdkit.ledger import Ledger
from qdkit.looks import settled
from qdkit.record import Exhausted, Unanswered, recording
from qdkit.rows import digest, families
from qdkit.stages import (
    evaluated,
    judged,
    judged_again,
    placed,
    proposed,
    sifted,
    unmade,
    with_outcome,
    without_twins,
)
from qdkit.taskrecord import TaskRecord
from qdkit.tasks import Made, Task, Worked, given_up
from qdkit.types import Axes, Batch, Domain, Filter, Genomes, Judge, Outcome


class Trial(NamedTuple):
    """By whom candidates are tried."""

    domain: Domain
    archive: Archive
    novelty: Filter | None
    judge: Judge
    axes: Axes
    workers: Workers | None


class Work:
    """The two halves of a task's work, `make` and `finish`.

    recorded: how many tasks were committed when the run was made before.
    like: genomes of the kind that is searched. most: how many candidates a task makes.
    """

    def __init__(self, trial: Trial, ledger: Ledger, purse: Purse, recorded: int, like: Genomes, most: int):
        self._trial, self._ledger, self._purse = trial, ledger, purse
        self._recorded, self._like, self._most = recorded, like, most
        self._making: dict[int, Sequence[str | None]] = {}  # the forms that tasks made, as long as others may look

    def forget(self, number: int) -> None:
        """Nobody looks any more at what a task made."""
        self._making.pop(number, None)

    def make(self, task: Task | Bout) -> Made:
        """The candidates of a task, before anything is spent on them."""
        record = TaskRecord(self._ledger, self._purse, task.number, task.number < self._recorded)
        if isinstance(task, Bout):
            self._making[task.number] = []
            return Made(task.judged, [], record, "")
        with recording(record):
            lesson = ""
            try:
                lesson = self._lesson(task)  # first: a replay makes the calls of a task in their order, as far as this
                batch = proposed(task.make(), self._like, self._most)
            except (Exhausted, Unanswered) as why:
                batch = given_up(unmade(self._like, self._most), why)
        forms = self._making[task.number] = self._forms(batch)
        return Made(batch, forms, record, lesson)

    def _lesson(self, task: Task) -> str:
        """What has been learnt, where it is this task's turn. Raises Exhausted where it cannot be paid."""
        try:
            return task.lesson() if task.lesson else ""
        except Unanswered:
            return ""

    def finish(self, task: Task | Bout, made: Made) -> Worked:
        """What came of them: tried and judged, or as they were recorded."""
        if isinstance(task, Bout):
            return Worked(task, made.batch, "", self._judged_again(task, made))
        if task.number < self._recorded:
            return Worked(task, self._remembered(task.number, made.batch), made.lesson)
        return Worked(task, self._tried(task, made), made.lesson)

    def _tried(self, task: Task, made: Made) -> Batch:
        """The batch, evaluated and judged as far as it is new and the budget goes."""
        earlier = [form for number in range(task.after, task.number) for form in self._making[number]]
        batch = without_twins(made.batch, made.forms, earlier, task.known)
        with recording(made.record):
            try:
                if self._trial.novelty is not None:
                    batch = sifted(batch, self._trial.novelty, task.known, task.known + len(earlier))
                late = batch.ok & (np.cumsum(batch.ok) > task.allowed)
                batch = with_outcome(batch, late, Outcome.SKIPPED, "the budget of evaluations is used up")
                try_all = self._trial.workers.attempt if self._trial.workers else attempt
                batch = evaluated(batch, partial(try_all, self._trial.domain), self._trial.archive)
                return judged(batch, self._trial.judge, task.judging)
            except (Exhausted, Unanswered) as why:
                return given_up(batch, why)

    def _judged_again(self, bout: Bout, made: Made) -> tuple[np.ndarray, np.ndarray]:
        """(values `[times, n]`, places `[times, n, d]`) that are said in a bout; nan where nothing is."""
        d = self._trial.archive.axes
        if bout.number < self._recorded:
            told = settled(self._ledger, bout.number)
            if not same(told, bout):
                raise RuntimeError(f"step {bout.number} of {self._ledger.path} challenges others than recorded")
            return told_in(told, bout, d)
        shape = bout.times, len(bout.judged)
        values, places = np.full(shape, np.nan), np.full((*shape, d), np.nan)
        try_all = partial(self._trial.workers.attempt if self._trial.workers else attempt, self._trial.domain)
        with recording(made.record):
            try:
                for time, key in enumerate(jax.random.split(bout.judging, bout.times)):
                    said = placed(
                        judged_again(bout.judged, self._trial.judge, key, try_all, self._trial.archive),
                        self._trial.axes,
                        d,
                    )
                    values[time], places[time] = said.objective, said.descriptor
            except (Exhausted, Unanswered):
                pass  # what is missing stays missing
        return values, places

    def _forms(self, batch: Batch) -> Sequence[str | None]:
        """What is compared of the candidates of tasks that are at work at the same time; None for all but these."""
        form = None if isinstance(self._like, np.ndarray) else getattr(self._trial.novelty, "form", None)
        if form is None:
            return [None] * len(batch)
        return [digest(form(genome)) if ok else None for genome, ok in zip(batch.genome, batch.ok, strict=True)]

    def _remembered(self, number: int, batch: Batch) -> Batch:
        """The recorded step, once it is sure that it was about the same candidates."""
        known = self._ledger.batch(number)
        genomes = (np.asarray(known.genome), np.asarray(batch.genome)) if isinstance(self._like, np.ndarray) else ()
        alike = np.array_equal(*genomes, equal_nan=True) if genomes else known.genome == batch.genome
        if not alike or families(known.parents) != families(batch.parents):
            raise RuntimeError(
                f"step {number} of {self._ledger.path} comes out with other candidates than recorded. "
                "Operators must take all randomness from their key, and a run goes on with the versions that began it"
            )
        return known
