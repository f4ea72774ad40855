"""What the operations of a network do to its channels: which keep them, which join or unite them, which mix them."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules import activation, dropout, padding, pooling

from course_lib.errors import CourseError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
ELEMENTWISE = (nn.Identity, nn.Upsample, dropout._DropoutNd) + tuple(
    kind
    for room in (activation, pooling, padding)
    for kind in vars(room).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__ == room.__name__
)
MIXING = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.MultiheadAttention, nn.GLU)
KEEPING = {
    F.relu, F.relu_, F.relu6, F.leaky_relu, F.gelu, F.silu, F.elu, F.hardswish, F.hardsigmoid, F.sigmoid, F.tanh, F.mish,
    F.dropout, F.dropout2d, F.max_pool1d, F.max_pool2d, F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.interpolate, torch.relu, torch.relu_, torch.sigmoid, torch.tanh,
    operator.neg,
    "relu", "relu_", "sigmoid", "tanh", "contiguous", "clone", "detach", "float",
}  # fmt: skip
MEETING = {
    operator.add, operator.iadd, operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv,
    torch.add, torch.sub, torch.mul, torch.div, "add", "add_", "sub", "mul", "mul_", "div",
}  # fmt: skip
AVERAGING = {torch.mean, torch.amax, "mean", "amax"}
JOINING = {torch.cat, torch.concat, torch.concatenate}
FLATTENING = {torch.flatten, "flatten"}
RESHAPING = FLATTENING | {torch.reshape, "view", "reshape", "squeeze", torch.squeeze}


def averaged(node: fx.Node, ids: tuple[int, ...], x: Tensor) -> tuple[int, ...]:
    """A mean or maximum over pixels keeps the channels."""
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", ())
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims or any(dim % x.dim() < 2 for dim in dims):
        raise refusal(node, "it runs over the batch or the channels")
    return ids


def reshaped(node: fx.Node, ids: tuple[int, ...], x: Tensor, value: Tensor) -> tuple[int, ...]:
    """A reshape that keeps the channels apart: pixels may be flattened, each channel then fills a block."""
    sizes = node.args[1:] if node.target in ("view", "reshape", torch.reshape) else ()
    sizes = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    if len(sizes) > 1 and isinstance(sizes[1], int) and sizes[1] > 0:
        raise refusal(node, f"the number {sizes[1]} is written into it; write x.flatten(1) instead")
    if len(sizes) > 2 and sizes[1] == -1:
        raise refusal(node, "the channels' place is a -1, which may mix them with other axes; write x.shape[1] there")
    if value.shape[:2] == x.shape[:2]:
        return ids
    pixels = x.shape[2:].numel()
    if value.dim() == 2 and value.shape[0] == x.shape[0] and value.shape[1] == len(ids) * pixels:
        return tuple(channel for channel in ids for _ in range(pixels))
    raise refusal(node, "it mixes channels with other axes")


def only_flattens(model: nn.Module, graph: fx.Graph) -> bool:
    """Whether every reshape is a flatten(x, 1): any other can only be judged by a batch that is not empty."""
    layers = dict(model.named_modules())

    def plain(node: fx.Node) -> bool:
        if node.op == "call_module":
            layer = layers[node.target]
            return not isinstance(layer, nn.Flatten) or (layer.start_dim, layer.end_dim) == (1, -1)
        flattens = node.target in FLATTENING and node.args[1:] == (1,) and not node.kwargs
        return flattens or node.target not in RESHAPING

    return all(map(plain, graph.nodes))


def refusal(node: fx.Node, why: str) -> CourseError:
    """The error that says at which operation following the channels ends."""
    return CourseError(
        f"Filters cannot be removed from this network: at {node.name!r} ({node.op} {node.target}), {why}.\n"
        "What is understood: linear and convolutional layers, batch norm, elementwise functions, pooling, "
        "additions and products, concatenations of channels, flattening."
    )
