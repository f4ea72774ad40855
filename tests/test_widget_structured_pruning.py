"""The widget of lesson 07: clicks remove filters, and its numbers are those of the network that is left."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.measure import layer_costs, parameter_count
from course_lib.models import lenet_300_100, small_cnn
from course_lib.pruning.structured import remove_filters
from course_lib.widgets import structured_pruning
from course_lib.widgets.frame import Question
from course_lib.widgets.structured_pruning import filter_surgery


def network() -> nn.Module:
    torch.manual_seed(0)
    return small_cnn(channels=(6, 10))


def images(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randint(10, (n,), generator=generator)


def test_the_numbers_are_those_of_the_smaller_network() -> None:
    model, (x, y) = network(), images()
    widget = filter_surgery(model, x, y)
    widget.gone.value = (1, 4, 6, 15)  # filters 1 and 4 of the first layer, 0 and 9 of the second
    smaller = remove_filters(model, {"0": [1, 4], "3": [0, 9]}, example_input=x)
    told = widget.picture.told
    assert told["parameters"] == [parameter_count(smaller), parameter_count(model)]
    assert told["MACs"] == [sum(c.macs for c in layer_costs(net, (1, 8, 8))) for net in (smaller, model)]
    with torch.no_grad():
        right = (smaller(x).argmax(dim=1) == y).float().mean().item()
    assert told["accuracy"][0] == pytest.approx(right)
    assert f"<b>{parameter_count(smaller):,}</b>" in widget.formula.value
    assert "2 of 6 filters of the first and 2 of 10 of the second" in widget.alt


def test_removed_and_masked_agree() -> None:
    x, y = images()
    patient = structured_pruning.Patient(network(), x, y)
    gone = (0, 2, 7, 8)
    smaller = remove_filters(patient.model, patient.chosen(gone), example_input=x)
    assert patient.gap(gone, smaller) < 1e-5
    assert patient.gap((0, 2), smaller) > 1e-3  # it does see a difference


def test_a_click_in_the_browser_removes_and_a_second_one_brings_back() -> None:
    widget = filter_surgery(network(), *images())
    whole = widget.picture.told["parameters"]
    widget.picture.set_state({"gone": [3]})  # what a message from the browser does
    assert widget.gone.value == (3,)
    assert widget.picture.told["for"] == [3]
    assert widget.picture.told["parameters"][0] < whole[0]
    widget.picture.set_state({"gone": []})
    assert widget.picture.told["parameters"] == whole


def test_presets_do_what_they_say() -> None:
    widget = filter_surgery(network(), *images())
    assert 3 <= len(widget.buttons) <= 5
    seen = set()
    for label in widget.presets:
        widget.buttons[label].click()
        assert widget.alert.value == ""
        seen.add(widget.gone.value)
    assert len(seen) == len(widget.presets)
    widget.buttons["Weaker half of both"].click()
    weaker = set(widget.gone.value)
    widget.buttons["Stronger half of both"].click()
    assert weaker.isdisjoint(widget.gone.value) and len(weaker) == 8
    scores = sum(widget.picture.pack["scores"], [])
    assert max(scores[i] for i in weaker if i < 6) <= min(scores[i] for i in widget.gone.value if i < 6)


def test_what_the_browser_draws() -> None:
    model = network()
    pack = filter_surgery(model, *images()).picture.pack
    greys = np.frombuffer(pack["greys"][1], dtype=np.uint8).reshape(10, 6, 3, 3)
    weight = model[3].weight.detach().abs()
    assert np.array_equal(greys, (255 * weight / weight.max()).to(torch.uint8).numpy())
    assert pack["sizes"] == [6, 10] and pack["sides"] == [3, 3]


def test_the_learners_network_is_left_alone() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    widget = filter_surgery(model, *images())
    widget.gone.value = (0, 1, 2, 9)
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bad", [(16,), (-1,), tuple(range(6)), tuple(range(6, 16))])
def test_impossible_cuts_are_refused(bad: tuple[int, ...]) -> None:
    widget = filter_surgery(network(), *images())
    with pytest.raises(CourseError, match="numbered 0 to 15|at least one"):
        widget.gone.value = bad


def test_bad_input_is_explained() -> None:
    x, y = images()
    with pytest.raises(CourseError, match="two 2d convolutions"):
        filter_surgery(lenet_300_100(), x, y)
    with pytest.raises(CourseError, match="of 2 to 40 filters"):
        filter_surgery(small_cnn(channels=(8, 64)), x, y)
    with pytest.raises(CourseError, match="40 images"):
        filter_surgery(network(), x, y[:-1])


def test_a_question_and_a_static_picture() -> None:
    widget = filter_surgery(network(), *images(), question=Question("How much?", answer=0.3))
    assert widget.body.layout.display == "none"
    widget.bet.commit()
    bundle = widget._repr_mimebundle_()
    data = base64.b64decode(bundle["image/png"])
    assert data.startswith(b"\x89PNG") and len(data) <= 40_000
    assert "slices in the next layer" in bundle["text/plain"]


def test_an_answer_is_quick() -> None:
    widget = filter_surgery(small_cnn(), *images(240))
    times = []
    for index in range(15):
        start = perf_counter()
        widget.gone.value = (index, 20, 30)
        times.append(perf_counter() - start)
    assert min(times) < 0.1 and median(times) < 0.3  # the median on a machine that does other things as well


def test_the_javascript_parses() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the browser tests run this file")
    source = structured_pruning.SurgeryCanvas._esm
    code = f"new (require('vm').SourceTextModule)({json.dumps(str(source))})"
    done = subprocess.run([node, "--experimental-vm-modules", "-e", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(structured_pruning.__file__).with_suffix(".js").exists()
