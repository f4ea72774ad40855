"""The pages for people: one for each learner, and one of the class that names nobody. Everything in them is escaped."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import jinja2

from course_lib.grading.marks import Class, Learner, Mark
from course_lib.grading.records import STATUSES
from course_lib.rubrics.exercise import Exercise

N_BINS = 10
MOST_MISTAKES = 12


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: what it stands for, its number, and its length, 0..1 of the longest there can be."""

    label: str
    number: float
    length: float
    note: str = ""


def learner_page(group: Class, learner: Learner) -> str:
    """What one learner gets: every exercise with its outcome, the mistake's name, and how it was graded."""
    return template("learner.html").render(group=group, learner=learner, words=WORDS, moment=moment)


def class_page(group: Class) -> str:
    """The class as a whole: score distribution, hardest exercises, most common mistakes."""
    totals = [points for learner in group.learners if (points := learner.points()) is not None]
    return template("class.html").render(
        group=group,
        totals=totals,
        mean=statistics.fmean(totals) if totals else 0.0,
        median=statistics.median(totals) if totals else 0.0,
        scores=score_bars(totals, group.possible()),
        hardest=hardest(group),
        mistakes=common_mistakes(group),
        statuses=status_counts(group),
        words=WORDS,
    )


WORDS = {
    "passed": "Passed",
    "failed": "Not right",
    "not attempted": "Not attempted",
    "raised": "Raised an error",
    "timed out": "Took too long",
    "out of memory": "Took too much memory",
    "killed": "Ended its own process",
    "bad output": "Returned what cannot be compared",
    "bad notebook": "The notebook could not be read",
    "grader error": "The grader failed; this is graded again",
    "pending": "Not graded yet",
}


@lru_cache(maxsize=4)
def template(name: str) -> jinja2.Template:
    """A template; every value in it is escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(autoescape=True, loader=loader, undefined=jinja2.StrictUndefined).get_template(name)


def moment(at: float) -> str:
    """A time of day for people."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


# --- numbers of the class ------------------------------------------------------------------------------------------


def score_bars(totals: list[float], possible: float) -> list[Bar]:
    """How many learners reached how much: ten bins of the possible points; extra points count into the last one.

    >>> [bar.number for bar in score_bars([0.0, 5.0, 10.0, 11.0], 10.0)]
    [1, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    """
    bins = Counter(min(int(N_BINS * points / possible + 1e-9), N_BINS - 1) if possible else 0 for points in totals)
    highest = max(bins.values(), default=1)
    return [
        Bar(f"{100 * k // N_BINS} to {100 * (k + 1) // N_BINS} %", bins[k], bins[k] / highest) for k in range(N_BINS)
    ]


def marks_by_exercise(group: Class) -> list[tuple[Exercise, list[Mark]]]:
    """Each exercise with all marks that were given on it."""
    marks = [mark for learner in group.learners for mark in learner.marks]
    return [(exercise, [mark for mark in marks if mark.exercise.id == exercise.id]) for exercise in group.exercises]


def hardest(group: Class) -> list[Bar]:
    """The fraction of the class that has not passed each exercise, the largest first."""
    bars = []
    for exercise, marks in marks_by_exercise(group):
        graded = [mark for mark in marks if mark.points is not None]
        missed = sum(mark.status != "passed" for mark in graded)
        note = f"{missed} of {len(graded)}" + (", optional" if exercise.optional else "")
        bars.append(Bar(f"{exercise.id} {exercise.title}", missed, missed / len(graded) if graded else 0.0, note))
    return sorted(bars, key=lambda bar: -bar.length)


def common_mistakes(group: Class) -> list[Bar]:
    """The named mistakes, the most common first."""
    exercises = {exercise.id: exercise for exercise in group.exercises}
    found = Counter(
        (mark.exercise.id, mark.line.outcome.mistake)
        for learner in group.learners
        for mark in learner.marks
        if mark.line.outcome and mark.line.outcome.mistake
    ).most_common(MOST_MISTAKES)
    return [
        Bar(f"{key} {name}", count, count / found[0][1], explained(exercises[key], name))
        for (key, name), count in found
    ]


def explained(exercise: Exercise, name: str) -> str:
    """The rubric's sentence on a mistake."""
    return next((mistake.says for mistake in exercise.mistakes if mistake.name == name), "")


def status_counts(group: Class) -> list[tuple[Exercise, dict[str, int]]]:
    """Each exercise with how often each status was given."""
    kinds = (*STATUSES, "pending")
    counted = [(exercise, Counter(mark.status for mark in marks)) for exercise, marks in marks_by_exercise(group)]
    used = [kind for kind in kinds if any(counts[kind] for _, counts in counted)]
    return [(exercise, {kind: counts[kind] for kind in used}) for exercise, counts in counted]
