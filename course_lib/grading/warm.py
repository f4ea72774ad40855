"""The process inside a sandbox that imports torch once, then forks for every job; the fork confines itself.

It knows nothing secret: what it is told are jobs, what it hands on are bytes that it does not read. The grader and
this process speak through two pipes, in frames: 8 bytes of length, then that many bytes.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import time
from dataclasses import asdict, dataclass
from typing import BinaryIO

from course_lib.grading import processes, scratch
from course_lib.grading.confinement import MIB, Rules, confine, failed_to_stop, guard_supervisor

TICK = 0.05  # seconds between two looks at what a job uses
SCRATCH_FILES, SCRATCH_MIB = 2000, 256
PROCESSES, THREADS = 8, 64


@dataclass(frozen=True)
class End:
    """How the process of one job ended: "exited", "timed out", "out of memory", or what it overdid."""

    how: str
    number: int  # exit status, or minus the signal
    seconds: float
    healthy: bool = True  # whether this sandbox is as good as new


def main() -> None:
    """Serve the pipes that came as standard input and output until the grader closes them."""
    requests, replies = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    for descriptor in (0, 1):
        point_to_nowhere(descriptor)
    guard_supervisor()
    values = json.loads(read_frame(requests))
    rules = Rules(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    os.chdir(rules.scratch)
    descriptor = rules.landlock_descriptor()  # prepared once, put in force by every fork
    write_frame(replies, json.dumps(proof(rules, descriptor)).encode())
    if read_frame(requests):  # nothing more comes where only the proof was wanted
        load()
        write_frame(replies, b"ready")
        serve(rules, descriptor, requests, replies)
    os._exit(0)  # there is nothing to tidy, and torch takes its time over it


def serve(rules: Rules, descriptor: int | None, requests: BinaryIO, replies: BinaryIO) -> None:
    """Job after job: limits and job in, end and result out."""
    while limits := read_frame(requests):
        job = read_frame(requests)
        end, result = run(rules, descriptor, json.loads(limits), job, requests)
        write_frame(replies, json.dumps(asdict(end)).encode())
        write_frame(replies, result)


def proof(rules: Rules, descriptor: int | None) -> list[str]:
    """What a confined process could do all the same; at the level "process" nothing is claimed, so nothing is tried."""
    if rules.level == "process":
        return []
    reading, writing = os.pipe()
    child = processes.Child(os.fork())
    if child.pid == 0:
        try:
            confine(rules.level, descriptor, 1024, 10)
            os.write(writing, json.dumps(failed_to_stop(rules)).encode())
        except BaseException as error:
            os.write(writing, json.dumps([f"confining itself: {error}"]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pipe.read(2**16)
    processes.end_all(child)
    return json.loads(found or b'["running at all"]')


def load() -> None:
    """Import torch and what runs an answer; no fork looks for garbage in what is loaded now, nor does the import."""
    gc.disable()
    import torch

    torch.set_num_threads(1)
    from course_lib.grading import child

    child.practise()
    gc.freeze()
    gc.enable()


def run(rules: Rules, descriptor: int | None, limits: dict, job: bytes, requests: BinaryIO) -> tuple[End, bytes]:
    """Fork, let the child answer, watch it, and leave nothing of it behind."""
    reading, writing = os.pipe()
    start = time.monotonic()
    child = processes.Child(os.fork())
    if child.pid == 0:
        become_child(rules, descriptor, limits, job, writing)
    os.close(writing)
    how, result = watch(rules, child, reading, limits, requests)
    os.close(reading)
    number = processes.end_all(child)
    return End(how, number, time.monotonic() - start, scratch.empty(rules.scratch)), result


def become_child(rules: Rules, descriptor: int | None, limits: dict, job: bytes, writing: int) -> None:
    """Keep the pipe for the result only, confine, answer, end. Never returns."""
    from course_lib.grading import child

    status = 1
    try:
        os.setsid()
        for standard in (0, 1, 2):
            point_to_nowhere(standard)
        for other in set(range(3, 1024)) - {writing, descriptor}:
            with contextlib.suppress(OSError):
                os.close(other)
        confine(rules.level, descriptor, limits["megabytes"], limits["seconds"])
        result = memoryview(child.answer(job))
        while result:
            result = result[os.write(writing, result) :]
        status = 0
    finally:
        os._exit(status)


def watch(rules: Rules, child: processes.Child, reading: int, limits: dict, requests: BinaryIO) -> tuple[str, bytes]:
    """Collect the child's result until it ends, takes too long or takes too much."""
    result = bytearray()
    deadline = time.monotonic() + limits["seconds"]
    memory = limits["megabytes"] * MIB
    next_look = time.monotonic() + TICK
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    poll.register(requests, 0)  # only to hear that the grader has gone
    pause = TICK
    while not child.has_ended():
        for descriptor, _ in poll.poll(pause * 1000):
            if descriptor == requests.fileno():
                processes.end_all(child)
                os._exit(1)
            result += (part := os.read(reading, 2**20))
            if not part:  # it is about to end, or has closed its pipe
                poll.unregister(reading)
                pause = 0.001
        if len(result) > limits["cap"]:
            return "sent too much", b""
        if time.monotonic() >= deadline:
            return "timed out", b""
        if time.monotonic() >= next_look:
            if excess := overdone(rules.scratch, memory):
                return excess, b""
            next_look = time.monotonic() + TICK
    return "exited", bytes(result + rest(reading, limits["cap"]))


def rest(reading: int, cap: int) -> bytes:
    """What a process that has ended left in its pipe."""
    os.set_blocking(reading, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(reading, cap)
    return b""


def overdone(folder: str, memory: int) -> str:
    """What a job has too much of, in words, or "". A fork shares what torch takes: only what is beyond that counts."""
    family, shared = processes.descendants(os.getpid()), processes.resident_bytes(os.getpid())
    if sum(max(0, processes.resident_bytes(pid) - shared) for pid in family) > memory:
        return "out of memory"
    if len(family) > PROCESSES or processes.thread_count(family) > THREADS:
        return "started too many threads or processes"
    n_files, n_bytes = scratch.usage(folder, SCRATCH_FILES)
    if n_files > SCRATCH_FILES or n_bytes > SCRATCH_MIB * MIB:
        return "wrote too many files"
    return ""


def point_to_nowhere(descriptor: int) -> None:
    """Connect a descriptor to /dev/null."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def read_frame(pipe: BinaryIO) -> bytes:
    """The next frame; empty where the other side has closed."""
    return read_exactly(pipe, int.from_bytes(read_exactly(pipe, 8), "little"))


def read_exactly(pipe: BinaryIO, n_bytes: int) -> bytes:
    """So many bytes, or none where the pipe ends before."""
    data = bytearray()
    while len(data) < n_bytes:
        part = pipe.read(min(n_bytes - len(data), 2**20))
        if not part:
            return b""
        data += part
    return bytes(data)


def write_frame(pipe: BinaryIO, data: bytes) -> None:
    """Length, then data."""
    rest = memoryview(len(data).to_bytes(8, "little") + data)
    while rest:
        rest = rest[pipe.write(rest) :]


if __name__ == "__main__":
    main()
