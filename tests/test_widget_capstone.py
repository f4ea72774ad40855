"""The widget of lesson 17: what it lets through is what the numbers say."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest

from course_lib.errors import CourseError
from course_lib.widgets.capstone import Attempt, budget_plane
from course_lib.widgets.frame import Question

ATTEMPTS = [
    Attempt("cut", "cut 0.8", 46_000, 0.970, 1.0),
    Attempt("cut", "cut 0.95", 12_000, 0.941, 1.0),
    Attempt("coded", "coded 0.9", 5_900, 0.966, 1.0),
    Attempt("small", "small 8-16", 1_380, 0.947, 2.8),
    Attempt("small", "small 4-8", 700, 0.889, 2.4),
]
TIMES = (100.0, 6.0, 2.0, 1.2)


@pytest.mark.parametrize("slowdown", TIMES)
@pytest.mark.parametrize("accuracy", [0.85, 0.93, 0.96, 0.99])
@pytest.mark.parametrize("power", [2.9, 3.2, 3.81, 4.8])
def test_what_passes_is_what_keeps_all_three_limits(power, accuracy, slowdown):
    shown = budget_plane(ATTEMPTS)
    shown.set(bytes_power=power, accuracy=accuracy, slowdown=slowdown)
    passing = [a for a in ATTEMPTS if a.n_bytes <= 10**power and a.accuracy >= accuracy and a.slowdown <= slowdown]
    if not passing:
        assert "none of the attempts passes" in shown.alt
        return
    best = min(passing, key=lambda attempt: attempt.n_bytes)
    assert f"{len(passing)} of 5 attempts pass; the smallest is {best.name}, {best.n_bytes:,.0f} bytes." in shown.alt


def test_presets_and_every_end_of_every_control_draw():
    shown = budget_plane(ATTEMPTS)
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
    for slider in (shown.bytes_power, shown.accuracy):
        for end in (slider.min, slider.max):
            slider.value = end
            ElementTree.fromstring(shown.picture.value)
            assert not shown.alert.value


def test_a_bet_comes_first():
    shown = budget_plane(ATTEMPTS, question=Question("Which family?", answer="small", choices=("small", "cut")))
    assert not shown.bet.settled
    shown.bet.guess.value = "cut"
    shown.bet.commit()
    assert "Measured: small" in shown.bet.said.value


def test_it_is_small_and_quick():
    shown, times = budget_plane(ATTEMPTS), []
    for step in range(40):
        start = perf_counter()
        shown.bytes_power.value = 3 + step / 40
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 20_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) <= 40_000


@pytest.mark.parametrize("attempts", [[], ATTEMPTS[:1], [ATTEMPTS[0], Attempt("a", "b", 0, 0.5, 1.0)]])
def test_what_cannot_be_drawn_is_refused(attempts):
    with pytest.raises(CourseError, match="at least two attempts"):
        budget_plane(attempts)
