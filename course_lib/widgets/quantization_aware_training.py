"""The staircase and the slope that training pretends it has, beside what networks gain by it. Lesson 10."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from course_lib.errors import CourseError, require_choice
from course_lib.quantization.quantizers import LearnedQuantizer, WeightQuantizer
from course_lib.viz import BLUE, GREY, ORANGE
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, hatch, label, line

__all__ = ["staircase_slope"]

REACH = 1.8  # how far the staircase is drawn, in ranges of the grid
LEFT, TOP, SIDE = 40, 36, 236  # of the staircase, in the drawing's units
FLOOR, BINS = TOP + SIDE + 68, 36  # where the histogram of weights stands, and its bars
RIGHT, WIDTH, HEIGHT = 352, 276, 236  # of the bars of accuracy
KINDS = WeightQuantizer | LearnedQuantizer
ENDS = {-1: "−1", 1: "+1"}
TRAINED, ROUNDED = "trained on the grid", "rounded afterwards"


@dataclass(frozen=True)
class Measured:
    """What is known at one number of bits: two accuracies, and where weights lie, in ranges of their grids (n,)."""

    rounded: float
    trained: float
    weights: Tensor


def staircase_slope(
    rounded: Mapping[int, nn.Module],
    trained: Mapping[int, nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    question: Question | None = None,
) -> LessonWidget:
    """Move a weight along the staircase of its grid, and see the slope that is true and the one that training uses.

    Args:
        rounded: bits -> a network that was rounded after training.
        trained: bits -> one that was trained on the grid, from `prepare`; the same numbers of bits.
        x, y: images (n, channels, height, width) and labels (n,), on which both are judged now.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `bits` and `at`, the weight in ranges of the grid.

    Raises:
        CourseError: different numbers of bits, no images, or a network that `prepare` did not make.

    >>> from course_lib.quantization.qat import prepare
    >>> net = prepare(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), weight_bits=2, activation_bits=None)
    >>> images, labels = torch.rand(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64)
    >>> widget = staircase_slope({2: net}, {2: net}, images, labels)
    >>> widget.at.value = 0.7
    >>> widget.alt.split("; ")[0]
    '2 bits, weight at 0.70 of the range: code 1, output 1.00'

    Bengio, Léonard & Courville 2013. Lesson 10.
    """
    if not rounded or set(rounded) != set(trained):
        raise CourseError(f"Both need the same numbers of bits, but you passed {list(rounded)} and {list(trained)}.")
    if len(x) == 0 or len(x) != len(y):
        raise CourseError(f"Each image needs its label, but you passed {len(x)} images and {len(y)} labels.")
    measured = {
        bits: Measured(accuracy(rounded[bits], x, y), accuracy(trained[bits], x, y), weights_on(trained[bits]))
        for bits in sorted(rounded, reverse=True)
    }
    few = min(measured)
    controls = {
        "bits": ipywidgets.SelectionSlider(options=list(measured), value=few, description="bits"),
        "at": ipywidgets.FloatSlider(0.4, min=-REACH, max=REACH, step=0.01, description="weight x"),
    }
    return LessonWidget(
        "The staircase, and the slope that training uses",
        controls=controls,
        paint=partial(paint, measured),
        presets={
            "Just below an edge": {"bits": few, "at": round(0.5 / top_code(few) - 0.01, 2)},
            "Just above it": {"bits": few, "at": round(0.5 / top_code(few) + 0.01, 2)},
            "Beyond the grid": {"bits": few, "at": 1.7},
            f"{max(measured)} bits": {"bits": max(measured), "at": 0.4},
        },
        question=question,
        static=lambda: still(measured),
    )


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right answers in eval mode; the network itself is left as it is."""
    return (copy.deepcopy(network).eval()(x).argmax(dim=1) == y).float().mean().item()


