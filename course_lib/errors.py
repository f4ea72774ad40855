"""One kind of error for everything a learner can get wrong: what you passed, what was expected, how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real


class CourseError(ValueError):
    """Something was passed that the course cannot work with; the message says what, why and how to fix it."""


def require_fraction(name: str, value: object, *, of: str = "the fraction of weights to remove") -> float:
    """Return `value` as a float if it lies in 0..1, else raise a CourseError that names the likely slip.

    >>> require_fraction("sparsity", 0.9)
    0.9
    >>> require_fraction("sparsity", 90)
    Traceback (most recent call last):
    ...
    course_lib.errors.CourseError: sparsity is the fraction of weights to remove, from 0 to 1, but you passed 90.
    For 90 %, pass sparsity=0.9.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise CourseError(f"{name} is {of}, a number from 0 to 1, but you passed {value!r}.")
    if 0 <= value <= 1:
        return float(value)
    message = f"{name} is {of}, from 0 to 1, but you passed {value}."
    if 1 < value <= 100:
        message += f"\nFor {value:g} %, pass {name}={value / 100:g}."
    raise CourseError(message)


def require_positive(name: str, value: object, *, at_least: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `at_least`.

    >>> require_positive("steps", 100)
    100
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and value >= at_least:
        return int(value)
    raise CourseError(f"{name} must be a whole number of at least {at_least}, but you passed {value!r}.")


def require_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, else raise a CourseError that lists them.

    >>> require_choice("scope", "global", ("global", "layer"))
    'global'
    """
    known = tuple(choices)
    if value in known:
        return value  # type: ignore[return-value]
    listed = " or ".join(repr(choice) for choice in known)
    raise CourseError(f"{name} must be {listed}, but you passed {value!r}.")
