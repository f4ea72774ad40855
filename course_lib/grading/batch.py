"""All submissions × exercises -> jobs -> outcomes -> the grade book, in threads here or on a Dask cluster."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from course_lib.errors import CourseError
from course_lib.grading.book import GradeBook, Line
from course_lib.grading.notebook import attempted, lesson_of
from course_lib.grading.records import Job, Outcome, Submission
from course_lib.rubrics.exercise import Exercise

# Runs jobs somewhere and yields (number of the job, its outcome or the grader's error) as they are done, each job once.
Run = Callable[[Sequence[Job]], Iterator[tuple[int, Outcome | Exception]]]


@dataclass(frozen=True)
class Task:
    """One exercise of one learner: what to run, and what the book should say beside the outcome."""

    learner: str
    job: Job
    digest: str
    remarks: tuple[str, ...] = ()
    bad_notebook: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What the book calls it."""
        return self.learner, self.job.exercise

    def line(self, outcome: Outcome | None = None) -> Line:
        """The line for the book."""
        return Line(*self.key, self.digest, outcome, self.remarks)


# --- what is to be graded ------------------------------------------------------------------------------------------


def handed_out(submissions: Iterable[Submission], exercises: Mapping[str, Exercise]) -> dict[str, Exercise]:
    """The exercises of every lesson that at least half of the class handed in, so that nobody adds one for the others.

    Raises:
        CourseError: no submission holds an exercise.
    """
    readable = [submission for submission in submissions if submission.answers]
    counts = Counter(lesson for one in readable for lesson in {lesson_of(key) for key in one.answers})
    chosen = {lesson for lesson, count in counts.items() if 2 * count >= len(readable)}
    found = {key: exercise for key, exercise in exercises.items() if lesson_of(key) in chosen}
    if not found:
        raise CourseError(
            "No submission holds an exercise that is known. Pass --lessons, or --rubrics for your own exercises."
        )
    return found


def seed_of(seed: int, exercise: str) -> int:
    """The seed of an exercise: drawn once for the whole class, so that everybody gets the same inputs.

    >>> seed_of(1, "2.1") == seed_of(1, "2.1") != seed_of(2, "2.1")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{exercise}".encode()).digest()[:4], "little") >> 1


def tasks_of(
    submissions: Iterable[Submission], exercises: Mapping[str, Exercise], *, seed: int, seconds: float, megabytes: int
) -> list[Task]:
    """Every exercise of every learner, also those left out."""
    return [
        task_of(
            submission,
            exercise,
            Job(exercise.id, None, (), seed_of(seed, exercise.id), seconds, megabytes, submission=number),
        )
        for number, submission in enumerate(submissions)
        for exercise in exercises.values()
    ]


def task_of(submission: Submission, exercise: Exercise, job: Job) -> Task:
    """One exercise of one learner; an untouched stub is not run."""
    answer = submission.answers.get(exercise.id)
    unread = answer is None and submission.status == "bad notebook"
    if answer is not None and attempted(answer.code, exercise):
        job = replace(job, code=answer.code, setup=answer.setup)
    files = [(name, str(path)) for name, path in sorted(submission.files.items())]
    job = replace(job, files=tuple(file for file in files if any(fnmatch(file[0], like) for like in exercise.files)))
    return Task(submission.learner, job, digest_of(job, unread), answer.remarks if answer else (), unread)


def digest_of(job: Job, unread: bool) -> str:
    """What tells one version of a submission from another: the code, what it needs, and the files beside it."""
    files = [(name, hashlib.sha256(Path(path).read_bytes()).hexdigest()) for name, path in job.files]
    text = json.dumps([job.code, job.setup, files, unread])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- what is still to be done --------------------------------------------------------------------------------------


def outstanding(tasks: Iterable[Task], book: GradeBook, regrade: Iterable[str] = ()) -> list[Task]:
    """The tasks without a current grade: new, changed, interrupted, failed by the grader, or asked for again.

    A regrade takes the seed of the grade before it.

    Args:
        tasks: all of them.
        book: what was done before.
        regrade: learners, exercises, or "learner:exercise".

    Raises:
        CourseError: a name in `regrade` is none of those.
    """
    tasks, current = list(tasks), {(line.learner, line.exercise): line for line in book.current()}
    wanted = asked_again(tasks, list(regrade))
    left = []
    for task in tasks:
        line = current.get(task.key)
        graded = line is not None and line.outcome is not None and line.outcome.status != "grader error"
        if task.key in wanted or not graded or line.digest != task.digest:
            left.append(replace(task, job=replace(task.job, seed=stored_seed(book, task))))
    return left


def asked_again(tasks: Sequence[Task], regrade: Sequence[str]) -> set[tuple[str, str]]:
    """The keys that the names in `regrade` stand for."""
    wanted = set()
    for name in regrade:
        found = {task.key for task in tasks if name in (*task.key, ":".join(task.key))}
        if not found:
            raise CourseError(
                f"There is no learner and no exercise {name!r} to grade again. Pass a learner, an exercise such as 2.1, "
                f"or both as learner:2.1. The learners are: {', '.join(sorted({task.learner for task in tasks})[:20])}."
            )
        wanted |= found
    return wanted


def stored_seed(book: GradeBook, task: Task) -> int:
    """The seed with which this exercise of this learner was graded last, else the class's."""
    seeds = [line.outcome.seed for line in book.history(*task.key) if line.outcome]
    return seeds[-1] if seeds else task.job.seed


