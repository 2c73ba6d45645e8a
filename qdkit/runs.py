"""Runs on disk, opened to be looked at. Nothing in a run is ever executed."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
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
        self._elites = _elites(ledger)

    @property
    def elites(self) -> Elites:
        """The best candidate of each cell, as numpy arrays (float64)."""
        return self._elites

    def _writable(self) -> AbstractContextManager[Ledger]:
        """The ledger opened to write, which it is to none while a search has it."""
        assert self.ledger.path is not None  # it was loaded from there
        return closing(Ledger.open(self.ledger.path, write=True))

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
    """Who holds each cell: the best of those that ever entered it, the first among equals."""
    id, cell, objective, descriptor = ledger.entries()
    order = np.lexsort((id, -objective, cell))
    first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
    cells, axes = ledger.about["cells"], ledger.about["axes"]
    elites = Elites(np.full(cells, -np.inf), np.full((cells, axes), np.nan), {"id": np.full(cells, -1, np.int32)})  # type: ignore[arg-type]
    elites.objective[cell[first]] = objective[first]
    elites.descriptor[cell[first]] = descriptor[first]
    elites.payload["id"][cell[first]] = id[first]
    return elites
