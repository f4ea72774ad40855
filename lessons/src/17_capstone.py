# %% [markdown]
# # 17 · Capstone: under a budget
#
# *One network, three limits: bytes, milliseconds, accuracy. You choose from everything the course has shown, and hand in
# one file. It is measured on images that nobody has seen.*
#
# **30 minutes.** You need: lessons 02, 11 and 15; 12 helps.
#
# At the end you can
# - state a budget so that a stranger can check it, and check a stranger's file without trusting it;
# - draw the frontier of what you tried, and say which technique to try next;
# - combine pruning, shared values, distillation and design, and know which of them pays.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=17)

# %% [markdown]
# The task is new: digits that are **shifted** at random by up to a pixel in each direction. Each training image comes in
# ten shifts. LeNet-300-100, this course's oldest patient, is trained on them, once for each of three folds.

# %% tags=["setup"]
from course_lib.capstone import BUDGET, shifted
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.capstone import given, on_shifted, point

TRIALS, STEPS = 3, 1200
plain = [load("digits", fold=trial) for trial in range(TRIALS)]
folds = [on_shifted(data, seed=trial) for trial, data in enumerate(plain)]
nets = given(folds, steps=STEPS)
lenet = point("LeNet-300-100", nets, folds)
print(f"{lenet.n_bytes:,.0f} bytes, {lenet.accuracy:%} of the shifted test images right")
print(BUDGET)

# %% [markdown]
# **The budget.** A file of at most `n_bytes`, at least `accuracy` on shifted digits, at most `slowdown` times LeNet's time
# for 64 images. That earns `pass_share` of the points; the rest comes with every byte less, down to `full_bytes`.
#
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_bytes = predict(
    "bytes", unit="bytes",
    question="What is the smallest file below that still gets 93 % of the shifted digits right?",
)
bet_bytes

# %%
bet_still = predict(
    "still", unit="%",
    question="A network trained on digits in their place: how many shifted ones does it get right?",
)
bet_still

# %% [markdown]
# ## 2 · The idea
#
# Every technique so far was judged at something held equal: the same sparsity, the same bits, the same steps. In real work
# nothing is held equal. There is a **budget**, many ways to spend it, and only the finished thing counts. Three rules
# keep such a contest honest, here and in any report you will read:
#
# 1. **Count the artefact.** Its size is the length of one file, with every codebook and header in it; not a formula.
# 2. **Measure what it does, on what it has not seen.** The judge draws new shifts of held-out digits after the file is
#    closed.
# 3. **Trust nothing in it.** The file holds numbers only. The judge has its own code, its own network, its own clock.
#
# Attempts are points in a plane of bytes and accuracy. One **beats** another if it is at most as large and at least as
# accurate, and differs. What nothing beats is the **frontier** (Pareto's). Blalock and colleagues, whom you met in lesson
# 01, ask that papers show such curves instead of single points.
#
# ## 3 · Build it
#
# **Fresh images.** A shift by a fraction of a pixel mixes neighbours; what leaves the frame is lost.

# %%
from course_lib import viz
from course_lib.data import Split

one = Split(plain[0].test.x[:1], plain[0].test.y[:1])
looks = shifted(one, copies=5, seed=0).x[:, 0]
viz.images(
    {"in its place": one.x[0, 0]} | {f"shift {k + 1}": look for k, look in enumerate(looks)},
    caption="One held-out digit, and five of its shifts.",
    alt="A digit six times, moved a little in each picture.",
)

# %% [markdown]
# **The judge.** Bytes in, numbers out. Which network the tensors belong to is read from their shapes; then they are loaded
# into *our* network. Nothing is unpickled, and a limit is set before memory is taken: a file of 40 bytes can announce a
# billion zeros.

# %%
import torch

from course_lib.models import mlp
from course_lib.quantization import deep_compression


def my_judge(data, images):
    tensors = deep_compression.unpack(data, most_numbers=1_000_000)  # refuses a damaged file
    widths = [len(bias) for name, bias in tensors.items() if name.endswith("bias")]
    network = mlp([64, *widths])
    network.load_state_dict(tensors)
    with torch.no_grad():
        right = network(images.x).argmax(dim=1) == images.y
    return len(data), right.float().mean().item()


# %%
from course_lib.capstone import fresh_images, inspect

data = deep_compression.pack(nets[0])
n_bytes, accuracy = my_judge(data, fresh_images(seed=5))
found = inspect(data, seed=5)
assert (n_bytes, accuracy) == (found.n_bytes, found.accuracy)
print(found)
print("the budget says:", "; ".join(found.faults()))

# %% [markdown]
# `inspect` also takes convolutional networks, times them beside LeNet, and is what `check` and a class's grader use.
#
# **The attempts.** Three ways to shrink the given network: cut at random (the control), by magnitude, and Deep Compression,
# which shares the values that magnitude left (lesson 11). Every cut is followed by as many steps.

