"""The widgets without a browser: their pure functions, and that controls, presets, bets and errors are wired."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree

import ipywidgets
import pytest
import torch

from course_lib.errors import CourseError
from course_lib.measure import LayerCost, layer_costs
from course_lib.widgets.bet import BetStrip, Question
from course_lib.widgets.frame import LessonWidget, Memory, View
from course_lib.widgets.measuring import cost_explorer, half_of_the_weights, ratio_and_speedup
from course_lib.widgets.start_here import fewer_bits, round_to_bits

COSTS = [
    LayerCost("a", 100, 9000, 4),
    LayerCost("norm", 10, 0, 4),
    LayerCost("b", 800, 4000, 4),
    LayerCost("c", 90, 2000, 4),
]


def doubler(**options) -> LessonWidget:
    """A widget with one slider that writes the double of its value."""
    slider = ipywidgets.IntSlider(2, min=0, max=9, description="amount")

    def paint(amount: int) -> View:
        if amount == 7:
            raise ValueError("seven is <bad>")
        return View(f"{2 * amount}", alt=f"twice {amount} > 0", svg=f"<text>{amount}</text>")

    return LessonWidget("Double", controls={"amount": slider}, paint=paint, **options)


def test_a_control_repaints_formula_picture_and_alt_text() -> None:
    widget = doubler()
    widget.amount.value = 3
    assert widget.formula.value == "6"
    picture = ElementTree.fromstring(widget.picture.value)
    assert picture.get("role") == "img" and picture.get("aria-label") == "twice 3 > 0"


def test_a_preset_sets_several_controls_and_paints_once() -> None:
    painted = []
    controls = {name: ipywidgets.IntSlider(0, min=0, max=9, description=name) for name in ("first", "second")}

    def paint(**values: int) -> View:
        painted.append(values)
        return View("", alt="")

    widget = LessonWidget("Two", controls=controls, paint=paint, presets={"both": {"first": 4, "second": 5}})
    widget.buttons["both"].click()
    assert painted == [{"first": 0, "second": 0}, {"first": 4, "second": 5}]


def test_an_error_is_shown_in_the_widget_and_goes_when_it_works_again() -> None:
    widget = doubler()
    with pytest.raises(ValueError, match="seven"):
        widget.amount.value = 7
    assert "seven is &lt;bad&gt;" in widget.alert.value
    widget.amount.value = 8
    assert widget.alert.value == "" and widget.formula.value == "16"


def test_the_static_view_is_small_and_has_alt_text() -> None:
    bundle = fewer_bits(torch.rand(8, 8))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "grey levels" in bundle["text/plain"]
    png = base64.b64decode(bundle["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) <= 40_000
    assert len(base64.b64decode(cost_explorer(COSTS)._repr_mimebundle_()["image/png"])) <= 40_000


@pytest.mark.parametrize(
    ("controls", "presets", "said"),
    [
        ({"amount": ipywidgets.IntSlider()}, {}, "no description"),
        ({"layout": Memory(value=1)}, {}, "cannot name a control"),
        ({"amount": Memory(value=1)}, {"odd": {"amuont": 2}}, "amuont"),
    ],
)
def test_a_frame_that_cannot_work_is_refused(controls, presets, said) -> None:
    with pytest.raises(CourseError, match=said):
        LessonWidget("x", controls=controls, paint=lambda **_: View("", alt=""), presets=presets)


def test_nothing_is_shown_before_the_bet_and_the_gap_after() -> None:
    widget = doubler(question=Question("Which share?", answer=0.09))
    assert widget.body.layout.display == "none"
    widget.bet.guess.value = 0.5
    widget.bet.lock.click()
    assert widget.bet.said.value == "You bet 50%. Measured: 9%. Your bet was 41 points too high."
    assert widget.body.layout.display is None


def test_a_choice_must_be_made_or_skipped_and_is_settled_once() -> None:
    calls = []
    strip = BetStrip(
        Question("Which?", answer="b", choices=("a", "b"), why="b is larger."), on_settled=lambda: calls.append(1)
    )
    strip.lock.click()
    assert "Choose an answer first" in strip.said.value and not calls
    strip.skipping.click()
    strip.guess.value = "a"
    strip.lock.click()
    assert strip.said.value == "Measured: b. b is larger." and calls == [1]


def test_a_question_without_its_answer_is_refused() -> None:
    with pytest.raises(CourseError, match="not among"):
        Question("Which?", answer="c", choices=("a", "b"))
    with pytest.raises(CourseError, match="off the scale"):
        Question("How much?", answer=9)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_rounding_leaves_the_levels_and_errs_by_at_most_half_a_step(bits: int) -> None:
    image = torch.linspace(0, 1, 1000)
    few = round_to_bits(image, bits)
    assert len(few.unique()) == 2**bits
    assert few.min() == 0 and few.max() == 1
    assert (few - image).abs().max() <= 0.5 / (2**bits - 1) + 1e-6


def test_fewer_bits_writes_levels_bytes_and_error() -> None:
    widget = fewer_bits(torch.rand(8, 8))
    widget.buttons["2 bits"].click()
    assert "<b>4</b>" in widget.formula.value
    assert "8 · 8 · 2 / 8 = <b>16</b>, 16 times fewer than 256" in widget.formula.value
    ElementTree.fromstring(widget.picture.value)


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (3, 17)])
def test_fewer_bits_draws_any_small_picture(shape) -> None:
    widget = fewer_bits(torch.rand(shape))
    assert len(widget.picture.value) < 300_000
    ElementTree.fromstring(widget.picture.value)


@pytest.mark.parametrize(
    "image", [torch.rand(1, 8, 8), torch.rand(65, 8), 16 * torch.ones(8, 8), "digit", torch.full((2, 2), torch.nan)]
)
def test_fewer_bits_refuses_what_is_no_picture(image) -> None:
    with pytest.raises(CourseError, match="values in 0..1"):
        fewer_bits(image)


def test_ratio_and_speedup_of_real_layers() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(144, 10, bias=False)
    )
    costs = layer_costs(network, (1, 8, 8))
    ratio, speedup = ratio_and_speedup(costs, [0.0, 0.5])
    assert ratio == pytest.approx((36 + 1440) / (36 + 720))
    assert speedup == pytest.approx((36 * 36 + 1440) / (36 * 36 + 720))


def test_the_slider_pulls_the_chosen_layer_and_keeps_the_others() -> None:
    widget = cost_explorer(COSTS)
    widget.sparsity.value = 0.5
    widget.layer.value = 1
    assert widget.sparsity.value == 0
    widget.sparsity.value = 0.9
    assert widget.sparsities.value == (0.5, 0.9, 0.0)
    widget.layer.value = 0
    assert widget.sparsity.value == 0.5
    ratio, speedup = ratio_and_speedup(COSTS, (0.5, 0.9, 0.0))
    assert f"<b>{ratio:.2f}</b>" in widget.formula.value and f"<b>{speedup:.2f}</b>" in widget.formula.value
    assert ratio == pytest.approx(1000 / (1000 - 50 - 720))  # the norm layer's 10 parameters count and stay


def test_one_step_of_the_slider_paints_once(monkeypatch) -> None:
    import course_lib.widgets.measuring as measuring

    painted = []
    original = measuring.paint
    monkeypatch.setattr(measuring, "paint", lambda *args, **values: painted.append(values) or original(*args, **values))
    widget = cost_explorer(COSTS)
    painted.clear()
    widget.sparsity.value = 0.5
    widget.layer.value = 2
    widget.buttons["All at 0.9"].click()
    assert [values["sparsities"] for values in painted] == [(0.5, 0, 0), (0.5, 0, 0), (0.9, 0.9, 0.9)]


def test_presets_name_the_layers_they_thin_out() -> None:
    widget = cost_explorer(COSTS)
    widget.buttons["First two convolutions at 0.9"].click()
    assert widget.sparsities.value == (0.9, 0.9, 0.0) and widget.sparsity.value == 0.9
    widget.buttons["Dense"].click()
    assert widget.sparsities.value == (0, 0, 0) and "compression ratio 1.0" in widget.alt


def test_the_question_is_about_the_layers_nearest_to_half_of_the_weights() -> None:
    equal = [LayerCost(name, 10, macs, 0) for name, macs in (("early", 900), ("middle", 90), ("late", 9), ("last", 9))]
    assert [cost.name for cost in half_of_the_weights(equal)] == ["late", "last"]
    widget = cost_explorer(equal, network="A toy")
    assert "late and last hold 50% of A toy's parameters" in widget.bet.question.text
    assert widget.bet.question.answer == pytest.approx(18 / 1008)


@pytest.mark.parametrize("costs", [None, [1, 2], COSTS[:2], []])
def test_cost_explorer_refuses_what_it_cannot_draw(costs) -> None:
    with pytest.raises(CourseError, match="layer_costs"):
        cost_explorer(costs)
