"""Drag the temperature of a teacher's answers, and watch the wrong digits light up. Lesson 12."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets
import torch
from torch import Tensor, nn
from traitlets import Dict, Float, Int, validate

from course_lib.distillation import soften, teacher_logits
from course_lib.errors import CourseError
from course_lib.viz import BLUE, CYCLE, ORANGE, new_figure, png
from course_lib.widgets.frame import Canvas, LessonWidget, Memory, Question, View, kit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["teacher_temperature"]

STEPS, ONE, TENFOLD = 60, 20, 20  # T = 10^((step - ONE) / TENFOLD): from 0.1 to 100
SURE = 8.0  # a lead in logits: at T = 1 the next answer is 3,000 times less likely


class TemperatureCanvas(Canvas):
    """The dragged figure: `step` comes from the browser, all else goes there (knowledge_distillation.js draws it)."""

    _esm = kit(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))
    step = Int(ONE).tag(sync=True)
    answer = Dict().tag(sync=True)  # one image, its label and the teacher's logits
    students = Dict().tag(sync=True)  # accuracies over temperature, sent once
    alpha = Float(1.0).tag(sync=True)


class Temperature(Memory):
    """A temperature that snaps to the steps of the figure."""

    @validate("value")
    def _snap(self, proposal: dict) -> float:
        return temperature_at(step_of(proposal["value"]))


def temperature_at(step: int) -> float:
    """The temperature at a step of the figure.

    >>> temperature_at(0), temperature_at(20), temperature_at(60)
    (0.1, 1.0, 100.0)
    """
    return round(10 ** ((step - ONE) / TENFOLD), 4)


def step_of(temperature: float) -> int:
    """The step nearest to a temperature."""
    if not temperature > 0:
        raise CourseError(f"The temperature must be above 0, but you passed {temperature!r}.")
    step = ONE + TENFOLD * torch.tensor(float(temperature)).log10().item()
    return min(STEPS, max(0, round(step)))


def teacher_temperature(
    teacher: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    accuracies: Mapping[float, Mapping[float, float]],
    labels: float,
    question: Question | None = None,
) -> LessonWidget:
    """Drag the temperature over a teacher's answer to one image; below, how well students learned at each.

    Args:
        teacher: images (n, c, h, w) -> logits (n, classes); it is copied.
        x: images whose answers are shown, such as a validation split.
        y: their labels (n,).
        accuracies: alpha -> temperature -> a student's accuracy, measured before.
        labels: the accuracy of the same student taught by labels.
        question: asked before anything is shown.

    Returns:
        the widget; its controls are `image` (0..n-1), `alpha` and `temperature` (0.1 to 100).

    Raises:
        CourseError: images and labels that do not fit, or no accuracies.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> x, y = torch.rand(9, 1, 2, 2), torch.arange(9) % 3
    >>> widget = teacher_temperature(net, x, y, accuracies={1.0: {1.0: 0.5, 4.0: 0.7}}, labels=0.4)
    >>> widget.temperature.value = 100
    >>> "T = <b>100</b>" in widget.formula.value
    True

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    if not isinstance(x, Tensor) or not isinstance(y, Tensor) or not len(x) or y.shape != x.shape[:1]:
        raise CourseError("Pass images (n, c, h, w) and as many labels (n,), of one split.")
    if not accuracies or not all(accuracies.values()):
        raise CourseError("There are no accuracies: pass {alpha: {temperature: accuracy}}.")
    logits = teacher_logits(copy.deepcopy(teacher), x)
    students = {float(alpha): dict(sorted(curve.items())) for alpha, curve in accuracies.items()}
    canvas, temperature = TemperatureCanvas(), Temperature(value=1.0)
    canvas.observe(lambda change: temperature.set_trait("value", temperature_at(change["new"])), names="step")
    options = [(f"{alpha:g}", alpha) for alpha in sorted(students)]
    controls = {
        "image": ipywidgets.IntSlider(surest(logits, y), min=0, max=len(x) - 1, description="image"),
        "alpha": ipywidgets.ToggleButtons(
            options=options, value=max(students), description="alpha", style={"button_width": "auto"}
        ),
        "temperature": temperature,
    }
    return LessonWidget(
        "What does a wrong answer know? Drag the temperature",
        controls=controls,
        paint=partial(paint, x, y, logits, students, labels),
        presets=presets(logits, y),
        canvas=canvas,
        question=question,
        static=lambda: png(still(logits[controls["image"].value], int(y[controls["image"].value]), students, labels)),
    )


