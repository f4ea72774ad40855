"""Build a block of grouped kernels and 1×1 mixes: parameters, MACs and milliseconds beside a convolution. Lesson 15."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count as numbers
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.measure.clock import timed_ms
from course_lib.viz import BLUE, GREEN, GREY, ORANGE, new_figure
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, hatch, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["block_builder"]

CHANNELS, KERNELS, EXPANSIONS = (16, 32, 64, 128), (1, 3, 5), (1, 2, 4)
GROUPS = [("1", 1), ("2", 2), ("4", 4), ("8", 8), ("16", 16), ("each channel", 0)]
COLOURS = {"expand 1×1": GREEN, "filter": BLUE, "mix 1×1": ORANGE}
WORK, BUDGET_MS, ROUNDS = 40e6, 35.0, 9  # MACs of one call at most, time for measuring, rounds at most
NUMBERS = numbers()  # one for each widget
LEFT, WIDTH, ROW, BAR = 96, 400, 74, 24  # of the drawing


@dataclass(frozen=True)
class Part:
    """One convolution of a block: its name, its weight (outputs, inputs / groups, k, k), and its groups."""

    name: str
    weight: Tensor
    groups: int = 1

    @property
    def inputs(self) -> int:
        """How many channels it reads."""
        return self.weight.shape[1] * self.groups

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve; the picture keeps its size."""
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2, groups=self.groups)


def block_builder(images: Tensor, *, question: bool = True) -> LessonWidget:
    """Build a block from channels, kernel, groups and expansion, and see what it costs beside a standard convolution.

    Times are measured anew at each change, on your images repeated over the channels; part by part, in turns.

    Args:
        images: (n, c, h, w), of 4 to 32 pixels a side.
        question: ask for a bet first.

    Returns:
        the widget; its controls are `channels`, `kernel`, `groups` (0: one for each channel) and `expansion`.

    Raises:
        CourseError: `images` is no such tensor.

    >>> widget = block_builder(torch.rand(2, 1, 8, 8), question=False)
    >>> widget.set(channels=64, kernel=3, groups=0, expansion=1)
    >>> widget.formula.value.split("<br>")[0]
    'block / standard = 1/N + 1/k² = 1/64 + 1/9 = <b>12.7 %</b> of the MACs'

    Howard et al. 2017. Lesson 15.
    """
    images = checked_images(images)
    slider = ipywidgets.SelectionSlider
    controls = {
        "channels": slider(options=CHANNELS, value=64, description="channels"),
        "kernel": slider(options=KERNELS, value=3, description="kernel"),
        "groups": slider(options=GROUPS, value=1, description="groups"),
        "expansion": slider(options=EXPANSIONS, value=1, description="expansion"),
    }
    return LessonWidget(
        "Build a block: what does it cost beside a standard convolution?",
        controls=controls,
        paint=partial(paint, images, f"sn-mix-{next(NUMBERS)}"),
        presets={
            "Standard": {"kernel": 3, "groups": 1, "expansion": 1},
            "In 8 groups": {"kernel": 3, "groups": 8, "expansion": 1},
            "Separable": {"kernel": 3, "groups": 0, "expansion": 1},
            "Separable, 5×5": {"kernel": 5, "groups": 0, "expansion": 1},
            "Inverted residual": {"kernel": 3, "groups": 0, "expansion": 4},
        },
        question=asked(images) if question else None,
        static=lambda: still(images),
    )


