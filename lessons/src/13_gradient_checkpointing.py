# %% [markdown]
# # 13 · Gradient checkpointing: compute twice, store less
#
# *Training needs far more memory than predicting, because every layer waits for its backward pass. In this lesson the
# layers forget, compute again, and end up with the same gradients, bit for bit.*
#
# **35 minutes.** You need: PyTorch basics (autograd); lesson 01 helps.
#
# At the end you can
# - say what autograd keeps, in bytes, and why one piece of memory is easily counted twice;
# - write a checkpoint that works with dropout, and cut a network into the right number of segments;
# - trade memory for time on purpose: segments, optimal schedules, and when none of it helps.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=13)

# %% [markdown]
# A chain of 49 equal layers, linear and ReLU, and a batch of real digits, made as wide as the chain. All memory below is
# counted in *activations*: tensors of the size of this batch.

# %% tags=["setup"]
import torch

from course_lib.data import load
from course_lib.models import deep_chain

N, WIDTH, BATCH = 49, 128, 256
folds = [load("digits", fold=fold) for fold in range(5)]
torch.manual_seed(0)
chain = deep_chain(N, WIDTH)
images = folds[0].train.x[:BATCH].flatten(1)  # (batch, pixels)
x = torch.nn.Linear(images.shape[1], WIDTH)(images).detach()  # (batch, width)
print(f"{N} layers; one activation has {x.nbytes:,} bytes")

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_segments = predict(
    "segments", unit="segments",
    question="49 equal layers are cut into segments; kept are the segments' inputs and, in turn, "
    "the inside of one segment. With how many segments is the peak of memory lowest?",
)
bet_segments

# %%
bet_runs = predict(
    "runs", unit="times",
    question="A chain of 1,000 steps, and room for only 10 states. How often must a step be run "
    "forward, on average, to go all the way back?",
)
bet_runs

# %% [markdown]
# ## 2 · The idea
#
# The gradient of a layer needs the numbers that went through it. The first layer's come first and are needed last, so
# during a training step *everything* waits in memory: $n$ layers, $n$ activations. In 2016 a ResNet of 200 layers was the most
# that fitted on the graphics card of Tianqi Chen and colleagues. Their way out: cut the network into $k$ segments, keep only
# the input of each, and when its turn comes, run the segment forward once more. Then the memory is
#
# $$M(k) = k + \frac{n}{k}, \qquad M'(k) = 1 - \frac{n}{k^2} = 0 \;\Rightarrow\; k = \sqrt n, \quad M = 2\sqrt n,$$
#
# for at most one forward pass more. Andreas Griewank had asked the same about long chains of steps before, and found
# the schedules that are best of all. Both are below. First, what depth costs (measured on real steps,
# forward and backward):

# %%
from course_lib import viz
from course_lib.experiments.gradient_checkpointing import in_segments, peak_activations, plain

DEPTHS = [4, 9, 16, 25, 36, 49]
ways = {"plain": lambda n: plain, "√n segments": lambda n: in_segments(round(n**0.5))}
grown = {name: [peak_activations(chain[:n], x, way(n)) for n in DEPTHS] for name, way in ways.items()}
viz.curves(
    DEPTHS, grown, xlabel="layers", ylabel="peak memory of a step, activations",
    caption="The memory of a plain step grows with the depth, that of √n segments with its root.",
)

# %% [markdown]
# ## 3 · Build it
#
# **What does autograd keep?** It tells us, through a hook that sees every tensor saved for the backward pass. Here are
# three layers of the chain:

# %%
saved = []


def pack(tensor):
    saved.append(tensor)
    return tensor


with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
    out = chain[:3](x)
weights = {weight.untyped_storage().data_ptr() for weight in chain.parameters()}
place = lambda tensor: tensor.untyped_storage().data_ptr()  # where its numbers lie in memory
numbered = {p: number for number, p in enumerate(dict.fromkeys(map(place, saved)), start=1)}
for tensor in saved:
    what = "a weight" if place(tensor) in weights else "an activation"
    print(f"{tuple(tensor.shape)} in storage {numbered[place(tensor)]}: {what}")

# %% [markdown]
# A ReLU saves its output, and the next linear layer saves the same numbers as its input: two tensors, *one storage*. And the
# weights exist anyway. So count storages, without the weights'. (`saved_bytes` counts storages, weights included.)

# %%
from course_lib.measure import saved_bytes

