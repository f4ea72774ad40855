"""Whole notebooks in a real browser, as a learner runs them: no error, no unanswered input, a clean console."""

from __future__ import annotations

import pytest

from tests.browser.lab import REPOSITORY
from tests.browser.page import open_notebook

ALWAYS = ("lessons/00_", "lessons/01_")
NOTEBOOKS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for folder in ("lessons", "exercises", "solutions")
    for path in (REPOSITORY / folder).glob("*.ipynb")
)
EXERCISES = sorted((REPOSITORY / "exercises").glob("02_*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(path, request) -> None:
    if not path.startswith(ALWAYS) and not request.config.getoption("--all-lessons", default=False):
        pytest.skip("two lessons and one exercise notebook are run in full; --all-lessons runs every notebook")
    browser, lab = request.getfixturevalue("browser"), request.getfixturevalue("lab")  # not started for what is skipped
    with open_notebook(browser, lab, path) as notebook:
        cells = notebook.run_all().outputs()
        assert not notebook.errors(), notebook.errors()
        assert not notebook.complaints(), notebook.complaints()
    assert any(cell["text"] for cell in cells)


@pytest.mark.parametrize("path", [f"exercises/{path.name}" for path in EXERCISES])
def test_a_check_says_not_attempted_then_names_the_mistake_then_passes(path, browser, lab) -> None:
    right = pytest.importorskip("course_lib.authoring").solution_source("2.1")
    wrong = right.replace(".abs()", "")
    assert wrong != right, "exercise 2.1 no longer takes absolute values: choose another mistake for this test"
    with open_notebook(browser, lab, path) as notebook:
        untouched = notebook.run_all().outputs()
        checks = [cell for cell in untouched if calls_check(cell)]
        assert checks, "the notebook checks nothing"
        for cell in checks:
            assert "not attempted" in cell["text"].lower(), f"{cell['id']} says {cell['text']!r}"
        stub = next(cell for cell in untouched if 'NotImplementedError("Exercise 2.1")' in cell["source"])
        notebook.write_cell(stub["id"], wrong)
        said = output_of(notebook.run_all(), checks[0]["id"])
        assert "sign" in said or "absolute" in said, f"the check does not name the mistake: {said!r}"
        assert "passed" not in said
        notebook.write_cell(stub["id"], right)
        assert "passed" in output_of(notebook.run_all(), checks[0]["id"])
        assert not notebook.errors() and not notebook.complaints()


def calls_check(cell: dict) -> bool:
    """True for a cell whose code calls `check(…)` on a line of its own."""
    return cell["type"] == "code" and any(line.startswith("check(") for line in cell["source"].splitlines())


def output_of(notebook, cell_id: str) -> str:
    """Return what one cell put out, in lower case."""
    return next(cell["text"] for cell in notebook.outputs() if cell["id"] == cell_id).lower()
