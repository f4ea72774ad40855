# %% [markdown]
# # 02 · Magnitude pruning: which weights can go?
#
# *Most weights of a trained network can simply be set to zero. In this lesson you find out how many, which ones,
# and what brings the accuracy back.*
#
# **35 minutes.** You need: PyTorch basics and lesson 00; lesson 01 helps.
#
# At the end you can
# - build a mask of exactly the size you want, globally or layer by layer, for weights, kernels or filters;
# - retrain a pruned network so that its zeros stay zeros;
# - say how much a network can spare, with error bars, and what its zeros are *not* good for.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=2)

# %% [markdown]
# The next cell trains one network (lesson 01's LeNet-300-100, for 64 pixels) for each of five folds of the data, all
# five at once. Trial *k* starts from seed *k* and is tested on fold *k*, so every image is tested exactly once. They
# are *dense*: nothing is pruned yet. (`DATA = "mnist"` runs the whole lesson on MNIST, in some minutes.)

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies, trained
from course_lib.models import lenet_300_100

DATA, TRIALS, STEPS = "digits", 5, 600
folds = [load(DATA, fold=fold) for fold in range(TRIALS)]
nets = trained(lambda: lenet_300_100(folds[0].input_shape), folds, steps=STEPS)
dense = test_accuracies(nets, folds)
print(f"{folds[0]}\ntest accuracy of the dense networks: {summarise(dense):%}")

# %% [markdown]
# ## 1 · Predict
#
# Lock in your bets. Nobody grades them; the lesson measures both below.

# %%
from course_lib.checking import predict

bet_plain = predict(
    "plain", unit="% of the weights",
    question="What share of the weights can go before accuracy falls by one point, WITHOUT retraining?",
)
bet_plain

# %%
bet_retrained = predict(
    "retrained", question="And WITH retraining after the cut?", unit="% of the weights"
)
bet_retrained

# %% [markdown]
# ## 2 · The idea
#
# In 2015 the best image networks held 60 to 140 million weights. Song Han and colleagues wanted them on a phone, where
# fetching one weight from main memory costs over a hundred times the multiplication it is fetched for (lesson 01).
# Fewer weights, less energy. But which?
#
# Their answer is the simplest there is. A weight's score is its size, and the lowest scores go:
#
# $$s_i = |w_i| \qquad m_i = \begin{cases} 0 & s_i \text{ is among the } \mathrm{round}(\text{sparsity} \cdot n) \text{ lowest} \\ 1 & \text{else} \end{cases} \qquad w \leftarrow m \odot w$$
#
# Then **retrain** with the mask in force, and **repeat**. The idea is older (see lesson 04), but it was this paper
# (*Learning both Weights and Connections*, NIPS 2015) that took a factor of 9 from AlexNet and 13 from VGG-16 without
# loss of accuracy.
#
# Why should it work? Look at the weights of a trained layer.

# %%
from course_lib import viz

weight = nets[0][1].weight.detach()  # (300, pixels): the first layer of the first network
viz.histogram(
    weight, xlabel="weight", threshold=float(weight.abs().median()),
    caption="Half of the first layer's weights lie in the hatched band around zero.",
)

# %% [markdown]
# ## 3 · Build it
#
# A technique in this course is three verbs: **score**, **mask**, **apply**. Here they are for one layer. Sorting the
# scores gives a rank to each weight, so exactly as many go as you ask for, also when scores are equal.

# %%
import torch

scores = weight.abs()  # score
sparsity = 0.5
drop = round(sparsity * weight.numel())
order = scores.flatten().argsort(stable=True)  # positions, from the smallest to the largest magnitude

mask = torch.ones(weight.numel(), dtype=torch.bool)  # True = keep
mask[order[:drop]] = False  # mask
mask = mask.view_as(weight)
print(f"{int((~mask).sum()):,} of {mask.numel():,} weights go")

# %%
import copy

from course_lib.training import evaluate

net = copy.deepcopy(nets[0])  # the original stays dense
with torch.no_grad():
    net[1].weight *= mask  # apply
before, after = evaluate(nets[0], folds[0].test), evaluate(net, folds[0].test)
print(f"accuracy {before.accuracy:.1%} -> {after.accuracy:.1%} with half of the first layer gone")

