"""Training one network, in a loop one can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Split
from course_lib.errors import CourseError, require_choice, require_positive
from course_lib.training.optimizers import OPTIMIZERS

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """How well a network does on a split: mean cross-entropy, and the fraction of right answers."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(model: nn.Module, split: Split, *, batch_size: int = 512) -> Evaluation:
    """Loss and accuracy of `model` on all of `split`, in evaluation mode.

    Args:
        model: images (n, c, h, w) -> logits (n, classes); its mode is put back afterwards.
        split: what to evaluate on.
        batch_size: examples at a time; it changes the memory needed, not the result.

    >>> from course_lib.data import load
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> 0 <= evaluate(model, load("digits").test).accuracy <= 1
    True

    Lesson 00.
    """
    if len(split) == 0:
        raise CourseError("The split to evaluate on has no examples.")
    modes = {layer: layer.training for layer in model.modules()}
    model.eval()
    batches = zip(split.x.split(batch_size), split.y.split(batch_size), strict=True)
    totals = torch.zeros(2, dtype=torch.float64)
    for x, y in batches:
        logits = model(x)  # (batch, classes)
        totals[0] += F.cross_entropy(logits, y, reduction="sum")
        totals[1] += (logits.argmax(dim=1) == y).sum()
    for layer, was_training in modes.items():
        layer.training = was_training
    loss, accuracy = (totals / len(split)).tolist()
    return Evaluation(loss, accuracy)


def batch_rows(n: int, batch_size: int, steps: int, seed: int) -> Tensor:
    """Which examples each step sees: epochs in random order, one after the other, cut into full batches.

    Returns:
        row numbers, (steps, batch_size), int64; the same seed gives the same rows.

    >>> batch_rows(n=4, batch_size=2, steps=2, seed=0).flatten().sort().values
    tensor([0, 1, 2, 3])

    Lesson 00.
    """
    require_positive("the number of examples", n)
    generator = torch.Generator().manual_seed(seed)
    needed = steps * batch_size
    epochs = [torch.randperm(n, generator=generator) for _ in range(-(-needed // n))]
    return torch.cat(epochs)[:needed].view(steps, batch_size)


def fit(
    model: nn.Module,
    split: Split,
    *,
    steps: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    seed: int = 0,
    masks: Mapping[str, Tensor] | None = None,
    loss: Loss = F.cross_entropy,
    after_step: Callable[[int], object] | None = None,
) -> list[float]:
    """Train `model` on `split` and return the loss of every step. The model is changed.

    Args:
        model: images (n, c, h, w) -> logits (n, classes).
        split: what to train on.
        steps: optimiser updates.
        batch_size: examples per step.
        lr: learning rate.
        optimizer: "adam", or "sgd" with momentum 0.9.
        weight_decay: strength of the L2 penalty, 0 or more.
        seed: fixes the order of the examples; the initial weights are the caller's.
        masks: parameter name -> bool mask; weights with mask False are zero after every step.
        loss: (logits, targets) -> the mean loss of the batch; targets are rows of `split.y`, whatever they hold.
        after_step: called with the number of the step, 1..steps, after each update.

    Raises:
        CourseError: steps or batch size below 1, an unknown optimiser, masks that do not fit, or a loss that is
            no longer a number (the learning rate is too high).

    >>> from course_lib.data import load
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> losses = fit(model, load("digits").train, steps=50, lr=1e-2)
    >>> losses[-1] < losses[0]
    True

    Lesson 00; masks in lesson 02, other losses in lesson 12.
    """
    check_settings(steps, batch_size, optimizer)
    keep_masks = mask_keeper(dict(model.named_parameters()), masks or {})
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    step_weights = OPTIMIZERS[optimizer](trainable, lr, weight_decay=weight_decay)
    losses = []
    model.train()
    keep_masks()
    for step, rows in enumerate(batch_rows(len(split), batch_size, steps, seed), start=1):
        loss_now = loss(model(split.x[rows]), split.y[rows])
        model.zero_grad()
        loss_now.backward()
        step_weights()
        keep_masks()
        losses.append(loss_now.detach())
        if after_step is not None:
            after_step(step)
    return checked(torch.stack(losses), lr).tolist()


def mask_keeper(parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that sets all masked weights to zero, to be called after every step.

    Zeroing the gradient would not be enough: an optimiser with momentum moves a weight whose gradient is zero.
    """
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            raise CourseError(
                f"There is a mask of shape {tuple(mask.shape)} for {name!r}, but no parameter of that name and "
                f"shape. The parameters are: {', '.join(parameters)}."
            )
    weights = [parameters[name] for name in masks]
    keep = [mask.to(parameters[name].dtype) for name, mask in masks.items()]

    @torch.no_grad()
    def keep_masks() -> None:
        if weights:
            torch._foreach_mul_(weights, keep)  # one call for all layers

    return keep_masks


def check_settings(steps: int, batch_size: int, optimizer: str) -> None:
    """Refuse settings no training can run with."""
    require_positive("steps", steps)
    require_positive("batch_size", batch_size)
    require_choice("optimizer", optimizer, OPTIMIZERS)


def checked(losses: Tensor, lr: float) -> Tensor:
    """Return the losses, or say at which step the training blew up."""
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        raise CourseError(
            f"The training diverged: the loss is not a number at step {int(bad[0, 0]) + 1}.\n"
            f"Try a smaller learning rate than lr={lr}."
        )
    return losses
