"""A class that is graded with kill -9 at any moment ends with the same grade book as one that is left alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.grading.book import GradeBook
from course_lib.grading.classroom import BOOK, Request, grade_class
from tests.grading.fakes import EXERCISES, Workers, answers, hand_in, lines

GRADER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from course_lib.grading import reports
from course_lib.grading.classroom import Request, grade_class
from tests.grading.fakes import EXERCISES, Workers, fake
assert "torch" not in sys.modules

def slowly(job):
    time.sleep(0.01)
    return fake(job)

def said(lines, total):
    for line in lines:
        print("graded", flush=True)
        yield line

write = reports.write_whole
reports.write_whole = lambda path, text: (time.sleep(0.005), write(path, text))
print("ready", flush=True)
grade_class(Request(Path(sys.argv[1]), Path(sys.argv[2]), EXERCISES, seed=1), Workers(slowly), progress=said)
"""


@pytest.fixture(scope="module")
def big_class(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("big")
    return hand_in(folder, **{f"learner{k}": answers(e2_1="right", e2_2="wrong", e2_4="right" * k) for k in range(30)})


@contextlib.contextmanager
def grader(folder: Path, out: Path) -> Iterator[subprocess.Popen]:
    """A process that grades, once everything is imported."""
    process = subprocess.Popen([sys.executable, "-c", GRADER, folder, out], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def reports_of(out: Path) -> dict[str, str]:
    """What the reports say, but for the time of day."""
    paths = [path for path in sorted(out.rglob("*")) if path.suffix in (".csv", ".json")]
    return {str(path.relative_to(out)): path.read_text() for path in paths}


def test_killed_at_any_moment_it_ends_with_the_same_book(big_class: Path, tmp_path: Path) -> None:
    grade_class(Request(big_class, tmp_path / "whole", EXERCISES, seed=1), Workers())
    kills, finished = 0, False
    while not finished:
        with grader(big_class, tmp_path / "killed") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.1 + 0.3 * kills)
                finished = process.returncode == 0
            if not finished:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        assert kills < 40
    assert kills >= 2
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert reports_of(tmp_path / "killed") == reports_of(tmp_path / "whole")
    with GradeBook(tmp_path / "killed" / BOOK) as book:
        graded = [len([x for x in book.history(f"learner{k}", "2.1") if x.outcome]) for k in range(30)]
    assert graded == [1] * 30  # nobody twice


def test_ctrl_c_keeps_what_was_done(big_class: Path, tmp_path: Path) -> None:
    with grader(big_class, tmp_path / "out") as process:
        assert process.stdout.readline() == "graded\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) != 0
    done = [line for line in lines(tmp_path / "out") if line[3]]
    assert done
    workers = Workers()
    grade_class(Request(big_class, tmp_path / "out", EXERCISES), workers)
    assert len(workers.ran) == 150 - len(done)
