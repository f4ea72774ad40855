"""A class on a real local Dask cluster of several worker processes, one of which is killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from course_lib.errors import CourseError
from course_lib.grading import cluster
from course_lib.grading.book import GradeBook
from course_lib.grading.classroom import BOOK, Request, grade_class
from course_lib.grading.records import Job
from course_lib.rubrics.exercise import exercise_of
from tests.grading import untidy
from tests.grading.fakes import hand_in

distributed = pytest.importorskip("distributed", reason="Dask is an optional extra: install .[dask]")
pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own
EXERCISES = {key: exercise_of(key) for key in untidy.EXPECTED}


def test_an_open_scheduler_is_refused() -> None:
    with pytest.raises(CourseError, match="not encrypted"), cluster.on_dask("tcp://127.0.0.1:8786"):
        pass


@pytest.fixture(scope="module")
def security(tmp_path_factory: pytest.TempPathFactory):
    """A certificate of one's own, made as docs/teaching.md says."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=small-nets",
        "-keyout",
    ]
    subprocess.run([*command, key, "-out", certificate], check=True, capture_output=True)
    files = {
        f"tls_{role}_{kind}": file
        for role in ("client", "scheduler", "worker")
        for kind, file in (("key", key), ("cert", certificate))
    }
    return distributed.Security(tls_ca_file=certificate, require_encryption=True, **files)


def test_nobody_answers(security) -> None:
    with (
        pytest.raises(CourseError, match="No Dask scheduler"),
        cluster.on_dask("tls://127.0.0.1:9", security=security, timeout=1),
    ):
        pass


def test_bytes_in_json_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job brings its files along: their paths mean nothing on another machine."""

    class Reader:
        def run(self, job: Job):
            ((name, path),) = job.files
            assert Path(path).read_bytes() == b"weights" and name == "net.sndc"
            return job

    (tmp_path / "net.sndc").write_bytes(b"weights")
    monkeypatch.setattr(cluster, "runner", lambda level, rubrics: Reader())
    job = Job("2.1", "x", files=(("net.sndc", str(tmp_path / "net.sndc")),))
    data = cluster.packed(job, "full", None)
    assert isinstance(data, bytes)
    (tmp_path / "net.sndc").unlink()
    assert '"2.1"' in cluster.run_packed(data)


@pytest.fixture(scope="module")
def two_workers(security):
    """A scheduler and two worker processes of one thread, encrypted, without a dashboard."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        security=security,
        scheduler_kwargs={"dashboard": False},
        silence_logs="ERROR",
    ) as made:
        yield made


def test_a_worker_is_killed_and_every_submission_is_graded_once(two_workers, tmp_path: Path) -> None:
    assert two_workers.scheduler_address.startswith("tls://")
    folder = hand_in(tmp_path / "in", **{f"learner{number}": untidy.plain() for number in range(4)})
    request = Request(folder, tmp_path / "out", EXERCISES, seed=3)
    seen: list[object] = []

    def kill_one(progress, total):
        for line in progress:
            seen.append(line)
            if len(seen) == 4:
                os.kill(pids[0], signal.SIGKILL)
            yield line

    with distributed.Client(two_workers) as client:
        pids = list(client.run(os.getpid).values())  # of the workers themselves, not of their nannies
    workers = cluster.on_dask(two_workers.scheduler_address, security=two_workers.security)
    group = grade_class(request, workers, progress=kill_one)
    assert len(seen) == 20
    assert not alive(pids[0])
    for learner in group.learners:
        assert {mark.exercise.id: mark.status for mark in learner.marks} == untidy.EXPECTED
    with GradeBook(tmp_path / "out" / BOOK) as book:
        for learner in group.learners:
            for mark in learner.marks:
                assert len([line for line in book.history(learner.key, mark.exercise.id) if line.outcome]) == 1


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_a_level_that_workers_lack_is_refused(two_workers, monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def run(self, function):
            return {"tls://a": "full", "tls://b": "process"}

    cluster.require_workers(Client(), "process", print)
    with pytest.raises(CourseError, match="1 of 2 workers isolate less than 'kernel', such as tls://b"):
        cluster.require_workers(Client(), "kernel", print)
    Client.run = lambda self, function: {}
    with pytest.raises(CourseError, match="no workers"):
        cluster.require_workers(Client(), None, print)
