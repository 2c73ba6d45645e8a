"""What was judged of a run: every answer of a person, model or rule, in one SQLite file that only grows.

`judgements.db` lies in the run's folder, beside the ledger and apart from whatever is fitted to it. The page
of `qdkit rate` and imports write it; a search reads it at its commits. One table, `judgements`, a row each:
a `Reply`, and a digest that seals it and all before it. What was taken back keeps its row: a later one, of
the question "withdrawn", names it, and `standing` leaves both out.
"""

from __future__ import annotations

import math
import sqlite3
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from json import loads
from pathlib import Path
from typing import Any, NamedTuple

from qdkit.ledger import DamagedRun, connect
from qdkit.plain import clean, to_json
from qdkit.rows import digest, nan, null

FILE = "judgements.db"
VERSION = 1
SOURCES = ("person", "model", "rule")
WITHDRAWN = "withdrawn"
LONGEST = 4000  # characters of a rationale and of a label
NAME = 80  # characters of a rater's name, and of a token

_SCHEMA = """
create table judgements (number integer primary key, question text not null, ids text not null, answer text not null,
                         "order" text not null, rater text not null, source text not null, seconds real,
                         rationale text not null, at text not null, token text unique, digest text not null)
"""


class Reply(NamedTuple):
    """What one judge said to one question.

    number: its place in the store, from 1; 0 before it has one.
    question: "triplet" (is the first more like the second or the third? 1 or 2), "odd" (which of three is unlike the
      others? 0, 1 or 2), "pair" (which of two is better? 0 or 1; 0.5 for a tie), "ranking" (three from best to worst:
      their places in `ids`), "rating" (a number), "label" (a text), or "withdrawn".
    ids: the candidates it is about; of "withdrawn" the number of the reply that is taken back.
    answer: as the question says, places counted in `ids`; None for one that was skipped.
    order: the places in `ids` of what stood on the screen, from first to last; of ids (7, 4, 9), (0, 2, 1) is 7, 9, 4.
    rater: who.
    source: "person", "model" or "rule".
    seconds: from the question to the answer; nan where unknown.
    rationale: why, in the rater's words.
    at: when, in UTC as ISO 8601 writes it; the store fills it in where it is left out.
    token: of the question that was asked: the store keeps one reply for each. None where there is none.
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
    """The judgements on the run in the folder `path`. Any thread may call it, and any process read or write.

    Reading never makes the file: a run without one has no judgements yet.

    Raises FileNotFoundError where there is no such folder, `qdkit.ledger.DamagedRun` when it is opened, or read later,
    if a row was changed, added or taken out by another hand.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"there is no folder {self.path}: judgements lie in the folder of a run")
        self._file, self._lock = self.path / FILE, threading.RLock()
        self._readable: sqlite3.Connection | None = None
        self._writable: sqlite3.Connection | None = None
        self._checked, self._seal = 0, ""
        self.since(0)

    def add(self, reply: Reply) -> int:
        """Keeps a reply, on disk when this returns, and gives its number; that of the first where its token is known.

        Raises ValueError for what is not a reply to its question.
        """
        return self._add([reply])[0]

    def withdraw(self, number: int, rater: str) -> int:
        """Takes back the reply with this number, which must be the rater's own, and gives the number of the row.

        Raises LookupError where there is no such reply of this rater, or it is taken back already.
        """
        mine = [reply.number for reply in standing(self.since(0)) if reply.rater == rater]
        if number not in mine:
            raise LookupError(f"{rater} has no judgement {number} that could be taken back")
        return self.add(_withdrawal(number, Reply(0, WITHDRAWN, (), None, (), rater)))

    def since(self, number: int) -> list[Reply]:
        """The replies after this number, in their order, what was withdrawn and the withdrawals among them."""
        with self._lock:
            if (db := self._open()) is None:
                return []
            first = min(number, self._checked)
            try:
                rows = db.execute("select * from judgements where number > ? order by number", (first,)).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._damaged(error) from None
            for row in rows:
                if row[0] > self._checked:
                    if row[0] != self._checked + 1 or row[-1] != digest(self._seal, to_json(row[:-1])):
                        raise DamagedRun(f"{self._file}: judgement {row[0]} is not as it was written")
                    self._checked, self._seal = row[0], row[-1]
            return [_reply(row) for row in rows if row[0] > number]

    def counts(self) -> Counter[tuple[str, str]]:
        """How many judgements stand, by rater and question; those that were skipped are not counted."""
        return Counter((r.rater, r.question) for r in standing(self.since(0)) if r.answer is not None)

    @property
    def raters(self) -> list[str]:
        """Who has judged, in the order of their first replies."""
        return list(dict.fromkeys(reply.rater for reply in self.since(0)))

    def extend(self, replies: Iterable[Reply]) -> int:
        """Keeps replies from elsewhere, all or none, and gives how many were new.

        Those without a token are known by what they say, so that a file that is imported twice is stored once.
        Withdrawals name their replies by `number`, as they do where they come from.
        """
        replies = [*replies]
        named = [r if r.token else r._replace(token=digest(to_json(_texts(r)))[:32]) for r in replies]
        with self._lock:
            before = len(self.since(0))
            self._add(named, renumbered=True)
            return len(self.since(0)) - before

    def close(self) -> None:
        """Gives the file back; the store is not used after this."""
        with self._lock:
            for db in (self._readable, self._writable):
                if db is not None:
                    db.close()

    # Within.

    def _add(self, replies: Sequence[Reply], *, renumbered: bool = False) -> list[int]:
        for reply in replies:
            check(reply)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        numbers: list[int] = []
        place: dict[int, int] = {}  # of replies from elsewhere: their numbers there and here
        with self._lock:
            try:
                db = self._begun()
                with db:
                    db.execute("begin immediate")
                    last, seal = db.execute("select max(number), digest from judgements").fetchone()
                    for reply in replies:
                        if renumbered and reply.question == WITHDRAWN:
                            reply = _withdrawal(_there(place, reply), reply)
                        number = _known(db, reply)
                        if number is None:
                            number = last = (last or 0) + 1
                            row = (number, *_texts(reply._replace(at=reply.at or now)), reply.token)
                            seal = digest(seal or "", to_json(row))
                            db.execute(f"insert into judgements values ({', '.join('?' * 12)})", (*row, seal))
                        place[reply.number] = number
                        numbers.append(number)
            except sqlite3.OperationalError as error:
                raise OSError(
                    f"{self._file} cannot be written: {error}. What was kept before is not lost; make room or give the "
                    "folder back its permissions, and answer again"
                ) from error
        return numbers

    def _closed_with_this(self, db: sqlite3.Connection) -> sqlite3.Connection:
        weakref.finalize(self, db.close).atexit = False  # threads may still be at it then
        return db

    def _begun(self) -> sqlite3.Connection:
        """The file to write to, made if it is not there."""
        if self._writable is None:
            self._writable = self._closed_with_this(connect(self._file))
            with self._writable as db:
                db.execute("begin immediate")
                if not db.execute("pragma user_version").fetchone()[0]:
                    db.execute(_SCHEMA)
                    db.execute(f"pragma user_version = {VERSION}")
        return self._writable

    def _open(self) -> sqlite3.Connection | None:
        """The file to read; None as long as it is not there, or is only just being made."""
        if self._readable is None and self._file.is_file():
            db = connect(self._file, write=False)
            try:
                version = db.execute("pragma user_version").fetchone()[0]
            except sqlite3.DatabaseError as error:
                db.close()
                raise self._damaged(error) from None
            if version == VERSION:
                self._readable = self._closed_with_this(db)
                return db
            db.close()
            if version:
                raise DamagedRun(
                    f"{self._file} was written in version {version} of the format, and this qdkit reads {VERSION}"
                )
        return self._readable

    def _damaged(self, error: sqlite3.DatabaseError) -> DamagedRun:
        return DamagedRun(f"{self._file} cannot be read as judgements: {error}")


