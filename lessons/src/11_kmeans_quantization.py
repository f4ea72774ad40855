# %% [markdown]
# # 11 · Sharing weights: how small can the file be?
#
# *Prune, let the weights that are left share a handful of values, write them in Huffman's code: the whole network fits into
# a file some thirty times smaller, with every byte counted, and predicts as well as before.*
#
# **40 minutes.** You need: lesson 02 (pruning); lessons 03 and 08 help.
#
# At the end you can
# - cluster weights by k-means in one dimension, and train a codebook by summed gradients;
# - write sparse weights as gaps and codes in Huffman's code, and count what that takes;
# - measure what each of the three stages saves in bytes and costs in accuracy.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=11)

# %% [markdown]
# Five networks, one for each fold, trained for 600 steps. Then two ways for another 500: `dense` just trains on, `sparse`
# is pruned gradually to sparsity 0.9 (lesson 03). Zeros mark what is gone.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.kmeans_quantization import pruned, trained_on
from course_lib.experiments.magnitude_pruning import test_accuracies, trained
from course_lib.models import lenet_300_100

folds = [load("digits", fold=fold) for fold in range(5)]
nets = trained(lambda: lenet_300_100(folds[0].input_shape), folds, steps=600)
dense = trained_on(nets, folds, steps=500)
sparse = pruned(nets, folds, 0.9, steps=500)
for name, networks in (("dense", dense), ("sparse", sparse)):
    print(f"{name:6} test accuracy {summarise(test_accuracies(networks, folds)):%}")

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_values = predict(
    "values",
    unit="points",
    question="Each layer's surviving weights become just FOUR values, with no training after. Accuracy lost?",
)
bet_values

# %%
bet_file = predict(
    "file",
    unit="times",
    question="How many times smaller than float32 is the file, everything in it, at no loss?",
)
bet_file

# %% [markdown]
# ## 2 · The idea
#
# Pruning alone disappoints on disk: each surviving weight needs 32 bits *and* a note where it stood. In 2016 Song Han,
# Huizi Mao and William Dally chained three stages, *Deep Compression*:
#
# 1. **prune**, and store the *gap* to the previous survivor instead of its position;
# 2. **share**: cluster each layer's survivors around $k$ values, the *codebook*, and store for each the code of its value,
#    $\log_2 k$ bits; then train the codebook;
# 3. **code**: write codes and gaps in Huffman's code, where frequent symbols are short.
#
# For $n$ weights of $b$ bits, sharing alone saves a factor of
#
# $$r = \frac{n\,b}{n \log_2 k + k\,b}.$$
#
# Which values? Those with the least *inertia* $\sum_i (w_i - c_{I_i})^2$, where weight $i$ has code $I_i$: **k-means**.

# %%
from course_lib import viz

weight = sparse[0][1].weight.detach()  # (300, pixels): the first layer of the first network
survivors = weight[weight != 0]
viz.histogram(survivors, xlabel="surviving weight", caption="What pruning leaves: two humps and two tails.")

# %% [markdown]
# ## 3 · Build it
#
# **K-means on a line.** Sort once. A cluster is then a run of neighbours that ends halfway between two centroids: finding all
# clusters takes $k-1$ binary searches instead of $nk$ distances. And the mean of a run is a difference of two *prefix sums*.

# %%
import torch


def my_kmeans(x, centroids):
    x, centroids, before = x.double().sort().values, centroids.double(), None
    sums = torch.cat([torch.zeros(1), x.cumsum(0)])  # prefix sums, (n + 1,)
    while True:
        inner = torch.searchsorted(x, (centroids[1:] + centroids[:-1]) / 2, right=True)
        borders = torch.cat([torch.tensor([0]), inner, torch.tensor([len(x)])])  # (k + 1,)
        if before is not None and torch.equal(borders, before):
            return centroids  # no weight has changed its cluster
        counts, before = borders.diff(), borders
        means = sums[borders].diff() / counts.clamp(min=1)
        centroids = torch.where(counts > 0, means, centroids)  # an empty cluster waits


