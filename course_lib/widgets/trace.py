"""Follow one training step of a chain of layers: which layer is at work, and what of its making is alive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.measure.memory import AllocationTracker

__all__ = ["Trace", "traced"]

Bar = tuple[int, int, int, float, bool]


@dataclass(frozen=True)
class Trace:
    """What happened in one step.

    Attributes:
        events: ("run" without a graph, "record" with one or "back", layer), in order.
        live: the most that was alive during each event, in activations.
        bars: (layer, first event, event after the last, activations, made with a graph) of what outlived its event.
    """

    events: list[tuple[str, int]]
    live: list[float]
    bars: list[Bar]

    @property
    def peak(self) -> float:
        """The most that was alive at one time."""
        return max(self.live)

    @property
    def peak_percent(self) -> int:
        """Where in the step that was."""
        return round(100 * self.live.index(self.peak) / max(1, len(self.live) - 1))

    @property
    def runs(self) -> int:
        """How many times a layer was run forward."""
        return sum(doing != "back" for doing, _ in self.events)


def traced(layers: nn.Sequential, way: Callable[[list], Tensor], *, unit: float) -> Trace:
    """Run a step, forward and backward, and note what happens.

    Args:
        layers: their gradients are overwritten.
        way: runs a list of layers, and returns the output.
        unit: bytes of one activation.

    >>> chain = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    >>> x = torch.ones(3, 2)
    >>> traced(chain, lambda layers: layers[1](layers[0](x)), unit=24).events
    [('record', 0), ('record', 1), ('back', 1), ('back', 0)]

    Lesson 13.
    """
    for parameter in layers.parameters():
        parameter.grad = torch.zeros_like(parameter)
    tracer = Tracer()
    with torch.random.fork_rng(devices=[]), tracer:
        way([tracer.followed(place, layer) for place, layer in enumerate(layers)]).sum().backward()
    tracer.close()
    return Trace(tracer.events, [live / unit for live in tracer.live_at], bars_of(tracer.lives, unit))


class Tracer(AllocationTracker):
    """Counts live bytes event by event, and remembers who made what."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, int]] = []
        self.live_at: list[int] = []
        self.lives: list[tuple[int, int, int, int, bool]] = []  # (layer, birth, death, bytes, graph)
        self.alive: dict[int, tuple[int, int, int, bool]] = {}

    def followed(self, place: int, layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """The layer, announced before it runs and before its backward pass begins."""

        def run(x: Tensor) -> Tensor:
            self.begin("record" if torch.is_grad_enabled() else "run", place)
            out = layer(x)
            if out.requires_grad:
                out.register_hook(lambda _gradient: self.begin("back", place))
            return out

        return run

    def begin(self, doing: str, place: int) -> None:
        """A layer begins to work."""
        self.events.append((doing, place))
        self.live_at.append(self.live)

    def note(self, storage: torch.UntypedStorage) -> None:
        """Count a new piece of memory, and remember its maker."""
        super().note(storage)
        if self.events:
            self.live_at[-1] = max(self.live_at[-1], self.live)
            doing, place = self.events[-1]
            if doing != "back":
                self.alive[storage._cdata] = (place, len(self.events) - 1, storage.nbytes(), doing == "record")

    def strike_off(self, key: int, n_bytes: int) -> None:
        """Its life is over."""
        super().strike_off(key, n_bytes)
        self.end(key)

    def end(self, key: int) -> None:
        """Write down a life that lasted longer than the event it began in."""
        if key in self.alive:
            place, birth, size, graph = self.alive.pop(key)
            if len(self.events) - 1 > birth:
                self.lives.append((place, birth, len(self.events), size, graph))

    def close(self) -> None:
        """What is still alive lived to the end."""
        for key in list(self.alive):
            self.end(key)


def bars_of(lives: Sequence[tuple[int, int, int, int, bool]], unit: float) -> list[Bar]:
    """Lives of one layer, added up: a bar for each stretch in which the same amount is alive."""
    bars = []
    for layer in sorted({life[0] for life in lives}):
        mine = [life for life in lives if life[0] == layer]
        edges = sorted({edge for _, birth, death, _, _ in mine for edge in (birth, death)})
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            held = [(size, graph) for _, birth, death, size, graph in mine if birth <= start < death]
            if held and sum(size for size, _ in held) >= 0.05 * unit:
                bars.append((layer, start, end, sum(s for s, _ in held) / unit, any(g for _, g in held)))
    return bars
