# %% [markdown]
# # 10 · Quantization-aware training: learn on the grid
#
# *Round a trained network to 8 bits and nothing happens; to 2 bits, and much of it is lost. Let it feel the grid while it
# can still move, and most comes back. The one obstacle: a staircase has no slope. So we pretend.*
#
# **35 minutes.** You need: lesson 08 (grids, scales, post-training quantization); lesson 09 helps (folding).
#
# At the end you can
# - write fake quantization with a straight-through estimator as an autograd function;
# - train a network on a grid, with ranges that follow the data or that are learned, and freeze what must stand still;
# - say with a fair control what training on the grid is worth, at each number of bits.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=10)

# %% [markdown]
# A small convolutional network with batch norm for each of five folds of the digits, trained as floats.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.experiments.quantization_aware_training import trained

TRIALS, BEFORE, STEPS = 5, 300, 120  # steps in float; more steps that every way gets
folds = [load("digits", fold=fold) for fold in range(TRIALS)]
nets = trained(folds, steps=BEFORE)
in_float = test_accuracies(nets, folds)
print(f"test accuracy as floats: {summarise(in_float):%}")

# %% [markdown]
# ## 1 · Predict
#
# At 2 bits a weight is one of three values, an activation one of four. Both rivals get 120 more steps.

# %%
from course_lib.checking import predict

bet_gain = predict(
    "gain", unit="points",
    question="At 2 bits: by how many points does training on the grid beat training in float, then rounding?",
)
bet_gain

# %%
bet_moved = predict(
    "moved", unit="%",
    question="Training on the grid with the true slope of rounding: what share of the weights ever moves?",
)
bet_moved

# %% [markdown]
# ## 2 · The idea
#
# Rounding after training asks a network to bear an error that it has never seen. Why not show it? In each forward pass,
# put weights and activations on their grid and come back to floats: *fake quantization*. The loss is then the loss of the
# rounded network. But gradient descent needs a slope, and a staircase is flat, except where it jumps. In 2013 Yoshua
# Bengio, Nicholas Léonard and Aaron Courville studied how to get gradients through hard decisions. One of the answers
# is bold: in the backward pass, act as if the steps were not there. With
# $Q(x) = s \cdot \mathrm{clamp}(\mathrm{round}(x/s), \ell, h)$,
#
# $$\frac{\partial Q}{\partial x} \;:=\; \begin{cases} 1 & \text{where nothing is clipped} \\ 0 & \text{where the grid ends} \end{cases}$$
#
# This is the **straight-through estimator**. It is wrong at every single point, and right on the whole: from one end of the
# grid to the other, the output rises just as much as the input.
#
# The weights live twice. The optimiser moves a *float* copy, in which small updates add up; the loss sees the grid laid over
# it. In 2018 Benoit Jacob and others at Google trained networks this way that then ran on integers alone.
#
# ## 3 · Build it
#
# **The problem**, in two lines:

# %%
import torch

x = torch.linspace(-2, 2, 9, requires_grad=True)
x.round().sum().backward()
print("gradient of round:", x.grad.tolist())

# %% [markdown]
# **The estimator.** An autograd function says what happens forwards, and what backwards.


# %%
class MyFakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, lowest, highest):
        steps = (x / scale).round()
        codes = steps.clamp(lowest, highest)
        ctx.save_for_backward(steps == codes)  # where nothing is clipped
        return codes * scale

    @staticmethod
    def backward(ctx, gradient):
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None  # one entry for each argument of forward


# %% [markdown]
# The library's version, and PyTorch's built-in one, agree forwards and backwards:

# %%
from course_lib.quantization import QParams
from course_lib.quantization.straight_through import fake_quantize_straight_through

grid = QParams(torch.tensor(0.5), torch.tensor(0, dtype=torch.int32), bits=3, symmetric=True)
x, pull, seen = 2 * torch.randn(1000), torch.randn(1000), []
for way in (
    lambda x: MyFakeQuantize.apply(x, 0.5, -3, 3),
    lambda x: fake_quantize_straight_through(x, grid),
    lambda x: torch.fake_quantize_per_tensor_affine(x, 0.5, 0, -3, 3),
):
    leaf = x.clone().requires_grad_()
    out = way(leaf)
    out.backward(pull)
    seen.append((out.detach(), leaf.grad))
