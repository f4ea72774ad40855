"""Removing filters: removed and masked networks compute the same, on every way channels can be coupled."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from course_lib.cli import runs
from course_lib.errors import CourseError
from course_lib.experiments import structured_pruning
from course_lib.measure import layer_costs, nonzero_count, parameter_count
from course_lib.models import small_cnn, vgg
from course_lib.pruning import magnitude_scores
from course_lib.pruning.dependencies import follow_channels
from course_lib.pruning.structured import mask_filters, remove_filters, remove_layer

SHAPE = (3, 8, 8)


def conv(inputs: int, outputs: int, kernel: int = 3, **keywords) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **keywords)


def plain() -> nn.Module:
    return nn.Sequential(
        conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), conv(16, 24), nn.PReLU(24), nn.Dropout(),
        nn.Flatten(), nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 5),
    )  # fmt: skip


class Residual(nn.Module):
    """Two blocks, the second with a projection on its shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = conv(3, 16), nn.BatchNorm2d(16)
        self.a1, self.a2, self.norm_a = conv(16, 24), conv(24, 16), nn.BatchNorm2d(16)
        self.b1, self.b2, self.shortcut = conv(16, 32), conv(32, 32), conv(16, 32, 1)
        self.head = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.norm_a(self.a2(F.relu(self.a1(x)))))
        x = F.relu(self.b2(F.relu(self.b1(x))).add(self.shortcut(x)))
        return self.head(x.mean((2, 3)))


class Depthwise(nn.Module):
    """A mobile block with a gate, and a depthwise layer with two filters for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depth, self.norm = conv(3, 24, 1), conv(24, 24, groups=24), nn.BatchNorm2d(24)
        self.squeeze, self.excite = conv(24, 8, 1), conv(8, 24, 1)
        self.twice, self.project = conv(24, 48, groups=24, bias=False), conv(48, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.depth(F.relu(self.expand(x)))))
        x = x * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = F.adaptive_avg_pool2d(self.project(F.relu(self.twice(x))), 1)
        return self.head(x.view(x.size(0), -1))


def grouped() -> nn.Module:
    return nn.Sequential(
        conv(3, 32), nn.ReLU(), conv(32, 48, groups=4), nn.BatchNorm2d(48), nn.ReLU(), conv(48, 16, groups=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip


class Concatenating(nn.Module):
    """Two branches side by side, then a dense connection, then an addition to their concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.norm = conv(3, 16), conv(3, 24, 5), nn.BatchNorm2d(40)
        self.dense, self.back, self.head = conv(40, 16), conv(56, 40), nn.Linear(40 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = F.relu(self.norm(torch.cat([self.left(x), self.right(x)], 1)))
        dense = torch.cat((both, F.relu(self.dense(both))), dim=1)
        x = F.max_pool2d(F.relu(self.back(dense)) + both, 4)
        return self.head(torch.flatten(x, 1))


NETWORKS = [plain, Residual, Depthwise, grouped, Concatenating]


def trained_looking(build) -> nn.Module:
    """Batch norms with statistics and scales of their own, so that a forgotten one is seen."""
    torch.manual_seed(0)
    model = build()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor)
    return model


def output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(x)


def batch() -> torch.Tensor:
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("round_to", [1, 8])
@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.8])
@pytest.mark.parametrize("build", NETWORKS)
def test_removed_is_masked(build, sparsity, round_to):
    model, x = trained_looking(build), batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    smaller = remove_filters(model, sparsity, example_input=x, round_to=round_to)
    masked = mask_filters(model, sparsity, example_input=x, round_to=round_to)
    assert parameter_count(smaller) < parameter_count(model) == parameter_count(masked)
    assert torch.allclose(output(smaller, x), output(masked, x), atol=1e-5)
    assert not torch.allclose(output(smaller, x), output(model, x), atol=1e-3)
    assert model.training and smaller.training and type(smaller) is type(model)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {t.data_ptr() for t in smaller.parameters()}.isdisjoint(t.data_ptr() for t in model.parameters())


