"""Reading results: whatever bytes come, they are outcomes of the right count and kinds, or refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.grading.results import BadOutput, cap_for, read_outcomes
from course_lib.rubrics.verbs import BuiltIn, Outcome
from course_lib.rubrics.wire import pack

GOOD = [
    Outcome({"a": [1, 2.5, None, True, "x"], 3: torch.arange(6).reshape(2, 3)}, changed_inputs=True),
    Outcome(error="ValueError", message="no"),
]


def test_good_results_come_through() -> None:
    """As they were sent."""
    one, other = read_outcomes(pack(GOOD), 2)
    assert one.value["a"] == [1, 2.5, None, True, "x"]
    assert torch.equal(one.value[3], torch.arange(6).reshape(2, 3))
    assert (one.changed_inputs, other.error, other.message) == (True, "ValueError", "no")


@pytest.mark.parametrize(
    "sent",
    [
        [], GOOD[:1], [*GOOD, GOOD[0]], GOOD[0], [1, 2], [[GOOD[0]], GOOD[1]], {"a": 1},
        [Outcome(BuiltIn("fake_clock")), GOOD[1]], [Outcome(GOOD[0]), GOOD[1]],
        [Outcome(error=3), GOOD[1]], [Outcome(message=None), GOOD[1]], [Outcome(changed_inputs=1), GOOD[1]],
        [Outcome({(1, 2): 3}), GOOD[1]], [Outcome([[]] * 400_000), GOOD[1]], [Outcome([torch.ones(1)] * 2001), GOOD[1]],
        [Outcome(torch.ones(2, dtype=torch.float8_e4m3fn)), GOOD[1]], [Outcome(error=""), GOOD[1]],
    ],
    ids=lambda sent: str(sent)[:40],
)  # fmt: skip
def test_wrong_counts_and_kinds_are_refused(sent: object) -> None:
    """Before anything is compared."""
    with pytest.raises(BadOutput):
        read_outcomes(pack(sent), 2)


def test_an_outcome_with_an_error_has_no_value() -> None:
    """So that an error cannot carry a right value past it."""
    assert read_outcomes(pack([Outcome(torch.ones(1), error="ValueError")]), 1)[0].value is None


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Random bytes are refused, in words."""
    with pytest.raises(BadOutput):
        read_outcomes(data, 2)


@given(st.integers(0, len(pack(GOOD)) - 1), st.integers(0, 255), st.booleans())
def test_any_change(place: int, byte: int, cut: bool) -> None:
    """A changed or shortened result is still two outcomes, or refused; nothing else happens."""
    data = bytearray(pack(GOOD))
    data[place] = byte
    try:
        outcomes = read_outcomes(bytes(data[:place] if cut else data), 2)
    except BadOutput:
        return
    assert [type(outcome) for outcome in outcomes] == [Outcome, Outcome]


def test_cap_leaves_room() -> None:
    """For wrong results that are larger than the right one, not for any."""
    small, large = cap_for([Outcome(1)]), cap_for([Outcome(torch.ones(10**6))])
    assert 2**22 < small < 2**23
    assert 16 * 10**6 < large < 32 * 10**6