assert all(torch.equal(a, b) for other in seen[1:] for a, b in zip(seen[0], other))
print(f"three times the same; the gradient is stopped at {(seen[0][1] == 0).float().mean():.0%} of values")

# %% [markdown]
# **Ranges that follow.** A weight's grid covers the weights as they are now. Activations differ from batch to batch, so
# their range is lesson 08's moving average, which stands still once the network is used.

# %%
from course_lib.quantization.quantizers import ActivationQuantizer

batches = [torch.relu(torch.randn(60, 16)) for _ in range(40)]
low, high = batches[0].min(), batches[0].max()
theirs = ActivationQuantizer(bits=2)
theirs(batches[0])
for batch in batches[1:]:
    low, high = 0.9 * low + 0.1 * batch.min(), 0.9 * high + 0.1 * batch.max()
    theirs(batch)
assert torch.allclose(high, theirs.high) and torch.allclose(low, theirs.low)
print(f"range {low:.2f} to {high:.2f}; the batches' maxima: {min(b.max() for b in batches):.2f} "
      f"to {max(b.max() for b in batches):.2f}")

# %% [markdown]
# **Ranges that are learned.** In 2020 Steven Esser and others made the scale a parameter (LSQ). Write
# $v = x/s$; with the estimator for round alone, the chain rule gives the scale a slope by itself: $\mathrm{round}(v) - v$
# inside the grid, the end's code outside. Clipped values pull the grid wider. (The library also divides that slope by
# √(number of values · highest code), so that one scale, which hears every value, does not outrun the weights.)


# %%
def my_learned(x, scale, lowest, highest):
    v = (x / scale).clamp(lowest, highest)
    rounded = v + (v.round() - v).detach()  # the value of round(v), the gradient of v
    return rounded * scale


x, scale = torch.tensor([0.3, 0.8, 9.0]), torch.tensor(1.0, requires_grad=True)
my_learned(x, scale, -3, 3).sum().backward()
print(f"slope of the scale: {scale.grad:.2f} = (0 − 0.3) + (1 − 0.8) + 3")

# %% [markdown]
# **Where they go.** A product is on the grid when both of its factors are: each layer's input and its weight. Biases, batch
# norm and logits stay floats (in lesson 09 a bias has 32 bits, which loses next to nothing).


