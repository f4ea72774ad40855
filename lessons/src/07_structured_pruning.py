# %% [markdown]
# # 07 · Structured pruning: make it really smaller
#
# *Zeros save nothing on an ordinary computer. Take whole filters and layers out, with everything that belonged to them,
# and the file, the memory and the clock all follow.*
#
# **40 minutes.** You need: lesson 02 (scores, masks, retraining); lesson 01 helps.
#
# At the end you can
# - remove filters from a network by hand, and find all that has to go with them;
# - prove that a network was cut correctly: removed equals masked;
# - say what structure costs in accuracy, and what it brings on the clock, with error bars.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=7)

# %% [markdown]
# One small convolutional network (16 and 32 filters, then a linear layer) for each of five folds of the digits.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.magnitude_pruning import test_accuracies, trained
from course_lib.models import small_cnn

TRIALS, BEFORE, STEPS = 5, 400, 200  # steps of dense training; steps of retraining
folds = [load("digits", fold=fold) for fold in range(TRIALS)]
nets = trained(lambda: small_cnn(folds[0].input_shape), folds, steps=BEFORE)
dense = test_accuracies(nets, folds)
print(f"test accuracy of the dense networks: {summarise(dense):%}")

# %% [markdown]
# ## 1 · Predict
#
# Half of the filters of every layer go for good.

# %%
from course_lib.checking import predict

bet_time = predict(
    "time", unit="% of the time",
    question="A VGG network without half of its filters: which share of the time does it still take?",
)
bet_time

# %%
bet_loss = predict(
    "loss", unit="points",
    question="After retraining: how many points does it lose against single weights, at equal size?",
)
bet_loss

# %% [markdown]
# ## 2 · The idea
#
# Lesson 02 ended with a disappointment: a network of 90 % zeros was as slow as before, because a dense kernel multiplies a
# zero like any other number. To be faster, the *tensors* must be smaller. The smallest piece that can be cut out of a
# convolution and leave a convolution is a **filter**: all weights that make one output channel.
#
# But a channel has readers. Without filter $j$, every filter of the next layer loses its $j$-th slice. So a cut
# at one place is a cut at two, and where all layers keep the share $d$ of their filters, about $d^2$ of the work is left:
#
# $$\underbrace{(d \cdot C_{\text{out}})}_{\text{filters}} \cdot \underbrace{(d \cdot C_{\text{in}})}_{\text{slices}} \cdot k^2 \cdot \text{positions} = d^2 \cdot \text{MACs}$$
#
# Here are both cuts in the second layer of one of your networks:

# %%
from course_lib import viz

kernels = nets[0][3].weight.detach().abs().mean(dim=(2, 3))  # (32 filters, 16 inputs)
slices, filters = kernels.clone(), kernels.clone()
slices[:, ::2] = 0
filters[:, ::2], filters[::2] = 0, 0
viz.images(
    {"whole": kernels, "layer before halved": slices, "and this one too": filters},
    caption="Filters of the layer before take columns along; its own are rows. A quarter is left.",
    alt="Three tables of 32 by 16 squares: full; every second column white; every second row white as well.",
)

# %% [markdown]
# ## 3 · Build it
#
# **Score.** A filter's score is the mean magnitude of its weights (lesson 02). The lowest go. The network: conv, ReLU,
# batch norm, conv, ReLU, flatten, linear; its batch norm has statistics of its own, so that a forgotten one shows.

# %%
import copy

import torch

from course_lib.experiments.structured_pruning import coupled_networks

net = coupled_networks()["plain"]
score = net[0].weight.detach().abs().mean(dim=(1, 2, 3))  # (32,): one number for each filter
gone = score.argsort(stable=True)[:16].tolist()
keep = [k for k in range(32) if k not in gone]
print(net)

# %% [markdown]
# **Remove.** Whatever has a place for each filter loses it: rows of the weight, bias, four tensors of the batch norm (two of
# them are buffers, easily forgotten), and *columns* of the next layer.