# %% tags=["setup"]
from course_lib.experiments.capstone import (
    LEVELS, WIDTHS, cut_at_random, cut_by_magnitude, designed, distilled, with_codebooks,
)

RETRAIN, TUNE = 450, 100
attempts = {"cut at random": {}, "by magnitude": {}, "Deep Compression": {}}
for sparsity, bits in LEVELS.items():
    control = cut_at_random(nets, folds, sparsity, steps=RETRAIN)
    cut = cut_by_magnitude(nets, folds, sparsity, steps=RETRAIN)
    shared = with_codebooks(cut, folds, bits, steps=TUNE)
    for family, made in zip(attempts, (control, cut, shared)):
        attempts[family][sparsity] = point(f"{family} {sparsity}", made, folds)

# %% [markdown]
# And three small networks that were never large: convolutions with few channels, trained on the same images, their values
# shared.

# %% tags=["setup"]
small = {channels: designed(folds, channels, steps=1000) for channels in WIDTHS}
attempts["small by design"] = {
    wide: point(f"{wide} channels, {bits} bits", with_codebooks(small[wide], folds, bits, steps=TUNE), folds)
    for wide, bits in WIDTHS.items()
}
for family, points in attempts.items():
    for made in points.values():
        costs = f"{made.n_bytes:8,.0f} bytes, {made.slowdown:4.1f} × LeNet's time"
        print(f"{made.name:26} {made.accuracy:%}, {costs}")

# %% [markdown]
# **The frontier.** Sort by bytes, and keep what is more accurate than all before it:

# %%
from course_lib.capstone import frontier

every = [made for points in attempts.values() for made in points.values()]
plane = sorted((made.n_bytes, made.accuracy.mean) for made in every)
ours, best = [], 0.0
for n_bytes, accuracy in plane:
    if accuracy > best:
        ours.append((n_bytes, accuracy))
        best = accuracy
assert ours == frontier(plane)
print(f"{len(ours)} of {len(plane)} attempts are beaten by none")

# %% [markdown]
# ## 4 · Play
#
# 1. *The course's budget*: which family wins? Now ask for 96.5 %: who is left, and at what price?
# 2. *No time to lose*: only what is about as quick as LeNet counts. Who wins now?
# 3. Find a budget that only the control keeps, or convince yourself that there is none.

# %% tags=["setup", "widget"]
from course_lib.widgets.capstone import Attempt, budget_plane
from course_lib.widgets.frame import Question

