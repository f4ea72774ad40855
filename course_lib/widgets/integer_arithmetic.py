"""An accumulator's bits as the products of one unit are added, in a register of the width you choose. Lesson 09."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.viz import BLUE, ORANGE
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, label, line

__all__ = ["accumulator_bits", "bits_needed"]

WIDTHS = (8, 16, 18, 20, 24, 32)
WORD, CELL, LEFT = 32, 18.2, 46  # bits that are drawn, their size, the left edge, in the drawing's units
BITS = 44  # where the row of bits begins
TOP, WIDTH, HEIGHT = 136, 582, 170  # of the curves
MIDDLE, BASE = TOP + HEIGHT / 2, TOP + HEIGHT


def accumulator_bits(x: Tensor, w: Tensor, bias: int = 0, *, question: Question | None = None) -> LessonWidget:
    """Add the products of one unit, step by step, in a register of 8 to 32 bits; the bias comes last.

    Args:
        x: codes that come in, int8, (K,).
        w: codes of the unit's weights, int8, (K,).
        bias: what is added at the end, a whole number.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `width` (bits) and `step` (0 to K products, K + 1 with the bias).

    Raises:
        CourseError: codes of other types or lengths, or sums beyond 32 bits.

    >>> widget = accumulator_bits(torch.tensor([100, 90]).char(), torch.tensor([3, -2]).char(), bias=5)
    >>> widget.set(width=8, step=1)
    >>> widget.alt
    'Step 1 of 3: 100 · 3 = 300. True sum 300; the 8-bit register holds 44, and has wrapped at 1 of 1 additions.'

    Jacob et al. 2018. Lesson 09.
    """
    added, sums = checked(x, w, bias)
    last = len(sums) - 1
    presets = {
        f"{bits} bits: the first wrap": {"width": bits, "step": first_wrap(sums, bits)}
        for bits in WIDTHS
        if bits in (8, 16, 18) and first_wrap(sums, bits) is not None
    }
    needed = next(bits for bits in WIDTHS if bits >= bits_needed(sums))
    presets |= {f"{bits} bits: the end": {"width": bits, "step": last} for bits in sorted({16, needed})}
    return LessonWidget(
        "An accumulator's bits",
        controls={
            "width": ipywidgets.ToggleButtons(options=WIDTHS, value=16, description="bits"),
            "step": ipywidgets.IntSlider(min(3, last), min=0, max=last, description="additions"),
        },
        paint=partial(paint, added, sums),
        presets=presets,
        question=question,
        static=lambda: still(sums),
    )


def checked(x: Tensor, w: Tensor, bias: int) -> tuple[list[str], list[int]]:
    """What is added at each step, in words, and the sum after each, beginning with 0; or a CourseError."""
    shapes = [tuple(getattr(codes, "shape", ())) for codes in (x, w)]
    kinds = [getattr(codes, "dtype", type(codes).__name__) for codes in (x, w)]
    if kinds != [torch.int8] * 2 or shapes[0] != shapes[1] or len(shapes[0]) != 1 or not shapes[0][0]:
        raise CourseError(
            f"The codes of one unit are two int8 tensors (K,), but you passed shapes {shapes[0]} and {shapes[1]} of "
            f"{kinds[0]} and {kinds[1]}."
        )
    pairs = list(zip(x.tolist(), w.tolist(), strict=True))
    sums = list(accumulate([*(a * b for a, b in pairs), int(bias)], initial=0))
    if bits_needed(sums) > WORD:
        raise CourseError(f"A bias of {bias:,} takes the sum beyond {WORD} bits. Pass the unit's own bias, in codes.")
    added = ["nothing yet", *(f"{a} · {signed(b)} = {a * b:,}" for a, b in pairs), f"bias = {int(bias):,}"]
    return added, sums


def signed(value: int) -> str:
    """A number that may follow a sign."""
    return f"({value})" if value < 0 else str(value)


def held(total: int, bits: int) -> int:
    """What a register of so many bits holds in place of a sum.

    >>> [held(total, 8) for total in (127, 128, -129)]
    [127, -128, 127]
    """
    half = 1 << (bits - 1)
    return (total + half) % (1 << bits) - half


def bits_needed(sums: Sequence[int]) -> int:
    """The width of a register that holds every one of the sums.

    >>> [bits_needed(sums) for sums in ([0, 127], [-128], [128], [-129, 5])]
    [8, 8, 9, 9]

    Lesson 09.
    """
    return 1 + max((total if total >= 0 else ~total).bit_length() for total in sums)


def wraps(sums: Sequence[int], bits: int) -> list[bool]:
    """For each addition: did it take the register over one of its ends?"""
    half = 1 << (bits - 1)
    turns = [(total + half) >> bits for total in sums]
    return [before != after for before, after in pairwise(turns)]


def first_wrap(sums: Sequence[int], bits: int) -> int | None:
    """The number of the first addition that wraps, counted from 1; None if none does."""
    found = wraps(sums, bits)
    return found.index(True) + 1 if True in found else None


def paint(added: Sequence[str], sums: Sequence[int], width: int, step: int) -> View:
    """Draw the register's bits above the true sum and what the register made of it."""
    total, register, last = sums[step], held(sums[step], width), len(sums) - 1
    wrapped = sum(wraps(sums[: step + 1], width))
    so_far = f"wrapped at {wrapped} of {step} additions"
    verdict = "the same" if register == total else f"off by {register - total:+,}"
    formula = (
        f"addition {step} of {last}: <b>{added[step]}</b><br>true sum {total:,}; {width} bits hold "
        f"−{1 << (width - 1):,} … {(1 << (width - 1)) - 1:,}: <b>{register:,}</b>, {verdict}; {so_far}"
    ).replace("-", "−")
    alt = (
        f"Step {step} of {last}: {added[step]}. True sum {total:,}; the {width}-bit register holds {register:,}, "
        f"and has {so_far}."
    )
    return View(formula, alt, svg=bit_row(total, width) + curves(sums, width, step), size=(640, BASE + 44))


