"""One forward pass for many networks of one architecture, whose weights are stacked: (trials, *shape)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional as F

Forward = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Dropout)


def stacked_forward(model: nn.Module) -> Forward:
    """A function of (weights, buffers, x) that runs all trials at once: x (trials, batch, ...) -> (trials, batch, classes).

    In a plain sequence of usual layers each layer is one batched operation. For any other model `torch.func.vmap` finds
    the batched form of every operation, which costs about a millisecond a step more.
    """
    if is_plain(model):
        return lambda weights, buffers, x: in_sequence(model, weights, x)
    return vmap(lambda weights, buffers, x: functional_call(model, (weights, buffers), (x,)), randomness="different")


def is_plain(model: nn.Module) -> bool:
    """Whether the model is a sequence of usual layers that share no weights and that nobody listens to."""
    if type(model) is not nn.Sequential:
        return False
    usual = all(type(layer) in (nn.Linear, nn.Conv2d, nn.Flatten, *POOLS, *ELEMENTWISE) for layer in model)
    zeros_outside = all(layer.padding_mode == "zeros" for layer in model if isinstance(layer, nn.Conv2d))
    keeps_images = all((layer.start_dim, layer.end_dim) == (1, -1) for layer in model if isinstance(layer, nn.Flatten))
    shares = len(list(model.parameters())) < len(list(model.named_parameters(remove_duplicate=False)))
    heard = any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
    return usual and zeros_outside and keeps_images and not shares and not heard


def in_sequence(model: nn.Sequential, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Layer by layer, (trials, batch, ...); the layers of `model` say what to do, `weights` with which numbers."""
    for name, layer in model._modules.items():
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if isinstance(layer, nn.Linear):
            x = linear(x, weight, bias)
        elif isinstance(layer, nn.Conv2d):
            x = side_by_side(x, partial(convolution, layer, weight=weight, bias=bias))
        elif isinstance(layer, POOLS):
            x = side_by_side(x, layer)
        else:
            x = x.flatten(2) if isinstance(layer, nn.Flatten) else layer(x)
    return x


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Each trial's rows times its own matrix: (trials, batch, in), (trials, out, in) -> (trials, batch, out)."""
    return x @ weight.mT if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)


def side_by_side(x: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply to the maps of all trials as channels of one image: (batch, trials · c, h, w); no copy between such layers."""
    maps = operation(x.transpose(0, 1).flatten(1, 2))
    return maps.unflatten(1, (len(x), -1)).transpose(0, 1)


def convolution(layer: nn.Conv2d, maps: Tensor, *, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One convolution in which each trial is a group of channels; weight (trials, out, in, h, w)."""
    bias = None if bias is None else bias.flatten()
    groups = len(weight) * layer.groups
    return F.conv2d(maps, weight.flatten(0, 1), bias, layer.stride, layer.padding, layer.dilation, groups)
