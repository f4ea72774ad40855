"""From the values a sandbox handed back to an outcome. The reference runs here, never there."""

from __future__ import annotations

import platform
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

import course_lib
from course_lib.grading.records import Job, Outcome, Status
from course_lib.grading.results import BadOutput, cap_for, read_outcomes
from course_lib.grading.warm import End
from course_lib.rubrics import verbs
from course_lib.rubrics.exercise import Case, Exercise
from course_lib.rubrics.judge import Verdict, judge, least

LONGEST = 2000  # characters of feedback
N_SEEDS = 2  # neighbouring seeds that every answer is run on
RUBRICS = threading.Lock()  # rubrics draw from torch's global random state
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "std::bad_alloc",
    "Unable to allocate",
    "Cannot allocate memory",
)


@dataclass(frozen=True)
class Question:
    """What all jobs of one exercise and seed have in common."""

    cases: tuple[tuple[Case, ...], ...]  # seed by seed
    cap: int  # bytes that a result may have

    @property
    def inputs(self) -> list[tuple]:
        """The arguments of every call, all that a sandbox is told."""
        return [case.inputs for group in self.cases for case in group]


def cases_of(exercise: Exercise, seed: int) -> tuple[tuple[Case, ...], ...]:
    """The calls to make, seed by seed."""
    with RUBRICS:
        return tuple(tuple(exercise.cases(seed + place)) for place in range(N_SEEDS))


def question(exercise: Exercise, seed: int) -> Question:
    """Draw the inputs, and try the reference on them.

    Raises:
        RuntimeError: the reference fails: the rubric's fault, nobody else's.
    """
    cases = cases_of(exercise, seed)
    with RUBRICS:
        outcomes = [
            verbs.run_case(exercise.reference, exercise.verb, case.inputs, trusted=True)
            for group in cases
            for case in group
        ]
    broken = next((outcome for outcome in outcomes if outcome.error), None)
    if broken:
        raise RuntimeError(f"the reference of exercise {exercise.id} raised {broken.error}: {broken.message}")
    return Question(cases, cap_for(outcomes))


def outcome_of_run(exercise: Exercise, job: Job, asked: Question, end: End, result: bytes, level: str) -> Outcome:
    """Judge what came back; the way the process ended counts only where it handed nothing back."""
    if end.how == "timed out":
        return made(job, exercise, level, "timed out", f"No answer within {job.seconds:g} seconds.", end.seconds)
    if end.how == "out of memory":
        return made(job, exercise, level, "out of memory", memory_feedback(job), end.seconds)
    if end.how == "sent too much":
        return made(job, exercise, level, "bad output", "The result is far larger than any right one.", end.seconds)
    if end.how != "exited":
        return made(job, exercise, level, "killed", f"The answer {end.how} and was ended.", end.seconds)
    if not result:
        return made(job, exercise, level, "killed", ending(end.number), end.seconds)
    try:
        outcomes = read_outcomes(result, len(asked.inputs))
    except BadOutput as error:
        return made(job, exercise, level, "bad output", f"The results cannot be read: {error}.", end.seconds)
    outcome = judged(exercise, job, asked, outcomes, level, end.seconds)
    if outcome.status == "raised" and outcome.mistake is None and any(map(no_memory, outcomes)):
        return made(job, exercise, level, "out of memory", memory_feedback(job), end.seconds)
    return outcome


def judged(
    exercise: Exercise, job: Job, asked: Question, outcomes: list[verbs.Outcome], level: str, seconds: float
) -> Outcome:
    """Seed by seed; the first fault ends it, and of several passes the one with the smallest share counts."""
    waiting, verdicts = iter(outcomes), []
    for group in asked.cases:
        try:
            with RUBRICS:
                verdicts.append(judge(exercise, group, [next(waiting) for _ in group]))
        except Exception as error:  # the reference was fine, so a value of the wrong kind met a rubric
            text = (
                f"The result could not be compared ({type(error).__name__}): it is not of the kind that is asked for."
            )
            return made(job, exercise, level, "bad output", text, seconds)
        if verdicts[-1].status != "passed":
            break
    verdict = verdicts[-1] if verdicts[-1].status != "passed" else least(verdicts)
    mistake = verdict.mistake.name if verdict.mistake else None
    return made(job, exercise, level, verdict.status, told(verdict), seconds, mistake, verdict.share)


def told(verdict: Verdict) -> str:
    """A verdict in sentences for the learner."""
    measured = f"Measured: {verdict.measured}." if verdict.measured else ""
    if verdict.status == "passed":
        return measured or "Right."
    if verdict.status == "not attempted":
        return "Not attempted: the function still raises NotImplementedError."
    where = f"On {verdict.case}: " if verdict.case else ""
    named = verdict.mistake.says if verdict.mistake else ""
    return "\n".join(filter(None, [f"{where}{verdict.why}", named, measured]))


def made(
    job: Job, exercise: Exercise | None, level: str, status: Status, feedback: str, seconds: float = 0.0,
    mistake: str | None = None, share: float = 1.0,
) -> Outcome:  # fmt: skip
    """An outcome; only a passed one has points."""
    possible = float(exercise.points) if exercise else 0.0
    points = possible * min(1.0, max(0.0, share)) if status == "passed" else 0.0
    return Outcome(status, points, possible, mistake, clean(feedback), job.seed, level, seconds, versions())


def clean(text: str) -> str:
    """Short, printable text: an answer writes part of its own feedback."""
    text = text.encode("utf-8", "replace").decode()
    text = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def no_memory(outcome: verbs.Outcome) -> bool:
    """Whether a call failed for want of real memory; a rubric's pretended one says something of its own."""
    real = outcome.error == "MemoryError" and outcome.message.strip().partition(" ")[0] in ("", "(line")
    return real or (outcome.error is not None and any(words in outcome.message for words in NO_MEMORY))


def memory_feedback(job: Job) -> str:
    """What a learner is told who used too much."""
    return f"The answer needs more than the {job.megabytes} MiB of memory it may use."


def ending(number: int) -> str:
    """How a process ended that handed nothing back."""
    if number < 0:
        return f"The answer's process was ended by signal {-number} before it gave a result."
    return f"The answer ended its process (exit status {number}) before it gave a result."


def versions() -> str:
    """What the outcome was made with."""
    try:
        own = version("small-nets")
    except PackageNotFoundError:
        own = course_lib.__version__
    return f"small-nets {own}, torch {torch.__version__}, Python {platform.python_version()}"
