# %% [markdown]
# # 04 · Optimal Brain Damage: what does a weight's removal cost?
#
# *A weight is worth as much as the loss rises when it goes. Its second derivative tells, and one backward pass gives it
# for every weight at once.*
#
# **40 minutes.** You need: lesson 02; what a derivative is.
#
# At the end you can
# - compute second derivatives layer by layer, and say where they are exact and where only estimates;
# - predict what a removal costs, and see how far the prediction carries;
# - remove a weight and let all others make up for it (Optimal Brain Surgeon, optional).

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=4)

# %% [markdown]
# The paper's own network: 2,578 parameters, digits of 16×16 pixels in the middle of 28×28, outputs pulled to +1 for the
# right class and to −1 for all others. Trial *k* starts from seed *k* and uses fold *k*.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.optimal_brain_damage import as_planes, objective, trained
from course_lib.training import evaluate

TRIALS, STEPS = 3, 400
folds = [load("digits", fold=fold) for fold in range(TRIALS)]

# %%
learn, unseen = [as_planes(f.train) for f in folds], [as_planes(f.test) for f in folds]
nets = trained(learn, steps=STEPS)
whole = [objective(net, split) for net, split in zip(nets, learn)]
accuracy = [evaluate(net, split).accuracy for net, split in zip(nets, unseen)]
print(f"squared error {summarise(whole):.2f}, test accuracy {summarise(accuracy):%}")

# %% [markdown]
# ## 1 · Predict
#
# Is the smallest weight always the least important?

# %%
from course_lib.checking import predict

bet_same = predict(
    "same", unit="%",
    question="Of the tenth of the weights that are smallest, what share is also among the cheapest tenth?",
)
bet_same

# %% [markdown]
# ## 2 · The idea
#
# In 1989 Yann LeCun, John Denker and Sara Solla wanted smaller networks for reading digits. Size was the usual measure of
# importance. They asked what one really wants to know: *how much does the loss E rise when a weight goes?* Nobody can try
# that for every weight, but a Taylor expansion tells:
#
# $$\delta E = \sum_i g_i\,\delta w_i + \tfrac12 \sum_i h_{ii}\,\delta w_i^2 + \tfrac12 \sum_{i \neq j} h_{ij}\,\delta w_i\,\delta w_j + O(\|\delta w\|^3)$$
#
# Three approximations make it cheap. **Extremal**: the network is trained, so $g_i = 0$. **Diagonal**: weights do not
# matter to each other, so $h_{ij}$ is left out. **Quadratic**: so are higher terms. Removing $w_k$ is $\delta w_k = -w_k$,
# and what is left is its **saliency**
#
# $$s_k = \tfrac12\, h_{kk}\, w_k^2.$$
#
# No rescaling fools it: where lesson 02 made weights ten times as large and the function stayed the same, $h_{kk}$ became a
# hundredth, and $s_k$ did not change.
#
# A picture for one weight: the loss as it moves, and the parabola that $h$ draws through the trained place.

# %% tags=["setup"]
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.pruning.obd import diagonal_hessian
from course_lib.training import fit

digits = folds[0].train
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))  # small
fit(net, digits, steps=1500, weight_decay=1e-3)
x, y = digits.x, digits.y
print(f"test accuracy {evaluate(net, folds[0].test).accuracy:.1%}")

# %%
from course_lib import viz

weight, h = net[3].weight, diagonal_hessian(net, x, y)["3.weight"]
place = divmod(int((h * weight**2).argmax()), 16)  # the dearest weight of the last layer
w, curve, parabola = weight[place].item(), [], []
share = [k / 10 for k in range(-2, 15)]  # 0: as trained, 1: removed
with torch.no_grad():
    for moved in share:
        weight[place] = w * (1 - moved)
        curve.append(F.cross_entropy(net(x), y).item())
    weight[place] = w
parabola = [curve[2] + h[place].item() * (w * moved) ** 2 / 2 for moved in share]
viz.curves(
    share, {"actual": curve, "parabola": parabola}, xlabel="moved towards 0 (1 = removed)", ylabel="loss",
    caption="The same bend; but weight decay stops short of the minimum: a slope is left.",
)

