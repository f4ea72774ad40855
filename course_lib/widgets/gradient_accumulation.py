"""One window, cut into micro-batches: memory, time, and how far the gradient is off. Lesson 14."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.measure import peak_bytes
from course_lib.memory import accumulate
from course_lib.memory.accumulation import IGNORED, split_batch
from course_lib.viz import BLUE, GREY, ORANGE
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.svg import bar, label, line

__all__ = ["window_in_pieces"]

RIGHT_WAY, BUG = "sum over count", "mean of means"
ORDERS = ("as drawn", "by length")
LEFT, TOP, WIDTH, ROW = 16, 34, 262, 15  # of the rows, in the drawing's units
METERS, LONG = 366, 200  # where the meters begin, and how long they are


@dataclass
class Window:
    """A model and the examples of one window, with what has been measured on them so far."""

    model: nn.Module
    x: Tensor
    y: Tensor
    peaks: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = (self.y != IGNORED).flatten(1).sum(dim=1) if self.y.dim() > 1 else (self.y != IGNORED).long()
        self.gradient([(self.x, self.y)], RIGHT_WAY)  # once to warm up
        self.exact, self.ms = self.gradient([(self.x, self.y)], RIGHT_WAY)

    def pieces(self, size: int, order: str) -> list[tuple[Tensor, Tensor]]:
        """The micro-batches."""
        rows = self.rows(order)
        return split_batch(self.x[rows], self.y[rows], size)

    def rows(self, order: str) -> Tensor:
        """Which example comes when."""
        return torch.arange(len(self.x)) if order == "as drawn" else self.counts.argsort(stable=True)

    def gradient(self, pieces: list[tuple[Tensor, Tensor]], recipe: str) -> tuple[Tensor, float]:
        """The accumulated gradient as one vector, and the milliseconds it took."""
        self.model.zero_grad(set_to_none=False)
        start = time.perf_counter()
        if recipe == RIGHT_WAY:
            accumulate(self.model, pieces)
        else:
            for x, y in pieces:
                loss = F.cross_entropy(self.model(x).flatten(0, -2), y.flatten(), ignore_index=IGNORED)
                (loss / len(pieces)).backward()
        took = 1000 * (time.perf_counter() - start)
        return torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None]), took

    def error(self, gradient: Tensor) -> float:
        """The distance to the big batch's gradient, as a share of its length."""
        return float((gradient - self.exact).norm() / self.exact.norm())

    def peak(self, size: int) -> int:
        """Live bytes at the peak of a micro-batch's forward and backward pass, measured once for each size."""
        if size not in self.peaks:
            piece = [(self.x[:size], self.y[:size])]
            self.peaks[size] = peak_bytes(lambda: accumulate(self.model, piece))
        return self.peaks[size]

    def shares(self, size: int, recipe: str, order: str) -> list[float]:
        """For each row, what one of its labels weighs, as a multiple of an equal weight for all."""
        counts, total = self.counts[self.rows(order)], int(self.counts.sum())
        if recipe == RIGHT_WAY:
            return [1.0] * len(counts)
        pieces = counts.split(size)
        return [total / (len(pieces) * int(piece.sum())) for piece in pieces for _ in piece]


