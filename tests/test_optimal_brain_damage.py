"""The experiment of lesson 04: images, orders of removal, rounds, tiny networks, and the run at paper scale."""

from __future__ import annotations

import copy

import pytest
import torch
from scipy.stats import spearmanr
from torch.nn.utils import parameters_to_vector

from course_lib.data import Split, load, monks, xor
from course_lib.errors import CourseError
from course_lib.experiments import optimal_brain_damage as lesson
from course_lib.pruning import prunable
from course_lib.pruning.obs import removals


def small_split(n: int = 60) -> Split:
    data = load("digits").train
    return lesson.as_planes(Split(data.x[:n], data.y[:n]))


@pytest.mark.parametrize("side", [8, 16, 28])
def test_digits_stand_in_the_middle_of_28_pixels(side: int) -> None:
    x = torch.rand(3, 1, side, side) + 0.1
    planes = lesson.as_planes(Split(x, torch.zeros(3))).x
    assert planes.shape == (3, 1, 28, 28)
    border = 0 if side == 28 else 6
    assert torch.equal(
        planes[:, :, border : 28 - border : 2 if side == 8 else 1, border : 28 - border : 2 if side == 8 else 1], x
    )
    assert int((planes != 0).sum()) == 3 * (28 - 2 * border) ** 2


def test_other_images_are_refused() -> None:
    with pytest.raises(CourseError, match=r"\(3, 32, 32\)"):
        lesson.as_planes(Split(torch.rand(2, 3, 32, 32), torch.zeros(2)))


def test_training_lowers_the_error_and_keeps_masks() -> None:
    split, model = small_split(), lesson.network(0)
    masks = {name: torch.rand_like(weight) > 0.3 for name, weight in prunable(model).items()}
    before = lesson.objective(model, split)
    lesson.train_(model, split, steps=15, seed=0, masks=masks)
    assert lesson.objective(model, split) < before
    assert all(not weight[~masks[name]].any() for name, weight in prunable(model).items())


def test_the_last_steps_are_short() -> None:
    """With one step of two the share is one half; the first is Adam's whole step."""
    split = small_split()
    start = lesson.network(0)
    one, two = (lesson.train_(copy.deepcopy(start), split, steps=steps, seed=0) for steps in (1, 2))
    first = (one[0].weight - start[0].weight).abs().max().item()
    assert first == pytest.approx(lesson.LEARNING, rel=1e-2)
    assert (two[0].weight - one[0].weight).abs().max().item() < 0.75 * first


def test_the_error_is_the_loss_that_is_differentiated() -> None:
    """The recursion's derivatives are those of `objective`: a central difference at an output weight agrees."""
    split, model = small_split(), lesson.network(1)
    w = model[-2].weight
    s, errors = lesson.score("recursion", model, split)["12.weight"][3, 7].item(), []
    here, step = w[3, 7].item(), 1e-2
    for move in (-step, 0, step):
        with torch.no_grad():
            w[3, 7] = here + move
        errors.append(lesson.objective(model.double(), Split(split.x.double(), split.y)))
    assert s == pytest.approx((errors[0] - 2 * errors[1] + errors[2]) / step**2 * here**2 / 2, rel=0.02)


def test_prediction_is_the_sum_of_what_goes() -> None:
    split, model = small_split(), lesson.network(0)
    scores = lesson.score("Gauss-Newton", model, split)
    flat = torch.cat([s.flatten() for s in scores.values()]).sort().values
    assert lesson.predicted_rise(scores, 0.25) == pytest.approx(float(flat[: round(0.25 * len(flat))].sum()), rel=1e-4)
    zeros = sum(int((w == 0).sum()) for w in prunable(lesson.without(model, scores, 0.25)).values())
    assert zeros == round(0.25 * len(flat))


@pytest.mark.parametrize("order", lesson.ORDERS[:3])
def test_rounds_keep_what_has_gone(order: str) -> None:
    split, model = small_split(), lesson.network(0)
    path = lesson.in_rounds(order, model, split, steps=2, seed=0, rounds=(0.3, 0.6))
    first, second = ({n: w == 0 for n, w in prunable(m).items()} for m in path)
    n = sum(gone.numel() for gone in first.values())
    assert [sum(int(gone.sum()) for gone in round_.values()) for round_ in (first, second)] == [
        round(0.3 * n),
        round(0.6 * n),
    ]
    assert all(bool(second[name][gone].all()) for name, gone in first.items())
    assert all(bool((w != 0).all()) for w in prunable(model).values())


def test_rank_correlation_is_spearmans() -> None:
    a, b = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    assert lesson.rank_correlation(a.view(5, 8), b.view(5, 8)) == pytest.approx(spearmanr(a, b).statistic, abs=1e-5)
    assert lesson.rank_correlation(a, -a) == -1


def test_xor_is_learned_and_only_surgery_keeps_it() -> None:
    table = xor()
    nets = [lesson.tiny(2, 2, seed) for seed in range(6)]
    x, y = table.x.double().expand(6, 4, 2), lesson.signed(table.y).expand(6, 4, 1)
    lesson.fit_together(nets, x, y, decay=1e-4)
    right = lambda net, weights: lesson.share_right(net, weights, table) == 1
    solved = [net for net in nets if right(net, parameters_to_vector(net.parameters()).detach())]
    assert len(solved) >= 3
    for net in solved:
        assert right(net, removals(net, table.x.double(), count=1)[1])
        assert not right(net, removals(net, table.x.double(), method="magnitude", count=1)[1])


def test_training_together_is_training_alone() -> None:
    splits = [monks(1, seed)[0] for seed in (0, 1)]
    x, y = torch.stack([s.x.double() for s in splits]), torch.stack([lesson.signed(s.y) for s in splits])
    together, alone = ([lesson.tiny(17, 3, seed) for seed in (0, 1)] for _ in range(2))
    errors = lesson.fit_together(together, x, y, decay=1e-3, steps=30)
    for k in (0, 1):
        one = lesson.fit_together(alone[k : k + 1], x[k : k + 1], y[k : k + 1], decay=1e-3, steps=30)
        torch.testing.assert_close(one, errors[k : k + 1])
    best = lesson.best_of(splits, 3, decay=1e-3, restarts=2)
    assert len(best) == 2


def test_fewest_finds_the_smallest_network_that_is_no_worse() -> None:
    table, net = xor(), lesson.tiny(2, 2, 0)
    good = parameters_to_vector(net.parameters()).detach()
    share = lesson.share_right(net, good, table)
    worse = (
        next(w for w in (good * 0 + k for k in (1, -1, 0)) if lesson.share_right(net, w, table) < share)
        if share > 0.5
        else None
    )
    path = [good, good] if worse is None else [good, worse, good, worse]
    assert lesson.fewest(path, net, table) == (1 if worse is None else 2)


def test_the_run_measures_and_reports() -> None:
    units = lesson.units("digits", trials=2, iterations=4)
    assert [unit["trial"] for unit in units] == [0, 1]
    row = lesson.measure(units[0])
    assert {"whole", "0.5 random", "0.5 recursion, predicted", "0.6 magnitude, retrained"} <= row.keys()
    assert "dB" in lesson.report([row]) and "±" in lesson.report([row, row])
