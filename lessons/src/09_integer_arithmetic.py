# %% [markdown]
# # 09 · Integer arithmetic: only integers inside
#
# *A quantized network need not go back to floats to compute. Whole numbers in, whole numbers out, and between them sums
# that must not overflow, and one multiplication that looks impossible without fractions.*
#
# **35 minutes.** You need: lesson 08 (scale, zero point, codes).
#
# At the end you can
# - say how many bits a sum of products needs, and what happens in a narrower register;
# - multiply by a real number with a whole number and a shift, rounded correctly, also below zero;
# - run a convolutional network on codes alone, and prove it equal to its fake-quantized twin.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=9)

# %% [markdown]
# Five folds of the digits, so that each image is tested once, and five small residual networks with batch norm.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import summarise
from course_lib.experiments.integer_arithmetic import CALIBRATION, accuracy, logits_of, trained

folds = [load("digits", fold=fold) for fold in range(5)]
nets = trained(folds, steps=200)
tests = [(data.test.x, data.test.y) for data in folds]
floats = [accuracy(logits_of(net, x), y) for net, (x, y) in zip(nets, tests)]
print(f"test accuracy in float32: {summarise(floats):%}")

# %% [markdown]
# ## 1 · Predict
#
# The codes of weights and activations have 8 bits. Their products must be summed somewhere.

# %%
from course_lib.checking import predict

bet_narrow = predict(
    "narrow",
    unit="% right",
    question="All sums are kept in 16 bits instead of 32. What is left of the test accuracy?",
)
bet_narrow

# %%
bet_differ = predict(
    "differ",
    unit="images",
    question="1,797 images: how many does the integer network predict unlike its fake-quantized twin?",
)
bet_differ

# %% [markdown]
# ## 2 · The idea
#
# In lesson 08 we quantized and came straight back: *fake* quantization. That saves bytes, but the arithmetic was still
# float. In 2018 Benoit Jacob and colleagues at Google wanted networks to run on phones by integer arithmetic alone. Take
# lesson 08's grid, in their letters $r = S\,(q - Z)$, for input, weight and output, and put it into one output of a layer:
#
# $$q_3 = Z_3 + M \sum_{k=1}^{K} (q_1 - Z_1)(q_2 - Z_2), \qquad M = \frac{S_1 S_2}{S_3}.$$
#
# The sum is one of integers. $M$ alone is real, and it is fixed before the network runs. So write it as a whole number
# and a shift, $M \approx m_0 / 2^{\,n}$ with $m_0$ of 31 bits: a multiplication, then a division by a power of two, which
# in binary means dropping digits. Four things can go wrong: the sum overflows, the shift rounds badly, a zero point is
# forgotten, and batch norm stands in the way. We take them one by one.
#
# ## 3 · Build it
#
# **Sums overflow.** A register of $b$ bits counts modulo $2^b$, from $-2^{b-1}$ to $2^{b-1} - 1$. Nothing warns you:

# %%
import torch

from course_lib.quantization.fixed_point import wrapped


def my_wrapped(x, bits):
    half = 2 ** (bits - 1)
    return (x + half) % 2**bits - half


a, b = torch.tensor([100], dtype=torch.int8), torch.tensor([3], dtype=torch.int8)
print("torch says that 100 · 3 =", (a * b).item(), "in int8; we say", my_wrapped(300, 8))
sums = torch.arange(-70_000, 70_000, 7)
assert all(torch.equal(my_wrapped(sums, bits), wrapped(sums, bits)) for bits in (8, 16, 20))

# %% [markdown]
# The largest product of two int8 codes is $(-128)^2 = 2^{14}$: with the sign it needs 16 bits. $K$ of them can grow
# $K$ times as large, so they need $16 + \log_2 K$:

# %%
for K in (1, 9, 128, 144, 1024):
    worst = K * 128 * 128
    print(f"K = {K:5}: the worst sum is {worst:12,}, and needs {worst.bit_length() + 1} bits")

# %% [markdown]
# Hence *accumulators*, registers that sums grow in, of 32 bits: room for any usual layer. **The multiplier** goes into
# 31 bits: halve or double until the fraction lies in 0.5 … 1, and keep as many binary digits as fit.

# %%
from course_lib.quantization.fixed_point import fixed_point