# %%
def without(net, keep):
    net = copy.deepcopy(net)
    conv, norm, following = net[0], net[2], net[3]
    with torch.no_grad():
        conv.weight, conv.bias = (torch.nn.Parameter(value[keep]) for value in (conv.weight, conv.bias))
        norm.weight, norm.bias = (torch.nn.Parameter(value[keep]) for value in (norm.weight, norm.bias))
        norm.running_mean, norm.running_var = norm.running_mean[keep], norm.running_var[keep]
        following.weight = torch.nn.Parameter(following.weight[:, keep])  # its slices, not its filters
    conv.out_channels = norm.num_features = following.in_channels = len(keep)
    return net


# %% [markdown]
# **Prove it.** A network that lost a filter must compute the same as one whose filter is *masked*: all zeros, from bias to
# batch norm. If anything was forgotten, the two part.

# %%
from course_lib.pruning.structured import mask_filters, remove_filters

x = folds[0].test.x[:32]
small, masked = without(net, keep), copy.deepcopy(net)
with torch.no_grad():
    for value in (masked[0].weight, masked[0].bias, masked[2].weight, masked[2].bias):
        value[gone] = 0
    library = remove_filters(net, {"0": gone}, example_input=x)
    assert torch.equal(small(x), library(x))
    print(f"removed against masked: logits differ by at most {(small(x) - masked(x)).abs().max():.0e}")

# %% [markdown]
# **Behind a flatten** a channel is not one column but a block, one column for each pixel:

# %%
linear, pixels = net[6].weight, 64  # (10, 24 channels · 64 pixels)
blocks = linear.unflatten(1, (24, pixels))  # (10, 24, 64)
shorter = blocks[:, 2:].flatten(1)  # without channels 0 and 1
library = remove_filters(net, {"3": [0, 1]}, example_input=x)
assert torch.equal(library[6].weight, shorter)
print(tuple(linear.shape), "->", tuple(shorter.shape))

# %% [markdown]
# **Who is coupled to whom?** In a residual network two layers' outputs are *added*: they must lose the same channels.
# No list of rules finds all such ties; following the channels does. `torch.fx` records what a network does, one node for each
# operation. We give each convolution's output a name of its own, pass names on, and unite those that meet in an addition:

# %%
import operator

from torch import fx, nn

residual = coupled_networks()["residual"]
layers, name_of, same = dict(residual.named_modules()), {}, {}
root = lambda name: root(same[name]) if name in same else name
for node in fx.Tracer().trace(residual).nodes:
    made = [root(name_of[source]) for source in node.all_input_nodes]
    if node.target == operator.add and made[0] != made[1]:
        same[made[1]] = made[0]
    makes_new = node.op == "placeholder" or isinstance(layers.get(node.target), (nn.Conv2d, nn.Linear))
    name_of[node] = str(node.target) if makes_new else made[0] if made else None
makers = [name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)]
print({first: [m for m in makers if root(m) == first] for first in map(root, makers)})

# %% [markdown]
# The first convolution and the last one of each block make *the same* channels; the inner ones are free. `remove_filters`
# does this for single channels, so that concatenations, groups, depthwise layers and flattening come out right
# too. Name two filters of one layer, and its partners lose theirs:

# %%
library = remove_filters(residual, {"0": [3, 7]}, example_input=x)
shapes = {name: tuple(library.get_submodule(name).weight.shape[:2]) for name in makers}
assert all(shapes[name][0] == (14 if root(name) == "0" else 16) for name in makers)
print("(filters, inputs):", shapes)

# %%
gaps = {}
for kind, network in coupled_networks().items():
    small, masked = (f(network, 0.5, example_input=x) for f in (remove_filters, mask_filters))
    with torch.no_grad():
        gaps[kind] = (small(x) - masked(x)).abs().max().item()
print({kind: f"{gap:.0e}" for kind, gap in gaps.items()})

# %% [markdown]
# **A whole layer** can go where its output has the shape of its input: then the input simply passes on. In a residual network
# that is natural, because every block only *adds* something to its input.

