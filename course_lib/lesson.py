"""What the first cell of every notebook needs."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from course_lib.checking import current
from course_lib.checking.answers import exercises_of
from course_lib.checking.cards import Card
from course_lib.checking.progress import store
from course_lib.errors import CourseError
from course_lib.outline import course_map, map_in_words, savings_table, title_of
from course_lib.rubrics.exercise import LESSON_STEMS


def begin(lesson: int, *, seed: int = 0) -> Card:
    """Set up a notebook: the seed, one torch thread (small nets are faster that way), and the learner's progress.

    Args:
        lesson: the lesson's number.
        seed: for Python's and torch's random numbers.

    Raises:
        CourseError: there is no such lesson.

    >>> begin(lesson=2).heading
    'Lesson 02 · Magnitude pruning'

    Lesson 00.
    """
    if lesson not in LESSON_STEMS:
        raise CourseError(f"There is no lesson {lesson!r}. The lessons are {', '.join(map(str, LESSON_STEMS))}.")
    random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    current.set_lesson(lesson)
    return Card("hint", f"Lesson {lesson:02} · {title_of(lesson)}", (("", progress_line(lesson)),))


def progress_line(lesson: int) -> str:
    """Which exercises of the lesson are passed: a filled circle for each."""
    exercises = exercises_of(lesson)
    if not exercises:
        return "This lesson has no exercises yet."
    marks = " ".join(
        f"{'●' if store().passed(exercise.id) else '○'} {exercise.id}{' (optional)' * exercise.optional}"
        for exercise in exercises
    )
    needed = [exercise for exercise in exercises if not exercise.optional]
    return f"Exercises passed: {sum(store().passed(exercise.id) for exercise in needed)} of {len(needed)}   {marks}"


@dataclass(frozen=True)
class Page:
    """Something a notebook shows as HTML."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def lessons_done() -> set[int]:
    """The lessons whose exercises are all passed, optional ones aside."""
    return {
        lesson
        for lesson in LESSON_STEMS
        if exercises_of(lesson)
        and all(store().passed(exercise.id) for exercise in exercises_of(lesson) if not exercise.optional)
    }


def show_map() -> Page:
    """The map of the course with the learner's progress.

    Lesson 00.
    """
    done = lessons_done()
    return Page(course_map(done), map_in_words(done))


def show_savings() -> Page:
    """What each technique saves, and when; rows fill in as lessons are done.

    Lesson 00.
    """
    done = lessons_done()
    return Page(savings_table(done), f"Technique, what it saves, when: {len(done)} lessons done.")
