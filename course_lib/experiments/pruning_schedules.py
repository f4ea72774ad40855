"""Lesson 03: one cut, rounds or little by little, over the same steps; and large-sparse against small-dense."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, Split, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import DECAY, test_accuracies, trained
from course_lib.models import lenet_300_100
from course_lib.pruning import gradual, iterative, one_shot, sparsity_of
from course_lib.training import adam, batch_rows, evaluate
from course_lib.training.loop import mask_keeper

Masks = dict[str, Tensor]
LEVELS = (0.9, 0.95, 0.98, 0.99)


def trainer(
    model: nn.Module,
    split: Split,
    *,
    steps: int,
    seed: int = 0,
    watch: Callable[[int, Masks], object] | None = None,
    watch_every: int = 20,
) -> Callable[[nn.Module, Masks, int], None]:
    """A `train(model, masks, steps)` for the schedules, with one optimiser and one budget for all its calls.

    Schedules that start from the same `seed` see the same examples in the same order.

    Args:
        model: what will be trained.
        split: what to train on.
        steps: the budget; no call goes beyond it.
        seed: the order of the examples.
        watch: called every `watch_every` steps with the steps done so far and the masks in force.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> train = trainer(model, load("digits").train, steps=10)
    >>> train(model, {}, 6), train(model, {}, 4)
    (None, None)
    """
    step_weights = adam(list(model.parameters()), lr=1.2e-3, weight_decay=DECAY)
    batches = enumerate(batch_rows(len(split), batch_size=60, steps=steps, seed=seed), start=1)

    def train(model: nn.Module, masks: Masks, steps: int) -> None:
        keep_masks = mask_keeper(dict(model.named_parameters()), masks)
        for done, rows in islice(batches, steps):
            model.zero_grad()
            F.cross_entropy(model(split.x[rows]), split.y[rows]).backward()
            step_weights()
            keep_masks()
            if watch is not None and done % watch_every == 0:
                watch(done, masks)

    return train


def schedules(sparsity: float, steps: int, *, rounds: int = 5, **how) -> dict[str, Callable[..., Masks]]:
    """The three schedules of the lesson: name -> (model, train) -> masks; `how` goes to each (`scores`)."""
    rising = {"begin": 0, "end": round(0.7 * steps), "every": max(1, steps // 40)}
    return {
        "one-shot": lambda model, train: one_shot(model, sparsity, train=train, steps=steps, **how),
        "iterative": lambda model, train: iterative(model, sparsity, rounds=rounds, train=train, steps=steps, **how),
        "gradual": lambda model, train: gradual(model, sparsity, train=train, steps=steps, **rising, **how),
    }


def scheduled(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], schedule: Callable[..., Masks], *, steps: int
) -> list[nn.Module]:
    """Copies of the networks, each pruned and trained along the schedule; trial k sees its examples in order k."""

    def one(trial: int) -> nn.Module:
        network = copy.deepcopy(networks[trial])
        schedule(network, trainer(network, datasets[trial].train, steps=steps, seed=trial))
        return network

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(len(networks))))


def raced(
    network: nn.Module, data: Dataset, runners: Mapping[str, Callable[..., Masks]], *, steps: int, seed: int = 0
) -> dict[str, list[tuple[int, float, float]]]:
    """The curve of each schedule on one network: (steps done, sparsity, validation accuracy), every 20 steps."""
    curves = {}
    for name, schedule in runners.items():
        runner = copy.deepcopy(network)
        curve = [(0, 0.0, evaluate(runner, data.validation).accuracy)]

        def watch(done: int, masks: Masks, runner=runner, curve=curve) -> None:
            curve.append((done, sparsity_of(masks), evaluate(runner, data.validation).accuracy))

        schedule(runner, trainer(runner, data.train, steps=steps, seed=seed, watch=watch))
        curves[name] = curve
    return curves


def narrow_sizes(sizes: Sequence[int], budget: int) -> list[int]:
    """The widest network of the same shape, all hidden layers shrunk alike, with at most `budget` parameters.

    >>> narrow_sizes([64, 300, 100, 10], budget=5000)
    [64, 56, 19, 10]
    """
    for thousandths in range(1000, 0, -1):
        hidden = [max(1, round(size * thousandths / 1000)) for size in sizes[1:-1]]
        narrow = [sizes[0], *hidden, sizes[-1]]
        if sum((a + 1) * b for a, b in zip(narrow, narrow[1:], strict=False)) <= budget:
            break
    return narrow


# --- course run 03 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 3000) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Train one LeNet-300-100, and prune it along the three schedules to every sparsity."""
    datasets, steps = [load(unit["data"], fold=unit["trial"])], unit["iterations"]
    dense = trained(lambda: lenet_300_100(datasets[0].input_shape), datasets, steps=steps, seeds=[unit["trial"]])
    row = {"dense": test_accuracies(dense, datasets)[0]}
    for sparsity in LEVELS:
        for name, schedule in schedules(sparsity, steps).items():
            networks = scheduled(dense, datasets, schedule, steps=steps)
            row[f"{sparsity} {name}"] = test_accuracies(networks, datasets)[0]
    return row


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Test error in percent, mean and spread over the trials."""
    if len(rows) < 2:
        return "\n".join(f"{name:26} {100 * (1 - value):5.2f} % error" for name, value in rows[0].items())
    lines = [(name, summarise([100 * (1 - row[name]) for row in rows])) for name in rows[0]]
    return "\n".join(f"{name:26} {error:.2f} % error" for name, error in lines)
