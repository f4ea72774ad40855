"""Lesson 09: multiplier and shift, the rounding right shift, a product with zero points, and folding a batch norm."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question

# --- 9.1 -----------------------------------------------------------------------------------------------------------


def multiplier_and_shift(multiplier: float) -> list[int]:
    """m₀ of 31 bits and shift, with m₀ / 2^shift as near to the multiplier as it gets."""
    return with_fraction()(multiplier)


def with_fraction(
    *, bits: int = 31, finish: Callable[[float], int] = round, edge: bool = True,
    shift: Callable[[int], int] = lambda exponent: 31 - exponent,
    of: Callable[[float], float] = lambda multiplier: multiplier,
) -> Callable:  # fmt: skip
    """A variant: another number of bits, another rounding, no look at the upper edge, another shift."""

    def run(multiplier: float) -> list:
        fraction, exponent = math.frexp(of(multiplier))
        m0 = finish(fraction * 2**bits)
        if edge and m0 == 2**bits:
            m0, exponent = m0 // 2, exponent + 1
        return [m0, shift(exponent)]

    return run


def doubled_until_a_half(multiplier: float) -> list[int]:
    """Right below 1; from 1 on the loop never starts."""
    shift = 31
    while multiplier < 0.5:
        multiplier, shift = 2 * multiplier, shift + 1
    m0 = round(multiplier * 2**31)
    return [m0 // 2, shift - 1] if m0 == 2**31 else [m0, shift]


def doubled_without_a_look(multiplier: float) -> list[int]:
    """The same loop, and no look at the upper edge."""
    shift = 31
    while multiplier < 0.5:
        multiplier, shift = 2 * multiplier, shift + 1
    return [round(multiplier * 2**31), shift]


def multiplier_cases(seed: int) -> list[Case]:
    """Usual multipliers, a power of two, one that rounds up to a bit more, one above 1, a tiny one."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
    return [
        Case("a usual multiplier", (draw(0.003, 0.03),)),
        Case("another one", (draw(0.0003, 0.003),)),
        Case("exactly a quarter", (0.25,)),
        Case("so near to 1 that rounding reaches it", (1 - 2.0**-40,)),
        Case("a multiplier above 1", (draw(1.1, 1.9),)),
        Case("a tiny multiplier", (draw(1e-7, 9e-7),)),
    ]


MULTIPLIER = Exercise(
    id="9.1",
    name="multiplier_and_shift",
    title="Multiplier and shift",
    points=2,
    reference=multiplier_and_shift,
    cases=multiplier_cases,
    rtol=0.0,
    atol=0.0,
    invariants=(Invariant("m₀ must lie in 2^30 … 2^31 − 1", lambda inputs, result: 2**30 <= result[0] < 2**31),),
    mistakes=(
        Mistake(
            "the fraction is cut off",
            "Your m₀ is sometimes one too small: `int` cuts the fraction off. Which whole number is nearest?",
            with_fraction(finish=int),
        ),
        Mistake(
            "a shift that is always 31",
            "You always shift by 31, so a small multiplier gets a small m₀ of few digits. Let the shift grow until m₀ fills "
            "its 31 bits.",
            lambda multiplier: [round(multiplier * 2**31), 31],
        ),
        Mistake(
            "one bit too many",
            "Your m₀ uses 32 bits and does not fit an int32, which needs one for the sign.",
            with_fraction(bits=32, shift=lambda exponent: 32 - exponent),
        ),
        Mistake(
            "one bit too few",
            "Your m₀ leaves a bit unused: half of the precision is given away. It should reach 2^30 at least.",
            with_fraction(bits=30, shift=lambda exponent: 30 - exponent),
        ),
        Mistake(
            "rounded up to 2^31",
            "Just below 1, rounding takes your m₀ to 2^31, one more than an int32 holds. The same number can be written with "
            "half of that m₀: what happens to the shift then?",
            with_fraction(edge=False),
        ),
        Mistake(
            "the exponent alone",
            "Your shift undoes the exponent only. m₀ itself is 2^31 times the fraction, and that has to be shifted away too.",
            with_fraction(shift=lambda exponent: -exponent),
        ),
        Mistake(
            "a shift to the left",
            "The sign of your shift is turned round. m₀ is huge, so it is a shift to the right, counted as a positive number.",
            with_fraction(shift=lambda exponent: exponent - 31),
        ),
        Mistake(
            "the exponent with the wrong sign",
            "Your shift moves the wrong way: a SMALLER multiplier has to be shifted further.",
            with_fraction(shift=lambda exponent: 31 + exponent),
        ),
        Mistake(
            "twice the multiplier",
            "m₀ / 2^shift gives twice what was asked for: your shift is one too short.",
            with_fraction(shift=lambda exponent: 30 - exponent),
        ),
        Mistake(
            "m₀ left a fraction",
            "You returned the fraction between 0.5 and 1. The processor here has no fractions: make it a whole number of 31 "
            "bits, and let the shift take that back.",
            with_fraction(bits=0, finish=float, edge=False, shift=lambda exponent: -exponent),
        ),
        Mistake(
            "one over the multiplier",
            "You turned the multiplier round. The output's scale is already in its denominator.",
            with_fraction(of=lambda multiplier: 1 / multiplier),
        ),
        Mistake(
            "multipliers above 1 forgotten",
            "From 1 on your m₀ is too large. Such a multiplier is rare but allowed: it needs a shift BELOW 31.",
            doubled_until_a_half,
        ),
        Mistake(
            "too large for an int32",
            "Usual multipliers are right. But just below 1, rounding takes your m₀ to 2^31, and above 1 it is larger still. Both "
            "need a smaller m₀ and a shorter shift.",
            doubled_without_a_look,
        ),
    ),
    hints=(
        "Write the multiplier as fraction · 2^exponent with a fraction from 0.5 to 1: `math.frexp` does just that.",
        "m₀ is the fraction times 2^31, rounded. Then m₀ / 2^shift is the multiplier for shift = 31 − exponent.",
        "`fraction, exponent = math.frexp(multiplier)`; `m0 = round(fraction * 2**31)`. If m0 is 2**31, halve it and "
        "shift by one less.",
    ),
)

