"""The judgements on a run: replies of people, models and rules, in an SQLite file that only grows.

`judgements.db` lies in the run's folder, beside the ledger and apart from anything that is fitted
to it. The page of `qdkit rate` and imports write it; a search reads it at its commits. Its one
table, `judgements`, has a row for each `Reply`, with a digest that seals it and all rows before
it. A withdrawn reply keeps its row: a later row, of the question "withdrawn", names it, and
`without_withdrawn` leaves both out.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from qdkit.core.jsonable import as_utf8, digest, to_json
from qdkit.core.run_files import DamagedRun, file_kind
from qdkit.core.untrusted import parse_json
from qdkit.runs.rows import nan_to_none, none_to_nan
from qdkit.runs.sqlite_file import check_database, connect

JUDGEMENTS_FILE = "judgements.db"
_VERSION = 1
SOURCES = ("person", "model", "rule")
WITHDRAWN = "withdrawn"
LONGEST_REPLY_TEXT = 4000  # characters of a rationale and of a label
_LONGEST_NAME = 80  # characters of a rater's name, of a token and of a time

_SCHEMA = """
create table judgements (number integer primary key, question text not null, ids text not null, \
answer text not null,
                         "order" text not null, rater text not null, source text not null, \
seconds real,
                         rationale text not null, at text not null, token text unique, \
digest text not null)
"""


class Reply(NamedTuple):
    """The reply of one rater to one question.

    number: its row in the store, from 1; 0 before it is stored.
    question: "triplet" (is the first more like the second or the third? 1 or 2), "odd" (which of
      three is unlike the others? 0, 1 or 2), "pair" (which of two is better? 0 or 1; 0.5 for a
      tie), "ranking" (three from best to worst: their indices in `ids`), "rating" (a number),
      "label" (a text), or "withdrawn".
    ids: the candidates of the question; for "withdrawn" the number of the withdrawn reply.
    answer: as the question says, with indices into `ids`; None for a skipped question.
    order: the indices into `ids` of the candidates on the screen, from first to last: with ids
      (7, 4, 9), (0, 2, 1) is 7, 9, 4.
    rater: the name of the rater.
    source: "person", "model" or "rule".
    seconds: from the question to the answer; nan where unknown.
    rationale: the reason, in the rater's words.
    at: the time in UTC, in ISO 8601; the store fills it in where it is left out.
    token: identifies the question that was asked: the store keeps one reply for each. None where
      there is none.
    """

    number: int
    question: str
    ids: tuple[int, ...]
    answer: Any
    order: tuple[int, ...]
    rater: str
    source: str = "person"
    seconds: float = math.nan
    rationale: str = ""
    at: str = ""
    token: str | None = None


class Judgements:
    """The judgements on the run in the folder `path`.

    Any thread may use it, and any process may read or write. Reading never creates the file: a
    run without one has no judgements yet.

    Raises FileNotFoundError where there is no such folder. Opening and reading raise
    `qdkit.runs.ledger.DamagedRun` if another program changed, added or removed a row.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"there is no folder {self.path}: judgements lie in the folder of a run"
            )
        self._file, self._lock = self.path / JUDGEMENTS_FILE, threading.RLock()
        self._readable: sqlite3.Connection | None = None
        self._writable: sqlite3.Connection | None = None
        self._checked, self._seal = 0, ""  # the last row whose seal was checked, and its seal
        self.since(0)

    def add(self, reply: Reply) -> int:
        """Stores a reply on disk and returns its number.

        Returns the number of the first reply where one with the same token is stored already.

        Raises ValueError for an answer that does not fit the question.
        """
        return self._add([reply])[0]

    def withdraw(self, number: int, rater: str) -> int:
        """Withdraws the reply with this number and returns the number of the withdrawal.

        Raises LookupError where the rater has no such reply, or it is withdrawn already.
        """
        replies = without_withdrawn(self.since(0))
        if number not in [reply.number for reply in replies if reply.rater == rater]:
            raise LookupError(f"{rater} has no judgement {number} that could be taken back")
        return self.add(_withdrawal(number, Reply(0, WITHDRAWN, (), None, (), rater)))

    def since(self, number: int) -> list[Reply]:
        """Returns the replies after this number, with withdrawn replies and withdrawals."""
        with self._lock:
            if (db := self._connect_to_read()) is None:
                return []
            first = min(number, self._checked)
            try:
                rows = db.execute(
                    "select * from judgements where number > ? order by number", (first,)
                ).fetchall()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                raise self._damaged(error) from None
            replies = [self._checked_reply(row) for row in rows]
            return [reply for reply in replies if reply.number > number]

    def counts(self) -> Counter[tuple[str, str]]:
        """Returns the number of judgements by rater and question.

        Withdrawn replies and skipped questions are not counted.
        """
        return Counter(
            (r.rater, r.question) for r in without_withdrawn(self.since(0)) if r.answer is not None
        )

    @property
    def raters(self) -> list[str]:
        """The names of the raters, in the order of their first replies."""
        return list(dict.fromkeys(reply.rater for reply in self.since(0)))

    def extend(self, replies: Iterable[Reply]) -> int:
        """Stores replies from another store, all or none, and returns how many were new.

        A reply without a token is identified by its content, so that a file that is imported twice
        is stored once. Withdrawals name their replies by the `number` in the other store.
        """
        replies = [*replies]
        named = [
            r if r.token else r._replace(token=digest(to_json(_texts(r)))[:32]) for r in replies
        ]
        with self._lock:
            before = len(self.since(0))
            self._add(named, renumbered=True)
            return len(self.since(0)) - before

    def close(self) -> None:
        """Closes the file. The store cannot be used after this."""
        with self._lock:
            for db in (self._readable, self._writable):
                if db is not None:
                    db.close()

    # Private.

    def _checked_reply(self, row: Sequence[Any]) -> Reply:
        """Returns the reply in a row.

        Raises DamagedRun for a row that is not as it was written or holds no valid reply.
        """
        try:
            if row[0] > self._checked:
                if row[0] != self._checked + 1 or row[-1] != digest(self._seal, to_json(row[:-1])):
                    raise ValueError("it is not as it was written")
                self._checked, self._seal = row[0], row[-1]
            reply = _reply(row)
            check_reply(reply)
        except (ValueError, TypeError) as error:
            raise DamagedRun(f"{self._file}: judgement {row[0]}: {error}") from None
        return reply

    def _add(self, replies: Sequence[Reply], *, renumbered: bool = False) -> list[int]:
        for reply in replies:
            check_reply(reply)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        numbers: list[int] = []
        own_numbers: dict[int, int] = {}  # number in the other store -> number in this one
        with self._lock:
            try:
                db = self._connect_to_write()
                with db:
                    db.execute("begin immediate")
                    last, seal = db.execute(
                        "select max(number), digest from judgements"
                    ).fetchone()
                    for reply in replies:
                        if renumbered and reply.question == WITHDRAWN:
                            reply = _withdrawal(_own_number(own_numbers, reply), reply)
                        number = _number_of(db, reply)
                        if number is None:
                            number = last = (last or 0) + 1
                            row = (
                                number,
                                *_texts(reply._replace(at=reply.at or now)),
                                reply.token,
                            )
                            seal = digest(seal or "", to_json(row))
                            db.execute(
                                f"insert into judgements values ({', '.join('?' * 12)})",
                                (*row, seal),
                            )
                        own_numbers[reply.number] = number
                        numbers.append(number)
            except sqlite3.OperationalError as error:
                raise OSError(
                    f"{self._file} cannot be written: {error}. What was kept before is not lost; "
                    "make room or give the folder back its permissions, and answer again"
                ) from error
        return numbers

    def _close_with_this(self, db: sqlite3.Connection) -> sqlite3.Connection:
        """Returns `db`, which is closed once this object is collected."""
        # Not at the exit of the interpreter: threads may still use it then.
        weakref.finalize(self, db.close).atexit = False
        return db

    def _connect_to_write(self) -> sqlite3.Connection:
        """Returns the file opened for writing, and creates it if there is none."""
        if self._writable is None:
            db = connect(self._file)
            with contextlib.ExitStack() as on_error:
                on_error.callback(db.close)
                with db:
                    db.execute("begin immediate")
                    if db.execute("pragma user_version").fetchone()[0]:
                        check_database(db, self._file, [_SCHEMA])
                    else:
                        db.execute(_SCHEMA)
                        db.execute(f"pragma user_version = {_VERSION}")
                on_error.pop_all()
            self._writable = self._close_with_this(db)
        return self._writable

    def _connect_to_read(self) -> sqlite3.Connection | None:
        """Returns the file opened for reading; None while it is missing or being created."""
        if self._readable is None and file_kind(self._file):
            db = connect(self._file, write=False)
            try:
                version = db.execute("pragma user_version").fetchone()[0]
                if version == _VERSION:
                    db.execute("begin")
                    check_database(db, self._file, [_SCHEMA])
                    db.execute("commit")
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                db.close()
                raise self._damaged(error) from None
            except DamagedRun:
                db.close()
                raise
            if version == _VERSION:
                self._readable = self._close_with_this(db)
                return db
            db.close()
            if version:
                raise DamagedRun(
                    f"{self._file} was written in version {version} of the format, and this qdkit "
                    f"reads {_VERSION}"
                )
        return self._readable

    def _damaged(self, error: Exception) -> DamagedRun:
        return DamagedRun(f"{self._file} cannot be read as judgements: {error}")


