"""One notebook, in whatever state it was handed in -> the answers in it. Nothing is executed here."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grading.needs import analysed, needed, unwrapped
from course_lib.grading.records import Answer
from course_lib.rubrics.exercise import LESSON_STEMS, Exercise

LARGEST_BYTES = 32_000_000
MOST_CODE = 1_000_000  # characters of one notebook
MOST_CELLS = 1000  # of code
MARKER = re.compile(r"^[ \t]*#[ \t]*(?:@title[ \t]+)?Exercise[ \t]+(\d+\.\d+)\b", re.MULTILINE | re.IGNORECASE)
EXERCISES_FOLDER = Path(__file__).parents[2] / "exercises"


@dataclass(frozen=True)
class Cell:
    """What is read of a cell: its kind, its text, the exercise that our metadata names, and its tags."""

    kind: str
    source: str
    exercise: str | None = None
    tags: tuple[str, ...] = ()


def read_cells(data: bytes) -> list[Cell]:
    """The cells of a notebook of any format; whether it is valid beyond its cells does not matter.

    Raises:
        CourseError: the bytes are no notebook; the message says why, in words for the learner.

    >>> read_cells(b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["x = 1"]}]}')
    [Cell(kind='code', source='x = 1', exercise=None, tags=())]
    """
    if len(data) > LARGEST_BYTES:
        raise CourseError(
            f"it has {len(data) / 1e6:.0f} MB, and at most {LARGEST_BYTES / 1e6:.0f} MB are read: "
            "clear the outputs, save, and hand it in again"
        )
    content = decoded(data)
    if isinstance(content, dict) and "cells" not in content and "worksheets" in content:
        content = upgraded(content)
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise CourseError("it is not a notebook: save it in Jupyter as .ipynb, and hand that file in")
    return [cell_of(cell) for cell in cells if isinstance(cell, dict)]


def decoded(data: bytes) -> object:
    """The JSON in the bytes, in any Unicode encoding."""
    if not data.strip():
        raise CourseError("it is empty: save the notebook, and hand it in again")
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError):
        raise CourseError(
            "it is damaged or not a notebook: open it in Jupyter, save it, and hand it in again"
        ) from None


def upgraded(content: dict) -> dict:
    """A notebook of format 1 to 3 in the form of format 4."""
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nbformat.convert(nbformat.from_dict(content), 4)
    except Exception:  # nbformat raises many kinds over what is no notebook
        raise CourseError("its old format cannot be read: open it in Jupyter, save it, and hand it in again") from None


def cell_of(cell: dict) -> Cell:
    """One cell; whatever is not as it should be is left out."""
    source, metadata = cell.get("source", ""), cell.get("metadata")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    metadata = metadata if isinstance(metadata, dict) else {}
    ours, tags = metadata.get("small_nets"), metadata.get("tags")
    exercise = ours.get("exercise") if isinstance(ours, dict) else None
    return Cell(
        str(cell.get("cell_type", "")),
        source.replace("\r\n", "\n") if isinstance(source, str) else "",
        exercise if isinstance(exercise, str) else None,
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
    )


# --- from cells to answers -----------------------------------------------------------------------------------------


def find_answers(
    cells: Sequence[Cell], exercises: Mapping[str, Exercise], declared: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, Answer]:
    """The answer to each exercise, where there is one: by our metadata, else by the marker, else by the function's name.

    Of several cells the last that is not a stub counts; `attempted` says whether it is more than a stub.

    Args:
        cells: of one notebook.
        exercises: id -> exercise.
        declared: id -> set-up cells of the notebook that was handed out; the course's own where the id is missing.

    >>> from course_lib.rubrics.exercise import exercise_of
    >>> found = find_answers([Cell("code", "def sparsity(w): return 0.5")], {"0.1": exercise_of("0.1")})
    >>> found["0.1"].code, found["0.1"].found_by
    ('def sparsity(w): return 0.5', 'name')
    """
    require_readable(cells)
    lessons = lessons_of(cells)
    found = {}
    for exercise in exercises.values():
        by_name = not lessons or lesson_of(exercise.id) in lessons
        places = candidates(cells, exercise, by_name=by_name)
        if places:
            given = (declared or {}).get(exercise.id)
            found[exercise.id] = answer_at(
                cells, exercise, places, declared_setup(exercise.id) if given is None else given
            )
    return found


def require_readable(cells: Sequence[Cell]) -> None:
    """Refuse a notebook with more code than anybody writes."""
    sizes = [len(cell.source) for cell in cells if cell.kind == "code"]
    if sum(sizes) > MOST_CODE:
        raise CourseError(f"it holds {sum(sizes):,} characters of code, and at most {MOST_CODE:,} are read")
    if len(sizes) > MOST_CELLS:
        raise CourseError(f"it holds {len(sizes):,} code cells, and at most {MOST_CELLS:,} are read")


def lesson_of(exercise_id: str) -> str:
    """The lesson an exercise belongs to: "2" of "2.1"."""
    return exercise_id.partition(".")[0]


def lessons_of(cells: Sequence[Cell]) -> set[str]:
    """The lessons that a notebook's metadata and markers name."""
    code = [cell for cell in cells if cell.kind == "code"]
    named = [cell.exercise for cell in code if cell.exercise]
    return {lesson_of(one) for one in [*named, *(found for cell in code for found in MARKER.findall(cell.source))]}


