"""Runs on disk, opened for reading. Nothing in a run is ever executed."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qdkit.core.elites import Archive, Elites, double
from qdkit.core.run_files import DamagedRun
from qdkit.core.untrusted import MAX_SLOTS
from qdkit.runs import compiled_state, rejudged
from qdkit.runs.ledger import Ledger
from qdkit.runs.parts import rebuild
from qdkit.runs.rows import Commit
from qdkit.runs.view import RunView

# How many times the memory of its candidates a run may take while they are added to an archive
# again.
_MOST_PADDING = 10


class Run(RunView):
    """A run as it is in its folder; another process may continue it meanwhile."""

    def __init__(self, ledger: Ledger):
        self.ledger, self.commits = ledger, ledger.commits
        self.floor: float = ledger.about["floor"]
        self.domain: Any = _part(ledger, "domain")
        self.archive = _archive(ledger)
        self._elites = _elites_of(ledger, self.commits, self.archive)
        self._invalid: int | None = None  # the number of invalid candidates of a compiled run
        if "compiled" in ledger.about and ledger.path is not None:
            self._invalid = compiled_state.read_invalid_count(ledger.path)

    @property
    def outcomes(self) -> dict[str, int]:
        """The number of candidates by outcome, the commonest first."""
        if self._invalid is None:
            return super().outcomes
        return compiled_state.outcomes(self._evaluations, self._invalid)

    @property
    def elites(self) -> Elites:
        """The elites as numpy arrays (float64).

        Of an archive that is not the toolkit's own, they are the best candidate of each cell.
        """
        return self._elites

    def now(self) -> Run:
        """Returns the run as it is now: itself where nothing was committed since it was opened."""
        if len(self.ledger.commits) == len(self.commits):
            return self
        run = Run(self.ledger)
        run.domain = run.domain or self.domain
        return run

    def _writable(self) -> AbstractContextManager[Ledger]:
        """Returns the ledger opened for writing. Raises BlockingIOError while a search writes."""
        assert self.ledger.path is not None  # it was loaded from there
        return closing(Ledger.open(self.ledger.path, write=True))

    def close(self) -> None:
        """Closes the file."""
        self.ledger.close()


def load(path: str | Path) -> Run:
    """Opens the run in the folder `path`, without changing it.

    Raises FileNotFoundError if there is none, and `qdkit.runs.ledger.DamagedRun`, with the damaged
    part, if another program changed it.
    """
    ledger = Ledger.open(Path(path))
    with ExitStack() as on_error:
        on_error.callback(ledger.close)
        run = Run(ledger)
        on_error.pop_all()
    return run


class LiveRun:
    """A run that another process may continue: calling `LiveRun(run)()` returns its latest state.

    Reading takes no more than a tenth of the time, however large the run is.
    """

    def __init__(self, run: Run):
        self._run, self._lock, self._next = run, threading.Lock(), 0.0

    def __call__(self) -> Run:
        with self._lock:
            start = time.monotonic()
            if start >= self._next:
                self._run = self._run.now()
                self._next = time.monotonic() + 9 * (time.monotonic() - start)
            return self._run


def _part(ledger: Ledger, name: str) -> Any:
    """Returns the part that the run describes, or None if it is not the toolkit's own.

    Raises DamagedRun for a description of no valid part.
    """
    try:
        return rebuild(ledger.about[name])
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise DamagedRun(
            f"{ledger.path}: what the run says of its {name} describes none: {error}"
        ) from None


def _archive(ledger: Ledger) -> Archive | None:
    """Returns the run's archive, or None if it is not the toolkit's own.

    Raises DamagedRun where its cells or axes are not those of the run.
    """
    about, archive = ledger.about, _part(ledger, "archive")
    if not isinstance(archive, Archive):
        return None
    if (archive.cells, archive.axes) != (about["cells"], about["axes"]):
        raise DamagedRun(
            f"{ledger.path}: the run has {about['cells']:,} cells and {about['axes']} axes, and "
            f"its archive {archive.cells:,} and {archive.axes}"
        )
    if archive.cells * getattr(archive, "depth", 1) > MAX_SLOTS:
        raise DamagedRun(f"{ledger.path}: its archive would have more than {MAX_SLOTS:,} slots")
    return archive


def _elites_of(ledger: Ledger, commits: Sequence[Commit], archive: Archive | None) -> Elites:
    """Returns the elites of the run after these commits."""
    if "compiled" in ledger.about and ledger.path is not None:
        return compiled_state.read_elites(ledger.path, ledger.about["cells"], ledger.about["axes"])
    if "challenge" in ledger.about:
        return rejudged.reevaluated_elites(ledger)
    if archive is None:
        return _best_of_each_cell(ledger)
    if archive.elitist:
        return archive.united(_best_of_each_cell(ledger))
    return archive.united(_add_all_batches(ledger, commits, archive))


def _best_of_each_cell(ledger: Ledger) -> Elites:
    """Returns the elites of an elitist archive: the best candidates that entered or were moved.

    Of equals the first stays. After axes have learnt, all cells are as that event says (see
    `qdkit.search.relearning`).
    """
    id, cell, objective, descriptor = ledger.entries()
    holder = np.full(ledger.about["cells"], -1)  # the row of each cell's elite in `entries`
    best = np.full(len(holder), -np.inf)
    commits = ledger.commits
    end: Any = (None, {"cell": [], "id": []})
    events = [
        event
        for event in ledger.events()
        if event[1] in ("moved", "axes") and event[0] <= len(commits)
    ]
    moves = [(commits[after - 1], value) for after, _, value in events]
    start = 0
    for commit, moved in [*moves, end]:
        stop = len(id) if commit is None else int(np.searchsorted(id, commit.first + commit.rows))
        order = start + np.lexsort((id[start:stop], -objective[start:stop], cell[start:stop]))
        first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
        first = first[objective[first] > best[cell[first]]]
        holder[cell[first]] = first
        ids, cells = np.array(moved["id"], int), np.array(moved["cell"], int)
        if "descriptor" in moved:
            holder[:] = -1
            descriptor[_rows(ledger, id, ids)] = np.reshape(
                moved["descriptor"], (-1, descriptor.shape[1])
            )
        holder[cells] = np.where(ids < 0, -1, _rows(ledger, id, ids))
        best = np.where(holder < 0, -np.inf, objective[holder] if len(id) else -np.inf)
        start = stop
    occupied = holder >= 0
    place = np.full((len(holder), ledger.about["axes"]), np.nan)
    elite_id = np.full(len(holder), -1, np.int32)
    place[occupied], elite_id[occupied] = descriptor[holder[occupied]], id[holder[occupied]]
    return Elites(best, place, {"id": elite_id})  # type: ignore[arg-type]


def _rows(ledger: Ledger, id: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Returns the row of each of `ids` in `id`, which is sorted; any row for -1.

    Raises DamagedRun for an id that `id` does not have.
    """
    rows = np.searchsorted(id, ids)
    if len(strange := np.setdiff1d(ids, [*id.tolist(), -1])):
        raise DamagedRun(
            f"{ledger.path}: an event gives a cell to candidate {strange[0]}, which never entered"
        )
    return rows


