"""Lesson 02: accuracy against sparsity, without retraining, with it, and in rounds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.models import lenet_300_100
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores
from course_lib.training import evaluate, fit_trials

Masks = dict[str, Tensor]
ROUNDS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99)
DECAY = 3e-4  # an L2 penalty, as in Han et al. 2015: weights that nothing asks for shrink to zero


def trained(
    build: Callable[[], nn.Module],
    datasets: Sequence[Dataset],
    *,
    steps: int,
    decay: float = DECAY,
    seeds: Sequence[int] | None = None,
) -> list[nn.Module]:
    """One trained network for each data set; trial k starts from seed k, and sees its examples in order k."""
    seeds, networks = range(len(datasets)) if seeds is None else seeds, []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build())
    fit_trials(networks, [data.train for data in datasets], steps=steps, weight_decay=decay, seeds=seeds)
    return networks


def test_accuracies(networks: Sequence[nn.Module], datasets: Sequence[Dataset]) -> list[float]:
    """The test accuracy of each network on its own fold."""
    return [evaluate(network, data.test).accuracy for network, data in zip(networks, datasets, strict=True)]


def pruned(networks: Sequence[nn.Module], masks: Sequence[Mapping[str, Tensor]]) -> list[nn.Module]:
    """Copies of the networks with the masks applied; the originals stay dense."""
    return [apply_masks_(copy.deepcopy(network), mask) for network, mask in zip(networks, masks, strict=True)]


def magnitude_masks(networks: Sequence[nn.Module], sparsity: float, **how) -> list[Masks]:
    """Magnitude masks for each network; `how` is the scope and granularity."""
    return [masks_from_scores(magnitude_scores(network), sparsity, **how) for network in networks]


def retrained(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], sparsity: float, *, steps: int, **how
) -> list[nn.Module]:
    """Prune copies to `sparsity` by magnitude, then train what is left with the masks in force."""
    return retrained_with(magnitude_masks(networks, sparsity, **how), networks, datasets, steps=steps)


def retrained_with(
    masks: Sequence[Masks], networks: Sequence[nn.Module], datasets: Sequence[Dataset], *, steps: int
) -> list[nn.Module]:
    """Apply masks to copies, and train what is left with the masks in force."""
    smaller = pruned(networks, masks)
    fit_trials(smaller, [data.train for data in datasets], steps=steps, weight_decay=DECAY, masks=masks)
    return smaller


def in_rounds(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], sparsities: Sequence[float], *, steps: int, **how
) -> dict[float, list[nn.Module]]:
    """Prune and retrain again and again: each round starts from the networks of the round before.

    Weights that are zero have the lowest magnitude there is, so whatever was pruned stays pruned.
    """
    rounds = {}
    for sparsity in sparsities:
        networks = retrained(networks, datasets, sparsity, steps=steps, **how)
        rounds[sparsity] = networks
    return rounds


# --- course run 02 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 3000) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Train one LeNet-300-100 and prune it in the three ways, at every sparsity."""
    datasets = [load(unit["data"], fold=unit["trial"])]
    dense = trained(
        lambda: lenet_300_100(datasets[0].input_shape), datasets, steps=unit["iterations"], seeds=[unit["trial"]]
    )
    row = {"dense": test_accuracies(dense, datasets)[0]}
    rounds = in_rounds(dense, datasets, ROUNDS, steps=unit["iterations"])
    for sparsity in ROUNDS:
        once = retrained(dense, datasets, sparsity, steps=unit["iterations"])
        row |= {
            f"{sparsity} without retraining": test_accuracies(
                pruned(dense, magnitude_masks(dense, sparsity)), datasets
            )[0],
            f"{sparsity} retrained": test_accuracies(once, datasets)[0],
            f"{sparsity} in rounds": test_accuracies(rounds[sparsity], datasets)[0],
        }
    return row


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Test error in percent, mean and spread over the trials."""
    if len(rows) < 2:
        return "\n".join(f"{name:26} {100 * (1 - value):5.2f} % error" for name, value in rows[0].items())
    lines = [(name, summarise([100 * (1 - row[name]) for row in rows])) for name in rows[0]]
    return "\n".join(f"{name:26} {e.mean:5.2f} ± {e.sd:.2f} % error (n = {e.n})" for name, e in lines)