# --- doing it ------------------------------------------------------------------------------------------------------


def grade(
    tasks: Sequence[Task], book: GradeBook, number: int, exercises: Mapping[str, Exercise], run: Run
) -> Iterator[Line]:
    """Make the tasks pending, run them, and write each outcome as it comes; yields each line once it is on the disk.

    Stopped at any moment, `outstanding` gives what is left.
    """
    pending = {(line.learner, line.exercise, line.digest) for line in book.current() if line.outcome is None}
    book.ask(number, [task.line() for task in tasks if (*task.key, task.digest) not in pending])
    runnable = [task for task in tasks if not task.bad_notebook]
    for task in tasks:
        if task.bad_notebook:
            told = "The notebook could not be read; the remarks on the submission say why."
            yield written(book, number, task, without_running("bad notebook", exercises, task, told))
    for place, found in run([task.job for task in runnable]):
        if isinstance(found, Exception):
            told = f"The grader failed ({type(found).__name__}: {found}). Run the same command again."
            found = without_running("grader error", exercises, runnable[place], told)
        yield written(book, number, runnable[place], found)


def written(book: GradeBook, number: int, task: Task, outcome: Outcome) -> Line:
    """Write an outcome to the book."""
    book.record(number, task.line(outcome))
    return task.line(outcome)


def without_running(status: str, exercises: Mapping[str, Exercise], task: Task, told: str) -> Outcome:
    """The outcome of what could not be run."""
    points = float(exercises[task.job.exercise].points)
    return Outcome(status, 0.0, points, None, told, task.job.seed, "none", 0.0, "")


def in_threads(run: Callable[[Job], Outcome], jobs: int) -> Run:
    """Run jobs in this many threads; the work is done by the child processes that `run` starts."""
    return lambda work: run_groups(lambda group: map(run, group), [[pair] for pair in enumerate(work)], jobs)


def by_submission(run: Callable[[Sequence[Job]], Iterable[Outcome]], jobs: int) -> Run:
    """Hand `run` the jobs of one submission together, and run this many submissions at the same time."""

    def run_all(work: Sequence[Job]) -> Iterator[tuple[int, Outcome | Exception]]:
        alike = groupby(enumerate(work), key=submission_of)
        return run_groups(run, [list(group) for _, group in alike], jobs)

    return run_all


def submission_of(pair: tuple[int, Job]) -> tuple[bool, int]:
    """What the jobs of one submission have in common; a job that names none stands alone."""
    place, job = pair
    return (False, place) if job.submission is None else (True, job.submission)


def run_groups(
    run: Callable[[Sequence[Job]], Iterable[Outcome]], groups: Sequence[Sequence[tuple[int, Job]]], jobs: int
) -> Iterator[tuple[int, Outcome | Exception]]:
    """Each group in one thread, in turn; what is done comes at once."""
    done: SimpleQueue[tuple[int, Outcome | BaseException]] = SimpleQueue()
    stopped = Event()

    def work_through(group: Sequence[tuple[int, Job]]) -> None:
        left = [place for place, _ in group]
        try:
            for outcome in run([job for _, job in group]):
                done.put((left.pop(0), outcome))
                if stopped.is_set():
                    return
            if left:
                raise RuntimeError(f"{len(left)} jobs came to nothing")
        except BaseException as error:  # nobody may wait for ever
            for place in left:
                done.put((place, error))

    pool = ThreadPoolExecutor(jobs, thread_name_prefix="grading")
    try:
        for group in groups:
            pool.submit(work_through, group)
        for _ in range(sum(map(len, groups))):
            place, found = done.get()
            if isinstance(found, BaseException) and not isinstance(found, Exception):
                raise found
            yield place, found
    finally:  # also when the reader stops: the job that has begun is finished, nothing more begins
        stopped.set()
        pool.shutdown(cancel_futures=True)
