"""A job in, an outcome out: start sandboxes, send inputs, judge what comes back. Nothing a job does raises here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from course_lib.errors import CourseError
from course_lib.grading import artefact, isolation, verdict
from course_lib.grading.pool import Pool
from course_lib.grading.records import Job, Outcome
from course_lib.grading.sandbox import SandboxError
from course_lib.grading.warm import End
from course_lib.rubrics.exercise import Exercise, exercise_of
from course_lib.rubrics.wire import pack

KEPT = 200  # questions
TRIES = 2  # a sandbox that ends for a reason of its own is replaced once


class Runner:
    """Runs jobs, from any number of threads at once; use it in a `with` statement.

    Each job is answered by a process of its own, which its sandbox forks and confines.

    Args:
        level: "full", "kernel" or "process"; None takes the strictest that this machine gives.
        warm: keep the sandboxes for the whole class; else each submission gets a new one.
        exercises: id -> exercise; None looks them up in the course's rubrics.

    Raises:
        CourseError: this machine does not give that level, or cannot grade at all.
    """

    def __init__(
        self, level: str | None = None, warm: bool = True, *, exercises: Mapping[str, Exercise] | None = None
    ) -> None:
        if not hasattr(os, "fork"):
            raise CourseError("Windows cannot run answers apart: grade in its Linux subsystem (WSL) or in a container.")
        torch.set_num_threads(1)  # a rubric's tensors are small, and the sandboxes need the cores
        self.level = isolation.probe().level if level is None else isolation.require(level)
        self._reuse = self.level != "process"  # there, an answer could reach the process that forks the next
        self.warm = warm and self._reuse
        self._exercises = exercises
        self._questions: dict[tuple[str, int], verdict.Question] = {}
        self._starter = ThreadPoolExecutor(1, "sandboxes")  # bubblewrap ends with the thread that started it
        self._shared = Pool(self.level, self._starter, keep=True)

    def run(self, job: Job) -> Outcome:
        """Run one job. Whatever happens is an outcome."""
        (outcome,) = self.run_submission([job])
        return outcome

    def run_submission(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run the jobs of one submission in turn; in the plain form, no other submission gets their sandbox."""
        with self._sandboxes() as sandboxes:
            for job in jobs:
                yield self._outcome(job, sandboxes)

    def close(self) -> None:
        """End all sandboxes."""
        self._shared.close()
        self._starter.shutdown()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _sandboxes(self) -> contextlib.AbstractContextManager[Pool]:
        """Those of the whole class, or new ones."""
        if self.warm:
            return contextlib.nullcontext(self._shared)
        return Pool(self.level, self._starter, keep=self._reuse)

    def _outcome(self, job: Job, sandboxes: Pool) -> Outcome:
        """What came of a job, also where it or the grader failed."""
        exercise = None
        try:
            exercise = self._exercise(job.exercise)
            if exercise.files:
                return artefact.outcome_of_file(exercise, job, self.level)
            if job.code is None:
                return verdict.made(job, exercise, self.level, "not attempted", "Nothing was handed in.")
            return self._run(exercise, job, sandboxes)
        except Exception as error:
            text = f"The grader could not run this ({type(error).__name__}: {error}). It costs nobody a point: grade again."
            return verdict.made(job, exercise, self.level, "grader error", text)

    def _exercise(self, exercise_id: str) -> Exercise:
        if self._exercises is None:
            return exercise_of(exercise_id)
        if exercise_id not in self._exercises:
            raise CourseError(f"There is no exercise {exercise_id!r}; there are {', '.join(self._exercises)}.")
        return self._exercises[exercise_id]

    def _run(self, exercise: Exercise, job: Job, sandboxes: Pool) -> Outcome:
        asked = self._question(exercise, job.seed)
        sent = pack(
            {
                "name": exercise.name,
                "verb": exercise.verb,
                "setup": list(job.setup),
                "code": job.code,
                "cases": asked.inputs,
            }
        )
        end, result = self._ask(sandboxes, sent, job, asked.cap)
        return verdict.outcome_of_run(exercise, job, asked, end, result, self.level)

    def _question(self, exercise: Exercise, seed: int) -> verdict.Question:
        """The same for a whole class that shares its seed; only the last few are kept."""
        key = exercise.id, seed
        found = self._questions.get(key)
        if found is None:
            if len(self._questions) >= KEPT:
                self._questions.clear()
            found = self._questions[key] = verdict.question(exercise, seed)
        return found

    def _ask(self, sandboxes: Pool, sent: bytes, job: Job, cap: int) -> tuple[End, bytes]:
        """Have a sandbox run it; one that breaks is replaced, and the job tried again."""
        for trial in range(TRIES):
            sandbox = sandboxes.take()
            try:
                end, result = sandbox.run(sent, seconds=job.seconds, megabytes=job.megabytes, cap=cap)
            except SandboxError:
                sandbox.close()
                if trial == TRIES - 1:
                    return End("ended its sandbox", 0, 0.0, False), b""
                continue
            sandboxes.give_back(sandbox, end)
            return end, result
        raise AssertionError("not reached")


def run_exercise(job: Job, *, level: str | None = None, exercises: Mapping[str, Exercise] | None = None) -> Outcome:
    """Run one job in a sandbox of its own.

    Raises:
        CourseError: this machine does not give that level of isolation.
    """
    with Runner(level, warm=False, exercises=exercises) as runner:
        return runner.run(job)
