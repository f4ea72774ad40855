"""Lesson 16: a window, one step of the running softmax, linear attention's order, a step with a cache, a cache's budget."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question

Infinity = float("inf")

# --- 16.1 ----------------------------------------------------------------------------------------------------------


def sliding_mask(n_queries: int, n_keys: int, window: int) -> Tensor:
    """True where a query may look: at its own place and the window − 1 before; the last query stands at the last key."""
    return mask_with()(n_queries, n_keys, window)


def mask_with(
    *, first: int = 0, last: int = 0, ahead: Callable | None = None, from_start: bool = False, past: bool = True,
    turned: bool = False, change: Callable[[Tensor], Tensor] = lambda mask: mask,
) -> Callable:  # fmt: skip
    """A variant of the mask: its ends moved, its causal side changed, its places counted in another way."""

    def mask(n_queries: int, n_keys: int, window: int) -> Tensor:
        places = torch.arange(n_queries) + (0 if from_start else n_keys - n_queries)
        behind = places[:, None] - torch.arange(n_keys)[None, :]  # how far back the key lies
        behind = -behind if turned else behind
        near = behind < window + last if past else torch.ones_like(behind, dtype=torch.bool)
        return change(near & (ahead(behind, window) if ahead else behind >= first))

    return mask


def mask_cases(seed: int) -> list[Case]:
    """Whole sequences, the shortest and the longest window, and new tokens after cached ones."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(6, 9, (), generator=generator))
    new = int(torch.randint(2, 4, (), generator=generator))
    return [
        Case("a whole sequence, window 3", (n, n, 3)),
        Case("window 1: only itself", (n, n, 1)),
        Case("a window longer than the sequence", (n, n, n + 4)),
        Case(f"{new} new tokens after cached ones", (new, n + new, 4)),
        Case("one new token after cached ones", (1, n, 3)),
    ]


WINDOW = Exercise(
    id="16.1",
    name="sliding_mask",
    title="A window",
    points=1,
    reference=sliding_mask,
    cases=mask_cases,
    mistakes=(
        Mistake(
            "looks ahead as far as back",
            "Your window reaches to both sides, so a token sees tokens that are not written yet. Only its own place and "
            "those before it.",
            mask_with(ahead=lambda behind, window: behind > -window),
        ),
        Mistake(
            "sees all of the future",
            "Your window limits the past, but all later keys are open. A writing model must not look ahead.",
            mask_with(ahead=lambda behind, window: behind == behind),
        ),
        Mistake(
            "turned around",
            "Your queries look forward: rows and columns are exchanged. A row is a query, a column a key.",
            mask_with(turned=True),
        ),
        Mistake(
            "one key too many",
            "Your queries see window + 1 keys. Their own place counts as one of the window.",
            mask_with(last=1),
        ),
        Mistake(
            "one key too few",
            "Your queries see window − 1 keys; with a window of 1 they see nothing. Check the far end.",
            mask_with(last=-1),
        ),
        Mistake(
            "not itself",
            "Your queries see `window` keys before them, but not their own place.",
            mask_with(first=1, last=1),
        ),
        Mistake(
            "queries counted from the first key",
            "With fewer queries than keys, your queries stand at the first keys. The cached tokens come first: the last "
            "query stands at the last key.",
            mask_with(from_start=True),
        ),
        Mistake("no window", "That is the causal mask alone: the window is missing.", mask_with(past=False)),
        Mistake(
            "upside-down mask", "True means: may look. You marked what is hidden.", mask_with(change=torch.logical_not)
        ),
        Mistake(
            "numbers instead of True and False",
            "You returned numbers. A mask is a bool tensor: compare, and combine with &.",
            mask_with(change=lambda mask: mask.float()),
        ),
    ),
    hints=(
        "Give every query its place among the keys first. With 2 queries and 10 keys the places are 8 and 9.",
        "Write places as a column and keys as a row: comparing them gives the whole table at once.",
        "(keys <= places) & (keys > places - window), with places = torch.arange(n_keys - n_queries, n_keys)[:, None]",
    ),
)

# --- 16.2 ----------------------------------------------------------------------------------------------------------


