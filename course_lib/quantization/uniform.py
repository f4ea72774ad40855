"""Uniform quantization: real numbers on a grid of equal steps, real ≈ scale · (code − zero_point).

*Affine* grids lay their 2^bits codes, 0 … 2^bits − 1, over a range of any position; the zero point is the code of 0.
*Symmetric* grids count from 0 in both directions, −(2^(bits−1) − 1) … 2^(bits−1) − 1, and need no zero point. On both,
the real 0 has a code of its own: padding and ReLU put so many exact zeros into a network that an error there would be
everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.errors import CourseError


@dataclass(frozen=True)
class QParams:
    """One grid, or one for each channel.

    Attributes:
        scale: the step, above 0; shape () or (channels,), float.
        zero_point: the code of the real 0, of the scale's shape, int32; 0 on a symmetric grid.
        bits: 1..16 (symmetric: 2..16).
        symmetric: codes on both sides of 0, instead of codes from 0.
        axis: the dimension of a tensor that holds its channels; None for one grid.

    Lesson 08.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int
    symmetric: bool
    axis: int | None = None

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return -(2 ** (self.bits - 1) - 1) if self.symmetric else 0

    @property
    def highest(self) -> int:
        """The largest code."""
        return 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1

    @property
    def dtype(self) -> torch.dtype:
        """The smallest of torch's common integer types that holds every code."""
        if self.bits <= 8:
            return torch.int8 if self.symmetric else torch.uint8
        return torch.int16 if self.symmetric or self.bits < 16 else torch.int32

    def of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point, shaped so that they broadcast over `x`."""
        if self.axis is None:
            return self.scale, self.zero_point
        if not -x.dim() <= self.axis < x.dim() or x.shape[self.axis] != len(self.scale):
            raise CourseError(
                f"The grid has {len(self.scale)} channels on axis {self.axis}, but the tensor has shape {tuple(x.shape)}."
            )
        shape = [1] * x.dim()
        shape[self.axis] = -1
        return self.scale.view(shape), self.zero_point.view(shape)


def choose_qparams(x: Tensor, bits: int = 8, *, symmetric: bool = False, axis: int | None = None) -> QParams:
    """The grid that just covers a tensor, from its smallest value to its largest.

    Args:
        x: any shape, finite, not empty.
        bits: 1..16 for an affine grid, 2..16 for a symmetric one.
        symmetric: count from 0 in both directions.
        axis: the dimension that holds the channels, for one grid per channel; None for one grid.

    Raises:
        CourseError: an empty tensor, NaN or infinity in it, or bits outside their range.

    >>> choose_qparams(torch.tensor([-1.0, 0.0, 2.0]), bits=2)
    QParams(scale=tensor(1.), zero_point=tensor(1, dtype=torch.int32), bits=2, symmetric=False, axis=None)

    Jacob et al. 2018. Lesson 08.
    """
    low, high = range_of(x, axis)
    return qparams_of_range(low, high, bits, symmetric=symmetric, axis=axis)


def range_of(x: Tensor, axis: int | None = None) -> tuple[Tensor, Tensor]:
    """The smallest and the largest value, of the tensor or of each channel.

    Raises:
        CourseError: an empty tensor, or NaN or infinity in it.

    >>> range_of(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), axis=0)
    (tensor([1., 3.]), tensor([2., 5.]))

    Lesson 08.
    """
    if x.numel() == 0:
        raise CourseError("An empty tensor has no range; pass a tensor with values.")
    if axis is None:
        low, high = x.detach().aminmax()
    else:
        rows = x.detach().movedim(axis, 0).flatten(1)
        low, high = rows.amin(dim=1), rows.amax(dim=1)  # aminmax is slow along a dimension
    if not ((low > -math.inf) & (high < math.inf)).all():  # NaN fails as well
        raise CourseError(f"A grid needs finite numbers, but the tensor of shape {tuple(x.shape)} has NaN or infinity.")
    return low, high


def qparams_of_range(
    low: Tensor | float, high: Tensor | float, bits: int = 8, *, symmetric: bool = False, axis: int | None = None
) -> QParams:
    """The grid that covers a range, widened where needed so that 0 lies on the grid.

    Affine: scale = (high − low) / (2^bits − 1), zero_point = round(−low / scale).
    Symmetric: scale = max(|low|, |high|) / (2^(bits−1) − 1). A range without width, 0..0, gets the scale 1.

    Args:
        low, high: the ends, numbers or tensors of shape () or (channels,), low ≤ high.
        bits, symmetric, axis: as in `choose_qparams`.

    Raises:
        CourseError: bits outside their range, ends that are not finite, or low above high.

    >>> qparams_of_range(-1.0, 1.0, bits=4, symmetric=True).scale
    tensor(0.1429)

    Jacob et al. 2018. Lesson 08.
    """
    check_bits(bits, symmetric)
    low, high = torch.as_tensor(low, dtype=torch.float32), torch.as_tensor(high, dtype=torch.float32)
    if not ((low > -math.inf) & (low <= high) & (high < math.inf)).all():
        raise CourseError(f"A range goes from low to high, both finite, but you passed low={low}, high={high}.")
    low, high = low.clamp(max=0), high.clamp(min=0)
    steps = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    width = torch.maximum(-low, high) if symmetric else high - low
    scale = width / steps
    scale = torch.where(scale > 0, scale, 1.0)
    zero_point = torch.zeros_like(scale) if symmetric else (-low / scale).round()
    return QParams(scale, zero_point.to(torch.int32), bits, symmetric, axis)


def check_bits(bits: int, symmetric: bool) -> None:
    """Refuse a number of bits that gives no grid."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 16:
        raise CourseError(f"bits must be a whole number from 1 to 16, but you passed {bits!r}.")
    if symmetric and bits == 1:
        raise CourseError("A symmetric grid of 1 bit has the code 0 alone. Use 2 bits (−1, 0, 1), or symmetric=False.")


