"""Lesson 11's experiment: sharing keeps zeros and few values, files give the same predictions, course run 11 resumes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import load
from course_lib.evidence import summarise
from course_lib.experiments import kmeans_quantization as lesson
from course_lib.experiments.magnitude_pruning import trained
from course_lib.models import lenet_300_100
from course_lib.pruning import prunable
from course_lib.quantization.kmeans import kmeans_1d
from course_lib.training import evaluate

DATA = load("digits")


@pytest.fixture(scope="module")
def sparse() -> torch.nn.Module:
    """One network, trained for 150 steps and pruned to 0.9 in another 60."""
    networks = trained(lambda: lenet_300_100(DATA.input_shape), [DATA], steps=150)
    return lesson.pruned(networks, [DATA], 0.9, steps=60)[0]


@pytest.mark.parametrize("steps", [0, 5])
def test_a_shared_network_has_few_values_and_the_same_zeros(sparse, steps: int) -> None:
    before = {name: weight.detach().clone() for name, weight in prunable(sparse).items()}
    small = lesson.shared(sparse, DATA, bits=2, steps=steps)
    for name, weight in prunable(small).items():
        assert torch.equal(weight == 0, before[name] == 0)
        assert len(weight[weight != 0].unique()) <= 4
        assert torch.equal(prunable(sparse)[name], before[name])  # the original is left alone
    assert all(torch.equal(p, p.half().float()) for p in small.parameters())


def test_tuning_lowers_the_training_loss(sparse) -> None:
    """Two values a layer, before and after 60 steps."""
    raw, tuned = (lesson.shared(sparse, DATA, bits=1, steps=steps) for steps in (0, 60))
    assert evaluate(tuned, DATA.train).loss < 0.9 * evaluate(raw, DATA.train).loss


@pytest.mark.parametrize("stage", ["pruned", "shared", "coded"])
def test_what_is_read_back_predicts_the_same(sparse, stage: str) -> None:
    small = lesson.shared(sparse, DATA, bits=3)
    (again,), (size,) = lesson.from_files([small], stage)
    assert torch.equal(again(DATA.test.x), small(DATA.test.x))
    assert 4000 < size < 30_000


def test_the_grid_is_even_and_keeps_zeros(sparse) -> None:
    before = [weight.detach().clone() for weight in prunable(sparse).values()]
    gridded = lesson.on_a_grid(sparse, bits=2)
    assert all(map(torch.equal, before, prunable(sparse).values()))  # the original is left alone
    for name, weight in prunable(sparse).items():
        found = prunable(gridded)[name].detach()
        kept, grid = weight.detach() != 0, found[weight != 0].unique().double()
        assert torch.equal(found == 0, ~kept)
        low, high = weight[kept].min().double(), weight[kept].max().double()
        places = (grid - low) / (high - low) * 3
        assert torch.allclose(places, places.round(), atol=1e-4)


def test_inertia_is_compared_with_the_least_possible(sparse) -> None:
    found = lesson.excess_inertia(sparse, 3, ("linear", "random", "coarse"))
    assert all(ratio >= 1 - 1e-6 for ratio in found.values())
    assert found["coarse"] < 1.05
    row = next(iter(prunable(sparse).values())).detach()
    assert kmeans_1d(row[row != 0], 8, max_iterations=0).inertia(row[row != 0]) > 0


def test_entropy() -> None:
    assert lesson.entropy_bits(torch.full((8,), 5)) == pytest.approx(3)
    assert lesson.entropy_bits(torch.tensor([7, 0])) == 0
    assert lesson.entropy_bits(torch.tensor([3, 1])) == pytest.approx(0.75 * math.log2(4 / 3) + 0.5)


def test_raw_bytes_are_four_for_each_parameter(sparse) -> None:
    assert len(lesson.raw_bytes(sparse)) == 4 * sum(p.numel() for p in sparse.parameters())


def test_the_picture_tells_its_ends() -> None:
    a, b = summarise([0.9, 0.92]), summarise([0.95, 0.97])
    picture = lesson.size_picture({"both": [(0.1, b), (0.02, a)]}, 0.96, caption="c")
    assert "both: 91.0 ± 1.4 % at 2.0% of the size, 96.0 ± 1.4 % at 10.0%" in picture.alt


def test_the_experiment_runs_and_resumes(tmp_path: Path) -> None:
    """Two trials with different weights; the second call measures nothing again, and every byte is in the ratio."""
    units = lesson.units("digits", trials=2, iterations=150)
    path = tmp_path / "results.jsonl"
    first = runs.run(lesson, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(lesson, units, path, note=print) == first
    assert path.read_bytes() == written
    assert "92% pruned, 6 bits" in first and "times smaller; " in first
    one, two = (lesson.measure(unit) for unit in units)
    assert one["95% pruned, 4 bits"] != two["95% pruned, 4 bits"]


def test_no_loss_is_at_most_a_standard_error_above_dense() -> None:
    row = lambda dense, ours: {"dense": {"error": dense, "bytes": 400}, "small": {"error": ours, "bytes": 10}}
    rows = [row(0.02, 0.020), row(0.03, 0.033), row(0.04, 0.04)]  # 0.03 ± 0.01, standard error 0.0058
    assert "40.0 times smaller; no loss" in lesson.report(rows)
    assert "; a loss" in lesson.report([row(d, 0.036) for d in (0.02, 0.03, 0.04)])
    assert "loss" not in lesson.report(rows[:1])
