"""Run folders as somebody who means harm would write them: sealed again after every change, and
mutated at random.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from qdkit.core.jsonable import digest, to_json
from qdkit.runs.rows import (
    REEVALUATION_EVENT,
    UNSEALED,
    Commit,
    none_to_nan,
    seal_commit,
    seal_event,
)

NUMBERS = (
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    10**10,
    0.5,
    float("inf"),
    -float("inf"),
    1e300,
)
DEEP = ("[" * 1100, "[" * 1100 + "]" * 1100, '{"a":' * 300 + "1" + "}" * 300)
TEXTS = (
    "",
    "x",
    "\0",
    "[]",
    "{}",
    "null",
    "NaN",
    "[1e999]",
    "1" * 5000,
    "é" * 50,
    "[-1]",
    "[0, 99999999999]",
)
NOTED = ('{"judged":5}', '{"novelty":{"passed":[1]}}', '{"cpu_seconds":"x"}')
VALUES = (None, *NUMBERS, *DEEP, *TEXTS, *NOTED, b"", b"\xff" * 9)
JSONS = (
    None,
    True,
    -1,
    0,
    10**10,
    10**400,
    1.5,
    "",
    "x",
    "os:system",
    [],
    {},
    [[]],
    [None],
    {"is": "x"},
    [1] * 50,
    "\ud800",
)


def resealed(path: Path) -> None:
    """Makes every seal of a run anew, as far as what is there can be sealed at all."""
    with sqlite3.connect(path / "run.db") as db:
        version = db.execute("pragma user_version").fetchone()[0]
        about = {
            name: json.loads(value)
            for name, value in db.execute("select name, value from about order by name")
        }
        seal, event_seal, made, known = digest(to_json(about)), "", 0, 0
        settled = dict(
            db.execute("select after - 1, value from events where kind = ?", (REEVALUATION_EVENT,))
        )
        events = [] if version == UNSEALED else db.execute(_EVENTS).fetchall()
        for number, (*state, _) in enumerate(
            [*db.execute("select * from commits order by number"), (None,) * 13]
        ):
            while made < len(events) and events[made][4] == known:
                event_seal = seal_event(event_seal, seal, events[made])
                db.execute(
                    "update events set digest = ? where number = ?", (event_seal, events[made][0])
                )
                made += 1
            if state[0] is None:
                break
            commit = Commit(*map(none_to_nan, state))
            between = commit.first, commit.first + commit.rows - 1
            rows = db.execute(
                "select * from candidates where id between ? and ? order by id", between
            ).fetchall()
            seal = seal_commit(seal, rows, commit, settled.get(number, ""), event_seal)
            db.execute("update commits set digest = ? where number = ?", (seal, commit.number))
            known = number + 1
        for task, call, *texts in db.execute(
            "select task, call, request, answer from answers"
        ).fetchall():
            db.execute(
                "update answers set digest = ? where task = ? and call = ?",
                (digest(*texts), task, call),
            )
    db.close()


_EVENTS = "select number, after, kind, value, commits from events order by number"


def forged(path: Path, *statements: str, values: tuple = ()) -> Path:
    """A run after these statements, sealed again."""
    with sqlite3.connect(path / "run.db") as db:
        for statement in statements:
            db.execute(statement, values if "?" in statement else ())
    db.close()
    resealed(path)
    return path


def told(path: Path, name: str, change) -> Path:
    """A run that says something else of itself."""
    with sqlite3.connect(path / "run.db") as db:
        value = json.loads(
            db.execute("select value from about where name = ?", (name,)).fetchone()[0]
        )
        db.execute("update about set value = ? where name = ?", (json.dumps(change(value)), name))
    db.close()
    resealed(path)
    return path


def mutated(path: Path, random) -> str:
    """Changes one thing in a run's folder, and says which. Most changes are sealed again."""
    kind = random.choice(["bytes", "row", "json", "json", "npz"])
    files = [file for file in (path / "scan.npz", path / "judgements.db") if file.exists()]
    if kind in ("bytes", "npz"):
        file = random.choice(files) if kind == "npz" and files else path / "run.db"
        data = bytearray(file.read_bytes())
        for _ in range(random.choice([1, 3, 30])):
            data[random.randrange(len(data))] = random.choice([0, 255, random.randrange(256)])
        if random.random() < 0.2:
            data = data[: random.randrange(len(data))]
        file.write_bytes(data)
        return f"bytes of {file.name}"
    with sqlite3.connect(path / "run.db") as db:
        what = _row(db, random) if kind == "row" else _json(db, random)
    db.close()
    try:
        resealed(path)
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        AttributeError,
        sqlite3.Error,
    ) as error:
        return f"{what}, not sealed ({error!r:.60})"
    return what


def _row(db, random) -> str:
    table = random.choice(["about", "commits", "candidates", "answers", "events"])
    columns = [row[1] for row in db.execute(f"pragma table_info({table})")]
    column, value = random.choice(columns), random.choice(VALUES)
    some = db.execute(f"select rowid from {table} order by random() limit 1").fetchall()
    rows = db.execute(f"select rowid from {table}").fetchall()
    if not some:
        return "nothing"
    (row,) = random.choice(rows)
    try:
        db.execute(f"update {table} set {column} = ? where rowid = ?", (value, row))
    except (sqlite3.Error, OverflowError):
        return "nothing"
    return f"{table}.{column} of {row} = {value!r:.40}"


def _json(db, random) -> str:
    places = [
        ("about", "value", "1"),
        ("events", "value", "1"),
        ("candidates", "notes", "1"),
        ("answers", "answer", "1"),
    ]
    table, column, _ = random.choice([*places, places[0], places[1]])
    rows = db.execute(f"select rowid, {column} from {table}").fetchall()
    if not rows:
        return "nothing"
    row, text = random.choice(rows)
    value = json.loads(text)
    holder, at = {"": value}, ""
    where = []
    while isinstance(holder[at], dict | list) and holder[at] and random.random() < 0.85:
        holder = holder[at]
        at = (
            random.choice([*holder]) if isinstance(holder, dict) else random.randrange(len(holder))
        )
        where.append(str(at))
    if not where:
        holder, at = (
            value if isinstance(value, dict) else {"": value},
            random.choice([*value]) if isinstance(value, dict) and value else "",
        )
    if random.random() < 0.2 and isinstance(holder, dict) and at in holder:
        del holder[at]
    else:
        holder[at] = random.choice(JSONS)
    try:
        db.execute(f"update {table} set {column} = ? where rowid = ?", (json.dumps(value), row))
    except (sqlite3.Error, ValueError):
        return "nothing"
    return f"{table}.{column} of {row}: {'/'.join(where)}"
