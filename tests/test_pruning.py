"""Scores, selection and masks, against sorting, autograd and torch's own pruning."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from course_lib.errors import CourseError
from course_lib.models import small_cnn
from course_lib.pruning import (
    activity_scores,
    apply_masks_,
    gradient_scores,
    magnitude_scores,
    masks_from_scores,
    prunable,
    random_scores,
    selection,
    sparsity_of,
)
from course_lib.pruning.masks import GROUP_DIMS

QUICK = settings(deadline=None, max_examples=60)
AWKWARD = [0.0, -0.0, 1.0, 1.0, -1.0, -2.5, 1e-45, -1e-45, 1e-40, 2e38, -2e38]


def numbers(width: int = 32) -> st.SearchStrategy[float]:
    """Finite floats, every other one from a handful, so that ties abound."""
    return st.sampled_from([float(np.float32(number)) for number in AWKWARD]) | st.floats(
        -(2.0**100), 2.0**100, width=width
    )


@st.composite
def score_tables(draw, elements=None) -> dict[str, torch.Tensor]:
    """One to four tensors of up to four dimensions, float32 or float64, or both."""
    table = {}
    for name in draw(st.sets(st.sampled_from("abcd"), min_size=1)):
        width = draw(st.sampled_from([32, 64]))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=5))
        array = draw(hnp.arrays(f"float{width}", shape, elements=numbers(width) if elements is None else elements))
        table[name] = torch.from_numpy(np.array(array))
    return table


def lowest_by_stable_sort(tensors: list[torch.Tensor], drop: int) -> np.ndarray:
    """Keep-flags after dropping the `drop` lowest of all numbers; of equals the first go."""
    flat = np.concatenate([tensor.numpy().astype("float64").reshape(-1) for tensor in tensors])
    keep = np.ones(len(flat), dtype=bool)
    keep[np.argsort(flat, kind="stable")[:drop]] = False
    return keep


def joined(tensors) -> np.ndarray:
    return np.concatenate([tensor.numpy().reshape(-1) for tensor in tensors])


@QUICK
@given(score_tables(), st.floats(0, 1))
def test_global_masks_drop_the_lowest_by_rank_and_of_equals_the_first(scores, sparsity):
    masks = masks_from_scores(scores, sparsity)
    n = sum(score.numel() for score in scores.values())
    assert list(masks) == list(scores)
    assert all(mask.dtype == torch.bool and mask.shape == scores[name].shape for name, mask in masks.items())
    np.testing.assert_array_equal(
        joined(masks.values()), lowest_by_stable_sort(list(scores.values()), round(sparsity * n))
    )


@QUICK
@given(score_tables(), st.floats(0, 1))
def test_masks_by_layer_drop_their_share_in_every_layer(scores, sparsity):
    for name, mask in masks_from_scores(scores, sparsity, scope="layer").items():
        drop = round(sparsity * mask.numel())
        np.testing.assert_array_equal(mask.numpy().reshape(-1), lowest_by_stable_sort([scores[name]], drop))


@settings(deadline=None, max_examples=80)
@given(
    score_tables(st.integers(-3, 3)),
    st.floats(0, 1),
    st.sampled_from(sorted(GROUP_DIMS)),
    st.sampled_from(["global", "layer"]),
)
def test_groups_go_or_stay_together_and_exactly_as_many_as_asked(scores, sparsity, granularity, scope):
    masks = masks_from_scores(scores, sparsity, scope=scope, granularity=granularity)
    dims = GROUP_DIMS[granularity]
    groups = {name: score.reshape(*score.shape[:dims], -1).double().mean(-1) for name, score in scores.items()}
    kept = {}
    for name, mask in masks.items():
        together = mask.reshape(*mask.shape[:dims], -1)
        assert bool((together.all(-1) == together.any(-1)).all())
        kept[name] = together.any(-1)
    for names in [list(scores)] if scope == "global" else [[name] for name in scores]:
        n = sum(groups[name].numel() for name in names)
        keep = torch.from_numpy(joined(kept[name] for name in names))
        means = torch.from_numpy(joined(groups[name] for name in names))
        assert int((~keep).sum()) == round(sparsity * n)
        if 0 < keep.sum() < n:
            assert means[~keep].max() <= means[keep].min() + 1e-6


def test_equal_scores_in_two_layers_go_first_layer_first():
    masks = masks_from_scores({"a": torch.ones(2), "b": torch.ones(3)}, 0.6)
    assert [mask.tolist() for mask in masks.values()] == [[False, False], [False, True, True]]


def test_scores_in_any_memory_layout_and_of_any_kind():
    score = torch.ones(3, 4).t()
    assert int(masks_from_scores({"w": score}, 0.5)["w"].sum()) == 6
    image = torch.ones(2, 3, 3, 3).to(memory_format=torch.channels_last)
    assert int(masks_from_scores({"w": image}, 1 / 3)["w"].sum()) == 36
    whole = torch.tensor([[3, 1], [2, 2]])
    assert masks_from_scores({"w": whole}, 0.25)["w"].tolist() == [[True, False], [True, True]]
    assert masks_from_scores({"w": whole}, 0.5, granularity="filter")["w"].tolist() == [[False, False], [True, True]]
    half = torch.tensor([1.0, 1.5, -2.0, 0.0], dtype=torch.bfloat16)
    assert masks_from_scores({"w": half}, 0.5)["w"].tolist() == [True, True, False, False]


def test_float32_and_float64_scores_rank_together_without_rounding():
    below, above = torch.tensor([1.0]), torch.tensor([1 + 1e-12], dtype=torch.float64)
    masks = masks_from_scores({"above": above, "below": below}, 0.5)
    assert (masks["above"].item(), masks["below"].item()) == (True, False)
    rounded_up = torch.tensor([1.0000001]).double() - 1e-9  # rounds to the float32 above it
    masks = masks_from_scores({"a": torch.tensor([1.0000001]), "b": rounded_up, "c": rounded_up}, 1 / 3)
    assert [mask.item() for mask in masks.values()] == [True, False, True]


@QUICK
@given(score_tables(), st.data())
def test_kth_smallest_is_what_partition_finds_across_chunks(tables, data):
    tensors = list(tables.values())
    flat = joined(tensor.double() for tensor in tensors)
    k = data.draw(st.integers(1, len(flat)))
    with mock.patch.object(selection, "CHUNK", 7):
        found = selection.kth_smallest(tensors, k)
    assert found.item() == np.partition(flat, k - 1)[k - 1]


def test_kth_smallest_of_more_numbers_than_one_chunk():
    torch.manual_seed(0)
    tensors = [torch.randn(selection.CHUNK + 12_345), torch.randn(999)]
    flat = joined(tensors)
    for k in (1, 2, 500_000, len(flat)):
        assert selection.kth_smallest(tensors, k).item() == np.partition(flat, k - 1)[k - 1]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.987])
def test_without_ties_the_masks_are_those_of_torch(sparsity):
    torch.manual_seed(0)
    model = small_cnn()
    order = torch.randperm(sum(weight.numel() for weight in prunable(model).values())) + 1.0
    with torch.no_grad():
        for weight, values in zip(
            prunable(model).values(), order.split([w.numel() for w in prunable(model).values()]), strict=True
        ):
            weight.copy_(values.view_as(weight) * torch.randn_like(weight).sign())
    ours = masks_from_scores(magnitude_scores(model), sparsity)
    layers = [(layer, "weight") for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=sparsity)
    for (layer, _), mask in zip(layers, ours.values(), strict=True):
        assert torch.equal(layer.weight_mask.bool(), mask)


# --- scores --------------------------------------------------------------------------------------------------------


def test_magnitudes_random_numbers_and_what_is_prunable():
    model = small_cnn()
    assert list(prunable(model)) == ["0.weight", "3.weight", "7.weight"]
    for name, score in magnitude_scores(model).items():
        weight = model.get_parameter(name)
        assert not score.requires_grad
        np.testing.assert_array_equal(score.numpy(), np.abs(weight.detach().numpy()))
    first, again, other = (random_scores(model, seed=seed)["0.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == model[0].weight.shape
    assert 0 <= first.min() < first.max() < 1


def test_gradient_scores_by_hand_and_leave_grad_alone():
    torch.manual_seed(0)
    model, x, y = nn.Linear(5, 3), torch.randn(7, 5), torch.randint(3, (7,))
    model.weight.grad = torch.full_like(model.weight, 7.0)
    score = gradient_scores(model, x, y)["weight"]
    wrong = (model(x).softmax(1) - F.one_hot(y, 3)).detach()  # (batch, out): the derivative of the loss by the logits
    assert torch.allclose(score, (model.weight.detach() * (wrong.T @ x) / 7).abs(), atol=1e-7)
    assert bool((model.weight.grad == 7).all())
    assert model.bias.grad is None


def test_activity_scores_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
    x = torch.tensor([[[[1.0, 2.0], [-1.0, 0.0]]], [[[1.0, 1.0], [1.0, -3.0]]]])  # 5 positive, 2 negative, 1 zero
    scores = activity_scores(model, x)
    assert scores["0.weight"].flatten().tolist() == [5 / 8, 2 / 8]
    assert bool((scores["3.weight"] == 1).all())
    assert all(not layer._forward_hooks for layer in model.modules())


def test_activity_of_linear_layers_on_sequences():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    x = torch.tensor([[[1.0], [2.0], [-1.0], [3.0]]])  # (batch 1, length 4, 1)
    assert activity_scores(model, x)["0.weight"].flatten().tolist() == [3 / 4, 1 / 4]


class Shared(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


def test_a_shared_weight_is_scored_and_pruned_once():
    torch.manual_seed(0)
    model, x, y = Shared(), torch.randn(6, 4), torch.randint(4, (6,))
    for scores in (
        magnitude_scores(model),
        random_scores(model),
        gradient_scores(model, x, y),
        activity_scores(model, x),
    ):
        assert list(scores) == ["first.weight"]
    F.cross_entropy(model(x), y).backward()
    by_autograd = (model.first.weight * model.first.weight.grad).abs()
    assert torch.allclose(gradient_scores(model, x, y)["first.weight"], by_autograd)
    apply_masks_(model, masks_from_scores(magnitude_scores(model), 0.75))
    assert int(torch.count_nonzero(model.second.weight)) == 4


# --- masks in force ------------------------------------------------------------------------------------------------


def test_masks_zero_what_they_say_and_nothing_else():
    torch.manual_seed(0)
    model = small_cnn()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    masks = masks_from_scores(magnitude_scores(model), 0.8)
    assert apply_masks_(model, masks) is model
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert torch.equal(parameter, before[name] * masks.get(name, 1))
    n = sum(mask.numel() for mask in masks.values())
    assert math.isclose(sparsity_of(masks), round(0.8 * n) / n)
    finer = masks_from_scores(magnitude_scores(model), 0.9)
    assert all(bool((finer[name] <= mask).all()) for name, mask in masks.items())  # what was pruned stays pruned


# --- refusals ------------------------------------------------------------------------------------------------------

ONE = {"w": torch.ones(4)}


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: masks_from_scores(ONE, 90), "sparsity=0.9"),
        (lambda: masks_from_scores(ONE, -0.1), "from 0 to 1, but you passed -0.1"),
        (lambda: masks_from_scores(ONE, float("nan")), "from 0 to 1, but you passed nan"),
        (lambda: masks_from_scores(ONE, True), "a number from 0 to 1"),
        (lambda: masks_from_scores(ONE, "0.9"), "a number from 0 to 1"),
        (lambda: masks_from_scores({}, 0.5), "There are no scores"),
        (lambda: masks_from_scores({"w": torch.tensor([1.0, math.nan])}, 0.5), "1 of the 2 scores of 'w' are NaN"),
        (lambda: masks_from_scores({"w": torch.tensor([math.inf, -math.inf])}, 0.5), "2 of the 2 scores of 'w'"),
        (lambda: masks_from_scores(ONE, 0.5, scope="local"), "scope must be 'global' or 'layer'"),
        (lambda: masks_from_scores(ONE, 0.5, granularity="row"), "granularity must be 'weight'"),
        (lambda: prunable(nn.ReLU()), "ReLU has no linear or convolutional layer"),
        (lambda: magnitude_scores(nn.BatchNorm2d(3)), "nothing to prune"),
        (
            lambda: apply_masks_(nn.Linear(2, 1), {"wieght": torch.ones(1, 2).bool()}),
            "no parameter 'wieght'. It has: weight, bias",
        ),
        (
            lambda: apply_masks_(nn.Linear(2, 1), {"weight": torch.ones(2, 1).bool()}),
            r"shape \(2, 1\), the parameter \(1, 2\)",
        ),
        (lambda: apply_masks_(nn.Linear(2, 1), {"weight": torch.ones(1, 2)}), "not bool"),
        (lambda: sparsity_of({}), "cover no weight"),
    ],
)
def test_refusals_say_what_is_wrong(run, words):
    with pytest.raises(CourseError, match=words):
        run()


def test_a_layer_that_torch_has_pruned_is_refused():
    layer = nn.Linear(3, 2)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    with pytest.raises(CourseError, match="prune.remove"):
        magnitude_scores(layer)


def test_large_finite_scores_are_no_infinity():
    scores = {"w": torch.tensor([3e38, 3e38, 1.0, -3e38])}  # their sum is infinite
    assert masks_from_scores(scores, 0.5)["w"].tolist() == [True, True, False, False]
