"""Which lesson this notebook has begun."""

from __future__ import annotations

_lesson = 0


def set_lesson(number: int) -> None:
    """Called by `begin`."""
    global _lesson
    _lesson = number


def lesson() -> int:
    """The lesson that was begun, 0 before."""
    return _lesson
