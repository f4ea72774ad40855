"""Fake quantization, a training step with it, calibration, and integer networks, beside torch's own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models import lenet_300_100
from course_lib.quantization.calibration import mse
from course_lib.quantization.integer import to_integer
from course_lib.quantization.qat import prepare
from course_lib.quantization.straight_through import fake_quantize_straight_through
from course_lib.quantization.uniform import choose_qparams
from tests.benchmarks.side_by_side import Row, medians


def run(repetitions: int = 15) -> Iterator[Row]:
    """All of lessons 08 to 10."""
    yield fake_quantization(repetitions)
    yield from training_steps(repetitions)
    x = torch.randn(1_000_000)
    seconds = medians({"ours": lambda: mse(x, bits=4)}, repetitions=repetitions)
    yield Row("range of least squared error, 1 million values", 1e3 * seconds["ours"], "ms", 50.0, "the goal", goal=1.0)
    yield from networks(repetitions)


def fake_quantization(repetitions: int) -> Row:
    """Forward and backward on 4.2 million values."""
    x, gradient = torch.randn(1024, 4096, requires_grad=True), torch.randn(1024, 4096)
    grid = choose_qparams(x.detach(), 8)
    scale, zero_point = grid.scale.item(), int(grid.zero_point)

    def ours() -> None:
        x.grad = None
        fake_quantize_straight_through(x, grid).backward(gradient)

    def peer() -> None:
        x.grad = None
        torch.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 255).backward(gradient)

    seconds = medians({"ours": ours, "torch": peer}, repetitions=repetitions)
    what = "fake-quantize forward + backward, 4.2 million"
    return Row(what, 1e3 * seconds["ours"], "ms", 1e3 * seconds["torch"], "torch.fake_quantize", goal=0.65)


def convolutions(inputs: int, widths: tuple[int, ...], side: int) -> nn.Sequential:
    """A network of 3×3 convolutions, a pool after every second one, for images of side × side."""
    layers: list[nn.Module] = []
    for index, width in enumerate(widths):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if index % 2 else []
        inputs = width
    side //= 2 ** (len(widths) // 2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * side * side, 10))


def cnn() -> nn.Sequential:
    """A small network of convolutions for 1×28×28 images."""
    return convolutions(1, (16, 16, 32, 32), 28)


def training_steps(repetitions: int) -> Iterator[Row]:
    """Forward and backward of two convolutional networks, beside the float step and beside torch.ao's."""
    for what, model, shape in (
        ("small CNN", cnn(), (64, 1, 28, 28)),
        ("six wide convolutions", convolutions(3, (64, 64, 128, 128, 256, 256), 32), (32, 3, 32, 32)),
    ):
        x, y = torch.rand(shape), torch.randint(10, shape[:1])
        models = {"ours": prepare(model), "float32": model}
        if (peer := torch_aware(model, x)) is not None:
            models["torch.ao"] = peer

        def step(model: nn.Module, x: Tensor = x, y: Tensor = y) -> None:
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()

        seconds = medians({name: partial(step, model) for name, model in models.items()}, repetitions=repetitions)
        for name in list(models)[1:]:
            row = f"a training step on the grid, {what}, against {name}"
            goal = 1.1 if name == "float32" else None
            yield Row(row, 1e3 * seconds["ours"], "ms", 1e3 * seconds[name], name, goal=goal)


def torch_aware(model: nn.Module, batch: Tensor) -> nn.Module | None:
    """The same through torch.ao's graph mode, while torch still has it."""
    try:
        from torch.ao.quantization import get_default_qat_qconfig_mapping
        from torch.ao.quantization.quantize_fx import prepare_qat_fx
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepare_qat_fx(copy.deepcopy(model).train(), get_default_qat_qconfig_mapping("x86"), (batch,))


def networks(repetitions: int) -> Iterator[Row]:
    """Integer networks at batch 32, beside float32 and beside torch's own int8 kernels."""
    for what, model, goal in (("LeNet-300-100", lenet_300_100((1, 28, 28)), 0.4), ("a small CNN", cnn(), 1 / 1.2)):
        model.eval()
        x = torch.rand(32, 1, 28, 28)
        integer = to_integer(model, torch.rand(64, 1, 28, 28))
        codes = integer.grid.quantize(x)
        works = {"ours": lambda i=integer, c=codes: i.run(c), "float32": lambda m=model, x=x: m(x)}
        if (peer := torch_int8(model, x)) is not None:
            works["torch int8"] = lambda p=peer, x=x: p(x)
        with torch.no_grad():
            seconds = medians(works, repetitions=10 * repetitions)
        for name in list(works)[1:]:
            row = f"integer {what}, batch 32, against {name}"
            yield Row(
                row, 1e6 * seconds["ours"], "us", 1e6 * seconds[name], name, goal=goal if name == "float32" else None
            )


def torch_int8(model: nn.Module, batch: Tensor) -> nn.Module | None:
    """The same through torch.ao's graph mode and fbgemm, while torch still has it."""
    try:
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping("x86"), (batch,))
        prepared(batch)
        return convert_fx(prepared)
