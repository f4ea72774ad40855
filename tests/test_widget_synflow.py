"""The widget of lesson 06: its counts are those passed in, and a layer without weights is called empty."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch

from course_lib.errors import CourseError
from course_lib.experiments.synflow import critical_compression, left_by_cut
from course_lib.models import vgg
from course_lib.pruning import magnitude_scores, masks_from_scores, random_scores
from course_lib.widgets.frame import Question
from course_lib.widgets.synflow import end_of, layer_survival, row_at, short

torch.manual_seed(0)
NET = vgg("vgg16", width=1 / 8)
SCORES = {"random": random_scores(NET), "magnitude": magnitude_scores(NET)}
SIZES = [score.numel() for score in SCORES["random"].values()]
TOTALS = [round(sum(SIZES) / 10 ** (0.1 * k)) for k in range(1, 43)]
LEFT = {name: left_by_cut(scores, TOTALS) for name, scores in SCORES.items()}


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("power", [0.5, 1.5, 2.5, 4.0])
def test_the_counts_are_those_of_the_masks(name: str, power: float) -> None:
    shown = layer_survival(LEFT, SIZES)
    shown.set(method=name, power=power)
    kept = round(sum(SIZES) / 10**power)
    masks = masks_from_scores(SCORES[name], 1 - kept / sum(SIZES))
    counts = [int(mask.sum()) for mask in masks.values()]
    assert f"{sum(counts):,} of {sum(SIZES):,} weights left" in shown.alt
    assert shown.alt.endswith(f"Layer by layer: {', '.join(f'{count:,}' for count in counts)}.")
    empty = [str(place + 1) for place, count in enumerate(counts) if count == 0]
    assert f"Empty layers: {', '.join(empty) or 'none'}." in shown.alt
    assert ("nothing flows" in shown.formula.value) == bool(empty)


@pytest.mark.parametrize("name", LEFT)
def test_the_life_line_ends_where_the_exact_formula_says(name: str) -> None:
    shown = 10 ** end_of(torch.cat([torch.tensor([SIZES]), LEFT[name]]), SIZES)
    exact = critical_compression(SCORES[name])
    assert shown <= exact * 1.001 < shown * 10**0.11  # the points lie a tenth of a power of ten apart


def test_a_point_is_in_force_up_to_the_next() -> None:
    rows = torch.tensor([[90, 10], [45, 5], [5, 5], [0, 1]])
    assert [row_at(rows, power).tolist() for power in (0, 0.29, 0.3, 0.99, 2)] == [
        [90, 10], [90, 10], [45, 5], [45, 5], [0, 1],
    ]  # fmt: skip


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = layer_survival(LEFT, SIZES)
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
        assert "Empty layers: none" not in shown.alt
    for power in (shown.power.min, shown.power.max):
        shown.power.value = power
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value


def test_a_bet_comes_first() -> None:
    question = Question("Which layer?", answer="the first", choices=("the first", "another"))
    shown = layer_survival(LEFT, SIZES, question=question)
    assert not shown.bet.settled
    shown.bet.guess.value = "another"
    shown.bet.commit()
    assert "Measured: the first" in shown.bet.said.value


def test_it_is_small_and_quick() -> None:
    shown, times = layer_survival(LEFT, SIZES), []
    for step in range(40):
        start = perf_counter()
        shown.power.value = 0.1 * step
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 20_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


def test_numbers_are_short() -> None:
    assert all(len(short(count)) <= 4 for count in (0, 999, 1000, 9999, 10_000, 999_999, 2_359_296, 99_000_000))


@pytest.mark.parametrize(
    "left",
    [
        {},
        {"a": [[1, 2]]},
        {"a": torch.tensor([1, 2])},
        {"a": torch.tensor([[1, 2, 3]])},
        {"a": torch.tensor([[0.5, 1.0]])},
        {"a": torch.tensor([[2, 2], [3, 3]])},
        {"a": torch.tensor([[9, 1]])},
        {"a": torch.tensor([[-1, 1]])},
    ],
)
def test_what_does_not_fit_is_refused(left) -> None:
    with pytest.raises(CourseError, match=r"nothing to show|Expected whole numbers"):
        layer_survival(left, [4, 4])
