# %% [markdown]
# # 08 · Uniform quantization: how few bits?
#
# *A weight is stored in 32 bits. How many does it need? You build the grids that everybody uses, find where they break,
# and write a file four times smaller that predicts the same.*
#
# **35 minutes.** You need: PyTorch basics and lesson 00.
#
# At the end you can
# - put any tensor on an affine or symmetric grid, and say how large the error is before you measure it;
# - choose a grid's range in five ways, and know which one an outlier ruins;
# - explain why one grid for a layer can destroy a network that one grid for each channel leaves whole.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=8)

# %% [markdown]
# Five networks, one for each fold of the digits.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies, trained
from course_lib.models import lenet_300_100

folds = [load("digits", fold=fold) for fold in range(5)]
nets = trained(lenet_300_100, folds, steps=300)
in_float = test_accuracies(nets, folds)
print(f"test accuracy with 32 bits a weight: {summarise(in_float):%}")

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_bits = predict(
    "bits",
    unit="bits",
    question="How few bits can a weight have before this network loses a point? (No training afterwards.)",
)
bet_bits

# %%
bet_mobile = predict(
    "mobile",
    unit="%",
    question="A MobileNet whose channels differ in range by 100. One grid of 6 bits a layer: its accuracy?",
)
bet_mobile

# %% [markdown]
# ## 2 · The idea
#
# Lay equal steps over the range of a tensor, and store for each value only the number of its nearest grid point, its
# **code**:
#
# $$\text{code} = \text{clamp}\big(\text{round}(x / s) + z\big), \qquad x \approx s \cdot (\text{code} - z).$$
#
# The **scale** $s$ is the step. The **zero point** $z$ is the code of 0, a whole number: padding and ReLU fill a network
# with exact zeros, and those must not be moved. An **affine** grid uses all codes from 0 to $2^b - 1$ over any range. A
# **symmetric** one counts from 0 in both directions, $-(2^{b-1} - 1)$ to $2^{b-1} - 1$, and needs no $z$.
#
# Rounding moves a value by at most $s/2$. One more bit halves $s$, so the squared error falls to a quarter: the signal
# stands 6 decibels higher above the noise. In 2018 Benoit Jacob and colleagues at Google built integer networks for phones
# on such grids, and Raghuraman Krishnamoorthi measured which of them work. One finding startled: at 8 bits, with one
# grid a layer, MobileNet fell from 0.709 to 0.001.
#
# ## 3 · Build it
#
# **A grid of 3 bits** over five values:

# %%
import torch

x = torch.tensor([-1.0, 0.0, 0.3, 0.9, 2.5])
bits = 3
low, high = min(x.min(), 0), max(x.max(), 0)  # 0 must lie inside
scale = (high - low) / (2**bits - 1)  # 8 codes, 7 steps
zero_point = torch.round(-low / scale)
codes = (torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1).to(torch.uint8)
print("codes   ", codes.tolist(), f"  scale {scale:.2f}, zero point {int(zero_point)}")
print("reals   ", (scale * (codes - zero_point)).tolist())

# %% [markdown]
# 0 comes back as 0. **Clamp before you cast**: a byte keeps the last eight bits of what it is given.

# %%
large = torch.tensor([200, 300])
print("cast, then clamped:", large.to(torch.int8).clamp(-127, 127).tolist())
print("clamped, then cast:", large.clamp(-127, 127).to(torch.int8).tolist())

# %% [markdown]
# **Symmetric, one grid for each channel.** Row $i$ of a weight matrix makes output $i$; it may have a scale of its own.

# %%
def my_symmetric(w, bits, per_channel):
    highest = 2 ** (bits - 1) - 1  # 127, and -127 below: -128 would have no partner
    reach = w.abs().flatten(1).amax(dim=1) if per_channel else w.abs().max()
    scale = (reach / highest).view(-1, *[1] * (w.dim() - 1))
    return scale * torch.round(w / scale).clamp(-highest, highest)


# %%
from course_lib.quantization import choose_qparams, fake_quantize, quantize

w = nets[0][1].weight.detach()  # (300, 64)
assert torch.equal(codes, quantize(x, choose_qparams(x, bits=3)))
for axis in (None, 0):
    theirs = fake_quantize(w, choose_qparams(w, bits=4, symmetric=True, axis=axis))
    assert torch.equal(my_symmetric(w, 4, per_channel=axis == 0), theirs)
