"""A teacher's own exercises: rubric files and the notebooks that go with them, in a folder of their own."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grading.notebook import attempted, find_answers, lesson_of, lessons_of, read_cells, setup_cells
from course_lib.rubrics.exercise import Exercise
from course_lib.rubrics.judge import check_answer
from course_lib.rubrics.verbs import VERBS
from course_lib.rubrics.wire import pack

SEEDS = (100, 101, 102, 103, 104)


def exercises_in(folder: Path, course: Mapping[str, Exercise]) -> dict[str, Exercise]:
    """The exercises of every rubric file (*.py with EXERCISES) in a folder. The files are run: they are the teacher's.

    Args:
        folder: files whose name begins with an underscore are passed over.
        course: the course's own exercises, whose ids and names are taken.

    Raises:
        CourseError: there is none, a file cannot be run, or an id or a name is taken.
    """
    if not folder.is_dir():
        raise CourseError(f"There is no folder {folder}. Pass the folder that holds your rubric files.")
    found: dict[str, Exercise] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        for exercise in exercises_of_file(path):
            require_free(exercise, path, {**course, **found})
            found[exercise.id] = exercise
    if not found:
        raise CourseError(f"{folder} holds no rubric. Put a file there with EXERCISES = (Exercise(...), ...).")
    return found


def exercises_of_file(path: Path) -> tuple[Exercise, ...]:
    """EXERCISES of one file."""
    spec = importlib.util.spec_from_file_location(f"private_rubric_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        exercises = tuple(module.EXERCISES)
    except Exception as error:
        raise CourseError(f"{path} cannot be used: {type(error).__name__}: {error}. It needs EXERCISES.") from error
    wrong = [item for item in exercises if not isinstance(item, Exercise)]
    if wrong:
        raise CourseError(f"EXERCISES in {path} holds {wrong[0]!r}; expected course_lib.rubrics.exercise.Exercise.")
    return exercises


def require_free(exercise: Exercise, path: Path, taken: Mapping[str, Exercise]) -> None:
    """Refuse an id that is not lesson.place, and ids and names that another exercise has."""
    if not re.fullmatch(r"[1-9]\d*\.\d+", str(exercise.id)):
        raise CourseError(f"The id {exercise.id!r} in {path} must be two numbers, such as '101.1'.")
    for other in taken.values():
        if exercise.id == other.id or exercise.name == other.name:
            raise CourseError(
                f"{path}: exercise {exercise.id} ({exercise.name}) has the id or the name of exercise {other.id} "
                f"({other.name}). Take lessons from 101 on, and a name of its own."
            )


def declared_in(folder: Path, exercises: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The set-up cells of the notebooks in a folder, for each exercise of theirs: id -> cells."""
    by_lesson: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.ipynb")):
        for lesson in lessons_of(read_cells(path.read_bytes())):
            by_lesson[lesson] = by_lesson.get(lesson, ()) + setup_cells(path)
    return {key: by_lesson.get(lesson_of(key), ()) for key in exercises}


# --- course rubric check -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `trouble` is empty where it is as it should be."""

    exercise: str
    what: str
    trouble: str = ""


def check_rubrics(folder: Path, course: Mapping[str, Exercise]) -> list[Finding]:
    """Try every exercise in a folder: the reference passes, the stub is not attempted, every mistake is rejected and named.

    Raises:
        CourseError: as for `exercises_in`.
    """
    exercises = exercises_in(folder, course)
    return [finding for exercise in exercises.values() for finding in findings(exercise, folder)]


def findings(exercise: Exercise, folder: Path) -> Iterator[Finding]:
    """Everything that is looked at, one after the other."""
    checks: dict[str, Callable[[], str]] = {
        "its verb is known": lambda: (
            "" if exercise.verb in VERBS else f"{exercise.verb!r} is none of {', '.join(VERBS)}"
        ),
        "its inputs can be sent, and a seed gives them again": lambda: inputs_trouble(exercise),
        "the reference passes": lambda: reference_trouble(exercise),
        "the notebook has it, unsolved": lambda: notebook_trouble(exercise, folder),
    }
    for mistake in exercise.mistakes:
        checks[f"rejected and named: {mistake.name}"] = lambda mistake=mistake: mistake_trouble(exercise, mistake)
    checks["it knows mistakes"] = lambda: "" if exercise.mistakes else "add wrong versions that learners write"
    for what, trouble in checks.items():
        yield Finding(exercise.id, what, told(trouble))


def told(check: Callable[[], str]) -> str:
    """What a check says; an error in the rubric's own code is told, not raised."""
    try:
        return check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def inputs_trouble(exercise: Exercise) -> str:
    """Whether inputs cross a process border, and are the same twice."""
    for seed in SEEDS:
        once, twice = ([pack(case.inputs) for case in exercise.cases(seed)] for _ in range(2))
        if not once:
            return f"seed {seed} gives no case"
        if once != twice:
            return f"seed {seed} gave other inputs the second time: draw them from torch.Generator().manual_seed(seed)"
    return ""


def reference_trouble(exercise: Exercise) -> str:
    """Whether the reference passes its own cases."""
    verdict = check_answer(exercise, exercise.reference, SEEDS, trusted=True)
    return "" if verdict.status == "passed" else f"{verdict.status} on {verdict.case}: {verdict.why}"


def mistake_trouble(exercise: Exercise, mistake: object) -> str:
    """Whether a wrong version is rejected on every seed, and by its own name."""
    for seed in SEEDS:
        verdict = check_answer(exercise, mistake.wrong, [seed], trusted=True)
        if verdict.status not in ("failed", "raised"):
            return f"seed {seed}: it {verdict.status}; add a case that tells it from the reference"
        if verdict.mistake is None or verdict.mistake.name != mistake.name:
            name = verdict.mistake.name if verdict.mistake else "no mistake"
            return f"seed {seed}: it was taken for {name!r}; add a case that tells the two apart"
    return ""


def notebook_trouble(exercise: Exercise, folder: Path) -> str:
    """Whether a notebook in the folder holds the exercise, and an untouched copy of it is not an attempt."""
    for path in sorted(folder.glob("*.ipynb")):
        answer = find_answers(read_cells(path.read_bytes()), {exercise.id: exercise}, {exercise.id: ()}).get(
            exercise.id
        )
        if answer is not None:
            return f"{path.name} holds an answer already" if attempted(answer.code, exercise) else ""
    return f"no notebook in {folder.name}/ has a cell for it: begin the cell with `# Exercise {exercise.id}`"
