"""Opens the SQLite files of a run, which may come from a stranger.

SQLite reads its schema from the file, and a schema is code: a view in the place of a table can
count forever, a trigger or a generated column can call functions. Pages can refer to each other in
circles. So a file is used only once its schema equals, word for word, the one that this package
writes, and its trees are checked; until then SQLite may take a limited number of steps. See
https://sqlite.org/security.html.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qdkit.core.run_files import DamagedRun, check_plain, create_private, file_kind, open_plain

_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # the end of a journal of several databases
_WAL_SUFFIXES = ("-wal", "-shm")  # of the files that SQLite keeps beside a file in WAL mode
_LARGEST = 1 << 28  # bytes of a value and of a row
_STEPS_PER_CALL = 10_000  # steps of SQLite's machine between two calls of the progress handler
_STEPS = 2_000_000  # that the check of an empty file may take
_STEPS_PER_BYTE = 40  # additional steps for each byte of the file
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _LARGEST,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
}


def connect(file: Path | None, *, write: bool = True) -> sqlite3.Connection:
    """Opens an SQLite file of a run, in WAL mode; a database in memory where `file` is None.

    The content is not checked: see `check_database`.

    Raises OSError, and DamagedRun for anything but a plain file of SQLite in the folder.
    """
    if file is not None:
        _check_files(file, write=write)
    if file is not None and write and not file_kind(file):
        with contextlib.suppress(FileExistsError):  # another process creates it at this moment
            create_private(file)
    # In a folder that cannot be written, SQLite reads a file only as immutable, without its log.
    # The last steps may be in the log, so this is for a file without one.
    immutable = file and not os.access(file.parent, os.W_OK) and not _size(Path(f"{file}-wal"))
    mode = "mode=rw" if write else "immutable=1" if immutable else "mode=ro"
    database = f"{file.absolute().as_uri()}?{mode}" if file else ":memory:"
    try:
        db = sqlite3.connect(
            database,
            uri=file is not None,
            isolation_level=None,
            check_same_thread=False,
            timeout=60,
        )
    except sqlite3.OperationalError as error:
        raise OSError(f"{file} cannot be opened: {error}") from None
    try:
        for limit, most in _LIMITS.items():
            db.setlimit(limit, most)
        last = "journal_mode = wal" if write else "query_only = on"
        with limited_steps(db, file):
            for setting in ("trusted_schema = off", "cell_size_check = on", "mmap_size = 0", last):
                db.execute(f"pragma {setting}")
    except sqlite3.OperationalError as error:
        db.close()
        raise OSError(f"{file} cannot be opened: {error}") from None
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        db.close()
        raise DamagedRun(f"{file} cannot be read as a run: {error}") from None
    return db


def _check_files(file: Path, *, write: bool) -> None:
    """Raises DamagedRun unless the file and those of SQLite beside it are plain files."""
    for suffix in ("", *_WAL_SUFFIXES):
        # Readers write to the files beside it, too.
        check_plain(Path(f"{file}{suffix}"), write=write or suffix != "")
    journal = Path(f"{file}-journal")
    if file_kind(journal) and _last_bytes(journal) == _SUPER_JOURNAL:
        # SQLite removes the file that such a journal names, wherever it is.
        raise DamagedRun(f"{journal} names another file, which no run does: take it away")


def _last_bytes(file: Path) -> bytes:
    """Returns the last bytes of a file; b"" if another process removes it."""
    try:
        with open_plain(file) as opened:
            opened.seek(-min(len(_SUPER_JOURNAL), _size(file)), os.SEEK_END)
            return opened.read()
    except FileNotFoundError:
        return b""


def check_database(db: sqlite3.Connection, file: Path, schema: Sequence[str]) -> None:
    """Raises DamagedRun unless a file has exactly the tables of these statements, undamaged.

    Within a transaction, the check covers everything that is read in it.
    """
    try:
        with limited_steps(db, file):
            pages, size = (
                db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size")
            )
            if pages * size > _size_with_log(file) + size:
                raise DamagedRun(f"{file} says that it is larger than it is")
            if (tables := _tables(db)) != (expected := _tables_of(schema)):
                different = sorted({name for _, name, *_ in set(tables) ^ set(expected)})
                raise DamagedRun(
                    f"{file} cannot be read as a run, which has no such tables: "
                    f"{', '.join(different)[:200]}"
                )
            if (message := db.execute("pragma quick_check(1)").fetchone()[0]) != "ok":
                raise DamagedRun(f"{file} is damaged: {message:.200}")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise DamagedRun(f"{file} cannot be read as a run: {error}") from None


@contextlib.contextmanager
def limited_steps(db: sqlite3.Connection, file: Path | None) -> Iterator[None]:
    """A scope with a limit on the steps of SQLite, by the size of the file.

    SQLite raises OperationalError where an undamaged file would need fewer.
    """
    left = _STEPS + _STEPS_PER_BYTE * _size_with_log(file)

    def count_steps() -> int:
        nonlocal left
        left -= _STEPS_PER_CALL
        return int(left < 0)

    db.set_progress_handler(count_steps, _STEPS_PER_CALL)
    try:
        yield
    finally:
        db.set_progress_handler(None, 0)


def _tables(db: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Returns the statements of a schema, without regard to blanks and capitals."""
    rows = db.execute("select type, name, tbl_name, sql from sqlite_master limit 100").fetchall()
    return sorted((*row[:3], " ".join(str(row[3] or "").split()).lower()) for row in rows)


def _tables_of(schema: Sequence[str]) -> list[tuple[Any, ...]]:
    """Returns what `_tables` returns of a database that these statements create."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        for statement in schema:
            db.execute(statement)
        return _tables(db)


def _size_with_log(file: Path | None) -> int:
    return _size(file) + _size(Path(f"{file}-wal")) if file else 0


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
