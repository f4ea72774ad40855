"""Counting what a network holds and what it computes, layer by layer, without running it on real data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.errors import CourseError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
COUNTED = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
# Their parameters scale, shift or look up: they hold numbers, but multiply no matrices.
WITHOUT_MACS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.PReLU)


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one example: numbers held, multiply-adds, and bytes of its float32 output."""

    name: str
    parameters: int
    macs: int
    activation_bytes: int


def parameter_count(model: nn.Module) -> int:
    """The number of parameters, biases and norm layers included; a shared parameter counts once.

    >>> parameter_count(nn.Linear(3, 2))
    8

    Lesson 01.
    """
    return sum(parameter.numel() for parameter in model.parameters())


def nonzero_count(model: nn.Module) -> int:
    """The number of parameters that are not exactly zero.

    >>> layer = nn.Linear(3, 2)
    >>> _ = nn.init.zeros_(layer.weight), nn.init.ones_(layer.bias)
    >>> nonzero_count(layer)
    2

    Lesson 01.
    """
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def layer_costs(model: nn.Module, input_shape: Sequence[int]) -> list[LayerCost]:
    """The cost of each layer for one example, in the order in which the layers run.

    A linear layer does in · out multiply-adds for each row it is given; a convolution does
    (in / groups) · kernel area · out for each position of its output. One MAC is one multiply and one add; the
    bias is an add, so it is not counted. A batch of no examples goes through the network: every output has its
    shape, nothing is computed, and a network of any size takes milliseconds.

    Args:
        model: any network of linear, convolutional and normalising layers; it is left as it is.
        input_shape: the shape of one example, without the batch: (channels, height, width).

    Returns:
        one LayerCost for each linear, convolutional or normalising layer (and each that only adds), `name` as in
        `model.named_modules()`.

    Raises:
        CourseError: an example of this shape does not go through the network.

    Warns:
        a parameter is used outside the layers that are counted, so the MACs are too low.

    >>> layer_costs(nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10))
    [LayerCost(name='', parameters=224, macs=21600, activation_bytes=3200)]

    Lesson 01.
    """
    costs: list[LayerCost] = []
    layers = {name: layer for name, layer in model.named_modules() if is_counted(layer)}
    hooks = [layer.register_forward_hook(recorder(name, costs)) for name, layer in layers.items()]
    try:
        run_without_work(model, input_shape, costs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise CourseError(
            f"An example of shape {input_shape} does not go through this network: {error}\n"
            "input_shape is the shape of one example without the batch, such as (1, 8, 8)."
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    warn_of_uncounted(model, layers)
    return costs


def is_counted(layer: nn.Module) -> bool:
    """Whether a layer's cost is known; one that only adds, such as a bias for joined maps, says so by `adds_only`."""
    return isinstance(layer, COUNTED + WITHOUT_MACS) or getattr(layer, "adds_only", False)


@torch.no_grad()
def run_without_work(model: nn.Module, input_shape: Sequence[int], costs: list[LayerCost]) -> None:
    """Send no example through the network, with weights that have their shapes but take no memory."""
    modes = {layer: layer.training for layer in model.modules()}
    weights = {name: torch.zeros((), dtype=t.dtype).expand(t.shape) for name, t in tensors_of(model)}
    try:
        functional_call(model.eval(), weights, (torch.empty(0, *input_shape),), tie_weights=False)
    except RuntimeError:  # such as x.view(len(x), -1), which cannot work out its -1 without an example
        costs.clear()
        on_meta = {name: tensor.to("meta") for name, tensor in weights.items()}
        functional_call(model, on_meta, (torch.empty(1, *input_shape, device="meta"),), tie_weights=False)
    finally:
        for layer, was_training in modes.items():
            layer.training = was_training


def tensors_of(model: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters and buffers, with one name for each layer that holds them.

    A layer that stands twice in the network must not be named twice: `functional_call` would not put its weights back.
    """
    return [
        (f"{place}.{name}" if place else name, tensor)
        for place, layer in model.named_modules()
        for own in (layer.named_parameters, layer.named_buffers)
        for name, tensor in own(recurse=False, remove_duplicate=False)
    ]


def recorder(name: str, costs: list[LayerCost]):
    """A forward hook that appends this layer's cost to `costs`."""

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        own = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        costs.append(LayerCost(name, own, macs_of(layer, inputs[0], output), 4 * math.prod(output.shape[1:])))

    return record


def macs_of(layer: nn.Module, x: Tensor, output: Tensor) -> int:
    """Multiply-adds of one layer for one example: its weights, times the places where each is put to work."""
    if isinstance(layer, TRANSPOSED):
        return layer.weight.numel() * math.prod(x.shape[2:])  # every input position meets every weight
    if isinstance(layer, CONVOLUTIONS):
        return layer.weight.numel() * math.prod(output.shape[2:])  # weight: (out, in / groups, *kernel)
    if isinstance(layer, nn.Linear):
        return layer.weight.numel() * math.prod(output.shape[1:-1])
    return 0


def warn_of_uncounted(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Warn where the network owns parameters outside the layers that are counted."""
    counted = {id(parameter) for layer in layers.values() for parameter in layer.parameters(recurse=False)}
    missed = [name for name, parameter in model.named_parameters() if id(parameter) not in counted]
    if missed:
        warnings.warn(
            f"These parameters belong to no layer that is counted, so the MACs are too low: {', '.join(missed)}.",
            stacklevel=3,
        )


def compression_ratio(original: nn.Module, compressed: nn.Module) -> float:
    """Total parameters of the original / non-zero parameters of the compressed network.

    Removed weights and zeros both count, because the total is always the original's.

    Raises:
        CourseError: nothing but zeros is left.

    >>> small = nn.Linear(4, 2)
    >>> compression_ratio(nn.Linear(9, 2), small)
    2.0

    Blalock et al. 2020. Lesson 01.
    """
    left = nonzero_count(compressed)
    if left == 0:
        raise CourseError("The compressed network has no weight that is not zero: there is no ratio to give.")
    return parameter_count(original) / left


def theoretical_speedup(original: nn.Module, compressed: nn.Module, input_shape: Sequence[int]) -> float:
    """MACs of the original / MACs on weights that are not zero in the compressed network.

    What perfect hardware would gain by skipping every zero: lesson 01 measures how far a real clock stays behind.

    Args:
        original: the dense network before compression.
        compressed: the same network with zeros in its weights, or a smaller one.
        input_shape: the shape of one example, without the batch.

    Raises:
        CourseError: no multiplication is left, or the example does not go through one of the networks.

    >>> dense, half = nn.Linear(4, 2), nn.Linear(4, 2)
    >>> with torch.no_grad(): _ = half.weight[0].zero_()
    >>> theoretical_speedup(dense, half, (4,))
    2.0

    Blalock et al. 2020. Lesson 01.
    """
    left = sum(macs_on_nonzero(compressed, cost) for cost in layer_costs(compressed, input_shape))
    if left == 0:
        raise CourseError("Every weight of the compressed network is zero: no multiplication is left to compare with.")
    return sum(cost.macs for cost in layer_costs(original, input_shape)) / left


def macs_on_nonzero(model: nn.Module, cost: LayerCost) -> float:
    """A layer's MACs times the fraction of its weights that are not zero."""
    if cost.macs == 0:
        return 0.0
    weight = model.get_submodule(cost.name).weight
    return cost.macs * int(torch.count_nonzero(weight)) / weight.numel()
