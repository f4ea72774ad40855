# %% [markdown]
# # 11 · Sharing weights: exercises
#
# Five exercises, 11 points, about 55 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · One iteration of k-means
#
# *Easy · 10 minutes · 2 points*
#
# Give each number the code of its nearest centroid, then move each centroid to the mean of its members. A centroid that no
# number is nearest to keeps its place.

# %% exercise=1
def assign_and_update(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Do one iteration of k-means on numbers.

    Args:
        x: numbers of any shape, float; no number lies halfway between two centroids.
        centroids: (k,), in any order.

    Returns:
        codes: x's shape, the place 0..k-1 of each number's nearest centroid.
        new centroids: (k,), the mean of each cluster's members; of an empty cluster, the old centroid.
    """
    ### BEGIN SOLUTION
    codes = (x[..., None] - centroids).abs().argmin(dim=-1)
    moved = centroids.clone()
    for j in codes.unique():
        moved[j] = x[codes == j].mean()
    return codes, moved
    ### END SOLUTION


# %%
check(assign_and_update)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `centroids[j] = …` writes into the caller's tensor. Work on `centroids.clone()`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · The gradient of a codebook
#
# *Easy · 8 minutes · 2 points*
#
# Training a codebook moves the shared values $c_j$, not single weights. With $I$ the codes and $L$ the loss,
#
# $$\frac{\partial L}{\partial c_j} = \sum_{i:\, I_i = j} \frac{\partial L}{\partial w_i}.$$
#
# Code −1 marks a pruned weight: it belongs to no shared value.

# %% exercise=2
def gradient_of_codebook(gradient: Tensor, codes: Tensor, k: int) -> Tensor:
    """Sum the gradients of the weights that share each value.

    Args:
        gradient: of each weight, any shape.
        codes: gradient's shape, int64, -1..k-1; -1 is a pruned weight.
        k: how many shared values there are; some may be unused.

    Returns:
        (k,), the gradient's dtype; 0 for an unused value.
    """
    ### BEGIN SOLUTION
    return torch.stack([gradient[codes == j].sum() for j in range(k)])
    ### END SOLUTION


# %%
check(gradient_of_codebook)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>IndexError</code> or <code>RuntimeError: index … is out of bounds</code></summary>
#
# Did a code of −1 reach `index_add_` or `bincount`? Leave the pruned weights out first: `codes >= 0`.
# </details>
#
# <details><summary>I get <code>RuntimeError: … must have the same dtype</code></summary>
#
# `torch.zeros(k)` is float32. Take the gradient's kind: `torch.zeros(k, dtype=gradient.dtype)`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Relative indices with fillers
#
# *Medium · 12 minutes · 2 points*
#
# Surviving weights stand at ascending `positions`. Store the distance from each to the one before; the first counts from
# just before place 0, so position 0 is a gap of 1. A gap of $1 \ldots 2^b$ fits into $b$ bits. A longer one is bridged by
# **fillers**: entries with gap $2^b$ and no weight, before the weight they lead to, as few as possible.
#
# In 3 bits, the positions 1, 4, 15 give the gaps 2, 3, **8**, 3: the 8 is a filler.

# %% exercise=3
def gaps_with_fillers(positions: list[int], bits: int) -> tuple[list[int], list[bool]]:
    """Turn positions into gaps that fit.

    Args:
        positions: ascending, 0 or more, at least one.
        bits: of each stored gap, 1 or more.

    Returns:
        gaps: one for each entry, 1..2^bits.
        is_weight: for each entry, True for a weight and False for a filler.

    Example:
        gaps_with_fillers([1, 4, 15], 3) gives ([2, 3, 8, 3], [True, True, False, True])
    """
    ### BEGIN SOLUTION
    gaps, is_weight, before = [], [], -1
    for position in positions:
        distance = position - before
        while distance > 2**bits:
            gaps, is_weight, distance = [*gaps, 2**bits], [*is_weight, False], distance - 2**bits
        gaps, is_weight, before = [*gaps, distance], [*is_weight, True], position
    return gaps, is_weight
    ### END SOLUTION


# %%
check(gaps_with_fillers)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>My notebook hangs</summary>
#
# A `while` loop in which the distance never gets smaller runs for ever. Stop it with the square button.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · The lengths of Huffman's codewords
#
# *Hard · 15 minutes · 3 points*
#
# Take the two rarest symbols, and make them one whose count is the sum. Go on with what you have now, until one is left.
# A symbol's codeword has one bit for each merge it took part in. (In every check the two rarest are clear.)

# %% exercise=4
def code_lengths(counts: list[int]) -> list[int]:
    """Give the length of each symbol's codeword in Huffman's code.

    Args:
        counts: how often each symbol occurs, 0 or more; at least one is above 0.

    Returns:
        one length for each symbol, in bits: 0 if it never occurs, 1 if it is the only one that does.

    Example:
        code_lengths([5, 1, 0, 2]) gives [1, 2, 0, 2]
    """
    ### BEGIN SOLUTION
    nodes = [(count, [symbol]) for symbol, count in enumerate(counts) if count > 0]
    lengths = [0] * len(counts)
    if len(nodes) == 1:
        lengths[nodes[0][1][0]] = 1
    while len(nodes) > 1:
        nodes.sort()
        (a, left), (b, right) = nodes[:2]
        for symbol in left + right:
            lengths[symbol] += 1
        nodes = [(a + b, left + right), *nodes[2:]]
    return lengths
    ### END SOLUTION


# %%
check(code_lengths)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: a decoder needs only these lengths, not the codewords. Why?

# %% [markdown]
# ## Exercise <<n>>.5 · A ratio with everything in it
#
# *Medium · 10 minutes · 2 points*
#
# Before: `n` weights of 32 bits. After: in every layer each **entry**, a surviving weight or a filler, takes a code of
# $\lceil \log_2 k \rceil$ bits and a gap of `gap_bits` bits; and the codebook takes $k$ numbers of 32 bits. (Huffman's code
# is left out here. In this format a filler has a code like any other entry.)

# %% exercise=5
def shared_ratio(layers: list[tuple[int, int, int, int]], gap_bits: int) -> float:
    """Say how many times smaller pruning and sharing make a network.

    Args:
        layers: for each, (n, kept, fillers, k): weights before, surviving weights, fillers, shared values (1 or more).
        gap_bits: of every gap.

    Returns:
        bits before / bits after, over all layers together.
    """
    ### BEGIN SOLUTION
    before = after = 0
    for n, kept, fillers, k in layers:
        code_bits = (k - 1).bit_length()  # ⌈log₂ k⌉
        before += 32 * n
        after += (kept + fillers) * (code_bits + gap_bits) + 32 * k
    return before / after
    ### END SOLUTION


# %%
check(shared_ratio)

# %% [markdown]
# Hints: `hint("<<n>>.5")`. To think about: with how many shared values does the codebook of a layer of 1,000 weights take
# more room than their codes?
