"""One percent-format source to one notebook, in memory: cells, numbers, fences, links. Nothing is executed here."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Literal

import jupytext
import nbformat
from nbformat import NotebookNode

from course_lib.errors import CourseError

Kind = Literal["lessons", "exercises", "solutions"]
KINDS: tuple[Kind, ...] = ("lessons", "exercises", "solutions")
ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
LEFT_OUT = {"exercises": "solution-only", "solutions": "exercise-only"}
OF_JUPYTEXT = {"cell_marker", "lines_to_next_cell", "lines_to_end_of_cell_marker"}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stems_of(kind: Kind, root: Path) -> list[str]:
    """Return the stems that have a source for this kind of notebook, in the order of the course.

    Raises:
        CourseError: a file is not named NN_topic.py, or two share a number.
    """
    folder = "lessons" if kind == "lessons" else "solutions"
    stems = sorted(path.stem for path in (root / folder / "src").glob("*.py"))
    for before, stem in zip(["", *stems], stems, strict=False):
        if not re.fullmatch(r"\d\d_[a-z0-9_]{1,50}", stem):
            raise CourseError(f"{folder}/src/{stem}.py is not named like a lesson. Call it NN_topic.py: 02_pruning.py.")
        if before[:2] == stem[:2]:
            raise CourseError(f"{folder}/src has two sources with number {stem[:2]}: {before}.py and {stem}.py.")
    return stems


def notebook_of(kind: Kind, stem: str, root: Path) -> NotebookNode:
    """Return the notebook that a source gives, without outputs.

    Raises:
        CourseError: the source breaks a rule; the message names the file and the cell.
    """
    where = _source_of(kind, stem)
    read = _read(root / where, where)
    _refuse_duplicates(read, where)
    cells = [_cell(cell, position, kind, stem, where) for position, cell in enumerate(read)]
    links = _links(kind, stem, root)
    if links:
        cells.append(nbformat.v4.new_markdown_cell(f"---\n\n{links}", id=f"{stem}-{len(read)}"))
    left_out = LEFT_OUT.get(kind)
    kept = [cell for cell in cells if left_out not in cell.metadata.get("tags", [])]
    return nbformat.v4.new_notebook(cells=kept, metadata=nbformat.from_dict(NOTEBOOK_METADATA))


def _source_of(kind: Kind, stem: str) -> str:
    return f"{'lessons' if kind == 'lessons' else 'solutions'}/src/{stem}.py"


def _read(path: Path, where: str) -> list[NotebookNode]:
    try:
        cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    except (ValueError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"The header of a cell of {where} is not understood: {reason}.") from None
    return [cell for position, cell in enumerate(cells) if position or not _only_comment(cell)]


def _only_comment(cell: NotebookNode) -> bool:
    """Tell whether the text before the first cell says something about the file only."""
    if cell.cell_type != "code":
        return cell.cell_type == "raw"
    try:
        body = ast.parse(cell.source).body
    except SyntaxError:  # a magic: a cell like any other
        return False
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def _cell(cell: NotebookNode, position: int, kind: Kind, stem: str, where: str) -> NotebookNode:
    here = f"cell {position + 1} of {where}"
    metadata = _metadata(cell, stem, here)
    exercise = metadata.get("small_nets", {}).get("exercise")
    text = _resolved(_numbered(cell.source, stem), exercise, kind, here)
    if exercise:
        text = f"# Exercise {exercise}\n{text}"
    make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    return make(text, id=f"{stem}-{position}", metadata=nbformat.from_dict(metadata))


def _numbered(text: str, stem: str) -> str:
    return text.replace("<<n>>", str(int(stem[:2]))).replace("<<stem>>", stem)


def _metadata(cell: NotebookNode, stem: str, here: str) -> dict:
    """Write a cell's metadata from scratch, from the three things a source may say in its header."""
    unknown = sorted(set(cell.metadata) - {"tags", "exercise"} - OF_JUPYTEXT)
    tags, exercise = cell.metadata.get("tags", []), cell.metadata.get("exercise")
    if unknown or cell.cell_type == "raw" or not _all_text(tags):
        raise CourseError(
            f"The header of {here} is not understood: {', '.join(unknown) or cell.cell_type}. "
            'Expected # %% or # %% [markdown], then tags=["name"], then exercise=1.'
        )
    metadata: dict = {"tags": list(tags)} if tags else {}
    if "hide-source" in tags:
        metadata["jupyter"] = {"source_hidden": True}
    if exercise is not None:
        if not isinstance(exercise, int) or exercise < 1 or cell.cell_type != "code":
            raise CourseError(f"exercise={exercise!r} in {here}: expected a number from 1, on a code cell.")
        metadata["small_nets"] = {"exercise": f"{int(stem[:2])}.{exercise}"}
    return metadata


