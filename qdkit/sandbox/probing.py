"""Which levels of isolation this machine really offers: tried out, not looked up."""

from __future__ import annotations

import functools
import shutil
import sys
from typing import NamedTuple

from qdkit.sandbox import levels
from qdkit.sandbox.inside import walls, wire
from qdkit.sandbox.zygote import Limits, Lost, Zygote

_LIMITS = Limits(seconds=10, cpu_seconds=10, memory=1 << 30, output=1 << 16, scratch=1 << 20)
_PUSH = """
import os, socket

def main():
    through = []
    for what, attempt in {
        "open a file of the host": lambda: open("/etc/passwd").read(),
        "list the processes": lambda: os.listdir("/proc"),
        "write a file": lambda: open("/candidate-was-here", "w"),
        "start a process": lambda: os.fork() or os._exit(0),
        "open a socket": lambda: socket.socket(),
    }.items():
        try:
            attempt()
        except OSError:
            continue
        through.append(what)
    return through
"""


class Probed(NamedTuple):
    """What the probe of a level found; `why` is a sentence where it does not work, else empty."""

    level: str
    works: bool
    why: str


def probe() -> list[Probed]:
    """Every level that isolates, the strongest first. Takes a fifth of a second, once for each process."""
    reasons = {level: _why_not(level) for level in levels.LEVELS if level != "none"}
    return [Probed(level, not why, why) for level, why in reasons.items()]


def choose(level: str) -> str:
    """The level to run at: the one that was asked for, or the strongest that works for "auto".

    Raises ValueError for a level that there is not, RuntimeError with the mend for one that does not work.
    """
    if level not in ("auto", *levels.LEVELS):
        raise ValueError(f"level is 'auto', 'bubblewrap', 'landlock' or 'none', not {level!r}")
    reasons = {}
    for candidate in levels.LEVELS[:-1] if level == "auto" else (level,):
        reasons[candidate] = _why_not(candidate)
        if not reasons[candidate]:
            return candidate
    told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
    raise RuntimeError(
        f"candidate programs cannot be isolated here ({told}). "
        "Mend one of these, or ask for level='none' by name if you trust every program that will be written"
    )


@functools.cache
def _why_not(level: str) -> str:
    """Why a level does not work here, with the mend; "" if a program at that level runs and gets nowhere."""
    if not sys.platform.startswith("linux"):
        return f"this is {sys.platform}, and isolation needs Linux: run qdkit in a container or on a Linux machine"
    if level == "none":
        return ""
    if level == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed: `apt install bubblewrap`, or the package of that name of your system"
    if level == "landlock" and walls.landlock_abi() == 0:
        return "the kernel offers no Landlock (Linux 5.13, and a container that permits it): use bubblewrap"
    message = wire.encode([{"push.py": _PUSH}, "push.py:main", []], 1 << 16)
    try:
        zygote = Zygote(level, _LIMITS, ())
        try:
            ended = zygote.run(message)
        finally:
            zygote.close()
        answer = wire.decode(ended.result[1:])
    except (ImportError, RuntimeError) as error:
        return f"{error}: `pip install pyseccomp` and `apt install libseccomp2`"
    except (Lost, ValueError) as error:
        return f"a trial program did not come back: {error}{_userns(level)}"
    if answer != ["ok", []]:
        return f"a trial program got through: {answer}"
    return ""


def _userns(level: str) -> str:
    if level != "bubblewrap":
        return ""
    return (
        " (unprivileged user namespaces are often switched off: on Ubuntu "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile for bwrap; "
        "in Docker `--security-opt seccomp=unconfined`)"
    )
