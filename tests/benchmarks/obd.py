"""Second derivatives of LeNet-5 (61,706 parameters), beside one gradient and beside BackPACK where it is installed.

BackPACK is no dependency of the course: `uv pip install backpack-for-pytorch` brings it for one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from course_lib.measure import peak_bytes
from course_lib.pruning.obd import diagonal_hessian, gauss_newton_diagonal
from tests.benchmarks.side_by_side import Row, medians

KINDS = {"ReLU and max pooling": (nn.ReLU, nn.MaxPool2d), "tanh and averages": (nn.Tanh, nn.AvgPool2d)}
GOALS = {  # of the Gauss-Newton diagonal's time, for each kind of network and number of images
    ("ReLU and max pooling", 256): 0.95, ("ReLU and max pooling", 1000): 0.7,
    ("tanh and averages", 256): 0.45, ("tanh and averages", 1000): 0.45,
}  # fmt: skip


def lenet_5(activation: type[nn.Module], pool: type[nn.Module]) -> nn.Sequential:
    """LeNet-5 as most libraries write it, for 1×28×28 images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), activation(), pool(2), nn.Conv2d(6, 16, 5), activation(), pool(2), nn.Flatten(),
        nn.Linear(400, 120), activation(), nn.Linear(120, 84), activation(), nn.Linear(84, 10),
    )  # fmt: skip


def run(repetitions: int = 5) -> Iterator[Row]:
    """The recursion (at most two gradients) and the Gauss-Newton diagonal: time, and memory."""
    for kind, batch in GOALS:
        yield from compare(kind, batch, repetitions)


def compare(kind: str, batch: int, repetitions: int) -> Iterator[Row]:
    """All rows of one kind of LeNet-5."""
    torch.manual_seed(0)
    x, y = torch.rand(batch, 1, 28, 28), torch.randint(10, (batch,))
    model = lenet_5(*KINDS[kind])
    peer = by_backpack(model, x, y)
    calls = {
        "gradient": lambda: torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())),
        "recursion": lambda: diagonal_hessian(model, x, y),
        "simplified": lambda: diagonal_hessian(model, x, y, exact_second_derivatives=False),
        "ours": lambda: gauss_newton_diagonal(model, x, y),
        **({"peer": peer} if peer else {}),
    }
    ms = {name: 1000 * seconds for name, seconds in medians(calls, repetitions=repetitions, warmup=2).items()}
    for name, what in {"recursion": "LeCun's recursion", "simplified": "the same without f''"}.items():
        yield Row(f"{what}, {kind}, N = {batch}", ms[name], "ms", ms["gradient"], "one gradient", goal=2.0)
    what, name = f"Gauss-Newton diagonal, {kind}, N = {batch}", "BackPACK DiagGGNExact" if peer else ""
    yield Row(what, ms["ours"], "ms", ms.get("peer"), name, goal=GOALS[kind, batch] if peer else None)
    if peer:
        yield Row(f"LeCun's recursion, {kind}, N = {batch}", ms["recursion"], "ms", ms["peer"], name, goal=0.25)
    mib = {who: peak_bytes(calls[who]) / 2**20 for who in ("ours", "peer") if who in calls}
    yield Row(f"{what}: peak memory", mib["ours"], "MiB", mib.get("peer"), name, goal=0.5 if peer else None)


def by_backpack(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object] | None:
    """A call that computes the same with BackPACK, once both are known to agree; None where it is not installed."""
    try:
        from backpack import backpack, extend
        from backpack.extensions import DiagGGNExact
    except ImportError:
        return None
    twin = lenet_5(type(model[1]), type(model[2]))
    twin.load_state_dict(model.state_dict())
    twin, loss = extend(twin), extend(nn.CrossEntropyLoss())

    def call() -> None:
        with backpack(DiagGGNExact()):
            loss(twin(x), y).backward()

    call()
    for ours, theirs in zip(gauss_newton_diagonal(model, x, y).values(), twin.parameters(), strict=True):
        apart = ((ours - theirs.diag_ggn_exact).norm() / theirs.diag_ggn_exact.norm()).item()
        if apart > 1e-6:
            raise RuntimeError(f"the diagonals differ by {apart:.1e}")
    return call
