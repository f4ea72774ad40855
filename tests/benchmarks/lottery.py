"""The search for tickets with its control: five trials, tickets and reinitialised twins, fourteen rounds."""

from __future__ import annotations

import time
from collections.abc import Iterator

from course_lib.data import load
from course_lib.experiments.lottery_tickets import newborn, trained_with, watched
from course_lib.models import lenet_300_100
from course_lib.pruning.lottery import find_tickets
from tests.benchmarks.side_by_side import Row

TRIALS, ROUNDS, STEPS = 5, 14, 250  # steps as in the lesson


def run() -> Iterator[Row]:
    """One row: the seconds of the whole search, watched every five steps as in the lesson."""
    folds = [load("digits", fold=fold) for fold in range(TRIALS)]
    train = watched(folds, steps=STEPS, every=5)
    build = lambda: lenet_300_100(folds[0].input_shape)
    watched(folds, steps=2, every=2)(newborn(build, seeds=range(TRIALS)), [{}] * TRIALS)  # imports torch.func
    start = time.perf_counter()
    ladder = find_tickets(newborn(build, seeds=range(TRIALS)), rounds=ROUNDS, train=train)
    for number, found in enumerate(ladder[1:], start=1):
        trained_with(found.masks, newborn(build, seeds=[1000 * number + trial for trial in range(TRIALS)]), train)
    seconds = time.perf_counter() - start
    yield Row(f"lottery: {TRIALS} trials × (ticket + reinit) × {ROUNDS} rounds, {STEPS} steps", seconds, "s", goal=40)
