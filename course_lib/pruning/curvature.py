"""A network as a chain of layers, and how each layer hands second derivatives back to the one before it.

Every rule is the chain rule for one layer y = f(x), squared: ∂²E/∂x² = Σ (∂y/∂x)² · ∂²E/∂y² + Σ ∂²y/∂x² · ∂E/∂y.
What is left out is the mixed derivatives between different units. LeCun, Denker & Solla 1989.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from course_lib.errors import CourseError, require_choice

LOSSES = ("cross_entropy", "squared_error")
# Every derivative of these layers is 0 or 1, and the square of such a number is the number itself.
COPYING = {nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d, nn.ReLU, nn.ZeroPad2d}
WEIGHTED = {nn.Linear, nn.Conv2d}
# Output -> first and second derivative.
CURVED = {
    nn.Tanh: lambda y: (1 - y * y, -2 * y * (1 - y * y)),
    nn.Sigmoid: lambda y: (y * (1 - y), y * (1 - y) * (1 - 2 * y)),
}


@dataclass(frozen=True)
class Passed:
    """One layer, with what went in and what came out (batch first); the graph from x to y is kept."""

    layer: nn.Module
    x: Tensor
    y: Tensor


def run_chain(model: nn.Module, x: Tensor) -> list[Passed]:
    """Run the network layer by layer and keep what every layer saw.

    >>> [type(one.layer).__name__ for one in run_chain(nn.Sequential(nn.Linear(2, 3), nn.Tanh()), torch.zeros(1, 2))]
    ['Linear', 'Tanh']

    Lesson 04.
    """
    require_examples(x)
    layers = layers_of(model)
    if any(next(layer.children(), None) is not None for layer in layers):
        layers = executed_layers(model, x)
    for layer in layers:
        require_supported(layer)
    return run_layers(layers, x)


def require_examples(x: Tensor) -> None:
    """Refuse what no network can run on, or has no derivatives."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or len(x) == 0:
        raise CourseError("x must be a batch of at least one example, in floating point: x.float() makes it so.")


def run_layers(layers: list[nn.Module], x: Tensor) -> list[Passed]:
    """Run layer after layer."""
    passed = []
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        for layer in layers:
            y = not_in_place(layer)(x)
            passed.append(Passed(layer, x, y))
            x = y
    return passed


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of nn.Sequential, however deep it is nested."""
    if isinstance(model, nn.Sequential):
        return [layer for child in model for layer in layers_of(child)]
    return [model]


def executed_layers(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """The layers of any other network in the order it calls them, once it is known that it does nothing else."""
    layers: list[nn.Module] = []
    leaves = [layer for layer in model.modules() if next(layer.children(), None) is None]
    hooks = [leaf.register_forward_hook(lambda layer, *_: layers.append(layer)) for leaf in leaves]
    try:
        with torch.no_grad():
            output = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in layers:
        require_supported(layer)
    if not is_this_chain(layers, x, output):
        raise CourseError(
            f"{type(model).__name__} is not a plain chain of layers: it adds branches, or calls functions such as "
            "F.relu between its layers.\nWrite it as nn.Sequential with layers such as nn.ReLU() and nn.Flatten()."
        )
    return layers


def is_this_chain(layers: list[nn.Module], x: Tensor, output: Tensor) -> bool:
    """Whether these layers one after the other give this output."""
    try:
        with torch.no_grad():
            for layer in layers:
                x = not_in_place(layer)(x)
    except RuntimeError:  # the shapes do not fit: something stood in between
        return False
    return torch.equal(x, output)


def not_in_place(layer: nn.Module) -> nn.Module:
    """The layer, or a copy of it that does not overwrite its input."""
    if getattr(layer, "inplace", False):
        layer = copy.copy(layer)
        layer.inplace = False
    return layer


def require_supported(layer: nn.Module) -> None:
    """Refuse a layer that no rule covers, and name it."""
    kind = type(layer)
    known = kind in COPYING | WEIGHTED | {nn.AvgPool2d} or is_curved(layer) or getattr(layer, "adds_only", False)
    if not known:
        names = ", ".join(sorted(one.__name__ for one in COPYING | WEIGHTED | {nn.AvgPool2d} | set(CURVED)))
        raise CourseError(
            f"There is no rule for second derivatives through {kind.__name__}. There are rules for: {names}.\n"
            "An activation of your own joins in with a method derivatives(y) that returns f' and f''; a layer that only\n"
            "copies and adds, with a bias per channel at most, with an attribute adds_only = True."
        )
    if layer.training and getattr(layer, "p", 0) and "Dropout" in kind.__name__:
        raise CourseError("Dropout is random while the model is in training mode: call model.eval() first.")
    if kind is nn.AvgPool2d and (layer.ceil_mode or (layer.padding not in (0, (0, 0)) and not layer.count_include_pad)):
        raise CourseError(
            "AvgPool2d with ceil_mode=True or count_include_pad=False has no rule: leave both as they are."
        )
    if kind is nn.Conv2d:
        conv_geometry(layer)


def is_curved(layer: nn.Module) -> bool:
    """Whether the layer's second derivative is not zero."""
    return type(layer) in CURVED or hasattr(layer, "derivatives")


def derivatives(passed: Passed) -> tuple[Tensor, Tensor]:
    """f'(a) and f''(a) of an activation, in terms of its output."""
    rule = CURVED.get(type(passed.layer)) or passed.layer.derivatives
    return rule(passed.y.detach())


