"""Drag the clip on the histogram of a layer's own weights, and see what rounding and clipping cost. Lesson 08."""

from __future__ import annotations

import copy
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor, nn
from traitlets import Dict, Int, List, validate

from course_lib.errors import CourseError, require_fraction
from course_lib.measure import stored_bytes
from course_lib.quantization import QParams, dequantize, qparams_of_range, quantize, signal_to_noise
from course_lib.quantization.post_training import LAYERS, QuantizedTensor
from course_lib.quantization.storage import save_quantized
from course_lib.viz import BLUE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit
from course_lib.widgets.magnitude_pruning import require_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["quantization_clip"]

STEPS, BINS, FINE = 100, 101, 2048  # clips to choose from; bars; values that stand for a layer in the curves
GRIDS = ("symmetric", "affine")


class ClipCanvas(Canvas):
    """The dragged figure: `step` comes from the browser, all else goes there (uniform_quantization.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    step = Int(STEPS).tag(sync=True)  # the clip, in hundredths of the layer's range
    pack = Dict().tag(sync=True)
    trails = List().tag(sync=True)  # [setting, [[step, accuracy], ...]], the setting in use last


class Clip(Memory):
    """A share of the range, above 0 to 1, that snaps to the steps the figure can show."""

    @validate("value")
    def _snap(self, proposal: dict) -> float:
        return max(1, round(require_fraction("clip", proposal["value"]) * STEPS)) / STEPS


def quantization_clip(model: nn.Module, x: Tensor, y: Tensor, *, question: Question | None = None) -> LessonWidget:
    """Drag the clip of a quantization grid over a histogram of weights: signal-to-noise, accuracy and bytes follow.

    Every layer is put on a grid of its own that covers the same share of its range; one of them is shown.

    Args:
        model: a trained network, images (n, c, h, w) -> logits (n, classes). It is copied.
        x: images (n, c, h, w) to measure the accuracy on, such as a validation split.
        y: their labels (n,).
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `clip` (0.01..1), `bits` (2..8), `grid` and `layer`.

    Raises:
        CourseError: no layer to quantize, weights that are NaN or all zero, or images and labels that do not fit.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
    >>> widget = quantization_clip(net, torch.rand(9, 1, 2, 2), torch.arange(9) % 5)
    >>> widget.set(bits=3, clip=0.5)
    >>> widget.formula.value.split(":")[0]
    '3 bits, symmetric'

    Krishnamoorthi 2018. Lesson 08.
    """
    patient = Patient(model, x, y)
    canvas, clip = ClipCanvas(), Clip(value=1.0)
    canvas.observe(lambda change: clip.set_trait("value", change["new"] / STEPS), names="step")
    style = {"button_width": "auto"}
    controls = {
        "clip": clip,
        "bits": ipywidgets.IntSlider(4, 2, 8, description="bits"),
        "grid": ipywidgets.ToggleButtons(options=GRIDS, description="grid", style=style),
        "layer": ipywidgets.ToggleButtons(options=list(patient.weights), description="layer", style=style),
    }
    widget = LessonWidget(
        "How few bits? Drag the clip",
        controls=controls,
        paint=partial(paint, patient),
        presets=presets(),
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, **widget.values()), colours=200),
    )
    return widget


class Patient:
    """A copy of the network whose weights are put on a grid and measured at every move.

    Args:
        model, x, y: as for `quantization_clip`.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        require_pairs(x, y)
        self.model, self.x, self.y = copy.deepcopy(model).eval(), x, y
        self.parameters = dict(self.model.named_parameters())
        named = [(name, layer.weight) for name, layer in model.named_modules() if isinstance(layer, LAYERS)]
        self.weights = {name or "weight": weight.detach().clone() for name, weight in named}
        if not named or not all(weight.isfinite().all() and weight.any() for weight in self.weights.values()):
            raise CourseError(
                "A grid needs layers with finite weights that are not all zero; this model has none such."
            )
        self.targets = [self.parameters[f"{name}.weight".lstrip(".")] for name, _ in named]
        self.float_bytes, self.float_accuracy = stored_bytes(self.model), self.accuracy(self.weights.values())
        self.trails: dict[str, dict[int, float]] = {}
        self.packed, self.file_bytes = cache(partial(pack, self)), cache(self.measure_file)

    def codes(self, bits: int, grid: str, clip: float) -> dict[str, QuantizedTensor]:
        """Every layer on the grid that covers this share of its range."""
        grids = {name: grid_of(weight, bits, grid, clip) for name, weight in self.weights.items()}
        return {name: QuantizedTensor(quantize(self.weights[name], of), of) for name, of in grids.items()}

    @torch.no_grad()
    def accuracy(self, weights) -> float:
        """The fraction of right answers with these weights."""
        for target, weight in zip(self.targets, weights, strict=True):
            target.copy_(weight)
        try:
            answers = self.model(self.x).argmax(dim=1)  # (n,)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise CourseError(f"The model cannot be called on images of shape {tuple(self.x.shape)}: {error}") from None
        return (answers == self.y).float().mean().item()

    def measure_file(self, bits: int, grid: str) -> int:
        """The length of the file; where the clip stands does not change it."""
        names = {id(target): name for name, target in self.parameters.items()}
        codes = self.codes(bits, grid, 1.0).values()
        quantized = {names[id(target)]: code for target, code in zip(self.targets, codes, strict=True)}
        with tempfile.TemporaryDirectory() as folder:
            return save_quantized(Path(folder) / "net", self.model, quantized)

    def visit(self, setting: str, step: int, accuracy: float) -> list[tuple[str, list]]:
        """Remember a measured point; return the points of each setting, the setting in use last."""
        self.trails[setting] = {**self.trails.pop(setting, {}), step: accuracy}
        return [(name, sorted(points.items())) for name, points in self.trails.items()]