# %% [markdown]
# An iteration only goes downhill, so where it ends depends on where it **starts**: *linear*, evenly spaced; *density*, as
# many weights between any two; *random*, some of the weights.

# %%
from course_lib.quantization.kmeans import kmeans_1d, optimal_kmeans_1d

k, ordered = 8, survivors.sort().values
density = ordered[((torch.arange(k) + 0.5) / k * len(ordered)).long()]
mine, theirs = my_kmeans(survivors, density), kmeans_1d(survivors, k, init="density")
assert torch.allclose(mine.float(), theirs.centroids, atol=1e-5)
print("the same eight values:", [round(c, 3) for c in mine.tolist()])

# %% [markdown]
# (The library sends an empty cluster to the weight farthest from its centroid.) A line is special: there the true optimum
# is known, by dynamic programming. The best $k$ clusters of the first $j$ weights are the best $k-1$ of the first $i$ and
# one more, for the best $i$. That is our yardstick:

# %%
least = optimal_kmeans_1d(survivors, 16).inertia(survivors)
for start in ("linear", "density", "random"):
    inertia = kmeans_1d(survivors, 16, init=start).inertia(survivors)
    print(f"{start:8} inertia {inertia:.3f}, {inertia / least:.2f} times the least possible")

# %% [markdown]
# **Train the codebook.** If value $c_j$ moves, all weights with code $j$ move along, so their gradients add up:
# $\partial L / \partial c_j = \sum_{i: I_i = j} \partial L / \partial w_i$, with $L$ the loss. Does autograd agree?

# %%
from torch.func import functional_call
from torch.nn.functional import cross_entropy, pad

from course_lib.pruning import prunable
from course_lib.quantization.weight_sharing import codebook_gradient, share_weights


def my_codebook_gradient(gradient, codes, k):
    kept = codes >= 0  # code -1 is a pruned weight
    return torch.zeros(k).index_add_(0, codes[kept], gradient[kept])


book = share_weights(prunable(sparse[0]), bits=2)["1.weight"]
values = book.centroids.clone().requires_grad_()
weight = pad(values, (0, 1))[book.codes]  # code -1 picks the zero at the end

# %%
x, y = folds[0].train.x[:60], folds[0].train.y[:60]
loss = cross_entropy(functional_call(sparse[0], {"1.weight": weight}, x), y)
by_autograd, by_weight = torch.autograd.grad(loss, [values, weight])
mine = my_codebook_gradient(by_weight, book.codes, 4)
assert torch.allclose(mine, by_autograd, atol=1e-6)
assert torch.allclose(mine, codebook_gradient(by_weight, book), atol=1e-6)
print("the same gradient of the four values:", [round(g, 4) for g in mine.tolist()])

# %% [markdown]
# **Relative indices.** A gap of 1 to $2^b$ fits into $b$ bits. A longer one is bridged by *fillers*, entries without a weight.

# %%
from course_lib.quantization.relative_index import relative_indices


def my_gaps(positions, bits):
    gaps, before = [], -1
    for position in positions:
        fillers, rest = divmod(position - before - 1, 2**bits)
        gaps += [2**bits] * fillers + [rest + 1]
        before = position
    return gaps


positions = book.codes.flatten().ge(0).nonzero().squeeze(1)
gaps = my_gaps(positions.tolist(), bits=4)
assert gaps == relative_indices(positions, bits=4)[0].tolist()
print(f"{len(positions):,} weights, {len(gaps) - len(positions)} fillers; first gaps: {gaps[:12]}")

# %% [markdown]
# **Huffman's code.** The two rarest symbols become one, again and again; each merge puts one more bit in front of what it
# joins. The *canonical* code numbers codewords in order of length, so a file needs the lengths only.

# %%
import heapq


def my_lengths(counts):
    heap = [(count, s, [s]) for s, count in enumerate(counts) if count]
    lengths = [0] * len(counts)
    heapq.heapify(heap)
    while len(heap) > 1:
        (a, s, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (a + b, s, left + right))
    return lengths


