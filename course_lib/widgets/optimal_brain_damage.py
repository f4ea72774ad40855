"""One weight on its own loss curve, with the parabola through it: drag it to zero, predicted against actual. Lesson 04."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from traitlets import Dict, Int, validate

from course_lib.errors import CourseError, require_choice
from course_lib.pruning import prunable
from course_lib.pruning.curvature import LOSSES, require_targets
from course_lib.viz import BLUE, GREY, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["weight_on_its_curve"]

MOVES = [k / 20 for k in range(-4, 25)]  # how far to zero: 0 as trained, 1 removed, a little beyond both ends
TRAINED, GONE = MOVES.index(0.0), MOVES.index(1.0)
SAMPLE = 60  # weights that the two rankings show beside the chosen one


class CurveCanvas(Canvas):
    """The dragged figure: `step` comes from the browser, all else goes there (optimal_brain_damage.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    step = Int(TRAINED).tag(sync=True)  # a place in MOVES
    pack = Dict().tag(sync=True)


class Place(Memory):
    """How far the weight has been moved, as a place in MOVES."""

    @validate("value")
    def _within(self, proposal: dict) -> int:
        return min(max(int(proposal["value"]), 0), len(MOVES) - 1)


def weight_on_its_curve(
    model: nn.Module, x: Tensor, y: Tensor, curvature: Mapping[str, Tensor], *, loss: str = "cross_entropy",
    question: Question | None = None,
) -> LessonWidget:  # fmt: skip
    """Drag one weight of a network to zero: what the loss does, and what ½hw² said it would do.

    The network is copied: it keeps its weights.

    Args:
        model: a trained network, x -> outputs (n, outputs).
        x, y: examples to measure the loss on, as for `obd.diagonal_hessian`; some hundred are enough.
        curvature: parameter name -> second derivatives, as `obd.diagonal_hessian` returns them.
        loss: "cross_entropy" or "squared_error".
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `weight` (from 1, the smallest magnitude) and `place` (in MOVES).

    Raises:
        CourseError: nothing to prune, curvatures that do not fit the network, or targets that do not fit the outputs.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> h = {"1.weight": torch.ones(2, 2)}
    >>> widget = weight_on_its_curve(net, torch.ones(3, 2), torch.tensor([0, 1, 1]), h)
    >>> widget.place.value = GONE
    >>> "predicted" in widget.alt
    True

    LeCun, Denker & Solla 1989. Lesson 04.
    """
    patient = Patient(model, x, y, curvature, loss)
    canvas, place = CurveCanvas(), Place(value=TRAINED)
    canvas.observe(lambda change: place.set_trait("value", change["new"]), names="step")
    telling = patient.telling()
    slider = ipywidgets.IntSlider(telling["Small but dear"], min=1, max=patient.n, description="weight no.")
    return LessonWidget(
        "Drag a weight to zero: what was predicted, what happens",
        controls={"weight": slider, "place": place},
        paint=partial(paint, patient),
        presets={name: {"weight": number, "place": TRAINED} for name, number in telling.items()},
        canvas=canvas,
        question=question,
        static=lambda: png(still(patient, slider.value), colours=128),
    )


class Patient:
    """A copy of the network, in which one weight at a time is moved and the loss measured."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, curvature: Mapping[str, Tensor], loss: str) -> None:
        require_choice("loss", loss, LOSSES)
        self.model, self.x, self.y, self.loss = copy.deepcopy(model).eval(), x, y, loss
        self.weights = prunable(self.model)
        require_curvature(self.weights, curvature)
        with torch.no_grad():
            require_targets(loss, self.model(x), y)
        self.names = [(name, k) for name, weight in self.weights.items() for k in range(weight.numel())]
        self.w = torch.cat([weight.detach().flatten() for weight in self.weights.values()])
        self.h = torch.cat([curvature[name].flatten() for name in self.weights])
        self.n = len(self.w)
        self.by_size = self.w.abs().argsort(stable=True)  # place in the network of the k-th smallest
        self.size_rank = ranks(self.w.abs())
        self.cost_rank = ranks(self.h * self.w**2 / 2)
        self.losses = lru_cache(256)(self.measured)

    @torch.no_grad()
    def measured(self, index: int) -> list[float]:
        """The loss at every place of MOVES of one weight, which is then put back."""
        name, k = self.names[index]
        flat, w = self.weights[name].view(-1), float(self.w[index])
        found = []
        for move in MOVES:
            flat[k] = w * (1 - move)
            found.append(self.loss_now())
        flat[k] = w
        return found

    def loss_now(self) -> float:
        """The mean loss of the network as it stands."""
        outputs = self.model(self.x)
        if self.loss == "squared_error":
            return float(((outputs - self.y) ** 2).sum(1).mean())
        return float(F.cross_entropy(outputs, self.y))

    def telling(self) -> dict[str, int]:
        """Four weights worth a look, each by its number in the order of magnitudes."""
        apart = self.cost_rank - self.size_rank
        chosen = {
            "Small but dear": apart.argmax(), "Large but cheap": apart.argmin(),
            "The dearest": self.cost_rank.argmax(), "One in the middle": self.by_size[self.n // 2],
        }  # fmt: skip
        return {name: int(self.size_rank[index]) + 1 for name, index in chosen.items()}


def ranks(values: Tensor) -> Tensor:
    """0 for the smallest, n − 1 for the largest.

    >>> ranks(torch.tensor([3.0, 1.0, 2.0]))
    tensor([2, 0, 1])
    """
    return values.argsort(stable=True).argsort()


def paint(patient: Patient, weight: int, place: int) -> View:
    """Say what was predicted and what happened, and hand the curve to the browser."""
    index = int(patient.by_size[weight - 1])
    w, h, losses = float(patient.w[index]), float(patient.h[index]), patient.losses(index)
    move, base = MOVES[place], losses[TRAINED]
    predicted, actual = h * (w * move) ** 2 / 2, losses[place] - base
    name, k = patient.names[index]
    shape = patient.weights[name].shape
    where = f"{name}[{', '.join(str(int(i)) for i in torch.unravel_index(torch.tensor(k), shape))}]"
    size, cost = (int(rank[index]) + 1 for rank in (patient.size_rank, patient.cost_rank))
    said = (
        f"{where}: w = {w:.4f}, h = {h:.4g}, moved {100 * move:.0f} % of the way to 0<br>predicted ½ · h · (moved)² = "
        f"<b>{predicted:+.5f}</b>, actual <b>{actual:+.5f}</b> (loss {base:.4f} → {losses[place]:.4f})<br>"
        f"of {patient.n:,} weights, smallest first: no. <b>{size:,}</b>; cheapest first: no. <b>{cost:,}</b>"
    )
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    sample = torch.linspace(0, patient.n - 1, min(SAMPLE, patient.n)).round().long()
    chosen = patient.by_size[sample]
    pack = {
        "moves": MOVES, "losses": losses, "parabola": [base + h * (w * m) ** 2 / 2 for m in MOVES], "w": w,
        "n": patient.n, "size": size, "cost": cost, "trained": TRAINED, "gone": GONE,
        "pairs": [[int(patient.size_rank[i]) + 1, int(patient.cost_rank[i]) + 1] for i in chosen],
    }  # fmt: skip
    return View(said, f"The loss over one weight, with a parabola through the trained place. {plain}.",
                traits={"step": place, "pack": pack})  # fmt: skip


def still(patient: Patient, weight: int) -> Figure:
    """Draw one weight's curve with its parabola, and both rankings of all weights."""
    index = int(patient.by_size[weight - 1])
    w, h, losses = float(patient.w[index]), float(patient.h[index]), patient.losses(index)
    figure, (left, right) = new_figure(columns=2, size=(6.4, 2.7))
    at = [w * (1 - move) for move in MOVES]
    left.plot(at, losses, color=BLUE, label="actual loss")
    left.plot(at, [losses[TRAINED] + h * (w * m) ** 2 / 2 for m in MOVES], color=ORANGE, ls="--", label="parabola")
    left.plot([w], [losses[TRAINED]], "o", color=BLUE)
    left.axvline(0, color=GREY, linewidth=1)
    left.set(xlabel="the weight (removed at 0)", ylabel="loss")
    left.legend(fontsize=8)
    right.plot(patient.size_rank + 1, patient.cost_rank + 1, ".", color=GREY, markersize=2)
    right.plot([patient.size_rank[index] + 1], [patient.cost_rank[index] + 1], "o", color=BLUE)
    right.set(xlabel="rank by magnitude", ylabel="rank by saliency")
    return figure


def require_curvature(weights: Mapping[str, Tensor], curvature: object) -> None:
    """Refuse curvatures that are not one finite number for each weight."""
    for name, weight in weights.items():
        got = curvature.get(name) if isinstance(curvature, Mapping) else None
        if not isinstance(got, Tensor) or got.shape != weight.shape or not bool(got.isfinite().all()):
            told = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
            raise CourseError(
                f"curvature must hold one finite number for each weight, but for {name!r}, {tuple(weight.shape)}, it holds "
                f"{told}.\nPass what obd.diagonal_hessian(model, x, y) returns."
            )
