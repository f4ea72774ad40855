"""check, hint and solution: what a learner's exercise cell calls."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from course_lib.checking.cards import Card
from course_lib.checking.progress import store
from course_lib.errors import CourseError
from course_lib.rubrics.compare import shown
from course_lib.rubrics.exercise import LESSON_STEMS, Exercise, exercise_of, rubric_of
from course_lib.rubrics.judge import SEEDS, Verdict, check_answer

TRIES_BEFORE_SOLUTION = 3


@dataclass(frozen=True, repr=False)
class Checked(Card):
    """The card of a check, with what a program may ask of it.

    Attributes:
        status: "passed", "failed", "raised" or "not attempted".
        mistake: the name of the known mistake, or None.
    """

    status: str = "not attempted"
    mistake: str | None = None


def check(answer: Callable) -> Checked:
    """Run a function of the learner's against its exercise, and say what is wrong; never raises over a wrong answer.

    Args:
        answer: the function; the exercise is found by its name.

    Returns:
        a card, shown by the notebook: passed, failed (with the input, what was expected, what came, and the mistake's
        name if it is a known one), raised, or not attempted.

    Raises:
        CourseError: what was passed is not a function, or no exercise has its name.

    >>> def zeros(): raise NotImplementedError("Exercise 0.1")
    >>> check(zeros).status
    Traceback (most recent call last):
    ...
    course_lib.errors.CourseError: No exercise asks for a function called 'zeros'...

    Lesson 00.
    """
    exercise = exercise_named(answer)
    verdict = check_answer(exercise, answer, SEEDS)
    mistake = verdict.mistake.name if verdict.mistake else None
    points = points_of(exercise, verdict)
    store().record_attempt(exercise.id, verdict.status, points=points, mistake=mistake)
    report(exercise, verdict.status, points, mistake)
    return Checked(verdict.status, heading(exercise, verdict), lines(exercise, verdict), verdict.status, mistake)


def exercise_named(answer: Callable) -> Exercise:
    """The exercise that asks for a function of this name."""
    if not callable(answer):
        raise CourseError(
            f"check() takes the function itself, but you passed {shown(answer)}.\nWrite check(my_function), without calling it."
        )
    name = getattr(answer, "__name__", type(answer).__name__)
    exercises = [exercise for lesson in LESSON_STEMS for exercise in exercises_of(lesson)]
    for exercise in exercises:
        if exercise.name == name:
            return exercise
    known = ", ".join(exercise.name for exercise in exercises)
    raise CourseError(
        f"No exercise asks for a function called {name!r}: keep the name of the stub. The names are: {known}."
    )


def exercises_of(lesson: int) -> tuple[Exercise, ...]:
    """The exercises of a lesson, none where it has no rubric yet."""
    try:
        return rubric_of(lesson).EXERCISES
    except CourseError:
        return ()


def report(exercise: Exercise, status: str, points: float, mistake: str | None) -> None:
    """Write one line for `course check`, where it listens."""
    if "COURSE_RESULTS" not in os.environ:
        return
    line = {"exercise": exercise.id, "title": exercise.title, "status": status, "points": points}
    with open(os.environ["COURSE_RESULTS"], "a", encoding="utf-8") as file:
        needed = 0 if exercise.optional else exercise.points
        file.write(json.dumps(line | {"max_points": needed, "mistake": mistake}) + "\n")


def points_of(exercise: Exercise, verdict: Verdict) -> float:
    """What a verdict is worth, in tenths of a point."""
    return round(exercise.points * verdict.share, 1) if verdict.status == "passed" else 0


def heading(exercise: Exercise, verdict: Verdict) -> str:
    """The first line of the card."""
    kind = "extra points (optional)" if exercise.optional else "points"
    score = f"{points_of(exercise, verdict):g} of {exercise.points} {kind}"
    words = {
        "passed": "Passed",
        "failed": "Not yet",
        "raised": "Your function raised an error",
        "not attempted": "Not attempted yet",
    }
    return f"Exercise {exercise.id} · {words[verdict.status]} · {score}"


def lines(exercise: Exercise, verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """What stands below: the diagnosis first, then the evidence, then the next hint."""
    if verdict.status == "passed":
        told = f"Measured: {verdict.measured}." if verdict.measured else f"All cases right, on {len(SEEDS)} seeds."
        return (("", told),)
    if verdict.status == "not attempted":
        return (("", "Replace `raise NotImplementedError(...)` by your code, run the cell, then check again."),)
    named = (
        [("", f"{verdict.mistake.name[0].upper()}{verdict.mistake.name[1:]}. {verdict.mistake.says}")]
        if verdict.mistake
        else []
    )
    told = [
        *named,
        *([("measured", verdict.measured)] if verdict.measured else []),
        ("", verdict.why[0].upper() + verdict.why[1:] + "."),
        ("on", verdict.case),
        ("input", verdict.inputs),
    ]
    if verdict.status == "failed":
        told += [("expected", shown(verdict.expected)), ("got", shown(verdict.got))]
    taken = store().hints_taken(exercise.id)
    more = (
        f'hint("{exercise.id}") gives the next of three hints.'
        if taken < 3
        else f'solution("{exercise.id}") shows one way.'
    )
    return (*told, ("", more))


def hint(exercise_id: str) -> Card:
    """The next of three hints for an exercise, each giving away more; the last one stays.

    Raises:
        CourseError: there is no such exercise.

    >>> print(hint("2.1").heading)
    Exercise 2.1 · Hint 1 of 3

    Lesson 00.
    """
    exercise = exercise_of(exercise_id)
    number = min(store().hints_taken(exercise_id), len(exercise.hints) - 1)
    store().record_hint(exercise_id)
    return Card(
        "hint", f"Exercise {exercise_id} · Hint {number + 1} of {len(exercise.hints)}", (("", exercise.hints[number]),)
    )


def solution(exercise_id: str, *, reveal: bool = False) -> Card:
    """One right answer: after a pass, after three failed tries, or with `reveal=True`.

    Raises:
        CourseError: there is no such exercise.

    >>> solution("2.1").kind
    'note'

    Lesson 00.
    """
    exercise = exercise_of(exercise_id)
    left = TRIES_BEFORE_SOLUTION - store().failures(exercise_id)
    if not reveal and not store().passed(exercise_id) and left > 0:
        tries = "one more try" if left == 1 else f"{left} more tries"
        told = f'It opens after a pass or {tries}. To see it now: solution("{exercise_id}", reveal=True).'
        return Card("note", f"Exercise {exercise_id} · The solution is still closed", (("", told),))
    return Card("note", f"Exercise {exercise_id} · {exercise.title}: one way to do it", (("code", solved(exercise)),))


def solved(exercise: Exercise) -> str:
    """The code of the solution notebook; lesson 00, which has none, shows the rubric's own."""
    from course_lib.authoring import solution_source

    try:
        return solution_source(exercise.id)
    except CourseError:
        return inspect.getsource(exercise.reference)
