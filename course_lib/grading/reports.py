"""From the grade book to what a teacher hands on: CSV for Canvas and Moodle, JSON, a page per learner and one of the class.

The pages escape everything that a submission brought along. The class's page names nobody.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path

from course_lib.grading.marks import Class, Learner, Mark
from course_lib.grading.notebook import lesson_of
from course_lib.grading.pages import class_page, learner_page
from course_lib.rubrics.exercise import LESSON_STEMS

REPORTS = ("grades.csv", "grades.json", "canvas.csv", "class.html")


# --- files ---------------------------------------------------------------------------------------------------------


def remove_reports(folder: Path) -> None:
    """Remove what an earlier run wrote, so that no old score lies about while a new one is being found."""
    for name in (*REPORTS, *(path.name for path in folder.glob("moodle-*.csv"))):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "learners", ignore_errors=True)


def write_reports(group: Class, folder: Path) -> list[Path]:
    """Write every report and return the paths."""
    files = {
        "grades.csv": grades_csv(group),
        "grades.json": grades_json(group),
        "canvas.csv": canvas_csv(group),
        "class.html": class_page(group),
        **{f"moodle-{lesson.zfill(2)}.csv": moodle_csv(group, lesson) for lesson in group.lessons},
        **{f"learners/{learner.page}": learner_page(group, learner) for learner in group.learners},
    }
    for name, text in files.items():
        write_whole(folder / name, text)
    return [folder / name for name in files]


def write_whole(path: Path, text: str) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="")
    os.replace(unfinished, path)


# --- tables --------------------------------------------------------------------------------------------------------


def table(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV; a cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([[harmless(cell) for cell in row] for row in rows])
    return out.getvalue()


def harmless(cell: object) -> str:
    """A cell as text.

    >>> harmless("=1+1"), harmless(2.0), harmless(None)
    ("'=1+1", '2', '')
    """
    if isinstance(cell, (int, float)):
        return f"{cell:g}"
    text = "" if cell is None else str(cell).replace("\0", "")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def grades_csv(group: Class) -> str:
    """A row for each learner: total, and points and status of every exercise."""
    head = [
        "learner",
        "points",
        "possible",
        *(f"{e.id} {what}" for e in group.exercises for what in ("points", "status")),
    ]
    rows = []
    for learner in group.learners:
        marks = {mark.exercise.id: mark for mark in learner.marks}
        cells = [(marks[e.id].points, marks[e.id].status) if e.id in marks else ("", "") for e in group.exercises]
        rows.append([learner.key, learner.points(), group.possible(), *(cell for pair in cells for cell in pair)])
    return table([head, *rows])


def canvas_csv(group: Class) -> str:
    """For Canvas, Gradebook, Import: a column for each lesson; pending grades stay empty."""
    titles = [title_of(lesson) for lesson in group.lessons]
    head = ["Student", "ID", "SIS Login ID", "Section", *titles]
    possible = ["    Points Possible", "", "", "", *map(group.possible, group.lessons)]
    rows = [
        [learner.name, learner.number, "" if learner.number else learner.key, "", *map(learner.points, group.lessons)]
        for learner in group.learners
    ]
    return table([head, possible, *rows])


def moodle_csv(group: Class, lesson: str) -> str:
    """For Moodle's offline grading worksheet of one assignment, or its CSV import; pending grades stay empty."""
    head = ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
    rows = [
        [
            f"Participant {learner.number}" if learner.number else learner.key,
            learner.name,
            learner.points(lesson),
            group.possible(lesson),
            comments(learner, lesson),
        ]
        for learner in group.learners
    ]
    return table([head, *rows])


def comments(learner: Learner, lesson: str) -> str:
    """A line for each exercise."""
    marks = [mark for mark in learner.marks if lesson_of(mark.exercise.id) == lesson]
    return "\n".join(f"{m.exercise.id} {m.exercise.title}: {m.status}" + named(m) for m in marks)


def named(mark: Mark) -> str:
    """The mistake of a mark, if it has a name."""
    return f" ({mark.line.outcome.mistake})" if mark.line.outcome and mark.line.outcome.mistake else ""


def title_of(lesson: str) -> str:
    """What a learning platform calls the assignment.

    >>> title_of("2")
    'Small Nets 02 magnitude pruning'
    """
    stem = LESSON_STEMS.get(int(lesson), "") if lesson.isdigit() else ""
    return f"Small Nets {lesson.zfill(2)} {stem[3:].replace('_', ' ')}".strip()


def grades_json(group: Class) -> str:
    """Everything that is current, for programs."""
    learners = [
        {
            "learner": learner.key,
            "points": learner.points(),
            "remarks": learner.remarks,
            "exercises": {mark.exercise.id: mark_json(mark) for mark in learner.marks},
        }
        for learner in group.learners
    ]
    told = {exercise.id: {"title": exercise.title, "points": exercise.points} for exercise in group.exercises}
    whole = {"possible": group.possible(), "seed": group.seed, "exercises": told, "learners": learners}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def mark_json(mark: Mark) -> dict:
    """One exercise of one learner."""
    outcome = mark.line.outcome.to_json() if mark.line.outcome else {"points": None}
    return {**outcome, "status": mark.status, "points": mark.points, "remarks": mark.line.remarks}
