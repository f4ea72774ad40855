# %% [markdown]
# # 01 · Measuring: what does a network cost?
#
# *A network has many prices: numbers to store, multiplications, bytes, milliseconds, energy. You learn to measure each
# one fairly, and why saving one of them may leave the others as they were.*
#
# **40 minutes.** You need: PyTorch basics and lesson 00.
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
# memory for its weights, which is enough for counting. conv3_2 is the second
# convolution of the third block. Printed below: what conv1_1 costs.

# %% tags=["setup"]
from dataclasses import replace

from course_lib.measure import layer_costs
from course_lib.models import empty, vgg

NAMES = [
    "conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3",
    "conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "linear",
]
costs = layer_costs(empty(vgg), input_shape=(3, 32, 32))
cifar = [replace(cost, name=name) for cost, name in zip(costs, NAMES)]  # copies with a better name
print(cifar[0])

# %% [markdown]
# ## 1 · Predict
#
# VGG-16 has 13 convolutions and a linear layer. The last three convolutions hold about half of all its weights. (A **MAC**
# is one multiplication with the addition that follows it.)

# %%
from course_lib.checking import predict

bet = predict(
    "share",
    "What share of VGG-16's multiplications is done in these last three convolutions?",
    unit="% of the MACs",
)
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
# The last ones hold the surprise. In 2014 Mark Horowitz listed what an operation costs a chip. A year later Song Han
# printed the 32-bit part of that list to explain why he removes weights. (*SRAM* is the small memory on the chip, *DRAM*
# the main memory beside it.)

# %%
from course_lib import viz
from course_lib.measure import PICOJOULES

ladder = sorted(PICOJOULES, key=PICOJOULES.get)  # from the cheapest to the dearest
viz.paired_bars(
    [f"{operation}: {PICOJOULES[operation]:g}" for operation in ladder],
    {"a 45 nm chip": [PICOJOULES[operation] for operation in ladder]},
    ylabel="picojoules for one operation",
    logy=True,
    caption="Each grid line is ten times more: a number from DRAM costs over 100 multiplications.",
)

# %% [markdown]
# ## 3 · Build it
#
# **MACs.** No formula yet: do a small convolution with loops, and count each multiplication. It has two groups and a
# stride of 2, so that every part of the formula works.

# %%
import torch
from torch import nn

convolution = nn.Conv2d(4, 6, kernel_size=3, stride=2, padding=1, groups=2, bias=False)
weight = convolution.weight.detach()  # (6, 2, 3, 3): each of 6 filters sees 2 of the 4 channels
image = torch.randn(4, 7, 9)  # (channels, height, width)
padded = nn.functional.pad(image, (1, 1, 1, 1))  # (4, 9, 11)
expected = convolution(image)  # (6, 4, 5)

# %%
from itertools import product

output, macs = torch.zeros(6, 4, 5), 0
for filter_, row, column in product(range(6), range(4), range(5)):  # each number of the output
    first = 0 if filter_ < 3 else 2  # group one sees channels 0 and 1, group two 2 and 3
    for channel, down, right in product(range(2), range(3), range(3)):  # each weight of the filter
        pixel = padded[first + channel, 2 * row + down, 2 * column + right]  # 2 is the stride
        output[filter_, row, column] += weight[filter_, channel, down, right] * pixel
        macs += 1

assert torch.allclose(output, expected, atol=1e-5)  # the loops compute the right thing
positions = 4 * 5
print(f"counted: {macs:,} MACs")
print(f"formula: {weight.numel()} weights · {positions} positions = {weight.numel() * positions:,}")

# %% [markdown]
# A linear layer is the case of one position: its MACs are its weights.
#
# **Bytes.** LeNet-300-100 is a classic: 784 pixels, then layers of 300, 100 and 10 units. A safetensors file of it is
# simple enough to read by hand: 8 bytes say how long the header is, the header (JSON) says where each tensor lies, and
# the rest is numbers.

# %%
import json

from safetensors.torch import save

from course_lib.models import lenet_300_100

lenet = lenet_300_100((1, 28, 28))
file = save(lenet.state_dict())  # the bytes that go to the disk
header_length = int.from_bytes(file[:8], "little")
header = json.loads(file[8 : 8 + header_length])
numbers = file[8 + header_length :]
print(f"{len(file):,} bytes = 8 + {header_length} of header + {len(numbers):,} of numbers")
print("the last bias:", header["5.bias"])

