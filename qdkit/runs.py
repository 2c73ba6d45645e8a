"""Runs on disk, opened to be looked at. Nothing in a run is ever executed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qdkit.catalog import rebuilt
from qdkit.elites import Archive, Elites, double
from qdkit.ledger import Ledger
from qdkit.rows import Commit
from qdkit.seen import Seen


class Run(Seen):
    """A run as it is in its folder; it may go on meanwhile, in another process."""

    def __init__(self, ledger: Ledger):
        self.ledger, self.commits = ledger, ledger.commits
        self.floor: float = ledger.about["floor"]
        self.domain: Any = rebuilt(ledger.about["domain"])
        archive = rebuilt(ledger.about["archive"])
        self.archive = archive if isinstance(archive, Archive) else None
        known = self.archive is not None and not self.archive.elitist
        self._elites = _added_again(ledger, self.commits, self.archive) if known else _best(ledger)

    @property
    def elites(self) -> Elites:
        """The candidates that stay, as numpy arrays (float64): in an archive unknown here, the best of each cell."""
        return self._elites

    def close(self) -> None:
        """Gives the file back."""
        self.ledger.close()


def load(path: str | Path) -> Run:
    """Opens the run in the folder `path`, without changing it.

    Raises FileNotFoundError if there is none, and `qdkit.ledger.DamagedRun` for one that was
    changed by another hand, with the part that was.
    """
    return Run(Ledger.open(Path(path)))


def _best(ledger: Ledger) -> Elites:
    """Who holds each cell where the best stays: the best of those that ever entered it, the first among equals."""
    id, cell, objective, descriptor = ledger.entries()
    order = np.lexsort((id, -objective, cell))
    first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
    cells, axes = ledger.about["cells"], ledger.about["axes"]
    elites = Elites(np.full(cells, -np.inf), np.full((cells, axes), np.nan), {"id": np.full(cells, -1, np.int32)})  # type: ignore[arg-type]
    elites.objective[cell[first]] = objective[first]
    elites.descriptor[cell[first]] = descriptor[first]
    elites.payload["id"][cell[first]] = id[first]
    return elites


def _added_again(ledger: Ledger, commits: Sequence[Commit], archive: Archive) -> Elites:
    """Who stays by any other rule: every batch of the run, added once more."""
    id, task, objective, descriptor = ledger.trials()
    first = np.array([commit.first for commit in commits], np.int64)
    shape = len(commits), max((commit.rows for commit in commits), default=0)
    rows = np.full(shape, np.nan), np.full((*shape, archive.axes), np.nan), {"id": np.full(shape, -1, np.int32)}
    there = task < len(commits)  # a run that is read while it goes on
    place = task[there], (id - first[np.minimum(task, len(commits) - 1)])[there]
    for column, values in zip((*rows[:2], rows[2]["id"]), (objective, descriptor, id), strict=True):
        column[place] = values[there]
    with double():
        elites = archive.init({"id": np.int32(0)})
        if len(commits):
            elites, _ = jax.lax.scan(lambda elites, batch: (archive.add(elites, *batch)[0], None), elites, rows)
    return jax.tree.map(np.asarray, elites)
