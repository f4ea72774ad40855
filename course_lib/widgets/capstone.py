"""The plane of bytes and accuracy: every attempt, the frontier, and what a budget lets through. Lesson 17."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import ipywidgets
from matplotlib.figure import Figure

from course_lib.capstone import BUDGET, frontier
from course_lib.errors import CourseError
from course_lib.viz import BLUE, CYCLE, GREEN, ORANGE
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, label, line

__all__ = ["Attempt", "budget_plane"]

LEFT, RIGHT, TOP, BOTTOM = 56, 622, 40, 292  # of the plane, in the drawing's units
LEGEND = BOTTOM + 52
MARKS = ("circle", "square", "diamond", "triangle", "star")  # families differ by more than their colour
ANY_TIME = 100.0


@dataclass(frozen=True)
class Attempt:
    """A network: which family it belongs to, what it is called, and what it costs and can do."""

    family: str
    name: str
    n_bytes: float
    accuracy: float
    slowdown: float


def budget_plane(attempts: Sequence[Attempt], *, question: Question | None = None) -> LessonWidget:
    """Move a budget of bytes, accuracy and time, and see which attempts it lets through.

    Args:
        attempts: at least two.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `bytes_power`, the bytes as a power of ten, `accuracy`, and `slowdown`.

    Raises:
        CourseError: fewer than two attempts, or one of no bytes.

    >>> tries = [Attempt("cut", "half", 900, 0.95, 1.0), Attempt("cut", "most", 300, 0.84, 1.0)]
    >>> widget = budget_plane(tries)
    >>> widget.set(bytes_power=2.9, accuracy=0.82)
    >>> widget.alt
    'At most 794 bytes, at least 82.0 % right, any time: 1 of 2 attempts pass; the smallest is most, 300 bytes.'

    Lesson 17.
    """
    if len(attempts) < 2 or min(attempt.n_bytes for attempt in attempts) <= 0:
        raise CourseError("The plane needs at least two attempts, each of more than 0 bytes.")
    low = math.floor(10 * math.log10(min(attempt.n_bytes for attempt in attempts))) / 10 - 0.1
    high = math.ceil(10 * math.log10(max(attempt.n_bytes for attempt in attempts))) / 10
    least = math.floor(20 * min(attempt.accuracy for attempt in attempts)) / 20
    ours = {"bytes_power": power_of(BUDGET.n_bytes, low, high), "accuracy": BUDGET.accuracy}
    slider = partial(ipywidgets.FloatSlider, readout_format=".2f")
    controls = {
        "bytes_power": slider(ours["bytes_power"], min=low, max=high, step=0.01, description="log₁₀ bytes"),
        "accuracy": slider(
            BUDGET.accuracy, min=least, max=1.0, step=0.005, description="accuracy", readout_format=".1%"
        ),
        "slowdown": ipywidgets.ToggleButtons(
            options={"any": ANY_TIME, "6 × LeNet": 6.0, "2 × LeNet": 2.0, "1.2 × LeNet": 1.2}, description="time"
        ),
    }
    return LessonWidget(
        "Under a budget",
        controls=controls,
        paint=partial(paint, tuple(attempts), (low, high, least)),
        presets={
            "the course's budget": {**ours, "slowdown": BUDGET.slowdown},
            "a quarter of its bytes": {**ours, "bytes_power": ours["bytes_power"] - 0.6, "slowdown": ANY_TIME},
            "accuracy first": {"bytes_power": high, "accuracy": 0.965, "slowdown": ANY_TIME},
            "no time to lose": {**ours, "slowdown": 1.2},
        },
        question=question,
        static=lambda: still(attempts),
    )


def power_of(n_bytes: float, low: float, high: float) -> float:
    """A number of bytes on the slider."""
    return round(min(max(math.log10(n_bytes), low), high), 2)


def paint(
    attempts: Sequence[Attempt], ends: tuple[float, float, float], bytes_power: float, accuracy: float, slowdown: float
) -> View:
    """Draw the plane, what is allowed, and the frontier of what takes no longer."""
    low, high, least = ends
    across = lambda n_bytes: LEFT + (RIGHT - LEFT) * (math.log10(n_bytes) - low) / (high - low)
    up = lambda right: BOTTOM - (BOTTOM - TOP) * (right - least) / (1 - least)
    quick = [attempt for attempt in attempts if attempt.slowdown <= slowdown]
    passing = [attempt for attempt in quick if attempt.n_bytes <= 10**bytes_power and attempt.accuracy >= accuracy]
    edge, floor = across(10**bytes_power), up(accuracy)
    shapes = [
        label(4, 16, "accuracy on shifted digits, against the bytes of the file", style="font-weight:600"),
        bar(LEFT, TOP, edge - LEFT, floor - TOP, fill=GREEN, extra='opacity="0.13"'),
        line(edge, TOP, edge, floor), line(LEFT, floor, edge, floor),
        *axes(low, high, least, across, up),
        path_of(frontier([(attempt.n_bytes, attempt.accuracy) for attempt in quick]), across, up),
    ]  # fmt: skip
    for attempt in attempts:
        shapes.append(mark(attempt, families(attempts), across, up, strong=attempt in passing))
    shapes.append(legend(families(attempts)))
    return View(*told(attempts, passing, bytes_power, accuracy, slowdown), svg="".join(shapes), size=(640, LEGEND + 14))


def told(attempts, passing, bytes_power: float, accuracy: float, slowdown: float) -> tuple[str, str]:
    """The budget and its winner, as a formula and as a sentence."""
    time = "any time" if slowdown == ANY_TIME else f"at most {slowdown:g} times LeNet's time"
    wanted = f"At most {10**bytes_power:,.0f} bytes, at least {100 * accuracy:.1f} % right, {time}"
    if not passing:
        return f"{wanted}<br><b>none</b> of {len(attempts)} attempts passes", f"{wanted}: none of the attempts passes."
    best = min(passing, key=lambda attempt: attempt.n_bytes)
    count = f"{len(passing)} of {len(attempts)} attempts pass"
    price = f"{best.n_bytes:,.0f} bytes"
    formula = (
        f"{wanted}<br><b>{count}</b>; the smallest is <b>{best.name}</b>: {price}, {100 * best.accuracy:.1f} %, "
        f"{best.slowdown:.1f} times LeNet's time"
    )
    return formula, f"{wanted}: {count}; the smallest is {best.name}, {price}."


def families(attempts: Sequence[Attempt]) -> list[str]:
    """In the order in which they come."""
    return list(dict.fromkeys(attempt.family for attempt in attempts))


def axes(low: float, high: float, least: float, across, up) -> list[str]:
    """Grid lines with their numbers."""
    shapes = [label(RIGHT, BOTTOM + 32, "bytes of the file", anchor="end", size=12)]
    for power in range(math.ceil(low), math.floor(high) + 1):
        for times in (1, 3):
            if low <= math.log10(times * 10**power) <= high:
                x = across(times * 10**power)
                shapes += [line(x, TOP, x, BOTTOM, opacity=0.13)]
                shapes += [label(x, BOTTOM + 16, f"{times * 10**power:,}", anchor="middle", size=11)]
    for step in range(round(20 * least), 21):
        shapes += [line(LEFT, up(step / 20), RIGHT, up(step / 20), opacity=0.13)]
        shapes += [label(LEFT - 6, up(step / 20) + 4, f"{5 * step} %", anchor="end", size=11)]
    return shapes


def path_of(points: Sequence[tuple[float, float]], across, up) -> str:
    """The frontier as a staircase: a larger file is never forced to be better."""
    if not points:
        return ""
    steps = "".join(f"H{across(n_bytes):.1f}V{up(right):.1f}" for n_bytes, right in points[1:])
    start = f"M{across(points[0][0]):.1f} {up(points[0][1]):.1f}"
    return f'<path d="{start}{steps}H{RIGHT}" fill="none" stroke="currentColor" stroke-opacity="0.55" stroke-dasharray="5 4"/>'


def mark(attempt: Attempt, names: Sequence[str], across, up, *, strong: bool) -> str:
    """One attempt: full where the budget lets it through, an outline where not."""
    place = names.index(attempt.family)
    return shape_at(across(attempt.n_bytes), up(attempt.accuracy), place, filled=strong)


def shape_at(x: float, y: float, place: int, *, filled: bool) -> str:
    """The mark of a family, in its colour."""
    r = 6.5
    paths = {
        "circle": f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        "square": f"M{x - 5.5:.1f} {y - 5.5:.1f}h11v11h-11z",
        "diamond": f"M{x:.1f} {y - 7.5:.1f}l7.5 7.5l-7.5 7.5l-7.5 -7.5z",
        "triangle": f"M{x:.1f} {y - 7:.1f}l7 13h-14z",
        "star": f"M{x:.1f} {y - 9:.1f}l2.6 6.4h6.8l-5.4 4.4l2.2 6.8l-6.2 -4.2l-6.2 4.2l2.2 -6.8l-5.4 -4.4h6.8z",
    }
    colour = CYCLE[place % len(CYCLE)]
    look = f'fill="{colour}"' if filled else 'fill="none"'
    return f'<path d="{paths[MARKS[place % len(MARKS)]]}" {look} stroke="{colour}" stroke-width="2"/>'


def legend(names: Sequence[str]) -> str:
    """Mark and name of each family."""
    shapes, x = [], LEFT
    for place, name in enumerate(names):
        shapes += [shape_at(x, LEGEND - 4, place, filled=True), label(x + 13, LEGEND, name, size=12)]
        x += 32 + 6.6 * len(name)
    return "".join(shapes)


def still(attempts: Sequence[Attempt]) -> Figure:
    """Draw the plane, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    plane = figure.subplots()
    for place, name in enumerate(families(attempts)):
        rows = [attempt for attempt in attempts if attempt.family == name]
        style = {"marker": "osD^*"[place % 5], "linestyle": "none", "label": name}
        plane.plot([a.n_bytes for a in rows], [a.accuracy for a in rows], color=CYCLE[place % len(CYCLE)], **style)
    plane.axvline(BUDGET.n_bytes, color=BLUE, linewidth=0.8)
    plane.axhline(BUDGET.accuracy, color=ORANGE, linewidth=0.8)
    plane.set(xscale="log", xlabel="bytes of the file", ylabel="accuracy on shifted digits")
    plane.legend(fontsize=8, frameon=False)
    return figure
