"""What this machine has for the course, row by row, and how to get what it has not."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from course_lib.cli.offline import RAW_FILES, is_present
from course_lib.workspace import has_workspace

SYNC = "uv sync"


@dataclass(frozen=True)
class Row:
    """One thing: what was found, whether it is there, whether a learner needs it, how to get it."""

    what: str
    found: str
    ok: bool = True
    needed: bool = False
    remedy: str = ""


def examine(folder: Path) -> list[Row]:
    """Look at everything the course uses; `folder` is where the learner's workspace should be."""
    return [*_learning(), *_machine(), *_data(), *_teaching(), *_own(folder)]


def _learning() -> Iterator[Row]:
    new_enough = sys.version_info >= (3, 11)
    yield Row("Python", platform.python_version(), new_enough, True, "" if new_enough else "Python 3.11 or newer")
    yield _torch()
    for package in ("torchvision", "jupyterlab", "ipykernel", "ipywidgets", "anywidget", "matplotlib", "scikit-learn"):
        yield _package(package)


def _torch() -> Row:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing
        return Row("torch", str(error), False, True, SYNC)
    return Row("torch", f"{torch.__version__}, {torch.get_num_threads()} threads", needed=True)


def _package(name: str) -> Row:
    try:
        return Row(name, version(name), needed=True)
    except PackageNotFoundError:
        return Row(name, "not installed", False, True, SYNC)


def _machine() -> Iterator[Row]:
    affinity = getattr(os, "sched_getaffinity", None)
    yield Row("Cores", str(len(affinity(0)) if affinity else os.cpu_count()))
    gib = _memory_gib()
    yield Row("Memory", f"{gib:.1f} GiB" if gib else "unknown")


def _memory_gib() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return _windows_memory_gib() if sys.platform == "win32" else None


def _windows_memory_gib() -> float:
    import ctypes

    kilobytes = ctypes.c_ulonglong()
    ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    return kilobytes.value / 2**20


def _data() -> Iterator[Row]:
    from course_lib.data import data_folder

    yield Row("Data: digits", "comes with scikit-learn", needed=True)
    for name in RAW_FILES:
        there = is_present(name, data_folder())
        remedy = "" if there else f"course data {name}"
        yield Row(f"Data: {name}", f"in {data_folder()}" if there else "not downloaded", there, remedy=remedy)


def _teaching() -> Iterator[Row]:
    browser = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    remedy = "" if browser else "python -m playwright install chromium"
    yield Row("Browser for the tests", browser or "no chromium found", bool(browser), remedy=remedy)
    yield _isolation()


def _isolation() -> Row:
    from course_lib.grading.isolation import probe

    found = probe()
    said = f"{found.level} ({found.reason})" if found.reason else found.level
    return Row("Isolation for grading", said, found.level == "full", remedy=found.remedy)


def _own(folder: Path) -> Iterator[Row]:
    yield _progress()
    there = has_workspace(folder)
    yield Row("Your folder", str(folder) if there else f"no {folder} here", there, remedy="" if there else "course lab")


def _progress() -> Row:
    try:
        from course_lib.checking.progress import store

        n_recorded = len(store().summary())
    except Exception as error:  # whatever is wrong with it, the other rows still help
        return Row("Your progress", f"cannot be read: {error}", False, remedy="move the file away")
    return Row("Your progress", f"{n_recorded} exercises recorded in {getattr(store(), 'path', 'the progress store')}")