# %%
start, end = header["5.bias"]["data_offsets"]
bias = torch.frombuffer(bytearray(numbers[start:end]), dtype=torch.float32)
assert torch.equal(bias, lenet[5].bias)
print("read by hand:", bias[:4])

# %% [markdown]
# **Milliseconds.** Time the same forward pass forty times, one by one, starting cold.

# %%
import statistics
import time

network, batch = vgg(width=1 / 4).eval(), torch.randn(1, 3, 32, 32)
times_ms = []
with torch.no_grad():
    for _ in range(40):
        start = time.perf_counter()
        network(batch)
        times_ms.append(1000 * (time.perf_counter() - start))

# %%
viz.curves(
    range(1, 41),
    {"each run": times_ms},
    xlabel="run",
    ylabel="milliseconds",
    levels={"median of all": statistics.median(times_ms)},
    caption="The first run also sets things up. Later peaks: the computer was busy elsewhere.",
)

# %% [markdown]
# So: throw the first runs away (*warm-up*), and report the **median**, which no single run can move, with the width of
# the middle half.

# %%
warm = times_ms[10:]
first_quarter, median, third_quarter = statistics.quantiles(warm, n=4)
print(f"first run {times_ms[0]:.2f} ms, mean of all {statistics.fmean(times_ms):.2f} ms")
spread = third_quarter - first_quarter
print(f"after the warm-up: median {median:.2f} ms, middle half within {spread:.2f} ms")

# %% [markdown]
# **Picojoules.** LeNet-300-100, one example, every parameter fetched from DRAM once (a million picojoules is a µJ):

# %%
lenet_macs = 784 * 300 + 300 * 100 + 100 * 10
lenet_words = sum(parameter.numel() for parameter in lenet.parameters())
arithmetic = lenet_macs * (3.7 + 0.9)  # a multiply and an add
fetching = lenet_words * 640.0
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
import copy

from course_lib.models import small_cnn

original = small_cnn()  # layers 0 and 3 are convolutions, layer 7 is linear
masked = copy.deepcopy(original)
with torch.no_grad():
    masked[3].weight[torch.rand(32, 16, 3, 3) < 0.5] = 0.0  # about half of the second convolution
    masked[7].weight[torch.rand(10, 128) < 0.9] = 0.0  # about nine tenths of the linear layer

# %%
POSITIONS = {0: 64, 3: 16, 7: 1}  # layer: at how many places each of its weights works
before = {layer: original[layer].weight.numel() for layer in POSITIONS}
left = {layer: int(masked[layer].weight.count_nonzero()) for layer in POSITIONS}
biases = 16 + 32 + 10
ratio = (sum(before.values()) + biases) / (sum(left.values()) + biases)

macs_before = sum(before[layer] * positions for layer, positions in POSITIONS.items())
macs_left = sum(left[layer] * positions for layer, positions in POSITIONS.items())
speedup = macs_before / macs_left
print(f"compression ratio {ratio:.2f}, theoretical speedup {speedup:.2f}")

# %% [markdown]
# `course_lib.measure` does all this for any network. The same answers?

# %%
from course_lib.measure import compression_ratio, energy_pj, stored_bytes, theoretical_speedup

assert layer_costs(convolution, (4, 7, 9))[0].macs == macs
assert sum(cost.macs for cost in layer_costs(lenet, (1, 28, 28))) == lenet_macs
assert stored_bytes(lenet) == len(file)
assert abs(energy_pj(lenet_macs, dram_bytes=4 * lenet_words) - (arithmetic + fetching)) < 1
assert compression_ratio(original, masked) == ratio
assert theoretical_speedup(original, masked, (1, 8, 8)) == speedup
print("the same MACs, bytes, picojoules and ratios")

# %% [markdown]
# And the clock? `latency` reads `time.perf_counter` before and after each run. Give it a clock that replays our times:

# %%
from course_lib.measure import latency

readings = []
for ms in warm:
    readings += [0.0, ms / 1000]  # seconds: when the run begins, and when it ends
