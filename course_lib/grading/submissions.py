"""What a class handed in -> one Submission for each learner. Corrupt input becomes a status, never an abort.

A folder, or a zip of one, that holds for each learner a folder, a zip or a notebook; or the download of Canvas or
Moodle as it is. Nothing that was handed in is executed, and no file is written under a name from inside a zip.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from course_lib.errors import CourseError
from course_lib.grading.archives import Source, in_folder, in_zip
from course_lib.grading.notebook import attempted, find_answers, misplaced, read_cells
from course_lib.grading.records import Answer, Submission
from course_lib.rubrics.exercise import LESSON_STEMS, Exercise, rubric_of

CANVAS = re.compile(r"^(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)$")
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)$")
MOST_FILES = 20  # beside the notebooks, for each learner
LARGEST_FILE = 64_000_000  # bytes
NOTEBOOK = (".ipynb", ".ipynb.json", ".ipynb.txt")  # browsers like to add an ending


def read_submissions(
    path: str | Path,
    exercises: Mapping[str, Exercise] | None = None,
    *,
    declared: Mapping[str, tuple[str, ...]] | None = None,
    scratch: Path | None = None,
) -> list[Submission]:
    """Read everything that was handed in, one submission for each learner, in the order of their names.

    Args:
        path: a folder, a zip, or one notebook.
        exercises: id -> exercise; all of the course when None.
        declared: id -> set-up cells, for exercises that are not the course's.
        scratch: where files that were handed in inside a zip are unpacked; a new temporary folder when None.

    Raises:
        CourseError: there is nothing at `path`, or it is neither a folder, nor a zip, nor a notebook.

    Lesson 00.
    """
    path, known = Path(path), course_exercises() if exercises is None else exercises
    with contextlib.ExitStack() as opened:
        groups: dict[str, list[Source]] = {}
        for learner, source in by_learner(path, opened):
            groups.setdefault(learner, []).extend([source] if source else [])
        keep = scratch or Path(tempfile.mkdtemp(prefix="small-nets-"))
        return [submission_of(learner, files, known, declared, keep) for learner, files in sorted(groups.items())]


def course_exercises() -> dict[str, Exercise]:
    """Every exercise of the course: id -> exercise."""
    found = {}
    for lesson in LESSON_STEMS:
        with contextlib.suppress(CourseError):  # a lesson without a rubric
            found |= {exercise.id: exercise for exercise in rubric_of(lesson).EXERCISES}
    return found


# --- whose file is it? ---------------------------------------------------------------------------------------------


def by_learner(path: Path, opened: contextlib.ExitStack) -> Iterator[tuple[str, Source | None]]:
    """Each file with the learner it belongs to; None for a learner whose folder is empty."""
    if path.is_dir():
        for top in sorted(path.iterdir()):
            if top.is_dir() and not top.is_symlink() and not hidden(top.name):
                yield learner_of(top.name), None
        sources: Iterable[Source] = in_folder(path)
    elif path.suffix.lower() == ".zip":
        sources = without_wrapper(list(in_zip(path, opened)), path.stem)
    elif path.is_file():
        sources = [Source(path.name, path.stat().st_size, path.open, path)]
    else:
        raise CourseError(f"There is nothing at {path}. Pass the folder or the zip with what was handed in.")
    for source in sources:
        parts = parts_of(source)
        if parts and not any(map(hidden, parts)) and (len(parts) > 1 or is_of_learner(parts[0])):
            yield learner_of(parts[0], is_file=len(parts) == 1), source


def parts_of(source: Source) -> list[str]:
    """The folders and the file of a name; what leads upwards or to the root is left out."""
    return [part for part in PurePosixPath(source.name).parts if part not in ("/", "..", ".")]


def is_of_learner(name: str) -> bool:
    """Whether a file that lies loose among the learners' is one of theirs, and not a list or a note of the teacher's."""
    return name.lower().endswith((*NOTEBOOK, ".zip")) or bool(CANVAS.match(name) or MOODLE.match(name))


def hidden(name: str) -> bool:
    """Whether this is something a system or an editor leaves behind."""
    return name.startswith((".", "__MACOSX", "__pycache__")) or name in ("Thumbs.db", "desktop.ini")


def without_wrapper(sources: list[Source], stem: str) -> list[Source]:
    """Drop a folder that holds the whole class: one named like the zip, or one with nothing in it but folders."""
    paths = [PurePosixPath(source.name) for source in sources if not hidden(source.name.split("/")[0])]
    tops, inner = {path.parts[0] for path in paths}, {path.parts[1] for path in paths if len(path.parts) > 2}
    nested = all(len(path.parts) > 2 for path in paths) and len(inner) > 1
    if len(tops) != 1 or not (tops == {stem} and all(len(path.parts) > 1 for path in paths) or nested):
        return sources
    top = tops.pop()
    return [source.renamed(source.name.removeprefix(f"{top}/")) for source in sources if source.name.startswith(top)]


def learner_of(name: str, *, is_file: bool = False) -> str:
    """The learner's key: name and number as Canvas and Moodle write them, else the folder's or the file's name.

    >>> learner_of("lovelaceada_LATE_12_345_02_pruning.ipynb", is_file=True)
    'lovelaceada_12'
    >>> learner_of("Ada Lovelace_12_assignsubmission_file_")
    'Ada Lovelace_12'
    """
    found = MOODLE.match(name) or (CANVAS.match(name) if is_file else None)
    key = f"{found['name']}_{found['id']}" if found else name
    for ending in (*NOTEBOOK, ".zip") if is_file and not found else ():
        key = key[: -len(ending)] if key.lower().endswith(ending) else key
    printable = "".join(letter if letter.isprintable() else "?" for letter in unicodedata.normalize("NFC", key))
    return printable[:200]


# --- one learner ---------------------------------------------------------------------------------------------------


def submission_of(
    learner: str,
    sources: list[Source],
    exercises: Mapping[str, Exercise],
    declared: Mapping[str, tuple[str, ...]] | None,
    scratch: Path,
) -> Submission:
    """All that one learner handed in, zips inside it included."""
    with contextlib.ExitStack() as opened:
        sources, remarks = unpacked(sources, opened)
        answers, broken = read_notebooks(sources, exercises, declared, remarks)
        files = dict(kept([source for source in sources if not is_notebook(source)], scratch))
    return Submission(learner, answers, files, "bad notebook" if broken else "ok", (*broken, *remarks))


def read_notebooks(
    sources: list[Source],
    exercises: Mapping[str, Exercise],
    declared: Mapping[str, tuple[str, ...]] | None,
    remarks: list[str],
) -> tuple[dict[str, Answer], list[str]]:
    """The answers in all notebooks, and a sentence for each notebook that cannot be read; adds to the remarks."""
    notebooks = sorted((source for source in sources if is_notebook(source)), key=in_order)
    answers: dict[str, Answer] = {}
    broken = []
    for source in notebooks:
        try:
            cells = read_cells(source.read())
            merge(answers, find_answers(cells, exercises, declared), exercises, source.name)
            remarks += misplaced(cells, exercises)
        except CourseError as error:
            broken.append(f"{shown(source)} cannot be graded: {error}.")
    if not notebooks:
        broken.append(f"No notebook was handed in{found_instead(sources)}.")
    return answers, broken


def unpacked(sources: list[Source], opened: contextlib.ExitStack) -> tuple[list[Source], list[str]]:
    """The files, with each zip replaced by what is in it; zips inside zips stay closed."""
    found, remarks = [], []
    for source in sources:
        if not source.name.lower().endswith(".zip"):
            found.append(source)
            continue
        try:
            found += [inner for inner in in_zip(source, opened) if not any(map(hidden, parts_of(inner)))]
        except CourseError as error:
            found.append(source)
            remarks.append(f"{shown(source)}: {error}")
    return found, remarks


def merge(answers: dict[str, Answer], new: Mapping[str, Answer], exercises: Mapping[str, Exercise], name: str) -> None:
    """Add the answers of another notebook: the last attempt counts; a name alone replaces nothing that had a mark."""
    for key, answer in new.items():
        old = answers.get(key)
        if old is None or not attempted(old.code, exercises[key]):
            answers[key] = answer
        elif attempted(answer.code, exercises[key]) and not (answer.found_by == "name" and old.found_by != "name"):
            note = f"Exercise {key} was handed in more than once; the one in {PurePosixPath(name).name} counts."
            answers[key] = Answer(key, answer.code, answer.setup, answer.found_by, (*answer.remarks, note))


def is_notebook(source: Source) -> bool:
    """Whether a file's name says that it is a notebook."""
    return source.name.lower().endswith(NOTEBOOK)