def grid_of(weight: Tensor, bits: int, grid: str, clip: float | Tensor, axis: int | None = None) -> QParams:
    """The grid over a share of the weights' range; over several shares at once with axis=0."""
    low, high = weight.aminmax()
    return qparams_of_range(low * clip, high * clip, bits, symmetric=grid == "symmetric", axis=axis)


def pack(patient: Patient, bits: int, grid: str, layer: str) -> dict[str, object]:
    """What is drawn for one setting: the histogram, and for every clip the decibels and how many weights lie outside.

    Returns:
        `counts`: BINS bars from -edge to edge; `low`, `high`: the range at clip 1; `outside`: for steps 1..STEPS;
        `decibels`: three curves over the steps: of the error, of its rounding alone, of its clipping alone.
    """
    weight = patient.weights[layer].float()
    clips = torch.arange(1, STEPS + 1) / STEPS
    edge = float(weight.abs().max()) * 1.02
    low, high = (-weight.abs().max(), weight.abs().max()) if grid == "symmetric" else weight.aminmax()
    low, high = low.clamp(max=0), high.clamp(min=0)
    some = weight.flatten()[:: max(1, weight.numel() // FINE)].expand(STEPS, -1)  # evenly over the rows
    grids = grid_of(weight, bits, grid, clips, axis=0)
    errors = (dequantize(quantize(some, grids), grids) - some).square()  # (steps, values)
    outside = (some < (low * clips)[:, None]) | (some > (high * clips)[:, None])
    total, clipped = errors.sum(dim=1), (errors * outside).sum(dim=1)
    noise = torch.stack([total, total - clipped, clipped]).clamp(min=1e-12 * float(some[0].square().sum()))
    ends = weight.flatten().sort().values
    beyond = torch.searchsorted(ends, low * clips) + len(ends) - torch.searchsorted(ends, high * clips, right=True)
    return {
        "bits": bits, "grid": grid, "layer": layer, "edge": edge, "low": float(low), "high": float(high),
        "counts": torch.histc(weight, BINS, -edge, edge).int().tolist(), "n": weight.numel(),
        "outside": beyond.tolist(), "decibels": (10 * (some[0].square().sum() / noise).log10()).tolist(),
    }  # fmt: skip


def paint(patient: Patient, clip: float, bits: int, grid: str, layer: str) -> View:
    """Measure the exact numbers of one setting, and say them."""
    codes = patient.codes(bits, grid, clip)
    on_grid = {name: code.dequantize() for name, code in codes.items()}
    accuracy, step = patient.accuracy(on_grid.values()), round(clip * STEPS)
    decibels = signal_to_noise(patient.weights[layer], on_grid[layer])
    packed = patient.packed(bits, grid, layer)
    trails = patient.visit(f"{bits} bits, {grid}", step, accuracy)
    said = formula(patient, codes[layer].qparams, packed, step, decibels, accuracy)
    alt = f"Histogram of the {packed['n']:,} weights of layer {layer} with its grid; "
    alt += f"{packed['outside'][step - 1]:,} weights lie beyond the clip at {clip:.0%} of the range. "
    alt += said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    return View(said, alt, traits={"step": step, "pack": packed, "trails": trails})


def formula(patient: Patient, grid: QParams, packed: dict, step: int, decibels: float, accuracy: float) -> str:
    """Write the step of the grid, what it costs and what it saves, with its numbers."""
    low, high = packed["low"] * step / STEPS, packed["high"] * step / STEPS
    steps = grid.highest if grid.symmetric else grid.highest - grid.lowest
    over = f"{high:.3f}" if grid.symmetric else f"({high:.3f} − ({low:.3f}))"
    zero = "" if grid.symmetric else f", zero point {int(grid.zero_point)}"
    n_bytes = patient.file_bytes(grid.bits, packed["grid"])
    return (
        f"{grid.bits} bits, {packed['grid']}: scale = {over} / {steps} = <b>{float(grid.scale):.4f}</b>{zero} · "
        f"signal-to-noise <b>{decibels:.1f} dB</b><br>accuracy <b>{100 * accuracy:.1f} %</b> "
        f"(float {100 * patient.float_accuracy:.1f} %) · file <b>{n_bytes:,}</b> of {patient.float_bytes:,} bytes: "
        f"<b>{patient.float_bytes / n_bytes:.1f}</b> times smaller"
    )


def presets() -> dict[str, dict[str, object]]:
    """Five telling cases."""
    return {
        "8 bits, all of it": {"bits": 8, "clip": 1.0, "grid": "symmetric"},
        "4 bits": {"bits": 4, "clip": 1.0, "grid": "symmetric"},
        "2 bits, all of it": {"bits": 2, "clip": 1.0, "grid": "symmetric"},
        "2 bits, clipped": {"bits": 2, "clip": 0.4, "grid": "symmetric"},
        "2 bits, affine": {"bits": 2, "clip": 0.4, "grid": "affine"},
    }


def still(patient: Patient, clip: float, bits: int, grid: str, layer: str) -> Figure:
    """Draw the histogram with its grid, and the decibels over the clip."""
    packed, figure_axes = patient.packed(bits, grid, layer), new_figure(columns=2, size=(6.4, 2.7))
    figure, (left, right) = figure_axes
    weight, of = patient.weights[layer].flatten(), grid_of(patient.weights[layer], bits, grid, clip)
    left.hist(weight.numpy(), bins=61, color=BLUE)
    left.set_yscale("symlog")
    for code in range(of.lowest, of.highest + 1) if bits <= 5 else ():
        left.axvline(float(of.scale * (code - of.zero_point)), color=ORANGE, linewidth=0.8)
    left.set(xlabel="weight", ylabel="how many", title=f"layer {layer}: {bits} bits, {grid}")
    for values, name in zip(packed["decibels"], ("all", "rounding", "clipping"), strict=True):
        right.plot([step / STEPS for step in range(1, STEPS + 1)], values, label=name)
    right.axvline(clip, color="grey", linestyle="--")
    right.set(xlabel="clip, share of the range", ylabel="signal-to-noise (dB)", ylim=(0, 50))
    right.legend(fontsize=8)
    return figure
