"""Trials become a mean with its spread; claims become a table that fails when one does not hold."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.errors import CourseError


class ClaimDoesNotHold(AssertionError):
    """A claim of the lesson does not hold on the numbers measured just now."""


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation over n trials.

    >>> print(Summary(0.5, 0.01, 5))
    0.5 ± 0.01 (n = 5)
    >>> f"{Summary(0.5, 0.01, 5):%}"
    '50.0 ± 1.0 %'
    """

    mean: float
    sd: float
    n: int

    @property
    def standard_error(self) -> float:
        """How far the mean itself may be off: sd / √n."""
        return self.sd / math.sqrt(self.n)

    @property
    def low(self) -> float:
        """The mean less two standard errors: what one may rely on from below."""
        return self.mean - 2 * self.standard_error

    @property
    def high(self) -> float:
        """The mean plus two standard errors: what one may rely on from above."""
        return self.mean + 2 * self.standard_error

    def __format__(self, form: str) -> str:
        if form == "%":
            return f"{100 * self.mean:.1f} ± {100 * self.sd:.1f} %"
        if form == "points":
            return f"{100 * self.mean:+.1f} ± {100 * self.sd:.1f} points"
        number = form or ".3g"
        return f"{self.mean:{number}} ± {self.sd:{number}} (n = {self.n})"

    def __str__(self) -> str:
        return format(self, "")


def summarise(values: Sequence[float]) -> Summary:
    """Mean and standard deviation of one number from each trial.

    Args:
        values: at least two; a claim of the course uses at least three.

    Raises:
        CourseError: fewer than two values: there is no spread to give.

    >>> summarise([1.0, 2.0, 3.0])
    Summary(mean=2.0, sd=1.0, n=3)

    Lesson 02.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise CourseError(f"A spread needs at least two trials, but you passed {len(values)}. Run more seeds.")
    return Summary(statistics.fmean(values), statistics.stdev(values), len(values))


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Mean and spread of the differences, trial by trial, where both started from the same seed.

    What both share (a lucky seed, an easy fold) cancels, so a small gain shows that would drown in two separate means.

    Raises:
        CourseError: the two have different lengths.

    >>> paired_difference([2.0, 3.0], [1.0, 2.0])
    Summary(mean=1.0, sd=0.0, n=2)

    Lesson 02.
    """
    if len(ours) != len(theirs):
        raise CourseError(f"Pairs need equal numbers of trials, but you passed {len(ours)} and {len(theirs)}.")
    return summarise([a - b for a, b in zip(ours, theirs, strict=True)])


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    Attributes:
        says: the claim, in words.
        paper: what the paper says, with its place; "" where the claim is our own.
        measured: what was measured just now, as text or Summary.
        holds: True or False; None for what is reported and not judged: a clock, or a finding that stays open.
    """

    says: str
    paper: str
    measured: object
    holds: bool | None

    @property
    def verdict(self) -> str:
        """The last column, in words."""
        return {True: "holds", False: "DOES NOT HOLD", None: "reported"}[
            None if self.holds is None else bool(self.holds)
        ]


@dataclass(frozen=True)
class Evidence:
    """The table "paper says / measured here", shown as text or HTML."""

    claims: tuple[Claim, ...]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """The cells of the table as text."""
        return [(claim.says, claim.paper or "–", str(claim.measured), claim.verdict) for claim in self.claims]

    def __repr__(self) -> str:
        return "\n".join(
            f"{says} | paper: {paper} | measured: {got} | {verdict}" for says, paper, got, verdict in self.rows()
        )

    def _repr_html_(self) -> str:
        def cells(row: Sequence[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align:left;vertical-align:top">{html.escape(cell)}</{tag}>' for cell in row
            )

        head = cells(("claim", "paper says", "measured here", "verdict"), "th")
        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def evidence(*claims: Claim) -> Evidence:
    """Show the table "paper says / measured here", and fail if a claim does not hold.

    Args:
        claims: the rows. `holds` should carry a margin that is the claim's meaning, not today's figure.

    Raises:
        ClaimDoesNotHold: after the table is shown, naming the rows.
        CourseError: no claim was passed.

    >>> evidence(Claim("two and two is four", paper="Peano", measured=2 + 2, holds=2 + 2 == 4))
    two and two is four | paper: Peano | measured: 4 | holds

    Lesson 01.
    """
    if not claims:
        raise CourseError("evidence() needs at least one Claim(says, paper=…, measured=…, holds=…).")
    table = Evidence(claims)
    failed = [claim.says for claim in claims if claim.verdict == "DOES NOT HOLD"]
    if failed:
        show(table)
        raise ClaimDoesNotHold("Does not hold here: " + "; ".join(failed) + ".")
    return table


def show(table: Evidence) -> None:
    """Display the table in a notebook, or print it."""
    try:
        from IPython.display import display
    except ImportError:
        display = print
    display(table)