def _add_all_batches(ledger: Ledger, commits: Sequence[Commit], archive: Archive) -> Elites:
    """Returns the elites of any other archive: adds every batch of the run to an empty one."""
    id, task, objective, descriptor = ledger.trials()
    first = np.array([commit.first for commit in commits], np.int64)
    shape = len(commits), max((commit.rows for commit in commits), default=0)
    if math.prod(shape) > _MOST_PADDING * (len(id) + 1_000_000):
        raise DamagedRun(
            f"{ledger.path}: its batches are of sizes too different to be put into an archive "
            "again"
        )
    # The columns of all batches, padded to the largest, `[commits, largest, ...]`.
    columns = (
        np.full(shape, np.nan),
        np.full((*shape, archive.axes), np.nan),
        np.full(shape, -1, np.int32),
    )
    committed = task < len(commits)  # the run may have grown since `commits` was read
    index = task[committed], (id - first[np.minimum(task, len(commits) - 1)])[committed]
    for column, values in zip(columns, (objective, descriptor, id), strict=True):
        column[index] = values[committed]
    rows = (*columns[:2], {"id": columns[2]})
    with double():
        elites = archive.init({"id": np.int32(0)})
        if len(commits):
            elites, _ = jax.lax.scan(
                lambda elites, batch: (archive.add(elites, *batch)[0], None), elites, rows
            )
    return jax.tree.map(np.asarray, elites)
