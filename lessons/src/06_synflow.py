# %% [markdown]
# # 06 · SynFlow: prune before training, without data?
#
# *If nine weights in ten can go after training, why train them at all? Choosing them beforehand works, until a whole
# layer stands empty. One conservation law explains when that happens, and how to prevent it.*
#
# **35 minutes.** You need: lesson 02 (scores and masks).
#
# At the end you can
# - score weights before training with SNIP, GraSP and SynFlow, and check SynFlow's conservation law;
# - say which layer empties first, at which compression, and why;
# - test whether a mask's places matter, or only how many weights each layer keeps.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=6)

# %% [markdown]
# Five copies of a narrow VGG-16, a quarter as wide as the paper's, *never trained*. For the scores that need data: two
# digits of each class, scaled up to 32×32.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.experiments.synflow import SHAPE, few_images, fresh, in_pairs, scaled_up
from course_lib.models import vgg
from course_lib.pruning import prunable

SEEDS = range(5)
folds = [load("digits", fold=seed) for seed in SEEDS]
nets = [fresh(lambda: vgg("vgg16", width=1 / 4), seed) for seed in SEEDS]
batches = [few_images(data.train, per_class=2) for data in folds]
batches = [(scaled_up(x), y) for x, y in batches]
sizes = [weight.numel() for weight in prunable(nets[0]).values()]
total, most = sum(sizes), sum(sizes) / len(sizes)
print(f"{len(sizes)} layers, {total:,} weights; one weight a layer would be a compression of {most:,.0f}")

# %% [markdown]
# ## 1 · Predict
#
# *Compression*, or $\rho$, is lesson 01's ratio over the weights alone, weights before / weights left: 10 leaves one in ten.

# %%
from course_lib.checking import predict

bet_empty = predict(
    "empty",
    unit="times fewer weights",
    question="SNIP scores this VGG-16, one cut keeps the best. How far can it go before a layer is empty?",
)
bet_empty

# %%
bet_shuffle = predict(
    "shuffle",
    unit="points",
    question="SynFlow keeps 1 weight in 10. Shuffled inside each layer before training: what does it cost?",
)
bet_shuffle

# %% [markdown]
# ## 2 · The idea
#
# Lessons 02 to 05 train a large network first. In 2019 SNIP (Lee, Ajanthan, Torr) scored the weights of an *untrained* one on a
# single batch; GraSP (Wang, Zhang, Grosse) followed in 2020. Both failed in the same odd way: at high compression they
# removed *every* weight of some layer, while others still had thousands. Nothing flows through an empty layer: the network
# is dead.
#
# In 2020 Hidenori Tanaka, Daniel Kunin, Daniel Yamins and Surya Ganguli asked why, and found a law. Take any function
# $R$ of a network's output, and score
#
# $$S(w) = \frac{\partial R}{\partial w} \cdot w.$$
#
# If activations are *homogeneous*, $\varphi(c\,x) = c\,\varphi(x)$ for $c > 0$ (ReLU is), then the scores that enter a
# unit sum to those that leave it. So **every layer has the same total score**. A layer with more weights
# shares that total among more: its *average* score is lower. One cut therefore empties the *largest* layers first.
#
# The way out: remove a little, then score again. A layer that has shrunk shares the same total among fewer weights, so
# their scores have grown, and others go next. SynFlow does that, with positive scores that need no data:
# $R = \mathbf{1}^\top \prod_l |W_l| \, \mathbf{1}$, all that flows through the absolute weights from an input of ones.
#
# ## 3 · Build it
#
# **SynFlow's score.** In float64, because products of many small weights leave float32's range.

# %%
import copy

import torch


def my_flow(model, shape):
    twin = copy.deepcopy(model).double().eval()  # a copy that may be spoiled
    with torch.no_grad():
        for tensor in twin.state_dict().values():  # biases and batch norm too
            tensor.abs_()
    weights = prunable(twin)
    flow = twin(torch.ones(1, *shape, dtype=torch.float64)).sum()  # R
    gradients = torch.autograd.grad(flow, list(weights.values()))
    return flow.item(), {name: w.detach() * g for (name, w), g in zip(weights.items(), gradients)}


# %%
from course_lib.pruning import synflow_scores

