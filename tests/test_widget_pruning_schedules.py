"""The widget of lesson 03: its curve is the library's, its race is what was passed in."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest

from course_lib.errors import CourseError
from course_lib.pruning import gradual_sparsity
from course_lib.widgets.pruning_schedules import at_step, due, schedule_race

RACE = {
    "one-shot": [(0, 0.0, 0.97), *((t, 0.98, 0.1 + t / 600) for t in range(20, 301, 20))],
    "iterative": [(0, 0.0, 0.97), *((t, 0.5 + t / 700, 0.9) for t in range(20, 301, 20))],
    "gradual": [(0, 0.0, 0.97), *((t, 0.98 * t / 300, 0.95) for t in range(20, 301, 20))],
}


def widget(**options):
    return schedule_race(RACE, n_weights=50_200, sparsity=0.98, **{"end": 210} | options)


@pytest.mark.parametrize("step", [0, 7, 150, 210, 300])
@pytest.mark.parametrize("exponent", [1.0, 3.0, 9.0])
def test_the_numbers_are_those_of_the_library(step: int, exponent: float) -> None:
    shown = widget()
    shown.set(step=step, exponent=exponent)
    now = gradual_sparsity(step, final=0.98, begin=0, end=210, exponent=exponent)
    assert f"<b>{now:.3f}</b>" in shown.formula.value
    assert f"<b>{50_200 - round(now * 50_200):,}</b>" in shown.formula.value


def test_the_race_is_what_was_measured() -> None:
    shown = widget()
    shown.step.value = 119
    for name, curve in RACE.items():
        assert f"{name} {100 * at_step(curve, 119)[2]:.1f} %" in shown.alt
    assert at_step(RACE["one-shot"], 119)[0] == 100


def test_a_span_without_length_is_one_cut() -> None:
    assert [due(step, 0.9, (50, 50), 3) for step in (49, 50, 51)] == [0.0, 0.9, 0.9]
    shown = widget()
    shown.span.value = (50, 50)
    ElementTree.fromstring(shown.picture.value)


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = widget()
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
    assert shown.step.value == 300
    for values in ({"span": (0, 300)}, {"span": (300, 300)}, {"exponent": 0.5}, {"exponent": 9.0}, {"step": 0}):
        shown.set(**values)
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value


def test_it_is_small_and_quick() -> None:
    shown, times = widget(), []
    for step in range(1, 60):
        start = perf_counter()
        shown.step.value = step
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 20_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize(
    "curves",
    [
        {},
        [(0, 0, 0), (1, 1, 1)],
        {"a": [(0, 0.0, 0.9)]},
        {"a": [(0, 0.0, 0.9), (5, 90.0, 0.9)]},
        {"a": [(1, 0.0, 0.9), (5, 0.9, 0.9)]},
        {"a": [(0, 0.0, 0.9), (5, 0.9, 0.9)], "b": [(0, 0.0, 0.9), (6, 0.9, 0.9)]},
    ],
)
def test_what_is_no_race_is_refused(curves) -> None:
    with pytest.raises(CourseError, match="Expected name"):
        schedule_race(curves, n_weights=10, sparsity=0.9)
