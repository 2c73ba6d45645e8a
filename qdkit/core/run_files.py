"""Safe reading and writing of files in a run's folder, which may come from a stranger.

In such a folder `overview.png` may be a link to a file elsewhere, or `lock` a pipe at which an
open waits for ever. So a file is written under a new name and renamed over the old one, and a
file is read only if it is a plain file of the folder itself. The folder may be a link, as its user
named it. The package writes every file with this module, except `run.db` and `judgements.db`:
SQLite writes them after `check_plain`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PRIVATE = 0o600  # the mode of files of a run: prompts, answers and notes are private
_PUBLIC = 0o666  # the mode of pictures and exports, less the umask
_PARTIAL = ".part"  # the suffix of a file that is not complete
_NO_FOLLOW = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
_BINARY = getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class DamagedRun(RuntimeError):
    """A run folder is damaged; the message names the part."""


@contextlib.contextmanager
def atomic_write(path: Path, mode: int = _PUBLIC) -> Iterator[IO[bytes]]:
    """A context with a binary file that replaces `path` once it is complete and on disk.

    A link at `path` is replaced, and its target stays unchanged. After an error `path` is as it
    was before. Raises OSError if the file cannot be written, also for a folder, a pipe or a device
    at `path`.
    """
    kind = file_kind(path)
    if kind not in ("", "a file", "a symbolic link"):
        raise OSError(errno.EINVAL, f"{kind} is in its place", str(path))
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW | _BINARY
    descriptor = os.open(partial, flags, mode)
    with contextlib.ExitStack() as on_error:
        on_error.callback(lambda: partial.unlink(missing_ok=True))
        with open(descriptor, "wb") as file:
            if mode == PRIVATE and hasattr(os, "fchmod"):
                os.fchmod(descriptor, PRIVATE)  # a umask may remove rights of the owner
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        on_error.pop_all()


def write_text(path: Path, text: str, mode: int = _PUBLIC) -> None:
    """Writes a text as UTF-8; see `atomic_write`."""
    with atomic_write(path, mode) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def open_plain(path: Path) -> Iterator[IO[bytes]]:
    """A context with a plain file of a run's folder, to read as bytes.

    Raises DamagedRun for a link, a pipe or a device in its place.
    """
    check_plain(path)
    with open(os.open(path, os.O_RDONLY | _NO_FOLLOW | _BINARY), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DamagedRun(f"{path} is no plain file")
        yield file


def create_private(path: Path) -> None:
    """Creates an empty file that only its owner can read, for SQLite.

    Raises FileExistsError if the file exists.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_FOLLOW, PRIVATE)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, PRIVATE)
    os.close(descriptor)


def check_plain(path: Path, *, write: bool = False) -> None:
    """Raises DamagedRun unless `path` is a plain file or does not exist.

    write: whether the file will be written; then a hard link raises too.
    """
    kind = file_kind(path)
    if kind not in ("", "a file"):
        raise DamagedRun(
            f"{path} is {kind}, and the files of a run lie in its folder: put the file itself "
            "there"
        )
    if write and kind and os.lstat(path).st_nlink > 1:
        raise DamagedRun(
            f"{path} has a second name elsewhere (a hard link), which would be written to as "
            "well: copy the folder (cp -r), and go on with the copy"
        )


def open_lock(path: Path) -> int:
    """Opens the lock file `path`, which is created if it does not exist. Returns its descriptor.

    Raises OSError for anything but a plain file.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | _NO_FOLLOW, PRIVATE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "its lock is no plain file", str(path))
    return descriptor


def remove_partial(folder: Path, name: str) -> None:
    """Removes the partial files of `name` that a killed process left.

    The caller must hold the lock of the folder.
    """
    for partial in folder.glob(f"{name}*{_PARTIAL}"):
        with contextlib.suppress(OSError):
            partial.unlink()  # removes a link, not its target


def file_kind(path: Path) -> str:
    """Returns the kind of file at a path, such as "a file" or "a symbolic link"; "" for none."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "a file")