R, scores = my_flow(nets[0], SHAPE)
theirs = synflow_scores(nets[0], input_shape=SHAPE)
assert all(torch.equal(scores[name], theirs[name]) for name in scores)
print("sum of the scores / R, layer by layer:")
print([round(float(score.sum()) / R, 9) for score in scores.values()])

# %% [markdown]
# **The law, unit by unit.** Weights are (out, in, …): what enters a channel is summed over its row, what leaves it over
# the next layer's column.

# %%
layers = list(scores.values())
enters = [score.flatten(1).sum(dim=1) for score in layers[:-1]]
leaves = [score.transpose(0, 1).flatten(1).sum(dim=1) for score in layers[1:]]
by_unit = max(float((a / b - 1).abs().max()) for a, b in zip(enters, leaves))
by_layer = max(abs(float(score.sum()) / R - 1) for score in layers)
print(f"{sum(map(len, enters))} channels; largest relative gap: {by_unit:.0e}; of layers: {by_layer:.0e}")

# %% [markdown]
# Equal totals, unequal sizes. So the average score mirrors the size:

# %%
from course_lib import viz

log10 = lambda values: torch.tensor(values).log10().tolist()
viz.curves(
    list(range(1, 15)),
    {
        "weights in the layer": log10([float(size) for size in sizes]),
        "average score / R": log10([float(score.mean()) / R for score in layers]),
    },
    xlabel="layer",
    ylabel="power of ten",
    caption="The larger a layer, the lower its average score: the two lines mirror each other.",
)

# %% [markdown]
# **SNIP** asks how strongly the loss $L$ feels a weight: $|w \cdot \partial L / \partial w|$ (lesson 02's *gradient ×
# weight*), divided by the sum over all weights. **GraSP** asks how much of the gradient's length would go with it:
# $w \cdot Hg$, with $H$ the second derivatives. It needs no $H$: the slope of $g^\top g_{\text{fixed}}$ is $Hg$. (Its
# authors divide the logits by 200 first: a *temperature*, of which lesson 12 says more.)

# %%
from torch.nn.functional import cross_entropy


def my_snip(model, x, y):
    weights = list(prunable(model).values())
    gradients = torch.autograd.grad(cross_entropy(model(x), y), weights)
    scores = [(w.detach() * g).abs() for w, g in zip(weights, gradients)]
    return [score / sum(s.sum() for s in scores) for score in scores]


def my_grasp(model, x, y, temperature=200):
    weights = list(prunable(model).values())
    g = torch.autograd.grad(cross_entropy(model(x) / temperature, y), weights, create_graph=True)
    slope = torch.autograd.grad(sum((a * a.detach()).sum() for a in g), weights)  # Hg
    return [w.detach() * hg for w, hg in zip(weights, slope)]


# %%
from course_lib.pruning import grasp_scores, snip_scores

for mine, library in ((my_snip, snip_scores), (my_grasp, grasp_scores)):
    theirs = library(nets[0], *batches[0]).values()
    assert all(torch.allclose(a, b) for a, b in zip(mine(nets[0], *batches[0]), theirs))
print("the same scores")

# %% [markdown]
# **SynFlow's loop.** An *iteration* scores and cuts; unlike a round, it trains nothing. After iteration $k$ of $n$ the
# fraction $\rho^{-k/n}$ is left: each one takes the same *share* of what is there. The authors take $n = 100$; twenty show
# that both versions agree.

# %%
from course_lib.pruning import apply_masks_, masks_from_scores, synflow


def my_synflow(model, compression, shape, iterations=100):
    pruned = copy.deepcopy(model)
    for k in range(1, iterations + 1):
        _, scores = my_flow(pruned, shape)  # what has gone scores 0, and stays gone
        masks = masks_from_scores(scores, 1 - compression ** (-k / iterations))
        apply_masks_(pruned, masks)
    return masks


mine = my_synflow(nets[0], 1000, SHAPE, iterations=20)
theirs = synflow.prune(nets[0], 1000, input_shape=SHAPE, iterations=20)
assert all(torch.equal(mine[name], theirs[name]) for name in mine)
print("weights left in each layer:", [int(mask.sum()) for mask in mine.values()])

