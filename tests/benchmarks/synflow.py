"""SynFlow, 100 iterations to 10 % on VGG-11 and VGG-16 at CIFAR's shape, beside the published way and the bare passes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.models import vgg
from course_lib.pruning import synflow
from course_lib.pruning.initial_scores import flow_gradients, positive_twin
from course_lib.pruning.scores import prunable
from tests.benchmarks.side_by_side import Row

SHAPE = (3, 32, 32)


def plain(model: nn.Module, compression: float, iterations: int) -> dict[str, Tensor]:
    """As published: masks multiplied in, absolute values taken and signs restored, kthvalue over all, every iteration."""
    twin = model.double().eval()
    weights = prunable(twin)
    masks = {name: torch.ones_like(weight) for name, weight in weights.items()}
    for k in range(1, iterations + 1):
        signs = {name: tensor.sign() for name, tensor in twin.state_dict().items()}
        with torch.no_grad():
            for tensor in twin.state_dict().values():
                tensor.abs_()
        masked = {name: weight * masks[name] for name, weight in weights.items()}
        outputs = torch.func.functional_call(twin, masked, (torch.ones(1, *SHAPE, dtype=torch.float64),))
        gradients = torch.autograd.grad(outputs.sum(), list(weights.values()))
        scores = {name: (w.detach() * g).abs() for (name, w), g in zip(weights.items(), gradients, strict=True)}
        with torch.no_grad():
            for name, tensor in twin.state_dict().items():
                tensor.mul_(signs[name])
        flat = torch.cat([score.flatten() for score in scores.values()])
        threshold = flat.kthvalue(round((1 - compression ** (-k / iterations)) * len(flat))).values
        masks = {name: (score > threshold).double() for name, score in scores.items()}
    return {name: mask.bool() for name, mask in masks.items()}


def passes(model: nn.Module, iterations: int) -> None:
    """Nothing but forward and backward."""
    twin, ones = positive_twin(model, SHAPE)
    weights = list(prunable(twin).values())
    for _ in range(iterations):
        flow_gradients(twin, weights, ones)


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    """The processor time of one call on one thread, and what it returned."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def run(iterations: int = 100) -> list[Row]:
    """Once each: a hundred iterations are a median of their own."""
    rows = []
    for plan in ("vgg11", "vgg16"):
        torch.manual_seed(0)
        model = vgg(plan, batch_norm=True)
        ours, masks = seconds(lambda: synflow.prune(model, 10, input_shape=SHAPE, iterations=iterations))  # noqa: B023
        floor, _ = seconds(lambda: passes(model, iterations))  # noqa: B023
        theirs, published = seconds(lambda: plain(model, 10, iterations))  # noqa: B023
        if not all(torch.equal(mask, published[name]) for name, mask in masks.items()):
            raise RuntimeError("the masks differ from the published algorithm's")
        what = f"SynFlow, {iterations} iterations, {plan}"
        rows.append(Row(what, ours, "s", theirs, "as published", goal=1 / 2.5))
        rows.append(Row(f"{what}: floor", ours, "s", floor, "forward + backward only", goal=3.0))
    return rows
