"""Drag the threshold on the histogram of a network's own weights, and watch what is left of it. Lesson 02."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from traitlets import Dict, Int, validate

from course_lib.errors import CourseError, require_fraction
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores, prunable
from course_lib.pruning.masks import group_means
from course_lib.viz import BLUE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit

__all__ = ["pack", "pruning_threshold"]

STEPS = 200  # sparsities that the threshold can be dragged to: 0, 1/200, ..., 1
BINS = 72
KERNELS = 256  # of the first layer that are drawn
UNIT = {"weight": "weight", "vector": "vector", "kernel": "kernel", "filter": "filter"}


class ThresholdCanvas(Canvas):
    """The dragged figure: `step` comes from the browser, all else goes there (magnitude_pruning.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    step = Int(0).tag(sync=True)  # sparsity · STEPS
    pack = Dict().tag(sync=True)
    trails = Dict().tag(sync=True)  # setting -> [[step, accuracy], ...]


class Sparsity(Memory):
    """A fraction 0..1 that snaps to the steps the figure can show."""

    @validate("value")
    def _snap(self, proposal: dict) -> float:
        return round(require_fraction("sparsity", proposal["value"]) * STEPS) / STEPS


def pruning_threshold(model: nn.Module, x: Tensor, y: Tensor, *, question: Question | None = None) -> LessonWidget:
    """Drag a threshold over the magnitudes of a network's weights: mask, weights left and accuracy follow.

    The network is copied: it keeps its weights, and training it further does not change the widget.

    Args:
        model: a trained network, images (n, c, h, w) -> logits (n, classes).
        x: images (n, c, h, w) to measure the accuracy on, such as a validation split.
        y: their labels (n,).
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `sparsity` (0..1, in steps of 1/200), `scope` and `granularity`.

    Raises:
        CourseError: nothing to prune, weights that are NaN, or images and labels that do not fit.

    >>> widget = pruning_threshold(nn.Sequential(nn.Flatten(), nn.Linear(4, 5)), torch.rand(9, 1, 2, 2), torch.zeros(9))
    >>> widget.sparsity.value = 0.9
    >>> widget.formula.value.split(" · ")[0]
    'sparsity <b>0.900</b>: <b>2</b> of 20 weights stay'

    Han et al. 2015; Mao et al. 2017. Lesson 02.
    """
    patient = Patient(model, x, y)
    canvas = ThresholdCanvas()
    sparsity = Sparsity(value=0.5)
    canvas.observe(lambda change: sparsity.set_trait("value", change["new"] / STEPS), names="step")
    widget = LessonWidget(
        "Which weights can go? Drag the threshold",
        controls={"sparsity": sparsity, **switches(patient.has_convolution)},
        paint=partial(paint, patient),
        presets=presets(patient.has_convolution),
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, **widget.values())),
    )
    return widget


