"""No answer gains a point it did not earn, changes another's result, stops the batch or leaves anything behind."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.grading import isolation
from course_lib.grading.records import STATUSES, Job, Outcome
from course_lib.grading.runner import Runner
from tests.grading.children import command_line, left_of, sandboxes
from tests.grading.hostile import HOSTILE, RIGHT, SETUP, TIMED_OUT, WRONG

pytestmark = pytest.mark.skipif(os.name != "posix" or not Path("/proc/self").exists(), reason="grading needs Linux")
SECRET = "the-secret-of-the-grader"
SECONDS, MEGABYTES = 2.5, 300
SHORT = 0.8  # for what can only time out
ALONE = "import os\nassert not os.listdir('.'), os.listdir('.')\n" + RIGHT  # right, where nobody left anything
SLOW = (
    "prints",
    "writes 1 GB",
    "allocates",
    "fills",
    "nests",
    "makes",
    "sends",
    "returns",
    "keeps",
    "a megabyte",
    "an error of",
)
AT_KERNEL = [
    "leaves at once", "ignores every signal and exception", "allocates 30 GB bit by bit", "fills the disk", "makes a million files",
    "forks without end", "starts a program", "kills the process that forks", "lets the kernel send signals", "changes a file's mode",
    "writes the forking process's memory", "reads the solution", "reads the digits' labels", "imports behind the guard",
    "connects to the grader's machine", "reads a file of the grader", "writes into the grader's folder",
    "leaves a message in a file", "reads every environment", "sends 1 GB",
]  # fmt: skip
AT_PROCESS = [
    "ignores every signal and exception", "allocates 30 GB bit by bit", "equal to everything", "sends a verdict",
    "leaves a daemon behind",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def listener() -> Iterator[socket.socket]:
    """A server that nobody may reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.fixture(scope="module")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the grade book: of the grader's user, in a folder that anybody could open."""
    path = tmp_path_factory.mktemp("grader") / "book"
    path.write_text(SECRET, encoding="utf-8")
    return path


def level_of(name: str) -> str:
    """The level, where this machine has it; where CI demands it, its absence is a failure."""
    if isolation.LEVELS.index(isolation.probe().level) < isolation.LEVELS.index(name):
        reason = f"no isolation {name!r} here: {isolation.probe().reason}"
        (pytest.fail if os.environ.get("COURSE_DEMAND_ISOLATION") == "1" else pytest.skip)(reason)
    return name


@contextlib.contextmanager
def running(level: str) -> Iterator[Runner]:
    """One runner for all answers of a level, as a class has; at the end nothing of it is left."""
    os.environ["SMALL_NETS_SECRET"] = SECRET
    before = sandboxes()
    with Runner(level_of(level)) as runner:
        assert graded(runner, RIGHT).status == "passed"
        descriptors = len(os.listdir("/proc/self/fd"))
        yield runner
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
        family = sandboxes() - before
    os.environ.pop("SMALL_NETS_SECRET", None)
    assert not left_of(family)
    assert sandboxes() <= before
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB: no tree took more than 4 GiB


@pytest.fixture(scope="module")
def full() -> Iterator[Runner]:
    """At the level full."""
    with running("full") as runner:
        yield runner


@pytest.fixture(scope="module")
def kernel() -> Iterator[Runner]:
    """At the level kernel."""
    with running("kernel") as runner:
        yield runner


@pytest.fixture(scope="module")
def process() -> Iterator[Runner]:
    """At the level process."""
    with running("process") as runner:
        yield runner


def graded(runner: Runner, code: str, *, seconds: float = 60.0) -> Outcome:
    """The outcome of an answer to 2.4; the honest have time enough on the busiest machine."""
    return runner.run(Job("2.4", code, (SETUP,), seed=11, seconds=seconds, megabytes=MEGABYTES))


@pytest.mark.parametrize("name", HOSTILE)
def test_at_full(name: str, full: Runner, listener: socket.socket, secret_file: Path) -> None:
    """Every one of them."""
    assert_earns_nothing(name, full, listener, secret_file)


@pytest.mark.parametrize("name", AT_KERNEL)
def test_at_kernel(name: str, kernel: Runner, listener: socket.socket, secret_file: Path) -> None:
    """A spread: no bubblewrap, the same walls inside."""
    assert_earns_nothing(name, kernel, listener, secret_file)


@pytest.mark.parametrize("name", AT_PROCESS)
def test_at_process(name: str, process: Runner, listener: socket.socket, secret_file: Path) -> None:
    """A spread of what a process of its own stops."""
    assert_earns_nothing(name, process, listener, secret_file)


def assert_earns_nothing(name: str, runner: Runner, listener: socket.socket, secret_file: Path) -> None:
    """It ends with no point and a fitting status; the next learner's result is what it always was."""
    code, statuses = HOSTILE[name]
    code = code.replace("SECRET_FILE", str(secret_file)).replace("PORT", str(listener.getsockname()[1]))
    outcome = graded(runner, code, seconds=SHORT if statuses == TIMED_OUT else SECONDS)
    assert outcome.points == 0
    assert outcome.status in STATUSES
    slow_machine = {"timed out"} if name.startswith(SLOW) else set()
    allowed = statuses if runner.level != "process" else statuses | {"failed", "killed"}
    assert outcome.status in allowed | slow_machine, outcome
    assert SECRET not in outcome.feedback
    assert len(outcome.feedback) < 2100
    assert outcome.feedback.encode()
    assert secret_file.read_text(encoding="utf-8") == SECRET
    if runner.warm:  # else the next one has a sandbox of its own
        assert_nobody_was_harmed(runner)


def assert_nobody_was_harmed(runner: Runner) -> None:
    """A right answer passes, in a clean folder, with the same record as ever; a wrong one still fails by name."""
    honest = graded(runner, ALONE)
    assert honest.status == "passed", honest
    assert replace(honest, seconds=0) == Outcome(
        "passed", 2.0, 2.0, None, "Right.", 11, runner.level, 0, honest.versions
    )


def test_after_all_that(full: Runner) -> None:
    """A wrong answer still has its name, and what others on the machine can list says nothing about a job."""
    outcome = graded(full, WRONG)
    assert (outcome.status, outcome.mistake) == ("failed", "sum instead of mean")
    lines = list(map(command_line, sandboxes()))
    assert any(lines)
    assert not any("group_scores" in line or "2.4" in line.split("\0") or SECRET in line for line in lines)


def test_corpus_is_large_enough() -> None:
    """At least thirty at the level full, each of the grader's statuses among them."""
    assert len(HOSTILE) >= 30
    assert set(AT_KERNEL) | set(AT_PROCESS) <= set(HOSTILE)
    assert set().union(*(statuses for _, statuses in HOSTILE.values())) >= {
        "failed", "not attempted", "raised", "timed out", "out of memory", "killed", "bad output",
    }  # fmt: skip