# %%
from course_lib.pruning.structured import remove_layer

shallow = copy.deepcopy(residual)
shallow[4] = nn.Identity()
library = remove_layer(residual, "4", example_input=x)
with torch.no_grad():
    assert torch.equal(shallow(x), library(x))
count = lambda net: sum(p.numel() for p in net.parameters())
print(f"{count(residual):,} parameters, without the second block {count(library):,}")

# %% [markdown]
# What it cannot follow it refuses, and the network stays as it was:

# %%
from course_lib.errors import CourseError

mixing = nn.Sequential(nn.Conv2d(1, 16, 3), nn.GroupNorm(4, 16), nn.Conv2d(16, 8, 3))
try:
    remove_filters(mixing, 0.5, example_input=x)
except CourseError as error:
    print(error)

# %% [markdown]
# ## 4 · Play
#
# Your first network: its 16 filters as columns, their slices in the second layer below them. Click a filter, or move the
# ring with the arrow keys and press Enter.
# 1. Remove one filter of the first layer. What vanishes in the second? Now a row of the second: what vanishes behind it?
# 2. Take the weaker half of both. MACs, parameters and time: which falls most, which least, and why?
# 3. The stronger half instead: what says the accuracy about the score?

# %% tags=["setup", "widget"]
from course_lib.widgets.structured_pruning import filter_surgery

filter_surgery(nets[0], folds[0].validation.x, folds[0].validation.y)

# %% [markdown]
# ## 5 · Evidence
#
# **What does structure cost?** Filters removed, or as many parameters' worth of single weights (magnitude, global), then the
# same steps of retraining. Our layers are narrow, so we round to multiples of 4 filters, not of 8 (why at all: section 6).

# %%
from course_lib.experiments.structured_pruning import SHARES, compared, fresh, further, macs, smaller
from course_lib.measure import parameter_count

results = {share: compared(nets, folds, share, steps=STEPS) for share in SHARES}
sizes = {share: parameter_count(smaller(nets[:1], folds, share)[0]) for share in SHARES}
print("parameters left:", sizes, "of", parameter_count(nets[0]))

# %%
viz.curves(
    SHARES,
    {name: [summarise(results[share][name]) for share in SHARES] for name in results[0.5]},
    xlabel="share of the filters removed (or parameters' worth of weights)", ylabel="test accuracy",
    levels={"dense": summarise(dense).mean}, percent=True,
    caption="After the cut much is lost; retraining brings most of it back.",
)

# %% [markdown]
# **Is it worth inheriting weights?** Liu and colleagues (2019) trained pruned architectures from scratch. Ours, half the
# filters: new random weights, with the steps of the retraining alone, or with all that the pruned network has had.

# %%
small = smaller(nets, folds, 0.5)
budgets = (STEPS, BEFORE + STEPS)
scratch = {n: test_accuracies(further(fresh(small), folds, steps=n), folds) for n in budgets}
print(f"cut and retrained, {STEPS} steps: {summarise(results[0.5]['filters, retrained']):%}")
for steps, accuracies in scratch.items():
    print(f"from scratch, {steps} steps:      {summarise(accuracies):%}")

# %% [markdown]
# **Whole layers.** Which block can a network spare? Three small residual networks: each block is removed alone, then the
# cheapest one (chosen on the validation split) goes, with 100 steps of retraining:

# %%
from course_lib.experiments.structured_pruning import trained_residuals
from course_lib.training import evaluate, fit

residuals = trained_residuals(folds[:3], steps=250)

# %%
whole, removed = test_accuracies(residuals, folds[:3]), []
for net, data in zip(residuals, folds):
    shallow = {name: remove_layer(net, name, example_input=data.train.x[:2]) for name in ("3", "4", "5")}
    left = {name: evaluate(cut, data.validation).accuracy for name, cut in shallow.items()}
    best = max(left, key=left.get)
    fit(shallow[best], data.train, steps=100, lr=2e-3)
    removed.append(evaluate(shallow[best], data.test).accuracy)
    print({f"without block {int(name) - 2}": f"{accuracy:.1%}" for name, accuracy in left.items()})