@torch.no_grad()
def weights_on(network: nn.Module) -> Tensor:
    """All float weights of the largest layer in ranges of its grid, which ends at ±1, (n,)."""
    layers = [layer for layer in network.modules() if isinstance(getattr(layer, "weight_quantizer", None), KINDS)]
    if not layers:
        raise CourseError("There is no weight on a grid. Pass networks that prepare(model, ...) returned.")
    layer = max(layers, key=lambda layer: layer.weight.numel())
    quantizer = layer.weight_quantizer
    learned = isinstance(quantizer, LearnedQuantizer)
    scale = quantizer.scale.abs() if learned else quantizer.qparams(layer.weight).of(layer.weight)[0]
    return (layer.weight / (scale * top_code(quantizer.bits))).flatten()


def top_code(bits: int) -> int:
    """The largest code of a symmetric grid."""
    return 2 ** (bits - 1) - 1


def on_stairs(at: float, bits: int) -> tuple[int, bool]:
    """The code of a weight, and whether it lies on the grid without being clipped.

    >>> on_stairs(0.4, 2), on_stairs(1.4, 2), on_stairs(1.6, 2)
    ((0, True), (1, True), (1, False))
    """
    top, step = top_code(bits), round(at * top_code(bits))
    return min(max(step, -top), top), -top <= step <= top


def paint(measured: Mapping[int, Measured], bits: int, at: float) -> View:
    """Draw the staircase with the weight on it, the learner's weights below, and the accuracies beside."""
    require_choice("bits", bits, measured)
    code, inside = on_stairs(at, bits)
    top, now = top_code(bits), measured[bits]
    out, slope = code / top, int(inside)
    formula = (
        f"{bits} bits, codes −{top} … {top}: x = {at:.2f} of the range → code <b>{code}</b> → output <b>{out:.2f}</b><br>"
        f"true slope <b>0</b>, straight-through slope <b>{slope}</b>{'' if inside else ' (clipped)'}<br>"
        f"accuracy now: {ROUNDED} <b>{now.rounded:.1%}</b>, {TRAINED} <b>{now.trained:.1%}</b>"
    )
    alt = (
        f"{bits} bits, weight at {at:.2f} of the range: code {code}, output {out:.2f}; true slope 0, straight-through "
        f"slope {slope}. Accuracy {ROUNDED} {now.rounded:.1%}, {TRAINED} {now.trained:.1%}."
    )
    shapes = [axes(), stairs(bits), marker(at, out, slope), histogram(now.weights, bits), accuracy_bars(measured, bits)]
    return View(formula, alt, svg="".join(shapes), size=(640, FLOOR + 24))


def across(value: float) -> float:
    """The place of a weight on the drawing."""
    return LEFT + SIDE * (value + REACH) / (2 * REACH)


def upward(value: float) -> float:
    """The height of an output on the drawing."""
    return TOP + SIDE * (REACH - value) / (2 * REACH)


def axes() -> str:
    """Draw the axes through zero, with the ends of the range."""
    shapes = [
        label(LEFT, 20, "output of the grid", style="font-weight:600"),
        line(across(-REACH), upward(0), across(REACH), upward(0), opacity=0.35),
        line(across(0), upward(-REACH), across(0), upward(REACH), opacity=0.35),
    ]
    for end, name in ENDS.items():
        shapes += [
            label(across(end), upward(0) + 15, name, anchor="middle", size=11),
            label(across(0) - 6, upward(end) + 4, name, anchor="end", size=11),
            line(across(end), upward(0) - 3, across(end), upward(0) + 3),
        ]
    return "".join(shapes)


def stairs(bits: int) -> str:
    """Draw the staircase, and the dashed line whose slope stands in for it."""
    top = top_code(bits)
    drawn = f"M{across(-REACH):.4g} {upward(-1):.4g}"
    for code in range(-top, top):
        drawn += f"H{across((code + 0.5) / top):.5g}V{upward((code + 1) / top):.5g}"
    end = (top + 0.5) / top
    pretended = f"M{across(-REACH):.4g} {upward(-end):.4g}H{across(-end):.4g}L{across(end):.4g} {upward(end):.4g}"
    pretended += f"H{across(REACH):.4g}"
    return (
        f'<path d="{pretended}" fill="none" stroke="{ORANGE}" stroke-width="1.6" stroke-dasharray="6 4"/>'
        f'<path d="{drawn}H{across(REACH):.4g}" fill="none" stroke="{BLUE}" stroke-width="2.2"/>'
    )


