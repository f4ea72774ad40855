"""What every benchmark needs: interleaved medians, the memory of a child process, and the table."""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """One line of the table: our number, the peer's, and the ratio (or, without a peer, the number) to stay under."""

    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours / the peer's."""
        return None if self.peer is None else self.ours / self.peer

    @property
    def verdict(self) -> str:
        """The goal and whether it is met."""
        if self.goal is None:
            return "–"
        if self.ratio is None:
            return f"≤ {self.goal:g} {self.unit} {'met' if self.ours <= self.goal else 'MISSED'}"
        return f"≤ {self.goal:.3g}× {'met' if self.ratio <= self.goal else 'MISSED'}"


def print_table(rows: Sequence[Row]) -> None:
    """The table as text."""
    cells = [("", "ours", "peer", "ratio", "goal")]
    for row in rows:
        peer = "–" if row.peer is None else f"{row.peer:.3g} {row.unit} ({row.peer_name})"
        ratio = "–" if row.ratio is None else f"{row.ratio:.3f}×"
        cells.append((row.what, f"{row.ours:.3g} {row.unit}", peer, ratio, row.verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def medians(candidates: Mapping[str, Callable[[], object]], *, repetitions: int, warmup: int = 1) -> dict[str, float]:
    """The median seconds of each candidate, one after the other inside each repetition."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in range(warmup + repetitions):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if repetition >= warmup:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class PeakMemory:
    """How far this process's memory rises inside a `with` block, in MiB, looked at every millisecond."""

    def __enter__(self) -> PeakMemory:
        import psutil

        self.process, self.done = psutil.Process(), threading.Event()
        self.before = self.highest = self.process.memory_info().rss
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def watch(self) -> None:
        """Look until the block ends."""
        while not self.done.wait(0.001):
            self.highest = max(self.highest, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.highest = max(self.highest, self.process.memory_info().rss)
        self.done.set()
        self.watcher.join()

    @property
    def mib(self) -> float:
        """The rise."""
        return (self.highest - self.before) / 2**20


def child(code: str) -> str:
    """Run Python code in a process of its own, in the repository; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        raise RuntimeError(f"the child process failed:\n{done.stderr[-2000:]}")
    return done.stdout
