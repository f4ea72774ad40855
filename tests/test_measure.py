"""Counts against torch's own counter; bytes, clocks and energy against sums done by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib.errors import CourseError
from course_lib.measure import (
    PICOJOULES,
    compression_ratio,
    energy_pj,
    latency,
    layer_costs,
    nonzero_count,
    parameter_count,
    saved_bytes,
    stored_bytes,
    theoretical_speedup,
)
from course_lib.models import empty, lenet_5, mlp, small_cnn, vgg


def macs(model: nn.Module, shape) -> int:
    return sum(cost.macs for cost in layer_costs(model, shape))


def macs_by_torch(model: nn.Module, shape) -> int:
    """Half the floating-point operations that torch's dispatcher sees for one example."""
    device = next(model.parameters()).device
    was = [layer.training for layer in model.modules()]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.empty(1, *shape, device=device))
    for layer, training in zip(model.modules(), was, strict=True):
        layer.training = training
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet18", 1_814_073_344), ("vgg16", 15_470_264_320), ("mobilenet_v2", 300_774_272), ("squeezenet1_0", None)],
)
def test_torchvision_networks_cost_what_torch_counts(name, published):
    import torchvision

    model = empty(getattr(torchvision.models, name))
    ours = macs(model, (3, 224, 224))
    assert ours == macs_by_torch(model, (3, 224, 224))
    assert published is None or ours == published
    assert model.training
    assert all(parameter.is_meta for parameter in model.parameters())