print(f"whole {summarise(whole):%}, without the cheapest block, retrained {summarise(removed):%}")

# %% [markdown]
# **The clock.** A VGG-11 at half width, 3×32×32 images. Four versions take turns, so that a busy moment hits all of
# them; a ratio is taken in every turn, and we show its median and middle half.

# %%
from course_lib.experiments.structured_pruning import ratios, side_by_side
from course_lib.models import vgg
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores

torch.manual_seed(0)
vgg11, images = vgg("vgg11", width=0.5).eval(), torch.rand(4, 3, 32, 32)
scattered = masks_from_scores(magnitude_scores(vgg11), 0.9)
versions = {
    "dense": vgg11,
    "90 % zeros": apply_masks_(copy.deepcopy(vgg11), scattered),
    "filters masked": mask_filters(vgg11, 0.5, example_input=images),
    "filters removed": remove_filters(vgg11, 0.5, example_input=images),
}
times = side_by_side({name: lambda net=net: net(images) for name, net in versions.items()}, turns=25)

# %%
share = macs(versions["filters removed"], (3, 32, 32)) / macs(vgg11, (3, 32, 32))
clock = {name: ratios(ms, times["dense"]) for name, ms in times.items()}
for name, (middle, low, high) in clock.items():
    print(f"{name:16} {middle:.2f} × the dense time (middle half {low:.2f} to {high:.2f})")
print(f"MACs after removal: {share:.2f} × the dense ones")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "Lose more" is a paired difference
# whose mean, over the shares 0.25 and 0.5, lies above zero; "comes near" is within two points; retraining and too few
# steps must show beyond two standard errors. The clock is reported and not judged: a busy machine must not turn a
# lesson red.

# %%
from course_lib.evidence import Claim, evidence

mean_of_levels = lambda name: [(a + b) / 2 for a, b in zip(results[0.25][name], results[0.5][name])]
loss = paired_difference(mean_of_levels("weights, retrained"), mean_of_levels("filters, retrained"))
healed = paired_difference(results[0.5]["filters, retrained"], results[0.5]["filters, cut"])
at_most = paired_difference(results[0.75]["weights, retrained"], results[0.75]["filters, retrained"])
short, full = (paired_difference(scratch[steps], results[0.5]["filters, retrained"]) for steps in scratch)
block = paired_difference(removed, whole)
written = lambda name: "{:.2f} × ({:.2f} to {:.2f})".format(*clock[name])
percent = 100 * clock["filters removed"][0]
liu = "matches or beats fine-tuning (Liu 2019)"

# %%
evidence(
    Claim("removed = masked, five networks", "", f"{max(gaps.values()):.0e}", max(gaps.values()) <= 1e-5),
    Claim("filters lose more than weights", "", f"{loss:points}", loss.mean > 0),
    Claim("… at 0.75 of the filters", "", f"{at_most:points}", None),
    Claim("retraining heals the cut (0.5)", "", f"{healed:points}", healed.low > 0),
    Claim("from scratch, all the steps, comes near", liu, f"{full:points}", full.mean > -0.02),
    Claim("from scratch, only the retraining's steps", "", f"{short:points}", short.high < 0),
    Claim("a block removed and retrained", "", f"{block:points}", None),
    Claim(f"time, half the filters (MACs {share:.2f} ×)", "", written("filters removed"), None),
    Claim("time with 90 % zeros", "", written("90 % zeros"), None),
)

# %% [markdown]
# And your bets:

# %%
bet_time.reveal(round(percent), f"Half of the filters read half of the channels: {share:.0%} of the MACs.")

# %%
at_half = paired_difference(results[0.5]["weights, retrained"], results[0.5]["filters, retrained"])
bet_loss.reveal(round(100 * at_half.mean, 1), "At half of the filters, the mean over five folds.")

# %% [markdown]
# ## 6 · Where it fails
#
# **Odd widths.** Processors work in blocks. Here is a single convolution with as many filters as channels, and its time
# for each multiplication, relative to 32 channels:

