# %% [markdown]
# # 06 · SynFlow: exercises
#
# Four exercises, 8 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# %% [markdown]
# ## Exercise <<n>>.1 · Exponential against linear
#
# *Warm-up · 8 minutes · 1 point*
#
# SynFlow goes from all weights to $N / \rho$ in $n$ iterations. After iteration $k$ this part of the weights is left:
#
# $$\text{exponential: } \rho^{-k/n}, \qquad \text{linear: } 1 - \left(1 - \frac{1}{\rho}\right) \frac{k}{n}.$$

# %% exercise=1
def weights_left(total: int, compression: float, iterations: int, schedule: str) -> list[int]:
    """Give the number of weights that are left after each iteration.

    Args:
        total: weights before pruning, N.
        compression: weights / weights left at the end, 1 or more.
        iterations: how many there are, 1 or more.
        schedule: "exponential" or "linear".

    Returns:
        one number for each iteration, rounded to the nearest whole number.

    Example:
        weights_left(1600, 16, 4, "exponential") gives [800, 400, 200, 100]
    """
    ### BEGIN SOLUTION
    done = [k / iterations for k in range(1, iterations + 1)]
    if schedule == "linear":
        return [round(total * (1 - (1 - 1 / compression) * part)) for part in done]
    return [round(total * compression**-part) for part in done]
    ### END SOLUTION


# %%
check(weights_left)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>The check says that it expected 4 entries and got 5</summary>
#
# One number after each iteration; the full network is not counted: `range(1, iterations + 1)`.
# </details>
#
# To think about: which share of the *remaining* weights does the linear schedule take in its last step?

# %% [markdown]
# ## Exercise <<n>>.2 · SynFlow's score
#
# *Hard · 15 minutes · 3 points*
#
# Take the absolute value of *everything* the network holds: weights, biases, the numbers of batch norm. Send one input of
# ones through it. With $R$ the sum of the outputs, a weight's score is
#
# $$|w| \cdot \frac{\partial R}{\partial |w|}.$$
#
# The network is to be trained afterwards, so it must come back as it was. One of the checks is twelve layers deep.

# %% exercise=2
def synflow_score(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Score every weight of the linear and convolutional layers by the flow it carries.

    Args:
        model: the network; it may hold biases and batch norm, and comes in training mode. It is not changed.
        x: a batch of images (n, channels, height, width); only the shape of one of them is needed.

    Returns:
        parameter name, such as "1.weight" -> score, the weight's shape, float64.
    """
    ### BEGIN SOLUTION
    twin = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.abs_()
    layers = {n: layer for n, layer in twin.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    weights = {f"{name}.weight": layer.weight for name, layer in layers.items()}
    flow = twin(torch.ones_like(x[:1], dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(flow, list(weights.values()))
    return {name: w.detach() * g for (name, w), g in zip(weights.items(), gradients)}
    ### END SOLUTION


# %%
check(synflow_score)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>RuntimeError: a leaf Variable that requires grad is being used in an in-place operation</code></summary>
#
# Changing a parameter in place is no step of the computation that is differentiated: do it under `torch.no_grad()`.
# </details>
#
# <details><summary>I get <code>RuntimeError: … expected scalar type Double but found Float</code> (or the other way round)</summary>
#
# The network and its input must be the same kind of number: make both `double()`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Detect layer collapse
#
# *Medium · 10 minutes · 2 points*
#
# One cut keeps every weight that scores at least as high as a threshold, in all layers together. As the threshold rises,
# there is a last cut that leaves no layer empty. How far does it compress?

# %% exercise=3
def last_safe_compression(scores: dict[str, Tensor]) -> float:
    """Give the compression of the deepest single cut that leaves each layer at least one weight.

    Args:
        scores: parameter name -> score, of any shape and sign; higher means more important.

    Returns:
        number of all weights / number of weights left.

    Example:
        last_safe_compression({"a": torch.tensor([9.0, 8.0, 7.0, 6.0]), "b": torch.tensor([1.0, 7.5])}) gives 2.0
    """
    ### BEGIN SOLUTION
    threshold = min(score.max() for score in scores.values())
    left = sum(int((score >= threshold).sum()) for score in scores.values())
    return sum(score.numel() for score in scores.values()) / left
    ### END SOLUTION


# %%
check(last_safe_compression)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>My answer is a little too large</summary>
#
# Did you stop at the first cut that empties a layer, or at the last one before it?
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · SNIP's score
#
# *Easy · 10 minutes · 2 points*
#
# SNIP asks how strongly the loss of one batch feels each weight, before training:
#
# $$s = \frac{|w \cdot \partial L / \partial w|}{\sum_{\text{all weights}} |w \cdot \partial L / \partial w|}, \qquad L = \text{mean cross-entropy}.$$

# %% exercise=4
def snip_score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Score every weight of the linear and convolutional layers by SNIP.

    Args:
        model: images -> logits (n, classes); it is not changed.
        x: images (n, channels, height, width).
        y: labels (n,).

    Returns:
        parameter name, such as "1.weight" -> score, the weight's shape; all together sum to 1.
    """
    ### BEGIN SOLUTION
    weights = {name: p for name, p in model.named_parameters() if p.dim() > 1}
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(weights.values()))
    scores = {name: (w.detach() * g).abs() for (name, w), g in zip(weights.items(), gradients)}
    total = sum(score.sum() for score in scores.values())
    return {name: score / total for name, score in scores.items()}
    ### END SOLUTION


# %%
check(snip_score)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: why does dividing by the sum not change a single mask?
