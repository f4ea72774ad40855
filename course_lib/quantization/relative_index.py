"""Where the surviving weights stand: not their positions, but the short gaps between them."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.errors import CourseError, require_positive


def relative_indices(positions: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The gap from each surviving weight to the one before; where a gap needs more than `bits` bits, a filler comes between.

    A gap of 1..2^bits is stored as gap - 1 in `bits` bits. A longer one is bridged by fillers: entries that are
    2^bits farther and whose weight is zero. The first gap counts from just before the first weight.

    Args:
        positions: (survivors,) whole numbers, ascending, 0 or more: `weights.flatten().nonzero().squeeze(1)`.
        bits: of each stored gap, 1..16.

    Returns:
        the gaps, (entries,) int64 in 1..2^bits, and which entries are survivors, (entries,) bool, False for a filler.

    Raises:
        CourseError: positions are not ascending whole numbers, or bits lies outside 1..16.

    >>> relative_indices(torch.tensor([1, 4, 15]), bits=3)  # from 4 to 15 are 11, more than 8
    (tensor([2, 3, 8, 3]), tensor([ True,  True, False,  True]))

    Han, Mao & Dally 2016. Lesson 11.
    """
    if require_positive("bits", bits) > 16:
        raise CourseError(f"bits is the size of a stored gap, 1..16, but you passed {bits}.")
    return with_fillers(positions, reach=2**bits)


def with_fillers(positions: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Gaps of 1..reach and which entries are survivors; a longer gap is bridged by fillers that are `reach` farther."""
    if not isinstance(positions, Tensor) or positions.dim() != 1 or positions.is_floating_point():
        raise CourseError("positions is a row of whole numbers: weights.flatten().nonzero().squeeze(1).")
    positions = positions.long()
    distances = torch.diff(positions, prepend=positions.new_tensor([-1]))
    if bool((distances < 1).any()):
        raise CourseError("positions must be ascending, without repeats, and 0 or more.")
    fillers = (distances - 1) // reach  # before each survivor
    places = (fillers + 1).cumsum(0) - 1
    entries = int(places[-1]) + 1 if len(places) else 0
    gaps, kept = torch.full((entries,), reach), torch.zeros(entries, dtype=torch.bool)
    gaps[places], kept[places] = distances - fillers * reach, True
    return gaps, kept


def absolute_indices(gaps: Tensor, kept: Tensor) -> Tensor:
    """The positions of the surviving weights, (survivors,): the running sum of the gaps, where the entry is no filler.

    Args:
        gaps: (entries,) whole numbers of 1 or more.
        kept: (entries,) bool, False for a filler.

    Raises:
        CourseError: the two do not fit together.

    >>> absolute_indices(torch.tensor([2, 3, 8, 3]), torch.tensor([True, True, False, True]))
    tensor([ 1,  4, 15])

    Han, Mao & Dally 2016. Lesson 11.
    """
    if gaps.shape != kept.shape or kept.dtype != torch.bool:
        raise CourseError(
            f"There are {gaps.numel()} gaps and {kept.numel()} {kept.dtype} flags: pass one bool for each gap."
        )
    return (gaps.long().cumsum(0) - 1)[kept]