print("the same grids as course_lib's")

# %% [markdown]
# **Which range?** Covering everything, *min–max*, is not always best: a far value makes all steps coarse. Covering less
# clips it. Four other ways to choose: a *moving average* of the batches' ranges; a *percentile*; the share with the
# least *mean square* error; and the one that keeps most information, below.

# %%
def my_moving_average(batches, momentum=0.9):
    low, high = batches[0].min(), batches[0].max()
    for batch in batches[1:]:
        low = momentum * low + (1 - momentum) * batch.min()
        high = momentum * high + (1 - momentum) * batch.max()
    return low, high


def my_mean_square(w, bits):  # symmetric
    clips = [share * w.abs().max() for share in torch.linspace(0.01, 1, 100)]
    on_grid = lambda clip: my_symmetric(w.clamp(-clip, clip), bits, per_channel=False)
    return min(clips, key=lambda clip: (on_grid(clip) - w).square().sum())


# %% [markdown]
# *Entropy* counts magnitudes in fine bins. For each threshold it compares what is kept ($p$, with all that is clipped in the
# last bin) with the same bins merged into the grid's levels ($q$), and takes the smallest $\sum p \log (p / q)$.

# %%
def information_lost(counts, n, levels):
    p, filled = counts[:n].clone(), counts[:n] > 0
    level = torch.arange(n) * levels // n  # the level of each fine bin
    sums = torch.zeros(levels).index_add(0, level, p)
    places = torch.zeros(levels).index_add(0, level, filled.float())
    q = torch.where(filled, (sums / places.clamp(min=1))[level], 0)
    p[-1] += counts[n:].sum()  # the clipped ones
    p, q = p / p.sum(), q / q.sum()
    return (p * (p / q.clamp(min=1e-12)).log()).nansum()


