# %% [markdown]
# # 03 · Pruning schedules: exercises
#
# Four exercises, 8 points, about 40 minutes. Each has a stub with its specification, a check that says *what* is wrong,
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
# ## Exercise <<n>>.1 · The cubic schedule
#
# *Warm-up · 8 minutes · 1 point*
#
# Between the steps `begin` and `end` the sparsity follows
#
# $$s = s_{\text{final}} + (s_{\text{initial}} - s_{\text{final}}) \, (1 - p)^3, \qquad p = \frac{\text{step} - \text{begin}}{\text{end} - \text{begin}}.$$
#
# Before `begin` it is the initial one, after `end` the final one.

# %% exercise=1
def cubic_sparsity(step: int, initial: float, final: float, begin: int, end: int) -> float:
    """Give the sparsity that is due at a training step.

    Args:
        step: optimiser steps done so far.
        initial, final: sparsities, fractions 0..1.
        begin, end: the steps between which sparsity rises, begin < end.

    Returns:
        a fraction, 0..1.

    Example:
        cubic_sparsity(5, 0.0, 0.8, 0, 10) gives 0.7
    """
    ### BEGIN SOLUTION
    progress = min(max((step - begin) / (end - begin), 0), 1)
    return final + (initial - final) * (1 - progress) ** 3
    ### END SOLUTION


# %%
check(cubic_sparsity)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>ZeroDivisionError: division by zero</code></summary>
#
# Did you divide by `step` or by `begin`? Progress is divided by `end - begin`, which is above zero here.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · The sparsities of the rounds
#
# *Easy · 8 minutes · 2 points*
#
# Iterative pruning keeps the same share of the *survivors* in every round. Which sparsities lie on the way to the target?
# Three rounds to 0.875 halve three times: 0.5, 0.75, 0.875.

# %% exercise=2
def sparsities_of_rounds(final: float, rounds: int) -> list[float]:
    """Give the sparsity after each round of iterative pruning.

    Args:
        final: the sparsity after the last round, 0 up to but without 1.
        rounds: how many there are, 1 or more.

    Returns:
        `rounds` fractions, the last one equal to `final`.
    """
    ### BEGIN SOLUTION
    share = (1 - final) ** (1 / rounds)  # of the survivors, kept in every round
    return [1 - share**k for k in range(1, rounds + 1)]
    ### END SOLUTION


# %%
check(sparsities_of_rounds)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>The check says that it expected 3 entries and got 4</summary>
#
# One number for each round, the network before the first round not counted: `range(1, rounds + 1)`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Gradual pruning in a loop
#
# *Hard · 15 minutes · 3 points*
#
# Plain gradient descent, with a new mask from time to time. For each entry of `sparsities`, one after the other: make a
# magnitude mask of exactly $\mathrm{round}(s \cdot n)$ zeros, then take `every` updates with it. While a weight is
# masked it acts as zero and gets no update, but it **keeps its last value**, and that value is ranked when the next mask is
# made: so it may come back.

# %% exercise=3
def prune_gradually(
    weight: Tensor,
    gradient: Callable[[Tensor], Tensor],
    sparsities: list[float],
    every: int,
    lr: float,
) -> Tensor:
    """Train and prune a weight by turns.

    Args:
        weight: (n,), dense.
        gradient: weight -> gradient of the loss there, both (n,).
        sparsities: of the masks, one after the other, fractions 0..1.
        every: updates with each mask.
        lr: each update subtracts lr times the gradient.

    Returns:
        the pruned weight after the last update, (n,): zero where the last mask is; the argument is not changed.
    """
    ### BEGIN SOLUTION
    for sparsity in sparsities:
        mask = torch.ones(len(weight), dtype=torch.bool)
        mask[weight.abs().argsort(stable=True)[: round(sparsity * len(weight))]] = False
        for _ in range(every):
            weight = weight - lr * gradient(weight * mask) * mask
    return weight * mask
    ### END SOLUTION


# %%
check(prune_gradually)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `weight -= …` writes into the caller's tensor. Write `weight = weight - …`, which makes a new one.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · A fair dense rival
#
# *Medium · 10 minutes · 2 points*
#
# Is a large network with many zeros better than a small one without? To be fair, the small one must not have more
# parameters than the large one has non-zeros. Both networks are `inputs → width → width → classes`, linear layers with
# biases. The large one, of width `hidden`, loses $\mathrm{round}(s \cdot n)$ of its $n$ weights; all biases stay.

# %% exercise=4
def widest_that_fits(inputs: int, hidden: int, classes: int, sparsity: float) -> int:
    """Find the dense network with as many parameters as the sparse one has non-zeros.

    Args:
        inputs, hidden, classes: of the sparse network.
        sparsity: of its weights, a fraction 0..1.

    Returns:
        the largest width whose weights and biases together are at most the sparse network's non-zeros, biases included.
    """
    ### BEGIN SOLUTION
    weights = lambda width: inputs * width + width * width + width * classes
    biases = lambda width: 2 * width + classes
    budget = weights(hidden) - round(sparsity * weights(hidden)) + biases(hidden)
    width = 1
    while weights(width + 1) + biases(width + 1) <= budget:
        width += 1
    return width
    ### END SOLUTION


# %%
check(widest_that_fits)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: do equal non-zeros make equal files?
