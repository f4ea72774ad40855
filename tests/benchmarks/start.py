"""Seconds until a learner can type: JupyterLab starts, lesson 00 opens in a browser, the kernel is idle."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.benchmarks.side_by_side import Row


def run() -> list[Row]:
    """One cold start; the browser itself is already running, as a learner's is."""
    from tests.browser.lab import browser_path, copy_course, running_browser, running_lab
    from tests.browser.page import open_notebook

    path = browser_path()
    if path is None:
        print("start: no Chromium on the PATH")
        return []
    with tempfile.TemporaryDirectory() as name, running_browser(path) as browser:
        begin = time.perf_counter()
        folder = Path(name)
        copy_course(folder / "course")
        with running_lab(folder) as lab:
            server = time.perf_counter() - begin
            with open_notebook(browser, lab, "lessons/00_start_here.ipynb"):
                usable = time.perf_counter() - begin
    return [Row("JupyterLab answers", server, "s"), Row("lesson 00 is open, its kernel idle", usable, "s")]
