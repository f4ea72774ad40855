# %% [markdown]
# # 02 · Magnitude pruning: exercises
#
# Five exercises, 10 points, about 50 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
from collections.abc import Callable

import torch
from torch import Tensor, nn

# %% [markdown]
# ## Exercise <<n>>.1 · A mask of exactly the right size
#
# *Warm-up · 8 minutes · 1 point*
#
# Rank the weights by magnitude and drop the lowest. Exactly $\mathrm{round}(\text{sparsity} \cdot n)$ of the $n$ weights
# go, also when some magnitudes are equal: among equal ones, those that come first (row by row) go first.

# %% exercise=1
def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Mark the weights to keep.

    Args:
        weight: any shape, n entries.
        sparsity: the fraction to remove, 0..1.

    Returns:
        a bool tensor of the weight's shape, True = keep; exactly round(sparsity * n) entries are False.

    Example:
        magnitude_mask(torch.tensor([3.0, -1.0, 2.0, -4.0]), 0.5) gives tensor([True, False, False, True])
    """
    ### BEGIN SOLUTION
    drop = round(sparsity * weight.numel())
    order = weight.abs().flatten().argsort(stable=True)  # from the smallest to the largest magnitude
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[order[:drop]] = False
    return mask.view_as(weight)
    ### END SOLUTION


# %%
check(magnitude_mask)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>RuntimeError: shape '[5, 7]' is invalid for input of size …</code></summary>
#
# `view_as` needs as many entries as the weight has. Did you keep only the positions that stay? Start from a mask of all
# n entries and change some of them.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · Global, or layer by layer
#
# *Easy · 10 minutes · 2 points*
#
# Now a whole network. With `scope="layer"` every layer loses the same fraction. With `scope="global"` all weights share
# one ranking, so layers lose what they can spare. Biases are left alone: only parameters with two or more dimensions
# are pruned.

# %% exercise=2
def network_masks(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    """Make a mask for every weight of a network.

    Args:
        parameters: name -> parameter, weights and biases, in the order of the layers.
        sparsity: the fraction of weights to remove, 0..1 (biases do not count).
        scope: "global" (one ranking of all weights, in the order of the dictionary) or "layer" (each on its own).

    Returns:
        name -> bool mask of the weight's shape, True = keep; only for parameters with two or more dimensions.
    """
    ### BEGIN SOLUTION
    weights = {name: parameter for name, parameter in parameters.items() if parameter.dim() > 1}
    if scope == "layer":
        return {name: magnitude_mask(weight, sparsity) for name, weight in weights.items()}
    together = torch.cat([weight.flatten() for weight in weights.values()])
    pieces = magnitude_mask(together, sparsity).split([weight.numel() for weight in weights.values()])
    return {name: piece.view_as(weight) for (name, weight), piece in zip(weights.items(), pieces)}
    ### END SOLUTION


# %%
check(network_masks)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>RuntimeError: Tensors must have same number of dimensions</code></summary>
#
# `torch.cat` joins along an existing dimension. Flatten each weight first: `weight.flatten()`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · The gradient criterion
#
# *Medium · 10 minutes · 2 points*
#
# To first order, setting a weight to zero changes the loss by $-w \cdot \partial L / \partial w$. Score every weight by
# the size of that change,
#
# $$s = \left| w \cdot \frac{\partial L}{\partial w} \right|,$$
#
# where $L$ is the mean cross-entropy over the batch.

# %% exercise=3
def gradient_criterion(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Score every weight of a network by |w · ∂L/∂w|.

    Args:
        model: returns logits (batch, classes).
        x: inputs (batch, ...).
        y: labels (batch,), int64.

    Returns:
        parameter name (as in model.named_parameters()) -> score of the weight's shape; only
        for parameters with two or more dimensions.
    """
    ### BEGIN SOLUTION
    weights = {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}
    loss = nn.functional.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {name: (weight * slope).abs().detach() for (name, weight), slope in zip(weights.items(), gradients)}
    ### END SOLUTION


# %%
check(gradient_criterion)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>TypeError: unsupported operand type(s) for *: 'Parameter' and 'NoneType'</code></summary>
#
# `parameter.grad` is None until `loss.backward()` has run. Or use `torch.autograd.grad`, which returns the gradients.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Score kernels and filters
#
# *Medium · 8 minutes · 2 points*
#
# To remove whole groups, give each group one score: the mean magnitude of its weights. A convolution's weight has the
# shape (out, in, height, width). A *filter* is everything that makes one output channel; a *kernel* is what one output
# channel takes from one input channel.

# %% exercise=4
def group_scores(weight: Tensor, granularity: str) -> Tensor:
    """Score the groups of a convolution's weight by their mean magnitude.

    Args:
        weight: (out, in, height, width).
        granularity: "filter" or "kernel".

    Returns:
        (out,) for filters, (out, in) for kernels.
    """
    ### BEGIN SOLUTION
    inside = (2, 3) if granularity == "kernel" else (1, 2, 3)
    return weight.abs().mean(dim=inside)
    ### END SOLUTION


# %%
check(group_scores)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: why the mean, and not the sum, when filters of different layers share one
# ranking?

# %% [markdown]
# ## Exercise <<n>>.5 · A mask under momentum
#
# *Hard · 15 minutes · 3 points*
#
# Gradient descent with momentum keeps a velocity: $v \leftarrow \mu v + \nabla L(w)$, then $w \leftarrow w - \eta v$.
# Here the velocity comes from training *before* the pruning, and it remembers where the pruned weights were going. Keep
# the mask in force: whenever a gradient is taken, and at the end, every pruned weight is exactly zero.

# %% exercise=5
def masked_descent(
    weight: Tensor,
    velocity: Tensor,
    mask: Tensor,
    gradient: Callable[[Tensor], Tensor],
    steps: int,
    lr: float,
    momentum: float,
) -> Tensor:
    """Train a pruned weight for some steps of gradient descent with momentum.

    Args:
        weight: (n,), before the mask is applied.
        velocity: (n,), from the training so far.
        mask: (n,), bool, True = keep.
        gradient: weight -> gradient of the loss there, both (n,).
        steps: how many updates.
        lr, momentum: η and μ above.

    Returns:
        the weight after the last step, (n,); the arguments are not changed.
    """
    ### BEGIN SOLUTION
    weight = weight * mask
    for _ in range(steps):
        velocity = momentum * velocity + gradient(weight)
        weight = (weight - lr * velocity) * mask
    return weight
    ### END SOLUTION


# %%
check(masked_descent)

# %% [markdown]
# Hints: `hint("<<n>>.5")`.
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `weight -= …` and `weight *= …` write into the caller's tensor. Write `weight = weight - …`, which makes a new one.
# </details>
