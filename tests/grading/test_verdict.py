"""From what came back to a record: who pays for what, and in which words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.errors import CourseError
from course_lib.grading import bytecode, isolation, verdict
from course_lib.grading.records import STATUSES, Answer, Job, Outcome, Submission
from course_lib.grading.warm import End
from course_lib.rubrics import verbs
from course_lib.rubrics.exercise import exercise_of
from course_lib.rubrics.wire import pack

EXERCISE = exercise_of("2.4")
JOB = Job("2.4", "x = 1", seed=9, seconds=3.0, megabytes=100)


def outcome_of(how: str, result: bytes = b"", number: int = 0) -> Outcome:
    """The record of a run that ended like this."""
    asked = verdict.question(EXERCISE, JOB.seed)
    return verdict.outcome_of_run(EXERCISE, JOB, asked, End(how, number, 1.0), result, "full")


def results(change: object = lambda outcome: outcome) -> bytes:
    """What a right answer sends, changed."""
    asked = verdict.question(EXERCISE, JOB.seed)
    return pack([change(verbs.run_case(EXERCISE.reference, "call", case, trusted=True)) for case in asked.inputs])


@pytest.mark.parametrize(
    ("outcome", "status", "words"),
    [
        (outcome_of("timed out"), "timed out", "3 seconds"),
        (outcome_of("out of memory"), "out of memory", "100 MiB"),
        (outcome_of("sent too much"), "bad output", "larger"),
        (outcome_of("wrote too many files"), "killed", "wrote too many files"),
        (outcome_of("exited", b"", -9), "killed", "signal 9"),
        (outcome_of("exited", b"", 3), "killed", "exit status 3"),
        (outcome_of("exited", b"passed"), "bad output", "cannot be read"),
        (outcome_of("exited", results()), "passed", "Right"),
        (outcome_of("exited", results(), 1), "passed", "Right"),
        (outcome_of("timed out", results()), "timed out", "3 seconds"),
        (outcome_of("exited", results(lambda o: replace(o, error="MemoryError", message=""))), "out of memory", "MiB"),
        (outcome_of("exited", results(lambda o: replace(o, error="MemoryError", message="pretended"))), "raised", "pretended"),
        (outcome_of("exited", results(lambda o: replace(o, error="NotImplementedError"))), "not attempted", "still raises"),
    ],
)  # fmt: skip
def test_ends_and_results(outcome: Outcome, status: str, words: str) -> None:
    """Points are for what passed, and for nothing else."""
    assert (outcome.status, outcome.points) == (status, 2.0 if status == "passed" else 0.0)
    assert words in outcome.feedback
    assert (outcome.seed, outcome.level, outcome.possible) == (9, "full", 2.0)
    assert "torch" in outcome.versions


def test_feedback_is_clean() -> None:
    """Part of it is written by the answer: it is short, printable and can be stored."""
    text = verdict.clean("\x1b[31m\ud800\x00\u202e" + "x" * 5000 + "\nend")
    assert len(text) < 2010
    assert text.isprintable()
    assert verdict.clean("one\ntwo é ✓") == "one\ntwo é ✓"


def test_question_is_the_same_for_the_same_seed() -> None:
    """So that a regrade is exact; another seed asks something else."""
    assert pack(verdict.question(EXERCISE, 3).inputs) == pack(verdict.question(EXERCISE, 3).inputs)
    assert pack(verdict.question(EXERCISE, 3).inputs) != pack(verdict.question(EXERCISE, 5).inputs)


@pytest.mark.parametrize(
    "record",
    [
        Job("2.4", None, ("a", "b"), 3, 2.5, 100, (("net", "net.bin"),)),
        Answer("2.4", "x", ("s",), "marker", ("moved",)),
        Submission("ada", {"2.4": Answer("2.4", "x")}, {"net": Path("net.bin")}, "ok", ("late",)),
        Outcome("passed", 2.0, 2.0, None, "Right.", 1, "full", 0.1, "torch"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_go_through_json(record: object) -> None:
    """And come back equal; a wrong field is refused."""
    values = json.loads(json.dumps(record.to_json()))
    assert type(record).from_json(values) == record
    with pytest.raises(CourseError, match="has the fields"):
        type(record).from_json({**values, "points_please": 100})
    assert len(STATUSES) == 10


def test_compiled_modules_are_kept_until_a_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled once, and again after an upgrade; a machine that can keep none is slower, not wrong."""
    package, kept = tmp_path / "package", tmp_path / "kept"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "a.py").touch()
    monkeypatch.setattr(bytecode, "user_cache_path", lambda name: kept)
    monkeypatch.setattr(bytecode.site, "getsitepackages", lambda: [str(package)])
    monkeypatch.setattr(bytecode, "USED", "import json")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    find = bytecode.folder.__wrapped__
    path = Path(find((package,)))
    assert list(path.rglob("json/*.pyc"))
    filled = (path / "complete").stat().st_mtime_ns
    assert Path(find((package,))) == path
    assert (path / "complete").stat().st_mtime_ns == filled
    soon = filled + 10**9
    os.utime(package / "inner" / "a.py", ns=(soon, soon))
    assert not bytecode.is_current(path / "complete", (package,))
    find((package,))
    assert (path / "complete").stat().st_mtime_ns > filled
    monkeypatch.setattr(bytecode, "USED", "raise SystemExit(1)")
    assert find((package,)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")
def test_a_sandbox_compiles_nothing() -> None:
    """All that it imports before an answer comes is in the folder, our own few files included."""
    folder = bytecode.folder(tuple(isolation.PACKAGE / name for name in isolation.NEEDED))
    told = "import course_lib.grading.warm; from course_lib.grading import child; child.practise()"
    settings = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-v", "-c", told], cwd=bytecode.ROOT, env=settings, stderr=-1, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("# code object from")]
    assert len(lines) > 500
    assert [line for line in lines if not line.endswith(".pyc'")] == []