# %% [markdown]
# `course_lib` does the same for a whole network. Its masks are dictionaries keyed by parameter name (`1.weight`: of the
# network's module 1, its first linear layer). The same answer?

# %%
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores, sparsity_of

ours = masks_from_scores({"1.weight": magnitude_scores(nets[0])["1.weight"]}, sparsity=0.5)
assert torch.equal(ours["1.weight"], mask)
print(f"the same mask; sparsity {sparsity_of(ours):.3f}")

# %% [markdown]
# **Other scores.** Size is one opinion about importance. Three more, each a dictionary of the same shape:
# - *gradient × weight*: to first order, removing a weight changes the loss by $|w \cdot \partial L / \partial w|$;
# - *activity*: how often the unit that a weight feeds is above zero; a silent unit can go with all its weights (the
#   classes of the output layer always stay);
# - *random*: the control. A method that does not beat it has shown nothing.

# %%
from course_lib.pruning import activity_scores, gradient_scores, random_scores

criteria = {
    "magnitude": lambda net, data: magnitude_scores(net),
    "gradient × weight": lambda net, data: gradient_scores(net, data.train.x[:1000], data.train.y[:1000]),
    "activity": lambda net, data: activity_scores(net, data.train.x[:1000]),
    "random": lambda net, data: random_scores(net, seed=data.test.y.sum().item()),
}
for name, score_of in criteria.items():
    print(name, {layer: f"{s.mean():.3g}" for layer, s in score_of(nets[0], folds[0]).items()})

# %% [markdown]
# **Scope.** Rank all layers together (`"global"`), or each on its own (`"layer"`)? One global ranking may take much from
# one layer and little from another:

# %%
for scope in ("global", "layer"):
    masks = masks_from_scores(magnitude_scores(nets[0]), 0.9, scope=scope)
    per_layer = {name: f"{1 - m.float().mean():.2f}" for name, m in masks.items()}
    print(f"{scope:6} sparsity of each layer: {per_layer}")

# %% [markdown]
# **Granularity.** Weights may go one by one, or in groups that a computer can skip. A *filter* is all that makes one output
# channel, a *kernel* what it takes from one input channel, a *vector* a row of that. A group's score is the mean of its
# weights' scores. Below: which weights of a convolution stay.

# %%
from course_lib.models import small_cnn

torch.manual_seed(0)
convolution = small_cnn(folds[0].input_shape)[3].weight  # (32, 16, 3, 3), not trained
kept = {
    granularity: masks_from_scores({"w": convolution.abs()}, 0.5, granularity=granularity)["w"][:16, :8]
    for granularity in ("weight", "vector", "kernel", "filter")
}
viz.images(
    {name: m.permute(0, 2, 1, 3).reshape(48, 24).float() for name, m in kept.items()},
    caption="Black stays, white goes, in ever larger groups (16 of 32 filters; each row of blocks is one).",
    alt="Four masks of 48 by 24 pixels: single pixels, rows of three, blocks, whole rows of blocks.",
)

# %% [markdown]
# **Retraining** with the mask in force. It is not enough to zero the gradient of a pruned weight: an optimiser with
# momentum remembers older gradients and moves the weight all the same. So the mask acts on the *weights*, after every
# step. (`fit(..., masks=masks)` does this for you.)

# %%
from course_lib.training import adam, batch_rows

masks = masks_from_scores(magnitude_scores(nets[0]), sparsity=0.9)
net, train = apply_masks_(copy.deepcopy(nets[0]), masks), folds[0].train
print(f"pruned:    {evaluate(net, folds[0].test).accuracy:.1%}")
step = adam(list(net.parameters()), lr=1.2e-3)
for rows in batch_rows(len(train), batch_size=60, steps=300, seed=0):
    net.zero_grad()
    torch.nn.functional.cross_entropy(net(train.x[rows]), train.y[rows]).backward()
    step()
    apply_masks_(net, masks)  # the zeros stay zeros
print(f"retrained: {evaluate(net, folds[0].test).accuracy:.1%}")

# %% [markdown]
# ## 4 · Play
#
# Drag the threshold on the histogram: it is your network, `nets[0]`. Watch three things.
# 1. Which pixels lose their weights first? (Hint: what is at the left and right edge of every digit?) The paper's figure
#    4 shows the same on MNIST. It takes the *weight decay* these networks were trained with (every weight is pulled
#    towards zero a little): a weight that nothing asks for shrinks away. With `decay=0` in `trained(...)` it would stay where it started.
# 2. Where is the knee, the place where accuracy begins to fall?
# 3. Switch the scope at a sparsity of 0.9: which layer pays?

