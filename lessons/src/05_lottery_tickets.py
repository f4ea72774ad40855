# %% [markdown]
# # 05 · Lottery tickets: was it the network or its luck?
#
# *A trained network keeps its accuracy with a few percent of its weights. Could we have trained just those few from the
# start? Yes, but only from the right first values, and today nobody knows them before training.*
#
# **35 minutes.** You need: lesson 02 (masks, retraining); lesson 03 helps.
#
# At the end you can
# - find winning tickets by training, pruning and rewinding in rounds;
# - run the controls without which a ticket shows nothing: new values, random masks, a single cut;
# - say where rewinding to the very start stops working, and what to do then.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=5)

# %% [markdown]
# One *untrained* network for each of five folds; trial *k* starts from seed *k* and is tested on fold *k*. The weights are
# drawn from Glorot's normal distribution, as in the paper.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.lottery_tickets import newborn, trained_with, watched
from course_lib.models import lenet_300_100

TRIALS, STEPS = 5, 250
folds = [load("digits", fold=fold) for fold in range(TRIALS)]
build = lambda: lenet_300_100(folds[0].input_shape)
first = newborn(build, seeds=range(TRIALS))  # these stay as they are
n_weights = sum(p.numel() for p in first[0].parameters() if p.dim() > 1)
print(f"{folds[0]}\n{n_weights:,} weights in each network")

# %% [markdown]
# ## 1 · Predict
#
# Keep 3.9 % of the weights, chosen by rounds of training and pruning, and set them back to their **first** values. Then
# train them for as many steps as the dense network had.

# %%
from course_lib.checking import predict

bet_ticket = predict(
    "ticket", unit="points", question="How much test accuracy does that cost, against the dense network?"
)
bet_ticket

# %%
bet_reinit = predict(
    "reinit", unit="points", question="And with the same 3.9 % at NEW random values?"
)
bet_reinit

# %%
bet_untrained = predict(
    "untrained", unit="% accuracy",
    question="Keep 21 %, at their first values, zero the rest, and do NOT train. Validation accuracy?",
)
bet_untrained

# %% [markdown]
# ## 2 · The idea
#
# Networks were pruned *after* training. Sparse ones trained from scratch did worse, and so one trained the large network
# first. In 2019 Jonathan Frankle and Michael Carbin at MIT asked whether that is a law. Their **lottery ticket
# hypothesis**: a dense network $f(x; \theta_0)$ contains a small one, $f(x; m \odot \theta_0)$, that trains as fast and
# as well *from its own first values*. A large network wins because it holds many tickets.
#
# To find one, look at the end of the story and go back:
#
# 1. draw $\theta_0$ and train to $\theta_T$;
# 2. in each layer, remove 20 % of the survivors, those of smallest $|\theta_T|$ (of the output layer 10 %);
# 3. **rewind** the survivors to their values in $\theta_0$;
# 4. go back to 1 with the mask $m$ in force.
#
# A fifth of what is *left* goes each time, so the ladder is steep at first:

# %%
from course_lib import viz

rounds = list(range(0, 16))
viz.curves(
    rounds, {"hidden layers": [0.8**k for k in rounds], "output layer": [0.9**k for k in rounds]},
    xlabel="rounds of pruning", ylabel="weights left", percent=True,
    caption="Fifteen rounds leave a hidden layer 3.5 % of its weights, and the output layer 21 %.",
)

# %% [markdown]
# ## 3 · Build it
#
# **One round of pruning.** Only survivors are ranked; exactly `round(rate · survivors)` go. Biases stay.

# %%
import copy

import torch

from course_lib.pruning import prunable


def my_round(network, masks, rate=0.2, output_rate=0.1):
    smaller, last = {}, list(masks)[-1]
    for name, weight in prunable(network).items():
        places = masks[name].flatten().nonzero()[:, 0]  # where the survivors are
        order = weight.detach().abs().flatten()[places].argsort(stable=True)
        drop = round((output_rate if name == last else rate) * len(places))
        kept = masks[name].clone()
        kept.view(-1)[places[order[:drop]]] = False
        smaller[name] = kept
    return smaller


# %% [markdown]
# **Rewind**: all parameters at their first values, and zeros where the mask says so. No trained value survives this, only
# the mask does.

# %%
def my_rewind(first_network, masks):
    network = copy.deepcopy(first_network)
    with torch.no_grad():
        for name, weight in prunable(network).items():
            weight *= masks[name]
    return network


# %% [markdown]
# **Train, watch, stop in hindsight.** The mask is put in force after every step (lesson 02). Training goes to the end; then
# we look back for the step of smallest *validation* loss. The test split has no say in that.

