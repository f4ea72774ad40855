"""Seconds per submission of four exercises that use torch: our grader, warm and plain, beside nbgrader's autograde.

nbgrader is asked for in COURSE_NBGRADER: a Python that has nbgrader, ipykernel and torch. Without it, only ours is measured.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from course_lib.authoring import solution_source
from course_lib.grading import isolation
from course_lib.grading.records import Job
from course_lib.grading.runner import Runner
from tests.benchmarks.side_by_side import Row

EXERCISES = ("2.1", "2.4", "2.5", "8.2")
SETUP = "from collections.abc import Callable\n\nimport torch\nfrom torch import Tensor, nn"
ROUNDS, WARM, PLAIN = 3, 20, 1  # rounds; submissions in each: 60 warm ones altogether
CORES = 2
TESTS = {
    "2.1": "assert magnitude_mask(torch.arange(8.0), 0.5).sum() == 4",
    "2.4": "assert torch.allclose(group_scores(torch.ones(2, 3, 3, 3), 'filter'), torch.ones(2))",
    "2.5": "assert masked_descent(torch.ones(2), torch.zeros(2), torch.tensor([True, False]), lambda w: w, 1, 0.1, 0.9)[1] == 0",
    "8.2": "assert saturating_codes(torch.ones(3), 1.0, 0, 8, True).tolist() == [1, 1, 1]",
}

AUTOGRADE = """
import sys, time
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config
config = Config()
config.CourseDirectory.root = sys.argv[1]
api = NbGraderAPI(config=config)
assert api.generate_assignment("homework")["success"]
print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    done = api.autograde("homework", line.strip(), force=True)
    seconds = time.perf_counter() - start
    assert done["success"], done["log"]
    score = api.gradebook.find_submission("homework", line.strip()).score
    print(seconds, score, flush=True)
"""


def run() -> list[Row]:
    """Round by round: nbgrader, plain, warm; so that a busy machine is busy for all of them."""
    if not sys.platform.startswith("linux"):
        print("grading: sandboxes need Linux")
        return []
    seconds: dict[str, list[float]] = {"nbgrader": [], "plain": [], "warm": []}
    with nbgrader() as autograde, Runner() as warm, Runner(warm=False) as plain:
        grade_class(warm, CORES)  # the sandboxes start once for a whole class
        for number in range(ROUNDS):
            if autograde:
                seconds["nbgrader"].append(autograde(f"learner{number}"))
            seconds["plain"].append(grade_class(plain, PLAIN))
            seconds["warm"].append(grade_class(warm, WARM))
    median = {name: statistics.median(values) for name, values in seconds.items() if values}
    print("  rounds:", {name: [round(value, 2) for value in values] for name, values in seconds.items()})
    peer = median.get("nbgrader")
    level = isolation.probe().level
    return [
        Row(
            f"submission of 4 exercises, {form}, isolation {level}", median[form], "s", peer, "nbgrader autograde", goal
        )
        for form, goal in (("warm", 1 / 10), ("plain", 1 / 2))
    ]


def grade_class(runner: Runner, n_submissions: int) -> float:
    """Seconds per submission, over as many threads as there are cores."""
    jobs = [Job(key, solution_source(key), (SETUP,), 7, 120.0) for key in EXERCISES] * n_submissions
    start = time.perf_counter()
    with ThreadPoolExecutor(CORES) as pool:
        outcomes = list(pool.map(runner.run, jobs))
    assert all(outcome.status == "passed" for outcome in outcomes), {outcome.feedback for outcome in outcomes}
    return (time.perf_counter() - start) / n_submissions


@contextlib.contextmanager
def nbgrader() -> Iterator[object]:
    """A function learner -> seconds for its autograde, in a process that has nbgrader imported already; or None."""
    python = os.environ.get("COURSE_NBGRADER", sys.executable if importlib.util.find_spec("nbgrader") else "")
    if not python:
        print("grading: no nbgrader; set COURSE_NBGRADER to a Python that has it")
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        write_course(Path(name))
        command = [python, "-c", AUTOGRADE, name]
        tools = {**os.environ, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"}  # it calls alembic
        with subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=-3, text=True, cwd=name, env=tools, bufsize=1
        ) as process:
            assert process.stdout.readline() == "ready\n"

            def autograde(learner: str) -> float:
                process.stdin.write(learner + "\n")
                seconds, score = process.stdout.readline().split()
                assert float(score) == len(EXERCISES)
                return float(seconds)

            autograde("learner0")  # its database is made with the first
            yield autograde
            process.stdin.close()


def write_course(folder: Path) -> None:
    """The same four exercises as an nbgrader assignment, and a solved submission of it for each round."""
    (folder / "nbgrader_config.py").write_text("c = get_config()\n", encoding="utf-8")
    write_notebook(folder / "source" / "homework" / "pruning.ipynb")
    for number in range(ROUNDS):
        write_notebook(folder / "submitted" / f"learner{number}" / "homework" / "pruning.ipynb")


def write_notebook(path: Path) -> None:
    """Set-up, answers, and a test cell of one point for each."""
    cells = [new_code_cell(SETUP)]
    for place, key in enumerate(EXERCISES):
        cells.append(new_code_cell(solution_source(key), metadata=mark(f"answer{place}", solution=True)))
        cells.append(new_code_cell(TESTS[key], metadata=mark(f"test{place}", grade=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


def mark(name: str, *, solution: bool = False, grade: bool = False) -> dict:
    """What nbgrader wants to know about a cell."""
    own = {"grade_id": name, "schema_version": 3, "solution": solution, "grade": grade, "locked": grade, "task": False}
    return {"nbgrader": {**own, "points": 1} if grade else own}
