"""The same grading inside nbgrader: a course folder for it, and the preprocessor that takes the place of its Execute.

nbgrader's own grade book, feedback and CSV keep working. What changes is how points come about: no cell of a submission
runs in a kernel; each answer is run isolated on inputs it never saw, and its check cell gets the outcome as its output.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import nbformat
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from traitlets import Float, Integer, Unicode

from course_lib.errors import CourseError
from course_lib.grading.batch import task_of
from course_lib.grading.notebook import find_answers, lesson_of, read_cells
from course_lib.grading.records import Job, Outcome, Submission
from course_lib.grading.submissions import course_exercises
from course_lib.rubrics.exercise import LESSON_STEMS, Exercise

ROOT = Path(__file__).parents[2]
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CONFIGURATION = '''"""Takes our isolated grading in place of running the submission's notebook. Written by `course nbgrader export`."""

from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata, IgnorePattern, LimitOutput, SaveAutoGrades

from course_lib.grading.nbgrader import IsolatedGrading

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "small-nets"
c.ClearSolutions.code_stub = {"python": "raise NotImplementedError()"}
c.Autograde.autograde_preprocessors = [
    IsolatedGrading, IgnorePattern, LimitOutput, SaveAutoGrades, AssignLatePenalties, CheckCellMetadata,
]
# c.IsolatedGrading.require_isolation = "full"  # refuse to grade at a lower level
'''


# --- course nbgrader export ----------------------------------------------------------------------------------------


def export(folder: Path, lessons: Sequence[str] = ()) -> list[Path]:
    """Write nbgrader_config.py and source/LESSON/LESSON.ipynb for each lesson with exercises, and return the paths.

    Args:
        folder: made if it does not exist; what lies at these paths is replaced.
        lessons: such as "02"; all when empty.

    Raises:
        CourseError: there is no such lesson, or the folder cannot be written.
    """
    both = [ROOT / "exercises", ROOT / "solutions"]
    stems = [stem for stem in LESSON_STEMS.values() if all((place / f"{stem}.ipynb").is_file() for place in both)]
    wanted = [stem for stem in stems if not lessons or any(lesson.zfill(2) == stem[:2] for lesson in lessons)]
    if not wanted:
        raise CourseError(
            f"No exercises of lesson {', '.join(lessons)}. There are: {', '.join(stem[:2] for stem in stems)}."
        )
    texts = {"nbgrader_config.py": CONFIGURATION}
    texts |= {f"source/{stem}/{stem}.ipynb": nbformat.writes(source_of(stem)) + "\n" for stem in wanted}
    try:
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{folder} cannot be written: {error.strerror}. Pass another folder.") from None
    return [folder / name for name in texts]


def source_of(stem: str) -> NotebookNode:
    """The instructor's version: the learner's copy, its stubs replaced by fenced solutions, graded cells marked."""
    exercises = {e.id: e for e in course_exercises().values() if lesson_of(e.id) == str(int(stem[:2]))}
    notebook = nbformat.read(ROOT / "exercises" / f"{stem}.ipynb", as_version=4)
    solved = nbformat.read(ROOT / "solutions" / f"{stem}.ipynb", as_version=4)
    answers = {number: cell.source for cell in solved.cells if (number := number_of(cell))}
    checks = {f"check({exercise.name})": exercise for exercise in exercises.values() if not exercise.optional}
    for cell in notebook.cells:
        number = number_of(cell)
        if number in exercises:
            cell.source = fenced(cell.source, answers[number])
            cell.metadata["nbgrader"] = mark(f"exercise-{number}", solution=True)
        elif cell.source.strip() in checks:
            exercise = checks[cell.source.strip()]
            cell.metadata["nbgrader"] = mark(f"exercise-{exercise.id}-check", points=exercise.points)
    return notebook


def number_of(cell: NotebookNode) -> str | None:
    """The exercise that a cell's metadata names."""
    return cell.metadata.get("small_nets", {}).get("exercise")


def fenced(stub: str, solved: str) -> str:
    """The solved cell with fences around what the stub has not.

    >>> print(fenced("def f():\\n    raise NotImplementedError('Exercise 2.1')", "def f():\\n    return 1"))
    def f():
        ### BEGIN SOLUTION
        return 1
        ### END SOLUTION
    """
    lines, whole = stub.split("\n"), solved.split("\n")
    place = next(number for number, line in enumerate(lines) if line.lstrip().startswith("raise NotImplementedError("))
    indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    after = len(lines) - place - 1
    inside = whole[place : len(whole) - after]
    return "\n".join([*whole[:place], indent + BEGIN, *inside, indent + END, *whole[len(whole) - after :]])


def mark(grade_id: str, *, solution: bool = False, points: int | None = None) -> dict:
    """What nbgrader reads of a cell: one that is to be solved, or one that is graded."""
    marked = {"schema_version": 3, "grade_id": grade_id.replace(".", "-"), "solution": solution, "task": False}
    return (
        marked
        | {"grade": points is not None, "locked": points is not None}
        | ({} if points is None else {"points": points})
    )


# --- in place of Execute -------------------------------------------------------------------------------------------


class IsolatedGrading(Preprocessor):
    """Grades a submission's answers in sandboxes, and writes each outcome below the check cell that it belongs to."""

    enabled = True
    require_isolation = Unicode("", help="full, kernel or process: refuse to grade at a lower level.").tag(config=True)
    seed = Integer(-1, help="The seed of the inputs; drawn for each run when negative.").tag(config=True)
    seconds = Float(30.0, help="How long one answer may run.").tag(config=True)
    megabytes = Integer(1024, help="How much memory one answer may use.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Grade every check cell; nothing of the notebook is executed here."""
        exercises = course_exercises()
        answers = find_answers(read_cells(json.dumps(nb).encode()), exercises)
        checks = {f"exercise-{key.replace('.', '-')}-check": exercise for key, exercise in exercises.items()}
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                marked = cell.metadata.get("nbgrader", {})
                exercise = checks.get(marked.get("grade_id")) if marked.get("grade") else None
                if exercise is not None:
                    cell.outputs = outputs_of(self.outcome(exercise, answers))
        return nb, resources

    def outcome(self, exercise: Exercise, answers: dict) -> Outcome:
        """Run one answer.

        Raises:
            CourseError: the grader failed, so that nbgrader records no grade instead of a wrong one.
        """
        seed = drawn_seed() if self.seed < 0 else self.seed
        job = Job(exercise.id, None, (), seed, self.seconds, self.megabytes)
        job = task_of(Submission("", answers, {}), exercise, job).job
        outcome = runner(self.require_isolation or None).run(job)
        if outcome.status == "grader error":
            raise CourseError(outcome.feedback)
        return outcome


@lru_cache(maxsize=1)
def drawn_seed() -> int:
    """One seed for all submissions of a run."""
    return secrets.randbelow(2**31)


@lru_cache(maxsize=2)
def runner(level: str | None) -> object:
    """The runner of this process; its sandboxes end with it."""
    import atexit

    from course_lib.grading.runner import Runner

    made = Runner(level)
    atexit.register(made.close)
    return made


def outputs_of(outcome: Outcome) -> Iterable[NotebookNode]:
    """What stands below the check cell: nbgrader gives no points for an error, and the number for a result."""
    how = f"(seed {outcome.seed}, isolation {outcome.level})"
    told = f"{outcome.mistake}. {outcome.feedback}" if outcome.mistake else outcome.feedback
    if not outcome.points:
        lines = [f"{outcome.status}: {told}", how]
        return [nbformat.v4.new_output("error", ename=outcome.status, evalue=told, traceback=lines)]
    return [
        nbformat.v4.new_output("stream", name="stdout", text=f"{outcome.status}: {told} {how}\n"),
        nbformat.v4.new_output("execute_result", data={"text/plain": f"{outcome.points:g}"}, execution_count=1),
    ]
