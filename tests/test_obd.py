"""Second derivatives of whole networks, against double backward, central differences and the loss itself."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.measure import layer_costs
from course_lib.models import ScaledTanh, mlp, obd_net
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores, prunable
from course_lib.pruning.obd import diagonal_hessian, gauss_newton_diagonal, saliency
from course_lib.training import evaluate, fit

QUICK = settings(deadline=None, max_examples=25)


def loss_of(loss, outputs, y):
    """The mean loss, written a second time."""
    return F.cross_entropy(outputs, y) if loss == "cross_entropy" else ((outputs - y) ** 2).sum() / len(y)


def exact_diagonal(model, x, y, loss="cross_entropy"):
    """One double backward for every single parameter."""
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss_of(loss, model(x), y), list(parameters.values()), create_graph=True)
    found = {}
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        rows = []
        for k, one in enumerate(gradient.flatten()):
            again = torch.autograd.grad(one, parameter, retain_graph=True, materialize_grads=True)[0]
            rows.append(again.flatten()[k])
        found[name] = torch.stack(rows).view_as(parameter)
    return found


def examples(shape, outputs, loss, n=7, seed=0):
    """Random float64 inputs with targets that suit the loss."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    if loss == "cross_entropy":
        return x, torch.randint(outputs, (n,), generator=generator)
    return x, torch.randn(n, outputs, generator=generator, dtype=torch.float64)


def build(*layers, seed=0):
    """The same float64 network every time, with weights large enough for tanh to bend."""
    torch.manual_seed(seed)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model.eval()


def assert_equal(found, expected, names=None):
    assert list(found) == list(expected)
    for name in names or expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
        )


def error(found, expected):
    """Relative error of all entries together."""
    apart = sum(((found[name] - expected[name]) ** 2).sum() for name in expected)
    return float((apart / sum((value**2).sum() for value in expected.values())).sqrt())


# --- where the recursion is exact ----------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])


@BOTH
@pytest.mark.parametrize("exact", [True, False])
def test_one_linear_layer_is_exact(loss, exact):
    model, (x, y) = build(nn.Linear(5, 3)), examples((5,), 3, loss)
    found = diagonal_hessian(model, x, y, loss=loss, exact_second_derivatives=exact)
    assert_equal(found, exact_diagonal(model, x, y, loss))


@BOTH
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, ScaledTanh, nn.ReLU])
def test_the_output_layer_is_exact_in_every_network(loss, activation):
    model = build(nn.Linear(4, 6), activation(), nn.Linear(6, 5), activation(), nn.Linear(5, 3))
    x, y = examples((4,), 3, loss)
    found, expected = diagonal_hessian(model, x, y, loss=loss), exact_diagonal(model, x, y, loss)
    assert_equal(found, expected, ["4.weight", "4.bias"])


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, ScaledTanh, nn.ReLU])
def test_two_linear_layers_under_the_squared_error_are_exact_everywhere(activation):
    model, (x, y) = build(nn.Linear(4, 6), activation(), nn.Linear(6, 3)), examples((4,), 3, "squared_error")
    assert_equal(diagonal_hessian(model, x, y, loss="squared_error"), exact_diagonal(model, x, y, "squared_error"))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, ScaledTanh])
def test_a_squashed_output_is_exact_and_simplified_it_is_the_gauss_newton_diagonal(activation):
    model, (x, y) = build(nn.Linear(4, 3), activation()), examples((4,), 3, "squared_error")
    assert_equal(diagonal_hessian(model, x, y, loss="squared_error"), exact_diagonal(model, x, y, "squared_error"))
    assert_equal(
        diagonal_hessian(model, x, y, loss="squared_error", exact_second_derivatives=False),
        gauss_newton_diagonal(model, x, y, loss="squared_error"),
    )


def separate(*middle):
    """Three chains side by side that never meet, so no derivative is mixed."""
    ends = lambda: nn.Conv2d(3, 3, 1, groups=3)  # noqa: E731
    return build(ends(), *middle, ends(), nn.Tanh(), ends(), nn.Flatten())


