"""Click filters away, and see what goes with them: slices of the next layer, parameters, MACs, milliseconds. Lesson 07."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from traitlets import Dict, List, validate

from course_lib.errors import CourseError
from course_lib.measure import layer_costs, parameter_count
from course_lib.measure.clock import timed_ms
from course_lib.pruning.structured import mask_filters, remove_filters
from course_lib.viz import BLUE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit
from course_lib.widgets.magnitude_pruning import require_pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["filter_surgery"]

MOST = 40  # filters of a layer that can be drawn
ROUNDS = 7  # in which the two networks take turns at the clock
BATCH = 64  # images that are timed


class SurgeryCanvas(Canvas):
    """The two layers: `gone` comes from the browser, all else goes there (structured_pruning.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    gone = List().tag(sync=True)  # filters of the first layer are 0 .. n - 1, of the second n ..
    pack = Dict().tag(sync=True)
    told = Dict().tag(sync=True)  # what was measured


class Gone(Memory):
    """The removed filters, sorted; each of the two layers keeps at least one."""

    def __init__(self, sizes: tuple[int, int], **keywords: object) -> None:
        self.sizes = sizes
        super().__init__(**keywords)

    @validate("value")
    def _check(self, proposal: dict) -> tuple[int, ...]:
        first, second = self.sizes
        gone = tuple(sorted({int(index) for index in proposal["value"]}))
        if gone and not (gone[0] >= 0 and gone[-1] < first + second):
            raise CourseError(f"The filters are numbered 0 to {first + second - 1}, but you passed {list(gone)}.")
        if first <= sum(index < first for index in gone) or second <= sum(index >= first for index in gone):
            raise CourseError("A layer without filters lets nothing through. Leave at least one in each layer.")
        return gone


def filter_surgery(model: nn.Module, x: Tensor, y: Tensor, *, question: Question | None = None) -> LessonWidget:
    """Click filters of a network's first two convolutions away; what depends on them goes too, and is measured anew.

    The network stays as it is. Accuracy is that without retraining; times are medians over a few rounds in which the
    whole and the smaller network take turns, on 64 of the images.

    Args:
        model: images (n, c, h, w) -> logits; its first two convolutions follow each other, of 2 to 40 filters each.
        x: images to measure on, such as a validation split.
        y: their labels (n,).
        question: asked before anything is shown.

    Returns:
        the widget; its control is `gone`, the removed filters (those of the second layer count on from the first's).

    Raises:
        CourseError: there are no two such convolutions, or filters cannot be removed from this network.

    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(24, 3))
    >>> widget = filter_surgery(model, torch.rand(9, 1, 6, 6), torch.arange(9) % 3)
    >>> widget.gone.value = (0, 1, 4)
    >>> widget.formula.value.split(" · ")[0]
    'parameters <b>178</b> of 337'

    Li et al. 2017. Lesson 07.
    """
    require_pairs(x, y)
    patient = Patient(model, x, y)
    canvas = SurgeryCanvas(pack=patient.pack())
    gone = Gone(patient.sizes, value=())
    canvas.observe(lambda change: gone.set_trait("value", tuple(change["new"])), names="gone")
    return LessonWidget(
        "Click filters away: what goes with them?",
        controls={"gone": gone},
        paint=partial(paint, patient),
        presets=presets(patient),
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, gone.value), colours=200),
    )


