"""The widget of lesson 05: its curves are those that were measured, its mask is the ticket's."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.models import mlp
from course_lib.pruning.lottery import find_tickets
from course_lib.widgets.lottery_tickets import SHOWN, pixels, ticket_ladder


@dataclass(frozen=True)
class Curves:
    steps: list[int]
    loss: Tensor
    accuracy: Tensor


def curves(seed: int, n_trials: int = 2) -> Curves:
    torch.manual_seed(seed)
    falling = torch.linspace(2.3, 0.1, 13) + 0.05 * torch.rand(n_trials, 13)
    return Curves(list(range(0, 65, 5)), falling, torch.rand(n_trials, 13))


def moved(networks, masks):
    torch.manual_seed(sum(int(mask.sum()) for mask in masks[0].values()))
    for network, mask in zip(networks, masks, strict=True):
        for name, parameter in network.named_parameters():
            parameter.data = (parameter.data + torch.randn_like(parameter)) * mask.get(name, 1)
    return curves(7)


ROUNDS = find_tickets([mlp((16, 9, 3)), mlp((16, 9, 3))], rounds=4, train=moved)
REINIT = {1: curves(1), 3: curves(3), 4: curves(4)}


def widget(**options):
    return ticket_ladder(ROUNDS, REINIT, **{"image": (4, 4)} | options)


@pytest.mark.parametrize("number", REINIT)
@pytest.mark.parametrize("trial", [0, 1])
def test_the_numbers_are_those_that_were_measured(number: int, trial: int) -> None:
    shown = widget()
    shown.set(round=number, trial=trial)
    found = ROUNDS[number]
    kept = sum(int(mask.sum()) for mask in found.masks[trial].values())
    assert f"<b>{kept}</b> of {16 * 9 + 9 * 3} weights, <b>{100 * found.density:.1f} %</b>" in shown.formula.value
    loss = REINIT[number].loss[trial]
    step = REINIT[number].steps[int((loss <= 0.5).nonzero()[0])]
    assert f"reinit {step}." in shown.alt
    assert f"reinit {loss[-1]:.3g}." in shown.alt
    shown.show.value = "validation accuracy"
    assert f"reinit {REINIT[number].accuracy[trial, -1]:.3g}." in shown.alt


def test_a_level_that_is_never_reached_is_told() -> None:
    assert "ticket over 60" in widget(level=0.01).alt


def test_pixels_are_the_share_of_the_weights_that_is_left() -> None:
    mask = torch.zeros(10, 4, dtype=torch.bool)
    mask[:5, 0], mask[0, 3] = True, True
    drawn = pixels(mask, (2, 2))
    assert [f'fill-opacity="{share:.2f}"' in drawn for share in (1.0, 0.2, 0.0)] == [True] * 3
    assert "darkest: 50 %" in drawn


def test_presets_and_every_end_of_every_control_draw() -> None:
    shown = widget()
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
    assert shown.show.value == "validation accuracy"
    for values in ({"round": 1}, {"round": 4}, {"trial": 1}, *({"show": name} for name in SHOWN)):
        shown.set(**values)
        ElementTree.fromstring(shown.picture.value)
        assert not shown.alert.value


def test_it_is_small_and_quick() -> None:
    shown, times = widget(), []
    for _ in range(10):
        for number in REINIT:
            start = perf_counter()
            shown.set(round=number)
            times.append(perf_counter() - start)
    assert median(times) < 0.1
    assert len(shown.picture.value) < 30_000
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize(
    ("rounds", "reinitialised", "image"),
    [
        (ROUNDS, {}, (4, 4)),
        (ROUNDS, {0: curves(0)}, (4, 4)),
        (ROUNDS, {9: curves(0)}, (4, 4)),
        (ROUNDS, {1: "curves"}, (4, 4)),
        (ROUNDS, {1: curves(0, n_trials=3)}, (4, 4)),
        (ROUNDS, REINIT, (5, 5)),
        (ROUNDS, REINIT, (16,)),
    ],
)
def test_bad_input(rounds, reinitialised, image) -> None:
    """Each is explained."""
    with pytest.raises(CourseError):
        ticket_ladder(rounds, reinitialised, image=image)
