# %% [markdown]
# # 14 · Gradient accumulation: big batches in small memory
#
# *A batch that does not fit into memory can be cut into pieces, and the gradient is the same to the last digits. If you
# divide by the right number. In 2024 it turned out that widely used code did not.*
#
# **30 minutes.** You need: a PyTorch training loop. Lesson 13 saves memory in another way; both go together.
#
# At the end you can
# - accumulate the gradient of a big batch, exact for equal, unequal and padded micro-batches;
# - put clearing, clipping, stepping and the learning-rate schedule where they belong, and keep the last window;
# - say what accumulation cannot repair (batch norm), and what the wrong division does to a training.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=14)

# %% [markdown]
# The task is a tiny language: read a number in digits, write it in words. Each digit and each word is a *token*. Only the
# words have labels that count; the others are −100. Answers differ in length, and that will matter.

# %% tags=["setup"]
from course_lib.experiments.gradient_accumulation import VOCABULARY, number_sequences, number_speller

x, y = number_sequences(16, seed=3)  # tokens and labels, (16, longest)
net = number_speller(seed=0)  # a transformer of one layer
for row in (0, 1, 2):
    question = "".join(VOCABULARY[token] for token in x[row, : x[row].tolist().index(2)])
    answer = [VOCABULARY[label] for label in y[row] if label >= 0]
    print(f"{len(answer):2} labels count: {question} = {' '.join(answer)}")

# %% [markdown]
# ## 1 · Predict
#
# These 16 sequences do not fit into memory, so they go through one by one. Someone averages the loss of each sequence
# over its words, then averages the 16 results.

# %%
from course_lib.checking import predict

bet_error = predict(
    "error", unit="%",
    question="By how many percent is this gradient off from that of the mean over all words?",
)
bet_error

# %%
bet_harm = predict(
    "harm", unit="%",
    question="Train like that. How much higher is the test loss of a word at the end? (Negative: lower.)",
)
bet_harm

# %% [markdown]
# ## 2 · The idea
#
# Big batches give steadier gradients, but backward needs the activations of every example. Weights and gradients do not
# grow with the batch; activations do. Now, a gradient of a sum is a sum of gradients, and `backward` *adds* to `.grad`. So
# cut the batch into $K$ **micro-batches**, run each forward and backward, and step once for the whole **window**. With
# $L_k$ the sum of the losses in micro-batch $k$, and $n_k$ how many losses that are,
#
# $$g = \frac{\nabla L_1 + \ldots + \nabla L_K}{n_1 + \ldots + n_K} \qquad\text{and not}\qquad \frac1K\left(\frac{\nabla L_1}{n_1} + \ldots + \frac{\nabla L_K}{n_K}\right).$$
#
# If all $n_k$ are equal, both are the same, and the second is easy to write: a mean loss, divided by $K$. With text they
# are not equal. In October 2024 this mistake was found in widely used training code. The mend is to count the tokens of
# the whole window *before* its first backward pass.
#
# ## 3 · Build it
#
# **Accumulate.** Nothing is needed but sums, and one number that is known beforehand.

# %%
from torch.nn import functional as F


def my_accumulate(model, window):
    total = sum(int((y != -100).sum()) for _, y in window)
    for x, y in window:
        logits = model(x).flatten(0, -2)  # classes last
        loss = F.cross_entropy(logits, y.flatten(), ignore_index=-100, reduction="sum")
        (loss / total).backward()  # adds to .grad, and frees this micro-batch's activations


def my_means(model, window):  # the bug
    for x, y in window:
        loss = F.cross_entropy(model(x).flatten(0, -2), y.flatten(), ignore_index=-100)
        (loss / len(window)).backward()


# %% [markdown]
# **Is it exact?** Against one pass over the big batch, in float64:

# %%
import torch

from course_lib.experiments.gradient_accumulation import gradient_of


def error(model, window, way):
    x, y = (torch.cat(parts) for parts in zip(*window))
    model.zero_grad()
    F.cross_entropy(model(x).flatten(0, -2), y.flatten()).backward()
    exact = gradient_of(model)  # all of .grad as one vector
    model.zero_grad()
    way(model, window)
    return ((gradient_of(model) - exact).norm() / exact.norm()).item()


# %% [markdown]
# Three kinds of windows: digits in equal and in unequal micro-batches, and number words one sequence at a time.

# %%
from course_lib.data import load
from course_lib.memory import accumulate
from course_lib.models import mlp

