"""Scores at initialisation and SynFlow's iterations, against autograd, finite differences and the published algorithm."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.errors import CourseError
from course_lib.models import mlp, small_cnn, vgg
from course_lib.pruning import gradient_scores, initial_scores, prunable, synflow
from course_lib.pruning.initial_scores import grasp_scores, snip_scores, synflow_scores
from course_lib.pruning.synflow import collapsed_layers

SHAPE = (1, 8, 8)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def without_biases_(model: nn.Module) -> nn.Module:
    for layer in model.modules():
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)
    return model


def normed_cnn() -> nn.Sequential:
    """Batch norm with statistics and shifts of both signs, and biases."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 9, 3), nn.LeakyReLU(),
        nn.Dropout(), nn.Flatten(), nn.Linear(9, 4),
    )  # fmt: skip
    with torch.no_grad():
        for tensor in (model[1].weight, model[1].bias, model[1].running_mean):
            tensor.normal_()
    return model


def published(model: nn.Module, compression: float, shape, iterations: int = 100, schedule: str = "exponential"):
    """The algorithm as its authors wrote it: masks in the network, signs taken off and put back, kthvalue each time."""
    model = copy.deepcopy(model).double().eval()
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    masks = [torch.ones_like(layer.weight) for layer in layers]
    for k in range(1, iterations + 1):
        signs = {name: tensor.sign() for name, tensor in model.state_dict().items()}
        weights = [layer.weight.detach().clone() for layer in layers]
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.abs_()
            absolute = [layer.weight.clone() for layer in layers]
            for layer, mask in zip(layers, masks, strict=True):
                layer.weight.mul_(mask)
        model.zero_grad()
        model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
        scores = [(l.weight.grad * m * a).abs() for l, m, a in zip(layers, masks, absolute, strict=True)]  # noqa: E741
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.mul_(signs[name])
            for layer, weight in zip(layers, weights, strict=True):
                layer.weight.copy_(weight)
        flat = torch.cat([score.flatten() for score in scores])
        density = compression ** (-k / iterations)
        if schedule == "linear":
            density = 1 - (1 - 1 / compression) * k / iterations
        drop = round((1 - density) * len(flat))
        threshold = flat.kthvalue(drop).values if drop else torch.tensor(-1.0)
        masks = [(score > threshold).double() for score in scores]
    return [mask.bool() for mask in masks]


# --- scores --------------------------------------------------------------------------------------------------------


def test_snip_is_the_normalised_gradient_score_and_leaves_no_trace():
    torch.manual_seed(0)
    model, x, y = normed_cnn(), torch.rand(5, *SHAPE), torch.randint(4, (5,))
    model[6].p = 0.0
    model[0].weight.grad = torch.full_like(model[0].weight, 7.0)
    before = state_of(model)
    scores = snip_scores(model, x, y)
    assert same_state(model, before) and model.training  # batch norm saw a batch and forgot it
    assert bool((model[0].weight.grad == 7).all()) and model[4].weight.grad is None
    assert float(sum(score.sum() for score in scores.values())) == pytest.approx(1)
    plain = gradient_scores(model, x, y)
    total = sum(score.sum() for score in plain.values())
    for name, score in scores.items():
        assert torch.allclose(score, plain[name] / total, atol=1e-7)


def test_grasp_is_the_slope_of_the_gradients_length():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randint(3, (6,))

    def half_squared_length() -> float:
        loss = F.cross_entropy(model(x) / 5, y)
        return sum(float(g.square().sum()) for g in torch.autograd.grad(loss, list(prunable(model).values()))) / 2

    scores = grasp_scores(model, x, y, temperature=5)
    for name, weight in prunable(model).items():
        for place in ((0, 0), (1, 2), (2, 1)):
            value, values = weight[place].item(), []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    weight[place] = value * (1 + step)
                values.append(half_squared_length())
            with torch.no_grad():
                weight[place] = value
            slope = (values[0] - values[1]) / 2e-4  # = w · (Hg): what is lost, to first order, when w goes to zero
            assert scores[name][place].item() == pytest.approx(slope, rel=1e-4, abs=1e-12)


def test_grasp_equals_two_separate_gradient_passes():
    torch.manual_seed(0)
    model, x, y = small_cnn(), torch.rand(8, *SHAPE), torch.randint(10, (8,))
    weights = list(prunable(model).values())
    stopped = torch.autograd.grad(F.cross_entropy(model(x) / 200, y), weights)
    graph = torch.autograd.grad(F.cross_entropy(model(x) / 200, y), weights, create_graph=True)
    sum((a * b).sum() for a, b in zip(stopped, graph, strict=True)).backward()
    for weight, score in zip(weights, grasp_scores(model, x, y).values(), strict=True):
        assert torch.allclose(score, weight.detach() * weight.grad, rtol=1e-4, atol=1e-12)
        assert not torch.equal(score, torch.zeros_like(score))


