"""Integer arithmetic: every layer against its fake-quantized twin, exact products, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.models import lenet_300_100, small_cnn
from course_lib.quantization import integer_product
from course_lib.quantization.fixed_point import fixed_point, requantize, rounding_right_shift, wrapped
from course_lib.quantization.integer import to_integer
from course_lib.quantization.integer_layers import Grid, IntegerConv2d, IntegerLinear
from course_lib.quantization.integer_product import int8_product_is_exact, integer_matmul, split_matmul
from course_lib.training import fit


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-9, 1.9), st.integers(3, 31))
def test_a_multiplier_keeps_all_its_bits(multiplier, bits):
    m0, shift = (int(value) for value in fixed_point(multiplier, bits=bits))
    if shift < 62:
        assert 2 ** (bits - 1) <= m0 < 2**bits
    assert abs(m0 / 2**shift - multiplier) <= 2.0 ** -(bits - 1) * multiplier + 2.0**-62


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**40), 2**40), st.integers(1, 30))
def test_the_shift_rounds_to_nearest(x, shift):
    exact = (x + (1 << (shift - 1))) // (1 << shift)  # Python's // rounds down, so this is nearest with halves up
    assert rounding_right_shift(torch.tensor(x), shift).item() == exact
    assert abs(exact * 2**shift - x) <= 2 ** (shift - 1)


def test_requantization_is_the_real_multiplication_within_one_code():
    generator = torch.Generator().manual_seed(0)
    sums = torch.randint(-(2**24), 2**24, (10_000,), generator=generator, dtype=torch.int32)
    for multiplier in (1e-5, 3.7e-6, 0.3, 1.5):
        codes = requantize(sums, *fixed_point(multiplier), zero_point=-7)
        real = (sums.double() * multiplier - 7).round().clamp(-128, 127)
        assert (codes - real).abs().max() <= 1 and (codes != real).double().mean() < 1e-3


def test_wrapping_is_twos_complement():
    x = torch.arange(-1000, 1000)
    assert torch.equal(wrapped(x, 8), x.to(torch.int8).long())
    assert torch.equal(wrapped(70 * x, 16), (70 * x).to(torch.int16).long())


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("k", [1, 7, 784, 3000])
def test_products_are_exact(exact, k, monkeypatch):
    monkeypatch.setattr(integer_product, "int8_product_is_exact", lambda: exact)
    generator = torch.Generator().manual_seed(k)
    a = torch.randint(-128, 128, (5, k), generator=generator).to(torch.int8)
    b = torch.randint(-128, 128, (k, 9), generator=generator).to(torch.int8)
    a[0], b[:, 0] = -128, -128
    got = integer_matmul(a, b, a_zero_point=-128, b_zero_point=100)
    assert got.dtype == torch.int32
    assert torch.equal(got.long(), (a.long() + 128) @ (b.long() - 100))


def test_the_self_check_sees_a_product_that_saturates(monkeypatch):
    int8_product_is_exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: split_matmul(a, b).clamp(-32768, 32767))
    assert not int8_product_is_exact()
    int8_product_is_exact.cache_clear()
    monkeypatch.delattr(torch, "_int_mm")
    assert not int8_product_is_exact()
    int8_product_is_exact.cache_clear()


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_the_sums_of_a_convolution_are_exact(groups, kernel, stride):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 12, kernel, stride, padding=(1, 2), groups=groups)
    ours = IntegerConv2d(layer, Grid(0.02, -17), Grid(0.1, 3))
    codes = torch.randint(-128, 128, (2, 6, 9, 8)).to(torch.int8)
    how = {"stride": stride, "padding": (1, 2), "groups": groups}
    exact = nn.functional.conv2d(codes.double() + 17, ours.codes.double(), **how)  # the border holds the zero point
    shift = -17 * ours.codes.flatten(1).sum(dim=1, dtype=torch.int32)
    assert torch.equal((ours.products(codes) - shift).permute(0, 3, 1, 2).double(), exact)


class Residual(nn.Module):
    """Every layer that has an integer version."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 16, 3, padding=1, stride=1), nn.BatchNorm2d(16)
        self.grouped, self.depthwise = (
            nn.Conv2d(16, 16, 3, padding=1, groups=4),
            nn.Conv2d(16, 16, 3, (2, 1), 1, groups=16),
        )
        self.point, self.max, self.average = (
            nn.Conv2d(16, 16, 1, bias=False),
            nn.MaxPool2d(3, 2, 1),
            nn.AvgPool2d(2, padding=1),
        )
        self.everywhere, self.drop, self.last = nn.AdaptiveAvgPool2d(1), nn.Dropout(), nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = (x + self.point(self.grouped(x))).relu()
        x = self.average(self.max(self.depthwise(x)))
        x = nn.functional.relu(x)  # joins nothing: pooling stands before it
        return self.last(self.drop(self.everywhere(x).flatten(1)))


