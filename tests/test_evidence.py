"""Means with their spread, and the table whose cell fails."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from course_lib.errors import CourseError
from course_lib.evidence import Claim, ClaimDoesNotHold, Summary, evidence, paired_difference, summarise


def test_mean_and_spread_are_numpys():
    values = [0.91, 0.93, 0.9, 0.97]
    summary = summarise(values)
    assert (summary.mean, summary.sd, summary.n) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values, ddof=1)),
        4,
    )
    assert summary.standard_error == pytest.approx(summary.sd / 2)
    assert (summary.low, summary.high) == (
        pytest.approx(summary.mean - summary.sd),
        pytest.approx(summary.mean + summary.sd),
    )
    assert summarise(torch.tensor(values)).mean == pytest.approx(summary.mean)


def test_pairs_cancel_what_both_share():
    luck = [0.0, 10.0, -5.0]
    ours, theirs = [1.5 + x for x in luck], [1.0 + x for x in luck]
    difference = paired_difference(ours, theirs)
    assert (difference.mean, difference.sd) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-12))
    assert summarise(ours).sd > 7


def test_summaries_in_words():
    summary = Summary(0.98765, 0.0123, 5)
    assert f"{summary:%}" == "98.8 ± 1.2 %"
    assert f"{Summary(-0.004, 0.0011, 5):points}" == "-0.4 ± 0.1 points"
    assert f"{Summary(0.004, 0.0011, 5):points}" == "+0.4 ± 0.1 points"
    assert f"{summary:.1f}" == "1.0 ± 0.0 (n = 5)"
    assert str(summary) == f"{summary}" == "0.988 ± 0.0123 (n = 5)"


def test_too_few_or_unpaired_trials_are_refused():
    for values in ([], [1.0]):
        with pytest.raises(CourseError, match=f"at least two trials, but you passed {len(values)}"):
            summarise(values)
    with pytest.raises(CourseError, match="equal numbers of trials, but you passed 2 and 3"):
        paired_difference([1, 2], [1, 2, 3])


def claim(holds, says="it is small") -> Claim:
    return Claim(says, paper="Table 1", measured=Summary(1.0, 0.5, 3), holds=holds)


def test_a_table_that_holds_is_returned_and_a_clock_is_only_reported():
    table = evidence(claim(True), claim(None, "it is fast"), claim(np.bool_(True)), claim(torch.tensor(True)))
    assert [row[-1] for row in table.rows()] == ["holds", "reported", "holds", "holds"]
    assert repr(table).splitlines()[1] == "it is fast | paper: Table 1 | measured: 1 ± 0.5 (n = 3) | reported"
    assert evidence(Claim("ours", paper="", measured=3, holds=True)).rows()[0] == ("ours", "–", "3", "holds")


@pytest.mark.parametrize("false", [False, np.bool_(False), torch.tensor(False), 0])
def test_a_claim_that_fails_raises_after_the_table_is_shown(false, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    with pytest.raises(ClaimDoesNotHold, match=r"^Does not hold here: second; fourth\.$"):
        evidence(claim(True, "first"), claim(false, "second"), claim(None, "third"), claim(false, "fourth"))
    (table,) = shown
    assert [row[-1] for row in table.rows()] == ["holds", "DOES NOT HOLD", "reported", "DOES NOT HOLD"]


def test_without_ipython_the_table_is_printed(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", None)
    with pytest.raises(ClaimDoesNotHold):
        evidence(claim(False))
    assert "it is small | paper: Table 1" in capsys.readouterr().out


def test_the_html_table_escapes_and_has_headings():
    html = evidence(Claim("a < b & c", paper='"quoted"', measured="<script>", holds=True))._repr_html_()
    assert "<script>" not in html
    assert "a &lt; b &amp; c" in html
    assert "&quot;quoted&quot;" in html
    assert html.count("<th ") == html.count("<td ") == 4
    assert html.startswith("<table><thead>")


def test_no_claim_is_refused():
    with pytest.raises(CourseError, match="at least one Claim"):
        evidence()


def test_one_trial_has_no_standard_deviation_but_equal_trials_have_none_to_show():
    assert summarise([2, 2, 2]) == Summary(2.0, 0.0, 3)
    assert math.isclose(Summary(1.0, 0.0, 4).high, 1.0)
