"""Lottery tickets: train, prune the smallest weights, rewind the rest to where they started, and again.

A *ticket* is a mask together with the first values of the weights it keeps. It is a winning one if it trains as well
as the whole network. The controls, without which nothing is shown, stand at the end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_fraction, require_positive
from course_lib.pruning.masks import apply_masks_, keep_highest, sparsity_of
from course_lib.pruning.scores import magnitude_scores, prunable

Masks = dict[str, Tensor]
Train = Callable[[list[nn.Module], list[Masks]], object]


@dataclass(frozen=True)
class Round:
    """One round of a search: what was trained, and what came out.

    Attributes:
        density: the fraction of weights in force, 0..1 (of the first trial; all are equal).
        masks: for each trial, parameter name -> bool mask.
        networks: the trained networks, one for each trial.
        result: whatever `train` returned: learning curves, accuracies.
    """

    density: float
    masks: list[Masks]
    networks: list[nn.Module]
    result: object


def find_tickets(
    networks: Sequence[nn.Module],
    *,
    rounds: int,
    train: Train,
    rate: float = 0.2,
    output_rate: float = 0.1,
    start: Sequence[nn.Module] | None = None,
    earlier: Sequence[Round] = (),
) -> list[Round]:
    """Iterative magnitude pruning with rewinding, for many trials at once.

    Round 0 trains the dense networks. Every later round prunes the share `rate` of each layer's surviving weights,
    those of smallest trained magnitude (the output layer loses `output_rate`), sets the survivors back to their first
    values, and trains again.

    Args:
        networks: untrained networks, one for each trial; they are left as they are.
        rounds: how many times to prune, 0 or more, those of `earlier` not counted.
        train: called as `train(networks, masks)`; trains the networks in place with their masks in force.
        rate: fraction of a layer's survivors that a round removes, 0..1.
        output_rate: the same for the last layer.
        start: where to rewind to, if not to `networks`: the same networks some steps into their training (late
            rewinding, which larger networks need).
        earlier: the rounds of a search to go on with; the dense round is not trained again then.

    Returns:
        all rounds, those of `earlier` included, the dense one first.

    Raises:
        CourseError: rates outside 0..1, or another number of starts, or of earlier trials, than of networks.

    >>> lazy = lambda networks, masks: None  # a training that changes nothing
    >>> [round(r.density, 2) for r in find_tickets([nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))], rounds=2, train=lazy)]
    [1.0, 0.85, 0.72]

    Frankle & Carbin 2019; late rewinding: Frankle et al. 2020. Lesson 05.
    """
    require_positive("rounds", rounds, at_least=0)
    start = networks if start is None else start
    if len(start) != len(networks):
        raise CourseError(f"There are {len(networks)} networks but {len(start)} to rewind to: pass one for each.")
    history = list(earlier) or [trained_round(networks, [keep_all(network) for network in networks], train)]
    if len(history[-1].networks) != len(networks):
        raise CourseError(f"There are {len(networks)} networks but {len(history[-1].networks)} in the earlier rounds.")
    for _ in range(rounds):
        pairs = zip(history[-1].networks, history[-1].masks, strict=True)
        masks = [prune_round(network, mask, rate=rate, output_rate=output_rate) for network, mask in pairs]
        history.append(trained_round(start, masks, train))
    return history


def trained_round(start: Sequence[nn.Module], masks: list[Masks], train: Train) -> Round:
    """Copies of the networks at their start, masked and trained."""
    networks = [apply_masks_(copy.deepcopy(network), mask) for network, mask in zip(start, masks, strict=True)]
    return Round(1 - sparsity_of(masks[0]), masks, networks, train(networks, masks))


def keep_all(network: nn.Module) -> Masks:
    """The mask of the dense network.

    >>> keep_all(nn.Linear(2, 1))
    {'weight': tensor([[True, True]])}

    Lesson 05.
    """
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(network).items()}


def prune_round(
    network: nn.Module, masks: Mapping[str, Tensor], *, rate: float = 0.2, output_rate: float = 0.1
) -> Masks:
    """Remove the share `rate` of each layer's surviving weights: the smallest magnitudes, exactly round(rate · survivors).

    Args:
        network: trained with `masks` in force.
        masks: parameter name -> bool mask, from the round before.
        rate: of the survivors of every layer but the last, 0..1.
        output_rate: of the last layer's, 0..1; it is small and each of its weights counts.

    Raises:
        CourseError: a rate outside 0..1, or masks for other parameters than the network's weights.

    >>> layer = nn.Linear(4, 1)
    >>> with torch.no_grad(): _ = layer.weight.copy_(torch.tensor([[3.0, -1.0, 0.0, 2.0]]))
    >>> prune_round(layer, {"weight": torch.tensor([[True, True, False, True]])}, output_rate=1 / 3)
    {'weight': tensor([[ True, False, False,  True]])}

    Frankle & Carbin 2019. Lesson 05.
    """
    require_fraction("rate", rate, of="the fraction of surviving weights to remove")
    require_fraction("output_rate", output_rate, of="the fraction of surviving weights to remove")
    scores = magnitude_scores(network)
    if scores.keys() != masks.keys():
        raise CourseError(f"The masks are for {', '.join(masks)}, but the weights are {', '.join(scores)}.")
    last = list(scores)[-1]
    return {
        name: prune_survivors(score, masks[name], output_rate if name == last else rate)
        for name, score in scores.items()
    }


def prune_survivors(score: Tensor, mask: Tensor, rate: float) -> Tensor:
    """A smaller mask: of the weights that are left, the fraction `rate` with the lowest scores goes."""
    smaller = mask.clone()
    (smaller[mask],) = keep_highest([score[mask]], rate)
    return smaller


def prune_at_once(network: nn.Module, masks: Mapping[str, Tensor]) -> Masks:
    """The one-shot ticket: as many weights per layer as `masks` keeps, chosen in one cut of the trained dense network.

    >>> layer = nn.Linear(3, 1)
    >>> with torch.no_grad(): _ = layer.weight.copy_(torch.tensor([[3.0, -1.0, 2.0]]))
    >>> prune_at_once(layer, {"weight": torch.tensor([[False, True, False]])})
    {'weight': tensor([[ True, False, False]])}

    Frankle & Carbin 2019. Lesson 05.
    """
    scores = magnitude_scores(network)
    return {name: keep_highest([score], 1 - masks[name].double().mean().item())[0] for name, score in scores.items()}


def shuffled_masks(masks: Mapping[str, Tensor], *, seed: int) -> Masks:
    """The random-mask control: in each layer as many weights stay as before, but at random places.

    >>> shuffled = shuffled_masks({"w": torch.tensor([True, False, False, False])}, seed=0)
    >>> int(shuffled["w"].sum())
    1

    Lessons 05 and 06.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view_as(mask)
        for name, mask in masks.items()
    }
