"""Checkpointing and accumulation: live bytes at the peak, and time, beside torch's own and accelerate's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils import checkpoint as torch_checkpoint

from course_lib.measure import peak_bytes, saved_bytes
from course_lib.memory import accumulate, checkpoint_sequential, keep_or_drop, revolve
from course_lib.memory.accumulation import split_batch
from course_lib.memory.schedules import run_plan
from tests.benchmarks.side_by_side import Row, medians

LAYERS, WIDTH, BATCH, SEGMENTS = 50, 512, 1024, 7


def run(repetitions: int = 5) -> Iterator[Row]:
    """A chain of 50 equal layers; then a window of 8 micro-batches."""
    yield from checkpointing(repetitions)
    seconds = medians({"ours": lambda: revolve(1000, 10)}, repetitions=20)
    yield Row("revolve(1000, 10) planned", 1e3 * seconds["ours"], "ms", None, goal=50.0)
    yield from accumulation(repetitions)


def checkpointing(repetitions: int) -> Iterator[Row]:
    """Peak live bytes in activations, and time, of √n segments and of keep-or-drop plans."""
    torch.manual_seed(0)
    net = nn.Sequential(*(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()) for _ in range(LAYERS)))
    x = torch.randn(BATCH, WIDTH)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    forwards: dict[str, Callable] = {
        "plain": lambda: net(x),
        "torch": lambda: torch_checkpoint.checkpoint_sequential(net, SEGMENTS, x, use_reentrant=False),
        "root": lambda: checkpoint_sequential(net, x, segments=SEGMENTS),
        **{f"plan {slots}": lambda slots=slots: run_plan(net, x, keep_or_drop(LAYERS, slots)) for slots in (10, 6)},
    }
    steps = {name: lambda forward=forward: forward().square().sum().backward() for name, forward in forwards.items()}
    peaks = {name: peak_bytes(step) / (4 * BATCH * WIDTH) for name, step in steps.items()}
    seconds = medians(steps, repetitions=repetitions)

    def pair(name: str, peer: str, what: str, memory: float, time: float) -> Iterator[Row]:
        yield Row(f"{what}: peak", peaks[name], "activations", peaks[peer], peer, goal=memory)
        yield Row(f"{what}: time", 1e3 * seconds[name], "ms", 1e3 * seconds[peer], peer, goal=time)

    yield from pair("root", "torch", "7 segments, beside torch", 1.0, 1.05)
    yield from pair("root", "plain", "7 segments, beside plain", 0.34, 1.35)
    yield from pair("plan 10", "root", "keep or drop, 10 slots", 0.85, 1.08)
    yield from pair("plan 6", "root", "keep or drop, 6 slots", 0.65, 1.25)


def accumulation(repetitions: int) -> Iterator[Row]:
    """Eight micro-batches beside accelerate, which is no dependency of the course: `uv pip install accelerate`.

    The course's LeNet shows what the loop around the arithmetic costs; in a wide network arithmetic is nearly all.
    """
    torch.manual_seed(0)
    net, pieces = window_of(256, 512, 512, 10, micro_batch=64)
    weights = 4 * (net[2].weight.numel() + net[4].weight.numel())  # kept for the gradient of what comes in
    x, y = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    kept = [
        saved_bytes(lambda x=x, y=y: F.cross_entropy(net(x), y)) - weights
        for x, y in ((x, y), (x[:64].clone(), y[:64].clone()))
    ]
    yield Row("kept for one of 8 micro-batches", kept[1] / 1e3, "kB", kept[0] / 1e3, "the big batch", goal=1 / 7)
    yield beside_accelerate(
        "LeNet-300-100, 8 × 8 digits", *window_of(64, 300, 100, 10, micro_batch=8), repetitions, 0.9
    )
    yield beside_accelerate("wide network, 8 × 64", net, pieces, repetitions, None)


def window_of(*sizes: int, micro_batch: int) -> tuple[nn.Sequential, list]:
    """A network of linear layers, and a window of 8 micro-batches."""
    layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.ReLU())]
    x, y = torch.randn(8 * micro_batch, sizes[0]), torch.randint(sizes[-1], (8 * micro_batch,))
    return nn.Sequential(*layers[:-1]), split_batch(x, y, micro_batch)


def beside_accelerate(what: str, net: nn.Module, pieces: list, repetitions: int, goal: float | None) -> Row:
    """Our time for the window, and accelerate's where it is installed."""

    def ours() -> None:
        net.zero_grad()
        accumulate(net, pieces)

    works = {"ours": ours, **({"accelerate": peer} if (peer := by_accelerate(net, pieces)) else {})}
    ms = {name: 1e3 * seconds for name, seconds in medians(works, repetitions=20 * repetitions).items()}
    peer_ms = ms.get("accelerate")
    return Row(f"accumulate, {what}", ms["ours"], "ms", peer_ms, "accelerate", goal=goal if peer_ms else None)


def by_accelerate(net: nn.Module, pieces: list) -> Callable[[], None] | None:
    """The same window with accelerate, or None where it is not installed."""
    try:
        from accelerate import Accelerator
    except ImportError:
        return None
    accelerator = Accelerator(gradient_accumulation_steps=len(pieces), cpu=True)
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), lr=0.0))

    def window() -> None:
        for x, y in pieces:
            with accelerator.accumulate(model):
                accelerator.backward(F.cross_entropy(model(x), y))
                if accelerator.sync_gradients:
                    optimizer.zero_grad()

    return window
