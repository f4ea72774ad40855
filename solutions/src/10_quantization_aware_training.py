# %% [markdown]
# # 10 · Quantization-aware training: exercises
#
# Four exercises, 8 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
from collections.abc import Callable

import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · The straight-through estimator
#
# *Easy · 10 minutes · 2 points*
#
# A grid with the codes `lowest` … `highest` puts $x$ at
#
# $$\hat x = s \cdot \mathrm{clamp}(\mathrm{round}(x / s),\; \text{lowest},\; \text{highest}).$$
#
# Write it as a `torch.autograd.Function` whose backward pass lets the incoming gradient through *unchanged* where the
# rounded step lies on the grid, and not at all where it had to be clamped.

# %% exercise=1
def straight_through(x: Tensor, scale: float, lowest: int, highest: int) -> Tensor:
    """Put values on a grid, with the straight-through estimator for their gradient.

    Args:
        x: any shape, float.
        scale: the step of the grid, above 0; it gets no gradient.
        lowest, highest: the ends of the grid, in codes.

    Returns:
        the nearest grid points, of x's shape; the gradient of x is the incoming one where
        lowest <= round(x / scale) <= highest, and 0 elsewhere.

    Example:
        straight_through(torch.tensor([0.4, 9.0]), 0.5, -2, 2) gives tensor([0.5, 1.0])
    """
    ### BEGIN SOLUTION
    class OnGrid(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale, lowest, highest):
            steps = torch.round(x / scale)
            codes = steps.clamp(lowest, highest)
            ctx.save_for_backward(steps == codes)
            return codes * scale

        @staticmethod
        def backward(ctx, gradient):
            (inside,) = ctx.saved_tensors
            return gradient * inside, None, None, None

    return OnGrid.apply(x, scale, lowest, highest)
    ### END SOLUTION


# %%
check(straight_through)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>RuntimeError: function … returned an incorrect number of gradients</code></summary>
#
# `backward` returns one entry for each argument of `forward` after `ctx`: `None` for those that get no gradient.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · A range that follows
#
# *Warm-up · 8 minutes · 1 point*
#
# The grid of an activation needs a range, and the range moves while the network learns. Follow both ends by a moving
# average: the first batch sets them; each later batch counts $1 - \text{momentum}$. Late in training the range stands
# still.

# %% exercise=2
def moving_range(batches: list[Tensor], momentum: float, freeze_after: int) -> list[float]:
    """Follow the smallest and the largest value of the batches.

    Args:
        batches: one tensor of any shape for each training step, at least one.
        momentum: the weight of what was, 0 to below 1.
        freeze_after: only so many batches count, 1 or more; there may be fewer.

    Returns:
        [low, high] after the last batch.

    Example:
        moving_range([torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0])], 0.5, 9) gives [0.0, 2.0]
    """
    ### BEGIN SOLUTION
    low, high = batches[0].min(), batches[0].max()
    for batch in batches[1:freeze_after]:
        low = momentum * low + (1 - momentum) * batch.min()
        high = momentum * high + (1 - momentum) * batch.max()
    return [low.item(), high.item()]
    ### END SOLUTION


# %%
check(moving_range)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>My first batch is counted twice</summary>
#
# It sets both ends; the loop begins with the second one.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Where the fake quantizers go
#
# *Medium · 12 minutes · 2 points*
#
# Training must compute what the integer network will. Here are linear layers with batch norm, whose statistics are
# frozen: what is left of it is a gain and a shift for each output, $y = g \cdot (Wx) + b$, and ReLU between two layers.
# When the network is stored, the gain goes *into* the weight, and only then the weight is rounded. A product takes integers
# on both sides; its sum, to which the shift is added, has 32 bits.

# %% exercise=3
def forward_on_grid(
    x: Tensor,
    layers: list[dict[str, Tensor]],
    input_grid: Callable[[Tensor], Tensor],
    weight_grid: Callable[[Tensor], Tensor],
) -> Tensor:
    """Compute a network's outputs as its integer version would.

    Args:
        x: (batch, inputs) of the first layer.
        layers: each with "weight" (out, in), "gain" (out,) and "shift" (out,).
        input_grid: puts what a layer reads on its grid, same shape.
        weight_grid: puts what is stored as a weight on its grid, one grid for the whole tensor.

    Returns:
        logits (batch, out) of the last layer, as floats.
    """
    ### BEGIN SOLUTION
    for place, layer in enumerate(layers):
        if place > 0:
            x = torch.relu(x)
        stored = weight_grid(layer["gain"].unsqueeze(1) * layer["weight"])
        x = torch.nn.functional.linear(input_grid(x), stored, layer["shift"])
    return x
    ### END SOLUTION


# %%
check(forward_on_grid)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>RuntimeError: The size of tensor a must match the size of tensor b</code></summary>
#
# The gain is (out,), the weight (out, in): give the gain a second dimension of size 1.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Steps of training
#
# *Hard · 15 minutes · 3 points*
#
# Plain gradient descent on a symmetric grid, codes −`highest` … `highest`. There are two copies of the weight: a float
# one, which is kept and updated, and the same on the grid, which the loss sees. In every step: put the float weight on the
# grid; take the gradient *there*; pass it straight through, but not where the weight is clipped; update the float weight.

# %% exercise=4
def train_on_grid(
    weight: Tensor,
    gradient: Callable[[Tensor], Tensor],
    scale: float,
    highest: int,
    lr: float,
    steps: int,
) -> list[Tensor]:
    """Train a weight that is used on a grid.

    Args:
        weight: (n,), float.
        gradient: a weight -> gradient of the loss there, both (n,).
        scale: the step of the grid.
        highest: codes go from -highest to highest.
        lr: each update subtracts lr times the gradient.
        steps: how many updates.

    Returns:
        [the float weight after the last update, the same on the grid]; the argument is not changed.
    """
    ### BEGIN SOLUTION
    top = highest * scale
    for _ in range(steps):
        nearest = scale * torch.round(weight / scale)
        inside = nearest.abs() < top + scale / 2
        weight = weight - lr * gradient(nearest.clamp(-top, top)) * inside
    return [weight, (scale * torch.round(weight / scale)).clamp(-top, top)]
    ### END SOLUTION


# %%
check(train_on_grid)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `weight -= …` writes into the caller's tensor. Write `weight = weight - …`, which makes a new one.
# </details>
