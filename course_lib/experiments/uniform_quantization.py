"""Lesson 08: how few bits weights and activations can do with, on which grids; and channels of unequal range."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.magnitude_pruning import test_accuracies, trained
from course_lib.experiments.synflow import in_pairs
from course_lib.measure import stored_bytes
from course_lib.models import lenet_300_100, mobilenet
from course_lib.quantization import calibration
from course_lib.quantization.folding import fold_batch_norm
from course_lib.quantization.post_training import load_weights_, post_training, quantize_weights
from course_lib.quantization.storage import save_quantized
from course_lib.training import fit

GRIDS = {
    "one grid a layer": {"per_channel": False},
    "one grid a layer, clipped": {"per_channel": False, "clip": True},
    "one grid a channel": {"per_channel": True},
    "one grid a channel, clipped": {"per_channel": True, "clip": True},
}
CALIBRATIONS = ("min-max", "moving average", "percentile", "mean square", "entropy")
SPREADS = (1, 10, 100, 1000)
BLOCKS = 4  # of the small MobileNet
EXAMPLES = 240  # that a calibration sees


# --- a trained network, on a grid ----------------------------------------------------------------------------------


def on_grid(networks: Sequence[nn.Module], bits: int, **how) -> list[nn.Module]:
    """Copies of the networks whose weights lie on grids; `how` as in `quantize_weights`."""
    return [load_weights_(copy.deepcopy(network), quantize_weights(network, bits, **how)) for network in networks]


def calibrated(
    method: str, networks: Sequence[nn.Module], datasets: Sequence[Dataset], *, bits: int, fault: float = 1.0
) -> list[nn.Module]:
    """Copies with 8-bit weights, and activations on grids over ranges that one of CALIBRATIONS chose.

    The ranges come from the first 240 training images, without labels; the moving average sees them in four batches.
    One of them is made `fault` times as bright, as a camera might do.
    """
    choose = {
        "percentile": calibration.percentile,
        "mean square": partial(calibration.mse, bits=bits),
        "entropy": partial(calibration.entropy, bits=bits),
    }.get(method, calibration.minmax)
    images = [data.train.x[:EXAMPLES].clone() for data in datasets]
    for x in images:
        x[EXAMPLES // 2] *= fault
    batch = EXAMPLES // 4 if method == "moving average" else EXAMPLES
    return [
        post_training(network, x.split(batch), activation_bits=bits, calibrate=choose)
        for network, x in zip(networks, images, strict=True)
    ]


def file_sizes(network: nn.Module, bits: int, **how) -> tuple[int, int]:
    """Bytes of two files: the network in float32, and its weights as codes with their scales."""
    with tempfile.TemporaryDirectory() as folder:
        small = save_quantized(Path(folder) / "small", network, quantize_weights(network, bits, **how))
    return stored_bytes(network), small


# --- channels of unequal range -------------------------------------------------------------------------------------


def small_mobilenet(channels: int = 1) -> nn.Sequential:
    """A MobileNet of four separable blocks of 32 channels, for small images of ten classes.

    >>> sum(isinstance(layer, nn.BatchNorm2d) for layer in small_mobilenet().modules())
    9
    """
    return mobilenet(10, plan=((32, 1),) * BLOCKS, channels=channels)


def trained_one_by_one(
    build: Callable[[], nn.Module], datasets: Sequence[Dataset], *, steps: int, lr: float
) -> list[nn.Module]:
    """One trained network in eval mode for each data set, from seed 0, 1, …: for networks with batch norm."""
    networks = []
    for seed in range(len(datasets)):
        torch.manual_seed(seed)
        networks.append(build())
    train = lambda seed: fit(networks[seed], datasets[seed].train, steps=steps, lr=lr, seed=seed)
    in_pairs(train, range(len(datasets)))
    return [network.eval() for network in networks]


@torch.no_grad()
def with_spread(model: nn.Sequential, spread: float, seed: int) -> nn.Sequential:
    """A copy of a `mobilenet` that computes the same, in which the ranges of channels differ by a factor `spread`.

    What goes into a depthwise convolution is multiplied, channel by channel, by a random factor from 1/√spread to
    √spread: in the gain and the shift of the batch norm before it. The kernel of that channel is divided by it. ReLU lets
    positive factors through, so nothing changes but the numbers inside.

    Args:
        model: of `models.mobilenet`.
        spread: largest factor / smallest factor, 1 or more.
        seed: for the factors; their logarithms are uniform.

    >>> model = small_mobilenet().eval()
    >>> x = torch.rand(2, 1, 8, 8)
    >>> torch.allclose(with_spread(model, 100, seed=0)(x), model(x), atol=1e-5)
    True

    Lesson 08.
    """
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    norm = model[1]
    for block in (layer for layer in model if isinstance(layer, nn.Sequential)):
        factors = spread ** (torch.rand(norm.num_features, generator=generator) - 0.5)
        norm.weight.mul_(factors)
        norm.bias.mul_(factors)
        block[0].weight.div_(factors.view(-1, 1, 1, 1))
        norm = block[4]  # of the 1×1 convolution, before the next block
    return model


def channel_spread(weight: Tensor) -> float:
    """The widest range of an output channel / the narrowest one.

    >>> channel_spread(torch.tensor([[1.0, -8.0], [2.0, 0.5]]))
    4.0
    """
    widths = weight.detach().abs().flatten(1).amax(dim=1)
    return float(widths.max() / widths.min())


# --- course run 08 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 600) -> list[dict]:
    """One unit for each trial; `iterations` are the training steps."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict[str, float]:
    """One LeNet-300-100 at 2 to 8 bits on every grid, calibrated in five ways; and one MobileNet with spread channels."""
    datasets = [load(unit["data"], fold=unit["trial"])]
    seeds = [unit["trial"]]
    networks = trained(lambda: lenet_300_100(datasets[0].input_shape), datasets, steps=unit["iterations"], seeds=seeds)
    tested = lambda networks: test_accuracies(networks, datasets)[0]
    row = {"LeNet-300-100, float": tested(networks)}
    for bits in (8, 4, 3, 2):
        row |= {f"weights {bits} bits, {name}": tested(on_grid(networks, bits, **how)) for name, how in GRIDS.items()}
    for bits in (8, 4, 2):
        row |= {
            f"activations {bits} bits, {name}": tested(calibrated(name, networks, datasets, bits=bits))
            for name in CALIBRATIONS
        }
    large, small = file_sizes(networks[0], 8)
    row["times smaller on disk, 8 bits"] = large / small
    build = partial(small_mobilenet, channels=datasets[0].input_shape[0])
    mobile = trained_one_by_one(build, datasets, steps=unit["iterations"], lr=3e-3)
    return row | spread_row(mobile[0], unit["trial"], tested)


def spread_row(network: nn.Module, seed: int, tested: Callable[[Sequence[nn.Module]], float]) -> dict[str, float]:
    """Accuracies of a MobileNet whose channels' ranges differ, with one grid a layer and one a channel."""
    row = {"MobileNet, float": tested([network])}
    for spread in SPREADS:
        folded = [fold_batch_norm(with_spread(network, spread, seed))]
        for bits in (8, 6):
            for name in ("one grid a layer", "one grid a channel"):
                row[f"spread {spread}, {bits} bits, {name}"] = tested(on_grid(folded, bits, **GRIDS[name]))
    return row


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Test accuracies, mean and spread over the trials, with the change against the float network."""
    float_name, lines = "", []
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name.startswith("times"):
            lines.append(f"{name:46} {sum(values) / len(values):.2f}")
            continue
        float_name = name if name.endswith("float") else float_name
        if len(rows) < 2:
            lines.append(f"{name:46} {100 * values[0]:.1f} %")
            continue
        change = paired_difference(values, [row[float_name] for row in rows])
        lines.append(f"{name:46} {summarise(values):%}   {change:points}")
    return "\n".join(lines)