# %%
def my_codewords(lengths):
    words, code, width = {}, 0, 0
    for length, s in sorted((length, s) for s, length in enumerate(lengths) if length):
        code <<= length - width
        words[s], code, width = f"{code:0{length}b}", code + 1, length
    return words


# %%
from course_lib.experiments.kmeans_quantization import entropy_bits
from course_lib.quantization.huffman import HuffmanCode, build_code

counts = kmeans_1d(survivors, 8).codes.bincount()
mine, code = my_lengths(counts.tolist()), build_code(counts)
assert sum(c * bits for c, bits in zip(counts.tolist(), mine)) == code.size_bits(counts)
assert my_codewords(mine) == {s: HuffmanCode(torch.tensor(mine)).codeword(s) for s in range(8)}
words = my_codewords(code.lengths.tolist())
print("how often and codeword:", ", ".join(f"{int(counts[s])}: {words[s]}" for s in range(8)))
print(f"{code.size_bits(counts) / counts.sum():.2f} bits a code; entropy {entropy_bits(counts):.2f}; plain 3")

# %% [markdown]
# No code needs fewer bits on average than the *entropy* $\sum p \log_2 1/p$; Huffman's is never a whole bit above it.
#
# **The file.** `shared` clusters a copy, trains its codebooks for some steps and rounds them, and all biases, to half
# precision. `save` writes one file; its length *is* the size.

# %%
import tempfile
from pathlib import Path

from course_lib.experiments.kmeans_quantization import in_pairs, shared
from course_lib.quantization import deep_compression

small = in_pairs(lambda net, data: shared(net, data, bits=3, steps=100), sparse, folds)
path = Path(tempfile.mkdtemp()) / "digits.sndc"
size = deep_compression.save(path, small[0])
again = lenet_300_100(folds[0].input_shape)
again.load_state_dict(deep_compression.load(path))
assert torch.equal(again(folds[0].test.x), small[0](folds[0].test.x))
plain = 4 * sum(p.numel() for p in nets[0].parameters())
print(f"{size:,} bytes on disk, {plain:,} in float32: {plain / size:.1f} times; the same predictions")

# %% [markdown]
# ## 4 · Play
#
# The layers of the first pruned network, one shared at a time; accuracy on the validation images.
#
# 1. *All in a corner*: press *One iteration* again and again. How do the values spread? Where do they stand still?
# 2. *Evenly spaced*: drag a value where no weight is. What does the next iteration do with it?
# 3. Can you beat k-means by hand? *The best four* shows what is possible.

# %% tags=["setup", "widget"]
from course_lib.widgets.frame import Question
from course_lib.widgets.kmeans_quantization import dragged_centroids