def standing(replies: Sequence[Reply]) -> list[Reply]:
    """The replies that were not taken back, without the rows that say so."""
    gone = {reply.ids[0] for reply in replies if reply.question == WITHDRAWN}
    return [reply for reply in replies if reply.question != WITHDRAWN and reply.number not in gone]


# What each question is about: how many candidates, and what may be answered.
_number = lambda answer: isinstance(answer, int | float) and not isinstance(answer, bool) and -1e300 < answer < 1e300
_places = lambda found, many: all(type(i) is int for i in found) and sorted(found) == [*range(many)]
_text = lambda text, least, most: isinstance(text, str) and least <= len(text) <= most and clean(text) == text
_one_of: Callable[..., Callable[[Any], bool]] = lambda *allowed: lambda answer: _number(answer) and answer in allowed
QUESTIONS: Mapping[str, tuple[int, Callable[[Any], bool], str]] = {
    "triplet": (3, _one_of(1, 2), "1 or 2"),
    "odd": (3, _one_of(0, 1, 2), "0, 1 or 2"),
    "pair": (2, _one_of(0, 1, 0.5), "0, 1, or 0.5 for a tie"),
    "ranking": (3, lambda a: isinstance(a, list | tuple) and _places(a, 3), "0, 1 and 2"),
    "rating": (1, _number, "a number"),
    "label": (1, lambda a: _text(a, 1, LONGEST), f"a text of at most {LONGEST} characters"),
    WITHDRAWN: (1, lambda a: False, "nothing"),
}