@pytest.mark.parametrize(
    ("middle", "side"),
    [
        ((nn.Tanh(),), 1),
        ((nn.Tanh(), nn.Conv2d(3, 3, 1, groups=3), ScaledTanh()), 1),
        ((nn.Identity(), nn.Dropout(0.5), nn.ReLU(inplace=True)), 1),
    ],
)
def test_chains_side_by_side_are_exact_however_deep(middle, side):
    model, (x, y) = separate(*middle), examples((3, side, side), 3, "squared_error")
    assert_equal(diagonal_hessian(model, x, y, loss="squared_error"), exact_diagonal(model, x, y, "squared_error"))


CONVOLUTIONS = [
    nn.Conv2d(2, 4, 3),
    nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)),
    nn.Conv2d(2, 4, 2, dilation=2, padding=1, bias=False),
    nn.Conv2d(2, 4, 3, padding="same", groups=2),
    nn.Conv2d(2, 4, 3, padding="valid", stride=2),
]


def summed_over_places(model, x, y):
    """Σ over a convolution's places of the second derivative by that place's own copy of the kernel."""
    conv, rest = model[0], model[1:]
    options = {"stride": conv.stride, "dilation": conv.dilation}
    padding = {"same": 1, "valid": 0}.get(conv.padding, conv.padding)
    patches = F.unfold(x, conv.kernel_size, padding=padding, **options).unflatten(1, (conv.groups, -1))
    height, width = conv(x).shape[2:]
    bias = torch.zeros(conv.out_channels).double() if conv.bias is None else conv.bias.detach()
    copies = conv.weight.detach().flatten(1).unsqueeze(-1).repeat(1, 1, height * width).requires_grad_()

    def run(copies):
        a = torch.einsum("ngip,goip->ngop", patches, copies.unflatten(0, (conv.groups, -1))).flatten(1, 2)
        return loss_of("squared_error", rest((a + bias[:, None]).unflatten(2, (height, width))), y)

    gradient = torch.autograd.grad(run(copies), copies, create_graph=True)[0].flatten()
    rows = torch.eye(len(gradient)).double()
    hessian = torch.autograd.grad(gradient, copies, rows, is_grads_batched=True)[0].flatten(1)
    return hessian.diagonal().view_as(copies).sum(-1).view_as(conv.weight)


