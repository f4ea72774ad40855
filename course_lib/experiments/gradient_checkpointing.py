"""Lesson 13: what a training step keeps and what it costs, plain, in segments, and by schedules."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.measure import peak_bytes
from course_lib.memory import checkpoint_sequential, keep_or_drop, run_plan, run_revolve
from course_lib.models import deep_chain
from course_lib.training import adam, batch_rows

Way = Callable[[nn.Sequential, Tensor], Tensor]  # how a chain is run: (layers, x) -> output


def plain(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Every layer keeps its activations."""
    return layers(x)


def in_segments(segments: int) -> Way:
    """Checkpointed in so many segments."""
    return lambda layers, x: checkpoint_sequential(layers, x, segments=segments)


def by_revolve(slots: int) -> Way:
    """Backward by Griewank's schedule, with so many slots for states."""
    return lambda layers, x: run_revolve(layers, x, slots=slots)


def by_plan(slots: int) -> Way:
    """By the best plan of keeping and dropping, with room for so many activations."""
    return lambda layers, x: run_plan(layers, x, keep_or_drop(len(layers), slots))


# --- one training step ---------------------------------------------------------------------------------------------


def step_of(layers: nn.Sequential, x: Tensor, way: Way) -> Callable[[], None]:
    """One training step: forward, a loss, backward."""
    return lambda: way(layers, x).square().mean().backward()


def peak_activations(layers: nn.Sequential, x: Tensor, way: Way) -> float:
    """The most memory that is alive at one time in a step, in tensors of the size of x.

    Room for the parameters' gradients is there before, as in the middle of a training.
    """
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return peak_bytes(step_of(layers, x, way)) / x.untyped_storage().nbytes()


def layer_runs(layers: nn.Sequential, x: Tensor, way: Way) -> int:
    """How many times a layer is run forward in a step, all layers together."""
    runs = []
    hooks = [layer.register_forward_hook(lambda *_: runs.append(1)) for layer in layers]
    step_of(layers, x, way)()
    for hook in hooks:
        hook.remove()
    return len(runs)


def gradients(layers: nn.Module, x: Tensor, way: Way, *, seed: int = 0) -> list[Tensor]:
    """The gradient of every parameter after one step from a random state."""
    layers.zero_grad()
    torch.manual_seed(seed)
    step_of(layers, x, way)()
    return [parameter.grad.clone() for parameter in layers.parameters()]


def slowdowns(
    layers: nn.Sequential, x: Tensor, ways: Mapping[object, Way], *, turns: int = 5
) -> dict[object, list[float]]:
    """Time of a step over the time of a plain one, turn by turn; plain and the others are timed in turn."""
    steps = {"plain": step_of(layers, x, plain), **{name: step_of(layers, x, way) for name, way in ways.items()}}
    steps["plain"]()  # warm-up
    times = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return {name: [a / b for a, b in zip(times[name], times["plain"], strict=True)] for name in ways}


def seconds(step: Callable[[], object]) -> float:
    """How long one call takes."""
    start = perf_counter()
    step()
    return perf_counter() - start


# --- training ------------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    """A linear layer, a chain of residual blocks that is run in the way one likes, a linear layer to the classes."""

    def __init__(self, pixels: int, *, blocks: int, width: int, dropout: float = 0.1, n_classes: int = 10) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(pixels, width), nn.Linear(width, n_classes)
        self.blocks = deep_chain(blocks, width, kind="residual", dropout=dropout)
        self.way: Way = plain

    def forward(self, x: Tensor) -> Tensor:  # (batch, …) -> (batch, classes)
        """Logits."""
        return self.head(self.way(self.blocks, self.stem(x.flatten(1))))


def trained_deep(data: Dataset, way: Way, *, steps: int, seed: int, blocks: int = 12, width: int = 64) -> Deep:
    """A deep network with dropout, trained on batches of 60; all that differs between two ways is the way."""
    torch.manual_seed(seed)
    net = Deep(data.train.x[0].numel(), blocks=blocks, width=width, n_classes=10)
    net.way = way
    step = adam(list(net.parameters()), lr=1e-3)
    for rows in batch_rows(len(data.train), batch_size=60, steps=steps, seed=seed):
        net.zero_grad()
        F.cross_entropy(net(data.train.x[rows]), data.train.y[rows]).backward()
        step()
    net.way = plain
    return net


