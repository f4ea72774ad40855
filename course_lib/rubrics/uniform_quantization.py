"""Lesson 08: scale and zero point, codes with saturation, a grid for each channel, and the clip of least square error."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.quantization.uniform import QParams, choose_qparams, fake_quantize, qparams_of_range, quantize
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question

# --- 8.1 -----------------------------------------------------------------------------------------------------------


def scale_and_zero_point(x: Tensor, bits: int, symmetric: bool) -> list:
    """The step of the grid that covers all of x, and the code of the real 0."""
    grid = choose_qparams(x, bits, symmetric=symmetric)
    return [float(grid.scale), int(grid.zero_point)]


def params_with(
    *, widen: bool = True, extra: tuple[int, int] = (0, 0), zero: Callable[[float, float], float] | None = None,
    reach: Callable[[float, float], float] = lambda low, high: max(-low, high), middle: bool = False,
    flat: bool = True, inverse: bool = False, swapped: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the grid: not widened to 0, `extra` steps (affine, symmetric), another zero point or reach."""

    def run(x: Tensor, bits: int, symmetric: bool) -> list:
        low, high = float(x.min()), float(x.max())
        if widen:
            low, high = min(low, 0.0), max(high, 0.0)
        steps = (2 ** (bits - 1) - 1 + extra[1], 2**bits - 1 + extra[0])
        scale = reach(low, high) / steps[0] if symmetric != swapped else (high - low) / steps[1]
        scale = 1.0 if flat and scale <= 0 else scale
        if symmetric:
            return [1 / scale if inverse else scale, 2 ** (bits - 1) if middle else 0]
        zero_point = (zero or (lambda low, scale: round(-low / scale)))(low, scale)
        return [1 / scale if inverse else scale, zero_point]

    return run


def params_cases(seed: int) -> list[Case]:
    """Ranges on both sides of 0 (0 lies 6.7 steps above the lowest) and on one; and no range at all."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=generator)
    steps = torch.cat([15 * draw(30), torch.tensor([0.0, 15.0])]) - 6.7
    both = steps * (0.2 + float(draw(1)))
    return [
        Case("an affine grid of 4 bits, values on both sides of 0", (both, 4, False)),
        Case("a symmetric grid of 3 bits, the farthest value is negative", (-both, 3, True)),
        Case("all values are positive and far from 0", (3 + 2 * draw(4, 5), 5, False)),
        Case("all values are negative", (-3 - 2 * draw(12), 8, False)),
        Case("a symmetric grid of 8 bits, all values are positive", (3 + 2 * draw(12), 8, True)),
        Case("nothing but zeros", (torch.zeros(6), 8, False)),
        Case("nothing but zeros, on a symmetric grid", (torch.zeros(2, 3), 3, True)),
    ]


PARAMS = Exercise(
    id="8.1",
    name="scale_and_zero_point",
    title="Scale and zero point",
    points=2,
    reference=scale_and_zero_point,
    cases=params_cases,
    mistakes=(
        Mistake(
            "zero not representable",
            "Where all values lie on one side of 0, your grid leaves 0 out. Padding and ReLU put exact zeros everywhere: "
            "which range contains all values AND 0?",
            params_with(widen=False),
        ),
        Mistake(
            "off by one in the number of levels",
            "You divided by the number of grid points. Between 16 points there are how many steps?",
            params_with(extra=(1, 1)),
        ),
        Mistake(
            "-128 used on the symmetric grid",
            "You counted the lowest code of the type, such as -128, on the symmetric grid. It has no partner on the other "
            "side; the grid goes from -127 to 127.",
            params_with(extra=(0, 1)),
        ),
        Mistake(
            "zero point not rounded",
            "Your zero point has a fraction. It is a code, a whole number: only then does the real 0 lie on the grid.",
            params_with(zero=lambda low, scale: -low / scale),
        ),
        Mistake(
            "zero point cut off",
            "You cut the zero point's fraction off. Take the nearest whole number.",
            params_with(zero=lambda low, scale: int(-low / scale)),
        ),
        Mistake(
            "sign of the zero point",
            "Your zero point has the wrong sign. Code 0 stands for the lowest value: how many steps is 0 above it?",
            params_with(zero=lambda low, scale: round(low / scale)),
        ),
        Mistake(
            "largest value without its sign's partner",
            "On the symmetric grid you took the largest value, not the largest MAGNITUDE: what lies far below 0 is cut off.",
            params_with(reach=lambda low, high: high),
        ),
        Mistake(
            "half of the range",
            "On the symmetric grid you took half of the range from lowest to highest. It must reach the farthest value while "
            "its middle stays at 0.",
            params_with(reach=lambda low, high: (high - low) / 2),
        ),
        Mistake(
            "symmetric zero point in the middle",
            "Your symmetric grid has a zero point. Its codes count from 0 in both directions, so which code stands for 0?",
            params_with(middle=True),
        ),
        Mistake(
            "no range, no scale",
            "Where all values are 0 the scale becomes 0, and dividing by it fails. Which scale does no harm there?",
            params_with(flat=False),
        ),
        Mistake(
            "scale turned over",
            "You returned steps per unit. The scale is the size of one step.",
            params_with(inverse=True),
        ),
        Mistake(
            "grids swapped",
            "You computed the affine scale where the symmetric one was asked for, and the other way round.",
            params_with(swapped=True),
        ),
    ),
    hints=(
        "Begin with the range: `low = min(x.min(), 0)`, `high = max(x.max(), 0)`. Then how many steps has the grid?",
        "Affine: 2^bits codes make 2^bits - 1 steps over high - low. Symmetric: 2^(bits-1) - 1 steps over the largest magnitude.",
        "The zero point is round(-low / scale) on the affine grid and 0 on the symmetric one; a scale of 0 becomes 1.",
    ),
)

# --- 8.2 -----------------------------------------------------------------------------------------------------------


def saturating_codes(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
    """The codes of the nearest grid points, one byte each; what lies outside goes to the grid's end."""
    grid = QParams(torch.tensor(scale), torch.tensor(zero_point, dtype=torch.int32), bits, symmetric)
    return quantize(x, grid)


