"""Optimal Brain Damage: what the loss gains when a weight goes, from its second derivative.

To second order, setting w to 0 changes a loss at its minimum by ½·h·w², h = ∂²E/∂w². Two ways to h: LeCun's recursion
(one backward pass, mixed derivatives left out), and the Gauss–Newton diagonal (one backward pass per class, exact
wherever the network is piecewise linear).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError, require_choice, require_positive
from course_lib.pruning.curvature import (
    LOSSES,
    WEIGHTED,
    Passed,
    conv_geometry,
    is_curved,
    loss_derivatives,
    loss_factors,
    require_examples,
    run_chain,
    second_back,
    transposed,
    weight_curvature,
)
from course_lib.pruning.scores import prunable

__all__ = ["diagonal_hessian", "gauss_newton_diagonal", "saliency"]


def diagonal_hessian(
    model: nn.Module, x: Tensor, y: Tensor, *, loss: str = "cross_entropy", exact_second_derivatives: bool = True
) -> dict[str, Tensor]:
    """The diagonal of the Hessian by LeCun's recursion: one pass back, from every layer's output to its input.

    With a_i = Σ_j w_ij x_j and x_i = f(a_i):  ∂²E/∂w_ij² = ∂²E/∂a_i² · x_j², where
    ∂²E/∂a_i² = f'(a_i)² Σ_l w_li² ∂²E/∂a_l² + f''(a_i) ∂E/∂x_i. A weight that a convolution uses at many places gets
    the sum over them. Mixed derivatives between units are left out, so the last linear layer is exact and layers
    before it are estimates; with the squared error, the linear layer before the last is exact too.

    Args:
        model: a chain of linear and convolutional layers, average and max pooling, ReLU, tanh, sigmoid, flatten;
            in evaluation mode. An activation of your own needs a method `derivatives(y)`.
        x: inputs (batch, ...), floating point.
        y: labels (batch,), int64; for the squared error targets (batch, outputs).
        loss: "cross_entropy" or "squared_error", Σ(output − y)² per example; both are averaged over the batch.
        exact_second_derivatives: False leaves the f'' term out (Levenberg–Marquardt), and every h is 0 or more.

    Returns:
        parameter name -> h, the parameter's shape; weights and biases.

    Raises:
        CourseError: a layer without a rule, a network that is no chain, an unknown loss, or targets that do not fit.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> diagonal_hessian(model, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1), loss="squared_error")
    {'weight': tensor([[ 2., 18.]])}

    LeCun, Denker & Solla 1989. Lesson 04.
    """
    require_choice("loss", loss, LOSSES)
    chain = run_chain(model, x)
    g, h = loss_derivatives(loss, chain[-1].y.detach(), y)
    found: dict[int, Tensor] = {}
    for passed, uses_g, is_first in reversed(plan(chain, exact_second_derivatives)):
        add_curvature(found, passed, h)
        if is_first:
            break
        h = second_back(passed, g if exact_second_derivatives else None, h)
        g = transposed(passed, g) if uses_g else None
    return in_order(model, found)


def plan(chain: list[Passed], exact: bool) -> list[tuple[Passed, bool, bool]]:
    """For each layer: does one before it need ∂E/∂x, and is it the first with parameters (so that none is left)?"""
    bends = [exact and is_curved(passed.layer) for passed in chain]
    has = [next(passed.layer.parameters(), None) is not None for passed in chain]
    if not any(has):
        raise CourseError("The model has no parameters, so there is nothing to differentiate by.")
    first = has.index(True)
    return [(passed, any(bends[first:k]), k == first) for k, passed in enumerate(chain)]


def add_curvature(found: dict[int, Tensor], passed: Passed, h: Tensor) -> None:
    """Add a layer's share to what is known of its parameters, each under its id: a parameter may serve twice."""
    if next(passed.layer.parameters(), None) is None:
        return
    for name, value in weight_curvature(passed, h).items():
        key = id(passed.layer.get_parameter(name))
        found[key] = found[key] + value if key in found else value


def in_order(model: nn.Module, found: dict[int, Tensor]) -> dict[str, Tensor]:
    """By name, in the model's order; a parameter that the loss never meets has curvature 0."""
    return {name: found.get(id(p), torch.zeros_like(p)).detach() for name, p in model.named_parameters()}


def saliency(
    model: nn.Module, x: Tensor, y: Tensor, *, loss: str = "cross_entropy", exact_second_derivatives: bool = True
) -> dict[str, Tensor]:
    """Score ½·h·w²: to second order, how much the loss rises when the weight becomes zero.

    Three approximations: mixed derivatives are left out, the gradient is taken to be zero (train first), and third
    derivatives are left out. Arguments as in `diagonal_hessian`.

    Returns:
        parameter name -> score, the weight's shape; a sum of scores is a rise of the loss. Negative only where h is.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> with torch.no_grad(): _ = model.weight.copy_(torch.tensor([[2.0, -1.0]]))
    >>> saliency(model, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1), loss="squared_error")
    {'weight': tensor([[4., 9.]])}

    LeCun, Denker & Solla 1989. Lesson 04.
    """
    weights = prunable(model)
    h = diagonal_hessian(model, x, y, loss=loss, exact_second_derivatives=exact_second_derivatives)
    return {name: h[name] * weight.detach() ** 2 / 2 for name, weight in weights.items()}


