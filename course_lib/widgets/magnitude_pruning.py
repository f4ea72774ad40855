"""Drag the threshold on the histogram of a network's own weights, and watch what is left of it. Lesson 02."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor, nn
from traitlets import Dict, Int, List, validate

from course_lib.errors import CourseError, require_fraction
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores, prunable
from course_lib.pruning.masks import GROUP_DIMS
from course_lib.viz import BLUE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit
from course_lib.widgets.threshold import STEPS, first_layer, layer_name, pack, survivors, unit_word

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["pruning_threshold"]


class ThresholdCanvas(Canvas):
    """The dragged figure: `step` comes from the browser, all else goes there (magnitude_pruning.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    step = Int(0).tag(sync=True)  # sparsity · STEPS
    pack = Dict().tag(sync=True)
    trails = List().tag(sync=True)  # [setting, [[step, accuracy], ...]], the setting in use last


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

    >>> widget = pruning_threshold(nn.Sequential(nn.Flatten(), nn.Linear(4, 5)), torch.rand(9, 1, 2, 2), torch.arange(9) % 5)
    >>> widget.sparsity.value = 0.9
    >>> widget.formula.value.split(" · ")[0]
    'sparsity <b>0.900</b>: <b>2</b> of 20 weights stay'

    Han et al. 2015; Mao et al. 2017. Lesson 02.
    """
    patient = Patient(model, x, y)
    convolves = any(score.dim() > 2 for score in patient.scores.values())
    canvas = ThresholdCanvas()
    sparsity = Sparsity(value=0.5)
    canvas.observe(lambda change: sparsity.set_trait("value", change["new"] / STEPS), names="step")
    widget = LessonWidget(
        "Which weights can go? Drag the threshold",
        controls={"sparsity": sparsity, **switches(convolves)},
        paint=partial(paint, patient),
        presets=presets(convolves),
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, **widget.values()), colours=200),
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
        self.model, self.x, self.y = copy.deepcopy(model).eval(), x, y
        self.parameters = dict(self.model.named_parameters())
        self.dense = self.accuracy({})
        self.trails: dict[str, dict[int, float]] = {}
        self.packed = cache(partial(pack, self.scores, image=tuple(x.shape[1:])))  # (scope, granularity) -> pack

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

    def visit(self, setting: str, step: int, accuracy: float) -> list[tuple[str, list]]:
        """Remember a measured point; return the points of each setting, the setting in use last."""
        trail = self.trails.pop(setting, {0: self.dense})
        self.trails[setting] = {**trail, step: accuracy}
        return [(name, sorted(points.items())) for name, points in self.trails.items()]


def paint(patient: Patient, sparsity: float, scope: str, granularity: str) -> View:
    """Measure the exact numbers of one setting, and say them."""
    masks = masks_from_scores(patient.scores, sparsity, scope=scope, granularity=granularity)
    accuracy = patient.accuracy(masks)
    step = round(sparsity * STEPS)
    unit = unit_word(patient.scores, granularity)
    trails = patient.visit(f"{scope}, {unit}", step, accuracy)
    packed = patient.packed(scope, granularity)
    said = formula(masks, sparsity, unit, accuracy, patient.dense)
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    drawn = f"Magnitudes of the weights of {len(masks)} layers, cut by a threshold ({scope}, {unit})"
    alt = f"{drawn}. {plain}. {first_in_words(masks)}"
    return View(said, alt, traits={"step": step, "pack": packed, "trails": trails})


def first_in_words(masks: Mapping[str, Tensor]) -> str:
    """Say how much of the first layer's input is still read, or how many of its kernels are empty."""
    mask = next(iter(masks.values()))
    if mask.dim() > 2:
        kernels = mask.flatten(2).any(dim=2)
        return f"First layer: {int((~kernels).sum())} of {kernels.numel()} kernels have no weight left."
    read = mask.any(dim=0)
    return f"First layer: {int((~read).sum())} of {read.numel()} inputs have no weight left."


def formula(masks: Mapping[str, Tensor], sparsity: float, unit: str, accuracy: float, dense: float) -> str:
    """Write what goes, what stays, and what that costs, with its numbers."""
    stay, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    left = f"<b>{stay:,}</b> of {total:,} weights stay"
    units = "" if unit == "weight" else f"{100 * sparsity:.1f} % of the {unit}s gone; "
    layers = " · ".join(f"layer {layer_name(name)}: {1 - mask.float().mean():.2f}" for name, mask in masks.items())
    return (
        f"sparsity <b>{1 - stay / total:.3f}</b>: {left} · accuracy <b>{100 * accuracy:.1f} %</b> "
        f"(dense {100 * dense:.1f} %)<br>{units}sparsity in {layers}"
    )


def switches(convolves: bool) -> dict[str, ipywidgets.ToggleButtons]:
    """What is ranked together, and what goes together; without convolutions vectors and kernels are single weights."""
    units = [(unit, unit) for unit in GROUP_DIMS] if convolves else [("weight", "weight"), ("neuron", "filter")]
    style = {"button_width": "auto"}
    return {
        "scope": ipywidgets.ToggleButtons(options=["global", "layer"], description="scope", style=style),
        "granularity": ipywidgets.ToggleButtons(options=units, description="granularity", style=style),
    }


def presets(convolves: bool) -> dict[str, dict[str, object]]:
    """Five telling cases."""
    weights = {"scope": "global", "granularity": "weight"}
    return {
        "Half": {"sparsity": 0.5, **weights},
        "A tenth left": {"sparsity": 0.9, **weights},
        "Too far": {"sparsity": 0.98, **weights},
        "Layer by layer": {"sparsity": 0.9, "scope": "layer", "granularity": "weight"},
        f"Whole {'filters' if convolves else 'neurons'}": {"sparsity": 0.3, "scope": "layer", "granularity": "filter"},
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
    unit = unit_word(patient.scores, granularity)
    left.set(xlabel="|w|", ylabel="weights", title=f"sparsity {1 - keep.float().mean():.3f} ({scope}, {unit})")
    left.legend()
    name, mask = next(iter(masks.items()))
    first = first_layer(patient.scores[name], patient.x.shape[1:])
    counts = survivors(mask, first)
    shown = right.imshow(counts.numpy(), cmap="Blues", vmin=0)
    figure.colorbar(shown, ax=right, label="weights that stay")
    right.set(title=f"layer {layer_name(name)}, by {'input' if first['kind'] == 'inputs' else 'place in the kernel'}")
    right.set(xticks=[], yticks=[])
    right.grid(False)
    return figure


def require_pairs(x: object, y: object) -> None:
    """Refuse anything but as many labels as images."""
    if not isinstance(x, Tensor) or x.dim() != 4 or not len(x):
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise CourseError(f"x must be a tensor of images, (n, c, h, w), but you passed {got}. For one image: x[None].")
    if not isinstance(y, Tensor) or y.shape != x.shape[:1]:
        got = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        raise CourseError(
            f"y must hold one label for each of the {len(x)} images, but you passed {got}. Pass both of one split."
        )