class Sequence(nn.Module):
    """A linear layer on every element of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).mean(dim=1)


class ByHandReshape(nn.Module):
    """`x.view(len(x), -1)`, which a batch of no examples cannot answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv2d(2, 3, 3), nn.Linear(3 * 6 * 6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        return self.layer(x.view(len(x), -1))


MODELS = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (4, 11)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), (2, 4, 5, 6)),
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4), (8, 9, 7)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 5, groups=8, padding=2), (8, 9, 7)),
    "dilated and strided": (lambda: nn.Conv2d(3, 4, 3, dilation=2, stride=2, padding=1), (3, 13, 10)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2), (6, 5, 4)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), (6, 5, 4)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(3, 2, 4), (3, 9)),
    "sequence": (Sequence, (9, 5)),
    "view": (ByHandReshape, (2, 8, 8)),
    "batch norm": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (1, 8, 8)),
    "mlp": (lambda: mlp((64, 30, 10)), (1, 8, 8)),
    "lenet_5": (lenet_5, (1, 28, 28)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer_costs_what_torch_counts(name):
    build, shape = MODELS[name]
    model = build()
    assert macs(model, shape) == macs_by_torch(model, shape) > 0


def test_a_layer_in_full():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
    conv, norm, linear = layer_costs(model, (3, 10, 10))
    assert (conv.name, conv.parameters, conv.macs, conv.activation_bytes) == ("0", 3 * 8 * 9 + 8, 27 * 800, 4 * 800)
    assert (norm.name, norm.parameters, norm.macs) == ("1", 16, 0)
    assert (linear.name, linear.parameters, linear.macs, linear.activation_bytes) == ("4", 1602, 1600, 8)
    assert sum(cost.parameters for cost in (conv, norm, linear)) == parameter_count(model)


@pytest.mark.parametrize("build", [ByHandReshape, lambda: small_cnn((2, 8, 8))])
def test_counting_leaves_the_model_as_it_was(build):
    model = nn.Sequential(build(), nn.BatchNorm1d(4 if build is ByHandReshape else 10))
    model.train()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layer_costs(model, (2, 8, 8))
    with pytest.raises(CourseError):
        layer_costs(model, (5, 8, 8))
    assert (model.training, model[0].training, model[1].training) == (True, True, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(not layer._forward_hooks for layer in model.modules())
    assert all(parameter.grad is None and not parameter.is_meta for parameter in model.parameters())


def test_a_layer_that_runs_twice_costs_twice():
    layer = nn.Linear(4, 4)
    assert macs(nn.Sequential(layer, nn.ReLU(), layer), (4,)) == 32
    other = nn.Linear(4, 4)
    other.weight = layer.weight
    assert macs(nn.Sequential(layer, nn.ReLU(), other), (4,)) == 32


def test_parameters_outside_the_layers_are_warned_of():
    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = nn.Linear(3, 3), nn.Parameter(torch.zeros(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) @ self.table

    with pytest.warns(UserWarning, match="MACs are too low: table"):
        assert macs(Loose(), (3,)) == 9
    assert macs_by_torch(Loose(), (3,)) == 18  # the counter of torch sees the product, layers do not


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (64,), (1, 2, 2), 8, ()])
def test_a_wrong_input_shape_is_explained(shape):
    with pytest.raises(CourseError, match="does not go through this network(.|\n)*without the batch"):
        layer_costs(small_cnn(), shape)


def test_ratios_of_masked_and_of_smaller_networks():
    torch.manual_seed(0)
    dense, masked, shrunk = mlp((64, 40, 10)), mlp((64, 40, 10)), mlp((64, 20, 10))
    with torch.no_grad():
        masked[1].weight[:20] = 0
        masked[1].bias[:20] = 0
        masked[3].weight[:, :20] = 0
    assert parameter_count(masked) == parameter_count(dense) == 64 * 40 + 40 + 40 * 10 + 10
    assert nonzero_count(masked) == nonzero_count(shrunk) == 64 * 20 + 20 + 20 * 10 + 10
    assert compression_ratio(dense, masked) == compression_ratio(dense, shrunk) == 3010 / 1510
    assert theoretical_speedup(dense, masked, (1, 8, 8)) == theoretical_speedup(dense, shrunk, (1, 8, 8)) == 2.0
    assert theoretical_speedup(dense, dense, (1, 8, 8)) == compression_ratio(dense, dense) == 1.0


def test_speedup_weighs_layers_by_their_work_not_their_weights():
    dense, masked = small_cnn(), small_cnn()
    with torch.no_grad():
        masked[0].weight.zero_()  # 144 of 6,032 weights, but 9,216 of 84,224 MACs
    masked[0].weight.data[0, 0, 0, 0] = 1.0
    costs = [cost.macs for cost in layer_costs(dense, (1, 8, 8))]
    assert theoretical_speedup(dense, masked, (1, 8, 8)) == pytest.approx(
        sum(costs) / (sum(costs[1:]) + costs[0] / 144)
    )


def test_nothing_left_is_refused():
    dense, gone = nn.Linear(4, 2), nn.Linear(4, 2)
    with torch.no_grad():
        gone.weight.zero_()
    with pytest.raises(CourseError, match="no multiplication is left"):
        theoretical_speedup(dense, gone, (4,))
    gone.bias.data.zero_()
    with pytest.raises(CourseError, match="no weight that is not zero"):
        compression_ratio(dense, gone)


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_a_file_holds_every_number_once():
    assert 0 <= stored_bytes(nn.Linear(100, 10)) - 4040 < 200
    zeros = nn.Linear(100, 10)
    nn.init.zeros_(zeros.weight)
    assert stored_bytes(zeros) == stored_bytes(nn.Linear(100, 10))
    assert 0 <= stored_bytes(nn.Linear(100, 10).half()) - 2020 < 200
    norm = nn.BatchNorm1d(50)  # weight, bias, mean, variance, and a counter of 8 bytes
    assert 0 <= stored_bytes(norm) - (4 * 200 + 8) < 500
    tied = nn.Sequential(nn.Linear(50, 50, bias=False), nn.Linear(50, 50, bias=False))
    tied[1].weight = tied[0].weight
    assert 0 <= stored_bytes(tied) - 4 * 2500 < 200


def test_numbers_that_are_not_numbers_are_refused():
    broken = nn.Linear(2, 2)
    broken.weight.data[0, 0] = torch.nan
    with pytest.raises(CourseError, match="weight back as it was: is there a NaN"):
        stored_bytes(broken)
    with pytest.raises(CourseError, match="built empty"):
        stored_bytes(empty(vgg))


def test_memory_for_backward_counts_each_storage_once():
    x = torch.ones(1000, requires_grad=True)
    assert saved_bytes(lambda: x + 1) == 0
    assert saved_bytes(lambda: x * x) == 4000  # x is kept twice, in one storage
    assert saved_bytes(lambda: x.exp().view(10, 100).sin().sum()) == 8000 - 4000  # exp's result is also sin's input
    assert saved_bytes(lambda: (x.view(10, 100).sin(), x.sin())) == 4000
    with torch.no_grad():
        assert saved_bytes(lambda: x.exp()) == 0


def test_memory_for_backward_of_a_network():
    batch, model = torch.ones(32, 64), nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    weights = 4 * 100 * 10  # the second weight is needed for the gradient of its input
    assert saved_bytes(lambda: model(batch)) == weights + 4 * 32 * (64 + 100)


# --- clocks and energy ---------------------------------------------------------------------------------------------


class FakeClock:
    """A clock that only calls move, by the given seconds."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.seconds, self.calls = 0.0, iter(seconds), 0

    def work(self) -> None:
        self.calls += 1
        self.now += next(self.seconds)

    def __call__(self) -> float:
        return self.now


def test_latency_is_the_median_and_forgives_an_outlier():
    clock = FakeClock(*[9.0] * 3, *[0.001, 0.002, 0.003, 0.004, 100.0])
    took = latency(clock.work, runs=5, warmup=3, clock=clock)
    assert clock.calls == 8
    assert took.median_ms == pytest.approx(3.0)
    steady = FakeClock(*itertools.chain([5.0] * 5, [0.25] * 30))
    took = latency(steady.work, clock=steady)
    assert (took.median_ms, took.iqr_ms) == (pytest.approx(250.0), pytest.approx(0.0, abs=1e-9))
    assert str(took).startswith("250 ms")


def test_spread_is_the_middle_half():
    clock = FakeClock(*[k / 1000 for k in range(1, 12)])
    assert latency(clock.work, runs=11, warmup=0, clock=clock).iqr_ms == pytest.approx(6.0)  # quartiles 3 and 9


@pytest.mark.parametrize("keywords", [{"runs": 3}, {"runs": 2.5}, {"warmup": -1}])
def test_latency_needs_enough_runs(keywords):
    with pytest.raises(CourseError, match=f"{next(iter(keywords))} must be a whole number of at least"):
        latency(lambda: None, **keywords)


def test_energy_is_the_sum_of_its_parts():
    assert energy_pj(1) == pytest.approx(3.7 + 0.9)
    assert energy_pj(10, number="int8") == pytest.approx(10 * (0.2 + 0.1))
    assert energy_pj(10, number="float16") == pytest.approx(10 * 1.5)
    assert energy_pj(0, sram_bytes=8, dram_bytes=4) == pytest.approx(2 * 5 + 640)
    assert PICOJOULES["32 bits from DRAM"] / PICOJOULES["32 bits from SRAM"] == 128  # Han et al. 2015


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"macs": -1}, "macs counts something"),
        ({"macs": 1, "dram_bytes": -4}, "dram_bytes"),
        ({"macs": 1, "number": "int4"}, "'float32' or"),
    ],
)
def test_energy_refuses(keywords, words):
    with pytest.raises(CourseError, match=words):
        energy_pj(**keywords)
