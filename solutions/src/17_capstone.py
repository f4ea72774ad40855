# %% [markdown]
# # 17 · Capstone: exercises
#
# Two exercises, 13 points, as long as you like. The second is a contest with yourself: a network under a budget, handed in
# as one file, `my_network.sndc`, beside this notebook.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% [markdown]
# ## Exercise <<n>>.1 · The frontier of what was tried
#
# *Medium · 10 minutes · 3 points*
#
# An attempt **beats** another one if it has at most its bytes and at least its accuracy, and differs from it. Keep what
# nothing beats.

# %% exercise=1
def pareto_frontier(attempts: list[list[float]]) -> list[list[float]]:
    """Return the attempts that no other beats, each once, the smallest file first.

    Args:
        attempts: [bytes, accuracy] pairs in any order; bytes, accuracies or both may be equal.

    Example:
        pareto_frontier([[300, 0.9], [100, 0.8], [200, 0.7]]) gives [[100, 0.8], [300, 0.9]]
    """
    ### BEGIN SOLUTION
    kept = []
    for n_bytes, accuracy in sorted(attempts, key=lambda attempt: (attempt[0], -attempt[1])):
        if not kept or accuracy > kept[-1][1]:
            kept.append([n_bytes, accuracy])
    return kept
    ### END SOLUTION


# %%
check(pareto_frontier)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# ## Exercise <<n>>.2 · A network under a budget
#
# *Hard · 60 minutes · 10 points*
#
# Everything of the course is allowed. Your file must keep the budget of the lesson:

# %%
from course_lib.capstone import BUDGET, inspect, shifted

print(BUDGET)

# %% [markdown]
# The judge reads the file's tensors into `mlp([64, ..., 10])` or `small_cnn(channels=(...))` of `course_lib.models`, of
# whatever widths, and measures it on shifted copies of held-out digits (fold 0). A file that just passes earns 6 points,
# one of `full_bytes` all 10. Train on the training split, choose on the validation split:

# %%
from course_lib.data import load

data = load("digits")
train = shifted(data.train, copies=10, seed=1)
validation = shifted(data.validation, copies=4, seed=2)
print(f"{len(train):,} shifted images to train on, {len(validation):,} to choose with")

# %% [markdown]
# Your cells may train as long as they like; put as many as you need above the next one. `inspect(data)` tells you what
# the judge sees.

# %% exercise=2
def compressed_network() -> bytes:
    """Return the content of your file, as `deep_compression.save` wrote it: at least 93 % right in at most 6,500 bytes.

    For example `return Path("my_network.sndc").read_bytes()`.
    """
    ### BEGIN SOLUTION
    from pathlib import Path

    path = Path("my_network.sndc")
    if not path.exists():
        make_network(path)
    return path.read_bytes()


def make_network(path):
    """Small by design, trained on shifted digits; then 32 shared values in each layer, fine-tuned."""
    import torch

    from course_lib.models import small_cnn
    from course_lib.pruning import prunable
    from course_lib.quantization import deep_compression
    from course_lib.quantization.weight_sharing import (
        apply_codebooks_, read_codebooks, share_weights, shared_gradients,
    )
    from course_lib.training import evaluate, fit

    torch.manual_seed(0)
    network = small_cnn(channels=(8, 16))
    fit(network, train, steps=2500, lr=4e-3, weight_decay=3e-4)
    books = share_weights(prunable(network), bits=5)
    apply_codebooks_(network, books)
    with shared_gradients(network, books):
        fit(network, train, steps=300, lr=1e-3)
    books = read_codebooks(network, books)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(parameter.half().float())  # biases and shared values in 2 bytes each
    apply_codebooks_(network, {name: book.half() for name, book in books.items()})
    size = deep_compression.save(path, network)
    print(f"{size:,} bytes, {evaluate(network, validation).accuracy:.1%} of the validation images right")
    ### END SOLUTION


# %%
check(compressed_network)

# %% [markdown]
# Hints: `hint("<<n>>.2")`. In a class, hand in `my_network.sndc` beside this notebook: the file is graded, not the function.
#
# <details><summary>The check says: these are not the tensors of a course network</summary>
#
# Did you save `network.state_dict()` of an `mlp` or a `small_cnn`? Batch norm, other layers and other names cannot be
# judged. Fold batch norm first (lesson 09).
# </details>
#
# <details><summary>My accuracy is fine, and the judge's is not</summary>
#
# Did you evaluate on shifted images? And did you read the file back (`deep_compression.load`) before you measured?
# </details>