def ends(bits: int, symmetric: bool) -> tuple[int, int]:
    """The lowest and the highest code."""
    return (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)


def plain_codes(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """Codes before saturation, float."""
    return torch.round(x / scale) + zero_point


def codes_with(
    raw: Callable[[Tensor, float, int], Tensor] = plain_codes, *, limits: Callable = ends, early: bool = False,
    dtype: torch.dtype | None = None,
) -> Callable:  # fmt: skip
    """A variant of the codes: another formula, other limits, the cast before the clamp, another type."""

    def run(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
        byte = torch.int8 if symmetric else torch.uint8
        codes = raw(x, scale, zero_point)
        low, high = limits(bits, symmetric)
        if early:
            return codes.long().to(byte).clamp(max(low, torch.iinfo(byte).min), min(high, torch.iinfo(byte).max))
        return codes.clamp(low, high).long().to(dtype or byte)

    return run


def clamped_too_soon(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
    """The zero point comes after the clamp."""
    codes = torch.round(x / scale).clamp(*ends(bits, symmetric)) + zero_point
    return codes.long().to(torch.int8 if symmetric else torch.uint8)


def codes_in_place(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
    """Right, but x is overwritten."""
    codes = x.div_(scale).round_().add_(zero_point).clamp_(*ends(bits, symmetric))
    return codes.to(torch.int8 if symmetric else torch.uint8)


def codes_cases(seed: int) -> list[Case]:
    """Values inside, and far outside, on grids of 3 to 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=generator)
    scale = 0.05 + 0.2 * float(draw(1))
    wide = lambda reach: torch.cat([(draw(40) * 2 - 1) * reach, torch.tensor([-3.2, 3.2]) * reach]) * scale
    return [
        Case("an affine grid of 4 bits, values far outside", (wide(100.0), scale, 6, 4, False)),
        Case("a symmetric grid of 8 bits, values far outside", (wide(160.0), scale, 0, 8, True)),
        Case("a symmetric grid of 3 bits", (wide(4.0).view(6, 7), scale, 0, 3, True)),
        Case("an affine grid of 8 bits", (wide(210.0), scale, 117, 8, False)),
    ]


CODES = Exercise(
    id="8.2",
    name="saturating_codes",
    title="Quantize with saturation",
    points=2,
    reference=saturating_codes,
    cases=codes_cases,
    invariants=(
        Invariant(
            "the values are right, but not the type: int8 on a symmetric grid, uint8 on an affine one",
            lambda inputs, codes: codes.dtype == (torch.int8 if inputs[4] else torch.uint8),
        ),
    ),
    mistakes=(
        Mistake(
            "cast before clamping",
            "You made bytes first and clamped afterwards. By then 300 has already wrapped around to 44, and it is too late.",
            codes_with(early=True),
        ),
        Mistake(
            "not clamped",
            "You did not clamp. A byte keeps the last eight bits: 300 becomes 44, and the largest value one of the smaller ones.",
            codes_with(early=True, limits=lambda bits, symmetric: (-(10**6), 10**6)),
        ),
        Mistake(
            "-128 used on the symmetric grid",
            "Your lowest code has no partner: the symmetric grid of 8 bits ends at -127.",
            codes_with(limits=lambda bits, s: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if s else (0, 2**bits - 1)),
        ),
        Mistake(
            "clamped before the zero point",
            "You clamped, and then moved the codes by the zero point, out of the grid again. Which of the two comes last?",
            clamped_too_soon,
        ),
        Mistake(
            "fraction cut off",
            "You cut the fraction off, so every value moves towards 0. Take the nearest grid point.",
            codes_with(lambda x, scale, zero: torch.trunc(x / scale) + zero),
        ),
        Mistake(
            "rounded down",
            "You rounded down, so every value moves down by half a step on average. Take the nearest grid point.",
            codes_with(lambda x, scale, zero: torch.floor(x / scale) + zero),
        ),
        Mistake(
            "multiplied by the scale",
            "You multiplied by the scale: that is the way back. How many steps fit into x?",
            codes_with(lambda x, scale, zero: torch.round(x * scale) + zero),
        ),
        Mistake(
            "zero point subtracted",
            "You subtracted the zero point. x = 0 must get the code `zero_point`.",
            codes_with(lambda x, scale, zero: torch.round(x / scale) - zero),
        ),
        Mistake(
            "zero point added to the real value",
            "You added the zero point to x. It counts in codes, so it is added after the division.",
            codes_with(lambda x, scale, zero: torch.round((x + zero) / scale)),
        ),
        Mistake(
            "highest code one too high",
            "Your highest code is one too high: 2^bits codes that begin at 0 end one below that number.",
            codes_with(limits=lambda bits, s: (-(2 ** (bits - 1)), 2 ** (bits - 1)) if s else (0, 2**bits)),
        ),
        Mistake(
            "always eight bits",
            "You used the whole byte. With fewer bits the grid ends earlier: what is its highest code?",
            codes_with(limits=lambda bits, symmetric: ends(8, symmetric)),
        ),
        Mistake(
            "another kind of number",
            "Your codes are right, but not one byte each. That is what quantization saves: return int8 on a symmetric grid, "
            "uint8 on an affine one.",
            codes_with(dtype=torch.int64),
        ),
        Mistake(
            "x is overwritten",
            "Your codes are right, but x came back changed. Work on a new tensor.",
            codes_in_place,
        ),
    ),
    hints=(
        "Four steps, in this order: divide and round, add the zero point, clamp, cast.",
        "The ends: 0 and 2^bits - 1 on an affine grid, -(2^(bits-1) - 1) and 2^(bits-1) - 1 on a symmetric one.",
        "`(torch.round(x / scale) + zero_point).clamp(lowest, highest)`, and only then `.to(torch.int8)` or `.to(torch.uint8)`.",
    ),
)

# --- 8.3 -----------------------------------------------------------------------------------------------------------


def quantize_channels(weight: Tensor, bits: int, axis: int) -> list[Tensor]:
    """One symmetric grid for each channel: the scales, and the weights at their grid points."""
    grid = choose_qparams(weight, bits, symmetric=True, axis=axis)
    return [grid.scale, fake_quantize(weight, grid)]


def channels_with(
    *, reach: Callable[[Tensor, int], Tensor] | None = None, shaped: bool = True, fixed: int | None = None,
    alive: bool = True, extra: int = 0, result: Callable[[Tensor, Tensor], Tensor] = lambda scale, codes: scale * codes,
) -> Callable:  # fmt: skip
    """A variant: another reach of a channel, scales that are not put on their axis, a fixed axis, dead channels."""

    def run(weight: Tensor, bits: int, axis: int) -> list[Tensor]:
        axis = axis if fixed is None else fixed
        steps = 2 ** (bits - 1) - 1
        widths = (reach or (lambda w, a: w.abs().movedim(a, 0).flatten(1).amax(dim=1)))(weight, axis)
        scale = widths / (steps + extra)
        scale = torch.where(scale > 0, scale, 1.0) if alive else scale
        over = [-1 if place == axis % weight.dim() else 1 for place in range(weight.dim())]
        wide = scale.view(over) if shaped else scale
        return [scale, result(wide, torch.round(weight / wide).clamp(-steps, steps))]

    return run


def one_grid(weight: Tensor, bits: int, axis: int) -> list[Tensor]:
    """The same scale for all channels."""
    grid = choose_qparams(weight, bits, symmetric=True)
    return [grid.scale.expand(weight.shape[axis]).clone(), fake_quantize(weight, grid)]


def channels_in_place(weight: Tensor, bits: int, axis: int) -> list[Tensor]:
    """Right, but the weights are overwritten."""
    scale, on_grid = quantize_channels(weight, bits, axis)
    return [scale, weight.copy_(on_grid)]


def channels_cases(seed: int) -> list[Case]:
    """Channels of very different range, on every axis; one of them dead; one far below 0 only."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    ranges = torch.tensor([0.1, 8.0, 1.0, 3.0])
    negative = draw(3, 4) * ranges
    negative[:, 2] = -5 - negative[:, 2].abs()
    dead = draw(4, 2, 3, 3) * ranges.view(-1, 1, 1, 1)
    dead[1] = 0
    return [
        Case("a convolution, channels on axis 0", (draw(4, 3, 3, 3) * ranges.view(-1, 1, 1, 1), 4, 0)),
        Case("a square matrix, channels on axis 1", (draw(4, 4) * ranges, 5, 1)),
        Case("a square matrix, channels on axis 0", (draw(4, 4) * ranges[:, None], 5, 0)),
        Case("a transposed convolution, channels on axis 1", (draw(3, 4, 2, 2) * ranges.view(1, -1, 1, 1), 3, 1)),
        Case("channels on the last axis, one far below 0", (negative, 4, -1)),
        Case("one channel is all zeros", (dead, 8, 0)),
    ]


CHANNELS = Exercise(
    id="8.3",
    name="quantize_channels",
    title="A grid for each channel",
    points=2,
    reference=quantize_channels,
    cases=channels_cases,
    mistakes=(
        Mistake(
            "one grid for all",
            "Every channel of yours has the same scale, the one of the widest. The narrow ones then hardly have a grid point.",
            one_grid,
        ),
        Mistake(
            "always the first axis",
            "You took axis 0, whatever was asked. A transposed convolution keeps its output channels on axis 1.",
            channels_with(fixed=0),
        ),
        Mistake(
            "maximum over the channels",
            "You took the maximum ALONG the axis that holds the channels. Each channel keeps its own: over which axes must "
            "the maximum go?",
            channels_with(reach=lambda w, a: w.abs().amax(dim=a).flatten()),
        ),
        Mistake(
            "scales on the wrong axis",
            "Your scales are right, but they met the weights along the last axis: that is how shapes broadcast. A square "
            "matrix even hides it. Give the scales a shape first.",
            channels_with(shaped=False),
        ),
        Mistake(
            "reshaped instead of moved",
            "You cut the weights into channels by a reshape. It keeps the order in memory, so unless the axis is the first, "
            "the pieces are no channels.",
            channels_with(reach=lambda w, a: w.abs().reshape(w.shape[a], -1).amax(dim=1)),
        ),
        Mistake(
            "maximum without the absolute value",
            "You took the largest weight of a channel, not the largest MAGNITUDE.",
            channels_with(reach=lambda w, a: w.movedim(a, 0).flatten(1).amax(dim=1)),
        ),
        Mistake(
            "a dead channel becomes NaN",
            "Where a channel is all zeros its scale is 0, and 0 / 0 is NaN. Which scale does no harm there?",
            channels_with(alive=False),
        ),
        Mistake(
            "-128 used",
            "You divided by 2^(bits-1). The symmetric grid has one step fewer on each side.",
            channels_with(extra=1),
        ),
        Mistake(
            "codes returned",
            "You returned the codes. Asked for are the real numbers that they stand for.",
            channels_with(result=lambda scale, codes: codes),
        ),
        Mistake(
            "the weights are overwritten",
            "Your answer is right, but the weights came back changed. Work on a new tensor.",
            channels_in_place,
        ),
    ),
    hints=(
        "`weight.movedim(axis, 0).flatten(1)` has one row for each channel, whatever the axis.",
        "The scale of a row is its largest magnitude / (2^(bits-1) - 1), or 1 where that is 0.",
        "To broadcast, give the scales the shape (1, …, channels, …, 1) with the channels at `axis`: "
        "`shape = [1] * weight.dim(); shape[axis] = -1`, then `scale.view(shape)`.",
    ),
)

# --- 8.4 -----------------------------------------------------------------------------------------------------------


def best_clip(x: Tensor, bits: int, shares: list[float]) -> float:
    """The clip, a share of the largest magnitude, whose symmetric grid has the least mean squared error."""
    return clip_with()(x, bits, shares)


def clip_with(
    *, error: Callable[[Tensor, Tensor, float], Tensor] = lambda x, y, clip: (x - y).square().mean(),
    grid: Callable | None = None, reach: Callable[[Tensor], Tensor] = lambda x: x.abs().max(), pick: Callable = min,
    result: Callable[[float, float, float], float] = lambda clip, share, loss: clip,
) -> Callable:  # fmt: skip
    """A variant: another error, grid, reach or choice."""

    def on_grid(x: Tensor, clip: float, bits: int) -> Tensor:
        return fake_quantize(x, qparams_of_range(-clip, clip, bits, symmetric=True))

    def run(x: Tensor, bits: int, shares: list[float]) -> float:
        most = float(reach(x))
        losses = {s: float(error(x, (grid or on_grid)(x, most * s, bits), most * s)) for s in shares}
        share = pick(losses, key=losses.__getitem__)
        return result(most * share, share, losses[share])

    return run


def steps_of(count: Callable[[int], int], *, clamp: bool = True) -> Callable:
    """A symmetric grid with another number of steps, or without an end."""

    def on_grid(x: Tensor, clip: float, bits: int) -> Tensor:
        steps = count(bits)
        codes = torch.round(x / (clip / steps))
        return (codes.clamp(-steps, steps) if clamp else codes) * (clip / steps)

    return on_grid


def inside_only(x: Tensor, y: Tensor, clip: float) -> Tensor:
    """The error of what is not clipped."""
    inside = x.abs() <= clip
    return (x - y)[inside].square().mean()


def clip_cases(seed: int) -> list[Case]:
    """A bell curve with a negative outlier, long tails, a flat range, and whole numbers with many far values."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(800, generator=generator)
    tails = torch.rand(600, generator=generator).log() * torch.randn(600, generator=generator).sign()
    flat = torch.rand(30, 20, generator=generator) - 0.5
    whole = torch.cat([torch.randint(-3, 4, (60,), generator=generator), torch.tensor([3])]).float()
    far = torch.cat([whole, torch.full((30,), 7.4)])
    fine = [k / 60 for k in range(1, 61)]
    return [
        Case("a bell curve and one far outlier, 3 bits", (torch.cat([normal, torch.tensor([-9.0])]), 3, fine)),
        Case("long tails, 2 bits, shares from 0.3", (tails, 2, fine[17:])),
        Case("long tails, 4 bits", (tails * 0.03, 4, fine)),
        Case("a flat range, 4 bits, shares up to 0.98", (flat, 4, [k / 50 for k in range(1, 50)])),
        Case("whole numbers from -3 to 3 and many of 7.4, 3 bits", (far, 3, [0.2, 3 / 7.4, 0.6, 0.8, 1.0])),
    ]


CLIP = Exercise(
    id="8.4",
    name="best_clip",
    title="Mean-square clipping",
    points=3,
    reference=best_clip,
    cases=clip_cases,
    mistakes=(
        Mistake(
            "not clipped",
            "Your codes go beyond the end of the grid, so nothing is ever clipped and the finest grid always wins. A grid of "
            "so few bits has no codes out there.",
            clip_with(grid=steps_of(lambda bits: 2 ** (bits - 1) - 1, clamp=False)),
        ),
        Mistake(
            "only what lies inside",
            "You measured the error of the values inside the range only. What is clipped has the largest errors of all.",
            clip_with(error=inside_only),
        ),
        Mistake(
            "only the clipping",
            "You measured what clipping costs, and left out the rounding to the grid: then the widest range always wins.",
            clip_with(grid=lambda x, clip, bits: x.clamp(-clip, clip)),
        ),
        Mistake(
            "absolute error",
            "You averaged the absolute error. Squares punish the few large errors of clipping harder, so the best clip differs.",
            clip_with(error=lambda x, y, clip: (x - y).abs().mean()),
        ),
        Mistake(
            "the worst clip",
            "You picked the clip with the LARGEST error.",
            clip_with(pick=max),
        ),
        Mistake(
            "the share returned",
            "You returned the share. Asked for is the clip itself: share · largest magnitude.",
            clip_with(result=lambda clip, share, loss: share),
        ),
        Mistake(
            "the error returned",
            "You returned the error at the best clip. Asked for is the clip.",
            clip_with(result=lambda clip, share, loss: loss),
        ),
        Mistake(
            "largest value instead of largest magnitude",
            "Your range ends at the largest value. On a symmetric grid a far NEGATIVE outlier counts as much.",
            clip_with(reach=lambda x: x.max()),
        ),
        Mistake(
            "-128 used",
            "Your grid has 2^(bits-1) steps on each side. A symmetric grid has one fewer.",
            clip_with(grid=steps_of(lambda bits: 2 ** (bits - 1))),
        ),
        Mistake(
            "all levels on each side",
            "You gave each side of 0 all 2^bits - 1 steps. Both sides share them.",
            clip_with(grid=steps_of(lambda bits: 2**bits - 1)),
        ),
        Mistake(
            "nothing clipped at all",
            "You returned the largest magnitude: that is min-max. Try each share, and compare the errors.",
            lambda x, bits, shares: float(x.abs().max()),
        ),
    ),
    hints=(
        "For each share: clip = share · x.abs().max(); put x on the symmetric grid that ends at the clip; measure the error.",
        "On the grid: codes = round(x / scale), clamped to ±(2^(bits-1) - 1), times scale; scale = clip / (2^(bits-1) - 1).",
        "Keep the errors in a dictionary {clip: error} and return `min(errors, key=errors.get)`.",
    ),
)

EXERCISES = (PARAMS, CODES, CHANNELS, CLIP)

# --- quiz ----------------------------------------------------------------------------------------------------------

QUIZ = (
    Question(
        "An affine grid must cover values from 3 to 5. Why does it begin at 0?",
        {
            "Padding and ReLU put exact zeros into the network, and 0 must not be moved": "An error at 0 would be everywhere, and always the same.",
            "Codes are never negative": "Code 0 may stand for any real number: that is what the zero point is for.",
            "The scale would be negative otherwise": "The scale is a width divided by a number of steps, and always positive.",
        },
        "Padding and ReLU put exact zeros into the network, and 0 must not be moved",
    ),
    Question(
        "A channel's range is a hundredth of the layer's, and the layer has one grid of 8 bits. How many bits has the channel?",
        {
            "Between one and two": "log₂ 100 is 6.6: that many of the 8 bits tell the channel nothing.",
            "Eight: every weight has a code of eight bits": "It has, but all its weights fall on two or three of the 255 grid points.",
            "Seven: one bit is lost": "A factor of 2 costs one bit; this is a factor of 100.",
        },
        "Between one and two",
    ),
    Question(
        "At 8 bits clipping gains next to nothing, at 2 bits a lot. Why?",
        {
            "At 8 bits the rounding error is tiny already; at 2 bits it is most of the error": "The best clip is where less rounding error no longer pays for more clipping.",
            "At 8 bits there are no outliers": "The weights are the same; only the grid differs.",
            "Clipping is not allowed at 8 bits": "It is, it merely does not help.",
        },
        "At 8 bits the rounding error is tiny already; at 2 bits it is most of the error",
    ),
    Question(
        "Why is a symmetric grid wasteful for what comes out of a ReLU?",
        {
            "Half of its codes stand for negative numbers, which never occur": "One bit, or 6 dB: an affine grid of 7 bits is as fine.",
            "It cannot represent 0": "It can: code 0.",
            "ReLU's outputs are larger than weights": "The scale takes care of that.",
        },
        "Half of its codes stand for negative numbers, which never occur",
    ),
    Question(
        "The same float network, its channels rescaled by factors that cancel. What changes?",
        {
            "Nothing in float32, everything on a grid": "Floats carry their own exponent; the numbers of a grid share one scale.",
            "Nothing at all: the function is the same": "The float function is. The rounding of one shared grid is not.",
            "The float accuracy falls too": "The factors cancel, up to float rounding.",
        },
        "Nothing in float32, everything on a grid",
    ),
)
