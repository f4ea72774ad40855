# %% [markdown]
# # 01 · Measuring: exercises
#
# Five exercises, 10 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

# %% [markdown]
# ## Exercise <<n>>.1 · MACs of a convolution
#
# *Warm-up · 10 minutes · 2 points*
#
# A convolution puts every weight to work once at each position of its output. With $g$ groups, an output channel sees
# $C_\text{in} / g$ of the input channels. So
#
# $$\text{MACs} = C_\text{out} \cdot \frac{C_\text{in}}{g} \cdot k^2 \cdot H_\text{out} \cdot W_\text{out}
# \qquad H_\text{out} = \left\lfloor \frac{H + 2 \cdot \text{padding} - k}{\text{stride}} \right\rfloor + 1$$
#
# and $W_\text{out}$ in the same way. One MAC is a multiply with its add; the bias is an add alone and does not count.

# %% exercise=1
def conv_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    height: int,
    width: int,
    stride: int,
    padding: int,
    groups: int,
) -> int:
    """Count the multiply-adds of a convolution for one image.

    Args:
        in_channels, out_channels: channels of input and output, both multiples of groups.
        kernel_size: side of the square kernel.
        height, width: size of the INPUT image, in pixels; kernel_size or more.
        stride: step of the kernel, 1 or more.
        padding: zeros added on each side, 0 or more; they are multiplied like pixels.
        groups: 1 for an ordinary convolution, in_channels for a depthwise one.

    Returns:
        the number of multiply-adds, a whole number.

    Example:
        conv_macs(3, 8, 3, 10, 10, stride=1, padding=1, groups=1) gives 21600
    """
    ### BEGIN SOLUTION
    rows = (height + 2 * padding - kernel_size) // stride + 1
    columns = (width + 2 * padding - kernel_size) // stride + 1
    weights = out_channels * (in_channels // groups) * kernel_size**2
    return weights * rows * columns
    ### END SOLUTION


# %%
check(conv_macs)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>The check expects a whole number, mine ends in .5</summary>
#
# `/` always gives a fraction. The kernel stops at whole positions only, and a step that does not fit any more is left
# out: `//` divides and rounds down.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · The compression ratio
#
# *Easy · 8 minutes · 2 points*
#
# A network may get smaller in two ways: some weights become zero (*masked*), or layers become narrower (*shrunk*). One
# ratio covers both, because it always compares with the **original**:
#
# $$\text{compression ratio} = \frac{\text{all parameters of the original}}{\text{non-zero parameters of the compressed network}}$$

# %% exercise=2
def compression_ratio(original: nn.Module, compressed: nn.Module) -> float:
    """Compare the size of a network before and after compression.

    Args:
        original: the network before; all its parameters count: biases, norm layers, zeros too.
        compressed: the network after, masked, shrunk or both; every parameter counts, of weights
            and of biases, unless it is exactly zero.

    Returns:
        original / compressed, 1 or more for a network that became smaller.

    Example:
        a network of 1,000 parameters and the same one with 750 zeros give 4.0
    """
    ### BEGIN SOLUTION
    before = sum(parameter.numel() for parameter in original.parameters())
    left = sum(int(torch.count_nonzero(parameter)) for parameter in compressed.parameters())
    return before / left
    ### END SOLUTION


# %%
check(compression_ratio)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>AttributeError: 'generator' object has no attribute 'numel'</code></summary>
#
# `model.parameters()` gives the parameters one after the other. Go through them:
# `sum(parameter.numel() for parameter in model.parameters())`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · The theoretical speedup
#
# *Medium · 8 minutes · 2 points*
#
# How much faster would a computer be that skips every multiplication by a zero weight? A layer's MACs shrink with its
# density, the fraction of its weights that is not zero:
#
# $$\text{theoretical speedup} = \frac{\sum_\ell \text{MACs}_\ell}{\sum_\ell \text{MACs}_\ell \cdot \text{density}_\ell}$$

# %% exercise=3
def theoretical_speedup(macs: list[int], weights: list[Tensor]) -> float:
    """Say how many times fewer multiplications a pruned network needs, if zeros cost nothing.

    Args:
        macs: multiply-adds of each layer of the DENSE network, for one example.
        weights: each layer's weight after pruning, in the same order, any shape; a layer may be
            all zeros, the network is not.

    Returns:
        MACs of the dense network / MACs on weights that are not zero, 1 or more.

    Example:
        half, all_left = torch.tensor([1.0, 0.0]), torch.tensor([3.0, -2.0])
        theoretical_speedup([900, 50], [half, all_left]) gives 950 / (450 + 50) = 1.9
    """
    ### BEGIN SOLUTION
    left = 0.0
    for count, weight in zip(macs, weights):
        density = torch.count_nonzero(weight).item() / weight.numel()
        left += count * density
    return sum(macs) / left
    ### END SOLUTION


# %%
check(theoretical_speedup)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>ZeroDivisionError: division by zero</code></summary>
#
# One of the cases has a layer without any weight left. Its own speedup does not exist, but the network's does: add up
# what is left over all layers, and divide only once, at the end.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · The energy of a layer
#
# *Medium · 8 minutes · 2 points*
#
# The prices, for words of 32 bits (4 bytes): multiply 3.7 pJ, add 0.9 pJ, a word from on-chip SRAM 5 pJ, a word from
# DRAM, the main memory, 640 pJ. The layer's weights lie in DRAM and are fetched **once for a batch**; its activations
# (input and output) stay in SRAM, and each example has its own. For **one example**:
#
# $$E = \text{MACs} \cdot (3.7 + 0.9) + \frac{\text{weight bytes}}{4} \cdot \frac{640}{\text{batch}} + \frac{\text{activation bytes}}{4} \cdot 5$$

# %% exercise=4
def layer_energy(macs: int, weight_bytes: int, activation_bytes: int, batch: int) -> float:
    """Estimate the energy that a float32 layer needs for one example of a batch.

    Args:
        macs: multiply-adds for one example.
        weight_bytes: size of the weights in bytes; fetched from DRAM once for the whole batch.
        activation_bytes: size of one example's input and output in bytes; fetched from SRAM.
        batch: examples that share the weights, 1 or more.

    Returns:
        the energy for ONE example, in picojoules.

    Example:
        layer_energy(macs=100, weight_bytes=400, activation_bytes=80, batch=10) gives
        460 + 6400 + 100 = 6960.0
    """
    ### BEGIN SOLUTION
    arithmetic = macs * (3.7 + 0.9)
    weights = weight_bytes / 4 * 640 / batch
    activations = activation_bytes / 4 * 5
    return arithmetic + weights + activations
    ### END SOLUTION


# %%
check(layer_energy)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: a linear layer uses each weight once for each example. From which batch size
# on does its arithmetic cost more than its weights? Does the layer's size matter?

# %% [markdown]
# ## Exercise <<n>>.5 · A fair latency
#
# *Hard · 12 minutes · 2 points*
#
# Time a function fairly: warm up first, then time every run by itself, then take the median. The check gives you work
# that only pretends to take time, and a clock that knows how long it pretended: slow first calls, and one run in which
# the computer did something else.

# %% exercise=5
def fair_latency(
    fn: Callable[[], object],
    clock: Callable[[], float],
    warmup: int,
    runs: int,
) -> float:
    """Measure how long one call of a function takes.

    Args:
        fn: the work, called without arguments; its result is ignored. Call it exactly
            warmup + runs times.
        clock: called without arguments, returns the time in SECONDS, like time.perf_counter.
        warmup: calls that are made first and not timed, 0 or more.
        runs: calls that are timed, each by itself, 4 or more.

    Returns:
        the median of the timed runs, in milliseconds; of an even number of runs, the mean of the
        two in the middle.

    Example:
        runs that take 3, 2, 90 and 4 ms, after the warm-up, give 3.5
    """
    ### BEGIN SOLUTION
    for _ in range(warmup):
        fn()
    times_ms = []
    for _ in range(runs):
        start = clock()
        fn()
        times_ms.append(1000 * (clock() - start))
    return statistics.median(times_ms)
    ### END SOLUTION


# %%
check(fair_latency)

# %% [markdown]
# Hints: `hint("<<n>>.5")`.
#
# <details><summary>I get <code>TypeError: unsupported operand type(s) for -: 'function' and 'float'</code></summary>
#
# `clock` is a function. `clock()`, with its brackets, is the time now.
# </details>