@pytest.mark.parametrize("build", NETWORKS)
def test_layers_know_their_new_sizes_and_learn(build):
    model, x = trained_looking(build), batch()
    smaller = remove_filters(model, 0.5, example_input=x, round_to=1)
    for layer in smaller.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[:2] == (layer.out_channels, layer.in_channels // layer.groups)
        elif isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)
        elif isinstance(layer, nn.BatchNorm2d):
            assert {layer.num_features} == {
                len(t) for t in (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            }
    smaller(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape and p.requires_grad for p in smaller.parameters())
    again = remove_filters(smaller, 0.5, example_input=x, round_to=1)
    assert parameter_count(again) < parameter_count(smaller)
    assert output(again, x).shape == output(model, x).shape


@pytest.mark.parametrize("build", [plain, Residual, Concatenating])
def test_removed_is_what_zero_filters_give(build):
    """Masked by hand: only the filters, their biases and their batch norm are zero, no column of a later layer."""
    model, x = trained_looking(build), batch()
    name, rows = {"plain": ("0", [1, 5]), "Residual": ("a1", [0, 23]), "Concatenating": ("dense", [2, 3])}[
        build.__name__
    ]
    smaller = remove_filters(model, {name: rows}, example_input=x)
    layers = [model.get_submodule(name)] + ([model[1]] if build is plain else [])
    with torch.no_grad():
        for layer in layers:
            layer.weight[rows] = 0
            layer.bias[rows] = 0
    assert torch.allclose(output(smaller, x), output(model, x), atol=1e-5)
    assert smaller.get_submodule(name).weight.shape[0] == model.get_submodule(name).weight.shape[0] - 2


def test_coupled_filters_go_together_and_by_their_index():
    model, x = trained_looking(Residual), batch()
    smaller = remove_filters(model, {"a2": [3, 7]}, example_input=x)
    stay = [index for index in range(16) if index not in (3, 7)]
    for old, new in ((model.stem, smaller.stem), (model.norm, smaller.norm), (model.norm_a, smaller.norm_a)):
        assert torch.equal(new.bias, old.bias[stay])
    assert torch.equal(smaller.norm.running_mean, model.norm.running_mean[stay])
    assert torch.equal(smaller.norm.running_var, model.norm.running_var[stay])
    assert torch.equal(smaller.a1.weight, model.a1.weight[:, stay])
    assert torch.equal(smaller.shortcut.weight, model.shortcut.weight[:, stay])
    assert smaller.b2.weight.shape == model.b2.weight.shape


def test_a_flatten_repeats_each_channel_for_every_pixel():
    model = nn.Sequential(conv(1, 3), nn.Flatten(), nn.Linear(12, 2))
    smaller = remove_filters(model, {"0": [1]}, example_input=torch.zeros(1, 1, 2, 2))
    assert torch.equal(smaller[2].weight, model[2].weight[:, [0, 1, 2, 3, 8, 9, 10, 11]])


def test_the_weakest_filters_go():
    torch.manual_seed(0)
    model = nn.Sequential(conv(1, 16), nn.ReLU(), conv(16, 4))
    with torch.no_grad():
        model[0].weight.mul_(torch.tensor([1.0, 100.0] * 8).view(16, 1, 1, 1))
    smaller = remove_filters(model, 0.5, example_input=torch.zeros(1, 1, 4, 4))
    assert torch.equal(smaller[0].weight, model[0].weight[1::2])
    turned = {name: -score for name, score in magnitude_scores(model).items()}
    others = remove_filters(model, 0.5, example_input=torch.zeros(1, 1, 4, 4), scores=turned)
    assert torch.equal(others[0].weight, model[0].weight[::2])


@pytest.mark.parametrize(
    ("filters", "sparsity", "round_to", "left"),
    [(64, 0.45, 8, 32), (64, 0.45, 1, 35), (64, 0.5, 16, 32), (24, 0.5, 8, 16), (16, 0.99, 8, 8), (64, 0.97, 1, 2)],
)
def test_filters_kept_are_rounded(filters, sparsity, round_to, left):
    model = nn.Sequential(conv(1, filters), nn.ReLU(), conv(filters, 2))
    smaller = remove_filters(model, sparsity, example_input=torch.zeros(1, 1, 4, 4), round_to=round_to)
    assert smaller[0].out_channels == left


def test_groups_stay_equal_and_inputs_and_outputs_whole():
    x = batch()
    smaller = remove_filters(trained_looking(grouped), 0.5, example_input=x)
    assert (smaller[0].out_channels, smaller[2].groups, smaller[2].out_channels, smaller[5].groups) == (16, 4, 24, 2)
    for build in NETWORKS:
        assert output(remove_filters(build(), 0.7, example_input=x, round_to=1), x).shape == (4, 5)
    depthwise = remove_filters(trained_looking(Depthwise), 0.5, example_input=x, round_to=1)
    assert (depthwise.depth.groups, depthwise.twice.groups, depthwise.twice.out_channels) == (12, 12, 24)


def test_sparsity_zero_changes_nothing():
    model, x = trained_looking(Residual), batch()
    assert torch.equal(output(remove_filters(model, 0.0, example_input=x), x), output(model, x))


def test_removing_half_of_a_vgg_leaves_a_quarter_of_its_work():
    model = vgg("vgg11", width=1 / 4)
    x = torch.zeros(1, 3, 32, 32)
    smaller = remove_filters(model, 0.5, example_input=x)
    macs = [sum(cost.macs for cost in layer_costs(m, (3, 32, 32))) for m in (smaller, model)]
    assert 0.22 < macs[0] / macs[1] < 0.3


class Recurring(nn.Module):
    """One layer that runs twice: its filters are its own inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.loop, self.norm, self.last = conv(3, 16), conv(16, 16), nn.BatchNorm2d(16), conv(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)))
        for _ in range(2):
            x = F.relu(self.norm(self.loop(x)))
        return self.last(x)


def test_a_layer_that_runs_twice():
    model, x = trained_looking(Recurring), batch()
    smaller, masked = (f(model, 0.5, example_input=x) for f in (remove_filters, mask_filters))
    assert smaller.loop.weight.shape[:2] == (8, 8) and smaller.norm.num_features == 8
    assert torch.allclose(output(smaller, x), output(masked, x), atol=1e-5)


# --- whole layers --------------------------------------------------------------------------------------------------


def test_remove_layer_makes_it_pass_its_input_on():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)), torch.randn(3, 4)
    smaller = remove_layer(model, "1", example_input=x)
    assert torch.equal(output(smaller, x), output(nn.Sequential(model[0], model[2]), x))
    assert parameter_count(smaller) == parameter_count(model) - 20
    assert isinstance(model[1], nn.Linear) and not model[1]._forward_hooks
    assert model.training and smaller.training


# --- a batch of no examples tells the shapes ------------------------------------------------------------------------


def test_following_computes_nothing_where_it_need_not():
    assert len(follow_channels(trained_looking(Concatenating), batch()).example) == 0
    assert len(follow_channels(trained_looking(Depthwise), batch()).example) == 4  # its view needs to know the batch


def test_layers_that_take_no_empty_batch_get_the_example(monkeypatch):
    def forward(layer, x):
        if len(x) == 0:
            raise RuntimeError("empty")
        return F.relu(x)

    monkeypatch.setattr(nn.ReLU, "forward", forward)
    model, x = trained_looking(plain), batch()
    assert len(follow_channels(model, x).example) == 4
    smaller, masked = (f(model, 0.5, example_input=x) for f in (remove_filters, mask_filters))
    assert torch.allclose(output(smaller, x), output(masked, x), atol=1e-5)


class RowsAreChannels(nn.Module):
    """As many pixels as channels: with no examples (0 · 16, 16) looks like (0, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = conv(3, 16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv(x))
        return self.head(x.view(x.size(0) * x.size(1), x.size(2) * x.size(3)))


def test_an_empty_batch_is_not_mistaken():
    with pytest.raises(CourseError, match="mixes channels with other axes"):
        remove_filters(RowsAreChannels(), 0.5, example_input=torch.zeros(2, 3, 4, 4))


# --- refusals ------------------------------------------------------------------------------------------------------


class Runs(nn.Module):
    """A convolution, whatever is given in between, and a head."""

    def __init__(self, between, features: int = 16) -> None:
        super().__init__()
        self.conv, self.between, self.head = conv(3, 16), between, nn.Linear(features, 2)
        self.shift = nn.Parameter(torch.ones(1, 16, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(self, F.relu(self.conv(x))))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    return model


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (lambda m, x: x.view(4, 2, 8, 8, 8).transpose(1, 2).reshape(4, 16, 64).mean(2), "the number 2 is written"),
        (lambda m, x: x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3)), "must not branch"),
        (lambda m, x: x[:, :16].mean((2, 3)), "not known"),
        (lambda m, x: x.transpose(1, 2).mean((2, 3)), "not known"),
        (lambda m, x: F.softmax(x, 1).mean((2, 3)), "not known"),
        (lambda m, x: (x + m.shift).mean((2, 3)), "not one of the network's layers"),
        (lambda m, x: (x * x.mean(1, keepdim=True)).mean((2, 3)), "over the batch or the channels"),
        (lambda m, x: torch.cat([x, x], 2).mean((2, 3)), "another axis"),
        (lambda m, x: x.reshape(-1, 16, 64).mean(2), "the number 16 is written"),
        (lambda m, x: x.reshape(4, -1, 64).mean(2), "-1"),
    ],
)
def test_what_is_not_understood_is_refused(between, words):
    model = Runs(between)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CourseError, match=words):
        remove_filters(model, 0.5, example_input=batch())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()) and model.training


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra, self.head = nn.Linear(4, 16), nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.body(x))
        return self.head(x) + self.extra(x) if self.training else self.head(x)


