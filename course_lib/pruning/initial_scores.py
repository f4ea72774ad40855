"""Scores for a network that has not been trained: SNIP, GraSP and SynFlow, each a dictionary like those of `scores`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from course_lib.errors import CourseError, require_positive
from course_lib.pruning.scores import prunable

# φ(c·x) = c·φ(x) for every c > 0 is what SynFlow's conservation rests on. These layers do not have it.
NOT_HOMOGENEOUS = (
    nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.CELU, nn.Mish, nn.Softplus, nn.Softsign, nn.Hardtanh,
    nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Threshold,
    nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm,
    nn.modules.instancenorm._InstanceNorm, nn.MultiheadAttention, nn.RNNBase,
)  # fmt: skip


def snip_scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Score |w · ∂L/∂w| / Σ |w · ∂L/∂w|, before training: how strongly the loss feels each connection.

    The same as `gradient_scores`, normalised to a sum of 1; the ranking is the same.

    Args:
        model: returns logits (batch, classes), run in the mode it is in; nothing in it is changed, not even
            batch norm's running statistics.
        x: inputs (batch, ...); the paper takes one batch, the SynFlow authors 10 images of each class.
        y: labels (batch,), whole numbers from 0 to classes - 1.

    Returns:
        parameter name -> score, the weight's shape, 0 or more; all together sum to 1.

    Raises:
        CourseError: no weight has any influence on the loss, or it is not finite.

    >>> scores = snip_scores(nn.Linear(3, 2), torch.ones(4, 3), torch.zeros(4, dtype=torch.long))
    >>> round(float(scores["weight"].sum()), 5)
    1.0

    Lee, Ajanthan & Torr 2019. Lesson 06.
    """
    weights = prunable(model)
    gradients = torch.autograd.grad(loss_without_traces(model, x, y), list(weights.values()))
    scores = [(w.detach() * g).abs() for w, g in zip(weights.values(), gradients, strict=True)]
    total = sum(score.sum() for score in scores)
    if not 0 < float(total) < float("inf"):
        raise CourseError(
            f"The influences |w · gradient| sum to {float(total)}, so they cannot be normalised.\n"
            "Look for inputs that are all zero, a layer whose weights are all zero, or numbers that overflow."
        )
    return {name: score / total for name, score in zip(weights, scores, strict=True)}


def grasp_scores(model: nn.Module, x: Tensor, y: Tensor, *, temperature: float = 200.0) -> dict[str, Tensor]:
    """Score w · Hg, before training: how much of the gradient's length goes when the weight becomes zero.

    g is the gradient of the loss at logits / temperature, H its Hessian. To first order, setting w to zero changes
    ½‖g‖² by -w · Hg. The paper writes that number and removes the weights where it is highest; here, as for all
    scores, higher means more important, so the sign is the opposite one. One graph gives both g and Hg, where the
    published code computes g twice.

    Args:
        model: returns logits (batch, classes), run in the mode it is in; nothing in it is changed.
        x: inputs (batch, ...).
        y: labels (batch,), whole numbers from 0 to classes - 1.
        temperature: divides the logits, above 0; 200 in the published code.

    Returns:
        parameter name -> score, the weight's shape, of either sign.

    Raises:
        CourseError: the temperature is not above 0.

    >>> layer = nn.Linear(3, 2)
    >>> grasp_scores(layer, torch.ones(4, 3), torch.zeros(4, dtype=torch.long))["weight"].shape
    torch.Size([2, 3])

    Wang, Zhang & Grosse 2020. Lesson 06.
    """
    if not temperature > 0:
        raise CourseError(f"temperature divides the logits and must be above 0, but you passed {temperature!r}.")
    weights = prunable(model)
    loss = loss_without_traces(model, x, y, temperature)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    squared = sum((g * g.detach()).sum() for g in gradients)  # its derivative is Hg
    hessian_times_g = torch.autograd.grad(squared, list(weights.values()))
    return {name: w.detach() * hg for (name, w), hg in zip(weights.items(), hessian_times_g, strict=True)}


