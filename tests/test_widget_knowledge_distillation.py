"""The widget of lesson 12: its probabilities are the library's, and what is dragged in the browser is the temperature."""

from __future__ import annotations

import base64
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn

from course_lib.distillation import soften
from course_lib.errors import CourseError
from course_lib.models import mlp
from course_lib.widgets.frame import Question
from course_lib.widgets.knowledge_distillation import step_of, teacher_temperature, temperature_at

ACCURACIES = {0.5: {1.0: 0.7, 4.0: 0.75}, 1.0: {1.0: 0.72, 4.0: 0.8, 20.0: 0.78}}


def network() -> nn.Module:
    torch.manual_seed(0)
    model = mlp((64, 20, 10))
    with torch.no_grad():
        model[-1].weight.mul_(20)  # as sure as a trained one
    return model


def images(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randint(10, (n,), generator=generator)


def widget_of(model: nn.Module | None = None, **more: object):
    return teacher_temperature(model or network(), *images(), accuracies=ACCURACIES, labels=0.6, **more)


def logits_of(image: int) -> torch.Tensor:
    with torch.no_grad():
        return network()(images()[0])[image]


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0, 100.0])
def test_the_numbers_are_those_of_soften(temperature: float) -> None:
    widget = widget_of()
    widget.set(image=7, temperature=temperature)
    q = soften(logits_of(7), temperature)
    label = int(images()[1][7])
    assert f"says {int(q.argmax())} with <b>{q.max():.4f}</b>" in widget.formula.value
    assert f"all wrong digits together <b>{1 - q[label]:.2g}</b>" in widget.formula.value
    assert f"{label}: {q[label]:.3f}" in widget.alt
    assert widget.picture.answer["logits"] == pytest.approx(logits_of(7).tolist(), abs=1e-5)
    assert widget.picture.answer["label"] == label


def test_dragging_in_the_browser_sets_the_temperature() -> None:
    widget = widget_of()
    widget.picture.set_state({"step": 40})
    assert widget.temperature.value == 10.0
    assert "T = <b>10</b>" in widget.formula.value
    widget.temperature.value = 4.1
    assert widget.picture.step == step_of(4.1)
    assert widget.temperature.value == temperature_at(step_of(4.1))


def test_entropy_rises_with_the_temperature() -> None:
    widget, entropies = widget_of(), []
    for step in (0, 20, 40, 60):
        widget.picture.set_state({"step": step})
        entropies.append(float(widget.formula.value.split("entropy ")[1].split(" of")[0]))
    assert entropies == sorted(entropies) and entropies[0] < entropies[-1]
    assert entropies[-1] <= 3.33


def test_the_nearest_students_are_told() -> None:
    widget = widget_of()
    widget.set(temperature=3.5, alpha=1.0)
    assert "T = 4: <b>80.0%</b>; on labels 60.0%" in widget.formula.value
    widget.set(temperature=50, alpha=0.5)
    assert "T = 4: <b>75.0%</b>" in widget.formula.value
    assert widget.picture.alpha == 0.5
    assert widget.picture.students["curves"][1] == [1.0, [1.0, 4.0, 20.0], [0.72, 0.8, 0.78]]


def test_every_preset_sets_what_it_says() -> None:
    widget, seen = widget_of(), set()
    for label, values in widget.presets.items():
        widget.buttons[label].click()
        assert widget.alert.value == ""
        for name, value in values.items():
            assert widget.values()[name] == pytest.approx(value, rel=0.07)
        seen.add(widget.formula.value)
    assert len(seen) == len(widget.presets)


def test_presets_find_the_telling_images() -> None:
    x, y = images()
    with torch.no_grad():
        logits = network()(x)
    widget = widget_of()
    worst = widget.presets["The worst mistake"]["image"]
    assert int(logits[worst].argmax()) != int(y[worst])
    right = [k for k in range(len(y)) if int(logits[k].argmax()) == int(y[k])]
    assert widget.presets["A sure answer"]["image"] in right


def test_the_learners_network_is_left_alone() -> None:
    model = network().train()
    widget_of(model)
    assert model.training


def test_a_question_hides_the_widget_and_the_static_picture_is_small() -> None:
    widget = widget_of(question=Question("At which?", answer="a", choices=("a", "b")))
    assert widget.body.layout.display == "none"
    widget.bet.settle("a")
    assert widget.body.layout.display is None
    bundle = widget._repr_mimebundle_()
    data = base64.b64decode(bundle["image/png"])
    assert data.startswith(b"\x89PNG") and len(data) <= 40_000
    assert "entropy" in bundle["text/plain"]


def test_bad_input_is_explained() -> None:
    x, y = images()
    with pytest.raises(CourseError, match="of one split"):
        teacher_temperature(network(), x, y[:-1], accuracies=ACCURACIES, labels=0.6)
    with pytest.raises(CourseError, match="no accuracies"):
        teacher_temperature(network(), x, y, accuracies={}, labels=0.6)
    with pytest.raises(CourseError, match="above 0"):
        widget_of().temperature.value = 0.0


def test_an_answer_is_quick() -> None:
    widget, times = widget_of(), []
    for step in range(5, 35):
        start = perf_counter()
        widget.picture.set_state({"step": step})
        times.append(perf_counter() - start)
    assert median(times) < 0.1
