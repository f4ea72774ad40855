"""Honest but untidy submissions get exactly the points of their answers, at the strictest level this machine gives."""

from __future__ import annotations

import pytest

from course_lib.grading.batch import in_threads
from course_lib.grading.classroom import Request, grade_class
from course_lib.grading.marks import Class
from course_lib.grading.runner import Runner
from course_lib.grading.submissions import course_exercises
from tests.grading import untidy


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Class:
    folder = tmp_path_factory.mktemp("untidy")
    request = Request(untidy.write_corpus(folder / "in"), folder / "out", course_exercises(), seed=5)
    with Runner() as runner:
        return grade_class(request, in_threads_of(runner))


def in_threads_of(runner: Runner):
    """What grade_class enters to get a Run."""
    from contextlib import nullcontext

    return nullcontext(in_threads(runner.run, 2))


@pytest.mark.parametrize("name", untidy.CORPUS)
def test_untidy_is_not_punished(graded: Class, name: str) -> None:
    learner = next(learner for learner in graded.learners if learner.key == name)
    found = {mark.exercise.id: mark.status for mark in learner.marks}
    assert found == untidy.EXPECTED, [(mark.exercise.id, mark.line.outcome) for mark in learner.marks]
    assert learner.points() == untidy.POINTS
    assert {mark.line.outcome.mistake for mark in learner.marks} == {None, untidy.MISTAKE}


def test_there_are_enough() -> None:
    assert len(untidy.CORPUS) >= 12
