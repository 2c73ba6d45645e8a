"""A zygote as its parent holds it: started once, asked to run one program after another, killed at the limit.

Each evaluation has pipes of its own and ends when the kernel says that the process has ended, not
when a pipe falls silent, so nothing that a candidate sends can be taken for another's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qdkit.sandbox import interpreter, levels, syscalls
from qdkit.sandbox.inside import serve, walls

START, REAP = 60.0, 10.0  # seconds a zygote may take to preload, and to see that a killed candidate is dead
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What one candidate may use. Seconds and bytes; CPU seconds are whole ones, as the kernel counts them."""

    seconds: float
    cpu_seconds: int
    memory: int
    output: int
    scratch: int


class Ended(NamedTuple):
    """How a candidate's process ended.

    result: all it sent, of which not a byte can be trusted.
    output: all it printed, likewise.
    status: as from `os.wait`.
    overrun: the limit it was killed for, "seconds", "result" or "output", or "" if it ended by itself.
    """

    result: bytes
    output: bytes
    status: int
    overrun: str
    seconds: float
    cpu_seconds: float


class Lost(Exception):
    """A zygote did not start, or is gone: nothing is known of the candidate it held."""


class Zygote:
    """One process that forks candidates. Not for two threads at once; raises Lost if it does not start."""

    def __init__(self, level: str, limits: Limits, preload: Sequence[str]):
        self.limits = limits
        self.folders = interpreter.locate(preload)
        self.handle = -1
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self.process = _start(levels.command(level, theirs.fileno(), self.folders), theirs.fileno())
        except OSError as error:
            self.control.close()
            raise Lost(f"it cannot be started: {error}") from None
        try:
            self._greet(_settings(level, limits, preload, self.folders))
        except BaseException:
            self.close()
            raise

    def _greet(self, settings: bytes) -> None:
        self.control.settimeout(START)
        try:
            self.control.send(settings)
            word, handles, _, _ = socket.recv_fds(self.control, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Lost(f"it does not answer: {error}. {self._last_words()}") from None
        if word != b"ready":
            raise Lost(word.decode(errors="replace") or self._last_words())
        (self.handle,) = handles

    def _last_words(self) -> str:
        self.process.kill()
        _, said = self.process.communicate()
        return said.decode(errors="replace").strip()[-2000:]

    def run(self, message: bytes) -> Ended:
        """Runs the program of a message; see `inside.program`. Raises Lost if the zygote itself is gone."""
        began = time.monotonic()
        job = os.memfd_create("job", os.MFD_CLOEXEC)
        (result, theirs), (output, printed) = os.pipe(), os.pipe()
        try:
            with os.fdopen(job, "wb", closefd=False) as file:
                file.write(message)
            os.lseek(job, 0, os.SEEK_SET)
            child = self._fork(job, theirs, printed)
        except BaseException:
            os.close(result)
            os.close(output)
            raise
        finally:
            for descriptor in (job, theirs, printed):
                os.close(descriptor)
        try:
            sent, said, overrun = _follow(child, result, output, self.limits, began)
        finally:
            for descriptor in (child, result, output):
                os.close(descriptor)
        status, used = self._reaped()
        return Ended(sent, said, status, overrun, time.monotonic() - began, used)

    def _fork(self, *descriptors: int) -> int:
        """Hands the zygote a job; the handle of the child it forked."""
        self.control.settimeout(REAP)
        try:
            socket.send_fds(self.control, [b"run"], descriptors)
            word, handles, _, _ = socket.recv_fds(self.control, 16, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Lost(f"it does not answer: {error}") from None
        if word != b"started":
            raise Lost("it ended")
        return handles[0]

    def _reaped(self) -> tuple[int, float]:
        """The child's status and CPU seconds, once the zygote has reaped it."""
        try:
            return serve.STATUS.unpack(self.control.recv(16))
        except (OSError, struct.error) as error:
            raise Lost(f"it ended with its candidate: {error}") from None

    def close(self) -> None:
        """Ends the zygote and, with it, whatever it holds."""
        self.control.close()
        if self.handle >= 0:
            _kill(self.handle)
            os.close(self.handle)
            self.handle = -1
        self.process.kill()
        if self.process.stderr is not None:
            self.process.stderr.close()
        self.process.wait()


def _start(command: list[str], control: int) -> subprocess.Popen[bytes]:
    environment = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
        pass_fds=[control],
        start_new_session=True,
    )


def _settings(level: str, limits: Limits, preload: Sequence[str], folders: Mapping[str, str]) -> bytes:
    """What a zygote needs to know, as JSON."""
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
    if level == "bubblewrap":
        most["NPROC"] = 64  # threads; elsewhere the kernel would count all that this user runs
    settings = {
        "preload": list(preload),
        "packages": dict(folders),
        "readable": [*interpreter.readable(), *interpreter.packages(folders)],
        "landlock": confined and (level == "landlock" or walls.landlock_abi() > 0),
        "filter": (syscalls.filter() if confined else b"").hex(),
        "scratch": scratch,
        "output": limits.output,
        "limits": most,
    }
    return json.dumps(settings).encode()


def _follow(child: int, result: int, output: int, limits: Limits, began: float) -> tuple[bytes, bytes, str]:
    """Reads what a child sends and prints until it has ended, or kills it for going beyond a limit."""
    read = {result: bytearray(), output: bytearray()}
    events = select.poll()
    for descriptor in (child, *read):
        events.register(descriptor, select.POLLIN)
    overrun, ready = "", set[int]()
    while not overrun and child not in ready:
        left = began + limits.seconds - time.monotonic()
        ready = {descriptor for descriptor, _ in events.poll(max(0.0, left) * 1000)}
        for descriptor in ready & read.keys():
            chunk = os.read(descriptor, _CHUNK)
            read[descriptor] += chunk
            if not chunk:
                events.unregister(descriptor)
        late = not ready or (left <= 0 and child not in ready)  # also while it keeps printing
        overrun = "seconds" if late else _too_long(read[result], read[output], limits.output)
    if overrun:
        _kill(child)
        select.select([child], [], [], REAP)
    for descriptor, bytes_ in read.items():
        bytes_ += _rest(descriptor)
    return bytes(read[result]), bytes(read[output]), overrun or _too_long(read[result], read[output], limits.output)


def _too_long(result: bytearray, output: bytearray, most: int) -> str:
    return "result" if len(result) > most else "output" if len(output) > most else ""


def _rest(pipe: int) -> bytes:
    """What a dead process left in a pipe; another that holds its end is not waited for."""
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
