"""Integer networks with a fault on purpose: sums in narrow registers, no rounding, multipliers of few bits."""

from __future__ import annotations

import copy
from functools import partial

from torch import Tensor

from course_lib.quantization.fixed_point import fixed_point, wrapped
from course_lib.quantization.integer import IntegerNetwork
from course_lib.quantization.integer_layers import IntegerProduct


def with_accumulators(network: IntegerNetwork, bits: int) -> IntegerNetwork:
    """A copy whose sums live in registers of so many bits, and wrap around without a word.

    Args:
        network: is left as it is.
        bits: of every accumulator, 1..63.

    >>> import torch
    >>> from course_lib.quantization.integer import to_integer
    >>> network = to_integer(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(9, 4))
    >>> x = torch.ones(1, 4)
    >>> torch.equal(with_accumulators(network, 32)(x), network(x))
    True

    Lesson 09.
    """
    narrow = copy.deepcopy(network)
    for layer in products_of(narrow):
        layer.rescale = partial(rescale_wrapped, layer, bits)
    return narrow


def rescale_wrapped(layer: IntegerProduct, bits: int, sums: Tensor) -> Tensor:
    """The codes that come out when sum and bias together have passed through a narrow register."""
    held = wrapped(sums.long() + layer.bias, bits)
    return IntegerProduct.rescale(layer, held - layer.bias)


def without_rounding(network: IntegerNetwork) -> IntegerNetwork:
    """A copy that shifts without adding half a step first, so that all codes are rounded down.

    >>> import torch
    >>> from course_lib.quantization.integer import to_integer
    >>> network = to_integer(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(9, 4))
    >>> x = torch.rand(9, 4)
    >>> bool((without_rounding(network)(x) <= network(x)).all())
    True

    Lesson 09.
    """
    faulty = copy.deepcopy(network)
    for layer in products_of(faulty):
        layer.offset = layer.offset - 0.5
    return faulty


def with_multipliers(network: IntegerNetwork, bits: int) -> IntegerNetwork:
    """A copy whose m₀ has so many bits, 2..31.

    >>> import torch
    >>> from course_lib.quantization.integer import to_integer
    >>> network = to_integer(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(9, 4))
    >>> with_multipliers(network, 3).layers[0].m0.max().item() < 8
    True

    Lesson 09.
    """
    coarse = copy.deepcopy(network)
    for layer in products_of(coarse):
        layer.m0, layer.shift = fixed_point(real_multiplier(layer), bits=bits)
        layer.multiplier = layer.m0 * 2.0 ** -layer.shift.double()
        layer.offset = layer.bias * layer.multiplier + 0.5 + layer.out.zero_point
    return coarse


def products_of(network: IntegerNetwork) -> list[IntegerProduct]:
    """The convolutions and linear layers."""
    return [layer for layer in network.layers if isinstance(layer, IntegerProduct)]


def real_multiplier(layer: IntegerProduct) -> Tensor:
    """scale_x · scale_w / scale_y before it was made whole, (out,), float64.

    >>> import torch
    >>> from course_lib.quantization.integer import to_integer
    >>> network = to_integer(torch.nn.Sequential(torch.nn.Linear(4, 2)), torch.rand(9, 4))
    >>> real_multiplier(network.layers[0]).shape
    torch.Size([2])

    Lesson 09.
    """
    return layer.grid.scale * layer.scale.double() / layer.out.scale
