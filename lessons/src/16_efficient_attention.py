# %% [markdown]
# # 16 · Efficient attention: must every token look at every other?
#
# *Attention compares each token with each other one: twice the text, four times the scores. Here you get rid of the
# square, once without changing a single result, and twice by changing the question.*
#
# **40 minutes.** You need: PyTorch basics; lesson 08 (int8) and lesson 13 (what backward keeps) help.
#
# At the end you can
# - compute exact attention in tiles, with a softmax that is corrected as it runs;
# - say what a window and linear attention save, and what each of them can no longer do;
# - generate text with a cache of keys and values, whole or in int8, and count its bytes.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=16)

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_memory = predict(
    "memory", unit="times",
    question="One head, 4,096 tokens: how many times less can be kept for backward, with the same result?",
)
bet_memory

# %%
bet_places = predict(
    "places", unit="of 12 digits",
    question="A two-layer transformer learns to reverse 12 digits, but a token sees only itself and the 7 "
    "tokens before it. How many of the 12 does it get right?",
)
bet_places

# %% [markdown]
# ## 2 · The idea
#
# In 2017 Ashish Vaswani and colleagues built a translator out of attention alone. Each token asks a *query* $q$,
# carries a *key* $k$ to be found by, and a *value* $v$ to be read. (A *token* is a piece of text, here a digit; a
# *head* is one such look-up, and a layer holds several.) Each answer is a mean of the values, weighted by how well
# their keys fit:
#
# $$\mathrm{attention}(Q, K, V) = \mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt d}\right) V$$
#
# $Q K^\top$ holds $n^2$ scores. For one head over 4,096 tokens that is 64 MiB, and training keeps it until the backward
# pass. There are three ways out:
#
# - **Tiles** (Milakov and Gimelshein 2018; Dao and colleagues 2022): all scores are computed, a few at a time. None is kept.
# - **A window** (Beltagy and colleagues 2020): a token looks only at those just before it.
# - **Linear attention** (Katharopoulos and colleagues 2020): without the softmax, the $n^2$ scores need never exist.

# %%
import torch

from course_lib import viz
from course_lib.attention import window_mask

n = 24
causal = torch.ones(n, n).tril()  # row: who asks; column: who is looked at
strip = causal.clone()
strip[:, 8:16] *= 2
viz.images(
    {"exact": 2 * causal, "tiles of 8": strip, "window of 8": 2.0 * window_mask(n, 8), "linear": 0 * causal},
    caption="Black: scores in memory at one time. Grey: computed before or after. White: never computed.",
    alt="24 queries by 24 keys. Exact: the lower triangle is black. Tiles: one column strip of it is black, "
    "the rest grey. Window: a black band along the diagonal. Linear: all white.",
)

# %% [markdown]
# ## 3 · Build it
#
# **Exact.** A model that writes must not look ahead: the *causal* mask hides later keys, before the softmax.

# %%
from torch.nn import functional as F

from course_lib.attention import attention


def my_attention(q, k, v, causal=False):
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (…, n, n)
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, float("-inf"))  # e^−∞ = 0: no part in the sum
    return scores.softmax(dim=-1) @ v


# %%
q, k, v = torch.randn(3, 2, 100, 32)  # 2 heads, 100 tokens, 32 numbers each
for causal in (False, True):
    ours, torchs = my_attention(q, k, v, causal), F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    assert torch.allclose(ours, attention(q, k, v, causal=causal), atol=1e-6)
    assert torch.allclose(ours, torchs, atol=1e-6)
print("the same as course_lib's, and as torch's")

# %% [markdown]
# **Tiles.** The softmax seems to need all scores of a row: their maximum (so that no exponential overflows) and their sum.
# But both can be kept *so far*, with the weighted values $o$. When a tile of scores $s$ brings a new maximum $m'$,
# everything before was measured against the old $m$, and is scaled down:
#
# $$m' = \max(m, \max s) \qquad \ell' = e^{m - m'} \ell + \sum e^{s - m'} \qquad o' = e^{m - m'} o + \sum e^{s - m'} v$$
#
# After the last tile the answer is $o / \ell$. Nothing is approximated.


