"""Landlock, by its three system calls: from here on this process opens nothing but what is listed."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from functools import cache

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
NEEDED_ABI = 3  # Linux 6.2; before it, files could be truncated

WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
MAKE_DEVICES = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11  # character devices, sockets, named pipes, block devices
EVERYTHING = {3: (1 << 15) - 1, 5: (1 << 16) - 1}  # abi -> all rights on files
TCP = 0b11  # from abi 4: bind and connect
SCOPES = 0b11  # from abi 6: abstract sockets and signals stay inside
READ = READ_FILE | READ_DIR
ON_FILES = WRITE_FILE | READ_FILE | TRUNCATE  # the rights that make sense for a single file


@cache
def library() -> ctypes.CDLL:
    """The C library."""
    return ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The version of Landlock that the kernel speaks; 0 without Landlock."""
    return max(0, library().syscall(CREATE_RULESET, None, 0, 1))


def ruleset(readable: Iterable[str], hidden: Iterable[str], writable: Iterable[str]) -> int:
    """A descriptor of the rules: read what is readable and not hidden, write what is writable, nothing else."""
    version = abi()
    rights = EVERYTHING[5 if version >= 5 else 3]
    attributes = (ctypes.c_uint64 * 3)(rights, TCP, SCOPES)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = call(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    for root in filter(os.path.exists, readable):
        allow(rules, root, READ_DIR)  # rights reach all the way down: names may be seen, also the hidden ones
        for path in without(root, tuple(hidden)):
            allow(rules, path, READ)
    for path in writable:
        allow(rules, path, rights & ~MAKE_DEVICES if os.path.isdir(path) else ON_FILES)
    return rules


def restrict(rules: int) -> None:
    """Put the rules in force for this process and its children, for good; needs no-new-privileges."""
    call(RESTRICT_SELF, rules, 0)
    os.close(rules)


def without(root: str, hidden: tuple[str, ...]) -> Iterator[str]:
    """The largest parts of a tree that hold nothing hidden; what does not exist is left out."""
    root = os.path.realpath(root)
    inside = tuple(path for path in map(os.path.realpath, hidden) if path == root or path.startswith(root + os.sep))
    if root in inside or not os.path.exists(root):
        return
    if not inside:
        yield root
        return
    for name in sorted(os.listdir(root)):
        yield from without(os.path.join(root, name), inside)


def allow(rules: int, path: str, rights: int) -> None:
    """Add one rule; a file only takes the rights that files have."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= ON_FILES
        if not rights:
            return
        rule = rights.to_bytes(8, "little") + descriptor.to_bytes(4, "little")  # packed, without a gap
        call(ADD_RULE, rules, 1, ctypes.c_char_p(rule), 0)
    finally:
        os.close(descriptor)


def call(number: int, *arguments: object) -> int:
    """A system call that raises OSError where it fails."""
    result = library().syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock refused system call {number}")
    return result
