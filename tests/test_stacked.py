"""The stacked forward pass: equal to each network's own, and left to vmap wherever a layer is unusual."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import stack_module_state

from course_lib.models import lenet_5, mlp, obd_net, small_cnn
from course_lib.training.stacked import is_plain, stacked_forward


def shared() -> nn.Sequential:
    middle = nn.Linear(8, 8)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), middle, nn.ReLU(), middle)


def heard() -> nn.Sequential:
    model = mlp((64, 10))
    model[1].register_forward_hook(lambda layer, inputs, output: 2 * output)
    return model


PLAIN = {
    "mlp": lambda: mlp((64, 20, 10)),
    "convolutions": lambda: small_cnn(channels=(4, 8)),
    "one activation twice": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 9), relu := nn.ReLU(), nn.Linear(9, 9), relu
    ),
    "no biases": lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(108, 5, bias=False)
    ),
    "strides, groups, dilation": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=2), nn.Sigmoid(), nn.Conv2d(4, 6, 2, groups=2, dilation=2), nn.Flatten()
    ),
    "pools": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, padding="same"), nn.AvgPool2d(2), nn.MaxPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ),
    "flatten in the middle": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3), nn.Flatten()),
}
LEFT_TO_VMAP = {
    "shared weights": shared,
    "a hook": heard,
    "within a module": lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 4))),
    "a layer of its own kind": obd_net,
    "circular padding": lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten()),
    "another flatten": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(64, 2), nn.Flatten()),
}


def side(name: str) -> int:
    """Pixels to an edge."""
    return 28 if name == "a layer of its own kind" else 8


@pytest.mark.parametrize("name", [*PLAIN, *LEFT_TO_VMAP])
def test_all_at_once_gives_what_each_gives_alone(name: str) -> None:
    build = {**PLAIN, **LEFT_TO_VMAP}[name]
    torch.manual_seed(0)
    models = [build() for _ in range(3)]
    assert is_plain(models[0]) == (name in PLAIN)
    x = torch.randn(3, 5, 1, side(name), side(name))
    expected = torch.stack([model(images) for model, images in zip(models, x, strict=True)])
    weights, buffers = stack_module_state(models) if len(list(models[0].parameters())) else ({}, {})
    together = stacked_forward(models[0])(weights, buffers, x)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)


def test_the_nets_of_the_course_take_the_short_way() -> None:
    assert is_plain(lenet_5())
    assert is_plain(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)))
