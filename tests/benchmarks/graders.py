"""Other graders, each in a process of its own that has imported it: learner in, seconds for grading that learner out.

A Python that has the grader, ipykernel and torch is named by COURSE_NBGRADER or COURSE_OTTER; without one it is left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from course_lib.authoring import solution_source

SETUP = "from collections.abc import Callable\n\nimport torch\nfrom torch import Tensor, nn"
TESTS = {
    "2.1": "assert magnitude_mask(torch.arange(8.0), 0.5).sum() == 4",
    "2.4": "assert torch.allclose(group_scores(torch.ones(2, 3, 3, 3), 'filter'), torch.ones(2))",
    "2.5": "assert masked_descent(torch.ones(2), torch.zeros(2), torch.tensor([True, False]), lambda w: w, 1, 0.1, 0.9)[1] == 0",
    "8.2": "assert saturating_codes(torch.ones(3), 1.0, 0, 8, True).tolist() == [1, 1, 1]",
}
Grade = Callable[[str], float]

BEGIN = """
import os, sys, time
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the grader prints is no reply
os.chdir(sys.argv[1])
def serve(grade):
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        score = grade(line.strip())
        print(time.perf_counter() - start, score, file=replies, flush=True)
"""
NBGRADER = """
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config
config = Config()
config.CourseDirectory.root = sys.argv[1]
api = NbGraderAPI(config=config)
assert api.generate_assignment("homework")["success"]
def grade(learner):
    done = api.autograde("homework", learner, force=True)
    assert done["success"], done["log"]
    return api.gradebook.find_submission("homework", learner).score
serve(grade)
"""
OTTER = """
from otter.generate import main as generate
from otter.run import main as run
generate(tests_dir="tests", no_config=True, no_requirements=True, no_environment=True)
def grade(learner):
    notebook = f"submitted/{learner}/homework/pruning.ipynb"
    return run(notebook, autograder="autograder.zip", output_dir=None, no_logo=True).total
serve(grade)
"""
OTTER_TEST = """
OK_FORMAT = True
test = {{"name": {name!r}, "points": 1, "suites": [{{
    "cases": [{{"code": {code!r}, "hidden": False}}], "scored": True, "setup": "", "teardown": "", "type": "doctest"}}]}}
"""


def nbgrader(n_learners: int) -> contextlib.AbstractContextManager[Grade | None]:
    """`nbgrader autograde`, through its API; None without nbgrader."""
    return serving("nbgrader", "COURSE_NBGRADER", NBGRADER, n_learners)


def otter(n_learners: int) -> contextlib.AbstractContextManager[Grade | None]:
    """`otter run`, its local form without containers, through its API; None without otter-grader."""
    return serving("otter", "COURSE_OTTER", OTTER, n_learners)


@contextlib.contextmanager
def serving(module: str, variable: str, script: str, n_learners: int) -> Iterator[Grade | None]:
    """A function learner0, learner1, … -> seconds; all points must have been given."""
    python = os.environ.get(variable, sys.executable if importlib.util.find_spec(module) else "")
    if not python:
        print(f"grading: no {module}; set {variable} to a Python that has it")
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        write_course(Path(folder), n_learners)
        command = [python, "-c", BEGIN + script, folder]
        with subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=-3, text=True, env=settings(python, folder), bufsize=1
        ) as process:
            assert process.stdout.readline() == "ready\n"

            def grade(learner: str) -> float:
                process.stdin.write(learner + "\n")
                seconds, score = process.stdout.readline().split()
                assert float(score) == len(TESTS)
                return float(seconds)

            grade("learner0")  # the first makes nbgrader's database, and compiles what the kernel imports
            yield grade
            process.stdin.close()


def settings(python: str, folder: str) -> dict[str, str]:
    """Our environment, with the grader's own commands (nbgrader calls alembic) and compiled modules, as ours has."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PATH": f"{Path(python).parent}:{os.environ['PATH']}", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}


def write_course(folder: Path, n_learners: int) -> None:
    """The exercises as an assignment of either grader, and solved submissions of it."""
    (folder / "nbgrader_config.py").write_text("c = get_config()\n", encoding="utf-8")
    (folder / "tests").mkdir()
    for place, test in enumerate(TESTS.values()):
        text = OTTER_TEST.format(name=f"q{place}", code=f">>> {test}\n")
        (folder / "tests" / f"q{place}.py").write_text(text, encoding="utf-8")
    write_notebook(folder / "source" / "homework" / "pruning.ipynb")
    for number in range(n_learners):
        write_notebook(folder / "submitted" / f"learner{number}" / "homework" / "pruning.ipynb")


def write_notebook(path: Path) -> None:
    """Set-up, answers, and a test cell of one point for each."""
    cells = [new_code_cell(SETUP)]
    for place, (key, test) in enumerate(TESTS.items()):
        cells.append(new_code_cell(solution_source(key), metadata=mark(f"answer{place}", solution=True)))
        cells.append(new_code_cell(test, metadata=mark(f"test{place}", grade=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


def mark(name: str, *, solution: bool = False, grade: bool = False) -> dict:
    """What nbgrader wants to know about a cell."""
    own = {"grade_id": name, "schema_version": 3, "solution": solution, "grade": grade, "locked": grade, "task": False}
    return {"nbgrader": {**own, "points": 1} if grade else own}
