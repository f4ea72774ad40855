"""The widget of lesson 08: its numbers are those of the library, and the curves are those of the shown weights."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import lenet_300_100, small_cnn
from course_lib.quantization import fake_quantize, qparams_of_range, signal_to_noise
from course_lib.quantization.post_training import load_weights_, quantize_weights
from course_lib.quantization.storage import save_quantized
from course_lib.widgets import uniform_quantization
from course_lib.widgets.frame import Question
from course_lib.widgets.uniform_quantization import STEPS, Patient, pack, quantization_clip


def network(build=lenet_300_100) -> nn.Module:
    torch.manual_seed(0)
    return build()


def agreeing(model: nn.Module, n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with the network's own answers as labels: in float32 it is always right."""
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, model(x).argmax(dim=1)


def bold(widget) -> list[float]:
    """The numbers in bold: scale, decibels, accuracy, bytes, ratio."""
    return [float(text.rstrip(" %dB").replace(",", "")) for text in re.findall("<b>(.*?)</b>", widget.formula.value)]


@pytest.mark.parametrize("grid", ["symmetric", "affine"])
@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("build", [lenet_300_100, small_cnn])
def test_the_numbers_are_the_librarys(build, bits: int, grid: str, tmp_path: Path) -> None:
    model = network(build)
    x, y = agreeing(model)
    widget = quantization_clip(model, x, y)
    widget.set(bits=bits, grid=grid, clip=1.0)
    codes = quantize_weights(model, bits, symmetric=grid == "symmetric", per_channel=False)
    first = next(iter(codes))
    weight = dict(model.named_parameters())[first].detach()
    n_bytes = save_quantized(tmp_path / "net", model, codes)
    decibels = signal_to_noise(weight, codes[first].dequantize())
    rounded = load_weights_(network(build), codes)
    with torch.no_grad():
        accuracy = (rounded(x).argmax(dim=1) == y).float().mean().item()
    scale, db, percent, said_bytes, _ = bold(widget)
    assert (said_bytes, round(100 * accuracy, 1)) == (n_bytes, percent)
    assert scale == pytest.approx(float(codes[first].qparams.scale), abs=1e-4)
    assert db == pytest.approx(decibels, abs=0.06)


def test_a_clip_covers_its_share() -> None:
    model = network()
    widget = quantization_clip(model, *agreeing(model))
    widget.set(bits=3, clip=0.4)
    weight = model[1].weight.detach()
    end = 0.4 * weight.abs().max()
    grid = qparams_of_range(-end, end, 3, symmetric=True)
    assert bold(widget)[1] == pytest.approx(signal_to_noise(weight, fake_quantize(weight, grid)), abs=0.06)
    assert f"{int((weight.abs() > end).sum()):,} weights lie beyond the clip at 40%" in widget.alt


@pytest.mark.parametrize("grid", ["symmetric", "affine"])
def test_the_curves_are_the_shown_layers(grid: str) -> None:
    model = network()
    patient = Patient(model, *agreeing(model))
    weight = model[5].weight.detach()  # 1,000 weights: all of them are used
    packed = pack(patient, 4, grid, "5")
    low, high = (-weight.abs().max(), weight.abs().max()) if grid == "symmetric" else weight.aminmax()
    for step in (1, 30, 77, STEPS):
        of = qparams_of_range(low * step / STEPS, high * step / STEPS, 4, symmetric=grid == "symmetric")
        assert packed["decibels"][0][step - 1] == pytest.approx(
            signal_to_noise(weight, fake_quantize(weight, of)), abs=1e-2
        )
        beyond = int(((weight < low * step / STEPS) | (weight > high * step / STEPS)).sum())
        assert packed["outside"][step - 1] == pytest.approx(beyond, abs=1)
    assert sum(packed["counts"]) == packed["n"] == 1000
    both, rounding, clipping = torch.tensor(packed["decibels"], dtype=torch.float64)
    inverse = lambda decibels: 10 ** (-decibels / 10)
    assert torch.allclose(inverse(both), inverse(rounding) + inverse(clipping), rtol=1e-3)


def test_dragging_moves_the_clip_and_keeps_what_was_measured() -> None:
    model = network()
    widget = quantization_clip(model, *agreeing(model))
    widget.picture.step = 37
    assert widget.clip.value == 0.37
    widget.buttons["2 bits, affine"].click()
    assert (widget.bits.value, widget.grid.value, widget.picture.step) == (2, "affine", 40)
    assert widget.picture.trails[-1][0] == "2 bits, affine"
    assert [step for step, _ in dict(widget.picture.trails)["4 bits, symmetric"]] == [37, 100]
    widget.layer.value = "3"
    assert widget.picture.pack["layer"] == "3"


def test_the_network_is_left_as_it_is() -> None:
    model = network()
    before = model[1].weight.detach().clone()
    quantization_clip(model, *agreeing(model)).set(bits=2, clip=0.1)
    assert torch.equal(model[1].weight, before)


def test_the_bet_hides_the_figure_until_it_is_settled() -> None:
    model = network()
    question = Question("Which clip?", answer="a", choices=("a", "b"))
    assert quantization_clip(model, *agreeing(model), question=question).body.layout.display == "none"


def test_static_view_says_what_it_shows() -> None:
    model = network(small_cnn)
    bundle = quantization_clip(model, *agreeing(model))._repr_mimebundle_()
    data = base64.b64decode(bundle["image/png"])
    assert data.startswith(b"\x89PNG")
    assert len(data) <= 40_000
    assert "weights lie beyond the clip" in bundle["text/plain"]


def test_bad_input_is_explained() -> None:
    model = network()
    x, y = agreeing(model)
    with pytest.raises(CourseError, match="none such"):
        quantization_clip(nn.Sequential(nn.Flatten(), nn.ReLU()), x, y)
    with pytest.raises(CourseError, match="60 images"):
        quantization_clip(model, x, y[:-1])
    with pytest.raises(CourseError, match="cannot be called on images"):
        quantization_clip(model, x[..., :5], y)
    with pytest.raises(CourseError, match="clip"):
        quantization_clip(model, x, y).clip.value = 40
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    with pytest.raises(CourseError, match="finite"):
        quantization_clip(model, x, y)


def test_the_browser_lays_the_librarys_grid() -> None:
    """The points that are drawn are those of qparams_of_range."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    source = Path(uniform_quantization.__file__).with_suffix(".js").read_text(encoding="utf-8")
    function = re.search(r"function gridOf.*?\n}\n", source, flags=re.DOTALL).group(0)
    for grid, low, high in (("symmetric", -0.5, 0.5), ("affine", -0.3, 0.5), ("affine", 0.0, 0.7)):
        asked = f"{function} console.log(gridOf({{bits: 3, grid: '{grid}', low: {low}, high: {high}}}, 0.6).join(' '))"
        drawn = subprocess.run([node, "-e", asked], capture_output=True, text=True, check=True).stdout.split()
        of = qparams_of_range(0.6 * low, 0.6 * high, 3, symmetric=grid == "symmetric")
        points = [float(of.scale * (code - of.zero_point)) for code in range(of.lowest, of.highest + 1)]
        assert [float(point) for point in drawn] == pytest.approx(points, abs=1e-6)


def test_an_answer_is_quick() -> None:
    model = network()
    widget = quantization_clip(model, *agreeing(model, 240))
    times = []
    for step in range(1, 30):
        start = perf_counter()
        widget.clip.value = step / 30
        times.append(perf_counter() - start)
    assert median(times) < 0.1
