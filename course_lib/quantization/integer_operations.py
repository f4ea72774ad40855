"""What stands between the products: pooling, sums, cutting at 0 and flattening, from int8 codes to int8 codes."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.quantization.fixed_point import fixed_point, rounding_right_shift
from course_lib.quantization.integer_layers import Grid, padded, patches_of


class OnOneGrid(nn.Module):
    """An operation whose output keeps the grid of its input; in floats it is simply the float layer.

    Lesson 09.
    """

    def __init__(self, layer: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.layer, self.grid, self.out = layer, grid, grid

    def simulated(self, codes: Tensor) -> Tensor:
        """The same in floats: dequantize, compute, quantize."""
        return self.out.quantize(self.layer(self.grid.dequantize(codes)))


class IntegerFlatten(OnOneGrid):
    """Codes in a row, or as they are: nothing is computed.

    Lesson 09.
    """

    def forward(self, codes: Tensor) -> Tensor:
        """Codes -> the same codes."""
        return codes.flatten(self.layer.start_dim, self.layer.end_dim)


class IntegerReLU(OnOneGrid):
    """Cut at the zero point, the code of 0.

    >>> IntegerReLU(nn.ReLU(), Grid(0.1, zero_point=5))(torch.tensor([-3, 5, 9], dtype=torch.int8))
    tensor([5, 5, 9], dtype=torch.int8)

    Lesson 09.
    """

    def forward(self, codes: Tensor) -> Tensor:
        """Codes -> codes of the same shape."""
        return codes.clamp(min=self.grid.zero_point)


class IntegerMaxPool2d(OnOneGrid):
    """The largest code is the code of the largest value: a grid keeps the order.

    Lesson 09.
    """

    def forward(self, codes: Tensor) -> Tensor:
        """(batch, channels, height, width) -> pooled, int8."""
        kernel, stride, padding = pooling_of(self.layer)
        x = padded(codes, padding, -128) if any(padding) else codes.permute(0, 2, 3, 1)
        patches = patches_of(x, kernel, stride)
        places = [patches[..., row, column, :] for row in range(kernel[0]) for column in range(kernel[1])]
        return reduce(torch.maximum, places).permute(0, 3, 1, 2)


class IntegerAvgPool2d(OnOneGrid):
    """The rounded mean of the codes: the zero point is in every term, so it is in the mean.

    Lesson 09.
    """

    def forward(self, codes: Tensor) -> Tensor:
        """(batch, channels, height, width) -> pooled, int8."""
        kernel, stride, padding = pooling_of(self.layer, codes.shape[2:])
        patches = patches_of(padded(codes, padding, self.grid.zero_point), kernel, stride)
        sums = patches.sum(dim=(3, 4), dtype=torch.int32)
        count = kernel[0] * kernel[1]
        means = (2 * sums + count).div(2 * count, rounding_mode="floor")
        return means.to(torch.int8).permute(0, 3, 1, 2)


def pooling_of(layer: nn.Module, size: tuple[int, int] = (1, 1)) -> tuple[tuple[int, int], ...]:
    """Kernel, stride and padding of a pooling layer, as pairs; `size` is what an adaptive one averages."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return tuple(size), tuple(size), (0, 0)
    pair = lambda value: (value, value) if isinstance(value, int) else tuple(value)
    return pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)


def check_pooling(layer: nn.Module) -> None:
    """Refuse pooling that the integer versions do not cover."""
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        plain = layer.output_size in (1, (1, 1))
    elif isinstance(layer, nn.MaxPool2d):
        plain = layer.dilation in (1, (1, 1)) and not layer.ceil_mode and not layer.return_indices
    else:
        plain = not layer.ceil_mode and layer.count_include_pad and layer.divisor_override is None
    if not plain:
        raise CourseError(f"{layer} has settings that the integer version does not cover (dilation, ceil_mode, …).")


class IntegerAdd(nn.Module):
    """The sum of two branches, each on its own grid: both are multiplied onto the grid of the sum.

    code = (m_a · (a − zero_point_a) + m_b · (b − zero_point_b) + half) >> shift + zero_point.

    >>> add = IntegerAdd([Grid(0.1, 0), Grid(0.2, 0)], Grid(0.3, 0))
    >>> add(torch.tensor([30], dtype=torch.int8), torch.tensor([30], dtype=torch.int8))
    tensor([30], dtype=torch.int8)

    Jacob et al. 2018. Lesson 09.
    """

    def __init__(self, grids: list[Grid], out: Grid) -> None:
        super().__init__()
        self.grids, self.out = grids, out
        multipliers = torch.tensor([grid.scale / out.scale for grid in grids], dtype=torch.float64)
        _, shifts = fixed_point(multipliers)
        self.shift = int(shifts.min())  # one shift for both, so that they can be added before it
        self.multipliers = (multipliers * 2.0**self.shift).round().to(torch.int64).tolist()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of codes -> codes of the same shape."""
        first, second = self.grids
        total = (a.to(torch.int64) - first.zero_point) * self.multipliers[0]
        total += (b.to(torch.int64) - second.zero_point) * self.multipliers[1]
        return (rounding_right_shift(total, self.shift) + self.out.zero_point).clamp_(-128, 127).to(torch.int8)

    def simulated(self, a: Tensor, b: Tensor) -> Tensor:
        """The same in floats: dequantize, add, quantize."""
        first, second = self.grids
        return self.out.quantize(first.dequantize(a) + second.dequantize(b))