def my_fixed_point(multiplier):
    fraction, exponent = torch.frexp(torch.as_tensor(multiplier, dtype=torch.float64))
    m0, shift = (fraction * 2**31).round().long(), 31 - exponent.long()
    over = m0 == 2**31  # rounded up to a 32nd bit
    return torch.where(over, m0 // 2, m0), torch.where(over, shift - 1, shift)


M = torch.tensor([0.3, 1 / 300, 1 - 2.0**-40], dtype=torch.float64)
m0, shift = my_fixed_point(M)
assert all(torch.equal(mine, theirs) for mine, theirs in zip((m0, shift), fixed_point(M)))
print(m0.tolist(), shift.tolist(), "relative error:", f"{(m0 / 2.0**shift.double() / M - 1).abs().max():.0e}")

# %% [markdown]
# **The shift** divides, but how does it round? `>>` goes *down*, which is the wrong way for −1/16. Cutting towards zero is
# no better. Half a step added before the shift makes down the nearest, on both sides of zero:

# %%
from course_lib import viz
from course_lib.quantization.fixed_point import rounding_right_shift


def my_shift(x, shift):
    return (x + (1 << (shift - 1))) >> shift


x = torch.arange(-24, 25)
ways = {">> alone": x >> 4, "towards zero": (x / 16).trunc().long(), "half added, then >>": my_shift(x, 4)}
assert torch.equal(ways["half added, then >>"], rounding_right_shift(x, 4))
viz.curves(
    x.tolist(), {name: (codes - x / 16).tolist() for name, codes in ways.items()},
    xlabel="x, to be divided by 16", ylabel="error, in codes",
    caption="Only the rounding shift errs by at most half a code, and as often up as down.",
)  # fmt: skip

# %% [markdown]
# **Zero points.** Multiplied out, the costly sum is one of plain codes; the corrections need only row and column sums:
#
# $$\sum (q_1 - Z_1)(q_2 - Z_2) = \sum q_1 q_2 - Z_1 \sum q_2 - Z_2 \sum q_1 + K Z_1 Z_2.$$

# %%
from course_lib.quantization.integer_product import integer_matmul


def my_matmul(a, b, za, zb):  # (rows, K), (K, columns)
    plain = a.int() @ b.int()
    of_b, of_a = b.sum(dim=0, dtype=torch.int32), a.sum(dim=1, keepdim=True, dtype=torch.int32)
    return plain - za * of_b - zb * of_a + a.shape[1] * za * zb


a, b = (torch.randint(-128, 128, shape).to(torch.int8) for shape in ((5, 144), (144, 3)))
direct = (a.int() + 128) @ (b.int() - 7)
assert torch.equal(my_matmul(a, b, -128, 7), direct)
assert torch.equal(integer_matmul(a, b, a_zero_point=-128, b_zero_point=7), direct)

# %% [markdown]
# **Batch norm**, once trained, is a gain and a shift for each channel: the convolution before it can take both over.

# %%
from course_lib.quantization.folding import fold_batch_norm


def my_fold(weight, bias, norm):
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return weight * gain.view(-1, 1, 1, 1), gain * (bias - norm.running_mean) + norm.bias


plain = [fold_batch_norm(net) for net in nets]
weight, bias = my_fold(nets[0].stem.weight, nets[0].stem.bias, nets[0].stem_norm)
assert torch.allclose(weight, plain[0].stem.weight) and torch.allclose(bias, plain[0].stem.bias)
pairs = [(logits_of(net, x), logits_of(folded, x)) for net, folded, (x, _) in zip(nets, plain, tests)]
fold_gap = max(float((one - other).abs().max()) for one, other in pairs)
print(f"folded and unfolded logits of all five networks differ by at most {fold_gap:.0e}")

# %% [markdown]
# **A layer** joins all this. Weights are symmetric, one grid for each output channel, so $Z_2 = 0$. The bias counts in
# steps of $S_1 S_2$, like the sum it joins.

# %%
from course_lib.quantization import choose_qparams, quantize


@torch.no_grad()
def my_layer(codes, layer, grid, out):  # (rows, K) int8 -> (rows, out) int8
    weight = layer.weight.flatten(1)
    qparams = choose_qparams(weight, 8, symmetric=True, axis=0)
    steps = grid.scale * qparams.scale.double()  # S1 S2, one for each output
    bias = (layer.bias / steps).round().long()
    sums = my_matmul(codes, quantize(weight, qparams).T, grid.zero_point, 0) + bias
    m0, shift = my_fixed_point(steps / out.scale)
    return (my_shift(sums * m0, shift) + out.zero_point).clamp(-128, 127).to(torch.int8)


# %% [markdown]
# A *convolution* is the same product, a row for each piece of the image that the kernel sees. Its border is padded with
# the zero point, the code of 0.

# %%
def my_conv(codes, layer, grid, out):  # a 3×3 kernel, padding 1
    x = torch.nn.functional.pad(codes, (1, 1, 1, 1), value=grid.zero_point)
    pieces = x.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5)  # (n, h, w, in, 3, 3)
    rows = my_layer(pieces.flatten(3).flatten(0, 2), layer, grid, out)
    return rows.unflatten(0, pieces.shape[:3]).permute(0, 3, 1, 2)


