"""Straight-through gradients, layers on a grid, training them, freezing, and coming back."""

import math

import pytest
import torch
from torch import nn

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.models import lenet_300_100
from course_lib.quantization import QParams, choose_qparams, fake_quantize
from course_lib.quantization.folding import fold_batch_norm
from course_lib.quantization.post_training import post_training
from course_lib.quantization.qat import convert, freeze_batch_norm_, freeze_ranges_, prepare
from course_lib.quantization.quantizers import ActivationQuantizer, LearnedQuantizer
from course_lib.quantization.straight_through import fake_quantize_learned, fake_quantize_straight_through
from course_lib.training import evaluate, fit


@pytest.mark.parametrize(("symmetric", "axis"), [(False, None), (True, None), (True, 0), (False, 1)])
def test_forward_is_fake_quantize_and_backward_is_torchs(symmetric, axis):
    x = torch.randn(6, 5).requires_grad_()
    grid = choose_qparams(x.detach() * 0.5, 3, symmetric=symmetric, axis=axis)  # so that some values are clipped
    out = fake_quantize_straight_through(x, grid)
    assert torch.allclose(out, fake_quantize(x.detach(), grid), atol=1e-6)
    gradient = torch.randn(6, 5)
    out.backward(gradient)
    axis = 0 if axis is None else axis
    scale, zero = (t.expand(x.shape[axis]).contiguous() if t.dim() == 0 else t for t in (grid.scale, grid.zero_point))
    twin = x.detach().clone().requires_grad_()
    torch.fake_quantize_per_channel_affine(twin, scale, zero, axis, grid.lowest, grid.highest).backward(gradient)
    assert torch.allclose(x.grad, twin.grad) and 0 < (x.grad == 0).sum() < x.numel()


def test_ties_and_both_ends_are_torchs_bit_for_bit():
    x = torch.arange(-24, 24) / 8  # with steps of 0.5 every fourth value lies in the middle between two grid points
    grid = QParams(torch.tensor(0.5), torch.tensor(2, dtype=torch.int32), bits=3, symmetric=False)
    ours, twin = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, wanted = fake_quantize_straight_through(ours, grid), torch.fake_quantize_per_tensor_affine(twin, 0.5, 2, 0, 7)
    out.sum().backward(), wanted.sum().backward()
    assert torch.equal(out, wanted) and torch.equal(ours.grad, twin.grad)


@pytest.mark.parametrize("axis", [None, 0])
def test_backward_keeps_the_input_and_nothing_else(axis):
    x, kept = torch.randn(6, 5).requires_grad_(), []
    grid = choose_qparams(x, 4, symmetric=True, axis=axis)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        fake_quantize_straight_through(x, grid)
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_a_learned_scale_has_the_gradient_of_lsq():
    x, scale = torch.tensor([-9.0, 0.3, 0.8, 9.0]).requires_grad_(), torch.tensor(1.0, requires_grad=True)
    fake_quantize_learned(x, scale, -3, 3).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 0]
    assert scale.grad.item() == pytest.approx(-3 + (0 - 0.3) + (1 - 0.8) + 3)


def test_a_learned_scale_finds_a_better_grid():
    torch.manual_seed(0)
    x, quantizer = torch.randn(4096), LearnedQuantizer(2, symmetric=True)
    error = lambda: (quantizer(x) - x).square().mean()
    start = error().item()
    optimizer_steps = 200
    for _ in range(optimizer_steps):
        quantizer.zero_grad()
        error().backward()
        with torch.no_grad():
            quantizer.scale -= 50 * quantizer.scale.grad
    best = min(
        (fake_quantize_learned(x, torch.tensor(s), -1, 1) - x).square().mean().item() for s in (0.6, 0.9, 1.2, 1.5)
    )
    assert error().item() < start and error().item() < 1.01 * best


def test_ranges_move_in_training_only():
    quantizer = ActivationQuantizer(8, momentum=0.5)
    quantizer(torch.tensor([0.0, 1.0])), quantizer(torch.tensor([0.0, 3.0]))
    assert quantizer.high == 2
    quantizer.eval()(torch.tensor([100.0]))
    assert quantizer.high == 2
    again = ActivationQuantizer(8)
    again.load_state_dict(quantizer.state_dict())
    assert again.high == 2
    with pytest.raises(CourseError, match="seen no data"):
        ActivationQuantizer(8).eval()(torch.ones(1))


@pytest.mark.parametrize("ranges", ["moving_average", "learned"])
def test_training_on_the_grid_beats_rounding_afterwards(ranges):
    data = load("digits")
    torch.manual_seed(0)
    net = lenet_300_100()
    fit(net, data.train, steps=300)
    afterwards = post_training(net, [data.train.x], weight_bits=2, activation_bits=2)
    aware = prepare(net, weight_bits=2, activation_bits=2, ranges=ranges)
    fit(aware, data.train, steps=300)
    assert evaluate(aware, data.validation).accuracy > evaluate(afterwards, data.validation).accuracy + 0.05
    assert dict(aware.named_parameters()).keys() >= dict(net.named_parameters()).keys()


def test_without_the_estimator_nothing_learns():
    x = torch.linspace(-1, 1, 9).requires_grad_()
    (x.round() * x.detach()).sum().backward()
    assert not x.grad.any()


def conv_net():
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


def test_frozen_batch_norm_keeps_its_statistics_but_learns():
    data = load("digits")
    net = conv_net()
    fit(net, data.train, steps=20)
    statistics, gain = net[1].running_mean.clone(), net[1].weight.detach().clone()
    net = freeze_batch_norm_(net)
    fit(net, data.train, steps=20)
    assert torch.equal(net[1].running_mean, statistics) and not torch.equal(net[1].weight, gain)


def test_with_frozen_batch_norm_the_folded_weights_lie_on_the_same_grid_points():
    net = conv_net()
    nn.init.normal_(net[1].weight), net[1].running_var.uniform_(0.1, 3)
    prepared = prepare(net, weight_bits=3, activation_bits=None).eval()
    folded = fold_batch_norm(convert(prepared))
    again = prepare(folded, weight_bits=3, activation_bits=None).eval()
    x = torch.rand(5, 1, 8, 8)
    assert torch.allclose(again(x), prepared(x), atol=1e-4)


def test_convert_puts_the_weights_on_the_grid():
    net = prepare(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, groups=1, stride=2), nn.ReLU()), weight_bits=2, activation_bits=None
    )
    plain = convert(net)
    x = torch.rand(2, 1, 8, 8)
    assert type(plain[0]) is nn.Conv2d and torch.equal(plain(x), net(x))
    assert all(len(channel.unique()) <= 3 for channel in plain[0].weight)


def test_frozen_ranges_stay():
    net = prepare(nn.Linear(2, 2))
    net(torch.rand(3, 2))
    high = net.input_quantizer.high.clone()
    freeze_ranges_(net)(100 * torch.rand(3, 2))
    assert net.input_quantizer.high == high


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: prepare(nn.ReLU()), "nothing to quantize"),
        (lambda: prepare(nn.Linear(1, 1), ranges="guessed"), "moving_average"),
        (lambda: prepare(nn.Linear(1, 1), weight_bits=1), "2 bits"),
        (lambda: prepare(nn.Linear(1, 1), activation_bits=20), "1 to 16"),
        (lambda: convert(nn.Linear(1, 1)), "no quantized layers"),
        (lambda: prepare(nn.Linear(2, 1), ranges="learned")(torch.tensor([[-1.0, 1.0]])), "starts at 0"),
        (lambda: prepare(nn.Linear(1, 1))(torch.tensor([[math.nan]])), "NaN"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()
