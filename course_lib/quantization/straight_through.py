"""Training through a staircase: round in the forward pass, look away in the backward pass.

The gradient of round() is 0 almost everywhere, so nothing behind it would learn. The straight-through estimator passes
the gradient on as if rounding were the identity, inside the grid; where the grid clips, the output no longer follows
the input, and the gradient is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.quantization.uniform import QParams


class FakeQuantize(torch.autograd.Function):
    """fake_quantize with the straight-through estimator; two numbers or tensors bound the codes of x / scale.

    Backward keeps x alone, which the layer before it often keeps as well, and finds again what was clipped.

    Bengio, Léonard & Courville 2013; Jacob et al. 2018. Lesson 10.
    """

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor, lowest, highest) -> Tensor:
        """Nearest grid point."""
        ctx.save_for_backward(x)
        ctx.grid = scale, lowest, highest
        return (x / scale).round_().clamp_(lowest, highest).mul_(scale)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """The same gradient inside the grid, 0 outside."""
        (x,), (scale, lowest, highest) = ctx.saved_tensors, ctx.grid
        codes = (x / scale).round_()
        inside = codes.eq_(codes.clamp(lowest, highest))  # in place: 1.0 and 0.0, which multiply faster than bools
        return inside.mul_(gradient), None, None, None


def fake_quantize_straight_through(x: Tensor, qparams: QParams) -> Tensor:
    """`fake_quantize` that lets gradients through: to x where it lies inside the grid, to nothing else.

    Args:
        x: any shape, float.
        qparams: the grid; its scale gets no gradient.

    >>> x = torch.tensor([0.4, 9.0], requires_grad=True)
    >>> grid = QParams(torch.tensor(1.0), torch.tensor(1, dtype=torch.int32), bits=2, symmetric=False)
    >>> fake_quantize_straight_through(x, grid).sum().backward()
    >>> x.grad
    tensor([1., 0.])

    Bengio, Léonard & Courville 2013. Lesson 10.
    """
    scale, zero_point = qparams.of(x)
    if qparams.symmetric:
        zero_point = 0
    elif zero_point.numel() == 1:
        zero_point = zero_point.item()
    return FakeQuantize.apply(x, scale, qparams.lowest - zero_point, qparams.highest - zero_point)


def round_straight_through(x: Tensor) -> Tensor:
    """round(x) with the gradient of x.

    >>> x = torch.tensor(1.7, requires_grad=True)
    >>> round_straight_through(x).backward(); x.grad
    tensor(1.)

    Bengio, Léonard & Courville 2013. Lesson 10.
    """
    return x + (x.round() - x).detach()


def fake_quantize_learned(x: Tensor, scale: Tensor, lowest: int, highest: int) -> Tensor:
    """Fake quantization whose scale learns too: a clipped value pulls it up, a value between two steps moves it a little.

    With v = x / scale, the output's derivative by the scale is round(v) − v inside the grid and the end's code outside.

    Args:
        x: any shape, float.
        scale: (), above 0; a parameter.
        lowest, highest: the ends of the grid, in codes; 0 lies between them.

    >>> scale = torch.tensor(1.0, requires_grad=True)
    >>> fake_quantize_learned(torch.tensor([9.0]), scale, -1, 1).backward(); scale.grad
    tensor(1.)

    Esser et al. 2020 (LSQ). Lesson 10.
    """
    return round_straight_through((x / scale).clamp(lowest, highest)) * scale