@pytest.mark.parametrize("build", [lambda: mlp((64, 30, 20, 10)), small_cnn, lambda: vgg("vgg11", width=1 / 16)])
def test_synflow_is_conserved_through_layers(build):
    torch.manual_seed(0)
    model = build()
    without_biases_(model)
    scores = synflow_scores(
        model, input_shape=(3, 32, 32) if isinstance(model[2], nn.MaxPool2d) and len(model) > 9 else SHAPE
    )
    sums = [float(score.sum()) for score in scores.values()]
    assert len(sums) >= 3
    for total in sums:
        assert total == pytest.approx(sums[0], rel=1e-6)
    assert all(bool((score >= 0).all()) and score.dtype == torch.float64 for score in scores.values())


def test_synflow_is_conserved_at_every_hidden_unit():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))
    scores = synflow_scores(model, input_shape=(5,))
    outgoing = scores["2.weight"].sum(0)
    absolute = model[2].weight.detach().double().abs().sum(0) * model[0].bias.detach().double().abs()
    assert torch.allclose(scores["0.weight"].sum(1) + absolute, outgoing, rtol=1e-6)  # a bias is an incoming edge


def test_synflow_scores_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    first, second = (layer.weight.detach().double().abs() for layer in (model[0], model[2]))
    scores = synflow_scores(model, input_shape=(4,))
    assert torch.allclose(scores["0.weight"], second.sum(0)[:, None] * first)
    assert torch.allclose(scores["2.weight"], second * first.sum(1)[None, :])


def test_synflow_needs_float64():
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(4)])
    for layer in model:
        nn.init.constant_(layer.weight, -1e-15)
    assert all(float(score) == pytest.approx(1e-60) for score in synflow_scores(model, input_shape=(1,)).values())


# --- iterations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["exponential", "linear"])
@pytest.mark.parametrize("compression", [1.5, 3.0, 30.0])
def test_masks_are_those_of_the_published_algorithm(schedule, compression):
    torch.manual_seed(0)
    model = normed_cnn()
    before, modes = state_of(model), [layer.training for layer in model.modules()]
    masks = synflow.prune(model, compression, input_shape=SHAPE, iterations=30, schedule=schedule)
    for mask, theirs in zip(masks.values(), published(model, compression, SHAPE, 30, schedule), strict=True):
        assert mask.dtype == torch.bool and torch.equal(mask, theirs)
    assert same_state(model, before) and [layer.training for layer in model.modules()] == modes


def test_masks_are_the_published_ones_where_scores_are_sampled():
    torch.manual_seed(1)
    model = mlp((64, 150, 100, 10))
    assert list(prunable(model)) == list(masks := synflow.prune(model, 50, input_shape=SHAPE, iterations=20))
    assert all(torch.equal(a, b) for a, b in zip(masks.values(), published(model, 50, SHAPE, 20), strict=True))
    ranked = []
    keep_highest = synflow.keep_highest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synflow, "keep_highest", lambda s, f: ranked.append(sum(map(len, s))) or keep_highest(s, f))
        synflow.prune(model, 50, input_shape=SHAPE, iterations=20)
    assert ranked[0] < 0.6 * sum(mask.numel() for mask in masks.values())  # the sample spared the rest


def test_a_guess_that_is_too_low_changes_nothing(monkeypatch):
    torch.manual_seed(0)
    model = small_cnn()
    masks = synflow.prune(model, 20, input_shape=SHAPE, iterations=9)
    monkeypatch.setattr(synflow, "bound_from_sample", lambda *_: -1.0)
    again = synflow.prune(model, 20, input_shape=SHAPE, iterations=9)
    assert all(torch.equal(masks[name], again[name]) for name in masks)


@pytest.mark.parametrize("compression", [1.01, 2.5, 100, 77.3])
def test_exactly_as_many_go_as_asked(compression):
    torch.manual_seed(0)
    masks = synflow.prune(small_cnn(), compression, input_shape=SHAPE, iterations=7)
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int((~mask).sum()) for mask in masks.values()) == round((1 - 1 / compression) * total)


def test_a_compression_that_removes_nothing_is_warned_of():
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="removes none of the 24 weights"):
        masks = synflow.prune(mlp((4, 4, 2)), 1, input_shape=(4,), iterations=3)
    assert all(bool(mask.all()) for mask in masks.values())


def test_the_masks_of_every_iteration_can_be_watched():
    torch.manual_seed(0)
    model, seen = mlp((64, 20, 10)), []
    count = lambda masks: sum(int(mask.sum()) for mask in masks.values())
    masks = synflow.prune(
        model, 16, input_shape=SHAPE, iterations=4, after_iteration=lambda k, now: seen.append((k, count(now)))
    )
    assert seen == [(1, 740), (2, 370), (3, 185), (4, 92)]
    assert count(masks) == 92 and all(mask.shape == prunable(model)[name].shape for name, mask in masks.items())


def test_equal_scores_drop_no_more_than_asked():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    for layer in model:
        nn.init.ones_(layer.weight)
    masks = synflow.prune(model, 4, input_shape=(4,), iterations=5)
    assert sum(int(mask.sum()) for mask in masks.values()) == 8


