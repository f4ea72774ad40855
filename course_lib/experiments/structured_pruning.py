"""Lesson 07: whole filters removed, retrained or trained from scratch, beside as many single weights; and the clock."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import (
    DECAY,
    magnitude_masks,
    pruned,
    retrained_with,
    test_accuracies,
    trained,
)
from course_lib.measure import layer_costs, parameter_count
from course_lib.measure.clock import timed_ms
from course_lib.models import small_cnn
from course_lib.pruning import prunable
from course_lib.pruning.structured import remove_filters
from course_lib.training import fit, fit_trials

SHARES = (0.25, 0.5, 0.75)
ROUND_TO = 4  # the layers are narrow: 16 and 32 filters


class Block(nn.Module):
    """A residual block: two convolutions with batch norm, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def residual_net(channels: int = 16, blocks: int = 3, *, inputs: int = 1, n_classes: int = 10) -> nn.Sequential:
    """A small residual network for images of any size.

    >>> residual_net()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    stem = [nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
    body = [Block(channels) for _ in range(blocks)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, n_classes))


class Concatenating(nn.Module):
    """Two branches side by side, joined channel after channel."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(1, 24, 5, padding=2)
        self.norm, self.join, self.head = nn.BatchNorm2d(40), nn.Conv2d(40, 16, 3), nn.Linear(16 * 36, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 8, 8) -> (batch, 10)."""
        both = F.relu(self.norm(torch.cat([self.left(x), self.right(x)], dim=1)))
        return self.head(torch.flatten(F.relu(self.join(both)), 1))


def coupled_networks(seed: int = 0) -> dict[str, nn.Module]:
    """One small network for each way in which channels are coupled; their batch norms have statistics of their own.

    >>> list(coupled_networks())
    ['plain', 'residual', 'depthwise', 'grouped', 'concatenating']
    """
    torch.manual_seed(seed)
    separable = [nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 24, 1)]
    in_groups = [nn.Conv2d(32, 48, 3, padding=1, groups=4), nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 24, 1)]
    stem, head = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()], [nn.ReLU(), nn.Flatten(), nn.Linear(24 * 64, 10)]
    networks = {
        "plain": nn.Sequential(*stem, nn.BatchNorm2d(32), nn.Conv2d(32, 24, 3, padding=1), *head),
        "residual": residual_net(),
        "depthwise": nn.Sequential(*copy.deepcopy(stem), *separable, *copy.deepcopy(head)),
        "grouped": nn.Sequential(*copy.deepcopy(stem), *in_groups, *copy.deepcopy(head)),
        "concatenating": Concatenating(),
    }
    for norm in (layer for net in networks.values() for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)):
        for tensor, at in ((norm.weight, 1.0), (norm.bias, 0.0), (norm.running_mean, 0.0), (norm.running_var, 1.5)):
            nn.init.uniform_(tensor, at - 0.5, at + 0.5)
    return {name: network.eval() for name, network in networks.items()}


# --- accuracy ------------------------------------------------------------------------------------------------------


def smaller(networks: Sequence[nn.Module], datasets: Sequence[Dataset], share: float) -> list[nn.Module]:
    """Each network without a share of its filters."""
    example = torch.zeros(1, *datasets[0].input_shape)
    return [remove_filters(network, share, example_input=example, round_to=ROUND_TO) for network in networks]


def further(networks: Sequence[nn.Module], datasets: Sequence[Dataset], *, steps: int) -> list[nn.Module]:
    """Copies of the networks, trained for some more steps."""
    copies = [copy.deepcopy(network) for network in networks]
    fit_trials(copies, [data.train for data in datasets], steps=steps, weight_decay=DECAY)
    return copies


def fresh(networks: Sequence[nn.Module]) -> list[nn.Module]:
    """The same architectures with new random weights; trial k draws from seed 100 + k."""
    copies = [copy.deepcopy(network) for network in networks]
    for seed, network in enumerate(copies, start=100):
        torch.manual_seed(seed)
        for layer in network.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
    return copies


def equal_masks(networks: Sequence[nn.Module], small: Sequence[nn.Module]) -> list[dict[str, Tensor]]:
    """Magnitude masks of single weights that leave as many numbers, biases included, as the small networks have."""
    weights = sum(weight.numel() for weight in prunable(networks[0]).values())
    left = parameter_count(small[0]) - (parameter_count(networks[0]) - weights)
    return magnitude_masks(networks, 1 - left / weights)


def compared(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], share: float, *, steps: int
) -> dict[str, list[float]]:
    """Test accuracies at one size: filters or single weights removed, before retraining and after it."""
    small = smaller(networks, datasets, share)
    masks = equal_masks(networks, small)
    return {
        "filters, cut": test_accuracies(small, datasets),
        "weights, cut": test_accuracies(pruned(networks, masks), datasets),
        "filters, retrained": test_accuracies(further(small, datasets, steps=steps), datasets),
        "weights, retrained": test_accuracies(retrained_with(masks, networks, datasets, steps=steps), datasets),
    }


def trained_residuals(datasets: Sequence[Dataset], *, steps: int, channels: int = 8) -> list[nn.Module]:
    """A residual network for each data set; batch norm needs `fit`, one network after the other."""
    networks = []
    for seed, data in enumerate(datasets):
        torch.manual_seed(seed)
        networks.append(residual_net(channels))
        fit(networks[-1], data.train, steps=steps, lr=4e-3, seed=seed)
    return networks


# --- the clock -----------------------------------------------------------------------------------------------------


def side_by_side(calls: Mapping[str, Callable[[], object]], *, turns: int = 15) -> dict[str, list[float]]:
    """Milliseconds of each call in each of its turns; all are called in turn, so a busy moment hits all of them.

    >>> list(side_by_side({"a": lambda: None}, turns=2))
    ['a']
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for number in range(-2, turns):  # two to warm up
            for name, call in calls.items():
                ms = timed_ms(call, time.perf_counter)
                if number >= 0:
                    times[name].append(ms)
    return times


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median of ours / theirs, turn by turn, and the ends of the middle half.

    >>> ratios([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0])
    (1.25, 0.625, 1.875)
    """
    low, middle, high = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return middle, low, high


def macs(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-adds for one example."""
    return sum(cost.macs for cost in layer_costs(network, input_shape))


# --- course run 07 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 3000) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Train one small CNN; at every size remove filters or weights and retrain, or train the small one from scratch."""
    datasets, steps = [load(unit["data"], fold=unit["trial"])], unit["iterations"]
    networks = trained(lambda: small_cnn(datasets[0].input_shape), datasets, steps=steps)
    row = {"dense": test_accuracies(networks, datasets)[0]}
    for share in SHARES:
        found = compared(networks, datasets, share, steps=steps)
        anew = fresh(smaller(networks, datasets, share))
        found["small, from scratch"] = test_accuracies(further(anew, datasets, steps=2 * steps), datasets)
        row |= {f"{share} {name}": accuracies[0] for name, accuracies in found.items()}
    return row


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Test error in percent, mean and spread over the trials."""
    if len(rows) < 2:
        return "\n".join(f"{name:26} {100 * (1 - value):5.2f} % error" for name, value in rows[0].items())
    lines = [(name, summarise([100 * (1 - row[name]) for row in rows])) for name in rows[0]]
    return "\n".join(f"{name:26} {error:.2f} % error" for name, error in lines)
