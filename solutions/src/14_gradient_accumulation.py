# %% [markdown]
# # 14 · Gradient accumulation: exercises
#
# Four exercises, 8 points, about 40 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# %% [markdown]
# ## Exercise <<n>>.1 · How many optimiser steps?
#
# *Warm-up · 5 minutes · 1 point*
#
# A learning-rate schedule must know how many steps will be taken. A data loader gives micro-batches, the last one of an
# epoch perhaps shorter. `n_accumulate` of them make a window, the last one of an epoch perhaps partial. Nothing is dropped,
# and no window reaches into the next epoch.

# %% exercise=1
def optimizer_steps(n_examples: int, micro_batch: int, n_accumulate: int, epochs: int) -> int:
    """Count the optimiser steps of a training.

    Args:
        n_examples: in the training set, 1 or more.
        micro_batch: examples in a full micro-batch.
        n_accumulate: micro-batches in a full window.
        epochs: passes over the data.

    Returns:
        a whole number.

    Example:
        optimizer_steps(10, 2, 4, 3) gives 6: in each epoch five micro-batches, so windows of 4 and 1
    """
    ### BEGIN SOLUTION
    micro_batches = math.ceil(n_examples / micro_batch)
    return epochs * math.ceil(micro_batches / n_accumulate)
    ### END SOLUTION


# %%
check(optimizer_steps)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I am right for some inputs and one step short for others</summary>
#
# `//` rounds down. What is left over, at both levels, must not be lost.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · An epoch in windows
#
# *Medium · 15 minutes · 3 points*
#
# Plain gradient descent on a classifier, with **one step for each window**: $w \leftarrow w - \mathrm{lr} \cdot g$, where
# $g$ is the gradient of the mean cross-entropy over **all examples of the window**. Micro-batches may differ in size, and
# the last window may have fewer of them.

# %% exercise=2
def train_epoch(
    model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]], n_accumulate: int, lr: float
) -> nn.Module:
    """Train a model for one epoch by accumulation. The model is changed.

    Args:
        model: x -> logits, (examples, classes).
        micro_batches: (x, labels) each, one or more examples; one forward and backward pass for each.
        n_accumulate: micro-batches in a full window.
        lr: each step subtracts lr times the gradient.

    Returns:
        the same model, trained.
    """
    ### BEGIN SOLUTION
    for start in range(0, len(micro_batches), n_accumulate):
        window = micro_batches[start : start + n_accumulate]
        examples = sum(len(y) for _, y in window)
        model.zero_grad()
        for x, y in window:
            (F.cross_entropy(model(x), y, reduction="sum") / examples).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    return model
    ### END SOLUTION


# %%
check(train_epoch)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>a leaf Variable that requires grad is being used in an in-place operation</code></summary>
#
# The update itself must not be recorded: put it under `with torch.no_grad():`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · The mean over tokens
#
# *Medium · 12 minutes · 2 points*
#
# Now sequences, with labels of −100 where a place does not count (padding, the question of an instruction). Give the
# gradient of the mean loss over **all labels of the window that count**. `forward` has little memory: there is room for
# two micro-batches, and what has gone forward stays there until its backward pass. A micro-batch may have no label that
# counts; if the whole window has none, the gradient is zero.

# %% exercise=3
def window_gradient(weight: Tensor, micro_batches: list[tuple[Tensor, Tensor]], forward: Callable) -> Tensor:
    """Accumulate the gradient of a window's mean loss over tokens.

    Args:
        weight: (classes, features), of a linear layer.
        micro_batches: x (sequences, tokens, features) and labels (sequences, tokens) each; tokens may differ.
        forward: (weight, x) -> logits, (sequences, tokens, classes).

    Returns:
        the gradient of the mean cross-entropy with respect to weight, its shape.
    """
    ### BEGIN SOLUTION
    weight = weight.clone().requires_grad_()
    total = sum(int((y != -100).sum()) for _, y in micro_batches)
    for x, y in micro_batches:
        logits = forward(weight, x).flatten(0, 1)
        loss = F.cross_entropy(logits, y.flatten(), ignore_index=-100, reduction="sum")
        (loss / max(total, 1)).backward()
    return weight.grad
    ### END SOLUTION


# %%
check(window_gradient)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>Expected target size … got …</code></summary>
#
# `F.cross_entropy` wants classes in the second place: flatten sequences and tokens into one, logits and labels alike.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Clip at the right place
#
# *Medium · 10 minutes · 2 points*
#
# For each micro-batch you are given the gradients of its **summed** loss, and how many losses were in that sum. Give the
# gradient of the window's mean loss, clipped as a big batch's would be: if its norm (the root of the sum of all squared
# entries of all parameters) is above `max_norm`, scale it to `max_norm`.

# %% exercise=4
def clipped_gradient(parts: list[dict[str, Tensor]], counts: list[int], max_norm: float) -> dict[str, Tensor]:
    """Add up a window's gradients, and clip the result.

    Args:
        parts: for each micro-batch, parameter name -> gradient of the sum of its losses.
        counts: for each micro-batch, how many losses were summed, 0 or more; not all are 0.
        max_norm: the largest norm allowed, above 0.

    Returns:
        parameter name -> gradient; the arguments are not changed.
    """
    ### BEGIN SOLUTION
    mean = {name: sum(part[name] for part in parts) / sum(counts) for name in parts[0]}
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in mean.values()))
    scale = min(1, max_norm / norm) if norm > 0 else 1
    return {name: scale * gradient for name, gradient in mean.items()}
    ### END SOLUTION


# %%
check(clipped_gradient)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: would clipping every micro-batch be right if all its gradients pointed the same
# way?
