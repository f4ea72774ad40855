"""Half of ResNet-18's filters removed: the time that takes, and what it saves, beside Torch-Pruning where it is installed."""

from __future__ import annotations

import time

import torch
from torch import nn

from course_lib.pruning.structured import mask_filters, remove_filters
from tests.benchmarks.side_by_side import Row, medians


def theirs(model: nn.Module, x: torch.Tensor) -> nn.Module | None:
    """Torch-Pruning's smaller network, or None where it is not installed; it changes the model it is given."""
    try:
        import torch_pruning as tp
    except ImportError:
        return None
    importance = tp.importance.GroupMagnitudeImportance(p=1)
    tp.pruner.BasePruner(
        model, x, importance=importance, pruning_ratio=0.5, ignored_layers=[model.fc], round_to=8
    ).step()
    return model


def resnet18() -> nn.Module:
    """The same weights every time."""
    import torchvision

    torch.manual_seed(0)
    return torchvision.models.resnet18().eval()


def pruning_seconds(prune, x: torch.Tensor, repetitions: int = 5) -> float:
    """The best of a few runs, each on a fresh network, after one to warm up."""
    times = []
    for _ in range(repetitions + 1):
        model = resnet18()
        start = time.perf_counter()
        prune(model, x)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def run(repetitions: int = 15) -> list[Row]:
    """Latency at batch 1 and 224×224, dense, removed and masked in turns; pruning traces a 32×32 image."""
    small, image = torch.randn(1, 3, 32, 32), torch.randn(1, 3, 224, 224)
    networks = {
        "dense": resnet18(),
        "removed": remove_filters(resnet18(), 0.5, example_input=small),
        "masked": mask_filters(resnet18(), 0.5, example_input=small),
    }
    peer = theirs(resnet18(), small)
    if peer is not None:
        networks["peer"] = peer
    with torch.no_grad():
        calls = {name: lambda network=network: network(image) for name, network in networks.items()}
        ms = {name: 1000 * seconds for name, seconds in medians(calls, repetitions=repetitions, warmup=3).items()}
    ours = pruning_seconds(lambda model, x: remove_filters(model, 0.5, example_input=x), small)
    other = None if peer is None else pruning_seconds(theirs, small)
    what = "ResNet-18, half its filters"
    rows = [
        Row(f"{what} removed: latency", ms["removed"], "ms", ms["dense"], "dense", goal=0.4),
        Row(f"{what} masked: latency", ms["masked"], "ms", ms["dense"], "dense"),
        Row(f"{what}: time to remove them", ours, "s", other, "Torch-Pruning" if other else "", 0.3 if other else None),
    ]
    if peer is not None:
        rows.append(Row(f"{what} removed: latency, beside the peer", ms["removed"], "ms", ms["peer"], "Torch-Pruning"))
    return rows
