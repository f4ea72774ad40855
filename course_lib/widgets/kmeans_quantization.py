"""Drag the shared values over the histogram of a layer's weights, and let k-means move them. Lesson 11."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
import torch
from torch import Tensor, nn
from traitlets import Dict, Float, Int, List

from course_lib.errors import CourseError
from course_lib.quantization.deep_compression import layer_size
from course_lib.quantization.huffman import build_code
from course_lib.quantization.kmeans import Codebook, kmeans_1d, optimal_kmeans_1d
from course_lib.viz import BLUE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dragged_centroids"]

STARTS = ("linear", "density", "random")
BINS, SAMPLE = 80, 120  # bars of the histogram; weights that are drawn sliding
MANY = 4000  # survivors beyond which the yardstick is not the optimum itself, but close to it
HISTORY = 40  # codebooks whose inertia the small chart remembers


class CentroidCanvas(Canvas):
    """The dragged figure: `centroids` and `asked` come from the browser, all else goes there."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    centroids = List(Float()).tag(sync=True)  # in any order: one may be dragged past another
    asked = Int(0).tag(sync=True)  # how often an iteration was asked for
    slide = Float(0.0).tag(sync=True)
    pack = Dict().tag(sync=True)  # the histogram, sent once for each layer
    inertias = List().tag(sync=True)  # [of each codebook visited, ..., of this one]
    least = Float(0.0).tag(sync=True)
    trail = List().tag(sync=True)  # [[bits, bytes, accuracy], ...], the present one last


def dragged_centroids(model: nn.Module, x: Tensor, y: Tensor, *, question: Question | None = None) -> LessonWidget:
    """Drag the shared values of one layer, or let k-means move them: inertia, accuracy and bytes follow.

    The network is copied: it keeps its weights. Weights that are zero count as pruned.

    Args:
        model: a trained network, best a pruned one; images (n, c, h, w) -> logits (n, classes).
        x: images to measure the accuracy on, such as a validation split.
        y: their labels (n,).
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `layer`, `bits` (1..4), `start` ("linear", "density" or "random"), `slide`
        (0: weights where they were, 1: at their shared values) and `centroids` (None: where they start). `iterate()` does
        one iteration of k-means.

    Raises:
        CourseError: no layer with more than 16 different weights, or images and labels that do not fit.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 5))
    >>> widget = dragged_centroids(net, torch.rand(9, 1, 2, 2), torch.arange(9) % 5)
    >>> widget.centroids.value = (-0.2, 0.0, 0.1, 0.3)
    >>> widget.iterate()
    >>> "20 weights share <b>4</b> values" in widget.formula.value
    True

    Han, Mao & Dally 2016. Lesson 11.
    """
    patient = Patient(model, x, y)
    canvas, centroids = CentroidCanvas(), Memory(value=None)
    controls = {
        "layer": ipywidgets.Dropdown(options=patient.layers, description="layer"),
        "bits": ipywidgets.IntSlider(2, min=1, max=4, description="bits of a code"),
        "start": ipywidgets.ToggleButtons(options=STARTS, description="start", style={"button_width": "auto"}),
        "slide": ipywidgets.FloatSlider(1.0, min=0.0, max=1.0, step=0.05, description="slide", readout_format=".2f"),
    }
    for name in ("layer", "bits", "start"):  # registered first: the new codebook is there when the widget paints
        controls[name].observe(lambda _: centroids.set_trait("value", None), names="value")
    canvas.observe(lambda change: patient.dragged(centroids, change["new"]), names="centroids")
    widget = LessonWidget(
        "Drag the shared values, or let k-means move them",
        controls={**controls, "centroids": centroids},
        paint=partial(paint, patient),
        presets=presets(patient),
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, **widget.values()), colours=128),
    )
    widget.iterate = lambda: centroids.set_trait("value", patient.iterated(**widget.values()))
    canvas.observe(lambda _: widget.iterate(), names="asked")
    return widget