# %% [markdown]
# The rest needs no product. *Max pooling* keeps the largest code; *flatten* moves codes; a *ReLU* costs nothing,
# because its output grid begins at 0 and *saturation*, the clamp, cuts the rest. A *mean of four* is a rounding shift
# by two. A *residual add* brings two grids onto a third, with two whole multipliers and one shift:

# %%
def my_mean(codes):  # 2×2 average pooling
    return my_shift(codes.int().unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(4, 5)), 2).to(torch.int8)


def my_add(a, b, grids, out):
    m = [round(grid.scale / out.scale * 2**30) for grid in grids]
    total = m[0] * (a.long() - grids[0].zero_point) + m[1] * (b.long() - grids[1].zero_point)
    return (my_shift(total, 30) + out.zero_point).clamp(-128, 127).to(torch.int8)


# %% [markdown]
# The library's `to_integer` walks through a network, measures ranges on 300 training images, and chains such layers. Do
# ours give its codes?

# %% tags=["setup"]
from course_lib.quantization.integer import to_integer

networks = [to_integer(net, data.train.x[:CALIBRATION]) for net, data in zip(nets, folds)]
inside = {}
keep = lambda step, inputs: inside.update({step.name: (step.layer, inputs)})
logits = networks[0].run(networks[0].grid.quantize(tests[0][0]), watch=keep)
for name, (layer, inputs) in inside.items():
    zero = f"zero point {layer.out.zero_point}"
    print(f"{name:8} {type(layer).__name__:17} {tuple(inputs[0].shape[1:])}, {inputs[0].dtype}, {zero}")

# %%
mine = {}
for name, (layer, inputs) in inside.items():
    if name in ("hidden", "last"):
        mine[name] = my_layer(*inputs, getattr(plain[0], name), layer.grid, layer.out)
    elif name in ("stem", "inner", "wide"):
        mine[name] = my_conv(*inputs, getattr(plain[0], name), layer.grid, layer.out)
mine["average"], (add, branches) = my_mean(*inside["average"][1]), inside["add"]
mine["add"] = my_add(*branches, add.grids, add.out)
for name, codes in mine.items():
    layer, inputs = inside[name]
    gap = (codes.int() - layer(*inputs).int()).abs()
    assert gap.max() <= 1  # the library's m0 leaves a bit to the sums, so a tie may fall otherwise
    print(f"{name:8} {int((gap > 0).sum())} of {gap.numel():,} codes differ")

# %% [markdown]
# ## 4 · Play
#
# One unit of your network's hidden layer, and your first test image: its 128 products of plain codes, then its bias. The
# bias is large: it carries the zero point's correction, $-Z_1 \sum q_2$.
#
# 1. Press *8 bits: the first wrap*, and step back and on. Which bit turns over?
# 2. At 16 bits, walk on. Is the register right again when the true sum comes back into its range?
# 3. Find the narrowest register that is right *at the end*. It may wrap on the way: why does that not matter?

# %% tags=["setup", "widget"]
from course_lib.widgets.frame import Question
from course_lib.widgets.integer_arithmetic import accumulator_bits, bits_needed