def without_withdrawn(replies: Sequence[Reply]) -> list[Reply]:
    """Returns the replies without those that were withdrawn and without the withdrawals."""
    withdrawn = {reply.ids[0] for reply in replies if reply.question == WITHDRAWN}
    return [
        reply for reply in replies if reply.question != WITHDRAWN and reply.number not in withdrawn
    ]


def _is_number(answer: Any) -> bool:
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    return number and -1e300 < answer < 1e300


def _is_order(indices: Any, count: int) -> bool:
    """Returns whether `indices` has each integer from 0 to `count` - 1 once."""
    return all(type(i) is int for i in indices) and sorted(indices) == [*range(count)]


def _is_text(text: Any, least: int, most: int) -> bool:
    return isinstance(text, str) and least <= len(text) <= most and as_utf8(text) == text


def _one_of(*allowed: float) -> Callable[[Any], bool]:
    return lambda answer: _is_number(answer) and answer in allowed


# question -> (number of candidates, whether an answer is allowed, the allowed answers in words)
QUESTIONS: Mapping[str, tuple[int, Callable[[Any], bool], str]] = {
    "triplet": (3, _one_of(1, 2), "1 or 2"),
    "odd": (3, _one_of(0, 1, 2), "0, 1 or 2"),
    "pair": (2, _one_of(0, 1, 0.5), "0, 1, or 0.5 for a tie"),
    "ranking": (3, lambda a: isinstance(a, list | tuple) and _is_order(a, 3), "0, 1 and 2"),
    "rating": (1, _is_number, "a number"),
    "label": (
        1,
        lambda a: _is_text(a, 1, LONGEST_REPLY_TEXT),
        f"a text of at most {LONGEST_REPLY_TEXT} characters",
    ),
    WITHDRAWN: (1, lambda a: False, "nothing"),
}