def loss_without_traces(model: nn.Module, x: Tensor, y: Tensor, temperature: float = 1.0) -> Tensor:
    """The cross-entropy, computed with copies of the buffers, so that batch norm's statistics stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return F.cross_entropy(functional_call(model, buffers, (x,)) / temperature, y)


def synflow_scores(model: nn.Module, *, input_shape: Sequence[int]) -> dict[str, Tensor]:
    """Score |w| · ∂R/∂|w|: the share of R = 1ᵀ ∏ |θ| 1, the flow through the network, that passes this weight.

    All parameters and buffers are taken as absolute values, in float64 and in eval mode, and the input is ones: no
    data is needed. The scores are conserved: without biases each layer's scores sum to R. It all happens in a copy.

    Args:
        model: layers with homogeneous activations (ReLU, leaky ReLU, none) and pooling; best before training.
        input_shape: the shape of one example, without the batch: (channels, height, width).

    Returns:
        parameter name -> score, the weight's shape, float64, 0 or more.

    Raises:
        CourseError: a layer is not homogeneous, an example of this shape does not go through, or R is not finite.

    Warns:
        the network is not homogeneous for another reason, so that scores are not conserved.

    >>> model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    >>> with torch.no_grad(): _ = model[0].weight.copy_(torch.tensor([[1.0, -2.0]])), model[2].weight.fill_(-3.0)
    >>> synflow_scores(model, input_shape=(2,))
    {'0.weight': tensor([[3., 6.]], dtype=torch.float64), '2.weight': tensor([[9.]], dtype=torch.float64)}

    Tanaka et al. 2020. Lesson 06.
    """
    twin, ones = positive_twin(model, input_shape)
    weights = prunable(twin)
    gradients = flow_gradients(twin, list(weights.values()), ones)
    return {name: w.detach() * g for (name, w), g in zip(weights.items(), gradients, strict=True)}


def positive_twin(model: nn.Module, input_shape: Sequence[int]) -> tuple[nn.Module, Tensor]:
    """A float64 copy in eval mode with all parameters and buffers absolute, and its input of ones."""
    refuse_layers(model)
    prunable(model)
    shape = tuple(require_positive("every number in input_shape", size) for size in input_shape)
    twin = copy.deepcopy(model).double().eval()
    ones = torch.ones(1, *shape, dtype=torch.float64, device=next(twin.parameters()).device)
    chosen = {id(weight) for weight in prunable(twin).values()}
    with torch.no_grad():
        for tensor in (*twin.parameters(), *(buffer for buffer in twin.buffers() if buffer.dtype != torch.bool)):
            tensor.abs_()
        for parameter in twin.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
    require_flow(twin, ones)
    return twin, ones


def flow_gradients(twin: nn.Module, weights: Sequence[Tensor], ones: Tensor) -> tuple[Tensor, ...]:
    """∂R/∂|w| of every weight: one pass forward and one back."""
    return torch.autograd.grad(twin(ones).sum(), weights, materialize_grads=True)


def refuse_layers(model: nn.Module) -> None:
    """Refuse layers that are known not to be homogeneous."""
    for name, layer in model.named_modules():
        if isinstance(layer, NOT_HOMOGENEOUS):
            raise CourseError(
                f"Layer {name!r} is {type(layer).__name__}, which is not homogeneous: doubling its input does not double "
                "its output, so SynFlow's scores would not be conserved.\n"
                "Pass a network with nn.ReLU or nn.LeakyReLU in its place."
            )


@torch.no_grad()
def require_flow(twin: nn.Module, ones: Tensor) -> None:
    """Refuse a network through which nothing flows, or too much; warn where doubling the input does not double R."""
    try:
        flow = float(twin(ones).sum())
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise CourseError(
            f"An input of shape {tuple(ones.shape)} in float64 does not go through this network: {error}\n"
            "input_shape is the shape of one example without the batch, such as (1, 8, 8)."
        ) from None
    if not 0 < flow < float("inf"):
        raise CourseError(
            f"R, the sum of the outputs on an input of ones, is {flow}, so there is nothing to share out.\n"
            "Look for a layer whose weights are all zero, or for weights that are far too large or not finite."
        )
    shifts = {
        name: torch.zeros_like(t) for name, t in twin.state_dict().items() if name.endswith(("bias", "running_mean"))
    }
    once, twice = (functional_call(twin, shifts, (factor * ones,)).sum() for factor in (1, 2))
    if not torch.isclose(2 * once, twice, rtol=1e-6):
        warnings.warn(
            "This network is not homogeneous: without biases, doubling the input does not double the output. "
            "SynFlow's scores are not conserved in it.",
            stacklevel=4,
        )
