"""The widget of lesson 10: its staircase is the library's grid, its slopes the estimator's, its accuracies the networks'."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.quantization import QParams
from course_lib.quantization.qat import prepare
from course_lib.quantization.straight_through import fake_quantize_straight_through
from course_lib.widgets.frame import Question
from course_lib.widgets.quantization_aware_training import on_stairs, staircase_slope, top_code, weights_on

BITS = (8, 4, 3, 2)


def images(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.randint(3, (n,), generator=generator)


def networks(ranges: str = "moving_average") -> dict[int, nn.Module]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    prepared = {bits: prepare(net, weight_bits=bits, activation_bits=bits, ranges=ranges) for bits in BITS}
    for network in prepared.values():
        network(images()[0])
    return prepared


def widget(**options):
    return staircase_slope(networks(), networks("learned"), *images(), **options)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("at", [-1.7, -0.9, -0.01, 0.4, 0.71, 1.2, 1.7])
def test_code_and_slope_are_the_librarys(bits: int, at: float) -> None:
    top = top_code(bits)
    grid = QParams(torch.tensor(1 / top), torch.tensor(0, dtype=torch.int32), bits, symmetric=True)
    x = torch.tensor(at, requires_grad=True)
    out = fake_quantize_straight_through(x, grid)
    out.backward()
    code, inside = on_stairs(at, bits)
    assert code / top == pytest.approx(out.item())
    assert float(inside) == x.grad.item()
    shown = widget()
    shown.set(bits=bits, at=at)
    assert f"straight-through slope {int(inside)}." in shown.alt
    assert f"code <b>{code}</b>" in shown.formula.value


def test_accuracies_are_those_of_the_networks_now() -> None:
    x, y = images()
    one, other = networks(), networks("learned")
    shown = staircase_slope(one, other, x, y)
    for bits in BITS:
        shown.bits.value = bits
        for ways in (one, other):
            right = (ways[bits].eval()(x).argmax(dim=1) == y).float().mean().item()
            assert f"<b>{right:.1%}</b>" in shown.formula.value


def test_the_networks_are_left_alone() -> None:
    one = networks()
    before = {name: value.clone() for name, value in one[2].state_dict().items()}
    one[2].train()
    staircase_slope(one, one, *images())
    assert one[2].training
    assert all(torch.equal(before[name], value) for name, value in one[2].state_dict().items())


def test_weights_are_in_ranges_of_their_grids() -> None:
    measured = weights_on(networks()[2]).view(12, 16)
    assert torch.allclose(measured.abs().amax(dim=1), torch.ones(12))  # one grid per channel, just covered
    learned = networks("learned")[2]
    layer = learned[1]
    assert torch.allclose(weights_on(learned).view(12, 16) * layer.weight_quantizer.scale, layer.weight)


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = widget()
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value
    for bits in BITS:
        for at in (shown.at.min, 0.0, shown.at.max):
            shown.set(bits=bits, at=at)
            ElementTree.fromstring(shown.picture.value)
    assert "(clipped)" in staircase_at(shown, 2, 1.7)
    assert "(clipped)" not in staircase_at(shown, 2, 1.4)


def staircase_at(shown, bits: int, at: float) -> str:
    shown.set(bits=bits, at=at)
    return shown.formula.value


def test_the_edge_presets_lie_on_both_sides_of_a_jump() -> None:
    shown, codes = widget(), []
    for name in ("Just below an edge", "Just above it"):
        shown.buttons[name].click()
        codes.append(on_stairs(shown.at.value, shown.bits.value)[0])
    assert codes == [0, 1]


def test_a_bet_comes_first() -> None:
    shown = widget(question=Question("How many?", answer=0.6))
    assert shown.body.layout.display == "none"
    shown.bet.commit()
    assert shown.body.layout.display is None


def test_it_is_small_and_quick() -> None:
    shown, times = widget(), []
    shown.bits.value = 8
    for step in range(1, 40):
        start = perf_counter()
        shown.at.value = step / 30
        times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 40_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


def test_what_does_not_fit_is_refused() -> None:
    x, y = images()
    good = networks()
    with pytest.raises(CourseError, match="same numbers of bits"):
        staircase_slope({2: good[2]}, {3: good[3]}, x, y)
    with pytest.raises(CourseError, match="same numbers of bits"):
        staircase_slope({}, {}, x, y)
    with pytest.raises(CourseError, match="40 images and 39 labels"):
        staircase_slope(good, good, x, y[:-1])
    float_network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(CourseError, match="no weight on a grid"):
        staircase_slope({2: float_network}, {2: float_network}, x, y)
