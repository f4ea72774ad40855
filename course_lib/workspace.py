"""The learner's own folder: it gets every new version of what they left untouched, and never loses what they wrote.

A manifest in the folder holds, per notebook, the hash of the cells that were delivered. A notebook whose cells still
have that hash is untouched (outputs do not count); any other belongs to the learner.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("lessons", "exercises")
MANIFEST = ".small-nets.json"
OLD = ".previous"


@dataclass(frozen=True)
class Report:
    """What an update did, as names such as "lessons/02_pruning.ipynb".

    `kept` were edited by the learner and stay as they are; `offered` are their new versions, written beside them.
    """

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()


def update_workspace(folder: str | Path, *, root: Path = ROOT) -> Report:
    """Bring lessons and exercises, without outputs, into the learner's folder, and say what was done.

    Args:
        folder: made if it does not exist.
        root: the course: the folder that holds lessons/ and exercises/.

    Raises:
        CourseError: the folder cannot be written, or is part of the course itself.
    """
    folder = Path(folder).expanduser().resolve()
    _require_own_folder(folder, root.resolve())
    course = _course(root)
    try:
        return _update(folder, course)
    except OSError as error:
        raise CourseError(
            f"The folder {folder} cannot be written: {error.strerror or error}. "
            "Pass another folder, or make room and free it for writing."
        ) from error


def has_workspace(folder: str | Path) -> bool:
    """Tell whether this folder is a learner's workspace."""
    return (Path(folder) / MANIFEST).is_file()


def _update(folder: Path, course: dict[str, str]) -> Report:
    delivered, lists = _manifest(folder), {name: [] for name in Report.__dataclass_fields__}
    for name, text in course.items():
        verdict = _verdict(folder / name, _hash(text), delivered.get(name))
        if verdict == "kept" and _hash(text) != delivered.get(name):
            lists["offered"] += _offer(folder, name, text, delivered)
        if verdict == "updated":
            _save_outputs(folder, name)
        if verdict in ("added", "updated"):
            _write(folder / name, text)
        delivered[name] = _hash(text)
        lists[verdict].append(name)
    _write(folder / MANIFEST, json.dumps({"delivered": delivered}, indent=1, sort_keys=True) + "\n")
    return Report(**{name: tuple(names) for name, names in lists.items()})


def _verdict(path: Path, new: str, delivered: str | None) -> str:
    """Say what becomes of one notebook: the learner's own version is kept, whatever else is true."""
    if not path.exists():
        return "added"
    present = _hash(_text(path))
    if present == new:
        return "unchanged"
    return "updated" if present is not None and present == delivered else "kept"


def _offer(folder: Path, name: str, text: str, delivered: dict[str, str]) -> list[str]:
    """Write the new version beside the edited one, under the first name that is free or holds an untouched offer."""
    for count in range(1, 1000):
        offer = name.removesuffix(".ipynb") + (".new.ipynb" if count == 1 else f".new-{count}.ipynb")
        verdict = _verdict(folder / offer, _hash(text), delivered.get(offer))
        if verdict == "unchanged":
            return []
        if verdict != "kept":
            if verdict == "updated":
                _save_outputs(folder, offer)
            _write(folder / offer, text)
            delivered[offer] = _hash(text)
            return [offer]
    raise CourseError(f"There are 999 new versions of {name} already. Remove those that you do not need.")


def _save_outputs(folder: Path, name: str) -> None:
    """Copy a notebook that was run to .previous/ before its new version takes its place."""
    content = (folder / name).read_bytes()
    if not any(cell.get("outputs") for cell in json.loads(content)["cells"]):
        return
    stem, count = name.removesuffix(".ipynb"), 1
    target = folder / OLD / name
    while target.exists():
        count += 1
        target = folder / OLD / f"{stem}-{count}.ipynb"
    _write(target, content)


def _manifest(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST
    try:
        delivered = json.loads(path.read_text(encoding="utf-8"))["delivered"]
        return {str(name): str(digest) for name, digest in delivered.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        os.replace(path, folder / f"{MANIFEST}.damaged")
        return {}


def _course(root: Path) -> dict[str, str]:
    """Every notebook to deliver: its name and its text, outputs removed."""
    paths = [path for kind in KINDS for path in sorted((root / kind).glob("*.ipynb"))]
    if not paths:
        raise CourseError(f"There are no notebooks in {root / 'lessons'}. Run `course build` to make them.")
    return {path.relative_to(root).as_posix(): _without_outputs(path) for path in paths}


def _without_outputs(path: Path) -> str:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                cell.update(outputs=[], execution_count=None)
    except (ValueError, TypeError, KeyError) as error:
        raise CourseError(f"{path} is damaged. Restore it: git checkout -- {path.parent.name}/{path.name}") from error
    notebook.get("metadata", {}).pop("widgets", None)
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _hash(text: str | None) -> str | None:
    """Hash the cells' kinds and sources; empty cells, which JupyterLab adds at the end, do not count.

    Returns:
        None if this is not a notebook.
    """
    try:
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    except (ValueError, TypeError, KeyError):
        return None
    written = [[kind, source.rstrip()] for kind, source in cells if source.strip()]
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def _write(path: Path, content: str | bytes) -> None:
    """Write the whole file or nothing: beside its place first, then moved there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _require_own_folder(folder: Path, root: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file, but a folder was expected. Pass another name.")
    if folder == root or (folder / "lessons" / "src").exists():
        raise CourseError(f"{folder} is the course itself. Pass a folder of your own, such as my-course.")
    for part in ("lessons", "exercises", "solutions", "course_lib", "tests", ".git"):
        if folder.is_relative_to(root / part):
            raise CourseError(f"{folder} lies inside the course's own {part}/. Pass a folder outside it.")
