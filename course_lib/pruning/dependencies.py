"""Which channels belong together: follow every channel through the network, and unite those that must go as one.

Each filter gets a number. Batch norm and ReLU pass the numbers on, a concatenation joins two lists, flattening repeats
each for every pixel, an addition unites those that meet. So every row and column of a weight knows its number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from course_lib.errors import CourseError
from course_lib.pruning.operations import (
    AVERAGING,
    CONVOLUTIONS,
    ELEMENTWISE,
    JOINING,
    KEEPING,
    MEETING,
    MIXING,
    NORMS,
    RESHAPING,
    averaged,
    only_flattens,
    refusal,
    reshaped,
)
from course_lib.pruning.requirements import require_all_seen, require_own_weights


@dataclass(frozen=True)
class Slot:
    """One axis of one tensor of a layer, and the channel number of each place on it."""

    layer: str
    tensor: str
    axis: int
    ids: tuple[int, ...]


@dataclass
class Channels:
    """The channel numbers of a network: which are the same (`parent`), which stay, and where each is stored."""

    parent: list[int] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)  # the network's inputs and outputs
    slots: list[Slot] = field(default_factory=list)
    example: Tensor | None = None  # what went through the network
    output: object = None  # and what came out
    filters: dict[str, tuple[int, ...]] = field(default_factory=dict)  # layer -> the number of each of its filters

    def fresh(self, count: int) -> tuple[int, ...]:
        """New numbers."""
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return tuple(range(start, start + count))

    def root(self, channel: int) -> int:
        """The number that stands for all those united with this one."""
        while self.parent[channel] != channel:
            self.parent[channel] = self.parent[self.parent[channel]]
            channel = self.parent[channel]
        return channel

    def unite(self, first: Sequence[int], second: Sequence[int]) -> None:
        """Channels in the same place of the two lists go or stay together."""
        for a, b in zip(first, second, strict=True):
            self.parent[self.root(b)] = self.root(a)

    def roots(self) -> list[int]:
        """The root of every number."""
        return [self.root(channel) for channel in range(len(self.parent))]


class Follower(fx.Interpreter):
    """Runs the traced network on the example, and keeps the channel numbers of every tensor beside its value."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, garbage_collect_values=False, graph=graph)
        self.channels = Channels()
        self.ids: dict[fx.Node, tuple[int, ...] | None] = {}
        self.extra_traceback = False
        self.seen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}  # layer -> ids in, ids out

    def run_node(self, node: fx.Node) -> object:
        """Compute the value, then the channel numbers."""
        value = super().run_node(node)
        if node.op == "output":
            self.channels.output = value
            for source in node.all_input_nodes:
                self.channels.kept.update(self.ids[source] or ())
        else:
            self.ids[node] = self.follow(node, value) if isinstance(value, Tensor) else None
        return value

    def follow(self, node: fx.Node, value: Tensor) -> tuple[int, ...] | None:
        """The channel numbers of a node's value."""
        if node.op == "placeholder":
            self.channels.example = value
            self.channels.kept.update(ids := self.channels.fresh(value.shape[1] if value.dim() > 1 else 0))
            return ids
        if node.op == "get_attr":
            return None
        sources = [source for source in node.all_input_nodes if isinstance(self.env[source], Tensor)]
        if any(self.ids[source] is None and self.env[source].numel() != 1 for source in sources) or not sources:
            raise refusal(node, "it combines channels with a tensor that is not one of the network's layers")
        if node.op == "call_module":
            return self.through_layer(
                node, self.fetch_attr(node.target), self.ids[sources[0]], self.env[sources[0]], value
            )
        return self.through_function(node, sources, value)

    def through_layer(
        self, node: fx.Node, layer: nn.Module, ids: tuple[int, ...], x: Tensor, value: Tensor
    ) -> tuple[int, ...]:
        """What a layer does to the numbers of its input."""
        if isinstance(layer, nn.Flatten):
            return reshaped(node, ids, x, value)
        if node.target in self.seen:  # a layer with weights that runs again has the channels of the first time
            first, out = self.seen[node.target]
            self.channels.unite(first, ids)
            return out
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            self.seen[node.target] = (ids, self.through_weights(node, layer, ids, x))
            return self.seen[node.target][1]
        if isinstance(layer, NORMS) or (isinstance(layer, nn.PReLU) and layer.weight.numel() > 1):
            self.seen[node.target] = (ids, ids)
            return self.through_norm(node, layer, ids)
        if not isinstance(layer, ELEMENTWISE) or isinstance(layer, MIXING) or value.shape[:2] != x.shape[:2]:
            raise refusal(node, f"{type(layer).__name__} may mix channels")
        return ids

    def through_norm(self, node: fx.Node, layer: nn.Module, ids: tuple[int, ...]) -> tuple[int, ...]:
        """A layer with numbers of its own for every channel."""
        for name in ("weight", "bias", "running_mean", "running_var"):
            if getattr(layer, name, None) is not None:
                self.channels.slots.append(Slot(node.target, name, 0, ids))
        return ids

    def through_weights(self, node: fx.Node, layer: nn.Module, ids: tuple[int, ...], x: Tensor) -> tuple[int, ...]:
        """A convolution or linear layer: new numbers for its filters, unless it is depthwise."""
        if x.dim() != layer.weight.dim():
            raise refusal(node, f"its input has {x.dim()} dimensions, where a batch has {layer.weight.dim()}")
        groups = getattr(layer, "groups", 1)
        rows = layer.weight.shape[0]
        columns = () if groups == len(ids) > 1 else ids[: len(ids) // groups]
        if not columns:  # depthwise: filter j reads channel j // (rows / groups) alone
            out = tuple(channel for channel in ids for _ in range(rows // groups))
        else:
            out = self.channels.fresh(rows)
            self.unite_groups(ids, groups)
            self.unite_groups(out, groups)
        self.channels.slots.append(Slot(node.target, "weight", 0, out))
        if columns:
            self.channels.slots.append(Slot(node.target, "weight", 1, columns))
        if layer.bias is not None:
            self.channels.slots.append(Slot(node.target, "bias", 0, out))
        self.channels.filters[node.target] = out
        return out

    def unite_groups(self, ids: tuple[int, ...], groups: int) -> None:
        """Groups must stay equally large, so the same place goes from each of them."""
        size = len(ids) // groups
        for start in range(size, len(ids), size):
            self.channels.unite(ids[:size], ids[start : start + size])

    def through_function(self, node: fx.Node, sources: list[fx.Node], value: Tensor) -> tuple[int, ...]:
        """What a function or a tensor's method does to the numbers of its inputs."""
        ids, x = self.ids[sources[0]], self.env[sources[0]]
        if node.target in JOINING:
            return self.joined(node, value)
        if node.target in RESHAPING:
            return reshaped(node, ids, x, value)
        if node.target in AVERAGING:
            return averaged(node, ids, x)
        if node.target in KEEPING and value.shape[:2] == x.shape[:2] and value.dim() >= 2:
            return ids
        if node.target in MEETING:
            return self.met(node, sources, value)
        raise refusal(node, "what it does to channels is not known")

    def joined(self, node: fx.Node, value: Tensor) -> tuple[int, ...]:
        """A concatenation along the channels."""
        parts = node.args[0] if node.args else node.kwargs["tensors"]
        ids = tuple(channel for part in parts for channel in self.ids[part])
        if len(ids) != value.shape[1]:
            raise refusal(node, "it joins along another axis than the channels")
        return ids

    def met(self, node: fx.Node, sources: list[fx.Node], value: Tensor) -> tuple[int, ...]:
        """Two tensors meet number by number: their channels are one from now on."""
        tensors = [source for source in sources if self.env[source].numel() != 1]
        lists = [self.ids[source] for source in tensors]
        if (
            any(self.env[s].dim() != value.dim() or self.env[s].shape[1] != value.shape[1] for s in tensors)
            or not lists
        ):
            raise refusal(node, "the two have different numbers of channels")
        for other in lists[1:]:
            self.channels.unite(lists[0], other)
        return lists[0]


def follow_channels(model: nn.Module, example_input: Tensor) -> Channels:
    """Trace the network and follow its channels through one run on the example; the model is left as it is.

    Raises:
        CourseError: the network cannot be traced, does not take the example, or does what is not understood.

    >>> channels = follow_channels(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3)), torch.zeros(1, 1, 2, 2))
    >>> [slot.ids for slot in channels.slots if slot.layer == "2" and slot.axis == 1]
    [(1, 1, 1, 1, 2, 2, 2, 2)]

    Fang et al. 2023. Lesson 07.
    """
    require_own_weights(model)
    modes = {layer: layer.training for layer in model.modules()}
    try:
        follower = followed(model.eval(), example_input)
    except CourseError:
        raise
    except Exception as error:  # a learner's forward may raise anything
        raise CourseError(
            f"{type(model).__name__} cannot be followed from its input to its output: {str(error).splitlines()[0]}\n"
            "Its forward must not branch on the values of tensors, and must take example_input, a batch."
        ) from None
    finally:
        for layer, was_training in modes.items():
            layer.training = was_training
    require_all_seen(model, follower.seen)
    return follower.channels


@torch.no_grad()
def followed(model: nn.Module, example_input: Tensor) -> Follower:
    """Trace once, and run a batch of no examples, which costs nothing; where that does not do, the example."""
    graph = fx.Tracer().trace(model)
    if only_flattens(model, graph):
        with contextlib.suppress(Exception):  # not every layer takes an empty batch; what is wrong shows below too
            (follower := Follower(model, graph)).run(example_input[:0])
            return follower
    (follower := Follower(model, graph)).run(example_input)
    return follower
