"""The runner: honest answers get what they earned, in every form; what breaks outside an answer costs nobody a point."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from course_lib.grading import isolation, processes
from course_lib.grading.records import Job, Outcome
from course_lib.grading.runner import Runner, run_exercise
from course_lib.rubrics.exercise import Case, Exercise, exercise_of
from course_lib.rubrics.verbs import BuiltIn
from tests.grading.children import left_of, sandboxes
from tests.grading.hostile import RIGHT, SETUP, WRONG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes need Linux")
REPOSITORY = Path(__file__).parents[2]
STUB = "def group_scores(weight, granularity):\n    raise NotImplementedError('Exercise 2.4')"


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """At the strictest level that this machine gives."""
    with Runner() as runner:
        yield runner


def job(code: str | None, *, exercise: str = "2.4", setup: tuple[str, ...] = (SETUP,), **more: object) -> Job:
    """A job with time enough on the busiest machine."""
    return Job(exercise, code, setup, **{"seed": 5, "seconds": 60.0, "megabytes": 600, **more})


def bare(outcome: Outcome) -> Outcome:
    """The outcome without how long it took."""
    return replace(outcome, seconds=0.0)


HONEST = {
    "plain": RIGHT,
    "prints and warns": "import warnings\nprint('working')\nwarnings.warn('careful')\n" + RIGHT + "print(group_scores(torch.ones(2, 2, 1, 1), 'filter'))",
    "checks itself in the same cell": RIGHT + "check(group_scores)\nhint('2.4')\ndisplay(1)",
    "imports the check": "from course_lib.checking import check\nimport course_lib.lesson\ncourse_lib.lesson.begin(lesson=2)\n" + RIGHT + "check(group_scores)",
    "fails after the definition": RIGHT + "plt.plot(group_scores(torch.ones(2, 2, 1, 1), 'filter'))",
    "uses magics": "%matplotlib inline\n" + RIGHT + "%time group_scores(torch.ones(2, 2, 1, 1), 'filter')\n!pip list\ngroup_scores?",
    "is timed as a whole": "%%time\n" + RIGHT,
    "runs only as a main program": "if __name__ == '__main__':\n" + RIGHT.replace("\n", "\n    "),
    "shows progress from a thread": (
        "import threading, time\n" + RIGHT.replace("return", "threading.Thread(target=time.sleep, args=(0.01,), daemon=True).start()\n    return")
    ),
    "saves and loads a file": RIGHT.replace("return", "torch.save(weight, 'w.pt'); weight = torch.load('w.pt')\n    return"),
    "uses a temporary file": RIGHT.replace("return", "import tempfile\n    with tempfile.NamedTemporaryFile() as f: torch.save(weight, f)\n    return"),
    "defines a data class": "from dataclasses import dataclass\n@dataclass\nclass Pair:\n    a: int\n    b: Tensor | None = None\nPair(1)\n" + RIGHT,
    "uses NumPy": "import numpy as np\n" + RIGHT.replace("weight.abs()", "torch.from_numpy(np.abs(weight.numpy()))"),
    "returns double precision": RIGHT.replace("weight.abs()", "weight.double().abs()"),
    "draws random numbers": RIGHT.replace("return", "torch.randn(3); import random; random.random()\n    return"),
    "switches off warnings and uses regular expressions": "import re, warnings\nwarnings.simplefilter('error')\n" + RIGHT,
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_answer_passes(name: str, runner: Runner) -> None:
    """Untidy is not wrong."""
    outcome = runner.run(job(HONEST[name]))
    assert bare(outcome) == Outcome("passed", 2.0, 2.0, None, "Right.", 5, runner.level, 0.0, outcome.versions)


def test_setup_that_fails_in_part_does_no_harm(runner: Runner) -> None:
    """A missing library in one set-up cell is not the answer's fault; the others run."""
    assert runner.run(job(RIGHT, setup=("import no_such_library", SETUP))).status == "passed"


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (None, "not attempted", "Nothing was handed in"),
        (STUB, "not attempted", "NotImplementedError"),
        (WRONG, "failed", "You summed"),
        ("def group_scores(weight, granularity):\n    return weight.no_such_thing", "raised", "line 2"),
        ("def group_scores(weight, granularity:\n", "raised", "SyntaxError"),
        ("def other(): pass", "raised", "keep the function's name"),
        ("group_scores = 3", "raised", "not callable"),
        ("from course_lib.pruning import masks\n" + RIGHT, "raised", "asks you to write it"),
        (RIGHT.replace("return", "weight.zero_()\n    return"), "failed", ""),
    ],
)
def test_status_and_feedback(runner: Runner, code: str | None, status: str, words: str) -> None:
    """Each in the learner's words."""
    outcome = runner.run(job(code))
    assert (outcome.status, outcome.points, outcome.possible) == (status, 0.0, 2.0)
    assert words in outcome.feedback


