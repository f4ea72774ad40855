"""What a teacher hands on: tables for learning platforms, and pages in which nothing of a submission runs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from course_lib.grading import pages, reports
from course_lib.grading.book import GradeBook, Line
from course_lib.grading.marks import Class, read_class
from course_lib.grading.records import STATUSES, Outcome
from course_lib.rubrics.exercise import Mistake
from tests.grading.fakes import EXERCISES

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
KNOWN = EXERCISES | {
    "2.1": replace(EXERCISES["2.1"], mistakes=[Mistake("upside down", "True means keep.", len)]),
    "2.3": replace(EXERCISES["2.3"], optional=True),
}


def outcome(status: str, points: float, possible: float, **more: object) -> Outcome:
    made = Outcome(status, points, possible, None, "", 7, "full", 0.1, "torch 2")
    return replace(made, **more)


@pytest.fixture
def group(tmp_path: Path) -> Class:
    """Five learners as Canvas, Moodle and plain folders name them; one is pending, one is hostile."""
    with GradeBook(tmp_path / "book.sqlite") as book:
        run = book.begin(seed=7, settings={})
        marks = {
            "Ada Lovelace_12": [("passed", 1, None), ("passed", 2, None), ("passed", 3, None)],
            "bob": [("failed", 0, "upside down"), ("passed", 2, None), ("not attempted", 0, None)],
            "=cmd|' /C calc'!A0_13": [("failed", 0, "upside down"), ("raised", 0, None), ("timed out", 0, None)],
            "../../eve": [("bad notebook", 0, None), ("killed", 0, None), ("grader error", 0, None)],
            EVIL: [("passed", 1, None), None, ("failed", 0, EVIL)],
        }
        for learner, found in marks.items():
            for exercise, one in zip(("2.1", "2.2", "2.3"), found, strict=True):
                possible = float(KNOWN[exercise].points)
                made = one and outcome(
                    one[0], float(one[1]), possible, mistake=one[2], feedback=EVIL if learner == EVIL else "told"
                )
                book.record(run, Line(learner, exercise, "x", made, (EVIL,) if learner == EVIL else ()))
        book.note_submissions({EVIL: ("ok", (EVIL,))})
        book.record(run, Line("bob", "2.1", "x", outcome("passed", 1.0, 1.0)))
        return read_class(book, KNOWN)


@pytest.fixture
def written(group: Class, tmp_path: Path) -> Path:
    paths = reports.write_reports(group, tmp_path / "out")
    assert all(path.is_file() for path in paths)
    return tmp_path / "out"


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_grades_csv(written: Path) -> None:
    head, *table = rows(written / "grades.csv")
    found = {row[0]: dict(zip(head, row, strict=True)) for row in table}
    assert found["Ada Lovelace_12"]["points"] == "6" and found["Ada Lovelace_12"]["possible"] == "3"  # 2.3 is extra
    assert found["bob"]["points"] == "3" and found["bob"]["2.1 status"] == "passed"
    assert found[EVIL]["points"] == "" and found[EVIL]["2.2 status"] == "pending"  # not 0, and no old score
    assert found["../../eve"]["points"] == "" and found["../../eve"]["2.3 points"] == ""


def test_no_cell_is_a_formula(written: Path) -> None:
    for path in written.glob("*.csv"):
        for row in rows(path):
            for cell in row:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_canvas_csv(written: Path) -> None:
    head, possible, *table = rows(written / "canvas.csv")
    assert head == ["Student", "ID", "SIS Login ID", "Section", "Small Nets 02 magnitude pruning"]
    assert possible == ["    Points Possible", "", "", "", "3"]
    assert ["Ada Lovelace", "12", "", "", "6"] in table and ["bob", "", "bob", "", "3"] in table
    assert next(row for row in table if row[0] == EVIL)[-1] == ""


def test_moodle_csv(written: Path) -> None:
    head, *table = rows(written / "moodle-02.csv")
    assert head == ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
    ada = next(row for row in table if row[1] == "Ada Lovelace")
    assert ada[:4] == ["Participant 12", "Ada Lovelace", "6", "3"]
    assert ada[4].splitlines()[0] == "2.1 The magnitude_mask: passed"


def test_json(written: Path) -> None:
    whole = json.loads((written / "grades.json").read_text(encoding="utf-8"))
    found = {learner["learner"]: learner for learner in whole["learners"]}
    assert (whole["seed"], whole["possible"], len(found)) == (7, 3, 5)
    assert found["bob"]["exercises"]["2.1"]["seed"] == 7
    assert found[EVIL]["points"] is None and found[EVIL]["exercises"]["2.2"]["status"] == "pending"


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_of_a_submission_runs_in_a_page(written: Path) -> None:
    found = sorted(written.rglob("*.html"))
    assert len(found) == 6
    for path in found:
        text = path.read_text(encoding="utf-8")
        tags = Tags(text).tags
        assert not {"script", "img", "iframe", "object", "a"} & {tag for tag, _ in tags}
        assert not any(
            name.startswith("on") or name in ("src", "href") for _, attributes in tags for name in attributes
        )
        assert "default-src 'none'" in text
        assert path.parent in (written, written / "learners")
    assert any("{{ 7*7 }}" in path.read_text(encoding="utf-8") for path in found)


def page_of(written: Path, word: str) -> str:
    (path,) = (written / "learners").glob(f"*{word}*")
    return path.read_text(encoding="utf-8")


def test_a_learners_page_says_what_was_found(written: Path) -> None:
    bob = page_of(written, "bob")
    assert "3 of 3 points" in bob and "Before: Not right, 0 points, seed 7" in bob and "isolation full" in bob
    for other in ("Ada", "eve", "cmd"):
        assert other not in bob
    assert "The grader failed; this is graded again" in page_of(written, "eve")
    assert "Not graded completely yet" in page_of(written, "eve")


def test_the_page_of_the_class(written: Path) -> None:
    text = (written / "class.html").read_text(encoding="utf-8")
    assert "5 learners, 3 exercises, 3 points." in text and "2 not graded completely yet" in text
    assert "Mean 3.0, median 3 points." in text
    charts = [attributes["aria-label"] for tag, attributes in Tags(text).tags if tag == "svg"]
    assert [chart.split(":")[0] for chart in charts] == [
        "Score distribution",
        "Hardest exercises",
        "Most common mistakes",
    ]
    assert "2.1 upside down" in text and "True means keep." in text
    for name in ("Ada", "bob", "eve", "cmd"):
        assert name not in text


def test_numbers_of_the_class(group: Class) -> None:
    assert [bar.number for bar in pages.score_bars([6.0, 3.0, 0.0], 3.0)] == [1, *[0] * 8, 2]
    hardest = pages.hardest(group)
    assert [(bar.label[:3], bar.note) for bar in hardest] == [
        ("2.3", "3 of 4, optional"),
        ("2.2", "2 of 4"),
        ("2.1", "2 of 5"),
    ]
    mistakes = pages.common_mistakes(group)
    assert [(bar.number, bar.length) for bar in mistakes] == [(1, 1.0), (1, 1.0)]
    assert pages.status_counts(group)[0][1]["passed"] == 3


def test_every_status_has_words() -> None:
    assert set(pages.WORDS) == {*STATUSES, "pending"}


def test_reports_of_another_run_are_removed(written: Path) -> None:
    (written / "grades.sqlite").write_bytes(b"the book")
    (written / "mine.csv").write_text("the teacher's own")
    reports.remove_reports(written)
    assert sorted(path.name for path in written.iterdir()) == ["grades.sqlite", "mine.csv"]


def test_an_empty_class_has_reports(tmp_path: Path) -> None:
    assert reports.write_reports(Class((), (), 1), tmp_path)
