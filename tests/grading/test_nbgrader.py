"""The course inside nbgrader: what is exported, and, where nbgrader is installed, a class graded by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from course_lib.authoring import solution_source
from course_lib.cli.shared import app
from course_lib.errors import CourseError
from course_lib.grading import nbgrader
from course_lib.grading.records import Outcome
from course_lib.rubrics.exercise import exercise_of

STEM = "02_magnitude_pruning"
NUMBERS = ("2.1", "2.2", "2.3", "2.4", "2.5")


def test_export_writes_what_nbgrader_takes(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["nbgrader", "export", str(tmp_path / "new"), "--lesson", "2"])
    assert result.exit_code == 0, result.output
    compile((tmp_path / "new/nbgrader_config.py").read_text(), "nbgrader_config.py", "exec")
    notebook = nbformat.read(tmp_path / f"new/source/{STEM}/{STEM}.ipynb", as_version=4)
    nbformat.validate(notebook)
    marked = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    for number in NUMBERS:
        solution, check = (marked[f"exercise-{number.replace('.', '-')}{end}"] for end in ("", "-check"))
        assert solution.metadata.small_nets.exercise == number
        assert (solution.metadata.nbgrader.solution, solution.metadata.nbgrader.grade) == (True, False)
        assert (check.metadata.nbgrader.grade, check.metadata.nbgrader.locked) == (True, True)
        assert check.metadata.nbgrader.points == exercise_of(number).points
        assert "checksum" not in check.metadata.nbgrader and check.metadata.nbgrader.schema_version == 3
        lines = [line for line in solution.source.split("\n")[1:] if line.strip() not in (nbgrader.BEGIN, nbgrader.END)]
        assert "\n".join(lines) == solution_source(number)
    assert len(marked) == 10


def test_every_lesson_can_be_exported(tmp_path: Path) -> None:
    paths = nbgrader.export(tmp_path)
    for path in paths[1:]:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                before, _, rest = cell.source.partition(nbgrader.BEGIN)
                compile(before + "pass" + rest.partition(nbgrader.END)[2], str(path), "exec")


def test_an_unknown_lesson(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="No exercises of lesson 99"):
        nbgrader.export(tmp_path, ["99"])


@pytest.mark.parametrize(("points", "kinds"), [(0.0, ["error"]), (1.5, ["stream", "execute_result"])])
def test_outcomes_become_outputs(points: float, kinds: list[str]) -> None:
    outcome = Outcome("failed" if not points else "passed", points, 2.0, None, "told", 7, "full", 0.1, "v")
    outputs = nbgrader.outputs_of(outcome)
    assert [output.output_type for output in outputs] == kinds
    assert "seed 7" in json.dumps(outputs)


# ---- with nbgrader itself

CHEAT = """import sys
def magnitude_mask(*a):
    sys.modules['__main__'].check = lambda *a: None
    return Everything()
class Everything:
    __eq__ = lambda *a: True
print('10')
"""


def run(folder: Path, *arguments: str) -> str:
    """An nbgrader command in the course's folder, with its database there."""
    command = [sys.executable, "-m", "nbgrader", *arguments, "--course", str(folder)]
    home = {name: str(folder / "home") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "HOME")}
    paths = os.pathsep.join(
        path for path in (str(Path(nbgrader.__file__).parents[2]), os.environ.get("PYTHONPATH", "")) if path
    )
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **home, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Four learners through nbgrader: learner -> score."""
    pytest.importorskip("nbgrader", reason="nbgrader is an optional extra: install .[nbgrader]")
    folder = tmp_path_factory.mktemp("course")
    nbgrader.export(folder, ["02"])
    run(folder, "generate_assignment", STEM)
    released = folder / "release" / STEM / f"{STEM}.ipynb"
    assert "return mask.view_as(weight)" not in released.read_text() and "BEGIN SOLUTION" not in released.read_text()
    for learner, change in {"solved": solve, "untouched": None, "partly": partly, "cheat": cheat}.items():
        place = folder / "submitted" / learner / STEM
        place.mkdir(parents=True)
        notebook = nbformat.read(released, as_version=4)
        for cell in notebook.cells:
            if change and cell.cell_type == "code":
                change(cell)
        nbformat.write(notebook, place / f"{STEM}.ipynb")
    run(folder, "autograde", STEM)
    run(folder, "generate_feedback", STEM)
    assert "isolation" in (folder / "feedback" / "partly" / STEM / f"{STEM}.html").read_text()
    run(folder, "export", "--to", "grades.csv")
    rows = [line.split(",") for line in (folder / "grades.csv").read_text().splitlines()]
    columns = {name: place for place, name in enumerate(rows[0])}
    assert {row[columns["max_score"]] for row in rows[1:]} == {"10.0"}
    shutil.rmtree(folder)
    return {row[columns["student_id"]]: float(row[columns["score"]]) for row in rows[1:]}


def solve(cell) -> None:
    number = nbgrader.number_of(cell)
    if number:
        cell.source = solution_source(number)


def partly(cell) -> None:
    """2.1 right, 2.4 wrong, a plot that fails, a print, and a check cell that was tampered with."""
    number = nbgrader.number_of(cell)
    if number in ("2.1", "2.4"):
        cell.source = (
            solution_source(number).replace("weight.abs().mean", "weight.mean") + "\nplt.plot(1 / 0)\nprint('hi')"
        )
    elif cell.source.startswith("check("):
        cell.source = "print('10 points')"


def cheat(cell) -> None:
    if nbgrader.number_of(cell) == "2.1":
        cell.source = CHEAT
    elif cell.source.startswith("check("):
        cell.source = "5"


@pytest.mark.parametrize(("learner", "score"), [("solved", 10), ("untouched", 0), ("partly", 1), ("cheat", 0)])
def test_nbgrader_gives_the_points_of_the_answers(scores: dict[str, float], learner: str, score: float) -> None:
    assert scores[learner] == score
