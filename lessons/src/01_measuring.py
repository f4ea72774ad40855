# %% [markdown]
# # 01 · Measuring: what does a network cost?
#
# *A network has many prices: numbers to store, multiplications, bytes, milliseconds, energy. You learn to measure each
# one fairly, and why saving one of them may leave the others as they were.*
#
# **30 minutes.** You need: PyTorch basics and lesson 00.
#
# At the end you can
# - count parameters, multiply-adds and bytes by hand, and trust a counter only after checking it;
# - time a function so that the number means something;
# - tell a compression ratio from a speedup, and a theoretical speedup from a real one.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=1)

# %% [markdown]
# This lesson's guest is VGG-16, in the form used for 32×32 images (CIFAR). `empty` builds it with shapes but without
# memory for its weights, which is enough for counting. The layers get the names of the paper.

# %% tags=["setup"]
from dataclasses import replace

from course_lib.measure import layer_costs
from course_lib.models import empty, vgg

BLOCKS = enumerate((2, 2, 3, 3, 3), start=1)  # convolutions in each block
NAMES = [f"conv{block}_{i}" for block, depth in BLOCKS for i in range(1, depth + 1)] + ["linear"]
cifar = [replace(cost, name=name) for cost, name in zip(layer_costs(empty(vgg), (3, 32, 32)), NAMES)]

# %% [markdown]
# ## 1 · Predict
#
# VGG-16 has 13 convolutions and a linear layer. The last three convolutions hold about half of all its weights.

# %%
from course_lib.checking import predict

bet = predict("share", "What share of VGG-16's multiplications is done in these last three convolutions?", unit="% of the MACs")
bet

# %% [markdown]
# ## 2 · The idea
#
# In 2020 Davis Blalock and colleagues compared 81 papers on pruning, and could not: the cost of the same dense network,
# AlexNet, was given as 371, 724 and 1,500 million operations. Before one can make a network cheaper, one must agree on
# what is counted. This course counts
#
# - **parameters**: numbers the network holds, biases included;
# - **MACs**: multiplies, each with its add. A linear layer uses each weight once, a convolution once for each position
#   of its output:
#
# $$\text{MACs}_\text{linear} = \text{in} \cdot \text{out} \qquad
# \text{MACs}_\text{conv} = \text{out} \cdot \frac{\text{in}}{\text{groups}} \cdot k^2 \cdot H_\text{out} \cdot W_\text{out}$$
#
# - **bytes** of a file that is really written; **milliseconds** on a clock that is really read; **picojoules**.
#
# The last ones hold the surprise. In 2014 Mark Horowitz listed what an operation costs a chip (45 nm). Here is that
# list, as Song Han printed it a year later to explain why he removes weights:

# %%
from course_lib import viz
from course_lib.measure import PICOJOULES

viz.paired_bars(
    list(PICOJOULES), {"energy": list(PICOJOULES.values())}, ylabel="picojoules", logy=True,
    caption="Each grid line is ten times more. Fetching a word from main memory (DRAM) costs more than all arithmetic.",
)  # fmt: skip

# %% [markdown]
# ## 3 · Build it
#
# **MACs.** No formula yet: do a small convolution with loops, and count each multiplication. It has two groups and a
# stride of 2, so that all parts of the formula take part.

# %%
import torch
from torch import nn

convolution = nn.Conv2d(4, 6, kernel_size=3, stride=2, padding=1, groups=2, bias=False)
image = torch.randn(1, 4, 7, 9)
padded, weight = nn.functional.pad(image, (1, 1, 1, 1))[0], convolution.weight  # (4, 9, 11), (6, 2, 3, 3)
output, macs = torch.zeros(6, 4, 5), 0
for o, y, x in torch.cartesian_prod(torch.arange(6), torch.arange(4), torch.arange(5)).tolist():
    first = 2 * (o // 3)  # filters 0..2 see the channels 0 and 1, filters 3..5 the channels 2 and 3
    for c, dy, dx in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(3)).tolist():
        output[o, y, x] += weight[o, c, dy, dx].item() * padded[first + c, 2 * y + dy, 2 * x + dx]
        macs += 1
assert torch.allclose(output, convolution(image)[0], atol=1e-5)  # the loops compute the right thing
print(f"counted: {macs:,} MACs; weights · output positions = {weight.numel()} · {output[0].numel()} = {weight.numel() * 20:,}")

