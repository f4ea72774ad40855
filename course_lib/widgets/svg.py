"""A few SVG shapes as strings. Ink is `currentColor`: it follows the theme."""

from __future__ import annotations

import html

__all__ = ["bar", "hatch", "label", "line", "picture_svg"]


def picture_svg(body: str, *, size: tuple[float, float], alt: str) -> str:
    """Wrap shapes as one picture that scales with the page and says what it shows.

    >>> picture_svg("<path/>", size=(640, 300), alt="3 < 4")
    '<svg viewBox="0 0 640 300" role="img" aria-label="3 &lt; 4" style="width:100%;height:auto"><path/></svg>'
    """
    width, height = size
    said = html.escape(alt, quote=True)
    about = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{said}" style="width:100%;height:auto"'
    return f"<svg {about}>{body}</svg>"


def label(x: float, y: float, text: str, *, anchor: str = "start", size: float = 13, style: str = "") -> str:
    """Write text with its baseline at (x, y); `anchor` is "start", "middle" or "end".

    >>> label(1, 2, "a")
    '<text x="1" y="2" text-anchor="start" font-size="13" fill="currentColor" style="">a</text>'
    """
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size:g}" fill="currentColor" '
        f'style="{style}">{html.escape(text)}</text>'
    )


def bar(x: float, y: float, width: float, height: float, *, fill: str, outline: str = "none", extra: str = "") -> str:
    """Draw a filled rectangle, with an outline if asked.

    >>> bar(0, 0, 2, 1, fill="#0072B2")
    '<rect x="0" y="0" width="2" height="1" fill="#0072B2" stroke="none" />'
    """
    box = f'x="{x:.6g}" y="{y:.6g}" width="{max(width, 0):.6g}" height="{height:.6g}"'
    return f'<rect {box} fill="{fill}" stroke="{outline}" {extra}/>'


def line(x1: float, y1: float, x2: float, y2: float, *, width: float = 1, opacity: float = 1) -> str:
    """Draw a straight line in ink.

    >>> line(0, 0, 1, 1)
    '<line x1="0" y1="0" x2="1" y2="1" stroke="currentColor" stroke-width="1" opacity="1"/>'
    """
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="currentColor" stroke-width="{width:g}" opacity="{opacity:g}"/>'


def hatch(name: str, colour: str) -> str:
    """Define a diagonal hatch, used as `fill="url(#name)"`: what is removed differs by more than its colour.

    >>> 'id="gone"' in hatch("gone", "#0072B2")
    True
    """
    return (
        f'<pattern id="{name}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<line x1="0" y1="0" x2="0" y2="5" stroke="{colour}" stroke-width="1.6" opacity="0.75"/></pattern>'
    )
