"""Multiplying by a real number with integers alone: a whole multiplier and a shift to the right.

An accumulator counts in steps of scale_x · scale_w; its layer's output counts in steps of scale_y. The quotient
M = scale_x · scale_w / scale_y is real, but M ≈ m₀ / 2^shift for a whole m₀ of 31 bits, to nine digits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.errors import CourseError


def fixed_point(multiplier: Tensor | float, *, bits: int = 31, longest_shift: int = 62) -> tuple[Tensor, Tensor]:
    """Whole numbers m₀ and shift with m₀ / 2^shift ≈ multiplier, where m₀ uses all its bits: 2^(bits−1) ≤ m₀ < 2^bits.

    Args:
        multiplier: above 0 and finite, any shape; below 1 in a usual layer.
        bits: of m₀, 2..31.
        longest_shift: where a multiplier is so small that more were needed, m₀ loses bits instead.

    Returns:
        m₀ and shift, int64, of the multiplier's shape; shift lies in 1..longest_shift.

    Raises:
        CourseError: a multiplier that is not above 0 and finite, or so large that no shift is left.

    >>> m0, shift = fixed_point(0.3)
    >>> m0.item() / 2**shift.item()
    0.3000000000465661...

    Jacob et al. 2018. Lesson 09.
    """
    multiplier = torch.as_tensor(multiplier, dtype=torch.float64)
    if not (multiplier.isfinite().all() and (multiplier > 0).all()):
        raise CourseError("A multiplier is a quotient of scales, above 0 and finite; check the scales for 0 or NaN.")
    fraction, exponent = torch.frexp(multiplier)  # multiplier = fraction · 2^exponent, fraction in [0.5, 1)
    m0 = (fraction * 2**bits).round().to(torch.int64)
    shift = bits - exponent.to(torch.int64)
    full = m0 == 2**bits  # rounded up to one bit more
    m0, shift = torch.where(full, m0 // 2, m0), torch.where(full, shift - 1, shift)
    if (shift < 1).any():
        raise CourseError(
            f"A multiplier of {multiplier.max():.3g} leaves nothing to shift; the output's scale is too small."
        )
    too_far = (shift - longest_shift).clamp(min=0)
    return m0 >> too_far.clamp(max=62), shift - too_far


def rounding_right_shift(x: Tensor, shift: Tensor | int) -> Tensor:
    """Divide by 2^shift, rounded to the nearest whole number, halves upwards.

    A right shift alone rounds *down*, also negative numbers: −1 >> 4 is −1. So half a step is added first.

    Args:
        x: int64, any shape.
        shift: 1..62, a number or a tensor that broadcasts.

    >>> rounding_right_shift(torch.tensor([-9, -8, -7, 7, 8, 9]), 4)
    tensor([-1,  0,  0,  0,  1,  1])

    Jacob et al. 2018. Lesson 09.
    """
    shift = torch.as_tensor(shift)
    return (x + (torch.ones_like(shift) << (shift - 1))) >> shift


def requantize(accumulator: Tensor, m0: Tensor, shift: Tensor, zero_point: int = 0) -> Tensor:
    """From accumulators to int8 codes: multiply, shift with rounding, add the zero point, saturate.

    Args:
        accumulator: int32, (…, channels).
        m0, shift: of `fixed_point`, () or (channels,).
        zero_point: of the output, −128..127.

    Returns:
        codes, int8, of the accumulator's shape.

    >>> m0, shift = fixed_point(0.01)
    >>> requantize(torch.tensor([-20_000, -151, 149, 20_000]), m0, shift)
    tensor([-128,   -2,    1,  127], dtype=torch.int8)

    Jacob et al. 2018. Lesson 09.
    """
    product = accumulator.to(torch.int64) * m0
    return (rounding_right_shift(product, shift) + zero_point).clamp_(-128, 127).to(torch.int8)


def wrapped(x: Tensor, bits: int) -> Tensor:
    """What an accumulator of so many bits would hold: two's complement, which wraps around without a word.

    Args:
        x: whole numbers, any integer type.
        bits: 1..63.

    >>> wrapped(torch.tensor([127, 128, 300]), bits=8)
    tensor([ 127, -128,   44])

    Lesson 09.
    """
    half = 1 << (bits - 1)
    return ((x.to(torch.int64) + half) & ((1 << bits) - 1)) - half
