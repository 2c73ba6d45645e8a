"""The sandbox: candidate programs run in isolated processes of their own and return data.

    with Sandbox(seconds=10) as sandbox:
        ran = sandbox.run({"solve.py": text}, "solve.py:main", [26])
        if ran.outcome == Outcome.OK:
            score = referee(ran.value)

Nothing that a candidate prints, writes, raises or exits with is a score: the sandbox returns a
value, and a referee of the caller judges it. The modules: `zygote` controls a warm interpreter
from outside, and `inside` runs within it; `levels` and `probing` describe and test the levels of
isolation; `interpreter`, `packages` and `syscalls` list what a candidate may use.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdkit.core.types import Outcome
from qdkit.programs.sandbox import missing_modules as missing
from qdkit.programs.sandbox import packages
from qdkit.programs.sandbox.inside import serve, wire
from qdkit.programs.sandbox.levels import LEVELS, isolation_in_words
from qdkit.programs.sandbox.probing import Probed, choose_level, probe, threads
from qdkit.programs.sandbox.zygote import CandidateLimits, ProcessEnd, Zygote, ZygoteLost

_TEXT = 4000  # characters of an error or of the output that are returned
_JOB = 1 << 30  # the most bytes of files and arguments, which come from the caller


@dataclass(frozen=True)
class Ran:
    """The result of a program.

    outcome: ok, invalid (does not parse, no entry function, a value that cannot be returned),
      failed, timeout, or infrastructure (the sandbox itself broke; the program may be run again).
    value: the return value of the entry, None unless ok: plain JSON types and numpy arrays. Its
      numbers may be nan or infinite, and it cannot be trusted.
    error: why the outcome is not ok; the candidate's traceback if it raised an exception.
    output: the end of what the candidate printed, for a reader.
    seconds, cpu_seconds: the wall time from start to end, and the CPU time of the process.
    """

    outcome: Outcome
    value: Any
    error: str
    output: str
    seconds: float
    cpu_seconds: float


class Sandbox:
    """Runs programs, `workers` of them at once; any number of threads may call `run`.

    level: "auto" chooses the strongest level that works in a live probe; "bubblewrap", "landlock"
      and "none" choose one by name. `sandbox.level` is the one in use.
    seconds: the wall time of a program.
    cpu_seconds: the CPU time, in whole seconds; by default `seconds` rounded up.
    memory: bytes of address space, of which numpy alone takes about 200 MB and JAX 800 MB.
    output: the most bytes that a program may print, and the most bytes of its return value.
    scratch: bytes of the scratch folder, which is the working directory of a candidate. It exists
      at level "bubblewrap" only; at level "landlock" a candidate can write nothing.
    preload: modules that are imported once, before any candidate, by their import names, such as
      "scipy" or "PIL". A candidate can import their packages, what these require, the standard
      library and its own files; at level "none" it can import whatever the caller can.
    workers: the number of programs that run at the same time.

    A candidate cannot see the environment of the caller, the network, other processes, or any file
    but those of the interpreter and of the packages. It has at most 256 threads where the kernel
    can count them (see `qdkit doctor`), and cannot lock files. Level "none" applies only the
    limits. Close the sandbox, or use it in a `with`; the end of the process closes it too. Raises
    RuntimeError if the level does not work here, and ValueError for invalid settings.
    """

    def __init__(
        self,
        level: str = "auto",
        *,
        seconds: float = 10.0,
        cpu_seconds: int | None = None,
        memory: int = 1 << 30,
        output: int = 4 << 20,
        scratch: int = 16 << 20,
        preload: Sequence[str] = ("numpy",),
        workers: int = 1,
    ):
        if min(seconds, memory, output, scratch, workers) <= 0 or (
            cpu_seconds is not None and cpu_seconds < 1
        ):
            raise ValueError(
                "every limit and the number of workers is greater than 0, and cpu_seconds is at "
                "least 1"
            )
        if isinstance(preload, str):
            raise ValueError(f"preload is a tuple of names, such as ({preload!r},), not a text")
        self.level = choose_level(level)
        self.limits = CandidateLimits(
            seconds, cpu_seconds or max(1, -int(-seconds // 1)), memory, output, scratch
        )
        self.preload = tuple(preload)
        self._packages = packages.locate_packages(self.preload)
        # The idle workers; None stands for one that is not started yet.
        self._idle: queue.LifoQueue[Zygote | None] = queue.LifoQueue()
        self._all: set[Zygote] = set()
        self._process = os.getpid()
        self._end = weakref.finalize(self, _close, self._all, self._idle, self._process)
        for _ in range(workers - 1):
            self._idle.put(None)
        try:
            self._idle.put(self._start_zygote())
        except ZygoteLost as error:
            self.close()
            raise RuntimeError(
                f"the sandbox does not start at level {self.level}: {error}. "
                "If a preloaded module needs another one that is missing, add it to preload"
            ) from None

    def __enter__(self) -> Sandbox:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Sandbox:
        return self  # it holds no state of the programs that it ran

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._end.alive

    def close(self) -> None:
        """Kills everything that runs in the sandbox, and starts no more programs.

        Any thread may call it, at any time and more than once. A `run` in another thread returns
        with the outcome infrastructure. The end of the interpreter calls it, too.
        """
        self._end()

    def run(self, files: Mapping[str, str], entry: str, arguments: Sequence[Any] = ()) -> Ran:
        """Runs a function of a program, and returns its result.

        files: the program, path -> text.
        entry: the file and the function, such as "solve.py:main".
        arguments: JSON values or numpy arrays.

        The call waits for a free worker. Raises TypeError or ValueError for an invalid program or
        argument, and RuntimeError after `close` and in a process that was forked from the
        sandbox's own.
        """
        path, colon, function = entry.partition(":")
        if not (path.endswith(".py") and colon and function.isidentifier()):
            raise ValueError(
                f"entry names a file and a function, such as 'solve.py:main', not {entry!r}"
            )
        if not all(isinstance(x, str) for item in files.items() for x in item):
            raise TypeError(
                "a program is a mapping path -> text, and a path or text of this one is not a str"
            )
        message = wire.pack_message([dict(files), entry, list(arguments)], _JOB)
        if os.getpid() != self._process:
            raise RuntimeError(
                "the sandbox belongs to the process that forked this one: make one here"
            )
        if self.closed:
            raise RuntimeError("the sandbox is closed")
        zygote = self._idle.get()
        try:
            if self.closed:
                raise ZygoteLost("the sandbox was closed")
            zygote = zygote or self._start_zygote()
            return self._result(zygote.run(message))
        except BaseException as error:
            # After any interruption this zygote may still run a candidate.
            if zygote is not None:
                self._discard(zygote)
                zygote = None
            if not isinstance(error, (ZygoteLost, OSError)):
                raise
            reason = (
                "the sandbox was closed" if self.closed else f"the sandbox lost a worker: {error}"
            )
            return Ran(Outcome.INFRASTRUCTURE, None, reason, "", math.nan, math.nan)
        finally:
            self._idle.put(zygote)

    def _start_zygote(self) -> Zygote:
        zygote = Zygote(self.level, self.limits, self.preload, self._packages)
        self._all.add(zygote)
        try:
            if self.closed:  # `close` may have run before this one was in the set
                raise ZygoteLost("the sandbox was closed")
            zygote.greet()
        except BaseException:
            self._discard(zygote)
            raise
        return zygote

    def _discard(self, zygote: Zygote) -> None:
        self._all.discard(zygote)
        zygote.close()

    def _result(self, end: ProcessEnd) -> Ran:
        outcome, value, error = _verdict(end, self.limits, self.level)
        if outcome == Outcome.FAILED:
            error += missing.advice(error, self.preload, self._packages.modules)
        output = end.output[-_TEXT:].decode(errors="replace")
        return Ran(outcome, value, error[-_TEXT:], output, end.seconds, end.cpu_seconds)


def _close(zygotes: set[Zygote], idle: queue.LifoQueue[Zygote | None], process: int) -> None:
    """Kills all zygotes, and closes the idle ones; the threads of the others close theirs."""
    if os.getpid() != process:  # this is a fork of the process that owns them
        return
    for each in tuple(zygotes):
        each.kill()
    workers = 0
    with contextlib.suppress(queue.Empty):
        while True:
            zygote = idle.get_nowait()
            workers += 1
            if zygote is not None:
                zygotes.discard(zygote)
                zygote.close()
    for _ in range(workers):  # wakes the threads that wait for one, which then see the close
        idle.put(None)


def _verdict(end: ProcessEnd, limits: CandidateLimits, level: str) -> tuple[Outcome, Any, str]:
    """Returns outcome, value and error; the kernel's report on a process overrides its own."""
    if not end.result.startswith(serve.UP):
        output = end.output[-_TEXT:].decode(errors="replace")
        error = f"the candidate did not start: {output or 'no time was left to set it up'}"
        return Outcome.INFRASTRUCTURE, None, error
    if end.overrun == "seconds":
        return Outcome.TIMEOUT, None, f"it had not ended after {limits.seconds} s"
    if end.overrun:
        what = {"result": "handed back", "output": "printed"}[end.overrun]
        return Outcome.FAILED, None, f"it {what} more than {limits.output} bytes"
    code = os.waitstatus_to_exitcode(end.status)
    if code < 0:
        return _killed_verdict(-code, end, limits, level)
    if code > 0 or end.result == serve.UP:
        error = f"it ended itself, with exit code {code}, before it had handed anything back"
        return Outcome.FAILED, None, error
    try:
        answer = wire.unpack_message(end.result[1:])
    except ValueError as invalid:
        return Outcome.INVALID, None, f"what it handed back cannot be read: {invalid}"
    match answer:
        case ["ok", value]:
            return Outcome.OK, value, ""
        case ["invalid" | "failed" as fault, str(reason)]:
            return Outcome(fault), None, reason
    return Outcome.INVALID, None, "what it handed back cannot be read: it is no answer"


def _killed_verdict(
    number: int, end: ProcessEnd, limits: CandidateLimits, level: str
) -> tuple[Outcome, None, str]:
    """Returns outcome, value and error of a process that the signal `number` ended."""
    # The kernel's limit counts ticks, while `cpu_seconds` are measured more finely.
    used_up = end.cpu_seconds > 0.5 * limits.cpu_seconds
    if number == signal.SIGXCPU or (number == signal.SIGKILL and used_up):
        return Outcome.TIMEOUT, None, f"it had used {limits.cpu_seconds} s of CPU time"
    if number == signal.SIGKILL and level != "none":  # an isolated one cannot kill itself
        error = "it was killed from outside: the machine may be short of memory"
        return Outcome.INFRASTRUCTURE, None, error
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    return Outcome.FAILED, None, f"it crashed: {name}"


__all__ = [
    "LEVELS",
    "CandidateLimits",
    "Probed",
    "Ran",
    "Sandbox",
    "isolation_in_words",
    "probe",
    "threads",
]
