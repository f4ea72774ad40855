"""Gradient checkpointing: forget the activations of a part of the network, and compute them again for its backward pass.

The memory of a step is mostly what autograd keeps between the forward and the backward pass. A checkpointed part keeps
its inputs alone; when its turn in the backward pass comes, it runs forward once more, this time with a graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from course_lib.errors import CourseError, require_positive


def checkpoint(fn: Callable, *args, **kwargs):
    """fn(*args, **kwargs), whose activations are not kept but computed again in the backward pass.

    The second run sees the random numbers and the autocast settings of the first, so gradients are the same bit for
    bit, dropout included. Batch norm updates its running statistics in the first run only. Call `loss.backward()`:
    parameters inside fn get their gradients in `.grad`, `torch.autograd.grad` does not see them.

    Args:
        fn: a layer, or any function of tensors; it may use parameters, and must do the same when it is called again.
        args, kwargs: what it is called with; tensors among them get their gradients, other values pass through.

    Returns:
        what fn returns: a tensor, or a tuple of tensors.

    Raises:
        CourseError: fn changes one of its inputs in place, or returns something other than tensors; in the backward
            pass, if nothing in fn needs a gradient.

    >>> layer, x = nn.Linear(3, 3), torch.randn(2, 3)
    >>> checkpoint(layer, x).sum().backward()
    >>> layer.weight.grad.shape
    torch.Size([3, 3])

    Chen et al. 2016. Lesson 13.
    """
    n_args, keywords = len(args), list(kwargs)
    names, values = [*range(n_args), *keywords], [*args, *kwargs.values()]
    places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]

    tensors = [values[place] for place in places]
    others = {name: value for name, value in zip(names, values, strict=True) if not isinstance(value, Tensor)}

    def run(*tensors: Tensor):  # holds no tensor itself: the graph does
        named = others | dict(zip((names[place] for place in places), tensors, strict=True))
        return fn(*(named[k] for k in range(n_args)), **{name: named[name] for name in keywords})

    # Parameters are not among the inputs, so this one asks autograd to come back even if no input needs a gradient.
    asks = torch.empty(0, requires_grad=True)
    return Checkpoint.apply(run, asks, *tensors)


class Checkpoint(torch.autograd.Function):
    """Forward without a graph; backward runs forward again with one, and then through it.

    Chen et al. 2016. Lesson 13.
    """

    @staticmethod
    def forward(ctx, run: Callable, asks: Tensor, *tensors: Tensor):
        """Run, and keep the inputs and the settings."""
        ctx.run, ctx.as_before = run, settings()
        ctx.save_for_backward(*tensors)
        versions = [tensor._version for tensor in tensors]
        with torch.no_grad():
            outputs = run(*tensors)
        if versions != [tensor._version for tensor in tensors]:
            raise CourseError("A checkpointed function must not change its inputs in place: it could not run again.")
        check_outputs(outputs)
        return outputs

    @staticmethod
    def backward(ctx, *gradients: Tensor | None):
        """Run again, this time with a graph; the parameters' gradients are added up on the way."""
        inputs = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in ctx.saved_tensors]
        with ctx.as_before(), torch.enable_grad():
            edges = graph_edges(ctx.run(*inputs))  # the outputs themselves are known already, and freed here
        pairs = [pair for pair in zip(edges, gradients, strict=True) if None not in pair]
        if not pairs:
            raise CourseError(
                "Nothing in this checkpointed function needs a gradient: neither its inputs nor its parameters have "
                "requires_grad=True. Call it without checkpoint."
            )
        del gradients
        torch.autograd.backward(*zip(*pairs, strict=True))
        return None, None, *(tensor.grad for tensor in inputs)


def graph_edges(outputs: Tensor | tuple[Tensor, ...]) -> list[GradientEdge | None]:
    """Where in the graph each output comes from; None for one that needs no gradient."""
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return [get_gradient_edge(output) if output.requires_grad else None for output in outputs]


