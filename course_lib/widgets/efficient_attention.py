"""A tile that walks over a score matrix, and what four kinds of attention keep and take as the text grows. Lesson 16."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.viz import BLUE, GREY, ORANGE, new_figure
from course_lib.widgets.frame import LessonWidget, Question, View
from course_lib.widgets.softmax_walk import Walk, checked, measured
from course_lib.widgets.svg import bar, label, line

__all__ = ["tile_walk"]

KINDS = ("tiled", "exact", "windowed", "linear")
TOKENS = (64, 128, 256, 512, 1024)  # of the texts that are measured
LEFT, TOP, SIDE, RIGHT, WIDTH = 34, 40, 270, 352, 270  # of the matrix and of what stands beside it
ANSWER, BARS = 150, 366  # heights: the line of zero of the answer, the table below
FIRST = 128


def tile_walk(
    q: Tensor, k: Tensor, v: Tensor, *, tokens: Sequence[int] | None = None, question: Question | None = None
) -> LessonWidget:
    """Walk a tile over the scores of one head, and see one query's running softmax reach the exact answer.

    Below it, for a text of any of several lengths and heads of the same width: the bytes kept for the backward pass and
    the time of four kinds of attention, both measured when a length is first looked at.

    Args:
        q, k, v: of one head on one causal sequence, (n, d), (n, d), (n, e), n from 4 to 40.
        tokens: what to write at the rows and columns, n of them; their places by default.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `kind`, `place`, `tile`, `row` and `n`.

    Raises:
        CourseError: shapes that do not fit, or too many tokens to draw.

    >>> import torch
    >>> widget = tile_walk(*torch.randn(3, 12, 8))
    >>> widget.set(tile=4, place=3, row=12)
    >>> widget.alt.split(". ")[1]
    'The answer so far differs from the exact one by 0.000'

    Dao et al. 2022. Lesson 16.
    """
    walk = Walk(*checked(q, k, v), tuple(map(str, tokens or range(1, len(q) + 1))))
    n, tile = len(q), max(2, len(q) // 4)
    row, place = walk.surprise(tile)
    controls = {
        "kind": ipywidgets.ToggleButtons(options=KINDS, description="attention", style={"button_width": "auto"}),
        "place": ipywidgets.IntSlider(1, min=1, max=n, description="tile number"),
        "tile": ipywidgets.IntSlider(tile, min=1, max=n, description="tile, window"),
        "row": ipywidgets.IntSlider(row, min=1, max=n, description="who asks"),
        "n": ipywidgets.SelectionSlider(options=TOKENS, value=FIRST, description="tokens below"),
    }
    return LessonWidget(
        "Walk the tile over the scores",
        controls=controls,
        paint=partial(paint, walk),
        presets={
            "The first tile": {"kind": "tiled", "tile": tile, "place": 1, "n": FIRST},
            "A new maximum": {"kind": "tiled", "tile": tile, "row": row, "place": place, "n": FIRST},
            "The last tile": {"kind": "tiled", "tile": tile, "place": math.ceil(n / tile), "n": FIRST},
            "All at once": {"kind": "exact", "n": FIRST},
            "1,024 tokens": {"n": 1024},
        },
        question=question,
        static=lambda: still(walk, tile),
    )


def paint(walk: Walk, kind: str, place: int, tile: int, row: int, n: int) -> View:
    """Draw the matrix, the answer of one row beside it, and the table of costs below."""
    place = min(place, math.ceil(walk.n / tile))
    live, past = walk.cells(kind, tile, place)
    answer, exact = walk.answer(kind, row - 1, tile, place), walk.exact[row - 1]
    gap = (answer - exact).abs().max().item()
    costs = {name: (measured(name, n, walk.q.shape[1]), measured(name, n // 2, walk.q.shape[1])) for name in KINDS}
    said, so_far = in_words(walk, kind, place, tile, row), " so far" * (kind == "tiled")
    table = "; ".join(f"{name} {write_bytes(now[0])}, {now[1]:.2g} ms" for name, (now, _) in costs.items())
    count = f"{int(live.sum())} of {walk.n * (walk.n + 1) // 2} causal scores in memory"
    return View(
        f"{said}<br>{count} · answer{so_far}: off by <b>{gap:.3f}</b>",
        f"Scores of {walk.n} tokens, {kind} attention, token {row} asks: {count}. "
        f"The answer{so_far} differs from the exact one by {gap:.3f}. With {n} tokens: {table}.",
        svg=matrix(walk, live, past, row) + answers(answer, exact, kind) + table_of(costs, n, kind),
        size=(640, BARS + 24 + 25 * len(KINDS)),
    )


def in_words(walk: Walk, kind: str, place: int, tile: int, row: int) -> str:
    """The formula with this row's numbers."""
    if kind == "tiled":
        state = walk.states(row - 1, tile)[place - 1]
        sums = f"ℓ = {state.shrink:.3f} · ℓ + Σ e<sup>s − m</sup> = <b>{state.total:.3f}</b>"
        return f"tile {place} of {math.ceil(walk.n / tile)}: m = <b>{state.largest:.2f}</b>, {sums}, answer o / ℓ"
    numbers = walk.q.shape[1] * (walk.v.shape[1] + 1)
    return {
        "exact": "softmax over all scores of the row at once",
        "windowed": f"softmax over the last {min(tile, row)} scores of the row",
        "linear": f"no scores: a table of {numbers} numbers (φ(k)ᵀ · v, and φ(k) summed), however long the text",
    }[kind]


