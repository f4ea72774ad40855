"""The networks that pruning and quantization grew up with, from multilayer perceptrons to VGG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_choice, require_positive

DIGITS = (1, 8, 8)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """A multilayer perceptron: flatten, then linear layers with ReLUs between them.

    Args:
        sizes: units from input to output, at least two numbers: (64, 300, 100, 10).

    >>> mlp((4, 3, 2))(torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 2])

    Lesson 01.
    """
    if len(sizes) < 2:
        raise CourseError(f"An MLP needs at least an input and an output size, but you passed {tuple(sizes)}.")
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(require_positive("sizes", inputs), require_positive("sizes", outputs)), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet_300_100(input_shape: Sequence[int] = DIGITS, n_classes: int = 10) -> nn.Sequential:
    """LeNet-300-100: two hidden layers of 300 and 100 units; 266,610 parameters on 28×28 images, 50,610 on 8×8.

    >>> sum(p.numel() for p in lenet_300_100((1, 28, 28)).parameters())
    266610

    LeCun et al. 1998; pruned by Han et al. 2015. Lesson 02.
    """
    return mlp((math.prod(input_shape), 300, 100, n_classes))


def lenet_5(n_classes: int = 10) -> nn.Sequential:
    """LeNet-5 as Caffe wrote it and Han et al. 2015 pruned it, for 1×28×28 images: 431,080 parameters.

    >>> lenet_5()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])

    LeCun et al. 1998; Han et al. 2015. Lesson 01.
    """
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2),  # (20, 12, 12)
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),  # (50, 4, 4)
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, n_classes),
    )  # fmt: skip


class ScaledTanh(nn.Module):
    """1.716·tanh(2a/3), which takes ±1 to ±1: the squashing function of LeCun's networks of 1989.

    >>> ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0])).round(decimals=2)
    tensor([-1.,  0.,  1.])

    Lesson 04.
    """

    height, steepness = 1.716, 2 / 3

    def forward(self, a: Tensor) -> Tensor:
        """Squash every number."""
        return self.height * torch.tanh(self.steepness * a)

    def derivatives(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """First and second derivative, in terms of the output."""
        t = y / self.height
        slope = self.height * self.steepness * (1 - t * t)
        return slope, -2 * self.steepness * t * slope


class JoinedMaps(nn.Module):
    """Twelve maps from the planes that four groups of five kernels give: one plane each for four, two for eight.

    Of each input map's planes the first stands alone, two are added to planes of the next map, two to planes of the
    one before. Every map gets a bias; nothing is multiplied.
    """

    adds_only = True  # so second derivatives go back through it as they are

    def __init__(self) -> None:
        super().__init__()
        targets = [(k, 4 + 2 * k, 4 + 2 * ((k - 1) % 4), 5 + 2 * k, 5 + 2 * ((k - 1) % 4)) for k in range(4)]
        self.register_buffer("targets", torch.tensor(targets).flatten(), persistent=False)  # (planes,)
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(self, planes: Tensor) -> Tensor:
        """(batch, 20, height, width) -> (batch, 12, height, width)."""
        maps = self.bias.view(-1, 1, 1).expand(len(planes), 12, *planes.shape[2:])
        return maps.index_add(1, self.targets, planes)


def obd_net(n_classes: int = 10) -> nn.Sequential:
    """The network that Optimal Brain Damage pruned, for 1×28×28 images: 2,578 parameters, 98,442 connections.

    Two rounds of shared 5×5 kernels and of 2×2 averages with a gain and a bias per map, then a linear layer. Each of
    the second round's 12 maps sees one or two maps through 20 kernels in all; which ones, the paper does not say.
    The outputs are logits.

    >>> sum(p.numel() for p in obd_net().parameters())
    2578

    LeCun, Denker & Solla 1989. Lesson 04.
    """
    return nn.Sequential(
        nn.Conv2d(1, 4, 5), ScaledTanh(),  # (4, 24, 24)
        nn.AvgPool2d(2), nn.Conv2d(4, 4, 1, groups=4), ScaledTanh(),  # (4, 12, 12): one gain and one bias per map
        nn.Conv2d(4, 20, 5, groups=4, bias=False), JoinedMaps(), ScaledTanh(),  # (12, 8, 8)
        nn.AvgPool2d(2), nn.Conv2d(12, 12, 1, groups=12), ScaledTanh(),  # (12, 4, 4)
        nn.Flatten(), nn.Linear(192, n_classes),
    )  # fmt: skip


def small_cnn(
    input_shape: Sequence[int] = DIGITS, n_classes: int = 10, *, channels: Sequence[int] = (16, 32)
) -> nn.Sequential:
    """A small convolutional network for images of any size: 3×3 convolutions, each followed by ReLU and pooling.

    Args:
        input_shape: (channels, height, width); each pooling halves height and width.
        n_classes: outputs.
        channels: filters of each convolution.

    >>> small_cnn()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])

    Lesson 02.
    """
    if len(input_shape) != 3 or not channels:
        raise CourseError(
            f"input_shape is (channels, height, width) and channels holds at least one number, but you passed "
            f"input_shape={input_shape} and channels={channels}."
        )
    depth, height, width = input_shape
    shrink = 2 ** len(channels)
    if height < shrink or width < shrink:
        raise CourseError(
            f"{len(channels)} poolings need images of at least {shrink}×{shrink}, but these are {height}×{width}.\n"
            "Pass fewer channels."
        )
    layers: list[nn.Module] = []
    for inputs, outputs in zip((depth, *channels), channels, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    features = channels[-1] * (height // shrink) * (width // shrink)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, n_classes))


# Numbers are filters of 3×3 convolutions, "pool" halves height and width.
VGG_PLANS = {
    "vgg11": (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "pool"),
    "vgg16": (
        64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool",
    ),
}  # fmt: skip


def vgg(
    plan: str = "vgg16",
    *,
    form: str = "cifar",
    n_classes: int = 10,
    width: float = 1.0,
    batch_norm: bool = False,
) -> nn.Sequential:
    """A VGG network: 3×3 convolutions with pooling in between, then a classifier.

    Args:
        plan: "vgg11" or "vgg16".
        form: "cifar", for 3×32×32 images, with one linear layer as classifier; or "imagenet", for 3×224×224
            images, with two hidden layers of 4,096 units.
        n_classes: outputs.
        width: factor on all channel counts, so that 0.25 gives a narrow network of the same depth.
        batch_norm: put a batch norm behind every convolution.

    >>> sum(p.numel() for p in vgg(width=1 / 16).parameters()) < 100_000
    True

    Simonyan & Zisserman 2015. Lesson 01.
    """
    require_choice("plan", plan, VGG_PLANS)
    require_choice("form", form, ("cifar", "imagenet"))
    layers: list[nn.Module] = []
    channels = 3
    for step in VGG_PLANS[plan]:
        if step == "pool":
            layers.append(nn.MaxPool2d(2))
            continue
        filters = max(1, round(step * width))
        norm = [nn.BatchNorm2d(filters)] if batch_norm else []
        layers += [nn.Conv2d(channels, filters, 3, padding=1), *norm, nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten(), *vgg_classifier(form, channels, n_classes, width))


def vgg_classifier(form: str, channels: int, n_classes: int, width: float) -> list[nn.Module]:
    """What follows the convolutions: one linear layer on 1×1 maps (CIFAR), or three on 7×7 maps (ImageNet)."""
    if form == "cifar":
        return [nn.Linear(channels, n_classes)]
    hidden = max(1, round(4096 * width))
    return [
        nn.Linear(channels * 7 * 7, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, n_classes),
    ]  # fmt: skip


def empty(build, /, *arguments, **keywords) -> nn.Module:
    """Build a network on torch's `meta` device: shapes and names, but no memory for its weights.

    Good for counting what a network too large for the laptop would cost.

    >>> empty(vgg, form="imagenet").state_dict()["0.weight"].is_meta
    True

    Lesson 01.
    """
    with torch.device("meta"):
        return build(*arguments, **keywords)
