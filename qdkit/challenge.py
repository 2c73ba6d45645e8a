"""Challenges: whoever seems better than a cell's elite is judged again, and the elite too, before it takes its place.

Where judgements err, the best of many is the luckiest of the good: an archive that believes the first judgement
fills with lucky ones, and reports what they were told. Of equally many judgements these rules made the best
elites of those that were tried (`results/ai_feedback`), and what they report is nearly true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.elites import IMPROVED, Added, Archive, Elites
from qdkit.noise import lower_bound
from qdkit.types import Batch, Key

PENDING = "it seems better than the elite of its cell, and is judged again"


@dataclass(frozen=True)
class Challenge:
    """How a candidate that seems better than its cell's elite has to prove it: `Search(challenge=Challenge())`.

    Both are judged `times` more times, in a step of their own, before other steps begin. An elite's objective is
    the mean of all its judgements, and the candidate takes its place if its own mean is higher.

    times: further judgements of each. 1 goes furthest where they are dear: who wins a cell is challenged again.
    bound: how many standard errors are first taken off the candidate's mean (`noise.lower_bound`), the error of
      one judgement being that of all that were judged twice. 0 where left out.

    Raises ValueError for numbers that are none of these.
    """

    times: int = 1
    bound: float = 0.0

    def __post_init__(self) -> None:
        if self.times != int(self.times) or self.times < 1:
            raise ValueError(f"times is {self.times}: a whole number of further judgements from 1 is needed")
        if not (math.isfinite(self.bound) and self.bound >= 0):
            raise ValueError(f"bound is {self.bound}: a number of standard errors from 0 is needed")


class Pair(NamedTuple):
    """A candidate and the elite it challenges, by their ids."""

    candidate: int
    elite: int
    cell: int


class Bout(NamedTuple):
    """A task in which pairs are judged again; all that it needs, as it stood at the start."""

    number: int
    pairs: Sequence[Pair]
    both: Batch  # the candidates, then their elites
    judging: Key
    times: int

    @property
    def judgements(self) -> int:
        """How many it makes."""
        return len(self.both) * self.times


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
        self.rule, self._batch, self._take = rule, batch, take
        self._waiting: list[tuple[int, int]] = []  # (id, cell), in their order
        self._told: dict[int, list[float]] = {}
        self._at_work: set[int] = set()  # cells

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
            for row in pending.tolist():
                self._waiting.append((int(batch.id[row]), int(seemed.cell[row])))
                notes[row] = {**notes[row], "challenge": PENDING}
            batch = batch.replace(notes=notes)
            now = Added(*map(np.asarray, (rest.status, seemed.value, seemed.cell)))  # type: ignore[arg-type]
        else:
            now = seemed
        for id, value in zip(batch.id[batch.ok].tolist(), batch.objective[batch.ok].tolist(), strict=True):
            self._told[id] = [value]
        return batch, after, now, seemed

    def turn(self, number: int, elites: Elites, judging: Key, left: float) -> Bout | None:
        """The next of those who wait, one for a cell, as many as a batch and `left` judgements hold; None for none."""
        most = min(self._batch, left // (2 * self.rule.times))
        pairs: list[Pair] = []
        still: list[tuple[int, int]] = []
        ids, objective = np.asarray(elites.payload["id"]), np.asarray(elites.objective)
        for id, cell in self._waiting:
            if not self._mean(id) > objective[cell]:
                continue  # another was better meanwhile
            if len(pairs) < most and cell not in self._at_work:
                pairs.append(Pair(id, int(ids[cell]), cell))
                self._at_work.add(cell)
            else:
                still.append((id, cell))
        self._waiting = still
        if not pairs:
            return None
        both = self._take([*(pair.candidate for pair in pairs), *(pair.elite for pair in pairs)])
        return Bout(number, pairs, both, judging, self.rule.times)

    def settled(self, bout: Bout, values: np.ndarray, elites: Elites) -> tuple[Elites, Mapping[str, Any]]:
        """The elites after a bout, and the event that tells of it.

        values: float `[times, 2 m]`, what was said of the candidates and then of their elites; nan where nothing was.
        The event has the "looks", (id, value) each, and the "cells" that changed: whose they are, its mean and count.
        """
        elites = jax.tree.map(np.array, elites)
        order, rows = [*bout.both.id.tolist()], {}
        for id, said in zip(order, np.asarray(values).T.tolist(), strict=True):
            self._told[id] += [value for value in said if math.isfinite(value)]
            rows[id] = said
        cells = []
        for row, pair in enumerate(bout.pairs):
            self._at_work.discard(pair.cell)
            heard = any(map(math.isfinite, rows[pair.candidate]))
            now = int(elites.payload["id"][pair.cell])
            if now != pair.elite:
                if heard and self._mean(pair.candidate) > elites.objective[pair.cell]:
                    self._waiting.append((pair.candidate, pair.cell))
                continue
            if heard and self._beats(pair.candidate, pair.elite):
                _seat(elites, pair.cell, bout.both, row)
                now = pair.candidate
            elites.objective[pair.cell], n = self._mean(now), len(self._told[now])
            elites.payload["count"][pair.cell] = n
            cells.append([pair.cell, now, self._mean(now), n])
        said = [math.nan if not math.isfinite(value) else value for value in np.asarray(values).ravel().tolist()]
        looks = [[id, None if math.isnan(value) else value] for id, value in zip(order * bout.times, said, strict=True)]
        return elites, {"looks": looks, "cells": cells}

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


def _seat(elites: Elites, cell: int, batch: Batch, row: int) -> None:
    """Gives the cell to a row of a batch, in arrays that are ours alone."""
    elites.descriptor[cell] = batch.descriptor[row]
    elites.payload["id"][cell] = batch.id[row]
    if "genome" in elites.payload:
        elites.payload["genome"][cell] = batch.genome[row]


def values_of(told: Mapping[str, Any], bout: Bout) -> np.ndarray:
    """float `[times, 2 m]`: what was said in a bout, out of its event."""
    said = [math.nan if value is None else value for _, value in told["looks"]]
    return np.array(said, float).reshape(bout.times, len(bout.both))


def same(told: Mapping[str, Any], bout: Bout) -> bool:
    """Whether an event tells of these candidates and elites."""
    return [id for id, _ in told["looks"]] == bout.both.id.tolist() * bout.times