# %% [markdown]
# ## 3 · Build it
#
# Where do all the $h$ come from? From the chain rule, twice. Take it layer by layer, from the loss back.
#
# **The outputs.** With cross-entropy and softmax probabilities *p*, the first derivative by a logit is $p - \text{onehot}$,
# the second $p\,(1-p)$; both divided by the number of examples.

# %%
with torch.no_grad():
    x0 = x.flatten(1)  # (n, 64)
    x1 = torch.tanh(net[1](x0))  # (n, 16)
    p = net[3](x1).softmax(1)  # (n, 10)
    g2 = (p - F.one_hot(y, 10)) / len(y)  # ∂E/∂a
    h2 = p * (1 - p) / len(y)  # ∂²E/∂a²

# %% [markdown]
# **A linear layer**, $a_i = \sum_j w_{ij} x_j$. The slope of $a_i$ by $w_{ij}$ is $x_j$, by $x_j$ it is $w_{ij}$, and a
# second derivative takes the slope twice:
#
# $$\frac{\partial^2 E}{\partial w_{ij}^2} = \frac{\partial^2 E}{\partial a_i^2}\, x_j^2 \qquad \frac{\partial^2 E}{\partial x_j^2} \approx \sum_i w_{ij}^2\, \frac{\partial^2 E}{\partial a_i^2}$$
#
# The first is exact. The second leaves out the mixed derivatives between the $a_i$.
#
# **An activation**, $x = f(a)$, bends itself, so the gradient comes in:
# $\frac{\partial^2 E}{\partial a^2} = f'(a)^2\, \frac{\partial^2 E}{\partial x^2} + f''(a)\, \frac{\partial E}{\partial x}$.
# Without its last term (**Levenberg–Marquardt**) no $h$ can be negative.

# %%
with torch.no_grad():
    top = h2.T @ x1**2  # (10, 16): second derivatives of the last layer's weights
    g1, h1 = g2 @ net[3].weight, h2 @ net[3].weight ** 2  # by x1, (n, 16)
    slope = 1 - x1**2  # tanh'
    h1 = slope**2 * h1 - 2 * x1 * slope * g1  # by a1: tanh'' = -2 tanh tanh'
    bottom = h1.T @ x0**2  # (16, 64)

ours = {"1.weight": bottom, "3.weight": top}
library = diagonal_hessian(net, x, y)
assert all(torch.allclose(ours[name], library[name], rtol=1e-3, atol=1e-7) for name in ours)
print("the same as the library, weight by weight")

# %% [markdown]
# That is the whole method: one pass back, as cheap as a gradient. The library adds rules for convolutions (a shared weight
# gets the sum over its places), average and max pooling, ReLU and sigmoid.
#
# **Is it right?** The honest way: differentiate the gradient once more, for every weight. Of the large matrix we keep the diagonal.

# %%
def exact_diagonal(net, layer, x, y):
    weight = net[layer].weight
    gradient = torch.autograd.grad(F.cross_entropy(net(x), y), weight, create_graph=True)[0].flatten()
    rows = torch.autograd.grad(gradient, weight, torch.eye(len(gradient)), is_grads_batched=True)[0]
    return rows.flatten(1).diagonal().view_as(weight)  # (n weights)² numbers, for the diagonal only


few = slice(0, 200)
truth = {layer: exact_diagonal(net, layer, x[few], y[few]) for layer in (1, 3)}
found = diagonal_hessian(net, x[few], y[few])
for layer in truth:
    gap = (found[f"{layer}.weight"] - truth[layer]).norm() / truth[layer].norm()
    print(f"layer {layer}: relative error {gap:.1%}")

# %% [markdown]
# The last layer is exact, the hidden one an estimate: what was left out.
#
# **Exact and still cheap.** Write the loss's curvature by the outputs as a sum of ten squares,
# $\mathrm{diag}(p) - pp^\top = \sum_c s_c s_c^\top$. Ten ordinary backward passes, each squared example by example, give the
# **Gauss–Newton diagonal**. What it lacks is the outputs' own curvature. With ReLU and max pooling there is none: it *is*
# the Hessian's diagonal. With tanh there is some.

# %%
from course_lib.pruning.obd import gauss_newton_diagonal

