"""Write the generated notebooks, and find those that no longer are what their source says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.authoring.execution import clean, execute, leaked_paths
from course_lib.authoring.sources import KINDS, NOTEBOOK_METADATA, ROOT, Kind, notebook_of, stems_of
from course_lib.errors import CourseError

LARGEST_BYTES = 500_000


def build(
    stems: Iterable[str] | None = None, *, check: bool = False, force: bool = False, root: Path = ROOT
) -> list[str]:
    """Write the notebooks of these lessons (of all when None), executing what changed, and say what was written.

    Args:
        stems: "02", "2" or "02_magnitude_pruning".
        check: write nothing; return what is wrong instead, as the function `check` does.
        force: execute again even where the source did not change.
        root: the folder that holds lessons/, exercises/ and solutions/.

    Raises:
        CourseError: a source breaks a rule, a cell raises, or an output shows a path of this machine.
    """
    if check:
        return _problems(stems, root)
    return [f"{path.relative_to(root).as_posix()} written" for path in _written(stems, force, root)]


def check(stems: Iterable[str] | None = None, *, root: Path = ROOT) -> list[str]:
    """Return one sentence for each generated notebook that is missing, stale, orphaned or too big; execute nothing."""
    return _problems(stems, root)


def solution_source(exercise_id: str, *, root: Path = ROOT) -> str:
    """Return the code of an exercise's solved cell, such as "2.1", without fences and marker.

    Raises:
        CourseError: no source holds that exercise.
    """
    number = str(exercise_id).partition(".")[0]
    for stem in stems_of("solutions", root):
        if stem.startswith(f"{number.zfill(2)}_"):
            for cell in notebook_of("solutions", stem, root).cells:
                if cell.metadata.get("small_nets", {}).get("exercise") == str(exercise_id):
                    return cell.source.partition("\n")[2]
    raise CourseError(f'There is no solution for exercise {exercise_id!r}. Pass its number as text, such as "2.1".')


def _written(stems: Iterable[str] | None, force: bool, root: Path) -> Iterator[Path]:
    for kind, stem in _targets(stems, root):
        fresh, path = notebook_of(kind, stem, root), root / kind / f"{stem}.ipynb"
        present = None if force else _read(path)
        if present is not None and not _faults(kind, present, fresh):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind != "exercises" and not _outputs_kept(fresh, present):
            _run(fresh, path, root)
        path.write_bytes((nbformat.writes(fresh).rstrip("\n") + "\n").encode())
        yield path


def _run(notebook: NotebookNode, path: Path, root: Path) -> None:
    """Execute with a progress store of its own; keep what a reader sees and nothing of this machine."""
    name = f"{path.parent.name}/{path.name}"
    with tempfile.TemporaryDirectory(prefix="small-nets-") as home:
        execute(notebook, path.parent, environment={"COURSE_HOME": home}, name=name)
        for position, shown in leaked_paths(notebook, [root, home]):
            raise CourseError(
                f"The output of cell {position} of {name} shows {shown!r}, a path of this machine. "
                "Print a file's name or a relative path instead."
            )
    clean(notebook)
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)


def _outputs_kept(fresh: NotebookNode, present: NotebookNode | None) -> bool:
    """Carry the outputs over when no code cell changed, so that new prose or a new link executes nothing."""
    if present is None or _unexecuted(present):
        return False
    new, old = _code(fresh), _code(present)
    if [(cell.source, cell.metadata) for cell in new] != [(cell.source, cell.metadata) for cell in old]:
        return False
    for cell, before in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


def _problems(stems: Iterable[str] | None, root: Path) -> list[str]:
    found = []
    for kind, stem in _targets(stems, root):
        path, name, again = root / kind / f"{stem}.ipynb", f"{kind}/{stem}.ipynb", f"Run `course build {stem[:2]}`."
        present = _read(path)
        if present is None:
            found.append(f"{name} is {'not a readable notebook' if path.exists() else 'missing'}. {again}")
            continue
        found += [f"{name} {fault}. {again}" for fault in _faults(kind, present, notebook_of(kind, stem, root))]
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            found.append(f"{name} is {size:,} bytes, and {LARGEST_BYTES:,} are allowed. Make its figures smaller.")
    return found + (_orphans(root) if stems is None else [])


def _faults(kind: Kind, present: NotebookNode, fresh: NotebookNode) -> list[str]:
    stale = [
        what
        for what, field in (("sources", "source"), ("ids", "id"), ("cell types", "cell_type"), ("metadata", "metadata"))
        if [cell.get(field) for cell in present.cells] != [cell.get(field) for cell in fresh.cells]
    ]
    if {**present.metadata, "widgets": None} != {**fresh.metadata, "widgets": None}:
        stale.append("notebook metadata")
    faults = [f"is stale: its {', '.join(stale)} differ from what its source gives"] if stale else []
    if "widgets" in present.metadata:
        faults.append("holds metadata.widgets, the state of its widgets, which GitHub refuses to show")
    if kind == "exercises" and any(cell.outputs or cell.execution_count for cell in _code(present)):
        faults.append("holds outputs; the learner's copy has none")
    if kind != "exercises" and _unexecuted(present):
        faults.append("was not executed to its end")
    return faults


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _unexecuted(notebook: NotebookNode) -> bool:
    runs = [c for c in _code(notebook) if c.source.strip() and "skip-execution" not in c.metadata.get("tags", [])]
    return any(not cell.execution_count for cell in runs)


def _read(path: Path) -> NotebookNode | None:
    """Return the notebook as it stands on disk, unchecked, or None where there is none that can be read."""
    try:
        notebook = nbformat.v4.reads_json(path.read_text(encoding="utf-8"))
        return notebook if all("source" in cell for cell in notebook.cells) and "metadata" in notebook else None
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return None


def _orphans(root: Path) -> list[str]:
    made = set(_targets(None, root))
    return [
        f"{kind}/{path.name} has no source. Remove it, or restore its source."
        for kind in KINDS
        for path in sorted((root / kind).glob("*.ipynb"))
        if (kind, path.stem) not in made
    ]


def _targets(stems: Iterable[str] | None, root: Path) -> list[tuple[Kind, str]]:
    """Return every (kind, stem) to make, in the order of the course."""
    known = sorted(((kind, stem) for kind in KINDS for stem in stems_of(kind, root)), key=lambda target: target[1])
    if stems is None:
        return known
    wanted = {_stem_of(stem, sorted({stem for _, stem in known})) for stem in stems}
    return [target for target in known if target[1] in wanted]


def _stem_of(asked: str, known: list[str]) -> str:
    for stem in known:
        if asked == stem or asked.zfill(2) == stem[:2]:
            return stem
    raise CourseError(f"There is no lesson {asked!r}. The sources are: {', '.join(known) or 'none yet'}.")