# %%
WIDTHS = [16, 24, 32, 35, 40, 48, 64]
convs = {n: nn.Conv2d(n, n, 3, padding=1) for n in WIDTHS}
inputs = {n: torch.rand(8, n, 14, 14) for n in WIDTHS}
per_width = side_by_side({n: lambda n=n: convs[n](inputs[n]) for n in WIDTHS}, turns=40)
price = {n: ratios(per_width[n], per_width[32])[0] * (32 / n) ** 2 for n in WIDTHS}
viz.curves(
    WIDTHS, {"time per MAC, against 32 channels": list(price.values())}, levels={"its share": 1.0},
    xlabel="channels", ylabel="relative time per MAC",
    caption="Above the dashed line, a layer pays more than its share of multiplications.",
)

# %%
took = ratios(per_width[35], per_width[32])[0]
print(f"35 channels against 32: {(35 / 32) ** 2:.2f} × the MACs, {took:.2f} × the time")

# %% [markdown]
# A layer cut to an odd width can pay more than its share, so `remove_filters` keeps a multiple of 8 by default. Read from your
# curve which multiple your processor likes best; with wide vector units it is 16, and `round_to=16` asks for it.
#
# **MACs are not milliseconds.** A small network's time is mostly the fixed cost of calling each layer:

# %%
pair = {"whole": nets[0], "half the filters": small[0]}
tiny = side_by_side({name: lambda net=net: net(x[:1]) for name, net in pair.items()}, turns=40)
middle, low, high = ratios(tiny["half the filters"], tiny["whole"])
left = macs(small[0], folds[0].input_shape) / macs(nets[0], folds[0].input_shape)
print(f"one digit: {left:.2f} × the MACs, {middle:.2f} × the time (middle half {low:.2f} to {high:.2f})")

# %% [markdown]
# **And the accuracy?** Structure is a coarse knife: at equal size it loses more, as long as cuts are moderate (see the
# table; at 0.75 of the filters the order may turn). A fresh start with all the steps comes near: much of the value is
# in the *shape*. What you inherit with the weights is time.
#
# ## 7 · In practice
#
# [Torch-Pruning](https://github.com/VainF/Torch-Pruning) builds the same map of couplings as a **dependency graph** (Fang et
# al. 2023): a node for each layer's inputs and for its outputs, an edge where cutting one forces a cut in the other. It runs
# the network once and reads the graph that autograd left. You then ask for a *group*, all that must go together:
#
# ```python
# import torch_pruning as tp
# graph = tp.DependencyGraph().build_dependency(model, example_inputs=x)
# group = graph.get_pruning_group(model.conv1, tp.prune_conv_out_channels, idxs=[3, 7])
# group.prune()  # in place
# ```
#
# It knows more layers than ours (attention, recurrent ones) and brings pruners for whole training runs; it changes the
# network it is given, ours returns a copy. Ours on a network of the real size:

# %%
from course_lib.measure import latency

big = vgg("vgg16", batch_norm=True)
cut_big = lambda: remove_filters(big, 0.5, example_input=torch.zeros(1, 3, 32, 32))
ms = latency(cut_big, runs=5, warmup=1)
print(f"VGG-16: {parameter_count(big):,} parameters -> {parameter_count(cut_big()):,}; removing takes {ms}")

# %% [markdown]
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you cut conv, batch norm and conv, find a channel's columns behind a flatten, prune a residual pair,
# judge whole blocks, and set the clock against MACs. Then **lesson 08** keeps all the weights, and gives each fewer bits.
#
# - Li, Kadav, Durdanovic, Samet, Graf 2017, *Pruning Filters for Efficient ConvNets*, ICLR.
# - Liu, Sun, Zhou, Huang, Darrell 2019, *Rethinking the Value of Network Pruning*, ICLR.
# - Fang, Ma, Song, Mi, Wang 2023, *DepGraph: Towards Any Structural Pruning*, CVPR.
