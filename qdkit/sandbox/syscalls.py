"""The system calls that a candidate may make: a computation in one process, with threads, and no other.

A list of what is allowed, because a list of what is forbidden ages with every kernel. What is not
on it fails as on a kernel that does not have it (ENOSYS), so libraries take their older ways.
"""

from __future__ import annotations

import errno
import functools
import tempfile
from typing import Any

# Left out on purpose, although harmless at first sight: chmod, chown, utime and xattr, which
# Landlock does not guard; kill and its kin; truncate by path; setpriority and sched_setscheduler,
# which reach the parent; memfd and System V memory, which no limit counts; inotify; sync; timer_create
# and setrlimit, with which a process can have itself killed as if from outside.
ALLOWED = """
read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 lseek close close_range sendfile
open openat creat stat fstat lstat newfstatat statx fstatat64 access faccessat faccessat2 readlink readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat
symlink symlinkat umask ftruncate fallocate fadvise64 fsync fdatasync flock copy_file_range statfs fstatfs
dup dup2 dup3 pipe pipe2 eventfd eventfd2 select pselect6 poll ppoll
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 timerfd_create timerfd_settime timerfd_gettime
mmap munmap mprotect mremap brk madvise msync mincore mbind get_mempolicy set_mempolicy membarrier
pkey_alloc pkey_free pkey_mprotect
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause restart_syscall
alarm setitimer getitimer
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
futex futex_waitv set_robust_list get_robust_list rseq set_tid_address arch_prctl set_thread_area get_thread_area
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
sched_rr_get_interval getpriority getcpu
getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid getgroups
getrlimit getrusage sysinfo uname getrandom wait4 waitid exit exit_group sendto recvfrom
"""

_CLONE_THREAD = 0x10000
_SOCK_TYPE, _SOCK_STREAM, _AF_UNIX = 0xF, 1, 1
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # dup, flags, locks; not F_SETOWN, which sends signals
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX


@functools.cache
def filter() -> bytes:
    """The filter as classic BPF, for `PR_SET_SECCOMP`.

    Raises ImportError where pyseccomp is missing and RuntimeError where libseccomp is.
    """
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(seccomp.Attr.CTL_NNP, 0)
    allow = lambda call, *conditions: _rule(seccomp, rules, call, *conditions)
    for call in ALLOWED.split():
        allow(call)
    same, masked = seccomp.EQ, seccomp.MASKED_EQ
    allow("clone", seccomp.Arg(0, masked, _CLONE_THREAD, _CLONE_THREAD))
    allow("socketpair", seccomp.Arg(0, same, _AF_UNIX), seccomp.Arg(1, masked, _SOCK_TYPE, _SOCK_STREAM))  # asyncio
    allow("prlimit64", seccomp.Arg(0, same, 0), seccomp.Arg(2, same, 0))  # of itself, to read
    allow("sched_setaffinity", seccomp.Arg(0, same, 0))
    for call, position, values in (
        ("prctl", 0, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
        ("fcntl", 1, _FCNTL),
        ("ioctl", 1, _IOCTL),
    ):
        for value in values:
            allow(call, seccomp.Arg(position, same, value))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _rule(seccomp: Any, rules: Any, call: str, *conditions: Any) -> None:
    """Allows a call, where this processor and this libseccomp know it."""
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
    if number >= 0:
        rules.add_rule(seccomp.ALLOW, number, *conditions)