# %%
def my_tiled(q, k, v, tile=16):
    largest = torch.full((*q.shape[:-1], 1), float("-inf"))  # m, one for each query
    total, weighted = torch.zeros_like(largest), torch.zeros_like(q)  # ℓ and o
    for keys, values in zip(k.split(tile, dim=-2), v.split(tile, dim=-2)):
        scores = q @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5  # (…, n, tile), never more
        new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
        shrink = (largest - new_largest).exp()
        weights = (scores - new_largest).exp()
        total = shrink * total + weights.sum(dim=-1, keepdim=True)
        weighted = shrink * weighted + weights @ values
        largest = new_largest
    return weighted / total


print(f"largest difference from exact: {(my_tiled(q, k, v) - my_attention(q, k, v)).abs().max():.1g}")

# %% [markdown]
# One trap is left: in training, autograd keeps every tile's `weights`, and together they are $n^2$ again. The library's
# version keeps only $q$, $k$, $v$, the output and one number a query ($m + \log \ell$). In the backward pass it computes
# each tile's weights once more: the bargain of lesson 13, time for memory.

# %%
from course_lib.attention import tiled_attention
from course_lib.measure import saved_bytes

heads = [torch.randn(1024, 32, requires_grad=True) for _ in range(3)]
for name, attend in {"exact": my_attention, "my_tiled": my_tiled, "tiled_attention": tiled_attention}.items():
    print(f"{name:16} keeps {saved_bytes(lambda: attend(*heads)) / 2**20:5.2f} MiB for backward")
assert torch.allclose(my_tiled(*heads), tiled_attention(*heads), atol=1e-6)

# %% [markdown]
# **A window.** A mask says who may look: at its own place and the `window - 1` before. But a mask alone saves nothing.
# `windowed_attention` cuts the sequence into blocks; each block of queries meets two blocks of keys, and no others.

# %%
from course_lib.attention import windowed_attention

place = torch.arange(100)
asks, seen = place[:, None], place[None, :]
my_mask = (seen <= asks) & (seen > asks - 8)
assert torch.equal(my_mask, window_mask(100, 8))
assert torch.allclose(windowed_attention(q, k, v, window=8), attention(q, k, v, mask=my_mask), atol=1e-6)
print(f"{my_mask.float().mean():.1%} of the {my_mask.numel():,} scores are needed")

# %% [markdown]
# **Linear.** Replace $e^{q \cdot k}$ by $\varphi(q) \cdot \varphi(k)$ with a positive $\varphi(x) = \mathrm{elu}(x) + 1$. Then
# the weighted sum is a product of three matrices, and brackets may move:
#
# $$\big(\varphi(Q)\, \varphi(K)^\top\big)\, V = \varphi(Q)\, \big(\varphi(K)^\top V\big)$$
#
# To the left, an $n \times n$ matrix. To the right, a $d \times d$ one, however long the text is.

# %%
from course_lib.attention import linear_attention
from course_lib.experiments.efficient_attention import ProductCounter


def my_linear(q, k, v, from_the_right=True):
    q, k = F.elu(q) + 1, F.elu(k) + 1
    weighted = q @ (k.transpose(-2, -1) @ v) if from_the_right else (q @ k.transpose(-2, -1)) @ v
    return weighted / (q @ k.sum(dim=-2).unsqueeze(-1))  # the weights sum to 1


for order in (False, True):
    with ProductCounter() as counter:
        ours = my_linear(q, k, v, order)
    assert torch.allclose(ours, linear_attention(q, k, v), atol=1e-5)
    print(f"from the {'right' if order else 'left '}: {counter.macs:9,} MACs")