# %% [markdown]
# A linear layer is the case of one position: its MACs are its weights.
#
# **Bytes.** A safetensors file is simple enough to read by hand: 8 bytes say how long the header is, the header (JSON)
# says where each tensor lies, and the rest is numbers.

# %%
import json

from safetensors.torch import save

from course_lib.models import lenet_300_100

lenet = lenet_300_100((1, 28, 28))
data = save(lenet.state_dict())  # the bytes of the file
length = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + length])
print(f"8 + {length} + {len(data) - 8 - length:,} bytes\n5.bias: {header['5.bias']}")
start, end = header["5.bias"]["data_offsets"]
bias = torch.frombuffer(bytearray(data[8 + length + start : 8 + length + end]), dtype=torch.float32)
assert torch.equal(bias, lenet[5].bias)

# %% [markdown]
# **Milliseconds.** Time the same forward pass forty times, one by one, starting cold.

# %%
import statistics
import time

cold, x = vgg(width=1 / 4).eval(), torch.randn(1, 3, 32, 32)
times_ms = []
with torch.no_grad():
    for _ in range(40):
        start = time.perf_counter()
        cold(x)
        times_ms.append(1000 * (time.perf_counter() - start))
viz.curves(range(40), {"one run": times_ms}, xlabel="run", ylabel="milliseconds", levels={"median": statistics.median(times_ms)},
           caption="The first call pays for memory and for choosing kernels. Later the computer is, now and then, busy elsewhere.")  # fmt: skip

# %% [markdown]
# So: throw the first runs away (*warm-up*), and report the **median**, which no single run can move, with the width of
# the middle half of the runs.

# %%
warm = times_ms[10:]
first, _, third = statistics.quantiles(warm, n=4)
print(f"first run {times_ms[0]:.2f} ms; mean of all {statistics.fmean(times_ms):.2f} ms")
print(f"median after the warm-up {statistics.median(warm):.2f} ms, middle half within {third - first:.2f} ms")

# %% [markdown]
# **Picojoules.** LeNet-300-100, one example, weights fetched from DRAM, a word being 4 bytes:

# %%
lenet_macs = 784 * 300 + 300 * 100 + 100 * 10
words = sum(parameter.numel() for parameter in lenet.parameters())
arithmetic, fetching = lenet_macs * (3.7 + 0.9), words * 640.0
print(f"arithmetic {arithmetic / 1e6:.1f} µJ, fetching {fetching / 1e6:.1f} µJ")

# %% [markdown]
# **Two ratios.** Remove weights, and ask two questions: how much smaller, and how much less work?
#
# $$\text{compression ratio} = \frac{\text{parameters of the original}}{\text{non-zero parameters left}} \qquad
# \text{theoretical speedup} = \frac{\text{MACs}}{\text{MACs on non-zero weights}}$$
#
# *Theoretical*, because no ordinary computer skips a zero. In LeNet-300-100 every weight works once, so the two would be
# nearly equal. In a convolutional network it matters *where* the zeros are:

# %%
from course_lib.models import small_cnn

original = small_cnn()  # convolutions at 64 and at 16 positions, then a linear layer
masked = small_cnn()
masked.load_state_dict(original.state_dict())
with torch.no_grad():
    for layer, sparsity in ((masked[3], 0.5), (masked[7], 0.9)):
        layer.weight[torch.rand_like(layer.weight) < sparsity] = 0.0
alive = {i: int(masked[i].weight.count_nonzero()) for i in (0, 3, 7)}
biases = 16 + 32 + 10
ratio = sum(p.numel() for p in original.parameters()) / (sum(alive.values()) + biases)
speedup = (144 * 64 + 4608 * 16 + 1280) / (alive[0] * 64 + alive[3] * 16 + alive[7])
print(f"compression ratio {ratio:.2f}, theoretical speedup {speedup:.2f}")

# %% [markdown]
# `course_lib.measure` does all this for any network. The same answers? (The clock is replayed from the list above.)

# %%
from course_lib.measure import compression_ratio, energy_pj, latency, parameter_count, stored_bytes, theoretical_speedup

assert layer_costs(convolution, (4, 7, 9))[0].macs == macs
assert sum(cost.macs for cost in layer_costs(lenet, (1, 28, 28))) == lenet_macs
assert stored_bytes(lenet) == len(data)
replay = iter([now for ms in warm for now in (0.0, ms / 1000)])
replayed = latency(lambda: None, clock=lambda: next(replay), warmup=0, runs=len(warm))
assert abs(replayed.median_ms - statistics.median(warm)) < 1e-9
assert abs(energy_pj(lenet_macs, dram_bytes=4 * words) - arithmetic - fetching) < 1
assert compression_ratio(original, masked) == ratio
assert theoretical_speedup(original, masked, (1, 8, 8)) == speedup
print("the same MACs, bytes, milliseconds, picojoules and ratios")