def conv_geometry(layer: nn.Conv2d) -> dict:
    """Stride, padding, dilation and groups, with padding as numbers."""
    spans = [step * (side - 1) for step, side in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding = {"valid": (0, 0), "same": tuple(span // 2 for span in spans)}.get(layer.padding, layer.padding)
    if layer.padding_mode != "zeros" or (layer.padding == "same" and any(span % 2 for span in spans)):
        raise CourseError("Conv2d has a rule for equal zero padding on both sides only: pass padding as a number.")
    return {"stride": layer.stride, "padding": padding, "dilation": layer.dilation, "groups": layer.groups}


def loss_derivatives(loss: str, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """∂E/∂output and ∂²E/∂output² of the mean loss over the batch, both (batch, outputs).

    Cross-entropy: (p − onehot)/N and p(1 − p)/N. Squared error Σ(output − y)²: 2(output − y)/N and 2/N.
    """
    require_targets(loss, outputs, y)
    if loss == "squared_error":
        return 2 * (outputs - y) / len(y), torch.full_like(outputs, 2 / len(y))
    p = outputs.softmax(1)
    return (p - F.one_hot(y, p.shape[1])) / len(y), p * (1 - p) / len(y)


def loss_factors(loss: str, outputs: Tensor, y: Tensor) -> list[Tensor]:
    """Vectors s_c (batch, outputs) with Σ_c s_c s_cᵀ = the Hessian of the mean loss by the outputs.

    Cross-entropy: s_c = √p_c (e_c − p), since Σ_c p_c (e_c − p)(e_c − p)ᵀ = diag(p) − ppᵀ. Squared error: √2 e_c.
    """
    require_targets(loss, outputs, y)
    one = torch.eye(outputs.shape[1], dtype=outputs.dtype)  # row c is e_c
    if loss == "squared_error":
        return [math.sqrt(2 / len(y)) * row.expand_as(outputs) for row in one]
    p = outputs.softmax(1)
    return [(p[:, c : c + 1] / len(y)).sqrt() * (row - p) for c, row in enumerate(one)]


def require_targets(loss: str, outputs: Tensor, y: Tensor) -> None:
    """Refuse targets that do not belong to these outputs."""
    require_choice("loss", loss, LOSSES)
    if loss == "squared_error" and (outputs.dim() != 2 or y.shape != outputs.shape or not y.is_floating_point()):
        raise CourseError(
            f"The squared error compares outputs (batch, numbers) with targets of the same shape, but the outputs are "
            f"{tuple(outputs.shape)} and y is {tuple(y.shape)}, {y.dtype}.\n"
            "Labels become targets with F.one_hot(y, n_classes).float()."
        )
    labels = y.shape == outputs.shape[:1] and y.dtype == torch.int64
    if loss == "cross_entropy" and not (outputs.dim() == 2 and labels and y.min() >= 0 and y.max() < outputs.shape[1]):
        raise CourseError(
            f"Cross-entropy needs logits (batch, classes) and int64 labels (batch,) from 0 to classes - 1, but the "
            f"outputs are {tuple(outputs.shape)} and y is {tuple(y.shape)}, {y.dtype}."
        )


# --- the rules -----------------------------------------------------------------------------------------------------


def transposed(passed: Passed, values: Tensor) -> Tensor:
    """Σ ∂y/∂x · values: what backpropagation does with a layer."""
    return torch.autograd.grad(passed.y, passed.x, values, retain_graph=True)[0]


def second_back(passed: Passed, g: Tensor | None, h: Tensor) -> Tensor:
    """∂²E/∂x² of one layer from g = ∂E/∂y (None: leave the f'' term out) and h = ∂²E/∂y²."""
    layer = passed.layer
    if is_curved(layer):
        slope, bend = derivatives(passed)
        return slope * slope * h if g is None else slope * slope * h + bend * g
    if type(layer) is nn.Linear:
        return h @ layer.weight.detach() ** 2
    if type(layer) is nn.Conv2d:
        return conv2d_input(passed.x.shape, layer.weight.detach() ** 2, h, **conv_geometry(layer))
    if type(layer) is nn.AvgPool2d:  # every slope is 1/area
        return transposed(passed, h) / pooled_area(layer)
    return transposed(passed, h)


def pooled_area(layer: nn.AvgPool2d) -> int:
    """What an average divides by."""
    side = layer.kernel_size
    return layer.divisor_override or (side * side if isinstance(side, int) else math.prod(side))


def weight_curvature(passed: Passed, h: Tensor) -> dict[str, Tensor]:
    """∂²E/∂w² of a layer's own parameters: Σ h·x² over the examples and, where a weight is shared, its places."""
    layer, x = passed.layer, passed.x.detach()
    if type(layer) is nn.Linear:
        h = h.flatten(0, -2)  # (examples, out)
        found = {"weight": h.T @ x.flatten(0, -2) ** 2, "bias": h.sum(0)}
    else:  # a layer that only adds has a bias at most
        found = {"bias": h.sum((0, 2, 3))}
    if type(layer) is nn.Conv2d:
        found["weight"] = conv2d_weight(x**2, layer.weight.shape, h, **conv_geometry(layer))
    return {name: found[name] for name, _ in layer.named_parameters(recurse=False)}
