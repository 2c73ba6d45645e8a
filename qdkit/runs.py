"""Runs on disk, opened to be looked at. Nothing in a run is ever executed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qdkit import looks, scan
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
        self._elites = _held(ledger, self.commits, self.archive)

    @property
    def elites(self) -> Elites:
        """The candidates that stay, as numpy arrays (float64): in an archive unknown here, the best of each cell."""
        return self._elites

    def now(self) -> Run:
        """The run as it is by now: itself where nothing came since it was looked at."""
        if len(self.ledger.commits) == len(self.commits):
            return self
        found = Run(self.ledger)
        found.domain = found.domain or self.domain
        return found

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


class Watched:
    """A run that may be going on, looked at again and again: `Watched(run)()` is how it stands.

    Looking takes no more than a tenth of the time, however large the run is.
    """

    def __init__(self, run: Run):
        self._run, self._lock, self._next = run, threading.Lock(), 0.0

    def __call__(self) -> Run:
        with self._lock:
            begun = time.monotonic()
            if begun >= self._next:
                self._run = self._run.now()
                self._next = time.monotonic() + 9 * (time.monotonic() - begun)
            return self._run


def _held(ledger: Ledger, commits: Sequence[Commit], archive: Archive | None) -> Elites:
    if "compiled" in ledger.about and ledger.path is not None:
        return scan.held(ledger.path, ledger.about["cells"])
    if "challenge" in ledger.about:
        return looks.held(ledger)
    known = archive is not None and not archive.elitist
    elites = _added_again(ledger, commits, archive) if archive is not None and known else _best(ledger)
    return elites if archive is None else archive.united(elites)


def _best(ledger: Ledger) -> Elites:
    """Who holds each cell where the best stays: the best, the first of equals, that entered or was moved there.

    When axes have learnt, all cells are as that event says (see `qdkit.remap`).
    """
    id, cell, objective, descriptor = ledger.entries()
    holder = np.full(ledger.about["cells"], -1)  # rows of what entered
    best = np.full(len(holder), -np.inf)
    commits = ledger.commits
    end: Any = (None, {"cell": [], "id": []})
    events = [event for event in ledger.events() if event[1] in ("moved", "axes") and event[0] <= len(commits)]
    moves = [(commits[after - 1], value) for after, _, value in events]
    begun = 0
    for commit, moved in [*moves, end]:
        upto = len(id) if commit is None else int(np.searchsorted(id, commit.first + commit.rows))
        order = begun + np.lexsort((id[begun:upto], -objective[begun:upto], cell[begun:upto]))
        first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
        first = first[objective[first] > best[cell[first]]]
        holder[cell[first]] = first
        ids, cells = np.array(moved["id"], int), np.array(moved["cell"], int)
        if "descriptor" in moved:
            holder[:] = -1
            descriptor[np.searchsorted(id, ids)] = np.reshape(moved["descriptor"], (-1, descriptor.shape[1]))
        holder[cells] = np.where(ids < 0, -1, np.searchsorted(id, ids))
        best = np.where(holder < 0, -np.inf, objective[holder] if len(id) else -np.inf)
        begun = upto
    held = holder >= 0
    place, ids = np.full((len(holder), ledger.about["axes"]), np.nan), np.full(len(holder), -1, np.int32)
    place[held], ids[held] = descriptor[holder[held]], id[holder[held]]
    return Elites(best, place, {"id": ids})  # type: ignore[arg-type]


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
