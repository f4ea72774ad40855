"""From scores to masks: which weights stay, exactly as many as asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_choice, require_fraction
from course_lib.pruning.selection import kth_smallest

# How many leading dimensions of a weight (out, in, height, width) name one group.
GROUP_DIMS = {"weight": 4, "vector": 3, "kernel": 2, "filter": 1}


def masks_from_scores(
    scores: Mapping[str, Tensor],
    sparsity: float,
    *,
    scope: str = "global",
    granularity: str = "weight",
) -> dict[str, Tensor]:
    """Keep the units with the highest scores, so that a fraction `sparsity` of the units is zero.

    Exactly `round(sparsity · n)` of the n units go, by rank: equal scores never drop more than asked for, among
    them the first ones go. A unit is a single weight, or a group of weights that go or stay together; a group's
    score is the mean of its weights' scores, so that large groups are not favoured.

    Args:
        scores: parameter name -> score, the weight's shape; higher means more important.
        sparsity: fraction of units to remove, 0..1.
        scope: rank all layers together ("global") or each on its own ("layer").
        granularity: "weight"; "vector", one row of a kernel; "kernel", all weights between one input and one
            output channel; "filter", all weights of one output unit. In a linear layer (out, in) a row is a
            "filter" and a "vector" or "kernel" is a single weight. Where groups of several sizes share one ranking,
            the fraction of units that go is not the fraction of weights: `sparsity_of` gives the latter.

    Returns:
        parameter name -> bool mask, the weight's shape, True = keep.

    Raises:
        CourseError: `sparsity` lies outside 0..1, a score is not finite, or there are no scores.

    >>> masks_from_scores({"w": torch.tensor([3.0, 1.0, 2.0, 4.0])}, sparsity=0.5)
    {'w': tensor([ True, False, False,  True])}

    Han et al. 2015; Mao et al. 2017 (granularity). Lesson 02.
    """
    require_fraction("sparsity", sparsity)
    require_choice("scope", scope, ("global", "layer"))
    require_choice("granularity", granularity, GROUP_DIMS)
    require_usable(scores)
    grouped = {name: group_means(score, granularity) for name, score in scores.items()}
    if scope == "global":
        keep = keep_highest(list(grouped.values()), sparsity)
    else:
        keep = [keep_highest([group], sparsity)[0] for group in grouped.values()]
    return {name: spread(mask, scores[name]) for name, mask in zip(scores, keep, strict=True)}


def group_means(score: Tensor, granularity: str) -> Tensor:
    """The mean score of each group; the groups are named by the leading dimensions."""
    dims = GROUP_DIMS[granularity]
    if score.dim() <= dims:
        return score
    return (score if score.is_floating_point() else score.float()).flatten(dims).mean(dim=-1)


def spread(mask: Tensor, score: Tensor) -> Tensor:
    """A mask over groups becomes a mask over all of their weights."""
    if mask.dim() == score.dim():
        return mask
    return mask.reshape(*mask.shape, *[1] * (score.dim() - mask.dim())).expand_as(score).contiguous()


def keep_highest(scores: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Masks that drop exactly `round(sparsity · n)` of all n entries: the lowest, and of equals the first."""
    n = sum(score.numel() for score in scores)
    drop = round(sparsity * n)
    if drop == 0:
        return [torch.ones_like(score, dtype=torch.bool) for score in scores]
    threshold = kth_smallest(scores, drop)
    # A float32 score compared with a float64 threshold would round the threshold; to() copies only where kinds differ.
    scores = [score.to(threshold.dtype) for score in scores]
    masks = [(score > threshold).contiguous() for score in scores]  # every tie is dropped here ...
    spare = n - drop - sum(int(torch.count_nonzero(mask)) for mask in masks)
    pairs = zip(reversed(scores), reversed(masks), strict=True)
    for score, mask in pairs:  # ... and as many come back as were too many, the last first
        spare -= restore_ties_(mask, score, threshold, spare)
    return masks


def restore_ties_(mask: Tensor, score: Tensor, threshold: Tensor, spare: int) -> int:
    """Keep up to `spare` of the entries that equal the threshold; return how many were kept."""
    if spare <= 0:
        return 0
    ties = (score.reshape(-1) == threshold).nonzero().squeeze(1)[-spare:]
    mask.view(-1)[ties] = True
    return len(ties)


def require_usable(scores: Mapping[str, Tensor]) -> None:
    """Refuse scores that cannot be ranked."""
    if not scores:
        raise CourseError("There are no scores. Pass a dictionary such as magnitude_scores(model).")
    for name, score in scores.items():
        if not torch.isfinite(score.sum()):  # one NaN or infinity makes the sum one, at the price of one read
            require_finite(name, score)


def require_finite(name: str, score: Tensor) -> None:
    """Say how many scores of a parameter are NaN or infinite, if any."""
    bad = int((~torch.isfinite(score)).sum())
    if bad:
        raise CourseError(
            f"{bad} of the {score.numel()} scores of {name!r} are NaN or infinite, so they cannot be ranked.\n"
            "Look for a training run that diverged, or a division by zero in the score."
        )


@torch.no_grad()
def apply_masks_(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Set every weight to zero whose mask is False; changes the model, and returns it.

    Args:
        model: the network the masks were made for.
        masks: parameter name -> bool mask, the parameter's shape.

    Raises:
        CourseError: a name is not a parameter of the model, or a mask has another shape or is not bool.

    >>> layer = nn.Linear(2, 1)
    >>> _ = apply_masks_(layer, {"weight": torch.tensor([[True, False]])})
    >>> layer.weight[0, 1].item()
    0.0

    Lesson 02.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if name not in parameters:
            raise CourseError(f"The model has no parameter {name!r}. It has: {', '.join(parameters)}.")
        if mask.shape != parameters[name].shape:
            raise CourseError(
                f"The mask of {name!r} has shape {tuple(mask.shape)}, the parameter {tuple(parameters[name].shape)}."
            )
        if mask.dtype != torch.bool:
            raise CourseError(f"The mask of {name!r} is {mask.dtype}, not bool. Make it one: mask != 0 keeps the ones.")
        parameters[name].masked_fill_(~mask, 0.0)
    return model


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """The fraction of weights, 0..1, that these masks remove.

    >>> sparsity_of({"w": torch.tensor([True, False, False, False])})
    0.75

    Lesson 02.
    """
    total = sum(mask.numel() for mask in masks.values())
    if total == 0:
        raise CourseError("These masks cover no weight. Pass masks such as masks_from_scores(...) returns.")
    return 1 - sum(int(torch.count_nonzero(mask)) for mask in masks.values()) / total