NETS = {"mlp": lenet_300_100, "cnn": small_cnn, "residual": Residual}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module", params=NETS)
def pair(request, digits):
    torch.manual_seed(0)
    net = NETS[request.param]()
    fit(net, digits.train, steps=500, lr=3e-3)
    return net.eval(), to_integer(net, digits.train.x[:300])


def test_every_layer_is_its_fake_quantized_twin_within_one_code(pair, digits):
    _, integer = pair
    seen = []

    def compare(step, inputs):
        ours, twin = step.layer(*inputs), step.layer.simulated(*inputs)
        assert ours.dtype == torch.int8 and ours.shape == twin.shape
        assert (ours.int() - twin.int()).abs().max() <= 1, step.name
        seen.append(step.name)

    integer.run(integer.grid.quantize(digits.test.x), watch=compare)
    assert len(seen) == len(integer.steps)


def test_every_disagreement_is_a_near_tie(pair, digits):
    _, integer = pair
    ours, twin = integer(digits.test.x), integer.simulated(digits.test.x)
    differ = ours.argmax(1) != twin.argmax(1)
    assert differ.float().mean() <= 0.005
    best = twin.topk(2, dim=1).values
    assert ((best[:, 0] - best[:, 1])[differ] <= 3 * integer.out.scale).all()


def test_the_integer_network_predicts_as_the_float_network(pair, digits):
    net, integer = pair
    with torch.no_grad():
        assert (integer(digits.test.x).argmax(1) == net(digits.test.x).argmax(1)).float().mean() >= 0.95


def test_rescaling_in_doubles_is_the_integer_arithmetic_bit_for_bit(pair):
    generator = torch.Generator().manual_seed(0)
    for layer in pair[1].layers:
        if hasattr(layer, "rescale"):
            sums = torch.randint(-(2**20), 2**20, (500, len(layer.codes)), generator=generator, dtype=torch.int32)
            product = (sums + layer.bias).long() * layer.m0
            codes = (rounding_right_shift(product, layer.shift) + layer.out.zero_point).clamp(-128, 127)
            assert torch.equal(layer.rescale(sums).long(), codes)


def test_a_relu_is_joined_or_stands_alone(pair):
    names = [type(step.layer).__name__ for step in pair[1].steps]
    assert names.count("IntegerReLU") == (1 if "IntegerAdd" in names else 0)


def test_weights_are_bytes():
    integer = to_integer(lenet_300_100(), torch.rand(10, 1, 8, 8))
    assert all(layer.codes.dtype == torch.int8 for layer in integer.layers if hasattr(layer, "codes"))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: to_integer(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), torch.rand(4, 2)), "no integer version of Tanh"),
        (lambda: to_integer(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2)), torch.rand(1, 1, 9, 9)), "dilation"),
        (lambda: to_integer(nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), torch.rand(1, 1, 9, 9)), "ceil_mode"),
        (lambda: fixed_point(0.0), "above 0"),
        (lambda: fixed_point(float("nan")), "above 0"),
        (lambda: fixed_point(2.0**40), "nothing to shift"),
        (lambda: integer_matmul(torch.ones(2, 2), torch.ones(2, 2)), "int8"),
        (lambda: integer_matmul(torch.ones(2, 3, dtype=torch.int8), torch.ones(2, 2, dtype=torch.int8)), "Shapes"),
        (
            lambda: integer_matmul(torch.ones(1, 40_000, dtype=torch.int8), torch.ones(40_000, 1, dtype=torch.int8)),
            "overflow",
        ),
        (lambda: IntegerLinear(torch.ones(1, 2), torch.tensor([1e9]), Grid(1e-3, 0), Grid(1.0, 0)), "overflow"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()
