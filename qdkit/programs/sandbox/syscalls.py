"""The system calls that a candidate may make: those of a computation in one process with threads.

The list says what is allowed, because a list of what is forbidden becomes outdated with every
kernel. Any other call fails as on a kernel that does not have it (ENOSYS), so that libraries use
older calls instead.
"""

from __future__ import annotations

import errno
import functools
import tempfile
from typing import Any

# These calls look harmless and are left out on purpose: chmod, chown, utime and xattr, which
# Landlock does not restrict; kill and similar calls; truncate by path; setpriority and
# sched_setscheduler, which can affect the parent; memfd and System V memory, which no limit
# counts; inotify; sync; timer_create and setrlimit, with which a process can have itself killed as
# if from outside; flock and the locks of fcntl, which affect other processes that use the file.
_ALLOWED = """
read write pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 lseek close close_range
sendfile
open openat creat stat fstat lstat newfstatat statx fstatat64 access faccessat faccessat2 readlink
readlinkat
getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat
renameat2 link linkat
symlink symlinkat umask ftruncate fallocate fadvise64 fsync fdatasync copy_file_range statfs
fstatfs
dup dup2 dup3 pipe pipe2 eventfd eventfd2 select pselect6 poll ppoll
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 timerfd_create
timerfd_settime timerfd_gettime
mmap munmap mprotect mremap brk madvise msync mincore mbind get_mempolicy set_mempolicy membarrier
pkey_alloc pkey_free pkey_mprotect
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack
pause restart_syscall
alarm setitimer getitimer
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times
futex futex_waitv set_robust_list get_robust_list rseq set_tid_address arch_prctl set_thread_area
get_thread_area
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min
sched_rr_get_interval getpriority getcpu
getpid gettid getppid getpgid getpgrp getsid getuid geteuid getgid getegid getresuid getresgid
getgroups
getrlimit getrusage sysinfo uname getrandom wait4 waitid exit exit_group sendto recvfrom
"""

_CLONE_THREAD = 0x10000
_SOCK_TYPE, _SOCK_STREAM, _AF_UNIX = 0xF, 1, 1
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41
# dup, flags, size of a pipe; no locks, nor F_SETOWN, which sends signals
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032)
# TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)


@functools.cache
def seccomp_filter() -> bytes:
    """Returns the filter as classic BPF, for `PR_SET_SECCOMP`.

    Raises ImportError if pyseccomp is missing, and RuntimeError if libseccomp is.
    """
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    rules.set_attr(seccomp.Attr.CTL_NNP, 0)
    allow = lambda call, *conditions: _allow(seccomp, rules, call, *conditions)
    for call in _ALLOWED.split():
        allow(call)
    equal = lambda position, value: seccomp.Arg(position, seccomp.EQ, value)
    masked = lambda position, mask, value: seccomp.Arg(position, seccomp.MASKED_EQ, mask, value)
    allow("clone", masked(0, _CLONE_THREAD, _CLONE_THREAD))
    allow("socketpair", equal(0, _AF_UNIX), masked(1, _SOCK_TYPE, _SOCK_STREAM))  # for asyncio
    allow("prlimit64", equal(0, 0), equal(2, 0))  # to read its own limits
    allow("sched_setaffinity", equal(0, 0))
    for call, position, values in (
        ("prctl", 0, (_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA)),
        ("fcntl", 1, _FCNTL),
        ("ioctl", 1, _IOCTL),
    ):
        for value in values:
            allow(call, equal(position, value))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow(seccomp: Any, rules: Any, call: str, *conditions: Any) -> None:
    """Allows a call, if this processor and this libseccomp know it."""
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
    if number >= 0:
        rules.add_rule(seccomp.ALLOW, number, *conditions)