mine = [tensor for tensor in saved if place(tensor) not in weights]
storages = {place(tensor): tensor.untyped_storage().nbytes() for tensor in mine}
of_weights = {place(t): t.untyped_storage().nbytes() for t in saved if place(t) in weights}
assert saved_bytes(lambda: chain[:3](x)) == sum(storages.values()) + sum(of_weights.values())
print(f"by tensor:  {sum(t.nbytes for t in mine) / x.nbytes:.0f} activations")
print(f"by storage: {sum(storages.values()) / x.nbytes:.0f} activations (x and three outputs)")

# %% [markdown]
# **A checkpoint** is an autograd function. Forward, it runs without a graph and keeps its input *and the state of the
# random numbers*. Backward, it runs again with a graph. Parameters are not among its inputs, so `asks`, an empty
# tensor that needs a gradient, makes autograd come back even if `x` is mere data.


# %%
class Checkpoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, fn, asks, x):  # autograd is off in here
        ctx.fn, ctx.random = fn, torch.get_rng_state()
        ctx.save_for_backward(x)
        return fn(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        again = x.detach().requires_grad_(x.requires_grad)  # cut off from the graph before it
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.set_rng_state(ctx.random)  # the same units drop out
            out = ctx.fn(again)
        out.backward(gradient)  # fills .grad of the parameters on its way
        return None, None, again.grad


# %% [markdown]
# Does it give the same gradients? We ask for every bit, on residual blocks *with dropout*, and of the library's version too:

# %%
from course_lib.experiments.gradient_checkpointing import gradients
from course_lib.memory import checkpoint

my_checkpoint = lambda fn, x: Checkpoint.apply(fn, torch.empty(0, requires_grad=True), x)
same = lambda a, b: all(map(torch.equal, a, b))
noisy = deep_chain(12, WIDTH, kind="residual", dropout=0.2)  # x + dropout(relu(linear(norm(x))))
expected = gradients(noisy, x, plain)
assert same(gradients(noisy, x, my_checkpoint), expected)
assert same(gradients(noisy, x, checkpoint), expected)
print(f"{len(expected)} gradients, identical in every bit")

# %% [markdown]
# **Segments**: a checkpoint around each but the last, whose backward pass comes at once.

# %%
from course_lib.memory import checkpoint_sequential


def my_segments(layers, x, k):
    ends = [len(layers) * part // k for part in range(k + 1)]
    for start, end in zip(ends[:-2], ends[1:-1]):
        x = my_checkpoint(layers[start:end], x)
    return layers[ends[-2] :](x)


for k in range(1, 13):
    assert same(gradients(noisy, x, lambda layers, x: my_segments(layers, x, k)), expected)
    assert torch.equal(my_segments(chain, x, k), checkpoint_sequential(chain, x, segments=k))
print("1 to 12 segments: identical gradients")

# %% [markdown]
# **The best schedule.** Why run again only once? A *step* is now one layer of the chain. With $s$ slots for states, go
# $m$ steps forward without a graph, keep the state there, go back through the second part with $s - 1$ slots, then
# through the first with all $s$ again. Trying every $m$ gives a dynamic programme for the fewest steps:
#
# $$T(n, s) = \min_{0 < m < n} \; m + T(n - m, s - 1) + T(m, s), \qquad T(1, s) = 0, \quad T(n, 1) = \tfrac{n(n-1)}{2}$$
#
# It has a closed form. With $s$ slots and at most $r$ repetitions of a step one reaches back over $\binom{s + r}{s}$ steps:

# %%
from functools import cache
from math import comb

from course_lib.memory.schedules import forward_steps


@cache
def fewest(n, s):
    if n == 1 or s == 1:
        return n * (n - 1) // 2
    return min(m + fewest(n - m, s - 1) + fewest(m, s) for m in range(1, n))


assert all(fewest(n, s) == forward_steps(n, s) for n in range(1, 90) for s in range(1, 7))
print(f"10 slots reach over {comb(10 + 3, 10)} steps with 3 repetitions, over {comb(10 + 4, 10):,} with 4")

# %% [markdown]
# `revolve` lists the actions of such a schedule. Carrying them out takes one loop and one helper:


# %%
def go_back(layer, state, gradient):
    state = state.detach().requires_grad_()
    out = layer(state)  # one step, with a graph
    out.square().mean().backward() if gradient is None else out.backward(gradient)
    return state.grad


# %%
from course_lib.memory import revolve


def my_reversal(layers, state, slots):  # for layers without random numbers
    kept, gradient = {}, None
    for action in revolve(len(layers), slots):
        if action.kind == "keep":
            kept[action.step] = state
        elif action.kind == "free":
            del kept[action.step]
        elif action.kind == "back":
            state = kept[action.step]
        elif action.kind == "advance":
            with torch.no_grad():
                state = layers[action.step : action.to](state)
        else:  # "backward"
            gradient = go_back(layers[action.step], state, gradient)


# %% [markdown]
# The library's `run_revolve` does this inside an autograd function, random numbers included:

# %%
from course_lib.experiments.gradient_checkpointing import by_revolve

expected = gradients(chain, x, plain)
chain.zero_grad()
my_reversal(chain, x, slots=4)
assert same([weight.grad for weight in chain.parameters()], expected)
assert same(gradients(chain, x, by_revolve(4)), expected)
print(*(f"{a.kind} {a.step}" + (f"→{a.to}" if a.to else "") for a in revolve(4, 2)), sep=", ")

# %% [markdown]
# ## 4 · Play
#
# The first 16 layers of your chain. Each setting *runs* a training step, and follows every piece of memory. *How many* are
# segments or slots; the line looks at one moment of the step.
# 1. Plain: who waits longest? Then √n segments: which bars are blue, and when do the orange ones appear?
# 2. A segment a layer: why is the peak as high as before?
# 3. Revolve with 3 slots: follow the squares. How often does layer 1 run? (*Keep or drop* may also keep the inside of
#    single layers, and so runs them less often.)

# %% tags=["setup", "widget"]
from course_lib.widgets.gradient_checkpointing import step_timeline

step_timeline(chain[:16], x[:128].clone())

# %% [markdown]
# ## 5 · Evidence
#
# **The same training.** Networks of 12 residual blocks with dropout, one for each fold of the digits, trained plainly, in 3
# segments, and by revolve. Equal losses would be too easy: every bit of every weight must agree after 40 steps.

# %%
from course_lib.evidence import summarise
from course_lib.experiments.gradient_checkpointing import same_numbers, trained_deep
from course_lib.training import evaluate

train = lambda way: [trained_deep(data, way, steps=40, seed=k) for k, data in enumerate(folds)]
plainly, segmented = train(plain), train(in_segments(3))

# %%
turned = train(by_revolve(4))
agree = sum(map(same_numbers, plainly, segmented)) + sum(map(same_numbers, plainly, turned))
accuracy = summarise([evaluate(net, data.test).accuracy for net, data in zip(segmented, folds)])
print(f"{agree} of {2 * len(folds)} networks identical to their plain twin; test accuracy {accuracy:%}")

# %% [markdown]
# **Memory over segments.** Peaks are counted, not sampled: they are the same in every run, so they need no error bars. The
# second curve is a chain of residual blocks: norm, linear layer, ReLU and dropout save something each, a cut only one activation.

# %%
SEGMENTS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20, 28, 49]
residual = deep_chain(N, WIDTH, kind="residual", dropout=0.1)
nets = {"linear, ReLU": chain, "residual block": residual}
peaks = {name: {k: peak_activations(net, x, in_segments(k)) for k in SEGMENTS} for name, net in nets.items()}
formula = {k: k + -(-N // k) for k in SEGMENTS}
viz.curves(
    SEGMENTS, {name: list(row.values()) for name, row in {**peaks, "k + ⌈n/k⌉": formula}.items()},
    xlabel="segments (of 49 layers)", ylabel="peak memory of a step, activations",
    caption="Linear and ReLU follow the formula, a little higher; residual blocks want more segments.",
)

# %%
best = {name: min(row, key=row.get) for name, row in peaks.items()}
for name, row in peaks.items():
    said = f"plain {row[1]:3.0f} activations, {row[1] / N:.1f} a layer; least {row[best[name]]:2.0f}"
    print(f"{name:14} {said}, with {best[name]} segments; √(c·n) = {(row[1] // N * N) ** 0.5:.0f}")

# %% [markdown]
# With $c$ activations inside a layer the memory is $k + c\,n/k$, and its minimum moves to $\sqrt{c\,n}$: "√n" is a rule for $c = 1$.
#
# **Time over segments.** A wider chain, so that arithmetic and not bookkeeping fills the time. Plain steps and the
# others take turns, and each ratio is paired with the plain step of its turn. A backward pass costs about two forward
# passes, so one forward pass more should add about a third.

# %%
from course_lib.experiments.gradient_checkpointing import layer_runs, slowdowns

CUTS = [2, 4, 7, 14, 28, 49]
wide, x_wide = deep_chain(N, 256), torch.randn(BATCH, 256)
times = slowdowns(wide, x_wide, {k: in_segments(k) for k in CUTS}, turns=5)
runs = {k: layer_runs(chain, x, in_segments(k)) for k in CUTS}
viz.curves(
    CUTS, {"measured": [summarise(times[k]) for k in CUTS], "counted": [(runs[k] / N + 2) / 3 for k in CUTS]},
    xlabel="segments", ylabel="time of a step / plain step",
    caption="Counted: arithmetic alone, a backward pass as two forward passes. Each cut adds bookkeeping.",
)

# %% [markdown]
# **Schedules** save more, for more runs. *Keep or drop* is the answer of another dynamic programme, which decides layer by layer:
# keep its activation in a slot, or drop a stretch of layers and run it again when slots are free.

# %%
from course_lib.experiments.gradient_checkpointing import by_plan

schedules = {
    "7 segments": in_segments(7),
    **{f"keep or drop, {slots} slots": by_plan(slots) for slots in (10, 6)},
    **{f"revolve, {slots} slots": by_revolve(slots) for slots in (10, 5, 3, 2)},
}
costs = lambda way: (peak_activations(chain, x, way), layer_runs(chain, x, way))
measured = {name: costs(way) for name, way in schedules.items()}
for name, (peak, n_runs) in measured.items():
    print(f"{name:22} peak {peak:2.0f} activations, each layer runs {n_runs / N:.2f} times")

# %% [markdown]
# **Is revolve really best?** The dynamic programme believes in splits. A search that believes in nothing tries every order of
# walking, keeping, jumping back and freeing:

# %%
from course_lib.experiments.gradient_checkpointing import fewest_by_search

sizes = [(n, s) for n in range(1, 10) for s in range(1, 5)]
optimal = sum(fewest_by_search(n, s) == forward_steps(n, s) for n, s in sizes)
planned = sum(action.to - action.step for action in revolve(1000, 10) if action.kind == "advance")
print(f"{optimal} of {len(sizes)} sizes: the search finds nothing shorter")

# %% [markdown]
# **A trap.** Batch norm updates its running averages whenever it runs forward, so again in the second run. The library keeps
# them still there. Does torch?

# %%
from torch.utils import checkpoint as torch_checkpoint

torchs = lambda layers, x: torch_checkpoint.checkpoint(layers, x, use_reentrant=False)
updates = {}
for name, run in {"ours": checkpoint, "torch": torchs}.items():
    normed = torch.nn.Sequential(torch.nn.Linear(WIDTH, 8), torch.nn.BatchNorm1d(8))
    run(normed, x).sum().backward()
    updates[name] = int(normed[1].num_batches_tracked)
print("updates of the running averages in one step:", updates)

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "Near √n" is within one; "as the root"
# is at most 2.2 times the memory for four times the depth. Times are only reported. The paper is Chen 2016.

# %%
four_times = {
    "plain": peak_activations(deep_chain(64, WIDTH), x, plain) / peak_activations(chain[:16], x, plain),
    "√n": peak_activations(deep_chain(64, WIDTH), x, in_segments(8))
    / peak_activations(chain[:16], x, in_segments(4)),
}
growth = f"16 → 64 layers: × {four_times['√n']:.2f} (plain × {four_times['plain']:.2f})"
slower, at_root = summarise(times[7]), best["linear, ReLU"]
(peak, n_runs), (peak_root, runs_root) = measured["keep or drop, 10 slots"], measured["7 segments"]
plan = f"{peak:.0f} instead of {peak_root:.0f}; {n_runs} runs, not {runs_root}"
plan_holds, once = peak <= 0.9 * peak_root and n_runs <= 1.05 * runs_root, updates["ours"] == 1

# %%
from course_lib.evidence import Claim, evidence

evidence(
    Claim("the same networks, bit for bit", "", f"{agree} of {2 * len(folds)}", agree == 2 * len(folds)),
    Claim("least memory near √n segments", "k = √n", f"{at_root} for {N} layers", abs(at_root - N**0.5) <= 1),
    Claim("memory grows as the root", "2 √n", growth, four_times["√n"] <= 2.2 and four_times["plain"] >= 3),
    Claim("at most one forward pass more", "one more", f"{runs[49]} layer runs for {N}", runs[49] <= 2 * N),
    Claim("… on the clock, 7 segments", "+30 %", f"× {slower.mean:.2f} ± {slower.sd:.2f}", None),
    Claim("revolve is optimal", "", f"{optimal} of {len(sizes)} sizes", optimal == len(sizes)),
    Claim("… 1,000 steps, 10 slots", "", f"{planned:,} steps", planned == forward_steps(1000, 10)),
    Claim("keep or drop saves more, at hardly more runs", "", plan, plan_holds),
    Claim("running averages move once", "", f"ours {updates['ours']}, torch {updates['torch']}", once),
)

# %%
bet_segments.reveal(at_root, "Around the minimum the curve is flat: 5 or 10 cost hardly more.")

# %%
bet_runs.reveal((planned + 1000) / 1000, "Its run with a graph included. The reach grows like a binomial.")

# %% [markdown]
# Chen and colleagues report the feature maps of a ResNet of 1,000 layers in less than 7 GB instead of 48.
#
# ## 6 · Where it fails
#
# **Random numbers that nobody can restore.** A checkpoint remembers torch's random state. A layer with a generator of its own
# draws new numbers in the second run, and no error tells you:


# %%
class OwnDice(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.dice = torch.Generator().manual_seed(seed)

    def forward(self, x):
        return x * (torch.rand(x.shape, generator=self.dice) > 0.5)


def error(seed):
    net = lambda: torch.nn.Sequential(residual[0], OwnDice(seed), residual[1])
    right, wrong = (torch.cat([g.flatten() for g in gradients(net(), x, way)]) for way in (plain, checkpoint))
    return float((right - wrong).norm() / right.norm())


print(f"error of the gradient, relative to its length: {summarise([error(seed) for seed in range(5)]):%}")

# %% [markdown]
# The same holds for all that differs between two runs: a counter, a clock. (A change of the input in place is refused.)
#
# **Where weights fill the memory.** Checkpointing forgets activations only. Weights, gradients and Adam's two moments stay:

# %%
stays = 4 * sum(weight.nbytes for weight in chain.parameters()) / 1e6
for batch in (4, 64, 1024):
    few = torch.randn(batch, WIDTH)
    before, after = (peak_activations(chain, few, way) * few.nbytes / 1e6 for way in (plain, in_segments(7)))
    saving = (before - after) / (stays + before)
    said = f"{before:4.1f} → {after:3.1f} MB, beside {stays:.0f} MB that stay"
    print(f"batch {batch:4}: {said}: {saving:3.0%} saved")

# %% [markdown]
# **Layers of unequal size.** Counting layers is right for equal ones. Where the first ones are the largest, cut by bytes: fill a
# segment until a budget is used up, and try several budgets (the paper's way).
#
# ## 7 · In practice
#
# `torch.utils.checkpoint` has both functions. It restores random state and autocast, and works with
# `torch.autograd.grad`, which ours does not. Pass `use_reentrant=False`.

# %%
theirs = lambda k: lambda layers, x: torch_checkpoint.checkpoint_sequential(layers, k, x, use_reentrant=False)
assert same(gradients(residual, x, theirs(7)), gradients(residual, x, in_segments(7)))
for k in (5, 7, 10):
    row = peaks["linear, ReLU"][k], peak_activations(chain, x, theirs(k))
    print(f"{k:2} segments: ours {row[0]:.0f}, torch {row[1]:.0f} activations")

# %% [markdown]
# Where the layers do not divide evenly, torch leaves the whole rest to the last segment.
#
# **Selective policies** decide by operation. Products of matrices are dear to compute again, all else is cheap: keep the
# products, drop the rest. (Chen and colleagues do so with convolutions.)

# %%
from functools import partial

aten, policies = torch.ops.aten, torch_checkpoint.CheckpointPolicy


def policy(ctx, operation, *args, **kwargs):
    dear = operation in (aten.mm.default, aten.addmm.default)
    return policies.MUST_SAVE if dear else policies.PREFER_RECOMPUTE


def selective(layers, x):
    contexts = partial(torch_checkpoint.create_selective_checkpoint_contexts, policy)
    for layer in layers:
        x = torch_checkpoint.checkpoint(layer, x, use_reentrant=False, context_fn=contexts)
    return x


# %%
from torch.utils.flop_counter import FlopCounterMode

from course_lib.experiments.gradient_checkpointing import step_of

for name, way in {"plain": plain, "14 segments": in_segments(14), "selective": selective}.items():
    with FlopCounterMode(display=False) as counter:
        step_of(residual, x, way)()
    peak = peak_activations(residual, x, way)
    print(f"{name:11} peak {peak:3.0f} activations, {counter.get_total_flops() / 1e9:.2f} GFLOP of products")

# %% [markdown]
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you count what autograd keeps, write a checkpoint, find the best number of segments for layers
# with more inside, and compute what a schedule costs. **Lesson 14** saves memory in the other direction: big batches in small
# pieces.
#
# - Chen, Xu, Zhang, Guestrin 2016, *Training Deep Nets with Sublinear Memory Cost*, arXiv:1604.06174.
# - Griewank, Walther 2000, *Algorithm 799: revolve*, ACM Transactions on Mathematical Software.
# - Beaumont et al. 2019, *Optimal checkpointing for heterogeneous chains: how to train deep neural networks with limited
#   memory*, arXiv:1911.13214.
