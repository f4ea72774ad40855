"""Uniform grids, calibration, the file of codes, folding batch norm."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import small_cnn
from course_lib.quantization import (
    QParams,
    choose_qparams,
    dequantize,
    fake_quantize,
    qparams_of_range,
    quantize,
    signal_to_noise,
)
from course_lib.quantization.calibration import entropy, minmax, moving_average, mse, percentile
from course_lib.quantization.folding import fold_batch_norm
from course_lib.quantization.post_training import load_weights_, post_training, quantize_weights
from course_lib.quantization.storage import load_quantized, pack_bits, read_quantized, save_quantized, unpack_bits
from course_lib.quantization.uniform import range_of

finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(st.lists(finite, min_size=1, max_size=50), st.integers(2, 16), st.booleans())
def test_the_round_trip_errs_by_at_most_half_a_step(values, bits, symmetric):
    x = torch.tensor(values)
    grid = choose_qparams(x, bits, symmetric=symmetric)
    codes = quantize(x, grid).to(torch.int64)
    assert grid.lowest <= codes.min() and codes.max() <= grid.highest
    step = grid.scale.item()
    # An affine grid's end may round off by half a step, because the zero point is whole.
    assert (fake_quantize(x, grid) - x).abs().max() <= step / 2 * (1 + 1e-4) + 1e-6 * x.abs().max() + 1e-30


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8, 16])
@pytest.mark.parametrize("values", [[0.3, 0.7], [-5.0, -1.0], [-1.0, 2.0], [0.0, 0.0], [3.0, 3.0]])
def test_zero_is_a_grid_point_and_codes_are_saved_by_their_type(symmetric, bits, values):
    grid = choose_qparams(torch.tensor(values), bits, symmetric=symmetric)
    assert fake_quantize(torch.zeros(1), grid).item() == 0
    far = quantize(torch.tensor([-1e30, 1e30]), grid)
    assert far.tolist() == [grid.lowest, grid.highest]
    assert grid.highest - grid.lowest + 1 == (2**bits - 1 if symmetric else 2**bits)


def test_one_bit_has_two_levels():
    x = torch.tensor([0.0, 0.4, 0.6, 1.0])
    assert fake_quantize(x, choose_qparams(x, 1)).tolist() == [0, 0, 1, 1]


def test_a_grid_for_each_channel_is_each_channels_own_grid():
    x = torch.randn(3, 4, 5) * torch.tensor([0.01, 1.0, 100.0]).view(3, 1, 1)
    for symmetric in (True, False):
        together = fake_quantize(x, choose_qparams(x, 8, symmetric=symmetric, axis=0))
        alone = torch.stack([fake_quantize(row, choose_qparams(row, 8, symmetric=symmetric)) for row in x])
        assert torch.equal(together, alone)
    middle = choose_qparams(x, 8, axis=1)
    assert middle.scale.shape == (4,) and fake_quantize(x, middle).shape == x.shape


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_a_single_number_that_is_not_finite_has_no_range(axis, bad):
    x = torch.zeros(3, 4)
    x[1, 2] = bad
    with pytest.raises(CourseError, match="NaN or infinity"):
        range_of(x, axis)
    with pytest.raises(CourseError, match="both finite"):
        qparams_of_range(min(bad, 0.0), bad)


def test_a_range_may_be_wider_than_its_type_counts():
    low, high = range_of(torch.tensor([-60_000.0, 60_000.0], dtype=torch.float16))
    assert (low, high) == (-60_000, 60_000)


def test_as_torch_quantizes():
    x = torch.randn(1000)
    grid = choose_qparams(x, 8)
    torch_says = torch.fake_quantize_per_tensor_affine(x, grid.scale.item(), int(grid.zero_point), 0, 255)
    assert torch.allclose(fake_quantize(x, grid), torch_says, atol=1e-6)


def test_six_decibels_a_bit():
    x = torch.rand(200_000) * 2 - 1
    noise = {
        bits: 10 * math.log10(x.square().mean() / (fake_quantize(x, choose_qparams(x, bits)) - x).square().mean())
        for bits in (4, 8)
    }
    assert (noise[8] - noise[4]) / 4 == pytest.approx(6.02, abs=0.3)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: choose_qparams(torch.empty(0)), "empty"),
        (lambda: choose_qparams(torch.tensor([1.0, math.nan])), "NaN"),
        (lambda: choose_qparams(torch.tensor([1.0, math.inf])), "infinity"),
        (lambda: choose_qparams(torch.ones(2), 0), "1 to 16"),
        (lambda: choose_qparams(torch.ones(2), 17), "1 to 16"),
        (lambda: choose_qparams(torch.ones(2), 8.0), "8.0"),
        (lambda: choose_qparams(torch.ones(2), 1, symmetric=True), "2 bits"),
        (lambda: qparams_of_range(1.0, -1.0), "low"),
        (lambda: quantize(torch.tensor([math.nan]), qparams_of_range(0.0, 1.0)), "NaN"),
        (lambda: quantize(torch.ones(2, 2), choose_qparams(torch.ones(3, 2), 8, axis=0)), "3 channels"),
        (lambda: percentile(torch.ones(3), percent=0), "percent"),
        (lambda: entropy(torch.ones(3), bits=12), "2 to 11"),
        (lambda: moving_average([]), "at least one batch"),
        (lambda: moving_average([torch.ones(2)], momentum=1.0), "momentum"),
        (lambda: mse(torch.empty(0)), "empty"),
        (lambda: quantize_weights(nn.ReLU()), "nothing to quantize"),
        (lambda: post_training(nn.Linear(2, 2), []), "at least one batch"),
        (lambda: pack_bits(torch.tensor([4]), bits=2), "hold 0 to 3"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()


def test_clipping_finds_the_best_range_by_brute_force():
    torch.manual_seed(0)
    x = torch.randn(20_000)
    low, high = mse(x, bits=3, symmetric=True)
    error = lambda end: (fake_quantize(x, qparams_of_range(-end, end, 3, symmetric=True)) - x).square().mean().item()
    ends = np.linspace(0.05, 1, 200) * x.abs().max().item()
    assert error(max(-low.item(), high.item())) <= 1.01 * min(error(end) for end in ends)
    assert error(high.item()) < error(x.abs().max().item()) / 2


@pytest.mark.parametrize("symmetric", [True, False])
def test_each_channel_gets_its_own_best_clip(symmetric):
    torch.manual_seed(1)
    x = torch.randn(5, 7, 4) * torch.tensor([0.1, 1, 10, 3, 0]).view(5, 1, 1)
    for axis in (0, 1, -1):
        low, high = mse(x, bits=3, symmetric=symmetric, axis=axis)
        alone = [mse(channel, bits=3, symmetric=symmetric) for channel in x.unbind(axis)]
        assert torch.allclose(low, torch.stack([ends[0] for ends in alone]))
        assert torch.allclose(high, torch.stack([ends[1] for ends in alone]))
    error = lambda low, high: (
        (fake_quantize(x[2], qparams_of_range(low, high, 3, symmetric=symmetric)) - x[2]).square().sum().item()
    )
    low, high = mse(x[2], bits=3, symmetric=symmetric)
    ends = range_of(x[2])
    assert error(low, high) == pytest.approx(min(error(ends[0] * s, ends[1] * s) for s in torch.linspace(0.01, 1, 100)))


def test_signal_to_noise_in_decibels():
    x = torch.tensor([3.0, -4.0])
    assert signal_to_noise(x, x + torch.tensor([0.3, 0.4])) == pytest.approx(20)
    assert signal_to_noise(1e-5 * x, 1e-5 * x) == math.inf
    with pytest.raises(CourseError, match="one shape"):
        signal_to_noise(x, x[:1])
    with pytest.raises(CourseError, match="no signal"):
        signal_to_noise(torch.zeros(3), torch.ones(3))


def test_calibrations_order():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(50_000), torch.tensor([50.0])])
    assert minmax(x)[1] == 50
    assert percentile(x, percent=99)[1] == pytest.approx(2.58, abs=0.1)
    assert mse(x, bits=4)[1] < 40 and entropy(x, bits=4)[1] < 25
    rows = torch.stack([x, x / 10])
    for calibrate in (minmax, percentile):
        assert torch.allclose(calibrate(rows, axis=0)[1][1], calibrate(rows[1])[1])
    assert torch.allclose(mse(rows, bits=4, axis=0)[0][0], mse(rows[0], bits=4)[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 16), st.data())
def test_packed_bits_come_back(bits, data):
    codes = torch.tensor(data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40)), dtype=torch.int32)
    packed = pack_bits(codes, bits)
    assert packed.numel() == math.ceil(len(codes) * bits / 8)
    assert torch.equal(unpack_bits(packed, bits, len(codes)), codes)


@pytest.mark.parametrize(("bits", "symmetric", "per_channel"), [(8, True, True), (3, False, True), (16, True, False)])
def test_a_file_brings_back_the_same_predictions(tmp_path, bits, symmetric, per_channel):
    net = small_cnn().eval()
    weights = quantize_weights(net, bits, symmetric=symmetric, per_channel=per_channel)
    n_bytes = save_quantized(tmp_path / "net", net, weights)
    assert n_bytes == (tmp_path / "net").stat().st_size
    again = load_quantized(tmp_path / "net", small_cnn()).eval()
    x = torch.rand(8, 1, 8, 8)
    assert torch.equal(again(x), load_weights_(net, weights)(x))
    codes, _ = read_quantized(tmp_path / "net")
    assert all(torch.equal(codes[name].codes, weights[name].codes) for name in weights)
    assert n_bytes < sum(t.codes.numel() for t in weights.values()) * bits / 8 + 4000


def test_a_damaged_or_foreign_file_is_refused_and_the_model_kept(tmp_path):
    net = nn.Sequential(nn.Linear(4, 3))
    path = tmp_path / "net"
    save_quantized(path, net, quantize_weights(net))
    whole = path.read_bytes()
    before = net[0].weight.clone()
    for content in (whole[:-1], whole[:20], b"", b"hello" * 100, whole + b"x"):
        path.write_bytes(content)
        with pytest.raises(CourseError, match="damaged"):
            load_quantized(path, net)
    path.write_bytes(whole)
    with pytest.raises(CourseError, match="another architecture"):
        load_quantized(path, nn.Sequential(nn.Linear(5, 3)))
    with pytest.raises(CourseError, match="no file"):
        load_quantized(tmp_path / "none", net)
    assert torch.equal(net[0].weight, before)
    with pytest.raises(CourseError, match="has no"):
        save_quantized(path, nn.Linear(1, 1), quantize_weights(net))


def trained_like(net):
    """Batch norms with statistics and gains of all kinds."""
    for layer in net.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            if layer.affine:
                nn.init.normal_(layer.weight), nn.init.normal_(layer.bias)
            layer.running_mean.normal_(), layer.running_var.uniform_(0.1, 2)
    return net.eval()


@pytest.mark.parametrize("bias", [True, False])
def test_folded_batch_norm_computes_the_same(bias):
    net = trained_like(
        nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=bias), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=4), nn.BatchNorm2d(4),
            nn.Flatten(), nn.Linear(4 * 36, 5, bias=bias), nn.BatchNorm1d(5, affine=False),
        )
    )  # fmt: skip
    x = torch.randn(3, 1, 8, 8)
    folded = fold_batch_norm(net)
    assert torch.allclose(folded(x), net(x), atol=1e-4)
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in folded.modules())
    assert isinstance(net[1], nn.BatchNorm2d)


def test_what_cannot_be_folded_is_refused():
    with pytest.raises(CourseError, match="directly follow"):
        fold_batch_norm(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)))
    with pytest.raises(CourseError, match="running statistics"):
        fold_batch_norm(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)))

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

        def forward(self, x):
            return self.b(self.a(x)) if x.sum() > 0 else x

    with pytest.raises(CourseError, match="cannot trace"):
        fold_batch_norm(Branching())


def test_post_training_uses_the_ranges_of_the_data():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    x = torch.randn(256, 4)
    exact, coarse = (post_training(net, [x], weight_bits=b, activation_bits=b) for b in (8, 2))
    error = lambda q: (q(x) - net(x)).abs().max().item()
    assert error(exact) < 0.1 < error(coarse)
    assert coarse[2].input_quantizer.low == 0  # after a ReLU
    before = coarse[0].input_quantizer.high.clone()
    coarse.train()(100 * x)
    assert coarse[0].input_quantizer.high == before  # frozen
    assert net.training  # the model passed is left as it is
    assert len(coarse[0].weight_quantizer(coarse[0].weight).unique()) <= 3 * 16


def test_qparams_on_an_axis_that_is_not_there():
    grid = QParams(torch.ones(2), torch.zeros(2, dtype=torch.int32), 8, True, axis=3)
    with pytest.raises(CourseError, match="axis 3"):
        dequantize(torch.zeros(2, 2), grid)
