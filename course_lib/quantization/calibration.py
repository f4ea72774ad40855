"""Which range should a grid cover? Everything, or less: what is clipped loses much, what is kept gets finer steps.

Every calibration looks at values and returns (low, high), which `qparams_of_range` turns into a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.quantization.uniform import check_bits, fake_quantize, qparams_of_range, range_of

BINS = 2048


def minmax(x: Tensor, *, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The whole range: nothing is clipped, and one outlier makes all steps coarse.

    Args:
        x: any shape, finite, not empty.
        axis: the dimension that holds the channels, for a range each; None for one range.

    Raises:
        CourseError: an empty tensor, or NaN or infinity in it.

    >>> minmax(torch.tensor([-1.0, 0.5, 30.0]))
    (tensor(-1.), tensor(30.))

    Jacob et al. 2018. Lesson 08.
    """
    return range_of(x, axis)


def moving_average(
    batches: Iterable[Tensor], *, momentum: float = 0.9, calibrate: Callable[[Tensor], tuple[Tensor, Tensor]] = minmax
) -> tuple[Tensor, Tensor]:
    """The exponential moving average of the batches' ranges: one strange batch moves it a little.

    Args:
        batches: tensors of values, at least one.
        momentum: the weight of what was, 0 to below 1; the first batch counts in full.
        calibrate: values of one batch -> (low, high).

    Raises:
        CourseError: no batch, or a momentum outside its range.

    >>> moving_average([torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0])], momentum=0.5)
    (tensor(0.), tensor(2.))

    Jacob et al. 2018. Lesson 08.
    """
    average = None
    for batch in batches:
        average = follow(average, calibrate(batch), momentum)
    if average is None:
        raise CourseError("A moving average needs at least one batch, but there was none.")
    return average


def follow(average: tuple[Tensor, Tensor] | None, new: tuple[Tensor, Tensor], momentum: float) -> tuple[Tensor, Tensor]:
    """One step of the moving average of a range."""
    if not 0 <= momentum < 1:
        raise CourseError(f"momentum is the weight of what was, from 0 to below 1, but you passed {momentum!r}.")
    if average is None:
        return new
    return torch.lerp(new[0], average[0], momentum), torch.lerp(new[1], average[1], momentum)


