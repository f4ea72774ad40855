"""Networks that are small by design, as they were published."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import nn

from course_lib.errors import CourseError, require_positive
from course_lib.models.efficient import Fire, InvertedResidual, conv_norm, separable_conv

# (filters, stride) of the separable convolutions.
MOBILENET = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip


def mobilenet(
    n_classes: int = 1000, *, width: float = 1.0, plan: Sequence[tuple[int, int]] = MOBILENET, channels: int = 3,
    first: tuple[int, int] = (32, 2), block: Callable[..., nn.Module] = separable_conv,
) -> nn.Sequential:  # fmt: skip
    """MobileNet (v1): a standard convolution, then separable ones only; 4,231,976 parameters at width 1.

    Args:
        n_classes: outputs.
        width: factor on all channel counts.
        plan: filters and stride of each separable convolution.
        channels: of the images.
        first: filters and stride of the first convolution.
        block: called as block(inputs, outputs, stride=stride); `standard_conv` gives the network that MobileNet replaces.

    >>> sum(p.numel() for p in mobilenet().parameters())
    4231976

    Howard et al. 2017. Lesson 15.
    """
    if not width > 0:
        raise CourseError(f"width is a factor on channel counts, above 0, but you passed {width!r}.")
    inputs = max(1, round(first[0] * width))
    layers = conv_norm(channels, inputs, 3, stride=first[1])
    for filters, stride in plan:
        outputs = max(1, round(filters * width))
        layers.append(block(inputs, outputs, stride=stride))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, n_classes))


def squeezenet(n_classes: int = 1000) -> nn.Sequential:
    """SqueezeNet (1.0), for 3×224×224 images: 1,248,424 parameters.

    >>> sum(p.numel() for p in squeezenet().parameters())
    1248424

    Iandola et al. 2016. Lesson 15.
    """
    require_positive("n_classes", n_classes)
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(), pool(),
        Fire(96, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), pool(),
        Fire(256, 32, 128), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), pool(),
        Fire(512, 64, 256), nn.Dropout(), nn.Conv2d(512, n_classes, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


# expansion, kernel, stride of the first, filters, repetitions of each stage.
EFFICIENTNET_B0 = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip


def in_eights(filters: float) -> int:
    """The multiple of 8 next to a number of filters, but not less than 90 % of it.

    >>> [in_eights(filters) for filters in (3.2, 19.2, 26.4, 100.0)]
    [8, 24, 24, 104]
    """
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


def efficientnet(n_classes: int = 1000, *, width: float = 1.0, depth: float = 1.0) -> nn.Sequential:
    """EfficientNet-B0, or a wider and deeper one: (1.0, 1.1) is B1, (1.1, 1.2) B2, (1.2, 1.4) B3.

    Args:
        n_classes: outputs.
        width: factor on all channel counts, which are then rounded to multiples of 8.
        depth: factor on the repetitions of each stage, which are then rounded up.

    >>> sum(p.numel() for p in efficientnet().parameters())
    5288548

    Tan & Le 2019. Lesson 15.
    """
    inputs, last = in_eights(32 * width), in_eights(1280 * width)
    layers = conv_norm(3, inputs, 3, stride=2, activation=nn.SiLU)
    for expansion, kernel, stride, filters, repetitions in EFFICIENTNET_B0:
        outputs = in_eights(filters * width)
        for k in range(math.ceil(repetitions * depth)):
            how = {"expansion": expansion, "kernel": kernel, "stride": stride if k == 0 else 1}
            layers.append(InvertedResidual(inputs, outputs, **how, activation=nn.SiLU, squeezed=inputs // 4))
            inputs = outputs
    layers += conv_norm(inputs, last, 1, activation=nn.SiLU)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, n_classes))


def efficientnet_b0(n_classes: int = 1000) -> nn.Sequential:
    """EfficientNet-B0, for 3×224×224 images: 5,288,548 parameters.

    >>> sum(p.numel() for p in efficientnet_b0().parameters())
    5288548

    Tan & Le 2019. Lesson 15.
    """
    return efficientnet(n_classes)
