"""Lesson 05: tickets and their controls, many trials at once, watched while they train."""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.models import lenet_300_100
from course_lib.pruning import apply_masks_, prunable, sparsity_of
from course_lib.pruning.lottery import keep_all, prune_at_once, prune_round, shuffled_masks
from course_lib.training import evaluate, fit_trials

Masks = dict[str, Tensor]


@dataclass(frozen=True)
class Curves:
    """What was seen of networks while they trained.

    Attributes:
        steps: when measurements were made, from 0 on.
        loss, accuracy: on the validation split, (trials, measurements).
        at_stop: test accuracy at the smallest validation loss, (trials,).
        at_end: test accuracy after the last step, (trials,).
    """

    steps: list[int]
    loss: Tensor
    accuracy: Tensor
    at_stop: Tensor
    at_end: Tensor

    def early_stops(self) -> list[int]:
        """The step of the smallest validation loss of each trial, in hindsight: training always goes to the end."""
        return [self.steps[place] for place in self.loss.argmin(dim=1).tolist()]

    def steps_to(self, loss: float) -> list[int]:
        """The first measurement of each trial with a validation loss this small; the last step where none has it."""
        reached = self.loss <= loss
        reached[:, -1] = True
        return [self.steps[place] for place in reached.int().argmax(dim=1).tolist()]


def newborn(build: Callable[[], nn.Module], seeds: Sequence[int]) -> list[nn.Module]:
    """One untrained network for each seed: weights from Glorot's normal distribution, biases zero, as in the paper.

    >>> newborn(lenet_300_100, seeds=[0])[0][1].bias.any().item()
    False
    """
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build())
        for layer in networks[-1].modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)
    return networks


def watched(
    datasets: Sequence[Dataset], *, steps: int, every: int, seeds: Sequence[int] | None = None
) -> Callable[[list[nn.Module], Sequence[Masks]], Curves]:
    """A `train(networks, masks)` for `find_tickets`: Adam, 1.2e-3, batches of 60; trial k learns from datasets[k].

    Args:
        datasets: one for each trial.
        steps: how long to train; there is no other end.
        every: how often to measure.
        seeds: of the order of the examples; 0, 1, 2, ... by default.
    """

    def train(networks: list[nn.Module], masks: Sequence[Masks]) -> Curves:
        at = list(range(0, steps + 1, every))
        loss, accuracy = torch.full((2, len(networks), len(at)), torch.inf).unbind()
        best = [{}] * len(networks)

        def watch(step: int, trial: int, network: nn.Module) -> None:
            seen, place = evaluate(network, datasets[trial].validation), step // every
            if seen.loss < loss[trial].min():
                best[trial] = {name: value.clone() for name, value in network.state_dict().items()}
            loss[trial, place], accuracy[trial, place] = seen.loss, seen.accuracy

        for trial, network in enumerate(networks):
            watch(0, trial, network)
        train_splits = [data.train for data in datasets]
        fit_trials(networks, train_splits, steps=steps, masks=masks, seeds=seeds, after_step=watch, every=every)
        stopped = [copy.deepcopy(network) for network in networks]
        for network, state in zip(stopped, best, strict=True):
            network.load_state_dict(state)
        at_stop, at_end = (torch.tensor(test_accuracies(group, datasets)) for group in (stopped, networks))
        return Curves(at, loss, accuracy, at_stop, at_end)

    return train


def trained_with(
    masks: Sequence[Masks], networks: Sequence[nn.Module], train: Callable[[list[nn.Module], Sequence[Masks]], Curves]
) -> Curves:
    """Mask copies of the networks, train them, and give their curves: a ticket, or a control."""
    return train([apply_masks_(copy.deepcopy(n), mask) for n, mask in zip(networks, masks, strict=True)], masks)


def barriers(
    networks: Sequence[nn.Module], datasets: Sequence[Dataset], masks: Sequence[Masks], *, steps: int, points: int = 11
) -> list[float]:
    """The error barrier of each network: train it twice, on other orders of the examples, and walk from one end to the other.

    The highest test error on the straight line between the two trained networks, less the mean error of its ends.
    """
    ends = []
    for order in (0, 1):
        seeds = [2 * trial + order for trial in range(len(networks))]
        ends.append([apply_masks_(copy.deepcopy(n), mask) for n, mask in zip(networks, masks, strict=True)])
        fit_trials(ends[-1], [data.train for data in datasets], steps=steps, masks=masks, seeds=seeds)
    errors = []  # (points, trials)
    for share in torch.linspace(0, 1, points).tolist():
        between = [mixed(one, other, share) for one, other in zip(*ends, strict=True)]
        errors.append([1 - accuracy for accuracy in test_accuracies(between, datasets)])
    return [max(line) - (line[0] + line[-1]) / 2 for line in zip(*errors, strict=True)]


