"""The widget of lesson 14: its errors are those of real gradients, its memory is measured, its weights add up."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.experiments.gradient_accumulation import number_sequences, number_speller, token_weights
from course_lib.measure import peak_bytes
from course_lib.memory import accumulate
from course_lib.widgets.gradient_accumulation import BUG, RIGHT_WAY, Window, window_in_pieces

X, Y = number_sequences(16, seed=3)


def widget(**options):
    return window_in_pieces(number_speller(0), X, Y, **options)


def told(shown, pattern: str) -> float:
    """A number of the alt text."""
    return float(re.search(pattern, shown.alt).group(1).replace(",", ""))


@pytest.mark.parametrize("size", [1, 4, 8])
@pytest.mark.parametrize("order", ["as drawn", "by length"])
def test_the_bugs_error_is_that_of_its_weights(size: int, order: str) -> None:
    """The same gradient, from one pass over the big batch in which tokens weigh what the bug gives them."""
    shown, model = widget(), number_speller(0)
    shown.set(size=size, recipe=BUG, order=order)
    rows = torch.arange(16) if order == "as drawn" else (Y != -100).sum(dim=1).argsort(stable=True)
    losses = F.cross_entropy(model(X[rows]).flatten(0, 1), Y[rows].flatten(), reduction="none").view_as(Y)
    vectors = []
    for recipe in (BUG, RIGHT_WAY):
        weighed = (losses * token_weights(Y[rows], size, recipe)).sum()
        slopes = torch.autograd.grad(weighed, list(model.parameters()), retain_graph=True)
        vectors.append(torch.cat([slope.flatten() for slope in slopes]))
    error = float((vectors[0] - vectors[1]).norm() / vectors[1].norm())
    assert told(shown, r"off by ([\d.]+) %") == pytest.approx(100 * error, abs=0.06)


def test_the_right_way_is_off_by_rounding_only() -> None:
    shown = widget()
    for size in (1, 2, 4, 8, 16):
        shown.set(size=size, recipe=RIGHT_WAY)
        assert "(rounding)" in shown.alt


def test_weights_add_up_to_one() -> None:
    window = Window(number_speller(0), X, Y)
    for size in (1, 3, 8):
        for order in ("as drawn", "by length"):
            counts = window.counts[window.rows(order)]
            shares = torch.tensor(window.shares(size, BUG, order))
            assert float((counts * shares).sum() / counts.sum()) == pytest.approx(1, abs=1e-5)


def test_memory_is_measured_and_falls_with_the_micro_batch() -> None:
    shown, peaks = widget(), []
    for size in (16, 4, 1):
        shown.size.value = size
        peaks.append(told(shown, r"Peak memory ([\d,]+) kB"))
    assert peaks[0] > 2.5 * peaks[1] > 2.5 * peaks[2]
    model = number_speller(0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    assert peaks[0] == pytest.approx(peak_bytes(lambda: accumulate(model, [(X, Y)])) / 1e3, abs=1)


def test_the_learners_gradients_stay() -> None:
    model = number_speller(0)
    before = model.head.weight.clone()
    window_in_pieces(model, X, Y).size.value = 2
    assert model.head.weight.grad is None
    assert torch.equal(model.head.weight, before)


def test_any_classifier_will_do() -> None:
    """One label an example: the bug shows only where the last micro-batch is short."""
    x, y = torch.randn(10, 3), torch.randint(2, (10,))
    shown = window_in_pieces(nn.Linear(3, 2), x, y)
    shown.set(size=2, recipe=BUG)
    assert "(rounding)" in shown.alt
    shown.size.value = 4
    assert told(shown, r"off by ([\d.]+) %") > 0.1


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = widget()
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value
    assert (shown.size.value, shown.recipe.value, shown.order.value) == (4, BUG, "by length")


def test_it_is_small_and_quick() -> None:
    shown, times = widget(), []
    for turn in range(12):
        for size in (1, 2, 4, 8, 16):
            start = perf_counter()
            shown.set(size=size, recipe=(RIGHT_WAY, BUG)[turn % 2])
            times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 20_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), "2 to 24"),
        (torch.zeros(30, 3), torch.zeros(30, dtype=torch.int64), "2 to 24"),
        (torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64), "5 labels"),
        (torch.zeros(4, 3), torch.zeros(4, 2, dtype=torch.int64), "do not fit"),
        (torch.zeros(4, 3), torch.tensor([0, 1, -100, 0]), "Example 2"),
    ],
)
def test_what_is_no_window_is_refused(x, y, says) -> None:
    with pytest.raises(CourseError, match=says):
        window_in_pieces(nn.Linear(3, 2), x, y)
