"""Compiled Python for sandboxes, which cannot keep their own, on machines whose installation has none.

That is so where PYTHONDONTWRITEBYTECODE is set, as in many containers, or where the installation belongs to somebody
else: then every start would compile all of torch again.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

IMPORTS = "import course_lib.grading.child, course_lib.grading.warm, IPython.core.inputtransformer2"


@cache
def folder() -> str | None:
    """A folder of compiled modules, filled once by the grader itself; None where the installation has its own."""
    torch = importlib.util.find_spec("torch").origin
    if os.path.exists(importlib.util.cache_from_source(torch)):
        return None
    path = user_cache_path("small-nets") / f"bytecode-{sys.implementation.cache_tag}-torch-{version('torch')}"
    try:
        if not (path / "complete").exists():
            fill(path)
    except (OSError, subprocess.SubprocessError):
        return None  # slower, not wrong
    return str(path)


def fill(path: Path) -> None:
    """Import everything once with this folder as the place for compiled modules."""
    path.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", IMPORTS]
    root = str(Path(__file__).parents[2])
    subprocess.run(command, cwd=root, env={**kept, "PYTHONPYCACHEPREFIX": str(path)}, check=True, capture_output=True)
    (path / "complete").touch()
