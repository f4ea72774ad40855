"""When to prune: at once, in rounds, or little by little, over one and the same number of training steps.

Each schedule trains the model it is given with a `train` function of yours: `train(model, masks, steps)` takes that
many optimiser steps and keeps every weight at zero whose mask is False.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_fraction, require_positive
from course_lib.pruning.masks import apply_masks_, masks_from_scores
from course_lib.pruning.scores import magnitude_scores, prunable

Masks = dict[str, Tensor]
Train = Callable[[nn.Module, Masks, int], object]
Scores = Callable[[nn.Module], Masks]


def gradual_sparsity(
    step: float, *, final: float, begin: float, end: float, initial: float = 0.0, exponent: float = 3
) -> float:
    """The sparsity due at a training step: it rises quickly at first, and ever more slowly.

    s = final + (initial − final) · (1 − (step − begin) / (end − begin))^exponent, and before `begin` it is `initial`,
    after `end` it is `final`.

    Args:
        step: optimiser steps done so far.
        final, initial: fractions of weights, 0..1.
        begin, end: the steps between which sparsity rises, begin < end.
        exponent: 1 is a straight line; the paper's is 3.

    Raises:
        CourseError: a fraction outside 0..1, `end` not after `begin`, or an exponent that is not above 0.

    >>> [round(gradual_sparsity(step, final=0.8, begin=100, end=300), 6) for step in (0, 200, 400)]
    [0.0, 0.7, 0.8]

    Zhu & Gupta 2017. Lesson 03.
    """
    require_fraction("final", final, of="the sparsity at the end")
    require_fraction("initial", initial, of="the sparsity at the start")
    if not begin < end:
        raise CourseError(f"Pruning must begin before it ends, but you passed begin={begin} and end={end}.")
    if not exponent > 0:
        raise CourseError(f"exponent must be above 0, but you passed {exponent}. The paper uses 3.")
    left = 1 - min(max((step - begin) / (end - begin), 0), 1)  # 1 before begin, 0 after end
    return final + (initial - final) * left**exponent


def round_sparsities(final: float, rounds: int) -> list[float]:
    """The sparsities of the rounds of iterative pruning: each round keeps the same share of the survivors.

    s_k = 1 − (1 − final)^(k / rounds) for k = 1 … rounds.

    Args:
        final: the sparsity after the last round, 0 up to but without 1.
        rounds: 1 or more.

    Raises:
        CourseError: `final` is 1 or not a fraction, or there is no round.

    >>> [round(s, 6) for s in round_sparsities(0.875, rounds=3)]
    [0.5, 0.75, 0.875]

    Han et al. 2015. Lesson 03.
    """
    require_fraction("final", final, of="the sparsity after the last round")
    require_positive("rounds", rounds)
    if final == 1:
        raise CourseError("No share of the survivors leads to sparsity 1. Pass a final sparsity below 1, such as 0.99.")
    return [*(1 - (1 - final) ** (k / rounds) for k in range(1, rounds)), float(final)]


def one_shot(
    model: nn.Module, sparsity: float, *, train: Train, steps: int, scores: Scores = magnitude_scores
) -> Masks:
    """Cut once, then train all steps with what is left. The model is changed.

    Args:
        model: a trained network.
        sparsity: fraction of its weights to remove, 0..1, all layers ranked together.
        train: `train(model, masks, steps)`, see the top of this file.
        steps: how many steps there are in all.
        scores: model -> parameter name -> score, 0 or more; magnitude by default.

    Returns:
        the masks, True = keep.

    Raises:
        CourseError: `sparsity` is no fraction, or there is no step.

    >>> layer = nn.Linear(4, 1)
    >>> masks = one_shot(layer, 0.5, train=lambda model, masks, steps: None, steps=10)
    >>> int((layer.weight == 0).sum())
    2

    Han et al. 2015. Lesson 03.
    """
    return iterative(model, sparsity, rounds=1, train=train, steps=steps, scores=scores)


def iterative(
    model: nn.Module, sparsity: float, *, rounds: int, train: Train, steps: int, scores: Scores = magnitude_scores
) -> Masks:
    """Cut and train, cut and train: equal rounds, and what has gone stays gone. The model is changed.

    Args:
        rounds: the steps are shared among them as evenly as whole numbers allow.
        model, sparsity, train, steps, scores: as in `one_shot`.

    Returns:
        the masks of the last round.

    Raises:
        CourseError: as in `one_shot` and `round_sparsities`; or fewer steps than rounds.

    >>> taken = []
    >>> count = lambda model, masks, steps: taken.append(steps)
    >>> _ = iterative(nn.Linear(9, 9), 0.9, rounds=3, train=count, steps=100)
    >>> taken
    [33, 33, 34]

    Han et al. 2015. Lesson 03.
    """
    require_positive("steps", steps, at_least=rounds)
    levels = [require_fraction("sparsity", sparsity)] if rounds == 1 else round_sparsities(sparsity, rounds)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable(model).items()}
    for k, level in enumerate(levels):
        alive = {name: score * masks[name] for name, score in scores(model).items()}  # what has gone scores lowest
        masks = masks_from_scores(alive, level)
        apply_masks_(model, masks)
        train(model, masks, steps * (k + 1) // rounds - steps * k // rounds)
    return masks


def gradual(
    model: nn.Module,
    sparsity: float,
    *,
    train: Train,
    steps: int,
    begin: int,
    end: int,
    every: int,
    exponent: float = 3,
    scores: Scores = magnitude_scores,
) -> Masks:
    """Prune a little every few steps, with sparsity on the curve of `gradual_sparsity`. The model is changed.

    A pruned weight gets no update: it keeps its last value, which counts whenever the mask is made anew. So it comes
    back if the others shrink below it, up to the last new mask, at `end`.

    Args:
        begin, end, every: new masks at begin, begin + every, …, and at `end`, 0 <= begin < end <= steps.
        exponent: of the curve.
        model, sparsity, train, steps, scores: as in `one_shot`.

    Returns:
        the masks in force at the end.

    Raises:
        CourseError: as in `one_shot`; or `begin`, `end` and `every` do not fit into the steps.

    >>> taken = []
    >>> count = lambda model, masks, steps: taken.append(steps)
    >>> _ = gradual(nn.Linear(9, 9), 0.9, train=count, steps=10, begin=2, end=6, every=2)
    >>> taken
    [2, 2, 2, 4]

    Zhu & Gupta 2017. Lesson 03.
    """
    require_fraction("sparsity", sparsity)
    require_positive("every", every)
    if not 0 <= begin < end <= steps:
        raise CourseError(
            f"Pruning must begin and end within the {steps} steps, 0 <= begin < end <= steps, "
            f"but you passed begin={begin}, end={end}."
        )
    weights = prunable(model)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    updates = [*range(begin, end, every), end]
    if begin:
        train(model, masks, begin)
    last = copied(weights)
    for step, following in zip(updates, [*updates[1:], steps], strict=True):
        wake_(weights, masks, last)
        masks = masks_from_scores(
            scores(model), gradual_sparsity(step, final=sparsity, begin=begin, end=end, exponent=exponent)
        )
        last = copied(weights)
        apply_masks_(model, masks)
        if following > step:
            train(model, masks, following - step)
    return masks


def copied(weights: Masks) -> Masks:
    """The values that the weights have now."""
    return {name: weight.detach().clone() for name, weight in weights.items()}


@torch.no_grad()
def wake_(weights: Masks, masks: Masks, last: Masks) -> None:
    """Give every pruned weight its last value back, so that it can be ranked with the others."""
    for name, weight in weights.items():
        weight.copy_(torch.where(masks[name], weight, last[name]))