def check_outputs(outputs: object) -> None:
    """Refuse what autograd cannot carry."""
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    if not parts or not all(isinstance(part, Tensor) for part in parts):
        raise CourseError(
            f"A checkpointed function returns a tensor or a tuple of tensors, but not {type(outputs).__name__}."
        )


def settings() -> Callable:
    """The random state and the autocast settings as they are now; a context that brings them back for a while."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    random = torch.get_rng_state()
    device_random = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    casts = {
        device: {"enabled": torch.is_autocast_enabled(device), "dtype": torch.get_autocast_dtype(device)}
        for device in devices
    }

    @contextmanager
    def as_before():
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=range(len(device_random))))
            torch.set_rng_state(random)
            if device_random:
                torch.cuda.set_rng_state_all(device_random)
            for device, cast in casts.items():
                stack.enter_context(torch.autocast(device, **cast, cache_enabled=torch.is_autocast_cache_enabled()))
            stack.enter_context(statistics_stand_still())
            yield

    return as_before


@contextmanager
def statistics_stand_still():
    """Batch norms use the statistics of the batch as always, but their running averages do not move."""
    kept: dict[nn.Module, dict[str, Tensor]] = {}

    def lend_copies(layer: nn.Module, _inputs) -> None:
        if isinstance(layer, _BatchNorm) and layer.training:
            kept[layer] = {name: buffer for name, buffer in layer._buffers.items() if buffer is not None}
            layer._buffers.update({name: buffer.clone() for name, buffer in kept[layer].items()})

    def give_back(layer: nn.Module, _inputs, _output) -> None:
        layer._buffers.update(kept.pop(layer, {}))

    hooks = register_module_forward_pre_hook(lend_copies), register_module_forward_hook(give_back)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in list(kept):  # an error came between the two
            give_back(layer, None, None)


def checkpoint_sequential(
    layers: nn.Sequential | Sequence[Callable], x: Tensor, *, segments: int | None = None
) -> Tensor:
    """Run layers one after the other, in segments of (nearly) equal length that are checkpointed.

    Kept are the inputs of the segments and, in turn, the activations of one: n/k + k for n layers in k segments, least at
    k = √n. The last segment runs plainly: its backward pass comes at once.

    Args:
        layers: called one after the other with one tensor.
        x: the first one's input.
        segments: 1..number of layers; √n by default.

    Raises:
        CourseError: no layer, no segment, or more segments than layers.

    >>> layers = nn.Sequential(*(nn.Linear(3, 3) for _ in range(9)))
    >>> x = torch.randn(2, 3)
    >>> torch.equal(checkpoint_sequential(layers, x, segments=3), layers(x))
    True

    Chen et al. 2016. Lesson 13.
    """
    layers = list(layers)
    if not layers:
        raise CourseError("There are no layers to run.")
    segments = best_segments(len(layers)) if segments is None else require_positive("segments", segments)
    if segments > len(layers):
        raise CourseError(f"{len(layers)} layers cannot be cut into {segments} segments; pass at most {len(layers)}.")
    ends = [len(layers) * k // segments for k in range(segments + 1)]
    parts = [layers[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]
    for part in parts[:-1]:
        x = checkpoint(one_after_the_other(part), x)
    return one_after_the_other(parts[-1])(x)


def one_after_the_other(layers: Sequence[Callable]) -> Callable[[Tensor], Tensor]:
    """The composition of layers, as one function."""

    def run(x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return run


def best_segments(n_layers: int) -> int:
    """The number of segments that keeps least: the k with the smallest ⌈n/k⌉ + k, about √n.

    >>> best_segments(100)
    10

    Chen et al. 2016. Lesson 13.
    """
    require_positive("n_layers", n_layers)
    return min(range(1, n_layers + 1), key=lambda k: (math.ceil(n_layers / k) + k, k))
