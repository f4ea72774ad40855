# %% [markdown]
# # 15 · Efficient architectures: exercises
#
# Four exercises, 9 points, about 50 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# %% [markdown]
# ## Exercise <<n>>.1 · Fire's parameter count
#
# *Warm-up · 6 minutes · 1 point*
#
# A Fire module is three convolutions, all with biases: a **squeeze** of 1×1 kernels reads what comes in; behind it stand, side
# by side, 1×1 and 3×3 kernels that **expand**, and their outputs are joined. How many parameters is that?

# %% exercise=1
def fire_parameters(inputs: int, squeeze: int, expand_1x1: int, expand_3x3: int) -> int:
    """Count the parameters of a Fire module, biases included.

    Args:
        inputs: channels that come in.
        squeeze: filters of the squeeze.
        expand_1x1, expand_3x3: filters of the two branches.

    Returns:
        a whole number.

    Example:
        fire_parameters(96, 16, 64, 64) gives 11920
    """
    ### BEGIN SOLUTION
    before = (inputs + 1) * squeeze  # the 1 is the bias
    return before + (squeeze + 1) * expand_1x1 + (9 * squeeze + 1) * expand_3x3
    ### END SOLUTION


# %%
check(fire_parameters)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# ## Exercise <<n>>.2 · A depthwise separable convolution
#
# *Easy · 10 minutes · 2 points*
#
# Filter, then mix: each channel is filtered by its own kernel, then each output is a weighted sum of all filtered channels, at
# each position. No bias, no norm, no activation. The image is padded with zeros, $(k - 1) / 2$ on each side, so that with
# stride 1 it keeps its size.

# %% exercise=2
def separable(x: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int) -> Tensor:
    """Filter each channel, then mix the channels.

    Args:
        x: (batch, channels, height, width).
        depthwise: (channels, k, k), k odd: the kernel of each channel.
        pointwise: (outputs, channels): a row of weights for each output.
        stride: 1, or more for a smaller image.

    Returns:
        (batch, outputs, height / stride, width / stride), rounded up.
    """
    ### BEGIN SOLUTION
    channels, k, _ = depthwise.shape
    filtered = F.conv2d(x, depthwise[:, None], stride=stride, padding=(k - 1) // 2, groups=channels)
    return F.conv2d(filtered, pointwise[:, :, None, None])
    ### END SOLUTION


# %%
check(separable)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>RuntimeError: Given groups=1, weight of size [4, 1, 3, 3], expected input … to have 1 channels</code></summary>
#
# Each kernel reads one channel, but `conv2d` was not told to split them: with `groups=1` every kernel reads all channels.
# </details>
#
# ## Exercise <<n>>.3 · Compound scaling
#
# *Medium · 12 minutes · 2 points*
#
# A network is a list of stages `[filters, layers]` and the side of its images. Scale it by $\varphi$: layers by $\alpha^\varphi$,
# rounded **up**; filters by $\beta^\varphi$, to the **nearest multiple of 8**, but at least 8; the side of the images by
# $\gamma^\varphi$, to the **nearest** whole number.

# %% exercise=3
def compound_scale(
    stages: list, resolution: int, phi: float, alpha: float, beta: float, gamma: float
) -> dict[str, object]:
    """Scale a network in depth, width and resolution together.

    Args:
        stages: [filters, layers] of each stage.
        resolution: side of the images in pixels.
        phi: how far to scale; 0 changes nothing.
        alpha, beta, gamma: what one step of phi multiplies layers, filters and resolution by.

    Returns:
        {"stages": the new list of [filters, layers], "resolution": the new side}; the arguments are not changed.

    Example:
        compound_scale([[16, 1], [24, 2]], 224, 1, 1.2, 1.1, 1.15) gives
        {"stages": [[16, 2], [24, 3]], "resolution": 258}
    """
    ### BEGIN SOLUTION
    depth, width, side = alpha**phi, beta**phi, gamma**phi
    in_eights = lambda filters: max(8, int(filters + 4) // 8 * 8)
    scaled = [[in_eights(filters * width), math.ceil(layers * depth)] for filters, layers in stages]
    return {"stages": scaled, "resolution": round(resolution * side)}
    ### END SOLUTION


# %%
check(compound_scale)

# %% [markdown]
# Hints: `hint("<<n>>.3")`. To think about: 16 filters grew by a tenth and stayed 16. What did that step of $\varphi$ cost?
#
# ## Exercise <<n>>.4 · A MobileNet under a budget
#
# *Hard · 22 minutes · 4 points*
#
# Hand in a **trained network** that needs at most `budget` MACs for one image. For each check we draw six signs that nobody
# has seen before, and noisy images of 8×8 pixels with one sign somewhere. Your function gets images and labels to
# train on. We build the network from your plan, count its MACs, load your weights, and recompute its accuracy on *other*
# images: at least 90 % passes. All networks are of this form:

# %% tags=["setup"]
def build(plan, classes=6):
    """A MobileNet for images of one channel: `plan` lists [filters, stride]; all but the first are separable."""
    layers, inputs = [], 1
    for place, (filters, stride) in enumerate(plan):
        if place > 0:  # filter each channel
            layers += [nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)]
            layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, filters, 1, bias=False)]
        else:
            layers += [nn.Conv2d(1, filters, 3, stride, 1, bias=False)]
        layers += [nn.BatchNorm2d(filters), nn.ReLU()]
        inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


# %% [markdown]
# Convolutions and the linear layer do MACs, nothing else. Strides are 1 or 2; a stride of 2 halves the sides of what comes
# out. A check trains your network five times, so keep a training under a few seconds.

# %% exercise=4
def train_mobilenet(x: Tensor, y: Tensor, budget: int, seed: int) -> dict[str, object]:
    """Train a MobileNet that needs at most `budget` MACs an image.

    Args:
        x: (480, 1, 8, 8), images to train on, from 0 to about 1.3.
        y: (480,), which sign is on each, 0..5.
        budget: multiply-adds allowed for one image.
        seed: for torch.manual_seed, so that the same call gives the same network.

    Returns:
        {"plan": the list of [filters, stride], two or more, "state": the state dict of the trained build(plan)}.
    """
    ### BEGIN SOLUTION
    def macs(w):  # of the plan [[w, 1], [2w, 2], [4w, 2]]: images of 8×8, then 4×4, then 2×2
        return 9 * w * 64 + (9 + 2 * w) * w * 16 + (9 + 4 * w) * 2 * w * 4 + 6 * 4 * w

    w = 1
    while macs(w + 1) <= budget:
        w += 1
    plan = [[w, 1], [2 * w, 2], [4 * w, 2]]
    torch.manual_seed(seed)
    net, steps = build(plan), 120
    velocity = [torch.zeros_like(parameter) for parameter in net.parameters()]
    for step in range(steps):
        rows = torch.randint(len(x), (48,))
        net.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        with torch.no_grad():
            for parameter, speed in zip(net.parameters(), velocity):
                speed.mul_(0.9).add_(parameter.grad)
                parameter.sub_(0.2 * (1 - step / steps) * speed)
    return {"plan": plan, "state": net.state_dict()}
    ### END SOLUTION


# %%
check(train_mobilenet)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>The check says "no better than guessing", but my training loss is low</summary>
#
# Batch norm keeps running means and variances while the network trains, and the check uses those. After a few steps they
# are still far from right: train for more steps. Or was the state taken before the training?
# </details>