# %% [markdown]
# ## 4 · Play
#
# Your first network, scored in five ways, cut once each; and one run of SynFlow's 100 iterations to the maximum.

# %% tags=["setup"]
from course_lib.experiments.synflow import METHODS, first_to_die, left_by_cut, left_by_synflow, scores_by

POWERS = [k / 20 for k in range(1, 98)]
TOTALS = [round(total / 10**power) for power in POWERS]
by_method = {name: scores_by(name, nets[0], *batches[0]) for name in METHODS}
by_method["one cut by SynFlow"] = by_method.pop("SynFlow")
left = {name: left_by_cut(scores, TOTALS) for name, scores in by_method.items()}
left["SynFlow"] = left_by_synflow(nets[0], input_shape=SHAPE)
dies = list(by_method["SNIP"]).index(first_to_die(by_method["SNIP"]))

# %% [markdown]
# 1. Press each *the end* button. Which layers die at random, and which by magnitude, SNIP or GraSP?
# 2. Compare *one cut by SynFlow* with *SynFlow*: the same score. Which of the 14 layers does the one cut starve?
# 3. Take SynFlow to its end. How many weights are left in each layer?

# %% tags=["setup", "widget"]
from course_lib.widgets.frame import Question
from course_lib.widgets.synflow import layer_survival