class Patient:
    """The network, and what its first two convolutions are called.

    Args:
        model, x, y: as for `filter_surgery`.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.model, self.x, self.y = model, x, y
        self.names = two_convolutions(model)
        self.first, self.second = (model.get_submodule(name).weight.detach().clone() for name in self.names)
        self.sizes = len(self.first), len(self.second)
        self.dense = self.cost(model), self.accuracy(model)

    def pack(self) -> dict[str, object]:
        """Kernels as grey values, the scores, and how many columns of the layer behind belong to a filter."""
        kernels = [kernel_greys(self.first.abs().mean(dim=1, keepdim=True)), kernel_greys(self.second)]
        scores = [weight.abs().flatten(1).mean(dim=1).tolist() for weight in (self.first, self.second)]
        return {
            "sizes": list(self.sizes), "scores": scores,
            "sides": [weight.shape[-1] for weight in (self.first, self.second)],
            "greys": [grey.numpy().tobytes() for grey in kernels],
        }  # fmt: skip

    def chosen(self, gone: Sequence[int]) -> dict[str, list[int]]:
        """Layer -> indices of its filters."""
        n = self.sizes[0]
        per_layer = [g for g in gone if g < n], [g - n for g in gone if g >= n]
        return dict(zip(self.names, per_layer, strict=True))

    def cost(self, model: nn.Module) -> tuple[int, int]:
        """Parameters, and multiply-adds for one image."""
        return parameter_count(model), sum(cost.macs for cost in layer_costs(model, tuple(self.x.shape[1:])))

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """The fraction of right answers."""
        return (in_eval(model, self.x).argmax(dim=1) == self.y).float().mean().item()

    @torch.no_grad()
    def times(self, smaller: nn.Module) -> tuple[float, float]:
        """Median milliseconds of the whole and of the smaller network, measured in turns."""
        images = self.x[:BATCH]
        rounds = [
            [timed_ms(partial(in_eval, net, images), time.perf_counter) for net in (self.model, smaller)]
            for _ in range(ROUNDS + 1)
        ]
        middle = torch.tensor(rounds[1:]).median(dim=0).values  # the first round warms up
        return middle[0].item(), middle[1].item()

    @torch.no_grad()
    def gap(self, gone: Sequence[int], smaller: nn.Module) -> float:
        """The largest difference between the logits of the smaller and of the masked network."""
        masked = mask_filters(self.model, self.chosen(gone), example_input=self.x[:2])
        images = self.x[:BATCH]
        return (in_eval(smaller, images) - in_eval(masked, images)).abs().max().item()


def in_eval(model: nn.Module, x: Tensor) -> Tensor:
    """The logits in evaluation mode; the mode of every layer is put back."""
    modes = {layer: layer.training for layer in model.modules()}
    logits = model.eval()(x)
    for layer, was_training in modes.items():
        layer.training = was_training
    return logits


def two_convolutions(model: nn.Module) -> tuple[str, str]:
    """The names of the first two convolutions, the second of which reads the first."""
    named = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)][:2]
    fits = len(named) == 2 and named[1][1].in_channels == named[0][1].out_channels and named[1][1].groups == 1
    if not fits or not all(2 <= layer.out_channels <= MOST for _, layer in named):
        raise CourseError(
            f"This picture needs two 2d convolutions, one after the other, of 2 to {MOST} filters each; the network's first "
            f"are {[str(layer) for _, layer in named]}.\nPass a network such as small_cnn()."
        )
    return named[0][0], named[1][0]


def kernel_greys(weight: Tensor) -> Tensor:
    """Magnitudes as bytes, kernel by kernel: (filters, inputs, height, width)."""
    size = weight.abs()
    return (255 * size / size.max().clamp(min=1e-12)).to(torch.uint8)


def paint(patient: Patient, gone: tuple[int, ...]) -> View:
    """Remove the filters for good, and measure what is left."""
    smaller = remove_filters(patient.model, patient.chosen(gone), example_input=patient.x[:2])
    (parameters, macs), dense = patient.cost(smaller), patient.dense
    whole_ms, ms = patient.times(smaller)
    accuracy, gap = patient.accuracy(smaller), patient.gap(gone, smaller)
    told = {
        "parameters": [parameters, dense[0][0]], "MACs": [macs, dense[0][1]], "time": [ms, whole_ms],
        "accuracy": [accuracy, dense[1]], "for": list(gone),
    }  # fmt: skip
    said = (
        f"parameters <b>{parameters:,}</b> of {dense[0][0]:,} · MACs <b>{macs:,}</b> of {dense[0][1]:,} "
        f"({100 * macs / dense[0][1]:.0f} %) · time <b>{ms:.2f}</b> of {whole_ms:.2f} ms ({100 * ms / whole_ms:.0f} %)<br>"
        f"accuracy, not retrained: <b>{100 * accuracy:.1f} %</b> (whole {100 * dense[1]:.1f} %) · removed and masked logits "
        f"differ by at most {gap:.1g}"
    )
    first, second = patient.chosen(gone).values()
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    alt = (
        f"Two convolutions as grids of kernels; {len(first)} of {patient.sizes[0]} filters of the first and {len(second)} of "
        f"{patient.sizes[1]} of the second are removed, and with them their slices in the next layer. {plain}."
    )
    return View(said, alt, traits={"gone": list(gone), "told": told})


def presets(patient: Patient) -> dict[str, dict[str, object]]:
    """Telling cases: nothing, one filter, the weaker half of one layer and of both, and the stronger half."""
    n, m = patient.sizes
    scores = [weight.abs().flatten(1).mean(dim=1) for weight in (patient.first, patient.second)]
    orders = [score.argsort(stable=True).tolist() for score in scores]  # weakest first
    weaker = orders[0][: n // 2], [n + index for index in orders[1][: m // 2]]
    stronger = orders[0][n - n // 2 :], [n + index for index in orders[1][m - m // 2 :]]
    return {
        "All stay": {"gone": ()},
        "One filter": {"gone": (orders[0][0],)},
        "Half of the first": {"gone": tuple(sorted(weaker[0]))},
        "Weaker half of both": {"gone": tuple(sorted(weaker[0] + weaker[1]))},
        "Stronger half of both": {"gone": tuple(sorted(stronger[0] + stronger[1]))},
    }


def still(patient: Patient, gone: Sequence[int]) -> Figure:
    """Draw mean magnitudes of the second layer's kernels, and hatch what the removed filters take along."""
    figure, (axes,) = new_figure(size=(5.2, 4.2))
    table = patient.second.abs().mean(dim=(2, 3))  # (filters, inputs)
    axes.imshow(table.numpy(), cmap="Blues", vmin=0, aspect="auto")
    n = patient.sizes[0]
    for index in gone:
        span = axes.axvspan if index < n else axes.axhspan
        place = index if index < n else index - n
        span(place - 0.5, place + 0.5, facecolor="white", edgecolor=ORANGE, hatch="////", alpha=0.8)
    axes.set(xlabel="filters of the first layer", ylabel="filters of the second layer")
    axes.set_title("second layer: each square is a kernel", color=BLUE)
    axes.grid(False)
    return figure
