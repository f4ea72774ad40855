"""The learner's folder: untouched notebooks follow the course, and nothing a learner wrote is ever lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from course_lib.errors import CourseError
from course_lib.workspace import MANIFEST, Report, has_workspace, update_workspace

LESSON, EXERCISE = "lessons/01_first.ipynb", "exercises/01_first.ipynb"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A built course of one lesson with exercises."""
    root = tmp_path / "course"
    deliver(root, LESSON, "1 + 1", outputs=["2"])
    deliver(root, EXERCISE, "def f(): ...")
    return root


@pytest.fixture
def mine(tmp_path: Path, course: Path) -> Path:
    """A workspace that has just been made from it."""
    update_workspace(tmp_path / "mine", root=course)
    return tmp_path / "mine"


def deliver(root: Path, name: str, source: str, outputs: list[str] = ()) -> None:
    shown = [{"output_type": "stream", "name": "stdout", "text": [text]} for text in outputs]
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": [source], "outputs": shown}
    cell["execution_count"] = 1 if outputs else None
    text = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": ["# Title\n", "text"]}
    notebook = {"cells": [text, cell], "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def edit(path: Path, *, source: str | None = None, output: str | None = None, empty_cell: bool = False) -> None:
    """Do to a notebook what a learner does in JupyterLab."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if source is not None:
        notebook["cells"][1]["source"] = source
    if output is not None:
        notebook["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": output}]
    if empty_cell:
        notebook["cells"].append({"cell_type": "code", "id": "z", "metadata": {}, "source": "", "outputs": []})
    path.write_text(json.dumps(notebook), encoding="utf-8")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_workspace_has_the_notebooks_without_outputs(tmp_path: Path, course: Path) -> None:
    assert not has_workspace(tmp_path / "mine")
    report = update_workspace(tmp_path / "mine", root=course)
    assert report == Report(added=(LESSON, EXERCISE)) and has_workspace(tmp_path / "mine")
    delivered = json.loads((tmp_path / "mine" / LESSON).read_text(encoding="utf-8"))
    assert delivered["cells"][1]["outputs"] == [] and delivered["cells"][1]["execution_count"] is None
    assert delivered["metadata"] == {} and sources(tmp_path / "mine" / LESSON) == ["# Title\ntext", "1 + 1"]
    assert set(files(tmp_path / "mine")) == {LESSON, EXERCISE, MANIFEST}


def test_a_second_update_changes_nothing(course: Path, mine: Path) -> None:
    before = files(mine)
    assert update_workspace(mine, root=course) == Report(unchanged=(LESSON, EXERCISE))
    assert files(mine) == before


def test_an_untouched_notebook_gets_its_new_version(course: Path, mine: Path) -> None:
    deliver(course, LESSON, "2 + 2")
    assert update_workspace(mine, root=course) == Report(updated=(LESSON,), unchanged=(EXERCISE,))
    assert sources(mine / LESSON)[1] == "2 + 2" and not (mine / ".previous").exists()


def test_a_notebook_that_was_only_run_is_replaced_and_its_outputs_are_saved(course: Path, mine: Path) -> None:
    for version in ("2 + 2", "3 + 3"):
        edit(mine / LESSON, output="my result", empty_cell=True)
        deliver(course, LESSON, version)
        assert update_workspace(mine, root=course).updated == (LESSON,)
        assert sources(mine / LESSON)[1] == version
    saved = files(mine / ".previous")
    assert set(saved) == {LESSON, "lessons/01_first-2.ipynb"}
    assert all(b"my result" in content for content in saved.values())


def test_an_edited_notebook_is_never_overwritten(course: Path, mine: Path) -> None:
    edit(mine / EXERCISE, source="def f(): return 1", output="my result")
    before = (mine / EXERCISE).read_bytes()
    assert update_workspace(mine, root=course) == Report(kept=(EXERCISE,), unchanged=(LESSON,))
    assert set(files(mine)) == {LESSON, EXERCISE, MANIFEST}  # nothing new, so nothing is offered

    deliver(course, EXERCISE, "def g(): ...")
    report = update_workspace(mine, root=course)
    assert report.kept == (EXERCISE,) and report.offered == ("exercises/01_first.new.ipynb",)
    assert (mine / EXERCISE).read_bytes() == before
    assert sources(mine / "exercises/01_first.new.ipynb")[1] == "def g(): ..."


def test_a_new_version_is_offered_once(course: Path, mine: Path) -> None:
    edit(mine / EXERCISE, source="mine")
    deliver(course, EXERCISE, "second")
    update_workspace(mine, root=course)
    (mine / "exercises/01_first.new.ipynb").unlink()
    assert update_workspace(mine, root=course).offered == ()


def test_an_edited_offer_is_kept_too(course: Path, mine: Path) -> None:
    edit(mine / EXERCISE, source="mine")
    for version in ("second", "third"):
        deliver(course, EXERCISE, version)
        assert update_workspace(mine, root=course).offered == ("exercises/01_first.new.ipynb",)
    edit(mine / "exercises/01_first.new.ipynb", source="mine as well")
    deliver(course, EXERCISE, "fourth")
    assert update_workspace(mine, root=course).offered == ("exercises/01_first.new-2.ipynb",)
    assert sources(mine / "exercises/01_first.new.ipynb")[1] == "mine as well"
    assert sources(mine / "exercises/01_first.new-2.ipynb")[1] == "fourth"


def test_a_deleted_notebook_is_delivered_again(course: Path, mine: Path) -> None:
    (mine / LESSON).unlink()
    assert update_workspace(mine, root=course) == Report(added=(LESSON,), unchanged=(EXERCISE,))
    assert (mine / LESSON).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"delivered": []}', '{"delivered": 3}', "", "null"])
def test_without_a_readable_manifest_everything_that_differs_is_the_learners(
    course: Path, mine: Path, content: str
) -> None:
    (mine / MANIFEST).write_text(content, encoding="utf-8")
    before = (mine / LESSON).read_bytes()
    deliver(course, LESSON, "2 + 2")
    report = update_workspace(mine, root=course)
    assert report.kept == (LESSON,) and report.unchanged == (EXERCISE,)
    assert report.offered == ("lessons/01_first.new.ipynb",) and (mine / LESSON).read_bytes() == before
    assert (mine / f"{MANIFEST}.damaged").read_text(encoding="utf-8") == content
    assert update_workspace(mine, root=course) == Report(kept=(LESSON,), unchanged=(EXERCISE,))


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b'{"cells": 3}', b""])
def test_a_notebook_that_cannot_be_read_counts_as_edited(course: Path, mine: Path, content: bytes) -> None:
    (mine / LESSON).write_bytes(content)
    deliver(course, LESSON, "2 + 2")
    report = update_workspace(mine, root=course)
    assert report.kept == (LESSON,) and (mine / LESSON).read_bytes() == content
    (mine / MANIFEST).unlink()
    assert update_workspace(mine, root=course).kept == (LESSON,) and (mine / LESSON).read_bytes() == content


def test_files_of_the_learner_are_not_touched(course: Path, mine: Path) -> None:
    (mine / "lessons" / "notes.txt").write_text("mine", encoding="utf-8")
    edit(mine / LESSON, source="mine")
    (course / LESSON).unlink()  # a lesson that the course no longer has
    before = files(mine)
    update_workspace(mine, root=course)
    assert {name: content for name, content in files(mine).items() if name != MANIFEST} == {
        name: content for name, content in before.items() if name != MANIFEST
    }


def test_a_write_that_fails_leaves_the_old_file(course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(course, LESSON, "2 + 2")
    before = files(mine)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(CourseError, match="cannot be written: Permission denied"):
        update_workspace(mine, root=course)
    assert files(mine) == before


def test_a_folder_that_is_not_the_learners_is_refused(course: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (course / "lessons" / "src").mkdir()
    for folder, word in [
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "below", "cannot be written"),
        (course, "the course itself"),
        (course / "lessons", "inside the course's own lessons"),
        (course / "exercises" / "mine", "inside the course's own exercises"),
    ]:
        with pytest.raises(CourseError, match=word):
            update_workspace(folder, root=course)
    assert update_workspace(course / "my-course", root=course).added == (LESSON, EXERCISE)


def test_a_course_without_notebooks_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="course build"):
        update_workspace(tmp_path / "mine", root=tmp_path / "nothing")


def test_a_damaged_course_says_how_to_restore_it(tmp_path: Path, course: Path) -> None:
    (course / LESSON).write_text("{", encoding="utf-8")
    with pytest.raises(CourseError, match="git checkout -- lessons/01_first.ipynb"):
        update_workspace(tmp_path / "mine", root=course)
