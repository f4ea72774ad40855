"""When to prune? A schedule to draw, beside the race of three schedules that was measured just now. Lesson 03."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Real

import ipywidgets
from matplotlib.figure import Figure

from course_lib.errors import CourseError, require_fraction, require_positive
from course_lib.pruning import gradual_sparsity
from course_lib.viz import BLUE, GREEN, GREY, ORANGE, PINK
from course_lib.widgets.frame import LessonWidget, View
from course_lib.widgets.svg import label, line

__all__ = ["schedule_race"]

Curve = Sequence[tuple[int, float, float]]
COLOURS, DASHES = (BLUE, ORANGE, GREEN, GREY), ("", "7 4", "2 3", "9 3 2 3")
LEFT, RIGHT, TOP, WIDTH, HEIGHT = 44, 372, 34, 252, 190  # of the two panels, in the drawing's units
LEGEND = TOP + HEIGHT + 46


def schedule_race(
    curves: Mapping[str, Curve], *, n_weights: int, sparsity: float, begin: int = 0, end: int | None = None
) -> LessonWidget:
    """Draw a schedule (start, end, exponent) and follow the measured race of others step by step.

    Args:
        curves: name -> (steps done, sparsity, accuracy) at rising steps, two points at least; one to four curves.
        n_weights: how many weights can be pruned.
        sparsity: the final one of the drawn schedule, 0..1.
        begin, end: of the drawn schedule at first; all steps by default.

    Returns:
        the widget; its controls are `span`, `exponent` and `step`.

    Raises:
        CourseError: no such curves, or a number out of range.

    >>> widget = schedule_race({"one-shot": [(0, 0.0, 0.9), (100, 0.8, 0.7)]}, n_weights=1000, sparsity=0.8)
    >>> widget.step.value, widget.exponent.value = 50, 3.0
    >>> widget.alt
    'Your schedule at step 50 of 100: sparsity 0.700, 300 weights left. Measured accuracy: one-shot 90.0 %.'

    Lesson 03.
    """
    steps = checked_curves(curves)
    require_positive("n_weights", n_weights)
    require_fraction("sparsity", sparsity)
    span = (begin, steps if end is None else end)
    controls = {
        "span": ipywidgets.IntRangeSlider(value=span, min=0, max=steps, description="prune from, to"),
        "exponent": ipywidgets.FloatSlider(3.0, min=0.5, max=9, step=0.5, description="exponent"),
        "step": ipywidgets.IntSlider(steps // 3, min=0, max=steps, description="look at step"),
    }
    return LessonWidget(
        "Draw a schedule, and watch the measured race",
        controls=controls,
        paint=partial(paint, curves, n_weights, sparsity),
        presets={
            "The cubic one": {"span": span, "exponent": 3.0, "step": steps // 3},
            "A straight line": {"span": span, "exponent": 1.0},
            "Late and long": {"span": (steps // 2, steps), "exponent": 3.0},
            "The cubic one, at the end": {"span": span, "exponent": 3.0, "step": steps},
        },
        static=lambda: still(curves),
    )


def due(step: float, sparsity: float, span: tuple[int, int], exponent: float) -> float:
    """The drawn schedule's sparsity; a span without length is a single cut."""
    begin, end = span
    if begin == end:
        return sparsity if step >= begin else 0.0
    return gradual_sparsity(step, final=sparsity, begin=begin, end=end, exponent=exponent)


def at_step(curve: Curve, step: int) -> tuple[int, float, float]:
    """The last measured point that is not after `step`.

    >>> at_step([(0, 0.0, 0.9), (20, 0.8, 0.7)], 19)
    (0, 0.0, 0.9)
    """
    return [point for point in curve if point[0] <= step][-1]