choices = ("at the largest weights", "in the two humps, one in each", "all close to zero")
question = Question(
    "Only two values for the first layer: where will k-means put them?", answer=choices[1], choices=choices
)
dragged_centroids(sparse[0], folds[0].validation.x, folds[0].validation.y, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **Three stages**, accuracy and bytes. Each network is written, read back and tested. Sparsity 0.9 and 3 bits were chosen on
# validation images (0.95 loses there, more bits gain nothing).

# %%
from course_lib.experiments.kmeans_quantization import from_files

stages = {
    "float32": (dense, [plain] * 5),
    "pruned": from_files(sparse, "pruned"),
    "shared": from_files(small, "shared"),
    "coded": from_files(small, "coded"),
}
tested = {stage: test_accuracies(networks, folds) for stage, (networks, _) in stages.items()}
for stage, (_, sizes) in stages.items():
    ratio = summarise([plain / size for size in sizes]).mean
    print(f"{stage:8} {summarise(tested[stage]):%} {sum(sizes) / 5:9,.0f} bytes, {ratio:4.1f} times smaller")

# %% [markdown]
# **Layer by layer**, in the form of the paper's tables: P + Q is pruned and shared, H Huffman's code. Bits are for each
# weight kept, fillers included.

# %%
print("layer       weights  kept   weight bits     index bits     share of float32")
print("                           P+Q   P+Q+H    P+Q   P+Q+H     P+Q    P+Q+H")
for row in deep_compression.layer_sizes(small[0]):
    bits = "".join(f"{number:7.1f}" for number in (*row.weight_bits, *row.index_bits))
    shares = "".join(f"{share:9.2%}" for share in row.fractions)
    if row.name == "header":
        shares = f"  {row.sizes_bytes[1]} bytes: names, shapes, lengths of codewords"
    print(f"{row.name:10} {row.weights:8,} {row.kept:5.0%} {bits} {shares}")

# %% [markdown]
# **Together or alone?** Pruning alone keeps float32 values; sharing alone keeps all weights. Each file as small as it gets:

# %%
from course_lib.experiments.kmeans_quantization import size_picture

cuts = {level: pruned(nets, folds, level, steps=500) for level in (0.95, 0.98)}

# %%
tune = lambda networks, bits: in_pairs(lambda n, d: shared(n, d, bits, steps=100), networks, folds)
both = {0.9: small, **{level: tune(networks, 3) for level, networks in cuts.items()}}
alone = {bits: tune(dense, bits) for bits in (1, 2)}
pruned_alone = {0.9: sparse, **cuts}


# %%
def point(networks):
    networks, sizes = from_files(networks, "coded")
    return sum(sizes) / 5 / plain, summarise(test_accuracies(networks, folds))


series = {
    "pruned only": [point(networks) for networks in pruned_alone.values()],
    "shared only": [point(networks) for networks in alone.values()],
    "pruned and shared": [point(networks) for networks in both.values()],
}
size_picture(
    series,
    summarise(tested["float32"]).mean,
    caption="At three hundredths of the size each alone has lost points; both together have not.",
)

# %% [markdown]
# **Does the start matter?** Inertia reached from each start, as a multiple of the least possible:

# %%
from course_lib.experiments.kmeans_quantization import excess_inertia

STARTS, BITS = ("linear", "density", "random"), (2, 3, 4, 5)
excess = {
    bits: in_pairs(lambda net, seed: excess_inertia(net, bits, STARTS, seed=seed), sparse, range(5))
    for bits in BITS
}
reached = {start: [[row[start] for row in excess[bits]] for bits in BITS] for start in STARTS}
viz.curves(
    list(BITS),
    {start: list(map(summarise, rows)) for start, rows in reached.items()},
    xlabel="bits of a code",
    ylabel="inertia / least possible",
    caption="From the linear start k-means ends nearest to the optimum; the gap grows with the codebook.",
)

# %% [markdown]
# **K-means or an even grid?** At equal bits, on the pruned networks, without any training: the linear start as it is, and
# after k-means has moved it.

# %%
from course_lib.experiments.kmeans_quantization import on_a_grid
from course_lib.training import evaluate

losses = lambda networks: [evaluate(net, data.test).loss for net, data in zip(networks, folds)]
gain_in_loss = {}
for bits in (1, 2, 3, 4):
    gridded = [on_a_grid(net, bits) for net in sparse]
    clustered = [shared(net, data, bits) for net, data in zip(sparse, folds)]
    gain_in_loss[bits] = paired_difference(losses(gridded), losses(clustered))
    told = [f"{summarise(test_accuracies(networks, folds)):%}" for networks in (gridded, clustered)]
    print(f"{bits} bits: grid {told[0]}, k-means {told[1]}; loss lower by {gain_in_loss[bits]:.3f}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "No loss" means at most one standard
# deviation below the dense networks, which trained for as many steps. "Either alone": ahead of both among files of at
# most 1.25 times the bytes. The paper's figures are for LeNet-300-100 on MNIST.

# %%
from course_lib.evidence import Claim, evidence

ratios = summarise([plain / size for size in stages["coded"][1]])
lost = paired_difference(tested["coded"], tested["float32"])
no_loss = lost.mean >= -summarise(tested["float32"]).sd
books = [b for net in sparse for b in share_weights(prunable(net), 3).values()]
tallies = [b.codes[b.codes >= 0].bincount() for b in books]
above = [build_code(t).size_bits(t) / int(t.sum()) - entropy_bits(t) for t in tallies]
gain = 1 - sum(stages["coded"][1]) / sum(stages["shared"][1])
four = [shared(net, d, 2) for net, d in zip(sparse, folds)]
four_values = paired_difference(test_accuracies(four, folds), tested["pruned"])

# %%
together = series["pruned and shared"][0]
fits = lambda name: [a.mean for size, a in series[name] if size < 1.25 * together[0]]
rivals = max([0.0, *fits("pruned only"), *fits("shared only")])
ahead = together[1].mean - rivals
spread = paired_difference(*[[sum(row) / 4 for row in zip(*reached[s])] for s in ("density", "linear")])
one_raw = test_accuracies([shared(net, d, 1) for net, d in zip(dense, folds)], folds)
one_tuned = test_accuracies(alone[1], folds)
tuned, by_kmeans = paired_difference(one_tuned, one_raw), gain_in_loss[2]
repaired = all(after > before for before, after in zip(one_raw, one_tuned))
two = {s: [shared(n, d, 2, init=s) for n, d in zip(sparse, folds)] for s in ("linear", "density")}
by_start = paired_difference(*[test_accuracies(two[s], folds) for s in ("linear", "density")])

# %%
evidence(
    Claim("30 times smaller or more", "40×: 1070 to 27 KB", f"{ratios:.1f}", ratios.low >= 30),
    Claim("… at no loss", "1.64 to 1.58 % error", f"{lost:points}", no_loss),
    Claim("together beats either alone", "yes, figure 6", f"{100 * ahead:+.1f} points", ahead > 0.01),
    Claim("linear start: least inertia", "", f"density {spread.mean:+.2f} more", spread.low > 0),
    Claim("linear start: best accuracy (2 bits)", "yes, all but 3 bits", f"{by_start:points}", None),
    Claim("k-means beats the grid (2 bits)", "", f"test loss {-by_kmeans.mean:+.2f}", by_kmeans.low > 0),
    Claim("training repairs 1 bit, unpruned", "", f"{tuned:points}", repaired),
    Claim("Huffman: entropy + 1 bit at most", "", f"+{max(above):.2f} bits", 0 <= max(above) < 1),
    Claim("Huffman saves", "20 to 30 %", f"{gain:.0%} of the file", None),
)

# %% [markdown]
# And your bets:

# %%
bet_values.reveal(round(-100 * four_values.mean, 1), "Mean of five folds, before the codebook is trained.")

# %%
bet_file.reveal(round(ratios.mean, 1), "Codebooks, gaps, biases, names and checksum are in it.")

# %% [markdown]
# ## 6 · Where it fails
#
# **One bit without pruning.** Two values must stand for all weights of a dense layer, and most of those lie near zero: far
# from both. Pruning has taken just these away, and what it leaves are two humps.

# %%
sparse_raw = test_accuracies([shared(net, d, 1) for net, d in zip(sparse, folds)], folds)
print(f"dense, 1 bit: {summarise(one_raw):%}, with trained codebooks {summarise(one_tuned):%}")
print(f"sparse, 1 bit: {summarise(sparse_raw):%}")

# %% [markdown]
# **Huffman lives on inequality.** Eight values of a small network are used more evenly than the paper's 64 (6 bits plain,
# 4.4 coded). Where all are equally frequent it saves nothing, and that is what the density start aims at:

# %%
for name, iterations in (("before k-means moves them", 0), ("after", 1000)):
    book = kmeans_1d(survivors, 8, init="density", max_iterations=iterations)
    counts = book.codes.bincount(minlength=8)
    bits = build_code(counts).size_bits(counts) / len(survivors)
    print(f"density start, {name}: inertia {book.inertia(survivors):.3f}, {bits:.2f} bits a code")

# %% [markdown]
# So least inertia and least bytes are not the same aim. The best *accuracy* is a third: in the paper the linear start
# won it at all sizes but 3 bits; one explanation is that its values far out serve the few large weights. Here all starts
# end within a few test images of each other, so that row only reports.
#
# **A small file is not a fast network.** Loaded, the weights are dense float32 again. The paper's speedups (3 times on a
# CPU, for one example through fully connected layers) needed kernels that work on sparse weights, and vanished with
# batches.
#
# **Sharing was not the hard part here.** What costs accuracy on these digits is pruning; even two values per layer are almost
# enough. At the paper's scale (`course run 11 --data mnist`, a LeNet-300-100 with 266,610 parameters) you can see how far
# that carries.
#
# ## 7 · In practice
#
# Would a general compressor do? Take zlib, and the newer zstd. They know nothing about networks, but find repeated
# bytes. First the whole network as float32 bytes, then only the codes of its first layer, a byte each:

# %%
import zlib

from course_lib.experiments.kmeans_quantization import raw_bytes
from course_lib.measure import latency
from course_lib.quantization.huffman import encode

try:
    from compression import zstd  # a part of Python from 3.14 on
except ImportError:
    from backports import zstd
coders = {"zlib": lambda data: zlib.compress(data, 9), "zstd": lambda data: zstd.compress(data, 19)}

# %%
for name, net in (("dense", dense[0]), ("pruned", sparse[0]), ("shared", small[0])):
    sizes = [f"{coder} {len(work(raw_bytes(net))):7,}" for coder, work in coders.items()]
    print(f"{name:7} network: {', '.join(sizes)}, our file {len(deep_compression.pack(net)):7,} bytes")
codes = share_weights(prunable(sparse[0]), 3)["1.weight"].codes
codes = codes[codes >= 0]
as_bytes, code = bytes(codes.tolist()), build_code(codes.bincount())
rivals_of = {"Huffman": lambda: encode(codes, code)}
rivals_of |= {coder: lambda work=work: work(as_bytes) for coder, work in coders.items()}
for coder, work in rivals_of.items():
    print(f"{len(codes):,} codes, {coder:8} {len(work()):6,} bytes in {latency(work).median_ms:.2f} ms")

# %% [markdown]
# Even general compressors gain from sharing. And scikit-learn's k-means, started at the same places, finds the same values:

# %%
from sklearn.cluster import KMeans

column = survivors.double().numpy()[:, None]
begin_at = kmeans_1d(survivors, 16, max_iterations=0).centroids.double().numpy()[:, None]
theirs = KMeans(16, init=begin_at, n_init=1, tol=0, max_iter=1000)
ours = kmeans_1d(survivors, 16).inertia(survivors)
print(f"inertia: scikit-learn {theirs.fit(column).inertia_:.4f}, ours {ours:.4f}")
for name, work in (
    ("scikit-learn", lambda: theirs.fit(column)),
    ("ours, on sorted weights", lambda: kmeans_1d(survivors, 16)),
):
    print(f"{name}: {latency(work, runs=5, warmup=1).median_ms:.1f} ms")

# %% [markdown]
# At work you meet sharing as *palettization* in Apple's Core ML Tools (codebooks of 1 to 8 bits, by k-means) and as
# `cluster_weights` in TensorFlow's Model Optimization Toolkit, which offers these very starts.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write k-means' iteration, the codebook's gradient, gaps with fillers, Huffman's lengths, and a
# ratio that hides nothing. Then **lesson 12** lets a small network learn from a large one.
#
# - Han, Mao, Dally 2016, *Deep Compression: compressing deep neural networks with pruning, trained quantization and Huffman
#   coding*, ICLR.
# - Huffman 1952, *A method for the construction of minimum-redundancy codes*, Proceedings of the IRE.
# - Wang, Song 2011, *Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic programming*, The R Journal.