def quantize(x: Tensor, qparams: QParams) -> Tensor:
    """The code of the grid point that is nearest: clamp(round(x / scale) + zero_point).

    What lies outside the grid goes to its end, *before* the cast to integers: a cast alone would wrap around.

    Returns:
        codes of x's shape, of the integer type `qparams.dtype`.

    Raises:
        CourseError: a grid per channel whose number of channels is not the tensor's; NaN in the tensor.

    >>> grid = qparams_of_range(-1.0, 2.0, bits=2)
    >>> quantize(torch.tensor([-9.0, -1.0, 0.4, 0.6, 9.0]), grid)
    tensor([0, 0, 1, 2, 3], dtype=torch.uint8)

    Lesson 08.
    """
    scale, zero_point = qparams.of(x)
    codes = (x / scale).round_().add_(zero_point).clamp_(qparams.lowest, qparams.highest)
    if codes.isnan().any():
        raise CourseError("NaN has no code: look where the tensor gets it, usually a training that diverged.")
    return codes.to(qparams.dtype)


def dequantize(codes: Tensor, qparams: QParams) -> Tensor:
    """The real numbers that codes stand for: scale · (code − zero_point), float32.

    >>> grid = qparams_of_range(-1.0, 2.0, bits=2)
    >>> dequantize(torch.tensor([0, 1, 3]), grid)
    tensor([-1.,  0.,  2.])

    Lesson 08.
    """
    scale, zero_point = qparams.of(codes)
    return scale * (codes.to(torch.int32) - zero_point)


def fake_quantize(x: Tensor, qparams: QParams) -> Tensor:
    """Quantize and come back: each value at its nearest grid point, still as a float.

    Inside the range it moves by at most scale / 2.

    >>> fake_quantize(torch.tensor([0.4, 0.6, 9.0]), qparams_of_range(-1.0, 2.0, bits=2))
    tensor([0., 1., 2.])

    Lesson 08.
    """
    return dequantize(quantize(x, qparams), qparams)


def signal_to_noise(x: Tensor, on_grid: Tensor) -> float:
    """How far the error lies below the values, in decibels: 10 · log₁₀(mean x² / mean (x − on_grid)²).

    Twice as many grid points halve the error, and a quarter of its square is 6.02 dB: so much is each bit worth.

    Args:
        x: any shape.
        on_grid: of the same shape.

    Returns:
        decibels; infinity where both are equal.

    Raises:
        CourseError: the shapes differ, or x has no signal: it is empty or zero everywhere.

    >>> round(signal_to_noise(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])), 6)
    20.0

    Lesson 08.
    """
    if x.shape != on_grid.shape:
        raise CourseError(f"Both tensors must have one shape, but you passed {tuple(x.shape)}, {tuple(on_grid.shape)}.")
    signal = x.detach().double().square().sum()
    if not signal > 0:
        raise CourseError("A tensor that is empty or zero everywhere has no signal to compare its error with.")
    return float(10 * (signal / (x.detach().double() - on_grid.detach().double()).square().sum()).log10())
