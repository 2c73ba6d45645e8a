"""Probes: which levels of isolation work on this machine, by running a program at each."""

from __future__ import annotations

import functools
import shutil
import sys
from typing import NamedTuple

from qdkit.programs.sandbox import levels, packages
from qdkit.programs.sandbox.inside import walls, wire
from qdkit.programs.sandbox.zygote import THREADS, CandidateLimits, Zygote, ZygoteLost

_LIMITS = CandidateLimits(
    seconds=10, cpu_seconds=10, memory=1 << 30, output=1 << 16, scratch=1 << 20
)
# A program that tries to leave the sandbox, and returns what it could do.
_ESCAPE = """
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


_THREADS = {
    "own": f"at most {THREADS} threads of a candidate",
    "others": (
        f"at most {THREADS} threads of a candidate, counted on top of all that this user runs: "
        "where others start many, a candidate can start fewer (with user namespaces, or as root, "
        "only its own would count)"
    ),
    "none": (
        "WARNING: the threads of a candidate are not bounded, because the kernel exempts root and "
        "this process may not change its user: give it CAP_SETUID, or run qdkit as another user"
    ),
}


class Probed(NamedTuple):
    """The result of probing a level; `why` is a sentence if it does not work, else empty."""

    level: str
    works: bool
    why: str


def probe() -> list[Probed]:
    """Returns the result for every level that isolates, the strongest first.

    The probe takes a fifth of a second, once in each process.
    """
    reasons = {level: _why_not(level) for level in levels.LEVELS if level != "none"}
    return [Probed(level, not why, why) for level, why in reasons.items()]


def choose_level(level: str) -> str:
    """Returns the level to run at: `level` itself, or for "auto" the strongest one that works.

    Raises ValueError for an unknown level, and RuntimeError, with a remedy, for one that does not
    work.
    """
    if level not in ("auto", *levels.LEVELS):
        raise ValueError(f"level is 'auto', 'bubblewrap', 'landlock' or 'none', not {level!r}")
    reasons = {}
    for candidate in levels.LEVELS[:-1] if level == "auto" else (level,):
        reasons[candidate] = _why_not(candidate)
        if not reasons[candidate]:
            return candidate
    listed = "; ".join(f"{name}: {why}" for name, why in reasons.items())
    raise RuntimeError(
        f"candidate programs cannot be isolated here ({listed}). "
        "Mend one of these, or ask for level='none' by name if you trust every program that will "
        "be written"
    )


@functools.cache
def _why_not(level: str) -> str:
    """Returns why a level does not work here, with a remedy.

    Returns "" if a program runs at that level and cannot leave it.
    """
    if not sys.platform.startswith("linux"):
        return (
            f"this is {sys.platform}, and isolation needs Linux: run qdkit in a container or on a "
            "Linux machine"
        )
    if level == "none":
        return ""
    if level == "bubblewrap" and shutil.which("bwrap") is None:
        return (
            "bwrap is not installed: `apt install bubblewrap`, or the package of that name of "
            "your system"
        )
    if level == "landlock" and walls.landlock_abi() == 0:
        return (
            "the kernel offers no Landlock (Linux 5.13, and a container that permits it): use "
            "bubblewrap"
        )
    message = wire.pack_message([{"push.py": _ESCAPE}, "push.py:main", []], 1 << 16)
    try:
        zygote = Zygote(level, _LIMITS, (), packages.locate_packages(()))
        try:
            zygote.greet()
            end = zygote.run(message)
        finally:
            zygote.close()
        answer = wire.unpack_message(end.result[1:])
    except (ImportError, RuntimeError) as error:
        return f"{error}: `pip install pyseccomp` and `apt install libseccomp2`"
    except (ZygoteLost, ValueError) as error:
        return f"a trial program did not come back: {error}{_namespaces_remedy(level)}"
    if answer != ["ok", []]:
        return f"a trial program got through: {answer}"
    return ""


def threads(level: str) -> str:
    """Returns how many threads a candidate can start at a level, in words, by a trial."""
    zygote = Zygote(level, _LIMITS, (), packages.locate_packages(()))
    try:
        zygote.greet()
    finally:
        zygote.close()
    return _THREADS[zygote.threads]


def _namespaces_remedy(level: str) -> str:
    if level != "bubblewrap":
        return ""
    return (
        " (unprivileged user namespaces are often switched off: on Ubuntu "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor profile for "
        "bwrap; in Docker `--security-opt seccomp=unconfined`)"
    )