def candidates(cells: Sequence[Cell], exercise: Exercise, *, by_name: bool) -> list[tuple[int, str]]:
    """The places of the cells that answer an exercise, each with how it was found; stubs only where nothing else is."""
    code = [(number, cell) for number, cell in enumerate(cells) if cell.kind == "code"]
    known = [(number, how) for number, cell in code if (how := how_found(cell, exercise, by_name))]
    defining = [(number, how) for number, how in known if makes(cells[number], exercise.name)]
    known = defining or known
    return [place for place in known if attempted(cells[place[0]].source, exercise)] or known


def how_found(cell: Cell, exercise: Exercise, by_name: bool) -> str | None:
    """By which of the three ways this cell belongs to the exercise, or None."""
    if cell.exercise == exercise.id:
        return "id"
    if exercise.id in MARKER.findall(cell.source):
        return "marker"
    named = by_name and exercise.name in cell.source and exercise.name in analysed(cell.source).functions
    return "name" if named else None


def makes(cell: Cell, name: str) -> bool:
    """Whether a cell binds this name, in whatever way."""
    code = analysed(cell.source)
    return name in code.functions or name in code.binds


def attempted(code: str, exercise: Exercise) -> bool:
    """Whether a cell is more than comments and an untouched stub.

    >>> from course_lib.rubrics.exercise import exercise_of
    >>> attempted("def sparsity(weight): raise NotImplementedError", exercise_of("0.1"))
    False
    """
    lines = [line.strip() for line in code.splitlines()]
    if not any(line and not line.startswith("#") for line in lines):
        return False
    return exercise.name not in analysed(code).stubs


def answer_at(
    cells: Sequence[Cell], exercise: Exercise, places: list[tuple[int, str]], declared: Iterable[str]
) -> Answer:
    """The answer in the last of these places, with what it needs from elsewhere."""
    place, how = places[-1]
    code = unwrapped(cells[place].source)
    helpers = [statement for source in declared for statement in analysed(source).statements]
    for number, cell in enumerate(cells):
        if cell.kind == "code" and number != place:
            helpers += [s for s in analysed(cell.source).statements if s.binds.isdisjoint(analysed(cell.source).stubs)]
    return Answer(exercise.id, code, needed(code, helpers), how, remarks_on(exercise, places))


def remarks_on(exercise: Exercise, places: list[tuple[int, str]]) -> tuple[str, ...]:
    """What learner and teacher should know about how the answer was found."""
    place, how = places[-1]
    told = []
    if len(places) > 1:
        told.append(f"{len(places)} cells answer exercise {exercise.id}; the last one counts (cell {place + 1}).")
    if how != "id":
        by = {"marker": "its comment", "name": f"its function {exercise.name}"}[how]
        told.append(f"The cell's metadata is lost; it was found by {by}.")
    return tuple(told)


def misplaced(cells: Sequence[Cell], exercises: Mapping[str, Exercise]) -> tuple[str, ...]:
    """A sentence for each exercise that stands in a cell which is not code, and so is not run."""
    return tuple(
        f"Exercise {cell.exercise} stands in a {cell.kind or 'nameless'} cell, which is not run."
        for cell in cells
        if cell.exercise in exercises and cell.kind != "code"
    )


@lru_cache(maxsize=64)
def declared_setup(exercise_id: str) -> tuple[str, ...]:
    """The cells tagged as set-up in the course's own exercise notebook of this exercise's lesson."""
    lesson = lesson_of(exercise_id)
    path = EXERCISES_FOLDER / f"{LESSON_STEMS.get(int(lesson), '') if lesson.isdigit() else ''}.ipynb"
    return setup_cells(path) if path.is_file() else ()


def setup_cells(path: Path) -> tuple[str, ...]:
    """The code cells tagged "setup" of a notebook."""
    return tuple(cell.source for cell in read_cells(path.read_bytes()) if cell.kind == "code" and "setup" in cell.tags)
