# %% [markdown]
# # 05 · Lottery tickets: exercises
#
# Four exercises, 8 points, about 45 minutes. Each has a stub with its specification, a check that says *what* is wrong,
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
# ## Exercise <<n>>.1 · Early stopping, in hindsight
#
# *Warm-up · 5 minutes · 1 point*
#
# The paper trains every network to the end and then asks when it *should* have stopped: at the smallest validation loss.
# That step, and the test accuracy measured there, are the two numbers of its figures.

# %% exercise=1
def early_stop(steps: list[int], validation_loss: Tensor, test_accuracy: Tensor) -> tuple[int, float]:
    """Find when training should have stopped, and how good the network was then.

    Args:
        steps: when measurements were made.
        validation_loss, test_accuracy: (measurements,), in the same order.

    Returns:
        the step, the first one if there are several; and the test accuracy then, a fraction 0..1.
    """
    ### BEGIN SOLUTION
    best = int(validation_loss.argmin())
    return steps[best], float(test_accuracy[best])
    ### END SOLUTION


# %%
check(early_stop)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# To think about: what would go wrong if the test accuracy chose the step?

# %% [markdown]
# ## Exercise <<n>>.2 · One round of pruning
#
# *Medium · 12 minutes · 2 points*
#
# Each layer loses a share of its *survivors*, those of smallest magnitude: of $n$ weights that its mask keeps, exactly
# $\mathrm{round}(\text{rate} \cdot n)$ go. Each layer is ranked on its own and has its own rate: the output layer is small
# and is pruned more gently. What has gone stays gone, whatever value is left over there.

# %% exercise=2
def prune_one_round(
    weights: dict[str, Tensor], masks: dict[str, Tensor], rates: dict[str, float]
) -> dict[str, Tensor]:
    """Make the masks of the next round.

    Args:
        weights: name -> trained values, of any shape; biases are among them.
        masks: name -> bool mask, True = keep, from the round before; only for what may be pruned.
        rates: name -> fraction of the survivors that goes, 0..1; the same names as in `masks`.

    Returns:
        name -> bool mask for each name in `masks`; of equal magnitudes the first ones go. The arguments stay as they are.
    """
    ### BEGIN SOLUTION
    smaller = {}
    for name, mask in masks.items():
        places = mask.flatten().nonzero()[:, 0]  # of the survivors
        order = weights[name].abs().flatten()[places].argsort(stable=True)
        kept = mask.flatten().clone()
        kept[places[order[: round(rates[name] * len(places))]]] = False
        smaller[name] = kept.view_as(mask)
    return smaller
    ### END SOLUTION


# %%
check(prune_one_round)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>KeyError: 'hidden.bias'</code></summary>
#
# Biases have no mask and no rate. Go through `masks`, not through `weights`.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Rewind
#
# *Easy · 8 minutes · 2 points*
#
# During a training, snapshots of all parameters were kept at some steps. Make what the ticket's training starts from: the
# values at `step` (0 for the first values, more for late rewinding), with zeros where the mask says so.

# %% exercise=3
def rewind(
    snapshots: dict[int, dict[str, Tensor]], masks: dict[str, Tensor], step: int
) -> dict[str, Tensor]:
    """Go back to a step, with the mask in force.

    Args:
        snapshots: step -> name -> values then; all parameters, biases too; the steps in no order.
        masks: name -> bool mask, True = keep; biases have none.
        step: one of the keys of `snapshots`.

    Returns:
        name -> values, all parameters. They are new tensors: the next training overwrites them, and the snapshots must
        survive it.
    """
    ### BEGIN SOLUTION
    start = {}
    for name, value in snapshots[step].items():
        start[name] = value * masks[name] if name in masks else value.clone()
    return start
    ### END SOLUTION


# %%
check(rewind)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>The check says that the function changed the values it was given, but mine does not</summary>
#
# The check overwrites your result afterwards, as a training would. If a snapshot changes with it, you returned the
# snapshot's own tensor: `clone()` it.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · The whole loop
#
# *Hard · 20 minutes · 3 points*
#
# Put it together: `rounds` times, train, prune each layer by its rate, and rewind to the first values. Your functions from
# above may help. `train(weights, masks)` works **in place**, as training does: it overwrites the tensors in `weights`, and
# never moves what is False in `masks`. What you hand it must already have its zeros.

# %% exercise=4
def find_ticket(
    first: dict[str, Tensor],
    rates: dict[str, float],
    rounds: int,
    train: Callable[[dict[str, Tensor], dict[str, Tensor]], None],
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Find a ticket by iterative magnitude pruning.

    Args:
        first: name -> first values of all parameters, biases too; they are not changed.
        rates: name -> fraction of the survivors that goes in a round; only what is named here is pruned.
        rounds: how many times to train and prune, 0 or more.
        train: trains all parameters in place, with a mask for each name in `rates`.

    Returns:
        the masks; and what the ticket starts from, all parameters, untrained, with zeros where the masks are False.
    """
    ### BEGIN SOLUTION
    masks = {name: torch.ones_like(first[name], dtype=torch.bool) for name in rates}
    for _ in range(rounds):
        weights = {name: value * masks[name] if name in masks else value.clone() for name, value in first.items()}
        train(weights, masks)
        for name, mask in masks.items():
            places = mask.flatten().nonzero()[:, 0]
            order = weights[name].abs().flatten()[places].argsort(stable=True)
            kept = mask.flatten().clone()
            kept[places[order[: round(rates[name] * len(places))]]] = False
            masks[name] = kept.view_as(mask)
    start = {name: value * masks[name] if name in masks else value.clone() for name, value in first.items()}
    return masks, start
    ### END SOLUTION


# %%
check(find_ticket)

# %% [markdown]
# Hints: `hint("<<n>>.4")`.
#
# <details><summary>With one round all is right, with more it is not</summary>
#
# What does your second round start from? If `train` was given the tensors of `first` themselves, they hold trained values
# by then.
# </details>
