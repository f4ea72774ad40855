"""A class from what was handed in to the grade book: what is graded, resumed, and graded again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.errors import CourseError
from course_lib.grading import batch
from course_lib.grading.classroom import Request, grade_class
from course_lib.grading.marks import Class
from course_lib.grading.records import Answer, Job, Outcome, Submission
from course_lib.rubrics.exercise import Exercise
from tests.grading import untidy
from tests.grading.fakes import EXERCISES, Workers, answers, fake, hand_in, lines


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    folder = hand_in(tmp_path / "in", ada=answers(e2_1="right", e2_2="wrong"), bob=answers(e2_1="wrong"), eve=b"{")
    return Request(folder, tmp_path / "out", EXERCISES, seed=1)


def statuses(group: Class) -> dict[str, list[str]]:
    return {learner.key: [mark.status for mark in learner.marks] for learner in group.learners}


# ---- what is graded


def test_every_exercise_of_every_learner(request_: Request) -> None:
    workers = Workers()
    group = grade_class(request_, workers)
    assert statuses(group) == {
        "ada": ["passed", "failed", *["not attempted"] * 3],
        "bob": ["failed", *["not attempted"] * 4],
        "eve": ["bad notebook"] * 5,
    }
    assert [learner.points() for learner in group.learners] == [1, 0, 0]
    assert len(workers.ran) == 10
    assert "cannot be graded" in group.learners[2].remarks[0]


def test_everybody_gets_the_same_inputs_and_every_exercise_its_own(request_: Request) -> None:
    workers = Workers()
    grade_class(request_, workers)
    seeds = dict(workers.ran)
    assert set(workers.ran) == set(seeds.items())
    assert len(set(seeds.values())) == 5
    again = Workers()
    grade_class(replace(request_, out=request_.out / "b"), again)
    other = Workers()
    grade_class(replace(request_, out=request_.out / "c", seed=2), other)
    assert dict(again.ran) == seeds
    assert set(dict(other.ran).values()).isdisjoint(seeds.values())


def test_a_fresh_seed_is_drawn_and_kept(request_: Request) -> None:
    first = grade_class(replace(request_, seed=None), Workers()).seed
    assert first != grade_class(replace(request_, seed=None, out=request_.out / "b"), Workers()).seed
    assert grade_class(replace(request_, seed=None), Workers()).seed == first
    with pytest.raises(CourseError, match=f"begun with seed {first}"):
        grade_class(replace(request_, seed=first + 1), Workers())


def test_one_learner_cannot_add_a_lesson_for_the_others(request_: Request) -> None:
    hand_in(request_.submissions, mallory=answers(e0_1="right"))
    assert [exercise.id for exercise in grade_class(request_, Workers()).exercises] == [
        "2.1",
        "2.2",
        "2.3",
        "2.4",
        "2.5",
    ]
    asked = replace(request_, lessons=["00"], out=request_.out / "b")
    assert [exercise.id for exercise in grade_class(asked, Workers()).exercises] == ["0.1"]


def test_what_cannot_be_graded_is_said(request_: Request, tmp_path: Path) -> None:
    for request, said in (
        (replace(request_, lessons=["7"]), "no exercise of lesson 7"),
        (replace(request_, submissions=tmp_path / "none"), "nothing at"),
        (replace(request_, submissions=hand_in(tmp_path / "x", eve=b"{")), "No submission holds an exercise"),
        (replace(request_, regrade=["zoe"]), "no learner and no exercise 'zoe'"),
    ):
        with pytest.raises(CourseError, match=said):
            grade_class(request, Workers())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match="is empty"):
        grade_class(replace(request_, submissions=tmp_path / "empty"), Workers())


def test_files_go_with_the_exercise_that_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "net.sndc").write_bytes(b"weights")
    exercise = replace(EXERCISES["2.1"], files=("*.sndc",))
    submission = Submission("ada", {}, {"net.sndc": tmp_path / "net.sndc", "notes.txt": tmp_path / "no such file"})
    (task,) = batch.tasks_of([submission], {"2.1": exercise}, seed=1, seconds=1, megabytes=1)
    assert task.job.files == (("net.sndc", str(tmp_path / "net.sndc")),)
    (tmp_path / "net.sndc").write_bytes(b"other weights")
    (changed,) = batch.tasks_of([submission], {"2.1": exercise}, seed=1, seconds=1, megabytes=1)
    assert task.digest != changed.digest
    (plain,) = batch.tasks_of([submission], {"2.1": EXERCISES["2.1"]}, seed=1, seconds=1, megabytes=1)
    assert plain.job.files == ()


# ---- again


def test_what_is_graded_is_not_graded_again(request_: Request) -> None:
    grade_class(request_, Workers())
    workers = Workers()
    said: list[str] = []
    grade_class(replace(request_, seed=None), workers, note=said.append)
    assert (workers.ran, workers.entered) == ([], 0)
    assert "15 of 15 are graded already." in said


def test_a_changed_submission_and_a_late_one_are_graded(request_: Request) -> None:
    grade_class(request_, Workers())
    hand_in(request_.submissions, bob=answers(e2_1="right"), zoe=answers(e2_2="right"))
    workers = Workers()
    group = grade_class(request_, workers)
    assert sorted(exercise for exercise, _ in workers.ran) == ["2.1", "2.1", "2.2", "2.3", "2.4", "2.5"]
    assert statuses(group)["bob"][0] == statuses(group)["zoe"][1] == "passed"
    alone = replace(request_, submissions=hand_in(request_.out / "late", yan=answers(e2_1="right")))
    assert set(statuses(grade_class(alone, Workers()))) == {"ada", "bob", "eve", "yan", "zoe"}


@pytest.mark.parametrize(
    ("names", "number"), [(["ada"], 5), (["2.1"], 3), (["ada:2.1"], 1), (["ada", "bob:2.2"], 6)], ids=str
)
def test_regrade_takes_the_stored_seed(request_: Request, names: list[str], number: int) -> None:
    first = Workers()
    grade_class(request_, first)
    again = Workers(lambda job: replace(fake(job), status="failed", points=0.0))
    group = grade_class(replace(request_, regrade=names, seed=None), again)
    assert len(again.ran) == number - (1 if "2.1" in names else 0)  # eve's notebook cannot be read, so nothing runs
    assert set(again.ran) <= set(first.ran)
    ada = group.learners[0].marks[0]
    assert ada.points == (1 if names == ["bob"] else 0)
    assert [line.outcome.points for line in ada.earlier] == [1.0]


def test_a_regrade_that_fails_leaves_no_old_score(request_: Request) -> None:
    """Neither in the book nor in the reports, whether the grader fails or the power."""
    grade_class(request_, Workers())

    def broken(job: Job) -> Outcome:
        raise OSError("no sandbox today")

    group = grade_class(replace(request_, regrade=["ada:2.1"]), Workers(broken))
    ada = group.learners[0]
    assert ada.marks[0].status == "grader error" and ada.points() is None
    assert ada.marks[0].line.outcome.possible == 1
    assert "ada,," in (request_.out / "grades.csv").read_text()
    assert statuses(grade_class(request_, Workers()))["ada"][0] == "passed"  # the next run tries it again

    class PowerCut(BaseException):
        pass

    def cut(job: Job) -> Outcome:
        raise PowerCut

    with pytest.raises(PowerCut):
        grade_class(replace(request_, regrade=["ada:2.1"]), Workers(cut))
    assert not list(request_.out.glob("*.csv")) and not (request_.out / "learners").exists()
    assert lines(request_.out)[0][3] is None
    workers = Workers()
    assert statuses(grade_class(request_, workers))["ada"][0] == "passed"
    assert len(workers.ran) == 1


def test_own_exercises_must_stay_known(request_: Request) -> None:
    grade_class(request_, Workers())
    fewer = {key: exercise for key, exercise in EXERCISES.items() if key != "2.2"}
    with pytest.raises(CourseError, match="begun with exercise 2.2.*--rubrics"):
        grade_class(replace(request_, exercises=fewer), Workers())


def test_an_untouched_notebook_is_not_run(tmp_path: Path) -> None:
    stub = untidy.notebook([untidy.answer("2.5"), untidy.code("# Exercise 2.1\n")])
    ran: list[Job] = []

    def run(job: Job) -> Outcome:
        ran.append(job)
        return fake(job)

    grade_class(Request(hand_in(tmp_path / "in", ada=stub), tmp_path / "out", EXERCISES), Workers(run))
    assert {job.code for job in ran} == {None}


# ---- threads


def test_threads_run_at_the_same_time_and_stop_when_nobody_listens() -> None:
    together = threading.Barrier(3, timeout=10)
    done: list[int] = []

    def run(job: Job) -> Outcome:
        together.wait()
        done.append(1)
        return fake(job)

    results = batch.in_threads(run, 3)([Job("2.1", "x")] * 30)
    assert next(results)[1].status == "passed"
    results.close()
    assert len(done) <= 9


def test_a_submission_stays_together_and_each_outcome_comes_at_once() -> None:
    """Jobs of one submission go to one call, in order; one that names no submission goes alone."""
    calls: list[list[str]] = []
    listened = threading.Event()

    def run(group: Sequence[Job]) -> Iterator[Outcome]:
        calls.append([job.exercise for job in group])
        yield fake(group[0])
        assert listened.wait(10)
        yield from map(fake, group[1:])

    work = [Job("2.1", "a", submission=0), Job("2.2", "b", submission=0), Job("2.4", "c", submission=0)]
    work += [Job("2.1", "d"), Job("2.2", "wrong")]
    results = batch.by_submission(run, 1)(work)
    assert next(results)[0] == 0
    listened.set()
    assert {place: outcome.status for place, outcome in results} == {1: "passed", 2: "passed", 3: "passed", 4: "failed"}
    assert calls == [["2.1", "2.2", "2.4"], ["2.1"], ["2.2"]]


def test_a_submission_whose_runner_breaks_keeps_what_it_has() -> None:
    """The rest is the grader's error, and the next submission is run."""

    def run(group: Sequence[Job]) -> Iterator[Outcome]:
        yield fake(group[0])
        if len(group) > 1:
            raise RuntimeError("broken")

    work = [*[Job("2.1", "a", submission=0)] * 3, Job("2.1", "a", submission=1)]
    found = dict(batch.by_submission(run, 2)(work))
    assert [getattr(found[place], "status", str(found[place])) for place in range(4)] == [
        "passed", "broken", "broken", "passed",
    ]  # fmt: skip
    silent = dict(batch.by_submission(lambda group: [], 2)(work))
    assert [str(silent[place]) for place in range(4)] == ["3 jobs came to nothing"] * 3 + ["1 jobs came to nothing"]