def gauss_newton_diagonal(
    model: nn.Module, x: Tensor, y: Tensor, *, loss: str = "cross_entropy", at_once: int = 128
) -> dict[str, Tensor]:
    """The exact diagonal of JᵀHJ, J = ∂output/∂w and H the loss's Hessian by the outputs: one pass back per class.

    With H = Σ_c s_c s_cᵀ the diagonal is Σ_c (Jᵀs_c)², and Jᵀs_c is what one backward pass computes. In a network of
    ReLUs and poolings the outputs have no curvature of their own, and this is the Hessian's diagonal itself.

    Args:
        model, x, y, loss: as in `diagonal_hessian`.
        at_once: examples at a time; it changes the memory needed, not the result.

    Returns:
        parameter name -> curvature, 0 or more, the parameter's shape; weights and biases.

    Raises:
        CourseError: as `diagonal_hessian`, or two layers share a weight.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> gauss_newton_diagonal(model, torch.tensor([[1.0, 3.0]]), torch.zeros(1, 1), loss="squared_error")["weight"].round()
    tensor([[ 2., 18.]])

    Schraudolph 2002; Dangel et al. 2020 (BackPACK). Lesson 04.
    """
    require_choice("loss", loss, LOSSES)
    require_positive("at_once", at_once)
    require_examples(x)
    found = {id(p): torch.zeros_like(p) for p in model.parameters()}
    cuts = list(range(at_once, len(x), at_once))
    for some, targets in zip(x.tensor_split(cuts), y.tensor_split(cuts), strict=True):
        add_diagonal_(found, model, some, targets, loss, share=len(some) / len(x))
    return in_order(model, found)


def add_diagonal_(found: dict[int, Tensor], model: nn.Module, x: Tensor, y: Tensor, loss: str, *, share: float) -> None:
    """Add `share` of the diagonal of these examples' mean loss."""
    chain = run_chain(model, x)
    learned = [passed for passed in chain if next(passed.layer.parameters(), None) is not None]
    require_no_sharing(learned)
    outputs = chain[-1].y
    patches = [input_patches(passed) for passed in learned]
    for column in loss_factors(loss, outputs.detach(), y):
        column = column * share**0.5  # squared below
        deltas = torch.autograd.grad(outputs, [passed.y for passed in learned], column, retain_graph=True)
        for passed, patch, delta in zip(learned, patches, deltas, strict=True):
            add_squares_(found, passed.layer, patch, delta)


def require_no_sharing(learned: list[Passed]) -> None:
    """Each example's gradient is squared layer by layer, so every parameter must belong to one layer."""
    ids = [id(parameter) for passed in learned for parameter in passed.layer.parameters()]
    if not ids or len(set(ids)) < len(ids):
        raise CourseError("The model needs parameters, and for the Gauss-Newton diagonal no two layers may share one.")


def input_patches(passed: Passed) -> Tensor:
    """What meets the weights, (batch, groups, inputs per unit, places); nothing meets a layer that only adds."""
    layer, x = passed.layer, passed.x.detach()
    if type(layer) is nn.Linear:
        return x.reshape(len(x), -1, x.shape[-1]).mT.unsqueeze(1)  # (batch, 1, in, places)
    if type(layer) is not nn.Conv2d:
        return x.new_zeros(0)
    shape = conv_geometry(layer)
    groups = shape.pop("groups")
    return F.unfold(x, layer.kernel_size, **shape).unflatten(1, (groups, -1))


def add_squares_(found: dict[int, Tensor], layer: nn.Module, patch: Tensor, delta: Tensor) -> None:
    """Add Σ over the examples of their squared gradients, given ∂/∂output of each example."""
    if type(layer) is nn.Linear:
        delta = delta.reshape(len(delta), -1, delta.shape[-1]).mT
    delta = delta.flatten(2) if delta.dim() > 2 else delta.unsqueeze(-1)  # (batch, out, places)
    if layer.bias is not None:
        found[id(layer.bias)] += delta.sum(-1).square_().sum(0)
    if type(layer) in WEIGHTED:
        found[id(layer.weight)] += weight_squares(patch, delta).view_as(layer.weight)


def weight_squares(patch: Tensor, delta: Tensor) -> Tensor:
    """Σ over the examples of (Σ over the places of delta · patch)², (groups, out per group, inputs per unit)."""
    delta = delta.unflatten(1, (patch.shape[1], -1))  # (batch, groups, out per group, places)
    if patch.shape[-1] == 1:  # one place: the square of a product is the product of the squares
        return torch.einsum("ngo,ngi->goi", delta.squeeze(-1) ** 2, patch.squeeze(-1) ** 2)
    return (delta @ patch.mT).square_().sum(0)
