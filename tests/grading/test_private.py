"""A teacher's own exercises: the worked example of the guide, and what is wrong with others."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from course_lib.cli.shared import app
from course_lib.errors import CourseError
from course_lib.grading.private import check_rubrics, declared_in, exercises_in
from course_lib.grading.submissions import course_exercises
from tests.grading import untidy

EXAMPLE = Path(__file__).parents[2] / "docs" / "private_exercises"
RIGHT = "# Exercise 101.1\ndef clip_gradient(gradient: Tensor, limit: float) -> Tensor:\n    return gradient * min(1.0, limit / max(float(gradient.norm()), 1e-9))"
WRONG = "# Exercise 101.1\ndef clip_gradient(gradient, limit):\n    return gradient.clamp(-limit, limit)"


def course(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own", ignore=shutil.ignore_patterns("__pycache__")))


def change(own: Path, old: str, new: str) -> None:
    text = (own / "clipping.py").read_text()
    assert old in text
    (own / "clipping.py").write_text(text.replace(old, new))


def test_the_worked_example_is_right(own: Path) -> None:
    result = course("rubric", "check", own)
    assert result.exit_code == 0 and "Everything is as it should be" in result.output, result.output
    assert declared_in(own, ["101.1"]) == {"101.1": ("import torch\nfrom torch import Tensor",)}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("points=2,", 'points=2, verb="sing",', "'sing' is none of"),
        ("reference=clip", "reference=lambda g, limit: g * 2", "the norm is at most"),
        ("manual_seed(seed)", "manual_seed(torch.seed() % 1000)", "gave other inputs the second time"),
        ("(10 * gradient, 1.0)", "(object(), 1.0)", "cannot be handed in"),
        ("lambda gradient, limit: gradient.clamp(-limit, limit)", "clip", "it passed; add a case"),
        ("lambda gradient, limit: gradient.clone(),", "lambda gradient, limit: gradient.clamp(-limit, limit),", "was taken for 'each value clipped'"),
        ("limit / norm)", "limit / nothing)", "NameError"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(own: Path, old: str, new: str, what: str) -> None:
    change(own, old, new)
    trouble = [one.trouble for one in check_rubrics(own, {}) if one.trouble]
    assert trouble and any(re.search(what, one) for one in trouble), trouble


def test_a_notebook_that_lacks_it_or_is_solved(own: Path) -> None:
    text = (own / "clipping.ipynb").read_text()
    (own / "clipping.ipynb").write_text(
        text.replace('raise NotImplementedError(\\"Exercise 101.1\\")', "return gradient")
    )
    assert "holds an answer already" in [one.trouble for one in check_rubrics(own, {})][3]
    (own / "clipping.ipynb").unlink()
    result = course("rubric", "check", own)
    assert result.exit_code == 1 and "no notebook in own/ has a cell for it" in result.output


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"101.1"', '"2.1"', "the id or the name of exercise 2.1"),
        ('"clip_gradient"', '"magnitude_mask"', "the id or the name of exercise 2.1"),
        ('"101.1"', '"mine"', "two numbers"),
        ("EXERCISES", "EXERCISE", "needs EXERCISES"),
        ("EXERCISES = (", "EXERCISES = (3,", "holds 3"),
        ("import torch\n", "import torch, no_such_module\n", "no_such_module"),
    ],
)
def test_what_cannot_be_used_is_refused(own: Path, old: str, new: str, said: str) -> None:
    change(own, old, new)
    with pytest.raises(CourseError, match=said):
        exercises_in(own, course_exercises())


def test_no_folder_and_no_rubric(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="no folder"):
        exercises_in(tmp_path / "no", {})
    with pytest.raises(CourseError, match="holds no rubric"):
        exercises_in(tmp_path, {})


def test_course_grade_with_own_exercises(own: Path, tmp_path: Path) -> None:
    """The whole command, at the strictest level: handed in without metadata and without the set-up cell."""
    for learner, source in (("ada", RIGHT), ("bob", WRONG), ("cem", None)):
        (tmp_path / "in" / learner).mkdir(parents=True)
        data = untidy.notebook([untidy.code(source)]) if source else (own / "clipping.ipynb").read_bytes()
        (tmp_path / "in" / learner / "clipping.ipynb").write_bytes(data)
    result = course("grade", tmp_path / "in", "--out", tmp_path / "out", "--rubrics", own, "--seed", 4, "--jobs", 1)
    assert result.exit_code == 0, result.output
    found = {one["learner"]: one for one in json.loads((tmp_path / "out" / "grades.json").read_text())["learners"]}
    assert {name: one["points"] for name, one in found.items()} == {"ada": 2, "bob": 0, "cem": 0}
    assert found["bob"]["exercises"]["101.1"]["mistake"] == "each value clipped"
    assert found["cem"]["exercises"]["101.1"]["status"] == "not attempted"
    assert "Isolation: " in result.output and "The reports lie in" in result.output
    again = course("grade", tmp_path / "in", "--out", tmp_path / "out", "--rubrics", own)
    assert again.exit_code == 0 and "3 of 3 are graded already" in again.output
    refused = course("grade", tmp_path / "in", "--out", tmp_path / "out")
    assert refused.exit_code == 2 and "Pass the same --rubrics" in refused.stderr


def test_course_grade_refuses(tmp_path: Path) -> None:
    for arguments, said in (
        (["--require-isolation", "perfect"], "perfect"),
        (["--dask", "tcp://localhost:8786"], "Dask is not installed|not encrypted"),
    ):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "ada.ipynb").write_bytes(untidy.plain())
        result = course("grade", tmp_path / "in", "--out", tmp_path / "out", *arguments)
        assert result.exit_code == 2 and re.search(said, result.stderr), result.output