torch.manual_seed(0)
relu_net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
fit(relu_net, digits, steps=600, weight_decay=1e-3)
for name, model in (("ReLU", relu_net), ("tanh", net)):
    right, ten = exact_diagonal(model, 1, x[few], y[few]), gauss_newton_diagonal(model, x[few], y[few])
    gap = (ten["1.weight"] - right).norm() / right.norm()
    print(f"{name}, hidden layer: relative error {gap:.1e}")

# %% [markdown]
# **And by sampling?** Hutchinson's estimate, known from large networks, averages $v \odot Hv$ over random signs *v*. Here
# are 100 samples of it beside the others, by how they *rank* curvatures and saliencies (1: as the exact ones, 0: at
# random). All off-diagonal entries act as noise, and there are many.

# %%
from course_lib.experiments.optimal_brain_damage import rank_correlation


def hutchinson(net, layer, x, y, samples=100):
    weight = net[layer].weight
    gradient = torch.autograd.grad(F.cross_entropy(net(x), y), weight, create_graph=True)[0]
    signs = torch.randint(0, 2, (samples, *weight.shape)).float() * 2 - 1
    products = torch.autograd.grad(gradient, weight, signs, is_grads_batched=True)[0]  # all Hv at once
    return (signs * products).mean(0)


estimates = {
    "recursion, 1 pass": found["1.weight"],
    "Gauss-Newton, 10 passes": gauss_newton_diagonal(net, x[few], y[few])["1.weight"],
    "Hutchinson, 100 passes": hutchinson(net, 1, x[few], y[few]),
}

# %%
size = net[1].weight.detach() ** 2
for name, h in (estimates | {"magnitude alone": torch.ones_like(size)}).items():
    bends = f", curvatures {rank_correlation(h, truth[1]):.3f}" if name in estimates else ""
    print(f"{name:24} saliencies {rank_correlation(h * size, truth[1] * size):.3f}{bends}")

# %% [markdown]
# An estimate that ranks saliencies no better than magnitude alone, the last line, is not worth its passes.
#
# ## 4 · Play
#
# This is your small tanh network, one weight at a time. Before you drag, read the two ranks: what would magnitude do with
# this weight, and what would saliency?
# 1. *Small but dear*: why is it dear? (Look at h.)
# 2. *The dearest*: is the parabola too high or too low at zero, and what bends the true curve?
# 3. Walk through the weights. Are there any whose removal *lowers* the loss?

# %% tags=["setup", "widget"]
from course_lib.widgets.optimal_brain_damage import weight_on_its_curve

weight_on_its_curve(net, x[:300], y[:300], diagonal_hessian(net, x[:300], y[:300]))

# %% [markdown]
# ## 5 · Evidence
#
# **Without retraining.** Four orders of removal on the paper's network: random, magnitude, and saliency with *h* from the
# recursion or from Gauss–Newton. The upward axis is the paper's: the training error in decibels, here above the whole
# network's (+3 dB is twice the error).

# %%
from course_lib.experiments.optimal_brain_damage import (
    ORDERS, decibels, in_parallel, in_rounds, predicted_rise, score, without,
)

scores = {o: in_parallel(lambda k: score(o, nets[k], learn[k], seed=k), TRIALS) for o in ORDERS}

# %%
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]


def rise(order, level):  # in each trial, in dB above the whole network
    cut = lambda k: objective(without(nets[k], scores[order][k], level), learn[k])
    return [decibels(now / before) for now, before in zip(in_parallel(cut, TRIALS), whole)]


actual = {order: [rise(order, level) for level in LEVELS] for order in ORDERS}
viz.curves(
    LEVELS, {order: [summarise(row) for row in rows] for order, rows in actual.items()},
    xlabel="sparsity", ylabel="error above the whole network's, dB",
    caption="Random removal ruins the network at once; saliency keeps its error low longest.",
)

# %% [markdown]
# **Predicted against actual.** The sum of all saliencies that went is a prediction. How long does it hold?

# %%
def foretold(order, level):
    gain = [predicted_rise(s, level) / before for s, before in zip(scores[order], whole)]
    return [decibels(1 + part) for part in gain]


predicted = {order: [foretold(order, level) for level in LEVELS] for order in ORDERS[2:]}
lines = {f"{order}, {kind}": [summarise(row) for row in rows[order]]
         for order in ORDERS[2:] for kind, rows in (("actual", actual), ("predicted", predicted))}