# %%
from course_lib.pruning import apply_masks_
from course_lib.training import adam, batch_rows, evaluate


def my_training(network, data, masks, steps=100, every=20, seed=0):
    step, curve = adam(list(network.parameters()), lr=1.2e-3), {}
    for done, rows in enumerate(batch_rows(len(data.train), 60, steps, seed), start=1):
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(data.train.x[rows]), data.train.y[rows]).backward()
        step()
        apply_masks_(network, masks)
        if done % every == 0:
            curve[done] = evaluate(network, data.validation).loss
    return min(curve, key=curve.get)  # early stopping: the step of the smallest loss


# %% [markdown]
# **The loop**, on one network and with short trainings. `find_tickets` does the same for many trials at once; its `train`
# is a callable of your own. The same ticket?

# %%
from course_lib.pruning.lottery import find_tickets, keep_all

masks = keep_all(first[0])
for number in range(3):
    network = my_rewind(first[0], masks)
    stop = my_training(network, folds[0], masks)
    masks = my_round(network, masks)
    kept = sum(int(mask.sum()) for mask in masks.values())
    print(f"round {number}: smallest validation loss at step {stop}; then {kept:,} weights stay")


def train(networks, masks):
    return [my_training(network, folds[0], mask) for network, mask in zip(networks, masks)]


library = find_tickets(first[:1], rounds=3, train=train)
assert all(torch.equal(masks[name], library[-1].masks[0][name]) for name in masks)
print("find_tickets: the same masks")

# %% [markdown]
# ## 4 · Play
#
# Now in earnest: fifteen rounds of five trials at once, measured every five steps. The second half goes on from the
# first. The numbers printed are *densities*, the share of the weights that is left: 1 − sparsity.

# %% tags=["setup"]
from course_lib.pruning.lottery import find_tickets

train = watched(folds, steps=STEPS, every=5)  # Adam, 1.2e-3, batches of 60, as in the paper
ladder = find_tickets(first, rounds=7, train=train)
print([f"{found.density:.1%}" for found in ladder])

# %% tags=["setup"]
ladder = find_tickets(first, rounds=8, train=train, earlier=ladder)
density = [found.density for found in ladder]
print([f"{share:.1%}" for share in density[8:]])

# %% [markdown]
# The control that makes or breaks the hypothesis: the **same masks with new random values**.

# %% tags=["setup"]
def reinitialised(number):
    twins = newborn(build, seeds=[1000 * (number + 1) + trial for trial in range(TRIALS)])
    return trained_with(ladder[number].masks, twins, train)


reinit = {number: reinitialised(number) for number in (1, 3, 5, 7, 11, 15)}

# %% [markdown]
# 1. Go down the ladder. Which of the three curves falls first at the top? When does the ticket lose its lead over the
#    dense network, and when does the reinitialised one?
# 2. Press "Before the first step" and look at step 0. Surprised? More on that below.
# 3. Which pixels does the ticket still look at, at the bottom?

# %% tags=["setup", "widget"]
from course_lib.widgets.lottery_tickets import ticket_ladder

ticket_ladder(ladder, reinit, image=folds[0].input_shape[1:])

# %% [markdown]
# ## 5 · Evidence
#
# **Who learns earlier?** The paper's measure is the step (its *iteration*) of the smallest validation loss. Here that loss
# still creeps down when training ends, so its minimum says little. We measure instead how many steps the validation loss
# takes to fall to 0.5 (or, where it never does, count all 250, which flatters the slow). We chose the level on validation
# curves of an earlier run, as one that nearly every network reaches; the table shows two other levels too.

# %%
duration = lambda curves: curves.steps_to(loss=0.5)
accuracy = lambda curves: curves.at_stop.tolist()
count = lambda gap: f"{gap.mean:.0f} ± {gap.sd:.0f} steps"
tickets = {number: found.result for number, found in enumerate(ladder)}
dense, where = tickets[0], "rounds of pruning (80, 52, 33, 21, 9 and 3.9 % of the weights left)"
pick = lambda source, measure: [summarise(measure(source[number])) for number in reinit]
viz.curves(
    list(reinit), {"ticket": pick(tickets, duration), "reinitialised": pick(reinit, duration)},
    xlabel=where, ylabel="steps to validation loss 0.5",
    levels={"dense": summarise(duration(dense)).mean},
    caption="Tickets learn earlier than the dense network at first; reinitialised, later and later.",
)

# %% [markdown]
# That is the form of the paper's figure. Its second half is test accuracy, read at the smallest validation loss:

# %%
viz.curves(
    list(reinit), {"ticket": pick(tickets, accuracy), "reinitialised": pick(reinit, accuracy)},
    xlabel=where, ylabel="test accuracy at early stop", percent=True,
    levels={"dense": summarise(accuracy(dense)).mean},
    caption="At the right end a ticket loses a little, its reinitialised twin far more.",
)

# %% [markdown]
# The learning curves behind it, for three sizes (mean over the trials; at 100 % the ticket is the dense network):

# %%
at = range(0, 31, 3)  # every 15 steps, up to step 150
shown = {f"{100 * density[k]:.0f} %, ticket": tickets[k] for k in (0, 3, 15)} | {
    f"{100 * density[k]:.0f} %, reinitialised": reinit[k] for k in (3, 15)
}
viz.curves(
    [dense.steps[place] for place in at],
    {name: [curves.loss[:, place].mean().item() for place in at] for name, curves in shown.items()},
    xlabel="optimiser step", ylabel="validation loss",
    caption="The half-size ticket falls fastest; its mask with new values lags behind the dense network.",
)

# %% [markdown]
# **More controls.** A *random mask* keeps as many weights in each layer, with their first values. A *one-shot* ticket is
# cut in one go from the trained dense network.

# %%
from course_lib.pruning.lottery import prune_at_once, shuffled_masks