layer, (codes,) = inside["hidden"]
total = layer.products(codes[:1])[0] + layer.bias
unit = int(total.abs().argmax())  # the one with the largest sum
bias = int(layer.bias[unit])
sums = (codes[0].int() * layer.codes[unit]).cumsum(0).tolist()  # after each product
needs = bits_needed([*sums, sums[-1] + bias])
how = {"answer": needs, "scale": (8, 32, 1), "form": ".0f"}
question = Question("How many bits hold every sum on this unit's way?", **how, why="The worst case needs 23.")
accumulator_bits(codes[0], layer.codes[unit], bias, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **How wide must a register be?** The same five networks, with every sum of every layer wrapped to fewer bits:

# %%
from course_lib.experiments.integer_arithmetic import WIDTHS, sums_of
from course_lib.quantization.integer_faults import with_accumulators

narrow = {
    bits: [accuracy(logits_of(with_accumulators(n, bits), x), y) for n, (x, y) in zip(networks, tests)]
    for bits in WIDTHS
}
sums = [s for n, (x, _) in zip(networks, tests) for s in sums_of(n, x).values()]
used = max(bits_needed([int(s.min()), int(s.max())]) for s in sums)
print(f"the largest sum of any layer, on any test image, needs {used} bits")
viz.curves(
    list(WIDTHS), {"integer networks": [summarise(narrow[bits]) for bits in WIDTHS]},
    xlabel="bits of the accumulators", ylabel="test accuracy", percent=True,
    levels={"guessing": 0.1, "float32": summarise(floats).mean},
    caption="A cliff: two bits decide between guessing and no loss at all.",
)  # fmt: skip

# %% [markdown]
# A sum that wraps in 16 bits is not a little wrong but wrong by 65,536 or more, often with the wrong sign. **And the
# twins?** `simulated` is the fake-quantized network: the same grids, with floats between them. First every layer on *equal*
# inputs, then the networks end to end.

# %%
from course_lib.experiments.integer_arithmetic import disagreements, gaps_on_equal_inputs

gaps = [gaps_on_equal_inputs(network, x) for network, (x, _) in zip(networks, tests)]
for name in gaps[0]:
    share, tie = max(gap[name].share for gap in gaps), max(gap[name].from_tie for gap in gaps)
    told = f"at most {share:.4%} differ, each within {tie:.0e} codes of a tie"
    print(f"{name:8}", told if share else "all codes equal")
differ = [disagreements(network, x) for network, (x, _) in zip(networks, tests)]
n_differ, n_images = sum(map(len, differ)), sum(len(x) for x, _ in tests)
print(f"{n_differ} of {n_images:,} predictions differ")

# %% [markdown]
# Where the real number lies halfway between two codes, the integer network rounds up, and float's last digit decides for
# the twin. The mean of four codes is often exactly a half, so pooling differs most.
#
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Each difference is paired over five
# folds; "destroys" means a loss of more than half of all images.

# %%
from course_lib.evidence import paired_difference
from course_lib.experiments.integer_arithmetic import requantization_gap

lost = {bits: paired_difference(narrow[bits], narrow[32]) for bits in (8, 16)}
cost = paired_difference(narrow[32], floats)
layers = [{step.name: step.layer for step in network.steps} for network in networks]
rescaled = max(
    requantization_gap(kinds[name], sums)
    for kinds, network, (x, _) in zip(layers, networks, tests)
    for name, sums in sums_of(network, x).items()
)
every = [gap for fold in gaps for gap in fold.values()]
apart, tie = max(gap.largest for gap in every), max(gap.from_tie for gap in every)
agree, margin = 1 - n_differ / n_images, max([0.0, *torch.cat(differ).tolist()])
explained = f"margins up to {margin:.1f} codes" if n_differ else "none to explain"

# %%
from course_lib.evidence import Claim, evidence

evidence(
    Claim("8-bit sums destroy it", "", f"{lost[8]:points}", lost[8].high < -0.5),
    Claim("16-bit sums destroy it", "", f"{lost[16]:points}", lost[16].high < -0.5),
    Claim("no sum overflows 32 bits", "int32 sums", f"{used} bits used", used <= 32),
    Claim("m₀ and shift for the real M", "at least 30 bits", f"within {rescaled} codes", rescaled <= 1),
    Claim("folding changes nothing", "", f"logits by {fold_gap:.0e}", fold_gap < 1e-3),
    Claim("layer = twin on equal inputs", "", f"within {apart} code", apart <= 1),
    Claim("… and codes that differ are ties", "", f"{tie:.0e} codes away", tie < 1e-3),
    Claim("network and twin predict alike", "", f"{agree:.2%} of {n_images:,}", agree >= 0.995),
    Claim("… else by a near tie of logits", "", explained, margin <= 3),
    Claim("8 bits cost little", "ResNet-50: 76.4 to 74.9 %", f"{cost:points}", abs(cost.mean) <= 0.01),
)

# %%
bet_narrow.reveal(round(100 * summarise(narrow[16]).mean, 1), "Guessing is right in 10 % of the cases.")

# %%
bet_differ.reveal(n_differ, "All five folds together: every image of the data set once.")

# %% [markdown]
# Our digits are easy: that 8 bits cost nothing here does not say that they cost nothing on ImageNet, where the paper lost
# 1.5 points.
#
# ## 6 · Where it fails
#
# **Accuracy does not prove arithmetic.** A fault on purpose: the plain shift, without the half. Then a multiplier of
# few bits.

# %%
from course_lib.quantization.integer_faults import with_multipliers, without_rounding

right = [network.run(network.grid.quantize(x)).int() for network, (x, _) in zip(networks, tests)]
faults = {"no rounding": without_rounding}
faults |= {f"m0 of {bits:2} bits": lambda n, bits=bits: with_multipliers(n, bits) for bits in (3, 6, 12, 24)}
for name, fault in faults.items():
    wrong = [fault(n).run(n.grid.quantize(x)).int() for n, (x, _) in zip(networks, tests)]
    off = max(int((a - b).abs().max()) for a, b in zip(wrong, right))
    found = summarise([accuracy(codes, y) for codes, (_, y) in zip(wrong, tests)])
    print(f"{name:13} {found:%} right, logits off by up to {off} codes")

# %% [markdown]
# The accuracy hardly tells these faults from the right network; the codes do. So compare codes.
#
# **Narrow sums hide inside fast kernels.** Some processors add *pairs* of int8 products in 16 bits. Two times
# $(-128)(-128)$ is just too much, which is one reason to keep weights at −127 … 127, as Jacob and others do, and we:

# %%
from course_lib.quantization.integer_product import int8_product_is_exact

for low in (-128, -127):
    pair = 2 * -128 * low
    print(f"two products of -128 and {low}: {pair:,}; in 16 bits {my_wrapped(pair, 16):,}")
print("torch's int8 product is exact on this processor:", int8_product_is_exact())

# %% [markdown]
# With inputs of unsigned bytes even that is not enough: pairs can then reach 2 · 255 · 127. So the library tests the
# kernel's worst cases once, and where it is wrong, it multiplies in float32, in pieces short enough to be exact.
#
# ## 7 · In practice
#
# `torch._int_mm` multiplies int8 matrices into int32 sums: our library is built on it. torch's own int8 layers
# (`torch.ao`, now deprecated; its successor is the separate package torchao) fuse product and rescaling into one kernel.
# One thread, a batch of 64:

# %%
from course_lib.experiments.integer_arithmetic import in_turns, timed
from course_lib.models import mlp

x, wide = tests[0][0][:64], mlp((64, 1024, 1024, 10)).eval()
a, b = (torch.randint(-127, 128, shape).to(torch.int8) for shape in ((64, 1024), (1024, 1024)))
af, bf = a.float(), b.float()
clocks = {
    "one product, 1,024 wide": in_turns({"float32": lambda: af @ bf, "_int_mm": lambda: torch._int_mm(a, b)}),
    "two layers, 1,024 wide": timed(wide, to_integer(wide, x), x),
    "our small network": timed(nets[0], networks[0], x),
}
for what, ways in clocks.items():
    print(f"{what:24}", ", ".join(f"{way} {ms:.2f} ms" for way, ms in ways.items()))

# %%
faster = lambda ways: ", ".join(f"{way} ×{ways['float32'] / ways[way]:.1f}" for way in list(ways)[1:])
rows = [(f"{what}: int8 is faster", faster(ways)) for what, ways in clocks.items()]
evidence(*(Claim(says, "up to 50 % less time", measured, None) for says, measured in rows))

# %% [markdown]
# The clock is reported, not judged, and a busy machine makes such ratios larger: the longer run is interrupted more often.
# In small layers, moving and rescaling codes costs more than the product saves, unless one kernel does it all: ours may
# lose there, torch's need not. What TensorFlow Lite's documentation reports for
# three networks, read as a whole:
#
# | network | top-1: float, quantized after training, in training | ms, the same | MB |
# |---|---|---|---|
# | MobileNet-v1 | 0.709, 0.657, 0.70 | 180, 145, 80.2 | 16.9 → 4.3 |
# | MobileNet-v2 | 0.719, 0.637, 0.709 | 117, 121, 80.3 | 14 → 3.6 |
# | Inception-v3 | 0.78, 0.772, 0.775 | 1585, 1187, 637 | 95.7 → 23.9 |
#
# Size falls fourfold in every row. Time does not follow by itself: MobileNet-v2 quantized after training was *slower*
# than float. And the accuracy of the MobileNets needed training on the grid. Each column is a question of its own.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the multiplier, the rounding shift, the product with zero points, and the folding. Then
# **lesson 10** trains a network on its grid, for when 8 bits become 2.
#
# - Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam, Kalenichenko 2018, *Quantization and Training of Neural Networks for
#   Efficient Integer-Arithmetic-Only Inference*, CVPR.
# - Krishnamoorthi 2018, *Quantizing deep convolutional networks for efficient inference: A whitepaper*, arXiv:1806.08342.
# - TensorFlow Lite, *Model optimization*, documentation.
