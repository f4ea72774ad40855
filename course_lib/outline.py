"""The course at a glance: its lessons, parts and routes. The map in the README and in lesson 00 are drawn from this."""

from __future__ import annotations

import html
from collections.abc import Collection
from dataclasses import dataclass

from course_lib.viz import BLUE, GREEN, GREY


@dataclass(frozen=True)
class Entry:
    """One lesson.

    Attributes:
        number: 0..17.
        title: the title of the lesson, up to its colon.
        part: what it belongs to.
        saves: what the technique saves: memory, arithmetic, bytes on disk; "" for lessons without a technique.
        when: "training", "inference" or both.
        routes: of "workshop" (90 minutes) and "half day".
    """

    number: int
    title: str
    part: str
    saves: str = ""
    when: str = ""
    routes: tuple[str, ...] = ()


START, PRUNING, QUANTIZATION = "Getting going", "Pruning", "Quantization"
DISTILLATION, MEMORY, DESIGN = "Distillation", "Training in less memory", "Small by design"
BOTH = ("workshop", "half day")

OUTLINE = (
    Entry(0, "Start here", START),
    Entry(1, "Measuring", START, routes=("half day",)),
    Entry(2, "Magnitude pruning", PRUNING, "bytes and arithmetic, once the zeros are left out", "inference", BOTH),
    Entry(3, "Pruning schedules", PRUNING, "bytes and arithmetic, at less loss", "inference"),
    Entry(4, "Optimal Brain Damage", PRUNING, "bytes and arithmetic, at less loss", "inference"),
    Entry(5, "Lottery tickets", PRUNING, "training steps, in hindsight", "training", ("half day",)),
    Entry(6, "SynFlow", PRUNING, "bytes and arithmetic, once the zeros are left out", "training and inference"),
    Entry(7, "Structured pruning", PRUNING, "memory, arithmetic, bytes, and time on every computer", "inference"),
    Entry(8, "Uniform quantization", QUANTIZATION, "bytes and memory traffic", "inference", BOTH),
    Entry(9, "Integer arithmetic", QUANTIZATION, "energy and time", "inference"),
    Entry(10, "Quantization-aware training", QUANTIZATION, "bytes, at still fewer bits", "inference"),
    Entry(11, "Sharing weights", QUANTIZATION, "bytes on disk", "inference", ("half day",)),
    Entry(12, "Knowledge distillation", DISTILLATION, "everything: the network itself is smaller", "inference", BOTH),
    Entry(13, "Gradient checkpointing", MEMORY, "memory, for more arithmetic", "training"),
    Entry(14, "Gradient accumulation", MEMORY, "memory", "training"),
    Entry(15, "Efficient architectures", DESIGN, "arithmetic and bytes", "training and inference"),
    Entry(16, "Efficient attention", DESIGN, "memory and arithmetic", "training and inference"),
    Entry(17, "Capstone", DESIGN),
)
ROUTES = {"workshop": "90-minute workshop", "half day": "half a day"}
BOX, GAP, LEFT, ROW = (134, 44), 8, 92, 60  # pixels


def course_map(done: Collection[int] = ()) -> str:
    """The map of the course as SVG: a row for each part, a box for each lesson, filled where it is done.

    Args:
        done: numbers of lessons whose exercises are all passed.

    >>> course_map().startswith("<svg")
    True

    Lesson 00.
    """
    parts = list(dict.fromkeys(entry.part for entry in OUTLINE))
    width, height = LEFT + 6 * (BOX[0] + GAP), ROW * len(parts) + 34
    boxes = []
    for row, part in enumerate(parts):
        entries = [entry for entry in OUTLINE if entry.part == part]
        boxes.append(part_label(part, 12 + ROW * row))
        boxes += [
            box(entry, LEFT + column * (BOX[0] + GAP), 8 + ROW * row, entry.number in done)
            for column, entry in enumerate(entries)
        ]
    said = html.escape(map_in_words(done), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{said}" '
        f'style="max-width:{width}px;width:100%;background:#ffffff" font-family="sans-serif">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(boxes)}{legend(LEFT, height - 12)}</svg>'
    )


def title_of(lesson: int) -> str:
    """What a lesson is called everywhere: in its card, on the map, in links.

    >>> title_of(4)
    'Optimal Brain Damage'
    """
    return OUTLINE[lesson].title


def part_label(part: str, y: float) -> str:
    """The name of a part, word under word."""
    lines = part.replace("Training in", "Training in|").replace("Small by", "Small by|").split("|")
    return "".join(
        f'<text x="4" y="{y + 16 + 15 * number}" font-size="12" font-weight="bold" fill="#111111">{html.escape(line.strip())}</text>'
        for number, line in enumerate(lines)
    )


def box(entry: Entry, x: float, y: float, done: bool) -> str:
    """One lesson: number, title, marks of the routes; green with a tick when it is done."""
    words = entry.title.split(" ")
    half = (len(words) + 1) // 2
    lines = [entry.title] if len(entry.title) <= 16 else [" ".join(words[:half]), " ".join(words[half:])]
    text = "".join(
        f'<text x="{x + 30}" y="{y + (27 if len(lines) == 1 else 19 + 15 * n)}" font-size="11" fill="#111111">{html.escape(line)}</text>'
        for n, line in enumerate(lines)
    )
    routes = "".join(mark(route, x + BOX[0] - 9 - 11 * n, y + 8) for n, route in enumerate(entry.routes))
    number = f"{entry.number:02}" if not done else "✓"
    return (
        f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="{"#d9f2e6" if done else "#f4f6f8"}" '
        f'stroke="{GREEN if done else GREY}"/><text x="{x + 7}" y="{y + 27}" font-size="13" font-weight="bold" '
        f'fill="{"#00543c" if done else "#004d7a"}">{number}</text>{text}{routes}'
    )


def mark(route: str, x: float, y: float) -> str:
    """The mark of a route: a filled circle for the workshop, a ring for the half day."""
    fill = BLUE if route == "workshop" else "#ffffff"
    return f'<circle cx="{x}" cy="{y}" r="3.5" fill="{fill}" stroke="{BLUE}" stroke-width="1.5"/>'


def legend(x: float, y: float) -> str:
    """What the marks of the routes mean."""
    shown = []
    for n, (route, name) in enumerate(ROUTES.items()):
        shown.append(mark(route, x + 6 + 170 * n, y - 4))
        shown.append(f'<text x="{x + 16 + 170 * n}" y="{y}" font-size="11" fill="#111111">{name}</text>')
    return "".join(shown)


def map_in_words(done: Collection[int]) -> str:
    """The map for who cannot see it."""
    parts = dict.fromkeys(entry.part for entry in OUTLINE)
    told = [
        f"{part}: "
        + ", ".join(
            f"{e.number:02} {e.title}{' (done)' if e.number in done else ''}" for e in OUTLINE if e.part == part
        )
        for part in parts
    ]
    return "Map of the course. " + "; ".join(told) + "."


def savings_table(done: Collection[int] = ()) -> str:
    """Technique × what it saves × when, as an HTML table; a row is filled in when its lesson is done.

    >>> "Magnitude pruning" in savings_table()
    True

    Lesson 00.
    """
    rows = []
    for entry in OUTLINE:
        if entry.saves:
            cells = (entry.saves, entry.when) if entry.number in done else ("?", "?")
            rows.append(
                "".join(
                    f'<td style="text-align:left">{cell}</td>' for cell in (f"{entry.number:02} {entry.title}", *cells)
                )
            )
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in ("technique", "what it saves", "when"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"
