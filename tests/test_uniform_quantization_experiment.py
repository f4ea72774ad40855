"""What lesson 08 measures with: channels spread without changing the function, a broken image, and `course run 08`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import load
from course_lib.evidence import paired_difference
from course_lib.experiments import uniform_quantization as lesson
from course_lib.quantization.folding import fold_batch_norm


@pytest.fixture(scope="module")
def mobile():
    folds = [load("digits", fold=fold) for fold in range(2)]
    return lesson.trained_one_by_one(lesson.small_mobilenet, folds, steps=60, lr=3e-3), folds


@pytest.mark.parametrize("spread", [1, 100, 1000])
def test_spread_channels_compute_the_same(mobile, spread: int) -> None:
    (model, _), folds = mobile
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    spread_out = lesson.with_spread(model, spread, seed=1)
    x = folds[0].test.x
    with torch.no_grad():
        assert torch.allclose(spread_out(x), model(x), atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_folded_ranges_part_by_about_the_spread(mobile) -> None:
    model = mobile[0][0]
    plain, spread = (fold_batch_norm(lesson.with_spread(model, by, seed=0)) for by in (1, 100))
    for name, weight in spread.named_parameters():
        if name in ("0.weight", "3.0.weight", "5.3.weight"):
            ratio = lesson.channel_spread(weight) / lesson.channel_spread(plain.get_parameter(name))
            assert 10 < ratio < 500, name


def test_one_grid_a_layer_collapses_and_one_a_channel_survives(mobile) -> None:
    """The lesson's claim at a small size."""
    models, folds = mobile
    wide = [fold_batch_norm(lesson.with_spread(model, 100, seed)) for seed, model in enumerate(models)]
    in_float = lesson.test_accuracies(models, folds)
    tested = {
        name: lesson.test_accuracies(lesson.on_grid(wide, 6, per_channel=name == "channel"), folds)
        for name in ("layer", "channel")
    }
    assert paired_difference(tested["channel"], in_float).mean > -0.05
    assert paired_difference(tested["layer"], in_float).mean < -0.2


def test_one_broken_image_ruins_min_max_and_not_entropy() -> None:
    folds = [load("digits", fold=fold) for fold in range(2)]
    networks = lesson.trained(lesson.lenet_300_100, folds, steps=150)
    first = folds[0].train.x[:240].clone()
    tested = {
        name: lesson.test_accuracies(lesson.calibrated(name, networks, folds, bits=3, fault=30), folds)
        for name in ("min-max", "moving average", "entropy")
    }
    assert max(tested["min-max"]) + 0.3 < min(tested["entropy"])
    assert max(tested["min-max"]) + 0.3 < min(tested["moving average"])
    assert torch.equal(folds[0].train.x[:240], first)


def test_course_run_measures_resumes_and_reports(tmp_path: Path) -> None:
    units = lesson.units("digits", trials=2, iterations=20)
    path = tmp_path / "results.jsonl"
    report = runs.run(lesson, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(lesson, units, path, note=print) == report
    assert path.read_bytes() == written
    for part in ("weights 2 bits, one grid a layer, clipped", "activations 4 bits, entropy", "spread 100, 6 bits"):
        assert part in report
    assert "±" in report
    assert "%" in lesson.report([lesson.measure(units[0])])
