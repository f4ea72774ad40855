"""From what a class handed in to one submission for each learner: layouts, learning platforms, and what is broken."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

from course_lib.errors import CourseError
from course_lib.grading import archives
from course_lib.grading.records import Submission
from course_lib.grading.submissions import course_exercises, in_order, learner_of, read_submissions
from course_lib.quantization import deep_compression
from course_lib.rubrics.exercise import exercise_of
from tests.grading import untidy

EXERCISES = {key: exercise_of(key) for key in untidy.EXPECTED}
ALL = sorted(untidy.EXPECTED)


def handed_in(path: Path, tmp_path: Path) -> dict[str, Submission]:
    return {one.learner: one for one in read_submissions(path, EXERCISES, scratch=tmp_path / "scratch")}


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def one_answer(number: str, body: str = "1") -> bytes:
    name = EXERCISES[number].name
    return untidy.notebook([untidy.code(f"def {name}(*a): return {body}", small_nets={"exercise": number})])


LAYOUTS = {
    "a folder each": {"ada/02.ipynb": "ada", "bob/exercises/02.ipynb": "bob", "bob/.ipynb_checkpoints/02-checkpoint.ipynb": None},
    "a file each": {"ada.ipynb": "ada", "bob.IPYNB": "bob", ".DS_Store": None, "cem.ipynb.json": "cem"},
    "Canvas": {
        "lovelaceada_12_345_02_pruning.ipynb": "lovelaceada_12",
        "lovelaceada_12_345_02_pruning-1.ipynb": "lovelaceada_12",
        "hopper_LATE_77_346_02.ipynb": "hopper_77",
    },
    "Moodle": {
        "Ada Lovelace_12_assignsubmission_file_/02.ipynb": "Ada Lovelace_12",
        "Bob_van_der Berg_13_assignsubmission_file_/deep/02.ipynb": "Bob_van_der Berg_13",
    },
    "Moodle, flat": {"Ada Lovelace_12_assignsubmission_file_02.ipynb": "Ada Lovelace_12"},
    "nbgrader": {"ada/02_magnitude_pruning/02_magnitude_pruning.ipynb": "ada"},
    "other letters": {"Ægir Þór/02.ipynb": "Ægir Þór", "李雷/02.ipynb": "李雷"},
}  # fmt: skip


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path: Path, name: str, zipped: bool) -> None:
    files = {path: untidy.plain() if learner else b"junk" for path, learner in LAYOUTS[name].items()}
    path = put(tmp_path, {"class.zip": pack(files)}) / "class.zip" if zipped else put(tmp_path / "class", files)
    found = handed_in(path, tmp_path)
    assert set(found) == {learner for learner in LAYOUTS[name].values() if learner}
    for submission in found.values():
        assert (submission.status, sorted(submission.answers)) == ("ok", ALL)
        assert submission.files == {}


@pytest.mark.parametrize("inner", ["ada.zip", "ada/homework.zip", "lovelace_1_2_homework.ZIP"])
def test_zips_of_learners(tmp_path: Path, inner: str) -> None:
    folder = put(tmp_path / "class", {inner: pack({"work/02.ipynb": untidy.plain(), "__MACOSX/._02.ipynb": b"x"})})
    (submission,) = handed_in(folder, tmp_path).values()
    assert submission.learner == learner_of(inner.split("/")[0], is_file="/" not in inner)
    assert (submission.status, sorted(submission.answers)) == ("ok", ALL)


def test_a_zip_with_the_class_in_one_folder(tmp_path: Path) -> None:
    data = untidy.plain()
    for name, files, learners in (
        ("class.zip", {"class/ada.ipynb": data, "class/bob.ipynb": data}, {"ada", "bob"}),
        ("download.zip", {"week 2/ada/02.ipynb": data, "week 2/bob/02.ipynb": data}, {"ada", "bob"}),
        ("one.zip", {"ada/02.ipynb": data, "ada/03.ipynb": data}, {"ada"}),
        ("two.zip", {"ada/x/02.ipynb": data, "bob/02.ipynb": data}, {"ada", "bob"}),
    ):
        assert set(handed_in(put(tmp_path, {name: pack(files)}) / name, tmp_path)) == learners


def test_lists_and_notes_of_the_teacher_are_no_learners(tmp_path: Path) -> None:
    files = {"roster.csv": b"ada", "notes.txt": b"", "ada.ipynb": untidy.plain(), "hopper_77_346_essay.pdf": b"%PDF"}
    assert set(handed_in(put(tmp_path / "class", files), tmp_path)) == {"ada", "hopper_77"}


def test_one_notebook(tmp_path: Path) -> None:
    assert set(handed_in(put(tmp_path, {"ada.ipynb": untidy.plain()}) / "ada.ipynb", tmp_path)) == {"ada"}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="There is nothing at"):
        read_submissions(tmp_path / "no", EXERCISES)
    (tmp_path / "class.zip").write_bytes(b"PK no")
    with pytest.raises(CourseError, match="cannot be read"):
        read_submissions(tmp_path / "class.zip", EXERCISES)
    (tmp_path / "empty").mkdir()
    assert read_submissions(tmp_path / "empty", EXERCISES) == []


# ---- several notebooks of one learner


def test_answers_in_several_notebooks(tmp_path: Path) -> None:
    folder = put(
        tmp_path / "c",
        {
            "ada/a.ipynb": one_answer("2.1"),
            "ada/b.ipynb": one_answer("2.4", "2"),
            "ada/c.ipynb": one_answer("2.4", "3"),
        },
    )
    answers = handed_in(folder, tmp_path)["ada"].answers
    assert sorted(answers) == ["2.1", "2.4"]
    assert "return 3" in answers["2.4"].code
    assert answers["2.4"].remarks == ("Exercise 2.4 was handed in more than once; the one in c.ipynb counts.",)


def test_a_new_untouched_copy_beside_the_edited_notebook(tmp_path: Path) -> None:
    """The update of a workspace writes 02.new.ipynb beside it: stubs replace no answer."""
    stub = 'def magnitude_mask(*a):\n    raise NotImplementedError("Exercise 2.1")'
    new = untidy.notebook([untidy.code(stub, small_nets={"exercise": "2.1"})])
    folder = put(tmp_path / "class", {"ada/02.ipynb": one_answer("2.1"), "ada/02.new.ipynb": new})
    assert "return 1" in handed_in(folder, tmp_path)["ada"].answers["2.1"].code


def test_notebooks_are_read_in_the_order_of_their_numbers() -> None:
    names = ["02.ipynb", "02-1.ipynb", "02-2.ipynb", "02-10.ipynb"]
    sources = [archives.Source(name, 0, io.BytesIO) for name in ("02-10.ipynb", "02.ipynb", "02-2.ipynb", "02-1.ipynb")]
    assert [source.name for source in sorted(sources, key=in_order)] == names


# ---- what is broken is a status


BROKEN = {
    "empty": b"",
    "cut off": untidy.plain()[:2000],
    "a page of the platform": b"<html>Please log in</html>",
    "no notebook": b'{"nbformat": 4}',
    "huge": b" " * 33_000_000,
    "a list": b"[1, 2]",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_is_a_status(tmp_path: Path, name: str) -> None:
    found = handed_in(put(tmp_path / "class", {"eve/02.ipynb": BROKEN[name], "ada/02.ipynb": untidy.plain()}), tmp_path)
    assert found["eve"].status == "bad notebook" and found["eve"].answers == {}
    assert found["eve"].remarks[0].startswith("02.ipynb cannot be graded: it ")
    assert found["ada"].status == "ok" and sorted(found["ada"].answers) == ALL


def test_nothing_but_other_files(tmp_path: Path) -> None:
    folder = put(tmp_path / "class", {"eve/answer.pdf": b"%PDF", "tom/02.ipynb": untidy.plain()})
    (folder / "sam").mkdir()
    found = handed_in(folder, tmp_path)
    assert found["eve"].remarks == ("No notebook was handed in; there was only answer.pdf.",)
    assert found["sam"].remarks == ("No notebook was handed in.",)
    assert [found[name].status for name in ("eve", "sam", "tom")] == ["bad notebook", "bad notebook", "ok"]


def test_one_broken_notebook_among_good_ones(tmp_path: Path) -> None:
    found = handed_in(put(tmp_path / "class", {"eve/02.ipynb": untidy.plain(), "eve/03.ipynb": b"{"}), tmp_path)
    assert found["eve"].status == "bad notebook" and sorted(found["eve"].answers) == ALL


def test_broken_zips(tmp_path: Path) -> None:
    bomb = pack({"02.ipynb": b"\0" * 70_000_000})
    lying = bytearray(pack({"02.ipynb": b" " * 5_000_000}))
    lying[22:26] = (10).to_bytes(4, "little")  # the size in the header
    locked = bytearray(pack({"02.ipynb": untidy.plain()}))
    locked[locked.rindex(b"PK\1\2") + 8] |= 1  # marked as encrypted
    many = pack({f"{number}.txt": b"" for number in range(20_001)})
    files = {
        "bomb.zip": bomb,
        "lying.zip": bytes(lying),
        "locked.zip": bytes(locked),
        "many.zip": many,
        "cut.zip": bomb[:500],
    }
    found = handed_in(put(tmp_path / "class", {**files, "ada.zip": pack({"02.ipynb": untidy.plain()})}), tmp_path)
    assert {name: one.status for name, one in found.items() if name != "ada"} == dict.fromkeys(
        ["bomb", "cut", "locked", "lying", "many"], "bad notebook"
    )
    assert "larger than 64 MB" in found["bomb"].remarks[0]
    assert found["ada"].status == "ok"


def test_paths_in_a_zip_lead_nowhere_else(tmp_path: Path) -> None:
    evil = pack(
        {
            "../../evil.ipynb": untidy.plain(),
            "/abs/x.ipynb": untidy.plain(),
            "..\\..\\w.ipynb": untidy.plain(),
            "../../weights.sndc": b"w",
        }
    )
    found = handed_in(put(tmp_path / "class", {"eve/x.zip": evil}), tmp_path)
    assert sorted(found["eve"].answers) == ALL
    (path,) = found["eve"].files.values()
    assert path.parent == tmp_path / "scratch"
    assert {p.name for p in tmp_path.iterdir()} == {"class", "scratch"}
    whole = put(
        tmp_path, {"whole.zip": pack({"../bob/x.ipynb": untidy.plain(), "/cem/x.ipynb": untidy.plain(), "../..": b""})}
    )
    assert set(handed_in(whole / "whole.zip", tmp_path)) == {"bob", "cem"}


def test_links_and_pipes_are_passed_over(tmp_path: Path) -> None:
    """A link may lead to another learner's notebook, or to a file of the grader's."""
    folder = put(tmp_path / "class", {"ada/02.ipynb": untidy.plain()})
    (folder / "eve").mkdir()
    (folder / "eve" / "02.ipynb").symlink_to(folder / "ada" / "02.ipynb")
    (folder / "eve" / "all").symlink_to(folder / "ada")
    (folder / "mallory").symlink_to(folder / "ada")
    os.mkfifo(folder / "eve" / "03.ipynb")
    found = handed_in(folder, tmp_path)
    assert set(found) == {"ada", "eve"}
    assert found["eve"].status == "bad notebook" and found["eve"].files == {}


def test_names_of_learners_are_harmless(tmp_path: Path) -> None:
    assert learner_of("a\x1b[31m\nb") == "a?[31m?b"
    assert len(learner_of("x" * 1000)) == 200
    assert learner_of("e\u0301va") == learner_of("éva")  # as macOS and Windows write it


# ---- files beside the notebook


@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_a_capstone_is_carried(tmp_path: Path, zipped: bool) -> None:
    """The file of lesson 17, handed in beside the notebook, arrives byte by byte."""
    tensors = {"w": torch.tensor([0.0, 0.5, -0.5]).repeat(50)}
    deep_compression.save(tmp_path / "net.sndc", tensors)
    files = {"17.ipynb": untidy.plain(), "net.sndc": (tmp_path / "net.sndc").read_bytes(), "notes.txt": b"hello"}
    if zipped:
        folder = put(tmp_path / "class", {"ada.zip": pack(files)})
    else:
        folder = put(tmp_path / "class", {f"ada/{name}": data for name, data in files.items()})
    submission = handed_in(folder, tmp_path)["ada"]
    assert set(submission.files) == {"net.sndc", "notes.txt"}
    loaded = deep_compression.load(submission.files["net.sndc"])
    assert torch.equal(loaded["w"], tensors["w"])
    assert Submission.from_json(json.loads(json.dumps(submission.to_json()))) == submission


def test_no_more_files_are_kept_than_are_needed(tmp_path: Path) -> None:
    files = {f"ada/{number}.bin": b"x" for number in range(40)}
    assert len(handed_in(put(tmp_path / "class", files), tmp_path)["ada"].files) == 20


def test_all_exercises_of_the_course_are_known() -> None:
    assert {"0.1", "2.5"} <= set(course_exercises())
