"""Pictures of what each layer costs: parameters to the left, MACs to the right, and two ratios that race. Lesson 01."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from course_lib.viz import BLUE, ORANGE
from course_lib.widgets.svg import bar, hatch, label, line

__all__ = ["cost_bars"]

MIDDLE, REACH, ROW, TOP = 320, 226, 19, 36  # axis between the two sides, longest bar, height of a row, first row
START, DECADE = 152, 220  # of the bars that race: where 1 stands, and the length of a factor of 10
HALO = "paint-order:stroke;stroke:var(--jp-layout-color0, white);stroke-width:4px"


def cost_bars(
    names: Sequence[str],
    shares: Sequence[tuple[float, float]],
    sparsities: Sequence[float],
    ratios: tuple[float, float],
    chosen: int,
    gone: str,
) -> tuple[str, float]:
    """Draw a row for each layer and the two ratios below; return the shapes and their height.

    Args:
        names: of the layers, from the first to the last.
        shares: of each layer, 0..1: its part of the parameters, and of the MACs.
        sparsities: of each layer, 0..1: what is removed is hatched.
        ratios: compression ratio and theoretical speedup, at least 1.
        chosen: index of the layer to mark.
        gone: a name for the hatch, of its own for each widget: a hatch in a hidden widget does not show elsewhere.

    >>> cost_bars(["a", "b"], [(0.1, 0.9), (0.9, 0.1)], [0.0, 0.5], (1.8, 1.1), chosen=0, gone="gone")[1]
    164
    """
    scale = REACH / max(map(max, shares))
    hatches = f"<defs>{hatch(f'{gone}-left', BLUE)}{hatch(f'{gone}-right', ORANGE)}</defs>"
    drawn = [draw_name(i, name, i == chosen) for i, name in enumerate(names)]
    for i, (left, right) in enumerate(shares):
        drawn.append(half_row(TOP + ROW * i, left, sparsities[i], -scale, BLUE, f"{gone}-left"))
        drawn.append(half_row(TOP + ROW * i, right, sparsities[i], scale, ORANGE, f"{gone}-right"))
    bottom = TOP + ROW * len(names)
    return hatches + headings() + "".join(drawn) + race(bottom + 28, *ratios), bottom + 90


def headings() -> str:
    """Write what the two sides are."""
    left = label(MIDDLE - 44, 22, "share of the parameters", anchor="end", style="font-weight:600")
    right = label(MIDDLE + 44, 22, "share of the MACs", style="font-weight:600")
    return left + right


def draw_name(i: int, name: str, chosen: bool) -> str:
    """Write a layer's name between the sides; the chosen one is bold on a shade."""
    y = TOP + ROW * i
    shade = bar(2, y - 1, 636, ROW - 1, fill="currentColor", extra='opacity="0.1"') if chosen else ""
    return shade + label(MIDDLE, y + 12.5, name, anchor="middle", size=12, style="font-weight:700" if chosen else "")


def half_row(y: float, share: float, sparsity: float, scale: float, colour: str, gone: str) -> str:
    """Draw one bar outward from the middle: kept in full colour, removed hatched, and its share at its end."""
    sign = 1 if scale > 0 else -1
    start, length = MIDDLE + 44 * sign, share * abs(scale)
    kept = length * (1 - sparsity)
    ghost = bar(min(start, start + sign * length), y + 1, length, ROW - 5, fill=f"url(#{gone})", outline=colour)
    solid = bar(min(start, start + sign * kept), y + 1, kept, ROW - 5, fill=colour)
    end = label(start + sign * (length + 5), y + 12, f"{share:.1%}", anchor="start" if sign > 0 else "end", size=11)
    return (ghost if sparsity else "") + solid + end


def race(y: float, ratio: float, speedup: float) -> str:
    """Draw the two ratios as bars on one logarithmic scale from 1 to 100."""
    ticks = (1, 2, 5, 10, 20, 50, 100)
    parts = [line(START + DECADE * log10(t), y - 8, START + DECADE * log10(t), y + 40, opacity=0.25) for t in ticks]
    parts += [label(START + DECADE * log10(t), y + 54, f"{t}×", anchor="middle", size=11) for t in ticks]
    for i, (name, value, colour) in enumerate(
        (("compression ratio", ratio, BLUE), ("theoretical speedup", speedup, ORANGE))
    ):
        top, length = y + 22 * i - 5, DECADE * log10(value)
        parts += [
            label(START - 8, top + 12, name, anchor="end", size=12),
            bar(START, top, max(length, 1.5), 15, fill=colour),
        ]
        parts.append(label(START + length + 6, top + 12, f"{value:.2f}×", style=f"font-weight:700;{HALO}"))
    return "".join(parts)
