# %% [markdown]
# # 12 · Knowledge distillation: exercises
#
# Four exercises, 8 points, about 40 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import torch
from torch import Tensor
from torch.nn import functional as F

# %% [markdown]
# ## Exercise <<n>>.1 · Soften a teacher's answers
#
# *Warm-up · 5 minutes · 1 point*
#
# $$q_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# for each example on its own. Logits may be large: then $e^{z/T}$ alone overflows.

# %% exercise=1
def soften_logits(logits: Tensor, temperature: float) -> Tensor:
    """Soften logits to probabilities.

    Args:
        logits: (..., classes): the classes are always the last dimension.
        temperature: T, above 0.

    Returns:
        probabilities, of the same shape.

    Example:
        soften_logits(torch.tensor([0.0, 2.0, 6.0]), 2.0) gives about [0.04, 0.11, 0.84]
    """
    ### BEGIN SOLUTION
    return (logits / temperature).softmax(dim=-1)
    ### END SOLUTION


# %%
check(soften_logits)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>IndexError: Dimension out of range</code></summary>
#
# One of the cases is a single example, of shape (classes,). It has no dimension 1; but every tensor has a last one, -1.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · The distillation loss
#
# *Hard · 15 minutes · 3 points*
#
# $$L = \alpha\, T^2 \cdot \mathrm{KL}(p \,\|\, q) + (1 - \alpha) \cdot \mathrm{CE}(\text{student}, \text{labels}), \qquad
#   \mathrm{KL}(p \,\|\, q) = \frac{1}{n} \sum_{\text{examples}} \sum_i p_i \log \frac{p_i}{q_i}$$
#
# where $p$ is the teacher and $q$ the student, both at temperature $T$; the cross-entropy is at temperature 1. The check
# also looks at gradients: the teacher gets none. One of its teachers is certain, and your loss must stay a number.

# %% exercise=2
def soft_hard_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """Mix the teacher's soft targets with the labels.

    Args:
        student, teacher: logits, (n, classes).
        labels: (n,), int64.
        temperature: T, above 0.
        alpha: the weight of the teacher, 0..1.

    Returns:
        the loss, a scalar; gradients flow to the student only.
    """
    ### BEGIN SOLUTION
    log_p = (teacher.detach() / temperature).log_softmax(dim=1)
    log_q = (student / temperature).log_softmax(dim=1)
    soft = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)
    ### END SOLUTION


# %%
check(soft_hard_loss)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>The check says that it expected a number and got nan</summary>
#
# `softmax(...).log()` of a very small probability is minus infinity, and 0 times that is NaN. `log_softmax` stays finite.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · What an ensemble says
#
# *Easy · 8 minutes · 2 points*
#
# Several networks answer the same images. As soft targets for one student, take the mean of their probabilities, each
# softened at $T$. Every member counts equally, however large its logits.

# %% exercise=3
def ensemble_targets(logits: Tensor, temperature: float) -> Tensor:
    """Make the soft targets of an ensemble.

    Args:
        logits: (members, n, classes).
        temperature: T, above 0.

    Returns:
        probabilities, (n, classes).
    """
    ### BEGIN SOLUTION
    return (logits / temperature).softmax(dim=-1).mean(dim=0)
    ### END SOLUTION


# %%
check(ensemble_targets)

# %% [markdown]
# Hints: `hint("<<n>>.3")`. To think about: which of two members would the mean of *logits* listen to?

# %% [markdown]
# ## Exercise <<n>>.4 · The bias of a class never seen
#
# *Medium · 12 minutes · 2 points*
#
# A student's transfer set had no images of one class, so its logits for that class lie too low. Try each candidate: add it
# to the logits of the missing class for *every* validation image, and count right answers over all of them. Return the
# candidate with the most; where several are equally good, the first in the list.

# %% exercise=4
def best_bias(logits: Tensor, labels: Tensor, missing: int, candidates: list[float]) -> float:
    """Choose the bias of a class on validation data.

    Args:
        logits: the student's, (n, classes); they are not changed.
        labels: (n,).
        missing: the class whose bias is chosen.
        candidates: biases to try, in any order.

    Returns:
        one of the candidates.
    """
    ### BEGIN SOLUTION
    best, most = candidates[0], -1
    for bias in candidates:
        raised = logits.clone()
        raised[:, missing] += bias
        right = int((raised.argmax(dim=1) == labels).sum())
        if right > most:
            best, most = bias, right
    return best
    ### END SOLUTION


# %%
check(best_bias)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: why must these be validation images, and not the test images?
#
# <details><summary>The check says that the function changed the values it was given</summary>
#
# `logits[:, missing] += bias` writes into the caller's tensor, and the next candidate is added on top. Work on
# `logits.clone()`.
# </details>
