"""The widget of lesson 15: its counts are the library's, its times are measured, its parts add up."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.measure import layer_costs
from course_lib.widgets.efficient_architectures import CHANNELS, EXPANSIONS, KERNELS, block_builder, costs, parts_of

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def widget(**options):
    return block_builder(IMAGES, **{"question": False} | options)


def macs(*layers: nn.Module) -> int:
    return sum(cost.macs for cost in layer_costs(nn.Sequential(*layers), (layers[0].in_channels, 8, 8)))


@pytest.mark.parametrize("channels", [16, 64])
@pytest.mark.parametrize("kernel", [3, 5])
def test_counts_are_those_of_the_library(channels: int, kernel: int) -> None:
    conv = lambda i, o, k, **how: nn.Conv2d(i, o, k, padding=k // 2, bias=False, **how)
    filtering, mixing = conv(channels, channels, kernel, groups=channels), conv(channels, channels, 1)
    found = costs(IMAGES, channels, kernel, 0, 1)
    assert found["MACs"]["standard"] == [macs(conv(channels, channels, kernel))]
    assert found["MACs"]["block"] == [macs(filtering), macs(mixing)]
    assert found["parameters"]["block"] == [filtering.weight.numel(), mixing.weight.numel()]
    middle = 4 * channels
    inverted = conv(channels, middle, 1), conv(middle, middle, kernel, groups=middle), conv(middle, channels, 1)
    assert costs(IMAGES, channels, kernel, 0, 4)["MACs"]["block"] == [macs(layer) for layer in inverted]


def test_parts_compute_what_their_names_say() -> None:
    x = torch.rand(2, 16, 8, 8)
    for part in parts_of(16, 3, 0, 2):
        x = part(x)
    assert x.shape == (2, 16, 8, 8)
    assert [part.name for part in parts_of(16, 3, 1, 1)] == ["filter"]
    assert [part.name for part in parts_of(16, 3, 4, 1)] == ["filter", "mix 1×1"]
    assert parts_of(16, 3, 0, 2)[1].groups == 32


def test_the_shares_in_the_formula_are_those_of_the_counts() -> None:
    shown = widget()
    for groups in (1, 2, 16, 0):
        for expansion in EXPANSIONS:
            shown.set(channels=32, kernel=5, groups=groups, expansion=expansion)
            found = costs(IMAGES, 32, 5, groups, expansion)["MACs"]
            share = 100 * sum(found["block"]) / found["standard"][0]
            assert f"<b>{share:.1f} %</b> of the MACs" in shown.formula.value
            told = shown.formula.value.split(" = <b>")[0].split("= ")[-1]
            if "+" in told:
                assert 100 * eval(told.replace("²", "**2")) == pytest.approx(share, rel=1e-9)


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = widget()
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value
    for channels in (CHANNELS[0], CHANNELS[-1]):
        for kernel in (KERNELS[0], KERNELS[-1]):
            for groups in (1, 16, 0):
                shown.set(channels=channels, kernel=kernel, groups=groups, expansion=4)
                ElementTree.fromstring(shown.picture.value)
                assert not shown.alert.value


def test_the_bet_is_answered_by_the_clock() -> None:
    shown = widget(question=True)
    assert 0 < shown.bet.question.answer <= 2
    assert "13%" in shown.bet.question.text


def test_it_is_small_and_quick() -> None:
    shown, times = widget(), []
    for channels in CHANNELS * 3:
        for button in shown.buttons.values():
            start = perf_counter()
            button.click()
            shown.channels.value = channels
            times.append((perf_counter() - start) / 2)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 10_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize(
    "images", [None, torch.rand(8, 8), torch.rand(0, 1, 8, 8), torch.rand(2, 1, 64, 64), torch.ones(2, 1, 8, 8).int()]
)
def test_what_are_no_images_is_refused(images) -> None:
    with pytest.raises(CourseError, match="Expected images"):
        block_builder(images)
