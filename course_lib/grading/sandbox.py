"""The grader's side of one sandbox: start it, speak with it under a time-out, end it with everything in it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict

from course_lib.grading import isolation
from course_lib.grading.confinement import Rules
from course_lib.grading.warm import End, read_exactly, write_frame

START_SECONDS = 120  # importing torch from a cold disk on a busy machine
GRACE_SECONDS = 10  # beyond a job's own time, for a sandbox that does not answer


class SandboxError(RuntimeError):
    """The sandbox did not start, or ended, or did not answer; never the fault of a right answer."""


class Sandbox:
    """A confined process that runs jobs one after another.

    It must be started from a thread that lives as long as it does: the kernel ends it with that thread.
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._folder = None if level == "full" else tempfile.TemporaryDirectory(prefix="sandbox-")
        self._scratch = self._folder.name if self._folder else isolation.SCRATCH
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = self._start()

    def _start(self) -> subprocess.Popen:
        try:
            return subprocess.Popen(
                isolation.command(self.level),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={} if self.level == "full" else isolation.settings(self.level, self._scratch),
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._tidy()
            raise SandboxError(f"the sandbox could not be started: {error}") from None

    def proof(self) -> list[str]:
        """What a confined process could do although it must not; nothing where the sandbox holds."""
        rules = Rules(
            self.level,
            self._scratch,
            tuple(isolation.readable_paths()),
            tuple(isolation.hidden_paths()),
            str(isolation.FORBIDDEN),
        )
        with self._deadline(START_SECONDS):
            self._send(json.dumps(asdict(rules)).encode())
            return json.loads(self._receive(2**16))

    def load(self) -> None:
        """Import torch in it.

        Raises:
            SandboxError: it lets something through that it must stop, or did not start.
        """
        problems = self.proof()
        if problems:
            raise SandboxError(f"isolation {self.level!r} does not hold: {'; '.join(problems)}")
        with self._deadline(START_SECONDS):
            self._send(b"load")
            self._receive(16)

    def run(self, job: bytes, *, seconds: float, megabytes: int, cap: int) -> tuple[End, bytes]:
        """Run one job; returns how its process ended, and at most `cap` bytes of result."""
        limits = {"seconds": seconds, "megabytes": megabytes, "cap": cap}
        with self._deadline(seconds + GRACE_SECONDS):
            self._send(json.dumps(limits).encode())
            self._send(job)
            end = End(**json.loads(self._receive(2**12)))
            return end, self._receive(cap)

    def close(self) -> None:
        """End it and everything in it, and remove its folder."""
        if self.level == "full":
            self._process.kill()  # bubblewrap takes everything with it
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # at this, it clears up and ends by itself
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._tidy()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tidy(self) -> None:
        self._errors.close()
        if self._folder:  # `rm` also removes what is nested too deep for Python
            subprocess.run(["rm", "-rf", "--", self._folder.name], check=False, stderr=subprocess.DEVNULL)
            with contextlib.suppress(OSError):
                self._folder.cleanup()

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        """Kill the sandbox when the block takes longer; whoever waits for its pipes is then told."""
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, ValueError, TypeError) as error:  # a closed pipe, or a reply that is none
            raise SandboxError(f"the sandbox ended ({error or 'no reply'}){self._said()}") from None
        finally:
            timer.cancel()

    def _send(self, data: bytes) -> None:
        write_frame(self._process.stdin, data)

    def _receive(self, cap: int) -> bytes:
        """One frame of at most `cap` bytes."""
        head = read_exactly(self._process.stdout, 8)
        length = int.from_bytes(head, "little")
        if not head or length > cap:
            raise ValueError(f"a reply of {length} bytes" if head else "no reply")
        data = read_exactly(self._process.stdout, length)
        if len(data) != length:
            raise ValueError("half a reply")
        return data

    def _said(self) -> str:
        """The last line that bubblewrap or Python wrote before the end."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(1)
            self._errors.seek(0)
            lines = self._errors.read(2**16).decode(errors="replace").strip().splitlines()
            return f": {lines[-1]}" if lines else ""
        return ""
