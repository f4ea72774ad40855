"""Optimal Brain Surgeon: remove a weight, and let all others make up for it.

Near a minimum the loss rises by ½ δwᵀHδw. The smallest rise among all changes that set w_q to 0 has a closed form in
H⁻¹, which one pass over the examples builds. H is n × n for n weights, so this is for networks of some hundred.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib.errors import CourseError, require_choice, require_positive

__all__ = ["SurgeonStep", "inverse_hessian", "removals", "surgeon_step"]

LARGEST = 5000  # weights: the inverse takes 200 MB
TOGETHER = 128  # outputs that go backward at once


@dataclass(frozen=True)
class SurgeonStep:
    """Which weight goes (`index`), what that costs (`saliency`), and all weights and the inverse afterwards."""

    index: int
    saliency: float
    weights: Tensor
    inverse: Tensor


def inverse_hessian(model: nn.Module, x: Tensor, *, damping: float = 1e-4, kept: Tensor | None = None) -> Tensor:
    """The inverse of H = damping·I + 1/P Σ X Xᵀ, one example after the other, without inverting a matrix.

    X = ∂output/∂w, for the loss ½ mean (output − target)²; where the outputs meet the targets this is its Hessian,
    so the targets are not needed. From H⁻¹ = I/damping on, each X updates it (Sherman–Morrison):
    H⁻¹ ← H⁻¹ − H⁻¹X XᵀH⁻¹ / (P + XᵀH⁻¹X). Several outputs are several X of one example.

    Args:
        model: any network; weights and biases are one vector, as `torch.nn.utils.parameters_to_vector` orders them.
        x: inputs (P, ...).
        damping: above 0; 1e-8 to 1e-4 in the paper.
        kept: bool (n,), False where a weight is pruned already; its row and column of the inverse are 0.

    Returns:
        H⁻¹ (n, n), float64.

    Raises:
        CourseError: damping of 0 or less, no example, more than 5,000 weights, or `kept` of another shape.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> inverse_hessian(model, torch.tensor([[1.0], [3.0]]), damping=1.0)  # 1 / (1 + (1 + 9)/2)
    tensor([[0.1667]], dtype=torch.float64)

    Hassibi & Stork 1992. Lesson 04.
    """
    n = sum(parameter.numel() for parameter in model.parameters())
    kept = torch.ones(n, dtype=torch.bool) if kept is None else kept
    require_usable(n, x, damping, kept)
    inverse = torch.diag(kept.double() / damping)
    for gradient in output_gradients(model, x):
        column = inverse @ gradient.double()  # H⁻¹X: 0 where a weight is pruned
        inverse -= torch.outer(column, column) / (len(x) + gradient.double() @ column)
    return inverse


def require_usable(n: int, x: Tensor, damping: float, kept: Tensor) -> None:
    """Refuse what has no inverse, or one that does not fit into memory."""
    if not damping > 0:
        raise CourseError(f"damping must be above 0, such as 1e-4, but you passed {damping}.")
    if len(x) == 0:
        raise CourseError("x holds no example. Pass the inputs the network was trained on.")
    if not 0 < n <= LARGEST:
        raise CourseError(
            f"The model has {n:,} weights and its Hessian {n:,} × {n:,} numbers: pass one with 1 to {LARGEST:,} weights.\n"
            "For larger networks, obd.diagonal_hessian needs one number per weight."
        )
    if kept.shape != (n,) or kept.dtype != torch.bool:
        raise CourseError(f"kept must be bool and of shape ({n},), but it is {kept.dtype}, {tuple(kept.shape)}.")


def output_gradients(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """∂output/∂w (n,), for every output of every example, one after the other; many share one backward pass."""
    parameters = list(model.parameters())
    with torch.enable_grad():
        outputs = model(x).flatten()
    for rows in torch.arange(len(outputs)).split(TOGETHER):
        picked = F.one_hot(rows, len(outputs)).to(outputs.dtype)  # row k picks output k
        gradients = torch.autograd.grad(outputs, parameters, picked, retain_graph=True, is_grads_batched=True)
        yield from torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)


def surgeon_step(weights: Tensor, inverse: Tensor) -> SurgeonStep:
    """Remove the weight that costs least, and move all others so that the loss rises as little as it can.

    L_q = w_q² / (2 [H⁻¹]_qq) is the cost of weight q, and δw = −(w_q / [H⁻¹]_qq) · H⁻¹e_q the change of all weights.
    The new inverse is that of H without row and column q, 0 in both: so a pruned weight is known by its 0 on the
    diagonal, is never chosen again, and stays exactly 0 in later steps.

    Args:
        weights: all weights (n,); `torch.nn.utils.vector_to_parameters` puts the result back into a model.
        inverse: H⁻¹ (n, n), from `inverse_hessian` or from the step before.

    Raises:
        CourseError: shapes that do not fit, or no weight is left.

    >>> step = surgeon_step(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
    >>> step.index, step.saliency, step.weights
    (0, 0.5, tensor([0.0000, 1.5000]))

    Hassibi & Stork 1992. Lesson 04.
    """
    if weights.dim() != 1 or inverse.shape != (len(weights), len(weights)):
        raise CourseError(
            f"weights must be (n,) and inverse (n, n), but they are {tuple(weights.shape)} and {tuple(inverse.shape)}."
        )
    diagonal = inverse.diagonal()
    if not bool((diagonal > 0).any()) or bool((diagonal < 0).any()):
        raise CourseError(
            "The inverse's diagonal must not be negative, and not 0 everywhere: every weight is pruned already, or "
            "rounding has eaten the inverse up.\nMake it anew with inverse_hessian, with a larger damping."
        )
    exact = weights.detach().to(inverse.dtype)
    costs = torch.where(diagonal > 0, exact**2 / (2 * diagonal), torch.inf)
    q = int(costs.argmin())
    column = inverse[:, q] / diagonal[q]
    return SurgeonStep(q, float(costs[q]), moved(weights, exact - exact[q] * column, q, diagonal), without(inverse, q))


def moved(weights: Tensor, values: Tensor, q: int, diagonal: Tensor) -> Tensor:
    """The new weights, in the old ones' precision; 0 where pruned, without rounding."""
    values[q] = 0.0
    return torch.where(diagonal > 0, values, 0.0).to(weights.dtype)


def without(inverse: Tensor, q: int) -> Tensor:
    """The inverse of the matrix that is left when row and column q go, with zeros in their place."""
    left = inverse - torch.outer(inverse[:, q], inverse[q]) / inverse[q, q]
    left[q], left[:, q] = 0.0, 0.0
    return left


def removals(
    model: nn.Module, x: Tensor, *, method: str = "surgeon", count: int | None = None, damping: float = 1e-4
) -> list[Tensor]:
    """Remove one weight after the other without retraining, each time with curvatures of the network as it is then.

    Args:
        model: any network; a copy of it is operated on.
        x: inputs (P, ...), as for `inverse_hessian`.
        method: "surgeon"; "saliency", ½w² times the diagonal of 1/P Σ X Xᵀ, where no other weight moves; "magnitude".
        count: how many weights go; all but one by default.
        damping: the surgeon's.

    Returns:
        all weights (n,) after 0, 1, 2, … removals.

    Raises:
        CourseError: an unknown method, more removals than weights, or as `inverse_hessian`.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> with torch.no_grad(): _ = model.weight.copy_(torch.tensor([[3.0, 1.0]]))
    >>> removals(model, torch.eye(2), method="magnitude")
    [tensor([3., 1.]), tensor([3., 0.])]

    Hassibi & Stork 1992. Lesson 04.
    """
    require_choice("method", method, ("surgeon", "saliency", "magnitude"))
    model = copy.deepcopy(model)
    weights = parameters_to_vector(model.parameters()).detach().clone()
    count = len(weights) - 1 if count is None else require_positive("count", count, at_least=0)
    if count > len(weights):
        raise CourseError(f"The network has {len(weights):,} weights, but you asked for {count:,} to be removed.")
    path = [weights]
    kept = torch.ones(len(weights), dtype=torch.bool)
    for _ in range(count):
        vector_to_parameters(weights.clone(), model.parameters())
        q, weights = one_less(model, weights, x, kept, method, damping)
        kept[q] = False
        path.append(weights)
    return path


def one_less(
    model: nn.Module, weights: Tensor, x: Tensor, kept: Tensor, method: str, damping: float
) -> tuple[int, Tensor]:
    """The next weight to go, and all weights without it."""
    if method == "surgeon":
        step = surgeon_step(weights, inverse_hessian(model, x, damping=damping, kept=kept))
        return step.index, step.weights
    cost = weights.abs()
    if method == "saliency":
        cost = weights**2 * torch.stack(list(output_gradients(model, x))).pow(2).sum(0) / (2 * len(x))
    q = int(torch.where(kept, cost, torch.inf).argmin())
    return q, weights.index_fill(0, torch.tensor(q), 0.0)
