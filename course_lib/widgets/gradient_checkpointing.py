"""What lives when: one training step of a chain of layers, traced while it really runs. Lesson 13."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from math import ceil

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.memory import checkpoint_sequential, keep_or_drop, run_plan, run_revolve
from course_lib.memory.checkpointing import best_segments
from course_lib.memory.schedules import forward_steps
from course_lib.viz import BLUE, ORANGE, PINK
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, hatch, label, line
from course_lib.widgets.trace import Trace, traced

__all__ = ["step_timeline"]

KINDS = ("segments", "revolve", "keep or drop")
LEFT, TOP, WIDTH, ROWS, CURVE, GAP = 58, 26, 572, 208, 90, 40  # in the drawing's units
BASE = TOP + ROWS + GAP + CURVE


def step_timeline(layers: nn.Sequential, x: Tensor) -> LessonWidget:
    """Choose a schedule, run a training step by it, and see which activations were alive when.

    Every setting really runs forward and backward, on copies of the layers; pieces of memory are followed from their
    making to their end.

    Args:
        layers: 4 to 32 of them, called one after the other.
        x: the first one's input, a batch.

    Returns:
        the widget; its controls are `kind`, `amount` (segments or slots) and `moment` (percent of the step).

    Raises:
        CourseError: too few or too many layers.

    >>> chain = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(9)))
    >>> widget = step_timeline(chain, Tensor(16, 8).normal_())
    >>> widget.set(kind="segments", amount=3)
    >>> widget.alt.split(":")[0]
    'One training step of 9 layers by segments 3'

    Lesson 13.
    """
    n = len(layers)
    if not 4 <= n <= 32:
        raise CourseError(
            f"The timeline shows chains of 4 to 32 layers, but you passed {n}. Pass a slice, layers[:16]."
        )
    run = cache(partial(trace_of, copy.deepcopy(layers), x.detach()))
    root = best_segments(n)
    controls = {
        "kind": ipywidgets.ToggleButtons(options=KINDS, value="segments", description="schedule"),
        "amount": ipywidgets.IntSlider(1, min=1, max=n, description="how many"),
        "moment": ipywidgets.IntSlider(100, min=0, max=100, description="look at, %"),
    }
    controls["moment"].value = run("segments", 1).peak_percent
    return LessonWidget(
        "Which activations live when?",
        controls=controls,
        paint=partial(paint, run, n),
        presets={
            "Plain": {"kind": "segments", "amount": 1, "moment": run("segments", 1).peak_percent},
            "√n segments": {"kind": "segments", "amount": root, "moment": run("segments", root).peak_percent},
            "A segment a layer": {"kind": "segments", "amount": n, "moment": run("segments", n).peak_percent},
            "Revolve, 3 slots": {"kind": "revolve", "amount": 3},
            "Keep or drop, √n slots": {"kind": "keep or drop", "amount": root},
        },
        question=asked(run, n, root),
        static=lambda: still(run, n, root),
    )


def asked(run: Callable[[str, int], Trace], n: int, root: int) -> Question:
    """Ask for the number of segments that needs least, measured just now."""
    choices = sorted({2, root, n})
    peaks = {k: run("segments", k).peak for k in choices}
    best = min(peaks, key=peaks.get)
    said = ", ".join(f"{k} segments {peaks[k]:.1f}" for k in choices)
    return Question(
        f"{n} layers. Which needs the least memory at the peak of a training step?",
        answer=f"{best} segments",
        choices=tuple(f"{k} segments" for k in choices),
        why=f"Peaks, in activations: {said}; plain {run('segments', 1).peak:.1f}.",
    )


def trace_of(layers: nn.Sequential, x: Tensor, kind: str, amount: int) -> Trace:
    """Run one step by a schedule."""
    ways = {
        "segments": lambda chain: checkpoint_sequential(chain, x, segments=amount),
        "revolve": lambda chain: run_revolve(chain, x, slots=amount),
        "keep or drop": lambda chain: run_plan(chain, x, keep_or_drop(len(chain), amount)),
    }
    return traced(layers, ways[kind], unit=x.numel() * x.element_size())


def paint(run: Callable[[str, int], Trace], n: int, kind: str, amount: int, moment: int) -> View:
    """Draw a row for each layer, and below it the memory in all."""
    trace, plain = run(kind, amount), run("segments", 1)
    now = round(moment * (len(trace.events) - 1) / 100)
    at = x_of(now + 0.5, trace)
    shapes = [hatch("graph", ORANGE), legend(), rows_of(trace, n), path_of(trace, n)]
    shapes += [curve_of(trace, plain.peak), line(at, TOP, at, BASE, width=1.5, opacity=0.6)]
    return View(
        formula(trace, plain, n, kind, amount, now),
        f"One training step of {n} layers by {kind} {amount}: {trace.runs} layer runs forward, {n} backward; peak "
        f"{trace.peak:.1f} activations (plain {plain.peak:.1f}). At {moment} %: {what_happens(trace, now)}",
        svg="".join(shapes),
        size=(640, BASE + 30),
    )


def formula(trace: Trace, plain: Trace, n: int, kind: str, amount: int, now: int) -> str:
    """Write what the schedule promises, what was measured, and what happens now."""
    if kind == "segments":
        inside, longest = round(plain.peak / n), ceil(n / amount)  # activations that one layer keeps
        times = "" if inside == 1 else f"{inside} · "
        kept = amount + inside * longest
        promise = f"k + {times}⌈n/k⌉ = {amount} + {times}{longest} = {kept} activations kept"
    elif kind == "revolve":
        promise = f"room for {amount} state{'s' * (amount > 1)}; steps without a graph: {forward_steps(n, amount)}, with one: {n}"
    else:
        promise = f"room for {amount} activation{'s' * (amount > 1)}, and a gradient for each checkpoint inside another"
    return (
        f"{promise}<br>measured: peak <b>{trace.peak:.1f}</b> activations (plain {plain.peak:.1f}), "
        f"layer runs forward <b>{trace.runs}</b> (plain {plain.runs})<br>at the line: {what_happens(trace, now)}"
    )


def what_happens(trace: Trace, now: int) -> str:
    """Say which layer is at work, and how much is alive."""
    doing, layer = trace.events[now]
    verb = {"run": "runs without a graph", "record": "runs with a graph", "back": "goes backward"}[doing]
    return f"layer {layer + 1} {verb}, {trace.live[now]:.1f} activations alive."


def x_of(event: float, trace: Trace) -> float:
    """The place of an event on the time axis."""
    return LEFT + WIDTH * event / len(trace.events)


def rows_of(trace: Trace, n: int) -> str:
    """Draw for each layer, first at the top, what of its making is alive: the higher the bar, the more."""
    height, most = ROWS / n, max([held for _, _, _, held, _ in trace.bars], default=1.0)
    shapes = [label(LEFT - 6, TOP + ROWS * (k + 0.5) / n + 4, str(k + 1), anchor="end", size=11) for k in marked(n)]
    shapes.append(label(4, TOP - 10, "layer", size=11))
    for layer, start, end, held, graph in trace.bars:
        tall = 0.88 * height * held / most
        y, fill = TOP + height * (layer + 1) - tall, "url(#graph)" if graph else BLUE
        left, right = x_of(start, trace), x_of(end, trace)
        shapes.append(bar(left, y, right - left, tall, fill=fill, outline=ORANGE if graph else BLUE))
    return "".join(shapes)


def marked(n: int) -> list[int]:
    """Which rows carry a number."""
    return sorted({0, n // 4, n // 2, 3 * n // 4, n - 1})


def path_of(trace: Trace, n: int) -> str:
    """Draw where the computation stands: ink for a run forward, a pink square for a step back."""
    steps = {"there": [], "back": []}
    side = min(5.0, WIDTH / len(trace.events))
    for event, (doing, layer) in enumerate(trace.events):
        x, y = x_of(event + 0.5, trace) - side / 2, TOP + ROWS * (layer + 0.5) / n - side / 2
        steps["back" if doing == "back" else "there"].append(f"M{x:.5g} {y:.5g}h{side:.3g}v{side:.3g}h-{side:.3g}z")
    there = f'<path d="{"".join(steps["there"])}" fill="currentColor"/>'
    return there + f'<path d="{"".join(steps["back"])}" fill="{PINK}" stroke="currentColor" stroke-width="0.6"/>'


def curve_of(trace: Trace, top: float) -> str:
    """Draw the memory that is alive, event by event, on the scale of the plain step."""
    top = max(top, trace.peak)
    y_of = lambda value: BASE - CURVE * value / top
    drawn = "".join(f"V{y_of(live):.5g}H{x_of(event + 1, trace):.5g}" for event, live in enumerate(trace.live))
    marks = [label(LEFT - 6, y_of(v) + 4, f"{v:.0f}", anchor="end", size=11) for v in (0, top)]
    if 0.15 < trace.peak / top < 0.85:
        marks.append(label(LEFT - 6, y_of(trace.peak) + 4, f"{trace.peak:.0f}", anchor="end", size=11))
    return (
        f'<path d="M{LEFT} {BASE}{drawn}V{BASE}z" fill="currentColor" fill-opacity="0.15" stroke="currentColor"/>'
        + line(LEFT, y_of(trace.peak), LEFT + WIDTH, y_of(trace.peak), opacity=0.5)
        + label(LEFT, BASE - CURVE - 12, "activations alive, in all (the peak is marked; the scale is the plain step's)", size=11)
        + label(LEFT + WIDTH, BASE + 16, f"time: {len(trace.events)} runs of a layer, forward or backward", anchor="end", size=11)
        + "".join(marks)
    )  # fmt: skip


def legend() -> str:
    """What the colours mean."""
    return (
        bar(60, 6, 14, 10, fill=BLUE) + label(79, 15, "alive without a graph", size=11)
        + bar(224, 6, 14, 10, fill="url(#graph)", outline=ORANGE) + label(243, 15, "kept in the graph", size=11)
        + bar(362, 8, 6, 6, fill="currentColor") + label(373, 15, "runs forward", size=11)
        + bar(466, 8, 6, 6, fill=PINK, outline="currentColor") + label(477, 15, "goes backward", size=11)
    )  # fmt: skip


def still(run: Callable[[str, int], Trace], n: int, root: int) -> Figure:
    """Draw three schedules, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    shown = (("plain", "segments", 1), (f"{root} segments", "segments", root), ("revolve, 3 slots", "revolve", 3))
    for place, (title, kind, amount) in zip(axes, shown, strict=True):
        trace = run(kind, amount)
        for layer, start, end, _, graph in trace.bars:
            place.barh(layer + 1, end - start, left=start, color=ORANGE if graph else BLUE, height=0.7)
        place.set_title(f"{title}: peak {trace.peak:.0f}", fontsize=9)
        place.set(xlabel="runs of a layer", ylim=(n + 0.7, 0.3))
    axes[0].set_ylabel("layer")
    return figure
