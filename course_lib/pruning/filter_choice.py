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
    kept = {channels.root(channel) for channel in channels.kept}
    if isinstance(sparsity, Mapping):
        gone = named(channels, sparsity, kept)
    else:
        gone = lowest(model, channels, sparsity_below_one(sparsity), round_to, scores, kept)
    for name, ids in channels.filters.items():
        if gone.issuperset(channels.root(channel) for channel in ids):
            raise CourseError(f"No filter of {name!r} would be left, and nothing would flow. Remove fewer.")
    return {channel for channel in range(len(channels.parent)) if channels.root(channel) in gone}


def sparsity_below_one(sparsity: float) -> float:
    """Refuse what is no fraction, and the removal of everything."""
    if require_fraction("sparsity", sparsity, of="the fraction of filters to remove") == 1:
        raise CourseError("sparsity=1 removes every filter, and nothing would flow. Pass less than 1.")
    return float(sparsity)


def named(channels: Channels, filters: Mapping[str, Sequence[int]], kept: set[int]) -> set[int]:
    """The channels of the filters that are named."""
    gone = set()
    for name, indices in filters.items():
        if name not in channels.filters:
            raise CourseError(f"The network has no layer {name!r} with filters. It has: {', '.join(channels.filters)}.")
        ids = channels.filters[name]
        for index in map(int, indices):
            if not 0 <= index < len(ids):
                raise CourseError(f"{name!r} has filters 0 to {len(ids) - 1}, but you passed {index}.")
            gone.add(channels.root(ids[index]))
            if gone & kept:
                raise CourseError(f"Filter {index} of {name!r} is an input or output of the network and must stay.")
    return gone


def lowest(
    model: nn.Module,
    channels: Channels,
    sparsity: float,
    round_to: int,
    scores: Mapping[str, Tensor] | None,
    kept: set[int],
) -> set[int]:
    """The channels with the lowest scores of every group of coupled layers."""
    gone: set[int] = set()
    for makers, members in groups_of(channels, kept).items():
        means = channel_means(model, members, scores)
        size = math.lcm(*(round_to // math.gcd(round_to, count) for _, count in makers))
        stay = max(1, math.floor((1 - sparsity) * len(means) / size + 0.5)) * size
        if sparsity > 0:
            gone.update(sorted(means, key=means.get)[: max(0, len(means) - stay)])
    if sparsity > 0 and not gone:
        raise CourseError(
            f"With round_to={round_to} and sparsity={sparsity:g}, every layer keeps all of its filters.\n"
            "Pass round_to=1, or a higher sparsity."
        )
    return gone


def groups_of(channels: Channels, kept: set[int]) -> dict[tuple, dict[int, list[tuple[str, int]]]]:
    """Layers that are coupled -> {channel: its filters, as (layer, index)}."""
    members: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, ids in channels.filters.items():
        for index, channel in enumerate(ids):
            members[channels.root(channel)].append((name, index))
    groups: dict[tuple, dict[int, list[tuple[str, int]]]] = defaultdict(dict)
    for root, filters in members.items():
        if root not in kept:
            groups[tuple(sorted(Counter(name for name, _ in filters).items()))][root] = filters
    return groups


def channel_means(
    model: nn.Module, members: Mapping[int, Sequence[tuple[str, int]]], scores: Mapping[str, Tensor] | None
) -> dict[int, float]:
    """Channel -> the mean score of its filters, each filter's being the mean over its weights."""
    names = {name for filters in members.values() for name, _ in filters}
    means = {name: filter_means(model, name, scores) for name in names}
    return {root: sum(means[n][i] for n, i in filters) / len(filters) for root, filters in members.items()}


def filter_means(model: nn.Module, name: str, scores: Mapping[str, Tensor] | None) -> list[float]:
    """The mean score of every filter of a layer."""
    weight = model.get_submodule(name).weight.detach()
    if scores is None:
        return (torch.linalg.vector_norm(weight.flatten(1), ord=1, dim=1) / weight[0].numel()).tolist()
    score = scores.get(f"{name}.weight".removeprefix("."))
    if score is None or score.shape != weight.shape or not torch.isfinite(score).all():
        raise CourseError(f"scores need a finite number for every weight of '{name}.weight', {tuple(weight.shape)}.")
    return score.flatten(1).mean(dim=1).tolist()
