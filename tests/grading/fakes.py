"""Exercises and a runner that need neither torch nor a sandbox: for what is around the runner."""

from __future__ import annotations

from pathlib import Path

from course_lib.grading import batch
from course_lib.grading.book import GradeBook
from course_lib.grading.classroom import BOOK
from course_lib.grading.records import Job, Outcome
from course_lib.rubrics.exercise import Exercise
from tests.grading import untidy

NAMES = {"0.1": "sparsity", **dict(zip(untidy.ANSWERS, untidy.NAMES, strict=True))}
EXERCISES = {
    key: Exercise(key, name, f"The {name}", max(place, 1), reference=len, cases=list, mistakes=(), hints=("", "", ""))
    for place, (key, name) in enumerate(NAMES.items())
}


def fake(job: Job) -> Outcome:
    """What a runner answers, decided by a word in the code."""
    points = float(EXERCISES[job.exercise].points)
    if job.code is None:
        return Outcome("not attempted", 0.0, points, None, "Nothing was handed in.", job.seed, "full", 0.0, "v")
    right = "wrong" not in job.code
    return Outcome(
        "passed" if right else "failed",
        points * right,
        points,
        None if right else "oops",
        "",
        job.seed,
        "full",
        0.1,
        "v",
    )


class Workers:
    """Stands for a Runner in threads; counts what it ran, and can fail or stop."""

    def __init__(self, run=fake, jobs: int = 2) -> None:
        self.ran: list[tuple[str, int]] = []
        self.entered = 0
        self._run, self._jobs = run, jobs

    def __enter__(self) -> batch.Run:
        self.entered += 1
        return batch.in_threads(self.run, self._jobs)

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, job: Job) -> Outcome:
        self.ran.append((job.exercise, job.seed))
        return self._run(job)


def answers(**bodies: str) -> bytes:
    """A notebook with an answer for each exercise named like e2_1."""
    cells = []
    for key, body in bodies.items():
        number = key[1:].replace("_", ".")
        cells.append(
            untidy.code(f"def {EXERCISES[number].name}(*a):\n    return '{body}'", small_nets={"exercise": number})
        )
    return untidy.notebook(cells)


def hand_in(folder: Path, **notebooks: bytes) -> Path:
    for learner, data in notebooks.items():
        (folder / learner).mkdir(parents=True, exist_ok=True)
        (folder / learner / "02.ipynb").write_bytes(data)
    return folder


def lines(out: Path) -> list[tuple]:
    """The grade book without times."""
    with GradeBook(out / BOOK) as book:
        return [(line.learner, line.exercise, line.digest, line.outcome, line.remarks) for line in book.current()]
