"""Two optimisers in a few lines each, over a list of weights at once.

torch.optim has the same and more, but building its first optimiser imports torch's compiler, which takes longer
than most experiments of this course. The tests hold these two to torch.optim's results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Step = Callable[[], None]


def gradients(weights: Sequence[Tensor], weight_decay: float) -> list[Tensor]:
    """The gradients of the loss and of the L2 penalty, ½ · weight_decay · Σ w²."""
    slopes = [weight.grad for weight in weights]
    return torch._foreach_add(slopes, weights, alpha=weight_decay) if weight_decay else slopes


def sgd(weights: Sequence[Tensor], lr: float, *, weight_decay: float = 0.0, momentum: float = 0.9) -> Step:
    """A function that does one step of gradient descent with momentum: v ← momentum · v + g; w ← w − lr · v.

    Args:
        weights: leaf tensors whose `.grad` is set when the step is called.
        lr: learning rate, above 0.
        weight_decay: 0 or more; adds weight_decay · w to the gradient (an L2 penalty).
        momentum: 0 for plain gradient descent.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> step = sgd([w], lr=0.1)
    >>> (w**2).sum().backward(); step(); round(w.item(), 4)
    0.8

    Lesson 02.
    """
    velocity = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step() -> None:
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, gradients(weights, weight_decay))
        torch._foreach_add_(weights, velocity, alpha=-lr)

    return step


def adam(
    weights: Sequence[Tensor],
    lr: float,
    *,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Step:
    """A function that does one step of Adam: the mean gradient, divided by the root of the mean squared gradient.

    Args:
        weights: leaf tensors whose `.grad` is set when the step is called.
        lr: learning rate, above 0.
        weight_decay: 0 or more; adds weight_decay · w to the gradient (an L2 penalty).
        betas: how slowly the two means forget, 0..1.
        eps: keeps the division away from zero.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> step = adam([w], lr=0.1)
    >>> (w**2).sum().backward(); step(); round(w.item(), 4)
    0.9

    Kingma & Ba 2015. Lesson 00.
    """
    mean = [torch.zeros_like(weight) for weight in weights]
    square = [torch.zeros_like(weight) for weight in weights]
    n_steps = 0

    @torch.no_grad()
    def step() -> None:
        nonlocal n_steps
        n_steps += 1
        slopes = gradients(weights, weight_decay)
        torch._foreach_lerp_(mean, slopes, 1 - betas[0])
        torch._foreach_mul_(square, betas[1])
        torch._foreach_addcmul_(square, slopes, slopes, 1 - betas[1])
        # Both means start at zero; dividing by 1 - beta^t takes that bias out.
        root = torch._foreach_sqrt(torch._foreach_div(square, 1 - betas[1] ** n_steps))
        torch._foreach_add_(root, eps)
        torch._foreach_addcdiv_(weights, mean, root, -lr / (1 - betas[0] ** n_steps))

    return step


OPTIMIZERS: dict[str, Callable[..., Step]] = {"adam": adam, "sgd": sgd}
