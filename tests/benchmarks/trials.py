"""fit_trials against fit on one network after the other, at the loop's better number of torch threads."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from course_lib.data import load
from course_lib.models import lenet_300_100, small_cnn
from course_lib.training import fit, fit_trials
from tests.benchmarks.side_by_side import Row, medians

WORK = {"LeNet-300-100, 300 steps": (lenet_300_100, 300), "small_cnn, 100 steps": (small_cnn, 100)}
THREADS = (1, 2)


def run(repetitions: int = 3) -> Iterator[Row]:
    """Five and ten seeds of each network; the goal is to be 1.5 times as fast."""
    fit_trials([small_cnn(), small_cnn()], load("digits").train, steps=2)
    for name in WORK:
        for n in (5, 10):
            yield compare(name, n, repetitions)


def compare(name: str, n: int, repetitions: int) -> Row:
    """One row."""
    build, steps = WORK[name]
    split = load("digits").train

    def together() -> None:
        fit_trials([build() for _ in range(n)], split, steps=steps)

    def one_by_one(threads: int) -> None:
        torch.set_num_threads(threads)
        for seed in range(n):
            fit(build(), split, steps=steps, seed=seed)
        torch.set_num_threads(1)

    loops = {f"loop, {threads} threads": lambda threads=threads: one_by_one(threads) for threads in THREADS}
    seconds = medians({"ours": together, **loops}, repetitions=repetitions, warmup=0)
    best = min(loops, key=seconds.__getitem__)
    return Row(f"{n} trials of {name}", seconds["ours"], "s", seconds[best], best, goal=0.67)
