"""Lesson 10's experiment: equal starts and orders, frozen late, true slopes, and the run at the size one likes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import load
from course_lib.experiments import quantization_aware_training as experiment
from course_lib.experiments.magnitude_pruning import test_accuracies as accuracies
from course_lib.quantization.qat import FrozenBatchNorm2d
from course_lib.quantization.quantizers import ActivationQuantizer


@pytest.fixture(scope="module")
def folds():
    return [load("digits", fold=fold) for fold in range(2)]


@pytest.fixture(scope="module")
def nets(folds):
    return experiment.trained(folds, steps=120)


def test_going_on_leaves_the_networks_alone_and_is_repeatable(nets, folds) -> None:
    before = nets[0][0].weight.clone()
    one, two = (experiment.continued(nets, folds, steps=6) for _ in range(2))
    assert torch.equal(nets[0][0].weight, before)
    assert torch.equal(one[1][3].weight, two[1][3].weight)
    assert not torch.equal(one[0][3].weight, nets[0][3].weight)


def test_late_means_frozen(nets, folds) -> None:
    (network, _) = experiment.aware(nets, folds, 4, steps=6)
    assert type(network[1]) is FrozenBatchNorm2d
    assert all(layer.frozen for layer in network.modules() if isinstance(layer, ActivationQuantizer))
    (network, _) = experiment.aware(nets, folds, 4, steps=6, late=None)
    assert type(network[1]) is torch.nn.BatchNorm2d


def test_training_on_two_bits_beats_rounding_which_beats_whole_ranges(nets, folds) -> None:
    mean = lambda networks: sum(accuracies(networks, folds)) / 2
    whole, clipped = (mean(experiment.afterwards(nets, folds, 2, clip=clip)) for clip in (False, True))
    assert whole < clipped < mean(experiment.aware(nets, folds, 2, steps=90, ranges="learned"))


def test_rounded_weights_lie_on_grids(nets, folds) -> None:
    (network, _) = experiment.afterwards(nets, folds, 2, clip=True)
    assert all(len(channel.unique()) <= 3 for channel in network[3].weight)
    assert len(nets[0][3].weight.unique()) > 1000


def test_with_true_slopes_no_weight_moves(nets, folds) -> None:
    blind = experiment.aware(nets, folds, 3, steps=6, change=experiment.without_estimator)
    for before, after in zip(nets, blind, strict=True):
        for place in (0, 3, 7):
            assert torch.equal(before[place].weight, after[place].weight)
        assert not torch.equal(before[7].bias, after[7].bias)


def test_the_run_resumes_and_reports(tmp_path: Path) -> None:
    units = experiment.units("digits", trials=2, iterations=6)
    assert len({json.dumps(unit) for unit in units}) == len(units) == 8
    path = tmp_path / "results.jsonl"
    first = runs.run(experiment, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(experiment, units, path, note=print) == first
    assert path.read_bytes() == written
    assert "2 bits  trained, learned ranges" in first
    assert "±" in first
    assert "±" not in experiment.report([json.loads(line)["result"] for line in written.splitlines()[:4]])