def test_the_maximal_compression_is_reached_without_collapse_and_one_shot_collapses():
    torch.manual_seed(0)
    model = without_biases_(vgg("vgg11", width=1 / 8))
    sizes = [weight.numel() for weight in prunable(model).values()]
    shape = (3, 32, 32)
    most = sum(sizes) / len(sizes)
    masks = synflow.prune(model, most, input_shape=shape)
    assert sum(int(mask.sum()) for mask in masks.values()) == len(sizes)
    assert collapsed_layers(masks) == []
    assert collapsed_layers(synflow.prune(model, most / 4, input_shape=shape, iterations=1)) != []


def test_what_went_never_comes_back_even_when_the_flow_has_died():
    torch.manual_seed(0)
    model, seen = mlp((64, 20, 20, 10)), []
    drop_lowest_ = synflow.drop_lowest_

    def spy(weights, masks, scores, drop, left):
        before = [mask.clone() for mask in masks]
        drop_lowest_(weights, masks, scores, drop, left)
        assert all(bool((mask <= old).all()) for mask, old in zip(masks, before, strict=True))
        assert all(bool((weight[~mask] == 0).all()) for weight, mask in zip(weights, masks, strict=True))
        assert sum(int(mask.sum()) for mask in masks) == left - drop
        seen.append(left - drop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synflow, "drop_lowest_", spy)
        synflow.prune(model, 600, input_shape=SHAPE, iterations=2)
    assert len(seen) == 2


def test_an_error_midway_leaves_the_model_alone(monkeypatch):
    torch.manual_seed(0)
    model = normed_cnn()
    before = state_of(model)
    monkeypatch.setattr(initial_scores, "flow_gradients", lambda *_: 1 / 0)
    monkeypatch.setattr(synflow, "flow_gradients", lambda *_: 1 / 0)
    for call in (lambda: synflow.prune(model, 2, input_shape=SHAPE), lambda: synflow_scores(model, input_shape=SHAPE)):
        with pytest.raises(ZeroDivisionError):
            call()
        assert same_state(model, before) and model.training


# --- refusals ------------------------------------------------------------------------------------------------------


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x))


def test_a_hidden_activation_that_is_not_homogeneous_is_warned_of():
    with pytest.warns(UserWarning, match="not homogeneous"):
        synflow_scores(Squashed(), input_shape=(3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        synflow_scores(normed_cnn(), input_shape=SHAPE)


def overflowing() -> nn.Module:
    model = nn.Sequential(*[nn.Linear(1, 1, bias=False) for _ in range(9)])
    for layer in model:
        nn.init.constant_(layer.weight, 1e38)
    return model


def silent() -> nn.Module:
    layer = nn.Linear(3, 2, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


X, Y = torch.ones(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("run", "words"),
    [
        *[
            (lambda kind=kind: synflow_scores(nn.Sequential(nn.Linear(3, 3), kind()), input_shape=(3,)), kind.__name__)
            for kind in (nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ReLU6, nn.Softmax)
        ],
        (lambda: synflow_scores(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), input_shape=(3,)), "not homogeneous"),
        (lambda: synflow_scores(nn.Linear(3, 2), input_shape=(4,)), "does not go through"),
        (lambda: synflow_scores(nn.Linear(3, 2), input_shape=(0,)), "at least 1"),
        (lambda: synflow_scores(overflowing(), input_shape=(1,)), "is inf"),
        (lambda: synflow_scores(silent(), input_shape=(3,)), "is 0.0"),
        (lambda: synflow.prune(nn.Linear(3, 2), 0.1, input_shape=(3,)), "pass compression=10"),
        (lambda: synflow.prune(nn.Linear(3, 2), "10", input_shape=(3,)), "at least 1"),
        (lambda: synflow.prune(nn.Linear(3, 2), float("nan"), input_shape=(3,)), "at least 1"),
        (lambda: synflow.prune(mlp((4, 5, 4)), 30, input_shape=(4,)), r"40 / 2 = 20"),
        (lambda: synflow.prune(nn.Linear(3, 2), 2, input_shape=(3,), iterations=0), "iterations"),
        (lambda: synflow.prune(nn.Linear(3, 2), 2, input_shape=(3,), schedule="cubic"), "'exponential' or 'linear'"),
        (lambda: snip_scores(nn.Linear(3, 2), 0 * X, Y), "all zero"),
        (lambda: grasp_scores(nn.Linear(3, 2), X, Y, temperature=0), "above 0"),
    ],
)
def test_refusals_say_what_is_wrong(run, words):
    with pytest.raises(CourseError, match=words):
        run()


def test_collapsed_layers_names_the_empty_ones():
    masks = {"a": torch.tensor([False, False]), "b": torch.tensor([[True, False]]), "c": torch.zeros(2, 2).bool()}
    assert collapsed_layers(masks) == ["a", "c"]