# %% [markdown]
# **The price of a big model.** GPT-3 has 175 billion parameters and read 300 billion tokens (pieces of words). Just to
# hold it:

# %%
PARAMETERS, TOKENS = 175e9, 300e9
for number, bits in {"float32": 32, "float16": 16, "int8": 8, "4 bits": 4}.items():
    print(f"{number:8} {PARAMETERS * bits / 8 / 1e9:5.0f} GB")

# %% [markdown]
# Training takes about $6 \cdot N \cdot D$ operations for $N$ parameters and $D$ tokens: for each, a multiply and an add
# forward, and twice that backward. The rest depends on where and how you run it. **These are assumptions: change
# them.** 10⁻¹¹ J is a 300 W processor that keeps up 3·10¹³ operations a second; the money pays for electricity only.

# %%
def price(operations, *, joules_per_operation, kg_co2_per_kwh, dollars_per_kwh):
    kwh = operations * joules_per_operation / 3.6e6
    return f"{kwh:,.1f} kWh, {kwh * kg_co2_per_kwh:,.1f} kg of CO₂, {kwh * dollars_per_kwh:,.1f} dollars"


ASSUMED = {"joules_per_operation": 1e-11, "kg_co2_per_kwh": 0.4, "dollars_per_kwh": 0.15}
training = 6 * PARAMETERS * TOKENS
print(f"training, {training:.3g} operations: {price(training, **ASSUMED)}")
print(f"a million answered tokens, 2·N operations each: {price(1e6 * 2 * PARAMETERS, **ASSUMED)}")

# %% [markdown]
# Training happens once, answering for ever. After how many answered tokens has inference cost more? The parameters
# cancel: $6ND / 2N = 3D$. (`dearer`: small batches fetch the weights more often, so an operation may cost more.)

# %%
def break_even(tokens_trained, *, tokens_per_day, dearer):
    tokens = 3 * tokens_trained / dearer
    return f"{tokens:.2g} tokens: {tokens / tokens_per_day:.0f} days"


for dearer in (1, 5):
    print(f"dearer = {dearer}:", break_even(TOKENS, tokens_per_day=1e10, dearer=dearer))

# %% [markdown]
# **Memory.** Inference needs the parameters, and one layer's input and output at a time. Training with Adam needs the
# parameters, their gradients and two running averages, and it keeps *activations* for the backward pass. Those are
# measured here, by asking autograd what it keeps:

# %%
from course_lib.measure import saved_bytes

BATCHES = [1, 8, 16, 32, 64]
narrow = vgg(width=1 / 8)
weights_kb = 4 * parameter_count(narrow) / 1000
layer_kb = 2 * max(cost.activation_bytes for cost in layer_costs(narrow, (3, 32, 32))) / 1000  # input and output
memory = {
    "training": [4 * weights_kb + saved_bytes(lambda: narrow(torch.rand(batch, 3, 32, 32))) / 1000 for batch in BATCHES],
    "inference": [weights_kb + layer_kb * batch for batch in BATCHES],
}
viz.curves(BATCHES, memory, xlabel="batch", ylabel="kilobytes", levels={"the parameters alone": weights_kb},
           caption="A narrow VGG-16. Training starts at several times the parameters, and every image adds its activations.")  # fmt: skip

# %% [markdown]
# `saved_bytes` also counts the weights that backward needs; that is a small constant. Lessons 13 and 14 make the steep
# line flat.
#
# ## 4 · Play
#
# VGG-16, layer by layer: weights to the left, work to the right. Lock in the widget's question if you like, then:
# 1. Press *Last three convolutions at 0.9*. Which ratio moves?
# 2. Press *First two convolutions at 0.9*. Which one now?
# 3. Can you reach a theoretical speedup of 2 while the compression ratio stays below 1.2?

# %% tags=["setup", "widget"]
from course_lib.widgets.measuring import cost_explorer

cost_explorer(cifar)

# %% [markdown]
# ## 5 · Evidence
#
# **Where the weights are, and where the work is.** The same question for both forms of VGG-16:

