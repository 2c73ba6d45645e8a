"""The sandbox: candidate programs run in processes of their own, behind walls, and hand back data.

    with Sandbox(seconds=10) as sandbox:
        ran = sandbox.run({"solve.py": text}, "solve.py:main", [26])
        if ran.outcome == Outcome.OK:
            score = referee(ran.value)

Nothing that a candidate prints, writes, raises or exits with is a score: what comes back is a
value, which a referee of the caller's judges. The files: `zygote` holds a warm interpreter from
outside, `inside` is what runs within it, `levels` and `probing` say how strong the walls are,
`interpreter` and `syscalls` what is let through.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdkit.sandbox.inside import serve, wire
from qdkit.sandbox.levels import LEVELS, in_words
from qdkit.sandbox.probing import Probed, choose, probe
from qdkit.sandbox.zygote import Ended, Limits, Lost, Zygote
from qdkit.types import Outcome

_TEXT = 4000  # characters of an error or of what was printed that are handed back
_JOB = 1 << 30  # bytes of files and arguments, which are the caller's own


@dataclass(frozen=True)
class Ran:
    """What became of a program.

    outcome: ok, invalid (does not parse, no entry function, a value that cannot be handed back),
      failed, timeout, or infrastructure (the sandbox itself broke; the program may be run again).
    value: what the entry returned, None unless ok: plain JSON types and numpy arrays. Its numbers
      may be nan or infinite, and nothing about it is to be believed.
    error: why it is not ok; the candidate's traceback where it raised.
    output: the end of what it printed, for a reader.
    seconds, cpu_seconds: wall time from hand-over to end, and CPU time of the process.
    """

    outcome: Outcome
    value: Any
    error: str
    output: str
    seconds: float
    cpu_seconds: float


class Sandbox:
    """Runs programs, `workers` of them at once; `run` may be called from any number of threads.

    level: "auto" takes the strongest that a live probe finds working; "bubblewrap", "landlock" or
      "none" ask for one by name. `sandbox.level` is the one in use.
    seconds: wall time of a program; `cpu_seconds`, whole ones, default to the same rounded up.
    memory: bytes of address space, of which numpy alone takes about 200 MB.
    output: bytes a program may print, and bytes of the value it may hand back.
    scratch: bytes of its scratch folder, which is its working directory and there at level
      "bubblewrap" only; elsewhere it can write nothing.
    preload: modules imported once, before any candidate; their packages are all that a candidate
      can import beside the standard library and its own files.

    A candidate sees an empty environment, no network, no other process and no file but the
    interpreter's. Close the sandbox, or use it in a `with`; the end of the process closes it too.
    Raises RuntimeError if the level does not work here, and ValueError for settings
    that cannot be.
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
        if min(seconds, memory, output, scratch, workers) <= 0 or (cpu_seconds is not None and cpu_seconds < 1):
            raise ValueError("every limit and the number of workers is greater than 0, and cpu_seconds is at least 1")
        self.level = choose(level)
        self.limits = Limits(seconds, cpu_seconds or max(1, -int(-seconds // 1)), memory, output, scratch)
        self.preload = tuple(preload)
        self._idle: queue.LifoQueue[Zygote | None] = queue.LifoQueue()  # None stands for one not started yet
        self._all: set[Zygote] = set()
        for _ in range(workers - 1):
            self._idle.put(None)
        try:
            self._idle.put(self._zygote())
        except Lost as error:
            raise RuntimeError(
                f"the sandbox does not start at level {self.level}: {error}. "
                "If a module is missing that a preloaded one needs, name it in preload, too"
            ) from None
        self.close = weakref.finalize(self, _close, self._all)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, files: Mapping[str, str], entry: str, arguments: Sequence[Any] = ()) -> Ran:
        """Runs `entry`, such as "solve.py:main", of a program, path -> text, with `arguments`.

        The arguments are JSON values or numpy arrays. Waits for a free worker. Raises TypeError or
        ValueError for what is no program or no argument, RuntimeError after `close`.
        """
        path, colon, function = entry.partition(":")
        if not (path.endswith(".py") and colon and function.isidentifier()):
            raise ValueError(f"entry names a file and a function, such as 'solve.py:main', not {entry!r}")
        if not all(isinstance(x, str) for item in files.items() for x in item):
            raise TypeError("a program is a mapping path -> text, and this one maps or holds something else")
        message = wire.encode([dict(files), entry, list(arguments)], _JOB)
        zygote = self._idle.get()
        try:
            if not self.close.alive:
                raise RuntimeError("the sandbox is closed")
            zygote = zygote or self._zygote()
            return self._told(zygote.run(message))
        except BaseException as error:  # whatever interrupts it, this zygote may still hold a candidate
            if zygote is not None:
                self._all.discard(zygote)
                zygote.close()
                zygote = None
            if not isinstance(error, (Lost, OSError)):
                raise
            return Ran(Outcome.INFRASTRUCTURE, None, f"the sandbox lost a worker: {error}", "", math.nan, math.nan)
        finally:
            self._idle.put(zygote)

    def _zygote(self) -> Zygote:
        zygote = Zygote(self.level, self.limits, self.preload)
        self._all.add(zygote)
        return zygote

    def _told(self, ended: Ended) -> Ran:
        outcome, value, error = _verdict(ended, self.limits, self.level)
        output = ended.output[-_TEXT:].decode(errors="replace")
        return Ran(outcome, value, error[-_TEXT:], output, ended.seconds, ended.cpu_seconds)


def _close(zygotes: set[Zygote]) -> None:
    while zygotes:
        zygotes.pop().close()


def _verdict(ended: Ended, limits: Limits, level: str) -> tuple[Outcome, Any, str]:
    """Outcome, value and error. What the kernel says of a process goes before what the process says."""
    if not ended.result.startswith(serve.UP):
        said = ended.output[-_TEXT:].decode(errors="replace")
        return Outcome.INFRASTRUCTURE, None, f"the candidate was not begun: {said or 'no time was left to set it up'}"
    if ended.overrun == "seconds":
        return Outcome.TIMEOUT, None, f"it had not ended after {limits.seconds} s"
    if ended.overrun:
        what = {"result": "handed back", "output": "printed"}[ended.overrun]
        return Outcome.FAILED, None, f"it {what} more than {limits.output} bytes"
    code = os.waitstatus_to_exitcode(ended.status)
    if code < 0:
        return _killed(-code, ended, limits, level)
    if code > 0 or ended.result == serve.UP:
        return Outcome.FAILED, None, f"it ended itself, with exit code {code}, before it had handed anything back"
    try:
        said = wire.decode(ended.result[1:])
    except ValueError as error:
        return Outcome.INVALID, None, f"what it handed back cannot be read: {error}"
    match said:
        case ["ok", value]:
            return Outcome.OK, value, ""
        case ["invalid" | "failed" as fault, str(why)]:
            return Outcome(fault), None, why
    return Outcome.INVALID, None, "what it handed back cannot be read: it is no answer"


def _killed(by: int, ended: Ended, limits: Limits, level: str) -> tuple[Outcome, None, str]:
    spent = ended.cpu_seconds > 0.5 * limits.cpu_seconds  # the kernel counts ticks there, and time here
    if by == signal.SIGXCPU or (by == signal.SIGKILL and spent):
        return Outcome.TIMEOUT, None, f"it had used {limits.cpu_seconds} s of CPU time"
    if by == signal.SIGKILL and level != "none":  # behind the walls it cannot send itself a signal
        return Outcome.INFRASTRUCTURE, None, "it was killed from outside: the machine may be short of memory"
    name = signal.Signals(by).name if by in set(signal.Signals) else f"signal {by}"
    return Outcome.FAILED, None, f"it crashed: {name}"


__all__ = ["LEVELS", "Limits", "Probed", "Ran", "Sandbox", "in_words", "probe"]
