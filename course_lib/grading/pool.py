"""Sandboxes that wait for their next job."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Executor

from course_lib.grading.sandbox import Sandbox
from course_lib.grading.warm import End


class Pool:
    """Hands out sandboxes that have imported torch, to any number of threads; use it in a `with` statement.

    Args:
        level: "full", "kernel" or "process".
        starter: starts them, in a thread that lives as long as they do: bubblewrap ends with it.
        keep: whether a sandbox that has run a job may run another; else each job gets a new one.
    """

    def __init__(self, level: str, starter: Executor, *, keep: bool) -> None:
        self._level, self._starter, self._keep = level, starter, keep
        self._idle: queue.LifoQueue[Sandbox] = queue.LifoQueue()
        self._closed = threading.Event()

    def take(self) -> Sandbox:
        """One that waits, else a new one.

        Raises:
            SandboxError: a new one did not start, or does not hold.
        """
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            sandbox = self._starter.submit(Sandbox, self._level).result()
        try:
            sandbox.load()
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def give_back(self, sandbox: Sandbox, end: End) -> None:
        """Keep it for the next job if nothing stayed behind of this one; else end it."""
        if self._keep and end.healthy and not self._closed.is_set():
            self._idle.put(sandbox)
        else:
            sandbox.close()

    def close(self) -> None:
        """End all that wait; those at work end when they are given back."""
        self._closed.set()
        while not self._idle.empty():
            self._idle.get().close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
