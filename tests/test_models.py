"""The networks have the shapes and the published numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.errors import CourseError
from course_lib.measure import layer_costs, parameter_count
from course_lib.models import ScaledTanh, empty, lenet_5, lenet_300_100, mlp, obd_net, small_cnn, vgg

CIFAR = (3, 32, 32)


def weights_of(model: nn.Module) -> int:
    """Parameters without biases."""
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("build", "published"),
    [
        (lambda: vgg("vgg16", form="imagenet", n_classes=1000), 138_357_544),
        (lambda: vgg("vgg11", form="imagenet", n_classes=1000), 132_863_336),
        (lambda: lenet_300_100((1, 28, 28)), 266_610),
        (lenet_300_100, 50_610),
        (lenet_5, 431_080),
        (obd_net, 2_578),
    ],
)
def test_published_parameter_counts(build, published):
    assert parameter_count(empty(build)) == published


def test_the_network_of_optimal_brain_damage_has_the_published_connections():
    model, connections, x = obd_net(), 0, torch.zeros(1, 1, 28, 28)
    sizes = []
    for layer in model:
        pooled, x = x, layer(x)
        if isinstance(layer, nn.AvgPool2d):  # its four inputs; the gain behind it is no connection of its own
            connections += 4 * x.numel()
        elif isinstance(layer, nn.Conv2d) and layer.kernel_size == (5, 5):
            connections += x.numel() * 25 * layer.in_channels // layer.groups
        elif isinstance(layer, nn.Linear):
            connections += layer.weight.numel()
        if getattr(layer, "bias", None) is not None:
            connections += x.numel()
        if isinstance(layer, ScaledTanh):
            sizes.append(tuple(x.shape[1:]))
    assert pooled.shape == (1, 192)
    assert sizes == [(4, 24, 24), (4, 12, 12), (12, 8, 8), (12, 4, 4)]
    assert connections == 98_442


def test_each_joined_map_sees_one_or_two_maps_through_twenty_kernels():
    model = obd_net()
    seen = torch.zeros(12, 4)
    with torch.no_grad():
        model[5].weight.fill_(1.0)
        for k in range(4):
            one_map = torch.zeros(1, 4, 12, 12)
            one_map[:, k] = 1.0
            seen[:, k] = model[6](model[5](one_map))[0, :, 0, 0] / 25
    assert seen.sum() == 20
    assert sorted(seen.sum(1).tolist()) == [1.0] * 4 + [2.0] * 8
    assert seen.max() == 1 and seen.sum(0).tolist() == [5.0] * 4


def test_scaled_tanh_and_its_derivatives():
    a = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    squash = ScaledTanh()
    assert torch.allclose(squash(a), 1.716 * torch.tanh(2 * a / 3))
    assert abs(squash(torch.tensor(1.0)).item() - 1) < 1e-3
    first = torch.autograd.grad(squash(a).sum(), a, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), a)[0]
    torch.testing.assert_close(torch.stack(squash.derivatives(squash(a))), torch.stack([first, second]))


def test_torchvision_builds_the_same_vgg():
    import torchvision

    theirs = empty(torchvision.models.vgg16_bn)
    ours = empty(vgg, "vgg16", form="imagenet", n_classes=1000, batch_norm=True)
    assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]


def test_the_last_three_convolutions_hold_half_the_weights_and_a_tenth_of_the_work():
    model = empty(vgg, "vgg16", form="cifar")
    assert weights_of(model) / 1e6 == pytest.approx(14.716, abs=5e-4)
    convs = [cost for cost in layer_costs(model, CIFAR) if "." not in cost.name and cost.activation_bytes > 40]
    assert len(convs) == 13
    total = sum(cost.macs for cost in layer_costs(model, CIFAR))
    assert sum(weights_of(model.get_submodule(cost.name)) for cost in convs[-3:]) / weights_of(model) == pytest.approx(
        0.481, abs=5e-4
    )
    assert sum(cost.macs for cost in convs[-3:]) / total == pytest.approx(0.0904, abs=5e-5)


@pytest.mark.parametrize(
    ("build", "shape", "classes"),
    [
        (lambda: mlp((12, 5, 4, 3)), (3, 2, 2), 3),
        (lambda: lenet_300_100((3, 8, 8), 7), (3, 8, 8), 7),
        (lambda: lenet_5(5), (1, 28, 28), 5),
        (small_cnn, (1, 8, 8), 10),
        (lambda: small_cnn(CIFAR, 4, channels=(4, 6, 8)), CIFAR, 4),
        (lambda: small_cnn((1, 9, 13)), (1, 9, 13), 10),
        (lambda: vgg("vgg11", width=1 / 16), CIFAR, 10),
        (lambda: vgg(width=1 / 16, batch_norm=True, n_classes=3), CIFAR, 3),
        (lambda: vgg("vgg11", form="imagenet", width=1 / 64), (3, 224, 224), 10),
    ],
)
def test_shapes(build, shape, classes):
    model = build()
    logits = model(torch.rand(2, *shape))
    assert logits.shape == (2, classes)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_seed_decides_the_weights():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(small_cnn())
    first, again, other = (torch.cat([p.flatten() for p in network.parameters()]) for network in networks)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_batch_norm_and_width():
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in vgg(width=1 / 16, batch_norm=True)) == 13
    assert [layer.out_channels for layer in vgg("vgg11", width=1 / 32) if isinstance(layer, nn.Conv2d)][:3] == [2, 4, 8]
    assert vgg("vgg11", width=1e-6)(torch.rand(1, *CIFAR)).shape == (1, 10)  # at least one filter is left


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: mlp((3,)), r"at least an input and an output size, but you passed \(3,\)"),
        (lambda: mlp((3, 0)), "sizes must be a whole number of at least 1"),
        (lambda: mlp((3, 2.5, 1)), "you passed 2.5"),
        (lambda: small_cnn((1, 3, 8)), "at least 4×4, but these are 3×8"),
        (lambda: small_cnn(channels=(2, 2, 2, 2)), "at least 16×16(.|\n)*fewer channels"),
        (lambda: small_cnn(channels=()), "channels holds at least one number"),
        (lambda: small_cnn((8, 8)), r"input_shape is \(channels, height, width\)"),
        (lambda: vgg("vgg13"), "plan must be 'vgg11' or 'vgg16', but you passed 'vgg13'"),
        (lambda: vgg(form="mnist"), "form must be 'cifar' or 'imagenet'"),
    ],
)
def test_refusals(build, words):
    with pytest.raises(CourseError, match=words):
        build()


def test_efficient_networks_have_their_published_sizes() -> None:
    """The oracle is torchvision where it has them; MobileNet v1's count is the paper's 4.2 million."""
    import torchvision

    for ours, theirs in (
        (models.squeezenet, torchvision.models.squeezenet1_0),
        (models.efficientnet_b0, torchvision.models.efficientnet_b0),
    ):
        built = models.empty(ours)
        with torch.device("meta"):
            oracle = theirs()
        assert sorted(p.shape for p in built.parameters()) == sorted(p.shape for p in oracle.parameters())
    macs = sum(cost.macs for cost in layer_costs(models.empty(models.mobilenet), (3, 224, 224)))
    assert round(macs / 1e6) == 569  # the paper's figure
    small = sum(p.numel() for p in models.empty(models.mobilenet, width=0.25).parameters())
    assert small < 500_000


def test_blocks_keep_their_promise_of_shapes() -> None:
    x = torch.zeros(2, 8, 9, 9)
    assert models.separable_conv(8, 5, stride=2)(x).shape == (2, 5, 5, 5)
    assert models.InvertedResidual(8, 8)(x).shape == x.shape and models.InvertedResidual(8, 8).shortcut
    assert not models.InvertedResidual(8, 8, stride=2).shortcut
    assert models.XceptionBlock(8, 6)(x).shape == (2, 6, 5, 5)