def percentile(x: Tensor, *, percent: float = 99.9, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The range that holds the middle `percent` of the values, the same number cut off at both ends.

    Args:
        x: any shape, finite, not empty.
        percent: above 0, up to 100.
        axis: as in `minmax`.

    Raises:
        CourseError: percent outside its range, an empty tensor, NaN or infinity.

    >>> percentile(torch.arange(101.0), percent=90)
    (tensor(5.), tensor(95.))

    Lesson 08.
    """
    if not 0 < percent <= 100:
        raise CourseError(f"percent is the share that stays inside, above 0 up to 100, but you passed {percent!r}.")
    range_of(x, axis)
    rows = x.detach().flatten() if axis is None else x.detach().movedim(axis, 0).flatten(1)
    cut = int((1 - percent / 100) / 2 * (rows.shape[-1] - 1) + 1e-9)
    return rows.kthvalue(cut + 1, dim=-1).values, rows.kthvalue(rows.shape[-1] - cut, dim=-1).values


def mse(
    x: Tensor, *, bits: int = 8, symmetric: bool = False, axis: int | None = None, candidates: int = 100
) -> tuple[Tensor, Tensor]:
    """The share of the whole range, 1/candidates … 1, on which the mean squared error of the grid is smallest.

    More than 2,048 values are first counted in as many bins, so a million take as long as counting them.

    Args:
        x: any shape, finite, not empty.
        bits, symmetric, axis: the grid that will be used.
        candidates: how many shares to try.

    Raises:
        CourseError: as in `choose_qparams`.

    >>> values = torch.cat([torch.linspace(-1, 1, 1000), torch.tensor([100.0])])
    >>> low, high = mse(values, bits=12)
    >>> low.item() < -0.9, high.item() > 50
    (True, True)

    Lesson 08.
    """
    check_bits(bits, symmetric)
    low, high = range_of(x, axis)
    rows = x.detach().float().flatten()[None] if axis is None else x.detach().float().movedim(axis, 0).flatten(1)
    best = best_shares(rows, bits, symmetric, candidates)
    best = best[0] if axis is None else best
    return low * best, high * best


def best_shares(rows: Tensor, bits: int, symmetric: bool, candidates: int) -> Tensor:
    """For each row of values the share of its range that errs least; (rows, values) -> (rows,)."""
    low, high = range_of(rows, 0)
    values, counts = rows, torch.ones_like(rows)
    if rows.shape[1] > BINS:
        counted = [histogram(row, *ends) for row, *ends in zip(rows, low, high, strict=True)]
        values, counts = (torch.stack(parts) for parts in zip(*counted, strict=True))
    shares = torch.linspace(1 / candidates, 1, candidates)
    errors = []
    for share in shares:
        grids = qparams_of_range(low * share, high * share, bits, symmetric=symmetric, axis=0)
        errors.append(((fake_quantize(values, grids) - values).square() * counts).sum(dim=1))
    return shares[torch.stack(errors).argmin(dim=0)]  # (candidates, rows) -> (rows,)


def histogram(x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and counts of 2,048 equal bins over the range."""
    low, high = float(low), float(high)
    counts = torch.histc(x.detach().float(), BINS, low, high if high > low else low + 1)
    return low + (torch.arange(BINS) + 0.5) * (high - low) / BINS, counts


def entropy(x: Tensor, *, bits: int = 8) -> tuple[Tensor, Tensor]:
    """The threshold t whose grid keeps most of the information: the smallest KL(values clipped at t ∥ values on the grid).

    The magnitudes are counted in 2,048 bins. For each threshold, those above it join the last bin below; then the bins
    are merged into 2^(bits−1) levels and each level's count is spread evenly over the bins that were not empty. The range
    returned is (max(low, −t), min(high, t)).

    Args:
        x: any shape, finite, not empty: the activations of a calibration batch.
        bits: 2..11, so that there are bins to merge.

    Raises:
        CourseError: bits outside 2..11, an empty tensor, NaN or infinity.

    >>> low, high = entropy(torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([100.0])]), bits=4)
    >>> high.item() < 10
    True

    Lesson 08.
    """
    if not 2 <= bits <= 11:
        raise CourseError(
            f"entropy merges {BINS} bins into 2^(bits-1) levels, so bits goes from 2 to 11, not {bits!r}."
        )
    low, high = range_of(x)
    limit = torch.maximum(-low, high)
    _, counts = histogram(x.abs(), torch.zeros(()), limit)
    levels = 2 ** (bits - 1)
    losses = {n: clipping_loss(counts, n, levels) for n in range(levels, BINS + 1, max(4, levels // 8))}
    threshold = limit * min(losses, key=losses.__getitem__) / BINS
    return torch.maximum(low, -threshold), torch.minimum(high, threshold)


def clipping_loss(counts: Tensor, n_bins: int, levels: int) -> float:
    """KL of the first bins, with all that lies above in the last, from the same bins merged into levels."""
    kept = counts[:n_bins].clone()
    filled = kept > 0
    level = torch.arange(n_bins) * levels // n_bins
    merged = torch.zeros(levels).index_add_(0, level, kept)
    spread = torch.zeros(levels).index_add_(0, level, filled.float())
    on_grid = torch.where(filled, (merged / spread.clamp(min=1))[level], 0.0)
    kept[-1] += counts[n_bins:].sum()
    p, q = kept / kept.sum(), on_grid / on_grid.sum().clamp(min=1e-12)
    inside = p > 0
    return float((p[inside] * (p[inside] / q[inside].clamp(min=1e-12)).log()).sum())
