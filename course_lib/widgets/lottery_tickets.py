"""Climb down the ladder of rounds: what a ticket keeps, and how it, its reinitialised twin and the dense network learn.

Lesson 05.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.pruning.lottery import Round
from course_lib.viz import BLUE, GREY, ORANGE
from course_lib.widgets.frame import LessonWidget, View
from course_lib.widgets.svg import bar, label, line

__all__ = ["ticket_ladder"]

KINDS = {"dense": (GREY, "2 3"), "ticket": (BLUE, ""), "reinit": (ORANGE, "7 4")}  # colour and dashes
LEFT, TOP, WIDTH, HEIGHT = 52, 34, 330, 210  # of the curves' panel, in the drawing's units
PIXELS_LEFT, PIXELS = 424, 192  # of the picture of the first layer
SHOWN = {"validation loss": "loss", "validation accuracy": "accuracy"}


def ticket_ladder(
    rounds: Sequence[Round], reinitialised: Mapping[int, object], *, image: Sequence[int], level: float = 0.5
) -> LessonWidget:
    """Scrub through the rounds of a search for tickets, and compare what was measured in each.

    Args:
        rounds: of `find_tickets`; each `result` has `steps` (m,), and `loss` and `accuracy`, (trials, m) tensors.
        reinitialised: round -> the same curves for its masks with new random values; the slider stops at these.
        image: (height, width) of the pictures the networks see, which feed the first layer.
        level: the validation loss whose first step is told.

    Returns:
        the widget; its controls are `round`, `trial` and `show`.

    Raises:
        CourseError: no such rounds, curves or image.

    >>> import torch
    >>> from types import SimpleNamespace as Curves
    >>> curves = Curves(steps=[0, 5], loss=torch.tensor([[2.0, 0.4]]), accuracy=torch.tensor([[0.1, 0.9]]))
    >>> one, half = [{"w": torch.ones(3, 4) > 0}], [{"w": torch.ones(3, 4).tril() > 0}]
    >>> widget = ticket_ladder([Round(1.0, one, [], curves), Round(0.5, half, [], curves)], {1: curves}, image=(2, 2))
    >>> widget.alt
    'Round 1, 50.0 % of the weights left. Steps to a validation loss of 0.5: dense 5, ticket 5, reinit 5. Final ...'

    Frankle & Carbin 2019. Lesson 05.
    """
    stops, n_trials = checked(rounds, reinitialised, image)
    controls = {
        "round": ipywidgets.SelectionSlider(
            options=[(f"{100 * rounds[k].density:.1f} %", k) for k in stops], value=stops[0], description="weights left"
        ),
        "trial": ipywidgets.IntSlider(0, min=0, max=n_trials - 1, description="trial"),
        "show": ipywidgets.ToggleButtons(options=list(SHOWN), description="show"),
    }
    middle = stops[len(stops) // 2]
    return LessonWidget(
        "Down the ladder: fewer weights in every round",
        controls=controls,
        paint=partial(paint, rounds, reinitialised, tuple(image), level),
        presets={
            "One round": {"round": stops[0]},
            "Half way down": {"round": middle},
            "At the bottom": {"round": stops[-1]},
            "Before the first step": {"round": middle, "show": "validation accuracy"},
        },
        static=lambda: still(rounds, reinitialised, stops[-1]),
    )


def paint(
    rounds: Sequence[Round], reinitialised: Mapping[int, object], image: tuple[int, int], level: float,
    round: int, trial: int, show: str,  # noqa: A002
) -> View:  # fmt: skip
    """Draw the learning curves to the left, and what the first layer keeps of every pixel to the right."""
    found = {"dense": rounds[0].result, "ticket": rounds[round].result, "reinit": reinitialised[round]}
    lines = {name: getattr(curves, SHOWN[show])[trial].tolist() for name, curves in found.items()}
    steps = [float(step) for step in rounds[0].result.steps]
    top = 1.0 if show == "validation accuracy" else max(max(values) for values in lines.values())
    shapes = [panel(show, steps[-1], top)]
    for place, (name, values) in enumerate(lines.items()):
        shapes += [path(steps, values, top, name), legend(place, name)]
    mask = next(iter(rounds[round].masks[trial].values()))
    shapes.append(pixels(mask, image))
    reached = {name: first_step(curves, trial, level) for name, curves in found.items()}
    told = ", ".join(f"{name} {step}" for name, step in reached.items())
    ends = ", ".join(f"{name} {values[-1]:.3g}" for name, values in lines.items())
    left = f"{100 * rounds[round].density:.1f} %"
    n_kept, n = (sum(int(f(m)) for m in rounds[round].masks[trial].values()) for f in (Tensor.sum, Tensor.numel))
    return View(
        f"after {round} rounds: <b>{n_kept:,}</b> of {n:,} weights, <b>{left}</b><br>"
        f"steps to a validation loss of {level:g}: {told}",
        f"Round {round}, {left} of the weights left. Steps to a validation loss of {level:g}: {told}. Final {show}: {ends}.",
        svg="".join(shapes),
        size=(640, TOP + HEIGHT + 60),
    )


def first_step(curves: object, trial: int, level: float) -> str:
    """The first measured step at which the loss of a trial is at most `level`."""
    reached = (curves.loss[trial] <= level).nonzero()
    return str(curves.steps[int(reached[0])]) if len(reached) else f"over {curves.steps[-1]}"


def panel(title: str, last: float, top: float) -> str:
    """Draw the axes of the curves."""
    marks = []
    for share in (0, 0.5, 1):
        y, x, value = TOP + HEIGHT * (1 - share), LEFT + WIDTH * share, f"{share * top:.2g}"
        marks += [line(LEFT, y, LEFT + WIDTH, y, opacity=0.2), label(LEFT - 6, y + 4, value, anchor="end", size=11)]
        marks.append(label(x, TOP + HEIGHT + 16, f"{share * last:g}", anchor="middle", size=11))
    axes = line(LEFT, TOP, LEFT, TOP + HEIGHT) + line(LEFT, TOP + HEIGHT, LEFT + WIDTH, TOP + HEIGHT)
    steps = label(LEFT + WIDTH, TOP + HEIGHT + 31, "steps", anchor="end", size=11)
    return label(LEFT, 20, title, style="font-weight:600") + "".join(marks) + axes + steps


def path(steps: Sequence[float], values: Sequence[float], top: float, name: str) -> str:
    """Draw one learning curve."""
    colour, dash = KINDS[name]
    points = zip(steps, values, strict=True)
    spots = [f"{LEFT + WIDTH * step / steps[-1]:.4g} {TOP + HEIGHT * (1 - value / top):.4g}" for step, value in points]
    return f'<path d="M{"L".join(spots)}" fill="none" stroke="{colour}" stroke-width="2.4" stroke-dasharray="{dash}"/>'


def legend(place: int, name: str) -> str:
    """Draw one entry of the legend below the curves."""
    (colour, dash), x, y = KINDS[name], LEFT + 110 * place, TOP + HEIGHT + 50
    sample = f'<path d="M{x} {y - 4}h26" stroke="{colour}" stroke-width="2.4" stroke-dasharray="{dash}"/>'
    return sample + label(x + 32, y, name, size=12)


def pixels(mask: Tensor, image: tuple[int, int]) -> str:
    """Draw for every pixel how many of its weights into the first layer are left: the darker, the more."""
    kept = mask.reshape(len(mask), -1, *image).double().mean(dim=(0, 1))  # (height, width), fractions
    size, most = PIXELS / max(image), float(kept.max()) or 1.0
    boxes = [
        bar(PIXELS_LEFT + size * j, TOP + size * i, size, size, fill=BLUE, extra=f'fill-opacity="{share / most:.2f}"')
        for i, row in enumerate(kept.tolist())
        for j, share in enumerate(row)
    ]
    frame = bar(PIXELS_LEFT, TOP, size * image[1], size * image[0], fill="none", outline="currentColor")
    said = f"darkest: {100 * most:.0f} % of a pixel's weights"
    under = label(PIXELS_LEFT, TOP + size * image[0] + 16, said, size=11)
    return (
        label(PIXELS_LEFT, 20, "first layer, pixel by pixel", style="font-weight:600") + "".join(boxes) + frame + under
    )


def still(rounds: Sequence[Round], reinitialised: Mapping[int, object], number: int) -> Figure:
    """Draw the last round, mean over the trials, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    found = {"dense": rounds[0].result, "ticket": rounds[number].result, "reinit": reinitialised[number]}
    for axes, (title, attribute) in zip(figure.subplots(1, 2), SHOWN.items(), strict=True):
        for (name, curves), style in zip(found.items(), (":", "-", "--"), strict=True):
            mean = getattr(curves, attribute).mean(dim=0)
            axes.plot(curves.steps, mean, linestyle=style, color=KINDS[name][0], label=name)
        axes.set(title=title, xlabel="steps", ylim=(0, None))
    axes.legend(fontsize=8, frameon=False, title=f"{100 * rounds[number].density:.1f} % left")
    return figure