def check_reply(reply: Reply) -> None:
    """Raises ValueError, with the expected and the actual value, for an invalid reply."""
    if reply.question not in QUESTIONS:
        raise ValueError(
            f"a question is one of {', '.join(QUESTIONS)}, not {reply.question!r:.60}"
        )
    count, is_answer, expected = QUESTIONS[reply.question]
    integers = all(
        isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**53 for i in reply.ids
    )
    if len(reply.ids) != count or len(set(reply.ids)) != count or not integers:
        raise ValueError(
            f"a {reply.question} is about {count} different ids, not {reply.ids!r:.60}"
        )
    if reply.answer is not None and not is_answer(reply.answer):
        raise ValueError(
            f"a {reply.question} is answered with {expected}, or None to skip, not "
            f"{reply.answer!r:.60}"
        )
    if reply.question != WITHDRAWN and not _is_order(reply.order, count):
        raise ValueError(
            f"order has each place in ids once, such as {tuple(range(count))}, not "
            f"{reply.order!r:.60}"
        )
    if reply.source not in SOURCES:
        raise ValueError(f"source is one of {', '.join(SOURCES)}, not {reply.source!r:.60}")
    texts = {
        "rater": (reply.rater, 1, _LONGEST_NAME),
        "rationale": (reply.rationale, 0, LONGEST_REPLY_TEXT),
        "at": (reply.at, 0, _LONGEST_NAME),
    }
    if reply.token is not None:
        texts["token"] = (reply.token, 1, _LONGEST_NAME)
    for name, (text, least, most) in texts.items():
        if not _is_text(text, least, most) or "\0" in text:
            raise ValueError(f"{name} is a text of {least} to {most} characters, not {text!r:.60}")
    if reply.question != WITHDRAWN and str(reply.token).startswith(_withdrawal_token("")):
        raise ValueError(
            f"the token {reply.token!r:.60} is that of a withdrawal, not of a {reply.question}"
        )
    if not isinstance(reply.seconds, int | float) or not (
        reply.seconds != reply.seconds or 0 <= reply.seconds < 1e300
    ):
        raise ValueError(f"seconds is a number from 0, or nan, not {reply.seconds!r:.60}")


