"""The blocks of networks that are small by design. compact.py builds the published networks of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, activation=nn.ReLU):
    """Convolution, batch norm and, if there is one, an activation."""
    padding = (kernel - 1) // 2
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)]
    return layers + ([activation()] if activation else [])


def standard_conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A standard convolution in the place of a separable one: every kernel reads every channel.

    >>> standard_conv(8, 16)(torch.zeros(1, 8, 6, 6)).shape
    torch.Size([1, 16, 6, 6])

    Lesson 15.
    """
    return nn.Sequential(*conv_norm(inputs, outputs, kernel, stride=stride))


def separable_conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A depthwise separable convolution: one k×k kernel for each channel, then 1×1 kernels that mix the channels.

    It costs 1/outputs + 1/kernel² of the multiply-adds of a standard convolution.

    Args:
        inputs, outputs: channels.
        kernel, stride: of the depthwise part.

    >>> separable_conv(8, 16)(torch.zeros(1, 8, 6, 6)).shape
    torch.Size([1, 16, 6, 6])

    Howard et al. 2017 (MobileNet). Lesson 15.
    """
    depthwise = conv_norm(inputs, inputs, kernel, stride=stride, groups=inputs)
    return nn.Sequential(*depthwise, *conv_norm(inputs, outputs, 1))


class Fire(nn.Module):
    """Squeeze to few channels with 1×1 kernels, then expand with 1×1 and 3×3 kernels side by side.

    Args:
        inputs: channels that come in.
        squeeze: channels in the middle.
        expand: channels of *each* of the two branches that come out, 2 · expand in all.

    >>> Fire(96, squeeze=16, expand=64)(torch.zeros(1, 96, 5, 5)).shape
    torch.Size([1, 128, 5, 5])

    Iandola et al. 2016 (SqueezeNet). Lesson 15.
    """

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand_1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand_3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, 2 · expand, height, width)."""
        x = torch.relu(self.squeeze(x))
        return torch.cat([self.expand_1x1(x), self.expand_3x3(x)], dim=1).relu()


class SqueezeExcite(nn.Module):
    """A gain for each channel, from the means of all channels.

    >>> SqueezeExcite(8, 2)(torch.ones(1, 8, 3, 3)).shape
    torch.Size([1, 8, 3, 3])

    Hu et al. 2018. Lesson 15.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width), each channel times its gain between 0 and 1."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.excite(nn.functional.silu(self.squeeze(means))).sigmoid()


class InvertedResidual(nn.Module):
    """Expand to many channels, filter each on its own, and project back to few; the shortcut joins the narrow ends.

    Args:
        inputs, outputs: channels at the two ends.
        expansion: how many times wider the middle is.
        kernel, stride: of the depthwise convolution in the middle.
        activation: between the convolutions; after the projection there is none.
        squeezed: channels of a SqueezeExcite in the middle, or None for no such thing.

    >>> InvertedResidual(16, 16, expansion=6)(torch.zeros(2, 16, 4, 4)).shape
    torch.Size([2, 16, 4, 4])

    Sandler et al. 2018 (MobileNetV2); Tan & Le 2019 (EfficientNet). Lesson 15.
    """

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int = 6, kernel: int = 3, stride: int = 1,
        activation: type[nn.Module] = nn.ReLU6, squeezed: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        middle = expansion * inputs
        expand = conv_norm(inputs, middle, 1, activation=activation) if expansion > 1 else []
        depthwise = conv_norm(middle, middle, kernel, stride=stride, groups=middle, activation=activation)
        excite = [SqueezeExcite(middle, squeezed)] if squeezed else []
        self.body = nn.Sequential(*expand, *depthwise, *excite, *conv_norm(middle, outputs, 1, activation=None))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, height / stride, width / stride)."""
        return x + self.body(x) if self.shortcut else self.body(x)


class XceptionBlock(nn.Module):
    """Two separable convolutions and pooling, beside a strided 1×1 convolution.

    Chollet 2017. Lesson 15.

    >>> XceptionBlock(8, 16)(torch.zeros(1, 8, 6, 6)).shape
    torch.Size([1, 16, 3, 3])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *separable_without_relu(inputs, outputs), nn.ReLU(), *separable_without_relu(outputs, outputs),
            nn.MaxPool2d(3, 2, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(*conv_norm(inputs, outputs, 1, stride=2, activation=None))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, height, width) -> (batch, outputs, ⌈height / 2⌉, ⌈width / 2⌉)."""
        return self.body(x) + self.shortcut(x)


def separable_without_relu(inputs: int, outputs: int) -> list[nn.Module]:
    """Xception's form: nothing between the depthwise and the 1×1 convolution."""
    return [
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        *conv_norm(inputs, outputs, 1, activation=None),
    ]