# %% tags=["setup", "widget"]
from course_lib.widgets.magnitude_pruning import pruning_threshold

pruning_threshold(nets[0], folds[0].validation.x, folds[0].validation.y)

# %% [markdown]
# ## 5 · Evidence
#
# **Without retraining.** Every criterion, at every sparsity, on all five networks. Error bars are one standard
# deviation over the trials.

# %%
from course_lib.experiments.magnitude_pruning import pruned

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def accuracies(score_of, sparsity, networks=nets, **how):
    masks = [masks_from_scores(score_of(net, data), sparsity, **how) for net, data in zip(networks, folds)]
    return test_accuracies(pruned(networks, masks), folds)


plain = {name: [accuracies(score_of, level) for level in LEVELS] for name, score_of in criteria.items()}
viz.curves(
    LEVELS, {name: [summarise(trials) for trials in rows] for name, rows in plain.items()},
    xlabel="sparsity", ylabel="test accuracy", levels={"dense": summarise(dense).mean}, percent=True,
    caption="Magnitude keeps its accuracy longest; activity falls even below random.",
)

# %% [markdown]
# Two surprises. *Gradient × weight*, which sounds wiser, loses to plain size: a first-order estimate holds for small
# changes, and removing a weight is a large one (lesson 04 goes one derivative further). And *activity* can lose even to
# random, because it takes all weights of a unit at once: a coarse cut. More on that below.
#
# **With retraining, and in rounds.** Each network is cut and then trained for 300 steps with its mask. "In rounds" does
# this again and again, each round starting from the last one's network: this is what Han and colleagues call iterative.

# %%
from course_lib.experiments.magnitude_pruning import in_rounds, retrained

HIGH = [0.5, 0.75, 0.9, 0.95, 0.98, 0.99]
once = {level: test_accuracies(retrained(nets, folds, level, steps=300), folds) for level in HIGH}

# %%
by_round = in_rounds(nets, folds, HIGH, steps=300)
rounds = {level: test_accuracies(by_round[level], folds) for level in HIGH}
cut = {level: accuracies(criteria["magnitude"], level) for level in HIGH}
curves = {"cut": cut, "cut, retrained": once, "in rounds": rounds}
viz.curves(
    HIGH, {name: [summarise(row[level]) for level in HIGH] for name, row in curves.items()},
    xlabel="sparsity", ylabel="test accuracy", levels={"dense": summarise(dense).mean}, percent=True,
    caption="Retraining moves the knee from about half to about nine tenths; rounds move it further.",
)

# %% [markdown]
# By its last round a network has been retrained once for every point of the curve, the single cut only once. **Is it the rounds, or just the
# training?** The control: one cut to 0.99, then as many steps as all six rounds had together. (A round must be long
# enough for its cut to heal. 300 steps are 15 epochs of the digits, but a third of an epoch of MNIST: there the patient
# cut wins, so the table below judges this row on the digits only.) The first line shows a milder sparsity: read from it
# whether the rounds matter there too.

# %%
patient = test_accuracies(retrained(nets, folds, 0.99, steps=300 * len(HIGH)), folds)
milder = test_accuracies(retrained(nets, folds, 0.95, steps=300 * 4), folds)  # as four rounds have
print(f"0.95: one cut, as many steps {summarise(milder):%}, four rounds {summarise(rounds[0.95]):%}")
print(f"one cut,  300 steps:  {summarise(once[0.99]):%}")
print(f"one cut, {300 * len(HIGH)} steps:  {summarise(patient):%}")
print(f"six rounds of 300:    {summarise(rounds[0.99]):%}")

# %% [markdown]
# **Scope.** The same cuts, each layer on its own, then retrained:

# %%
by_layer = {}
for level in HIGH[2:]:
    layered = retrained(nets, folds, level, steps=300, scope="layer")
    by_layer[level] = test_accuracies(layered, folds)
    print(f"{level}: global {summarise(once[level]):%}, by layer {summarise(by_layer[level]):%}")

# %% [markdown]
# **Granularity** needs convolutions, so here is a small convolutional network. To compare like with like, both of its
# convolutions lose the same share of their weights at every granularity; the last layer stays dense.

