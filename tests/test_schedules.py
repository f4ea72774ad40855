"""The schedules: their curves, their budgets of steps, what goes, what stays gone, and what comes back."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.experiments import pruning_schedules as experiment
from course_lib.models import mlp
from course_lib.pruning import (  # fmt: skip
    gradual,
    gradual_sparsity,
    iterative,
    one_shot,
    random_scores,
    round_sparsities,
    sparsity_of,
)

ALL = {
    "one-shot": one_shot,
    "iterative": lambda model, s, **how: iterative(model, s, rounds=4, **how),
    "gradual": lambda model, s, **how: gradual(model, s, begin=3, end=27, every=5, **how),
}


class Recorder:
    """A `train` that moves nothing, or what it is told to move, and remembers its calls."""

    def __init__(self, move=None) -> None:
        self.masks, self.steps, self.move = [], [], move

    def __call__(self, model: nn.Module, masks: dict, steps: int) -> None:
        self.masks.append({name: mask.clone() for name, mask in masks.items()})
        self.steps.append(steps)
        if self.move:
            self.move(model, masks, len(self.steps))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return mlp([6, 8, 3])


def line(values: list[float]) -> nn.Linear:
    layer = nn.Linear(len(values), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([values]))
    return layer


@pytest.mark.parametrize("exponent", [1, 3, 4.5])
def test_the_curve_starts_ends_and_never_falls(exponent: float) -> None:
    curve = [gradual_sparsity(t, initial=0.2, final=0.9, begin=10, end=40, exponent=exponent) for t in range(60)]
    assert curve[:11] == [pytest.approx(0.2)] * 11
    assert curve[40:] == [0.9] * 20
    assert all(a <= b for a, b in itertools.pairwise(curve))
    if exponent > 1:  # ever smaller cuts
        cuts = [b - a for a, b in itertools.pairwise(curve[10:41])]
        assert all(a > b for a, b in itertools.pairwise(cuts))


def test_the_curve_is_the_papers() -> None:
    """At t0 + k Δt for n updates."""
    start, every, n, low, high = 20, 7, 9, 0.1, 0.8
    for k in range(n + 1):
        paper = high + (low - high) * (1 - (start + k * every - start) / (n * every)) ** 3
        ours = gradual_sparsity(start + k * every, initial=low, final=high, begin=start, end=start + n * every)
        assert ours == pytest.approx(paper)


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_each_round_keeps_the_same_share(rounds: int) -> None:
    levels = [0.0, *round_sparsities(0.97, rounds)]
    shares = [(1 - b) / (1 - a) for a, b in itertools.pairwise(levels)]
    assert shares == pytest.approx([0.03 ** (1 / rounds)] * rounds)
    assert levels[-1] == 0.97


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_each_schedule_uses_all_steps_and_meets_the_target(name: str, sparsity: float) -> None:
    model, train = network(), Recorder()
    masks = ALL[name](model, sparsity, train=train, steps=40)
    assert sum(train.steps) == 40
    assert min(train.steps) >= 1
    total = sum(mask.numel() for mask in masks.values())
    assert sparsity_of(masks) == pytest.approx(round(sparsity * total) / total)
    for key, mask in masks.items():
        assert not dict(model.named_parameters())[key][~mask].any()


def test_the_masks_come_when_they_are_due() -> None:
    train = Recorder()
    gradual(network(), 0.8, train=train, steps=30, begin=4, end=20, every=6)
    assert train.steps == [4, 6, 6, 4, 10]  # dense; masks at 4, 10, 16 and at the end, 20
    due = [gradual_sparsity(t, final=0.8, begin=4, end=20) for t in (4, 10, 16, 20)]
    assert [sparsity_of(m) for m in train.masks[1:]] == pytest.approx([round(s * 72) / 72 for s in due])


def test_what_rounds_prune_stays_pruned() -> None:
    """Even if the train function lets pruned weights grow."""

    def revive(model: nn.Module, masks: dict, call: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(5.0)

    train = Recorder(revive)
    iterative(network(), 0.9, rounds=5, train=train, steps=10)
    for before, after in itertools.pairwise(train.masks):
        assert not any((after[name] & ~before[name]).any() for name in after)


def test_in_gradual_pruning_a_weight_waits_at_its_last_value_and_comes_back() -> None:
    """0.5 is pruned first; then 2.0 shrinks below it, so it comes back, as 0.5."""

    def shrink(model: nn.Module, masks: dict, call: int) -> None:
        with torch.no_grad():
            model.weight[0, 1] *= 0.1 if call == 2 else 1
            model.weight.mul_(masks["weight"])

    layer, train = line([3.0, 2.0, 0.5, 4.0]), Recorder(shrink)
    gradual(layer, 0.25, train=train, steps=9, begin=0, end=6, every=3)
    assert [mask["weight"].tolist()[0] for mask in train.masks] == [
        [True] * 4,
        [True, True, False, True],
        [True, False, True, True],
    ]
    assert layer.weight[0].tolist() == pytest.approx([3.0, 0.0, 0.5, 4.0])


def test_one_fixed_ranking_ends_in_the_same_masks() -> None:
    """So the control at random compares schedules, not masks."""
    ranking = lambda model: random_scores(model, seed=3)
    found = [run(network(), 0.7, train=Recorder(), steps=40, scores=ranking) for run in ALL.values()]
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gradual_sparsity(1, final=80, begin=0, end=9), "fraction|from 0 to 1"),
        (lambda: gradual_sparsity(1, final=0.8, begin=9, end=9), "begin before it ends"),
        (lambda: gradual_sparsity(1, final=0.8, begin=0, end=9, exponent=0), "exponent"),
        (lambda: round_sparsities(1.0, 3), "below 1"),
        (lambda: round_sparsities(0.5, 0), "rounds"),
        (lambda: one_shot(network(), 90, train=Recorder(), steps=3), "0.9"),
        (lambda: iterative(network(), 0.9, rounds=5, train=Recorder(), steps=4), "at least 5"),
        (lambda: gradual(network(), 0.9, train=Recorder(), steps=9, begin=0, end=10, every=2), "within the 9 steps"),
        (lambda: gradual(network(), 0.9, train=Recorder(), steps=9, begin=0, end=9, every=0), "every"),
    ],
)
def test_what_cannot_be_is_refused(call, said: str) -> None:
    with pytest.raises(CourseError, match=said):
        call()


def test_the_trainer_has_one_budget_and_keeps_zeros() -> None:
    """Asked for more than is left, it takes what is left; split calls give the same weights as one call."""
    data, seen = load("digits"), []
    whole, split = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), None
    split = copy.deepcopy(whole)
    masks = {"1.weight": torch.arange(640).view(10, 64) % 2 == 0}
    watch = lambda done, masks: seen.append(done)
    experiment.trainer(whole, data.train, steps=8)(whole, masks, 8)
    train = experiment.trainer(split, data.train, steps=8, watch=watch, watch_every=4)
    for steps in (3, 4, 9):
        train(split, masks, steps)
    assert seen == [4, 8]
    assert torch.equal(whole[1].weight, split[1].weight)
    assert not split[1].weight[~masks["1.weight"]].any()


def test_the_experiment_runs_small() -> None:
    rows = [experiment.measure(unit) for unit in experiment.units("digits", trials=2, iterations=10)]
    assert "0.98 gradual" in experiment.report(rows)
    assert "±" in experiment.report(rows)