def test_a_task_is_what_the_answer_says() -> None:
    submission = Submission(
        "ada", {"2.1": Answer("2.1", "def magnitude_mask(): return 1", ("import torch",), "name", ("found",))}, {}
    )
    tasks = batch.tasks_of(
        [submission], {key: EXERCISES[key] for key in ("2.1", "2.2")}, seed=1, seconds=5, megabytes=6
    )
    assert [(task.learner, task.job.exercise, task.remarks) for task in tasks] == [
        ("ada", "2.1", ("found",)),
        ("ada", "2.2", ()),
    ]
    assert (tasks[0].job.setup, tasks[0].job.seconds, tasks[0].job.megabytes) == (("import torch",), 5, 6)
    assert [task.job.submission for task in tasks] == [0, 0]
    assert tasks[1].job.code is None


def test_outcomes_come_back_from_the_book_as_they_were(request_: Request) -> None:
    group = grade_class(request_, Workers())
    outcome = group.learners[0].marks[0].line.outcome
    assert (
        Outcome.from_json(json.loads(json.dumps(outcome.to_json())))
        == outcome
        == fake(Job("2.1", "", (), outcome.seed))
    )


def test_exercises_are_hashable_by_id() -> None:
    """A private rubric may hold lists."""
    assert isinstance(replace(EXERCISES["2.1"], mistakes=[]), Exercise)
