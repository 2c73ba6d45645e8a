"""The walls around one candidate, put up by itself before it runs: once up, they cannot come down.

Landlock for the file system (kernel 5.13; https://docs.kernel.org/userspace-api/landlock.html), a
seccomp filter for everything else, resource limits, no privileges, and in a mount namespace a
scratch folder with a quota. The numbers are those of the kernel's headers, which never change.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

if sys.platform == "linux":
    import resource

    _LIBC = ctypes.CDLL(None, use_errno=True)

SCRATCH = "/candidate/scratch"
HIDDEN = ("site-packages", "dist-packages")  # within a library folder; what is to be seen of them is named

_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP, _FILTER = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _VERSION = 444, 445, 446, 1
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}  # by ABI; then all 16
_SCRATCH_RIGHTS = ((1 << 16) - 1) & ~(1 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 15)  # no execution, devices or sockets
_NEWNS, _NOSUID_NODEV_NOEXEC = 0x20000, 2 | 4 | 8


def landlock_abi() -> int:
    """Which version of Landlock the kernel has; 0 where it has none or a container forbids it."""
    return max(0, _LIBC.syscall(_CREATE_RULESET, None, 0, _VERSION))


def landlock_rules(readable: Iterable[str], scratch: bool) -> int:
    """A descriptor of the rules: `readable` may be read, the scratch folder written, nothing else touched.

    The rule for the scratch folder stands on the folder above it, because a candidate mounts its
    own there. What an older kernel cannot refuse here (truncation before ABI 3, the network before
    4, devices before 5, signals and abstract sockets before 6), the seccomp filter refuses too.
    """
    abi = landlock_abi()
    handled = _FILE_RIGHTS.get(abi, (1 << 16) - 1)
    attributes = (ctypes.c_uint64 * 3)(handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = _checked(_LIBC.syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")
    for path in readable:
        parts = _parts(path)
        for part in parts:
            _allow(rules, part, _READ_FILE | _READ_DIR)
        if parts != [path]:
            _allow(rules, path, _READ_DIR)  # the import system lists the folder; the names in it are no secret
    _allow(rules, "/dev/null", _READ_FILE | _WRITE_FILE)
    if scratch:
        _allow(rules, os.path.dirname(SCRATCH), handled & _SCRATCH_RIGHTS)
    return rules


def _parts(path: str) -> list[str]:
    """`path`, or the entries of a library folder without what is hidden in it: Landlock only ever adds."""
    if not os.path.isdir(path):
        return [path]
    names = os.listdir(path)
    shown = [name for name in names if name not in HIDDEN]
    return [path] if len(shown) == len(names) else [os.path.join(path, name) for name in shown]


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(folder).st_mode):
        rights &= _READ_FILE | _WRITE_FILE
    rule = rights.to_bytes(8, "little") + folder.to_bytes(4, "little")  # struct landlock_path_beneath_attr, packed
    _checked(_LIBC.syscall(_ADD_RULE, rules, 1, rule, 0), f"landlock_add_rule {path}")
    os.close(folder)


def mount_scratch(size: int) -> None:
    """An empty folder of `size` bytes in memory that nobody else sees and that goes when its process does."""
    _checked(_LIBC.unshare(_NEWNS), "unshare")
    options = f"size={size},nr_inodes=4096,mode=0700".encode()
    _checked(_LIBC.mount(b"tmpfs", SCRATCH.encode(), b"tmpfs", _NOSUID_NODEV_NOEXEC, options), "mount")
    os.chdir(SCRATCH)


def drop_privileges() -> None:
    """Not a single capability, and no way to gain one."""
    _checked(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    _checked(_LIBC.capset(header, none), "capset")


def limit(limits: Mapping[str, int]) -> None:
    """Limits of the process: `limits` maps the names of `resource`, without RLIMIT_, to numbers.

    CPU time ends with SIGXCPU, which tells it from a kill from outside; a program that catches
    that is killed a second later.
    """
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        wanted = most + 1 if name == "CPU" else most
        hard = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (min(most, hard), hard))


def die_with_parent() -> None:
    """The kernel kills this process when the one that forked it ends."""
    _checked(_LIBC.prctl(_PDEATHSIG, 9, 0, 0, 0), "prctl")


def enclose(rules: int | None, filter: bytes) -> None:
    """From here on Landlock's rules and the seccomp filter hold for this thread and all it starts."""
    if rules is not None:
        _checked(_LIBC.syscall(_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    if filter:
        _checked(_LIBC.prctl(_SECCOMP, _FILTER, _Program.of(filter), 0, 0), "seccomp")


class _Program(ctypes.Structure):
    """struct sock_fprog: eight bytes an instruction."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    @classmethod
    def of(cls, filter: bytes) -> Any:
        return ctypes.byref(cls(len(filter) // 8, filter))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
