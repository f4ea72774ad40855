# %% [markdown]
# # 13 · Gradient checkpointing: exercises
#
# Four exercises, 8 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import math
from functools import cache

import torch
from torch import Tensor, nn

# %% [markdown]
# ## Exercise <<n>>.1 · What autograd keeps
#
# *Warm-up · 10 minutes · 2 points*
#
# While `model(x)` runs, every operation hands over the tensors that its backward pass will need. How many bytes does that
# keep in memory, on top of the network itself? Count *storages*, the pieces of memory that tensors look at: a storage that
# several saved tensors share counts once; one that is saved only in part counts whole, since no part of it can be freed. The
# storages of the parameters exist anyway and do not count. The storage of `x` does, if it is kept.

# %% exercise=1
def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """Count the bytes that autograd keeps for the backward pass of model(x).

    Args:
        model: any network; it is not changed.
        x: its input; it needs no gradient.

    Returns:
        bytes: the sizes of all storages that are kept, each once, without those of the parameters.
    """
    ### BEGIN SOLUTION
    sizes = {}
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model(x)  # as long as it lives, its graph does
    return sum(sizes.values())
    ### END SOLUTION


# %%
check(kept_bytes)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>RuntimeError: Expected a Tensor, but got None</code> (or an error about the unpack hook)</summary>
#
# `pack` is asked what autograd should keep. It must return the tensor it was given.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · A checkpoint
#
# *Hard · 18 minutes · 3 points*
#
# Run a layer so that nothing inside it is kept, and its gradients are those of a plain run all the same. Write a subclass of
# `torch.autograd.Function` inside your function, with the static methods `forward(ctx, x, …)` and `backward(ctx, gradient)`.
# What you put on `ctx` in the one is there in the other. Then return the result of its `apply`.
#
# The checks: the result, the gradients of `x` *and* of the parameters, what is kept in between, that the layer runs twice, and
# that the next random numbers are those that would have come without your backward pass. `x` needs a gradient in some of them
# and none in others.

# %% exercise=2
def recompute(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer that forgets its activations and computes them again in the backward pass.

    Args:
        layer: may use random numbers (dropout), from torch's random state on the CPU.
        x: its input, (batch, units).

    Returns:
        layer(x), so that backward() from it adds to .grad of x (if x needs one) and of the layer's parameters.
    """
    ### BEGIN SOLUTION
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, asks):
            ctx.save_for_backward(x)
            ctx.random = torch.get_rng_state()
            return layer(x)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            again = x.detach().requires_grad_(x.requires_grad)
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.set_rng_state(ctx.random)
                y = layer(again)
            y.backward(gradient)
            return again.grad, None

    return Twice.apply(x, torch.empty(0, requires_grad=True))
    ### END SOLUTION


# %%
check(recompute)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn</code></summary>
#
# If the line is yours: inside `backward` gradients are off, so your second run built no graph. If it is the check's: nothing
# that went into `apply` needed a gradient, so autograd sees no reason ever to call your `backward`.
# </details>
#
# <details><summary>I get <code>RuntimeError: … returned an incorrect number of gradients</code></summary>
#
# `backward` returns one value for each input of `forward`, `None` for those that need no gradient.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · How many segments?
#
# *Easy · 7 minutes · 1 point*
#
# Cut $n$ equal layers into $k$ segments. Each segment keeps its input, of size `boundary`; the segment at work keeps `inner` for
# each of its layers. The longest segment has $\lceil n/k \rceil$ layers, so the memory is
#
# $$k \cdot \text{boundary} + \lceil n/k \rceil \cdot \text{inner}.$$

# %% exercise=3
def best_number_of_segments(layers: int, inner: int, boundary: int) -> int:
    """Find the number of segments that needs the least memory.

    Args:
        layers: how many there are, 1 or more.
        inner: what one layer keeps while its segment is at work.
        boundary: what the input of a segment takes.

    Returns:
        the best k, from 1 to `layers`; the smallest one where several are equally good.
    """
    ### BEGIN SOLUTION
    memory = {k: k * boundary + math.ceil(layers / k) * inner for k in range(1, layers + 1)}
    return min(memory, key=memory.get)
    ### END SOLUTION


# %%
check(best_number_of_segments)

# %% [markdown]
# Hints: `hint("<<n>>.3")`. To think about: where every layer keeps four times as much inside as between, is it still √n?

# %% [markdown]
# ## Exercise <<n>>.4 · The cost of a schedule
#
# *Medium · 12 minutes · 2 points*
#
# A chain of $n$ equal steps, and $s$ slots for states. The state at the start occupies one of them. To go backward through a
# chain of one step, run it with its graph: no other step is needed, cost 0. To go through a longer one, walk $m$ steps forward
# without a graph, keep the state there, go back through the second part with the slots that are left, then through
# the first part. With a single slot there is nothing to keep on the way: walk from the start to the last step, to the one before,
# and so on. What do the best cuts cost?

# %% exercise=4
def fewest_steps(length: int, slots: int) -> int:
    """Count the steps without a graph that the best schedule takes.

    Args:
        length: steps of the chain, 1 or more.
        slots: states that can be kept at once, the one at the start included; 1 or more.

    Returns:
        the fewest steps forward; the one run of each step with its graph is not counted.

    Example:
        fewest_steps(3, 2) gives 2
    """
    ### BEGIN SOLUTION
    @cache
    def cost(n, s):
        if n == 1:
            return 0
        if s == 1:
            return n * (n - 1) // 2
        return min(m + cost(n - m, s - 1) + cost(m, s) for m in range(1, n))

    return cost(length, slots)
    ### END SOLUTION


# %%
check(fewest_steps)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>The check does not come back</summary>
#
# Your function computes the same cost again and again. Put `@cache` over it, and each pair of length and slots is computed once.
# </details>