class Patient:
    """A copy of the network, one layer of which is shared at a time, measured and made whole again."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        require_pairs(x, y)
        self.model, self.x, self.y = copy.deepcopy(model).eval(), x, y
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.dim() > 1}
        self.kept = {name: p.detach() != 0 for name, p in self.parameters.items()}
        self.survivors = {name: p.detach()[self.kept[name]] for name, p in self.parameters.items()}
        self.layers = [name for name, row in self.survivors.items() if len(row.unique()) > 16]
        if not self.layers:
            raise CourseError("No layer has more than 16 different weights left, so there is nothing to share.")
        self.whole = self.accuracy({})
        self.shown: list[float] = []  # the centroids sent to the browser last
        self.inertias: dict[tuple, list[float]] = {}
        self.trail: dict[tuple, tuple[int, int, float]] = {}
        self.packed, self.least, self.gap_bytes = cache(self.pack), cache(self.least_inertia), cache(self.gaps)

    @torch.no_grad()
    def accuracy(self, replaced: Mapping[str, Tensor]) -> float:
        """The fraction of right answers with other survivors in some layers, which are then put back."""
        for name, row in replaced.items():
            self.parameters[name][self.kept[name]] = row
        try:
            answers = self.model(self.x).argmax(dim=1)  # (n,)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise CourseError(f"The model cannot be called on images of shape {tuple(self.x.shape)}: {error}") from None
        for name in replaced:
            self.parameters[name][self.kept[name]] = self.survivors[name]
        return (answers == self.y).float().mean().item()

    def dragged(self, centroids: Memory, found: list[float]) -> None:
        """Take over what the browser sends, but not the echo of what was sent there."""
        if found != self.shown:
            centroids.set_trait("value", tuple(found))

    def codebook(self, layer: str, bits: int, start: str, centroids: tuple | None) -> Codebook:
        """The layer's survivors with these centroids, or those of the start; nearest wins, nothing moves."""
        given = start if centroids is None else torch.tensor(centroids, dtype=torch.float64)
        return kmeans_1d(self.survivors[layer], 2**bits, init=given, max_iterations=0)

    def iterated(self, layer: str, bits: int, start: str, centroids: tuple | None, **_: object) -> tuple[float, ...]:
        """The centroids after one iteration of k-means."""
        given = self.codebook(layer, bits, start, centroids).centroids
        return tuple(kmeans_1d(self.survivors[layer], 2**bits, init=given, max_iterations=1).centroids.tolist())

    def pack(self, layer: str) -> dict[str, object]:
        """The histogram of a layer and an even sample of its survivors, as the browser draws them."""
        row = self.survivors[layer].sort().values
        counts, _ = np.histogram(row.numpy(), bins=BINS)
        chosen = torch.linspace(0, len(row) - 1, min(SAMPLE, len(row))).round().long()
        ends = {"low": float(row[0]), "high": float(row[-1])}
        return {"layer": layer, **ends, "counts": counts.tolist(), "sample": row[chosen].tolist(), "n": len(row)}

    def least_inertia(self, layer: str, bits: int) -> float:
        """The least possible inertia; of large layers that of a start which is nearly optimal."""
        row, k = self.survivors[layer], 2**bits
        best = optimal_kmeans_1d(row, k) if len(row) <= MANY else kmeans_1d(row, k, init="coarse")
        return best.inertia(row)

    def gaps(self, layer: str) -> int:
        """Bytes of the layer's relative indices in Huffman's code."""
        size = layer_size(layer, {layer: self.parameters[layer].detach()})
        return round(size.index_bits[1] * len(self.survivors[layer]) / 8)

    def visit(self, key: tuple, inertia: float, point: tuple[int, int, float]) -> tuple[list[float], list[tuple]]:
        """Remember a codebook: the inertias seen with this layer and size, and the best accuracy at each size."""
        seen = self.inertias.setdefault(key, [])
        if not seen or seen[-1] != inertia:
            seen.append(inertia)
        self.trail.pop(key, None)
        self.trail[key] = point
        return seen[-HISTORY:], [found for (layer, _), found in self.trail.items() if layer == key[0]]


