"""Folding batch norm: in eval mode it is a gain and a shift for each channel, which the layer before can take over."""

from __future__ import annotations

import copy

import torch
import torch.fx
from torch import nn

from course_lib.errors import CourseError

FOLDS_INTO = {nn.BatchNorm1d: (nn.Linear, nn.Conv1d), nn.BatchNorm2d: (nn.Conv2d,)}


@torch.no_grad()
def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in eval mode without batch norm that computes the same.

    w' = γ · w / √(σ² + ε) for each output channel, b' = β + γ · (b − μ) / √(σ² + ε).

    Args:
        model: a network that torch.fx can trace, whose batch norms each follow a linear or convolutional layer
            directly.

    Raises:
        CourseError: a batch norm with nothing before it to fold into, without running statistics, or a model that
            cannot be traced.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).eval()
    >>> x = torch.randn(4, 1, 5, 5)
    >>> folded = fold_batch_norm(net)
    >>> torch.allclose(folded(x), net(x), atol=1e-6), any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    (True, False)

    Jacob et al. 2018. Lessons 08 and 09.
    """
    model = copy.deepcopy(model).eval()
    for before, norm in pairs(model):
        fold_(model.get_submodule(before), model.get_submodule(norm))
        parent, _, place = norm.rpartition(".")
        setattr(model.get_submodule(parent), place, nn.Identity())
    return model


def pairs(model: nn.Module) -> list[tuple[str, str]]:
    """The names of each batch norm and of the layer it follows."""
    if not any(isinstance(layer, tuple(FOLDS_INTO)) for layer in model.modules()):
        return []
    modules, found = dict(model.named_modules()), []
    for node in traced(model).graph.nodes:
        norm = modules.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, tuple(FOLDS_INTO)):
            continue
        (source, *_) = node.all_input_nodes
        layer = modules.get(source.target) if source.op == "call_module" else None
        if not isinstance(layer, FOLDS_INTO[type(norm)]) or len(source.users) > 1:
            raise CourseError(
                f"Batch norm {node.target!r} does not directly follow a layer that it can be folded into."
            )
        found.append((source.target, node.target))
    return found


def traced(model: nn.Module) -> torch.fx.GraphModule:
    """The graph of the model's forward pass."""
    try:
        return torch.fx.symbolic_trace(model)
    except Exception as problem:
        raise CourseError(
            f"torch.fx cannot trace {type(model).__name__}, so its layers' order is unknown: {problem}\n"
            "Forward must not branch on the values of tensors."
        ) from problem


def fold_(layer: nn.Module, norm: nn.Module) -> None:
    """Move the gain and the shift of one batch norm into the layer before it."""
    if norm.running_var is None:
        raise CourseError("This batch norm has no running statistics (track_running_stats=False), so nothing to fold.")
    gain = (norm.running_var + norm.eps).rsqrt()
    shift = -norm.running_mean * gain
    if norm.affine:
        gain, shift = gain * norm.weight, shift * norm.weight + norm.bias
    if layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros_like(gain))
    layer.weight.mul_(gain.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.mul_(gain).add_(shift)