def in_order(source: Source) -> tuple:
    """By name, numbers as numbers: 02.ipynb, 02-1.ipynb, 02-2.ipynb, 02-10.ipynb."""
    pieces = re.split(r"(\d+)", source.name.lower().split(".ipynb")[0])
    return tuple((int(piece), "") if piece.isdecimal() else (0, piece) for piece in pieces)


def shown(source: Source) -> str:
    """A file's own name; Canvas puts the learner's in front."""
    name = PurePosixPath(source.name).name
    found = CANVAS.match(name) or MOODLE.match(name)
    return found["file"] if found and found["file"] else name


def found_instead(sources: list[Source]) -> str:
    """What was handed in instead of a notebook."""
    names = ", ".join(shown(source) for source in sources[:3])
    return f"; there was only {names}" if names else ""


def kept(sources: list[Source], scratch: Path) -> Iterator[tuple[str, Path]]:
    """The files beside the notebooks: where they lie, or unpacked under a name made of their content."""
    for source in sorted(sources, key=in_order)[:MOST_FILES]:
        if source.size > LARGEST_FILE:
            continue
        if source.path is not None:
            yield shown(source), source.path
            continue
        with contextlib.suppress(CourseError):
            data = source.read()
            place = scratch / hashlib.sha256(data).hexdigest()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            yield shown(source), place
