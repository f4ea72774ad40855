"""Which filters go: the lowest-scored of every group of coupled layers, or those that are named."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_fraction, require_positive
from course_lib.pruning.dependencies import Channels

Choice = float | Mapping[str, Sequence[int]]


def choose(
    model: nn.Module, channels: Channels, sparsity: Choice, round_to: int, scores: Mapping[str, Tensor] | None
) -> set[int]:
    """The channel numbers that go."""
    require_positive("round_to", round_to)
    roots = channels.roots()
    kept = {roots[channel] for channel in channels.kept}
    if isinstance(sparsity, Mapping):
        gone = named(channels, roots, sparsity, kept)
    else:
        means = channel_means(model, channels, roots, scores)
        gone = lowest(groups_of(channels, roots, kept), means, sparsity_below_one(sparsity), round_to)
    for name, ids in channels.filters.items():
        if all(roots[channel] in gone for channel in ids):
            raise CourseError(f"No filter of {name!r} would be left, and nothing would flow. Remove fewer.")
    return {channel for channel, root in enumerate(roots) if root in gone}


def sparsity_below_one(sparsity: float) -> float:
    """Refuse what is no fraction, and the removal of everything."""
    if require_fraction("sparsity", sparsity, of="the fraction of filters to remove") == 1:
        raise CourseError("sparsity=1 removes every filter, and nothing would flow. Pass less than 1.")
    return float(sparsity)


def named(channels: Channels, roots: Sequence[int], filters: Mapping[str, Sequence[int]], kept: set[int]) -> set[int]:
    """The channels of the filters that are named."""
    gone = set()
    for name, indices in filters.items():
        if name not in channels.filters:
            raise CourseError(f"The network has no layer {name!r} with filters. It has: {', '.join(channels.filters)}.")
        ids = channels.filters[name]
        for index in map(int, indices):
            if not 0 <= index < len(ids):
                raise CourseError(f"{name!r} has filters 0 to {len(ids) - 1}, but you passed {index}.")
            gone.add(roots[ids[index]])
            if gone & kept:
                raise CourseError(f"Filter {index} of {name!r} is an input or output of the network and must stay.")
    return gone


def lowest(
    groups: Mapping[tuple[str, ...], Sequence[int]], means: Sequence[float], sparsity: float, round_to: int
) -> set[int]:
    """The channels with the lowest scores of every group of coupled layers."""
    gone: set[int] = set()
    for makers, members in groups.items():
        per_layer = Counter(makers).values()  # how many of a layer's filters share a channel: as many as it has groups
        size = math.lcm(*(round_to // math.gcd(round_to, count) for count in per_layer))
        stay = max(1, math.floor((1 - sparsity) * len(members) / size + 0.5)) * size
        if sparsity > 0:
            gone.update(sorted(members, key=means.__getitem__)[: max(0, len(members) - stay)])
    if sparsity > 0 and not gone:
        raise CourseError(
            f"With round_to={round_to} and sparsity={sparsity:g}, every layer keeps all of its filters.\n"
            "Pass round_to=1, or a higher sparsity."
        )
    return gone


def groups_of(channels: Channels, roots: Sequence[int], kept: set[int]) -> dict[tuple[str, ...], list[int]]:
    """Layers that are coupled, each as often as it has filters in one channel -> their channels."""
    makers: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for name, ids in channels.filters.items():
        for channel in ids:
            makers[roots[channel]] += (name,)
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for root, names in makers.items():
        if root not in kept:
            groups[names].append(root)
    return groups


def channel_means(
    model: nn.Module, channels: Channels, roots: Sequence[int], scores: Mapping[str, Tensor] | None
) -> list[float]:
    """For every channel the mean score of its filters, each filter's being the mean over its weights."""
    total, count = torch.zeros(2, len(roots), dtype=torch.float64)
    for name, ids in channels.filters.items():
        places = torch.tensor([roots[channel] for channel in ids])
        total.index_add_(0, places, filter_means(model, name, scores).double().cpu())
        count.index_add_(0, places, torch.ones(len(ids), dtype=torch.float64))
    return (total / count).tolist()


def filter_means(model: nn.Module, name: str, scores: Mapping[str, Tensor] | None) -> Tensor:
    """The mean score of every filter of a layer, (filters,)."""
    weight = model.get_submodule(name).weight.detach()
    if scores is None:
        return weight.abs().flatten(1).mean(dim=1)
    score = scores.get(f"{name}.weight".removeprefix("."))
    if score is None or score.shape != weight.shape or not torch.isfinite(score).all():
        raise CourseError(f"scores need a finite number for every weight of '{name}.weight', {tuple(weight.shape)}.")
    return score.flatten(1).mean(dim=1)
