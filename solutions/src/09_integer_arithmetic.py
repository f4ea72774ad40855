# %% [markdown]
# # 09 · Integer arithmetic: exercises
#
# Four exercises, 9 points, about 40 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import math

import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · Multiplier and shift
#
# *Easy · 10 minutes · 2 points*
#
# Between two layers, sums are multiplied by a real number $M$. Write it with whole numbers alone:
#
# $$M \approx \frac{m_0}{2^{\text{shift}}}, \qquad 2^{30} \le m_0 < 2^{31},$$
#
# as near as that allows. The bounds say that $m_0$ uses all its 31 bits; together with a sign it fits an int32. $M$ is
# usually far below 1, but it may lie above.

# %% exercise=1
def multiplier_and_shift(multiplier: float) -> list[int]:
    """Write a real multiplier as a whole number and a shift to the right.

    Args:
        multiplier: above 0, below 2.

    Returns:
        [m0, shift] with m0 / 2**shift as near to the multiplier as a whole m0 of 31 bits can come.

    Example:
        multiplier_and_shift(0.75) gives [1610612736, 31]
    """
    ### BEGIN SOLUTION
    fraction, exponent = math.frexp(multiplier)  # multiplier = fraction * 2**exponent, fraction from 0.5 to 1
    m0, shift = round(fraction * 2**31), 31 - exponent
    return [m0 // 2, shift - 1] if m0 == 2**31 else [m0, shift]
    ### END SOLUTION


# %%
check(multiplier_and_shift)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>The check says that m₀ must lie in 2^30 … 2^31 − 1</summary>
#
# Print m₀ as a power of two: `math.log2(m0)` should lie between 30 and 31. Too small: shift further. Exactly 31: the
# fraction was rounded up to 1, and the same number can be written with half of that m₀.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · The rounding right shift
#
# *Easy · 8 minutes · 2 points*
#
# Divide by $2^{\text{shift}}$ and round to the *nearest* whole number; a half goes *up*, also below zero: 24 / 16 becomes 2,
# −24 / 16 becomes −1. Sum times $m_0$ has up to 60 bits or so: no float can hold that.

# %% exercise=2
def rounding_shift(x: Tensor, shift: int) -> Tensor:
    """Divide whole numbers by a power of two, rounded to nearest, halves upwards.

    Args:
        x: whole numbers of both signs, int64, any shape, below 2**61 in size. It is not changed.
        shift: 1 to 40.

    Returns:
        int64, x's shape.

    Example:
        rounding_shift(torch.tensor([-9, -8, 7, 8]), 4) gives tensor([-1, 0, 0, 1])
    """
    ### BEGIN SOLUTION
    half = 1 << (shift - 1)
    return (x + half) >> shift
    ### END SOLUTION


# %%
check(rounding_shift)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>Only my negative numbers are wrong</summary>
#
# What does `>>` do with −1? Try `torch.tensor([-1]) >> 4`. It rounds down, always; so one and the same half serves both signs.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · A product with zero points
#
# *Medium · 12 minutes · 3 points*
#
# Sum the products of the numbers that codes stand for (up to their scales):
#
# $$c_{ij} = \sum_{k} (a_{ik} - Z_a)(b_{kj} - Z_b).$$
#
# You may take the zero points away first, or expand the product as the lesson did. Either way the result must be exact:
# an int8 has no room for a difference of two int8, and float32 none for long sums.

# %% exercise=3
def integer_product(a: Tensor, b: Tensor, a_zero_point: int, b_zero_point: int) -> Tensor:
    """Multiply two matrices of codes.

    Args:
        a: codes, int8, (rows, K).
        b: codes, int8, (K, columns).
        a_zero_point, b_zero_point: whole numbers, -128 to 127.

    Returns:
        the sums, int32, (rows, columns).
    """
    ### BEGIN SOLUTION
    products = a.int() @ b.int()
    of_a, of_b = a.sum(dim=1, keepdim=True, dtype=torch.int32), b.sum(dim=0, dtype=torch.int32)
    constant = a.shape[1] * a_zero_point * b_zero_point
    return products - a_zero_point * of_b - b_zero_point * of_a + constant
    ### END SOLUTION


# %%
check(integer_product)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>The check says: the sums must be int32</summary>
#
# `sum` of integers gives int64 unless you pass `dtype=torch.int32`; and `a.int()` is int32, `a.long()` is int64.
# </details>
#
# To think about: which of the four sums can be computed once, before any input is there?

# %% [markdown]
# ## Exercise <<n>>.4 · Fold a batch norm
#
# *Medium · 10 minutes · 2 points*
#
# In use, a batch norm behind a layer $z = W x + b$ is a fixed gain and shift for each output channel:
#
# $$\gamma \cdot \frac{z - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta.$$
#
# Find a weight and a bias with which the layer alone computes the same.

# %% exercise=4
def folded(
    weight: Tensor,
    bias: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
) -> list[Tensor]:
    """Give the weight and the bias of a layer that has taken over the batch norm behind it.

    Args:
        weight: (out, in) of a linear layer, or (out, in, height, width) of a convolution. It is not changed.
        bias: (out,), or None for a layer without one.
        gamma, beta: the batch norm's learned gain and shift, (out,).
        mean, variance: its running statistics, (out,).
        eps: its small number, above 0.

    Returns:
        [weight, bias], of the shapes of the layer's; the bias is always a tensor.
    """
    ### BEGIN SOLUTION
    gain = gamma / (variance + eps).sqrt()
    shape = (-1, *[1] * (weight.dim() - 1))  # one gain for each output channel
    bias = torch.zeros_like(mean) if bias is None else bias
    return [weight * gain.view(shape), gain * (bias - mean) + beta]
    ### END SOLUTION


# %%
check(folded)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>I get <code>RuntimeError: The size of tensor a (3) must match the size of tensor b (5)</code></summary>
#
# `weight * gain` lines the gain up with the *last* axis, the kernel's width. Output channels are the first: reshape the
# gain.
# </details>
