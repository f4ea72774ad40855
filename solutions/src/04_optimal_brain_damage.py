# %% [markdown]
# # 04 · Optimal Brain Damage: exercises
#
# Four exercises, 8 points, about 40 minutes, and an optional fifth for extra points. Each has a stub with its
# specification, a check that says *what* is wrong, and three hints. You may check as often as you like; only the best
# result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
from collections.abc import Callable

import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · What a weight is worth
#
# *Warm-up · 6 minutes · 1 point*
#
# Around the trained weights the loss is
#
# $$E(w + \delta) \approx E(w) + g\,\delta + \tfrac12\, h\,\delta^2.$$
#
# What does Optimal Brain Damage say that removing each weight costs? All three tensors are at hand; decide what you need.
# Keep the sign: a negative curvature is news.

# %% exercise=1
def weight_saliency(weight: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
    """Give the saliency of every weight of a trained network.

    Args:
        weight: of any shape.
        gradient: first derivatives of the loss, the weight's shape.
        curvature: second derivatives of the loss, the weight's shape.

    Returns:
        the predicted rise of the loss when each weight goes, the weight's shape.
    """
    ### BEGIN SOLUTION
    return curvature * weight**2 / 2
    ### END SOLUTION


# %%
check(weight_saliency)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>The check says that the gradient has no say, but it is in the formula</summary>
#
# The method assumes a network at its minimum (the *extremal* approximation). What is the gradient there?
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · Where the pass back begins
#
# *Easy · 8 minutes · 1 point*
#
# The loss is the *mean* cross-entropy over the examples. Its first derivative by the logits is
# $(p - \text{onehot}) / N$, with the softmax probabilities $p$. What is the second derivative of the loss by each logit
# (the diagonal: by the same logit twice)?

# %% exercise=2
def output_curvature(logits: Tensor, labels: Tensor) -> Tensor:
    """Give the second derivatives of the mean cross-entropy by each logit.

    Args:
        logits: (N, classes); they may be large.
        labels: (N,), int64.

    Returns:
        (N, classes), none below zero.
    """
    ### BEGIN SOLUTION
    p = logits.softmax(dim=1)
    return p * (1 - p) / len(logits)
    ### END SOLUTION


# %%
check(output_curvature)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>nan</code> for logits of 200</summary>
#
# `exp(200)` is beyond what float32 can hold. `logits.softmax(dim=1)` takes care of that.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Back through one linear layer
#
# *Medium · 12 minutes · 3 points*
#
# A linear layer computes $a_i = \sum_j w_{ij} x_j + b_i$. From $h_i = \partial^2 E / \partial a_i^2$, one row for each
# example, the recursion makes the second derivatives by the weights, by the biases and by the inputs. Mixed derivatives
# between the $a_i$ are left out. The loss is a mean already: $h$ carries its $1/N$.

# %% exercise=3
def through_linear(weight: Tensor, x: Tensor, h: Tensor) -> dict[str, Tensor]:
    """Take second derivatives back through a linear layer.

    Args:
        weight: (out, in).
        x: what went in, (N, in).
        h: second derivatives by what came out, (N, out).

    Returns:
        {"weight": (out, in), "bias": (out,), "input": (N, in)}: second derivatives by each.
    """
    ### BEGIN SOLUTION
    return {"weight": h.T @ x**2, "bias": h.sum(dim=0), "input": h @ weight**2}
    ### END SOLUTION


# %%
check(through_linear)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>RuntimeError: mat1 and mat2 shapes cannot be multiplied</code></summary>
#
# Write the shapes down. The weight's result is (out, in): (out, N) times (N, in). The input's is (N, in): (N, out) times
# (out, in).
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Predicted against actual
#
# *Hard · 15 minutes · 3 points*
#
# How far does the prediction carry? Rank all weights by saliency once. For each entry *k* of `counts`, remove the *k*
# cheapest weights (of equals the first) from the **whole** network, and give the rise that the saliencies predict beside
# the rise that `loss` shows.

# %% exercise=4
def predicted_and_actual(
    weight: Tensor,
    curvature: Tensor,
    loss: Callable[[Tensor], float],
    counts: list[int],
) -> list[list[float]]:
    """Compare the predicted with the actual rise of the loss.

    Args:
        weight: (n,), at a minimum of the loss.
        curvature: the Hessian's diagonal, (n,).
        loss: weights (n,) -> their loss, a number.
        counts: how many weights go, each from 0 to n, in any order.

    Returns:
        for each count [predicted rise, actual rise]; the argument `weight` is not changed.
    """
    ### BEGIN SOLUTION
    saliency = curvature * weight**2 / 2
    order = saliency.argsort(stable=True)
    rises = []
    for k in counts:
        pruned = weight.clone()
        pruned[order[:k]] = 0.0
        rises.append([saliency[order[:k]].sum().item(), loss(pruned) - loss(weight)])
    return rises
    ### END SOLUTION


# %%
check(predicted_and_actual)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: on which losses are both numbers always equal?
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `pruned = weight` gives the same tensor a second name. `weight.clone()` makes a copy.
# </details>

# %% [markdown]
# ## Exercise <<n>>.5 · Optional: remove one, move all
#
# *Optional, medium · 12 minutes · 2 points*
#
# Optimal Brain Surgeon. The points are extra: the lesson is complete without them. With the inverse Hessian
#
# $$L_q = \frac{w_q^2}{2\,[H^{-1}]_{qq}} \qquad \delta w = -\frac{w_q}{[H^{-1}]_{qq}}\, H^{-1} e_q$$
#
# find the weight of lowest cost, and move all weights so that the loss rises as little as it can. The removed weight must be
# exactly zero afterwards.

# %% exercise=5
def surgeon_removal(weight: Tensor, inverse: Tensor) -> list:
    """Remove the weight that costs least, and let all others make up for it.

    Args:
        weight: (n,).
        inverse: the inverse Hessian, (n, n).

    Returns:
        [index of the removed weight, its cost, all weights afterwards (n,)]; the arguments are not changed.
    """
    ### BEGIN SOLUTION
    cost = weight**2 / (2 * inverse.diagonal())
    q = cost.argmin().item()
    after = weight - weight[q] / inverse[q, q] * inverse[:, q]
    after[q] = 0.0
    return [q, cost[q].item(), after]
    ### END SOLUTION


# %%
check(surgeon_removal)

# %% [markdown]
# Hints: `hint("<<n>>.5")`. To think about: for which Hessian is this Optimal Brain Damage?
