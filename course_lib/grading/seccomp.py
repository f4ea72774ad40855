"""System call filtering with libseccomp: what computing needs is allowed, everything else is refused.

There is no way to start a program or a process, to open a connection, to signal or inspect another process, or to
change a file's owner or mode. A refused call fails with "operation not permitted", like any other error.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

NAMES = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 open openat close close_range lseek stat fstat
lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64 mkdir mkdirat rmdir unlink
unlinkat rename renameat renameat2 ftruncate fallocate fsync fdatasync flock dup dup2 dup3 pipe pipe2 umask getcwd chdir
fchdir statfs fstatfs copy_file_range sendfile fadvise64 listxattr llistxattr flistxattr getxattr lgetxattr fgetxattr
mmap mprotect munmap mremap brk madvise msync mincore membarrier futex futex_waitv set_robust_list get_robust_list rseq
set_tid_address gettid sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min exit exit_group arch_prctl restart_syscall nanosleep clock_nanosleep clock_gettime clock_getres
gettimeofday time times getcpu getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp
getsid uname sysinfo getrusage getrlimit setrlimit getrandom getpriority rt_sigaction rt_sigprocmask rt_sigreturn
rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack alarm setitimer getitimer pause poll ppoll select pselect6
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd eventfd2 wait4 waitid
"""
ALLOWED = tuple(NAMES.split())

ALLOW, REFUSE, NO_SUCH_CALL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
EQUAL, MASKED_EQUAL = 4, 7
CLONE_THREAD = 0x00010000
TERMINAL_QUESTIONS = (
    0x5401,
    0x5413,
    0x541B,
    0x5450,
    0x5451,
)  # is it a terminal, its size, bytes waiting, close on exec
FILE_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)  # duplicate, flags, locks; not "send me a signal"
THREAD_NAMES = (15, 16)


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`: a condition on one argument of a system call."""

    _fields_ = [
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """libseccomp, or None where it is not installed."""
    try:
        found = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        return None
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison),
    ]  # fmt: skip
    found.seccomp_load.argtypes = found.seccomp_release.argtypes = [ctypes.c_void_p]
    return found


def restrict() -> None:
    """Put the filter in force for this process, for good; it names this process, so call it after the fork.

    Raises:
        OSError: libseccomp is missing, or the kernel refused.
    """
    seccomp = library()
    if seccomp is None:
        raise OSError(errno.ENOSYS, "libseccomp is not installed")
    rules = seccomp.seccomp_init(REFUSE)
    try:
        for name in ALLOWED:
            add(rules, name)
        add_conditional(rules)
        failed = seccomp.seccomp_load(rules)
        if failed:
            raise OSError(-failed, "the kernel refused the system call filter")
    finally:
        seccomp.seccomp_release(rules)


def add_conditional(rules: int) -> None:
    """Calls that are harmless with some arguments only."""
    add(rules, "clone", Comparison(0, MASKED_EQUAL, CLONE_THREAD, CLONE_THREAD))  # threads, not processes
    add(rules, "clone3", action=NO_SUCH_CALL)  # its arguments cannot be seen; the C library then uses clone
    for name in ("kill", "tgkill", "prlimit64"):
        add(rules, name, Comparison(0, EQUAL, os.getpid(), 0))
    add(rules, "prlimit64", Comparison(0, EQUAL, 0, 0))
    for name, place, values in (
        ("ioctl", 1, TERMINAL_QUESTIONS),
        ("fcntl", 1, FILE_COMMANDS),
        ("prctl", 0, THREAD_NAMES),
    ):
        for value in values:
            add(rules, name, Comparison(place, EQUAL, value, 0))


def add(rules: int, name: str, *conditions: Comparison, action: int = ALLOW) -> None:
    """Add one rule; a call that this architecture does not have needs none."""
    number = library().seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return
    failed = library().seccomp_rule_add_array(
        rules, action, number, len(conditions), (Comparison * len(conditions))(*conditions)
    )
    if failed:
        raise OSError(-failed, f"libseccomp refused the rule for {name}")
