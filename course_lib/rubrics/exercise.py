"""The values a rubric is made of."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError


@dataclass(frozen=True)
class Case:
    """One call of the learner's function: its arguments, and what is special about them, in words.

    Attributes:
        says: what is special.
        inputs: the arguments.
        hidden: what only the judge sees, such as images to test a network on.
    """

    says: str
    inputs: tuple
    hidden: tuple = ()


@dataclass(frozen=True)
class Mistake:
    """A known wrong version, and the sentence that tells a learner who wrote it what went wrong."""

    name: str
    says: str
    wrong: Callable


@dataclass(frozen=True)
class Invariant:
    """Something that holds for every right answer: `holds(inputs, result)`."""

    says: str
    holds: Callable[[tuple, object], bool]


@dataclass(frozen=True)
class Exercise:
    """All that is known about one exercise; the notebook's check and the grading of a class both read it.

    Attributes:
        id: "2.1": lesson and place.
        name: the name of the function to write.
        title: a few words, for tables.
        points: what it is worth.
        reference: a right version.
        cases: seed -> the cases to run; together they tell every known mistake apart from the reference.
        mistakes: known wrong versions, at least five.
        hints: three sentences, each giving away more.
        invariants: what must hold for every result.
        verb: how the function is run, a name from verbs.py.
        digest: (case, result) -> what is compared, where right results differ, as trained weights do; it must bear any
            result.
        marks: (case, result) -> the share of the points that a passing result earns, 0..1, and what was measured, in
            words; for work that may be better than asked. It must bear any result.
        rtol, atol: how closely floats must agree.
        in_place: the function is meant to change what it is given.
        optional: its points are extra; a lesson is complete without it.
        files: what is handed in beside the notebook and belongs to this exercise, as patterns of names: ("*.sndc",).
    """

    id: str
    name: str
    title: str
    points: int
    reference: Callable
    cases: Callable[[int], list[Case]]
    mistakes: tuple[Mistake, ...]
    hints: tuple[str, str, str]
    invariants: tuple[Invariant, ...] = ()
    verb: str = "call"
    digest: Callable[[Case, object], object] | None = None
    marks: Callable[[Case, object], tuple[float, str]] | None = None
    rtol: float = 1e-4
    atol: float = 1e-6
    in_place: bool = False
    optional: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A quiz question: every choice explains itself, so a wrong click teaches too."""

    text: str
    choices: dict[str, str]  # choice -> why it is right or wrong
    answer: str


LESSON_STEMS = {
    int(path.name[:2]): path.stem
    for path in sorted((Path(__file__).parents[2] / "lessons/src").glob("[0-9][0-9]_*.py"))
}


def rubric_of(lesson: int):
    """The rubric module of a lesson: it has EXERCISES and QUIZ.

    Raises:
        CourseError: no lesson of that number has a rubric.

    >>> rubric_of(2).EXERCISES[0].id
    '2.1'
    """
    topic = LESSON_STEMS.get(lesson, "")[3:]
    if topic not in {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}:
        raise CourseError(f"There is no rubric for lesson {lesson}. Lessons: {', '.join(map(str, LESSON_STEMS))}.")
    return importlib.import_module(f"course_lib.rubrics.{topic}")


def exercise_of(exercise_id: str) -> Exercise:
    """The exercise with this id.

    Raises:
        CourseError: there is none.

    >>> exercise_of("2.1").points > 0
    True
    """
    lesson = str(exercise_id).split(".")[0]
    if not lesson.isdigit():
        raise CourseError(f"An exercise is named by lesson and place, such as '2.1', but you passed {exercise_id!r}.")
    exercises = {exercise.id: exercise for exercise in rubric_of(int(lesson)).EXERCISES}
    if exercise_id not in exercises:
        raise CourseError(f"Lesson {lesson} has the exercises {', '.join(exercises)}, but you passed {exercise_id!r}.")
    return exercises[exercise_id]