# %% [markdown]
# **A model to try them in.** Two layers, learning to reverse 12 random digits: after the separator (token 10) it writes the
# answer, digit by digit. Every step brings new examples; the loss looks only at the answer's places.

# %% tags=["setup"]
from course_lib.attention import attention
from course_lib.experiments.efficient_attention import examples
from course_lib.models import Transformer

LENGTH, STEPS, BATCH = 12, 250, 16
test = examples(500, LENGTH, seed=9000)
print("what is read: ", test.x[0, : LENGTH + 1].tolist())
print("what is asked:", test.y[0].tolist())

# %% tags=["setup"]
import torch
from torch.nn import functional as F

from course_lib.training import adam

torch.manual_seed(0)
model = Transformer(11, width=32, heads=2, layers=2, longest=2 * LENGTH + 1, attend=attention)
train, step = examples(STEPS * BATCH, LENGTH, seed=1), adam(list(model.parameters()), lr=5e-3)
for x, y in zip(train.x.split(BATCH), train.y.split(BATCH)):
    logits = model(x)[:, -LENGTH:]  # (batch, length, 11)
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
    model.zero_grad()
    loss.backward()
    step()
print(f"loss {loss:.3f} after {STEPS} steps")

# %% [markdown]
# **The cache.** To write one more token, the model reads the whole text again, though the keys and values of old tokens have
# not changed. So keep them. A new token brings one query, one key, one value:


# %%
class MyCache:
    length = 0

    def append(self, keys, values):  # (batch, heads, new, d)
        if self.length:
            keys = torch.cat([self.keys, keys], dim=-2)
            values = torch.cat([self.values, values], dim=-2)
        self.keys, self.values, self.length = keys, values, keys.shape[-2]
        return keys, values


# %%
from course_lib.attention import KeyValueCache
from course_lib.models import generate

prompt = test.x[:, : LENGTH + 1]
plain = generate(model, prompt, LENGTH, new_cache=None)  # reads everything again for each token
assert torch.equal(generate(model, prompt, LENGTH, new_cache=MyCache), plain)
assert torch.equal(generate(model, prompt, LENGTH, new_cache=KeyValueCache), plain)
right_rows = (plain == test.y).all(dim=1).float().mean()
print(f"the same {plain.numel():,} tokens; {right_rows:.1%} of the rows are right")

# %% [markdown]
# (`KeyValueCache` doubles its room when it is full; `torch.cat` copies everything for each token.) **In int8**, each token's
# key and value take one scale, as in lesson 08: the row's largest magnitude becomes 127.

# %%
from course_lib.attention import QuantizedCache

whole, small, key = KeyValueCache(), QuantizedCache(), torch.randn(1, 12, 16)
scale = key.abs().amax(dim=-1, keepdim=True) / 127
codes = (key / scale).round().to(torch.int8)
whole.append(key, key)
assert torch.allclose(small.append(key, key)[0], codes * scale)
print(f"{whole.stored_bytes():,} bytes, or {small.stored_bytes():,} in int8, scales included")

# %% [markdown]
# ## 4 · Play
#
# These are the queries and keys of one head of your trained model, on one test row. In the rows that write the answer
# (from "=" on), most weight lies on one digit: which? Then move the tile over the scores.
# 1. Watch the row you ask about: when does its maximum rise, and what happens to the sum so far?
# 2. Which tile holds the digit that this place copies? Compare the answer before and after it.
# 3. Then change the number of tokens: which bars grow fourfold when it doubles, and which only double?

# %% tags=["setup", "widget"]
from course_lib.experiments.efficient_attention import heads_of
from course_lib.widgets.efficient_attention import tile_walk
from course_lib.widgets.frame import Question
from course_lib.widgets.softmax_walk import measured

