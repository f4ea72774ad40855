# %% [markdown]
# # 07 · Structured pruning: exercises
#
# Five exercises, 12 points, about 60 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import statistics

import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · Filters of conv, batch norm and conv
#
# *Medium · 12 minutes · 3 points*
#
# Two convolutions with a batch norm between them: `conv1`, `norm`, `conv2`. Some filters of `conv1` go for good. Whatever
# held a number for them goes too; everything else stays as it is.

# %% exercise=1
def remove_channels(state: dict[str, Tensor], gone: list[int]) -> dict[str, Tensor]:
    """Take filters of conv1 out of three layers.

    Args:
        state: the tensors by their names: conv1.weight (filters, inputs, k, k), conv1.bias (filters,), norm.weight,
            norm.bias, norm.running_mean and norm.running_var, (filters,), norm.num_batches_tracked (one number),
            conv2.weight (outputs, filters, k, k) and conv2.bias (outputs,).
        gone: indices of the filters of conv1 to remove, in any order.

    Returns:
        the same names with the new tensors; what stays keeps its order; the arguments are not changed.
    """
    ### BEGIN SOLUTION
    keep = [index for index in range(len(state["conv1.weight"])) if index not in gone]
    rows = ["conv1.weight", "conv1.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    smaller = dict(state)
    for name in rows:
        smaller[name] = state[name][keep]
    smaller["conv2.weight"] = state["conv2.weight"][:, keep]
    return smaller
    ### END SOLUTION


# %%
check(remove_channels)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>IndexError: too many indices for tensor of dimension 0</code></summary>
#
# `norm.num_batches_tracked` is a single number, a count for the whole layer. It has no rows to pick.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · Behind a flatten
#
# *Easy · 8 minutes · 2 points*
#
# A convolution's output of shape (batch, channels, height, width) is flattened to (batch, channels · height · width) and
# goes into a linear layer. Some channels are gone. Which columns go?

# %% exercise=2
def shrink_linear(weight: Tensor, channels: int, gone: list[int]) -> Tensor:
    """Remove from a linear layer all that reads the channels that are gone.

    Args:
        weight: (outputs, channels * pixels), where pixels = height * width.
        channels: how many there were before the flatten.
        gone: indices of the removed channels.

    Returns:
        (outputs, (channels - len(gone)) * pixels)
    """
    ### BEGIN SOLUTION
    keep = [channel for channel in range(channels) if channel not in gone]
    table = weight.unflatten(1, (channels, -1))  # (outputs, channels, pixels)
    return table[:, keep].flatten(1)
    ### END SOLUTION


# %%
check(shrink_linear)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>The check says that the shapes differ</summary>
#
# A channel has as many columns as it has pixels: `weight.shape[1] // channels`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · A residual pair
#
# *Hard · 15 minutes · 3 points*
#
# A network with a shortcut: $x = \text{stem}(\text{image})$, then $y = x + \text{outer}(\text{inner}(x))$, then
# $\text{head}(y)$. The addition ties the filters of `stem` to those of `outer`. Score of a channel: the mean magnitude of
# its stem filter, plus that of its outer filter. Remove the $n$ channels with the lowest scores.

# %% exercise=3
def prune_residual(weights: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """Remove the n weakest channels of a residual sum, everywhere.

    Args:
        weights: "stem" (channels, inputs, k, k), "inner" (middle, channels, k, k), "outer" (channels, middle, k, k) and
            "head" (classes, channels).
        n: how many channels go.

    Returns:
        the same names with the new tensors; what stays keeps its order.
    """
    ### BEGIN SOLUTION
    score = sum(weights[name].abs().mean(dim=(1, 2, 3)) for name in ("stem", "outer"))
    keep = score.argsort(stable=True)[n:].sort().values
    return {
        "stem": weights["stem"][keep],
        "inner": weights["inner"][:, keep],
        "outer": weights["outer"][keep],
        "head": weights["head"][:, keep],
    }
    ### END SOLUTION


# %%
check(prune_residual)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>All shapes are right, but the values differ</summary>
#
# Did each layer choose by itself? Or are the channels in the order of their scores? What stays keeps its old order.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Whole blocks
#
# *Medium · 12 minutes · 2 points*
#
# A residual network of matrices: a block $(A, B)$ takes the rows of $h$ to
# $\mathrm{relu}\big(h + \mathrm{relu}(h A) B\big)$; after the last block, the largest entry of $h \cdot \text{head}$ is the
# answer. A removed block hands its input on. What would each block's removal cost?

# %% exercise=4
def cost_of_blocks(x: Tensor, labels: Tensor, blocks: list[list[Tensor]], head: Tensor) -> list[float]:
    """Remove each block alone, and give the accuracy that is lost.

    Args:
        x: (n, width), inputs of the first block.
        labels: (n,), right classes.
        blocks: [A, B] for each block, A (width, hidden), B (hidden, width).
        head: (width, classes).

    Returns:
        for each block the accuracy with all blocks less the accuracy without this one, as fractions.
    """
    ### BEGIN SOLUTION
    def accuracy(kept: list[list[Tensor]]) -> float:
        h = x
        for first, second in kept:
            h = torch.relu(h + torch.relu(h @ first) @ second)
        return ((h @ head).argmax(dim=1) == labels).float().mean().item()

    return [accuracy(blocks) - accuracy(blocks[:k] + blocks[k + 1 :]) for k in range(len(blocks))]
    ### END SOLUTION


# %%
check(cost_of_blocks)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>I get <code>RuntimeError: mat1 and mat2 shapes cannot be multiplied</code></summary>
#
# `h @ first` is (n, hidden). It goes through `second` before it is added to `h`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.5 · Latency against MACs
#
# *Medium · 10 minutes · 2 points*
#
# Somebody removed filters from a chain of 3×3 convolutions and timed both networks several times, on a computer that did
# other things as well. Which speedup do the MACs promise, and which one did the clock show?

# %% exercise=5
def speedups(
    channels: list[int], kept: list[int], positions: list[int], dense_ms: list[float], pruned_ms: list[float]
) -> dict[str, float]:
    """Compare the speedup that MACs promise with the measured one.

    Args:
        channels: of the dense chain, the input image's first: layer k has channels[k] inputs, channels[k + 1] filters.
        kept: the same numbers after the removal.
        positions: pixels of each layer's output.
        dense_ms, pruned_ms: measured times of the two networks; some runs were disturbed.

    Returns:
        {"expected": dense MACs / pruned MACs, "measured": dense time / pruned time, by medians}
    """
    ### BEGIN SOLUTION
    def macs(widths: list[int]) -> int:
        return sum(9 * inputs * outputs * n for inputs, outputs, n in zip(widths, widths[1:], positions))

    return {
        "expected": macs(channels) / macs(kept),
        "measured": statistics.median(dense_ms) / statistics.median(pruned_ms),
    }
    ### END SOLUTION


# %%
check(speedups)

# %% [markdown]
# Hints: `hint("<<n>>.5")`. To think about: which part of a network's time does not shrink with its filters?
