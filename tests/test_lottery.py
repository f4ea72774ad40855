"""Tickets: what was pruned stays pruned, survivors start again from their first values, and the controls are fair."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.models import mlp
from course_lib.pruning import lottery
from course_lib.training import fit_trials


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return mlp((6, 8, 4))


def noise(networks, masks):
    """A training that moves every weight and keeps the masks."""
    generator = torch.Generator().manual_seed(sum(int(mask.sum()) for mask in masks[0].values()))
    for one, mask in zip(networks, masks, strict=True):
        for parameter in one.parameters():
            parameter.data += torch.randn(parameter.shape, generator=generator)
        lottery.apply_masks_(one, mask)
    return "curves"


def test_rounds_shrink_by_exact_counts() -> None:
    """20 % of the survivors of the hidden layer, 10 % of the output layer's, rounded, in each round."""
    history = lottery.find_tickets([network(0), network(1)], rounds=3, train=noise)
    hidden, output = 48, 32
    for found in history:
        for masks in found.masks:
            assert [int(mask.sum()) for mask in masks.values()] == [hidden, output]
        assert found.density == pytest.approx((hidden + output) / 80)
        assert found.result == "curves"
        hidden, output = hidden - round(0.2 * hidden), output - round(0.1 * output)


def test_pruned_before_is_pruned_after() -> None:
    """A weight never comes back, and trained networks have zeros where their masks say so."""
    history = lottery.find_tickets([network(0)], rounds=4, train=noise)
    for before, after in zip(history, history[1:], strict=False):
        for name, mask in after.masks[0].items():
            assert not (mask & ~before.masks[0][name]).any()
            assert not dict(after.networks[0].named_parameters())[name][~mask].any()


def test_survivors_start_from_their_first_values() -> None:
    """What train() is given are the untrained values under the mask, biases included; the originals are untouched."""
    given_to_train = []

    def spy(networks, masks):
        given_to_train.append(copy.deepcopy(networks[0].state_dict()))
        noise(networks, masks)

    first = network(0)
    before = copy.deepcopy(first.state_dict())
    history = lottery.find_tickets([first], rounds=2, train=spy)
    for state, found in zip(given_to_train, history, strict=True):
        for name, value in state.items():
            expected = before[name] * found.masks[0][name] if name in found.masks[0] else before[name]
            assert torch.equal(value, expected)
    assert all(torch.equal(first.state_dict()[name], value) for name, value in before.items())


def test_late_rewinding_starts_from_later_values() -> None:
    """Rounds after the first begin where `start` is."""
    seen = []

    def spy(networks, masks):
        seen.append(networks[0][1].bias.detach().clone())

    early, late = network(0), network(5)
    lottery.find_tickets([early], rounds=1, train=spy, start=[late])
    assert torch.equal(seen[0], early[1].bias)
    assert torch.equal(seen[1], late[1].bias)


def test_a_search_goes_on_where_it_stopped() -> None:
    """Two rounds and then two more are the same as four, and nothing is trained twice."""
    calls = []

    def spy(networks, masks):
        calls.append(1)
        return noise(networks, masks)

    networks = [network(0), network(1)]
    begun = lottery.find_tickets(networks, rounds=2, train=spy)
    resumed = lottery.find_tickets(networks, rounds=2, train=spy, earlier=begun)
    assert len(calls) == 5
    whole = lottery.find_tickets(networks, rounds=4, train=noise)
    assert len(begun) == 3
    assert [found.density for found in resumed] == [found.density for found in whole]
    for name, mask in whole[-1].masks[1].items():
        assert torch.equal(resumed[-1].masks[1][name], mask)


@given(st.integers(0, 100), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_prune_round_is_exact_and_keeps_the_largest(seed: int, rate: float, output_rate: float) -> None:
    """Exactly round(rate · survivors) go, and none that stays is smaller than one that goes."""
    one = network(seed)
    masks = lottery.prune_round(one, lottery.keep_all(one), rate=0.5, output_rate=0.5)
    smaller = lottery.prune_round(one, masks, rate=rate, output_rate=output_rate)
    for (name, mask), share in zip(masks.items(), (rate, output_rate), strict=True):
        survivors = int(mask.sum())
        assert int(smaller[name].sum()) == survivors - round(share * survivors)
        size, gone = dict(one.named_parameters())[name].abs(), mask & ~smaller[name]
        if gone.any() and smaller[name].any():
            assert size[gone].max() <= size[smaller[name]].min()


def test_controls_keep_the_counts() -> None:
    """One-shot and shuffled masks keep as many weights in every layer as the ticket."""
    history = lottery.find_tickets([network(0)], rounds=3, train=noise)
    ticket = history[-1].masks[0]
    for other in (lottery.prune_at_once(history[0].networks[0], ticket), lottery.shuffled_masks(ticket, seed=3)):
        assert {name: int(mask.sum()) for name, mask in other.items()} == {
            name: int(mask.sum()) for name, mask in ticket.items()
        }
        assert any(not torch.equal(mask, ticket[name]) for name, mask in other.items())
    again, other = lottery.shuffled_masks(ticket, seed=3), lottery.shuffled_masks(ticket, seed=4)
    assert all(torch.equal(again[name], lottery.shuffled_masks(ticket, seed=3)[name]) for name in ticket)
    assert any(not torch.equal(again[name], other[name]) for name in ticket)


def test_with_the_course_s_own_training() -> None:
    """fit_trials is a `train` callable; a ticket of the digits still learns."""
    data = load("digits")
    torch.manual_seed(0)
    networks = [mlp((64, 30, 10)) for _ in range(2)]
    train = lambda trained, masks: fit_trials(trained, data.train, steps=150, lr=5e-3, masks=masks)
    history = lottery.find_tickets(networks, rounds=2, train=train)
    assert history[-1].density < 0.7
    assert all(found.result[:, -20:].mean() < 0.5 for found in history)


@pytest.mark.parametrize(
    "call",
    [
        lambda: lottery.find_tickets([network(0)], rounds=-1, train=noise),
        lambda: lottery.find_tickets([network(0)], rounds=1, train=noise, rate=20),
        lambda: lottery.find_tickets([network(0)], rounds=1, train=noise, start=[]),
        lambda: lottery.find_tickets(
            [network(0)] * 2,
            rounds=1,
            train=noise,
            earlier=lottery.find_tickets([network(0)], rounds=0, train=noise),
        ),
        lambda: lottery.prune_round(network(0), {"elsewhere": torch.ones(2, dtype=torch.bool)}),
        lambda: lottery.find_tickets([nn.Flatten()], rounds=1, train=noise),
    ],
)
def test_bad_input(call) -> None:
    """Each is explained."""
    with pytest.raises(CourseError):
        call()


def test_the_trained_values_decide() -> None:
    """The weights that go are the smallest after training, not at the start."""
    history = lottery.find_tickets([network(0)], rounds=1, train=noise)
    trained = dict(history[0].networks[0].named_parameters())
    for name, mask in history[1].masks[0].items():
        assert trained[name][~mask].abs().max() <= trained[name][mask].abs().min()