kinds = ("tiled", "exact", "windowed", "linear")
most = max(kinds, key=lambda kind: measured(kind, 128, 16)[0])  # bytes kept for backward
asked = "A short text, 128 tokens: which kind keeps the most for backward (the window is 64)?"
why = "Every 64 queries meet 128 keys, under a mask: a window pays when it is much shorter than the text."
queries, keys, values = heads_of(model, test.x[0], layer=0)  # (heads, tokens, 16) each
names = ["=" if token == 10 else token for token in test.x[0].tolist()]
question = Question(asked, answer=most, choices=kinds, why=why)
tile_walk(queries[1], keys[1], values[1], tokens=names, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **Is tiled attention exact?** Against float64, on five random inputs with large scores:

# %%
from course_lib.evidence import summarise


def errors(seed):
    q, k, v = torch.randn(3, 512, 32, generator=torch.Generator().manual_seed(seed)) * 2
    truth = attention(q.double(), k.double(), v.double(), causal=True)
    how = (attention, tiled_attention)
    return [(attend(q, k, v, causal=True) - truth).abs().mean().item() for attend in how]


by_exact, by_tiles = zip(*(errors(seed) for seed in range(5)))
print(f"mean error, exact: {summarise(by_exact):.1e}\nmean error, tiled: {summarise(by_tiles):.1e}")

# %% [markdown]
# **What is kept for backward**, one head of width 32, window 64. Both axes are logarithmic: a line twice as steep is a square.

# %%
from course_lib.experiments.efficient_attention import kept_bytes

window_64 = lambda q, k, v: windowed_attention(q, k, v, window=64)
variants = {"exact": attention, "linear": linear_attention, "windowed": window_64, "tiled": tiled_attention}
SIZES = [256, 512, 1024, 2048, 4096]
kept = {name: [kept_bytes(attend, n) for n in SIZES] for name, attend in variants.items()}
figure = viz.curves(
    SIZES, {name: [bytes_ / 2**20 for bytes_ in row] for name, row in kept.items()},
    xlabel="tokens", ylabel="kept for backward (MiB)",
    caption="Exact attention keeps n² numbers; the others keep a number of vectors that grows with n.",
)
figure.figure.axes[0].set(xscale="log", yscale="log")
figure.figure.axes[0].set_xticks(SIZES, [f"{n:,}" for n in SIZES])
figure.figure.axes[0].minorticks_off()
figure

# %% [markdown]
# **And the clock?** Tiles do as much arithmetic as exact attention (small tiles may still be faster: they fit into the
# processor's own fast memory); a window and the right brackets do less. Clocks are only reported: your machine may be busy.

# %%
from course_lib.measure import latency

heads = {n: torch.randn(3, n, 32) for n in SIZES[:-1]}
times = {name: [latency(lambda: attend(*heads[n]), runs=5, warmup=1).median_ms for n in heads]
         for name, attend in variants.items()}  # fmt: skip
for name, row in times.items():
    print(f"{name:9}" + "".join(f"  {n:5,}: {ms:7.2f} ms" for n, ms in zip(heads, row)))

# %% [markdown]
# **Three models that learn with what they have.** The same task, three seeds (the first exact one
# is your model from above), each kind of attention from the start:

# %%
from course_lib.experiments.efficient_attention import KINDS, right_by_place, trained

models = {"exact": [model, *trained(KINDS["exact"], LENGTH, seeds=(1, 2), steps=STEPS)]}

# %%
models |= {kind: trained(KINDS[kind], LENGTH, seeds=range(3), steps=STEPS) for kind in ("linear", "windowed")}
right = {kind: [right_by_place(model, test) for model in nets] for kind, nets in models.items()}
viz.curves(
    list(range(1, LENGTH + 1)),
    {kind: [summarise(place) for place in zip(*rows)] for kind, rows in right.items()},
    xlabel="digit of the answer", ylabel="written right", levels={"chance": 0.1}, percent=True,
    caption="A window sees back only so far; the other two reach every digit.",
)

# %% [markdown]
# Digit $j$ of the answer stands $2j - 1$ places behind the one it copies. One layer with a window of 8 reaches 7 places
# back. A second layer can read what the first has carried along, so two reach 14: digits 1 to 7. Some seeds find
# that relay within 250 steps, some do not. Behind it, no training helps.
#
# **The cache.** The arithmetic of one more token, counted, and its time, on a wider model (width 64):

# %%
from course_lib.experiments.efficient_attention import token_macs, token_times

torch.manual_seed(0)
writer = Transformer(11, width=64, heads=4, layers=2, longest=1100)
AFTER = [64, 128, 256, 512, 1024]
macs = {n: token_macs(writer, n) for n in AFTER}
for n in AFTER:
    cached, again = token_times(writer, n)
    print(f"after {n:5,} tokens: with the cache {macs[n][0]:9,} MACs, {cached.median_ms:5.2f} ms; "
          f"without {macs[n][1]:13,}, {again.median_ms:6.1f} ms")  # fmt: skip

# %%
nets = models["exact"]
plain = [generate(net, prompt, LENGTH, new_cache=None) for net in nets]
same = [torch.equal(generate(net, prompt, LENGTH), tokens) for net, tokens in zip(nets, plain)]
in_int8 = [
    (generate(net, prompt, LENGTH, new_cache=QuantizedCache) == tokens).float().mean().item()
    for net, tokens in zip(nets, plain)
]
print(f"tokens identical with the cache: {sum(same)} of {len(same)} seeds; in int8: {summarise(in_int8):%}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a claim does not hold. The papers' figures are for machines and
# models too large to stand beside ours, so their column is empty. "To rounding" means: at most twice exact attention's
# own error. "Linear" means at most 2.1 times as much for twice the tokens. "Chance" means at most 0.2.

# %%
from course_lib.evidence import Claim, evidence

less = kept["exact"][-1] / kept["tiled"][-1]
doubled = {name: row[-1] / row[-2] for name, row in kept.items()}
noisier = summarise([ours / theirs for ours, theirs in zip(by_tiles, by_exact)])
learned, limited = ([sum(row) / LENGTH for row in right[kind]] for kind in ("linear", "windowed"))
beyond = max(max(row[7:]) for row in right["windowed"])
near = min(min(row[:4]) for row in right["windowed"])
token_growth = macs[1024][0] / macs[512][0]
bytes_ratio = small.stored_bytes() / whole.stored_bytes()

# %%
by = lambda value: f"× {value:.2f}"
evidence(
    Claim("tiled is exact, to rounding", "", f"error {noisier:.2f} of exact's", noisier.high <= 2),
    Claim("… with ≤ 5 % of exact's bytes (n = 4,096)", "", f"{1 / less:.1%}", less >= 20),
    Claim("tiled: bytes kept are linear in n", "", by(doubled["tiled"]), doubled["tiled"] <= 2.1),
    Claim("exact: they are not", "", by(doubled["exact"]), doubled["exact"] > 3),
    Claim("linear attention learns to reverse", "", f"{summarise(learned):%}", min(learned) > 0.9),
    Claim("a window: right where one layer reaches", "", f"worst digit {near:.0%}", near > 0.9),
    Claim("… and chance where two do not reach", "", f"best digit {beyond:.0%}", beyond < 0.2),
    Claim("the cache changes no token", "", f"{sum(same)} of {len(same)} seeds", all(same)),
    Claim("… its work per token is linear at most", "", by(token_growth), token_growth <= 2.1),
    Claim("int8: a third of the bytes, 99 % of the tokens", "", f"{bytes_ratio:.0%}; {summarise(in_int8):%}",
          bytes_ratio < 0.34 and min(in_int8) > 0.99),
)  # fmt: skip

# %%
bet_memory.reveal(round(less, 1), "The vectors of 4,096 tokens are small; their n² weights were not.")

# %%
digits = LENGTH * summarise(limited).mean
bet_places.reveal(round(digits, 1), "Mean of three seeds: four always, seven at most, the rest by chance.")

# %% [markdown]
# ## 6 · Where it fails
#
# **Only tiles may be dropped in.** The trained exact models, with another attention under the same weights:

# %%
from course_lib.experiments.efficient_attention import with_attention, written

for name, attend in ({"tiled": tiled_attention} | KINDS).items():
    scores = [(written(with_attention(net, attend), test) == test.y).float().mean().item() for net in nets]
    print(f"trained exact, run {name:9} {summarise(scores):%} of the digits")

# %% [markdown]
# A window and linear attention are other functions. They must be trained in, or trained back.
#
# **Linear attention forgets.** All it knows is a $d \times d$ table, however much it has read. The control: store $n$ random
# values under $n$ keys of 8 numbers, *learn* the best keys and queries, and read them all back.

# %%
from course_lib.experiments.efficient_attention import come_back

PAIRS = [4, 8, 16, 32, 64]
viz.curves(
    PAIRS,
    {name: [summarise(come_back(variants[name], n)) for n in PAIRS] for name in ("exact", "linear")},
    xlabel="values stored under keys of 8 numbers", ylabel="what comes back", percent=True,
    caption="Softmax can point at one of 64 keys; linear attention has room for about eight.",
)

# %% [markdown]
# Reversing digits was kind to it: twelve places, and only ten different values.
#
# **The cache is memory, too.** It holds 2 · layers · tokens · width numbers *for each text*. For 32 layers of width 4,096
# in 16 bits:

# %%
for tokens in (1_000, 10_000, 100_000):
    gigabytes = 2 * 32 * tokens * 4096 * 2 / 1e9  # keys and values, layers, tokens, width, bytes
    print(f"{tokens:7,} tokens: {gigabytes:5.1f} GB for each text that is being written")

# %% [markdown]
# ## 7 · In practice
#
# `F.scaled_dot_product_attention` chooses among kernels; the tiled one is usually what you get, fused, so that scores stay in
# the fastest memory. You can ask for the plain one, to compare:

# %%
from torch.nn.attention import SDPBackend, sdpa_kernel

q, k, v = torch.randn(3, 1, 1, 2048, 32)
for name, backend in {"plain": SDPBackend.MATH, "tiled": SDPBackend.FLASH_ATTENTION}.items():
    with sdpa_kernel(backend):
        print(f"torch, {name}: {latency(lambda: F.scaled_dot_product_attention(q, k, v), runs=5, warmup=1)}")
print(f"tiled_attention: {latency(lambda: tiled_attention(q, k, v), runs=5, warmup=1)}")

# %% [markdown]
# A trap when you write with a cache: torch puts the causal mask's corner at the *first* key. A new token's only query then
# sees only the first one.

# %%
new = q[..., -1:, :]  # the last token's query; k and v come from the cache
right_one = attention(new, k, v, causal=True)
trapped = F.scaled_dot_product_attention(new, k, v, is_causal=True)
print(f"sees only the first key: {torch.allclose(trapped, v[..., :1, :])}")
assert torch.allclose(F.scaled_dot_product_attention(new, k, v), right_one, atol=1e-6)  # leave is_causal out

# %% [markdown]
# Beyond ours: `torch.nn.attention.flex_attention` compiles your own mask into a tiled kernel; servers share and page
# their caches, and let several query heads use the same keys and values.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you write the window for a cache, one step of the running softmax, linear attention in the right order, a
# step with a cache, and a cache's budget. Then **lesson 17** puts the whole course to work.
#
# - Vaswani et al. 2017, *Attention Is All You Need*, arXiv:1706.03762.
# - Dao, Fu, Ermon, Rudra, Ré 2022, *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness*,
#   arXiv:2205.14135.
# - Katharopoulos, Vyas, Pappas, Fleuret 2020, *Transformers are RNNs: Fast Autoregressive Transformers with Linear
#   Attention*, arXiv:2006.16236.
