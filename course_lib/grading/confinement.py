"""What a process does to itself before it touches an answer: limits, Landlock, system call filter; and a proof of it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from course_lib.grading import landlock, seccomp

try:
    import resource
except ImportError:  # Windows, where nothing is graded
    resource = None

MIB = 2**20
FILE_MIB, OPEN_FILES = 32, 64
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_NO_NEW_PRIVILEGES, SET_CHILD_SUBREAPER = 1, 4, 38, 36
KILL = 9


@dataclass(frozen=True)
class Rules:
    """What a sandbox is told once, before anything else: how strictly, and where files may be read and written."""

    level: str
    scratch: str
    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    forbidden: str  # a file of the grader that must not open; the proof tries it

    def landlock_descriptor(self) -> int | None:
        """The rules on files, prepared once for all forks; None where the level does not ask for them."""
        wanted = self.level == "kernel" or (self.level == "full" and landlock.abi() >= landlock.NEEDED_ABI)
        hidden = () if self.level == "full" else self.hidden  # there, nothing is mounted where it was
        return landlock.ruleset(self.readable, hidden, (self.scratch, "/dev/null")) if wanted else None


def prctl(option: int, value: int) -> None:
    """Set a property of this process; Linux only, elsewhere nothing happens."""
    if sys.platform == "linux":
        landlock.library().prctl(option, value, 0, 0, 0)


def guard_supervisor() -> None:
    """Hide this process's memory, inherit orphans, and end with the parent."""
    prctl(SET_DUMPABLE, 0)
    prctl(SET_CHILD_SUBREAPER, 1)
    prctl(SET_PARENT_DEATH_SIGNAL, KILL)


def confine(level: str, rules: int | None, megabytes: int, seconds: float) -> None:
    """Give up, for good, what an answer does not need."""
    prctl(SET_PARENT_DEATH_SIGNAL, KILL)
    prctl(SET_NO_NEW_PRIVILEGES, 1)
    limit(megabytes, seconds)
    if rules is not None:
        landlock.restrict(rules)
    if level != "process":
        seccomp.restrict()


def limit(megabytes: int, seconds: float) -> None:
    """Bounds that every Unix knows; a little memory is kept back for reporting that there was none left."""
    memory = address_space() + megabytes * MIB
    bounds = {
        "RLIMIT_AS": (memory, memory + 64 * MIB),
        "RLIMIT_CPU": (int(seconds) + 2, int(seconds) + 3),
        "RLIMIT_FSIZE": (FILE_MIB * MIB,) * 2,
        "RLIMIT_NOFILE": (OPEN_FILES,) * 2,
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_MEMLOCK": (0, 0),
        "RLIMIT_MSGQUEUE": (0, 0),
    }
    for name, (soft, hard) in bounds.items():
        if hasattr(resource, name):
            with contextlib.suppress(ValueError, OSError):  # macOS knows some of the names only
                resource.setrlimit(getattr(resource, name), (soft, hard))


def release_memory_reserve() -> None:
    """Use the memory that was kept back."""
    with contextlib.suppress(ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def address_space() -> int:
    """Bytes of address space in use, most of it torch's libraries."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 16 * 2**30


def attempts(rules: Rules) -> dict[str, Callable[[], object]]:
    """What must fail in a confined process, in words, and how it is tried."""

    def connect() -> None:
        import socket

        socket.create_connection(("127.0.0.1", 9), timeout=1)

    def fork() -> None:
        if os.fork() == 0:
            os._exit(0)

    def write() -> None:
        path = f"{rules.forbidden}.{os.getpid()}"
        open(path, "ab").close()  # noqa: SIM115
        os.unlink(path)

    return {
        "reading the grader's files": lambda: open(rules.forbidden, "rb").close(),  # noqa: SIM115
        "writing outside its folder": write,
        "changing a file's mode": lambda: os.chmod(rules.scratch, 0o777),
        "starting a process": fork,
        "signalling another process": lambda: os.kill(os.getppid(), 0),
        "opening a connection": connect,
    }


def failed_to_stop(rules: Rules) -> list[str]:
    """Try what must not work, after `confine`; returns what worked all the same."""
    worked = []
    for words, attempt in attempts(rules).items():
        try:
            attempt()
        except PermissionError:
            continue
        except OSError as error:
            if words in ("reading the grader's files", "writing outside its folder"):
                continue  # not there, or read-only: as good as forbidden
            worked.append(f"{words} ({error})")
        else:
            worked.append(words)
    return worked