# --- 9.2 -----------------------------------------------------------------------------------------------------------


def rounding_shift(x: Tensor, shift: int) -> Tensor:
    """Divide by 2^shift, rounded to the nearest whole number, halves upwards."""
    return (x + (1 << (shift - 1))) >> shift


def shift_in_place(x: Tensor, shift: int) -> Tensor:
    """Right, but the accumulators are gone."""
    x += 1 << (shift - 1)
    return x >> shift


def shift_cases(seed: int) -> list[Case]:
    """Both signs, halves, a shift of 1, numbers beyond 32 bits and beyond what a double holds."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high, n: torch.randint(low, high, (n,), generator=generator)
    near_half = draw(2**39, 2**40, 4) * 2**20 + 2**19 - 1  # 60 bits, just below a half
    return [
        Case("around zero, with halves", (torch.arange(-24, 25), 4)),
        Case("a shift of 1", (torch.arange(-5, 6), 1)),
        Case("random numbers of both signs", (draw(-(2**20), 2**20, 12), 7)),
        Case("numbers beyond 32 bits", (torch.cat([draw(2**40, 2**41, 5), -draw(2**40, 2**41, 5)]), 33)),
        Case("60 bits, just below a half", (torch.cat([near_half, -near_half - 1]), 20)),
        Case("a matrix", (draw(-900, 900, 12).view(3, 4), 5)),
    ]


def away_from_zero(x: Tensor, shift: int) -> Tensor:
    """The magnitude rounded, halves up, then the sign put back."""
    return x.sign() * ((x.abs() + (1 << (shift - 1))) >> shift)


SHIFT = Exercise(
    id="9.2",
    name="rounding_shift",
    title="The rounding right shift",
    points=2,
    reference=rounding_shift,
    cases=shift_cases,
    rtol=0.0,
    atol=0.0,
    invariants=(Invariant("the result must be int64", lambda inputs, result: result.dtype == torch.int64),),
    mistakes=(
        Mistake(
            "no rounding",
            "A right shift alone rounds DOWN, always: on average half a step is lost. What must be added first?",
            lambda x, shift: x >> shift,
        ),
        Mistake(
            "towards zero",
            "You cut the fraction off: everything comes out too near to zero. Asked for is the nearest whole number.",
            lambda x, shift: torch.div(x, 2**shift, rounding_mode="trunc"),
        ),
        Mistake(
            "half a step added, then towards zero",
            "Positive numbers are right, negative ones are not: after adding half a step you cut towards zero. It has to "
            "go DOWN from there, on both sides.",
            lambda x, shift: torch.div(x + (1 << (shift - 1)), 2**shift, rounding_mode="trunc"),
        ),
        Mistake(
            "a whole step added",
            "You added a whole step, so everything is rounded up. Half a step is half of 2^shift.",
            lambda x, shift: (x + (1 << shift)) >> shift,
        ),
        Mistake(
            "one added",
            "You added 1. That is half a step only where the shift is 1: how large is half of 2^shift?",
            lambda x, shift: (x + 1) >> shift,
        ),
        Mistake(
            "half a step away from zero",
            "You subtracted half a step from negative numbers, and then the shift rounds them down once more. The same "
            "half is added to every number.",
            lambda x, shift: (x + x.sign() * (1 << (shift - 1))) >> shift,
        ),
        Mistake(
            "halves away from zero",
            "Only your negative halves differ: −8 / 16 became −1. Here halves go up, also below zero: to 0.",
            away_from_zero,
        ),
        Mistake(
            "through float32",
            "You divided as floats. They hold 24 bits, and their `round` takes halves to the even neighbour. Stay with "
            "whole numbers.",
            lambda x, shift: torch.round(x / 2**shift).to(torch.int64),
        ),
        Mistake(
            "through doubles",
            "You divided as doubles, whose 53 bits are too few for the large numbers here; and `round` takes halves to the "
            "even neighbour. Stay with whole numbers.",
            lambda x, shift: torch.round(x.double() / 2**shift).to(torch.int64),
        ),
        Mistake(
            "floor of doubles",
            "You divided as doubles. Just below a half, a number of 60 bits is no longer told from the half itself. Stay "
            "with whole numbers.",
            lambda x, shift: torch.floor(x.double() / 2**shift + 0.5).to(torch.int64),
        ),
        Mistake(
            "in 32 bits",
            "Your small numbers are right, but accumulator times m₀ needs 64 bits: int32 wraps around.",
            lambda x, shift: ((x.to(torch.int32) + (1 << min(shift - 1, 30))) >> min(shift, 31)).to(torch.int64),
        ),
        Mistake(
            "brackets",
            "`<<` and `>>` bind more weakly than `+`, so something else was shifted than you meant. Put half a step in "
            "brackets of its own.",
            lambda x, shift: x + 1 << shift - 1 >> shift,
        ),
        Mistake(
            "the argument is changed",
            "Your result is right, but `+=` wrote into the tensor you were given. Make a new one.",
            shift_in_place,
        ),
    ),
    hints=(
        "`x >> shift` divides by 2^shift and rounds down, for both signs. What can you add so that down becomes nearest?",
        "Half a step: 2^(shift − 1), which is `1 << (shift - 1)`. The same for positive and negative numbers.",
        "`(x + (1 << (shift - 1))) >> shift`, with all its brackets.",
    ),
)

# --- 9.3 -----------------------------------------------------------------------------------------------------------


def integer_product(a: Tensor, b: Tensor, a_zero_point: int, b_zero_point: int) -> Tensor:
    """Σ (a − a_zero_point) · (b − b_zero_point), exactly, in int32."""
    return product_with()(a, b, a_zero_point, b_zero_point)


def product_with(
    *, columns: int = -1, rows: int = -1, constant: int = 1, swapped: bool = False, k_of: Callable = lambda a, b: a.shape[1],
    sums: torch.dtype = torch.int32, product: torch.dtype = torch.int32,
) -> Callable:  # fmt: skip
    """A variant of the expanded product: a sign turned round or a term left out, sums in another type."""

    def run(a: Tensor, b: Tensor, a_zero_point: int, b_zero_point: int) -> Tensor:
        total = (a.to(product) @ b.to(product)).to(torch.int32)
        of_b = b.sum(dim=0, dtype=sums).to(torch.int32)
        of_a = a.sum(dim=1, keepdim=True, dtype=sums).to(torch.int32)
        if swapped:
            a_zero_point, b_zero_point = b_zero_point, a_zero_point
        total = total + columns * a_zero_point * of_b + rows * b_zero_point * of_a
        return total + constant * k_of(a, b) * a_zero_point * b_zero_point

    return run


def moved_in_bytes(a: Tensor, b: Tensor, a_zero_point: int, b_zero_point: int) -> Tensor:
    """The zero points taken away before the codes have room."""
    return (a - a_zero_point).to(torch.int32) @ (b - b_zero_point).to(torch.int32)


def in_floats(a: Tensor, b: Tensor, a_zero_point: int, b_zero_point: int) -> Tensor:
    """Float32 counts without gaps up to 2^24 only."""
    return ((a.float() - a_zero_point) @ (b.float() - b_zero_point)).to(torch.int32)


def product_cases(seed: int) -> list[Case]:
    """Zero points on both sides, on one, on none; and a long sum of the largest products."""
    generator = torch.Generator().manual_seed(seed)
    codes = lambda low, high, *shape: torch.randint(low, high, shape, generator=generator).to(torch.int8)
    point = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    return [
        Case("zero points on both sides", (codes(-128, 128, 3, 20), codes(-128, 128, 20, 4), point(20, 90), point(-90, -20))),
        Case("a zero point on the left only", (codes(-128, 128, 2, 9), codes(-127, 128, 9, 5), point(-128, -60), 0)),
        Case("a zero point on the right only", (codes(-128, 128, 4, 7), codes(-128, 128, 7, 2), 0, point(30, 100))),
        Case("no zero points", (codes(-128, 128, 2, 6), codes(-128, 128, 6, 3), 0, 0)),
        Case("600 large products", (codes(90, 128, 5, 600), codes(-128, -90, 600, 6), -128, 127)),
        Case("as many rows as columns", (codes(-50, 128, 4, 4), codes(-50, 128, 4, 4), point(-50, -5), point(5, 50))),
    ]  # fmt: skip


PRODUCT = Exercise(
    id="9.3",
    name="integer_product",
    title="A product with zero points",
    points=3,
    reference=integer_product,
    cases=product_cases,
    rtol=0.0,
    atol=0.0,
    invariants=(Invariant("the sums must be int32", lambda inputs, result: result.dtype == torch.int32),),
    mistakes=(
        Mistake(
            "all corrections forgotten",
            "You summed the products of the plain codes. A code is not the number: the zero point has to be taken away.",
            product_with(columns=0, rows=0, constant=0),
        ),
        Mistake(
            "the constant forgotten",
            "One term is missing: multiply (a − z)(b − z′) out for a single product. The one with both zero points comes once "
            "for each of the K products.",
            product_with(constant=0),
        ),
        Mistake(
            "the constant only once",
            "The product of the two zero points stands in EVERY one of the K products.",
            product_with(k_of=lambda a, b: 1),
        ),
        Mistake(
            "the constant with a minus",
            "Minus times minus: the term with both zero points is added.",
            product_with(constant=-1),
        ),
        Mistake(
            "the sums of b forgotten",
            "a's zero point multiplies something too: which sum, over rows or columns of b?",
            product_with(columns=0),
        ),
        Mistake(
            "the sums of a forgotten",
            "b's zero point multiplies something too: which sum, over rows or columns of a?",
            product_with(rows=0),
        ),
        Mistake(
            "corrections added",
            "You added the terms with one zero point. Multiply (a − z)(b − z′) out and look at their signs.",
            product_with(columns=1, rows=1),
        ),
        Mistake(
            "zero points swapped",
            "Each zero point has been multiplied with the sums of its OWN matrix. In (a − z)(b − z′), whose zero point meets b?",
            product_with(swapped=True),
        ),
        Mistake(
            "K is the number of rows",
            "The constant counts the products in one sum. That is the inner dimension, which both matrices share.",
            product_with(k_of=lambda a, b: a.shape[0]),
        ),
        Mistake(
            "products in int8",
            "torch sums int8 products in int8, and wraps around at 127. Give the codes more room before you multiply.",
            product_with(product=torch.int8),
        ),
        Mistake(
            "sums in int8",
            "The product is right, but your sums of codes wrapped around: a sum of int8 needs a wider `dtype`.",
            product_with(sums=torch.int8),
        ),
        Mistake(
            "zero points taken away in int8",
            "You took the zero point away while the codes were still int8: 100 − (−128) is 228, and int8 ends at 127. Widen "
            "first.",
            moved_in_bytes,
        ),
        Mistake(
            "everything in int8",
            "You took the zero points away and multiplied in int8, which ends at 127. Widen the codes before anything else.",
            lambda a, b, za, zb: ((a - za) @ (b - zb)).to(torch.int32),
        ),
        Mistake(
            "the sums of a lie in a row",
            "The sums over a's rows belong to the ROWS of the result, but yours broadcast along its columns. keepdim leaves them "
            "standing.",
            lambda a, b, za, zb: a.int() @ b.int() - za * b.sum(0) - zb * a.sum(1) + a.shape[1] * za * zb,
        ),
        Mistake(
            "through float32",
            "Short sums are right, the long one is not: float32 counts without gaps only up to 2^24. Use whole numbers.",
            in_floats,
        ),
        Mistake(
            "int64",
            "The sums are right, but they are int64. An integer network's accumulators are int32.",
            lambda a, b, za, zb: (a.long() - za) @ (b.long() - zb),
        ),
    ),
    hints=(
        "A sum of (a − z)(b − z′) is four sums: a·b, −z·b, −z′·a, and z·z′ for each of the K products.",
        "The sums of b go down its columns (dim 0), those of a along its rows (dim 1, with keepdim so that they broadcast). "
        "All of it in int32.",
        "Or take the zero points away first, once the codes are int32: `(a.int() - a_zero_point)` has room for everything.",
    ),
)  # fmt: skip

# --- 9.4 -----------------------------------------------------------------------------------------------------------


def folded(
    weight: Tensor, bias: Tensor | None, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> list[Tensor]:
    """Weight and bias of a layer that has taken its batch norm over."""
    return folded_with()(weight, bias, gamma, beta, mean, variance, eps)


def folded_with(
    *, gain: Callable[[Tensor, Tensor, float], Tensor] = lambda gamma, variance, eps: gamma / (variance + eps).sqrt(),
    shift: Callable[..., Tensor] = lambda bias, gamma, beta, mean, gain: beta + gain * (bias - mean),
    axis: int = 0, in_place: bool = False, needs_bias: bool = False, keeps_none: bool = False,
) -> Callable:  # fmt: skip
    """A variant: another gain, another shift, the gain along another axis."""

    def run(weight, bias, gamma, beta, mean, variance, eps):
        factor = gain(gamma, variance, eps)
        shape = [1] * weight.dim()
        shape[axis] = -1
        new = weight.mul_(factor.view(shape)) if in_place else weight * factor.view(shape)
        if bias is None and keeps_none:
            return [new, None]
        old = bias if bias is not None or needs_bias else torch.zeros_like(mean)
        return [new, shift(old, gamma, beta, mean, factor)]

    return run


def folding_cases(seed: int) -> list[Case]:
    """A square convolution, one without bias, a linear layer, and an eps that counts."""
    generator = torch.Generator().manual_seed(seed)

    def layer(*shape: int, bias: bool = True, eps: float = 1e-5) -> tuple:
        draw = lambda *size: torch.randn(*size, generator=generator)
        norm = (draw(shape[0]) + 0.2, draw(shape[0]), draw(shape[0]), 0.2 + 3 * draw(shape[0]).abs())
        return (draw(*shape), draw(shape[0]) if bias else None, *norm, eps)

    return [
        Case("a convolution with as many inputs as outputs", layer(5, 5, 3, 3)),
        Case("a linear layer", layer(4, 6)),
        Case("an eps that counts", layer(6, 6, 1, 1, eps=0.5)),
        Case("a convolution without bias", layer(3, 3, 3, 3, bias=False)),
    ]


FOLDING = Exercise(
    id="9.4",
    name="folded",
    title="Fold a batch norm",
    points=2,
    reference=folded,
    cases=folding_cases,
    rtol=1e-4,
    atol=1e-5,
    mistakes=(
        Mistake(
            "eps forgotten",
            "You left eps out. It is small, but where a channel hardly varies it decides.",
            folded_with(gain=lambda gamma, variance, eps: gamma / variance.sqrt()),
        ),
        Mistake(
            "eps outside the root",
            "You added eps to the standard deviation. Batch norm adds it to the variance, under the root.",
            folded_with(gain=lambda gamma, variance, eps: gamma / (variance.sqrt() + eps)),
        ),
        Mistake(
            "the variance without its root",
            "You divided by the variance. Batch norm divides by the standard deviation.",
            folded_with(gain=lambda gamma, variance, eps: gamma / (variance + eps)),
        ),
        Mistake(
            "gamma forgotten",
            "You normalised but left the learned gain out.",
            folded_with(gain=lambda gamma, variance, eps: (variance + eps).rsqrt()),
        ),
        Mistake(
            "beta forgotten",
            "You left the learned shift out: what does batch norm add at the end?",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: gain * (bias - mean)),
        ),
        Mistake(
            "the mean forgotten",
            "You scaled, but nowhere took the running mean away.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: beta + gain * bias),
        ),
        Mistake(
            "the mean added",
            "You added the running mean. Normalising takes it away.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: beta + gain * (bias + mean)),
        ),
        Mistake(
            "the old bias not scaled",
            "The layer's own bias goes through batch norm too: it must be multiplied by the gain.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: beta + bias - gain * mean),
        ),
        Mistake(
            "the old bias dropped",
            "Where the layer has a bias, yours forgot it.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: beta - gain * mean),
        ),
        Mistake(
            "the bias not touched",
            "You changed the weight only. The shift of batch norm goes into the bias.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: bias),
        ),
        Mistake(
            "beta scaled as well",
            "You multiplied beta by the gain. It is added after everything else.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: gain * (bias - mean + beta)),
        ),
        Mistake(
            "the mean not scaled",
            "You took the running mean away without the gain. It is taken away BEFORE the multiplication.",
            folded_with(shift=lambda bias, gamma, beta, mean, gain: beta + gain * bias - mean),
        ),
        Mistake(
            "the gain on the inputs",
            "Your gain multiplies the weight's second axis, the inputs. Batch norm stands behind the layer: one gain for each "
            "OUTPUT channel.",
            folded_with(axis=1),
        ),
        Mistake(
            "the gain on the last axis",
            "You multiplied without reshaping, so the gain met the weight's last axis. Where do the output channels stand?",
            folded_with(axis=-1),
        ),
        Mistake(
            "always four axes",
            "Your gain has the four axes of a convolution's weight, so a linear layer's weight grew two. How many axes has "
            "`weight`?",
            lambda weight, bias, gamma, beta, mean, variance, eps: [
                weight * (gamma / (variance + eps).sqrt()).view(-1, 1, 1, 1),
                folded(weight, bias, gamma, beta, mean, variance, eps)[1],
            ],
        ),
        Mistake(
            "no bias, no shift",
            "A layer without a bias came back without one. Folded, it needs one: batch norm's shift has to go somewhere.",
            folded_with(keeps_none=True),
        ),
        Mistake(
            "a missing bias",
            "One of the layers has no bias: None counts as zeros.",
            folded_with(needs_bias=True),
        ),
        Mistake(
            "the weight is changed",
            "Your numbers are right, but the weight you were given was overwritten. Return a new one.",
            folded_with(in_place=True),
        ),
    ),
    hints=(
        "In eval mode batch norm is gain · (z − mean) + beta, with gain = gamma / √(variance + eps). Put z = W x + b in.",
        "W takes the gain, row by row: reshape it to (out, 1, …). And b becomes gain · (b − mean) + beta, with b = 0 for None.",
        "`gain.view(-1, *[1] * (weight.dim() - 1))` broadcasts over any weight, (out, in) or (out, in, height, width).",
    ),
)

EXERCISES = (MULTIPLIER, SHIFT, PRODUCT, FOLDING)

QUIZ = (
    Question(
        "A 16-bit register wraps several times while it adds, but the true sum at the end fits into 16 bits. What does it hold?",
        {
            "The right sum": "Each wrap adds or takes away 65,536, and at the end these cancel. Only the last sum has to fit.",
            "A wrong sum": "Wrapping is counting modulo 65,536. A number that fits is its own remainder, whatever happened before.",
            "It depends on the order": "Addition modulo 65,536 does not care about order, just as ordinary addition.",
        },
        "The right sum",
    ),
    Question(
        "Padding a convolution on codes: with what?",
        {
            "With the zero point": "It is the code of the real 0, which is what padding means.",
            "With the code 0": "Code 0 is a real number other than 0, unless the zero point happens to be 0: the border would glow.",
            "With −128": "That is the smallest number of the grid. It is right for max pooling only.",
        },
        "With the zero point",
    ),
    Question(
        "Why does a ReLU cost nothing in an integer network?",
        {
            "The output's grid begins at 0, so saturation cuts the rest off": "What is below 0 lies below the lowest code, and clamping was needed anyway.",
            "Because integers are never negative": "The codes are signed, and so are the sums.",
            "Because it is skipped": "It is done, but by an operation that was there already.",
        },
        "The output's grid begins at 0, so saturation cuts the rest off",
    ),
    Question(
        "Your integer network reaches the float network's accuracy. Is its arithmetic right?",
        {
            "Not shown: compare codes, layer by layer": "A network shrugs off small errors. A wrong rounding hides in the accuracy, but not in the codes.",
            "Yes, accuracy is what counts": "You saw a wrong shift with the same accuracy. On another network it may not be so kind.",
            "Yes, if the test set is large": "A larger test set sees smaller losses, but a systematic fault may cost none at all here.",
        },
        "Not shown: compare codes, layer by layer",
    ),
)
