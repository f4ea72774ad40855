"""One command's worth of work: read what was handed in, grade what has no current grade, write the reports."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grading.batch import Run, grade, handed_out, outstanding, tasks_of
from course_lib.grading.book import GradeBook, Line
from course_lib.grading.marks import Class, read_class
from course_lib.grading.notebook import lesson_of
from course_lib.grading.records import Submission
from course_lib.grading.reports import remove_reports, write_reports
from course_lib.grading.submissions import read_submissions
from course_lib.rubrics.exercise import Exercise

BOOK = "grades.sqlite"


@dataclass(frozen=True)
class Request:
    """What is to be graded, and how.

    Attributes:
        submissions: a folder or a zip.
        out: where the grade book and the reports lie.
        exercises: id -> exercise, all that are known.
        declared: id -> set-up cells, for exercises that are not the course's.
        lessons: those to grade; when empty, those of the run before, else those that half of the class handed in.
        regrade: learners, exercises or "learner:exercise" to grade again, with the stored seed.
        seed: of a new grade book; drawn when None.
        seconds, megabytes: what one answer may use.
    """

    submissions: Path
    out: Path
    exercises: Mapping[str, Exercise]
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lessons: Sequence[str] = ()
    regrade: Sequence[str] = ()
    seed: int | None = None
    seconds: float = 30.0
    megabytes: int = 1024


def grade_class(
    request: Request,
    workers: AbstractContextManager[Run],
    *,
    note: Callable[[str], None] = lambda text: None,
    progress: Callable[[Iterable[Line], int], Iterable[Line]] = lambda lines, total: lines,
) -> Class:
    """Grade what has no current grade, and write the reports of all that is in the book.

    Interrupted at any moment and called again, it ends with the same grade book as without the interruption.

    Args:
        request: what to grade.
        workers: gives, once entered, what runs jobs; entered only if there is something to run.
        note: is told what a teacher should know.
        progress: is handed the lines as they come, with their number.

    Raises:
        CourseError: nothing can be read or written there, or the request does not fit the book.
    """
    with tempfile.TemporaryDirectory(prefix="small-nets-") as scratch, GradeBook(request.out / BOOK) as book:
        found = read_submissions(
            request.submissions, request.exercises, declared=request.declared, scratch=Path(scratch)
        )
        if not found:
            raise CourseError(f"{request.submissions} is empty. Pass the folder or the zip with what was handed in.")
        chosen, seed = exercises_of(request, book, found), seed_of_class(request, book)
        tasks = tasks_of(found, chosen, seed=seed, seconds=request.seconds, megabytes=request.megabytes)
        left = outstanding(tasks, book, request.regrade)
        note(f"{len(found)} submissions, {len(chosen)} exercises of {told(chosen)}; seed {seed}.")
        if len(left) < len(tasks):
            note(f"{len(tasks) - len(left)} of {len(tasks)} are graded already.")
        book.note_submissions({one.learner: (one.status, one.remarks) for one in found})
        remove_reports(request.out)
        if left:
            number = book.begin(seed=seed, settings={"exercises": list(chosen)})
            with workers as run:
                for _ in progress(grade(left, book, number, chosen, run), len(left)):
                    pass
        group = read_class(book, request.exercises)
        write_reports(group, request.out)
        return group


def exercises_of(request: Request, book: GradeBook, found: Sequence[Submission]) -> dict[str, Exercise]:
    """The exercises to grade: asked for, else those of the run before, else those the class handed in."""
    known = request.exercises
    if request.lessons:
        wanted = {lesson.lstrip("0") or "0" for lesson in request.lessons}
        unknown = wanted - {lesson_of(key) for key in known}
        if unknown:
            lessons = ", ".join(dict.fromkeys(map(lesson_of, known)))
            raise CourseError(
                f"There is no exercise of lesson {', '.join(sorted(unknown))}. The lessons are: {lessons}."
            )
        return {key: exercise for key, exercise in known.items() if lesson_of(key) in wanted}
    before = [settings["exercises"] for _, settings in book.runs()]
    if not before:
        return handed_out(found, known)
    missing = [key for key in before[-1] if key not in known]
    if missing:
        raise CourseError(
            f"This grade book was begun with exercise {missing[0]}, which is not known now. Pass the same --rubrics as before."
        )
    return {key: known[key] for key in before[-1]}


def seed_of_class(request: Request, book: GradeBook) -> int:
    """The seed of the book; a new book gets the one asked for, or a fresh one."""
    before = [seed for seed, _ in book.runs()]
    if before and request.seed not in (None, before[0]):
        raise CourseError(
            f"This grade book was begun with seed {before[0]}, so that all get the same inputs. Leave --seed out, or pass "
            "another --out."
        )
    if before:
        return before[0]
    return secrets.randbelow(2**31) if request.seed is None else request.seed


def told(exercises: Iterable[str]) -> str:
    """The lessons of these exercises, in words."""
    lessons = list(dict.fromkeys(map(lesson_of, exercises)))
    return f"lesson{'s' if len(lessons) > 1 else ''} {', '.join(lessons)}"
