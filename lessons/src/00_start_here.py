# %% [markdown]
# # 00 · Start here
#
# *In ten minutes you have seen a network, moved a widget, and passed your first check.*
#
# **10 minutes.** You need: Python, and the basics of PyTorch (tensors, a training loop). No GPU, no internet.
#
# Run a cell with **Shift + Enter**. This notebook is your own copy: write into it what you like. No update overwrites what
# you have changed.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=0)

# %% [markdown]
# ## What this course is
#
# Neural networks are larger than they need to be. This course makes them small, in five ways: remove weights
# (**pruning**), store them in fewer bits (**quantization**), teach a small network what a large one knows
# (**distillation**), train in less **memory**, and **design** them small from the start.
#
# You will write each technique yourself, in a few lines of PyTorch, and need not believe anything: the papers' claims are
# measured in front of you, with several seeds and error bars.

# %%
from course_lib.lesson import show_map

show_map()

# %% [markdown]
# Three routes: the **90-minute workshop** (filled marks: Predict, Play and Evidence of three lessons), **half a day** (rings),
# or the **whole course**: about ten hours of lessons, and fourteen of exercises. Every lesson opens alone.
#
# ## How a lesson works
#
# | part | what you do |
# |---|---|
# | **Predict** | You bet before you see. Nobody grades the bet; it is what makes the result stick. |
# | **Build** | The technique grows in small cells, from tensors, beside the library's version. |
# | **Play** | You move a widget that works on your own network. |
# | **Evidence** | An experiment with seeds and error bars, and a table: the paper says, measured here. |
# | **Where it fails** | The limit, and the control experiment that keeps us honest. |
# | **In practice** | The same with a library used at work; then a quiz. |
# | **Exercises** | A notebook of its own: now you write it. |
#
# Words with one meaning throughout: a **step** is one update by the optimiser, a **trial** one run with its own seed. The
# digits are cut into five **folds**, so that each image is tested by one of five networks. From 97 % to 96 % is one
# **point**. "97.2 ± 0.8" is the mean over the trials and their standard deviation; the **standard error** is that deviation
# divided by the root of their number.
#
# Here is a lesson in small. First the data, real handwritten digits of 8×8 pixels that come with scikit-learn, and a
# small network.

# %% tags=["setup"]
import torch

from course_lib.data import load
from course_lib.models import lenet_300_100
from course_lib.training import evaluate, fit

data = load("digits")
network = lenet_300_100(data.input_shape)
losses = fit(network, data.train, steps=400)
print(data)
print(
    f"loss {losses[0]:.2f} -> {losses[-1]:.3f},",
    f"accuracy on the validation split {evaluate(network, data.validation).accuracy:.1%}",
)

# %%
from course_lib import viz

digits = {str(label): data.train.x[data.train.y == label][0, 0] for label in range(6)}
viz.images(
    digits, cmap="gray",
    caption="Six images of the training split, with their labels.",
    alt=f"Digits: {', '.join(digits)}.",
)

# %% [markdown]
# ## Predict
#
# A digit has 64 pixels, each with 17 possible values: a little over four bits. Suppose you may keep only **two bits** for
# each pixel: four grey levels. Choose an answer and lock it in.

# %%
from course_lib.checking import predict

bet = predict(
    "two-bits",
    "With 2 bits per pixel, is a digit still readable?",
    choices=["yes, easily", "only just", "no"],
)
bet

# %% [markdown]
# ## Play
#
# Move the slider, with the mouse or with the arrow keys. The formula shows what each setting costs.

# %% tags=["setup", "widget"]
from course_lib.widgets.start_here import fewer_bits

fewer_bits(data.test.x[0, 0])

# %% [markdown]
# Your eyes have answered for one digit. What about the network, on all of them? Round every pixel of the test images to
# 1, 2, 3 and 4 bits, and ask it. One network could be lucky, so here are five; the dashed line is their mean on the full
# images.

# %%
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import trained

networks = trained(lambda: lenet_300_100(data.input_shape), [data] * 5, steps=400)  # five at once


def accuracy_at(bits, network):
    levels = 2**bits - 1
    rounded = torch.round(data.test.x * levels) / levels
    return (network(rounded).argmax(dim=1) == data.test.y).float().mean().item()


full = summarise([evaluate(network, data.test).accuracy for network in networks])
by_bits = {bits: [accuracy_at(bits, network) for network in networks] for bits in (1, 2, 3, 4)}
viz.curves(
    list(by_bits), {"five seeds": [summarise(trials) for trials in by_bits.values()]},  # mean ± sd
    xlabel="bits per pixel", ylabel="test accuracy", percent=True, levels={"full images": full.mean},
    caption="Test accuracy on rounded images; the networks were trained on the full ones.",
)

# %%
loss = summarise([full.mean - trial for trial in by_bits[2]])
answer = "yes, easily" if loss.mean < 0.01 else "only just" if loss.mean < 0.1 else "no"
bet.reveal(
    answer,
    f"With 2 bits instead of all the networks lose {100 * loss.mean:.1f} points "
    "(easily: less than 1; only just: less than 10).",
)

# %% [markdown]
# That is the question of the course: *how much can go before it hurts?* And the answer always comes with its spread.
#
# ## Your first check
#
# A word you will meet everywhere: the **sparsity** of a tensor is the fraction of its entries that are exactly zero,
# a number from 0 to 1. Replace the `raise` line by one line of code, run the cell, then run the check below it.


# %% exercise=1
def sparsity(weight: torch.Tensor) -> float:
    """The fraction of entries that are exactly zero, 0..1.

    Args:
        weight: any shape.

    Example:
        sparsity(torch.tensor([0.0, 2.0, 0.0, -1.0])) gives 0.5
    """
    raise NotImplementedError("Exercise 0.1")


# %%
from course_lib.checking import check, hint, solution

check(sparsity)

# %% [markdown]
# Try a wrong answer too, for example `return (weight != 0).float().mean().item()`: the check tells you *which* mistake it
# is. `hint("0.1")` gives the next of three hints; `solution("0.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>NotImplementedError: Exercise 0.1</code></summary>
#
# You called the function before writing it. Replace the whole line that begins with `raise`.
# </details>
#
# ## What the course will fill in
#
# Each technique saves something else, at another time. A row fills in when you have passed its lesson's exercises.

# %%
from course_lib.lesson import show_savings

show_savings()

# %% [markdown]
# ## Good to know
#
# - **Progress** is kept in a small file on your computer, and only there. `course progress` prints it; `course doctor`
#   says where it is.
# - **Other data**: `load("mnist")`, `load("fashion_mnist")`, `load("usps")` and `load("cifar10")` return the same three
#   splits, after a download (`course data mnist`). From lesson 02 on, `course run NN` repeats the experiment at the size
#   of the paper.
# - **Your own network**: every technique takes any `nn.Module`. For example, what does yours cost?

# %%
from course_lib.measure import layer_costs, parameter_count

mine = torch.nn.Sequential(
    torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3)
)
print(f"{parameter_count(mine):,} parameters")
for cost in layer_costs(mine, input_shape=(3, 32, 32)):
    print(
        f"layer {cost.name}: {cost.parameters:,} parameters, {cost.macs:,} MACs (multiply-adds), "
        f"{cost.activation_bytes:,} bytes of output"
    )

# %% [markdown]
# ## Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## Next
#
# **Lesson 01** asks what a network costs: parameters, multiplications, bytes, milliseconds, joules.
# **Lesson 02** removes the first weights.
