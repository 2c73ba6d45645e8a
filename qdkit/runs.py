"""Runs on disk, opened to be looked at. Nothing in a run is ever executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qdkit.catalog import rebuilt
from qdkit.elites import Archive, Elites
from qdkit.ledger import Ledger
from qdkit.seen import Seen


class Run(Seen):
    """A run as it is in its folder; it may go on meanwhile, in another process."""

    def __init__(self, ledger: Ledger):
        self.ledger, self.commits = ledger, ledger.commits
        self.floor: float = ledger.about["floor"]
        self.domain: Any = rebuilt(ledger.about["domain"])
        archive = rebuilt(ledger.about["archive"])
        self.archive = archive if isinstance(archive, Archive) else None
        held = _elites(ledger)
        self._elites = held if self.archive is None else self.archive.united(held)

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
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


def _elites(ledger: Ledger) -> Elites:
    """Who holds each cell: the best of those that entered it, the first among equals, and whoever was moved there."""
    id, cell, objective, descriptor = ledger.entries()
    holder = np.full(ledger.about["cells"], -1)  # rows of what entered
    best = np.full(len(holder), -np.inf)
    commits = ledger.commits
    end: Any = (None, {"cell": [], "id": []})
    moves = [(commits[after - 1], value) for after, kind, value in ledger.events() if kind == "moved"]
    begun = 0
    for commit, moved in [*moves, end]:
        upto = len(id) if commit is None else int(np.searchsorted(id, commit.first + commit.rows))
        order = begun + np.lexsort((id[begun:upto], -objective[begun:upto], cell[begun:upto]))
        first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
        first = first[objective[first] > best[cell[first]]]
        holder[cell[first]] = first
        ids, cells = np.array(moved["id"], int), np.array(moved["cell"], int)
        holder[cells] = np.where(ids < 0, -1, np.searchsorted(id, ids))
        best = np.where(holder < 0, -np.inf, objective[holder] if len(id) else -np.inf)
        begun = upto
    held = holder >= 0
    place, ids = np.full((len(holder), ledger.about["axes"]), np.nan), np.full(len(holder), -1, np.int32)
    place[held], ids[held] = descriptor[holder[held]], id[holder[held]]
    return Elites(best, place, {"id": ids})  # type: ignore[arg-type]
