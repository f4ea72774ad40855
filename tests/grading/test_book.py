"""The grade book: nothing in it changes, nothing is lost, and an old score never looks current."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from course_lib.errors import CourseError
from course_lib.grading.book import GradeBook, Line
from course_lib.grading.records import Outcome


def outcome(status: str = "passed", points: float = 1.0) -> Outcome:
    return Outcome(status, points, 1.0, None, "Well done.", 7, "full", 0.1, "torch 2")


def test_the_last_line_is_current(tmp_path: Path) -> None:
    with GradeBook(tmp_path / "new" / "book.sqlite") as book:
        run = book.begin(seed=7, settings={"exercises": ["2.1"]})
        book.ask(run, [Line("bob", "2.1", "x"), Line("ada", "2.1", "x")])
        book.record(run, Line("ada", "2.1", "x", outcome(), ("found by name",)))
        ada, bob = book.current()
        assert (ada.learner, ada.outcome, ada.remarks) == ("ada", outcome(), ("found by name",))
        assert bob.outcome is None
        assert book.runs() == [(7, {"exercises": ["2.1"]})]


def test_a_regrade_that_fails_hides_the_old_score(tmp_path: Path) -> None:
    with GradeBook(tmp_path / "book.sqlite") as book:
        run = book.begin(seed=7, settings={})
        book.record(run, Line("ada", "2.1", "x", outcome()))
        book.ask(run, [Line("ada", "2.1", "x")])  # and then the power fails
    with GradeBook(tmp_path / "book.sqlite") as book:
        assert [line.outcome for line in book.current()] == [None]
        book.record(run, Line("ada", "2.1", "x", outcome("grader error", 0)))
        assert [line.outcome.status for line in book.current()] == ["grader error"]
        assert [line.outcome and line.outcome.points for line in book.history("ada", "2.1")] == [1.0, None, 0]


def test_what_is_said_of_a_submission_is_noted_once(tmp_path: Path) -> None:
    with GradeBook(tmp_path / "book.sqlite") as book:
        for _ in range(2):
            book.note_submissions({"ada": ("ok", ("cell 3 is not code",))})
        book.note_submissions({"ada": ("bad notebook", ())})
        assert book.submissions() == {"ada": ("bad notebook", ())}
        assert book.connection.execute("SELECT count(*) FROM submissions").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE grades SET points = 1", "UPDATE grades SET outcome = 'x'", "DELETE FROM grades", "DELETE FROM runs"],
)
def test_nothing_is_changed_or_removed(tmp_path: Path, statement: str) -> None:
    with GradeBook(tmp_path / "book.sqlite") as book:
        book.record(book.begin(seed=7, settings={}), Line("ada", "2.1", "x", outcome()))
    with contextlib.closing(sqlite3.connect(tmp_path / "book.sqlite")) as other:
        with pytest.raises(sqlite3.Error, match="append-only|no such column"):
            other.execute(statement)


def test_one_program_at_a_time(tmp_path: Path) -> None:
    with GradeBook(tmp_path / "book.sqlite"), pytest.raises(CourseError, match="Another program"):
        GradeBook(tmp_path / "book.sqlite")
    with GradeBook(tmp_path / "book.sqlite") as book:
        assert book.current() == []


@pytest.mark.parametrize("content", [b"not a database, but long enough to be taken for one " * 100])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "book.sqlite").write_bytes(content)
    with pytest.raises(CourseError, match="not a grade book"):
        GradeBook(tmp_path / "book.sqlite")
    assert (tmp_path / "book.sqlite").read_bytes() == content


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "book.sqlite").mkdir()
    with pytest.raises(CourseError, match="cannot be written"):
        GradeBook(tmp_path / "book.sqlite")


WRITER = """
import sys
from course_lib.grading.book import GradeBook, Line
from course_lib.grading.records import Outcome
with GradeBook(sys.argv[1]) as book:
    run = book.begin(seed=7, settings={})
    print("begun", flush=True)
    for number in range(100_000):
        book.ask(run, [Line(f"{number}-{k}", "2.1", "x") for k in range(3)])
        book.record(run, Line(f"{number}-0", "2.1", "x", Outcome("passed", 1, 1, None, "", 7, "full", 0.1, "")))
        print(number, flush=True)
"""


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill -9", "power cut"])
def test_killed_while_writing(tmp_path: Path, power_cut: bool) -> None:
    """Whatever it had said is in the book, three lines asked together are all there or none, and it opens at once."""
    for trial in range(3):
        folder = tmp_path / f"{trial}"
        folder.mkdir()
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, folder / "book.sqlite"], stdout=subprocess.PIPE, text=True
        )
        heard = [writer.stdout.readline() for _ in range(6)][1:]  # the first says that it has begun
        time.sleep(0.03 + 0.07 * trial)
        if power_cut:  # what lies on the disk at one moment, its journal included
            os.kill(writer.pid, signal.SIGSTOP)
            folder = Path(shutil.copytree(folder, tmp_path / f"{trial} after"))
        writer.kill()
        said = [int(line) for line in (*heard, *writer.communicate()[0].split())]
        with GradeBook(folder / "book.sqlite") as book:
            lines = book.current()
            assert book.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        graded = {line.learner for line in lines if line.outcome}
        assert {f"{number}-0" for number in said[:-1]} <= graded  # the last one may have been said after the copy
        assert len(lines) % 3 == 0
        assert len(said) >= 5
