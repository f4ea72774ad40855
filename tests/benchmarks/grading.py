"""Seconds per submission of four exercises that use torch: our grader, warm and plain, beside nbgrader and otter.

Warm, sandboxes serve the whole class; plain, each submission has a sandbox of its own; "each alone", each exercise has.
In all three, each exercise has a process of its own, confined. The other graders run one kernel per submission.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from course_lib.authoring import solution_source
from course_lib.grading import isolation
from course_lib.grading.batch import Run, by_submission, in_threads
from course_lib.grading.records import Job
from course_lib.grading.runner import Runner
from tests.benchmarks import graders
from tests.benchmarks.side_by_side import Row

ROUNDS = 3
SUBMISSIONS = {"warm": 20, "plain": 20, "each alone": 2}  # in each round
GOALS = {("warm", "nbgrader autograde"): 1 / 10, ("plain", "nbgrader autograde"): 1 / 2}
CORES = 2


def run() -> list[Row]:
    """Round by round, each after the other: so that a busy machine is busy for all of them."""
    if not sys.platform.startswith("linux"):
        print("grading: sandboxes need Linux")
        return []
    with (
        graders.nbgrader(ROUNDS) as autograde,
        graders.otter(ROUNDS) as otter_run,
        Runner() as warm,
        Runner(warm=False) as plain,
    ):
        peers = {"nbgrader autograde": autograde, "otter run": otter_run}
        ours = {
            "warm": in_threads(warm.run, CORES),
            "plain": by_submission(plain.run_submission, CORES),
            "each alone": in_threads(plain.run, CORES),
        }
        grade_class(ours["warm"], CORES)  # its sandboxes start once for a whole class
        seconds = measured(ours, {name: grade for name, grade in peers.items() if grade})
    print("  rounds:", {name: [round(value, 2) for value in values] for name, values in seconds.items()})
    return rows({name: statistics.median(values) for name, values in seconds.items()})


def measured(ours: dict[str, Run], peers: dict[str, Callable[[str], float]]) -> dict[str, list[float]]:
    """Name -> seconds per submission in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in (*peers, *ours)}
    for number in range(ROUNDS):
        for name, grade in peers.items():
            seconds[name].append(grade(f"learner{number}"))
        for name, run_all in ours.items():
            seconds[name].append(grade_class(run_all, SUBMISSIONS[name]))
    return seconds


def rows(median: dict[str, float]) -> list[Row]:
    """Each of our forms beside each peer, or alone where there is none."""
    level = isolation.probe().level
    peers = [name for name in ("nbgrader autograde", "otter run") if name in median] or [""]
    return [
        Row(
            f"submission of 4 exercises, {form}, isolation {level}{', beside otter' if peer == 'otter run' else ''}",
            median[form],
            "s",
            median.get(peer),
            peer,
            GOALS.get((form, peer)),
        )
        for form in SUBMISSIONS
        for peer in peers
    ]


def grade_class(run_all: Run, n_submissions: int) -> float:
    """Seconds per submission, over as many threads as there are cores."""
    jobs = [
        Job(key, solution_source(key), (graders.SETUP,), 7, 120.0, submission=number)
        for number in range(n_submissions)
        for key in graders.TESTS
    ]
    start = time.perf_counter()
    outcomes = [outcome for _, outcome in run_all(jobs)]
    seconds = time.perf_counter() - start
    assert all(outcome.status == "passed" for outcome in outcomes), {outcome.feedback for outcome in outcomes}
    return seconds / n_submissions