def checked(
    rounds: Sequence[Round], reinitialised: Mapping[int, object], image: Sequence[int]
) -> tuple[list[int], int]:
    """Return the stops of the slider and the number of trials, or raise a CourseError."""
    wanted = "Pass find_tickets(…) with a `train` that returns curves, and round -> curves of its reinitialised twins."
    stops = sorted(reinitialised)
    if not stops or not all(isinstance(k, int) and 0 < k < len(rounds) for k in stops):
        raise CourseError(f"There are {len(rounds)} rounds, the dense one first, and curves for {stops}. {wanted}")
    everything = [rounds[0].result, *(rounds[k].result for k in stops), *reinitialised.values()]
    for curves in everything:
        if not all(hasattr(curves, name) for name in ("steps", "loss", "accuracy")):
            raise CourseError(f"{type(curves).__name__} has no steps, loss and accuracy. {wanted}")
    shapes = {tuple(curves.loss.shape) for curves in everything}
    n_trials = len(rounds[0].masks)
    if shapes != {(n_trials, len(rounds[0].result.steps))}:
        raise CourseError(
            f"The curves have the shapes {sorted(shapes)} for {n_trials} trials: all must be alike. {wanted}"
        )
    first = next(iter(rounds[0].masks[0].values()))
    if len(image) != 2 or first[0].numel() % (image[0] * image[1]):
        raise CourseError(
            f"The first layer's weights {tuple(first.shape)} do not see pictures of {tuple(image)} pixels."
        )
    return stops, n_trials
