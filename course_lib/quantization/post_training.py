"""Post-training quantization: choose grids for a trained network, without any training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.quantization.calibration import minmax, mse
from course_lib.quantization.layers import prepare
from course_lib.quantization.qat import freeze_ranges_
from course_lib.quantization.quantizers import Calibrate
from course_lib.quantization.uniform import QParams, dequantize, qparams_of_range, quantize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class QuantizedTensor:
    """Codes, and the grid that gives them their meaning."""

    codes: Tensor
    qparams: QParams

    def dequantize(self) -> Tensor:
        """The real numbers, float32, of the codes' shape."""
        return dequantize(self.codes, self.qparams)


def quantize_weights(
    model: nn.Module, bits: int = 8, *, symmetric: bool = True, per_channel: bool = True, clip: bool = False
) -> dict[str, QuantizedTensor]:
    """The weights of all linear and convolutional layers as codes; biases are few and stay floats.

    Args:
        model: it is left as it is.
        bits, symmetric: the grid.
        per_channel: one grid for each output channel, or one for each tensor.
        clip: cover the range of smallest mean squared error instead of the whole.

    Returns:
        parameter name -> codes with their grid.

    Raises:
        CourseError: a model without such layers, weights with NaN or infinity, bits outside their range.

    >>> weights = quantize_weights(nn.Sequential(nn.Linear(4, 3)), bits=4)
    >>> weights["0.weight"].codes.dtype, weights["0.weight"].qparams.scale.shape
    (torch.int8, torch.Size([3]))

    Krishnamoorthi 2018. Lesson 08.
    """
    found = [(name, layer.weight) for name, layer in model.named_modules() if isinstance(layer, LAYERS)]
    if not found:
        raise CourseError(
            f"{type(model).__name__} has no linear or convolutional layer, so there is nothing to quantize."
        )
    axis = 0 if per_channel else None
    calibrate = partial(mse, bits=bits, symmetric=symmetric, axis=axis) if clip else partial(minmax, axis=axis)
    quantized = {}
    for name, weight in found:
        qparams = qparams_of_range(*calibrate(weight.detach()), bits, symmetric=symmetric, axis=axis)
        quantized[f"{name}.weight".lstrip(".")] = QuantizedTensor(quantize(weight.detach(), qparams), qparams)
    return quantized


@torch.no_grad()
def load_weights_(model: nn.Module, quantized: dict[str, QuantizedTensor]) -> nn.Module:
    """Give a network the values that its codes stand for.

    >>> net = nn.Sequential(nn.Linear(4, 3))
    >>> weights = quantize_weights(net, bits=2)
    >>> load_weights_(net, weights)[0].weight.unique().numel() <= 3 * 3
    True

    Lesson 08.
    """
    for name, tensor in quantized.items():
        model.get_parameter(name).copy_(tensor.dequantize())
    return model


@torch.no_grad()
def post_training(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    weight_bits: int | None = 8,
    activation_bits: int | None = 8,
    per_channel: bool = True,
    calibrate: Calibrate = minmax,
) -> nn.Module:
    """A copy of a trained network that computes on grids: those of weights from the weights, those of inputs from data.

    Args:
        model: a trained network; fold its batch norms first if they will be folded in use.
        batches: inputs of the network, (batch, *shape) each; a few hundred examples are enough. Labels are not needed.
        weight_bits, activation_bits, per_channel, calibrate: as in `prepare`.

    Raises:
        CourseError: no batch, or what `prepare` refuses.

    >>> net = post_training(nn.Sequential(nn.Linear(4, 3)), [torch.randn(8, 4)], activation_bits=4)
    >>> net.training, net[0].input_quantizer.qparams().bits
    (False, 4)

    Krishnamoorthi 2018. Lesson 08.
    """
    settings = {"weight_bits": weight_bits, "activation_bits": activation_bits, "per_channel": per_channel}
    network = prepare(model, **settings, calibrate=calibrate).eval()
    quantizers = [layer.input_quantizer.train() for layer in network.modules() if hasattr(layer, "input_quantizer")]
    batches = list(batches)
    if not batches:
        raise CourseError("Post-training quantization needs at least one batch of inputs to see the ranges.")
    for batch in batches:
        network(batch)
    for quantizer in quantizers:
        quantizer.eval()
    return freeze_ranges_(network)
