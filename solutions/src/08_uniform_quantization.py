# %% [markdown]
# # 08 · Uniform quantization: exercises
#
# Four exercises, 9 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import torch
from torch import Tensor

# %% [markdown]
# ## Exercise <<n>>.1 · Scale and zero point
#
# *Easy · 10 minutes · 2 points*
#
# A grid must hold every value of a tensor, **and 0**. With low = min(smallest value, 0) and high = max(largest value, 0):
#
# | | codes | scale | zero point |
# |---|---|---|---|
# | affine | 0 to $2^b - 1$ | (high − low) / number of steps | the code of 0 |
# | symmetric | $-(2^{b-1} - 1)$ to $2^{b-1} - 1$ | largest magnitude / steps on one side | 0 |
#
# How many steps lie between the codes, you find out yourself.

# %% exercise=1
def scale_and_zero_point(x: Tensor, bits: int, symmetric: bool) -> list:
    """Give the grid that just covers a tensor.

    Args:
        x: any shape, not empty.
        bits: 1 to 8 (a symmetric grid: 2 to 8).
        symmetric: which of the two grids.

    Returns:
        [scale, zero_point]: a number above 0, and a whole number. A tensor of zeros has the scale 1.

    Example:
        scale_and_zero_point(torch.tensor([-1.0, 0.0, 2.0]), 2, False) gives [1.0, 1]
    """
    ### BEGIN SOLUTION
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    if symmetric:
        return [max(-low, high) / (2 ** (bits - 1) - 1) or 1.0, 0]
    scale = (high - low) / (2**bits - 1) or 1.0
    return [scale, round(-low / scale)]
    ### END SOLUTION


# %%
check(scale_and_zero_point)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>ZeroDivisionError: float division by zero</code></summary>
#
# A tensor of zeros has a range without width. Its scale is 1 by the specification.
# </details>
#
# <details><summary>I get <code>TypeError: type Tensor doesn't define __round__ method</code></summary>
#
# `round` wants a number: `x.min().item()` gives one. For tensors there is `torch.round`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · Quantize with saturation
#
# *Easy · 10 minutes · 2 points*
#
# The code of $x$ is that of the nearest grid point, $\text{round}(x / \text{scale}) + \text{zero point}$. What lies beyond
# the grid gets its last code: the grid *saturates*. Codes are bytes, `torch.int8` on a symmetric grid and `torch.uint8` on an
# affine one, also where they have fewer than 8 bits. A byte that is given 300 keeps 44.

# %% exercise=2
def saturating_codes(x: Tensor, scale: float, zero_point: int, bits: int, symmetric: bool) -> Tensor:
    """Give the codes of the nearest grid points.

    Args:
        x: any shape; some values lie far outside the grid. It is not changed.
        scale, zero_point: of the grid; the zero point of a symmetric grid is 0.
        bits: 2 to 8.
        symmetric: codes from -(2^(bits-1) - 1) to 2^(bits-1) - 1, else from 0 to 2^bits - 1.

    Returns:
        codes of x's shape, int8 if symmetric, else uint8.

    Example:
        saturating_codes(torch.tensor([-9.0, 0.4, 0.6, 9.0]), 1.0, 1, 2, False) gives [0, 1, 2, 3] as uint8
    """
    ### BEGIN SOLUTION
    lowest = -(2 ** (bits - 1) - 1) if symmetric else 0
    highest = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
    codes = torch.round(x / scale) + zero_point
    return codes.clamp(lowest, highest).to(torch.int8 if symmetric else torch.uint8)
    ### END SOLUTION


# %%
check(saturating_codes)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>A large value gets a small code</summary>
#
# It has wrapped around: the byte kept its last eight bits. In which order did you clamp and cast?
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · A grid for each channel
#
# *Medium · 12 minutes · 2 points*
#
# Each channel of a weight tensor gets a symmetric grid of its own that covers its largest magnitude. Output channels lie on
# axis 0 of `nn.Linear` and `nn.Conv2d`, on axis 1 of `nn.ConvTranspose2d`.

# %% exercise=3
def quantize_channels(weight: Tensor, bits: int, axis: int) -> list[Tensor]:
    """Put each channel on a symmetric grid of its own.

    Args:
        weight: 2 to 4 dimensions. It is not changed.
        bits: 2 to 8.
        axis: the dimension that holds the channels; -1 is the last.

    Returns:
        [scales, on_grid]: shape (channels,), above 0; and the weights at their nearest grid points, same shape.
        A channel of zeros has the scale 1.

    Example:
        torch.tensor([[1.0, 0.2], [8.0, 5.0]]), 2 bits, axis 0: gives [[1, 8], [[1, 0], [8, 8]]]
    """
    ### BEGIN SOLUTION
    highest = 2 ** (bits - 1) - 1
    scales = weight.movedim(axis, 0).flatten(1).abs().amax(dim=1) / highest  # (channels,)
    scales = torch.where(scales > 0, scales, 1.0)
    shape = [1] * weight.dim()
    shape[axis] = -1
    over = scales.view(shape)
    return [scales, over * torch.round(weight / over).clamp(-highest, highest)]
    ### END SOLUTION


# %%
check(quantize_channels)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>RuntimeError: The size of tensor a (3) must match the size of tensor b (4)</code></summary>
#
# Shapes are matched from the last axis. `scales.view(-1, 1, 1, 1)` stands on axis 0 of a convolution's weight.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · Mean-square clipping
#
# *Medium · 13 minutes · 3 points*
#
# A grid that covers less than everything clips a few values, and rounds all others more finely. Try each share of the
# largest magnitude as the clip $c$: the symmetric grid goes from $-c$ to $c$. Return the clip with the least
#
# $$\text{mean over all values of } (x - \text{its grid point})^2.$$

# %% exercise=4
def best_clip(x: Tensor, bits: int, shares: list[float]) -> float:
    """Give the clip whose symmetric grid has the least mean squared error.

    Args:
        x: any shape, not all zero. It is not changed.
        bits: 2 to 8.
        shares: clips to try, as shares of the largest magnitude, above 0 to 1.

    Returns:
        the clip: the best share times the largest magnitude.

    Example:
        best_clip(torch.tensor([1.0] * 99 + [4.0]), 2, [0.25, 0.5, 1.0]) gives 1.0
    """
    ### BEGIN SOLUTION
    highest = 2 ** (bits - 1) - 1
    errors = {}
    for share in shares:
        clip = share * x.abs().max().item()
        scale = clip / highest
        on_grid = scale * torch.round(x / scale).clamp(-highest, highest)
        errors[clip] = (x - on_grid).square().mean().item()
    return min(errors, key=errors.get)
    ### END SOLUTION


# %%
check(best_clip)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: why is the best clip of 8 bits nearly the whole range?