replayed = latency(lambda: None, clock=lambda: readings.pop(0), warmup=0, runs=len(warm))
assert abs(replayed.median_ms - median) < 1e-9
print(f"by hand {median:.3g} ms; latency says {replayed}")

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
    co2, money = kwh * kg_co2_per_kwh, kwh * dollars_per_kwh
    return f"{kwh:,.1f} kWh, {co2:,.1f} kg of CO₂, {money:,.2f} dollars"


ASSUMED = {"joules_per_operation": 1e-11, "kg_co2_per_kwh": 0.4, "dollars_per_kwh": 0.15}
training = 6 * PARAMETERS * TOKENS
print(f"training, {training:.3g} operations: {price(training, **ASSUMED)}")
print(f"a million answered tokens, 2·N operations each: {price(1e6 * 2 * PARAMETERS, **ASSUMED)}")

# %% [markdown]
# Training happens once, answering for ever. After how many answered tokens has inference cost more? The parameters
# cancel: $6ND / 2N = 3D$. (Answers come in small batches, which fetch the weights more often. So an operation may be
# *dearer* than in training.)

# %%
def break_even(tokens_trained, *, tokens_per_day, dearer):
    tokens = 3 * tokens_trained / dearer
    return f"{tokens:.2g} tokens: {tokens / tokens_per_day:.0f} days"


for dearer in (1, 5):
    print(f"dearer = {dearer}:", break_even(TOKENS, tokens_per_day=1e10, dearer=dearer))

# %% [markdown]
# **Memory.** Inference needs the parameters, and one layer's input and output at a time. Training with Adam needs the
# parameters, their gradients and two running averages, and it keeps *activations* (what layers put out) for the backward
# pass. `saved_bytes` asks autograd what it keeps. The weights are part of that, so three copies are to be added:

# %%
from course_lib.measure import parameter_count, saved_bytes

narrow = vgg(width=1 / 8)
parameters_mb = 4 * parameter_count(narrow) / 1e6  # 4 bytes each
largest_mb = max(cost.activation_bytes for cost in layer_costs(narrow, (3, 32, 32))) / 1e6
BATCHES = [1, 8, 16, 32, 64]
training_mb, inference_mb = [], []
for size in BATCHES:
    images = torch.rand(size, 3, 32, 32)
    training_mb.append(3 * parameters_mb + saved_bytes(lambda: narrow(images)) / 1e6)
    inference_mb.append(parameters_mb + size * 2 * largest_mb)  # the largest input and output

# %%
viz.curves(
    BATCHES,
    {"training with Adam": training_mb, "inference": inference_mb},
    xlabel="batch size (images)",
    ylabel="memory (megabytes)",
    levels={"the parameters alone": parameters_mb},
    caption="A narrow VGG-16. Training starts at several times the parameters; every image adds.",
)

# %% [markdown]
# Lesson 13 makes the steep line less steep, lesson 14 flat.
#
# ## 4 · Play
#
# VGG-16, layer by layer: weights to the left, work to the right. It begins with your bet; lock it in, or skip it. Then:
# 1. Press *Last three convolutions at 0.9*. Which ratio moves?
# 2. Press *First two convolutions at 0.9*. Which one now?
# 3. Can you reach a theoretical speedup of 2 while the compression ratio stays below 1.2?

# %% tags=["setup", "widget"]
from course_lib.widgets.measuring import cost_explorer

cost_explorer(cifar)

# %% [markdown]
# ## 5 · Evidence
#
# **Where the weights are, and where the work is.** First for images of CIFAR's size, layer by layer:

# %%
def total(costs, price):  # price: "parameters", "macs" or "activation_bytes"
    return sum(getattr(cost, price) for cost in costs)


def percent(part, costs, price):
    return 100 * total(part, price) / total(costs, price)


viz.paired_bars(
    NAMES,
    {
        "parameters": [percent([layer], cifar, "parameters") for layer in cifar],
        "MACs": [percent([layer], cifar, "macs") for layer in cifar],
    },
    ylabel="percent of the whole network",
    caption="VGG-16 for CIFAR: the weights are at the end, the work is spread over the middle.",
)

# %% [markdown]
# Five layers are of equal size. The last three work on images of 2×2 positions, the two before them on 4×4. Your bet:

# %%
cifar_weights = percent(cifar[10:13], cifar, "parameters")
cifar_work = percent(cifar[10:13], cifar, "macs")
bet.reveal(round(cifar_work, 1), f"They hold {cifar_weights:.0f} % of the weights.")

