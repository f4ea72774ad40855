"""The widget of lesson 11: its numbers are the library's, and what is dragged in the browser becomes the codebook."""

from __future__ import annotations

import base64
from itertools import pairwise
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import lenet_300_100
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores
from course_lib.quantization.deep_compression import layer_size
from course_lib.quantization.kmeans import Codebook, kmeans_1d, optimal_kmeans_1d
from course_lib.widgets.frame import Question
from course_lib.widgets.kmeans_quantization import STARTS, dragged_centroids

FIRST = "1.weight"


def network() -> nn.Module:
    torch.manual_seed(0)
    model = lenet_300_100()
    return apply_masks_(model, masks_from_scores(magnitude_scores(model), 0.9))


def images(n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, 8, 8, generator=generator), torch.randint(10, (n,), generator=generator)


def widget_of(model: nn.Module | None = None, **more: object):
    return dragged_centroids(model or network(), *images(), **more)


def survivors(model: nn.Module, name: str = FIRST) -> torch.Tensor:
    weight = dict(model.named_parameters())[name].detach()
    return weight[weight != 0]


def said(widget, word: str) -> str:
    """The bold number that follows a word in the formula."""
    return widget.formula.value.split(word)[1].split("<b>")[1].split("</b>")[0]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("bits", [1, 3])
def test_a_start_is_that_of_kmeans(start: str, bits: int) -> None:
    widget = widget_of()
    widget.set(start=start, bits=bits)
    row = survivors(network())
    expected = kmeans_1d(row, 2**bits, init=start, max_iterations=0)
    assert widget.picture.centroids == expected.centroids.tolist()
    assert said(widget, "inertia ") == f"{expected.inertia(row):.3f}"
    assert widget.picture.least == pytest.approx(optimal_kmeans_1d(row, 2**bits).inertia(row), rel=1e-4)


def test_iterations_end_where_kmeans_does() -> None:
    widget, row = widget_of(), survivors(network())
    for _ in range(200):
        before = widget.centroids.value
        widget.iterate()
        if widget.centroids.value == before:
            break
    expected = kmeans_1d(row, 4, init="linear")
    assert torch.allclose(torch.tensor(widget.picture.centroids), expected.centroids, atol=1e-4)
    assert "k-means stands still" in widget.formula.value
    falls = widget.picture.inertias
    assert all(b <= a + 1e-6 for a, b in pairwise(falls))


def test_the_button_in_the_picture_iterates() -> None:
    widget = widget_of()
    before = list(widget.picture.centroids)
    widget.picture.set_state({"asked": 1})
    expected = kmeans_1d(survivors(network()), 4, init=torch.tensor(before), max_iterations=1)
    assert widget.picture.centroids == pytest.approx(expected.centroids.tolist())


def test_dragging_in_the_browser_moves_the_codebook() -> None:
    widget = widget_of()
    dragged = [0.05, -0.1, 0.1, 0.02]  # one was dragged past another
    widget.picture.set_state({"centroids": dragged})
    assert widget.centroids.value == tuple(dragged)
    row = survivors(network())
    book = kmeans_1d(row, 4, init=torch.tensor(dragged), max_iterations=0)
    assert said(widget, "inertia ") == f"{book.inertia(row):.3f}"
    assert widget.picture.centroids == dragged  # the knobs stay the learner's


def test_bytes_and_accuracy_are_those_of_the_shared_layer() -> None:
    model = network()
    x, _ = images()
    with torch.no_grad():
        y = model(x).argmax(dim=1)  # unshared, the network is always right
    widget = dragged_centroids(model, x, y)
    widget.bits.value = 3
    weight = dict(model.named_parameters())[FIRST]
    book = kmeans_1d(weight.detach()[weight != 0], 8, max_iterations=0)
    with torch.no_grad():
        weight[weight != 0] = Codebook(book.centroids, book.codes).decode()
        accuracy = (model(x).argmax(dim=1) == y).float().mean().item()
    size = layer_size(FIRST, {FIRST: weight.detach()})
    assert "unshared 100.0 %" in widget.formula.value
    assert said(widget, "accuracy ") == f"{100 * accuracy:.1f} %"
    bits = (size.weight_bits[1] + size.index_bits[1]) * book.codes.numel()
    assert int(said(widget, "bytes:").replace(",", "")) == pytest.approx(bits / 8 + 16, abs=3)
    widget.slide.value = 0.0
    assert said(widget, "accuracy ") == "100.0 %"