def mixed(one: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """The network on the straight line between two: (1 − share) of one, share of the other."""
    between = copy.deepcopy(one)
    with torch.no_grad():
        for parameter, target in zip(between.parameters(), other.parameters(), strict=True):
            parameter.lerp_(target, share)
    return between


# --- course run 05 -------------------------------------------------------------------------------------------------

ROUNDS = 15  # 3.6 % of LeNet-300-100 are left
REINITIALISED = range(1, ROUNDS + 1, 2)
CONTROLS = (3, 7, 11, 15)  # rounds with a random mask and a one-shot ticket too
cached_load = cache(load)


def units(data: str, *, trials: int, iterations: int = 50_000) -> list[dict]:
    """One unit for each round of each trial: a round starts from the masks that the round before has left."""
    places = [(trial, number) for trial in range(trials) for number in range(ROUNDS + 1)]
    return [{"data": data, "trial": trial, "round": number, "iterations": iterations} for trial, number in places]


def measure(unit: dict, result_of: Callable[[dict], dict]) -> dict:
    """Train one round's ticket and its controls at once; keep their results, and the masks of the next round."""
    data, trial, number = cached_load(unit["data"], fold=unit["trial"]), unit["trial"], unit["round"]
    build = lambda: lenet_300_100(data.input_shape, data.n_classes)
    (first,) = newborn(build, [trial])
    masks = keep_all(first) if number == 0 else unpacked(result_of(unit | {"round": number - 1})["next"], first)
    contest = {"ticket": (first, masks)}
    if number in REINITIALISED:
        contest["reinit"] = (newborn(build, [1000 * number + trial])[0], masks)
    if number in CONTROLS:
        once = result_of(unit | {"round": 0})["cuts"][str(number)]
        contest["one-shot"] = (first, unpacked(once, first))
        contest["random mask"] = (first, shuffled_masks(masks, seed=trial))
    networks = [apply_masks_(copy.deepcopy(network), mask) for network, mask in contest.values()]
    train = watched(
        [data] * len(networks),
        steps=unit["iterations"],
        every=max(1, min(100, unit["iterations"] // 50)),
        seeds=[trial] * len(networks),
    )
    curves = train(networks, [mask for _, mask in contest.values()])
    row = {"round": number, "density": 1 - sparsity_of(masks), "next": packed(prune_round(networks[0], masks))}
    if number == 0:
        row["cuts"] = one_shot_masks(networks[0], masks)
    return row | {
        name: {"stop": stop, "at stop": curves.at_stop[place].item(), "at end": curves.at_end[place].item()}
        for place, (name, stop) in enumerate(zip(contest, curves.early_stops(), strict=True))
    }


def one_shot_masks(dense: nn.Module, masks: Masks) -> dict[str, str]:
    """For each round with controls, as many weights as its ticket will have, cut from the trained dense network at once."""
    found = {}
    for number in range(1, ROUNDS + 1):
        masks = prune_round(dense, masks)  # only its size is used
        if number in CONTROLS:
            found[str(number)] = packed(prune_at_once(dense, masks))
    return found


def packed(masks: Masks) -> str:
    """Masks as text: their bits, compressed.

    >>> layer = nn.Linear(2, 1)
    >>> unpacked(packed({"weight": torch.tensor([[True, False]])}), layer)
    {'weight': tensor([[ True, False]])}
    """
    bits = torch.cat([mask.flatten() for mask in masks.values()]).numpy()
    return base64.b64encode(zlib.compress(np.packbits(bits).tobytes(), 9)).decode("ascii")


def unpacked(text: str, network: nn.Module) -> Masks:
    """What `packed` was given, for the weights of this network."""
    bits = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8))
    masks, start = {}, 0
    for name, weight in prunable(network).items():
        masks[name] = torch.from_numpy(bits[start : start + weight.numel()]).bool().view_as(weight)
        start += weight.numel()
    return masks


def report(rows: Sequence[Mapping]) -> str:
    """For each size and kind of network: the iteration of early stopping, and test accuracy there and at the end."""
    lines = ["weights left, kind: early stop (iteration), test accuracy there, and after the last iteration"]
    for number in sorted({row["round"] for row in rows}):
        of_round = [row for row in rows if row["round"] == number]
        for name in ("ticket", "reinit", "random mask", "one-shot"):
            found = [row[name] for row in of_round if name in row]
            if found:
                stop, there, end = ([entry[key] for entry in found] for key in ("stop", "at stop", "at end"))
                percent = [spread([100 * value for value in values], ".2f") for values in (there, end)]
                shown = f"{spread(stop, '.0f'):>14}   {percent[0]:>13} %   {percent[1]:>13} %"
                lines.append(f"{100 * of_round[0]['density']:5.1f} % {name:12} {shown}")
    return "\n".join(lines)


def spread(values: Sequence[float], form: str) -> str:
    """Mean and spread over the trials, or the one value there is."""
    return format(summarise(values), form).split(" (")[0] if len(values) > 1 else format(values[0], form)
