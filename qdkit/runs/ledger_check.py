"""Checks a ledger: its tables, its seals from the first row to the last, and its values."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdkit.core.jsonable import digest, to_json
from qdkit.core.run_files import DamagedRun
from qdkit.core.types import Outcome
from qdkit.core.untrusted import (
    MAX_AXES,
    MAX_CANDIDATES,
    MAX_COUNT,
    array_bytes,
    check_about,
    check_event,
    decode_json,
    is_count,
    parse_json,
    parse_notes,
)
from qdkit.runs.rows import (
    REEVALUATION_EVENT,
    UNSEALED,
    VERSION,
    Commit,
    none_to_nan,
    schema,
    seal_commit,
    seal_event,
)
from qdkit.runs.sqlite_file import check_database, limited_steps

_NOTES = 10  # the index of the column `notes` of candidates
_TEXT_COLUMNS = ("origin", "parents", "outcome", "notes")
_PARENTS = re.compile(r"\[(\d{1,10}(, \d{1,10})*)?\]")


@dataclass
class CheckedLedger:
    """A ledger that passed the check, and the ends of its chains of seals.

    version: of the format. about: the settings of the run.
    seal, commits: the seal of the last commit, and the number of commits.
    event_seal, events: the same of events.
    """

    version: int
    about: dict[str, Any]
    seal: str
    commits: int = 0
    event_seal: str = ""
    events: int = 0


def check_ledger(db: sqlite3.Connection, path: Path, file: Path) -> CheckedLedger:
    """Checks the ledger in `file` of the run in the folder `path`, within a transaction.

    Raises DamagedRun, with the part, where a row is not as it was written or has values that no
    run has, sqlite3.DatabaseError where SQLite cannot read it. Time and memory are proportional to
    the size of the file.
    """
    try:
        return _Check(db, path, file).result
    except UnicodeDecodeError as error:  # in SQLite's message about a schema that it cannot read
        raise DamagedRun(f"{file} cannot be read as a run: {error}") from None
    except DamagedRun as error:
        raise error if str(path) in str(error) else DamagedRun(f"{path}: {error}") from None


class _Check:
    """The check of one ledger; `result` is the checked ledger."""

    def __init__(self, db: sqlite3.Connection, path: Path, file: Path):
        self._db, self._path = db, path
        version = db.execute("pragma user_version").fetchone()[0]
        if version not in (UNSEALED, VERSION):
            raise DamagedRun(
                f"{path} was written in version {version} of the format, and this qdkit reads "
                f"{UNSEALED} and {VERSION}"
            )
        with limited_steps(db, file):
            axes = self._count_axes()
        check_database(db, file, schema(axes, version))
        with limited_steps(db, file):
            self.result = self._check_about(version, axes)
            self._check_columns()
            self._check_commits(self._check_events())
            self._check_answers()

    def _count_axes(self) -> int:
        """Returns the number of descriptor columns in the statement that created the table."""
        query = "select sql from sqlite_master where name = 'candidates' limit 1"
        statement = self._db.execute(query).fetchone() or ("",)
        return min(len(re.findall(r"\bdescriptor_\d+ real", str(statement[0]))), MAX_AXES)

    def _check_about(self, version: int, axes: int) -> CheckedLedger:
        rows = self._db.execute("select name, value from about order by name").fetchall()
        about = {
            name: parse_json(value, f"what the run says of its {name!s:.40}")
            for name, value in rows
        }
        if not all(isinstance(name, str) for name in about):
            raise DamagedRun("the run says something of itself that has no name")
        check_about(about)
        if about["axes"] != axes:
            raise DamagedRun(
                f"the run says that it has {about['axes']} axes, and its table {axes}"
            )
        return CheckedLedger(version, about, digest(to_json(about)))

    def _check_columns(self) -> None:
        """Checks the columns as far as SQL can."""
        for table, key, conditions in (
            ("candidates", "id", _candidate_conditions(self.result.about)),
            ("commits", "number", _commit_conditions()),
        ):
            query = f"select {key} from {table} where not ({' and '.join(conditions)}) limit 1"
            if row := self._db.execute(query).fetchone():
                name = "batch" if table == "commits" else "candidate"
                raise DamagedRun(f"{name} {row[0]} of the ledger is not as it was written")

    def _check_events(self) -> dict[int, str]:
        """Checks the value of each event, and returns the results of re-evaluations by commit."""
        results = {}
        query = "select number, after, kind, value from events order by number"
        for number, after, kind, text in self._db.execute(query):
            if not (is_count(after, least=kind in ("moved", "axes")) and isinstance(kind, str)):
                raise DamagedRun(f"event {number} of the ledger is not as it was written")
            value = decode_json(text, f"event {number} of the ledger, {kind!r:.40},")
            check_event(number, kind, value, self.result.about)
            if kind == REEVALUATION_EVENT:
                results[after - 1] = text
        return results

    def _check_commits(self, reevaluations: dict[int, str]) -> None:
        """Checks the seals of commits and events, in the order in which they were written.

        reevaluations: the results of re-evaluations by commit.
        """
        result, ids = self.result, 0
        events = self._sealed_events()
        event = next(events, None)
        commits = self._db.execute("select * from commits order by number").fetchall()
        for number, (*state, seal) in enumerate(commits):
            event = self._check_earlier_events(event, events)
            commit = Commit(*map(none_to_nan, state))
            rows = self._candidate_rows(commit)
            text = reevaluations.pop(number, "")
            result.seal = seal_commit(result.seal, rows, commit, text, result.event_seal)
            expected = number, ids, len(rows)
            if (commit.number, commit.first, commit.rows) != expected or result.seal != seal:
                raise DamagedRun(f"batch {number} of the ledger is not as it was written")
            ids += len(rows)
            _check_rows(rows, number, ids)
            result.commits = number + 1
        if self._check_earlier_events(event, events) is not None:
            raise DamagedRun("the ledger has events that are later than its last batch")
        if reevaluations:
            raise DamagedRun("the ledger has re-evaluations that belong to no batch")
        if self._db.execute("select count(*) from candidates").fetchone()[0] != ids:
            raise DamagedRun("the ledger has candidates that belong to no batch")

    def _sealed_events(self) -> Iterator[Any]:
        if self.result.version == UNSEALED:
            return iter(())
        columns = "number, after, kind, value, commits, digest"
        return iter(self._db.execute(f"select {columns} from events order by number"))

    def _check_earlier_events(self, event: Any, events: Iterator[Any]) -> Any:
        """Checks the seals of the events before the next commit, and returns the next event.

        event: the first event to check, or None. events: those after it.
        """
        result = self.result
        while event is not None and event[4] == result.commits:
            *row, seal = event
            result.event_seal = seal_event(result.event_seal, result.seal, row)
            result.events += 1
            if (row[0], result.event_seal) != (result.events, seal):
                raise DamagedRun(
                    f"event {row[0]} of the ledger, {row[2]!r:.40}, is not as it was written"
                )
            event = next(events, None)
        return event

    def _candidate_rows(self, commit: Commit) -> list[Any]:
        ids = commit.first, commit.first + commit.rows - 1
        query = "select * from candidates where id between ? and ? order by id"
        return self._db.execute(query, ids).fetchall()

    def _check_answers(self) -> None:
        query = "select task, call, request, answer, digest from answers"
        for task, call, *texts, seal in self._db.execute(query):
            if not all(isinstance(text, str) for text in texts) or digest(*texts) != seal:
                raise DamagedRun(
                    f"answer {call} of task {task} in the ledger is not as it was written"
                )


def _candidate_conditions(about: Mapping[str, Any]) -> list[str]:
    """Returns the conditions that each row of `candidates` meets, in SQL."""
    kind, cells = about["genome"], about["cells"]
    stored = {"array": "blob", "bytes": "blob"}.get(kind["kind"], "text")
    numbers = ["objective", *(f"descriptor_{axis}" for axis in range(about["axes"]))]
    columns = {"integer": ("task", "status", "cell"), "text": _TEXT_COLUMNS}
    conditions = [f"id between 0 and {MAX_CANDIDATES - 1}"]
    conditions += [
        f"typeof({name}) = '{dtype}'" for dtype, names in columns.items() for name in names
    ]
    conditions += [f"typeof({name}) in ('real', 'null')" for name in numbers]
    outcomes = ", ".join(f"'{outcome}'" for outcome in Outcome)
    conditions += ["typeof(features) in ('text', 'null')", f"typeof(genome) = '{stored}'"]
    if kind["kind"] == "array":
        conditions.append(f"length(genome) = {array_bytes(kind['dtype'], kind['shape'])}")
    return [
        *conditions,
        f"outcome in ({outcomes})",
        "status between -99 and 99",
        f"cell between -1 and {cells - 1}",
        "(status <= 0 or (cell >= 0 and objective is not null and abs(objective) < 9e999))",
    ]


def _commit_conditions() -> list[str]:
    """Returns the conditions that each row of `commits` meets, in SQL."""
    integers = ("first", "rows", "evaluations", "clipped", "refused")
    numbers = ("coverage", "qd_score", "best", "parents")
    return [
        *(f"typeof({name}) = 'integer' and {name} between 0 and {MAX_COUNT}" for name in integers),
        *(f"typeof({name}) in ('real', 'null')" for name in numbers),
        *(f"typeof({name}) = 'real' and {name} between 0 and 1e18" for name in ("seconds", "cpu")),
    ]


def _check_rows(rows: Sequence[Any], number: int, ids: int) -> None:
    """Checks what SQL cannot check of the candidates of a commit.

    number: of the commit. ids: one more than the id of its last candidate.
    """
    for row in rows:
        id, task, parents, notes_text = row[0], row[1], row[3], row[_NOTES]
        match = _PARENTS.fullmatch(parents)
        if (
            match is None
            or task != number
            or any(int(p) >= ids for p in (match[1] or "0").split(", "))
        ):
            raise DamagedRun(f"candidate {id} of the ledger is not as it was written")
        if notes_text != "{}":
            parse_notes(notes_text, f"the notes of candidate {id}")
