"""Quantization-aware training: the network feels the grid while it can still move its weights.

`prepare` puts the grids into a network, `training.fit` trains it as any other, and towards the end what would still
shake is frozen: first the statistics of batch norm, then the ranges of activations.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.quantization.layers import QUANTIZED, QuantizedConv2d, QuantizedLinear, prepare, replaced
from course_lib.quantization.quantizers import ActivationQuantizer

__all__ = ["convert", "freeze_batch_norm_", "freeze_ranges_", "prepare"]


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that uses its running statistics also while the network trains.

    Krishnamoorthi 2018. Lesson 10.
    """

    def train(self, mode: bool = True) -> nn.Module:
        """Stay in eval mode, whatever the network does."""
        return super().train(False)


def freeze_batch_norm_(model: nn.Module) -> nn.Module:
    """Replace every batch norm by one whose statistics no longer move; its gain and shift go on learning.

    In training a batch norm divides by the spread of the batch, so the folded weights change from batch to batch; with
    frozen statistics, training sees the weights that will be stored.

    >>> net = freeze_batch_norm_(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
    >>> net.train()[1].training
    False

    Krishnamoorthi 2018. Lesson 10.
    """
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.BatchNorm2d:
            frozen = FrozenBatchNorm2d(layer.num_features, eps=layer.eps, device="meta")
            frozen.weight, frozen.bias = layer.weight, layer.bias
            frozen.running_mean, frozen.running_var = layer.running_mean, layer.running_var
            frozen.num_batches_tracked = layer.num_batches_tracked
            model = replaced(model, name, frozen.eval())
    return model


def freeze_ranges_(model: nn.Module) -> nn.Module:
    """Stop the moving averages of all activation ranges, also in training mode.

    >>> net = prepare(nn.Sequential(nn.Linear(2, 1)))
    >>> _ = net(torch.rand(3, 2)), freeze_ranges_(net), net(100 * torch.rand(3, 2))
    >>> net[0].input_quantizer.high.item() < 1
    True

    Jacob et al. 2018. Lesson 10.
    """
    for layer in model.modules():
        if isinstance(layer, ActivationQuantizer):
            layer.frozen = True
    return model


@torch.no_grad()
def convert(model: nn.Module) -> nn.Module:
    """A copy with plain layers again, whose weights are the grid points; activations are floats again.

    Raises:
        CourseError: the model was not prepared.

    >>> net = prepare(nn.Sequential(nn.Linear(2, 1)), weight_bits=2)
    >>> plain = convert(net)
    >>> type(plain[0]).__name__, torch.equal(plain[0].weight, net[0].weight_quantizer(net[0].weight))
    ('Linear', True)

    Lesson 10.
    """
    model = copy.deepcopy(model)
    layers = [(name, layer) for name, layer in model.named_modules() if type(layer) in QUANTIZED.values()]
    if not layers:
        raise CourseError("This model has no quantized layers. Pass what prepare(model, ...) returned.")
    for name, layer in layers:
        layer.weight.copy_(layer.weight_quantizer(layer.weight))
        model = replaced(model, name, plain(layer))
    return model


def plain(layer: QuantizedLinear | QuantizedConv2d) -> nn.Module:
    """The float layer of the same settings and parameters."""
    bias = layer.bias is not None
    if isinstance(layer, QuantizedLinear):
        layer_again: nn.Module = nn.Linear(layer.in_features, layer.out_features, bias, device="meta")
    else:
        how = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        layer_again = nn.Conv2d(layer.in_channels, layer.out_channels, *how, bias, layer.padding_mode, device="meta")
    layer_again.weight, layer_again.bias = layer.weight, layer.bias
    return layer_again
