"""The experiments of lesson 14: numbers in words, a window's weights, and `course run 14`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from course_lib.cli import runs
from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.experiments import gradient_accumulation
from course_lib.experiments.gradient_accumulation import (
    RECIPES,
    VOCABULARY,
    accumulated,
    gradient_of,
    in_words,
    losses_of,
    normed,
    number_sequences,
    number_speller,
    spellers,
    token_weights,
)
from course_lib.memory import accumulate
from course_lib.memory.accumulation import split_batch


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (80, "eighty"),
        (101, "one hundred one"),
        (5000, "five thousand"),
        (999_999_999, "nine hundred ninety nine million nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert " ".join(in_words(number)) == words


def test_sequences_hold_question_and_answer() -> None:
    """The labels are the tokens that follow, from "=" on; everything else is −100."""
    x, y = number_sequences(50, seed=1)
    for tokens, labels in zip(x.tolist(), y.tolist(), strict=True):
        start = tokens.index(VOCABULARY.index("="))
        answer = [label for label in labels if label != -100]
        assert labels[start : start + len(answer)] == answer
        assert tokens[start + 1 : start + len(answer)] == answer[:-1]
        number = int("".join(VOCABULARY[token] for token in tokens[:start]))
        assert [VOCABULARY[label] for label in answer] == [*in_words(number), "end"]
    assert torch.equal(x, number_sequences(50, seed=1)[0])


def accumulate_means(model, pieces) -> None:
    """The bug as it was written: each micro-batch's mean, divided by how many there are."""
    for x, y in pieces:
        (F.cross_entropy(model(x).flatten(0, -2), y.flatten()) / len(pieces)).backward()


@pytest.mark.parametrize("size", [1, 3, 16])
def test_weights_give_the_accumulated_gradient(size: int) -> None:
    x, y = number_sequences(16, seed=2)
    for recipe, way in zip(RECIPES, (accumulate, accumulate_means), strict=True):
        model, twin = number_speller(0).double(), number_speller(0).double()
        way(model, split_batch(x, y, size))
        weights = token_weights(y, size, recipe).double()
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
        (losses_of(twin, x, y) * weights).sum().backward()
        assert torch.allclose(gradient_of(model), gradient_of(twin), rtol=1e-4, atol=1e-6)


def test_training_learns_and_pairs_start_equal() -> None:
    """The loss falls; with one micro-batch for the whole window, both recipes are the same training."""
    first, second = (spellers([0, 1], recipe, micro_batch=16, steps=20, every=10) for recipe in RECIPES)
    assert all(run[-1]["all"] < run[0]["all"] < 4 for run in first)
    for one, other in zip(first, second, strict=True):
        assert one[-1]["all"] == pytest.approx(other[-1]["all"], rel=1e-3)


def test_the_micro_batch_does_not_matter_to_layer_norm() -> None:
    folds = [load("digits")]
    logits = []
    for size in (32, 4):
        (network,) = accumulated(lambda: normed("layer norm"), folds, micro_batch=size, batch=32, steps=5)
        logits.append(network(folds[0].test.x[:50]))
    assert F.mse_loss(*logits) < 1e-6
    with pytest.raises(CourseError, match="norm must be"):
        normed("no norm")


def test_it_runs_and_resumes(tmp_path: Path) -> None:
    units = gradient_accumulation.units("digits", trials=2, iterations=12)
    path = tmp_path / "results.jsonl"
    first = runs.run(gradient_accumulation, units, path, note=print)
    written = path.read_bytes()
    assert runs.run(gradient_accumulation, units, path, note=print) == first
    assert path.read_bytes() == written
    assert len(first.splitlines()) == len(units) // 2 + 4
    for said in ("mean of means, micro-batches of 1 ", "less the right recipe", "layer norm", "±", "error %"):
        assert said in first
    assert "right" in gradient_accumulation.report([gradient_accumulation.measure(units[0])])
