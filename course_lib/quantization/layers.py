"""Linear and convolutional layers that compute on a grid: their weights and their inputs are fake-quantized.

The same layers serve post-training quantization (lesson 08) and quantization-aware training (lesson 10).
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError, require_choice
from course_lib.quantization.calibration import minmax
from course_lib.quantization.quantizers import ActivationQuantizer, Calibrate, LearnedQuantizer, WeightQuantizer


class QuantizedLinear(nn.Linear):
    """A linear layer on a grid: its input and its weight are fake-quantized before the product.

    Args:
        layer: the float layer, whose parameters it shares.
        input_quantizer, weight_quantizer: modules that put a tensor on a grid, or nn.Identity().

    >>> float_layer = nn.Linear(2, 1)
    >>> QuantizedLinear(float_layer, nn.Identity(), WeightQuantizer(8)).weight is float_layer.weight
    True

    Lessons 08 and 10.
    """

    def __init__(self, layer: nn.Linear, input_quantizer: nn.Module, weight_quantizer: nn.Module) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.input_quantizer, self.weight_quantizer = input_quantizer, weight_quantizer

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        return F.linear(self.input_quantizer(x), self.weight_quantizer(self.weight), self.bias)


class QuantizedConv2d(nn.Conv2d):
    """A convolution on a grid: its input and its weight are fake-quantized before the product.

    Args:
        layer: the float layer, whose parameters it shares.
        input_quantizer, weight_quantizer: modules that put a tensor on a grid, or nn.Identity().

    >>> import torch
    >>> layer = QuantizedConv2d(nn.Conv2d(1, 2, 3), ActivationQuantizer(8), WeightQuantizer(8))
    >>> layer(torch.rand(1, 1, 5, 5)).shape
    torch.Size([1, 2, 3, 3])

    Lessons 08 and 10.
    """

    def __init__(self, layer: nn.Conv2d, input_quantizer: nn.Module, weight_quantizer: nn.Module) -> None:
        how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        bias = layer.bias is not None
        super().__init__(layer.in_channels, layer.out_channels, *how, bias, layer.padding_mode, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.input_quantizer, self.weight_quantizer = input_quantizer, weight_quantizer

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in, height, width) -> (batch, out, height, width)."""
        return self._conv_forward(self.input_quantizer(x), self.weight_quantizer(self.weight), self.bias)


QUANTIZED = {nn.Linear: QuantizedLinear, nn.Conv2d: QuantizedConv2d}


def prepare(
    model: nn.Module,
    *,
    weight_bits: int | None = 8,
    activation_bits: int | None = 8,
    per_channel: bool = True,
    ranges: str = "moving_average",
    calibrate: Calibrate = minmax,
) -> nn.Module:
    """A copy of a network whose linear and convolutional layers compute on a grid.

    The names of parameters stay. Straight after, the grids of activations have seen nothing: train, or calibrate.

    Args:
        model: any network of nn.Linear and nn.Conv2d layers; others are left as they are.
        weight_bits, activation_bits: 2..16 and 1..16; None leaves them as floats.
        per_channel: one weight grid for each output channel.
        ranges: "moving_average" for ranges that are measured, "learned" for scales that are parameters.
        calibrate: what a moving average averages.

    Raises:
        CourseError: a network without such layers, or bits outside their range.

    >>> import torch
    >>> net = prepare(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), weight_bits=4)
    >>> net[0].weight_quantizer.bits, net(torch.randn(5, 4)).shape
    (4, torch.Size([5, 2]))

    Jacob et al. 2018; Krishnamoorthi 2018. Lesson 10.
    """
    require_choice("ranges", ranges, ("moving_average", "learned"))
    model = copy.deepcopy(model)
    layers = [(name, layer) for name, layer in model.named_modules() if type(layer) in QUANTIZED]
    if not layers:
        raise CourseError(f"{type(model).__name__} has no nn.Linear or nn.Conv2d, so there is nothing to quantize.")
    learned = ranges == "learned"
    for name, layer in layers:
        for_input = activation_quantizer(activation_bits, calibrate, learned)
        for_weight = weight_quantizer(weight_bits, per_channel, learned)
        model = replaced(model, name, QUANTIZED[type(layer)](layer, for_input, for_weight))
    return model


def weight_quantizer(bits: int | None, per_channel: bool, learned: bool) -> nn.Module:
    """What stands between a layer's weight and its product."""
    if bits is None:
        return nn.Identity()
    return LearnedQuantizer(bits, symmetric=True) if learned else WeightQuantizer(bits, per_channel=per_channel)


def activation_quantizer(bits: int | None, calibrate: Calibrate, learned: bool) -> nn.Module:
    """What stands between a layer's input and its product."""
    if bits is None:
        return nn.Identity()
    return LearnedQuantizer(bits, symmetric=False) if learned else ActivationQuantizer(bits, calibrate=calibrate)


def replaced(model: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """The model with one layer exchanged; a model that is itself the layer gives way to it."""
    if not name:
        return layer
    parent, _, place = name.rpartition(".")
    setattr(model.get_submodule(parent), place, layer)
    return model
