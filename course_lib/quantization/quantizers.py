"""Modules that put what goes through them on a grid: around weights, over measured ranges, or with a learned scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.quantization.calibration import follow, minmax
from course_lib.quantization.straight_through import fake_quantize_learned, fake_quantize_straight_through
from course_lib.quantization.uniform import QParams, check_bits, choose_qparams, qparams_of_range

Calibrate = Callable[[Tensor], tuple[Tensor, Tensor]]


class WeightQuantizer(nn.Module):
    """A symmetric grid around the weights as they are now: it follows them while they learn.

    Args:
        bits: 2..16.
        per_channel: one grid for each output channel, or one for the whole tensor.

    >>> WeightQuantizer(bits=2)(torch.tensor([[1.0, 0.1], [0.2, -0.2]]))
    tensor([[ 1.0000,  0.0000],
            [ 0.2000, -0.2000]])

    Lessons 08 and 10.
    """

    def __init__(self, bits: int, *, per_channel: bool = True) -> None:
        super().__init__()
        check_bits(bits, symmetric=True)
        self.bits, self.axis = bits, 0 if per_channel else None

    def qparams(self, weight: Tensor) -> QParams:
        """The grid of these weights."""
        return choose_qparams(weight, self.bits, symmetric=True, axis=self.axis)

    def forward(self, weight: Tensor) -> Tensor:
        """The weights at their nearest grid points, of the same shape."""
        return fake_quantize_straight_through(weight, self.qparams(weight))


class ActivationQuantizer(nn.Module):
    """An affine grid over the moving average of what has come by in training mode; in eval mode it stands still.

    Args:
        bits: 1..16.
        calibrate: values of one batch -> (low, high): `minmax`, or a calibration that clips.
        momentum: of the moving average, 0..1.

    >>> quantizer = ActivationQuantizer(bits=2)
    >>> quantizer(torch.tensor([0.0, 1.2, 3.0]))
    tensor([0., 1., 3.])
    >>> quantizer.eval()(torch.tensor([7.0]))
    tensor([3.])

    Jacob et al. 2018. Lessons 08 and 10.
    """

    def __init__(self, bits: int, *, calibrate: Calibrate = minmax, momentum: float = 0.9) -> None:
        super().__init__()
        check_bits(bits, symmetric=False)
        self.bits, self.calibrate, self.momentum, self.frozen = bits, calibrate, momentum, False
        self.register_buffer("low", torch.tensor(math.nan))
        self.register_buffer("high", torch.tensor(math.nan))

    def qparams(self) -> QParams:
        """The grid in force."""
        if self.low.isnan():
            raise CourseError("This activation quantizer has seen no data: run a batch through in training mode first.")
        return qparams_of_range(self.low, self.high, self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """The activations at their nearest grid points, of the same shape."""
        if self.training and not self.frozen:
            so_far = None if self.low.isnan() else (self.low, self.high)
            self.low, self.high = follow(so_far, self.calibrate(x), self.momentum)
        return fake_quantize_straight_through(x, self.qparams())


class LearnedQuantizer(nn.Module):
    """A grid whose scale is a parameter, learned with the weights; it starts at 2 · mean |x| / √highest.

    Args:
        bits: 2..16 if symmetric, 1..16 otherwise.
        symmetric: codes on both sides of 0 (weights), or from 0 up (what comes out of a ReLU).

    >>> quantizer = LearnedQuantizer(bits=2, symmetric=True)
    >>> quantizer(torch.tensor([0.4, -0.6])), quantizer.scale.requires_grad
    (tensor([ 0.,  -1.], grad_fn=<MulBackward0>), True)

    Esser et al. 2020 (LSQ). Lesson 10.
    """

    def __init__(self, bits: int, *, symmetric: bool) -> None:
        super().__init__()
        grid = qparams_of_range(0.0, 1.0, bits, symmetric=symmetric)
        self.bits, self.lowest, self.highest = bits, grid.lowest, grid.highest
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Set the scale from the first values."""
        if x.amin() < 0 and self.lowest == 0:
            raise CourseError(
                f"This learned grid starts at 0, but the input goes down to {x.amin():.3g} and would be cut off.\n"
                'It suits images and what comes out of a ReLU; for other inputs use ranges="moving_average".'
            )
        self.scale.fill_(2 * x.abs().mean().clamp(min=1e-8) / math.sqrt(self.highest))
        self.started.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """Values at their nearest grid points; gradients go to x and to the scale."""
        if not self.started:
            self.start(x.detach())
        # One scale hears every value: its gradient is made as small as a weight's.
        share = 1 / math.sqrt(x.numel() * self.highest)
        scale = self.scale.abs().clamp(min=1e-8)
        scale = scale * share + (scale * (1 - share)).detach()
        return fake_quantize_learned(x, scale, self.lowest, self.highest)
