"""A network that computes with whole numbers alone, from a trained float network and a batch of its inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.fx
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.quantization.calibration import minmax
from course_lib.quantization.folding import fold_batch_norm, traced
from course_lib.quantization.integer_layers import Grid, IntegerConv2d, IntegerLinear
from course_lib.quantization.integer_operations import (
    IntegerAdd,
    IntegerAvgPool2d,
    IntegerFlatten,
    IntegerMaxPool2d,
    IntegerReLU,
    check_pooling,
)
from course_lib.quantization.uniform import qparams_of_range

# What stands in the graph of a forward pass -> its kind.
FUNCTIONS = {
    operator.add: "add", operator.iadd: "add", torch.add: "add", "add": "add", torch.flatten: "flatten",
    "flatten": "flatten", torch.relu: "relu", nn.functional.relu: "relu", "relu": "relu",
}  # fmt: skip
MODULES = {
    nn.Linear: "linear", nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "max", nn.AvgPool2d: "average",
    nn.AdaptiveAvgPool2d: "average", nn.Flatten: "flatten",
}  # fmt: skip
SUPPORTED = "Linear, Conv2d, batch norm (folded), ReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), Flatten, Dropout, +"


@dataclass(frozen=True)
class Step:
    """One layer of an integer network: its name in the float network, the layer, and whose outputs it takes."""

    name: str
    layer: nn.Module
    inputs: tuple[str, ...]


class IntegerNetwork(nn.Module):
    """int8 codes from layer to layer, int32 sums inside; floats only at the two doors.

    Attributes:
        steps: the layers in the order in which they run.
        grid: of the input's codes; `out` of the logits'.

    Lesson 09.
    """

    def __init__(self, steps: list[Step], source: str, grid: Grid) -> None:
        super().__init__()
        self.steps, self.source, self.grid = steps, source, grid
        self.layers = nn.ModuleList(step.layer for step in steps)
        self.out = steps[-1].layer.out if steps else grid

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Real inputs -> real logits, by way of integers."""
        return self.out.dequantize(self.run(self.grid.quantize(x)))

    @torch.no_grad()
    def simulated(self, x: Tensor) -> Tensor:
        """The fake-quantized network: the same grids, but every layer computes in floats between them."""
        return self.out.dequantize(self.run(self.grid.quantize(x), simulate=True))

    def run(
        self, codes: Tensor, *, simulate: bool = False, watch: Callable[[Step, list[Tensor]], object] | None = None
    ):
        """Codes of the input, int8 -> codes of the logits; `watch` sees every step and what goes into it."""
        values = {self.source: codes}
        for step in self.steps:
            inputs = [values[name] for name in step.inputs]
            if watch is not None:
                watch(step, inputs)
            values[step.name] = step.layer.simulated(*inputs) if simulate else step.layer(*inputs)
        return values[self.steps[-1].name]


@torch.no_grad()
def to_integer(
    model: nn.Module, batch: Tensor, *, calibrate: Callable[[Tensor], tuple[Tensor, Tensor]] = minmax
) -> IntegerNetwork:
    """The integer network of a trained float network.

    Weights get symmetric grids of 8 bits, one for each output channel; activations get affine grids of 8 bits over the
    range that the batch shows. Batch norms are folded first; a ReLU joins the layer before it.

    Args:
        model: a network that torch.fx can trace, of the layers listed in the error below; it is left as it is.
        batch: typical inputs, (examples, *shape); a few hundred are enough.
        calibrate: activations -> (low, high).

    Raises:
        CourseError: a layer that has no integer version, or a model that cannot be traced.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.randn(100, 4)
    >>> integer = to_integer(net, x)
    >>> (integer(x) - net(x)).abs().max().item() < 0.1, integer.layers[0].codes.dtype
    (True, torch.int8)

    Jacob et al. 2018. Lesson 09.
    """
    graph = without_identities(traced(fold_batch_norm(model)))
    ranges = activation_grids(graph, batch, calibrate)
    steps: list[Step] = []
    grids: dict[str, Grid] = {}  # node -> the grid of its codes
    names: dict[str, str] = {}  # node -> the step whose codes it stands for
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            grids[node.name], names[node.name], source = ranges[node.name], node.name, node.name
        elif node.op != "output":
            inputs = [names[value.name] for value in node.all_input_nodes]
            if is_fused(graph, node):
                names[node.name] = inputs[0]
                continue
            out = ranges[rectified(graph, node).name]
            layer = integer_layer(graph, node, [grids[name] for name in inputs], out)
            steps.append(Step(node.name, layer, tuple(inputs)))
            grids[node.name], names[node.name] = layer.out, node.name
    return IntegerNetwork(steps, source, grids[source])


def without_identities(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """The graph without the layers that do nothing in use: dropout, and where batch norms stood."""
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and isinstance(graph.get_submodule(node.target), nn.Identity | nn.Dropout):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def activation_grids(graph: torch.fx.GraphModule, batch: Tensor, calibrate: Callable) -> dict[str, Grid]:
    """The grid of every value in the graph, from one batch: node name -> Grid."""
    grids: dict[str, Grid] = {}

    class Watch(torch.fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if isinstance(value, Tensor):
                grids[node.name] = Grid.of(qparams_of_range(*calibrate(value), 8))
            return value

    Watch(graph).run(batch)
    return grids


def kind_of(graph: torch.fx.GraphModule, node: torch.fx.Node) -> str:
    """Which integer layer a node needs, or a clear refusal."""
    if node.op == "call_module":
        what = graph.get_submodule(node.target)
        kind = MODULES.get(type(what))
    else:
        what, kind = node.target, FUNCTIONS.get(node.target)
    if kind is None or (kind == "add" and len(node.all_input_nodes) != 2):
        raise CourseError(f"There is no integer version of {what} ({node.name}). It covers {SUPPORTED}.")
    return kind


def rectified(graph: torch.fx.GraphModule, node: torch.fx.Node) -> torch.fx.Node:
    """The ReLU that a product or a sum flows into, if nothing else uses it; else the node itself."""
    if kind_of(graph, node) in ("linear", "conv", "add") and len(node.users) == 1:
        (user,) = node.users
        if user.op != "output" and kind_of(graph, user) == "relu":
            return user
    return node


def is_fused(graph: torch.fx.GraphModule, node: torch.fx.Node) -> bool:
    """Is this a ReLU that the layer before it does by saturation?"""
    return kind_of(graph, node) == "relu" and (
        node.all_input_nodes[0].op != "placeholder" and rectified(graph, node.all_input_nodes[0]) is node
    )


def integer_layer(graph: torch.fx.GraphModule, node: torch.fx.Node, grids: list[Grid], out: Grid) -> nn.Module:
    """The integer version of one node of the graph."""
    kind = kind_of(graph, node)
    layer = graph.get_submodule(node.target) if node.op == "call_module" else None
    if kind == "linear":
        return IntegerLinear(layer.weight, layer.bias, grids[0], out)
    if kind == "conv":
        return IntegerConv2d(layer, grids[0], out)
    if kind == "add":
        return IntegerAdd(grids, out)
    if kind == "relu":
        return IntegerReLU(nn.ReLU(), grids[0])
    if kind == "flatten":
        return IntegerFlatten(layer or nn.Flatten(*(node.args[1:] or [0]), **node.kwargs), grids[0])
    check_pooling(layer)
    return (IntegerMaxPool2d if kind == "max" else IntegerAvgPool2d)(layer, grids[0])
