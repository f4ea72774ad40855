"""Seconds that each lesson takes from top to bottom, in a fresh kernel, as built."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import nbformat

from course_lib.authoring.execution import execute
from tests.benchmarks.side_by_side import REPOSITORY, Row


def run() -> list[Row]:
    """One row for each notebook in lessons/; the kernel's start is inside."""
    return [timed(path) for path in sorted((REPOSITORY / "lessons").glob("*.ipynb"))]


def timed(path: Path) -> Row:
    """Run one lesson with a progress store of its own."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        execute(notebook, path.parent, environment={"COURSE_HOME": home, "PYTHONPATH": str(REPOSITORY)}, name=path.name)
        return Row(f"lesson {path.stem}", time.perf_counter() - start, "s", goal=60)