def my_entropy(x, bits, bins=2048):
    counts = torch.histc(x.abs(), bins, 0, float(x.abs().max()))
    levels = 2 ** (bits - 1)
    n = min(range(levels, bins + 1, max(4, levels // 8)), key=lambda n: information_lost(counts, n, levels))
    return x.abs().max() * n / bins


# %% [markdown]
# Here are the inputs of the second layer, and the library's answers beside ours.

# %%
from course_lib.quantization import calibration

hidden = nets[0][:3](folds[0].train.x[:240]).detach()  # after the first ReLU, (240, 300)
few = w[:6]
ours = my_moving_average(hidden.split(60))[1], my_mean_square(few, bits=3), my_entropy(hidden, bits=4)
low, high = calibration.mse(few, bits=3, symmetric=True)
followed = calibration.moving_average(hidden.split(60))[1]
theirs = followed, max(-low, high), calibration.entropy(hidden, bits=4)[1]
assert torch.allclose(torch.stack(ours), torch.stack(theirs), rtol=1e-3)
print(f"largest activation {hidden.max():.2f}, moving average {ours[0]:.2f}, entropy {ours[2]:.2f}")

# %% [markdown]
# **A network and its file.** Every weight becomes a code; biases are few and stay floats. The file holds the codes, packed to
# their bits, and the scales. Read back, it predicts the same.

# %%
import copy
import tempfile

from course_lib.measure import stored_bytes
from course_lib.quantization.post_training import load_weights_, quantize_weights
from course_lib.quantization.storage import load_quantized, save_quantized

coded = quantize_weights(nets[0], bits=8)
rounded = load_weights_(copy.deepcopy(nets[0]), coded)
with tempfile.TemporaryDirectory() as folder:
    n_bytes = save_quantized(f"{folder}/net", nets[0], coded)
    again = load_quantized(f"{folder}/net", lenet_300_100())
same = torch.equal(again(folds[0].test.x), rounded(folds[0].test.x))
print(f"{stored_bytes(nets[0]):,} bytes in float32, {n_bytes:,} in 8 bits; same predictions: {same}")

# %% [markdown]
# ## 4 · Play
#
# Your first network. Drag the clip, the orange ends of the grid; every layer's grid covers that share of its range.
# 1. *2 bits, all of it*: to which of the three grid points do nearly all weights go?
# 2. Drag until the signal-to-noise is best. What do the two dashed curves do there?
# 3. At 8 bits: how far in can you clip before accuracy notices?

# %% tags=["setup", "widget"]
from course_lib.quantization import calibration
from course_lib.widgets.frame import Question
from course_lib.widgets.uniform_quantization import quantization_clip

first = nets[0][1].weight.detach()
share = float(calibration.mse(first, bits=2, symmetric=True)[1] / first.max())
choices = ("below a half of the range", "between a half and nine tenths", "nearly all of it")
answer = choices[(share > 0.5) + (share > 0.9)]
question = Question("At 2 bits: which clip has the least squared error?", answer=answer, choices=choices)
quantization_clip(nets[0], folds[0].validation.x, folds[0].validation.y, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **What is a bit worth?** The signal-to-noise ratio of the first layer, from 2 to 16 bits:

# %%
from course_lib import viz
from course_lib.quantization import signal_to_noise


def decibels(tensor, bits, **how):
    return signal_to_noise(tensor, fake_quantize(tensor, choose_qparams(tensor, bits, **how)))


BITS = list(range(2, 17))
noise = {}
for name, axis in (("one grid a layer", None), ("one grid a channel", 0)):
    rows = [[decibels(net[1].weight, bits, symmetric=True, axis=axis) for net in nets] for bits in BITS]
    noise[name] = [summarise(row) for row in rows]
ends = [[decibels(net[1].weight, bits, symmetric=True) for net in nets] for bits in (6, 12)]
a_bit = summarise([(many - few) / 6 for few, many in zip(*ends)])

# %%
viz.curves(
    BITS,
    noise,
    xlabel="bits",
    ylabel="signal-to-noise, dB",
    caption="Six decibels for every bit; a grid for each channel lifts the whole line.",
)

# %% [markdown]
# The largest round trip, in steps, over every layer; and what a symmetric grid loses on a ReLU's outputs, which are
# never negative:

# %%
def in_steps(tensor, bits, **how):
    grid = choose_qparams(tensor, bits, **how)
    return float((tensor - fake_quantize(tensor, grid)).abs().max() / grid.scale)


layers = [net[i].weight.detach() for net in nets for i in (1, 3, 5)]
errors = lambda kind: [in_steps(w, bits, symmetric=kind) for w in layers for bits in (2, 4, 8)]
largest = max(errors(True) + errors(False))
relu = [net[:3](data.train.x).detach() for net, data in zip(nets, folds)]
wasted = summarise([decibels(h, 8) - decibels(h, 8, symmetric=True) for h in relu])
print(f"largest error: {largest:.4f} steps; affine beats symmetric after a ReLU by {wasted:.2f} dB")

# %% [markdown]
# **Accuracy.** Weights only, without any training afterwards (*post-training quantization*):

# %%
from course_lib.evidence import paired_difference
from course_lib.experiments.uniform_quantization import GRIDS, on_grid

FEW = [2, 3, 4, 6, 8]
tested = {
    name: {bits: test_accuracies(on_grid(nets, bits, **how), folds) for bits in FEW}
    for name, how in GRIDS.items()
}
viz.curves(
    FEW,
    {name: [summarise(tested[name][bits]) for bits in FEW] for name in GRIDS},
    xlabel="bits a weight",
    ylabel="test accuracy",
    percent=True,
    caption="Four bits are enough here. At 2, the grid that clips is far ahead.",
)

# %% [markdown]
# **Activations** need ranges from data (*calibration*): 240 training images, no labels. First with clean images, then with *one* of the
# 240 made twenty times as bright, as a broken camera might.

# %%
from course_lib.experiments.uniform_quantization import CALIBRATIONS, calibrated


def cost(method, bits, fault=1):
    return paired_difference(
        test_accuracies(calibrated(method, nets, folds, bits=bits, fault=fault), folds), in_float
    )


activations = {name: (cost(name, 8), cost(name, 4), cost(name, 4, fault=20)) for name in CALIBRATIONS}
print(f"{'':15} 8 bits               4 bits               4 bits, one image broken")
for name, costs in activations.items():
    print(f"{name:15}", *(f"{c:points}".ljust(20) for c in costs))

# %% [markdown]
# On clean images all five agree. The broken one tells them apart: min–max believes it. It is 0.4 % of the values, so the
# 99.9th percentile keeps part of it; the mean square chases its large errors. The moving average dilutes it, and entropy
# counts it and lets it go.
#
# **Channels that differ.** A small MobileNet (lesson 15): four blocks of a depthwise convolution (one kernel a channel)
# and a 1×1 convolution. We multiply what enters each depthwise channel by a random factor from 0.1 to 10, in the batch
# norm before it, and divide that channel's kernel by the same. ReLU lets positive factors through, so the float network
# computes the same. Then batch norm is folded into the convolutions (lesson 09).

# %%
from course_lib.experiments.uniform_quantization import (
    channel_spread, small_mobilenet, trained_one_by_one, with_spread,
)
from course_lib.quantization.folding import fold_batch_norm

mobile = trained_one_by_one(small_mobilenet, folds, steps=200, lr=3e-3)
mobile_float = test_accuracies(mobile, folds)
x_test = folds[0].test.x
with torch.no_grad():
    gap = (with_spread(mobile[0], 100, seed=0)(x_test) - mobile[0](x_test)).abs().max().item()
print(f"float32: {summarise(mobile_float):%}; spread 100 moves its logits by at most {gap:.0e}")

# %%
SPREADS = [1, 10, 100, 1000]
spread_out = lambda by: [fold_batch_norm(with_spread(net, by, seed)) for seed, net in enumerate(mobile)]
wide = {by: spread_out(by) for by in SPREADS}
ranges = summarise([channel_spread(net[0].weight) for net in wide[1]])
survives = {}
for name in ("one grid a layer", "one grid a channel"):
    for bits in (8, 6):
        rows = [test_accuracies(on_grid(wide[by], bits, **GRIDS[name]), folds) for by in SPREADS]
        survives[f"{bits} bits, {name}"] = rows
print(f"as trained, the ranges of the first layer's channels differ by a factor {ranges:.1f}")
viz.curves(
    SPREADS, {name: list(map(summarise, rows)) for name, rows in survives.items()},
    xlabel="widest / narrowest factor", ylabel="test accuracy", percent=True, logx=True,
    caption="One grid a layer collapses as ranges part; one grid a channel does not notice.",
)

# %% [markdown]
# A channel with a hundredth of the layer's range loses $\log_2 100 = 6.6$ bits. Of 8 it keeps one or two; of 6, none.
#
# **Paper says / measured here.** The cell fails if a judged claim does not hold; differences are paired over the five
# folds, "±" is a standard deviation. The papers' figures are top-1 accuracies on ImageNet, all at 8 bits: of ResNet-v1-50
# first, then of MobileNet-v1, whose 0.709 one grid a layer destroys and one a channel keeps, better if affine.

# %%
from course_lib.evidence import Claim, evidence
from course_lib.experiments.uniform_quantization import file_sizes

loss = lambda name, bits: paired_difference(tested[name][bits], in_float)
layer, clipped, channel, _ = GRIDS
gain = paired_difference(tested[clipped][2], tested[layer][2])
both = activations["min-max"][0]  # 8-bit weights, 8-bit activations
large, small = file_sizes(nets[0], 8, per_channel=False)
at = lambda bits, name, by: survives[f"{bits} bits, {name}"][SPREADS.index(by)]
ruin = summarise(at(6, layer, 100))
kept = paired_difference(at(6, channel, 100), mobile_float)
at_8 = paired_difference(at(8, layer, 100), mobile_float)
broken = activations["entropy"][2].mean - activations["min-max"][2].mean
weights_4, inputs_4 = loss(channel, 4), activations["min-max"][1]

# %%
evidence(
    Claim("a round trip errs by half a step at most", "", f"{largest:.4f} steps", largest < 0.505),
    Claim("a bit is worth 6 dB", "", f"{a_bit:.2f} dB", abs(a_bit.mean - 6.02) < 0.3),
    Claim("8 bits cost nothing: weights, inputs", "0.752 to 0.751", f"{both:points}", both.low > -0.01),
    Claim("4 times smaller on disk", "4 times", f"{large / small:.2f} times", large / small > 3.5),
    Claim("the file is read back to the same predictions", "", f"{same}", same),
    Claim("clipping beats min-max, 2 bits, a layer", "", f"{gain:points}", gain.low > 0.03),
    Claim("one grid a layer collapses: ×100, 6 bits", "0.001 of 0.709", f"{ruin:%}", ruin.high < 0.6),
    Claim("… and at 8 bits", "0.001 of 0.709", f"{at_8:points}", None),
    Claim("one a channel survives: ×100, 6 bits", "0.591, affine 0.703", f"{kept:points}", kept.low > -0.02),
    Claim("one broken image: entropy over min-max", "", f"{100 * broken:+.1f} points", broken > 0.03),
    Claim("4-bit inputs hurt more than weights", "yes", f"{inputs_4:points}, {weights_4:points}", None),
)

# %%
enough = min(bits for bits in FEW if max(loss(name, bits).mean for name in GRIDS) > -0.01)
bet_bits.reveal(enough, "With the best of the four grids; the mean of five folds.")

# %%
bet_mobile.reveal(round(100 * ruin.mean), "Guessing would be right for one digit in ten.")

# %% [markdown]
# Our collapse needs fewer bits, or a wider spread, than the paper's. Likely reasons: its MobileNet has 13 such blocks, ours
# four, and errors add up from layer to layer; and ImageNet's thousand classes leave less room. Inputs of 4 bits hurt no more
# than weights here: ten digits are easy.
#
# ## 6 · Where it fails
#
# **We made that spread ourselves**, and chose it, the depth and the bits so that the effect is plain. As trained, our small
# network's channels are alike, and one grid a layer does well. In large networks folding batch norm brings the spread about:
# a channel that hardly varies is divided by its small deviation. (The same trick backwards, factors that make the ranges
# *equal*, is a repair.)
#
# **Activations have no grid for each channel**: a sum over channels would need to mix scales. With 8-bit inputs and a grid for
# each channel of the weights, the spread hurts after all:

# %%
from course_lib.quantization.post_training import post_training

for by in SPREADS:
    whole = [post_training(net, data.train.x[:240].split(60)) for net, data in zip(wide[by], folds)]
    change = paired_difference(test_accuracies(whole, folds), mobile_float)
    print(f"spread {by:4}: weights and inputs at 8 bits, {change:points}")

# %% [markdown]
# **At 2 bits** even the best of our grids loses points. The weights were not trained for a grid; lesson 10 does that.
#
# **Decibels are not accuracy.** A squared error counts large values most, whether they matter or not: that is how the broken
# image fooled the mean square.
#
# **Fake quantization is not yet fast.** We rounded, and computed in float. Lesson 09 computes on the codes.
#
# ## 7 · In practice
#
# torch has the grid as an operator, which training needs too (lesson 10):

# %%
grid = choose_qparams(first, bits=8, symmetric=True, axis=0)
theirs = torch.fake_quantize_per_channel_affine(first, grid.scale, grid.zero_point, 0, -127, 127)
off = (theirs - fake_quantize(first, grid)).abs() / grid.scale[:, None]
print(f"the same grid point for {(off < 0.5).float().mean():.2%} of the weights")

# %% [markdown]
# Whole models are [torchao](https://github.com/pytorch/ao)'s work; the older tools in `torch.ao` are deprecated.
#
# ```python
# from torchao.quantization import Int8WeightOnlyConfig, quantize_
# quantize_(model, Int8WeightOnlyConfig())  # in place; Int4WeightOnlyConfig(group_size=128) for 4 bits
# ```
#
# It adds kernels that read the codes, activations quantized as they come, floats of 8 bits, and a grid for each *group* of
# weights. What a group buys at 4 bits, scales of 16 bits counted:

# %%
shares = {"layer": first.reshape(1, -1), "channel": first, "group of 16": first.reshape(-1, 16)}
for name, rows in shares.items():
    bits = 4 + 16 / rows.shape[1]
    ratio = decibels(rows, 4, symmetric=True, axis=0)
    print(f"one grid a {name:11}: {ratio:.1f} dB, {bits:.2f} bits a weight")

# %% [markdown]
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the grid, the saturation, a grid for each channel, and the best clip. Then **lesson 09**
# keeps the codes as they are, and computes with integers only.
#
# - Jacob and others 2018, *Quantization and training of neural networks for efficient integer-arithmetic-only inference*, CVPR.
# - Krishnamoorthi 2018, *Quantizing deep convolutional networks for efficient inference: a whitepaper*.
