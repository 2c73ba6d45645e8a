"""Re-evaluation: a candidate that seems better than the elite of its cell is judged again first.

Judgements have errors, and the best of many first judgements is the luckiest among the good. An
archive that believes first judgements fills with lucky candidates and reports their lucky values.
Where the error is in the quality, the same number of judgements makes better elites with
re-evaluation, and a report that is nearly true (`tests/test_challenge.py`).
`results/ai_feedback` measures its effect where descriptors are judged with errors as large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.core.elites import IMPROVED, NOWHERE, Added, Archive, Elites, double
from qdkit.core.types import Batch, Key
from qdkit.metrics.judge_noise import lower_bound

PENDING = "it seems better than the elite of its cell, and is judged again"


@dataclass(frozen=True)
class Reevaluation:
    """How a candidate that seems better than the elite of its cell is judged again.

        Search(..., steering=Steering(reevaluate=Reevaluation()))

    The candidate and the elite are judged `times` more times, in a step of their own, before other
    steps begin. An elite's objective is the mean of all its judgements, and the candidate replaces
    it if the candidate's mean is higher. Where judgements give descriptors too, a descriptor is
    the median of the judgements on each axis, or the most frequent label. A candidate that then
    belongs to another cell moves there: it enters if that cell is empty, and is judged again
    otherwise.

    times: further judgements of each. 1 works best where judgements are expensive: the next
      candidate for the cell has the elite judged again.
    bound: how many standard errors are subtracted from the candidate's mean before the comparison
      (`qdkit.metrics.judge_noise.lower_bound`). The error of one judgement is estimated from
      all candidates that were judged twice.
    least: how many judgements an elite has at least; an elite with fewer is judged again alone.
      With 1, the first candidate in an empty cell is believed until another one seems better.

    Raises ValueError for numbers outside of these ranges.
    """

    times: int = 1
    bound: float = 0.0
    least: int = 1

    def __post_init__(self) -> None:
        if self.times != int(self.times) or self.times < 1:
            raise ValueError(
                f"times is {self.times}: a whole number of further judgements from 1 is needed"
            )
        if self.least != int(self.least) or self.least < 1:
            raise ValueError(
                f"least is {self.least}: a whole number of judgements from 1 is needed"
            )
        if not (math.isfinite(self.bound) and self.bound >= 0):
            raise ValueError(
                f"bound is {self.bound}: a number of standard errors from 0 is needed"
            )


class Pair(NamedTuple):
    """A candidate, the elite that it may replace, both by their ids, and their cell."""

    candidate: int
    elite: int
    cell: int


class ReevaluationTask(NamedTuple):
    """A task in which candidates are judged again, with the state at its start.

    alone: ids of elites that have too few judgements.
    judged: the candidates of the pairs, then their elites, then those of `alone`.
    """

    number: int
    pairs: Sequence[Pair]
    alone: Sequence[int]
    judged: Batch
    judging: Key
    times: int

    @property
    def judgements(self) -> int:
        """How many judgements the task makes."""
        return len(self.judged) * self.times


class Reevaluations:
    """The candidates that wait to be judged again, and the judgements of all candidates.

    It changes at starts and commits only.

    take: reads the candidates with these ids (see `Ledger.take`).

    Raises ValueError for an archive that keeps other candidates than the best of each cell.
    """

    def __init__(
        self,
        rule: Reevaluation,
        archive: Archive,
        batch: int,
        take: Callable[[Sequence[int]], Batch],
    ):
        if not archive.elitist or archive.islands > 1:
            raise ValueError(
                "a candidate that is judged again replaces the elite of its cell, and "
                f"{type(archive).__name__} keeps others too: give an archive of the best, such as "
                "a Grid or a CVT, or leave reevaluate out"
            )
        self.rule, self._archive, self._batch, self._take = rule, archive, batch, take
        self._waiting: list[tuple[int, int]] = []  # (id, cell), in the order of their commits
        self._values: dict[int, list[float]] = {}  # the judgements of each candidate
        self._descriptors: dict[int, list[np.ndarray]] = {}  # the same of its descriptor
        self._cell_of: dict[int, int] = {}  # the cell of each elite
        self._busy: set[int] = set()  # cells with a task under way

    @contextmanager
    def restoring(self, ids: Sequence[int]) -> Iterator[None]:
        """A scope for one commit: an error within it restores the state before.

        ids: the candidates that the commit is about.
        """
        waiting, cell_of, busy = [*self._waiting], dict(self._cell_of), set(self._busy)
        values = {id: [*self._values[id]] for id in ids if id in self._values}
        descriptors = {id: [*self._descriptors[id]] for id in ids if id in self._descriptors}
        done = False
        try:
            yield
            done = True
        finally:
            if not done:
                self._waiting, self._cell_of, self._busy = waiting, cell_of, busy
                self._values |= values
                self._descriptors |= descriptors

    @property
    def waiting(self) -> int:
        """How many candidates wait to be judged again."""
        return len(self._waiting)

    def insert(
        self, batch: Batch, elites: Elites, add: Callable[[np.ndarray], tuple[Elites, Added]]
    ) -> tuple[Batch, Elites, Added, Added]:
        """Inserts a batch, without the candidates that have to be judged again.

        Returns the batch with notes for those candidates, the elites, what became of each row, and
        what would have become of it if first judgements counted.

        add: puts the batch into the archive with these objectives, float `[n]`; a row of nan does
          not enter.
        """
        objective = np.where(batch.ok, batch.objective, np.nan)
        after, first = add(objective)
        pending = np.flatnonzero(np.asarray(first.status) == IMPROVED)
        if len(pending):
            objective[pending] = np.nan
            after, rest = add(objective)
            batch = self._queue(batch, elites, pending, np.asarray(first.cell))
            added = Added(*map(np.asarray, (rest.status, first.value, first.cell)))  # type: ignore[arg-type]
        else:
            added = first
        for row in np.flatnonzero(batch.ok).tolist():
            id = int(batch.id[row])
            self._values[id] = [float(batch.objective[row])]
            self._descriptors[id] = [batch.descriptor[row]]
        ids = np.asarray(after.payload["id"])
        cells = np.asarray(added.cell)[np.asarray(added.status) > 0]
        self._cell_of |= {int(ids[cell]): int(cell) for cell in cells}
        return batch, after, added, first

    def _queue(self, batch: Batch, elites: Elites, rows: np.ndarray, cells: np.ndarray) -> Batch:
        """Has these rows wait, and returns the batch with notes that say so."""
        notes = list(batch.notes)
        noise = self._noise() if self.rule.bound else 0.0
        objective = np.asarray(elites.objective)
        for row in rows.tolist():
            cell = int(cells[row])
            if float(batch.objective[row]) - self.rule.bound * noise > objective[cell]:
                self._waiting.append((int(batch.id[row]), cell))
                notes[row] = {**notes[row], "challenge": PENDING}
        return batch.replace(notes=notes)

    def turn(
        self, number: int, elites: Elites, judging: Key, left: float
    ) -> ReevaluationTask | None:
        """The next task of candidates that wait and of elites with too few judgements, or None.

        It has at most one candidate for each cell, as many as a batch has, and no more than `left`
        judgements are enough for.
        """
        most = min(self._batch, left // (2 * self.rule.times))
        pairs: list[Pair] = []
        still: list[tuple[int, int]] = []
        ids, objective = np.asarray(elites.payload["id"]), np.asarray(elites.objective)
        for id, cell in self._waiting:
            if ids[cell] >= 0 and not self._mean(id) > objective[cell]:
                continue  # the elite is better by now
            if ids[cell] >= 0 and len(pairs) < most and cell not in self._busy:
                pairs.append(Pair(id, int(ids[cell]), cell))
                self._busy.add(cell)
            else:
                still.append((id, cell))
        self._waiting = still
        few = (ids >= 0) & (np.asarray(elites.payload["count"]) < self.rule.least)
        cells = [cell for cell in np.flatnonzero(few).tolist() if cell not in self._busy]
        cells = cells[: int(most) - len(pairs)]
        self._busy.update(cells)
        alone = ids[cells].tolist()
        if not pairs and not alone:
            return None
        judged = self._take(
            [*(pair.candidate for pair in pairs), *(pair.elite for pair in pairs), *alone]
        )
        return ReevaluationTask(number, pairs, alone, judged, judging, self.rule.times)

    def settle(
        self, task: ReevaluationTask, values: np.ndarray, descriptors: np.ndarray, elites: Elites
    ) -> tuple[Elites, Mapping[str, Any]]:
        """Returns the elites after a task, and the event that records it.

        values, descriptors: float `[times, n]` and `[times, n, d]`, the judgements of the `n`
          candidates in `task.judged`; nan where there is none.
        The event has the "looks", (id, value, descriptor) each, and the "cells" that changed: the
        id of their elite (-1 for none), its mean, its number of judgements and its descriptor.
        """
        elites = jax.tree.map(np.array, elites)
        rows = {int(id): row for row, id in enumerate(task.judged.id)}
        judged = set()
        for value, descriptor in zip(values, descriptors, strict=True):
            for id, row in rows.items():
                if math.isfinite(value[row]) and np.isfinite(descriptor[row]).all():
                    self._values[id].append(float(value[row]))
                    self._descriptors[id].append(descriptor[row])
                    judged.add(id)
        changed: dict[int, None] = {}
        for id in task.alone:
            self._busy.discard(self._cell_of[id])
        former = [*(pair.elite for pair in task.pairs), *task.alone]
        moving = [id for id in former if self._leaves(id, elites, changed)]
        for pair in task.pairs:
            self._busy.discard(pair.cell)
            here = (
                self._cell(pair.candidate) == pair.cell
                and elites.payload["id"][pair.cell] == pair.elite
            )
            if pair.candidate in judged and here and self._is_better(pair.candidate, pair.elite):
                self._empty(pair.cell, elites, changed)
            elif here or pair.candidate not in judged:
                continue  # the elite stays, or there is no judgement
            self._place(pair.candidate, task.judged, rows, elites, changed)
        for id in moving:
            self._place(id, task.judged, rows, elites, changed)
        cells = [[cell, *self._cell_as_json(cell, elites)] for cell in changed]
        looks = [
            [id, _as_json(value[row]), [_as_json(x) for x in descriptor[row]]]
            for value, descriptor in zip(values, descriptors, strict=True)
            for id, row in rows.items()
        ]
        return elites, {"looks": looks, "cells": cells}

    def _leaves(self, id: int, elites: Elites, changed: dict[int, None]) -> bool:
        """Whether an elite belongs to another cell now, which it then has left.

        If not, its mean, number of judgements and descriptor are brought up to date.
        """
        if (cell := self._cell_of.get(id)) is None:
            return False
        if self._cell(id) != cell:
            self._empty(cell, elites, changed)
            return True
        self._fill(id, cell, elites, changed)
        return False

    def _place(
        self,
        id: int,
        judged: Batch,
        rows: Mapping[int, int],
        elites: Elites,
        changed: dict[int, None],
    ) -> None:
        """Puts a candidate into its cell if that is empty.

        Otherwise it waits to be judged again, if it seems better than the elite.
        """
        cell = self._cell(id)
        if cell == NOWHERE:
            return
        if elites.payload["id"][cell] < 0:
            if "genome" in elites.payload:
                elites.payload["genome"][cell] = judged.genome[rows[id]]
            self._cell_of[id] = cell
            self._fill(id, cell, elites, changed)
        elif self._mean(id) > elites.objective[cell]:
            self._waiting.append((id, cell))

    def _fill(self, id: int, cell: int, elites: Elites, changed: dict[int, None]) -> None:
        """Writes a candidate's judgements into its cell."""
        elites.objective[cell], elites.descriptor[cell] = self._mean(id), self._descriptor(id)
        elites.payload["id"][cell], elites.payload["count"][cell] = id, len(self._values[id])
        changed[cell] = None

    def _empty(self, cell: int, elites: Elites, changed: dict[int, None]) -> None:
        """Takes the elite out of a cell."""
        self._cell_of.pop(int(elites.payload["id"][cell]))
        elites.objective[cell], elites.descriptor[cell] = -np.inf, np.nan
        elites.payload["id"][cell] = elites.payload["count"][cell] = -1
        changed[cell] = None

    def _cell_as_json(
        self, cell: int, elites: Elites
    ) -> tuple[int, float | None, int, list[float | None]]:
        """The id of a cell's elite, its mean, number of judgements and descriptor, for JSON."""
        return (
            int(elites.payload["id"][cell]),
            _as_json(float(np.asarray(elites.objective)[cell])),
            int(elites.payload["count"][cell]),
            [_as_json(x) for x in elites.descriptor[cell]],
        )

    def _descriptor(self, id: int) -> np.ndarray:
        """float `[d]`: on each axis the median of the judgements, or the most frequent label.

        Of labels that are equally frequent, the first one judged.
        """
        judged = np.stack(self._descriptors[id])
        if len(judged) == 1:
            return judged[0]
        labels = getattr(self._archive.map, "labels", lambda axis: None)
        most = lambda column: max(column.tolist(), key=column.tolist().count)
        columns = enumerate(judged.T)
        return np.array(
            [most(column) if labels(axis) else np.median(column) for axis, column in columns]
        )

    def _cell(self, id: int) -> int:
        """The cell that a candidate belongs to."""
        with double():
            return int(np.asarray(self._archive.cell(self._descriptor(id)[None]))[0])

    def _mean(self, id: int) -> float:
        return math.fsum(self._values[id]) / len(self._values[id])

    def _is_better(self, id: int, elite: int) -> bool:
        """Whether the candidate's mean, less its bound, is above the elite's."""
        mean = self._mean(id)
        if self.rule.bound:
            count = len(self._values[id])
            mean = float(lower_bound(np.array(mean), count, self._noise(), self.rule.bound))
        return mean > self._mean(elite)

    def _noise(self) -> float:
        """The standard deviation of one judgement about the mean of its candidate.

        It is estimated from all candidates that were judged twice or more often.
        """
        several = [np.array(values) for values in self._values.values() if len(values) > 1]
        squares = math.fsum(float(((values - values.mean()) ** 2).sum()) for values in several)
        return math.sqrt(squares / max(1, sum(len(values) - 1 for values in several)))


def _as_json(value: float) -> float | None:
    """The number for JSON: None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def judgements_in(
    event: Mapping[str, Any], task: ReevaluationTask, axes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The judgements of a task as its event recorded them.

    Returns values, float `[times, n]`, and descriptors, float `[times, n, axes]`.
    """
    number = lambda x: math.nan if x is None else x
    shape = task.times, len(task.judged)
    values = np.array([number(value) for _, value, _ in event["looks"]], float)
    descriptors = np.array(
        [[number(x) for x in descriptor] for *_, descriptor in event["looks"]], float
    )
    return values.reshape(shape), descriptors.reshape(*shape, axes)


def is_about(event: Mapping[str, Any], task: ReevaluationTask) -> bool:
    """Whether an event records the judgements of this task's candidates."""
    return [id for id, *_ in event["looks"]] == task.judged.id.tolist() * task.times