# %% [markdown]
# On ImageNet, three large linear layers follow. The same three convolutions:

# %%
imagenet = layer_costs(empty(vgg, form="imagenet", n_classes=1000), (3, 224, 224))
imagenet_weights = percent(imagenet[10:13], imagenet, "parameters")
imagenet_work = percent(imagenet[10:13], imagenet, "macs")
linear_weights = percent(imagenet[13:], imagenet, "parameters")
print(f"convolutions: {imagenet_weights:.0f} % of the weights, {imagenet_work:.0f} % of the MACs")
print(f"linear layers: {linear_weights:.0f} % of the weights")

# %% [markdown]
# A share belongs to a network *and* its data.
#
# **Memory or arithmetic?** Weights come from DRAM once for each batch, activations go to SRAM and back. How much of the
# energy is arithmetic?

# %%
def arithmetic_share(costs, batch_size):
    macs = total(costs, "macs")
    weight_bytes = 4 * total(costs, "parameters") / batch_size  # each example pays its part
    activation_bytes = 2 * total(costs, "activation_bytes")  # written, then read
    everything = energy_pj(macs, dram_bytes=weight_bytes, sram_bytes=activation_bytes)
    return energy_pj(macs) / everything


lenet_costs = layer_costs(lenet, (1, 28, 28))
catch_up = 1
while arithmetic_share(lenet_costs, catch_up) < 0.5:
    catch_up += 1
print(f"LeNet-300-100: arithmetic is half of the energy from a batch of {catch_up} on")

# %%
SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
viz.curves(
    SIZES,
    {
        "LeNet-300-100": [arithmetic_share(lenet_costs, size) for size in SIZES],
        "VGG-16": [arithmetic_share(cifar, size) for size in SIZES],
    },
    xlabel="batch size (examples)",
    ylabel="arithmetic's share of the energy",
    percent=True, logx=True, levels={"half": 0.5},
    caption="Convolutions use each weight many times; linear layers only once for each example.",
)

# %% [markdown]
# **The same ratio, another speedup.** Five small CNNs, trained on five folds of the digits, lose six tenths of their
# weights: the smallest of the whole network ("global"), or the smallest of each layer ("layer"). Lesson 02 builds both.

# %%
from course_lib.data import load
from course_lib.evidence import Claim, evidence, paired_difference, summarise
from course_lib.experiments.magnitude_pruning import pruned, test_accuracies, trained
from course_lib.pruning import magnitude_scores, masks_from_scores

folds = [load("digits", fold=fold) for fold in range(5)]
cnns = trained(small_cnn, folds, steps=300)  # one for each fold

# %%
speedups = {}
for scope in ("global", "layer"):
    masks = [masks_from_scores(magnitude_scores(cnn), sparsity=0.6, scope=scope) for cnn in cnns]
    cut = pruned(cnns, masks)
    ratios = [compression_ratio(cnn, small) for cnn, small in zip(cnns, cut)]
    speedups[scope] = [theoretical_speedup(cnn, small, (1, 8, 8)) for cnn, small in zip(cnns, cut)]
    print(f"{scope}: compression ratio {summarise(ratios)}")
    print(f"    theoretical speedup {summarise(speedups[scope])}")
    print(f"    accuracy {summarise(test_accuracies(cut, folds)):%}")

# %% [markdown]
# At one compression ratio, one way keeps more accuracy and the other saves more work: the ratio alone hides a price.
#
# **And the clock?** A network of linear layers with nine tenths of its weights at zero, against one with fewer units and
# about as many MACs left. Five seeds, batches of 32 images; each speedup is the dense network's time over the other's, and
# *promised* is the theoretical one.

# %%
from course_lib.models import mlp


def dense_and_zeros():
    dense = mlp((784, 512, 512, 10))
    zeros = copy.deepcopy(dense)
    for layer in zeros:
        if isinstance(layer, nn.Linear):
            layer.weight[torch.rand_like(layer.weight) < 0.9] = 0.0
    return dense, zeros


def time_of(network, images):
    return latency(lambda: network(images), runs=25).median_ms


