"""The widget of lesson 09: its register is torch's own wrap-around, and it counts what it lost."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch

from course_lib.errors import CourseError
from course_lib.quantization.fixed_point import wrapped
from course_lib.widgets.frame import Question
from course_lib.widgets.integer_arithmetic import WIDTHS, accumulator_bits, bits_needed, first_wrap, held, wraps

GENERATOR = torch.Generator().manual_seed(0)
X, W = (torch.randint(-128, 128, (144,), generator=GENERATOR).to(torch.int8) for _ in range(2))
BIAS = 60_000
SUMS = [0, *torch.cat([X.long() * W.long(), torch.tensor([BIAS])]).cumsum(0).tolist()]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("step", [0, 1, 50, 144, 145])
def test_the_register_holds_what_the_library_says(width: int, step: int) -> None:
    shown = accumulator_bits(X, W, BIAS)
    shown.set(width=width, step=step)
    register = wrapped(torch.tensor(SUMS[step]), width).item()
    assert f"True sum {SUMS[step]:,}; the {width}-bit register holds {register:,}," in shown.alt
    assert ("the same" in shown.formula.value) == (register == SUMS[step])


@pytest.mark.parametrize("width", [8, 16, 32])
def test_the_bits_drawn_are_those_of_the_sum(width: int) -> None:
    shown = accumulator_bits(X, W, BIAS)
    shown.set(width=width, step=145)
    texts = [node.text for node in ElementTree.fromstring(shown.picture.value).iter("text")]
    bits = [text for text in texts if text in ("0", "1")][:32]
    assert int("".join(bits), 2) == SUMS[-1] % 2**32
    kept = int("".join(bits[32 - width :]), 2)
    assert held(SUMS[-1], width) == kept - (2**width if bits[32 - width] == "1" else 0)


def test_it_agrees_with_the_types_of_torch() -> None:
    totals = torch.tensor(SUMS)
    assert [held(total, 8) for total in SUMS] == totals.to(torch.int8).tolist()
    assert [held(total, 16) for total in SUMS] == totals.to(torch.int16).tolist()


def test_a_wrap_is_an_addition_that_leaves_the_range() -> None:
    assert wraps([0, 127, 128, 100, -128, -129], 8) == [False, True, True, False, True]
    assert first_wrap([0, 127, 128], 8) == 2
    assert first_wrap([0, 127, -128], 8) is None
    assert not any(wraps(SUMS, bits_needed(SUMS)))
    assert any(wraps(SUMS, bits_needed(SUMS) - 1))


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = accumulator_bits(X, W, BIAS)
    assert 3 <= len(shown.buttons) <= 5
    for text, button in shown.buttons.items():
        button.click()
        ElementTree.fromstring(shown.picture.value)
        wraps_at = int(re.search(r"wrapped at (\d+)", shown.alt).group(1))
        assert wraps_at == 1 or "first" not in text
    for width in WIDTHS:
        for step in (shown.step.min, shown.step.max):
            shown.set(width=width, step=step)
            ElementTree.fromstring(shown.picture.value)
            assert not shown.alert.value


def test_a_unit_without_any_sum_draws() -> None:
    zeros = torch.zeros(1, dtype=torch.int8)
    shown = accumulator_bits(zeros, zeros)
    shown.step.value = shown.step.max
    ElementTree.fromstring(shown.picture.value)
    assert "wrapped at 0 of 2" in shown.alt


def test_a_bet_comes_first() -> None:
    shown = accumulator_bits(X, W, BIAS, question=Question("Bits?", answer=18, scale=(8, 32, 1), form=".0f"))
    assert not shown.bet.settled
    shown.bet.guess.value = 16
    shown.bet.commit()
    assert "Measured: 18" in shown.bet.said.value


def test_it_is_small_and_quick() -> None:
    shown, times = accumulator_bits(X, W, BIAS), []
    for step in range(40):
        start = perf_counter()
        shown.step.value = 3 * step + 4
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 30_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize(
    ("x", "w", "bias"),
    [
        (X, W[:-1], 0),
        (X.float(), W, 0),
        (X.int(), W.int(), 0),
        (X, W.int(), 0),
        (X.view(12, 12), W.view(12, 12), 0),
        (X[:0], W[:0], 0),
        ([1, 2], [3, 4], 0),
        (X, W, 2**32),
    ],
)
def test_what_does_not_fit_is_refused(x, w, bias) -> None:
    with pytest.raises(CourseError, match=r"two int8 tensors|beyond 32 bits"):
        accumulator_bits(x, w, bias)
