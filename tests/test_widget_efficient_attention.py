"""The widget of lesson 16: its running softmax ends at the exact answer, and its bars are measured."""

from __future__ import annotations

import base64
import math
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch

from course_lib.attention import attention, linear_attention, windowed_attention
from course_lib.errors import CourseError
from course_lib.measure import saved_bytes
from course_lib.widgets.efficient_attention import KINDS, tile_walk, write_bytes
from course_lib.widgets.frame import Question
from course_lib.widgets.softmax_walk import Walk, measured

N, D = 18, 8


def head(n: int = N, sharpness: float = 2.0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    return tuple(sharpness * torch.randn(n, D, generator=generator) for _ in range(3))


def walk() -> Walk:
    return Walk(*head(), tuple(map(str, range(N))))


@pytest.mark.parametrize("tile", [1, 4, 7, N])
def test_after_the_last_tile_the_answer_is_exact(tile: int) -> None:
    exact = attention(*head(), causal=True)
    for row in range(N):
        last = walk().states(row, tile)[-1]
        assert torch.allclose(last.weighted / last.total, exact[row], atol=1e-5)


def test_on_the_way_it_is_the_softmax_of_what_was_seen() -> None:
    q, k, v = head()
    state = walk().states(13, 5)[1]  # keys 0 to 9
    scores = q[13] @ k[:10].T / math.sqrt(D)
    assert state.largest == pytest.approx(scores.max().item())
    assert state.total == pytest.approx((scores - scores.max()).exp().sum().item(), rel=1e-5)
    assert torch.allclose(state.weighted / state.total, scores.softmax(0) @ v[:10], atol=1e-5)


def test_a_new_maximum_is_found_and_shown() -> None:
    shown = tile_walk(*head())
    shown.buttons["A new maximum"].click()
    row, place = shown.row.value, shown.place.value
    state = walk().states(row - 1, shown.tile.value)[place - 1]
    assert state.shrink < 0.5 and place > 1
    assert f"ℓ = {state.shrink:.3f} · ℓ" in shown.formula.value


def test_each_kind_answers_as_the_library_does() -> None:
    q, k, v = head()
    answers = {
        "exact": attention(q, k, v, causal=True),
        "windowed": windowed_attention(q, k, v, window=5),
        "linear": linear_attention(q, k, v, causal=True),
    }
    for kind, expected in answers.items():
        assert torch.allclose(walk().answer(kind, 11, 5, 1), expected[11], atol=1e-5)
    live = {kind: int(walk().cells(kind, 5, 2)[0].sum()) for kind in KINDS}
    assert live["exact"] == N * (N + 1) // 2 and live["linear"] == 0
    assert live["tiled"] == sum(min(max(row - 4, 0), 5) for row in range(N))
    assert live["windowed"] == sum(min(row + 1, 5) for row in range(N))


def test_the_bars_are_measured() -> None:
    q, k, v = (torch.randn(128, D, requires_grad=True) for _ in range(3))
    kept, ms = measured("exact", 128, D)
    assert kept == saved_bytes(lambda: attention(q, k, v, causal=True)) and ms > 0
    shown = tile_walk(*head())
    assert f"exact {write_bytes(kept)}" in shown.alt
    growth = {kind: measured(kind, 512, D)[0] / measured(kind, 256, D)[0] for kind in KINDS}
    assert growth["exact"] > 3 and max(growth[kind] for kind in KINDS if kind != "exact") < 2.2


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = tile_walk(*head(), tokens=["<", "&", *range(N - 2)])
    buttons = list(shown.buttons.values())
    for button in [*reversed(buttons), buttons[-1]]:
        before = shown.picture.value
        button.click()
        assert shown.picture.value != before and not shown.alert.value
        ElementTree.fromstring(shown.picture.value)
    for kind in KINDS:
        for values in ({"place": 1}, {"place": N}, {"tile": 1}, {"tile": N}, {"row": 1}, {"row": N}, {"n": 64}):
            shown.set(kind=kind, **values)
            ElementTree.fromstring(shown.picture.value)
            assert "nan" not in shown.picture.value and "nan" not in shown.formula.value


def test_it_is_small_and_quick() -> None:
    shown, times = tile_walk(*head()), []
    for row in range(1, N + 1):
        start = perf_counter()
        shown.set(row=row, place=1 + row % 4)
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 30_000
    bundle = shown._repr_mimebundle_()
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) <= 40_000
    assert "causal scores in memory" in bundle["text/plain"]


def test_a_question_comes_first() -> None:
    shown = tile_walk(*head(), question=Question("How much?", answer=0.3))
    assert shown.body.layout.display == "none"
    shown.bet.commit()
    assert shown.body.layout.display is None


@pytest.mark.parametrize(
    "shapes",
    [((3, 4),) * 3, ((41, 4),) * 3, ((9, 4), (8, 4), (8, 4)), ((2, 9, 4),) * 3, ((9, 4), (9, 4), (8, 4))],
)
def test_what_cannot_be_drawn_is_refused(shapes) -> None:
    with pytest.raises(CourseError, match="of one head"):
        tile_walk(*(torch.ones(shape) for shape in shapes))
