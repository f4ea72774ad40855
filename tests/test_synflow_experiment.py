"""The experiment of lesson 06: the exact answer for one cut, the counts of a run, and `course run 06`, made small."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import load
from course_lib.experiments import synflow as experiment
from course_lib.experiments.synflow import SHAPE, critical_compression, critical_of_run, fresh, left_by_cut
from course_lib.models import mlp, vgg
from course_lib.pruning import magnitude_scores, masks_from_scores, prunable, synflow

DIGITS = (1, 8, 8)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    return fresh(lambda: mlp((64, 30, 30, 10)), seed=0)


def test_a_fresh_network_has_no_biases_and_is_scored_in_eval_mode(net) -> None:
    assert not net.training
    assert all(parameter.dtype == torch.float64 for parameter in net.parameters())
    assert all(float(bias.detach().abs().max()) == 0 for name, bias in net.named_parameters() if name.endswith("bias"))
    assert float(net[3].weight.detach().std()) == pytest.approx(math.sqrt(2 / 30), rel=0.1)


@pytest.mark.parametrize("method", experiment.METHODS)
def test_the_critical_compression_is_that_of_the_masks(net, method: str) -> None:
    """One weight fewer than it allows, and the layer it names is empty."""
    x, y = experiment.few_images(load("digits").train, per_class=3)
    scores = experiment.scores_by(method, net, x, y)
    total = sum(score.numel() for score in scores.values())
    left = round(total / critical_compression(scores))
    assert synflow.collapsed_layers(masks_from_scores(scores, 1 - left / total)) == []
    emptied = synflow.collapsed_layers(masks_from_scores(scores, 1 - (left - 1) / total))
    assert emptied == [experiment.first_to_die(scores)]


def test_counts_are_those_of_the_masks(net) -> None:
    scores = magnitude_scores(net)
    total = sum(score.numel() for score in scores.values())
    for kept, row in zip((900, 70, 3), left_by_cut(scores, (900, 70, 3)), strict=True):
        masks = masks_from_scores(scores, 1 - kept / total)
        assert row.tolist() == [int(mask.sum()) for mask in masks.values()]


def test_a_run_counts_every_iteration_up_to_the_maximum(net) -> None:
    sizes = [weight.numel() for weight in prunable(net).values()]
    rows = experiment.left_by_synflow(net, input_shape=DIGITS, iterations=40)
    assert rows.shape == (40, 3)
    assert rows[-1].sum() == 3
    assert bool((rows.diff(dim=0) <= 0).all())
    masks = synflow.prune(net, sum(sizes) / 3, input_shape=DIGITS, iterations=40)
    assert rows[-1].tolist() == [int(mask.sum()) for mask in masks.values()]
    assert 1 < critical_of_run(rows, sum(sizes)) <= sum(sizes) / 3


def test_small_grey_images_become_what_vgg_takes() -> None:
    x, y = experiment.few_images(load("digits").train, per_class=2)
    big = experiment.scaled_up(x)
    assert big.shape == (20, *SHAPE)
    assert torch.equal(big[:, 0], big[:, 2])
    assert y.bincount().tolist() == [2] * 10


def test_masks_hold_while_their_networks_train(net) -> None:
    folds = [load("digits", fold=k) for k in range(2)]
    starts = [fresh(lambda: mlp((64, 30, 30, 10)), seed).float() for seed in range(2)]
    before = [start.state_dict()["1.weight"].clone() for start in starts]
    masks = {name: experiment.masks_by(name, starts, folds, 5) for name in ("SNIP", "SynFlow")}
    for entry in masks.values():
        for mask in entry:
            total = sum(m.numel() for m in mask.values())
            assert sum(int(m.sum()) for m in mask.values()) == pytest.approx(total / 5, abs=1)
    found = experiment.accuracies(masks, starts, folds, steps=60, lr=8e-3)
    assert found.keys() == masks.keys()
    assert all(len(values) == 2 and min(values) > 0.3 for values in found.values())
    assert all(torch.equal(start.state_dict()["1.weight"], old) for start, old in zip(starts, before, strict=True))


def test_the_papers_network_has_the_papers_weights() -> None:
    with torch.device("meta"):
        sizes = [weight.numel() for weight in prunable(vgg("vgg16", n_classes=100, batch_norm=True)).values()]
    assert (len(sizes), sum(sizes)) == (14, 14_761_664)


def test_it_runs_resumes_and_reports_beside_the_paper(tmp_path: Path) -> None:
    units = experiment.units("digits", trials=2, iterations=30, width=1 / 32)
    assert len({json.dumps(unit) for unit in units}) == 10
    path = tmp_path / "results.jsonl"
    first = runs.run(experiment, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(experiment, units, path, note=print) == first
    assert path.read_bytes() == written
    for name, power in experiment.PAPER.items():
        line = next(line for line in first.splitlines() if line.startswith(name))
        assert f" {power} " in line
        assert "n = 2" in line