def bit_row(total: int, width: int) -> str:
    """Draw the 32 bits of the true sum; those above the register's width are lost."""
    shapes = [
        label(LEFT, 18, f"the sum in {WORD} bits; the register keeps the lowest {width}", style="font-weight:600")
    ]
    for place in range(WORD):
        bit, x = total >> (WORD - 1 - place) & 1, LEFT + place * CELL
        lost, sign = place < WORD - width, place == WORD - width
        fill = "none" if lost else (ORANGE if sign else BLUE) if bit else "transparent"
        outline, extra = ("currentColor", 'opacity="0.35"') if lost else (ORANGE if sign else BLUE, 'stroke-width="2"')
        shapes.append(bar(x + 1, BITS, CELL - 2, 26, fill=fill, outline=outline, extra=extra))
        ink = "opacity:0.45" if lost else "fill:#fff;font-weight:600" if bit else "font-weight:600"
        shapes.append(label(x + CELL / 2, BITS + 18, str(bit), anchor="middle", size=12, style=ink))
    end = LEFT + (WORD - width) * CELL
    if width < WORD:
        shapes += [
            line(LEFT + 2, BITS + 13, end - 2, BITS + 13, width=1.5, opacity=0.5),
            label(LEFT, BITS + 44, "lost", size=11),
        ]
    shapes.append(label(end + 1, BITS + 44, "↑ sign" if width < WORD else "↑ the sign", size=11))
    return "".join(shapes)


def curves(sums: Sequence[int], width: int, step: int) -> str:
    """Draw the true sum and the register over the additions, up to this step in full ink."""
    top = 1.08 * max(1, *(abs(total) for total in sums))
    across = lambda at: LEFT + WIDTH * at / (len(sums) - 1)
    up = lambda value: MIDDLE - HEIGHT / 2 * value / top
    shapes = [line(LEFT, TOP, LEFT, BASE), line(LEFT, MIDDLE, LEFT + WIDTH, MIDDLE, opacity=0.4)]
    half = 1 << (width - 1)
    for end in (half - 1, -half) if half < top else ():
        shapes.append(f'<path d="M{LEFT} {up(end):.5g}h{WIDTH}" stroke="{ORANGE}" stroke-dasharray="3 4" fill="none"/>')
    registers = [held(total, width) for total in sums]
    shapes += [
        polyline(sums, across, up, BLUE, 'stroke-width="2.5" opacity="0.3"'),
        polyline(sums[: step + 1], across, up, BLUE, 'stroke-width="3.5"'),
        polyline(registers[: step + 1], across, up, ORANGE, 'stroke-width="1.8"'),
        f'<circle cx="{across(step):.5g}" cy="{up(registers[step]):.5g}" r="4.5" fill="{ORANGE}"/>',
        *(label(LEFT - 4, up(v) + 4, short(v), anchor="end", size=10) for v in (top / 1.08, 0, -top / 1.08)),
        *(label(across(at), BASE + 15, str(at), anchor="middle", size=11) for at in (0, len(sums) - 1)),
        label(LEFT + WIDTH / 2, BASE + 15, "additions", anchor="middle", size=11),
        label(LEFT + 4, BASE + 36, "━ true sum", size=12, style=f"fill:{BLUE};font-weight:600"),
        label(LEFT + 116, BASE + 36, f"━ the {width}-bit register", size=12, style=f"fill:{ORANGE};font-weight:600"),
        label(LEFT + 290, BASE + 36, "┄ the ends of its range" if half < top else "its range reaches beyond", size=12),
    ]
    return "".join(shapes)


def polyline(values: Sequence[int], across, up, colour: str, extra: str) -> str:
    """Draw one curve; the k-th value stands after k additions."""
    points = " ".join(f"{across(at):.5g},{up(value):.5g}" for at, value in enumerate(values))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" {extra}/>'


def short(value: float) -> str:
    """A number in few characters.

    >>> [short(value) for value in (0, -941, 98_304, -1_200_000)]
    ['0', '-941', '98k', '-1.2M']
    """
    size = abs(value)
    return f"{value / 1e6:.1f}M" if size >= 999_500 else f"{value / 1e3:.0f}k" if size >= 10_000 else f"{value:.0f}"


def still(sums: Sequence[int]) -> Figure:
    """Draw the true sum and what 16 bits make of it, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(sums, color=BLUE, linewidth=2.5, label="true sum")
    axes.plot([held(total, 16) for total in sums], color=ORANGE, linewidth=1.3, label="16-bit register")
    axes.set(xlabel="additions", ylabel="sum")
    axes.legend(fontsize=8, frameon=False)
    return figure
