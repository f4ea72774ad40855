"""The networks have the shapes and the published numbers of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.measure import layer_costs, parameter_count
from course_lib.models import empty, lenet_5, lenet_300_100, mlp, small_cnn, vgg

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
    ],
)
def test_published_parameter_counts(build, published):
    assert parameter_count(empty(build)) == published


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
