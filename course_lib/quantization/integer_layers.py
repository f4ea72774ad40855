"""Layers from int8 codes to int8 codes. Every layer can say the same in floats, which is what the tests hold it to.

Codes here are signed, −128 … 127, with zero points to match; batches of images lie in memory with their channels last,
where the pieces that a kernel sees are long runs of bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.quantization.fixed_point import fixed_point
from course_lib.quantization.integer_product import codes_matmul
from course_lib.quantization.uniform import QParams, choose_qparams, quantize


@dataclass(frozen=True)
class Grid:
    """The grid of a layer's codes: real = scale · (code − zero_point), code in −128..127.

    Lesson 09.
    """

    scale: float
    zero_point: int

    @classmethod
    def of(cls, qparams: QParams) -> Grid:
        """The signed grid of an affine one of 8 bits: all codes moved down by 128."""
        return cls(qparams.scale.item(), int(qparams.zero_point) - 128)

    def quantize(self, x: Tensor) -> Tensor:
        """Real numbers -> codes, int8; halves go up, as in all arithmetic here."""
        return (x / self.scale).add_(self.zero_point + 0.5).floor_().clamp_(-128, 127).to(torch.int8)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes -> real numbers, float32."""
        return self.scale * (codes.float() - self.zero_point)


class IntegerProduct(nn.Module):
    """What a linear and a convolutional layer share: int8 weights, an int32 bias, and the way back to int8.

    accumulator = Σ x · w + bias, where the bias counts in steps of scale_x · scale_w and takes −zero_point_x · Σ w in;
    code = clamp((accumulator · m₀ + half) >> shift + zero_point_y). A ReLU after it costs nothing: its range starts at
    0, so saturation cuts the rest off.

    Args:
        weight: float, (out, …); quantized here, symmetric, one grid for each output channel.
        bias: float, (out,), or None.
        grid, out: the grids of the codes that come in and go out.

    Lesson 09.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, grid: Grid, out: Grid) -> None:
        super().__init__()
        self.grid, self.out = grid, out
        weight = weight.detach()
        qparams = choose_qparams(weight, 8, symmetric=True, axis=0)
        codes = quantize(weight, qparams)
        steps = grid.scale * qparams.scale.double()  # of the accumulator, one for each channel
        real_bias = torch.zeros(len(weight)) if bias is None else bias.detach()
        sums = codes.flatten(1).sum(dim=1, dtype=torch.int64)
        whole_bias = (real_bias / steps).round().to(torch.int64) - grid.zero_point * sums
        self.register_buffer("codes", codes)
        self.register_buffer("scale", qparams.scale)
        self.register_buffer("bias", check_accumulator(codes, whole_bias).to(torch.int32))
        self.prepare_rescaling(steps / out.scale)

    def prepare_rescaling(self, multiplier: Tensor) -> None:
        """m₀ · 2^−shift and everything that is added, as doubles.

        Doubles hold whole numbers up to 2^53 exactly, and processors multiply them faster than 64-bit integers. So m₀
        gets the bits that the accumulator leaves: the result is the integer one, bit for bit.
        """
        largest = (self.codes.flatten(1).abs().sum(dim=1, dtype=torch.int64) * 128 + self.bias.abs()).max()
        bits = min(31, 52 - int(largest).bit_length())
        self.m0, self.shift = fixed_point(multiplier, bits=bits, longest_shift=44)
        step = 2.0 ** -self.shift.double()
        self.multiplier = self.m0 * step
        self.offset = self.bias * self.multiplier + 0.5 + self.out.zero_point

    def rescale(self, accumulator: Tensor) -> Tensor:
        """Sums of products, int32, (…, out) -> codes, int8."""
        real = accumulator.double().mul_(self.multiplier).add_(self.offset)
        return real.floor_().clamp_(-128, 127).to(torch.int8)

    def real_weight(self) -> Tensor:
        """The real numbers that the weights' codes stand for."""
        return self.codes * self.scale.view(-1, *[1] * (self.codes.dim() - 1))

    def real_bias(self) -> Tensor:
        """The real bias, without the correction for the zero point of what comes in."""
        sums = self.codes.flatten(1).sum(dim=1, dtype=torch.int64)
        return ((self.bias + self.grid.zero_point * sums) * (self.grid.scale * self.scale.double())).float()


def check_accumulator(codes: Tensor, bias: Tensor) -> Tensor:
    """The bias, if no input can make the sum overflow 32 bits."""
    largest = codes.flatten(1).abs().sum(dim=1, dtype=torch.int64) * 128 + bias.abs()
    if (largest >= 2**31).any():
        raise CourseError(
            f"A sum of {codes[0].numel():,} products and its bias can overflow 32 bits. The layer's input has hardly any "
            "range, or the layer is too wide."
        )
    return bias