X4, PAIR = torch.zeros(2, 4), nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: remove_filters(PAIR, 50, example_input=X4), "sparsity=0.5"),
        (lambda: remove_filters(PAIR, 1.0, example_input=X4), "removes every filter"),
        (lambda: remove_filters(PAIR, 0.5, example_input=X4, round_to=0), "round_to"),
        (lambda: remove_filters(PAIR, 0.5, example_input=X4, round_to=32), "round_to=1"),
        (lambda: remove_filters(PAIR, 0.5, example_input=torch.zeros(2, 5)), "must take example_input"),
        (lambda: remove_filters(PAIR, {"1": [0]}, example_input=X4), "no layer '1' with filters. It has: 0, 2"),
        (lambda: remove_filters(PAIR, {"0": [16]}, example_input=X4), "filters 0 to 15"),
        (lambda: remove_filters(PAIR, {"2": [0]}, example_input=X4), "must stay"),
        (lambda: remove_filters(PAIR, {"0": range(16)}, example_input=X4), "No filter of '0' would be left"),
        (lambda: remove_filters(PAIR, 0.5, example_input=X4, scores={}), "scores need"),
        (lambda: remove_filters(tied(), 0.5, example_input=X4), "shared with another layer"),
        (lambda: remove_filters(hooked(), 0.5, example_input=X4), "prune.remove"),
        (lambda: remove_filters(Auxiliary(), 0.5, example_input=X4), "'extra' does not run"),
        (
            lambda: remove_filters(nn.Sequential(conv(3, 16), nn.GroupNorm(4, 16)), 0.5, example_input=batch()),
            "GroupNorm may mix channels",
        ),
        (
            lambda: remove_filters(nn.Sequential(nn.Linear(4, 8)), 0.5, example_input=torch.zeros(1, 3, 4)),
            "3 dimensions",
        ),
        (lambda: remove_layer(PAIR, "0", example_input=X4), "cannot be replaced by its input"),
        (lambda: remove_layer(PAIR, "7", example_input=X4), "no layer '7'. It has: 0, 1, 2"),
        (lambda: remove_layer(Auxiliary(), "extra", example_input=X4), "does not run"),
        (lambda: remove_layer(PAIR, "1", example_input=torch.zeros(1, 3)), "does not take example_input"),
    ],
)
def test_refusals_say_what_is_wrong(run, words):
    with pytest.raises(CourseError, match=words):
        run()


