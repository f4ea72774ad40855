"""A training step with masks in force, against a dense step and against torch.nn.utils.prune's hooks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores
from course_lib.training import sgd
from course_lib.training.loop import mask_keeper
from tests.benchmarks.side_by_side import Row, medians


def resnet18() -> nn.Module:
    """The same weights every time."""
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=10)


def step_of(model: nn.Module, keep_masks: Callable[[], object]) -> Callable[[], None]:
    """One step of `fit`'s loop on a fixed batch."""
    x, y = torch.rand(32, 3, 32, 32), torch.randint(10, (32,))
    step_weights = sgd(list(model.parameters()), 1e-3)
    model.train()

    def step() -> None:
        loss = F.cross_entropy(model(x), y)
        model.zero_grad()
        loss.backward()
        step_weights()
        keep_masks()

    return step


def run(repetitions: int = 15) -> list[Row]:
    """ResNet-18 at 32×32, batch 32, 90 % sparse."""
    dense, masked, hooked = resnet18(), resnet18(), resnet18()
    masks = masks_from_scores(magnitude_scores(masked), 0.9)
    apply_masks_(masked, masks)
    layers = [(layer, "weight") for layer in hooked.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.9)
    steps = {
        "dense": step_of(dense, lambda: None),
        "ours": step_of(masked, mask_keeper(dict(masked.named_parameters()), masks)),
        "hooks": step_of(hooked, lambda: None),
    }
    ms = {name: 1000 * seconds for name, seconds in medians(steps, repetitions=repetitions, warmup=3).items()}
    return [
        Row("masked step of ResNet-18", ms["ours"], "ms", ms["dense"], "dense step", goal=1.06),
        Row("masked step of ResNet-18, beside torch", ms["ours"], "ms", ms["hooks"], "torch prune hooks"),
        Row("torch prune hooks, for comparison", ms["hooks"], "ms", ms["dense"], "dense step"),
    ]