choices = ("one of the first four", "one of the middle ones, 5 to 13", "the last")
answer = choices[(dies >= 4) + (dies == 13)]
question = Question("One cut by SNIP: which layer is empty first?", answer=answer, choices=choices)
layer_survival(left, sizes, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **How far before a layer is empty?** For one cut there is an exact answer: a layer lives while its best weight does, so
# the cut may go down to the lowest of the layers' highest scores. Five networks, five ways:

# %%
from course_lib.evidence import summarise
from course_lib.experiments.synflow import critical_compression, critical_of_run


def one_cut(seed):
    scored = {name: scores_by(name, nets[seed], *batches[seed], seed=seed) for name in METHODS}
    return {name: critical_compression(scores) for name, scores in scored.items()}


rows = in_pairs(one_cut, SEEDS)
reached = {name: log10([row[name] for row in rows]) for name in METHODS}
reached["one cut by SynFlow"] = reached.pop("SynFlow")

# %%
others = in_pairs(lambda net: left_by_synflow(net, input_shape=SHAPE), nets[1:])
runs = [left["SynFlow"], *others]
reached["SynFlow"] = log10([critical_of_run(run, total) for run in runs])
for name, powers in reached.items():
    print(f"{name:18} 10^{summarise(powers):.2f}")
print(f"{'the maximum':18} 10^{log10([most])[0]:.2f}")

# %%
grid = [k / 10 for k in range(10, 49)]
died = lambda powers: [summarise([float(at > power) for power in powers]) for at in grid]
viz.curves(
    grid,
    {name: [s.mean for s in died(powers)] for name, powers in reached.items()},
    xlabel="log₁₀ of the compression",
    ylabel="networks with an empty layer",
    percent=True,
    caption="Of five networks each: one cut by SynFlow collapses first, its iterations last.",
)

# %% [markdown]
# On the paper's VGG-16, scores that need no data are quick to take. Its first layer has 1,728 weights, ours 432: a narrow
# network lets *random* cuts look bad.

# %%
paper_size = lambda: vgg("vgg16", n_classes=100)


def without_data(seed):
    net = fresh(paper_size, seed)
    return [critical_compression(scores_by(name, net, *batches[seed], seed=seed)) for name in METHODS[:2]]


full = dict(zip(METHODS, map(log10, zip(*map(without_data, SEEDS)))))
for name, powers in full.items():
    print(f"{name:10} on 14,761,664 weights: 10^{summarise(powers):.2f}")

# %% [markdown]
# **And accuracy?** A small network (three hidden layers of 100 units), pruned before training in five ways, then trained
# for 200 steps. Of four learning rates, two did best on validation images; this is the smaller of them.

# %%
from course_lib.experiments.synflow import accuracies, masks_by
from course_lib.models import mlp

small = lambda: mlp((64, 100, 100, 100, 10))
starts = [fresh(small, seed).float() for seed in SEEDS]
TRAIN = {"steps": 200, "lr": 8e-3}
masks, tested = {}, {}


def race_at(compression):
    masks[compression] = {name: masks_by(name, starts, folds, compression) for name in METHODS}
    tested[compression] = accuracies(masks[compression], starts, folds, **TRAIN)


race_at(10)

# %%
race_at(30)
race_at(100)
viz.curves(
    list(tested),
    {name: [summarise(tested[rho][name]) for rho in tested] for name in METHODS},
    xlabel="compression",
    ylabel="test accuracy",
    percent=True,
    logx=True,
    caption="Pruned before training: SynFlow falls last. The bars are standard deviations of five folds.",
)

# %% [markdown]
# **Do the places matter?** Frankle and others (2021) proposed sanity checks for pruning before training: shuffle each
# layer's mask; or keep the mask and draw new weights. For comparison: masks by magnitude *after* training, put on the
# first weights.

# %%
from course_lib.evidence import paired_difference
from course_lib.experiments.magnitude_pruning import magnitude_masks
from course_lib.pruning.lottery import shuffled_masks
from course_lib.training import fit_trials

trained = copy.deepcopy(starts)
fit_trials(trained, [data.train for data in folds], **TRAIN)
CHECKED = ("SNIP", "GraSP", "SynFlow", "after training")


def add_control(rho):
    late = {"after training": magnitude_masks(trained, 1 - 1 / rho)}
    masks[rho] |= late
    tested[rho] |= accuracies(late, starts, folds, **TRAIN)


def change(rho, alter=lambda mask, seed: mask, networks=starts):
    altered = {name: [alter(mask, seed) for seed, mask in enumerate(masks[rho][name])] for name in CHECKED}
    found = accuracies(altered, networks, folds, **TRAIN)
    return {name: paired_difference(found[name], tested[rho][name]) for name in CHECKED}


# %%
add_control(10)
shuffle = lambda mask, seed: shuffled_masks(mask, seed=seed)
shuffled = change(10, shuffle)
redrawn = change(10, networks=[fresh(small, seed + 50).float() for seed in SEEDS])
for name in CHECKED:
    told = f"shuffled {shuffled[name]:points}, new weights {redrawn[name]:points}"
    print(f"{name:15} {summarise(tested[10][name]):%}; {told}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Compressions are powers of ten, for a
# network a quarter as wide as the paper's; "outlives" means by more than two standard errors over paired networks.

# %%
from course_lib.evidence import Claim, evidence

ahead = lambda a, b: paired_difference(reached[a], reached[b])
longer = {name: ahead("SynFlow", name) for name in METHODS[:4]}
shorter = {name: ahead(name, "one cut by SynFlow") for name in METHODS[:4]}
share = [10**power / most for power in reached["SynFlow"]]
here = lambda name: f"10^{summarise(reached[name]).mean:.2f}"
order = paired_difference(full["random"], full["magnitude"])
before = ahead("SNIP", "magnitude")
at_100 = paired_difference(tested[100]["SynFlow"], tested[100]["SNIP"])
cost = [sum(shuffled[name].mean for name in CHECKED[:3]) / 3, shuffled["SynFlow"].mean]
late = paired_difference(tested[10]["after training"], tested[10]["SynFlow"])
first = min(shorter.values(), key=lambda gap: gap.low)
worst = max(by_unit, by_layer)
closest = min(longer.values(), key=lambda gap: gap.mean)

# %%
evidence(
    Claim("scores are conserved", "theorems 1, 2", f"to {worst:.0e}", worst < 1e-6),
    Claim("SynFlow outlives others tenfold", "10^6 against 10^3.5", f"×10^{closest:.2f}", closest.low > 1),
    Claim("… and nears the maximum", "10^6 of 10^6.02", f"{min(share):.0%} at least", min(share) > 0.3),
    Claim("one cut by it collapses first", "", here("one cut by SynFlow"), first.low > 0),
    Claim("magnitude before random, full size", "10^2.75, 10^3.25", f"apart 10^{order:.2f}", order.low > 0),
    Claim("magnitude before SNIP", "10^2.75, 10^3.5", f"apart 10^{before:.2f}", before.low > 0),
    Claim("SNIP and GraSP are alike", "10^3.5 both", f"{here('SNIP')}, {here('GraSP')}", None),
    Claim("SynFlow beats SNIP at 100", "10^2: 63.0 to 60.9 %", f"{at_100:points}", at_100.low > 0),
    Claim("shuffling: mean change, 3 scores, 10", "no loss", f"{100 * cost[0]:+.1f} points", cost[0] > -0.02),
    Claim("shuffling masks made after training", "a loss", f"{shuffled['after training']:points}", None),
    Claim("masks after training beat SynFlow's (10)", "they do", f"{late:points}", None),
)

# %%
bet_empty.reveal(round(10 ** summarise(reached["SNIP"]).mean), "The geometric mean of five networks.")

# %%
bet_shuffle.reveal(round(-100 * cost[1], 1), "At compression 10, paired over five folds.")

# %% [markdown]
# SNIP and GraSP are *not* alike here, perhaps because they see smooth grey digits where the paper has photographs, or
# because our network is narrow: `course run 06 --data digits` takes the paper's full shapes (minutes), and prints the
# paper's values beside ours.
#
# ## 6 · Where it fails
#
# **No empty layer is not yet a living network.** Random masks at 100: every layer has weights, but hardly a path is whole.
# In the paper too, accuracy falls to chance one or two steps of the grid before a whole layer is empty. We count the empty
# layer: it needs no training.

# %%
empty = sum(bool(synflow.collapsed_layers(mask)) for mask in masks[100]["random"])
print(f"random masks at 100: {empty} of 5 networks with an empty layer, ", end="")
print(f"test accuracy {summarise(tested[100]['random']):%}")

# %% [markdown]
# **When weights get few, places matter.** The same sanity check at compression 30:

# %%
add_control(30)
further = change(30, shuffle)
for name in CHECKED:
    print(f"{name:15} {summarise(tested[30][name]):%}, shuffled {further[name]:points}")

# %% [markdown]
# With three weights in a hundred, shuffling cuts the paths that a method had kept whole. So "only the layers' counts matter"
# is a finding about moderate compression.
#
# **Before training is a handicap.** Frankle and others found that all these methods stay below magnitude pruning *after*
# training, on larger networks that train longer. Our control is cut once, after 200 steps: it is no match for a
# careful schedule (lesson 03), and at 30 you see it behind.
#
# **The guarantee has conditions.** Its proof scores again after *each* removal. A hundred iterations take several weights at
# once, and on some networks (`course run 06` may show one) that empties a layer just before the maximum. And with an
# activation that is not homogeneous nothing is conserved, so it is refused:

# %%
from course_lib.errors import CourseError

try:
    synflow_scores(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh()), input_shape=(3,))
except CourseError as error:
    print(error)

# %% [markdown]
# ## 7 · In practice
#
# `torch.nn.utils.prune` takes masks from anywhere. It knows neither SNIP nor SynFlow, but puts their masks in
# force while an optimiser trains:

# %%
from torch.nn.utils import prune

net = copy.deepcopy(starts[0])
for name, mask in masks[30]["SynFlow"][0].items():
    prune.custom_from_mask(net.get_submodule(name.removesuffix(".weight")), "weight", mask)
net(folds[0].train.x[:60]).sum().backward()
gradient = net[1].weight_orig.grad
print("gradient where the mask is False:", float(gradient[~masks[30]["SynFlow"][0]["1.weight"]].abs().max()))

# %% [markdown]
# The dense weight and the mask both stay in memory, and a mask alone makes no step faster (lesson 01). What pruning before
# training would save needs sparse kernels, or the whole units that lesson 07 removes.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write SynFlow's schedules, its score, the exact test for an empty layer, and SNIP's score. Then
# **lesson 07** removes whole filters, so that the network really becomes smaller.
#
# - Tanaka, Kunin, Yamins, Ganguli 2020, *Pruning neural networks without any data by iteratively conserving synaptic flow*,
#   NeurIPS.
# - Lee, Ajanthan, Torr 2019, *SNIP: single-shot network pruning based on connection sensitivity*, ICLR.
# - Frankle, Dziugaite, Roy, Carbin 2021, *Pruning neural networks at initialization: why are we missing the mark?*, ICLR.
