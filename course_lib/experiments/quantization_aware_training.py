"""Lesson 10: round a trained network, or train it on the grid, at an equal number of steps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.quantization.calibration import minmax, mse
from course_lib.quantization.post_training import load_weights_, post_training, quantize_weights
from course_lib.quantization.qat import freeze_batch_norm_, freeze_ranges_, prepare
from course_lib.training import fit

BITS = (8, 4, 3, 2)
LR = 4e-3  # of 2e-3, 4e-3 and 8e-3 the best on validation images, for both kinds of range


def conv_net(input_shape: Sequence[int] = (1, 8, 8), n_classes: int = 10) -> nn.Sequential:
    """Two convolutions that halve the image, each with batch norm, and a linear layer.

    >>> conv_net()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    depth, height, width = input_shape
    return nn.Sequential(
        nn.Conv2d(depth, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * -(-height // 4) * -(-width // 4), n_classes),
    )  # fmt: skip


def in_pairs(function: Callable, n: int) -> list:
    """Call the function on 0 … n − 1, two at a time: one for each core of a laptop."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, range(n)))


def trained(datasets: Sequence[Dataset], *, steps: int, lr: float = LR) -> list[nn.Module]:
    """A float network for each data set; trial k starts from seed k."""
    networks = []
    for seed, data in enumerate(datasets):
        torch.manual_seed(seed)
        networks.append(conv_net(data.input_shape, data.n_classes))
    return continued(networks, datasets, steps=steps, lr=lr, order=0)


def continued(
    networks: Sequence[nn.Module],
    datasets: Sequence[Dataset],
    *,
    steps: int,
    lr: float = LR,
    order: int = 100,
    late: Callable[[nn.Module], object] | None = None,
) -> list[nn.Module]:
    """Copies, trained for more steps: two thirds at `lr`, then `late` is called on each, then a third at lr / 10.

    Trial k sees its examples in an order that depends on `order` and k alone: what differs is the network.
    """
    early = 2 * steps // 3

    def one(trial: int) -> nn.Module:
        network, how = copy.deepcopy(networks[trial]), {"seed": order + trial}
        fit(network, datasets[trial].train, steps=early, lr=lr, **how)
        network = late(network) if late else network
        fit(network, datasets[trial].train, steps=steps - early, lr=lr / 10, **how)
        return network.eval()

    return in_pairs(one, len(networks))


def freeze_(model: nn.Module) -> nn.Module:
    """What still shakes late in training stands still: statistics of batch norm, ranges of activations."""
    return freeze_ranges_(freeze_batch_norm_(model))


def aware(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], bits: int, *, steps: int, lr: float = LR,
    ranges: str = "moving_average", late: Callable[[nn.Module], object] | None = freeze_,
    change: Callable[[nn.Module], nn.Module] = lambda model: model, order: int = 100, **only: int | None,
) -> list[nn.Module]:  # fmt: skip
    """Copies trained on the grid; `only` sets weight_bits or activation_bits apart, `change` alters what was prepared."""
    how = {"weight_bits": bits, "activation_bits": bits} | only
    prepared = [change(prepare(network, ranges=ranges, **how)) for network in networks]
    return continued(prepared, datasets, steps=steps, lr=lr, order=order, late=late)


def afterwards(networks: Sequence[nn.Module], datasets: Sequence[Dataset], bits: int, *, clip: bool) -> list[nn.Module]:
    """Copies rounded after training: whole ranges, or clipped to the smallest mean squared error."""

    def one(trial: int) -> nn.Module:
        network, batches = copy.deepcopy(networks[trial]).eval(), [datasets[trial].train.x[:300]]
        if not clip:
            return post_training(network, batches, weight_bits=bits, activation_bits=bits, calibrate=minmax)
        load_weights_(network, quantize_weights(network, bits, clip=True))
        return post_training(
            network, batches, weight_bits=None, activation_bits=bits, calibrate=partial(mse, bits=bits)
        )

    return in_pairs(one, len(networks))


class TrueSlope(nn.Module):
    """The same grid with the derivative that a staircase really has: 0.

    >>> x = torch.tensor([0.4], requires_grad=True)
    >>> TrueSlope(nn.Identity())(x).backward(); x.grad
    tensor([0.])
    """

    def __init__(self, quantizer: nn.Module) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Values on the grid; 0 · x carries the slope."""
        return self.quantizer(x).detach() + 0 * x


def without_estimator(model: nn.Module) -> nn.Module:
    """The prepared network with its quantizers' true slopes."""
    for layer in model.modules():
        if hasattr(layer, "weight_quantizer"):
            layer.weight_quantizer = TrueSlope(layer.weight_quantizer)
            layer.input_quantizer = TrueSlope(layer.input_quantizer)
    return model


# --- course run 10 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 1500) -> list[dict]:
    """One unit for each trial and number of bits; `iterations` steps in float, then as many again on each way."""
    shared = {"data": data, "iterations": iterations}
    return [shared | {"trial": trial, "bits": bits} for trial in range(trials) for bits in BITS]


def measure(unit: dict) -> dict:
    """Test accuracies of one network at one number of bits, rounded and trained on the grid."""
    data, steps, bits = [load(unit["data"], fold=unit["trial"])], unit["iterations"], unit["bits"]
    torch.manual_seed(unit["trial"])
    start = continued([conv_net(data[0].input_shape, data[0].n_classes)], data, steps=steps, order=unit["trial"])
    how = {"steps": steps, "order": 100 + unit["trial"]}
    more = continued(start, data, **how)
    ways = {
        "float": more,
        "rounded, whole range": afterwards(more, data, bits, clip=False),
        "rounded, clipped": afterwards(more, data, bits, clip=True),
        "trained, moving average": aware(start, data, bits, **how),
        "trained, learned ranges": aware(start, data, bits, ranges="learned", **how),
    }
    return {"bits": bits} | {name: test_accuracies(networks, data)[0] for name, networks in ways.items()}


def report(rows: Sequence[Mapping]) -> str:
    """Test error in percent, mean and spread over the trials, for each number of bits."""
    lines = []
    for bits in BITS:
        ours = [row for row in rows if row["bits"] == bits]
        for name in [name for name in ours[0] if name != "bits"] if ours else []:
            errors = [100 * (1 - row[name]) for row in ours]
            told = f"{summarise(errors):.2f}" if len(errors) > 1 else f"{errors[0]:.2f}"
            lines.append(f"{bits} bits  {name:24} {told} % error")
    return "\n".join(lines)