def test_following_leaves_the_modes_of_all_layers():
    model = trained_looking(Residual)
    model.norm.eval()
    follow_channels(model, batch())
    assert model.training and model.norm_a.training and not model.norm.training


def test_no_compiler_is_imported():
    code = """
import sys, torch
from course_lib.models import small_cnn
from course_lib.pruning import structured, synflow
structured.remove_filters(small_cnn(), 0.5, example_input=torch.zeros(1, 1, 8, 8))
synflow.prune(small_cnn(), 2, input_shape=(1, 8, 8), iterations=2)
print([name for name in ("torch._dynamo", "sympy", "torchvision") if name in sys.modules])
"""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_small_networks_of_the_course():
    model, x = small_cnn(channels=(16, 32)), torch.rand(2, 1, 8, 8)
    smaller = remove_filters(model, 0.5, example_input=x)
    assert (smaller[0].out_channels, smaller[3].out_channels, smaller[7].in_features) == (8, 16, 64)


# --- course run 07 -------------------------------------------------------------------------------------------------


def test_the_experiment_runs_and_reports(tmp_path):
    units = structured_pruning.units("digits", trials=2, iterations=10)
    said = runs.run(structured_pruning, units, tmp_path / "results.jsonl", note=print)
    assert "dense" in said and "0.75 small, from scratch" in said and "±" in said


def test_weights_and_filters_are_compared_at_equal_size():
    data = [structured_pruning.load("digits")]
    networks = [small_cnn()]
    small = structured_pruning.smaller(networks, data, 0.5)
    masks = structured_pruning.equal_masks(networks, small)
    masked = structured_pruning.pruned(networks, masks)[0]
    assert nonzero_count(masked) == parameter_count(small[0])
    again = structured_pruning.fresh(small)[0]
    assert again[0].weight.shape == small[0][0].weight.shape and not torch.equal(again[0].weight, small[0][0].weight)
