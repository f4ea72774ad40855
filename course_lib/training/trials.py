"""Training many networks of one architecture at once, as one stacked network."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap
from torch.nn import functional as F

from course_lib.data import Split
from course_lib.errors import CourseError, require_positive
from course_lib.training.loop import Loss, batch_rows, check_settings, checked, mask_keeper
from course_lib.training.optimizers import OPTIMIZERS
from course_lib.training.stacked import stacked_forward


def fit_trials(
    models: Sequence[nn.Module],
    splits: Split | Sequence[Split],
    *,
    steps: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    seeds: Sequence[int] | None = None,
    masks: Sequence[Mapping[str, Tensor]] | None = None,
    loss: Loss = F.cross_entropy,
    after_step: Callable[[int, int, nn.Module], object] | None = None,
    every: int = 1,
) -> Tensor:
    """Train many networks of one architecture at once: the same as `fit` on each of them, but faster.

    The weights of all trials are stacked, (trials, *shape), and one forward pass serves all; the sum of the losses has,
    for each trial, just that trial's gradient. Every core takes a share of the trials. With dropout one
    core takes all, so that the same seed gives the same networks.

    Args:
        models: networks of the same architecture without batch norm; they are trained in place.
        splits: one for all trials, or one for each.
        steps, batch_size, lr, optimizer, weight_decay: as in `fit`.
        seeds: the order of the examples in each trial; 0, 1, 2, ... by default.
        masks: for each trial, parameter name -> bool mask; the same names in every trial.
        loss: as in `fit`.
        after_step: called as `after_step(step, trial, model)` with the number of the step, 1..steps, and each trial's
            network as it is then: for learning curves, early stopping, snapshots. Trials may call it at the same time.
        every: call `after_step` only after every so many steps.

    Returns:
        the loss of every step, (trials, steps).

    Raises:
        CourseError: as in `fit`; also for different numbers of models, splits, seeds or masks, and for models
            with batch norm, whose running statistics `vmap` cannot keep: use `fit` on each.

    >>> from course_lib.data import load
    >>> models = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(3)]
    >>> fit_trials(models, load("digits").train, steps=20).shape
    torch.Size([3, 20])

    Lesson 02.
    """
    check_settings(steps, batch_size, optimizer)
    require_positive("every", every)
    n = len(models)
    splits = [splits] * n if isinstance(splits, Split) else splits
    seeds = range(n) if seeds is None else seeds
    masks = [{}] * n if masks is None else masks
    check_trials(models, splits=splits, seeds=seeds, masks=masks)
    groups = 1 if has_dropout(models[0]) else min(os.cpu_count() or 1, (n + 1) // 2)
    settings = {
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "loss": loss,
        "after_step": after_step,
        "every": every,
    }
    shares = [[values[k::groups] for k in range(groups)] for values in (range(n), models, splits, seeds, masks)]
    with ThreadPoolExecutor(groups) as pool:
        parts = list(pool.map(partial(fit_stacked, **settings), *shares))
    losses = torch.empty(n, steps)
    for k, part in enumerate(parts):
        losses[k::groups] = part
    return checked(losses.T, lr).T


def fit_stacked(
    trials, models, splits, seeds, masks, *, steps, batch_size, lr, optimizer, weight_decay, loss, after_step, every
) -> Tensor:
    """Train one group of trials as one stacked network; returns the losses, (trials, steps)."""
    weights, buffers = stack_module_state(list(models))  # name -> (trials, *shape)
    keep_masks = mask_keeper(weights, {name: torch.stack([mask[name] for mask in masks]) for name in masks[0]})
    trainable = [weight for weight in weights.values() if weight.requires_grad]
    step_weights = OPTIMIZERS[optimizer](trainable, lr, weight_decay=weight_decay)
    logits_of_all = stacked_forward(copy.deepcopy(models[0]).to("meta").train())
    loss_of_all = stacked_cross_entropy if loss is F.cross_entropy else vmap(loss, randomness="different")
    losses = []
    x, y, rows = stacked_batches(splits, seeds, steps, batch_size)
    keep_masks()
    for step, batch in enumerate(rows, start=1):  # batch: (trials, batch)
        logits = logits_of_all(weights, buffers, x[batch])  # (trials, batch, classes)
        loss_now = loss_of_all(logits, y[batch])  # (trials,)
        for weight in weights.values():
            weight.grad = None
        loss_now.sum().backward()
        step_weights()
        keep_masks()
        losses.append(loss_now.detach())
        if after_step is not None and step % every == 0:
            unstack_(models, weights | buffers)
            for trial, model in zip(trials, models, strict=True):
                after_step(step, trial, model)
    unstack_(models, weights | buffers)
    return torch.stack(losses, dim=1)


def has_dropout(model: nn.Module) -> bool:
    """Whether training draws random numbers: all threads share one generator, and the order in them would be chance."""
    return any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in model.modules())


def stacked_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """vmap(F.cross_entropy), but all trials in one call: (trials, batch, classes), (trials, batch) -> (trials,)."""
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), reduction="none")
    return losses.view(logits.shape[:2]).mean(dim=1)


def unstack_(models: Sequence[nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Give each model its own share of the stacked tensors; a weight shared by two layers stands once in the stack."""
    for place, model in enumerate(models):
        model.load_state_dict({name: tensor[place].detach() for name, tensor in tensors.items()}, strict=False)


def stacked_batches(splits, seeds, steps, batch_size) -> tuple[Tensor, Tensor, Tensor]:
    """All examples once, and for every step and trial the rows to take, (steps, trials, batch)."""
    unique = list({id(split): split for split in splits}.values())
    start = dict(zip(map(id, unique), [0, *torch.tensor([len(s) for s in unique]).cumsum(0).tolist()], strict=False))
    rows = [
        batch_rows(len(split), batch_size, steps, seed) + start[id(split)]
        for split, seed in zip(splits, seeds, strict=True)
    ]
    return torch.cat([s.x for s in unique]), torch.cat([s.y for s in unique]), torch.stack(rows, dim=1)


def check_trials(models: Sequence[nn.Module], **per_trial: Sequence) -> None:
    """Refuse trials that cannot be stacked."""
    if not models:
        raise CourseError("fit_trials got no model. Pass one for each trial: [mlp(...) for seed in range(5)].")
    for name, values in per_trial.items():
        if len(values) != len(models):
            raise CourseError(f"There are {len(models)} models but {len(values)} {name}: pass one for each model.")
    shapes = {tuple((name, mask.shape) for name, mask in sorted(masks.items())) for masks in per_trial["masks"]}
    if len(shapes) > 1:
        raise CourseError("The masks of fit_trials must have the same names and shapes in every trial.")
    if any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in models[0].modules()):
        raise CourseError("fit_trials cannot train batch norm (running statistics); use fit on each model.")
    shapes = {tuple((name, p.shape) for name, p in model.named_parameters()) for model in models}
    if len(shapes) > 1:
        raise CourseError("The models of fit_trials must have the same architecture, but their parameters differ.")
