"""A process and everything it started: who they are, what they use, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Child:
    """A process of ours and, once it has ended, its exit status, or minus the signal that ended it."""

    pid: int
    number: int | None = None

    def has_ended(self) -> bool:
        """Whether it has ended; never waits."""
        if self.number is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.number = os.waitstatus_to_exitcode(status) if pid else None
        return self.number is not None


def parents() -> dict[int, int]:
    """Process -> its parent, for all that can be seen; empty where there is no /proc."""
    found = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[int(name)] = int(fields(int(name))[1])
    return found


def fields(pid: int) -> list[str]:
    """What /proc/PID/stat says after the name of the program: state, parent, …"""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def descendants(root: int) -> list[int]:
    """All processes below this one, its own not counted."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked
        found += children.get(pid, ())
    return found


def resident_bytes(pid: int) -> int:
    """Memory in use, also what is shared; 0 for a process that is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def thread_count(pids: Iterable[int]) -> int:
    """Threads, added up."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(fields(pid)[17])
    return total


def end_all(child: Child) -> int:
    """End the child and all that it started, also what it hid in a session of its own; returns how the child ended.

    The caller must be the one that orphans fall to. All are stopped before any is killed, so that none gets away.
    """
    stopped: set[int] = set()
    while fresh := set(descendants(os.getpid())) - stopped:
        signal_all(fresh, signal.SIGSTOP)
        stopped |= fresh
    signal_all({*stopped, *([] if child.has_ended() else [child.pid])}, signal.SIGKILL)
    while not child.has_ended() or any_left():
        signal_all(set(descendants(os.getpid())), signal.SIGKILL)
        time.sleep(0.001)
    return child.number


def any_left() -> bool:
    """Whether this process still has children; those that have ended are cleared away."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    return False


def signal_all(pids: set[int], number: int) -> None:
    """Send a signal to each; one that is gone does not matter."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)