def parts_of(channels: int, kernel: int, groups: int, expansion: int) -> list[Part]:
    """The convolutions of a block; one group without expansion is the standard convolution itself.

    >>> [part.name for part in parts_of(8, 3, 0, 2)]
    ['expand 1×1', 'filter', 'mix 1×1']
    """
    middle = channels * expansion
    groups = groups or middle
    filtering = Part("filter", torch.zeros(middle, middle // groups, kernel, kernel), groups)
    expand = [Part("expand 1×1", torch.zeros(middle, channels, 1, 1))] if expansion > 1 else []
    mix = [Part("mix 1×1", torch.zeros(channels, middle, 1, 1))] if groups > 1 or expansion > 1 else []
    return [*expand, filtering, *mix]


def spread(images: Tensor, channels: int, macs: float) -> Tensor:
    """The images over many channels, and as many of them as the work allows."""
    positions = images.shape[2] * images.shape[3]
    n = int(max(1, min(len(images), 8, WORK // (macs * positions))))
    one = images[:n].flatten(0, 1)
    return one[torch.arange(n * channels) % len(one)].view(n, channels, *images.shape[2:])


def measured(images: Tensor, parts: list[Part]) -> list[float]:
    """Median milliseconds of each part; all take turns, for as many rounds as the time for it allows."""
    macs = max(part.weight.numel() for part in parts)
    inputs = {width: spread(images, width, macs) for width in {part.inputs for part in parts}}
    calls = [partial(part, inputs[part.inputs]) for part in parts]
    start, rounds = time.perf_counter(), []
    while len(rounds) < 2 or (len(rounds) <= ROUNDS and 1000 * (time.perf_counter() - start) < BUDGET_MS):
        rounds.append([timed_ms(call, time.perf_counter) for call in calls])
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]  # the first round warms up


def costs(images: Tensor, channels: int, kernel: int, groups: int, expansion: int) -> dict[str, dict[str, list]]:
    """Row -> {"standard": [number], "block": [one number a part]}."""
    parts = parts_of(channels, kernel, groups, expansion)
    standard = Part("standard", torch.zeros(channels, channels, kernel, kernel))
    times = measured(images, [standard, *parts])
    weights = [part.weight.numel() for part in (standard, *parts)]
    positions = images.shape[2] * images.shape[3]
    rows = {"parameters": weights, "MACs": [n * positions for n in weights], "time": times}
    return {name: {"standard": values[:1], "block": values[1:]} for name, values in rows.items()}


def paint(images: Tensor, mesh: str, channels: int, kernel: int, groups: int, expansion: int) -> View:
    """Draw three pairs of bars: the standard convolution, and the block part by part."""
    parts = parts_of(channels, kernel, groups, expansion)
    found = costs(images, channels, kernel, groups, expansion)
    names = [part.name for part in parts]
    shapes = [f"<defs>{hatch(mesh, '#ffffff')}</defs>", *legend(names, mesh)]
    for place, (row, values) in enumerate(found.items()):
        shapes.append(pair(42 + ROW * place, row, values, names, mesh))
    share = {row: sum(values["block"]) / values["standard"][0] for row, values in found.items()}
    ms = {name: f"{sum(values):.3g} ms" for name, values in found["time"].items()}
    whole = found["time"]["standard"][0]
    told = [f"{name} {100 * t / whole:.0f} %" for name, t in zip(names, found["time"]["block"], strict=True)]
    said = (
        f"{formula(channels, kernel, groups, expansion, share['MACs'])}<br>time {ms['block']} of {ms['standard']} = "
        f"<b>{100 * share['time']:.0f} %</b>, by part: {', '.join(told)}"
    )
    alt = (
        f"A block of {' and '.join(names)} beside a standard {kernel}×{kernel} convolution of {channels} channels: "
        f"{100 * share['MACs']:.1f} % of its weights and MACs, {100 * share['time']:.0f} % of its time."
    )
    return View(said, alt, svg="".join(shapes), size=(640, 42 + ROW * 3))


def formula(channels: int, kernel: int, groups: int, expansion: int, share: float) -> str:
    """What share of the MACs the block takes, with its numbers."""
    e, middle = expansion, channels * expansion
    says = f"<b>{100 * share:.1f} %</b> of the MACs"
    if groups == 1 and e == 1:
        return f"block / standard = {says}: it is the standard convolution"
    if groups == 0 and e == 1:
        return f"block / standard = 1/N + 1/k² = 1/{channels} + 1/{kernel**2} = {says}"
    filtering = f"{e}²/{groups or middle}" if e > 1 else f"1/{groups}"
    mixing = f"{2 * e if e > 1 else 1}/{kernel**2}"
    return f"block / standard = filter + 1×1 = {filtering} + {mixing} = {says}"


def pair(y: float, row: str, values: Mapping[str, list], names: list[str], mesh: str) -> str:
    """Draw one row: the standard bar, and the block's parts end to end, on one scale."""
    scale = WIDTH / max(sum(numbers) for numbers in values.values())
    write = (lambda value: f"{value:.3g} ms") if row == "time" else (lambda value: f"{value:,}")
    standard, total = values["standard"][0], sum(values["block"])
    shapes = [label(LEFT - 8, y + 32, row, anchor="end", style="font-weight:600")]
    shapes += [bar(LEFT, y, standard * scale, BAR, fill=GREY)]
    shapes += [label(LEFT + standard * scale + 6, y + 17, write(standard), size=12)]
    x = LEFT
    for name, value in zip(names, values["block"], strict=True):
        shapes.append(filled(x, y + BAR + 4, value * scale, name, mesh))
        x += value * scale
    end = f"{write(total)} ({100 * total / standard:.1f} %)"
    return "".join([*shapes, label(x + 6, y + BAR + 21, end, size=12)])


def filled(x: float, y: float, width: float, name: str, mesh: str, height: float = BAR) -> str:
    """Draw one part in its colour; what mixes is hatched too."""
    over = bar(x, y, width, height, fill=f"url(#{mesh})") if name != "filter" else ""
    return bar(x, y, width, height, fill=COLOURS[name]) + over


def legend(names: list[str], mesh: str) -> list[str]:
    """Say which colour is what."""
    shapes = [bar(LEFT, 8, 16, 14, fill=GREY), label(LEFT + 22, 20, "standard", size=12)]
    for place, name in enumerate(names, start=1):
        x = LEFT + 120 * place
        shapes += [filled(x, 8, 16, name, mesh, 14), label(x + 22, 20, name, size=12)]
    return shapes


def asked(images: Tensor) -> Question:
    """The bet: what share of the time is left of a standard convolution."""
    found = costs(images, 64, 3, 0, 1)
    share = {row: sum(values["block"]) / values["standard"][0] for row, values in found.items()}
    text = f"64 channels, 3×3: from standard to separable, {share['MACs']:.0%} of the MACs are left. What share of the time?"
    why = "The depthwise part has hardly any MACs, but it is not free."
    return Question(text, answer=min(share["time"], 2.0), scale=(0.0, 2.0, 0.01), why=why)


def still(images: Tensor) -> Figure:
    """Draw the separable block beside the standard convolution, for places where no widget runs."""
    found = costs(images, 64, 3, 0, 1)
    figure, (axes,) = new_figure(size=(6.4, 2.6))
    for place, values in enumerate(found.values()):
        whole, start = values["standard"][0], 0.0
        axes.barh(place - 0.2, 100, 0.38, color=GREY, label="standard" if place == 0 else None)
        for (name, colour), value in zip(list(COLOURS.items())[1:], values["block"], strict=True):
            share = 100 * value / whole
            style = {"color": colour, "hatch": "" if name == "filter" else "//", "edgecolor": "white"}
            axes.barh(place + 0.2, share, 0.38, left=start, label=name if place == 0 else None, **style)
            start += share
    axes.set_yticks(range(3), list(found))
    axes.invert_yaxis()
    axes.set(xlabel="% of the standard convolution (64 channels, 3×3)")
    axes.legend(fontsize=8, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def checked_images(images: object) -> Tensor:
    """The images, if these are some, else a CourseError."""
    right = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point() and len(images) > 0
    if not right or not all(4 <= side <= 32 for side in images.shape[2:]):
        got = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise CourseError(
            f"Expected images (n, channels, height, width) of 4 to 32 pixels a side, as floats, but you passed {got}.\n"
            "Pass such as load('digits').validation.x."
        )
    return images.detach()
