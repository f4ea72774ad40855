"""Every experiment that `course run` offers: it runs small on the embedded data, resumes, and reports."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from course_lib import experiments
from course_lib.cli import runs
from course_lib.evidence import Claim, ClaimDoesNotHold, evidence
from course_lib.experiments import lottery_tickets, magnitude_pruning
from course_lib.pruning.lottery import find_tickets, keep_all, prune_round
from course_lib.rubrics.exercise import LESSON_STEMS
from course_lib.training import evaluate

TOPICS = [module.name for module in pkgutil.iter_modules(experiments.__path__)]


@pytest.mark.parametrize("topic", TOPICS)
def test_experiment_belongs_to_a_lesson(topic: str) -> None:
    """Its name is the lesson's, and it offers what the runner needs."""
    module = importlib.import_module(f"course_lib.experiments.{topic}")
    assert topic in {stem[3:] for stem in LESSON_STEMS.values()}
    assert all(callable(getattr(module, name)) for name in ("units", "measure", "report"))


def test_magnitude_pruning_runs_and_resumes(tmp_path: Path) -> None:
    """Two trials; the second call measures nothing again."""
    units = magnitude_pruning.units("digits", trials=2, iterations=20)
    assert len({json.dumps(unit) for unit in units}) == 2
    path = tmp_path / "results.jsonl"
    first = runs.run(magnitude_pruning, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(magnitude_pruning, units, path, note=print) == first
    assert path.read_bytes() == written
    assert "dense" in first
    assert "0.99 in rounds" in first
    assert "±" in first


def test_magnitude_pruning_on_mnist(raw_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same functions on 28×28 images: even a short training is far better than chance."""
    shutil.copytree(raw_data / "MNIST", tmp_path / "MNIST")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    datasets = [magnitude_pruning.load("mnist")]
    networks = magnitude_pruning.trained(
        lambda: magnitude_pruning.lenet_300_100(datasets[0].input_shape), datasets, steps=100
    )
    assert magnitude_pruning.test_accuracies(networks, datasets)[0] > 0.8
    half = magnitude_pruning.pruned(networks, magnitude_pruning.magnitude_masks(networks, 0.5))
    assert magnitude_pruning.test_accuracies(half, datasets)[0] > 0.7


def test_a_lesson_turns_red_when_a_claim_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """The table is shown, then the cell fails."""
    with pytest.raises(ClaimDoesNotHold, match="pigs fly"):
        evidence(Claim("pigs fly", paper="", measured="0 of 5", holds=False))


def test_lottery_tickets_resume_in_the_middle_of_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds build on the rounds before: cut off after the first few, the search goes on to the same result."""
    monkeypatch.setattr(lottery_tickets, "ROUNDS", 3)
    units = lottery_tickets.units("digits", trials=2, iterations=20)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    report = runs.run(lottery_tickets, units, whole, note=print)
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == len(units) == 8
    cut.write_text("".join(lines[:2]) + lines[2][:30], encoding="utf-8")
    assert runs.run(lottery_tickets, units, cut, note=print) == report
    assert cut.read_text(encoding="utf-8") == whole.read_text(encoding="utf-8")
    for kind in ("ticket", "reinit", "random mask", "one-shot"):
        assert kind in report


def test_tickets_of_the_digits_learn_early_and_their_twins_late() -> None:
    """A small version of the lesson's experiment: steps to a validation loss, ticket < dense < reinitialised."""
    folds = [magnitude_pruning.load("digits", fold=fold) for fold in range(2)]
    build = lambda: lottery_tickets.lenet_300_100(folds[0].input_shape)
    first = lottery_tickets.newborn(build, seeds=[70, 71])
    train = lottery_tickets.watched(folds, steps=120, every=5)
    ladder = find_tickets(first, rounds=3, train=train)
    twins = lottery_tickets.trained_with(ladder[3].masks, lottery_tickets.newborn(build, seeds=[80, 81]), train)
    mean = lambda curves: sum(curves.steps_to(loss=0.5)) / 2
    assert mean(ladder[3].result) < mean(ladder[0].result) < mean(twins)


def test_watching_reads_test_accuracy_where_validation_loss_is_smallest() -> None:
    """A good network that unlearns on shuffled labels is best at step 0; at_end belongs to the last network."""
    data = magnitude_pruning.load("digits")
    (network,) = magnitude_pruning.trained(lottery_tickets.lenet_300_100, [data], steps=100)
    good = evaluate(network, data.test).accuracy
    shuffled = replace(data, train=replace(data.train, y=data.train.y.roll(1)))
    curves = lottery_tickets.watched([shuffled], steps=20, every=5)([network], [{}])
    assert curves.steps == [0, 5, 10, 15, 20]
    assert curves.early_stops() == [0]
    assert curves.at_stop.item() == pytest.approx(good)
    assert curves.at_end.item() == pytest.approx(evaluate(network, data.test).accuracy)
    assert curves.at_end.item() < good
    assert [curves.steps_to(loss=level) for level in (9.0, 0.0)] == [[0], [20]]


def test_masks_cross_a_text_file() -> None:
    """Packed as text and back, whatever the shapes."""
    network = lottery_tickets.newborn(lambda: lottery_tickets.lenet_300_100(), seeds=[3])[0]
    masks = prune_round(network, keep_all(network), rate=0.77, output_rate=0.31)
    back = lottery_tickets.unpacked(json.loads(json.dumps(lottery_tickets.packed(masks))), network)
    assert all(torch.equal(mask, back[name]) for name, mask in masks.items())


def test_barriers_are_zero_between_equal_networks_and_high_between_strangers() -> None:
    """The line between two networks: flat where both are the same, and a hill between unrelated ones."""
    data = magnitude_pruning.load("digits")
    one, other = magnitude_pruning.trained(lottery_tickets.lenet_300_100, [data, data], steps=150)
    half = lottery_tickets.mixed(one, other, 0.5)
    assert torch.allclose(half[1].weight, (one[1].weight + other[1].weight) / 2)
    same = lottery_tickets.mixed(one, one, 0.3)
    assert torch.allclose(same[1].weight, one[1].weight)
    (wall,) = lottery_tickets.barriers([one], [data], [keep_all(one)], steps=5)
    assert abs(wall) < 0.02
