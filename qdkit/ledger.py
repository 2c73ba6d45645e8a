"""The ledger of a run: every candidate, answer and event, in one SQLite file that only grows.

A run on disk is a folder with `run.db` and `elites.npz`. The ledger is the truth and the other a
copy to look at. It is read as it stands by `sqlite3` or `pandas.read_sql`:

    about       what was searched, and how: one JSON value a row
    commits     a batch each: its first id, how many, and a digest that seals it and all before it
    candidates  one row each; nan is NULL, a numeric genome the bytes of its array (dtype and shape in `about`)
    answers     what came in through the doors (models, sandboxes, people), by task and number of the call
    events      what was decided from outside, such as how far a run was asked to go

Nothing here is ever executed or unpickled. Rows are committed before they are used; WAL mode keeps
them through `kill -9` at any moment. Answers that come while the disk is busy share a transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qdkit.plain import to_json
from qdkit.record import NOTHING, Cost
from qdkit.rows import SETTLED, Commit, batch_of, digest, nan, null, readable, rows_of, sealed
from qdkit.types import Batch, Genome

FILE = "run.db"
VERSION = 2

_SCHEMA = """
create table about (name text primary key, value text not null);
create table commits (number integer primary key, first integer not null, rows integer not null,
                      evaluations integer not null, coverage real, qd_score real, best real,
                      clipped integer not null, refused integer not null, parents real,
                      seconds real not null, cpu real not null, digest text not null);
create table candidates (id integer primary key, task integer not null, origin text not null, parents text not null,
                         outcome text not null, objective real, status integer not null, cell integer not null,
                         genome, features text, notes text not null{axes});
create table answers (task integer not null, call integer not null, request text not null, answer text not null,
                      digest text not null, seconds real not null, primary key (task, call));