images = load("digits").train
cut = lambda x, y, sizes: list(zip(x.split(sizes), y.split(sizes)))
errors = {}
for seed in range(5):
    speller, classifier = number_speller(seed).double(), mlp([64, 30, 10]).double()
    a, b = images.x[32 * seed :][:32].double(), images.y[32 * seed :][:32]
    words = cut(*number_sequences(16, seed=seed), 1)
    kinds = {"equal": (classifier, cut(a, b, 8)), "unequal": (classifier, cut(a, b, (15, 9, 7, 1))),
             "words": (speller, words)}
    for kind, (model, window) in kinds.items():
        for way in (my_accumulate, accumulate, my_means):
            errors.setdefault((kind, way.__name__), []).append(error(model, window, way))

# %%
for (kind, way), found in errors.items():
    print(f"{kind:8} {way:14} off by {min(found):.0e} to {max(found):.0e}")
assert all(max(found) < 1e-12 for (kind, way), found in errors.items() if "accumulate" in way)

# %% [markdown]
# Ours and the library's differ from the big batch by rounding. The mean of means is right for equal micro-batches and for
# nothing else.
#
# **What the bug is**: another weight for each token. In the big batch a token weighs $1/\sum n$; here $1/(K n_k)$. One pass
# with these weights gives *the same* wrong gradient, many times faster. We will train with that.

# %%
from course_lib.experiments.gradient_accumulation import losses_of, token_weights

speller, window = number_speller(0).double(), cut(x, y, 1)
my_means(speller, window)
bug = gradient_of(speller)
speller.zero_grad()
weights = token_weights(y, 1, "mean of means")  # the shape of y; they sum to 1
(losses_of(speller, x, y) * weights).sum().backward()
assert torch.allclose(gradient_of(speller), bug, rtol=1e-4, atol=1e-6)
shares = weights.max(dim=1).values * (y != -100).sum()
print(f"a word weighs {shares.min():.2f} to {shares.max():.2f} times its fair share")

# %% [markdown]
# **The window's other duties**, each in its place. Clear *before* the window; clip when the gradient is complete; step;
# then the learning-rate schedule, once a *step*, not once a micro-batch.

# %%
from torch.nn.utils import clip_grad_norm_

from course_lib.memory import windows


def my_epoch(model, batches, n_accumulate, lr, max_norm):
    rates = []
    for number, window in enumerate(windows(batches, n_accumulate)):
        model.zero_grad()
        my_accumulate(model, window)
        clip_grad_norm_(model.parameters(), max_norm)  # the whole window's gradient
        rates.append(lr * 0.9**number)  # the schedule counts steps
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= rates[-1] * parameter.grad
    return rates


