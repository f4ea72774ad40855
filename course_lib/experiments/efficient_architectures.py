"""Lesson 15: small networks of standard, separable, Fire and inverted residual blocks: accuracy against MACs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.experiments.quantization_aware_training import continued
from course_lib.experiments.structured_pruning import macs
from course_lib.models import Fire, InvertedResidual, mobilenet, separable_conv, standard_conv

FIRST = (24, 1)  # filters and stride of the first convolution
PLAN = ((48, 2), (96, 2))  # of the two blocks behind it
LR = 8e-3  # of 4e-3, 8e-3 and 1.2e-2 the best on validation images for separable blocks; all kinds take it
WIDTHS = (0.25, 0.5, 1.0, 2.0)


def fire_block(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    """Pooling instead of a stride, as in SqueezeNet, then Fire with an eighth in the middle, and batch norm.

    >>> fire_block(16, 32, stride=2)(torch.zeros(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """
    branch = max(1, outputs // 2)
    fire = Fire(inputs, max(1, outputs // 8), branch)
    return nn.Sequential(nn.MaxPool2d(stride, ceil_mode=True), fire, nn.BatchNorm2d(2 * branch))


BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "standard": standard_conv,
    "separable": separable_conv,
    "Fire": fire_block,
    "inverted residual": partial(InvertedResidual, expansion=3),
}


def small_net(
    kind: str, input_shape: Sequence[int] = (1, 8, 8), n_classes: int = 10, *, width: float = 1.0
) -> nn.Sequential:
    """A convolution and two blocks of one kind, which halve the image; all kinds have the same channels between blocks.

    Args:
        kind: "standard", "separable", "Fire" or "inverted residual".
        input_shape: (channels, height, width) of an image.
        n_classes: outputs.
        width: factor on all channel counts.

    >>> [macs(small_net(kind), (1, 8, 8)) for kind in ("standard", "separable")]
    [346560, 56832]
    """
    how = {"first": FIRST, "plan": PLAN, "channels": input_shape[0], "block": BLOCKS[kind], "width": width}
    return mobilenet(n_classes, **how)


def trained(
    kind: str, datasets: Sequence[Dataset], *, steps: int, seeds: Sequence[int] | None = None, lr: float = LR, **how
) -> list[nn.Module]:
    """A network of one kind for each data set, trained for two thirds of the steps at `lr`, then at lr / 10.

    Trial k starts from seed k, and sees its examples in the same order as the other kinds' trial k. A pixel's channels lie
    side by side in memory ("channels last"), which nearly halves the time of depthwise and 1×1 convolutions here.
    """
    networks = []
    for seed, data in zip(range(len(datasets)) if seeds is None else seeds, datasets, strict=True):
        torch.manual_seed(seed)
        network = small_net(kind, data.input_shape, data.n_classes, **how)
        networks.append(network.to(memory_format=torch.channels_last))
    return continued(networks, datasets, steps=steps, lr=lr, order=0 if seeds is None else seeds[0])


def width_for(kind: str, budget: int, input_shape: Sequence[int] = (1, 8, 8)) -> float:
    """The largest width, in steps of 1/24, whose network stays within a budget of MACs.

    >>> round(width_for("standard", 56832), 3)
    0.375
    """
    steps = 1
    while macs(small_net(kind, input_shape, width=(steps + 1) / FIRST[0]), input_shape) <= budget:
        steps += 1
    return steps / FIRST[0]


# --- course run 15 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 1500) -> list[dict]:
    """One unit for each kind of block, width and trial."""
    shared = {"data": data, "iterations": iterations}
    return [
        shared | {"kind": kind, "width": width, "trial": trial}
        for kind in BLOCKS
        for width in WIDTHS
        for trial in range(trials)
    ]


def measure(unit: dict) -> dict:
    """Train one network; its MACs and its test accuracy."""
    data, trial = [load(unit["data"], fold=unit["trial"])], unit["trial"]
    how = {"steps": unit["iterations"], "width": unit["width"], "seeds": [trial]}
    networks = trained(unit["kind"], data, **how)
    cost = macs(networks[0], data[0].input_shape)
    found = {"macs": cost, "accuracy": test_accuracies(networks, data)[0]}
    return {"kind": unit["kind"], "width": unit["width"]} | found


def report(rows: Sequence[Mapping]) -> str:
    """MACs and test error in percent, mean and spread over the trials, for each kind and width."""
    lines = []
    for kind, width in dict.fromkeys((row["kind"], row["width"]) for row in rows):
        ours = [row for row in rows if (row["kind"], row["width"]) == (kind, width)]
        errors = [100 * (1 - row["accuracy"]) for row in ours]
        told = f"{summarise(errors):.2f}" if len(errors) > 1 else f"{errors[0]:.2f}"
        lines.append(f"{kind:18} width {width:<5g} {ours[0]['macs']:>12,} MACs  {told} % error")
    return "\n".join(lines)