# %%
promised, with_zeros, with_fewer = [], [], []
for seed in range(5):
    torch.manual_seed(seed)
    images = torch.rand(32, 784)
    with torch.no_grad():
        dense, zeros = dense_and_zeros()
        fewer = mlp((784, 80, 80, 10))
        dense_ms = time_of(dense, images)
        with_zeros.append(dense_ms / time_of(zeros, images))
        with_fewer.append(dense_ms / time_of(fewer, images))
    promised.append(theoretical_speedup(dense, zeros, (784,)))
print(f"promised {summarise(promised)}")
print(f"zeros    {summarise(with_zeros)}")
print(f"fewer    {summarise(with_fewer)}")

# %% [markdown]
# **Who counts right?** PyTorch has a counter of its own. It counts multiplies and adds one by one, so it should say
# exactly twice our MACs. Eight networks, among them grouped, strided and transposed convolutions:

# %%
from torch.utils.flop_counter import FlopCounterMode

from course_lib.models import lenet_5


def torch_operations(network, input_shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *input_shape))
    return counter.get_total_flops()


grouped = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, groups=4), nn.Conv2d(16, 16, 5, groups=16))
transposed = nn.Sequential(nn.ConvTranspose2d(8, 4, 3, stride=2), nn.Conv2d(4, 2, 3, dilation=2))

# %%
NETWORKS = {
    "LeNet-300-100": (lenet, (1, 28, 28)),
    "LeNet-5": (lenet_5(), (1, 28, 28)),
    "small CNN": (original, (1, 8, 8)),
    "narrow VGG-16": (vgg(width=1 / 4), (3, 32, 32)),
    "VGG-11 with batch norm": (vgg("vgg11", width=1 / 4, batch_norm=True), (3, 32, 32)),
    "narrow ImageNet VGG-16": (vgg(form="imagenet", width=1 / 16), (3, 224, 224)),
    "grouped convolutions": (grouped, (8, 15, 12)),
    "transposed convolution": (transposed, (8, 9, 9)),
}
our_macs, torch_counts = {}, {}
for name, (candidate, shape) in NETWORKS.items():
    our_macs[name] = total(layer_costs(candidate, shape), "macs")
    torch_counts[name] = torch_operations(candidate.eval(), shape)
    print(f"{name:23} {our_macs[name]:>11,} MACs, torch {torch_counts[name]:>11,} operations")

# %% [markdown]
# **Paper says / measured here.** The last of these cells fails if a claim does not hold. Claims about the clock are only
# reported.

# %%
han_300 = round(2 * our_macs["LeNet-300-100"] / 1000)  # thousands of operations, two for a MAC
han_5 = round(2 * our_macs["LeNet-5"] / 1000)
agree = sum(2 * our_macs[name] == torch_counts[name] for name in NETWORKS)
counting = [
    Claim("operations of LeNet-300-100 and LeNet-5", "532K and 4586K (Han 2015)",
          f"{han_300}K and {han_5}K", (han_300, han_5) == (532, 4586)),
    Claim("training GPT-3 takes 6·N·D operations", "3.14e23 (Brown 2020)",
          f"{training:.3g}", abs(training / 3.14e23 - 1) < 0.01),
    Claim("our MACs are half of torch's operations", "",
          f"{agree} of {len(NETWORKS)} networks", agree == len(NETWORKS)),
]

# %%
traffic = fetching / arithmetic
prices = [
    Claim("CIFAR: last three convolutions, half of the weights, under a tenth of the work", "",
          f"{cifar_weights:.0f} % and {cifar_work:.0f} %",
          abs(cifar_weights - 50) < 5 and cifar_work < 10),
    Claim("ImageNet: the same layers do more than their share", "",
          f"{imagenet_weights:.0f} % and {imagenet_work:.0f} %",
          imagenet_weights < imagenet_work < 10),
    Claim("one example through LeNet-300-100: fetching costs over 100 × the arithmetic",
          "640 pJ against 3.7 (Han 2015)", f"{traffic:.0f} ×", traffic > 100),
    Claim("… and arithmetic catches up only at a batch over 100", "",
          f"at {catch_up}", catch_up > 100),
]

# %%
def median_and_range(values):
    return f"median {statistics.median(values):.2f} × ({min(values):.2f} to {max(values):.2f})"