def same_numbers(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks agree in every bit of every parameter and buffer."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# --- the proof by search -------------------------------------------------------------------------------------------


def fewest_by_search(length: int, slots: int) -> int:
    """The fewest forward steps that take a chain back, by trying every order of actions (for small sizes).

    Dijkstra's search over situations (where we stand, which states are kept, which step is due); it knows nothing of
    splits, formulas or schedules.

    >>> fewest_by_search(5, 2)
    6
    """
    start = (0, frozenset({0}), length - 1)
    best, queue, tie = {start: 0}, [(0, 0, start)], 0
    while queue:
        cost, _, situation = heapq.heappop(queue)
        if situation[2] < 0:
            return cost
        if cost > best[situation]:
            continue
        for price, following in moves(*situation, slots):
            if cost + price < best.get(following, 1 << 30):
                best[following], tie = cost + price, tie + 1
                heapq.heappush(queue, (cost + price, tie, following))
    return -1


def moves(at: int, kept: frozenset, due: int, slots: int) -> Iterator[tuple[int, tuple]]:
    """Everything that may be done next, with its price: only a step forward costs one."""
    if at < due:
        yield 1, (at + 1, kept, due)
    if at == due:
        yield 0, (at, kept, due - 1)
    if at not in kept and len(kept) < slots:
        yield 0, (at, kept | {at}, due)
    for state in kept:
        yield 0, (state, kept, due)
        yield 0, (at, kept - {state}, due)


# --- course run 13 -------------------------------------------------------------------------------------------------

BLOCKS, WIDTH, BATCH = 196, 256, 256
SCHEDULES: dict[str, Way] = {
    "plain": plain,
    **{f"{k} segments": in_segments(k) for k in (2, 4, 7, 14, 28, 49, 98)},
    **{f"revolve, {slots} slots": by_revolve(slots) for slots in (20, 10, 5, 3)},
}


def units(data: str, *, trials: int, iterations: int = 3) -> list[dict]:
    """One unit for each trial and schedule; `iterations` are timed steps."""
    return [
        {"data": data, "trial": trial, "schedule": schedule, "iterations": iterations}
        for trial in range(trials)
        for schedule in SCHEDULES
    ]


def measure(unit: dict) -> dict:
    """Peak memory, time, layer runs and the gradient (as a fingerprint) of a step of a network of 196 blocks."""
    data = load(unit["data"], fold=unit["trial"] % 5)
    x, way = data.train.x[:BATCH].flatten(1), SCHEDULES[unit["schedule"]]
    torch.manual_seed(unit["trial"])
    stem, layers = nn.Linear(x.shape[1], WIDTH), deep_chain(BLOCKS, WIDTH, kind="residual", dropout=0.1)
    x = stem(x).detach()
    found = gradients(layers, x, way, seed=unit["trial"])
    step = step_of(layers, x, way)
    return {
        "schedule": unit["schedule"],
        "gradient": hashlib.sha256(b"".join(g.numpy().tobytes() for g in found)).hexdigest(),
        "peak_mb": peak_activations(layers, x, way) * x.nbytes / 1e6,
        "runs": layer_runs(layers, x, way),
        "seconds": median(seconds(step) for _ in range(unit["iterations"])),
    }


def report(rows: Sequence[Mapping[str, object]]) -> str:
    """For each schedule: memory, layer runs, time (mean and spread over trials), and whether gradients are the same."""
    trials = {name: [row for row in rows if row["schedule"] == name] for name in SCHEDULES}
    lines = []
    for name, mine in trials.items():
        times = [row["seconds"] for row in mine]
        took = f"{summarise(times):.2f}" if len(times) > 1 else f"{times[0]:.2f}"
        same = all(a["gradient"] == b["gradient"] for a, b in zip(mine, trials["plain"], strict=True))
        lines.append(
            f"{name:18} peak {mine[0]['peak_mb']:6.1f} MB, {mine[0]['runs']:4} layer runs, {took} s a step, "
            f"gradient {'identical' if same else 'DIFFERS'}"
        )
    return "\n".join(lines)