# Pools that overlap mix their outputs, which stays exact only if nothing mixes them again.
ENDS = {
    "linear": lambda: [nn.Flatten(), nn.LazyLinear(2)],
    "average, linear": lambda: [nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(2)],
    "maximum, linear": lambda: [nn.MaxPool2d((1, 2)), nn.Flatten(), nn.LazyLinear(2)],
    "overlapping averages": lambda: [nn.AvgPool2d((1, 2), stride=1), nn.Flatten()],
    "padded averages": lambda: [nn.AvgPool2d(2, padding=1), nn.Flatten()],
    "averages with a divisor": lambda: [nn.AvgPool2d(2, divisor_override=3), nn.Flatten()],
    "overlapping maxima": lambda: [nn.MaxPool2d(2, stride=1, padding=1), nn.Flatten()],
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("end", ENDS)
def test_shared_kernels_get_the_sum_over_their_places(conv, end):
    layers = [conv, nn.Tanh(), *ENDS[end]()]
    x = torch.randn(3, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outputs = nn.Sequential(*layers).double()(x).shape[1]  # this gives the linear layer its size, too
    model = build(*layers)
    y = examples((1,), outputs, "squared_error", n=3)[1]
    found = diagonal_hessian(model, x, y, loss="squared_error")["0.weight"]
    torch.testing.assert_close(found, summed_over_places(model, x, y), rtol=1e-9, atol=1e-11)


def test_central_differences_agree():
    model, (x, y) = build(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), examples((3,), 2, "squared_error")
    found, step = diagonal_hessian(model, x, y, loss="squared_error")["0.weight"], 1e-4
    at = lambda: loss_of("squared_error", model(x), y).item()  # noqa: E731
    weight = model[0].weight.data
    for place in [(0, 0), (3, 2), (1, 1)]:
        here, values = weight[place].item(), []
        for move in (-step, 0, step):
            weight[place] = here + move
            values.append(at())
        weight[place] = here
        assert found[place].item() == pytest.approx((values[0] - 2 * values[1] + values[2]) / step**2, abs=1e-5)


# --- where it is an estimate, and what the Gauss-Newton diagonal adds ----------------------------------------------


@BOTH
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2, stride=1, padding=1)], ids=["max", "average"])
def test_gauss_newton_is_the_hessian_of_networks_with_relus(loss, conv, pool):
    x = torch.randn(5, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    layers = [conv, nn.ReLU(), pool, nn.Conv2d(4, 3, 2, padding=1), nn.ReLU(), nn.Flatten()]
    features = nn.Sequential(*layers).double()(x).shape[1]
    model = build(*layers, nn.Linear(features, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.4)  # large logits leave no curvature to compare
    y = examples((1,), 3, loss, n=5)[1]
    assert_equal(gauss_newton_diagonal(model, x, y, loss=loss), exact_diagonal(model, x, y, loss))


@BOTH
@pytest.mark.parametrize("at_once", [1, 2, 4, 5, 6])
def test_gauss_newton_in_portions_of_the_examples(loss, at_once):
    model = build(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    x, y = examples((1, 4, 4), 3, loss, n=5)
    whole = gauss_newton_diagonal(model, x, y, loss=loss)
    assert_equal(gauss_newton_diagonal(model, x, y, loss=loss, at_once=at_once), whole)


def test_gauss_newton_in_float32_and_on_sequences():
    model, (x, y) = (
        build(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)),
        examples((5, 3), 3, "cross_entropy"),
    )
    expected = exact_diagonal(model, x, y)
    assert_equal(gauss_newton_diagonal(model, x, y), expected)
    assert error(gauss_newton_diagonal(model.float(), x.float(), y), expected) <= 1e-6


@QUICK
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 5), min_size=2, max_size=4),
    st.sampled_from(["cross_entropy", "squared_error"]),
)
def test_without_bends_the_recursion_is_never_negative_and_gauss_newton_is_exact(seed, sizes, loss):
    torch.manual_seed(seed)
    model = mlp((*sizes, 3)).double()
    x, y = examples((sizes[0],), 3, loss, seed=seed)
    assert_equal(gauss_newton_diagonal(model, x, y, loss=loss), exact_diagonal(model, x, y, loss))
    for bends in (True, False):  # a ReLU has none
        found = diagonal_hessian(model, x, y, loss=loss, exact_second_derivatives=bends)
        assert all(bool((h >= 0).all()) for h in found.values())