promise = statistics.median(promised)
gain = paired_difference(speedups["layer"], speedups["global"])
speed = [
    Claim("equal compression ratios, unequal theoretical speedups: layer by layer gains more",
          "report both (Blalock 2020)", f"{gain} more", gain.low > 0),
    Claim(f"clock: zeros, promised {promise:.1f} ×", "", median_and_range(with_zeros), None),
    Claim("clock: fewer units instead", "", median_and_range(with_fewer), None),
]
evidence(*counting, *prices, *speed)

# %% [markdown]
# Han's table and ours agree to the digit, once a MAC is two operations. Zeros scattered over a weight are worth what the
# clock says, not what the formula promises; a network that really has fewer units is another matter (lesson 07).
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
    cost = layer_costs(layer, shape)[0]
    example = torch.randn(1, *shape)
    with torch.no_grad():
        time_taken = latency(lambda: layer(example))
    print(f"{name:31} {cost.parameters:>9,} parameters, {cost.macs:,} MACs: {time_taken}")

# %% [markdown]
# (*Depthwise*: each channel has a filter of its own.) What differs is how much must be fetched for each MAC, and how well
# the shape suits the processor. The linear layer uses each weight once, the late convolution four times, the depthwise
# one each pixel nine times. So "fewer MACs" and "fewer parameters" are both poor forecasts of "faster": measure.
#
# **One number can be fooled.** The same work, timed thirty times; in one of them the computer did something else for a
# tenth of a second.

# %%
layer, shape = LAYERS["3×3, 64 channels, 16×16 image"]
example = torch.randn(1, *shape)
times_ms = []
with torch.no_grad():
    for run in range(30):
        start = time.perf_counter()
        layer(example)
        if run == 17:
            time.sleep(0.1)  # something else needs the computer
        times_ms.append(1000 * (time.perf_counter() - start))
mean, deviation = statistics.fmean(times_ms), statistics.stdev(times_ms)
low, median, high = statistics.quantiles(times_ms, n=4)
print(f"mean   {mean:.2f} ms, standard deviation {deviation:.2f} ms")
print(f"median {median:.2f} ms, middle half within {high - low:.2f} ms")

# %% [markdown]
# **Counters have blind spots.** Ours listens to layers. A product written with `@` belongs to no layer. Where it uses a
# parameter, `layer_costs` notices and warns; where it multiplies activations with each other, as attention does, nothing
# is noticed at all:

# %%
import warnings


class OwnWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(16, 16))  # a parameter without a layer

    def forward(self, x):
        return x @ self.matrix


class Similarity(nn.Module):
    def forward(self, x):
        return x @ x.mT  # every row with every row, as attention does


# %%
for blind in (OwnWeight(), nn.Sequential(nn.Linear(16, 16), Similarity())):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        ours = total(layer_costs(blind, (10, 16)), "macs")
    theirs = torch_operations(blind, (10, 16)) // 2
    print(f"ours {ours:,} MACs, torch {theirs:,} MACs")
    print("  warning:", heard[0].message if heard else "none")

# %% [markdown]
# ## 7 · In practice
#
# `torch.utils.flop_counter` listens to the operations themselves, so it sees every product, those of attention and of
# the backward pass included. It needs a run, and it does not see zeros. Is backward really twice forward, as the price
# of GPT-3 assumed? Nearly: the first layer needs no gradient for its input.

# %%
with FlopCounterMode(display=False) as forward:
    loss = small_cnn()(torch.randn(1, 1, 8, 8)).sum()
with FlopCounterMode(display=False) as backward:
    loss.backward()
ahead, back = forward.get_total_flops(), backward.get_total_flops()
print(f"forward {ahead:,} operations, backward {back:,}: {back / ahead:.2f} times as many")

# %% [markdown]
# `torch.profiler` tells where the time goes, operation by operation. Look here before you make anything faster:

# %%
import os

os.environ["KINETO_LOG_LEVEL"] = "6"  # what stands below the profiler is to keep quiet
from torch.profiler import ProfilerActivity, profile

images = torch.randn(8, 3, 32, 32)
with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
    network(images)
events = sorted(seen.key_averages(), key=lambda event: event.self_cpu_time_total, reverse=True)
for event in events[:5]:
    print(f"{event.key:32} {event.self_cpu_time_total / 1000:7.2f} ms in {event.count} calls")

# %% [markdown]
# At work you would also meet `torch.utils.benchmark` (latency, with warm-up and spread), and, on a graphics card, `torch.cuda.synchronize()`: without it the clock stops before the work does.
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