# %%
class MyLinear(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(self.input_grid(x), self.weight_grid(self.weight), self.bias)


# %%
from course_lib.quantization.qat import prepare
from course_lib.quantization.quantizers import WeightQuantizer

mine, theirs = MyLinear(64, 10), torch.nn.Linear(64, 10)
theirs.load_state_dict(mine.state_dict())
mine.input_grid, mine.weight_grid = ActivationQuantizer(4), WeightQuantizer(4)
theirs = prepare(theirs, weight_bits=4, activation_bits=4)
images = folds[0].train.x[:60].flatten(1)
assert torch.equal(mine(images), theirs(images))
print(prepare(nets[0], weight_bits=2, activation_bits=2)[3])

# %% [markdown]
# **Batch norm** divides by the spread of each *batch*, but the stored network uses running statistics, folded into the
# weights. So late in training they are frozen: then training sees what will be stored. With one symmetric grid per output
# channel, folding even leaves the *codes* as they are: a gain stretches a channel and its grid alike. One grid for
# the whole tensor has no such luck.

# %%
from course_lib.quantization import choose_qparams, quantize

conv, norm = nets[0][3], nets[0][4]
gain = (norm.weight * (norm.running_var + norm.eps).rsqrt()).detach().view(-1, 1, 1, 1)
same = {}
for name, axis in (("one grid a channel", 0), ("one grid for all", None)):
    codes = lambda w: quantize(w, choose_qparams(w, 4, symmetric=True, axis=axis))
    plain, folded = codes(conv.weight.detach()), codes(gain * conv.weight.detach())
    same[name] = (plain * gain.sign() == folded).float().mean().item()
    print(f"{name}: {same[name]:.2%} of the codes stay")

# %% [markdown]
# **Training** is what you know: forward on the grid, backward through the estimator, the optimiser moves the float copy. So
# `prepare` and `fit` are all it takes. Late, batch norm and ranges are frozen, and the learning rate falls.

# %%
from course_lib.experiments.quantization_aware_training import LR
from course_lib.quantization.qat import freeze_batch_norm_, freeze_ranges_
from course_lib.training import evaluate, fit

net = prepare(nets[0], weight_bits=2, activation_bits=2, ranges="learned")
fit(net, folds[0].train, steps=1)  # so that the ranges have seen data
print(f"2 bits after one step: {evaluate(net, folds[0].validation).accuracy:.1%} of validation images")
fit(net, folds[0].train, steps=80, lr=LR)
freeze_ranges_(freeze_batch_norm_(net))
fit(net, folds[0].train, steps=40, lr=LR / 10)
print(f"after 121 steps: {evaluate(net, folds[0].validation).accuracy:.1%}")

# %% [markdown]
# ## 4 · Play
#
# All five networks, now with equal rights. Each gets 120 more steps, in float or on a grid. What was trained in float is
# rounded afterwards as well as we can: ranges clipped to the smallest squared error (lesson 08). On the grid, ranges are
# learned: that did best on validation images, where the learning rate was chosen too.

# %% tags=["setup"]
from course_lib.experiments.quantization_aware_training import BITS, afterwards, aware, continued, freeze_

more = continued(nets, folds, steps=STEPS, late=freeze_)  # the control, in float
cut = {bits: afterwards(more, folds, bits, clip=True) for bits in BITS}
grown = {bits: aware(nets, folds, bits, steps=STEPS, ranges="learned") for bits in (8, 4)}

# %% tags=["setup"]
grown |= {bits: aware(nets, folds, bits, steps=STEPS, ranges="learned") for bits in (3, 2)}

# %% [markdown]
# 1. Move x over an edge: how far does the output jump, and what do both slopes say before, at and after it?
# 2. Go beyond the grid. Why is slope 0 right there?
# 3. Take 8 bits. What is left to pretend? Then compare the accuracies, from 8 bits down to 2.

# %% tags=["setup", "widget"]
from course_lib.widgets.frame import Question
from course_lib.widgets.quantization_aware_training import accuracy, staircase_slope

x, y = folds[0].validation.x, folds[0].validation.y
first = lambda ways: {bits: networks[0] for bits, networks in ways.items()}
reached = accuracy(grown[2][0], x, y)
asked = f"Rounded to 2 bits, your network gets {accuracy(cut[2][0], x, y):.0%} right. Trained on the grid?"
staircase_slope(first(cut), first(grown), x, y, question=Question(asked, answer=reached))

# %% [markdown]
# ## 5 · Evidence
#
# **Bits against accuracy**, tested on five folds. Two ways of rounding, both after the extra float steps; and training on
# the grid.

# %%
from course_lib import viz

tested = {
    "rounded, whole range": {bits: afterwards(more, folds, bits, clip=False) for bits in BITS},
    "rounded, clipped": cut,
    "trained on the grid": grown,
}
for way, found in tested.items():
    tested[way] = {bits: test_accuracies(networks, folds) for bits, networks in found.items()}
floats = test_accuracies(more, folds)

# %%
viz.curves(
    BITS, {way: [summarise(found[bits]) for bits in BITS] for way, found in tested.items()},
    xlabel="bits of weights and activations", ylabel="test accuracy", percent=True,
    levels={"float, equal steps": summarise(floats).mean},
    caption="Down to 4 bits all are close; at 2 bits training on the grid keeps what rounding loses.",
)

# %% [markdown]
# **Moving-average ranges** instead of learned ones, at 2 bits; and the same **without the estimator**: equal networks, grids
# and steps, but the true slope of rounding.

# %%
from course_lib.experiments.quantization_aware_training import without_estimator

measured = aware(nets, folds, 2, steps=STEPS)
blind = aware(nets, folds, 2, steps=STEPS, change=without_estimator)
two = {"with": test_accuracies(measured, folds), "without": test_accuracies(blind, folds)}


def moved(before, after):
    pairs = [(w, after.get_parameter(name)) for name, w in before.named_parameters() if w.dim() > 1]
    return sum(int((a != b).sum()) for a, b in pairs) / sum(a.numel() for a, b in pairs)


share = {"without": max(map(moved, nets, blind)), "with": min(map(moved, nets, measured))}
for way in share:
    print(f"{way:7} the estimator: {share[way]:.1%} of the weights have moved, {summarise(two[way]):%} right")

# %% [markdown]
# **Which hurts more**, coarse weights or coarse activations? And does freezing matter? Three folds, 2 bits, trained on the grid:

# %%
two |= {"both": tested["trained on the grid"][2], "rounded": tested["rounded, clipped"][2]}
three = {"both": two["both"][:3]}
for name, how in {
    "weights only": {"activation_bits": None},
    "activations only": {"weight_bits": None},
    "never frozen": {"late": None},
}.items():
    found = aware(nets[:3], folds, 2, steps=STEPS, ranges="learned", **how)
    three[name] = test_accuracies(found, folds[:3])
for name, found in three.items():
    print(f"{name:16} {summarise(found):%}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "Beats" is by more than two standard errors
# over paired folds; "free" is a mean loss of at most one point.

# %%
from course_lib.evidence import Claim, evidence

ahead = lambda a, b: paired_difference(two[a], two[b])
at = lambda way, bits, rival: paired_difference(tested[way][bits], rival)
round_8, grid_8 = at("rounded, clipped", 8, floats), at("trained on the grid", 8, floats)
grid_4 = at("trained on the grid", 4, tested["trained on the grid"][8])
by_bits = {bits: at("trained on the grid", bits, tested["rounded, clipped"][bits]) for bits in BITS}
earlier = test_accuracies(afterwards(nets, folds, 2, clip=True), folds)
steps_alone = paired_difference(two["rounded"], earlier)
slope, better = ahead("with", "without"), ahead("both", "with")
coarse = paired_difference(three["weights only"], three["activations only"])
late = paired_difference(three["both"], three["never frozen"])
kept, per_layer = same["one grid a channel"], "8 bits, per layer: 0.1 → 70 %"

# %%
evidence(
    Claim("8 bits, rounded: free", "ResNet-50: 75.2 → 75.1 %", f"{round_8:points}", round_8.mean > -0.01),
    Claim("8 bits, trained: free", "MobileNet: 71.03 → 71.06 %", f"{grid_8:points}", grid_8.mean > -0.01),
    Claim("4 bits, trained: near 8 bits", "within about 5 %", f"{grid_4:points}", grid_4.mean > -0.05),
    Claim("2 bits: training beats rounding", per_layer, f"{by_bits[2]:points}", by_bits[2].low > 0),
    Claim("3 bits: the same", "", f"{by_bits[3]:points}", None),
    Claim("float steps alone, then rounding", "", f"{steps_alone:points}", steps_alone.mean < by_bits[2].low),
    Claim("no estimator: no weight moves", "", f"{share['without']:.0%} moved", share["without"] == 0),
    Claim("the estimator beats its absence", "", f"{slope:points}", slope.low > 0),
    Claim("learned ranges beat moving averages", "", f"{better:points}", None),
    Claim("folding leaves the codes", "", f"{kept:.2%}", kept > 0.99),
    Claim("coarse weights minus coarse activations", "weights hurt more", f"{coarse:points}", None),
    Claim("frozen late against never", "", f"{late:points}", None),
)

# %% [markdown]
# The papers' figures: from Krishnamoorthi (2018) 75.2 → 75.1 %, "within about 5 %", and 0.1 → 70 %: MobileNet-v1 with one
# 8-bit grid for each layer, rounded against trained. 71.03 → 71.06 % comes from TensorFlow's toolkit. "Weights hurt more" is
# Jacob and others; Krishnamoorthi found the opposite at 4 bits: it depends on the network. Look at the last row too: freezing
# is hardly needed for accuracy here. What it buys is that the network you trained is the one you store.

# %%
bet_gain.reveal(round(100 * by_bits[2].mean, 1), "Paired over five folds; rounded with clipping.")

# %%
bet_moved.reveal(100 * share["without"], "A slope of 0 gives an update of 0, at every step.")

# %% [markdown]
# ## 6 · Where it fails
#
# **No weight moves, and yet accuracy may.** Without the estimator it can still rise: batch norm measures its statistics
# anew on the rounded network, ranges follow, and the last biases have a true slope. Do not credit the estimator with that.

# %%
plainly = summarise(tested["rounded, whole range"][2])
print(f"2 bits, rounded over the whole range: {plainly:%}; trained without: {summarise(two['without']):%}")

# %% [markdown]
# **The float copy is no float network.** It was trained to be right *on the grid*. Take the grid away:

# %%
import copy


def off_grid(network):
    network = copy.deepcopy(network)
    for layer in network:
        if hasattr(layer, "weight_quantizer"):
            layer.weight_quantizer = layer.input_quantizer = torch.nn.Identity()
    return network


bare = test_accuracies([off_grid(network) for network in grown[2]], folds)
print(f"2 bits, on the grid: {summarise(two['both']):%}; its float copy: {summarise(bare):%}")

# %% [markdown]
# **The estimator is biased.** Its direction is not the slope of the loss: a weight near an edge is pushed over it, the loss
# answers, and it is pushed back. At a constant learning rate codes keep flipping; hence the small rate at the end. Share of
# the codes that change in each of the last steps:

# %%
def flips(lr, steps=20):
    network, shares = copy.deepcopy(grown[2][0]), []
    codes = lambda: network[3].weight_quantizer(network[3].weight).detach().sign()
    for step in range(steps):
        before = codes()
        fit(network, folds[0].train, steps=1, lr=lr, optimizer="sgd", seed=step)
        shares.append((codes() != before).float().mean().item())
    return sum(shares) / steps


for lr in (1e-1, 1e-2, 1e-3):
    print(f"learning rate {lr:g}: {flips(lr):.2%} of the codes flip in a step")

# %% [markdown]
# **It costs** data with labels, and time: every step rounds every tensor. (On a busy machine the clock wavers.)

# %%
from course_lib.measure import latency

for name, network in {"float": copy.deepcopy(nets[0]), "grid": prepare(nets[0])}.items():
    time = latency(lambda: fit(network, folds[0].train, steps=10), runs=8, warmup=1)
    print(f"ten steps in {name:5}: median {time.median_ms:.0f} ms, middle half within {time.iqr_ms:.0f} ms")

# %% [markdown]
# At 8 bits it bought nothing here. Train on the grid when rounding is not enough: few bits, or networks that round badly.
#
# ## 7 · In practice
#
# PyTorch's built-in estimator is `torch.fake_quantize_per_tensor_affine` (and `…_per_channel_affine`). `parametrize` puts it
# around the weight of any layer; the optimiser then sees the float copy.

# %%
from torch.nn.utils import parametrize


class OnGrid(torch.nn.Module):
    def forward(self, weight):
        scale = weight.detach().abs().max().item() / 7  # 4 bits, one grid
        return torch.fake_quantize_per_tensor_affine(weight, scale, 0, -7, 7)


layer = copy.deepcopy(nets[0][3])
parametrize.register_parametrization(layer, "weight", OnGrid())
layer(torch.randn(1, 16, 4, 4)).sum().backward()
original = layer.parametrizations.weight.original
print(f"{len(layer.weight.unique())} different weights; {len(original.unique()):,} in the float copy, "
      f"{(original.grad != 0).float().mean():.0%} of them with a gradient")

# %% [markdown]
# For large networks there is `torchao` (`torch.ao`'s own tools are deprecated). It has the same two ends as ours: prepare, train
# as ever, convert. Beyond ours, its convert leaves real 4-bit weights, and there are kernels that read them.
#
# ```python
# from torchao.quantization import Int8DynamicActivationInt4WeightConfig, quantize_
# from torchao.quantization.qat import QATConfig
#
# base = Int8DynamicActivationInt4WeightConfig(group_size=32)
# quantize_(model, QATConfig(base, step="prepare"))  # fake quantizers go in
# train(model)
# quantize_(model, QATConfig(base, step="convert"))  # and become the real thing
# ```
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the estimator, a range that follows, the places of fake quantizers, and the steps of
# training. Then **lesson 11** gives up equal steps: weights share the values of a codebook.
#
# - Bengio, Léonard, Courville 2013, *Estimating or propagating gradients through stochastic neurons for conditional
#   computation*.
# - Jacob, Kligys, Chen and others 2018, *Quantization and training of neural networks for efficient integer-arithmetic-only
#   inference*, CVPR.
# - Krishnamoorthi 2018, *Quantizing deep convolutional networks for efficient inference: a whitepaper*.
