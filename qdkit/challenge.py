"""Challenges: whoever seems better than a cell's elite is judged again, and the elite too, before it takes its place.

Where judgements err, the best of many is the luckiest of the good: an archive that believes the first judgement
fills with lucky ones, and reports what they were told. Where the error is about quality, equally many judgements
make better elites by a challenge, and a report that is nearly true (`tests/test_challenge.py`); what it does where
kinds are judged as badly is measured in `results/ai_feedback`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.elites import IMPROVED, NOWHERE, Added, Archive, Elites, double
from qdkit.noise import lower_bound
from qdkit.types import Batch, Key

PENDING = "it seems better than the elite of its cell, and is judged again"


@dataclass(frozen=True)
class Challenge:
    """How a candidate that seems better than its cell's elite has to prove it: `Search(challenge=Challenge())`.

    Both are judged `times` more times, in a step of their own, before other steps begin. An elite's objective is
    the mean of all its judgements, and the candidate takes its place if its own mean is higher. Where judgements
    say of what kind a candidate is too, its descriptor is the median of what was said on each axis, or the label that
    was said most often; whoever is then of another cell leaves for it, enters if it is empty, or else challenges.

    times: further judgements of each. 1 goes furthest where they are dear: who wins a cell is challenged again.
    bound: how many standard errors are first taken off the candidate's mean (`noise.lower_bound`), the error of
      one judgement being that of all that were judged twice. 0 where left out.

    least: how many judgements an elite has at least; who has fewer is judged again, alone. 1 where left out: then
      whoever came first into an empty cell is believed until somebody challenges it.

    Raises ValueError for numbers that are none of these.
    """

    times: int = 1
    bound: float = 0.0
    least: int = 1

    def __post_init__(self) -> None:
        if self.times != int(self.times) or self.times < 1:
            raise ValueError(f"times is {self.times}: a whole number of further judgements from 1 is needed")
        if self.least != int(self.least) or self.least < 1:
            raise ValueError(f"least is {self.least}: a whole number of judgements from 1 is needed")
        if not (math.isfinite(self.bound) and self.bound >= 0):
            raise ValueError(f"bound is {self.bound}: a number of standard errors from 0 is needed")


class Pair(NamedTuple):
    """A candidate and the elite it challenges, by their ids."""

    candidate: int
    elite: int
    cell: int


class Bout(NamedTuple):
    """A task in which candidates are judged again; all that it needs, as it stood at the start."""

    number: int
    pairs: Sequence[Pair]
    alone: Sequence[int]  # elites that were judged too rarely
    judged: Batch  # the candidates of the pairs, then their elites, then those alone
    judging: Key
    times: int

    @property
    def judgements(self) -> int:
        """How many it makes."""
        return len(self.judged) * self.times


class Challenges:
    """Who waits to be judged again, and all judgements of those who were: changed at starts and commits alone.

    take: the candidates with these ids (see `Ledger.take`).
    """

    def __init__(self, rule: Challenge, archive: Archive, batch: int, take: Callable[[Sequence[int]], Batch]):
        if not archive.elitist or archive.islands > 1:
            raise ValueError(
                f"who challenges an elite takes its place alone, and {type(archive).__name__} keeps others too: "
                "give the cells alone, such as a Grid or a CVT, or leave challenge out"
            )
        self.rule, self._archive, self._batch, self._take = rule, archive, batch, take
        self._waiting: list[tuple[int, int]] = []  # (id, cell), in their order
        self._told: dict[int, list[float]] = {}
        self._places: dict[int, list[np.ndarray]] = {}  # the descriptors that were said of each
        self._home: dict[int, int] = {}  # the cell of each elite
        self._at_work: set[int] = set()  # cells

    @contextmanager
    def unless_it_fails(self, ids: Sequence[int]) -> Iterator[None]:
        """Takes back what changed within where an error is raised: a commit that could not be written did not happen.

        ids: of the candidates that the commit is about.
        """
        waiting, home, at_work = [*self._waiting], dict(self._home), set(self._at_work)
        told = {id: [*self._told[id]] for id in ids if id in self._told}
        places = {id: [*self._places[id]] for id in ids if id in self._places}
        written = False
        try:
            yield
            written = True
        finally:
            if not written:
                self._waiting, self._home, self._at_work = waiting, home, at_work
                self._told |= told
                self._places |= places

    @property
    def waiting(self) -> int:
        """How many candidates wait for their second judgement."""
        return len(self._waiting)

    def added(
        self, batch: Batch, elites: Elites, add: Callable[[np.ndarray], tuple[Elites, Added]]
    ) -> tuple[Batch, Elites, Added, Added]:
        """The batch with a note for who has to wait, the elites without them, and what became of the rows: so far,
        and as it seemed.

        add: puts the batch into the archive with these objectives, float `[n]`; nan enters nowhere.
        """
        objective = np.where(batch.ok, batch.objective, np.nan)
        after, seemed = add(objective)
        pending = np.flatnonzero(np.asarray(seemed.status) == IMPROVED)
        if len(pending):
            objective[pending] = np.nan
            after, rest = add(objective)
            notes = list(batch.notes)
            noise, held = self._noise() if self.rule.bound else 0.0, np.asarray(elites.objective)
            for row in pending.tolist():
                cell = int(seemed.cell[row])
                if float(batch.objective[row]) - self.rule.bound * noise > held[cell]:
                    self._waiting.append((int(batch.id[row]), cell))
                    notes[row] = {**notes[row], "challenge": PENDING}
            batch = batch.replace(notes=notes)
            now = Added(*map(np.asarray, (rest.status, seemed.value, seemed.cell)))  # type: ignore[arg-type]
        else:
            now = seemed
        for row in np.flatnonzero(batch.ok).tolist():
            id = int(batch.id[row])
            self._told[id], self._places[id] = [float(batch.objective[row])], [batch.descriptor[row]]
        ids, cells = np.asarray(after.payload["id"]), np.asarray(now.cell)[np.asarray(now.status) > 0]
        self._home |= {int(ids[cell]): int(cell) for cell in cells}
        return batch, after, now, seemed

    def turn(self, number: int, elites: Elites, judging: Key, left: float) -> Bout | None:
        """The next of those who wait, one for a cell, and elites that were judged too rarely; None for nobody.

        As many of them as a batch has candidates, and as `left` judgements are enough for.
        """
        most = min(self._batch, left // (2 * self.rule.times))
        pairs: list[Pair] = []
        still: list[tuple[int, int]] = []
        ids, objective = np.asarray(elites.payload["id"]), np.asarray(elites.objective)
        for id, cell in self._waiting:
            if ids[cell] >= 0 and not self._mean(id) > objective[cell]:
                continue  # another was better meanwhile
            if ids[cell] >= 0 and len(pairs) < most and cell not in self._at_work:
                pairs.append(Pair(id, int(ids[cell]), cell))
                self._at_work.add(cell)
            else:
                still.append((id, cell))
        self._waiting = still
        rare = np.flatnonzero((ids >= 0) & (np.asarray(elites.payload["count"]) < self.rule.least)).tolist()
        rare = [cell for cell in rare if cell not in self._at_work][: int(most) - len(pairs)]
        self._at_work.update(rare)
        alone = ids[rare].tolist()
        if not pairs and not alone:
            return None
        judged = self._take([*(pair.candidate for pair in pairs), *(pair.elite for pair in pairs), *alone])
        return Bout(number, pairs, alone, judged, judging, self.rule.times)

    def settled(
        self, bout: Bout, values: np.ndarray, places: np.ndarray, elites: Elites
    ) -> tuple[Elites, Mapping[str, Any]]:
        """The elites after a bout, and the event that tells of it.

        values, places: float `[times, 2 m]` and `[times, 2 m, d]`, what was said of those in `bout.judged`;
          nan where nothing was.
        The event has the "looks", (id, value, descriptor) each, and the "cells" that changed: whose they are (-1 for
        nobody), its mean, its count and its descriptor.
        """
        elites = jax.tree.map(np.array, elites)
        rows = {int(id): row for row, id in enumerate(bout.judged.id)}
        heard = set()
        for said, where in zip(values, places, strict=True):
            for id, row in rows.items():
                if math.isfinite(said[row]) and np.isfinite(where[row]).all():
                    self._told[id].append(float(said[row]))
                    self._places[id].append(where[row])
                    heard.add(id)
        changed: dict[int, None] = {}
        for id in bout.alone:
            self._at_work.discard(self._home[id])
        once_elites = [*(pair.elite for pair in bout.pairs), *bout.alone]
        homeless = [id for id in once_elites if self._moves(id, elites, changed)]
        for pair in bout.pairs:
            self._at_work.discard(pair.cell)
            here = self._cell(pair.candidate) == pair.cell and elites.payload["id"][pair.cell] == pair.elite
            if pair.candidate in heard and here and self._beats(pair.candidate, pair.elite):
                self._leave(pair.cell, elites, changed)
            elif here or pair.candidate not in heard:
                continue  # it lost, or nothing was said
            self._seek(pair.candidate, bout.judged, rows, elites, changed)
        for id in homeless:
            self._seek(id, bout.judged, rows, elites, changed)
        cells = [[cell, *self._seat_of(cell, elites)] for cell in changed]
        looks = [
            [id, _known(said[row]), [_known(x) for x in where[row]]]
            for said, where in zip(values, places, strict=True)
            for id, row in rows.items()
        ]
        return elites, {"looks": looks, "cells": cells}

    def _moves(self, id: int, elites: Elites, changed: dict[int, None]) -> bool:
        """Whether an elite is of another cell than it was; if not, its mean, count and descriptor are as of now."""
        if (home := self._home.get(id)) is None:
            return False
        if self._cell(id) != home:
            self._leave(home, elites, changed)
            return True
        self._sit(id, home, elites, changed)
        return False

    def _seek(self, id: int, judged: Batch, rows: Mapping[int, int], elites: Elites, changed: dict[int, None]) -> None:
        """Gives a candidate the cell that it belongs to, if that is empty; else it waits, if it seems better."""
        cell = self._cell(id)
        if cell == NOWHERE:
            return
        if elites.payload["id"][cell] < 0:
            if "genome" in elites.payload:
                elites.payload["genome"][cell] = judged.genome[rows[id]]
            self._home[id] = cell
            self._sit(id, cell, elites, changed)
        elif self._mean(id) > elites.objective[cell]:
            self._waiting.append((id, cell))

    def _sit(self, id: int, cell: int, elites: Elites, changed: dict[int, None]) -> None:
        elites.objective[cell], elites.descriptor[cell] = self._mean(id), self._place(id)
        elites.payload["id"][cell], elites.payload["count"][cell] = id, len(self._told[id])
        changed[cell] = None

    def _leave(self, cell: int, elites: Elites, changed: dict[int, None]) -> None:
        self._home.pop(int(elites.payload["id"][cell]))
        elites.objective[cell], elites.descriptor[cell] = -np.inf, np.nan
        elites.payload["id"][cell] = elites.payload["count"][cell] = -1
        changed[cell] = None

    def _seat_of(self, cell: int, elites: Elites) -> tuple[int, float | None, int, list[float | None]]:
        """Whose a cell is, with its mean, count and descriptor, as JSON holds them."""
        place = [_known(x) for x in elites.descriptor[cell]]
        return (
            int(elites.payload["id"][cell]),
            _known(float(np.asarray(elites.objective)[cell])),
            int(elites.payload["count"][cell]),
            place,
        )

    def _place(self, id: int) -> np.ndarray:
        """float `[d]`: on each axis the median of what was said, or the label said most often, the first of equals."""
        said = np.stack(self._places[id])
        if len(said) == 1:
            return said[0]
        labels = getattr(self._archive.map, "labels", lambda axis: None)
        most = lambda column: max(column.tolist(), key=column.tolist().count)
        return np.array([most(said[:, i]) if labels(i) else np.median(said[:, i]) for i in range(said.shape[1])])

    def _cell(self, id: int) -> int:
        """The cell it belongs to."""
        with double():
            return int(np.asarray(self._archive.cell(self._place(id)[None]))[0])

    def _mean(self, id: int) -> float:
        return math.fsum(self._told[id]) / len(self._told[id])

    def _beats(self, id: int, elite: int) -> bool:
        """Whether the candidate's mean, less its bound, is above the elite's."""
        mean = self._mean(id)
        if self.rule.bound:
            mean = float(lower_bound(np.array(mean), len(self._told[id]), self._noise(), self.rule.bound))
        return mean > self._mean(elite)

    def _noise(self) -> float:
        """The standard deviation of one judgement about its candidate's mean, over all that were judged twice."""
        twice = [np.array(values) for values in self._told.values() if len(values) > 1]
        squares = math.fsum(float(((values - values.mean()) ** 2).sum()) for values in twice)
        return math.sqrt(squares / max(1, sum(len(values) - 1 for values in twice)))


def _known(value: float) -> float | None:
    """A number as JSON holds it."""
    return float(value) if math.isfinite(value) else None


def told_in(event: Mapping[str, Any], bout: Bout, axes: int) -> tuple[np.ndarray, np.ndarray]:
    """(values `[times, 2 m]`, places `[times, 2 m, d]`) that were said in a bout, out of its event."""
    nan = lambda x: math.nan if x is None else x
    shape = bout.times, len(bout.judged)
    values = np.array([nan(value) for _, value, _ in event["looks"]], float).reshape(shape)
    places = np.array([[nan(x) for x in place] for *_, place in event["looks"]], float).reshape(*shape, axes)
    return values, places


def same(event: Mapping[str, Any], bout: Bout) -> bool:
    """Whether an event tells of these candidates and elites."""
    return [id for id, *_ in event["looks"]] == bout.judged.id.tolist() * bout.times
