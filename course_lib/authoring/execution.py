"""Run a notebook in a fresh kernel, and see that nothing of this machine stays in its outputs."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nbformat import NotebookNode

from course_lib.errors import CourseError

CELL_SECONDS = 120
ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def execute(
    notebook: NotebookNode, folder: Path, *, environment: Mapping[str, str], name: str, allow_errors: bool = False
) -> None:
    """Run every code cell in place, as in JupyterLab with `folder` as the current folder.

    Args:
        notebook: gets outputs and execution counts 1..n.
        environment: variables added to those of this process.
        name: how the messages call the notebook.
        allow_errors: go on after a cell that raises.

    Raises:
        CourseError: a cell raises, takes longer than `CELL_SECONDS` or ends the kernel.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        allow_errors=allow_errors,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # a kernel's start-up notes are nothing to a learner
    )
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # else the kernel writes of frozen modules into the terminal
    try:
        client.execute(env={**os.environ, **quiet, **environment})
    except CellExecutionError:
        raise CourseError(_told(notebook, name)) from None
    except CellTimeoutError:
        raise CourseError(f"{_running(notebook, name)} took over {CELL_SECONDS} s. Make it do less.") from None
    except DeadKernelError:
        raise CourseError(f"{_running(notebook, name)} ended the kernel: no memory left, or an exit in it.") from None


def _told(notebook: NotebookNode, name: str) -> str:
    """Say which cell raised, with the last lines of its traceback."""
    for position, cell in enumerate(notebook.cells, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                lines = ANSI.sub("", "\n".join(output.traceback)).rstrip().splitlines()
                return f"Cell {position} of {name} raised {output.ename}:\n" + "\n".join(lines[-8:])
    return f"A cell of {name} raised an exception."


def _running(notebook: NotebookNode, name: str) -> str:
    """Name the cell that was running when the notebook stopped: the first without an execution count."""
    for position, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            return f"Cell {position} of {name}"
    return f"The last cell of {name}"


def clean(notebook: NotebookNode) -> None:
    """Remove what only this run knew: the widgets' state and views (their static picture stays)."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if len(output.get("data", {})) > 1:
                output.data.pop(WIDGET_VIEW, None)


def leaked_paths(notebook: NotebookNode, folders: Iterable[str | Path]) -> Iterator[tuple[int, str]]:
    """Yield (cell number, path) for each output that shows one of `folders` or a folder of this machine or user."""
    found = _pattern([*folders, Path.home(), tempfile.gettempdir(), *_environment_folder()])
    for position, cell in enumerate(notebook.cells, start=1):
        for text in _texts(cell.get("outputs", [])):
            for match in found.finditer(text):
                yield position, match.group()


def _environment_folder() -> list[str]:
    return [sys.prefix] if sys.prefix != sys.base_prefix else []


def _pattern(folders: Iterable[str | Path]) -> re.Pattern[str]:
    """Match a folder's path, with either slash, where no longer word begins or ends."""
    paths = {str(form) for folder in folders for form in (Path(folder), Path(folder).resolve()) if form.name}
    forms = {form for path in paths for form in (path, path.replace("\\", "/"), path.replace("\\", "\\\\"))}
    choices = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rf"(?<![\w.+/=-])(?:{choices})(?![\w+=-])")


def _texts(outputs: Iterable[NotebookNode]) -> Iterator[str]:
    """Yield every text a reader of these outputs may see; pictures are no text."""
    for output in outputs:
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        for kind, value in output.get("data", {}).items():
            if kind not in ("image/png", "image/jpeg"):
                yield value if isinstance(value, str) else repr(value)
