"""Watch a layer die: the weights left in each layer as compression grows, method by method. Lesson 06."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.errors import CourseError, require_choice
from course_lib.viz import BLUE, ORANGE
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, label, line

__all__ = ["layer_survival"]

LEFT, TOP, WIDTH, HEIGHT = 52, 30, 576, 170  # of the bars, in the drawing's units
BASE = TOP + HEIGHT
LIVES, ROW, NAMES = BASE + 66, 19, 134  # where the life lines begin, their distance, the room for their names


def layer_survival(
    left: Mapping[str, Tensor], sizes: Sequence[int], *, question: Question | None = None
) -> LessonWidget:
    """Move the compression and see how many weights each layer has left, for one method after the other.

    Args:
        left: method -> weights left in each layer, (points, layers), whole numbers; from many to few. The points may
            be others in each method; between two of them, the one before counts.
        sizes: how many weights each layer has before pruning, (layers,).
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `method` and `power`, the compression as a power of ten.

    Raises:
        CourseError: counts that do not fit the layers, or that grow.

    >>> widget = layer_survival({"random": torch.tensor([[6, 2], [3, 1], [2, 0]])}, sizes=[9, 3])
    >>> widget.power.value = 0.78
    >>> widget.alt
    'random at compression 6: 2 of 12 weights left. Empty layers: 2. Layer by layer: 2, 0.'

    Tanaka et al. 2020. Lesson 06.
    """
    curves = {name: checked(name, rows, sizes) for name, rows in left.items()}
    if not curves:
        raise CourseError("There is nothing to show. Pass method -> weights left in each layer, (points, layers).")
    most = max(math.log10(sum(sizes) / max(1, int(rows[-1].sum()))) for rows in curves.values())
    first = next(iter(curves))
    controls = {
        "method": ipywidgets.ToggleButtons(options=list(curves), value=first, description="method"),
        "power": ipywidgets.FloatSlider(1.0, min=0, max=math.ceil(100 * most) / 100, step=0.01, description="log₁₀ ρ"),
    }
    ends = {name: end_of(rows, sizes) for name, rows in curves.items()}
    return LessonWidget(
        "Watch a layer die",
        controls=controls,
        paint=partial(paint, curves, list(sizes), ends),
        presets={
            f"{name}: the end": {"method": name, "power": math.ceil(100 * first_empty(rows, sizes)) / 100}
            for name, rows in list(curves.items())[-5:]
        },
        question=question,
        static=lambda: still(curves, sizes),
    )


def checked(name: str, rows: object, sizes: Sequence[int]) -> Tensor:
    """The counts with the full layers in front, or a CourseError."""
    wanted = f"Expected whole numbers (points, {len(sizes)}), from many weights to few, none above {list(sizes)}."
    if not isinstance(rows, Tensor) or rows.dim() != 2 or rows.shape[1:] != (len(sizes),) or rows.is_floating_point():
        raise CourseError(f"The counts of {name!r} do not fit {len(sizes)} layers. {wanted}")
    rows = torch.cat([torch.tensor([list(sizes)]), rows.long()])
    if bool((rows.sum(dim=1).diff() > 0).any()) or bool((rows > rows[0]).any()) or bool((rows < 0).any()):
        raise CourseError(f"The counts of {name!r} grow on the way, or lie outside their layers. {wanted}")
    return rows


def row_at(rows: Tensor, power: float) -> Tensor:
    """The last point whose compression is at most 10^power (rounded to what the slider can show)."""
    compressions = int(rows[0].sum()) / rows.sum(dim=1).clamp(min=1)
    return rows[(compressions.log10() <= power + 0.005).nonzero()[-1, 0]]


def end_of(rows: Tensor, sizes: Sequence[int]) -> float:
    """The last compression, as a power of ten, without an empty layer."""
    return math.log10(sum(sizes) / int(rows[(rows > 0).all(dim=1)][-1].sum()))


def first_empty(rows: Tensor, sizes: Sequence[int]) -> float:
    """The first compression, as a power of ten, with an empty layer; where there is none, the last one."""
    empty = rows[(rows == 0).any(dim=1)]
    return math.log10(sum(sizes) / max(1, int((empty[0] if len(empty) else rows[-1]).sum())))


def paint(
    curves: Mapping[str, Tensor], sizes: Sequence[int], ends: Mapping[str, float], method: str, power: float
) -> View:
    """Draw a bar for each layer, its weights on a logarithmic scale, and below how far each method has come."""
    require_choice("method", method, curves)
    now = row_at(curves[method], power).tolist()
    total, kept = sum(sizes), sum(now)
    empty = [place + 1 for place, count in enumerate(now) if count == 0]
    dead = ", ".join(map(str, empty)) or "none"
    formula = (
        f"ρ = {total:,} / {kept:,} = <b>{written(total / max(1, kept))}</b> by <b>{method}</b><br>"
        f"empty layers: <b>{dead}</b>{'; nothing flows through the network any more' if empty else ''}"
    )
    alt = (
        f"{method} at compression {written(total / max(1, kept))}: {kept:,} of {total:,} weights left. "
        f"Empty layers: {dead}. Layer by layer: {', '.join(f'{count:,}' for count in now)}."
    )
    height = LIVES + ROW * len(curves) + 8
    return View(formula, alt, svg=layer_bars(now, sizes) + life_lines(ends, method, power), size=(640, height))


def layer_bars(now: Sequence[int], sizes: Sequence[int]) -> str:
    """Draw the layers side by side over a logarithmic scale."""
    top = math.ceil(math.log10(max(sizes)))
    shapes = [label(LEFT - 44, 16, "weights left in each layer", style="font-weight:600")]
    for power in range(top + 1):
        y = BASE - tall(10**power, top)
        shapes.append(line(LEFT, y, LEFT + WIDTH, y, opacity=0.15))
        shapes.append(label(LEFT - 6, y + 4, short(10**power).replace(".0", ""), anchor="end", size=10))
    for place, (count, size) in enumerate(zip(now, sizes, strict=True)):
        shapes.append(one_layer(place, count, tall(count, top), tall(size, top), WIDTH / len(sizes)))
    return "".join(shapes) + label(LEFT + WIDTH, BASE + 29, "layer", anchor="end", size=11)


def tall(count: int, top: int) -> float:
    """How tall a bar is; one weight is still seen."""
    return HEIGHT * (0.1 + 0.9 * math.log10(count) / top) if count else 0.0


def one_layer(place: int, count: int, left: float, full: float, step: float) -> str:
    """Draw an outline for all weights, and a filled bar for those left, or a cross where there is none."""
    x, middle = LEFT + place * step + 3, LEFT + (place + 0.5) * step
    outline = bar(x, BASE - full, step - 6, full, fill="none", outline="currentColor", extra='opacity="0.35"')
    shapes = outline + label(middle, BASE + 15, str(place + 1), anchor="middle", size=11)
    if not count:
        cross = f"M{middle - 8:.4g} {BASE - 20}l16 16m0 -16l-16 16"
        return shapes + f'<path d="{cross}" stroke="{ORANGE}" stroke-width="4" fill="none"/>'
    filled = bar(x, BASE - left, step - 6, left, fill=BLUE)
    return shapes + filled + label(middle, BASE - left - 4, short(count), anchor="middle", size=10)


def short(count: int) -> str:
    """A count in at most four characters.

    >>> [short(count) for count in (7, 2304, 147456, 2359296)]
    ['7', '2.3k', '147k', '2.4M']
    """
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count // size}{unit}"
    return str(count)


def written(compression: float) -> str:
    """A compression in few characters.

    >>> [written(rho) for rho in (1.5, 31.62, 398.4, 65786.3)]
    ['1.5', '31.6', '398', '65,786']
    """
    return f"{compression:,.0f}" if compression >= 100 else f"{compression:.3g}"


def life_lines(ends: Mapping[str, float], method: str, power: float) -> str:
    """Draw how far each method goes before a layer is empty, and where the slider stands."""
    most = max(*ends.values(), power, 1)
    across = lambda at: LEFT + NAMES - 44 + (WIDTH - NAMES) * at / most
    shapes = [label(LEFT - 44, LIVES - 14, "no layer is empty up to ρ =", style="font-weight:600")]
    for place, (name, end) in enumerate(ends.items()):
        y, chosen = LIVES + ROW * place, name == method
        colour, faint = BLUE if power <= end + 0.005 else ORANGE, "" if chosen else 'opacity="0.45"'
        shapes += [
            label(LEFT - 44, y + 11, name, size=12, style="font-weight:600" if chosen else ""),
            bar(across(0), y + 2, across(end) - across(0), 11, fill=colour, extra=faint),
            label(across(end) + 5, y + 11, written(10**end), size=11),
        ]  # fmt: skip
    x = across(power)
    return "".join(shapes) + line(x, LIVES - 4, x, LIVES + ROW * len(ends), width=1.5)


def still(curves: Mapping[str, Tensor], sizes: Sequence[int]) -> Figure:
    """Draw the smallest number of weights left in any layer, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for place, (name, rows) in enumerate(curves.items()):
        kept = rows[rows.sum(dim=1) > 0]
        style = {"label": name, "linestyle": ("-", "--", ":", "-.")[place % 4]}
        axes.plot(sum(sizes) / kept.sum(dim=1), kept.min(dim=1).values, **style)
    axes.set(
        xscale="log", yscale="symlog", xlabel="compression ρ", ylabel="weights in the poorest layer", ylim=(0, None)
    )
    axes.legend(fontsize=8, frameon=False)
    return figure