@BOTH
def test_the_simplified_recursion_is_never_negative_where_the_full_one_is(loss):
    model = build(
        nn.Conv2d(1, 3, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3)
    )
    x, y = examples((1, 6, 6), 3, loss)
    full = diagonal_hessian(model, x, y, loss=loss)
    simple = diagonal_hessian(model, x, y, loss=loss, exact_second_derivatives=False)
    assert min(h.min() for h in full.values()) < 0 <= min(h.min() for h in simple.values())
    assert error(simple, full) > 0.01


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def trained(activation, digits, steps=1500):
    """A small LeNet, trained to 93 to 97 %."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3), activation(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), activation(), nn.Flatten(),
        nn.Linear(32, 16), activation(), nn.Linear(16, 10),
    )  # fmt: skip
    fit(model, digits.train, steps=steps)
    return model.eval()


@pytest.mark.parametrize(("activation", "rank", "worst"), [(nn.ReLU, 0.99, 0.5), (nn.Tanh, 0.95, 1.0)])
def test_on_a_trained_network_the_recursion_ranks_weights_as_the_exact_diagonal_does(activation, rank, worst, digits):
    model = trained(activation, digits).double()
    x, y = digits.train.x[:300].double(), digits.train.y[:300]
    expected = exact_diagonal(model, x, y)
    found = diagonal_hessian(model, x, y)
    assert 0.05 < error(found, expected) < worst  # an estimate, and no more
    score = saliency(model, x, y)
    exact = {name: expected[name] * w.detach() ** 2 / 2 for name, w in prunable(model).items()}
    flat = [torch.cat([scores[name].flatten() for name in exact]) for scores in (score, exact)]
    assert spearmanr(*flat).statistic >= rank


def test_predicted_and_measured_rise_agree_for_the_first_deletions_and_beat_magnitude(digits):
    model, (x, y) = trained(nn.Tanh, digits), (digits.train.x, digits.train.y)
    scores = saliency(model, x, y)
    whole = F.cross_entropy(model(x), y).item()
    rise = {}
    for name, score in {"saliency": scores, "magnitude": magnitude_scores(model)}.items():
        pruned, masks = copy.deepcopy(model), masks_from_scores(score, 0.2)
        rise[name] = F.cross_entropy(apply_masks_(pruned, masks)(x), y).item() - whole
        if name == "saliency":
            predicted = sum(scores[layer][~mask].sum().item() for layer, mask in masks.items())
    assert 1 / 3 < predicted / rise["saliency"] < 3
    assert 0 < 2 * rise["saliency"] < rise["magnitude"]


# --- saliency ------------------------------------------------------------------------------------------------------


def test_on_a_quadratic_at_its_minimum_saliency_is_the_rise_of_the_loss():
    x, y = examples((4,), 3, "squared_error", n=20)
    model = build(nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.linalg.lstsq(x, y).solution.T)
    scores = saliency(model, x, y, loss="squared_error")
    assert list(scores) == ["0.weight"]
    at = lambda: loss_of("squared_error", model(x), y).item()  # noqa: E731
    weight, least = model[0].weight.data, at()
    for place in [(o, i) for o in range(3) for i in range(4)]:
        here = weight[place].item()
        weight[place] = 0.0
        assert at() - least == pytest.approx(scores["0.weight"][place].item(), rel=1e-9)
        weight[place] = here


def test_scores_cover_what_is_prunable_and_nothing_is_left_behind():
    model, (x, y) = build(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)), examples((4,), 3, "cross_entropy")
    model[0].weight.grad = torch.ones_like(model[0].weight)
    assert {n: s.shape for n, s in saliency(model, x, y).items()} == {n: w.shape for n, w in prunable(model).items()}
    found = diagonal_hessian(model, x, y)
    assert not any(h.requires_grad for h in found.values())
    assert bool((model[0].weight.grad == 1).all()) and model[2].weight.grad is None and not x.requires_grad


# --- networks in any form ------------------------------------------------------------------------------------------


class Chain(nn.Module):
    """A chain with a forward of its own."""

    def __init__(self, functional=False):
        super().__init__()
        self.last, self.functional = nn.Linear(4, 3), functional
        self.first, self.tanh = nn.Linear(4, 4), nn.Tanh()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x)) if self.functional else self.tanh(self.first(x)))


def test_a_chain_of_any_class_is_followed_in_the_order_it_runs():
    torch.manual_seed(0)
    model, (x, y) = Chain().double(), examples((4,), 3, "squared_error")
    assert_equal(diagonal_hessian(model, x, y, loss="squared_error"), exact_diagonal(model, x, y, "squared_error"))


def test_nested_frozen_and_in_place_layers_change_nothing():
    x, y = examples((4,), 3, "cross_entropy")
    plain = build(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    nested = build(nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True)), nn.Sequential(nn.Linear(5, 3)))
    for parameter in nested.parameters():
        parameter.requires_grad_(False)
    for run in (diagonal_hessian, gauss_newton_diagonal):
        with torch.no_grad():
            pairs = zip(run(plain, x, y).values(), run(nested, x, y).values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert nested[0][1].inplace


def test_a_layer_used_twice_gets_both_shares():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    model, (x, y) = build(layer, nn.Tanh(), layer), examples((3,), 3, "squared_error")
    apart = build(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    for k in (0, 2):
        apart[k].load_state_dict(layer.state_dict())
    shares = diagonal_hessian(apart, x, y, loss="squared_error")
    torch.testing.assert_close(
        diagonal_hessian(model, x, y, loss="squared_error")["0.weight"], shares["0.weight"] + shares["2.weight"]
    )
    with pytest.raises(CourseError, match="no two layers may share"):
        gauss_newton_diagonal(model, x, y, loss="squared_error")


def test_the_network_of_the_paper_goes_through(digits):
    torch.manual_seed(0)
    images = F.interpolate(digits.train.x[:20], size=(28, 28))
    model, y = obd_net().eval(), digits.train.y[:20]
    for h in (diagonal_hessian(model, images, y), gauss_newton_diagonal(model, images, y)):
        assert {name: value.shape for name, value in h.items()} == {n: p.shape for n, p in model.named_parameters()}
        assert all(bool(value.isfinite().all()) for value in h.values())


def test_the_bias_of_joined_maps_is_exact_for_relus():
    joined = obd_net()[6]
    model = build(nn.Conv2d(1, 20, 2, bias=False), joined, nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    x, y = examples((1, 3, 3), 3, "cross_entropy")
    with torch.no_grad():
        model[4].weight.mul_(0.1)
    assert_equal(gauss_newton_diagonal(model, x, y), exact_diagonal(model, x, y))


def test_evaluation_is_untouched(digits):
    model = trained(nn.ReLU, digits, steps=20)
    before = evaluate(model, digits.test)
    saliency(model, digits.train.x[:50], digits.train.y[:50])
    assert evaluate(model, digits.test) == before


# --- refusals ------------------------------------------------------------------------------------------------------

X, Y = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: diagonal_hessian(nn.Sequential(nn.Linear(3, 2), nn.GELU()), X, Y), "through GELU. There are rules for: "),
        (lambda: saliency(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), X, Y), "through BatchNorm1d"),
        (lambda: gauss_newton_diagonal(nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), X, Y), "through Softmax"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X, Y, loss="hinge"), "'cross_entropy' or 'squared_error'"),
        (lambda: gauss_newton_diagonal(nn.Linear(3, 2), X, Y, loss="hinge"), "'cross_entropy' or 'squared_error'"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X, Y, loss="squared_error"), "F.one_hot"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X, Y.float()), "int64 labels"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X, Y + 2), "from 0 to classes - 1"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X, Y[:1]), "int64 labels"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X[:0], Y[:0]), "at least one example"),
        (lambda: diagonal_hessian(nn.Linear(3, 2), X.long(), Y), "floating point"),
        (lambda: diagonal_hessian(nn.Sequential(nn.ReLU()), X, Y), "no parameters"),
        (lambda: gauss_newton_diagonal(nn.Sequential(nn.ReLU()), X, Y), "needs parameters"),
        (lambda: gauss_newton_diagonal(nn.Linear(3, 2), X[:1], Y, at_once=1), "int64 labels"),
        (lambda: gauss_newton_diagonal(nn.Linear(3, 2), X, Y[:1], at_once=1), "int64 labels"),
        (lambda: gauss_newton_diagonal(nn.Linear(3, 2), X[:0], Y), "at least one example"),
        (lambda: gauss_newton_diagonal(nn.Linear(3, 2), X, Y, at_once=0), "at_once"),
        (lambda: diagonal_hessian(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), X, Y), "model.eval"),
        (lambda: diagonal_hessian(Chain(functional=True), torch.ones(2, 4), Y), "Chain is not a plain chain"),
        (
            lambda: diagonal_hessian(nn.Sequential(nn.Conv2d(1, 1, 2, padding="same"), nn.Flatten()), torch.ones(2, 1, 1, 2), Y),
            "padding as a number",
        ),
        (
            lambda: diagonal_hessian(nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Flatten()), torch.ones(2, 1, 4, 4), Y),
            "ceil_mode",
        ),
    ],
)  # fmt: skip
def test_refusals_say_what_is_wrong(run, words):
    with pytest.raises(CourseError, match=words):
        run()


def test_the_papers_network_is_counted_to_the_last_connection():
    costs = layer_costs(obd_net(), (1, 28, 28))  # a warning would be an error here
    assert sum(cost.parameters for cost in costs) == 2578
    biases = 4 * 24**2 + 4 * 12**2 + 12 * 8**2 + 12 * 4**2 + 10  # a connection from the constant 1 each
    assert sum(cost.macs for cost in costs) + biases == connections() - averages() + gains()


def averages():
    """The paper's averages of four have one shared gain: ours average first and multiply once."""
    return 4 * (4 * 12**2 + 12 * 4**2)


def gains():
    """One multiplication for each averaged unit."""
    return 4 * 12**2 + 12 * 4**2


def connections():
    """What the paper's network of 98,442 connections is made of, units times (inputs + bias)."""
    parts = (4 * 24**2 * 26, 4 * 12**2 * 5, 20 * 25 * 8**2 + 12 * 8**2, 12 * 4**2 * 5, 10 * 193)
    assert sum(parts) == 98_442
    return sum(parts)
