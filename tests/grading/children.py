"""The processes of our sandboxes. What other tests of the same process have started comes and goes, and is not ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from course_lib.grading import processes


def sandboxes() -> set[int]:
    """The sandboxes that this process has started, and all that runs in them."""
    tops = filter(is_sandbox, processes.descendants(os.getpid()))
    return {pid for top in tops for pid in (top, *processes.descendants(top))}


def is_sandbox(pid: int) -> bool:
    """Whether this is the command of a sandbox."""
    return "course_lib.grading.warm" in command_line(pid)


def command_line(pid: int) -> str:
    """How a process was started; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def left_of(pids: Iterable[int], seconds: float = 10) -> list[int]:
    """Those that have not ended, after waiting for them: the kernel takes a moment over the end of a sandbox."""
    deadline = time.monotonic() + seconds
    while (left := list(filter(is_alive, pids))) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return processes.fields(pid)[0] != "Z"
    except OSError:
        return False