def window_in_pieces(model: nn.Module, x: Tensor, y: Tensor, *, question: Question | None = None) -> LessonWidget:
    """Cut one window of examples into micro-batches, and see memory, time and the error of the gradient, live.

    Every setting runs the model forward and backward. It works on a copy: the learner's own gradients stay.

    Args:
        model: x -> logits, (examples, classes) or (examples, tokens, classes).
        x: the inputs, 2 to 24 examples.
        y: labels, (examples,) or (examples, tokens), int64; −100 does not count. Each example has one that does.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `size`, `recipe` and `order`.

    Raises:
        CourseError: too few or too many examples, logits that do not fit the labels, or an example without a label.

    >>> widget = window_in_pieces(nn.Linear(3, 2), torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    >>> widget.size.value = 2
    >>> widget.alt[:65]
    '4 examples in 2 micro-batches of 2, sum over count, as drawn. The'

    Lesson 14.
    """
    window = Window(*checked(model, x, y))
    n = len(x)
    sizes = sorted({n, *(2**k for k in range(5) if 2**k < n)})
    controls = {
        "size": ipywidgets.SelectionSlider(options=sizes, value=n, description="micro-batch"),
        "recipe": ipywidgets.ToggleButtons(options=[RIGHT_WAY, BUG], description="recipe"),
        "order": ipywidgets.ToggleButtons(options=list(ORDERS), description="order"),
    }
    some = sizes[len(sizes) // 2]
    return LessonWidget(
        "Cut a window into micro-batches",
        controls=controls,
        paint=lambda size, recipe, order: paint(window, size, recipe, order),
        presets={
            "The big batch": {"size": n, "recipe": RIGHT_WAY},
            "One by one": {"size": 1, "recipe": RIGHT_WAY},
            "One by one, with the bug": {"size": 1, "recipe": BUG, "order": "as drawn"},
            "Sorted, with the bug": {"size": some, "recipe": BUG, "order": "by length"},
        },
        question=question,
        static=lambda: still(window, sizes),
    )


def checked(model: nn.Module, x: Tensor, y: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    """A copy of the model, and the examples, or a CourseError."""
    if not 2 <= len(x) <= 24 or len(x) != len(y):
        raise CourseError(
            f"The window needs 2 to 24 examples with labels, but you passed {len(x)} and {len(y)} labels."
        )
    with torch.no_grad():
        shape = tuple(model(x).shape)
    if shape[:-1] != tuple(y.shape):
        raise CourseError(
            f"The model gives logits {shape}, which do not fit labels {tuple(y.shape)}: classes come last."
        )
    if empty := [row for row in range(len(y)) if not (y[row] != IGNORED).any()]:
        raise CourseError(f"Example {empty[0]} has no label that counts: all are {IGNORED}. Leave it out.")
    return copy.deepcopy(model), x, y


def paint(window: Window, size: int, recipe: str, order: str) -> View:
    """Run the window in pieces, and draw its rows to the left and three meters to the right."""
    pieces, shares = window.pieces(size, order), window.shares(size, recipe, order)
    gradient, ms = window.gradient(pieces, recipe)
    error, peak, whole = window.error(gradient), window.peak(size), window.peak(len(window.x))
    height = max(TOP + ROW * len(shares) + 16, 262)
    alt = (
        f"{len(shares)} examples in {len(pieces)} micro-batches of {size}, {recipe}, {order}. "
        f"The gradient is off by {percent(error)}. Peak memory {peak / 1e3:,.0f} kB, the big batch's {whole / 1e3:,.0f} kB. "
        f"{ms:.1f} ms, the big batch's {window.ms:.1f} ms. A label weighs {min(shares):.2f} to {max(shares):.2f} times "
        "its fair share."
    )
    meters = (
        ("peak memory", f"{peak / 1e3:,.0f} kB", peak / whole, f"big batch: {whole / 1e3:,.0f} kB", BLUE),
        ("time", f"{ms:.1f} ms", ms / (16 * window.ms), f"big batch: {window.ms:.1f} ms; bar: up to 16 ×", BLUE),
        ("gradient error", percent(error), logarithm(error), "from 10⁻⁸ to 100 %, logarithmic", colour_of(error)),
    )
    svg = rows_svg(window, size, shares, order)
    svg += "".join(meter(TOP + 76 * place, *told) for place, told in enumerate(meters))
    return View(formula(window, pieces, recipe, error), alt, svg=svg, size=(640, height))


def formula(window: Window, pieces: list[tuple[Tensor, Tensor]], recipe: str, error: float) -> str:
    """Write the recipe with the window's numbers."""
    counts = [int((y != IGNORED).sum()) for _, y in pieces]
    few = ", ".join(map(str, counts[:10])) + (", …" if len(counts) > 10 else "")
    told = f"n<sub>k</sub> = {few}<br>gradient off by <b>{percent(error)}</b>"
    if recipe == RIGHT_WAY:
        return (
            f"g = (∇L<sub>1</sub> + … + ∇L<sub>K</sub>) / Σ n<sub>k</sub>, with Σ n<sub>k</sub> = {sum(counts)}; {told}"
        )
    return f"g = (∇L<sub>1</sub>/n<sub>1</sub> + … + ∇L<sub>K</sub>/n<sub>K</sub>) / K, with K = {len(counts)}; {told}"


def rows_svg(window: Window, size: int, shares: list[float], order: str) -> str:
    """Draw each example's labels, with what one of them weighs, and a line between micro-batches."""
    rows = window.rows(order)
    counts = window.counts[rows].tolist()
    most = max(counts)
    shapes = [label(LEFT, 20, "labels that count", style="font-weight:600")]
    shapes.append(label(LEFT + WIDTH + 40, 20, "weight of one", anchor="end", size=11))
    for place, (count, share) in enumerate(zip(counts, shares, strict=True)):
        y = TOP + ROW * place
        if place % size == 0:
            shapes.append(line(LEFT, y - 1.5, LEFT + WIDTH + 40, y - 1.5, width=1.2, opacity=0.6))
        fill = ORANGE if share > 1.05 else GREY if share < 0.95 else BLUE
        shapes.append(bar(LEFT, y + 1, (WIDTH - 10) * count / most, ROW - 5, fill=fill))
        shapes.append(label(LEFT + WIDTH + 40, y + 10, f"× {share:.2f}", anchor="end", size=11))
    end = TOP + ROW * len(counts) - 1.5
    return "".join(shapes) + line(LEFT, end, LEFT + WIDTH + 40, end, width=1.2, opacity=0.6)


def meter(y: float, name: str, value: str, share: float, below: str, colour: str) -> str:
    """Draw a number as a bar in an outline."""
    return (
        label(METERS, y, f"{name}: {value}", style="font-weight:600")
        + bar(METERS, y + 8, LONG, 16, fill="none", outline="currentColor", extra='opacity="0.4"')
        + bar(METERS, y + 8, LONG * min(max(share, 0.0), 1.0), 16, fill=colour)
        + label(METERS, y + 40, below, size=11)
    )


def logarithm(error: float) -> float:
    """Where an error lies between 1e-8 (0) and 1 (1), on a logarithmic scale."""
    return 1 + float(torch.tensor(max(error, 1e-8)).log10()) / 8


def colour_of(error: float) -> str:
    """Rounding is blue, anything more is orange."""
    return BLUE if error < 1e-4 else ORANGE


def percent(error: float) -> str:
    """An error in few characters.

    >>> percent(0.314), percent(2.4e-7)
    ('31.4 %', '2e-07 (rounding)')
    """
    if error == 0:
        return "0 (rounding)"
    return f"{100 * error:.1f} %" if error >= 1e-4 else f"{error:.0e} (rounding)"


def still(window: Window, sizes: list[int]) -> Figure:
    """Draw memory and error over the size of the micro-batch, for places where no widget runs."""
    figure = Figure(figsize=(6.4, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(sizes, [window.peak(size) / 1e3 for size in sizes], marker="o", color=BLUE)
    left.set(title="peak memory", xlabel="micro-batch", ylabel="kB", xscale="log", ylim=(0, None))
    for recipe, colour in ((RIGHT_WAY, BLUE), (BUG, ORANGE)):
        errors = [max(window.error(window.gradient(window.pieces(s, "as drawn"), recipe)[0]), 1e-8) for s in sizes]
        right.plot(sizes, errors, marker="o", color=colour, linestyle="-" if recipe == BUG else "--", label=recipe)
    right.set(title="gradient error", xlabel="micro-batch", xscale="log", yscale="log")
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    return figure
