"""The widget of lesson 02: its numbers are the course's own, and what the browser draws decodes to the same masks."""

from __future__ import annotations

import base64
import itertools
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import lenet_300_100, small_cnn
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores, sparsity_of
from course_lib.widgets.frame import Question
from course_lib.widgets.magnitude_pruning import pruning_threshold
from course_lib.widgets.threshold import BINS, STEPS, pack, survivors

SCOPES, GRAINS = ("global", "layer"), ("weight", "vector", "kernel", "filter")
BUILDS = {"lenet_300_100": lenet_300_100, "small_cnn": small_cnn}


def network(name: str = "lenet_300_100") -> nn.Module:
    torch.manual_seed(0)
    return BUILDS[name]()


def images(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randint(10, (n,), generator=generator)


def agreeing(model: nn.Module, n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with the network's own answers as labels: dense, it is always right."""
    x, _ = images(n)
    with torch.no_grad():
        return x, model(x).argmax(dim=1)


def shown_numbers(widget) -> tuple[str, str]:
    """What the formula says: weights that stay, accuracy."""
    said = widget.formula.value
    return said.split(": <b>")[1].split("</b>")[0], said.split("accuracy <b>")[1].split(" %")[0]


def decoded(packed: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As magnitude_pruning.js reads it: units that go and thresholds, (STEPS + 1, layers), and deaths (units,)."""
    n_layers = len(packed["layers"])
    drops = np.frombuffer(packed["drops"], dtype="<i4").reshape(-1, n_layers)
    thresholds = np.frombuffer(packed["thresholds"], dtype="<f4").reshape(-1, n_layers)
    return drops, thresholds, np.frombuffer(packed["deaths"], dtype=np.uint8)


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.985, 1.0])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_the_numbers_are_those_of_masks_from_scores(sparsity: float, scope: str, granularity: str) -> None:
    model = network()
    x, y = agreeing(model)
    widget = pruning_threshold(model, x, y)
    widget.set(sparsity=sparsity, scope=scope, granularity=granularity)
    masks = masks_from_scores(magnitude_scores(model), sparsity, scope=scope, granularity=granularity)
    pruned = apply_masks_(network(), masks)
    with torch.no_grad():
        accuracy = (pruned(x).argmax(dim=1) == y).float().mean().item()
    stay = sum(int(mask.sum()) for mask in masks.values())
    assert shown_numbers(widget) == (f"{stay:,}", f"{100 * accuracy:.1f}")
    assert f"sparsity <b>{sparsity_of(masks):.3f}</b>" in widget.formula.value
    for name, mask in masks.items():
        assert f"layer {name.removesuffix('.weight')}: {1 - mask.float().mean():.2f}" in widget.formula.value
    assert f"{stay:,} of 50,200 weights stay" in widget.alt
    assert f"First layer: {int((~masks['1.weight'].any(dim=0)).sum())} of 64 inputs have no weight left." in widget.alt


def test_a_tenth_of_the_weights() -> None:
    widget = pruning_threshold(network(), *images())
    widget.sparsity.value = 0.9
    assert "<b>5,020</b> of 50,200 weights stay" in widget.formula.value


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("granularity", GRAINS)
@pytest.mark.parametrize("scope", SCOPES)
def test_packed_masks_are_the_masks(name: str, scope: str, granularity: str) -> None:
    scores = magnitude_scores(network(name))
    agrees_at_every_step(scores, scope, granularity, every=13)


@pytest.mark.parametrize("granularity", ["weight", "filter"])
@pytest.mark.parametrize("scope", SCOPES)
def test_packed_masks_agree_where_scores_tie(scope: str, granularity: str) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = {f"{i}.weight": torch.randint(3, (6, 4), generator=generator).float() for i in range(3)}
    agrees_at_every_step(scores, scope, granularity, every=1)


def agrees_at_every_step(scores: dict, scope: str, granularity: str, *, every: int) -> None:
    """Layer sizes, the first layer's mask and the thresholds are those of `masks_from_scores`."""
    packed = pack(scores, scope, granularity, image=(1, 8, 8))
    drops, thresholds, deaths = decoded(packed)
    assert len(drops) == STEPS + 1
    for step in [*range(0, STEPS, every), STEPS]:
        masks = masks_from_scores(scores, step / STEPS, scope=scope, granularity=granularity)
        for i, (layer, mask) in enumerate(zip(packed["layers"], masks.values(), strict=True)):
            assert (layer["units"] - drops[step, i]) * layer["weights"] == int(mask.sum())
        first = next(iter(masks.values())).flatten().numpy()
        assert (np.repeat(deaths > step, packed["layers"][0]["weights"]) == first).all()
        if granularity == "weight" and step and scope == "global":
            gone = torch.cat([scores[name][~mask] for name, mask in masks.items()])
            assert thresholds[step] == pytest.approx(max(gone.tolist(), default=0.0))


def test_histograms_hold_every_unit_in_order() -> None:
    scores = magnitude_scores(network())
    packed = pack(scores, "layer", "weight", image=(1, 8, 8))
    for layer, score in zip(packed["layers"], scores.values(), strict=True):
        assert len(layer["counts"]) == BINS
        assert sum(layer["counts"]) == layer["units"] == score.numel()
    middle = BINS // 2  # a bar's right edge, as the browser places it
    below = (scores["1.weight"] < middle * packed["top"] / BINS).sum()
    assert sum(packed["layers"][0]["counts"][:middle]) == pytest.approx(int(below), abs=2)


def test_the_pack_of_a_large_network_stays_small() -> None:
    packed = pack(magnitude_scores(network()), "global", "weight", image=(1, 8, 8))
    assert sum(len(value) for value in packed.values() if isinstance(value, bytes)) < 30_000


def test_first_layers_are_drawn_as_what_they_are() -> None:
    linear, conv = magnitude_scores(network()), magnitude_scores(network("small_cnn"))
    first = pack(linear, "global", "weight", image=(1, 8, 8))["first"]
    assert (first["kind"], first["height"], first["width"]) == ("inputs", 8, 8)
    odd = pack({"w": torch.rand(3, 7)}, "global", "weight", image=(1, 4, 4))["first"]
    assert odd["height"] * odd["width"] >= 7
    first = pack(conv, "global", "weight", image=(1, 8, 8))["first"]
    assert (first["kind"], first["n"], first["height"], first["width"], len(first["greys"])) == (
        "kernels",
        16,
        3,
        3,
        144,
    )
    mask = torch.zeros(5, 64, dtype=torch.bool)
    mask[:3, 9] = True
    assert survivors(mask, {"kind": "inputs", "height": 8, "width": 8})[1, 1] == 3


@pytest.mark.parametrize("name", BUILDS)
def test_every_preset_sets_what_it_says(name: str) -> None:
    widget = pruning_threshold(network(name), *images())
    assert 3 <= len(widget.buttons) <= 5
    seen = set()
    for label, values in widget.presets.items():
        widget.buttons[label].click()
        assert widget.alert.value == ""
        assert {key: widget.values()[key] for key in values} == values
        assert widget.picture.step == round(STEPS * values["sparsity"])
        assert widget.picture.pack["scope"] == values["scope"]
        seen.add(widget.formula.value)
    assert len(seen) == len(widget.presets)


def test_scope_and_granularity_change_the_numbers() -> None:
    widget = pruning_threshold(network(), *images())
    said = set()
    for scope, granularity in itertools.product(SCOPES, ("weight", "filter")):
        widget.set(scope=scope, granularity=granularity)
        said.add(widget.formula.value)
        assert widget.picture.pack["scope"] == scope
    assert len(said) == 4


def test_choices_fit_the_network() -> None:
    linear, conv = (pruning_threshold(network(name), *images()) for name in BUILDS)
    assert [value for _, value in linear.granularity.options] == ["weight", "filter"]
    assert [value for _, value in conv.granularity.options] == list(GRAINS)
    linear.granularity.value = "filter"
    assert "of the neurons gone" in linear.formula.value


def test_dragging_in_the_browser_moves_the_control() -> None:
    widget = pruning_threshold(network(), *images())
    widget.picture.set_state({"step": 180})  # what a message from the browser does
    assert widget.sparsity.value == 0.9
    assert "<b>5,020</b> of 50,200" in widget.formula.value


def test_every_measured_point_is_kept_with_the_setting_in_use_last() -> None:
    model = network()
    widget = pruning_threshold(model, *agreeing(model))
    assert widget.picture.trails[-1][1][0] == (0, 1.0)  # the dense network
    widget.sparsity.value = 0.9
    widget.scope.value = "layer"
    widget.scope.value = "global"
    names = [name for name, _ in widget.picture.trails]
    assert names == ["layer, weight", "global, weight"]
    assert [step for step, _ in widget.picture.trails[-1][1]] == [0, 100, 180]


def test_the_learners_network_is_left_alone() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    widget = pruning_threshold(model, *images())
    widget.sparsity.value = 1.0
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_pruning_less_again_brings_the_weights_back() -> None:
    model = network()
    widget = pruning_threshold(model, *agreeing(model))
    widget.sparsity.value = 1.0
    assert shown_numbers(widget)[0] == "0"
    widget.sparsity.value = 0.0
    assert shown_numbers(widget) == ("50,200", "100.0")


def test_a_sparsity_snaps_to_the_steps_and_must_be_a_fraction() -> None:
    widget = pruning_threshold(network(), *images())
    widget.sparsity.value = 0.9012
    assert widget.sparsity.value == 0.9
    with pytest.raises(CourseError, match="pass sparsity=0.9"):
        widget.sparsity.value = 90


def test_a_question_hides_the_widget_until_it_is_settled() -> None:
    question = Question("How many can go?", answer=0.6)
    widget = pruning_threshold(network(), *images(), question=question)
    assert widget.body.layout.display == "none"
    widget.bet.commit()
    assert widget.body.layout.display is None


@pytest.mark.parametrize("name", BUILDS)
def test_the_static_picture_is_small_and_says_what_it_shows(name: str) -> None:
    widget = pruning_threshold(network(name), *images())
    bundle = widget._repr_mimebundle_()
    data = base64.b64decode(bundle["image/png"])
    assert data.startswith(b"\x89PNG") and len(data) <= 40_000
    assert "accuracy" in bundle["text/plain"] and "weights stay" in bundle["text/plain"]


def test_bad_input_is_explained() -> None:
    x, y = images()
    with pytest.raises(CourseError, match="nothing to prune"):
        pruning_threshold(nn.Sequential(nn.Flatten(), nn.ReLU()), x, y)
    with pytest.raises(CourseError, match="60 images"):
        pruning_threshold(network(), x, y[:-1])
    with pytest.raises(CourseError, match=r"\(n, c, h, w\)"):
        pruning_threshold(network(), x.flatten(1), y)
    with pytest.raises(CourseError, match="x must be a tensor"):
        pruning_threshold(network(), [1, 2], y)
    with pytest.raises(CourseError, match="y must hold one label"):
        pruning_threshold(network(), x, None)
    with pytest.raises(CourseError, match="cannot be called on images"):
        pruning_threshold(network(), torch.rand(60, 1, 5, 5), y)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    model = network()
    with torch.no_grad():
        model[1].weight[0, 0] = bad
    with pytest.raises(CourseError, match="NaN or infinite"):
        pruning_threshold(model, *images())


def test_an_answer_is_quick() -> None:
    widget = pruning_threshold(network(), *images(240))
    times = []
    for step in range(1, 30):
        start = perf_counter()
        widget.sparsity.value = step / 30
        times.append(perf_counter() - start)
    assert median(times) < 0.1
