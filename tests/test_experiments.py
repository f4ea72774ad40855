"""Every experiment that `course run` offers: it runs small on the embedded data, resumes, and reports."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
from pathlib import Path

import pytest

from course_lib import experiments
from course_lib.cli import runs
from course_lib.evidence import Claim, ClaimDoesNotHold, evidence
from course_lib.experiments import magnitude_pruning
from course_lib.rubrics.exercise import LESSON_STEMS

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