# %%
def shares(costs, layers):  # of the parameters, of the MACs
    chosen = costs[layers]
    return [sum(getattr(c, what) for c in chosen) / sum(getattr(c, what) for c in costs) for what in ("parameters", "macs")]


imagenet = layer_costs(empty(vgg, form="imagenet", n_classes=1000), (3, 224, 224))
last_cifar, last_imagenet = shares(cifar, slice(10, 13)), shares(imagenet, slice(10, 13))
per_layer = [shares(cifar, slice(i, i + 1)) for i in range(len(cifar))]
viz.paired_bars(
    NAMES, {"parameters": [100 * p for p, _ in per_layer], "MACs": [100 * m for _, m in per_layer]}, ylabel="percent of all",
    caption="VGG-16 for CIFAR: its weights are at the end, its work is in the middle.",
)  # fmt: skip

# %% [markdown]
# Five layers are of equal size. The last three work on images of 2×2 positions, the two before them on 4×4. Your bet:

# %%
bet.reveal(round(100 * last_cifar[1], 1), f"They hold {last_cifar[0]:.0%} of the weights.")

# %% [markdown]
# On ImageNet the same three layers are a small part of the weights, because three linear layers hold nine tenths of
# them: a share belongs to a network *and* its data.
#
# **Memory or arithmetic?** Weights come from DRAM once for each batch, activations go to SRAM and back. How much of the
# energy is arithmetic?

# %%
def arithmetic_share(costs, batch):
    parameters, macs = (sum(getattr(cost, what) for cost in costs) for what in ("parameters", "macs"))
    activations = 2 * sum(cost.activation_bytes for cost in costs)  # written, then read
    return energy_pj(macs) / energy_pj(macs, dram_bytes=4 * parameters / batch, sram_bytes=activations)


POWERS = [2**k for k in range(11)]
lenet_costs = layer_costs(lenet, (1, 28, 28))
energy = {name: [arithmetic_share(c, b) for b in POWERS] for name, c in (("LeNet-300-100", lenet_costs), ("VGG-16", cifar))}
catch_up = next(batch for batch in range(1, 10_000) if arithmetic_share(lenet_costs, batch) >= 0.5)
viz.curves(POWERS, energy, xlabel="batch", ylabel="arithmetic's share of the energy", percent=True, logx=True, levels={"half": 0.5},
           caption="Linear layers need a large batch before arithmetic matters. Convolutions reuse each weight and need a small one.")  # fmt: skip

# %% [markdown]
# **The same ratio, another speedup.** Five small CNNs, trained on five folds of the digits, lose six tenths of their
# weights: the smallest over all layers, or the smallest of each layer (lesson 02 builds both). Which is better? It
# depends on which price you ask about.

# %%
from course_lib.data import load
from course_lib.evidence import Claim, evidence, paired_difference, summarise
from course_lib.experiments.magnitude_pruning import pruned, test_accuracies, trained
from course_lib.pruning import magnitude_scores, masks_from_scores

folds = [load("digits", fold=fold) for fold in range(5)]
nets = trained(small_cnn, folds, steps=300)
SPARSITY, speedups = 0.6, {}
for scope in ("global", "layer"):
    small = pruned(nets, [masks_from_scores(magnitude_scores(net), SPARSITY, scope=scope) for net in nets])
    speedups[scope] = [theoretical_speedup(net, cut, (1, 8, 8)) for net, cut in zip(nets, small)]
    ratios = summarise([compression_ratio(net, cut) for net, cut in zip(nets, small)])
    right = summarise(test_accuracies(small, folds))
    print(f"{scope:6}: compression ratio {ratios}, theoretical speedup {summarise(speedups[scope])}, accuracy {right:%}")

# %% [markdown]
# **And the clock?** An MLP with nine tenths of its weights at zero, against the same MLP with fewer units and about as
# many MACs left. Five seeds, batches of 32 images, each time divided by the dense network's.

# %%
from course_lib.models import mlp

def clock_ratios(seed):
    torch.manual_seed(seed)
    dense, narrow, x = mlp((784, 512, 512, 10)), mlp((784, 80, 80, 10)), torch.rand(32, 784)
    before = latency(lambda: dense(x), runs=25).median_ms
    with torch.no_grad():
        for layer in dense[1::2]:
            layer.weight[torch.rand_like(layer.weight) < 0.9] = 0.0
    zeros, small = (latency(lambda: net(x), runs=25).median_ms for net in (dense, narrow))
    return theoretical_speedup(mlp((784, 512, 512, 10)), dense, (784,)), before / zeros, before / small


