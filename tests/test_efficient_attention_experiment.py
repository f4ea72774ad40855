"""The experiment of lesson 16: its examples, its counts, and `course run 16` in small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from course_lib.attention import attention, linear_attention, tiled_attention, windowed_attention
from course_lib.cli import runs
from course_lib.errors import CourseError
from course_lib.experiments import efficient_attention as experiment
from course_lib.models import Transformer


@pytest.mark.parametrize("task", ["reverse", "sort"])
def test_examples_ask_for_what_they_say(task: str) -> None:
    rows = experiment.examples(50, 6, seed=1, task=task)
    digits = rows.x[:, :6]
    assert torch.equal(rows.y, digits.flip(1) if task == "reverse" else digits.sort(dim=1).values)
    assert (rows.x[:, 6] == experiment.SEPARATOR).all()
    assert torch.equal(rows.x[:, 7:], rows.y[:, :-1])
    with pytest.raises(CourseError, match="task"):
        experiment.examples(5, 3, seed=0, task="shuffle")


def test_the_loss_sees_the_answer_only() -> None:
    logits, answers = torch.randn(4, 9, 11), torch.randint(10, (4, 5))
    loss = experiment.answer_loss(logits, answers)
    assert loss.item() == pytest.approx(F.cross_entropy(logits[:, 4:].transpose(1, 2), answers).item(), rel=1e-5)
    logits[:, :4] = 99.0
    assert experiment.answer_loss(logits, answers) == loss


def test_a_short_training_learns_to_reverse() -> None:
    (model,) = experiment.trained(attention, 4, seeds=[0], steps=150)
    rows = experiment.examples(100, 4, seed=9)
    assert min(experiment.right_by_place(model, rows)) > 0.9
    for attend in (tiled_attention, attention):
        assert torch.equal(
            experiment.written(experiment.with_attention(model, attend), rows), experiment.written(model, rows)
        )


def test_a_window_is_the_librarys_also_behind_a_cache() -> None:
    q, k, v = torch.randn(3, 2, 12, 4)
    whole = windowed_attention(q, k, v, window=experiment.WINDOW)
    assert torch.allclose(experiment.windowed(q, k, v), whole, atol=1e-6)
    assert torch.allclose(experiment.windowed(q[:, -2:], k, v), whole[:, -2:], atol=1e-6)


def test_heads_are_those_of_the_model() -> None:
    model = experiment.newborn(attention, 5, seed=2)
    tokens = experiment.examples(1, 5, seed=0).x[0]
    q, k, v = experiment.heads_of(model, tokens)
    assert q.shape == k.shape == v.shape == (2, 10, 16)
    block = model.blocks[0]
    x = model.tokens(tokens) + model.places(torch.arange(10))
    with torch.no_grad():
        expected = block.qkv(block.norm(x))[:, :16]
    assert torch.allclose(q[0], expected, atol=1e-6)


def test_products_are_counted() -> None:
    model = Transformer(11, width=8, heads=2, layers=1, longest=40)
    cached, again = experiment.token_macs(model, 20)
    per_token = 8 * 24 + 8 * 8 + 2 * 8 * 32 + 8 * 11  # qkv, out, the network, the head
    assert cached == per_token + 2 * 21 * 8
    assert again == 21 * per_token + 2 * 21 * 21 * 8
    x = torch.ones(3, 4, 5)
    with experiment.ProductCounter() as counter:
        x @ torch.ones(3, 5, 2)
    assert counter.macs == 3 * 4 * 5 * 2


def test_linear_attention_runs_out_of_room() -> None:
    few, many = (experiment.come_back(linear_attention, n) for n in (4, 32))
    assert min(few) > 0.95
    assert max(many) < 0.6
    assert min(experiment.come_back(attention, 32)) > 0.9


def test_course_run_16(tmp_path: Path) -> None:
    units = [unit for unit in experiment.units("digits", trials=2, iterations=5) if unit["task"] == "reverse"]
    assert len(units) == 6
    path = tmp_path / "results.jsonl"
    report = runs.run(experiment, units, path, note=print)
    assert runs.run(experiment, units, path, note=print) == report
    for words in ("reverse, exact: digits right", "reverse, linear: rows right", "same digits with int8 cache", "±"):
        assert words in report