viz.curves(
    LEVELS, lines, xlabel="sparsity", ylabel="error above the whole network's, dB",
    caption="Prediction and fact start together, then part: the recursion's first, Gauss–Newton's later.",
)

# %% [markdown]
# **With retraining.** The paper's recipe: delete the lowest, retrain, compute saliencies anew, delete again. Four rounds of
# 30 steps. Two controls: random deletion, and the whole network, trained on just as long.

# %%
ROUNDS = [0.2, 0.4, 0.6, 0.8]
after = {}
for order in ORDERS[:3]:
    after[order] = in_parallel(lambda k: in_rounds(order, nets[k], learn[k], steps=30, seed=k), TRIALS)
nothing = {"steps": 30, "rounds": [0.0] * 4}
after["none"] = in_parallel(lambda k: in_rounds("random", nets[k], learn[k], seed=k, **nothing), TRIALS)

# %%
def measured(order, splits, measure):  # one list of trials for each round
    pairs = list(zip(after[order], splits))
    return [[measure(path[i], split) for path, split in pairs] for i in range(len(ROUNDS))]


error = {order: measured(order, learn, objective) for order in after}
error = {o: [[decibels(a / b) for a, b in zip(row, whole)] for row in rows] for o, rows in error.items()}

# %%
right_share = lambda net, split: evaluate(net, split).accuracy
tested = {order: measured(order, unseen, right_share) for order in after}
for order, rows in tested.items():
    told = [f"{share}: {summarise(row):%}" for share, row in zip(ROUNDS, rows)]
    print(f"{order:9} test accuracy", ", ".join(told))
viz.curves(
    ROUNDS, {order: [summarise(row) for row in rows] for order, rows in error.items()},
    xlabel="sparsity", ylabel="error above the whole network's, dB",
    caption="Retrained after each cut, the error stays flat until more than half of the weights are gone.",
)

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "Agree" is an error within 0.4 dB (10 %)
# of the predicted one, "part" is more; "against" is a paired difference of errors,
# judged lower by more than two standard errors (without retraining in the mean over 0.5 to 0.7); "flat" is less than 1 dB
# above the whole network.

# %%
from course_lib.evidence import Claim, evidence

gap = lambda order, i: paired_difference(actual[order][i], predicted[order][i])
late = lambda order: [sum(trial) / 3 for trial in zip(*actual[order][4:7])]
over = {order: paired_difference(late(order), late("magnitude")) for order in ORDERS}
by_chance = paired_difference(late("recursion"), late("random"))
against = lambda order, i: paired_difference(error["recursion"][i], error[order][i])
flat, longer, chance = summarise(error["recursion"][2]), against("none", 2), against("random", 2)
deep = against("magnitude", 3)
early = {order: gap(order, LEVELS.index(0.3)) for order in ORDERS[2:]}
near, parted = early["Gauss-Newton"], gap("recursion", LEVELS.index(0.9))
dB = lambda summary: f"{summary.mean:+.2f} ± {summary.sd:.2f} dB"

# %%
knee, later, exact = "good agreement to ~30 %", "error rises far later", over["Gauss-Newton"]
without_retraining = [
    Claim("predicted agrees at 0.3 (Gauss-Newton)", knee, dB(near), near.high < 0.4),
    Claim("… with the recursion", knee, dB(early["recursion"]), None),
    Claim("they part by 0.9 (recursion)", "then the curves split", dB(parted), parted.low > 0.4),
    Claim("saliency against magnitude (Gauss-Newton)", later, dB(exact), exact.high < 0),
    Claim("… with the recursion", later, dB(over["recursion"]), None),
    Claim("saliency against random", "too bad to draw", dB(by_chance), by_chance.high < 0),
]

# %%
evidence(
    *without_retraining,
    Claim("retrained, flat to 0.6 (recursion)", "nearly flat to ~60 %", dB(flat), flat.high < 1),
    Claim("… against the whole net, trained on", "", dB(longer), None),
    Claim("… against random deletion", "", dB(chance), chance.high < 0),
    Claim("retrained to 0.8, against magnitude", "", dB(deep), None),
)

# %% [markdown]
# And your bet:

