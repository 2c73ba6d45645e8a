"""The isolation of a process, which it applies to itself before it runs a candidate, for good.

The parts are Landlock for the file system (kernel 5.13;
https://docs.kernel.org/userspace-api/landlock.html), a seccomp filter for everything else,
resource limits, no privileges, and in a mount namespace a scratch folder with a quota. The numbers
are those of the kernel's headers, which never change.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

_TYPE_CHECKING = False
if _TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

if sys.platform == "linux":
    import resource

    _LIBC = ctypes.CDLL(None, use_errno=True)

SCRATCH = "/candidate/scratch"
# Hidden folders of a library folder; visible packages in them are listed one by one.
HIDDEN = ("site-packages", "dist-packages")

_PDEATHSIG, _NO_NEW_PRIVS, _SECCOMP, _FILTER = 1, 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _VERSION = 444, 445, 446, 1
_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
# By the version of Landlock; all 16 rights from version 5 on.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
# No execution, devices or sockets.
_SCRATCH_RIGHTS = ((1 << 16) - 1) & ~(1 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 15)
_NEWNS, _NOSUID_NODEV_NOEXEC = 0x20000, 2 | 4 | 8
_CLOSE_RANGE, _MOST_DESCRIPTORS = 436, 1 << 20  # the kernel's default (fs.nr_open)
_KEEPCAPS, _SUBREAPER, _CAPABILITIES, _SYS_ADMIN = 8, 36, 0x20080522, 21


def landlock_abi() -> int:
    """Returns the kernel's version of Landlock; 0 if it has none or a container forbids it."""
    return max(0, _LIBC.syscall(_CREATE_RULESET, None, 0, _VERSION))


def landlock_rules(readable: Iterable[str], scratch: bool) -> int:
    """Returns a descriptor of rules that allow reading `readable` and writing the scratch folder.

    The rule for the scratch folder is set on the folder above it, because a candidate mounts its
    own there. An older version cannot refuse some operations (truncation before 3, the network
    before 4, devices before 5, signals and abstract sockets before 6); the seccomp filter refuses
    them too.
    """
    abi = landlock_abi()
    handled = _FILE_RIGHTS.get(abi, (1 << 16) - 1)
    attributes = (ctypes.c_uint64 * 3)(handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    rules = _checked(
        _LIBC.syscall(_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset"
    )
    for path in readable:
        parts = _parts(path)
        for part in parts:
            _allow(rules, part, _READ_FILE | _READ_DIR)
        if parts != [path]:
            # The import system lists the folder, and the names in it need not be hidden.
            _allow(rules, path, _READ_DIR)
    _allow(rules, "/dev/null", _READ_FILE | _WRITE_FILE)
    if scratch:
        _allow(rules, os.path.dirname(SCRATCH), handled & _SCRATCH_RIGHTS)
    return rules


def _parts(path: str) -> list[str]:
    """Returns [path], or the entries of a library folder without those in `HIDDEN`.

    Rules of Landlock can only add rights, so a hidden folder cannot be taken out of a rule.
    """
    if not os.path.isdir(path):
        return [path]
    names = os.listdir(path)
    visible = [name for name in names if name not in HIDDEN]
    return [path] if len(visible) == len(names) else [os.path.join(path, name) for name in visible]


def _allow(rules: int, path: str, rights: int) -> None:
    """Adds a rule for `path`, if it exists."""
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(folder).st_mode):
        rights &= _READ_FILE | _WRITE_FILE
    # struct landlock_path_beneath_attr, packed
    rule = rights.to_bytes(8, "little") + folder.to_bytes(4, "little")
    _checked(_LIBC.syscall(_ADD_RULE, rules, 1, rule, 0), f"landlock_add_rule {path}")
    os.close(folder)


def mount_scratch(size: int) -> None:
    """Mounts an empty folder of `size` bytes in memory, and enters it.

    No other process can see it, and it ends with this process.
    """
    _checked(_LIBC.unshare(_NEWNS), "unshare")
    options = f"size={size},nr_inodes=4096,mode=0700".encode()
    _checked(
        _LIBC.mount(b"tmpfs", SCRATCH.encode(), b"tmpfs", _NOSUID_NODEV_NOEXEC, options), "mount"
    )
    os.chdir(SCRATCH)


def close_from(first: int) -> None:
    """Closes every descriptor from `first` on, however many there are."""
    if _LIBC.syscall(_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(0xFFFFFFFF), 0) < 0:
        os.closerange(first, _MOST_DESCRIPTORS)  # before Linux 5.9


def drop_privileges(mounting: bool = False) -> None:
    """Drops all capabilities, for good; `mounting` keeps the one that `mount_scratch` needs."""
    no_new_privileges()
    capabilities = 1 << _SYS_ADMIN if mounting else 0
    _set_capabilities((capabilities, capabilities, 0, 0, 0, 0))


def no_new_privileges() -> None:
    """Makes sure that no program that is started from here on gains a privilege."""
    _checked(_LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def keep_capabilities() -> None:
    """Keeps the permitted capabilities when root changes to another user."""
    _checked(_LIBC.prctl(_KEEPCAPS, 1, 0, 0, 0), "prctl")


def raise_capabilities() -> None:
    """Makes all permitted capabilities effective."""
    header, now = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    _checked(_LIBC.capget(header, now), "capget")
    _, low, _, _, high, _ = now
    _set_capabilities((low, low, 0, high, high, 0))


def _set_capabilities(sets: tuple[int, ...]) -> None:
    """Sets the capabilities.

    sets: effective, permitted and inheritable, of the first 32 capabilities and then of the rest.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    _checked(_LIBC.capset(header, (ctypes.c_uint32 * 6)(*sets)), "capset")


def access_files_as(user: int) -> None:
    """Sets the user as whom this process accesses files."""
    _LIBC.setfsuid(user)


def unshare(flags: int) -> bool:
    """Leaves the namespaces that the flags name; False if that is not permitted."""
    return bool(_LIBC.unshare(flags) == 0)


def adopt_orphans() -> None:
    """Makes descendants whose parent ends children of this process."""
    _checked(_LIBC.prctl(_SUBREAPER, 1, 0, 0, 0), "prctl")


def set_limits(limits: Mapping[str, int]) -> None:
    """Sets limits of this process.

    limits: names of `resource`, without RLIMIT_, -> numbers.

    At the limit of CPU time the kernel sends SIGXCPU, which differs from a kill from outside; a
    program that catches it is killed a second later.
    """
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        wanted = most + 1 if name == "CPU" else most
        hard = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (min(most, hard), hard))


def die_with_parent(parent: int) -> None:
    """Makes the kernel kill this process when its parent, whose number is `parent`, ends."""
    _checked(_LIBC.prctl(_PDEATHSIG, 9, 0, 0, 0), "prctl")
    if os.getppid() != parent:  # the parent has already ended
        os._exit(1)


def enclose(rules: int | None, filter: bytes) -> None:
    """Applies Landlock's rules and the seccomp filter to this thread and all that it starts."""
    if rules is not None:
        _checked(_LIBC.syscall(_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    if filter:
        _checked(_LIBC.prctl(_SECCOMP, _FILTER, _Program.of(filter), 0, 0), "seccomp")


class _Program(ctypes.Structure):
    """The C struct sock_fprog; an instruction has eight bytes."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    @classmethod
    def of(cls, filter: bytes) -> Any:
        return ctypes.byref(cls(len(filter) // 8, filter))


def _checked(result: int, call: str) -> int:
    """Returns the result of a system call; raises OSError if it is an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
