"""A figure with a caption and alt text, in the style and the colours of the course."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart by every kind of colour vision. One colour for one thing throughout a lesson.
BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
PINK, AMBER, YELLOW, GREY = "#CC79A7", "#E69F00", "#F0E442", "#767676"
CYCLE = (BLUE, ORANGE, GREEN, AMBER, PINK, SKY, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.dpi": 100,
    "figure.figsize": (6.4, 3.4),
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and its alt text; a notebook shows it as an HTML figure.

    >>> fig, axes = new_figure()
    >>> Picture(fig, caption="Nothing.", alt="Empty axes.")
    Figure: Nothing. Empty axes.
    """

    figure: Figure
    caption: str
    alt: str

    def __repr__(self) -> str:
        return f"Figure: {self.caption} {self.alt}"

    def _repr_html_(self) -> str:
        data = base64.b64encode(png(self.figure)).decode("ascii")
        return (
            f'<figure style="margin:0;max-width:680px"><img src="data:image/png;base64,{data}" '
            f'alt="{html.escape(self.alt, quote=True)}" style="width:100%;background:white">'
            f"<figcaption><em>{html.escape(self.caption)}</em></figcaption></figure>"
        )


def new_figure(*, columns: int = 1, size: tuple[float, float] | None = None) -> tuple[Figure, list[Axes]]:
    """An empty figure in the course's style, and its axes from left to right.

    Args:
        columns: how many axes stand side by side.
        size: width and height in inches.

    >>> fig, axes = new_figure(columns=2)
    >>> len(axes)
    2

    Lesson 02.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size or STYLE["figure.figsize"], layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def png(figure: Figure, *, colours: int = 64) -> bytes:
    """The figure as a PNG with a small palette: a third of the bytes of a plain one.

    >>> png(new_figure()[0])[1:4]
    b'PNG'

    Lesson 02.
    """
    from PIL import Image

    plain = io.BytesIO()
    figure.savefig(plain, format="png", dpi=110, facecolor="white")
    small = io.BytesIO()
    Image.open(plain).convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()