def matrix(walk: Walk, live: Tensor, past: Tensor, row: int) -> str:
    """Draw the scores: blue in memory, grey thrown away; the darker, the more weight. A box marks who asks."""
    size = SIDE / walk.n
    shapes = [label(LEFT, 16, "scores: rows ask, columns are looked at", style="font-weight:600")]
    for cells, colour in ((past, GREY), (live, BLUE)):
        for low, high in ((-1, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.1)):
            chosen = (cells & (walk.weights > low) & (walk.weights <= high)).nonzero().tolist()
            at = [
                f"M{LEFT + j * size:.1f} {TOP + i * size:.1f}h{size - 1:.1f}v{size - 1:.1f}h{1 - size:.1f}z"
                for i, j in chosen
            ]
            shapes.append(
                f'<path d="{"".join(at)}" fill="{colour}" fill-opacity="{0.16 + 0.8 * max(low, 0) / 0.6:.2f}"/>'
            )
    if not (live | past).any():
        shapes.append(label(LEFT + SIDE / 2, TOP + SIDE / 3, "no scores at all", anchor="middle"))
    for i, name in enumerate(walk.names):
        shapes.append(label(LEFT - 6, TOP + (i + 0.8) * size, name, anchor="end", size=min(11, size)))
        shapes.append(label(LEFT + (i + 0.5) * size, TOP - 4, name, anchor="middle", size=min(11, size)))
    box = bar(
        LEFT - 2,
        TOP + (row - 1) * size - 1.5,
        SIDE + 3,
        size + 2,
        fill="none",
        outline=ORANGE,
        extra='stroke-width="2"',
    )
    return "".join(shapes) + box


def answers(answer: Tensor, exact: Tensor, kind: str) -> str:
    """Draw the row's answer as bars, and the exact one as outlines."""
    tallest = max(answer.abs().max().item(), exact.abs().max().item(), 1e-9)
    step, high = WIDTH / len(exact), 84 / tallest
    shapes = [label(RIGHT, 16, "its answer" + " so far" * (kind == "tiled"), style="font-weight:600"),
              label(RIGHT, 33, "outline: the exact answer", size=12)]  # fmt: skip
    for i, (ours, true) in enumerate(zip(answer.tolist(), exact.tolist(), strict=True)):
        x = RIGHT + i * step
        shapes.append(bar(x + 2, ANSWER - max(ours, 0) * high, step - 4, abs(ours) * high, fill=BLUE))
        box = f'x="{x + 1:.1f}" y="{ANSWER - max(true, 0) * high:.1f}" width="{step - 2:.1f}" height="{abs(true) * high:.1f}"'
        shapes.append(f'<rect {box} fill="none" stroke="currentColor" stroke-width="1.5"/>')
    return "".join(shapes) + line(RIGHT, ANSWER, RIGHT + WIDTH, ANSWER, opacity=0.5)


def table_of(costs: dict[str, tuple], n: int, kind: str) -> str:
    """Draw what is kept and the time as bars, each with its growth from half as many tokens."""
    titles = ((LEFT + 66, f"kept for backward, {n:,} tokens"), (RIGHT + 6, "time, measured here"))
    shapes = [label(x, BARS - 14, title, style="font-weight:600") for x, title in titles]
    for which, ((x, _), room) in enumerate(zip(titles, (90, 110), strict=True)):
        most = max(now[which] for now, _ in costs.values())
        for place, (name, (now, half)) in enumerate(costs.items()):
            y = BARS + 25 * place
            value = write_bytes(now[0]) if which == 0 else f"{now[1]:.2g} ms"
            shapes.append(bar(x, y, max(1.5, room * now[which] / most), 16, fill=ORANGE if name == kind else GREY))
            text = f"{value}, × {now[which] / half[which]:.1f}"
            shapes.append(label(x + room + 6, y + 13, text, size=12))
    names = [label(LEFT + 58, BARS + 25 * i + 13, name, anchor="end") for i, name in enumerate(costs)]
    note = label(LEFT + 66, BARS + 25 * len(costs) + 12, "× : against half as many tokens", size=12)
    return "".join(shapes + names) + note


def write_bytes(count: int) -> str:
    """Bytes in few characters.

    >>> write_bytes(98304), write_bytes(4587520)
    ('96 KiB', '4.4 MiB')
    """
    return f"{count / 2**10:.0f} KiB" if count < 2**20 else f"{count / 2**20:.1f} MiB"


def still(walk: Walk, tile: int) -> Figure:
    """Draw the weights and the borders of the tiles, for places where no widget runs."""
    figure, (axes,) = new_figure(size=(4.2, 3.8))
    axes.imshow(walk.weights.numpy(), cmap="Blues", vmin=0)
    for place in range(tile, walk.n, tile):
        axes.axvline(place - 0.5, color=ORANGE, linestyle="--")
    axes.set(xlabel="who is looked at", ylabel="who asks", title="weights, and the borders of the tiles")
    axes.grid(False)
    return figure