# %%
flat_of = lambda order: torch.cat([s.flatten() for s in scores[order][0].values()])
tenth = round(0.1 * len(flat_of("magnitude")))
lowest = lambda order: set(flat_of(order).argsort()[:tenth].tolist())
both = len(lowest("magnitude") & lowest("Gauss-Newton")) / tenth
bet_same.reveal(round(100 * both), "By magnitude and by saliency (Gauss-Newton), first network.")

# %% [markdown]
# ### Optional: Optimal Brain Surgeon
#
# Babak Hassibi and David Stork (1992) kept the cross terms. If weight *q* must go, which change of *all* weights raises
# the loss least? With the full inverse Hessian the answer is one line. (The rest of the lesson does not need
# this part.)
#
# $$L_q = \frac{w_q^2}{2\,[H^{-1}]_{qq}} \qquad \delta w = -\frac{w_q}{[H^{-1}]_{qq}}\, H^{-1} e_q$$
#
# $H^{-1}$ has a number for each *pair* of weights, so this is for small networks, such as XOR's nine weights. Bet first:

# %%
bet_surgery = predict(
    "surgery", unit="%",
    question="XOR networks of nine weights lose their smallest one. What share is still right?",
)
bet_surgery

# %%
from course_lib.data import xor
from course_lib.experiments.optimal_brain_damage import fit_together, share_right, signed, tiny
from course_lib.pruning.obs import removals
from torch.nn.utils import parameters_to_vector

table = xor()
tries = [tiny(inputs=2, hidden=2, seed=seed) for seed in range(30)]
xs, ys = table.x.double().expand(30, 4, 2), signed(table.y).expand(30, 4, 1)
fit_together(tries, xs, ys, decay=1e-4)
right = lambda net, weights: share_right(net, weights, table) == 1
solved = [net for net in tries if right(net, parameters_to_vector(net.parameters()).detach())]
intact = {}
for method in ("magnitude", "saliency", "surgeon"):
    cut = [right(net, removals(net, table.x.double(), method=method, count=1)[1]) for net in solved]
    intact[method] = sum(cut) / len(cut)
    print(f"{method:10} {sum(cut)} of {len(cut)} networks still compute XOR without one weight")

# %% [markdown]
# The MONK's problems are three small rules about robots (the third is learned from 5 % wrong labels). How many weights
# can go, one by one and without retraining, until the network answers worse than the whole one on the examples it
# learned from? (Weight decay was chosen on examples held back.)

# %%
from course_lib.data import monks
from course_lib.experiments.optimal_brain_damage import DECAY, HIDDEN, best_of, fewest

ROBOTS, gone, left = 3, {}, {}
for problem in (1, 2, 3):
    splits = [monks(problem, seed)[0] for seed in range(ROBOTS)]
    robots = best_of(splits, HIDDEN[problem], decay=DECAY[problem])
    for method in ("magnitude", "saliency", "surgeon"):
        paths = [removals(net, split.x.double(), method=method) for net, split in zip(robots, splits)]
        counts = [fewest(*each) for each in zip(paths, robots, splits)]
        gone[problem, method] = [count / len(path[0]) for count, path in zip(counts, paths)]
        left[problem, method] = summarise([len(path[0]) - count for count, path in zip(counts, paths)])
    told = [f"{method} {left[problem, method]:.1f}" for method in ("magnitude", "saliency", "surgeon")]
    print(f"MONK's {problem}, weights left:", "; ".join(told))

# %% [markdown]
# The surgeon's paper names 90, 76 and 62 % without saying in its abstract which is which, so the mean of the three is
# compared, within 10 points.

# %%
share_gone = lambda method: [sum(of) / 3 for of in zip(*(gone[k, method] for k in (1, 2, 3)))]
removed = summarise(share_gone("surgeon"))
ahead = paired_difference(share_gone("surgeon"), share_gone("saliency"))
alone = intact["surgeon"] > 0.9 and max(intact["magnitude"], intact["saliency"]) < 0.1
evidence(
    Claim("XOR: right after surgery only", "only OBS always", f"{intact['surgeon']:.0%}", alone),
    Claim("MONK's: share removed", "90, 76, 62 %", f"{removed:%}", abs(removed.mean - 0.76) <= 0.1),
    Claim("… more than without surgery", "", f"{ahead:points}", ahead.low > 0),
)