class Patient:
    """A copy of the network that is pruned, measured and made whole again at every move.

    Args:
        model, x, y: as for `pruning_threshold`.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.weights = {name: weight.detach().clone() for name, weight in prunable(model).items()}
        require_pairs(x, y)
        self.scores = magnitude_scores(model)
        masks_from_scores(self.scores, 0.0)  # refuses NaN
        self.model, self.x, self.y = copy.deepcopy(model).eval(), x, y
        self.parameters = dict(self.model.named_parameters())
        self.has_convolution = any(weight.dim() > 2 for weight in self.weights.values())
        self.dense = self.accuracy({})
        self.trails: dict[str, dict[int, float]] = {}
        self.packed = cache(partial(pack, self.scores, image=tuple(x.shape[1:])))

    @torch.no_grad()
    def accuracy(self, masks: Mapping[str, Tensor]) -> float:
        """The fraction of right answers with these masks in force."""
        for name, weight in self.weights.items():
            self.parameters[name].copy_(weight)
        apply_masks_(self.model, masks)
        try:
            answers = self.model(self.x).argmax(dim=1)  # (n,)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise CourseError(f"The model cannot be called on images of shape {tuple(self.x.shape)}: {error}") from None
        return (answers == self.y).float().mean().item()

    def visit(self, setting: str, step: int, accuracy: float) -> dict[str, list]:
        """Remember a measured point; return all of them, the setting in use last."""
        trail = self.trails.pop(setting, {0: self.dense})
        self.trails[setting] = {**trail, step: accuracy}
        return {name: sorted(points.items()) for name, points in self.trails.items()}


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
    ([26, 76, 126, 176], 4)
    """
    groups = [group_means(score, granularity).reshape(-1) for score in scores.values()]
    ordered = [group.sort(stable=True) for group in groups]
    drops = drop_table([order.values for order in ordered], scope)
    thresholds = threshold_table([order.values for order in ordered], drops, scope)
    top = max(order.values[int(0.995 * (len(order.values) - 1))].item() for order in ordered) * 1.1 or 1.0
    layers = [
        {
            "name": name.removesuffix(".weight"),
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
        "granularity": granularity,
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
    backwards = [torch.full((len(scores),), i) for i, scores in reversed(list(enumerate(ordered)))]
    order = torch.cat(list(reversed(ordered))).argsort(stable=True)  # of equal scores, the last layer's go first
    layer = torch.cat(backwards)[order]
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


def paint(patient: Patient, sparsity: float, scope: str, granularity: str) -> View:
    """Measure the exact numbers of one setting, and say them."""
    masks = masks_from_scores(patient.scores, sparsity, scope=scope, granularity=granularity)
    accuracy = patient.accuracy(masks)
    step = round(sparsity * STEPS)
    trails = patient.visit(f"{scope}, {granularity}", step, accuracy)
    packed = patient.packed(scope, granularity)
    said = formula(masks, sparsity, granularity, accuracy, patient.dense)
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    alt = f"Magnitudes of the weights of {len(masks)} layers, cut by a threshold ({scope}, {granularity}). {plain}."
    return View(said, alt, traits={"step": step, "pack": packed, "trails": trails})


def formula(masks: Mapping[str, Tensor], sparsity: float, granularity: str, accuracy: float, dense: float) -> str:
    """Write what goes, what stays, and what that costs, with its numbers."""
    stay, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    left = f"<b>{stay:,}</b> of {total:,} weights stay"
    if granularity != "weight":
        left += f" after a fraction {sparsity:.3f} of the {granularity}s went"
    layers = " · ".join(f"{name.removesuffix('.weight')} {1 - mask.float().mean():.2f}" for name, mask in masks.items())
    return (
        f"sparsity <b>{1 - stay / total:.3f}</b>: {left} · accuracy <b>{100 * accuracy:.1f} %</b> "
        f"(dense {100 * dense:.1f} %)<br>sparsity of each layer: {layers}"
    )


def switches(has_convolution: bool) -> dict[str, ipywidgets.ToggleButtons]:
    """What is ranked together, and what goes together; without convolutions vectors and kernels are single weights."""
    units = list(UNIT) if has_convolution else ["weight", ("neuron", "filter")]
    style = {"button_width": "auto"}
    return {
        "scope": ipywidgets.ToggleButtons(options=["global", "layer"], description="scope", style=style),
        "granularity": ipywidgets.ToggleButtons(options=units, description="granularity", style=style),
    }


def presets(has_convolution: bool) -> dict[str, dict[str, object]]:
    """Five telling cases."""
    weights = {"scope": "global", "granularity": "weight"}
    return {
        "Half": {"sparsity": 0.5, **weights},
        "A tenth left": {"sparsity": 0.9, **weights},
        "Too far": {"sparsity": 0.98, **weights},
        "Layer by layer": {"sparsity": 0.9, "scope": "layer", "granularity": "weight"},
        f"Whole {'filters' if has_convolution else 'neurons'}": {"sparsity": 0.3, "scope": "layer", "granularity": "filter"},
    }


def still(patient: Patient, sparsity: float, scope: str, granularity: str) -> Figure:
    """Draw the histogram of all weights with what goes hatched, and what stays of the first layer."""
    masks = masks_from_scores(patient.scores, sparsity, scope=scope, granularity=granularity)
    figure, (left, right) = new_figure(columns=2, size=(6.4, 2.7))
    size = torch.cat([score.flatten() for score in patient.scores.values()])
    keep = torch.cat([mask.flatten() for mask in masks.values()])
    left.hist(
        [size[~keep].numpy(), size[keep].numpy()], bins=48, stacked=True, color=[ORANGE, BLUE], label=["goes", "stays"]
    )
    for bar in left.containers[0]:
        bar.set(hatch="////", edgecolor="white", linewidth=0)
    left.set(xlabel="|w|", ylabel="weights", title=f"sparsity {sparsity:.2f} ({scope}, {granularity})")
    left.legend()
    name, mask = next(iter(masks.items()))
    first = first_layer(patient.scores[name], patient.x.shape[1:])
    counts = survivors(mask, first)
    shown = right.imshow(counts, cmap="Blues", vmin=0)
    figure.colorbar(shown, ax=right, label="weights that stay")
    right.set(title=f"{name.removesuffix('.weight')}, by {'input' if first['kind'] == 'inputs' else 'place in the kernel'}")
    right.set(xticks=[], yticks=[])
    right.grid(False)
    return figure


def survivors(mask: Tensor, first: Mapping[str, object]) -> Tensor:
    """How many weights stay at each pixel (or place of the kernel), (height, width)."""
    height, width = first["height"], first["width"]
    flat = mask.reshape(-1, mask.shape[1]) if mask.dim() == 2 else mask.reshape(-1, height * width)
    counts = torch.zeros(height * width, dtype=torch.int64)
    return counts.index_add(0, torch.arange(flat.shape[1]) % (height * width), flat.sum(dim=0)).view(height, width)


def require_pairs(x: object, y: object) -> None:
    """Refuse anything but as many labels as images."""
    if not isinstance(x, Tensor) or x.dim() != 4 or not len(x):
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise CourseError(f"x must be a tensor of images, (n, c, h, w), but you passed {got}. For one image: x[None].")
    if not isinstance(y, Tensor) or y.shape != x.shape[:1]:
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise CourseError(f"y must hold one label for each of the {len(x)} images, but you passed {got}. Pass both of one split.")