class IntegerLinear(IntegerProduct):
    """A linear layer on int8 codes.

    >>> layer = nn.Linear(2, 1)
    >>> integer = IntegerLinear(layer.weight, layer.bias, Grid(0.1, 0), Grid(0.1, 0))
    >>> integer(torch.tensor([[10, -5]], dtype=torch.int8)).dtype
    torch.int8

    Jacob et al. 2018. Lesson 09.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, grid: Grid, out: Grid) -> None:
        super().__init__(weight, bias, grid, out)
        self.columns = self.codes.t().contiguous()  # (in, out)

    def products(self, codes: Tensor) -> Tensor:
        """(batch, in) -> sums of products, still without the bias: int32, (batch, out)."""
        return codes_matmul(codes, self.columns)

    def forward(self, codes: Tensor) -> Tensor:
        """(batch, in) -> (batch, out), int8."""
        return self.rescale(self.products(codes))

    def simulated(self, codes: Tensor) -> Tensor:
        """The same in floats: dequantize, multiply, quantize."""
        return self.out.quantize(F.linear(self.grid.dequantize(codes), self.real_weight(), self.real_bias()))


class IntegerConv2d(IntegerProduct):
    """A convolution on int8 codes: the pieces that the kernel sees become the rows of one matrix product.

    >>> layer = nn.Conv2d(1, 2, 3)
    >>> integer = IntegerConv2d(layer, Grid(0.1, 0), Grid(0.1, 0))
    >>> integer(torch.ones(1, 1, 5, 5, dtype=torch.int8)).shape
    torch.Size([1, 2, 3, 3])

    Jacob et al. 2018. Lesson 09.
    """

    def __init__(self, layer: nn.Conv2d, grid: Grid, out: Grid) -> None:
        super().__init__(layer.weight, layer.bias, grid, out)
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros" or layer.dilation != (1, 1):
            raise CourseError("An integer convolution needs padding in numbers, of zeros, and no dilation.")
        self.stride, self.padding, self.groups = layer.stride, layer.padding, layer.groups
        per_group = self.codes.permute(0, 2, 3, 1).reshape(layer.groups, len(self.codes) // layer.groups, -1)
        self.columns = per_group.transpose(1, 2).contiguous()  # (groups, kernel height · width · in, out)

    def products(self, codes: Tensor) -> Tensor:
        """(batch, in, height, width) -> sums of products, still without the bias: int32, (batch, height, width, out)."""
        kernel = self.codes.shape[2:]
        rows = rows_of(padded(codes, self.padding, self.grid.zero_point), kernel, self.stride)
        batch, height, width = rows.shape[:3]
        groups = rows.view(batch * height * width, kernel.numel(), self.groups, -1).permute(2, 0, 1, 3).flatten(2)
        sums = [codes_matmul(row, column) for row, column in zip(groups, self.columns, strict=True)]
        return (sums[0] if len(sums) == 1 else torch.cat(sums, dim=1)).view(batch, height, width, -1)

    def forward(self, codes: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height, width), int8."""
        return self.rescale(self.products(codes)).permute(0, 3, 1, 2)

    def simulated(self, codes: Tensor) -> Tensor:
        """The same in floats: dequantize, convolve, quantize."""
        how = {"stride": self.stride, "padding": self.padding, "groups": self.groups}
        return self.out.quantize(F.conv2d(self.grid.dequantize(codes), self.real_weight(), self.real_bias(), **how))


def padded(codes: Tensor, padding: tuple[int, int], value: int) -> Tensor:
    """Codes with a border of `value` (the zero point, which stands for 0), channels last: (batch, height, width, in)."""
    up, left = padding
    return F.pad(codes.permute(0, 2, 3, 1), (0, 0, left, left, up, up), value=value).contiguous()


def rows_of(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every piece that a kernel sees as a row: (batch, out height, out width, kernel height · kernel width · channels).

    First the pieces of single lines of the image, then the lines that one kernel covers: copied in long runs.
    """
    lines = x.unfold(2, kernel[1], stride[1]).transpose(3, 4).flatten(3)  # (batch, height, out width, row of a piece)
    return torch.cat(lines.unfold(1, kernel[0], stride[0]).unbind(-1), dim=-1)


def patches_of(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """A view of every piece that a kernel sees: (batch, out height, out width, kernel height, kernel width, channels)."""
    return x.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1]).permute(0, 1, 2, 4, 5, 3)