# %%
bet_surgery.reveal(round(100 * intact["magnitude"]), "XOR needs all nine weights, unless the others move.")

# %% [markdown]
# ## 6 · Where it fails
#
# **The recursion misses what happens inside a shared kernel.** A convolution's weight acts at hundreds of places, and
# their mixed derivatives are left out. How much of Gauss–Newton's *h* does it see, layer by layer?

# %%
from course_lib.experiments.optimal_brain_damage import targets
from course_lib.pruning import prunable

outputs = targets(learn[0].y)
one = diagonal_hessian(nets[0], learn[0].x, outputs, loss="squared_error")
ten = gauss_newton_diagonal(nets[0], learn[0].x, outputs, loss="squared_error")
for name in prunable(nets[0]):
    seen = one[name].sum() / ten[name].sum()
    print(f"{name:10} {tuple(one[name].shape)!s:16} sees {seen:6.1%} of the curvature")

# %% [markdown]
# It is nearly right in the last layer and misses most of it in the first kernels: their weights look too cheap beside
# the others. (The layers of one number a channel are *gains*, learned factors behind the pooling. We also tried gains
# that start at 2 in place of torch's random ones. That trains better, and there the recursion *lost* to magnitude,
# while Gauss–Newton still won.)
#
# **Untrained networks break the assumptions.** Early in training gradients are large and some curvatures negative:

# %%
from course_lib.experiments.optimal_brain_damage import network, train_

young = train_(network(0), learn[0], steps=5, seed=0)
for name, model in (("after 5 steps", young), (f"after {STEPS}", nets[0])):
    s = score("recursion", model, learn[0])
    negative = sum(int((one < 0).sum()) for one in s.values())
    print(f"{name:14} negative saliencies: {negative} of {sum(one.numel() for one in s.values())}")

# %% [markdown]
# **Sums of saliencies ignore teamwork.** Two inputs that carry the same signal can each go cheaply, but not both:

# %%
twins = nn.Linear(2, 1, bias=False)
nn.init.ones_(twins.weight)
signal = torch.randn(100, 1).expand(100, 2)  # both inputs are the same
cost = lambda: ((twins(signal) - 2 * signal[:, :1]) ** 2).mean().item()
h = diagonal_hessian(twins, signal, 2 * signal[:, :1], loss="squared_error")["weight"]
twins.weight.data[:] = 0
print(f"predicted {h.sum().item() / 2:.2f}, actual {cost():.2f}")

# %% [markdown]
# The surgeon of the optional part sees this term, at the price of a matrix: for this lesson's network that would be

# %%
n = sum(parameter.numel() for parameter in nets[0].parameters())
print(f"{n:,} weights: diagonal {4 * n / 1e3:.0f} kB, inverse in float64 {8 * n * n / 1e6:.0f} MB")

# %% [markdown]
# ## 7 · In practice
#
# PyTorch gives the exact Hessian of any function in one line, for as long as the matrix fits:

# %%
from torch.autograd.functional import hessian
from torch.func import functional_call

loss = lambda w: F.cross_entropy(functional_call(net, {"3.weight": w}, (x[few],)), y[few])
full = hessian(loss, net[3].weight.detach())  # (10, 16, 10, 16)
assert torch.allclose(full.flatten(2).flatten(0, 1).diagonal().view(10, 16), truth[3], rtol=1e-3, atol=1e-6)
print("PyTorch agrees; its Hessian of one layer has the shape", tuple(full.shape))

# %% [markdown]
# BackPACK (`DiagGGNExact`) computes the Gauss–Newton diagonal of larger networks. The surgeon is in use again: Optimal
# Brain Compression (Frantar and Alistarh 2022) applies it to one layer at a time, whose squared error has a Hessian small
# enough to invert.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the saliency, the start of the pass back, one layer of it, and predicted against actual;
# the surgeon is an optional fifth. Then **lesson 05** asks whether a pruned network could have been trained from the start.
#
# - LeCun, Denker, Solla 1990, *Optimal Brain Damage*, NIPS 2.
# - Hassibi, Stork 1993, *Second Order Derivatives for Network Pruning: Optimal Brain Surgeon*, NIPS 5.
# - Dangel, Kunstner, Hennig 2020, *BackPACK: Packing More into Backprop*, ICLR.