def _texts(reply: Reply) -> tuple[Any, ...]:
    """Returns a reply as the columns of SQLite, without its number and token."""
    return (
        reply.question,
        to_json(list(reply.ids)),
        to_json(reply.answer),
        to_json(list(reply.order)),
        reply.rater,
        reply.source,
        nan_to_none(float(reply.seconds)),
        reply.rationale,
        reply.at,
    )


def _reply(row: Sequence[Any]) -> Reply:
    """Returns the reply in a row of `judgements`."""
    number, question, ids, answer, order, rater, source, seconds, rationale, at, token, _ = row
    answer, ids, order = (parse_json(text, "a field of it") for text in (answer, ids, order))
    answer = tuple(answer) if isinstance(answer, list) else answer
    return Reply(
        number,
        question,
        tuple(ids),
        answer,
        tuple(order),
        rater,
        source,
        none_to_nan(seconds),
        rationale,
        at,
        token,
    )


def _number_of(db: sqlite3.Connection, reply: Reply) -> int | None:
    """Returns the number of the stored reply with the token of `reply`, or None."""
    rows = db.execute("select number from judgements where token = ?", (reply.token,)).fetchall()
    return rows[0][0] if rows else None


def _withdrawal(number: int, row: Reply) -> Reply:
    """Returns `row` as a withdrawal of the reply with this number."""
    return row._replace(ids=(number,), token=_withdrawal_token(number))


def _withdrawal_token(number: object) -> str:
    """Returns the token of the withdrawal of a reply, which no other row may have."""
    return f"{WITHDRAWN} {number}"


def _own_number(own_numbers: Mapping[int, int], withdrawal: Reply) -> int:
    """Returns the number in this store of the reply that a withdrawal from another store names."""
    if withdrawal.ids[0] not in own_numbers:
        raise ValueError(
            f"a row withdraws judgement {withdrawal.ids[0]}, and no row before it has that number"
        )
    return own_numbers[withdrawal.ids[0]]
