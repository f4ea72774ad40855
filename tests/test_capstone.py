"""The capstone's judge: honest files are measured, other files are refused, and nothing is believed."""

from __future__ import annotations

import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib import capstone
from course_lib.capstone import BUDGET, Inspection, fresh_images, frontier, inspect, rebuilt, shifted, slowdown
from course_lib.checking import check
from course_lib.data import Split, load
from course_lib.errors import CourseError
from course_lib.experiments.capstone import measure, on_shifted, report, units
from course_lib.models import lenet_300_100, mlp, small_cnn
from course_lib.quantization import deep_compression
from course_lib.rubrics.capstone import COMPRESSED, least_magnitude_cut, marks, reference_file
from course_lib.rubrics.judge import check_answer
from course_lib.training import evaluate


def test_the_reference_keeps_the_budget_on_any_seed():
    for seed in (0, 7, 12345):
        found = inspect(reference_file(), seed=seed)
        assert not found.faults()
        assert found.n_bytes == len(reference_file()) <= BUDGET.full_bytes
        assert found.share() == 1


def test_accuracy_is_that_of_the_network_on_the_fresh_images():
    torch.manual_seed(0)
    network = small_cnn(channels=(4, 8))
    found = inspect(deep_compression.pack(network), seed=3)
    assert found.accuracy == pytest.approx(evaluate(network, fresh_images(3)).accuracy, abs=1e-6)
    assert found.still_accuracy == pytest.approx(evaluate(network, load("digits").test).accuracy, abs=1e-6)


def test_images_are_drawn_anew_for_every_seed_and_are_the_same_again():
    assert torch.equal(fresh_images(1).x, fresh_images(1).x)
    assert not torch.equal(fresh_images(1).x, fresh_images(2).x)
    assert len(fresh_images(1)) == capstone.COPIES * len(load("digits").test)


def test_training_images_are_not_among_them():
    train = {tuple(x.flatten().tolist()) for x in load("digits").train.x}
    assert not any(tuple(x.flatten().tolist()) in train for x in load("digits").test.x)


def test_a_shift_moves_the_image_by_at_most_so_many_pixels():
    dot = torch.zeros(1, 1, 9, 9)
    dot[0, 0, 4, 4] = 1
    moved = shifted(Split(dot, torch.tensor([0])), copies=500, seed=0, most=2.0).x[:, 0]
    assert torch.allclose(moved.sum((1, 2)), torch.ones(500), atol=1e-5)  # nothing is lost in the middle
    places = (moved.sum(1) * torch.arange(9.0)).sum(1) - 4, (moved.sum(2) * torch.arange(9.0)).sum(1) - 4
    for move in places:  # to the sides, up and down
        assert move.abs().max() <= 2 + 1e-4
        assert move.min() < -1.8
        assert move.max() > 1.8
    assert torch.equal(shifted(Split(dot, torch.tensor([0])), copies=1, seed=0, most=0.0).x, dot)


@pytest.mark.parametrize("network", [mlp([64, 10]), mlp([64, 7, 5, 10]), lenet_300_100(), small_cnn(channels=(3, 5))])
def test_a_network_is_rebuilt_from_its_tensors(network):
    images = load("digits").test.x[:5]
    assert torch.equal(rebuilt(network.state_dict())(images), network(images))


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"w": torch.zeros(3)},
        mlp([64, 9]).state_dict(),
        mlp([63, 10]).state_dict(),
        small_cnn((3, 8, 8)).state_dict(),
        small_cnn(channels=(2, 2, 2, 2), input_shape=(1, 16, 16)).state_dict(),
        {**mlp([64, 10]).state_dict(), "extra": torch.zeros(1)},
        {name: tensor.flatten() for name, tensor in mlp([64, 10]).state_dict().items()},
        torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)).state_dict(),
    ],
)
def test_other_tensors_are_refused_by_name(tensors):
    with pytest.raises(CourseError, match=r"no network that can be judged|ten logits"):
        rebuilt(tensors)
    assert inspect(deep_compression.pack(tensors)).problem


def test_a_file_cannot_lie_about_its_size():
    network = mlp([64, 10])
    data = deep_compression.pack(network)
    assert inspect(data + b"\0" * 100).problem  # more than it says
    assert inspect(data[:-1]).problem
    assert "not opened" in inspect(b"SNDC" + bytes(capstone.LARGEST_FILE)).problem
    assert "more numbers" in inspect(deep_compression.pack({"1.weight": torch.zeros(20_000, 64)})).problem


@given(st.binary(max_size=200))
def test_no_bytes_break_the_judge(rest):
    sealed = b"SNDC" + zlib.crc32(rest).to_bytes(4, "little") + rest
    for data in (rest, sealed):
        assert inspect(data).share() == 0


def test_points_begin_at_the_budget_and_end_at_the_smallest():
    share = lambda n: Inspection(n, accuracy=0.99).share()
    assert share(BUDGET.n_bytes + 1) == 0
    assert share(BUDGET.n_bytes) == BUDGET.pass_share
    assert share(BUDGET.full_bytes) == share(1) == 1
    sizes = range(BUDGET.full_bytes, BUDGET.n_bytes, 500)
    assert all(share(a) > share(b) for a, b in zip(sizes, sizes[1:], strict=False))
    assert Inspection(1000, accuracy=BUDGET.accuracy - 1e-4).share() == 0
    assert Inspection(1000, accuracy=0.99, slowdown=BUDGET.slowdown + 0.1).share() == 0


def test_time_is_that_of_what_is_unpacked():
    assert slowdown(small_cnn(channels=(96, 192)).eval(), turns=5) > BUDGET.slowdown
    assert slowdown(mlp([64, 16, 10]).eval(), turns=20) < 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=12))
def test_the_frontier_is_what_nothing_beats(points):
    beats = lambda one, other: one != other and one[0] <= other[0] and one[1] >= other[1]
    expected = sorted({point for point in points if not any(beats(other, point) for other in points)})
    assert frontier(points) == expected


def test_a_smaller_file_earns_more():
    """Between the budget and the smallest; the card says what was measured."""
    full = check_answer(COMPRESSED, reference_file, [5])
    coarse = deep_compression.pack(deep_compression.unpack(reference_file()), stage="pruned")
    part = check_answer(COMPRESSED, lambda: coarse, [5])
    assert full.status == part.status == "passed"
    assert full.share == 1
    assert BUDGET.pass_share < part.share == marks(COMPRESSED.cases(5)[0], coarse)[0] < 1

    def compressed_network():
        return coarse

    card = check(compressed_network)
    assert card.status == "passed"
    assert f"{round(10 * part.share, 1):g} of 10 points" in card.heading
    assert f"{len(coarse):,} bytes" in repr(card)


def test_what_fails_is_told_with_its_numbers():
    def compressed_network():
        return least_magnitude_cut()

    card = check(compressed_network)
    assert card.status == "failed"
    assert card.mistake == "weights were cut and the rest not retrained"
    assert "fresh images 1" in repr(card)  # a percentage far below what is needed


def test_the_experiment_runs_and_reports():
    (unit,) = units("digits", trials=1, iterations=60)
    row = measure(unit)
    told = report([row])
    assert row["given: bytes"] > 200_000
    assert row["distilled (4, 8): bytes"] < 1000
    assert "Deep Compression 0.9" in told
    assert "±" in report([row, row])


def test_shifted_test_images_are_no_training_images():
    data = on_shifted(load("digits", fold=1), seed=1)
    assert len(data.train) == 10 * len(load("digits", fold=1).train)
    assert set(data.test.y.tolist()) == set(range(10))
