"""Which isolation a machine gives: proved, not assumed, and never less than was asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from course_lib.cli.doctor import _isolation
from course_lib.errors import CourseError
from course_lib.grading import isolation, landlock, processes, scratch, seccomp
from course_lib.grading.isolation import Isolation
from course_lib.grading.records import Job
from course_lib.grading.runner import Runner
from course_lib.grading.sandbox import Sandbox
from tests.grading.children import command_line

linux = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was probed on this machine is forgotten before and after."""
    isolation.probe.cache_clear()
    isolation.proved.cache_clear()
    yield
    isolation.probe.cache_clear()
    isolation.proved.cache_clear()


@linux
@pytest.mark.parametrize("level", isolation.LEVELS)
def test_available_levels_hold(level: str) -> None:
    """A real sandbox of each level in which the forbidden is tried."""
    if isolation.LEVELS.index(level) > isolation.LEVELS.index(isolation.probe().level):
        pytest.skip(isolation.probe().reason)
    with Sandbox(level) as sandbox:
        assert sandbox.proof() == []


@linux
@pytest.mark.parametrize(
    ("wall", "words"),
    [(seccomp, "starting a process"), (landlock, "reading the grader's files")],
    ids=["seccomp", "landlock"],
)
def test_proof_notices_a_missing_wall(wall: object, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one of the two walls left out, the proof says what got through."""
    code = f"import {wall.__name__} as wall; wall.restrict = lambda *a: None; from course_lib.grading.warm import main; main()"
    monkeypatch.setattr(isolation, "START", f"import sys; sys.path.insert(0, sys.argv.pop()); {code}")
    with Sandbox("kernel") as sandbox:
        assert words in sandbox.proof()
    assert [path.name for path in isolation.FORBIDDEN.parent.glob("judge*")] == ["judge.py"]


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    """The level falls, the reason and the remedy say why; demanding it is refused."""
    monkeypatch.setattr(isolation, "lacking", lambda level: "bwrap not found" if level == "full" else "no Landlock")
    found = isolation.probe()
    assert (found.level, found.reason) == ("process", "full: bwrap not found")
    assert found.remedy
    with pytest.raises(CourseError, match="'process' only"):
        isolation.require("full")
    assert isolation.require("process") == "process"
    with pytest.raises(CourseError, match="isolation must be"):
        isolation.require("complete")


@linux
def test_a_sandbox_that_does_not_hold_grades_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the probe was right and something changed since."""
    isolation.probe()  # remembered by every later test, so not with what follows
    monkeypatch.setattr(Sandbox, "proof", lambda self: ["opening a connection"])
    with Runner() as runner:
        outcome = runner.run(Job("2.4", "x = 1"))
    assert outcome.status == "grader error"
    assert "opening a connection" in outcome.feedback


@linux
def test_nothing_is_told_to_whoever_looks() -> None:
    """Neither command line nor environment of a sandbox says what the grader's own environment says."""
    with Sandbox(isolation.probe().level) as sandbox:
        sandbox.proof()
        lines = [command_line(pid) for pid in (sandbox._process.pid, *processes.descendants(sandbox._process.pid))]
        assert any(lines)
        assert not any("SMALL_NETS" in line for line in lines)
        if sandbox.level == "full":
            assert Path(f"/proc/{sandbox._process.pid}/environ").read_text(encoding="utf-8") == ""


def test_hidden_parts_are_left_out(tmp_path: Path) -> None:
    """The parts that may be read cover everything but what is hidden."""
    for name in ("a/1", "a/hidden/2", "b/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = os.path.realpath(tmp_path)
    assert list(landlock.without(root, (f"{root}/a/hidden",))) == [f"{root}/a/1", f"{root}/b"]
    assert list(landlock.without(root, ())) == [root]
    assert list(landlock.without(root, (root,))) == []
    assert list(landlock.without(f"{root}/none", ())) == []
    (tmp_path / "link").symlink_to(tmp_path / "a")  # as in an environment that is reached through a link
    assert list(landlock.without(f"{root}/link", (f"{root}/link/hidden",))) == [f"{root}/a/1"]


def test_scratch_is_measured_and_emptied(tmp_path: Path) -> None:
    """Files, folders, links and what is nested deep."""
    (tmp_path / "file").write_bytes(bytes(10_000))
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(Path(__file__))
    n_files, n_bytes = scratch.usage(str(tmp_path), 100)
    assert n_files == 4
    assert n_bytes >= 10_000
    assert scratch.usage(str(tmp_path), 1)[0] > 1
    assert scratch.empty(str(tmp_path))
    assert not list(tmp_path.iterdir())
    assert Path(__file__).exists()


def test_doctor_shows_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is, why it is no better, and how to get a better one."""
    monkeypatch.setattr(isolation, "probe", lambda: Isolation("kernel", "full: bwrap not found", "install bubblewrap"))
    row = _isolation()
    assert (row.found, row.ok, row.remedy) == ("kernel (full: bwrap not found)", False, "install bubblewrap")
    monkeypatch.setattr(isolation, "probe", lambda: Isolation("full"))
    assert _isolation().ok
