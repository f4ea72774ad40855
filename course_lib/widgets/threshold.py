"""A pruning threshold's histograms and masks, packed for a browser that draws them without asking again. Lesson 02."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from course_lib.pruning.masks import group_means

__all__ = ["STEPS", "first_layer", "layer_name", "pack", "survivors", "unit_word"]

STEPS = 200  # sparsities that a threshold can be dragged to: 0, 1/200, ..., 1
BINS = 72
KERNELS = 256  # of the first layer that are drawn


def pack(scores: Mapping[str, Tensor], scope: str, granularity: str, *, image: Sequence[int]) -> dict[str, object]:
    """All that the browser needs to draw any of the STEPS + 1 sparsities, in a few kilobytes.

    The units of a layer go in the order of their scores, whatever the scope: so a mask is known from how many of
    them go at each step.

    Args:
        scores: parameter name -> score, the weight's shape.
        scope, granularity: as for `masks_from_scores`.
        image: (c, h, w) of the images, to draw the first layer on.

    Returns:
        `layers`: name, weights in a unit and the histogram's counts; `top`: the right end of the histogram;
        `drops`, `thresholds`: (STEPS + 1, layers), int32 and float32, units that go and the highest score among them;
        `deaths`: uint8, for each unit of the first layer the first step at which it goes; `first`: how to draw it.

    >>> packed = pack({"w": torch.arange(4.0).view(1, 4)}, "global", "weight", image=(1, 2, 2))
    >>> list(packed["deaths"]), packed["layers"][0]["weights"]
    ([26, 75, 126, 175], 1)
    """
    groups = [group_means(score, granularity).reshape(-1) for score in scores.values()]
    ordered = [group.sort(stable=True) for group in groups]
    drops = drop_table([order.values for order in ordered], scope)
    thresholds = threshold_table([order.values for order in ordered], drops, scope)
    top = max(order.values[int(0.995 * (len(order.values) - 1))].item() for order in ordered) * 1.1 or 1.0
    layers = [
        {
            "name": layer_name(name),
            "shape": "×".join(str(size) for size in score.shape),
            "units": len(group),
            "weights": score.numel() // len(group),
            "counts": torch.histc(group.clamp(max=top), bins=BINS, min=0, max=top).int().tolist(),
        }
        for (name, score), group in zip(scores.items(), groups, strict=True)
    ]
    deaths = torch.empty(len(groups[0]), dtype=torch.uint8)
    ranks = torch.arange(len(groups[0]))
    deaths[ordered[0].indices] = torch.searchsorted(drops[:, 0].contiguous(), ranks, right=True).to(torch.uint8)
    return {
        "scope": scope,
        "unit": unit_word(scores, granularity),
        "steps": STEPS,
        "top": top,
        "layers": layers,
        "drops": drops.int().numpy().tobytes(),
        "thresholds": thresholds.float().numpy().tobytes(),
        "deaths": deaths.numpy().tobytes(),
        "first": first_layer(next(iter(scores.values())), image),
    }


def drop_table(ordered: Sequence[Tensor], scope: str) -> Tensor:
    """How many units of each layer go at each step, (STEPS + 1, layers), as `masks_from_scores` counts them."""
    sizes = [len(scores) for scores in ordered]
    if scope == "layer":
        return torch.tensor([[round(step / STEPS * size) for size in sizes] for step in range(STEPS + 1)])
    order = torch.cat(list(ordered)).argsort(stable=True)  # of equal scores, the first go first
    layer = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[order]
    totals = torch.tensor([round(step / STEPS * sum(sizes)) for step in range(STEPS + 1)])
    return torch.stack([torch.searchsorted((layer == i).nonzero()[:, 0], totals) for i in range(len(sizes))], dim=1)


def threshold_table(ordered: Sequence[Tensor], drops: Tensor, scope: str) -> Tensor:
    """The highest score that goes at each step, (STEPS + 1, layers); equal in all layers when they are ranked together."""
    padded = [torch.cat([scores.new_zeros(1), scores]) for scores in ordered]
    table = torch.stack([scores[drops[:, i]] for i, scores in enumerate(padded)], dim=1)
    return table if scope == "layer" else table.max(dim=1, keepdim=True).values.expand_as(table).contiguous()


def first_layer(score: Tensor, image: Sequence[int]) -> dict[str, object]:
    """How to draw the first layer: kernels (n, height, width) with grey values, or its inputs as a picture (height, width)."""
    if score.dim() > 2:
        height, width = math.prod(score.shape[2:-1]), score.shape[-1]
        shown = score.reshape(-1, height * width)[:KERNELS]
        greys = (255 * shown / score.max().clamp(min=1e-12)).to(torch.uint8)
        return {"kind": "kernels", "n": len(shown), "height": height, "width": width, "greys": greys.numpy().tobytes()}
    inputs, (height, width) = score.shape[1], image[1:]
    if inputs % (height * width):  # not made for these pixels, so any near square will do
        width = math.ceil(math.sqrt(inputs))
        height = math.ceil(inputs / width)
    return {"kind": "inputs", "n": inputs, "height": height, "width": width}


def survivors(mask: Tensor, first: Mapping[str, object]) -> Tensor:
    """How many weights stay at each pixel (or place of the kernel), (height, width)."""
    height, width = first["height"], first["width"]
    flat = mask.reshape(-1, mask.shape[1]) if mask.dim() == 2 else mask.reshape(-1, height * width)
    counts = torch.zeros(height * width, dtype=torch.int64)
    return counts.index_add(0, torch.arange(flat.shape[1]) % (height * width), flat.sum(dim=0)).view(height, width)


def layer_name(parameter: str) -> str:
    """Write a parameter's name short.

    >>> layer_name("features.0.weight")
    'features.0'
    """
    return parameter.removesuffix(".weight") or parameter


def unit_word(scores: Mapping[str, Tensor], granularity: str) -> str:
    """What a unit is called: in a network without convolutions a filter is a neuron.

    >>> unit_word({"weight": torch.ones(3, 2)}, "filter")
    'neuron'
    """
    linear = all(score.dim() == 2 for score in scores.values())
    return "neuron" if granularity == "filter" and linear else granularity