with torch.no_grad():
    promised, with_zeros, with_fewer = zip(*(clock_ratios(seed) for seed in range(5)))

# %% [markdown]
# **Who counts right?** PyTorch has a counter of its own. It counts multiplies and adds one by one, so it should say
# exactly twice our MACs. Eight networks, among them grouped, strided and transposed convolutions:

# %%
from torch.utils.flop_counter import FlopCounterMode

from course_lib.models import lenet_5

def flops_of(model, input_shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *input_shape))
    return counter.get_total_flops()

# %%
NETWORKS = [
    (lenet, (1, 28, 28)), (lenet_5(), (1, 28, 28)), (original, (1, 8, 8)),
    (vgg(width=1 / 4), (3, 32, 32)), (vgg("vgg11", width=1 / 4, batch_norm=True), (3, 32, 32)),
    (vgg(form="imagenet", width=1 / 16), (3, 224, 224)),
    (nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, groups=4), nn.Conv2d(16, 16, 5, groups=16)), (8, 15, 12)),
    (nn.Sequential(nn.ConvTranspose2d(8, 4, 3, stride=2), nn.Conv2d(4, 2, 3, dilation=2)), (8, 9, 9)),
]  # fmt: skip
counts = [(sum(c.macs for c in layer_costs(net, shape)), flops_of(net.eval(), shape)) for net, shape in NETWORKS]

# %% [markdown]
# **Paper says / measured here.** This cell fails if a claim does not hold. Claims about the clock are only reported.

# %%
han = [2 * counts[i][0] / 1000 for i in (0, 1)]  # thousands of operations
gap = paired_difference(speedups["layer"], speedups["global"])
traffic = fetching / arithmetic
clock = [f"median {statistics.median(r):.2f} × ({min(r):.2f} to {max(r):.2f})" for r in (with_zeros, with_fewer)]
agree = sum(2 * ours == theirs for ours, theirs in counts)
both = [f"{p:.0%} of the weights, {m:.0%} of the MACs" for p, m in (last_cifar, last_imagenet)]

# %%
evidence(
    Claim("operations of LeNet-300-100 and LeNet-5 (two for a MAC)", "532K and 4586K (Han 2015)",
          f"{han[0]:.0f}K and {han[1]:.0f}K", [round(k) for k in han] == [532, 4586]),
    Claim("training GPT-3: 6·N·D operations", "3.14e23 (Brown 2020)", f"{training:.3g}", abs(training / 3.14e23 - 1) < 0.01),
    Claim("CIFAR VGG-16, last three convolutions: half the weights, under a tenth of the work", "", both[0],
          abs(last_cifar[0] - 0.5) < 0.05 and last_cifar[1] < 0.1),
    Claim("ImageNet VGG-16: the same layers do more than their share", "", both[1], last_imagenet[0] < last_imagenet[1] < 0.1),
    Claim("LeNet-300-100 at batch 1: fetching costs over 100 times the arithmetic", "640 pJ against 3.7 (Han 2015)", f"{traffic:.0f} ×", traffic > 100),
    Claim("… and arithmetic catches up only at a batch over 100", "", f"at {catch_up}", catch_up > 100),
    Claim("at one compression ratio, layer by layer gives more theoretical speedup than one global ranking", "order can flip (Blalock 2020)",
          f"{gap} more", gap.low > 0),
    Claim("our MACs are half of torch.utils.flop_counter's", "", f"{agree} of {len(counts)} networks", agree == len(counts)),
    Claim(f"clock: zeros, promised {statistics.median(promised):.1f} ×", "", clock[0], None),
    Claim("clock: fewer units instead", "", clock[1], None),
)  # fmt: skip

# %% [markdown]
# Han's table and ours agree to the digit, once a MAC is two operations. The zeros of an unstructured mask are worth what
# the clock says, not what the formula promises; a network that really has fewer units is another matter (lesson 07).
#
# ## 6 · Where it fails
#
# **Parameters, MACs and time are three different orders.** These five layers do the *same* number of MACs:

