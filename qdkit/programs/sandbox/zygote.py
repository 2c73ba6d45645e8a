"""The parent's side of a zygote, a process that starts once and runs programs one by one.

Each evaluation has pipes of its own and ends when the kernel reports the end of the process, not
when a pipe is closed, so nothing that one candidate sends can be mistaken for another's. A
candidate that exceeds a limit is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from qdkit.programs.sandbox import interpreter, syscalls
from qdkit.programs.sandbox.inside import serve, users, walls
from qdkit.programs.sandbox.inside.descendants import kill_descendants
from qdkit.programs.sandbox.packages import Packages
from qdkit.programs.sandbox.start_process import MARK, start, wait_readable

_START_SECONDS = 60.0  # in which a zygote has to preload its modules
_REAP_SECONDS = 10.0  # in which a zygote has to notice that a killed candidate is dead
THREADS = 256  # the most threads of one candidate
_CHUNK = 1 << 16


@dataclass(frozen=True)
class CandidateLimits:
    """The limits of one candidate, in seconds and bytes; CPU seconds are whole numbers."""

    seconds: float
    cpu_seconds: int
    memory: int
    output: int
    scratch: int


class ProcessEnd(NamedTuple):
    """How a candidate's process ended.

    result: all that it sent, of which no byte can be trusted.
    output: all that it printed, which cannot be trusted either.
    status: as from `os.wait`.
    overrun: the limit for which it was killed, "seconds", "result" or "output"; "" if it ended by
      itself.
    seconds, cpu_seconds: wall time and CPU time.
    """

    result: bytes
    output: bytes
    status: int
    overrun: str
    seconds: float
    cpu_seconds: float


class ZygoteLost(Exception):
    """A zygote did not start, or it is gone; the result of its candidate is unknown."""


class Zygote:
    """One process that forks candidates; raises ZygoteLost if it cannot be started.

    Call `greet` once, then `run` any number of times, from one thread at a time. Any thread may
    call `kill` at any time; the thread in `run` then gets ZygoteLost, and has to call `close`.

    threads: after `greet`, whose threads count towards the limit, see `inside.users.Threads`.
    handle: the descriptor of the process, -1 once it is closed.
    """

    def __init__(
        self, level: str, limits: CandidateLimits, preload: Sequence[str], packages: Packages
    ):
        self.level = level
        self.limits = limits
        self.threads = ""
        self.handle = self._candidate = -1
        self._lock = threading.RLock()  # guards the descriptors that `kill` uses
        self._settings = _settings(level, limits, preload, packages)
        self._mark = secrets.token_hex(16)
        self._errors = os.memfd_create("words", os.MFD_CLOEXEC)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self.process, self.handle = start(
                    level, packages.paths, theirs.fileno(), self._errors, self._mark
                )
        except (OSError, ValueError) as error:
            printed = self._printed_errors()
            self.control.close()
            os.close(self._errors)
            raise ZygoteLost(f"it cannot be started: {error}. {printed}") from None

    def greet(self) -> None:
        """Sends the settings and waits until all is preloaded. Raises ZygoteLost if that fails."""
        self.control.settimeout(_START_SECONDS)
        settings = _as_file(json.dumps({**self._settings, "users": self._users()}).encode())
        caller = os.pidfd_open(os.getpid())
        try:
            socket.send_fds(self.control, [b"settings"], [settings, caller])
            answer = self.control.recv(4096)
        except OSError as error:
            raise ZygoteLost(f"it does not answer: {error}. {self._printed_errors()}") from None
        finally:
            os.close(settings)
            os.close(caller)
        if not answer.startswith(serve.READY):
            raise ZygoteLost(answer.decode(errors="replace") or self._printed_errors())
        self.threads = answer.removeprefix(serve.READY).decode()

    def _users(self) -> list[int]:
        """Returns the users to which a zygote that root starts changes, the best first.

        Root has no limit of threads.
        """
        if os.geteuid() != 0 or self.level == "none":
            return []
        if self.level == "bubblewrap":
            return [1]
        return [users.private_user(self.process.pid), users.NOBODY]

    def _printed_errors(self) -> str:
        """Returns the end of what it printed before it was ready."""
        size = os.fstat(self._errors).st_size
        return os.pread(self._errors, 2000, max(0, size - 2000)).decode(errors="replace").strip()

    def run(self, message: bytes) -> ProcessEnd:
        """Runs the program of a message (see `inside.program`), and returns how it ended.

        Raises ZygoteLost if the zygote itself is gone.
        """
        began = time.monotonic()
        (result, theirs), (output, printed) = os.pipe(), os.pipe()
        try:
            try:
                job = _as_file(message)
                try:
                    child = self._fork(job, theirs, printed)
                finally:
                    os.close(job)
            finally:
                os.close(theirs)
                os.close(printed)
            self._candidate = child
            try:
                sent, text, overrun = _follow(child, result, output, self.limits, began)
            finally:
                with self._lock:
                    self._candidate = -1
                    os.close(child)
        finally:
            os.close(result)
            os.close(output)
        seconds = time.monotonic() - began
        status, cpu_seconds = self._child_status(seconds)
        return ProcessEnd(sent, text, status, overrun, seconds, cpu_seconds)

    def _fork(self, *descriptors: int) -> int:
        """Sends the descriptors of a job to the zygote; returns the handle of the forked child."""
        self.control.settimeout(_REAP_SECONDS)
        if wait_readable(self.control.fileno(), 0):
            raise ZygoteLost("it has ended, or has sent an unexpected message")
        try:
            socket.send_fds(self.control, [b"run"], descriptors)
            answer, handles, _, _ = socket.recv_fds(self.control, 16, 4, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise ZygoteLost(f"it does not answer: {error}") from None
        if answer == b"started" and len(handles) == 1 and _is_process(handles[0]):
            return handles[0]
        for handle in handles:
            os.close(handle)
        raise ZygoteLost("it ended" if not answer else "it sent an invalid answer")

    def _child_status(self, seconds: float) -> tuple[int, float]:
        """Returns the wait status and the CPU seconds of a child that ran for `seconds`.

        Waits until the zygote has reaped the child.
        """
        try:
            status, used = serve.STATUS.unpack(self.control.recv(1 + serve.STATUS.size))
        except (OSError, struct.error) as error:
            raise ZygoteLost(f"it ended with its candidate: {error}") from None
        most = (seconds + _REAP_SECONDS) * (os.cpu_count() or 1)
        ended = 0 <= status <= 0xFFFF and (os.WIFEXITED(status) or os.WIFSIGNALED(status))
        if not ended or not 0 <= used <= most:
            raise ZygoteLost(
                f"it reported an impossible end: status {status}, {used} s of CPU time"
            )
        return status, used

    def kill(self) -> None:
        """Kills the zygote, the candidate it holds and all that either has started."""
        with self._lock:
            with contextlib.suppress(OSError):  # closed already
                self.control.shutdown(socket.SHUT_RDWR)
            if self.handle < 0:
                return
            if self.level == "none":  # the zygote adopts orphans, so it is killed last
                kill_descendants(self.process.pid, _REAP_SECONDS, f"{MARK}={self._mark}".encode())
            handles = [handle for handle in (self._candidate, self.handle) if handle >= 0]
            for handle in handles:
                _kill(handle)
            for handle in handles:
                wait_readable(handle, _REAP_SECONDS)

    def close(self) -> None:
        """Ends the zygote and its candidate and frees all resources; for the thread of `run`."""
        self.kill()
        with self._lock:
            if self.handle < 0:
                return
            os.close(self.handle)
            self.handle = -1
        self.control.close()
        os.close(self._errors)
        self.process.kill()
        self.process.wait()


def _as_file(data: bytes) -> int:
    """Returns a descriptor of a file in memory that holds `data`, at its beginning."""
    file = os.memfd_create("data", os.MFD_CLOEXEC)
    try:
        with os.fdopen(file, "wb", closefd=False) as writer:
            writer.write(data)
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


def _is_process(handle: int) -> bool:
    """Whether a descriptor refers to a process, which may have ended."""
    try:
        signal.pidfd_send_signal(handle, 0)
    except (ProcessLookupError, PermissionError):
        return True
    except OSError:
        return False
    return True


def _settings(
    level: str, limits: CandidateLimits, preload: Sequence[str], packages: Packages
) -> dict[str, Any]:
    """Returns the settings of a zygote, as JSON values."""
    confined = level != "none"
    scratch = limits.scratch if level == "bubblewrap" else 0
    most = {
        "AS": limits.memory,
        "CPU": limits.cpu_seconds,
        "FSIZE": scratch if confined else limits.scratch,
        "NOFILE": 64,
        "CORE": 0,
        "MEMLOCK": 0,
    }
    return {
        "preload": list(preload),
        "packages": packages.modules,
        "metadata": packages.metadata,
        "path": [] if confined else [path for path in sys.path if os.path.isabs(path)],
        "readable": [*interpreter.readable_paths(), *interpreter.DEVICES, *packages.paths],
        "confined": confined,
        "namespace": level == "landlock" and os.geteuid() != 0,
        "landlock": confined and (level == "landlock" or walls.landlock_abi() > 0),
        "filter": (syscalls.seccomp_filter() if confined else b"").hex(),
        "scratch": scratch,
        "output": limits.output,
        "limits": most,
        "threads": THREADS,
    }


def _follow(
    child: int, result: int, output: int, limits: CandidateLimits, began: float
) -> tuple[bytes, bytes, str]:
    """Reads what a child sends and prints until it ends, and kills it if it exceeds a limit.

    child: the handle of the process.
    result, output: the pipes of what it sends and of what it prints.
    began: when the evaluation began, by `time.monotonic`.

    Returns both texts and the limit that was exceeded, "" if none was.
    """
    received = {result: bytearray(), output: bytearray()}
    events = select.poll()
    for descriptor in (child, *received):
        events.register(descriptor, select.POLLIN)
    overrun, ready = "", set[int]()
    while not overrun and child not in ready:
        left = began + limits.seconds - time.monotonic()
        ready = {descriptor for descriptor, _ in events.poll(max(0.0, left) * 1000)}
        for descriptor in ready & received.keys():
            chunk = os.read(descriptor, _CHUNK)
            received[descriptor] += chunk
            if not chunk:
                events.unregister(descriptor)
        late = not ready or (left <= 0 and child not in ready)  # even if it keeps printing
        too_long = _too_long(received[result], received[output], limits.output)
        overrun = "seconds" if late else too_long
    if overrun:
        _kill(child)
        wait_readable(child, _REAP_SECONDS)
    for descriptor, data in received.items():
        data += _rest(descriptor)
    overrun = overrun or _too_long(received[result], received[output], limits.output)
    return bytes(received[result]), bytes(received[output]), overrun


def _too_long(result: bytearray, output: bytearray, most: int) -> str:
    """Returns the name of the text that is longer than `most` bytes, "" if none is."""
    return "result" if len(result) > most else "output" if len(output) > most else ""


def _rest(pipe: int) -> bytes:
    """Returns what a dead process left in a pipe; does not wait for another writer."""
    os.set_blocking(pipe, False)
    left = b""
    try:
        while len(left) < 2 * _CHUNK and (chunk := os.read(pipe, _CHUNK)):
            left += chunk
    except BlockingIOError:
        pass
    return left


def _kill(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
