# %% [markdown]
# # 16 · Efficient attention: exercises
#
# Five exercises, 10 points, about 50 minutes. Each has a stub with its specification, a check that says *what* is wrong,
# and three hints. You may check as often as you like; only the best result counts.

# %%
from course_lib.checking import check, hint, solution
from course_lib.lesson import begin

begin(lesson=<<n>>)

# %% tags=["setup"]
import torch
from torch import Tensor
from torch.nn import functional as F

# %% [markdown]
# ## Exercise <<n>>.1 · A window
#
# *Warm-up · 8 minutes · 1 point*
#
# A query may look at its own place and at the `window - 1` places before it. With a cache there are fewer queries than keys:
# the cached tokens come first, and the last query stands at the last key. Two queries, five keys, a window of 3:
#
# | | key 0 | key 1 | key 2 | key 3 | key 4 |
# |---|---|---|---|---|---|
# | query at place 3 | | ✓ | ✓ | ✓ | |
# | query at place 4 | | | ✓ | ✓ | ✓ |

# %% exercise=1
def sliding_mask(n_queries: int, n_keys: int, window: int) -> Tensor:
    """Say which keys each query may look at.

    Args:
        n_queries: new tokens, at the last places.
        n_keys: all tokens, at least as many.
        window: how many keys a query sees at most, its own included; 1 or more.

    Returns:
        bool, (n_queries, n_keys), True = may look.
    """
    ### BEGIN SOLUTION
    places = torch.arange(n_keys - n_queries, n_keys)[:, None]  # of the queries, as a column
    keys = torch.arange(n_keys)
    return (keys <= places) & (keys > places - window)
    ### END SOLUTION


# %%
check(sliding_mask)

# %% [markdown]
# Stuck? `hint("<<n>>.1")` gives the next of three hints; `solution("<<n>>.1")` opens after a pass or three failed tries.
#
# <details><summary>I get <code>ValueError: The truth value … is ambiguous</code></summary>
#
# You combined two tensors with `and`. For tensors it is `&`, with brackets around each comparison.
# </details>

# %% [markdown]
# ## Exercise <<n>>.2 · One step of the running softmax
#
# *Hard · 15 minutes · 3 points*
#
# The state of $n$ queries is their largest score so far $m$, the sum $\ell$ of their exponentials $e^{s - m}$, and the values
# $o$ weighted by them. At the start $m = -\infty$, $\ell = 0$, $o = 0$. A tile brings new scores:
#
# $$m' = \max(m, \max s) \qquad \ell' = e^{m - m'} \ell + \sum e^{s - m'} \qquad o' = e^{m - m'} o + \sum e^{s - m'} v$$
#
# Keys that are not `allowed` take no part at all. A query that has not been allowed any key yet keeps its state, without `nan`.

