"""The ledger of a run: every candidate, answer and event, in one SQLite file that only grows.

A run on disk is a folder with `run.db` and `elites.npz`. The ledger `run.db` is authoritative;
`elites.npz` is a copy for other programs. `sqlite3` and `pandas.read_sql` read the ledger:

    about       the settings of the search: one JSON value a row
    commits     one row for each batch: its first id, its size, and a digest that seals it and all
                batches before it
    candidates  one row each; nan is NULL, a numeric genome is the bytes of its array (dtype and
                shape are in `about`)
    answers     the answers of models, sandboxes and people, by task and number of the call
    events      decisions from outside, such as the number of steps asked for, each with a digest
                that seals it, all events before it and the commits before it

Notes, events and `about` encode nan, infinities and other values that JSON does not have as
`qdkit.core.jsonable` says.

A seal detects accidents. It has no key, so it does not detect a forger (see docs/security.md).
Nothing here is ever executed or unpickled. Rows are committed before they are used, and WAL mode
preserves them through `kill -9` at any moment. Answers that come while the disk is busy share a
transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.core import run_files, untrusted
from qdkit.core.describe import comparable, without_added
from qdkit.core.differences import differences
from qdkit.core.jsonable import digest, legacy_description, to_json, to_json_exact
from qdkit.core.record import NOTHING, Cost
from qdkit.core.redaction import redacted
from qdkit.core.run_files import PRIVATE, DamagedRun, atomic_write, file_kind, remove_partial
from qdkit.core.types import Batch, Genome
from qdkit.runs.ledger_check import check_ledger
from qdkit.runs.rows import (
    REEVALUATION_EVENT,
    UNSEALED,
    VERSION,
    Commit,
    batch_of,
    candidate_rows,
    nan_to_none,
    none_to_nan,
    schema,
    seal_commit,
    seal_event,
)
from qdkit.runs.sources import ABOUT
from qdkit.runs.sqlite_file import connect, limited_steps

LEDGER_FILE = "run.db"
# The kinds of events with texts of the user or of foreign code.
_TEXT_EVENTS = {"order", "sandbox", "query", "again"}
# A note that is nan or infinite is stored as an object, and does not count.
_NUMBER = "json_type(notes, '$.cpu_seconds') in ('integer', 'real')"
_CPU = f"case when {_NUMBER} then json_extract(notes, '$.cpu_seconds') end"
_NOTES = 10  # the index of the column `notes` of candidates
# Errors of SQLite that mean a damaged file.
_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_TOOBIG,
}


class LedgerClosed(RuntimeError):
    """Raised by writing into a closed ledger."""


class _PendingAnswer:
    """A row of `answers` that is not yet on disk."""

    def __init__(self, *row: Any):
        self.row, self.done = row, False
        self.error: Exception | None = None


class Ledger:
    """The rows of one run. Any thread may use it; one process at a time may write to a run.

    path: the run's folder; None keeps the ledger in memory.
    """

    def __init__(
        self, path: Path | None, connection: sqlite3.Connection, lock: contextlib.ExitStack
    ):
        self.path, self._db, self._lock = path, connection, threading.RLock()
        self._close = weakref.finalize(self, _release, connection, lock)
        # Not at the exit of the interpreter: threads may still use it then, and all that is
        # committed is on disk.
        self._close.atexit = False
        self._pending: deque[_PendingAnswer] = deque()
        self._created: list[Path] = []  # files that `discard` removes besides the run itself
        self.closed = False
        self.idle = False  # whether a search began to fill the ledger and has stopped
        self.about: dict[str, Any] = {}
        self.version = VERSION
        # The seal of the last row and the number of rows, of commits and of events.
        self._seal, self._commits = "", 0
        self._event_seal, self._events = "", 0

    # Creating and opening.

    @classmethod
    def create(cls, path: Path | None, about: Mapping[str, Any]) -> Ledger:
        """Creates a run in the folder `path`.

        Raises FileExistsError if there is a run already, OSError if it cannot be written,
        ValueError for a run that is too large to be opened again.
        """
        lock, created = contextlib.ExitStack(), []
        if path is not None:
            _check_size(about)
            check_free(path)
            if (other := _writers.get(path.absolute())) and other.idle:
                other.close()  # of a search of this process whose first batch failed
            created = [file for file in (path / "lock", path) if not file.exists()]
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(f"{path} is a file: a run needs a folder")
            lock = _lock_folder(path)
        rows = [(name, to_json(value)) for name, value in about.items()]
        with contextlib.ExitStack() as undo:
            undo.enter_context(lock)
            if path is not None:
                # Once more under the lock: another process may have created a run meanwhile.
                check_free(path)
                # The remains of a failed start: SQLite would take its log for a part of this run.
                _remove_database(path / LEDGER_FILE)
                # Half a run would block the next start.
                undo.callback(_remove_database, path / LEDGER_FILE)
            ledger = cls(path, connect(path / LEDGER_FILE if path else None), lock.pop_all())
            ledger._created = created
            if path is not None:
                _writers[path.absolute()] = ledger
            undo.callback(ledger.close)
            with ledger._writing() as db:
                for statement in schema(about["axes"]):
                    db.execute(statement)
                db.execute(f"pragma user_version = {VERSION}")
                db.executemany("insert into about values (?, ?)", rows)
            ledger._db.execute("pragma wal_checkpoint(truncate)")
            ledger._read_about()
            undo.pop_all()
        return ledger

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Ledger:
        """Opens the run in the folder `path` and checks it from its first row to its last.

        Raises FileNotFoundError if there is no run, DamagedRun if another program changed, removed
        or added a row or a row has values that no run has, BlockingIOError if `write` and another
        process writes to it.
        """
        if not file_kind(path / LEDGER_FILE):
            raise FileNotFoundError(f"{path} holds no run: there is no {LEDGER_FILE} in it")
        with _lock_folder(path) if write else contextlib.ExitStack() as lock:
            ledger = cls(path, connect(path / LEDGER_FILE, write=write), lock.pop_all())
        try:
            ledger._db.execute("begin")  # a consistent view of a run that may be growing
            ledger._check()
            ledger._db.execute("commit")
        except sqlite3.DatabaseError as error:
            ledger.close()
            raise DamagedRun(
                f"{path / LEDGER_FILE} cannot be read as a run: {error}. Are {LEDGER_FILE}-wal "
                f"and {LEDGER_FILE} from one run?"
            ) from None
        except DamagedRun:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Closes the file. The ledger can still be read, and no longer be written."""
        # A connection that is closed while another thread uses it would crash the process.
        with self._lock:
            self.closed = True
            if self.path is not None:
                self._close()

    def discard(self) -> None:
        """Closes a ledger from `create` and removes its run if it has no results.

        A folder that `create` made is removed if no other files are in it.
        """
        with self._lock:
            self.close()
            if self.path is None or not _no_results(self.path):
                return
            _remove_database(self.path / LEDGER_FILE)
            with contextlib.suppress(OSError):  # a folder with other files in it stays
                for file in self._created:
                    file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)

    def same(self, about: Mapping[str, Any]) -> None:
        """Raises ValueError, with the differences, unless the run's `about` equals this one.

        `qdkit.runs.sources.check_unchanged` compares the digests of the files that decide a score.
        """
        now, was = comparable(json.loads(to_json(about))), comparable(self.about)
        now = {name: without_added(value, was.get(name)) for name, value in now.items()}
        alike = lambda name: was.get(name) in (now.get(name), legacy_description(now.get(name)))
        names = [name for name in [*now, *was] if name != ABOUT and not alike(name)]
        if names:
            was, now = ({name: each.get(name) for name in names} for each in (was, now))
            listed = "; ".join(
                f"{name} = {one}, and this search {other}"
                for name, one, other in differences(was, now)
            )
            raise ValueError(
                f"{self.path} has {listed}: go on with the same, or begin another run"
            )

    # Writing.

    def commit(
        self, batch: Batch, added: Any, state: Commit, moved: Mapping[str, Any] | None = None
    ) -> None:
        """Writes a batch and the state of the run after it, as one transaction.

        moved: the cells whose elite changed without a row of the batch that says so, and the id of
          the elite (-1 for none); see `qdkit.runs.rows.moved_cells`.
        """
        rows = candidate_rows(batch, added, state.number, self.about["genome"]["kind"])
        marks = ", ".join("?" * (11 + batch.descriptor.shape[1]))
        with self._writing() as db:
            db.executemany(f"insert into candidates values ({marks})", rows)
            self._insert_commits([(rows, state, "")])
            if moved is not None:
                self._insert_event(state.number + 1, "moved", to_json(moved))

    def settle(self, state: Commit, told: Mapping[str, Any]) -> None:
        """Writes the results of re-evaluations and the state of the run after them.

        They are one transaction: a commit without candidates.
        """
        text = to_json(told)
        with self._writing():
            self._insert_commits([([], state, text)])
            self._insert_event(state.number + 1, REEVALUATION_EVENT, text)

    def stood(self, states: Sequence[Commit]) -> None:
        """Writes the state after each of several steps of a compiled run, as one transaction.

        Such a run has no rows for its candidates.
        """
        with self._writing():
            self._insert_commits([([], state, "") for state in states])

    def keep(
        self,
        task: int,
        call: int,
        request: Mapping[str, Any],
        answer: Mapping[str, Any],
        seconds: float,
    ) -> None:
        """Writes an answer from outside. It is on disk when this returns."""
        texts = to_json(request), to_json(answer)
        pending = _PendingAnswer(task, call, *texts, digest(*texts), seconds)
        self._pending.append(pending)
        with self._lock:
            if not pending.done:
                self._write_pending()
        if pending.error is not None:
            raise pending.error

    def event(self, after: int, kind: str, value: Any) -> None:
        """Writes a decision from outside, made when `after` batches were committed."""
        text = to_json_exact(redacted(value) if kind in _TEXT_EVENTS else value)
        with self._writing():
            self._insert_event(after, kind, text)

    # Reading.

    @property
    def sealed_events(self) -> bool:
        """Whether events have seals. Those of runs of the version before have none."""
        return self.version != UNSEALED

    @property
    def commits(self) -> list[Commit]:
        """The state of the run after each batch, in order."""
        fields = ", ".join(Commit._fields)
        return [
            Commit(*map(none_to_nan, row))
            for row in self._read(f"select {fields} from commits order by number")
        ]

    def batch(self, number: int) -> Batch:
        """Returns the candidates of one commit."""
        return batch_of(self._candidate_rows(number), self.about)

    def batches(self) -> Iterator[Batch]:
        """Yields the candidates of every commit, with one commit in memory at a time."""
        for commit in self.commits:
            yield self.batch(commit.number)

    def take(self, ids: Sequence[int] | np.ndarray) -> Batch:
        """Returns the candidates with these ids, in this order.

        Raises KeyError for an id that the run does not have.
        """
        wanted = [int(i) for i in ids]
        query = "select * from candidates where id in ({})"
        rows = {row[0]: row for row in self._by_id(query, wanted)}
        if missing := [i for i in wanted if i not in rows]:
            raise KeyError(f"the run has no candidate {missing[0]}")
        return batch_of([rows[i] for i in wanted], self.about)

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns all candidates that ever entered the archive, in the order of their ids.

        They are (id `[m]`, cell `[m]`, objective `[m]`, descriptor `[m, d]`), with the cell and
        the descriptor of their commit. Candidates that entered when axes had learnt are included.
        """
        axes = self.about["axes"]
        columns = ", ".join(
            ["id", "cell", "objective", *(f"descriptor_{axis}" for axis in range(axes))]
        )
        later = (
            "select json_each.value from events, json_each(events.value, '$.id') "
            "where kind = 'axes'"
        )
        entered = f"status > 0 or id in ({later})"
        query = f"select {columns} from candidates where {entered} order by id"
        rows = np.array(self._read(query), np.float64)
        rows = rows.reshape(-1, 3 + axes)
        return rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3:]

    def trials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns the candidates that are ok, in the order of their ids.

        They are (id `[m]`, task `[m]`, objective `[m]`, descriptor `[m, d]`).
        """
        axes = self.about["axes"]
        columns = ", ".join(
            ["id", "task", "objective", *(f"descriptor_{axis}" for axis in range(axes))]
        )
        query = f"select {columns} from candidates where outcome = 'ok' order by id"
        rows = np.array(self._read(query), np.float64).reshape(-1, 3 + axes)
        return rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3:]

    def outcomes(self) -> dict[str, int]:
        """Returns the number of candidates by outcome, the commonest first."""
        query = (
            "select outcome, count(*) from candidates group by outcome "
            "order by count(*) desc, outcome"
        )
        return dict(self._read(query))

    def origins(self) -> list[tuple[str, int, int, int]]:
        """Returns how many candidates each operator made, and how many entered, in each task.

        They are (origin, task, candidates, entered) in the order of their first candidates; the
        origin is the name of the operator.
        """
        counts = "select origin, task, count(*), sum(status > 0) from candidates"
        return self._read(f"{counts} group by task, origin order by min(id)")

    def rejections(self) -> dict[str, int]:
        """Returns how many candidates each stage of the novelty filter rejected."""
        stage = "coalesce(json_extract(notes, '$.novelty.stage'), 'novelty')"
        rejected = f"select {stage} stage from candidates where outcome = 'rejected'"
        query = (
            f"select stage, count(*) from ({rejected}) group by stage "
            "order by count(*) desc, stage"
        )
        return dict(self._read(query))

    def likenesses(self) -> list[tuple[str, float, float | None]]:
        """Returns (stage, similarity to the nearest, limit) as the novelty filter noted them.

        The limit is None for candidates that passed the stage.
        """
        noted = lambda name: f"json_extract(notes, '$.novelty.{name}')"
        rejected = (
            f"select {noted('stage')}, {noted('likeness')}, {noted('limit')} from candidates "
            f"where {noted('likeness')} is not null"
        )
        passed = (
            "select key, value, null from candidates, "
            "json_each(candidates.notes, '$.novelty.passed')"
        )
        return self._read(f"{rejected} union all {passed}")

    def errors(self, most: int = 5) -> dict[str, int]:
        """Returns the commonest errors of failed candidates, and how often each occurred."""
        faults = "outcome not in ('ok', 'rejected', 'duplicate', 'skipped') and why is not null"
        failed = f"select json_extract(notes, '$.error') why from candidates where {faults}"
        query = (
            f"select why, count(*) from ({failed}) group by why "
            "order by count(*) desc, why limit ?"
        )
        return dict(self._read(query, most))

    def genome(self, id: int) -> Genome:
        """Returns the genome of one candidate."""
        return self.take([id]).genome[0]

    def answer(self, task: int, call: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Returns the recorded (request, answer) of one call, or None."""
        query = "select request, answer from answers where task = ? and call = ?"
        rows = self._read(query, task, call)
        if not rows:
            return None
        request, answer = rows[0]
        name = f"answer {call} of task {task}"
        return untrusted.parse_json(request, name), untrusted.parse_json(answer, name)

    def answers(self) -> Iterator[tuple[int, int, dict[str, Any], dict[str, Any]]]:
        """Yields every (task, call, request, answer), in the order of tasks and calls."""
        query = "select task, call, request, answer from answers order by task, call"
        for task, call, request, answer in self._read(query):
            name = f"answer {call} of task {task}"
            yield (
                task,
                call,
                untrusted.parse_json(request, name),
                untrusted.parse_json(answer, name),
            )

    def spent(self) -> Cost:
        """Returns the cost of all recorded answers and of the calls that were abandoned."""
        total = NOTHING
        answers = (
            "select 'answer ' || call || ' of task ' || task, json_extract(answer, '$.cost') "
            "from answers"
        )
        abandoned = (
            "select 'event ' || number, json_extract(value, '$.cost') from events "
            "where kind = 'abandoned'"
        )
        for name, text in self._read(f"{answers} union all {abandoned}"):
            value = None if text is None else untrusted.parse_json(text, name)
            cost: Any = untrusted.parse_cost(value, name)
            total += Cost(**cost)
        return total

    def calls(self) -> dict[int, int]:
        """Returns the number of calls of each task that made any."""
        count = "sum(coalesce(json_extract(answer, '$.cost.calls'), 1))"
        return dict(self._read(f"select task, {count} from answers group by task"))

    def outside_cpu(self) -> dict[int, float]:
        """Returns the CPU seconds that each task's candidates took outside of this process.

        They are the sums of `notes["cpu_seconds"]`; tasks without such a note are left out.
        """
        query = (
            f"select task, sum({_CPU}) spent from candidates group by task "
            "having spent is not null"
        )
        return dict(self._read(query))

    def mean_outside_cpu(self) -> float:
        """Returns the mean CPU seconds of a candidate outside of this process; nan if unknown."""
        return float(none_to_nan(self._read(f"select avg({_CPU}) from candidates")[0][0]))

    def events(self) -> list[tuple[int, str, Any]]:
        """Returns every event as (after, kind, value), in order."""
        rows = self._read("select after, kind, value from events order by number")
        return [
            (after, kind, untrusted.decode_json(value, f"an event {kind!r:.40}"))
            for after, kind, value in rows
        ]

    def dump(self) -> str:
        """Returns the run in canonical form: in the order of tasks and calls, without times.

        The text of a run that was killed and resumed equals that of an uninterrupted one.
        """
        lines: list[Any] = sorted(self.about.items())
        lines += [("event", *event) for event in self.events()]
        for task, call, request, answer in self.answers():
            untimed_answer = {k: v for k, v in answer.items() if k not in ("seconds", "cost")}
            lines.append(("answer", task, call, request, untimed_answer))
        query = "select *, json_remove(notes, '$.cpu_seconds') from candidates order by id"
        for row in self._read(query):
            untimed = (*row[:_NOTES], row[-1], *row[_NOTES + 1 : -1])
            lines.append(("candidate", *(x.hex() if isinstance(x, bytes) else x for x in untimed)))
        lines += [("commit", *commit.untimed) for commit in self.commits]
        return "\n".join(json.dumps(line) for line in lines)

    # Private.

    def _write_pending(self) -> None:
        """Writes all pending answers in one transaction: the disk takes no longer over many.

        If that fails, each is written by itself, so that only the faulty answer fails.
        """
        pending = [*self._pending]
        try:
            fault = self._write_answers(pending)
            for answer in pending:
                answer.error = (
                    self._write_answers([answer]) if fault and len(pending) > 1 else fault
                )
                answer.done = True
        finally:
            for _ in pending:
                self._pending.popleft()

    def _write_answers(self, answers: Sequence[_PendingAnswer]) -> Exception | None:
        """Writes answers in one transaction. Returns the error if that fails."""
        try:
            with self._writing() as db:
                db.executemany(
                    "insert into answers values (?, ?, ?, ?, ?, ?)",
                    [answer.row for answer in answers],
                )
        except (sqlite3.Error, OSError, LedgerClosed) as error:
            return error
        return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A scope with a transaction. If it fails, the seals are as before it."""
        with self._lock:
            if self.closed:
                raise LedgerClosed(
                    f"{self.path or 'the ledger in memory'} was closed, and is written to no more"
                )
            chain_ends = self._seal, self._commits, self._event_seal, self._events
            try:
                with self._db:
                    self._db.execute("begin immediate")
                    yield self._db
                chain_ends = self._seal, self._commits, self._event_seal, self._events
            except sqlite3.OperationalError as error:
                raise OSError(
                    f"{self.path or 'the ledger in memory'} cannot be written: {error}. Nothing "
                    "committed is lost; make room or give the folder back its permissions, and "
                    "resume"
                ) from error
            finally:
                self._seal, self._commits, self._event_seal, self._events = chain_ends

    def _insert_commits(self, commits: Sequence[tuple[Sequence[Any], Commit, str]]) -> None:
        """Inserts rows of `commits`, within `_writing`.

        commits: (rows of its candidates, state, results of re-evaluations as text) for each.
        """
        rows = []
        for candidates, state, results in commits:
            self._seal = seal_commit(self._seal, candidates, state, results, self._event_seal)
            self._commits += 1
            rows.append((*map(nan_to_none, state), self._seal))
        self._db.executemany(f"insert into commits values ({', '.join('?' * 13)})", rows)

    def _insert_event(self, after: int, kind: str, text: str) -> None:
        """Inserts a row of `events`, within `_writing`."""
        if self.version == UNSEALED:
            self._db.execute(
                "insert into events (after, kind, value) values (?, ?, ?)", (after, kind, text)
            )
            return
        row = self._events + 1, after, kind, text, self._commits
        self._event_seal = seal_event(self._event_seal, self._seal, row)
        self._events += 1
        self._db.execute("insert into events values (?, ?, ?, ?, ?, ?)", (*row, self._event_seal))

    def _read(self, query: str, *values: Any, named: bool = False) -> list[Any]:
        """Returns the rows of a query.

        named: whether the query names its rows, so that its result stays the same while the run
          grows.
        """
        with self._lock:
            if self._close.alive:
                return self._fetch(self._db, query, values)
            with self._reopened(named) as db:
                return self._fetch(db, query, values)

    def _fetch(self, db: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Any]:
        """Returns the rows of a query. Raises DamagedRun where the file cannot be read."""
        try:
            return db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", None)  # None for a text that is no UTF-8
            if isinstance(error, sqlite3.ProgrammingError) or (
                code is not None and code & 255 not in _DAMAGE
            ):
                raise
            raise DamagedRun(f"{self.path}: the ledger cannot be read: {error}") from None

    @contextlib.contextmanager
    def _reopened(self, named: bool) -> Iterator[sqlite3.Connection]:
        """A scope in which the file of a closed ledger can be read as it was when it was closed.

        named: as in `_read`. Raises FileNotFoundError where the file is gone, RuntimeError where
        the run was continued and `named` is False.
        """
        assert self.path is not None  # a ledger in memory stays open
        if not (self.path / LEDGER_FILE).is_file():
            raise FileNotFoundError(
                f"{self.path} is gone, and with it what this closed run kept there"
            )
        with contextlib.closing(connect(self.path / LEDGER_FILE, write=False)) as db:
            db.execute("begin")
            last = db.execute("select digest from commits order by number desc limit 1").fetchone()
            if not named and last is not None and last[0] != self._seal:
                raise RuntimeError(
                    f"{self.path} went on after this was closed: look at it anew, "
                    f"qdkit.load({str(self.path)!r})"
                )
            yield db

    def _candidate_rows(self, number: int) -> list[Any]:
        """Returns the rows of one commit, by their ids: there is no index of tasks."""
        of = "commits join candidates on id between first and first + rows - 1 where number = ?"
        return self._read(f"select candidates.* from {of} order by id", number, named=True)

    def _by_id(self, query: str, ids: list[int]) -> Iterator[Any]:
        for i in range(0, len(ids), 500):  # SQLite bounds the number of values of a statement
            some = ids[i : i + 500]
            yield from self._read(query.format(", ".join("?" * len(some))), *some, named=True)

    def _read_about(self) -> None:
        rows = self._read("select name, value from about order by name")
        self.about = {name: json.loads(value) for name, value in rows}
        self._seal = digest(to_json(self.about))

    def _check(self) -> None:
        """Checks every row of the file, and sets `about`, the version and the ends of the seals.

        Raises DamagedRun for a row that is not as it was written or has values that no run has.
        """
        assert self.path is not None
        checked = check_ledger(self._db, self.path, self.path / LEDGER_FILE)
        self.version, self.about = checked.version, checked.about
        self._seal, self._commits = checked.seal, checked.commits
        self._event_seal, self._events = checked.event_seal, checked.events


def _check_size(about: Mapping[str, Any]) -> None:
    """Raises ValueError for a run that would be too large to be opened again."""
    if not (about["cells"] <= untrusted.MAX_SLOTS and about["axes"] <= untrusted.MAX_AXES):
        raise ValueError(
            f"a run on disk has up to {untrusted.MAX_SLOTS:,} cells and {untrusted.MAX_AXES:,} "
            f"axes, and this one has {about['cells']:,} and {about['axes']:,}: take fewer, or "
            "leave out folder="
        )


# The ledgers on disk that this process created.
_writers: weakref.WeakValueDictionary[Path, Ledger] = weakref.WeakValueDictionary()


def _release(connection: sqlite3.Connection, lock: contextlib.ExitStack) -> None:
    connection.close()
    lock.close()


def recorded_seed(path: Path) -> int:
    """Returns the seed of the run in the folder `path`. Raises as `Ledger.open`."""
    with contextlib.closing(Ledger.open(path)) as ledger:
        return int(ledger.about["seed"])


def _no_results(path: Path) -> bool:
    """Returns whether the run in a folder has no answer, no re-evaluation and no ok candidate.

    A compiled run with a state, and files that cannot be read as those of a run, count as results.
    """
    # The state of a compiled run is written before its ledger.
    if file_kind(path / "scan.npz"):
        return False
    file = path / LEDGER_FILE
    try:
        with contextlib.closing(connect(file, write=False)) as db, limited_steps(db, file):
            query = "select name from sqlite_master where type = 'table' limit 9"
            tables = {name for (name,) in db.execute(query)}
            # The rows of each table that are results. A commit of no rows has re-evaluations.
            results = {"commits": "rows = 0", "candidates": "outcome = 'ok'", "answers": "true"}
            queries = (
                f"select 1 from {table} where {results[table]} limit 1"
                for table in results.keys() & tables
            )
            return tables <= {"about", "events", *results} and not any(
                db.execute(query).fetchone() for query in queries
            )
    except (sqlite3.DatabaseError, UnicodeDecodeError, OSError, DamagedRun):
        return False


def check_free(path: Path) -> None:
    """Raises FileExistsError where the folder `path` has a run with results."""
    if file_kind(path / LEDGER_FILE) and not _no_results(path):
        raise FileExistsError(
            f"{path} holds a run already: go on with it (Search.resume, CompiledSearch.resume or "
            "`qdkit resume`), or name another folder"
        )


def _remove_database(file: Path) -> None:
    """Removes a file of SQLite and the files that SQLite keeps beside it."""
    for end in ("", "-wal", "-shm", "-journal"):
        Path(f"{file}{end}").unlink(missing_ok=True)


def _lock_folder(path: Path) -> contextlib.ExitStack:
    """Locks a run's folder for this process until the stack is closed or the process ends.

    Raises BlockingIOError if another process has locked it, OSError if it cannot be written.
    """
    stack = contextlib.ExitStack()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = run_files.open_lock(path / "lock")
    except OSError as error:
        raise OSError(
            f"the run folder {path} cannot be written: {error.strerror}. Name one that can"
        ) from None
    stack.callback(os.close, lock)
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        # Windows has no flock; SQLite's own lock still refuses two writers at the same moment.
        pass
    except OSError:
        stack.close()
        raise BlockingIOError(
            f"another process is writing to {path}, or a search that was not closed: wait for it, "
            "call its close(), or name another folder"
        ) from None
    for name in ("elites.npz", "scan.npz"):
        remove_partial(path, name)
    return stack


def write_elites(path: Path, elites: Any) -> None:
    """Writes `elites.npz` in the run's folder: the occupied cells as plain arrays.

    It is a copy of the elites for readers without this library, so a failure is a warning.
    """
    occupied = np.flatnonzero(elites.occupied)
    columns = {
        "cell": occupied,
        "objective": elites.objective[occupied],
        "descriptor": elites.descriptor[occupied],
    }
    columns |= {name: column[occupied] for name, column in elites.payload.items()}
    try:
        with atomic_write(path / "elites.npz", PRIVATE) as file:
            np.savez(file, **columns)
    except OSError as error:
        message = f"{path / 'elites.npz'} is not up to date, it cannot be written: {error}"
        warnings.warn(message, stacklevel=_stacklevel_of_user())


def _stacklevel_of_user() -> int:
    """Returns the `stacklevel` with which the caller warns at a line of the user's code."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != "qdkit":
            break
        frame, level = frame.f_back, level + 1
    return level