def test_sandbox_of_its_own_says_the_same(runner: Runner) -> None:
    """For each job, or one for all: the same record."""
    assert bare(run_exercise(job(WRONG))) == bare(runner.run(job(WRONG)))


def test_plain_form_says_the_same(runner: Runner) -> None:
    """One sandbox for a submission, which ends with it; a process for each answer, which leaves the next nothing."""
    marked = (
        "import os, torch\nassert not os.listdir('.') and not hasattr(torch, 'mark')\ntorch.mark = open('mark', 'w')\n"
    )
    jobs = [job(marked + RIGHT), job(WRONG), job(None), job(STUB), job(marked + RIGHT)]
    before = sandboxes()
    with Runner(warm=False) as plain:
        outcomes, families = [], []
        for outcome in plain.run_submission(jobs):
            outcomes.append(bare(outcome))
            families.append(sandboxes() - before)
        assert sandboxes() == before
    assert outcomes == [bare(runner.run(each)) for each in jobs]
    assert families[0]
    assert all(family == families[0] for family in families)


def test_plain_form_shares_nothing_between_submissions() -> None:
    """Each gets a sandbox that is started for it."""
    before = sandboxes()
    with Runner(warm=False) as plain:
        families = []
        for _ in range(2):
            for outcome in plain.run_submission([job(RIGHT)]):
                assert outcome.status == "passed"
                families.append(sandboxes() - before)
    assert all(families)
    assert not families[0] & families[1]


def test_where_a_fork_is_not_safe_every_job_has_its_own_sandbox() -> None:
    """At the level "process" an answer could reach the process that forks the next."""
    before = sandboxes()
    with Runner("process", warm=False) as plain:
        for outcome in plain.run_submission([job(RIGHT), job(WRONG)]):
            assert outcome.status in ("passed", "failed")
            assert sandboxes() == before


def test_unknown_exercise_is_the_graders_error(runner: Runner) -> None:
    """And raises nothing."""
    assert runner.run(job(RIGHT, exercise="99.9")).status == "grader error"


def private(reference: object, *inputs: object) -> dict[str, Exercise]:
    """A teacher's own exercise."""
    cases = lambda seed: [Case("a case", inputs)]
    return {"2.4": replace(exercise_of("2.4"), reference=reference, cases=cases, mistakes=(), invariants=())}


def test_private_exercise() -> None:
    """Looked up where it was given, also with a callable of the course among its inputs."""
    gradient = BuiltIn("quadratic_gradient", {"curvature": torch.eye(2), "pull": torch.zeros(2)})
    with Runner(exercises=private(lambda gradient: gradient(torch.ones(2)) * 2, gradient)) as runner:
        assert runner.run(job("def group_scores(g):\n    return g(torch.ones(2)) * 2")).status == "passed"
        assert runner.run(job("def group_scores(g):\n    return g(torch.ones(2))")).status == "failed"
        assert runner.run(job(RIGHT, exercise="2.5")).status == "grader error"


