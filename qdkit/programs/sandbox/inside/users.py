"""A user of its own for the zygote, and a limit of threads that the kernel enforces.

The kernel counts the threads of a user, not those of a process, and it exempts root
(`RLIMIT_NPROC`, setrlimit(2)). A zygote that root started therefore changes to a user that no
other process has. One that another user started enters a user namespace, in which the kernel
counts from zero (since Linux 5.14). Where neither is possible, the limit is added to the present
count.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from . import walls

if sys.platform == "linux":
    import resource

NOBODY = 65534
_NUMBERS = 0x7F000000  # user numbers that no distribution assigns; the process number is added
_NEWUSER = 0x10000000
_ALONE = 2  # this process and the child that it forks; a greater count includes other processes
_FRESH = 1.0  # seconds for which a count that includes other processes stays valid


def private_user(process: int) -> int:
    """Returns a user number that no other process has, for the zygote with this process number."""
    return _NUMBERS | process & 0x3FFFFF


def change_user(candidates: tuple[int, ...]) -> None:
    """Changes from root to the first of these users to which that is possible.

    File access and capabilities stay those of root. Call it before any thread starts.
    """
    if not candidates:
        return
    walls.keep_capabilities()
    for user in candidates:
        with contextlib.suppress(OSError):
            os.setresuid(user, user, user)
            break
    walls.raise_capabilities()
    walls.access_files_as(0)


def enter_namespace() -> None:
    """Enters a user namespace, with the same user and group in it, if that is permitted.

    Call it before any thread starts: the kernel refuses it after that.
    """
    user, group = os.getuid(), os.getgid()
    if not walls.unshare(_NEWUSER):
        return
    maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
    for name, text in maps.items():
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w") as file:
            file.write(text)


class Threads:
    """The value of RLIMIT_NPROC that leaves a candidate `most` threads, found by trials.

    count: the smallest limit with which this process can fork; None if the kernel enforces none.
    """

    def __init__(self, most: int):
        self.most = most
        self._counted_at = 0.0
        self.count = _smallest_limit()

    @property
    def counted_with(self) -> str:
        """Whose threads count: "own" for its own, "others" for those of others too, or "none"."""
        return "none" if self.count is None else "own" if self.count == _ALONE else "others"

    def limit(self) -> dict[str, int]:
        """Returns the limit for the next candidate, for `walls.set_limits`; maybe empty."""
        now = time.monotonic()
        if self.count is not None and self.count > _ALONE and now - self._counted_at > _FRESH:
            self.count, self._counted_at = _smallest_limit() or self.count, now
        return {} if self.count is None else {"NPROC": self.count + self.most - 1}


def _smallest_limit() -> int | None:
    """Returns the smallest limit with which this process can fork; None if none is enforced."""
    old, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    # The kernel has no more than 2**22 process numbers.
    most = 1 << 22 if hard == resource.RLIM_INFINITY else hard
    try:
        if _can_fork(1, hard):  # with the child there are two processes
            return None
        low, high = 1, 2
        while high < most and not _can_fork(high, hard):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _can_fork(middle, hard) else (middle, high)
        return high
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (old, hard))


def _can_fork(most: int, hard: int) -> bool:
    """Whether a fork succeeds while the soft limit is `most`."""
    resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True