def test_a_shared_value_of_zero_harms_nobody() -> None:
    widget = widget_of()
    widget.centroids.value = (0.0, 0.0, 0.0, 0.0)
    widget.centroids.value = (-0.1, 0.0, 0.1, 0.2)
    widget.bits.value = 1
    assert widget.alert.value == ""
    again = widget_of()
    again.bits.value = 1
    assert said(again, "accuracy ") == said(widget, "accuracy ")


def test_another_size_layer_or_start_begins_anew() -> None:
    widget = widget_of()
    for name, value in (("bits", 3), ("layer", "5.weight"), ("start", "density")):
        widget.centroids.value = tuple(0.01 * k for k in range(2**widget.bits.value))
        getattr(widget, name).value = value
        assert widget.centroids.value is None
        assert len(widget.picture.centroids) == 2**widget.bits.value
    assert widget.picture.pack["layer"] == "5.weight"
    assert sum(widget.picture.pack["counts"]) == widget.picture.pack["n"] == len(survivors(network(), "5.weight"))


def test_every_preset_sets_what_it_says() -> None:
    widget = widget_of()
    seen = set()
    for label, values in widget.presets.items():
        widget.buttons[label].click()
        assert widget.alert.value == ""
        assert {key: widget.values()[key] for key in values} == values
        seen.add(widget.formula.value)
    assert len(seen) == len(widget.presets)
    widget.buttons["The best four"].click()
    assert ", 1.00 times the least possible" in widget.formula.value
    widget.buttons["All in a corner"].click()
    assert float(widget.formula.value.split("</b>, ")[1].split(" times")[0]) > 2


def test_empty_clusters_are_told_and_filled() -> None:
    widget = widget_of()
    high = float(survivors(network()).max())
    widget.centroids.value = (0.0, high + 5, high + 6, high + 7)
    assert "3 of them without a weight" in widget.formula.value
    for _ in range(3):
        widget.iterate()
    assert "without a weight" not in widget.formula.value


def test_the_learners_network_is_left_alone() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    widget_of(model).bits.value = 1
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_question_hides_the_widget_and_the_static_picture_is_small() -> None:
    widget = widget_of(question=Question("How many?", answer=0.5))
    assert widget.body.layout.display == "none"
    widget.bet.commit()
    assert widget.body.layout.display is None
    bundle = widget._repr_mimebundle_()
    data = base64.b64decode(bundle["image/png"])
    assert data.startswith(b"\x89PNG") and len(data) <= 40_000
    assert "accuracy" in bundle["text/plain"] and "inertia" in bundle["text/plain"]


def test_bad_input_is_explained() -> None:
    x, y = images()
    with pytest.raises(CourseError, match="nothing to share"):
        dragged_centroids(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), x, y)
    with pytest.raises(CourseError, match="of one split"):
        dragged_centroids(network(), x, y[:-1])
    with pytest.raises(CourseError, match="of one split"):
        dragged_centroids(network(), [1], y)
    with pytest.raises(CourseError, match="cannot be called on images"):
        dragged_centroids(network(), torch.rand(60, 1, 5, 5), y)


def test_an_answer_is_quick() -> None:
    widget = dragged_centroids(network(), *images(240))
    widget.bits.value = 4
    times = []
    for step in range(1, 30):
        moved = list(widget.picture.centroids)
        moved[5] += step * 1e-4
        start = perf_counter()
        widget.picture.set_state({"centroids": moved})
        times.append(perf_counter() - start)
    assert median(times) < 0.1