tried = [
    Attempt(family, made.name, made.n_bytes, made.accuracy.mean, made.slowdown)
    for family, points in attempts.items() for made in points.values()
]
winner = min((a for a in tried if a.accuracy >= BUDGET.accuracy), key=lambda a: a.n_bytes).family
question = Question("Which family makes the smallest file of 93 %?", answer=winner, choices=tuple(attempts))
budget_plane(tried, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# The plane with its error bars: the standard deviation over three folds, each with its own network.

# %%
from course_lib.experiments.capstone import plane_picture

plane_picture(attempts, lenet, caption="Cut, cut and shared, or never large, on the same shifted digits.")

# %% [markdown]
# **Does a teacher help?** The narrowest network again, taught by LeNet's softened answers (lesson 12) instead of labels
# alone:

# %%
narrow = (4, 8)
taught = distilled(nets, folds, narrow, steps=1000)
by_label = point("labels", small[narrow], folds)
by_teacher = point("teacher", taught, folds)
help_ = paired_difference(by_teacher.accuracies, by_label.accuracies)
print(f"{narrow}, on labels {by_label.accuracy:%}, by a teacher {by_teacher.accuracy:%}: {help_:points}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Differences of accuracy are paired
# over the folds and judged by two standard errors. "At no loss" is a mean loss of at most one point. No paper made this
# contest, so its column is empty.

# %%
from course_lib.evidence import Claim, evidence

gap = lambda a, b: paired_difference(a.accuracies, b.accuracies)
random_, cut, coded = (attempts[family][0.9] for family in list(attempts)[:3])
design = attempts["small by design"]
by_score, by_code, times = gap(cut, random_), gap(coded, cut), cut.n_bytes / coded.n_bytes
five_bits = gap(design[8, 16], point("float32", small[8, 16], folds))
good = lambda made: made.accuracy.mean >= BUDGET.accuracy
least = lambda family: min(made.n_bytes for made in attempts[family].values() if good(made))
smaller = least("Deep Compression") / least("small by design")

# %%
evidence(
    Claim("magnitude beats random (0.9)", "", f"{by_score:points}", by_score.low > 0),
    Claim("sharing makes its file smaller", "", f"{times:.1f} times", times > 3),
    Claim("… at no loss", "", f"{by_code:points}", by_code.mean > -0.01),
    Claim("small by design is smaller still (93 %)", "", f"{smaller:.1f} times", smaller > 2),
    Claim("5 bits cost the small one nothing", "", f"{five_bits:points}", five_bits.mean > -0.01),
    Claim("… but it takes longer than LeNet", "", f"{design[8, 16].slowdown:.1f} times", None),
    Claim("a teacher changes the narrowest by", "", f"{help_:points}", None),
)

# %%
smallest = min(made.n_bytes for made in every if good(made))
bet_bytes.reveal(round(smallest), f"LeNet, which it replaces, takes {lenet.n_bytes:,.0f}.")

# %% [markdown]
# The winner is not the network that was cut most cleverly, but the one that was right for the task: a convolution uses
# each weight at every place, and a shift is just that. Shared values then make its file several times smaller (see
# section 7). *First the design, then the bits.* A teacher brought nothing here: every image has its label, as at the
# right end of lesson 12's curves.
#
# ## 6 · Where it fails
#
# **Learned by heart.** This network was trained on the test images themselves, in their place. A contest with a fixed test
# set would crown it:

# %%
from course_lib.experiments.capstone import trained_on
from course_lib.models import lenet_300_100
from course_lib.training import evaluate

join = lambda a, b: Split(torch.cat([a.x, b.x]), torch.cat([a.y, b.y]))
cheats = trained_on(lenet_300_100, [join(data.train, data.test) for data in plain], steps=600)
in_place = summarise([evaluate(net, data.test).accuracy for net, data in zip(cheats, plain)])
moved = summarise([evaluate(net, data.test).accuracy for net, data in zip(cheats, folds)])
print(f"the test images themselves: {in_place:%}; the same, shifted: {moved:%}")

# %%
honest = trained_on(lenet_300_100, [data.train for data in plain], steps=600)
still = summarise([evaluate(net, data.test).accuracy for net, data in zip(honest, folds)])
bet_still.reveal(round(100 * still.mean, 1), "Trained on the training split, unshifted; mean of three folds.")

# %% [markdown]
# **Files that lie.** A header can announce what it likes. The judge reads with a limit, and a wrong checksum ends it:

# %%
bomb = deep_compression.pack({"1.weight": torch.zeros(30_000, 64), "1.bias": torch.zeros(30_000)})
flipped = bytearray(data)
flipped[1000] ^= 1
for name, file in (("zeros", bomb), ("one bit changed", bytes(flipped)), ("a pickle", b"PK\x03\x04...")):
    print(f"{name:16} {len(file):7,} bytes: {inspect(file).problem}")

# %% [markdown]
# **What this judge cannot see.** The digits are public, and someone may train on shifted copies of the held-out ones. It
# measures a file, not its history. Where that matters, a teacher keeps images of their own (see `docs/teaching.md`).
#
# **Every point hangs on its training.** With more steps LeNet and its cuts rise, and so do the small ones: an unfinished
# training is no argument against a method. `course run 17 --iterations 4000` draws the plane with as many steps for each.
#
# **One number hides two.** The smallest file is not the quickest network, and `slowdown` was measured on *this* computer
# at 64 images a time. Another machine, another batch, another frontier.
#
# ## 7 · In practice
#
# What would the same small network take in the formats people use?

# %%
import gzip
import io

from safetensors.torch import save

network = small[8, 16][0]
pickled = io.BytesIO()
torch.save(network.state_dict(), pickled)
halves = {name: tensor.half() for name, tensor in network.state_dict().items()}
sizes = {
    "torch.save": len(pickled.getvalue()), "safetensors": len(save(network.state_dict())),
    "safetensors, float16": len(save(halves)), "the same, gzip": len(gzip.compress(save(halves))),
    "5-bit codebooks, ours": round(design[8, 16].n_bytes),
}
print("\n".join(f"{name:22} {size:7,} bytes" for name, size in sizes.items()))

# %% [markdown]
# For a small network the container is a large part: names, shapes, alignment. Real devices therefore compile weights into
# the program. At work, a budget begins with three questions: *what is scarce* (flash, memory, time, energy, training)?
# *who measures it, and how?* and *what is the simplest thing that fits?* The course in five lines:
#
# | if this is scarce | try first | then |
# |---|---|---|
# | bytes of the file | a smaller design (15), 8 bits (08) | codebooks and coding (11), 4 bits with training (10) |
# | milliseconds | a smaller design, timed (15) | whole channels out (07), integers (09) |
# | memory in training | smaller micro-batches (14) | checkpointing (13) |
# | labels | a teacher and unlabelled data (12) | |
# | patience | one cut, retrained (02) | a schedule (03) |
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** are the contest: write the frontier, then hand in a file. There is no lesson 18. Take a network of your
# own, write down its budget, and begin with the simplest thing.
#
# - Blalock, Gonzalez Ortiz, Frankle, Guttag 2020, *What is the State of Neural Network Pruning?*, MLSys.
# - Han, Mao, Dally 2016, *Deep Compression*, ICLR.
# - Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*.
