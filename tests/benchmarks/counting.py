"""layer_costs against torch's FlopCounterMode, both on networks without memory for their weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib.measure import layer_costs
from course_lib.models import empty
from tests.benchmarks.side_by_side import Row, medians

IMAGE = (3, 224, 224)


def macs(model: nn.Module) -> int:
    """Ours."""
    return sum(cost.macs for cost in layer_costs(model, IMAGE))


def macs_by_torch(model: nn.Module) -> int:
    """The peer's: half the floating-point operations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *IMAGE, device="meta"))
    return counter.get_total_flops() // 2


def run(repetitions: int = 15) -> list[Row]:
    """ResNet-18, ResNet-50 and VGG-16 at 224×224; both must give the same number."""
    import torchvision

    rows = []
    for name in ("resnet18", "resnet50", "vgg16"):
        model = empty(getattr(torchvision.models, name)).eval()
        if macs(model) != macs_by_torch(model):
            raise RuntimeError(f"{name}: {macs(model)} MACs, but torch counts {macs_by_torch(model)}")
        calls = {"ours": lambda m=model: macs(m), "peer": lambda m=model: macs_by_torch(m)}
        ms = {one: 1000 * seconds for one, seconds in medians(calls, repetitions=repetitions, warmup=3).items()}
        rows.append(
            Row(f"count {name}: {macs(model) / 1e9:.4f} G MACs", ms["ours"], "ms", ms["peer"], "FlopCounterMode", 0.75)
        )
    return rows
