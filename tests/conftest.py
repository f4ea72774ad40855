"""Every test has a progress store of its own; the learner's is never touched."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

torch.set_num_threads(1)
# The tests start some two hundred Pythons. Where compiled modules may not be kept, each would compile torch again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
REPOSITORY = Path(__file__).parents[1]
os.environ["COURSE_HOME"] = tempfile.mkdtemp(prefix="small-nets-tests-")  # also for the kernels that run notebooks


class FilesAndOneBrowser(LoadScopeScheduling):
    """A worker takes a file of tests at a time, but all browser tests together: one JupyterLab, one browser."""

    def _split_scope(self, nodeid: str) -> str:
        browser = "tests/browser/"
        return browser if nodeid.startswith(browser) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> LoadScopeScheduling:
    """How tests are shared out among the workers."""
    return FilesAndOneBrowser(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-lessons` lets the browser run every lesson from top to bottom."""
    parser.addoption("--all-lessons", action="store_true", help="run every lesson whole in the browser")


@pytest.fixture(autouse=True)
def own_progress(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A progress store in a temporary folder."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("COURSE_RESULTS", raising=False)


@pytest.fixture(scope="session")
def raw_data() -> Path:
    """The folder with real MNIST and USPS files; skips where it is missing, fails where it is demanded."""
    folder = Path(os.environ.get("COURSE_RAW_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "MNIST" / "raw").is_dir():
        reason = "no MNIST files: set COURSE_RAW_DATA to a folder that holds MNIST/raw to run these tests"
        (pytest.fail if os.environ.get("COURSE_DEMAND_MNIST") == "1" else pytest.skip)(reason)
    return folder