def surest(logits: Tensor, y: Tensor) -> int:
    """An image whose right answer leads by at least SURE, but barely: a sure answer with hints in it."""
    leads = lead(logits, y)
    return int(leads.where(leads > SURE, torch.inf).argmin() if (leads > SURE).any() else leads.argmax())


def lead(logits: Tensor, y: Tensor) -> Tensor:
    """By how much the right answer's logit is above the best wrong one, (n,)."""
    own = logits.gather(1, y[:, None])
    return (own - logits.scatter(1, y[:, None], -torch.inf).amax(dim=1, keepdim=True))[:, 0]


def presets(logits: Tensor, y: Tensor) -> dict[str, dict[str, object]]:
    """Telling cases: the surest answer, one in doubt, the worst mistake, and the limits."""
    leads = lead(logits, y)
    doubt, worst = int(leads.abs().argmin()), int(leads.argmin())
    return {
        "A sure answer": {"image": surest(logits, y), "temperature": 1.0},
        "The same at T = 4": {"image": surest(logits, y), "temperature": 4.0},
        "In doubt": {"image": doubt, "temperature": 1.0},
        "The worst mistake": {"image": worst, "temperature": 2.0},
        "T to infinity": {"image": surest(logits, y), "temperature": 100.0},
    }


def paint(
    x: Tensor, y: Tensor, logits: Tensor, students: Mapping, labels: float, image: int, alpha: float, temperature: float
) -> View:
    """Soften one answer, and say its numbers."""
    z, label = logits[image], int(y[image])
    q = soften(z, temperature)
    order = q.argsort(descending=True).tolist()
    bits = -(q * q.clamp(min=1e-30).log2()).sum().item()
    curve = students[alpha]
    nearest = min(curve, key=lambda t: abs(torch.tensor(t / temperature).log().item()))
    first, second = order[:2]
    said = (
        f"T = <b>{temperature:.3g}</b>: the teacher says {first} with <b>{q[first]:.4f}</b>, then {second} with "
        f"{q[second]:.2g}; all wrong digits together <b>{1 - q[label]:.2g}</b>; entropy {abs(bits):.2f} of "
        f"{torch.tensor(float(len(q))).log2():.2f} bits<br>students at alpha {alpha:g}, T = {nearest:g}: "
        f"<b>{curve[nearest]:.1%}</b>; on labels {labels:.1%}"
    )
    plain = said.replace("<b>", "").replace("</b>", "").replace("<br>", "; ")
    answers = ", ".join(f"{digit}: {q[digit]:.3f}" for digit in range(len(q)))
    pixels = x[image].mean(dim=0)
    traits = {
        "step": step_of(temperature),
        "alpha": alpha,
        "answer": {"pixels": pixels.tolist(), "logits": z.tolist(), "label": label, "image": image},
        "students": {
            "curves": [[a, list(curve), list(curve.values())] for a, curve in students.items()],
            "labels": labels,
        },
    }
    return View(said, f"Image {image}, a {label}, and the teacher's answers {answers}. {plain}.", traits=traits)


def still(z: Tensor, label: int, students: Mapping, labels: float) -> Figure:
    """Draw one answer at T = 1 and T = 4, and the students' accuracies."""
    figure, (left, right) = new_figure(columns=2, size=(6.4, 2.7))
    for shift, temperature, colour in ((-0.2, 1.0, BLUE), (0.2, 4.0, ORANGE)):
        places = [digit + shift for digit in range(len(z))]
        left.bar(places, soften(z, temperature).tolist(), 0.4, color=colour, label=f"T = {temperature:g}")
    left.set(xlabel=f"answer to a {label}", ylabel="probability", xticks=range(len(z)))
    left.legend(fontsize=8)
    for number, (alpha, curve) in enumerate(students.items()):
        style = {"color": CYCLE[number % len(CYCLE)], "marker": "os^DvPX"[number % 7], "label": f"alpha {alpha:g}"}
        right.plot(list(curve), [100 * a for a in curve.values()], **style)
    right.axhline(100 * labels, linestyle="--", color="grey", label="labels")
    right.set(xlabel="temperature", ylabel="student's accuracy in %", xscale="log")
    right.legend(fontsize=8)
    return figure