def check(reply: Reply) -> None:
    """Raises ValueError, with what was expected and what came, for what is not a reply to its question."""
    if reply.question not in QUESTIONS:
        raise ValueError(f"a question is one of {', '.join(QUESTIONS)}, not {reply.question!r:.60}")
    many, fits, expected = QUESTIONS[reply.question]
    whole = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**53 for i in reply.ids)
    if len(reply.ids) != many or len(set(reply.ids)) != many or not whole:
        raise ValueError(f"a {reply.question} is about {many} different ids, not {reply.ids!r:.60}")
    if reply.answer is not None and not fits(reply.answer):
        raise ValueError(f"a {reply.question} is answered with {expected}, or None to skip, not {reply.answer!r:.60}")
    if reply.question != WITHDRAWN and not _places(reply.order, many):
        raise ValueError(f"order has each place in ids once, such as {tuple(range(many))}, not {reply.order!r:.60}")
    if reply.source not in SOURCES:
        raise ValueError(f"source is one of {', '.join(SOURCES)}, not {reply.source!r:.60}")
    texts = {"rater": (reply.rater, 1, NAME), "rationale": (reply.rationale, 0, LONGEST), "at": (reply.at, 0, NAME)}
    texts |= {"token": (reply.token, 1, NAME)} if reply.token is not None else {}
    for name, (text, least, most) in texts.items():
        if not _text(text, least, most) or "\0" in text:
            raise ValueError(f"{name} is a text of {least} to {most} characters, not {text!r:.60}")
    if reply.question != WITHDRAWN and str(reply.token).startswith(_taken_back("")):
        raise ValueError(f"the token {reply.token!r:.60} is that of a withdrawal, not of a {reply.question}")
    if not isinstance(reply.seconds, int | float) or not (reply.seconds != reply.seconds or 0 <= reply.seconds < 1e300):
        raise ValueError(f"seconds is a number from 0, or nan, not {reply.seconds!r:.60}")


def _texts(reply: Reply) -> tuple[Any, ...]:
    """A reply as SQLite keeps it, without its number and token."""
    of = to_json(list(reply.ids)), to_json(reply.answer), to_json(list(reply.order))
    question, seconds = reply.question, null(float(reply.seconds))
    return question, *of, reply.rater, reply.source, seconds, reply.rationale, reply.at


def _reply(row: Sequence[Any]) -> Reply:
    number, question, ids, answer, order, rater, source, seconds, rationale, at, token, _ = row
    said = loads(answer)
    said = tuple(said) if isinstance(said, list) else said
    of = tuple(loads(ids)), said, tuple(loads(order))
    return Reply(number, question, *of, rater, source, nan(seconds), rationale, at, token)


def _known(db: sqlite3.Connection, reply: Reply) -> int | None:
    """The number of the reply that was kept for this token, if there is one."""
    rows = db.execute("select number from judgements where token = ?", (reply.token,)).fetchall()
    return rows[0][0] if rows else None


def _withdrawal(number: int, row: Reply) -> Reply:
    """The row, as one that takes back the reply with this number."""
    return row._replace(ids=(number,), token=_taken_back(number))


def _taken_back(number: object) -> str:
    """The token of the row that takes back the reply with this number: no other may have it."""
    return f"{WITHDRAWN} {number}"


def _there(place: Mapping[int, int], withdrawal: Reply) -> int:
    """The number that a reply from elsewhere has here."""
    if withdrawal.ids[0] not in place:
        raise ValueError(f"a row withdraws judgement {withdrawal.ids[0]}, and no row before it has that number")
    return place[withdrawal.ids[0]]
