"""SynFlow: prune before training, without data, in many small steps, so that no layer empties before its time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_choice, require_positive
from course_lib.pruning.initial_scores import flow_gradients, positive_twin
from course_lib.pruning.masks import keep_highest
from course_lib.pruning.scores import prunable

STRIDE = 509  # one score in so many is looked at for a guess; a prime, so that no place in a kernel is favoured


def prune(
    model: nn.Module,
    compression: float,
    *,
    input_shape: Sequence[int],
    iterations: int = 100,
    schedule: str = "exponential",
    after_iteration: Callable[[int, dict[str, Tensor]], object] | None = None,
) -> dict[str, Tensor]:
    """The masks that leave one weight in `compression`, found by scoring anew after each of many small removals.

    In iteration k of n the density goes to compression^(-k/n) ("exponential"), or down by the same number of weights
    each time ("linear"); the weights with the lowest SynFlow scores among those left go. Because scores are
    conserved and taken anew, a layer that shrinks gains score per weight and is spared: with n = 100 the network stays
    connected nearly down to one weight a layer. One iteration alone empties a layer much earlier; and so do biases
    that are not zero, because they feed the layers behind them past those in front: set them to zero first.

    Args:
        model: a network with homogeneous activations, best before training; it is left as it is.
        compression: prunable weights / weights left, from 1 to N / L, for N weights in L layers.
        input_shape: the shape of one example, without the batch: (channels, height, width).
        iterations: at least 1; the paper takes 100.
        schedule: "exponential" or "linear".
        after_iteration: called as `after_iteration(k, masks)`, k = 1..iterations, with the masks as they are then; they
            change in place, so copy or count what is to be kept.

    Returns:
        parameter name -> bool mask, the weight's shape, True = keep; exactly round((1 - 1 / compression) · N) are False.

    Raises:
        CourseError: compression is out of its range, or what `synflow_scores` raises.

    Warns:
        the compression is so close to 1 that no weight goes.

    >>> model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False))
    >>> masks = prune(model, 20, input_shape=(8,))
    >>> sum(int(mask.sum()) for mask in masks.values()), collapsed_layers(masks)
    (4, [])

    Tanaka et al. 2020. Lesson 06.
    """
    require_positive("iterations", iterations)
    require_choice("schedule", schedule, ("exponential", "linear"))
    require_compression(compression, [weight.numel() for weight in prunable(model).values()])
    twin, ones = positive_twin(model, input_shape)
    weights = prunable(twin)
    flat = [weight.detach().view(-1) for weight in weights.values()]  # changing these changes the twin
    masks = [torch.ones_like(values, dtype=torch.bool) for values in flat]
    named = {name: mask.view(weight.shape) for (name, weight), mask in zip(weights.items(), masks, strict=True)}
    total = left = sum(len(values) for values in flat)
    for k in range(1, iterations + 1):
        gradients = flow_gradients(twin, list(weights.values()), ones)
        scores = [gradient.reshape(-1).mul_(values) for gradient, values in zip(gradients, flat, strict=True)]
        goal = total - round((1 - density_after(k, iterations, compression, schedule)) * total)
        drop_lowest_(flat, masks, scores, left - goal, left)
        left = goal
        if after_iteration is not None:
            after_iteration(k, named)
    return named


def require_compression(compression: float, sizes: Sequence[int]) -> None:
    """Refuse a compression below 1, or one that leaves less than a weight for every layer."""
    most = sum(sizes) / len(sizes)
    if isinstance(compression, bool) or not isinstance(compression, int | float) or not compression >= 1:
        raise CourseError(
            f"compression is weights / weights left, a number of at least 1, but you passed {compression!r}.\n"
            "To leave one weight in ten, pass compression=10."
        )
    if round(sum(sizes) / compression) < len(sizes):
        raise CourseError(
            f"A compression of {compression:g} leaves less than one weight for each of the {len(sizes)} layers.\n"
            f"The maximum for these {sum(sizes):,} weights is {sum(sizes):,} / {len(sizes)} = {most:g}."
        )
    if round((1 - 1 / compression) * sum(sizes)) == 0:
        warnings.warn(
            f"A compression of {compression:g} removes none of the {sum(sizes):,} weights.", UserWarning, stacklevel=3
        )


def density_after(k: int, iterations: int, compression: float, schedule: str) -> float:
    """The fraction of weights left after iteration k, 0..1."""
    if schedule == "linear":
        return 1 - (1 - 1 / compression) * k / iterations
    return compression ** (-k / iterations)


def drop_lowest_(weights: list[Tensor], masks: list[Tensor], scores: list[Tensor], drop: int, left: int) -> None:
    """Set the `drop` lowest-scored of the `left` weights to zero, and their masks to False.

    Few weights go in one iteration, so only those below a bound, guessed from a sample, are ranked. The outcome is
    exact: where the guess was too low, all are ranked.
    """
    bound = bound_from_sample(scores, masks, drop, left)
    low = [((score <= bound) & mask).nonzero().squeeze(1) for score, mask in zip(scores, masks, strict=True)]
    if sum(len(places) for places in low) < drop:
        low = [mask.nonzero().squeeze(1) for mask in masks]
    ranked = [score[places] for score, places in zip(scores, low, strict=True)]
    keep = keep_highest(ranked, drop / max(1, sum(len(score) for score in ranked)))
    for weight, mask, places, stays in zip(weights, masks, low, keep, strict=True):
        gone = places[~stays]
        weight[gone] = 0.0
        mask[gone] = False


def bound_from_sample(scores: list[Tensor], masks: list[Tensor], drop: int, left: int) -> float:
    """A score that very likely lies above the `drop` lowest, but not far: four standard deviations of the sample's rank."""
    sample = torch.cat([s[::STRIDE][mask[::STRIDE]] for s, mask in zip(scores, masks, strict=True)])
    expected = len(sample) * drop / left
    rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)
    return float(sample.kthvalue(rank).values) if rank <= len(sample) else math.inf


def collapsed_layers(masks: Mapping[str, Tensor]) -> list[str]:
    """The layers of which no weight is left: through them nothing flows, and the network cannot learn.

    >>> collapsed_layers({"first": torch.tensor([True, False]), "second": torch.tensor([False, False])})
    ['second']

    Tanaka et al. 2020. Lesson 06.
    """
    return [name for name, mask in masks.items() if not mask.any()]
