"""A file handed in beside the notebook: it earns what it is worth, and a notebook that claims more changes nothing."""

from __future__ import annotations

import pytest
import torch

from course_lib.capstone import BUDGET
from course_lib.grading.records import Job
from course_lib.grading.runner import Runner
from course_lib.quantization import deep_compression
from course_lib.rubrics.capstone import COMPRESSED, pickled, reference_file, widened

CLAIM = "def compressed_network():\n    return open('/etc/passwd', 'rb').read()"


@pytest.fixture(scope="module")
def runner():
    with Runner("process") as running:
        yield running


def graded(runner, tmp_path, *contents: bytes, code: str | None = None, seed: int = 11):
    """Hand in files with these contents."""
    files = []
    for place, content in enumerate(contents):
        path = tmp_path / f"network{place}.sndc"
        path.write_bytes(content)
        files.append((path.name, str(path)))
    return runner.run(Job(COMPRESSED.id, code, (), seed=seed, files=tuple(files)))


def test_the_reference_earns_all_points(runner, tmp_path):
    outcome = graded(runner, tmp_path, reference_file())
    assert (outcome.status, outcome.points, outcome.possible) == ("passed", 10.0, 10.0)
    assert f"{len(reference_file()):,} bytes" in outcome.feedback


def test_points_grow_as_the_file_shrinks(runner, tmp_path):
    tensors = deep_compression.unpack(reference_file())
    plain = deep_compression.pack({name: tensor + 1e-5 * torch.randn(tensor.shape) for name, tensor in tensors.items()})
    assert BUDGET.n_bytes < len(plain)
    assert graded(runner, tmp_path, plain).points == 0
    half = deep_compression.pack(tensors, stage="pruned")
    assert BUDGET.full_bytes < len(half) <= BUDGET.n_bytes
    assert 6 <= graded(runner, tmp_path, half).points < 10


def test_no_file_is_not_attempted_whatever_the_notebook_says(runner, tmp_path):
    assert graded(runner, tmp_path, code=CLAIM).status == "not attempted"


def test_the_file_is_graded_and_not_the_code(runner, tmp_path):
    assert graded(runner, tmp_path, reference_file(), code="raise SystemExit").points == 10
    assert graded(runner, tmp_path, pickled(), code=CLAIM).points == 0


def test_two_files_are_refused(runner, tmp_path):
    outcome = graded(runner, tmp_path, reference_file(), reference_file())
    assert outcome.status == "failed"
    assert "one file" in outcome.feedback


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SNDC",
        pickled(),
        bytes(17 << 20),
        reference_file()[:-1],
        reference_file() + b"0",
        deep_compression.pack({"1.weight": torch.zeros(1000, 1000, 10)}),
    ],
    ids=["empty", "a magic word", "a pickle", "17 MiB", "cut off", "longer", "a bomb of zeros"],
)
def test_what_is_no_network_earns_nothing(runner, tmp_path, content):
    outcome = graded(runner, tmp_path, content)
    assert (outcome.status, outcome.points) == ("failed", 0.0)
    assert outcome.feedback


def test_a_mistake_is_named(runner, tmp_path):
    assert graded(runner, tmp_path, widened((16, 32), noise=1e-4)).mistake == "the file is too large"


def test_a_seed_gives_the_same_points_again(runner, tmp_path):
    first, again = (graded(runner, tmp_path, reference_file(), seed=5) for _ in range(2))
    accuracy = lambda outcome: outcome.feedback.partition(";")[2].partition(",")[0]
    assert accuracy(first) == accuracy(again)
