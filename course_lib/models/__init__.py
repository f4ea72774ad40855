"""The networks of the papers, at the size of the data they are given.

Every function returns a fresh network whose weights come from torch's global random state; seeding it is the caller's
business. `input_shape` is the shape of one example, (channels, height, width).
"""

from course_lib.models.classic import (
    DIGITS,
    VGG_PLANS,
    JoinedMaps,
    ScaledTanh,
    empty,
    lenet_5,
    lenet_300_100,
    mlp,
    obd_net,
    small_cnn,
    vgg,
)
from course_lib.models.compact import efficientnet, efficientnet_b0, mobilenet, squeezenet
from course_lib.models.deep import Gated, Residual, deep_chain
from course_lib.models.efficient import (
    Fire,
    InvertedResidual,
    SqueezeExcite,
    XceptionBlock,
    separable_conv,
    standard_conv,
)
from course_lib.models.regularised import Jitter, regularised_mlp
from course_lib.models.transformer import Transformer, generate

__all__ = [
    "DIGITS", "VGG_PLANS", "Fire", "Gated", "InvertedResidual", "Jitter", "JoinedMaps", "Residual", "ScaledTanh", "SqueezeExcite",
    "Transformer", "XceptionBlock", "deep_chain", "efficientnet", "efficientnet_b0", "empty", "generate", "lenet_5",
    "lenet_300_100", "mlp", "mobilenet", "obd_net", "regularised_mlp", "separable_conv", "small_cnn", "squeezenet", "standard_conv", "vgg",
]  # fmt: skip
