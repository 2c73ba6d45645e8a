"""Ends all descendants of a process.

This needs `/proc`, and an ancestor that adopts orphans (`walls.adopt_orphans`): then a process
that forks twice, changes its session, stops itself or ignores signals is still a descendant.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time


def kill_descendants(ancestor: int, seconds: float, mark: bytes = b"") -> bool:
    """Kills the descendants of `ancestor`; False if some still run after `seconds`.

    mark: an entry of the environment, such as b"NAME=value", by which they are found if the
      ancestor itself was killed.
    """
    end = time.monotonic() + seconds
    while running := _descendants(ancestor, mark):
        for how in (signal.SIGSTOP, signal.SIGKILL):  # a stopped process starts no others
            for process in running:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, how)
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _descendants(ancestor: int, mark: bytes) -> list[int]:
    """Returns the running processes below `ancestor`, those marked, and those below a marked
    one.
    """
    children: dict[int, list[int]] = {}
    ended, marked = set(), list[int]()
    for process in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError), open(f"/proc/{process}/stat", "rb") as file:
            state, parent = file.read().rpartition(b")")[2].split()[:2]
            children.setdefault(int(parent), []).append(process)
            if state in b"ZX":
                ended.add(process)
            elif mark and process not in (ancestor, os.getpid()) and _has(process, mark):
                marked.append(process)
    descendants, queue = marked, [ancestor, *marked]
    while queue:
        below = children.get(queue.pop(), [])
        descendants += below
        queue += below
    return [process for process in descendants if process not in ended]


def _has(process: int, mark: bytes) -> bool:
    """Whether the environment that a process was started with has this entry."""
    try:
        with open(f"/proc/{process}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:  # the process belongs to another user, or is gone
        return False