create table events (number integer primary key, after integer not null, kind text not null, value text not null);
"""
_NOTES = 10  # the column of candidates with their notes


class DamagedRun(RuntimeError):
    """A run folder that cannot be trusted; the message names the part."""


class _Waiting:
    """A row of `answers` on its way to the disk."""

    def __init__(self, *row: Any):
        self.row, self.done = row, False
        self.error: Exception | None = None


class Ledger:
    """One run's rows. Any thread may call it; one process may write to a run at a time.

    path: the run's folder; None keeps the ledger in memory.
    """

    def __init__(self, path: Path | None, connection: sqlite3.Connection, held: contextlib.ExitStack):
        self.path, self._db, self._lock = path, connection, threading.RLock()
        self._close = weakref.finalize(self, _closed, connection, held)
        self._close.atexit = False  # threads may still be at it then; what is committed is on disk without
        self._waiting: deque[_Waiting] = deque()
        self.about: dict[str, Any] = {}
        self._seal = ""

    # Making and opening.

    @classmethod
    def create(cls, path: Path | None, about: Mapping[str, Any]) -> Ledger:
        """A new run in the folder `path`.

        Raises FileExistsError if there is a run already, OSError with a sentence if it cannot be written.
        """
        held = contextlib.ExitStack()
        if path is not None:
            _free(path)
            if path.exists() and not path.is_dir():
                raise NotADirectoryError(f"{path} is a file: a run needs a folder")
            held = _hold(path)
        columns = "".join(f", descriptor_{axis} real" for axis in range(about["axes"]))
        rows = [(name, to_json(value)) for name, value in about.items()]
        with contextlib.ExitStack() as undo:
            undo.enter_context(held)
            if path is not None:
                _free(path)  # it is held now: what another process made there meanwhile is not ours to remove
                undo.callback(_removed, path / FILE)  # half a run would be in the way of a whole one
            ledger = cls(path, connect(path / FILE if path else None), held.pop_all())
            undo.callback(ledger.close)
            with ledger._writing() as db:
                for statement in _SCHEMA.format(axes=columns).split(";"):
                    db.execute(statement)
                db.execute(f"pragma user_version = {VERSION}")
                db.executemany("insert into about values (?, ?)", rows)
            ledger._db.execute("pragma wal_checkpoint(truncate)")
            ledger._read_about()
            undo.pop_all()
        return ledger

    @classmethod
    def open(cls, path: Path, *, write: bool = False) -> Ledger:
        """The run in the folder `path`, checked from its first row to its last.

        Raises FileNotFoundError if there is none, DamagedRun if a row was changed, lost or added by
        another hand, BlockingIOError if `write` and another process writes to it.
        """
        if not (path / FILE).is_file():
            raise FileNotFoundError(f"{path} holds no run: there is no {FILE} in it")
        with _hold(path) if write else contextlib.ExitStack() as held:
            ledger = cls(path, connect(path / FILE, write=write), held.pop_all())
        try:
            ledger._db.execute("begin")  # one view of a run that may be growing
            ledger._check()
            ledger._db.execute("commit")
        except sqlite3.DatabaseError as error:
            ledger.close()
            raise DamagedRun(
                f"{path / FILE} cannot be read as a run: {error}. Are {FILE}-wal and {FILE} from one run?"
            ) from None
        except DamagedRun:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Gives the file back; the ledger is not used after this."""
        with self._lock:  # a thread may be at it: closed under its hands, SQLite would take the process along
            self._close()

    def same(self, about: Mapping[str, Any]) -> None:
        """Raises ValueError, with the part that differs, unless the run says of itself what `about` says."""
        now = json.loads(to_json(about))
        if part := next((name for name in [*now, *self.about] if now.get(name) != self.about.get(name)), None):
            raise ValueError(
                f"{self.path} has {part} = {self.about.get(part)}, and this search {now.get(part)}: "
                "go on with the same, or begin another run"
            )

    # Writing.

    def commit(self, batch: Batch, added: Any, state: Commit, moved: Mapping[str, Any] | None = None) -> None:
        """A batch and how the run stands after it, as one transaction.

        moved: cells whose elite is another, for a reason that the rows of the batch do not tell, and whose it is (an
          id, -1 for nobody).
        """
        rows = rows_of(batch, added, state.number, self.about["genome"]["kind"])
        seal = sealed(self._seal, rows, state)
        marks = ", ".join("?" * (11 + batch.descriptor.shape[1]))
        with self._writing() as db:
            db.executemany(f"insert into candidates values ({marks})", rows)
            db.execute(f"insert into commits values ({', '.join('?' * 13)})", (*map(null, state), seal))
            if moved is not None:
                event = state.number + 1, "moved", to_json(moved)
                db.execute("insert into events (after, kind, value) values (?, ?, ?)", event)
        self._seal = seal

    def settle(self, state: Commit, told: Mapping[str, Any]) -> None:
        """What challenges came to and how the run stands after them, as one transaction: a commit of no candidates."""
        text = to_json(told)
        seal = sealed(self._seal, [], state, text)
        with self._writing() as db:
            db.execute(f"insert into commits values ({', '.join('?' * 13)})", (*map(null, state), seal))
            event = state.number + 1, SETTLED, text
            db.execute("insert into events (after, kind, value) values (?, ?, ?)", event)
        self._seal = seal

    def stood(self, states: Sequence[Commit]) -> None:
        """How a run without rows for its candidates stood after several steps, as one transaction."""
        seal, rows = self._seal, []
        for state in states:
            seal = sealed(seal, [], state)
            rows.append((*map(null, state), seal))
        with self._writing() as db:
            db.executemany(f"insert into commits values ({', '.join('?' * 13)})", rows)
        self._seal = seal

    def keep(self, task: int, call: int, request: Mapping[str, Any], answer: Mapping[str, Any], seconds: float) -> None:
        """An answer from outside, on disk when this returns."""
        texts = to_json(request), to_json(answer)
        mine = _Waiting(task, call, *texts, digest(*texts), seconds)
        self._waiting.append(mine)
        with self._lock:
            if not mine.done:
                self._keep_waiting()
        if mine.error is not None:
            raise mine.error

    def event(self, after: int, kind: str, value: Any) -> None:
        """Something decided from outside when `after` batches were committed."""
        with self._writing() as db:
            db.execute("insert into events (after, kind, value) values (?, ?, ?)", (after, kind, to_json(value)))

    # Reading.

    @property
    def commits(self) -> list[Commit]:
        """How the run stood after each batch, in order."""
        fields = ", ".join(Commit._fields)
        return [Commit(*map(nan, row)) for row in self._read(f"select {fields} from commits order by number")]

    def batch(self, number: int) -> Batch:
        """The candidates of one commit."""
        return batch_of(self._members(number), self.about)

    def batches(self) -> Iterator[Batch]:
        """Every commit's candidates, one commit in memory at a time."""
        for commit in self.commits:
            yield self.batch(commit.number)

    def take(self, ids: Sequence[int] | np.ndarray) -> Batch:
        """The candidates with these ids, in this order. Raises KeyError for an id that is not there."""
        wanted = [int(i) for i in ids]
        found = {row[0]: row for row in self._by_id("select * from candidates where id in ({})", wanted)}
        if missing := [i for i in wanted if i not in found]:
            raise KeyError(f"the run has no candidate {missing[0]}")
        return batch_of([found[i] for i in wanted], self.about)

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(id `[m]`, cell `[m]`, objective `[m]`, descriptor `[m, d]`) of the candidates that ever entered.

        Also of those that entered only when axes had learnt; cell and descriptor are those of their commit.
        """
        axes = self.about["axes"]
        columns = ", ".join(["id", "cell", "objective", *(f"descriptor_{axis}" for axis in range(axes))])
        later = "select json_each.value from events, json_each(events.value, '$.id') where kind = 'axes'"
        entered = f"select {columns} from candidates where status > 0 or id in ({later}) order by id"
        rows = np.array(self._read(entered), np.float64)
        rows = rows.reshape(-1, 3 + axes)
        return rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3:]

    def trials(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(id `[m]`, task `[m]`, objective `[m]`, descriptor `[m, d]`) of the candidates that are ok, in order."""
        axes = self.about["axes"]
        columns = ", ".join(["id", "task", "objective", *(f"descriptor_{axis}" for axis in range(axes))])
        rows = np.array(self._read(f"select {columns} from candidates where outcome = 'ok' order by id"), np.float64)
        rows = rows.reshape(-1, 3 + axes)
        return rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int64), rows[:, 2], rows[:, 3:]

    def outcomes(self) -> dict[str, int]:
        """How many candidates had each outcome."""
        return dict(
            self._read("select outcome, count(*) from candidates group by outcome order by count(*) desc, outcome")
        )

    def origins(self) -> list[tuple[str, int, int, int]]:
        """(origin, task, how many candidates, how many of them entered) for each origin of each task, as they came."""
        counts = "select origin, task, count(*), sum(status > 0) from candidates"
        return self._read(f"{counts} group by task, origin order by min(id)")

    def rejections(self) -> dict[str, int]:
        """How many candidates each stage of the novelty filter rejected before their evaluation."""
        stage = "coalesce(json_extract(notes, '$.novelty.stage'), 'novelty')"
        rejected = f"select {stage} stage from candidates where outcome = 'rejected'"
        return dict(
            self._read(f"select stage, count(*) from ({rejected}) group by stage order by count(*) desc, stage")
        )

    def likenesses(self) -> list[tuple[str, float, float | None]]:
        """(stage, likeness to the nearest, limit) as the novelty filter noted them; limit is None for what passed."""
        of = lambda name: f"json_extract(notes, '$.novelty.{name}')"
        noted = (
            f"select {of('stage')}, {of('likeness')}, {of('limit')} from candidates where {of('likeness')} is not null"
        )
        near = "select key, value, null from candidates, json_each(candidates.notes, '$.novelty.passed')"
        return self._read(f"{noted} union all {near}")

    def errors(self, most: int = 5) -> dict[str, int]:
        """The commonest reasons of failure, and how often each was given."""
        faults = "outcome not in ('ok', 'rejected', 'duplicate', 'skipped') and why is not null"
        failed = f"select json_extract(notes, '$.error') why from candidates where {faults}"
        grouped = f"select why, count(*) from ({failed}) group by why order by count(*) desc, why limit ?"
        return dict(self._read(grouped, most))

    def genome(self, id: int) -> Genome:
        """One candidate's genome."""
        return self.take([id]).genome[0]

    def answer(self, task: int, call: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The recorded (request, answer) of one call, or None."""
        rows = self._read("select request, answer from answers where task = ? and call = ?", task, call)
        return (json.loads(rows[0][0]), json.loads(rows[0][1])) if rows else None

    def answers(self) -> Iterator[tuple[int, int, dict[str, Any], dict[str, Any]]]:
        """Every (task, call, request, answer), in the order of tasks and calls."""
        for task, call, request, answer in self._read(
            "select task, call, request, answer from answers order by task, call"
        ):
            yield task, call, json.loads(request), json.loads(answer)

    def spent(self) -> Cost:
        """What all recorded answers cost."""
        total = NOTHING
        for (cost,) in self._read("select json_extract(answer, '$.cost') from answers"):
            known = json.loads(cost) if cost else {"calls": 1}
            total += Cost(
                **{**known, "dollars": np.nan if known.get("dollars", 0) is None else known.get("dollars", 0.0)}
            )
        return total

    def calls(self) -> dict[int, int]:
        """How many calls each task made, of those that made any."""
        count = "sum(coalesce(json_extract(answer, '$.cost.calls'), 1))"
        return dict(self._read(f"select task, {count} from answers group by task"))

    def outside_cpu(self) -> dict[int, float]:
        """CPU seconds that each task's candidates took outside this process, as `notes["cpu_seconds"]` says."""
        spent = "sum(json_extract(notes, '$.cpu_seconds'))"
        return dict(self._read(f"select task, {spent} spent from candidates group by task having spent is not null"))

    def mean_outside_cpu(self) -> float:
        """CPU seconds that a candidate took outside this process, on average; nan where none says."""
        return float(nan(self._read("select avg(json_extract(notes, '$.cpu_seconds')) from candidates")[0][0]))

    def events(self) -> list[tuple[int, str, Any]]:
        """Every (after, kind, value), in order."""
        rows = self._read("select after, kind, value from events order by number")
        return [(after, kind, json.loads(value)) for after, kind, value in rows]

    def dump(self) -> str:
        """The run in canonical form: by task and call, without times and digests.

        Equal for a run that was killed and resumed and for one that was not.
        """
        lines: list[Any] = sorted(self.about.items())
        lines += [("event", *event) for event in self.events()]
        for task, call, request, answer in self.answers():
            lines.append(
                ("answer", task, call, request, {k: v for k, v in answer.items() if k not in ("seconds", "cost")})
            )
        for row in self._read("select *, json_remove(notes, '$.cpu_seconds') from candidates order by id"):
            untimed = (*row[:_NOTES], row[-1], *row[_NOTES + 1 : -1])
            lines.append(("candidate", *(x.hex() if isinstance(x, bytes) else x for x in untimed)))
        lines += [("commit", *commit.untimed) for commit in self.commits]
        return "\n".join(json.dumps(line) for line in lines)

    # Within.

    def _keep_waiting(self) -> None:
        """Writes every answer that waits: the first of the waiting for all, as the disk takes no longer over many."""
        together = [*self._waiting]
        try:
            fault = self._keep(together)
            for answer in together:  # where they fail together, each is tried by itself, and only the guilty fails
                answer.error = self._keep([answer]) if fault and len(together) > 1 else fault
                answer.done = True
        finally:
            for _ in together:
                self._waiting.popleft()

    def _keep(self, answers: Sequence[_Waiting]) -> Exception | None:
        try:
            with self._writing() as db:
                db.executemany("insert into answers values (?, ?, ?, ?, ?, ?)", [answer.row for answer in answers])
        except (sqlite3.Error, OSError) as error:
            return error
        return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._db:
                    self._db.execute("begin immediate")
                    yield self._db
            except sqlite3.OperationalError as error:
                raise OSError(
                    f"{self.path or 'the ledger in memory'} cannot be written: {error}. Nothing committed is lost; "
                    "make room or give the folder back its permissions, and resume"
                ) from error

    def _read(self, query: str, *values: Any) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _members(self, number: int) -> list[Any]:
        """The rows of one commit, found by their ids: there is no index of tasks."""
        of = "commits join candidates on id between first and first + rows - 1 where number = ?"
        return self._read(f"select candidates.* from {of} order by id", number)

    def _by_id(self, query: str, ids: list[int]) -> Iterator[Any]:
        for i in range(0, len(ids), 500):  # SQLite bounds how many values a statement takes
            some = ids[i : i + 500]
            yield from self._read(query.format(", ".join("?" * len(some))), *some)

    def _read_about(self) -> None:
        self.about = {
            name: json.loads(value) for name, value in self._read("select name, value from about order by name")
        }
        self._seal = digest(to_json(self.about))

    def _check(self) -> None:
        version = self._read("pragma user_version")[0][0]
        if version != VERSION:
            raise DamagedRun(
                f"{self.path} was written in version {version} of the format, and this qdkit reads {VERSION}"
            )
        self._read_about()
        for number, kind, text in self._read("select number, kind, value from events"):
            if not readable(kind, text):
                raise DamagedRun(f"{self.path}: event {number} of the ledger, {kind!r}, is not as it was written")
        ids = 0
        told = dict(self._read("select after - 1, value from events where kind = ?", SETTLED))
        for number, (*state, seal) in enumerate(self._read("select * from commits order by number")):
            commit = Commit(*map(nan, state))
            rows = self._members(number)
            self._seal = sealed(self._seal, rows, commit, told.pop(number, ""))
            if (commit.number, commit.first, commit.rows) != (number, ids, len(rows)) or self._seal != seal:
                raise DamagedRun(f"{self.path}: batch {number} of the ledger is not as it was written")
            ids += len(rows)
        if told:
            raise DamagedRun(f"{self.path}: the ledger has challenges that belong to no batch")
        if self._read("select count(*) from candidates")[0][0] != ids:
            raise DamagedRun(f"{self.path}: the ledger has candidates that belong to no batch")
        for task, call, *texts, seal in self._read("select task, call, request, answer, digest from answers"):
            if digest(*texts) != seal:
                raise DamagedRun(f"{self.path}: answer {call} of task {task} in the ledger is not as it was written")


def _closed(connection: sqlite3.Connection, held: contextlib.ExitStack) -> None:
    connection.close()
    held.close()


def _free(path: Path) -> None:
    if (path / FILE).exists():
        raise FileExistsError(
            f"{path} holds a run already: go on with it (resume=True or `qdkit resume`), or name another folder"
        )


def _removed(file: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)


def connect(file: Path | None, *, write: bool = True) -> sqlite3.Connection:
    """A SQLite file of a run, in WAL mode; in memory where None. Raises OSError, or DamagedRun for any other file."""
    # Where nothing can be written, SQLite reads a file alone as immutable; but the last steps may be in its log.
    alone = file and not os.access(file.parent, os.W_OK) and not _size(Path(f"{file}-wal"))
    mode = "mode=rwc" if write else "immutable=1" if alone else "mode=ro"
    where = f"{file.absolute().as_uri()}?{mode}" if file else ":memory:"
    try:
        db = sqlite3.connect(where, uri=file is not None, isolation_level=None, check_same_thread=False, timeout=60)
    except sqlite3.OperationalError as error:
        raise OSError(f"{file} cannot be opened: {error}") from None
    try:
        if write:
            db.execute("pragma journal_mode = wal")
    except sqlite3.OperationalError as error:
        db.close()
        raise OSError(f"{file} cannot be opened: {error}") from None
    except sqlite3.DatabaseError as error:
        db.close()
        raise DamagedRun(f"{file} cannot be read as a run: {error}") from None
    return db


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _hold(path: Path) -> contextlib.ExitStack:
    """Takes the run folder for this process until the stack is closed, or the process ends."""
    held = contextlib.ExitStack()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise OSError(f"the run folder {path} cannot be written: {error.strerror}. Name one that can") from None
    held.callback(os.close, lock)
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        pass  # Windows has no flock; SQLite's own lock still refuses two writers at the same moment
    except OSError:
        held.close()
        raise BlockingIOError(
            f"another process is writing to {path}, or a search that was not closed: wait for it, call its close(), "
            "or name another folder"
        ) from None
    return held


def write_elites(path: Path, elites: Any) -> None:
    """`elites.npz` in the run's folder: the occupied cells as plain arrays, for readers without this library.

    A copy of what the ledger says, so one that cannot be written is a warning.
    """
    occupied = np.flatnonzero(elites.occupied)
    columns = {"cell": occupied, "objective": elites.objective[occupied], "descriptor": elites.descriptor[occupied]}
    columns |= {name: column[occupied] for name, column in elites.payload.items()}
    half = path / "elites.npz.part"
    try:
        with half.open("wb") as file:
            np.savez(file, **columns)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path / "elites.npz")
    except OSError as error:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        warnings.warn(f"{path / 'elites.npz'} is not up to date, it cannot be written: {error}", stacklevel=2)
