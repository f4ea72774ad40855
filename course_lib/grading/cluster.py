"""The same jobs on an existing Dask cluster: bytes go in, JSON comes out, and the connection is encrypted.

A worker needs this package, and the folder with private rubrics at the same path. A job whose worker dies is run again
on another; each outcome is taken once.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.grading.batch import Run
from course_lib.grading.records import Job, Outcome

LEVELS = ("process", "kernel", "full")  # from the loosest to the strictest


@contextmanager
def on_dask(
    address: str,
    *,
    level: str | None = None,
    rubrics: Path | None = None,
    security: object = None,
    timeout: float = 20,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[Run]:
    """Run jobs on a Dask cluster.

    Args:
        address: of the scheduler: tls://host:8786.
        level: the isolation that every worker must give; None takes what each one has.
        rubrics: the folder with private rubrics, as the workers see it.
        security: the certificates; those of Dask's own configuration (distributed.comm.tls) when None.
        timeout: how long to wait for the scheduler, in seconds.
        note: is told how many workers there are, and at which level they isolate.

    Raises:
        CourseError: Dask is not installed, the address is not encrypted, nothing answers, or a worker isolates too little.
    """
    try:
        from distributed import Client, Security
    except ImportError:
        raise CourseError('Dask is not installed. Install it: pip install -e ".[dask]"') from None
    if not address.startswith("tls://"):
        raise CourseError(
            f"{address} is not encrypted: anybody who reaches the port could run code on it. Start scheduler and workers "
            "with TLS (docs/teaching.md says how) and pass tls://host:port."
        )
    try:
        client = Client(
            address, security=security or Security(require_encryption=True), set_as_default=False, timeout=timeout
        )
    except (OSError, ValueError, TypeError) as error:
        raise CourseError(
            f"No Dask scheduler answers at {address}: {error}. Check the address and the certificates."
        ) from None
    with client:
        require_workers(client, level, note)
        yield lambda work: run_all(client, work, level, rubrics)


def require_workers(client: object, level: str | None, note: Callable[[str], None]) -> None:
    """Ask every worker how strictly it isolates, before any submission reaches one."""
    levels = client.run(level_here)
    if not levels:
        raise CourseError("The cluster has no workers. Start some, and run the same command again.")
    note(f"Isolation on {len(levels)} workers: {', '.join(sorted(set(levels.values())))}.")
    low = [worker for worker, found in levels.items() if level and LEVELS.index(found) < LEVELS.index(level)]
    if low:
        raise CourseError(f"{len(low)} of {len(levels)} workers isolate less than {level!r}, such as {low[0]}.")


def run_all(
    client: object, work: Sequence[Job], level: str | None, rubrics: Path | None
) -> Iterator[tuple[int, Outcome | Exception]]:
    """Send every job, and yield each outcome once, as it comes."""
    from distributed import as_completed

    folder = str(rubrics.resolve()) if rubrics else None
    futures = {
        client.submit(run_packed, packed(job, level, folder), pure=False, retries=2): place
        for place, job in enumerate(work)
    }
    for future, result in as_completed(futures, loop=client.loop, with_results=True, raise_errors=False):
        failed = future.status != "finished"
        yield futures.pop(future), lost(future) if failed else Outcome.from_json(json.loads(result))


def lost(future: object) -> Exception:
    """Why a job came to nothing."""
    return RuntimeError(f"the cluster gave it up ({type(future.exception()).__name__})")


# --- on a worker ---------------------------------------------------------------------------------------------------


def level_here() -> str:
    """The strictest level of the machine this runs on."""
    from course_lib.grading.isolation import probe

    return probe().level


def packed(job: Job, level: str | None, rubrics: str | None) -> bytes:
    """A job with the content of its files, as bytes of JSON."""
    files = [(name, base64.b64encode(Path(path).read_bytes()).decode()) for name, path in job.files]
    return json.dumps(
        {"job": replace(job, files=()).to_json(), "files": files, "level": level, "rubrics": rubrics}
    ).encode()


def run_packed(data: bytes) -> str:
    """Run a job that was packed, and return its outcome as JSON."""
    told = json.loads(data)
    with tempfile.TemporaryDirectory(prefix="small-nets-") as folder:
        files = []
        for number, (name, content) in enumerate(told["files"]):
            path = Path(folder, str(number))
            path.write_bytes(base64.b64decode(content))
            files.append((name, str(path)))
        job = replace(Job.from_json(told["job"]), files=tuple(files))
        return json.dumps(runner(told["level"], told["rubrics"]).run(job).to_json())


@lru_cache(maxsize=2)
def runner(level: str | None, rubrics: str | None) -> object:
    """The runner of this worker: kept, so that its warm processes are."""
    from course_lib.grading.private import exercises_in
    from course_lib.grading.runner import Runner
    from course_lib.grading.submissions import course_exercises

    course = course_exercises()
    own = exercises_in(Path(rubrics), course) if rubrics else {}
    return Runner(level, exercises={**course, **own})