def paint(patient: Patient, layer: str, bits: int, start: str, slide: float, centroids: tuple | None) -> View:
    """Measure one codebook, and say its numbers."""
    row, book = patient.survivors[layer], patient.codebook(layer, bits, start, centroids)
    values, k = book.decode(), 2**bits
    inertia, least = book.inertia(row), patient.least(layer, bits)
    accuracy = patient.accuracy({layer: row + slide * (values - row)})
    counts = book.codes.bincount(minlength=k)
    codes, gaps = -(-build_code(counts).size_bits(counts) // 8), patient.gap_bytes(layer)
    total, dense = codes + gaps + 2 * k, 4 * patient.parameters[layer].numel()
    seen, trail = patient.visit((layer, bits), inertia, (bits, total, patient.accuracy({layer: values})))
    still_moves = patient.iterated(layer, bits, start, centroids) != tuple(book.centroids.tolist())
    empty = int((counts == 0).sum())
    notes = [f"{empty} of them without a weight"] * bool(empty) + ["k-means stands still"] * (not still_moves)
    said = (
        f"{len(row):,} weights share <b>{k}</b> values{', ' if notes else ''}{', '.join(notes)}<br>"
        f"inertia <b>{inertia:.3f}</b>, {inertia / least:.2f} times the least possible · accuracy "
        f"<b>{100 * accuracy:.1f} %</b> (unshared {100 * patient.whole:.1f} %)<br>bytes: codes {codes:,} + gaps {gaps:,} + "
        f"codebook {2 * k} = <b>{total:,}</b>; in float32 {dense:,}, <b>{dense / total:.0f} times</b> as many"
    )
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    where = ", ".join(f"{c:.3f}" for c in book.centroids.tolist())
    patient.shown = list(centroids or book.centroids.tolist())
    traits = {
        "pack": patient.packed(layer), "centroids": patient.shown, "slide": slide,
        "inertias": list(seen), "least": least, "trail": trail,
    }  # fmt: skip
    return View(said, f"The weights of layer {layer} and their shared values at {where}. {plain}.", traits=traits)


def presets(patient: Patient) -> dict[str, dict[str, object]]:
    """Five telling cases, on the first layer."""
    layer = patient.layers[0]
    low, high = (float(end) for end in (patient.survivors[layer].min(), patient.survivors[layer].max()))
    crowded = tuple(high - (high - low) * step / 40 for step in range(4))
    begin = lambda bits, start: {"layer": layer, "bits": bits, "start": start, "slide": 1.0, "centroids": None}
    best = optimal_kmeans_1d(patient.survivors[layer][:MANY], 4).centroids.tolist()
    return {
        "Evenly spaced": begin(2, "linear"),
        "All in a corner": {**begin(2, "linear"), "centroids": crowded},
        "Four at random": begin(2, "random"),
        "The best four": {**begin(2, "linear"), "centroids": tuple(best)},
        "Two values only": begin(1, "linear"),
    }


def still(patient: Patient, layer: str, bits: int, start: str, slide: float, centroids: tuple | None) -> Figure:
    """Draw the histogram with its shared values, and the accuracy and bytes of every codebook size."""
    row, book = patient.survivors[layer], patient.codebook(layer, bits, start, centroids)
    figure, (left, right) = new_figure(columns=2, size=(6.4, 2.7))
    left.hist(row.numpy(), bins=BINS, color=BLUE)
    for number, value in enumerate(book.centroids.tolist()):
        left.axvline(value, color=ORANGE, linewidth=2, label=None if number else "shared value")
    left.set(xlabel=f"weights of layer {layer}", ylabel="how many")
    left.legend(fontsize=8)
    sizes = [patient.codebook(layer, b, start, None) for b in range(1, 5)]
    right.plot(range(1, 5), [100 * patient.accuracy({layer: b.decode()}) for b in sizes], "o-", color=BLUE)
    right.set(xlabel="bits of a code", ylabel="accuracy in %", xticks=range(1, 5))
    return figure


def require_pairs(x: object, y: object) -> None:
    """Refuse anything but as many labels as images."""
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not len(x) or y.shape != x.shape[:1]:
        shapes = [tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in (x, y)]
        raise CourseError(f"Pass images (n, c, h, w) and their labels (n,), of one split; you passed {shapes}.")
