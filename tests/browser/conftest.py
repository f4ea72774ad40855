"""One JupyterLab and one browser for all tests here; they skip, or fail where they are demanded, without a browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.browser.lab import BROWSERS, REPOSITORY, browser_path, copy_course, running_browser, running_lab


@pytest.fixture(scope="package")
def browser():
    """A headless Chromium."""
    path = browser_path()
    if path is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is on the PATH. Install Chromium to run these tests."
        (pytest.fail if os.environ.get("COURSE_DEMAND_BROWSER") == "1" else pytest.skip)(reason)
    with running_browser(path) as running:
        yield running


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory, browser):
    """A JupyterLab that serves a copy of the course (`browser` first: without one nothing need be started)."""
    folder = tmp_path_factory.mktemp("lab")
    copy_course(folder / "course")
    with running_lab(folder) as running:
        yield running


@pytest.fixture(scope="package")
def repaint_record():
    """A dictionary that is written as JSON at the end: notebook and widget -> median repaint; for the benchmarks."""
    record: dict[str, dict[str, float]] = {}
    yield record
    path = Path(os.environ.get("COURSE_REPAINT_JSON", REPOSITORY / "results" / "repaint_ms.json"))
    if record:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **record}, indent=1, sort_keys=True))
