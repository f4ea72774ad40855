"""What a check says, as a card: HTML for the notebook, text for everything else."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from course_lib.viz import AMBER, BLUE, GREEN, GREY, ORANGE

COLOURS = {"passed": GREEN, "failed": ORANGE, "raised": ORANGE, "not attempted": GREY, "hint": BLUE, "note": AMBER}


@dataclass(frozen=True)
class Card:
    """A heading and lines below it.

    Attributes:
        kind: "passed", "failed", "raised", "not attempted", "hint" or "note"; sets the colour of the edge.
        heading: the outcome in words, so that the colour is never needed.
        lines: (label, text) pairs; an empty label is a plain sentence, a label ending in "code" a block of code.

    >>> Card("hint", "Hint 1 of 3", (("", "Sort first."),))
    Hint 1 of 3
      Sort first.
    """

    kind: str
    heading: str
    lines: tuple[tuple[str, str], ...] = field(default=())

    def __repr__(self) -> str:
        told = [f"  {label}: {text}" if label else f"  {text}" for label, text in self.lines]
        return "\n".join([self.heading, *told])

    def _repr_html_(self) -> str:
        return (
            f'<div role="status" style="border-left:5px solid {COLOURS[self.kind]};padding:6px 14px;margin:6px 0;'
            f'max-width:720px"><strong>{html.escape(self.heading)}</strong>{"".join(map(html_line, self.lines))}</div>'
        )


def html_line(line: tuple[str, str]) -> str:
    """One line of a card."""
    label, text = line
    if label == "code":
        return f"<pre style='margin:6px 0;white-space:pre-wrap'>{html.escape(text)}</pre>"
    text = html.escape(text).replace("\n", "<br>")
    if not label:
        return f"<div style='margin-top:4px'>{text}</div>"
    return (
        f"<div style='margin-top:4px'><span style='opacity:.75'>{html.escape(label)}:</span> <code>{text}</code></div>"
    )