# %%
LAYERS = {
    "linear, 3072 → 3072": (nn.Linear(3072, 3072), (3072,)),
    "3×3, 512 channels, 2×2 image": (nn.Conv2d(512, 512, 3, padding=1), (512, 2, 2)),
    "3×3, 64 channels, 16×16 image": (nn.Conv2d(64, 64, 3, padding=1), (64, 16, 16)),
    "1×1, 192 channels, 16×16 image": (nn.Conv2d(192, 192, 1), (192, 16, 16)),
    "depthwise 3×3, 256 ch., 64×64": (nn.Conv2d(256, 256, 3, padding=1, groups=256), (256, 64, 64)),
}
for name, (layer, shape) in LAYERS.items():
    x, (cost,) = torch.randn(1, *shape), layer_costs(layer, shape)
    with torch.no_grad():
        print(f"{name:31} {cost.parameters:>10,} parameters {cost.macs:>10,} MACs  {latency(lambda: layer(x))}")

# %% [markdown]
# What differs is how much must be fetched for each MAC: the linear layer and the late convolution use each weight once
# or a few times, the depthwise one each pixel a few times. The clock waits for memory. So "fewer MACs" and "fewer
# parameters" are both poor forecasts of "faster": measure.
#
# **One number can be fooled.** The same work, timed thirty times; in one of them the computer did something else for a
# tenth of a second.

# %%
layer, shape = LAYERS["3×3, 64 channels, 16×16 image"]
x = torch.randn(1, *shape)
pauses = iter([0.0] * 17 + [0.1] + [0.0] * 100)  # seconds; the first five calls warm up


def disturbed():
    layer(x)
    time.sleep(next(pauses))


clock_reads = []
with torch.no_grad():
    measured = latency(disturbed, clock=lambda: clock_reads.append(time.perf_counter()) or clock_reads[-1])
times_ms = [1000 * (end - start) for start, end in zip(clock_reads[::2], clock_reads[1::2])]
print(f"mean {statistics.fmean(times_ms):.2f} ms, standard deviation {statistics.stdev(times_ms):.2f} ms\nlatency: {measured}")

# %% [markdown]
# **Counters have blind spots.** Ours listens to layers. A product written with `@` belongs to no layer. Where it uses a
# parameter, `layer_costs` notices and warns; where it multiplies activations with each other, as attention does, nothing
# is noticed at all:

# %%
import warnings


class OwnWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(16, 16))

    def forward(self, x):
        return x @ self.matrix


class Similarity(nn.Module):
    def forward(self, x):
        return x @ x.mT


# %%
for blind in (OwnWeight(), nn.Sequential(nn.Linear(16, 16), Similarity())):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ours = sum(cost.macs for cost in layer_costs(blind, (10, 16)))
    with FlopCounterMode(display=False) as counter:
        blind(torch.randn(1, 10, 16))
    print(f"ours {ours:,}, torch {counter.get_total_flops() // 2:,} MACs; warnings: {[str(w.message) for w in heard]}")

# %% [markdown]
# ## 7 · In practice
#
# `torch.utils.flop_counter` listens to the operations themselves, so it sees every product, those of attention and of
# the backward pass included. It needs a run, and like ours it does not see zeros.

# %%
with FlopCounterMode(display=False) as counter:
    small_cnn()(torch.randn(1, 1, 8, 8)).sum().backward()
by_operation = {str(operation): flops for operation, flops in counter.get_flop_counts()["Global"].items()}
print("forward and backward, in operations:", by_operation)

# %% [markdown]
# `torch.profiler` tells where the time goes, operation by operation. Look here before you make anything faster:

# %%
import os

os.environ["KINETO_LOG_LEVEL"] = "6"  # what stands below the profiler is to keep quiet
from torch.profiler import ProfilerActivity, profile

x = torch.randn(8, 3, 32, 32)
with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
    cold(x)
spent = sorted(seen.key_averages(), key=lambda event: -event.self_cpu_time_total)
for event in spent[:5]:
    print(f"{event.key:32} {event.self_cpu_time_total / 1000:7.2f} ms in {event.count} calls")

# %% [markdown]
# At work you would also meet `torch.utils.benchmark` (latency, with warm-up and spread), fvcore's `FlopCountAnalysis`,
# and, on a graphics card, `torch.cuda.synchronize()`: without it the clock stops before the work does.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the count, both ratios, the energy of a layer and a fair clock. Then **lesson 02** asks
# which weights can go.
#
# - Horowitz 2014, *Computing's Energy Problem (and what we can do about it)*, ISSCC.
# - Han, Pool, Tran, Dally 2015, *Learning both Weights and Connections for Efficient Neural Networks*, NIPS.
# - Blalock, Gonzalez Ortiz, Frankle, Guttag 2020, *What is the State of Neural Network Pruning?*, MLSys.
