"""An exercise whose answer is a file handed in beside the notebook. The grader reads it; nothing of it is run."""

from __future__ import annotations

import os
from pathlib import Path

from course_lib.grading import verdict
from course_lib.grading.records import Job, Outcome
from course_lib.rubrics import verbs
from course_lib.rubrics.exercise import Exercise

LARGEST = 16 << 20  # bytes; a rubric that measures a file has a smaller limit of its own


def outcome_of_file(exercise: Exercise, job: Job, level: str) -> Outcome:
    """Judge the one file that was handed in for this exercise."""
    if not job.files:
        wanted = " or ".join(exercise.files)
        return verdict.made(job, exercise, level, "not attempted", f"No file {wanted} was handed in.")
    if len(job.files) > 1:
        names = ", ".join(name for name, _ in job.files)
        return verdict.made(job, exercise, level, "failed", f"Hand in one file, not {len(job.files)}: {names}.")
    name, path = job.files[0]
    if os.path.getsize(path) > LARGEST:
        return verdict.made(job, exercise, level, "failed", f"The file {name} is larger than {LARGEST >> 20} MiB.")
    data = Path(path).read_bytes()
    asked = verdict.Question(verdict.cases_of(exercise, job.seed), cap=0)
    return verdict.judged(exercise, job, asked, [verbs.Outcome(value=data) for _ in asked.inputs], level, 0.0)
