"""What passes between the parts of the grader: values that turn into plain dictionaries and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from course_lib.errors import CourseError

Status = Literal[
    "passed", "failed", "not attempted", "raised", "timed out", "out of memory", "killed", "bad output",
    "bad notebook", "grader error",
]  # fmt: skip
STATUSES: tuple[str, ...] = get_args(Status)


class Record:
    """What all records share: the way to a plain dictionary and back."""

    def to_json(self) -> dict:
        """The record as a dictionary of numbers, strings, lists and dictionaries."""
        return plain(asdict(self))

    @classmethod
    def from_json(cls, values: dict) -> Record:
        """The way back.

        Raises:
            CourseError: a field is missing, or there is one too many.

        >>> Job.from_json(Job("2.1", None, (), seed=3).to_json()) == Job("2.1", None, (), seed=3)
        True
        """
        known = {field.name for field in fields(cls)}
        if known != set(values):
            raise CourseError(
                f"A {cls.__name__} has the fields {', '.join(sorted(known))}, but these were given: {', '.join(sorted(values))}."
            )
        return cls(**{name: tuples(value) for name, value in values.items()})


def plain(value: object) -> object:
    """Tuples become lists, paths become strings."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def tuples(value: object) -> object:
    """Lists become tuples again, all the way down."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Answer(Record):
    """The code a learner handed in for one exercise, and how it was found."""

    exercise: str
    code: str
    setup: tuple[str, ...] = ()
    found_by: Literal["id", "marker", "name"] = "id"
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission(Record):
    """All that one learner handed in."""

    learner: str
    answers: dict[str, Answer]
    files: dict[str, Path]
    status: Literal["ok", "bad notebook"] = "ok"
    remarks: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, values: dict) -> Submission:
        """The way back, with answers and paths."""
        made = super().from_json(values)
        answers = {name: Answer.from_json(answer) for name, answer in made.answers.items()}
        return replace(made, answers=answers, files={name: Path(path) for name, path in made.files.items()})


@dataclass(frozen=True)
class Job(Record):
    """One exercise of one learner, ready to run; it does not say whose it is.

    `code` is None where nothing was handed in. `seconds` and `megabytes` bound what the answer may use beyond what
    torch itself takes. `files` are pairs of a name and a path, read by the grader only. `submission` is a number that
    the jobs of one submission share, and no others; None says nothing.
    """

    exercise: str
    code: str | None
    setup: tuple[str, ...] = ()
    seed: int = 0
    seconds: float = 30.0
    megabytes: int = 1024
    files: tuple[tuple[str, str], ...] = ()
    submission: int | None = None


@dataclass(frozen=True)
class Outcome(Record):
    """What came of a job: the points, and what the learner is told. `mistake` is the name of a known mistake."""

    status: Status
    points: float
    possible: float
    mistake: str | None
    feedback: str
    seed: int
    level: str
    seconds: float
    versions: str