def _all_text(tags: object) -> bool:
    return isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)


def _refuse_duplicates(cells: list[NotebookNode], where: str) -> None:
    seen: dict[object, int] = {}
    for position, cell in enumerate(cells, start=1):
        exercise = cell.metadata.get("exercise")
        if exercise is not None and exercise in seen:
            raise CourseError(f"Cells {seen[exercise]} and {position} of {where} are both exercise {exercise}.")
        seen[exercise] = position


def _resolved(text: str, exercise: str | None, kind: Kind, here: str) -> str:
    """Drop the fences of a solution, or replace what they enclose by the stub's `raise`."""
    lines, inside = [], False
    for line in text.split("\n"):
        if _is_fence(line, here):
            _require_place(line, exercise, kind, here)
            if inside == (line.strip() == BEGIN):
                raise CourseError(f"The solution fences in {here} do not pair up: one {BEGIN}, then one {END}.")
            inside = not inside
            if inside and kind == "exercises":
                lines.append(f'{line[: line.index("#")]}raise NotImplementedError("Exercise {exercise}")')
        elif kind != "exercises" or not inside:
            lines.append(line)
    if inside:
        raise CourseError(f"The solution in {here} is not closed. Add {END} where it ends.")
    if exercise and kind != "lessons" and BEGIN not in text:
        raise CourseError(f"Exercise {exercise} in {here} has no fences. Put {BEGIN} and {END} around its answer.")
    return "\n".join(lines)


def _is_fence(line: str, here: str) -> bool:
    if line.strip() in (BEGIN, END):
        return True
    if "BEGIN SOLUTION" in line or "END SOLUTION" in line:
        raise CourseError(f"{line.strip()!r} in {here} looks like a fence. Write {BEGIN} or {END}, alone on its line.")
    return False


def _require_place(line: str, exercise: str | None, kind: Kind, here: str) -> None:
    if kind == "lessons":
        raise CourseError(f"There is a solution fence in {here}. Solutions belong in solutions/src.")
    if not exercise:
        raise CourseError(f"There is a solution fence in {here}, which is no exercise. Add exercise=1 to its header.")
    if not line[0].isspace():
        raise CourseError(f"The solution fence in {here} stands outside a function, where the stub would end Run All.")


def _links(kind: Kind, stem: str, root: Path) -> str:
    """Return the links below a notebook; they are relative, so they also work in the learner's folder."""
    stems = stems_of(kind, root)
    before = next((other for other in reversed(stems) if other < stem), None)
    after = next((other for other in stems if other > stem), None)
    links = []
    if kind == "lessons":
        links.append(f"[← {_title(kind, before, root)}]({before}.ipynb)" if before else "")
        solved = stem in stems_of("solutions", root)
        links.append(f"[Exercises {stem[:2]}](../exercises/{stem}.ipynb)" if solved else "")
    elif stem in stems_of("lessons", root):
        links.append(f"[← Lesson {_title('lessons', stem, root)}](../lessons/{stem}.ipynb)")
    word = {"lessons": "", "exercises": "Exercises ", "solutions": "Solutions "}[kind]
    links.append(f"[{word}{_title(kind, after, root)} →]({after}.ipynb)" if after else "")
    return " · ".join(link for link in links if link)


def _title(kind: Kind, stem: str, root: Path) -> str:
    """Return a notebook's number and name: its first heading up to the colon, else the words of its file's name."""
    text = (root / _source_of(kind, stem)).read_text(encoding="utf-8")
    heading = re.search(r"^# # \d\d · ([^:\n]+)", text, flags=re.MULTILINE)
    return f"{stem[:2]} {heading[1].strip() if heading else stem[3:].replace('_', ' ')}"