def marker(at: float, out: float, slope: int) -> str:
    """Draw the weight on the staircase, and through it the slope that training uses."""
    x, y, arm = across(at), upward(out), 26
    return (
        line(x, y, x, FLOOR, opacity=0.4)
        + f'<path d="M{x - arm:.4g} {y + slope * arm:.4g}l{2 * arm} {-2 * slope * arm}" stroke="{ORANGE}" stroke-width="4"/>'
        + f'<circle cx="{x:.5g}" cy="{y:.5g}" r="5.5" fill="{BLUE}" stroke="currentColor"/>'
    )


def histogram(weights: Tensor, bits: int) -> str:
    """Draw where the float weights lie, and the edges at which their codes change (up to 4 bits)."""
    counts = torch.histc(weights.clamp(-REACH, REACH), BINS, min=-REACH, max=REACH)
    shapes = [label(LEFT, TOP + SIDE + 18, "your float weights, and the edges between codes", size=11)]
    for place, high in enumerate((40 * counts / counts.max()).tolist()):
        shapes.append(bar(LEFT + place * SIDE / BINS, FLOOR - high, SIDE / BINS - 1, high, fill=GREY))
    top = top_code(bits)
    edges = [(code + 0.5) / top for code in range(-top, top)] if bits <= 4 else []
    shapes += [line(across(edge), FLOOR - 42, across(edge), FLOOR, width=1.2) for edge in edges]
    shapes += [label(across(end), FLOOR + 15, name, anchor="middle", size=11) for end, name in ENDS.items()]
    return "".join(shapes) + line(LEFT, FLOOR, LEFT + SIDE, FLOOR)


def accuracy_bars(measured: Mapping[int, Measured], bits: int) -> str:
    """Draw two bars for each number of bits; those of the chosen one are strong."""
    shapes = [f"<defs>{hatch('rounded-afterwards', ORANGE)}</defs>"]
    shapes.append(label(RIGHT, 20, "accuracy on your images, now", style="font-weight:600"))
    step, base = WIDTH / len(measured), TOP + HEIGHT
    for place, (number, found) in enumerate(measured.items()):
        x, wide, faint = RIGHT + place * step + 4, (step - 12) / 2, "" if number == bits else 'opacity="0.45"'
        for side, share in enumerate((found.rounded, found.trained)):
            high, fill = (HEIGHT - 16) * share, ("url(#rounded-afterwards)", BLUE)[side]
            shapes += [
                bar(x + side * wide, base - high, wide - 2, high, fill=fill, outline=(ORANGE, BLUE)[side], extra=faint),
                label(x + (side + 0.5) * wide - 1, base - high - 5, f"{100 * share:.0f}", anchor="middle", size=11),
            ]
        style = "" if faint else "font-weight:600"
        shapes.append(label(x + wide, base + 17, f"{number} bits", anchor="middle", size=12, style=style))
    for place, (name, fill, edge) in enumerate(((ROUNDED, "url(#rounded-afterwards)", ORANGE), (TRAINED, BLUE, BLUE))):
        shapes.append(bar(RIGHT + 4, base + 36 + 20 * place, 22, 12, fill=fill, outline=edge))
        shapes.append(label(RIGHT + 34, base + 47 + 20 * place, name, size=12))
    return "".join(shapes) + line(RIGHT, base, RIGHT + WIDTH, base)


def still(measured: Mapping[int, Measured]) -> Figure:
    """Draw the accuracies, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    plot = figure.subplots()
    places = torch.arange(len(measured))
    rounded, trained = zip(*((found.rounded, found.trained) for found in measured.values()), strict=True)
    plot.bar(places - 0.2, rounded, 0.38, label=ROUNDED, color=ORANGE, hatch="//")
    plot.bar(places + 0.2, trained, 0.38, label=TRAINED, color=BLUE)
    plot.set_xticks(places, [f"{bits} bits" for bits in measured])
    plot.set(ylabel="validation accuracy", ylim=(0, 1.02))
    plot.legend(fontsize=8, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
