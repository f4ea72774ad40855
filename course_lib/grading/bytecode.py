"""Compiled Python for sandboxes, which may write none and see none of ours: without it, every start compiles again.

Beside the sources it may be missing, where PYTHONDONTWRITEBYTECODE is set, as in many containers, or where the
installation belongs to somebody else. So the grader keeps a folder of its own.
"""

from __future__ import annotations

import hashlib
import os
import site
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

ROOT = Path(__file__).parents[2]
USED = "from course_lib.grading import child, warm; child.practise(); import IPython.core.inputtransformer2"
COPY = """
import contextlib, os, shutil, sys
from importlib.util import cache_from_source
compiled = [(m.__spec__.origin, m.__spec__.cached) for m in list(sys.modules.values()) if getattr(m, "__spec__", None)]
sys.pycache_prefix = sys.argv[1]
for source, cached in compiled:
    if cached and os.path.exists(cached):
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(cache_from_source(source)), exist_ok=True)
            shutil.copyfile(cached, cache_from_source(source))
"""  # Python itself sees what is stale, and compiles it again


@cache
def folder(sources: tuple[Path, ...]) -> str | None:
    """A folder with the compiled form of these files of ours, and of all that they import; None where none can be kept."""
    installation = hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]
    path = user_cache_path("small-nets") / f"bytecode-{sys.implementation.cache_tag}-{installation}"
    try:
        if not is_current(path / "complete", sources):
            fill(path)
    except (OSError, subprocess.SubprocessError):
        return None  # slower, not wrong
    return str(path)


def is_current(mark: Path, sources: Iterable[Path]) -> bool:
    """Whether it was filled after the last change of the sources and of what is installed."""
    files = [file for path in sources for file in ([path] if path.is_file() else path.rglob("*.py"))]
    changes = (*files, *map(Path, site.getsitepackages()))
    return mark.exists() and mark.stat().st_mtime >= max(path.stat().st_mtime for path in changes)


def fill(path: Path) -> None:
    """Copy what is compiled already, then use everything once with this folder as the place for compiled modules."""
    path.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings = {**kept, "PYTHONPYCACHEPREFIX": str(path)}
    subprocess.run([sys.executable, "-c", USED + COPY, str(path)], cwd=ROOT, check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", USED], cwd=ROOT, env=settings, check=True, capture_output=True)
    (path / "complete").touch()
