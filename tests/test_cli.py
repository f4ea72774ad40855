"""The `course` command: what it prints, what it refuses, and its exit statuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner, Result

from course_lib.cli import doctor, jupyter, offline, runs
from course_lib.cli.shared import app
from course_lib.errors import CourseError
from course_lib.workspace import Report

ROOT = Path(__file__).resolve().parent.parent
REPORT_A_CHECK = """\
import json, os
def check(function, points=2):
    try:
        status = "passed" if function(2) == 4 else "failed"
    except NotImplementedError:
        status = "not attempted"
    entry = {"exercise": function.__name__.replace("_", ".")[1:], "title": "Doubling", "status": status,
             "points": points if status == "passed" else 0, "max_points": points,
             "mistake": "adds one" if status == "failed" else None}
    with open(os.environ["COURSE_RESULTS"], "a") as file:
        file.write(json.dumps(entry) + "\\n")
"""


def course(*arguments: object, width: int = 200) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": str(width)})


def exercise_notebook(path: Path, answers: dict[str, str], *, marked: bool = True) -> Path:
    """Write a learner's notebook: per exercise the code of its answer, which a check follows."""
    cells = [nbformat.v4.new_code_cell(REPORT_A_CHECK)]
    for number, code in answers.items():
        metadata = {"small_nets": {"exercise": number}} if marked else {}
        cells.append(nbformat.v4.new_code_cell(f"# Exercise {number}\n{code}", metadata=metadata))
        cells.append(nbformat.v4.new_code_cell(f"check(e{number.replace('.', '_')})"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


# ---- the command itself


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from course_lib.cli import app\n"
        "print([name for name in ('torch', 'jupyterlab', 'matplotlib', 'nbclient', 'jupytext') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"


def test_every_command_explains_itself() -> None:
    top = course("--help")
    assert top.exit_code == 0
    for name in ("lab", "doctor", "build", "check", "data", "run", "progress"):
        assert name in top.output
        shown = course(name, "--help")
        assert shown.exit_code == 0 and len(shown.output) > 100
    assert "Small Nets 0." in course("--version").output


def test_a_course_error_is_told_without_a_traceback() -> None:
    result = course("build", "--check", "99")
    assert result.exit_code == 2 and "There is no lesson '99'" in result.stderr
    assert "Traceback" not in result.stderr and not isinstance(result.exception, CourseError)


# ---- lab


def test_lab_update_only_makes_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("course_lib.workspace.update_workspace", lambda f: asked.append(f) or Report(added=("a", "b")))
    monkeypatch.setattr(jupyter, "open_lab", lambda *a, **k: pytest.fail("opened"))
    result = course("lab", tmp_path / "mine", "--update-only")
    assert result.exit_code == 0 and "2 notebooks added" in result.output and asked == [tmp_path / "mine"]


def test_lab_opens_jupyterlab_and_hands_its_status_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr("course_lib.workspace.update_workspace", lambda folder: Report())
    monkeypatch.setattr(jupyter, "open_lab", lambda folder, **how: opened.append((folder, how)) or 3)
    assert course("lab", tmp_path, "--no-browser", "--port", 9999).exit_code == 3
    assert opened == [(tmp_path.resolve(), {"port": 9999, "browser": False})]
    assert course("lab", tmp_path, "--port", 0).exit_code == 2


def test_lab_command_opens_lesson_00_and_asks_nobody(tmp_path: Path) -> None:
    plain = jupyter.lab_command(tmp_path, tmp_path, port=None, browser=True)
    assert "--LabApp.default_url=/lab" in plain and "--no-browser" not in plain
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "00_start_here.ipynb").touch()
    line = jupyter.lab_command(tmp_path, tmp_path / "settings", port=9999, browser=False)
    assert "--LabApp.default_url=/lab/tree/lessons/00_start_here.ipynb" in line
    assert {"--no-browser", "--ServerApp.port=9999", f"--ServerApp.root_dir={tmp_path}"} <= set(line)


def test_the_report_of_an_update_is_told_in_words() -> None:
    report = Report(added=("a",), updated=("b",), kept=("c",), offered=("c.new",))
    text = "\n".join(jupyter.told(report, Path("mine")))
    assert all(part in text for part in ("mine", "1 notebooks added", "1 notebooks updated", "as you left", "c.new"))
    assert "up to date" in jupyter.told(Report(unchanged=("a",)), Path("mine"))[-1]


# ---- doctor


def test_doctor_says_what_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    result = course("doctor", tmp_path / "mine")
    assert result.exit_code == 0 and "Everything the lessons need" in result.output
    for word in (
        "Python",
        "torch",
        "threads",
        "Cores",
        "GiB",
        "jupyterlab",
        "anywidget",
        "course data mnist",
        "course lab",
    ):
        assert word in result.output, word


def test_doctor_fails_when_something_needed_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", missing)
    result = course("doctor", tmp_path)
    assert result.exit_code == 2 and "MISSING" in result.output and "uv sync" in result.output


def test_doctor_outlives_a_damaged_progress_store(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        raise OSError("disk full")

    progress = types.ModuleType("course_lib.checking.progress")
    progress.store = damaged
    monkeypatch.setitem(sys.modules, "course_lib.checking.progress", progress)
    row = doctor._progress()
    assert not row.ok and not row.needed and "disk full" in row.found


# ---- check


def test_check_scores_a_copy_of_the_notebook(tmp_path: Path) -> None:
    right, wrong = "def e2_1(x):\n    return 2 * x", "def e2_2(x):\n    return x + 1"
    stub = 'def e2_3(x):\n    raise NotImplementedError("Exercise 2.3")'
    path = exercise_notebook(tmp_path / "mine.ipynb", {"2.1": right, "2.2": wrong, "2.3": stub})
    before = path.read_bytes()
    result = course("check", path)
    assert result.exit_code == 1
    assert "1 of 3 passed, 2 points" in result.output
    for word in ("Doubling", "2 / 2", "0 / 2", "adds one", "not attempted"):
        assert word in result.output
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["mine.ipynb"]


def test_check_passes_when_every_exercise_does_even_without_metadata(tmp_path: Path) -> None:
    answers = {"2.1": "1 / 0", "2.2": "def e2_2(x):\n    return 2 * x"}
    path = exercise_notebook(tmp_path / "mine.ipynb", answers, marked=False)
    result = course("check", path)  # a cell that raises does not end the run; its exercise was not checked
    assert result.exit_code == 1 and "not checked" in result.output and "1 of 2 passed" in result.output
    path = exercise_notebook(tmp_path / "mine.ipynb", {"2.2": answers["2.2"]}, marked=False)
    assert course("check", path).exit_code == 0


def test_check_needs_no_optional_exercise(tmp_path: Path) -> None:
    double = "def e2_{0}(x):\n    return {1} * x"
    optional = "\ncheck_needed = check\ndef check(function):\n    check_needed(function, points=0)"
    for factor, exit_code, said in ((2, 0, "1 of 1 passed, 2 points."), (3, 1, "0 of 1 passed, 0 points.")):
        answers = {"2.1": double.format(1, factor), "2.2": double.format(2, 3)}
        notebook = nbformat.read(exercise_notebook(tmp_path / "mine.ipynb", answers), as_version=4)
        notebook.cells[3].source += optional
        nbformat.write(notebook, tmp_path / "mine.ipynb")
        result = course("check", tmp_path / "mine.ipynb")
        assert result.exit_code == exit_code and said in result.output and "0 extra" in result.output


def test_check_counts_the_last_answer_and_no_damaged_line(tmp_path: Path) -> None:
    again = "def e2_1(x):\n    return 0\ncheck(e2_1)\ndef e2_1(x):\n    return 4"
    junk = "\nopen(os.environ['COURSE_RESULTS'], 'a').write('{\\n[]\\n3\\n')"
    path = exercise_notebook(tmp_path / "mine.ipynb", {"2.1": again + junk})
    assert course("check", path).exit_code == 0


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"cells": 3}', "print(1)", "empty"])
def test_check_refuses_what_holds_no_exercise(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "mine.ipynb"
    if content == "empty":
        exercise_notebook(path, {})
    elif content is not None:
        path.write_text(content, encoding="utf-8")
    result = course("check", path)
    assert result.exit_code == 2 and "mine.ipynb" in result.stderr and "Pass" in result.stderr


# ---- data


def test_data_says_what_is_in_the_digits() -> None:
    result = course("data", "digits")
    assert result.exit_code == 0 and "1,197 train" in result.output and "scikit-learn" in result.output
    assert course("data", "cats").exit_code == 2


def raw_files(name: str, folder: Path) -> None:
    place, files = offline.RAW_FILES[name]
    (folder / place).mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / place / file).write_bytes(file.encode())


@pytest.mark.parametrize("name", list(offline.RAW_FILES))
def test_every_raw_file_has_a_published_checksum(name: str) -> None:
    checksums = offline._checksums(name)
    assert set(checksums) == set(offline.RAW_FILES[name][1]) and all(len(md5) == 32 for md5 in checksums.values())


def test_a_raw_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    raw_files("usps", tmp_path / "from")
    result = course("data", "usps", "--from", tmp_path / "from", "--folder", tmp_path / "to")
    assert (
        result.exit_code == 2 and "not the published file of usps" in result.stderr and not (tmp_path / "to").exists()
    )


@pytest.mark.parametrize("name", list(offline.RAW_FILES))
def test_raw_files_are_copied_from_a_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic = {file: hashlib.md5(file.encode()).hexdigest() for file in offline.RAW_FILES[name][1]}
    monkeypatch.setattr(offline, "_checksums", lambda name: synthetic)
    raw_files(name, tmp_path / "from")
    place, files = offline.RAW_FILES[name]
    assert offline.copy_raw_files(name, tmp_path / "from", tmp_path / "a") == len(files)
    assert offline.copy_raw_files(name, tmp_path / "from" / place, tmp_path / "b") == len(files)  # the files themselves
    for folder in ("a", "b"):
        assert offline.is_present(name, tmp_path / folder)
        assert all((tmp_path / folder / place / file).read_bytes() == file.encode() for file in files)
    assert offline.copy_raw_files(name, tmp_path / "a", tmp_path / "a") == len(files)  # onto itself: nothing is lost
    assert offline.is_present(name, tmp_path / "a")


def test_missing_raw_files_are_named(tmp_path: Path) -> None:
    raw_files("usps", tmp_path)
    (tmp_path / "usps.t.bz2").unlink()
    result = course("data", "usps", "--from", tmp_path, "--folder", tmp_path / "to")
    assert result.exit_code == 2 and "lacks usps.t.bz2 of usps" in result.stderr
    assert not offline.is_present("usps", tmp_path / "to")
    assert course("data", "digits", "--from", tmp_path).exit_code == 2


# ---- run


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Lesson 05 of a small course, with an experiment that squares numbers and counts its calls."""
    module = types.ModuleType("course_lib.experiments.tickets")
    module.calls = []
    module.units = lambda data, *, trials: [{"data": data, "trial": trial} for trial in range(trials)]
    module.measure = lambda unit: module.calls.append(unit["trial"]) or {"square": unit["trial"] ** 2}
    module.report = lambda rows: f"squares {[row['square'] for row in rows]}"
    monkeypatch.setitem(sys.modules, "course_lib.experiments.tickets", module)
    monkeypatch.setattr(runs, "iter_modules", lambda path: [types.SimpleNamespace(name="tickets")])
    (tmp_path / "lessons" / "src").mkdir(parents=True)
    for stem in ("04_other", "05_tickets"):
        (tmp_path / "lessons" / "src" / f"{stem}.py").touch()
    monkeypatch.setattr(runs.find_experiment, "__kwdefaults__", {"root": tmp_path})
    return module


def test_run_measures_keeps_and_reports(experiment: types.ModuleType, tmp_path: Path) -> None:
    result = course("run", "5", "--data", "mnist", "--trials", 3, "--out", tmp_path / "out")
    assert result.exit_code == 0 and "squares [0, 1, 4]" in result.output, result.output
    lines = (tmp_path / "out" / "05_tickets-mnist.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[2]) == {"unit": {"data": "mnist", "trial": 2}, "result": {"square": 4}}


def test_run_resumes_and_measures_only_what_is_missing(experiment: types.ModuleType, tmp_path: Path) -> None:
    def fail(unit: dict) -> dict:
        if unit["trial"] == 2:
            raise KeyboardInterrupt
        return {"square": unit["trial"] ** 2}

    measure, experiment.measure = experiment.measure, fail
    course("run", "05", "--data", "mnist", "--out", tmp_path)
    experiment.measure = measure
    result = course("run", "05_tickets", "--data", "mnist", "--trials", 4, "--out", tmp_path)
    assert "2 of 4 results are there already" in result.output and "squares [0, 1, 4, 9]" in result.output
    assert experiment.calls == [2, 3]
    assert course("run", "5", "--data", "mnist", "--trials", 2, "--out", tmp_path).output.count("squares [0, 1]") == 1
    assert experiment.calls == [2, 3]


@pytest.mark.parametrize(
    "cut", ['{"unit": {"data": "mnist", "tri', '{"unit": {"data": "mnist", "trial": 2}, "result": {"square": 9}}', "\n"]
)
def test_run_drops_a_last_line_that_was_cut_off(experiment: types.ModuleType, tmp_path: Path, cut: str) -> None:
    path = tmp_path / "05_tickets-mnist.jsonl"
    course("run", "5", "--data", "mnist", "--trials", 2, "--out", tmp_path)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + cut, encoding="utf-8")
    result = course("run", "5", "--data", "mnist", "--out", tmp_path)
    assert "was cut off" in result.output and "squares [0, 1, 4]" in result.output
    assert path.read_text(encoding="utf-8").startswith(whole) and path.read_text(encoding="utf-8").count("\n") == 3


def test_run_refuses_a_file_damaged_in_the_middle(experiment: types.ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "05_tickets-mnist.jsonl"
    path.write_text('{"unit":\n{"unit": {"trial": 0}, "result": {}}\n', encoding="utf-8")
    before = path.read_bytes()
    result = course("run", "5", "--data", "mnist", "--out", tmp_path)
    assert result.exit_code == 2 and "Line 1 of" in result.stderr and path.read_bytes() == before


def test_run_lists_the_lessons_with_an_experiment(experiment: types.ModuleType, tmp_path: Path) -> None:
    for lesson in ("4", "77", "x"):
        result = course("run", lesson, "--data", "mnist", "--out", tmp_path)
        assert result.exit_code == 2 and "These have one: 05_tickets" in result.stderr


def test_run_passes_iterations_only_where_they_are_taken(experiment: types.ModuleType, tmp_path: Path) -> None:
    result = course("run", "5", "--data", "mnist", "--iterations", 7, "--out", tmp_path)
    assert result.exit_code == 2 and "takes no --iterations" in result.stderr
    experiment.units = lambda data, *, trials, iterations: [{"trial": iterations}]
    assert "squares [49]" in course("run", "5", "--data", "mnist", "--iterations", 7, "--out", tmp_path).output


# ---- progress


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    rows: list[dict] = []
    progress = types.ModuleType("course_lib.checking.progress")
    progress.store = lambda: types.SimpleNamespace(summary=lambda: rows)
    monkeypatch.setitem(sys.modules, "course_lib.checking.progress", progress)
    return rows


def test_progress_shows_what_was_tried(recorded: list[dict]) -> None:
    assert "Nothing is recorded yet" in course("progress").output
    recorded.append({"exercise": "2.1", "status": "passed", "points": 2.0, "attempts": 3})
    recorded.append({"exercise": "12.1", "status": "failed", "points": 0.0, "attempts": 1})
    assert "2 points" in course("progress").output and "12.1" in course("progress").output
    assert "12.1" not in course("progress", "--lesson", 2).output
    assert "Nothing" in course("progress", "--lesson", 1).output