def paint(
    curves: Mapping[str, Curve], n_weights: int, sparsity: float,
    span: tuple[int, int], exponent: float, step: int,
) -> View:  # fmt: skip
    """Draw sparsity to the left and accuracy to the right, with a line at the step that is looked at."""
    steps = next(iter(curves.values()))[-1][0]
    now = due(step, sparsity, span, exponent)
    places = sorted({*range(0, steps + 1, max(1, steps // 150)), *span, steps})
    drawn = [(at, due(at, sparsity, span, exponent)) for at in places]
    shapes = [panel(LEFT, "sparsity", steps), panel(RIGHT, "validation accuracy, measured", steps)]
    for place, (name, curve) in enumerate(curves.items()):
        shapes.append(path([(at, s) for at, s, _ in curve], LEFT, steps, place, stairs=True))
        shapes.append(path([(at, a) for at, _, a in curve], RIGHT, steps, place))
        shapes.append(legend(place + 1, name, COLOURS[place], DASHES[place]))
    shapes += [
        path(drawn, LEFT, steps, None),
        legend(0, "your schedule", PINK, "", width=3.5),
        *(line(left + WIDTH * step / steps, TOP, left + WIDTH * step / steps, TOP + HEIGHT) for left in (LEFT, RIGHT)),
    ]
    left = n_weights - round(now * n_weights)
    scores = ", ".join(f"{name} {100 * at_step(curve, step)[2]:.1f} %" for name, curve in curves.items())
    alt = f"Your schedule at step {step} of {steps}: sparsity {now:.3f}, {left:,} weights left. "
    return View(
        formula(step, sparsity, span, exponent, now, left, n_weights) + f"<br>measured by then: {scores}",
        f"{alt}Measured accuracy: {scores}.",
        svg="".join(shapes),
        size=(640, LEGEND + 14),
    )


def formula(
    step: int, sparsity: float, span: tuple[int, int], exponent: float, now: float, left: int, n_weights: int
) -> str:
    """Write the schedule with its numbers."""
    begin, end = span
    progress = float(step >= begin) if begin == end else min(max((step - begin) / (end - begin), 0), 1)
    return (
        f"s = s<sub>f</sub> · (1 − (1 − p)<sup>{exponent:g}</sup>) = {sparsity:g} · (1 − (1 − {progress:.2f})"
        f"<sup>{exponent:g}</sup>) = <b>{now:.3f}</b><br>"
        f"weights left at step {step}: <b>{left:,}</b> of {n_weights:,}"
    )


def panel(left: float, title: str, steps: int) -> str:
    """Draw axes from 0 to 1 and from 0 to the last step."""
    marks = [line(left, TOP + HEIGHT * (1 - y), left + WIDTH, TOP + HEIGHT * (1 - y), opacity=0.2) for y in (0.5, 1)]
    marks += [label(left - 5, TOP + HEIGHT * (1 - y) + 4, f"{y:g}", anchor="end", size=11) for y in (0, 0.5, 1)]
    marks += [label(left + WIDTH * x, TOP + HEIGHT + 16, f"{round(x * steps)}", anchor="middle", size=11) for x in (0, 0.5, 1)]  # fmt: skip
    axes = line(left, TOP, left, TOP + HEIGHT) + line(left, TOP + HEIGHT, left + WIDTH, TOP + HEIGHT)
    head = label(left, 20, title, style="font-weight:600")
    return head + axes + "".join(marks) + label(left + WIDTH, TOP + HEIGHT + 30, "steps", anchor="end", size=11)


def path(points: Sequence[tuple[float, float]], left: float, steps: int, place: int | None, *, stairs=False) -> str:
    """Draw one curve; as stairs, a value holds from the point before on (masks in force up to this step)."""
    spots = [(left + WIDTH * x / steps, TOP + HEIGHT * (1 - y)) for x, y in points]
    start, *others = [f"V{y:.5g}H{x:.5g}" if stairs else f"L{x:.5g} {y:.5g}" for x, y in spots]
    drawn = f"M{spots[0][0]:.5g} {spots[0][1]:.5g}" + "".join(others)
    colour, dash, width = (PINK, "", 3.5) if place is None else (COLOURS[place], DASHES[place], 2)
    return f'<path d="{drawn}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"/>'


def legend(place: int, name: str, colour: str, dash: str, *, width: float = 2) -> str:
    """Draw one entry of the legend below the panels."""
    x = 16 + 124 * place
    sample = f'<path d="M{x} {LEGEND - 4}h26" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dash}"/>'
    return sample + label(x + 32, LEGEND, name, size=12)


def still(curves: Mapping[str, Curve]) -> Figure:
    """Draw the race, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for place, (name, curve) in enumerate(curves.items()):
        at, sparsities, accuracies = zip(*curve, strict=True)
        style = {"color": COLOURS[place], "linestyle": ("-", "--", ":", "-.")[place], "label": name}
        axes[0].step(at, sparsities, where="pre", **style)
        axes[1].plot(at, accuracies, **style)
    axes[0].set(title="sparsity", xlabel="steps", ylim=(0, 1.02))
    axes[1].set(title="validation accuracy", xlabel="steps", ylim=(0, 1.02))
    axes[1].legend(fontsize=8, frameon=False)
    return figure


def checked_curves(curves: object) -> int:
    """Return the last step if these are one to four curves over the same steps, else raise a CourseError."""
    wanted = "Expected name -> [(steps done, sparsity, accuracy), …], one to four curves that all end at the same step."
    if not isinstance(curves, Mapping) or not 1 <= len(curves) <= 4:
        raise CourseError(f"You passed {type(curves).__name__} as curves, not one to four named ones. {wanted}")
    for name, curve in curves.items():
        if len(curve) < 2 or any(len(p) != 3 or not all(isinstance(v, Real) for v in p) for p in curve):
            raise CourseError(f"The curve {name!r} has no two points of three numbers. {wanted}")
        at = [point[0] for point in curve]
        if at[0] != 0 or at != sorted(set(at)) or not all(0 <= v <= 1 for point in curve for v in point[1:]):
            raise CourseError(f"The curve {name!r} must rise from step 0, with fractions from 0 to 1. {wanted}")
    ends = {curve[-1][0] for curve in curves.values()}
    if len(ends) > 1:
        raise CourseError(f"The curves end at different steps: {sorted(ends)}. {wanted}")
    return ends.pop()