shuffled = [shuffled_masks(mask, seed=trial) for trial, mask in enumerate(ladder[15].masks)]
by_luck = trained_with(shuffled, first, train)
pairs = zip(ladder[0].networks, ladder[15].masks)
once = trained_with([prune_at_once(*pair) for pair in pairs], first, train)
rows = {"ticket": tickets[15], "one-shot": once, "reinitialised": reinit[15], "random mask": by_luck}
for name, curves in rows.items():
    print(f"{density[15]:.1%} left, {name}: {summarise(accuracy(curves)):%}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. Differences are paired by trial;
# "earlier", "later" and "beats" are more than two standard errors. The paper's column is Frankle & Carbin 2019, for the
# same network on MNIST, with 50,000 steps a round.

# %%
from course_lib.evidence import Claim, evidence

gain = lambda a, b: paired_difference(accuracy(a), accuracy(b))
later = lambda a, b: paired_difference(duration(a), duration(b))
shares = lambda ours, theirs: summarise([a / b for a, b in zip(ours, theirs)])
saved = lambda level: shares(tickets[3].steps_to(loss=level), dense.steps_to(loss=level))
leads = [later(dense, tickets[number]) for number in (1, 2, 3, 4, 5)]  # 80 % … 33 %
least = min(leads, key=lambda lead: lead.low)
slow, slower = later(reinit[7], dense), later(reinit[15], reinit[7])
stops = shares(tickets[7].early_stops(), dense.early_stops())
times = shares(duration(reinit[7]), duration(tickets[7]))
long = f"{times.mean:.1f} ± {times.sd:.1f}×"
lost, twin_lost = gain(dense, tickets[15]), gain(dense, reinit[15])
apart, luck, in_rounds = (gain(tickets[15], other) for other in (reinit[15], by_luck, once))
sooner = later(once, tickets[15])

# %%
form = lambda share: f"{100 * (1 - share.mean):.0f} ± {100 * share.sd:.0f} % earlier"
evidence(
    Claim("tickets of 80 … 33 % learn earlier", "", f"{count(least)} or more", least.low > 0),
    Claim("52 %: loss 0.5 is reached", "faster than dense", form(saved(0.5)), None),
    Claim("… loss 0.3; loss 0.2", "", f"{form(saved(0.3))}; {form(saved(0.2))}", None),
    Claim("21 %: early stop (minimum of the loss)", "38 % earlier", form(stops), None),
    Claim("21 %: reinitialised against ticket", "2.51× as long", long, times.low > 1),
    Claim("reinitialised learn later than dense (21 %)", "slower", count(slow), slow.low > 0),
    Claim("… and still later at 3.9 %", "and slower", count(slower), slower.low > 0),
    Claim("3.9 %: a ticket beats reinitialised", "", f"{apart:points}", apart.low > 0),
    Claim("… and a random mask by far", "", f"{luck:points}", luck.low > 0.05),
    Claim("3.9 %: one cut learns later than rounds", "better at small sizes", count(sooner), sooner.low > 0),
    Claim("… and ends less accurate by", "", f"{in_rounds:points}", None),
    Claim("what a ticket of 3.9 % loses to dense", "nothing at 3.6 %", f"{lost:points}", None),
)

# %%
bet_ticket.reveal(round(100 * lost.mean, 1), "Points lost, paired over five folds.")

# %%
bet_reinit.reveal(round(100 * twin_lost.mean, 1), "The mask alone is not the ticket.")

# %% [markdown]
# ## 6 · Where it fails
#
# **The mask has already learned.** Look at a ticket before its first step:

# %%
head = summarise(tickets[7].accuracy[:, 0].tolist())
print(f"{density[7]:.1%} left, first values, not one step of training: {head:%} on validation")
bet_untrained.reveal(round(100 * head.mean, 1), "Choosing which weights to zero IS a training.")

# %% [markdown]
# Training pushed the weights that stood in the way towards zero, and pruning finished the job. So part of a ticket's
# head start was earned in the rounds before. (Zhou and colleagues looked into this in 2019; they call such masks
# *supermasks*, and report 86 % on MNIST for one of theirs.) It also means that a ticket saves no computing: this one took all the rounds above it to find.
#
# **38 %?** The row above reports the paper's own measure, with its spread. On the digits it is not reproduced: the loss has
# no clear minimum within 250 steps. `course run 05 --data mnist` repeats the whole protocol on MNIST
# (`--iterations 50000 --trials 5` are the paper's numbers; it stops and resumes as you like).
#
# **Larger networks.** For VGG-19 at its usual learning rate of 0.1, the paper found no tickets: they did no better than
# reinitialised networks. Frankle and colleagues later saw why: train *twice from one start*, with other orders of the examples. If the
# two ends lie in different valleys, the error rises on the straight line between them; then the noise of training, not
# the start, decides where it goes, and a mask from one run is no use to the next. Large networks become stable only some
# steps into training. **Late rewinding** goes back there instead of to step 0; for a Resnet-18, step 500 was late
# enough. Is our ticket stable at step 0?

# %%
from course_lib.experiments.lottery_tickets import barriers

twins = newborn(build, seeds=[1000 * 16 + trial for trial in range(TRIALS)])
walls = {
    "ticket": barriers(first, folds, ladder[15].masks, steps=STEPS),
    "reinitialised": barriers(twins, folds, ladder[15].masks, steps=STEPS),
}
for name, wall in walls.items():
    print(f"{density[15]:.1%} left, {name}: the error rises by {summarise(wall):points} on the way")

# %% [markdown]
# Yes: a rise below two points counts as stable, and ours is. (So is its reinitialised twin: being stable does not make a
# ticket.) Late rewinding has nothing to mend here; `find_tickets` takes it as `start=`:

# %%
from course_lib.pruning.lottery import keep_all

step_15 = [copy.deepcopy(network) for network in first]
watched(folds, steps=15, every=15)(step_15, [keep_all(network) for network in step_15])
rewound = trained_with(ladder[15].masks, step_15, train)  # 15 steps are 6 % of the training
print(f"{density[15]:.1%} left, rewound to step 15: {summarise(accuracy(rewound)):%}")
print(f"… rewound to step 0:  {summarise(accuracy(tickets[15])):%}")

# %% [markdown]
# ## 7 · In practice
#
# `torch.nn.utils.prune` has both halves. Each call prunes *survivors*; rewinding writes to `weight_orig`, the dense tensor
# behind the mask, because `weight` is computed anew from it in every forward pass.

# %%
from torch.nn.utils import prune

net = copy.deepcopy(ladder[0].networks[0])  # trained, dense
start = first[0].state_dict()
for number, layer in enumerate(layers := [m for m in net if isinstance(m, torch.nn.Linear)]):
    prune.l1_unstructured(layer, "weight", amount=0.1 if number == len(layers) - 1 else 0.2)
for name, value in net.state_dict().items():  # rewind in place; masks stay
    if not name.endswith("_mask"):
        value.copy_(start[name.removesuffix("_orig")])
theirs = dict(net.named_buffers())  # name_mask -> floats
assert all(torch.equal(m, theirs[f"{name}_mask"].bool()) for name, m in ladder[1].masks[0].items())
print("the same masks as our round 1, and first values behind them")

# %% [markdown]
# Frankle's library OpenLTH runs such experiments on larger networks. At work, one prunes and retrains (lesson 03); tickets
# are a tool for *understanding*. Lesson 06 tries to have the mask without the training.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write early stopping, a round, the rewinding and the whole loop. Then **lesson 06** prunes
# before any training.
#
# - Frankle, Carbin 2019, *The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks*, ICLR.
# - Frankle, Dziugaite, Roy, Carbin 2020, *Linear Mode Connectivity and the Lottery Ticket Hypothesis*, ICML.
# - Zhou, Lan, Liu, Yosinski 2019, *Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask*, NeurIPS.