def add_tile(
    largest: Tensor, total: Tensor, weighted: Tensor, scores: Tensor, allowed: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the running softmax."""
    return tile_with()(largest, total, weighted, scores, allowed, values)


def tile_with(
    *, shrink_total: bool = True, shrink_weighted: bool = True, sign: int = 1, running: bool = True, hide: float = -Infinity,
    late_mask: bool = False, safe: bool = True, divide: bool = False, subtract: bool = True, keep_old: bool = True,
    soft: bool = False, keep_largest: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the step: what is rescaled, when the mask acts, which maximum counts."""

    def step(largest, total, weighted, scores, allowed, values):
        hidden = scores if hide == Infinity else scores.masked_fill(~allowed, hide)
        seen = scores if late_mask else hidden
        new = torch.maximum(largest, seen.amax(dim=1)) if running else seen.amax(dim=1)
        base = torch.where(new == -Infinity, 0.0, new) if safe else new
        base = base if subtract else torch.zeros_like(base)
        shrink = (sign * ((largest if subtract else torch.where(largest == -Infinity, largest, 0.0)) - base)).exp()
        weights = (seen - base[:, None]).exp() * (allowed if late_mask else 1)
        if soft:
            weights, shrink = torch.nan_to_num(hidden.softmax(dim=1)), torch.ones_like(shrink)
        old_total = total * (shrink if shrink_total else 1) * keep_old
        old_weighted = weighted * (shrink[:, None] if shrink_weighted else 1) * keep_old
        new_total, new_weighted = old_total + weights.sum(dim=1), old_weighted + weights @ values
        new_weighted = new_weighted / new_total[:, None] if divide else new_weighted
        return largest if keep_largest else new, new_total, new_weighted

    return step


def tile_cases(seed: int) -> list[Case]:
    """A first tile; larger and smaller scores than so far; large hidden scores; a query that sees nothing yet."""
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(shape, generator=generator)
    fresh = (torch.full((3,), -Infinity), torch.zeros(3), torch.zeros(3, 2))
    everything = torch.ones(3, 4, dtype=torch.bool)
    state = (random(3), 1 + 3 * torch.rand(3, generator=generator), 2 * random(3, 2))
    hidden = random(3, 4)
    hidden[:, 1] += 6
    some = everything.clone()
    some[:, 1] = False
    blind = everything.clone()
    blind[1] = False
    return [
        Case("the first tile", (*fresh, random(3, 4), everything, random(4, 2))),
        Case("larger scores than so far", (*state, 3 + random(3, 4).abs(), everything, random(4, 2))),
        Case("smaller scores than so far", (*state, random(3, 4) - 8, everything, random(4, 2))),
        Case("the largest score is hidden", (*state, hidden, some, random(4, 2))),
        Case("one query sees nothing yet", (*fresh, random(3, 4), blind, random(4, 2))),
        Case("scores in the hundreds", (state[0] + 300, *state[1:], 300 + 2 * random(3, 5), torch.ones(3, 5, dtype=torch.bool), random(5, 2))),
    ]  # fmt: skip


TILE = Exercise(
    id="16.2",
    name="add_tile",
    title="One step of the running softmax",
    points=3,
    reference=add_tile,
    cases=tile_cases,
    atol=1e-5,
    mistakes=(
        Mistake(
            "nothing is rescaled",
            "When a tile brings a new maximum, what was summed so far was measured against the old one. It must shrink before "
            "the new terms are added.",
            tile_with(shrink_total=False, shrink_weighted=False),
        ),
        Mistake(
            "only the sum is rescaled",
            "You rescaled `total`, but `weighted` was measured against the old maximum too.",
            tile_with(shrink_weighted=False),
        ),
        Mistake(
            "only the weighted values are rescaled",
            "You rescaled `weighted`, but `total` was measured against the old maximum too.",
            tile_with(shrink_total=False),
        ),
        Mistake(
            "rescaled the wrong way round",
            "Your factor grows where it should shrink: the new maximum is at least the old one, so the factor is at most 1.",
            tile_with(sign=-1),
        ),
        Mistake(
            "the tile's own maximum",
            "A tile of small scores made your maximum fall. It is the largest of ALL scores so far.",
            tile_with(running=False),
        ),
        Mistake(
            "the maximum is not handed on",
            "You used the new maximum but returned the old one: the next tile would rescale from the wrong place.",
            tile_with(keep_largest=True),
        ),
        Mistake(
            "masked after the maximum",
            "A hidden score became your maximum. What is hidden must be out before anything is computed from the scores, the "
            "maximum too.",
            tile_with(late_mask=True),
        ),
        Mistake(
            "hidden scores count",
            "You did not use `allowed`: hidden keys take part in the sums.",
            tile_with(hide=Infinity),
        ),
        Mistake(
            "hidden by zero",
            "A score of 0 is not nothing: its exponential is 1. Which score has an exponential of 0?",
            tile_with(hide=0.0),
        ),
        Mistake(
            "hidden by a large negative number",
            "With a finite number in place of −∞, a query that may look at nothing takes it for its maximum, and e⁰ = 1 for every "
            "hidden key. Only −∞ has an exponential of 0.",
            tile_with(hide=-1e9),
        ),
        Mistake(
            "nan where a query sees nothing yet",
            "−∞ − (−∞) is not a number. Where nothing has been seen, there is nothing to rescale: subtract something finite "
            "there.",
            tile_with(safe=False),
        ),
        Mistake(
            "divided already",
            "You divided by the sum. That happens once, after the last tile; in between, `weighted` stays a plain sum.",
            tile_with(divide=True),
        ),
        Mistake(
            "no maximum subtracted",
            "Your exponentials are taken of the raw scores: they overflow when scores are large. Subtract the maximum first.",
            tile_with(subtract=False),
        ),
        Mistake(
            "a softmax of its own for each tile",
            "You took the softmax inside the tile: every tile then weighs the same, whatever its scores. Only exponentials; "
            "one division at the very end.",
            tile_with(soft=True),
        ),
        Mistake(
            "the old state is lost",
            "You returned the sums of this tile alone. Add what was there, rescaled.",
            tile_with(keep_old=False),
        ),
    ),
    hints=(
        "Hide first (a score of −∞), then the new maximum, then the factor e^(old maximum − new maximum), then the sums.",
        "Old total and old weighted values both take the factor, as a column for the second. The weights are e^(score − new maximum).",
        "For a query that has seen nothing, replace the maximum −∞ by 0 inside the exponentials: torch.where(new == -inf, 0.0, new).",
    ),
)

# --- 16.3 ----------------------------------------------------------------------------------------------------------


def linear_attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Linear attention, from the right."""
    return linear_with()(q, k, v)


phi = lambda x: F.elu(x) + 1


def linear_with(
    *, of_q: Callable = phi, of_k: Callable = phi, of_v: Callable = lambda v: v, norm: Callable | None = None,
    from_left: bool = False,
) -> Callable:  # fmt: skip
    """A variant: other feature maps, another normaliser, the costly order."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        queries, keys, values = of_q(q), of_k(k), of_v(v)
        if from_left:
            weights = queries @ keys.transpose(-2, -1)
            return weights @ values / weights.sum(dim=-1, keepdim=True)
        weighted = queries @ (keys.transpose(-2, -1) @ values)
        return weighted / (norm or sums)(queries, keys, k)

    return attend


sums = lambda queries, keys, raw: queries @ keys.sum(dim=-2).unsqueeze(-1)


def linear_cases(seed: int) -> list[Case]:
    """Long sequences, so that n × n is seen; heads; other numbers of keys than of queries."""
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(shape, generator=generator)
    return [
        Case("256 tokens", (random(256, 4), random(256, 4), random(256, 6))),
        Case("2 heads of 200 tokens", (random(2, 200, 5), random(2, 200, 5), random(2, 200, 3))),
        Case("300 queries, 150 keys", (random(300, 4), random(150, 4), random(150, 4))),
        Case("5 tokens, large numbers", (4 * random(5, 3), 4 * random(5, 3), random(5, 2))),
    ]


LINEAR = Exercise(
    id="16.3",
    name="linear_attend",
    title="Brackets that save a square",
    points=2,
    reference=linear_attend,
    cases=linear_cases,
    verb="call_and_watch_size",
    mistakes=(
        Mistake(
            "the n × n matrix",
            "The result is right, but on the way you made all n × n weights. Where must the brackets stand so that no matrix "
            "has n rows AND n columns?",
            linear_with(from_left=True),
        ),
        Mistake(
            "softmax kept",
            "That is ordinary attention. With a softmax around q · kᵀ the brackets cannot move: φ takes its place.",
            lambda q, k, v: (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v,
        ),
        Mistake(
            "no feature map",
            "You used q and k as they are. Their products can be negative, so they are no weights: both go through φ.",
            linear_with(of_q=lambda x: x, of_k=lambda x: x),
        ),
        Mistake(
            "elu without + 1",
            "elu goes down to −1. Weights must be positive: φ(x) = elu(x) + 1.",
            linear_with(of_q=F.elu, of_k=F.elu),
        ),
        Mistake(
            "ReLU instead of elu + 1",
            "With ReLU a query of negative numbers has no weights at all. φ(x) = elu(x) + 1 is never zero.",
            linear_with(of_q=F.relu, of_k=F.relu),
        ),
        Mistake("φ on the queries only", "The keys need φ as well.", linear_with(of_k=lambda x: x)),
        Mistake("φ on the keys only", "The queries need φ as well.", linear_with(of_q=lambda x: x)),
        Mistake("φ on the values", "Values are what is read: φ is for queries and keys only.", linear_with(of_v=phi)),
        Mistake(
            "not normalised",
            "Your weights do not sum to 1. Divide each query's answer by the sum of its weights.",
            linear_with(norm=lambda queries, keys, raw: 1.0),
        ),
        Mistake(
            "divided by the number of keys",
            "You divided by the number of keys. The weights of a query sum to φ(q) · Σ φ(k), another number for each query.",
            linear_with(norm=lambda queries, keys, raw: keys.shape[-2]),
        ),
        Mistake(
            "keys summed without φ",
            "In the divisor you summed the keys as they are. It must be the sum of the same weights, so of φ(k).",
            linear_with(norm=lambda queries, keys, raw: sums(queries, raw, raw)),
        ),
        Mistake(
            "divided by √d before φ",
            "You scaled the queries by √d. That belongs to the softmax; here φ takes the queries as they are.",
            linear_with(of_q=lambda x: phi(x / math.sqrt(x.shape[-1]))),
        ),
    ),
    hints=(
        "φ first: F.elu(x) + 1, for queries and for keys. Then the brackets: φ(k)ᵀ · v is a small matrix, d × e.",
        "The divisor is φ(q) · (φ(k) summed over the tokens): a number for each query. `sum(dim=-2)`, then a product.",
        "q @ (k.transpose(-2, -1) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1)), with q and k after φ",
    ),
)

# --- 16.4 ----------------------------------------------------------------------------------------------------------


def attend_with_cache(q: Tensor, k: Tensor, v: Tensor, old_k: Tensor, old_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """New tokens look at the cached ones and at each other; the cache grows."""
    return cached_with()(q, k, v, old_k, old_v)


def cached_with(
    *, grow: Callable | None = None, look_old: bool = False, corner: str = "last", scale: Callable = math.sqrt,
    store: Callable | None = None, dim: int = -1, stored_keys: Callable = lambda q, k: k,
) -> Callable:  # fmt: skip
    """A variant: what is cached, what is looked at, where the causal mask begins."""

    def step(q, k, v, old_k, old_v):
        join = grow or (lambda old, new: torch.cat([old, new], dim=1))
        keys, values = join(old_k, stored_keys(q, k)), join(old_v, v)
        seen_k, seen_v = (old_k, old_v) if look_old else (keys, values)
        scores = q @ seen_k.transpose(-2, -1) / scale(q.shape[-1])
        n, m = scores.shape[-2:]
        if corner != "none" and not look_old:
            seen = torch.ones(n, m, dtype=torch.bool).tril(m - n if corner == "last" else 0)
            scores = scores.masked_fill(~seen, -Infinity)
        answers = scores.softmax(dim=dim) @ seen_v
        return (answers, *(store(k, v, keys, values) if store else (keys, values)))

    return step


def cache_cases(seed: int) -> list[Case]:
    """The prompt with an empty cache, one token, several tokens at once, and one after many."""
    generator = torch.Generator().manual_seed(seed)
    random = lambda *shape: torch.randn(shape, generator=generator)

    def inputs(heads: int, new: int, old: int, d: int) -> tuple:
        return (*(2 * random(heads, new, d) for _ in range(3)), *(2 * random(heads, old, d) for _ in range(2)))

    return [
        Case("one new token after 5", inputs(2, 1, 5, 3)),
        Case("three new tokens after 4", inputs(2, 3, 4, 3)),
        Case("a prompt of 4 tokens, the cache still empty", inputs(1, 4, 0, 4)),
        Case("one new token after 30", inputs(3, 1, 30, 8)),
    ]


CACHE = Exercise(
    id="16.4",
    name="attend_with_cache",
    title="A step with a cache",
    points=3,
    reference=attend_with_cache,
    cases=cache_cases,
    invariants=(
        Invariant(
            "the cache must have grown by exactly the new tokens",
            lambda inputs, result: result[1].shape[1] == inputs[3].shape[1] + inputs[1].shape[1],
        ),
    ),
    mistakes=(
        Mistake(
            "looks before it stores",
            "Your new tokens see the cached ones only. A token also looks at itself: store first, then look.",
            cached_with(look_old=True),
        ),
        Mistake(
            "new tokens in front",
            "You put the new tokens before the cached ones. The text goes on at its end.",
            cached_with(grow=lambda old, new: torch.cat([new, old], dim=1)),
        ),
        Mistake(
            "new tokens see the future",
            "Several new tokens at once (a prompt) need the causal mask among themselves: the first must not see the second.",
            cached_with(corner="none"),
        ),
        Mistake(
            "the mask begins at the first key",
            "Your first new token sees the first key only, your second the first two, as if nothing were cached. The LAST query "
            "stands at the LAST key. (torch's is_causal=True does the same: leave it out for one new token.)",
            cached_with(corner="first"),
        ),
        Mistake("not scaled", "The scores are divided by √d before the softmax.", cached_with(scale=lambda d: 1.0)),
        Mistake("divided by d", "You divided the scores by d. It is the root, √d.", cached_with(scale=float)),
        Mistake(
            "queries in the cache",
            "You stored the new queries among the keys. A query is asked once and never needed again.",
            cached_with(stored_keys=lambda q, k: q),
        ),
        Mistake(
            "keys and values exchanged",
            "You returned values where keys belong. First the keys, then the values.",
            cached_with(store=lambda k, v, keys, values: (values, keys)),
        ),
        Mistake(
            "only the new ones returned",
            "You returned the new keys and values. What is returned is the cache of the next step: all tokens so far.",
            cached_with(store=lambda k, v, keys, values: (k, v)),
        ),
        Mistake(
            "softmax over the queries",
            "Your weights sum to 1 over the queries. Each query shares its weight among the keys: the last dimension.",
            cached_with(dim=-2),
        ),
    ),
    hints=(
        "First make all keys and all values: torch.cat along the tokens, dim=1. Then it is exact attention.",
        "Query i of `new` stands at place old + i, so it sees the first old + i + 1 keys.",
        "seen = torch.ones(new, old + new, dtype=torch.bool).tril(old); hide where ~seen with −∞, softmax over dim=-1, times values.",
    ),
)

# --- 16.5 ----------------------------------------------------------------------------------------------------------


def longest_text(budget_bytes: int, layers: int, heads: int, head_width: int, bits: int, texts: int) -> int:
    """How many tokens of each text fit into a cache."""
    return tokens_with()(budget_bytes, layers, heads, head_width, bits, texts)


def tokens_with(
    *, both: int = 2, per_byte: int = 8, scale: int = 4, scales: Callable | None = None, always: bool = False,
    rounding: Callable = math.floor, with_layers: bool = True, with_heads: bool = True, with_texts: bool = True,
) -> Callable:  # fmt: skip
    """A variant of the count: what is left out, or counted in another unit."""

    def tokens(budget_bytes: int, layers: int, heads: int, head_width: int, bits: int, texts: int) -> int:
        rows = both * (layers if with_layers else 1) * (heads if with_heads else 1)
        codes = rows * head_width * bits / per_byte
        extra = scale * (scales(layers, heads) if scales else rows) * (always or bits == 8)
        return rounding(budget_bytes / ((codes + extra) * (texts if with_texts else 1)))

    return tokens


def budget_cases(seed: int) -> list[Case]:
    """Random models at 32, 16 and 8 bits; a budget that fits exactly; one for nothing."""
    generator = torch.Generator().manual_seed(seed)
    pick = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    layers, heads, width = pick(6, 24), pick(4, 12), 8 * pick(4, 12)
    token = 2 * layers * heads * (width + 4)
    return [
        Case("32 bits, one text", (10**8 + pick(0, 999), layers, heads, width, 32, 1)),
        Case("16 bits, four texts", (10**9 + pick(0, 999), layers, heads, width, 16, 4)),
        Case("8 bits with their scales", (10**8 + pick(0, 999), layers, heads, width, 8, 3)),
        Case("exactly ten tokens", (10 * token, layers, heads, width, 8, 1)),
        Case("one byte less than ten tokens", (10 * token - 1, layers, heads, width, 8, 1)),
        Case("not even one token", (token // 2 - 1, layers, heads, width, 8, 1)),
    ]


BUDGET = Exercise(
    id="16.5",
    name="longest_text",
    title="A cache under a budget",
    points=1,
    reference=longest_text,
    cases=budget_cases,
    mistakes=(
        Mistake("keys only", "Every token leaves a key AND a value in every head.", tokens_with(both=1)),
        Mistake(
            "scales forgotten",
            "Codes of 8 bits mean nothing without their scales: 4 bytes for each key and each value of each head.",
            tokens_with(scale=0),
        ),
        Mistake(
            "one scale a token",
            "You counted one scale for each token and layer. Every head's key has one, and every head's value.",
            tokens_with(scales=lambda layers, heads: layers),
        ),
        Mistake(
            "one scale for key and value",
            "You counted one scale for each head. Its key has one and its value another.",
            tokens_with(scales=lambda layers, heads: layers * heads),
        ),
        Mistake("scales of one byte", "A scale is a number of 32 bits: 4 bytes.", tokens_with(scale=1)),
        Mistake(
            "scales without codes",
            "With 16 or 32 bits the numbers are stored as they are: no scales.",
            tokens_with(always=True),
        ),
        Mistake(
            "bits for bytes",
            "Your answer is too small by a factor of about 8: a byte has 8 bits.",
            tokens_with(per_byte=1),
        ),
        Mistake("layers forgotten", "Every layer has a cache of its own.", tokens_with(with_layers=False)),
        Mistake(
            "heads forgotten",
            "`head_width` is the width of one head. There are `heads` of them.",
            tokens_with(with_heads=False),
        ),
        Mistake(
            "texts forgotten",
            "Every text that is being written needs a cache of its own.",
            tokens_with(with_texts=False),
        ),
        Mistake(
            "rounded up", "You rounded up: the last token does not fit. Round down.", tokens_with(rounding=math.ceil)
        ),
        Mistake(
            "rounded to the nearest", "A token that fits by half does not fit. Round down.", tokens_with(rounding=round)
        ),
    ),
    hints=(
        "Count the bytes of one token of one text first: how many rows does it leave behind, and how long is each?",
        "Rows: 2 · layers · heads. A row takes head_width · bits / 8 bytes, and 4 more for its scale if bits is 8.",
        "budget_bytes // (texts * rows * row_bytes)",
    ),
)

EXERCISES = (WINDOW, TILE, LINEAR, CACHE, BUDGET)

QUIZ = (
    Question(
        "What does tiled attention approximate?",
        {
            "Nothing: it is the same function, computed in another order": "Only rounding differs, and that about as much as exact attention differs from the truth.",
            "The softmax, by one for each tile": "That would be another function. The running maximum and sum are those of the whole row in the end.",
            "Scores far from the diagonal": "That is a window. Tiles compute every score.",
        },
        "Nothing: it is the same function, computed in another order",
    ),
    Question(
        "Why does tiled attention compute its scores again in the backward pass?",
        {
            "Keeping them would take n² memory, which it is there to avoid": "One number a query is enough to get every weight back: e^(score − that number).",
            "The first ones were inexact": "They were exact, and thrown away.",
            "Gradients need other scores": "They need the same ones.",
        },
        "Keeping them would take n² memory, which it is there to avoid",
    ),
    Question(
        "A model was trained with exact attention. Which may you put in its place without training?",
        {
            "Tiles and the cache": "Both compute the same function. You saw a window and linear attention fail under the same weights.",
            "Linear attention, it has the same shapes": "Shapes fit, but its weights are others: the model never learned with them.",
            "A window, most weight is near anyway": "Not in this model: it looks far back, and most digits were lost.",
        },
        "Tiles and the cache",
    ),
    Question(
        "What does the cache save, and what does it cost?",
        {
            "Arithmetic for each new token; memory that grows with the text": "Old tokens are not read again, but their keys and values stay.",
            "Memory; it costs arithmetic": "The other way round.",
            "Both, if it is in int8": "int8 makes it smaller. It still grows with every token.",
        },
        "Arithmetic for each new token; memory that grows with the text",
    ),
)