# %% exercise=2
def add_tile(
    largest: Tensor, total: Tensor, weighted: Tensor, scores: Tensor, allowed: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one tile of keys into the running softmax.

    Args:
        largest: (n,), the largest allowed score so far; -inf where there was none.
        total: (n,), the sum of exp(score - largest) so far.
        weighted: (n, e), the sum of exp(score - largest) · value so far.
        scores: (n, tile), of the new keys.
        allowed: bool, (n, tile), True = the query may look at the key.
        values: (tile, e), of the new keys.

    Returns:
        the new largest, total and weighted; the arguments are not changed.
    """
    ### BEGIN SOLUTION
    scores = scores.masked_fill(~allowed, float("-inf"))
    new = torch.maximum(largest, scores.amax(dim=1))
    base = torch.where(new == float("-inf"), 0.0, new)  # nothing seen yet: subtract something finite
    shrink, weights = (largest - base).exp(), (scores - base[:, None]).exp()
    return new, shrink * total + weights.sum(dim=1), shrink[:, None] * weighted + weights @ values
    ### END SOLUTION


# %%
check(add_tile)

# %% [markdown]
# Hints: `hint("<<n>>.2")`.
#
# <details><summary>I get <code>RuntimeError: The size of tensor a (3) must match the size of tensor b (2)</code></summary>
#
# `weighted` is (n, e) and the factor (n,): write `factor[:, None]`, a column.
# </details>

# %% [markdown]
# ## Exercise <<n>>.3 · Brackets that save a square
#
# *Medium · 10 minutes · 2 points*
#
# Linear attention, not causal: with $\varphi(x) = \mathrm{elu}(x) + 1$, query $i$ answers
#
# $$\frac{\sum_j \big(\varphi(q_i) \cdot \varphi(k_j)\big)\, v_j}{\sum_j \varphi(q_i) \cdot \varphi(k_j)}.$$
#
# The check also looks at the size of everything you make on the way: an $n \times n$ matrix is refused.

# %% exercise=3
def linear_attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Answer every query by linear attention, without n × n numbers.

    Args:
        q: queries, (…, n, d).
        k: keys, (…, m, d).
        v: values, (…, m, e).

    Returns:
        (…, n, e).
    """
    ### BEGIN SOLUTION
    q, k = F.elu(q) + 1, F.elu(k) + 1
    weighted = q @ (k.transpose(-2, -1) @ v)  # (…, d, e) first
    return weighted / (q @ k.sum(dim=-2).unsqueeze(-1))  # (…, n, 1)
    ### END SOLUTION


# %%
check(linear_attend)

# %% [markdown]
# Hints: `hint("<<n>>.3")`.
#
# <details><summary>I get <code>RuntimeError: mat1 and mat2 shapes cannot be multiplied</code></summary>
#
# Write the shapes beside each factor: (…, d, m) · (…, m, e) is (…, d, e). `transpose(-2, -1)` exchanges the last two sizes;
# `.T` would exchange all of them.
# </details>

# %% [markdown]
# ## Exercise <<n>>.4 · A step with a cache
#
# *Hard · 12 minutes · 3 points*
#
# One or more new tokens arrive. They see all cached tokens, themselves, and the new ones before them. What comes back is
# their answers and the cache for the next step.

# %% exercise=4
def attend_with_cache(
    q: Tensor, k: Tensor, v: Tensor, old_k: Tensor, old_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Let new tokens look, and store their keys and values.

    Args:
        q, k, v: of the new tokens, (heads, new, d) each.
        old_k, old_v: the cache, (heads, old, d) each; old may be 0.

    Returns:
        the answers, (heads, new, d); all keys and all values, (heads, old + new, d) each, in the order of the text.
    """
    ### BEGIN SOLUTION
    keys, values = torch.cat([old_k, k], dim=1), torch.cat([old_v, v], dim=1)
    scores = q @ keys.transpose(-2, -1) / q.shape[-1] ** 0.5  # (heads, new, old + new)
    seen = torch.ones(scores.shape[1:], dtype=torch.bool).tril(old_k.shape[1])
    answers = scores.masked_fill(~seen, float("-inf")).softmax(dim=-1) @ values
    return answers, keys, values
    ### END SOLUTION


# %%
check(attend_with_cache)

# %% [markdown]
# Hints: `hint("<<n>>.4")`. To think about: why is no query ever cached?

# %% [markdown]
# ## Exercise <<n>>.5 · A cache under a budget
#
# *Easy · 6 minutes · 1 point*
#
# In every layer and every head, each token leaves a key and a value of `head_width` numbers. With 8 bits each key and each
# value also takes a scale of 4 bytes; with 16 or 32 bits there are none.

# %% exercise=5
def longest_text(
    budget_bytes: int, layers: int, heads: int, head_width: int, bits: int, texts: int
) -> int:
    """Say how long texts may grow.

    Args:
        budget_bytes: for all caches together.
        layers, heads, head_width: of the model.
        bits: of a stored number, 8, 16 or 32.
        texts: how many are written at the same time, all equally long.

    Returns:
        the most tokens that each text can have.
    """
    ### BEGIN SOLUTION
    row_bytes = head_width * bits // 8 + (4 if bits == 8 else 0)
    token_bytes = 2 * layers * heads * row_bytes
    return budget_bytes // (texts * token_bytes)
    ### END SOLUTION


# %%
check(longest_text)

# %% [markdown]
# Hints: `hint("<<n>>.5")`. To think about: for which `head_width` do the scales take as much room as the codes?
