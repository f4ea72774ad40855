"""How few bits does a picture need? The first widget of the course. Lesson 00."""

from __future__ import annotations

from functools import partial

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.widgets.frame import LessonWidget, View
from course_lib.widgets.svg import bar, label

__all__ = ["fewer_bits", "round_to_bits"]

SIDE, TOP, LEFT, RIGHT = 232, 34, 44, 364  # of the two pictures, in the drawing's units
CRISP = 'shape-rendering="crispEdges"'  # no hairlines between neighbours


def fewer_bits(image: Tensor) -> LessonWidget:
    """Show a picture beside itself stored in 1 to 4 bits a pixel: grey levels, bytes and error, live.

    Args:
        image: (height, width), grey values in 0..1, at most 64 pixels a side.

    Returns:
        the widget; its control is `bits`.

    Raises:
        CourseError: `image` is no such picture.

    >>> widget = fewer_bits(torch.tensor([[0.0, 0.4], [0.6, 1.0]]))
    >>> widget.bits.value = 1
    >>> widget.alt
    'A 2 by 2 picture beside the same picture in 1 bit: 2 grey levels, largest error 0.40.'

    Lesson 00.
    """
    image = checked_picture(image)
    bits = ipywidgets.IntSlider(4, min=1, max=4, description="bits a pixel")
    return LessonWidget(
        "How few bits does a digit need?",
        controls={"bits": bits},
        paint=partial(paint, image),
        presets={"4 bits": {"bits": 4}, "2 bits": {"bits": 2}, "1 bit": {"bits": 1}},
        static=lambda: still(image),
    )


def round_to_bits(image: Tensor, bits: int) -> Tensor:
    """Round each value in 0..1 to the nearest of 2^bits levels, spread evenly from 0 to 1.

    >>> round_to_bits(torch.tensor([0.0, 0.4, 0.6, 1.0]), bits=1)
    tensor([0., 0., 1., 1.])
    """
    steps = 2**bits - 1
    return torch.round(image * steps) / steps


def paint(image: Tensor, bits: int) -> View:
    """Draw both pictures, the levels that are left, and the formula with its numbers."""
    few = round_to_bits(image, bits)
    (height, width), levels = image.shape, 2**bits
    error = (few - image).abs().max().item()
    n_bits = f"{bits} bit{'s' if bits > 1 else ''}"
    body = "".join(
        [
            label(LEFT + SIDE / 2, 20, "the original", anchor="middle"),
            label(RIGHT + SIDE / 2, 20, f"in {n_bits}", anchor="middle"),
            pixels(image, LEFT),
            pixels(few, RIGHT),
            label(LEFT + SIDE / 2, 310, "stored in float32: 32 bits a pixel", anchor="middle"),
            label(RIGHT + SIDE / 2, 310, f"stored in {n_bits} a pixel: {levels} grey levels", anchor="middle"),
            level_strip(RIGHT, levels),
            level_strip(LEFT, 58),
        ]
    )
    said = f"{levels} grey levels, largest error {error:.2f}."
    alt = f"A {height} by {width} picture beside the same picture in {n_bits}: {said}"
    return View(formula(height, width, bits, error), alt, svg=body, size=(640, 316))


def formula(height: int, width: int, bits: int, error: float) -> str:
    """Write levels, bytes and error with this picture's numbers in them."""
    n_bytes, full = height * width * bits / 8, height * width * 4
    return (
        f"levels = 2<sup>bits</sup> = 2<sup>{bits}</sup> = <b>{2**bits}</b><br>"
        f"bytes = {height} · {width} · {bits} / 8 = <b>{n_bytes:,g}</b>, "
        f"{full / n_bytes:.0f} times fewer than {full:,}<br>"
        f"largest error = <b>{error:.3f}</b>, at most half a step = 1 / (2 · {2**bits - 1}) = {0.5 / (2**bits - 1):.3f}"
    )


def pixels(image: Tensor, left: float) -> str:
    """Draw a grey picture: one path for each grey value, each row's equal neighbours as one run."""
    height, width = image.shape
    size = SIDE / max(height, width)
    greys = (image * 255).round().int().tolist()
    paths: dict[int, list[str]] = {}
    for row, values in enumerate(greys):
        for start, length, grey in runs(values):
            paths.setdefault(grey, []).append(f"M{start} {row}h{length}v1h-{length}z")
    drawn = "".join(f'<path fill="rgb({grey},{grey},{grey})" d="{"".join(d)}"/>' for grey, d in sorted(paths.items()))
    x, y = left + (SIDE - size * width) / 2, TOP + (SIDE - size * height) / 2
    edge = bar(
        0, 0, width, height, fill="none", outline="currentColor", extra=f'stroke-width="{1 / size:.4g}" opacity="0.6"'
    )
    return f'<g transform="translate({x:.5g} {y:.5g}) scale({size:.6g})" {CRISP}>{drawn}{edge}</g>'


def runs(values: list[int]) -> list[tuple[int, int, int]]:
    """Split a row into (start, length, value) of equal neighbours.

    >>> runs([7, 7, 0])
    [(0, 2, 7), (2, 1, 0)]
    """
    starts = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    return [(start, end - start, values[start]) for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]


def level_strip(left: float, levels: int) -> str:
    """Draw the grey levels that there are as a strip under a picture (58 of them look continuous)."""
    width = SIDE / levels
    greys = [round(255 * level / (levels - 1)) for level in range(levels)]
    boxes = [
        bar(left + width * i, 278, width, 14, fill=f"rgb({grey},{grey},{grey})", extra=CRISP)
        for i, grey in enumerate(greys)
    ]
    return "".join(boxes) + bar(left, 278, SIDE, 14, fill="none", outline="currentColor", extra='stroke-opacity="0.6"')


def still(image: Tensor) -> Figure:
    """Draw the original and its 4, 2 and 1 bit versions, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 1.9), layout="constrained")
    shown = {
        "original": image,
        **{f"{bits} bit{'s' if bits > 1 else ''}": round_to_bits(image, bits) for bits in (4, 2, 1)},
    }
    for axes, (title, picture) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set(title=title, xticks=[], yticks=[])
    return figure


def checked_picture(image: object) -> Tensor:
    """Return `image` as float32 if it is (height, width) with values in 0..1, else raise a CourseError."""
    wanted = "expected one grey picture, a tensor (height, width) with values in 0..1 and at most 64 pixels a side"
    try:
        picture = torch.as_tensor(image, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise CourseError(f"You passed {type(image).__name__} as image; {wanted}.") from None
    if picture.ndim != 2 or not 1 <= min(picture.shape) <= max(picture.shape) <= 64:
        raise CourseError(
            f"You passed an image of shape {tuple(picture.shape)}; {wanted}. For one of a batch: images[0, 0]."
        )
    low, high = picture.min().item(), picture.max().item()
    if not (low >= 0 and high <= 1):
        raise CourseError(
            f"You passed an image with values from {low:g} to {high:g}; {wanted}. Divide it by its largest value."
        )
    return picture