# %%
batches = cut(images.x, images.y, 8)
rates = my_epoch(mlp([64, 30, 10]), batches, n_accumulate=8, lr=0.5, max_norm=1.0)
left = sum(len(y) for _, y in batches[len(batches) // 8 * 8 :])
print(f"{len(images):,} images, {len(batches)} micro-batches, {len(rates)} steps")
print(f"rates from {rates[0]} to {rates[-1]:.3f}")
print(f"`if (i + 1) % 8 == 0: step()` would leave {left} images without a step")

# %% [markdown]
# That `if` is everywhere. What it leaves over is lost, or, worse, still in `.grad` when the next epoch begins.
#
# **Clipping inside the loop** cuts parts that would have cancelled, and the direction turns:

# %%
def clip_inside(model, window, max_norm):
    total = sum(int((y != -100).sum()) for _, y in window)
    for x, y in window:
        (losses_of(model, x, y).sum() / total).backward()
        clip_grad_norm_(model.parameters(), max_norm)


cosines = []
for seed in range(5):
    model, window = number_speller(seed), cut(*number_sequences(16, seed=seed), 1)
    my_accumulate(model, window)
    once = gradient_of(model)  # clipping once keeps this direction
    model.zero_grad()
    clip_inside(model, window, max_norm=0.1 * once.norm().item())
    cosines.append(torch.cosine_similarity(once, gradient_of(model), dim=0).item())
print("cosine of both directions:", [round(cosine, 3) for cosine in cosines])

# %% [markdown]
# ## 4 · Play
#
# Your window of 16 sequences, run live at every setting.
#
# 1. Go from the big batch to one by one. What falls, what rises, what stays?
# 2. Turn the bug on. Which sequences gain weight, and by how much?
# 3. Sort by length, as loaders do to save padding. Does the bug get better or worse at 4 a micro-batch?

# %% tags=["setup", "widget"]
from course_lib.measure import peak_bytes
from course_lib.memory import accumulate
from course_lib.widgets.frame import Question
from course_lib.widgets.gradient_accumulation import window_in_pieces

in_pieces = lambda size: accumulate(net, list(zip(x.split(size), y.split(size))))
in_pieces(16)  # from now on .grad exists
pieces, whole = (peak_bytes(lambda: in_pieces(size)) for size in (1, 16))
asked = "One sequence at a time: which share of the big batch's peak memory is needed?"
window_in_pieces(net, x, y, question=Question(asked, answer=pieces / whole))

# %% [markdown]
# ## 5 · Evidence
#
# **Memory**: the most bytes alive at one time, forward and backward, beside weights and gradients. Micro-batches of 8.

# %%
from course_lib import viz

SIZES, peaks = (8, 16, 32, 64, 128), {"in one piece": [], "accumulated": []}
for size in SIZES:
    a, b = number_sequences(size, seed=1)
    a, b = (F.pad(t, (0, 30 - t.shape[1]), value=fill) for t, fill in ((a, 0), (b, -100)))
    for name, pieces in (("in one piece", [(a, b)]), ("accumulated", cut(a, b, 8))):
        peaks[name].append(peak_bytes(lambda: accumulate(net, pieces)) / 1e6)
viz.curves(
    SIZES, peaks, xlabel="sequences in the window", ylabel="peak memory, MB",
    caption="One piece grows with the window; accumulation stays at its micro-batch.",
)

# %% [markdown]
# **Train with the bug**, one sequence a micro-batch, and without. Equal seeds start from equal weights and see equal
# windows. Tested on new numbers: the loss of a word in short answers (up to three words) and in long ones.

# %%
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.gradient_accumulation import spellers

SEEDS, EVERY = range(5), 25
right = spellers(SEEDS, "sum over count", steps=100, every=EVERY)

# %%
wrong = spellers(SEEDS, "mean of means", micro_batch=1, steps=100, every=EVERY)

# %%
places = [EVERY * (place + 1) for place in range(len(right[0]))]
over = lambda runs, key: [summarise([run[place][key] for run in runs]) for place in range(len(places))]
viz.curves(
    places,
    {f"{kind}, {name}": over(runs, kind)
     for kind in ("short", "long") for name, runs in (("right", right), ("with the bug", wrong))},
    xlabel="optimiser step", ylabel="test loss of a word",
    caption="With the bug, short answers are learned sooner; long ones hardly notice.",
)

# %% [markdown]
# **Batch norm** takes its mean and spread from the examples it sees together. Here are the gradient's error, and the test
# accuracy after training on the digits (60 windows of 32, five folds).

# %%
from course_lib.experiments.gradient_accumulation import normed

torch.manual_seed(0)
a, b = images.x[:64], images.y[:64]
off = {}
for norm in ("batch norm", "layer norm"):
    model = normed(norm)
    for size in (32, 8, 2):
        off[norm, size] = error(model, cut(a, b, size), accumulate)
frozen = normed("batch norm")
frozen(a)  # the statistics move once …
frozen.eval()  # … and stand still
off["frozen", 2] = error(frozen, cut(a, b, 2), accumulate)
for (norm, size), found in off.items():
    print(f"{norm:10} micro-batches of {size:2}: off by {found:.0e}")

# %%
from course_lib.experiments.gradient_accumulation import accumulated
from course_lib.experiments.magnitude_pruning import test_accuracies

folds = [load("digits", fold=fold) for fold in range(5)]
accuracy = {}
for norm, size in (("batch norm", 32), ("batch norm", 2), ("layer norm", 32)):
    networks = accumulated(lambda: normed(norm), folds, micro_batch=size, batch=32, steps=60)
    accuracy[norm, size] = test_accuracies(networks, folds)
    print(f"{norm}, micro-batches of {size:2}: {summarise(accuracy[norm, size]):%}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Errors are the worst of five windows for
# what must be exact, the mildest for what must be wrong. "Sooner" compares the loss, averaged over the four tests of a
# training, seed by seed, by more than two standard errors.

# %%
from course_lib.evidence import Claim, evidence

worst = lambda kind: max(errors[kind, "accumulate"])
mildest = lambda kind: min(errors[kind, "my_means"])
flat = peaks["accumulated"][-1] / peaks["accumulated"][1]
grows = peaks["in one piece"][-1] / peaks["in one piece"][1]
mean_of = lambda runs, key: [sum(test[key] for test in run) / len(run) for run in runs]
sooner = paired_difference(mean_of(wrong, "short"), mean_of(right, "short"))
end = lambda key: paired_difference([run[-1][key] for run in wrong], [run[-1][key] for run in right])
lost = paired_difference(accuracy["batch norm", 32], accuracy["batch norm", 2])
pairs, mended = off["batch norm", 2], max(off["frozen", 2], off["layer norm", 2])

# %%
exactly, bug_of_2024, turned = "exact, up to rounding", "short ones over-weighted", max(cosines)
evidence(
    Claim("equal micro-batches", exactly, f"off by {worst('equal'):.0e}", worst("equal") < 1e-12),
    Claim("unequal ones, and words", "", f"off by {worst('words'):.0e}", max(map(worst, kinds)) < 1e-12),
    Claim("mean of means, words", bug_of_2024, f"off by {mildest('words'):.0%}", mildest("words") > 0.1),
    Claim("clipped inside: it turns", "", f"cosine ≤ {turned:.2f}", turned < 0.99),
    Claim("memory, 8 × the window", "", f"{flat:.2f} ×; one piece {grows:.1f} ×", flat < 1.05 < 5 < grows),
    Claim("bug: short answers sooner", bug_of_2024, f"{sooner:.2f}", sooner.high < 0),
    Claim("bug: loss of a word, end", "", f"{end('all'):.3f}", None),
    Claim("bug: whole answers right, end", "", f"{end('right'):points}", None),
    Claim("batch norm, pairs", "not equal", f"off by {pairs:.0%}", pairs > 0.1),
    Claim("… costs accuracy", "", f"{lost:points}", lost.low > 0),
    Claim("layer norm, frozen statistics", "", f"off by {mended:.0e}", mended < 1e-5),
)

# %% [markdown]
# In the column "paper says": the rule of accumulation as it is commonly stated, and what the authors of the mend wrote.
#
# **How bad was it, then?** The gradient is far off, yet in this small training the loss of a word hardly moves, and the share
# of numbers without any mistake rather gains than loses: the bug minimises something else, the mean over sequences, which
# likes short answers. That may even be what you want. But nobody chose it: how much a word counted depended on how much
# memory there was. Other micro-batches, another objective, another network. Your bets:

# %%
mine = error(number_speller(0), cut(x, y, 1), my_means)
bet_error.reveal(round(100 * mine), "For the window that you played with.")

# %%
harm = 100 * end("all").mean / summarise([run[-1]["all"] for run in right]).mean
bet_harm.reveal(round(harm, 1), "The table has the difference and its spread over seeds.")

# %% [markdown]
# ## 6 · Where it fails
#
# **Batch norm**: no division mends it, since the losses themselves come from other statistics; and the running ones move
# once for each micro-batch. Use layer norm or group norm, or freeze the statistics; or keep micro-batches large: the
# table of errors shows how it fades.
#
# **Losses that look at pairs** of examples (contrastive ones) miss the pairs across micro-batches. **Dropout** draws other
# masks than one big batch would: another sample, not a bias.
#
# **It saves no time, and big batches take fewer steps.** Equal epochs, with a step after every 8 images or after 64:

# %%
from course_lib.measure import latency

for batch, steps in ((8, 240), (64, 30)):
    networks = accumulated(lambda: normed("layer norm"), folds, micro_batch=8, batch=batch, steps=steps)
    print(f"{steps:3} steps of {batch:2}: {summarise(test_accuracies(networks, folds)):%}")
for size in (16, 1):
    print(f"16 sequences, {size:2} at a time:", latency(lambda: accumulate(net, cut(x, y, size)), runs=8))

# %% [markdown]
# So accumulate because a recipe needs that batch, not because you can.
#
# ## 7 · In practice
#
# With mixed precision and several GPUs, the same order holds:
#
# ```python
# for window in windows(loader, n_accumulate):
#     total = all_processes_sum(count_labels(window))
#     for number, (x, y) in enumerate(window, start=1):
#         last = number == len(window)
#         with nullcontext() if last else ddp.no_sync():         # exchange gradients once
#             with torch.autocast("cuda", dtype=torch.float16):
#                 loss = loss_sum(ddp(x), y) * n_processes / total   # DDP averages over processes
#             scaler.scale(loss).backward()
#     scaler.unscale_(optimizer)                                  # first back to true size,
#     clip_grad_norm_(ddp.parameters(), 1.0)                      # then clip
#     scaler.step(optimizer); scaler.update(); scheduler.step(); optimizer.zero_grad()
# ```
#
# `accelerate` does the bookkeeping with `accelerator.accumulate(model)`; the division by the window's tokens is still
# yours. Transformers' `Trainer` passes `num_items_in_batch` to a loss function for it.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you count steps, train in windows, get tokens right, and clip. `course run 14` trains longer, with
# micro-batches of many sizes. **Lesson 15** turns to networks that are small by design.
#
# - Hugging Face 2024, *Fixing gradient accumulation* (blog).
# - PyTorch documentation, *Automatic mixed precision examples*: gradient accumulation and clipping.
