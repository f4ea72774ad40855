"""The class as the grade book has it now: what every report is made from."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from course_lib.grading.book import GradeBook, Line
from course_lib.grading.notebook import lesson_of
from course_lib.rubrics.exercise import Exercise


@dataclass(frozen=True)
class Mark:
    """One exercise of one learner as the reports show it; `line.outcome` is None while the grade is pending."""

    line: Line
    exercise: Exercise
    earlier: tuple[Line, ...] = ()

    @property
    def status(self) -> str:
        """The outcome's status, or "pending"."""
        return self.line.outcome.status if self.line.outcome else "pending"

    @property
    def points(self) -> float | None:
        """The points; None while they are pending or the grader failed."""
        return None if self.status in ("pending", "grader error") else self.line.outcome.points


@dataclass(frozen=True)
class Learner:
    """All marks of one learner, and what there is to say about the submission."""

    key: str
    marks: tuple[Mark, ...]
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name without the learning platform's number."""
        return re.sub(r"_\d+$", "", self.key)

    @property
    def number(self) -> str:
        """The learning platform's number, or ""."""
        found = re.search(r"_(\d+)$", self.key)
        return found[1] if found else ""

    def points(self, lesson: str | None = None) -> float | None:
        """The sum over a lesson or all of them; None where something of it is pending."""
        marks = [mark.points for mark in self.marks if lesson in (None, lesson_of(mark.exercise.id))]
        return None if None in marks else sum(marks)

    @property
    def page(self) -> str:
        """The file name of the learner's page: readable, and different for every key."""
        readable = re.sub(r"[^\w-]+", "_", self.key, flags=re.ASCII)[:60]
        return f"{readable}-{hashlib.sha256(self.key.encode()).hexdigest()[:8]}.html"


@dataclass(frozen=True)
class Class:
    """What the reports are made from."""

    learners: tuple[Learner, ...]
    exercises: tuple[Exercise, ...]
    seed: int
    at: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

    @property
    def lessons(self) -> list[str]:
        """The lessons that were graded."""
        return list(dict.fromkeys(lesson_of(exercise.id) for exercise in self.exercises))

    def possible(self, lesson: str | None = None) -> float:
        """The points of a lesson or of all, without optional exercises."""
        chosen = [e for e in self.exercises if not e.optional and lesson in (None, lesson_of(e.id))]
        return sum(exercise.points for exercise in chosen)


def read_class(book: GradeBook, exercises: Mapping[str, Exercise]) -> Class:
    """The class as the book has it now; grades of exercises that are not in `exercises` are left out."""
    lines = [line for line in book.current() if line.exercise in exercises]
    graded = {line.exercise for line in lines}
    chosen = tuple(exercise for key, exercise in exercises.items() if key in graded)
    by_learner: dict[str, dict[str, Line]] = {}
    for line in lines:
        by_learner.setdefault(line.learner, {})[line.exercise] = line
    remarks = {learner: told for learner, (_, told) in book.submissions().items()}
    learners = [
        Learner(key, tuple(mark_of(book, own[e.id], e) for e in chosen if e.id in own), remarks.get(key, ()))
        for key, own in sorted(by_learner.items())
    ]
    seeds = [seed for seed, _ in book.runs()]
    return Class(tuple(learners), chosen, seeds[0] if seeds else 0)


def mark_of(book: GradeBook, line: Line, exercise: Exercise) -> Mark:
    """A mark with the outcomes that stood in the book before it."""
    before = [one for one in book.history(line.learner, line.exercise) if one.outcome and one.at < line.at]
    return Mark(line, exercise, tuple(before))