# %%
cnns = trained(lambda: small_cnn(folds[0].input_shape), folds, steps=400)
dense_cnn = test_accuracies(cnns, folds)
print(f"small CNN, dense: {summarise(dense_cnn):%}")

# %%
SHARES = [0.25, 0.375, 0.5, 0.625, 0.75]
of_convolutions = lambda net, data: {n: s for n, s in magnitude_scores(net).items() if s.dim() == 4}
grain = {
    name: [accuracies(of_convolutions, share, cnns, granularity=name, scope="layer") for share in SHARES]
    for name in ("weight", "vector", "kernel", "filter")
}
viz.curves(
    SHARES, {name: [summarise(trials) for trials in rows] for name, rows in grain.items()},
    xlabel="sparsity", ylabel="test accuracy", levels={"dense": summarise(dense_cnn).mean}, percent=True,
    caption="Single weights last longest, whole filters fall first (small CNN, no retraining).",
)

# %% [markdown]
# **Paper says / measured here.** The cell below fails if a claim does not hold. Differences are paired, trial by trial.
# The margins are what the words mean: "can go" is a mean drop of at most one point, "beats" is a gain of more than two
# standard errors, "by far" is twenty points. The paper's column is Han 2015 (figure 5, AlexNet).

# %%
from course_lib.evidence import Claim, evidence, paired_difference


def gain(ours, theirs):  # in each trial the mean over the levels; then mean and spread over trials
    per_trial = lambda rows: [sum(trial) / len(trial) for trial in zip(*rows)]
    return paired_difference(per_trial(ours), per_trial(theirs))


half, tenth = gain([plain["magnitude"][4]], [dense]), gain([once[0.9]], [dense])
at_once, in_patience = gain([rounds[0.99]], [once[0.99]]), gain([rounds[0.99]], [patient])
to_random = gain(plain["magnitude"][5:8], plain["random"][5:8])
to_layer = gain([once[level] for level in by_layer], by_layer.values())
to_kernel, to_filter = gain(grain["weight"], grain["kernel"]), gain(grain["weight"], grain["filter"])

# %%
fair = in_patience.low > 0 if DATA == "digits" else None  # None: reported, not judged
evidence(
    Claim("half can go without retraining", "about 1/2 (fig. 5)", f"{half:points}", half.mean > -0.01),
    Claim("nine tenths can go with retraining", "about 1/10 stay", f"{tenth:points}", tenth.mean > -0.01),
    Claim("rounds beat one cut (0.99)", "iterative best", f"{at_once:points}", at_once.low > 0),
    Claim("… and one cut with as many steps", "", f"{in_patience:points}", fair),
    Claim("global beats layer by layer, retrained", "", f"{to_layer:points}", to_layer.low > 0),
    Claim("single weights beat kernels", "", f"{to_kernel:points}", to_kernel.low > 0),
    Claim("single weights beat filters", "", f"{to_filter:points}", to_filter.low > 0),
    Claim("magnitude beats random by far", "", f"{to_random:points}", to_random.low > 0.2),
)

# %% [markdown]
# And your bets:

# %%
drops = {level: summarise(dense).mean - summarise(row).mean for level, row in zip(LEVELS, plain["magnitude"])}
knee = max(level for level in LEVELS if drops[level] <= 0.01)
bet_plain.reveal(100 * knee, f"The mean drop there is {100 * drops[knee]:.1f} points; one step on, over one.")

# %%
drops = {level: summarise(dense).mean - summarise(once[level]).mean for level in HIGH}
knee = max(level for level in HIGH if drops[level] <= 0.01)
bet_retrained.reveal(100 * knee, "The highest level measured above that costs at most one point.")

# %% [markdown]
# ## 6 · Where it fails
#
# **Zeros are not savings**, as long as the tensor stays dense: a zero is stored in four bytes and multiplied like any
# other number.

# %%
from course_lib.measure import latency, stored_bytes

net = apply_masks_(copy.deepcopy(nets[0]), masks_from_scores(magnitude_scores(nets[0]), 0.9))
x = folds[0].test.x[:32]
for name, model in (("dense", nets[0]), ("90 % zeros", net)):
    with torch.no_grad():
        print(f"{name:11} file {stored_bytes(model):,} bytes, batch of 32: {latency(lambda: model(x))}")