def test_broken_reference_is_the_graders_error() -> None:
    """No learner pays for a rubric's fault."""
    with Runner(exercises=private(lambda x: 1 / 0, 1)) as runner:
        outcome = runner.run(job(RIGHT))
    assert outcome.status == "grader error"
    assert "ZeroDivisionError" in outcome.feedback


def test_rubric_that_cannot_bear_a_value_is_no_point() -> None:
    """An invariant that fails on a strange result does not end the batch."""
    odd = {"2.4": replace(private(lambda x: 1, 1)["2.4"], digest=lambda case, result: result.shape)}
    with Runner(exercises=odd) as runner:
        assert runner.run(job("def group_scores(x):\n    return 1")).status in ("bad output", "grader error")


def test_random_answers_are_repeatable(runner: Runner) -> None:
    """A regrade with the stored seed gives the same record, also for an answer that rolls dice."""
    dice = "import random\nimport numpy\n" + RIGHT.replace(
        "weight.abs()",
        "torch.rand(()) + random.random() + numpy.random.rand() + len({str(i): i for i in range(3)}) + hash('a') % 7 + weight",
    )
    assert bare(runner.run(job(dice))) == bare(runner.run(job(dice)))


def test_from_many_threads(runner: Runner) -> None:
    """Every job gets its own result."""
    codes = [RIGHT, WRONG, STUB] * 5
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda code: runner.run(job(code)), codes))
    assert [outcome.status for outcome in outcomes] == ["passed", "failed", "not attempted"] * 5


def test_outlives_the_thread_that_asked() -> None:
    """The kernel ends a sandbox with the thread that started it; a worker thread that goes home must not matter."""
    with Runner() as runner:
        worker = threading.Thread(target=runner.run, args=(job(RIGHT),))
        worker.start()
        worker.join()
        before = sandboxes()
        assert before
        assert runner.run(job(RIGHT)).status == "passed"
        assert sandboxes() == before


def test_sandbox_that_is_killed_is_replaced() -> None:
    """Killed by the system in the middle of a job, it costs the learner nothing."""
    others = sandboxes()
    with Runner() as runner:
        runner.run(job(RIGHT))
        victim = min(sandboxes() - others)
        timer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
        timer.start()
        assert runner.run(job("import time; time.sleep(1)\n" + RIGHT)).status == "passed"
        timer.join()
        assert victim not in sandboxes()


GRADER = """
import sys
from course_lib.grading.records import Job
from course_lib.grading.runner import Runner
loop = "def group_scores(w, g):\\n    while True: pass"
with Runner() as runner:
    runner.run(Job("2.4", "x = 1"))
    print("ready", flush=True)
    runner.run(Job("2.4", loop, (), seconds=600.0))
"""


def test_nothing_outlives_a_killed_grader() -> None:
    """Kill the grader in the middle of a job: no process stays behind."""
    with subprocess.Popen([sys.executable, "-c", GRADER], stdout=subprocess.PIPE, cwd=REPOSITORY) as grader:
        assert grader.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        family = processes.descendants(grader.pid)
        assert len(family) >= 2
        grader.kill()
    assert not left_of(family)


def test_closing_leaves_nothing() -> None:
    """No process, no folder, no descriptor."""
    before = sandboxes(), len(os.listdir("/proc/self/fd"))
    for level in isolation.LEVELS[: 1 + isolation.LEVELS.index(isolation.probe().level)]:
        with isolation_sandbox(level) as folder:
            pass
        assert folder is None or not os.path.exists(folder)
    assert (sandboxes(), len(os.listdir("/proc/self/fd"))) == before


class isolation_sandbox:  # noqa: N801
    """A sandbox that was proved and closed; gives the name of its folder."""

    def __init__(self, level: str) -> None:
        from course_lib.grading.sandbox import Sandbox

        self.sandbox = Sandbox(level)

    def __enter__(self) -> str | None:
        self.sandbox.proof()
        return self.sandbox._folder and self.sandbox._folder.name

    def __exit__(self, *error: object) -> None:
        self.sandbox.close()
