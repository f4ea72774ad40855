"""Lesson 12's experiment: students in one stack are students one by one, controls keep what they say, and a run resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import Split, load
from course_lib.distillation import choose_bias, distillation_targets, loss_on_targets, raise_bias
from course_lib.errors import CourseError
from course_lib.experiments import knowledge_distillation as lesson
from course_lib.models import Jitter, mlp, regularised_mlp
from course_lib.training import fit


def test_a_stack_of_temperatures_trains_as_each_alone() -> None:
    data = load("digits").train
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(len(data), 10, generator=generator)
    settings = {"hot": (8.0, 0.7), "cold": (0.5, 1.0)}
    stack = {
        name: [lesson.material(data.x, logits=logits, labels=data.y, temperature=t, alpha=a)] * 2
        for name, (t, a) in settings.items()
    }
    together = lesson.taught(stack, units=6, steps=5)
    for name, (t, a) in settings.items():
        for trial in range(2):
            torch.manual_seed(trial)
            alone = mlp((64, 6, 10))
            split = Split(data.x, distillation_targets(logits, data.y))
            fit(alone, split, steps=5, lr=lesson.LR, seed=trial, loss=loss_on_targets(temperature=t, alpha=a))
            assert torch.allclose(together[name][trial][1].weight, alone[1].weight, atol=1e-5)


def test_material_without_a_teacher_is_labels_and_without_labels_is_the_teacher() -> None:
    x, y = torch.rand(3, 1, 8, 8), torch.tensor([1, 2, 3])
    guess = torch.randn(3, 10)
    by_label = lesson.loss_of_rows(guess, lesson.material(x, labels=y).y)
    assert torch.allclose(by_label, torch.nn.functional.cross_entropy(guess, y))
    assert lesson.loss_of_rows(guess, lesson.material(x, logits=guess, alpha=0.3).y).abs() < 1e-6


@pytest.mark.parametrize("kind", ["equal", "shuffled"])
def test_controls_keep_the_likeliest_answer(kind: str) -> None:
    logits = 3 * torch.randn(20, 10)
    q, fake = (z.div(4).softmax(1) for z in (logits, lesson.wrong_answers(logits, kind=kind, temperature=4.0)))
    top = q.argmax(1, keepdim=True)
    assert torch.equal(top, fake.argmax(1, keepdim=True))
    assert torch.allclose(q.gather(1, top), fake.gather(1, top), atol=1e-5)
    if kind == "shuffled":
        assert torch.allclose(q.sort(1).values, fake.sort(1).values, atol=1e-5)
        assert not torch.allclose(q, fake)
    else:
        assert torch.allclose(fake.sort(1).values[:, :9].std(1), torch.zeros(20), atol=1e-5)


def test_jitter_moves_images_while_training_only() -> None:
    x = torch.zeros(400, 1, 8, 8)
    x[:, :, 4, 4] = 1
    jitter = Jitter(share=2 / 8)
    assert torch.equal(jitter.eval()(x), x)
    moved = jitter.train()(x)
    assert torch.allclose(moved.sum((1, 2, 3)), torch.ones(400), atol=1e-5)
    centre = (moved.sum(dim=(1, 3)) * torch.arange(8)).sum(1)  # where the ink lies from top to bottom
    assert 2 - 1e-4 <= centre.min() < 2.2 and 5.8 < centre.max() <= 6 + 1e-4
    with pytest.raises(CourseError, match="share"):
        Jitter(share=2)
    assert len(regularised_mlp((64, 5, 5, 10), dropout=0.5)) == 9


def test_a_bias_is_chosen_by_all_answers() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, -9.0]])
    labels = torch.tensor([1, 1, 0])
    assert choose_bias(logits, labels, [1], [0.0, 4.0, 6.0, 8.0, 50.0]) == 6.0
    assert torch.equal(raise_bias(logits, [1], 3.0)[:, 1], logits[:, 1] + 3)
    with pytest.raises(CourseError, match="label for each"):
        choose_bias(logits, labels[:2], [1])
    with pytest.raises(CourseError, match="candidates"):
        choose_bias(logits, labels, [1], [])


def test_few_labels_soft_targets_help() -> None:
    """A small version of the lesson's claim, on two folds."""
    folds = [load("digits", fold=fold) for fold in range(2)]
    teachers = lesson.teachers_of([data.train for data in folds], units=100, steps=200)
    few = [lesson.first_of_each(data.train, 5) for data in folds]
    said = [lesson.teacher_logits(teacher, split.x) for teacher, split in zip(teachers, few, strict=True)]
    students = lesson.taught(
        {
            "labels": [lesson.material(split.x, labels=split.y) for split in few],
            "soft": [lesson.material(s.x, logits=z, temperature=8.0) for s, z in zip(few, said, strict=True)],
        }
    )
    found = lesson.scores(students, folds)
    assert sum(found["soft"]) > sum(found["labels"]) + 0.04


def test_a_run_resumes_after_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesson, "mlp", lambda sizes: mlp((sizes[0], 8, 10)))
    monkeypatch.setattr(lesson, "regularised_mlp", lambda sizes, dropout: regularised_mlp((sizes[0], 8, 10)))
    units = lesson.units("digits", trials=2, iterations=8)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    report = runs.run(lesson, units, whole, note=print)
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == len(units) == 10
    cut.write_text("".join(lines[:2]) + lines[2][:40], encoding="utf-8")
    assert runs.run(lesson, units, cut, note=print) == report
    assert [json.loads(a) for a in lines] == [json.loads(b) for b in cut.read_text(encoding="utf-8").splitlines()]
    for name in ("teacher", "plain", "distilled", "no 3s, among the 3s", "bias tuned on the test set", "146", "±"):
        assert name in report


def test_teachers_answers_cross_a_text_file() -> None:
    logits = torch.randn(4, 10)
    assert torch.allclose(lesson.unpacked(json.loads(json.dumps(lesson.packed(logits)))), logits, atol=1e-2)


def test_on_mnist_a_few_steps_beat_chance(raw_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(raw_data / "MNIST", tmp_path / "MNIST")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    row = lesson.measure({"data": "mnist", "trial": 0, "net": "plain", "iterations": 20}, None)
    assert row["wrong"]["plain"] < 4000