# %% [markdown]
# The file is as long, the clock as slow. Lesson 07 removes whole filters, lesson 11 stores only what is left.
#
# **"Small means unimportant" is a rule of thumb.** It needs layers of similar scale: multiply one layer's weights by 10
# and the next one's by 0.1. With ReLUs in between the network computes the same function, but magnitudes now say
# something else:

# %%
scaled = copy.deepcopy(nets[0])
with torch.no_grad():
    scaled[1].weight *= 10
    scaled[1].bias *= 10
    scaled[3].weight /= 10
same = torch.allclose(scaled(x), nets[0](x), rtol=1e-3, atol=1e-3)
for name, model in (("as trained", nets[0]), ("rescaled", scaled)):
    cut_net = apply_masks_(copy.deepcopy(model), masks_from_scores(magnitude_scores(model), 0.8))
    print(f"{name:11} sparsity 0.8: {evaluate(cut_net, folds[0].test).accuracy:.1%}")
print("the same function before the cut:", same)

# %% [markdown]
# Lesson 04 asks what a weight's removal really costs, and finds a score that no rescaling can fool.
#
# **Retraining flatters every method.** Prune at random, retrain, and much comes back too. That is why a claim about a
# criterion needs the random control, measured in the same way:

# %%
from course_lib.experiments.magnitude_pruning import retrained_with

masks = [masks_from_scores(random_scores(net, seed=seed), 0.9) for seed, net in enumerate(nets)]
control = retrained_with(masks, nets, folds, steps=300)
print(f"random, 0.9, cut:       {summarise(test_accuracies(pruned(nets, masks), folds)):%}")
print(f"random, 0.9, retrained: {summarise(test_accuracies(control, folds)):%}")
print(f"magnitude, retrained:   {summarise(once[0.9]):%}")

# %% [markdown]
# ## 7 · In practice
#
# PyTorch has this built in. `prune.global_unstructured` keeps the original weight and a mask, and multiplies them before
# every forward pass; `prune.remove` makes the zeros permanent. Biases are left alone unless you name them.

# %%
from torch.nn.utils import prune

net = copy.deepcopy(nets[0])
layers = [(layer, "weight") for layer in net if isinstance(layer, torch.nn.Linear)]
prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.9)
names = lambda layer: [name for name, _ in (*layer.named_parameters(), *layer.named_buffers())]
print("while pruning:", names(net[1]))
for layer, name in layers:
    prune.remove(layer, name)
ours = masks_from_scores(magnitude_scores(nets[0]), 0.9)
print("after remove: ", names(net[1]))
same = all(torch.equal(dict(net.named_parameters())[name] != 0, m) for name, m in ours.items())
print("the same weights as ours:", same)

# %% [markdown]
# **Do zeros ever pay by themselves?** Stored sparsely (CSR: only the non-zeros, with their places) they can, when there
# are enough of them. Where is the break-even on your computer?

# %%
import warnings

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
inputs, matrix = torch.randn(1024, 32), torch.randn(1024, 1024)
dense_ms = latency(lambda: matrix @ inputs, runs=15).median_ms
for sparsity in (0.5, 0.9, 0.95, 0.99):
    keep = masks_from_scores({"w": matrix.abs()}, sparsity)["w"]
    csr = (matrix * keep).to_sparse_csr()
    ratio = latency(lambda: csr @ inputs, runs=15).median_ms / dense_ms
    print(f"sparsity {sparsity:.2f}: CSR takes {ratio:5.2f} × the dense time")

# %% [markdown]
# At work you would also meet TensorFlow's Model Optimization Toolkit (`prune_low_magnitude`, with the schedules of
# lesson 03), NNCF, and processors that skip two zeros in every four weights (*2:4 sparsity*).
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the mask, both scopes, the gradient criterion, group scores, and a loop whose zeros
# survive momentum. Then **lesson 03** asks *when* to prune: once, in rounds, or little by little.
#
# - Han, Pool, Tran, Dally 2015, *Learning both Weights and Connections for Efficient Neural Networks*, NIPS.
# - Mao et al. 2017, *Exploring the Regularity of Sparse Structure in Convolutional Neural Networks*, CVPR workshops.
# - Blalock, Gonzalez Ortiz, Frankle, Guttag 2020, *What is the State of Neural Network Pruning?*, MLSys.
