"""The score of a learner's notebook: a copy of it runs in a fresh kernel, and each check leaves one line."""

import json
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.authoring.execution import execute
from course_lib.errors import CourseError

MARKER = re.compile(r"^# Exercise (\d+\.\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """What came out of one exercise; `max_points` is None where its check never ran, 0 where it is optional."""

    exercise: str
    title: str = ""
    status: str = "not checked"
    points: float = 0.0
    max_points: float | None = None
    mistake: str | None = None

    @property
    def optional(self) -> bool:
        """Whether the notebook is complete without it."""
        return self.max_points == 0

    @property
    def shown_points(self) -> str:
        """Points as text, such as "1 / 2"; those of an optional exercise are "2 extra"."""
        if self.optional:
            return f"{self.points:g} extra"
        return f"{self.points:g}" + (f" / {self.max_points:g}" if self.max_points is not None else "")


def marks_of(path: Path) -> list[Mark]:
    """Run a notebook as it stands on disk and return one mark for each of its exercises.

    Raises:
        CourseError: the file is no notebook, holds no exercise, or its kernel ends.
    """
    notebook = _read(path)
    exercises = exercises_of(notebook)
    if not exercises:
        raise CourseError(f"{path} holds no exercise. Pass a notebook of the exercises folder.")
    with tempfile.TemporaryDirectory(prefix="small-nets-") as home:
        results = Path(home) / "results.jsonl"
        environment = {"COURSE_HOME": home, "COURSE_RESULTS": str(results)}
        execute(notebook, path.resolve().parent, environment=environment, name=path.name, allow_errors=True)
        marks = _recorded(results)
    return [marks.get(exercise, Mark(exercise)) for exercise in exercises]


def exercises_of(notebook: NotebookNode) -> list[str]:
    """Return the numbers of a notebook's exercises, by metadata or, where an editor lost it, by their first line."""
    found: dict[str, None] = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            known = cell.metadata.get("small_nets", {})
            number = known.get("exercise") if isinstance(known, dict) else None
            marked = MARKER.match(cell.source)
            if number or marked:
                found[str(number or marked[1])] = None
    return list(found)


def _recorded(results: Path) -> dict[str, Mark]:
    """Read the checks' lines; of two on one exercise the last counts."""
    marks = {}
    for line in results.read_text(encoding="utf-8").splitlines() if results.exists() else []:
        try:
            entry = json.loads(line)
            marks[str(entry["exercise"])] = Mark(
                exercise=str(entry["exercise"]),
                title=str(entry.get("title") or ""),
                status=str(entry["status"]),
                points=float(entry["points"]),
                max_points=float(entry["max_points"]),
                mistake=entry.get("mistake"),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return marks


def _read(path: Path) -> NotebookNode:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids, which older editors write
            return nbformat.read(path, as_version=4)
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}. Pass the path of your notebook.") from None
    except Exception:  # nbformat raises many kinds for what is no notebook
        raise CourseError(f"{path} is not a notebook. Pass an .ipynb file, as JupyterLab saves it.") from None
