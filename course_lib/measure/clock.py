"""Honest clocks: the median of many runs after a warm-up, with its spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from course_lib.errors import require_positive


@dataclass(frozen=True)
class Latency:
    """The time of one call: median and interquartile range, in milliseconds."""

    median_ms: float
    iqr_ms: float

    def __str__(self) -> str:
        return f"{self.median_ms:.3g} ms (middle half of the runs within {self.iqr_ms:.2g} ms)"


def latency(
    fn: Callable[[], object],
    *,
    runs: int = 30,
    warmup: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> Latency:
    """The median time of `fn()`, in milliseconds, after a warm-up, and the spread of the middle half of the runs.

    The first calls pay for memory and caches, so they are thrown away; the median forgives the one run in which
    the computer did something else, which a mean does not.

    Args:
        fn: called without arguments; what it returns is ignored.
        runs: calls that are timed, at least 4.
        warmup: calls before, not timed, at least 0.
        clock: returns the time in seconds.

    Raises:
        CourseError: too few runs for a spread.

    >>> latency(lambda: sum(range(100))).median_ms < 1000
    True

    Lesson 01.
    """
    require_positive("runs", runs, at_least=4)
    require_positive("warmup", warmup, at_least=0)
    for _ in range(warmup):
        fn()
    times_ms = [timed_ms(fn, clock) for _ in range(runs)]
    first, _, third = statistics.quantiles(times_ms, n=4)
    return Latency(statistics.median(times_ms), third - first)


def timed_ms(fn: Callable[[], object], clock: Callable[[], float]) -> float:
    """The time of one call in milliseconds."""
    start = clock()
    fn()
    return 1000 * (clock() - start)
