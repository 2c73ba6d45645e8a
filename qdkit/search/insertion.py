"""How candidates enter the archive: at their first evaluation, or after a re-evaluation."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import numpy as np

from qdkit.core.elites import Added, Archive, Elites, double
from qdkit.core.types import Batch, Genomes, Key
from qdkit.runs.rows import Commit
from qdkit.search.reevaluation import Reevaluation, Reevaluations, ReevaluationTask
from qdkit.search.selector import TurnSelection


class Inserted(NamedTuple):
    """A batch after its insertion.

    batch: the batch, with notes of the insertion.
    added: what became of its rows, as it is recorded.
    first: what would have become of them if first evaluations counted, as the parts that learn
      are told.
    """

    batch: Batch
    elites: Elites
    added: Added
    first: Added


class Insertion:
    """Inserts each candidate by its first evaluation.

    archive: an `Archive`, or `Islands` of one.
    numeric: whether genomes are arrays, which are kept beside the elites.
    root: the key from which the turnover between islands is drawn.
    """

    def __init__(self, archive: Any, numeric: bool, root: Key):
        self._archive, self._numeric, self._root = archive, numeric, root

    def example(self, genomes: Genomes) -> dict[str, Any]:
        """The payload of one elite, for `Archive.init`."""
        genome = {"genome": genomes[0]} if self._numeric else {}
        return {"id": np.int32(0)} | genome

    def turn(
        self, number: int, elites: Elites, judging: Key, left: float
    ) -> ReevaluationTask | None:
        """A task of re-evaluations that comes before the next batch; None where there is none."""
        return None

    def committing(self, reevaluated: ReevaluationTask | None) -> AbstractContextManager[None]:
        """A scope for one commit: an error within it takes back what the insertion changed."""
        return nullcontext()

    def insert(
        self, batch: Batch, elites: Elites, selection: TurnSelection, commits: Sequence[Commit]
    ) -> Inserted:
        """The elites after a batch whose descriptors are known."""
        objective = np.where(batch.ok, batch.objective, np.nan)
        after, added = self._added(batch, elites, selection, commits, objective)
        return Inserted(batch, after, added, added)

    def settle(
        self, task: ReevaluationTask, values: np.ndarray, descriptors: np.ndarray, elites: Elites
    ) -> tuple[Elites, Mapping[str, Any]]:
        """The elites after re-evaluations, and the event that is recorded of them."""
        raise NotImplementedError("this insertion has no re-evaluations")

    def _payload(self, batch: Batch) -> dict[str, Any]:
        genome = {"genome": batch.genome} if self._numeric else {}
        return {"id": batch.id} | genome

    def _added(
        self,
        batch: Batch,
        elites: Elites,
        selection: TurnSelection,
        commits: Sequence[Commit],
        objective: np.ndarray,
    ) -> tuple[Elites, Added]:
        """The elites after the batch and after the turnover between islands.

        objective: float `[n]`; a candidate of nan does not enter.
        """
        columns = objective, batch.descriptor, self._payload(batch)
        with double():
            if self._archive.islands == 1:
                elites, added = self._archive.add(elites, *columns)
            else:
                islands = selection.island[: len(batch)]
                elites, added = self._archive.add(elites, *columns, islands)
                elites = self._turnover(elites, commits)
        return elites, jax.tree.map(np.asarray, added)

    def _turnover(self, elites: Elites, commits: Sequence[Commit]) -> Elites:
        """The elites after the turnover between islands that is due after the next commit."""
        best, steps = float(np.max(elites.objective)), len(commits)
        known = lambda commit: commit.best if commit.best == commit.best else -math.inf
        # the best objective never falls, so commits are sorted by it
        stagnant = steps - bisect_left(commits, best, key=known)
        key = jax.random.fold_in(jax.random.fold_in(self._root, 0), steps)
        return self._archive.changed(key, elites, steps + 1, stagnant)


class ReevaluatedInsertion(Insertion):
    """Inserts a candidate that seems better than the elite of its cell after a re-evaluation.

    take: reads the candidates with these ids (see `Ledger.take`).
    """

    def __init__(
        self,
        archive: Archive,
        numeric: bool,
        root: Key,
        rule: Reevaluation,
        batch: int,
        take: Callable[[Sequence[int]], Batch],
    ):
        super().__init__(archive, numeric, root)
        self.reevaluations = Reevaluations(rule, archive, batch, take)

    def example(self, genomes: Genomes) -> dict[str, Any]:
        return super().example(genomes) | {"count": np.int32(0)}

    def turn(
        self, number: int, elites: Elites, judging: Key, left: float
    ) -> ReevaluationTask | None:
        return self.reevaluations.turn(number, elites, judging, left)

    def committing(self, reevaluated: ReevaluationTask | None) -> AbstractContextManager[None]:
        ids = [] if reevaluated is None else reevaluated.judged.id.tolist()
        return self.reevaluations.restoring(ids)

    def insert(
        self, batch: Batch, elites: Elites, selection: TurnSelection, commits: Sequence[Commit]
    ) -> Inserted:
        add = lambda objective: self._added(batch, elites, selection, commits, objective)
        batch, after, added, first = self.reevaluations.insert(batch, elites, add)
        return Inserted(batch, after, added, first)

    def settle(
        self, task: ReevaluationTask, values: np.ndarray, descriptors: np.ndarray, elites: Elites
    ) -> tuple[Elites, Mapping[str, Any]]:
        return self.reevaluations.settle(task, values, descriptors, elites)

    def _payload(self, batch: Batch) -> dict[str, Any]:
        return super()._payload(batch) | {"count": np.ones(len(batch), np.int32)}
