"""Lesson 11: an iteration of k-means, the gradient of a codebook, gaps with fillers, Huffman's lengths, the honest ratio."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.quantization.huffman import build_code
from course_lib.quantization.kmeans import Codebook
from course_lib.quantization.relative_index import relative_indices
from course_lib.quantization.weight_sharing import codebook_gradient
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question

# --- 11.1 ----------------------------------------------------------------------------------------------------------


def assign_and_update(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each number, and the mean of each cluster; an empty one keeps its centroid."""
    codes = nearest(x, centroids)
    return codes, cluster_means(x, codes, centroids)


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Codes of x's shape."""
    return (x[..., None] - centroids).abs().argmin(-1)


def cluster_means(x: Tensor, codes: Tensor, centroids: Tensor) -> Tensor:
    """Means (k,), computed cluster by cluster."""
    rows = [x[codes == j] for j in range(len(centroids))]
    return torch.stack([row.mean() if len(row) else centroids[j] for j, row in enumerate(rows)])


def iteration_cases(seed: int) -> list[Case]:
    """A row and a matrix, centroids in any order, one that stays empty, and as many numbers as centroids."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=generator)
    x = draw(12)
    far = torch.cat([x[:2], torch.tensor([9.0 + float(draw(1).abs()), -0.1])])
    return [
        Case("12 numbers, 3 centroids, not in order", (x, torch.tensor([0.9, -1.1, 0.1]) + 0.05 * draw(3))),
        Case("a centroid that no number is nearest to", (x, far)),
        Case("a matrix of weights, 4 × 5", (draw(4, 5) + 0.5, torch.tensor([-0.5, 0.4, 1.5]) + 0.05 * draw(3))),
        Case("one centroid: the mean of all", (draw(7) + 3, torch.tensor([0.5]))),
    ]


def iteration_with(
    *, distance: Callable = torch.abs, pick: Callable = torch.argmin, centre: Callable = torch.mean,
    empty: Callable = lambda old: old, after: bool = False, still: bool = False, of_codes: bool = False,
    over_all: bool = False, drop: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the iteration: another distance, another centre, another fate of an empty cluster."""

    def run(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
        codes = pick(distance(x[..., None] - centroids), dim=-1)
        found = []
        for j, old in enumerate(centroids):
            members = codes[codes == j].float() if of_codes else x[codes == j]
            if len(members) or not drop:
                scale = len(members) / x.numel() if over_all else 1
                found.append(scale * centre(members) if len(members) else empty(old))
        new = centroids.clone() if still else torch.stack(found)
        return (nearest(x, new) if after else codes), new

    return run


ITERATION = Exercise(
    id="11.1",
    name="assign_and_update",
    title="One iteration of k-means",
    points=2,
    reference=assign_and_update,
    cases=iteration_cases,
    mistakes=(
        Mistake(
            "empty cluster becomes nan",
            "The mean of no numbers is nan, and from then on that centroid is lost. An empty cluster keeps its old centroid "
            "here: check how many members there are.",
            iteration_with(empty=lambda old: old * math.nan),
        ),
        Mistake(
            "empty cluster becomes zero",
            "Your empty cluster moved to 0, for no weight's sake. It has no members that could move it: it keeps its old value.",
            iteration_with(empty=torch.zeros_like),
        ),
        Mistake(
            "empty cluster dropped",
            "You returned fewer centroids than you were given. The codes count on k places: an empty cluster stays.",
            iteration_with(drop=True),
        ),
        Mistake(
            "mean of the codes",
            "You averaged the codes. They are only names of clusters: average the numbers that carry the code.",
            iteration_with(of_codes=True),
        ),
        Mistake(
            "signed distance",
            "You took the smallest difference x − c, so the largest centroid always wins. A distance has no sign.",
            iteration_with(distance=lambda gap: gap),
        ),
        Mistake(
            "farthest centroid",
            "You gave each number to the centroid that is farthest away. Look for the smallest distance.",
            iteration_with(pick=torch.argmax),
        ),
        Mistake(
            "median",
            "You moved centroids to the median. Squared distances are least from the mean.",
            iteration_with(centre=torch.median),
        ),
        Mistake(
            "middle of the range",
            "You took the middle between the smallest and the largest member. Where most members lie counts: take their mean.",
            iteration_with(centre=lambda members: (members.min() + members.max()) / 2),
        ),
        Mistake(
            "sum instead of mean",
            "You added the members up. Divide by how many there are in that cluster.",
            iteration_with(centre=torch.sum),
        ),
        Mistake(
            "divided by all numbers",
            "You divided each cluster's sum by the number of ALL weights. Each cluster has its own count.",
            iteration_with(over_all=True),
        ),
        Mistake(
            "centroids did not move",
            "You returned the old centroids. The second half of the iteration moves each to the mean of its members.",
            iteration_with(still=True),
        ),
        Mistake(
            "assigned again after the update",
            "Your codes belong to the NEW centroids: that is already the next iteration. Return those the means came from.",
            iteration_with(after=True),
        ),
    ),
    hints=(
        "Two halves. First: for each number, which centroid is nearest? Then: for each centroid, the mean of its members.",
        "`x[..., None] - centroids` has one more dimension, the differences to all k centroids; look for the least |difference|.",
        "Loop over j: members = x[codes == j]; take members.mean() if there are any, else centroids[j]; stack the results.",
    ),
)

# --- 11.2 ----------------------------------------------------------------------------------------------------------


def gradient_of_codebook(gradient: Tensor, codes: Tensor, k: int) -> Tensor:
    """∂L/∂c_j: the sum of the gradients of all weights whose code is j; code -1 is a pruned weight."""
    return codebook_gradient(gradient, Codebook(torch.zeros(k), codes))


def gradient_cases(seed: int) -> list[Case]:
    """Matrices with pruned weights, with a code that no weight has, and with all weights in one cluster."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=generator) + 0.3
    codes = torch.randint(-1, 3, (4, 5), generator=generator)
    codes[0, :4], codes[3, 1:] = torch.tensor([0, 1, 2, -1]), torch.tensor([2, 1, 0, -1])
    return [
        Case("a 4 × 5 layer, 3 shared values, some weights pruned", (draw(4, 5), codes, 3)),
        Case("the same layer, 5 shared values, of which the last two are not used", (draw(4, 5), codes, 5)),
        Case("6 weights that all share the value 1 of 2", (draw(6), torch.ones(6, dtype=torch.int64), 2)),
        Case("in double precision", (draw(2, 3).double(), torch.tensor([[0, 1, 0], [1, 0, 1]]), 2)),
    ]


def summed_with(
    *, mean: bool = False, last_wins: bool = False, wraps: bool = False, to_zero: bool = False, short: bool = False,
    power: Callable = lambda g: g, over_all: bool = False, spread: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the sum: another way to add up, and another fate of the pruned weights."""

    def run(gradient: Tensor, codes: Tensor, k: int) -> Tensor:
        g, c = power(gradient).flatten(), codes.flatten()
        c = c.clamp(min=0) if to_zero else c % k if wraps else c
        g, c = g[c >= 0], c[c >= 0]
        size = int(c.max()) + 1 if short else k
        sums = torch.zeros(size, dtype=g.dtype)
        if last_wins:
            for value, j in zip(g, c, strict=True):
                sums[j] = value
        else:
            sums.index_add_(0, c, g)
        counts = c.bincount(minlength=size).clamp(min=1)
        sums = sums / counts if mean else sums / gradient.numel() if over_all else sums
        return torch.where(codes >= 0, sums[codes.clamp(min=0)], 0.0) if spread else sums

    return run


GRADIENT = Exercise(
    id="11.2",
    name="gradient_of_codebook",
    title="The gradient of a codebook",
    points=2,
    reference=gradient_of_codebook,
    cases=gradient_cases,
    mistakes=(
        Mistake(
            "mean instead of sum",
            "You averaged. If a shared value moves by δ, ALL its weights move by δ, so their effects on the loss add up.",
            summed_with(mean=True),
        ),
        Mistake(
            "only the last one counts",
            "`sums[codes] += gradient` writes each place once: of several weights with one code only the last is kept. "
            "You need something that accumulates.",
            summed_with(last_wins=True),
        ),
        Mistake(
            "pruned weights in the last value",
            "Code −1 counted from the end: the gradients of pruned weights went to the last shared value. They belong to none.",
            summed_with(wraps=True),
        ),
        Mistake(
            "pruned weights in the first value",
            "The gradients of pruned weights went to shared value 0. A pruned weight has no shared value: leave it out.",
            summed_with(to_zero=True),
        ),
        Mistake(
            "unused values missing",
            "Your result is shorter than k. A value that no weight uses has gradient 0, and keeps its place.",
            summed_with(short=True),
        ),
        Mistake(
            "absolute gradients",
            "You added |gradient|. Gradients of opposite sign cancel: that is what the weights of one value agree on.",
            summed_with(power=torch.abs),
        ),
        Mistake(
            "divided by the layer's size",
            "You divided by the number of weights. The sum is the gradient, not the average.",
            summed_with(over_all=True),
        ),
        Mistake(
            "a gradient for each weight",
            "You returned one number for each weight. The codebook has k values, so its gradient has k numbers.",
            summed_with(spread=True),
        ),
        Mistake(
            "downhill already",
            "You returned −gradient. The optimiser subtracts; a gradient points uphill.",
            summed_with(power=torch.neg),
        ),
    ),
    hints=(
        "Shared value j appears in the network once for each weight with code j. What does the chain rule do with them?",
        "Leave out the weights with code −1, then add up those with code 0, with code 1, … up to k − 1.",
        "For each j in range(k): gradient[codes == j].sum(). Stack them, and keep the gradient's dtype.",
    ),
)

# --- 11.3 ----------------------------------------------------------------------------------------------------------


def gaps_with_fillers(positions: list[int], bits: int) -> tuple[list[int], list[bool]]:
    """Gaps of 1..2^bits, and which entries are weights (False is a filler)."""
    gaps, kept = relative_indices(torch.tensor(positions, dtype=torch.int64), bits)
    return gaps.tolist(), kept.tolist()


def gap_cases(seed: int) -> list[Case]:
    """Gaps that just fit, that just do not, and that need several fillers; a far first weight; a single one."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(1, 30, (7,), generator=generator)
    steps[0], steps[2], steps[4] = 3, 8, 9
    start = int(torch.randint(17, 24, (), generator=generator))
    scattered = (steps.cumsum(0) - 1).tolist()
    return [
        Case("gaps of 2, 3 and 11 in 3 bits, which reach 8", ([1, 4, 15], 3)),
        Case(f"weights at {scattered}, gaps of 3 bits", (scattered, 3)),
        Case("a gap of exactly 2^bits, and one more", ([0, 4, 9], 2)),
        Case("several fillers before one weight", ([2, 2 + start], 2)),
        Case("the first weight lies far from the beginning", ([start, start + 1], 3)),
        Case("one weight, at the very beginning", ([0], 4)),
    ]


def gaps_of(
    *, origin: int = -1, reach: Callable[[int], int] = lambda bits: 2**bits, early: bool = False, once: bool = False,
    marks: bool = False, whole: bool = False, minus: int = 0, behind: bool = False,
) -> Callable:  # fmt: skip
    """A variant: where counting begins, how far a gap reaches, what becomes of a gap that is too long."""

    def run(positions: list[int], bits: int) -> tuple[list[int], list[bool]]:
        gaps, kept, before, far = [], [], origin, reach(bits)
        for position in positions:
            left, bridges = position - before, 0
            while left > far - early and not (once and bridges):
                left, bridges = left - far, bridges + 1
            entries = [(far, marks)] * bridges
            last = [(position - before if whole else left, True)]
            for gap, is_weight in last + entries if behind else entries + last:
                gaps.append(gap - minus)
                kept.append(is_weight)
            before = position
        return gaps, kept

    return run


def without_fillers(cut: bool) -> Callable:
    """Gaps alone; cut down to what the bits hold, or as long as they are."""

    def run(positions: list[int], bits: int) -> tuple[list[int], list[bool]]:
        gaps = [b - a for a, b in zip([-1, *positions], positions, strict=False)]
        return [min(gap, 2**bits) if cut else gap for gap in gaps], [True] * len(gaps)

    return run


GAPS = Exercise(
    id="11.3",
    name="gaps_with_fillers",
    title="Relative indices with fillers",
    points=2,
    reference=gaps_with_fillers,
    cases=gap_cases,
    invariants=(
        Invariant(
            "the running sum of the gaps, less one, must be the positions again",
            lambda inputs, result: (
                [total - 1 for total, is_weight in zip(running(result[0]), result[1], strict=True) if is_weight]
                == inputs[0]
            ),
        ),
    ),
    mistakes=(
        Mistake(
            "counts from the first place",
            "Your first gap is one too short: it counts from just BEFORE place 0, so a weight at place 0 has gap 1.",
            gaps_of(origin=0),
        ),
        Mistake(
            "reach of 2^bits − 1",
            "Your gaps end at 2^bits − 1. As no gap is 0, the stored number is gap − 1, and 2^bits itself fits.",
            gaps_of(reach=lambda bits: 2**bits - 1),
        ),
        Mistake(
            "filler for a gap that just fits",
            "A gap of exactly 2^bits got a filler, and then a gap of 0. Only a gap that is LONGER needs one.",
            gaps_of(early=True),
        ),
        Mistake(
            "one filler at most",
            "After one filler your gap is still too long. Put fillers in until the rest fits: an `if` is not enough.",
            gaps_of(once=True),
        ),
        Mistake(
            "fillers marked as weights",
            "Your fillers say True, so each would be read as a weight. They are zeros: False.",
            gaps_of(marks=True),
        ),
        Mistake(
            "whole gap after the filler",
            "After a filler you stored the whole distance again. The filler has bridged 2^bits of it: store what is left.",
            gaps_of(whole=True),
        ),
        Mistake(
            "gap cut down",
            "A gap that is too long was cut to 2^bits. All later weights then stand in the wrong place.",
            without_fillers(cut=True),
        ),
        Mistake(
            "no fillers",
            "Your gaps are right, but some need more than `bits` bits. A filler bridges 2^bits of a long one.",
            without_fillers(cut=False),
        ),
        Mistake(
            "gap − 1",
            "You returned the stored numbers, gap − 1. The task asks for the gaps themselves, 1..2^bits.",
            gaps_of(minus=1),
        ),
        Mistake(
            "fillers behind the weight",
            "Your fillers come after the weight they should lead to. They bridge the way TO it, so they come before.",
            gaps_of(behind=True),
        ),
        Mistake(
            "absolute positions",
            "You returned positions. Relative means: counted from the weight before.",
            lambda positions, bits: (list(positions), [True] * len(positions)),
        ),
    ),
    hints=(
        "Walk through the positions and remember the one before; before the first weight that is −1.",
        "While the distance is more than 2^bits: add an entry (2^bits, False), and take 2^bits off the distance.",
        "for position in positions: distance = position − before; the while loop; append (distance, True); before = position.",
    ),
)


def running(gaps: list[int]) -> list[int]:
    """The running sum."""
    return torch.tensor(gaps).cumsum(0).tolist()


# --- 11.4 ----------------------------------------------------------------------------------------------------------


def code_lengths(counts: list[int]) -> list[int]:
    """Bits of each symbol's codeword in Huffman's code; 0 for a symbol that never occurs, 1 for an only one."""
    return build_code(torch.tensor(counts, dtype=torch.int64)).lengths.tolist()


def is_unambiguous(counts: list[int]) -> bool:
    """Whether the two rarest are never in doubt, so that all of Huffman's codes have the same lengths."""
    nodes = [count for count in counts if count]
    while len(nodes) > 2:
        nodes.sort()
        if nodes[1] == nodes[2]:
            return False
        nodes = [nodes[0] + nodes[1], *nodes[2:]]
    return True


def draw_counts(generator: torch.Generator, low: int, high: int, n: int, *, zeros: tuple[int, ...] = ()) -> list[int]:
    """Random counts whose code is not in doubt; those at the places `zeros` are 0."""
    while True:
        counts = torch.randint(low, high, (n,), generator=generator).tolist()
        counts = [0 if place in zeros else count for place, count in enumerate(counts)]
        if is_unambiguous(counts):
            return counts


def length_cases(seed: int) -> list[Case]:
    """Nearly equal counts, very unequal ones, symbols that never occur, a single one."""
    generator = torch.Generator().manual_seed(seed)
    skewed = [1, 2, 4, 9, 21, 47, 110, int(torch.randint(230, 400, (), generator=generator))]
    order = torch.randperm(len(skewed), generator=generator).tolist()
    return [
        Case("the lesson's example", ([5, 1, 0, 2],)),
        Case("five symbols that occur nearly equally often", (draw_counts(generator, 40, 60, 5),)),
        Case("eight symbols, one far more frequent than the others", ([skewed[place] for place in order],)),
        Case("two of seven symbols never occur", (draw_counts(generator, 3, 90, 7, zeros=(0, 4)),)),
        Case("only one symbol occurs", ([0, 12, 0],)),
    ]


def merged_with(
    *, rarest: bool = True, chain: bool = False, zeros: bool = False, single: int = 1, one_side: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the merging: other nodes merged, another order, another way to count depths."""

    def lengths(counts: list[int]) -> list[int]:
        found = [0] * len(counts)
        nodes = sorted(([count, [s]] for s, count in enumerate(counts) if count or zeros), reverse=not rarest)
        if len(nodes) == 1:
            found[nodes[0][1][0]] = single
        while len(nodes) > 1:
            (a, left), (b, right), *others = nodes
            for symbol in left if one_side else left + right:
                found[symbol] += 1
            node = [a + b, left + right]
            nodes = [node, *others] if chain else sorted([node, *others], reverse=not rarest)
        return found

    return lengths


def by_formula(formula: Callable[[float], float]) -> Callable:
    """Lengths straight from probabilities; at least one bit where a symbol occurs."""
    return lambda counts: [max(1, int(formula(sum(counts) / c))) if c else 0 for c in counts]


def equal_lengths(counts: list[int]) -> list[int]:
    """As many bits for each."""
    used = sum(count > 0 for count in counts)
    return [max(1, (used - 1).bit_length()) if count else 0 for count in counts]


LENGTHS = Exercise(
    id="11.4",
    name="code_lengths",
    title="The lengths of Huffman's codewords",
    points=3,
    reference=code_lengths,
    cases=length_cases,
    invariants=(
        Invariant(
            "Σ 2^−length must be at most 1, or no decoder can tell the codewords apart (Kraft)",
            lambda inputs, lengths: sum(2.0**-bits for bits in lengths if bits) <= 1,
        ),
    ),
    mistakes=(
        Mistake(
            "equal lengths",
            "All your codewords are equally long: that is the code before Huffman. Frequent symbols get shorter ones.",
            equal_lengths,
        ),
        Mistake(
            "logarithm rounded up",
            "You took ⌈log₂ 1/p⌉ (Shannon's code). It always works, but merging the two rarest often needs fewer bits.",
            by_formula(lambda inverse: math.ceil(math.log2(inverse))),
        ),
        Mistake(
            "logarithm rounded",
            "You rounded log₂ 1/p. Such lengths may fit no code at all. Merge the two rarest, again and again.",
            by_formula(lambda inverse: round(math.log2(inverse))),
        ),
        Mistake(
            "the most frequent merged first",
            "You merged the two most frequent first, so they are deepest and get the LONGEST codewords. Merge the rarest.",
            merged_with(rarest=False),
        ),
        Mistake(
            "always the same node",
            "You merged every further symbol with the node you already had. A merged node counts as often as BOTH its parts "
            "together; so after each merge look again for the two rarest: it may no longer be one of them.",
            merged_with(chain=True),
        ),
        Mistake(
            "only one side grows",
            "A merge puts one more bit in front of the symbols on BOTH sides: 0 for one side, 1 for the other.",
            merged_with(one_side=True),
        ),
        Mistake(
            "codewords for what never occurs",
            "Symbols with count 0 took part, and made other codewords longer. They get length 0 and are left out.",
            merged_with(zeros=True),
        ),
        Mistake(
            "an only symbol without a bit",
            "When only one symbol occurs nothing is merged, and its codeword is empty: a decoder could not count them. "
            "It gets one bit.",
            merged_with(single=0),
        ),
    ),
    hints=(
        "Keep a list of nodes (count, symbols in it). Start with one node for each symbol that occurs.",
        "Take the two nodes with the smallest counts out, add 1 to the length of every symbol in both, and put one node "
        "with the sum and all their symbols back. Until one is left.",
        "nodes.sort(); (a, left), (b, right) = nodes[:2]; nodes = [(a + b, left + right)] + nodes[2:]. An only symbol gets 1.",
    ),
)

# --- 11.5 ----------------------------------------------------------------------------------------------------------


def shared_ratio(layers: list[tuple[int, int, int, int]], gap_bits: int) -> float:
    """Bits in float32 over bits of codes, gaps and codebooks, over all layers together."""
    return 32 * sum(layer[0] for layer in layers) / sum(bits_of_layer(*layer, gap_bits) for layer in layers)


def bits_of_layer(n: int, kept: int, fillers: int, k: int, gap_bits: int) -> float:
    """A code and a gap for every entry, and k values in float32."""
    return (kept + fillers) * ((k - 1).bit_length() + gap_bits) + 32 * k


def ratio_cases(seed: int) -> list[Case]:
    """One layer, three layers of unlike sizes, codebooks that are no power of two, and no fillers."""
    generator = torch.Generator().manual_seed(seed)
    pick = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    big = (pick(200_000, 240_000), pick(17_000, 20_000), pick(900, 1500), 64)
    middle = (30_000, pick(2_400, 3_000), pick(90, 200), pick(33, 60))
    return [
        Case(
            "one layer, 32 shared values, gaps of 5 bits", ([(pick(4000, 6000), pick(400, 600), pick(20, 60), 32)], 5)
        ),
        Case("three layers of unlike sizes, gaps of 5 bits", ([big, middle, (1000, pick(240, 280), 0, 16)], 5)),
        Case("a codebook of 5 values, gaps of 4 bits", ([(pick(2000, 3000), pick(150, 250), pick(5, 30), 5)], 4)),
    ]


def ratio_with(bits: Callable[..., float] = bits_of_layer, *, before: int = 0, once: bool = False) -> Callable:
    """A variant: other bits of a layer, other weights counted before, one codebook for all layers."""

    def ratio(layers: list[tuple[int, int, int, int]], gap_bits: int) -> float:
        after = sum(bits(*layer, gap_bits) for layer in layers)
        after -= 32 * (sum(layer[3] for layer in layers) - max(layer[3] for layer in layers)) if once else 0
        return 32 * sum(layer[before] for layer in layers) / after

    return ratio


RATIO = Exercise(
    id="11.5",
    name="shared_ratio",
    title="A ratio with everything in it",
    points=2,
    reference=shared_ratio,
    cases=ratio_cases,
    mistakes=(
        Mistake(
            "codebook forgotten",
            "Your size has no codebooks. Without them a code means nothing: k values of 32 bits for each layer.",
            ratio_with(lambda n, kept, fillers, k, gap: (kept + fillers) * ((k - 1).bit_length() + gap)),
        ),
        Mistake(
            "indices forgotten",
            "Your size has no gaps. Nobody could say where the surviving weights stand.",
            ratio_with(lambda n, kept, fillers, k, gap: (kept + fillers) * (k - 1).bit_length() + 32 * k),
        ),
        Mistake(
            "fillers forgotten",
            "You counted an entry for each surviving weight only. A filler is an entry too: it has a gap and a code.",
            ratio_with(lambda n, kept, fillers, k, gap: kept * ((k - 1).bit_length() + gap) + 32 * k),
        ),
        Mistake(
            "fillers without a code",
            "You gave fillers a gap only. In this format every entry has a gap AND a code, a filler that of a zero.",
            ratio_with(lambda n, kept, fillers, k, gap: kept * (k - 1).bit_length() + (kept + fillers) * gap + 32 * k),
        ),
        Mistake(
            "broken bits",
            "You took log₂ k bits for a code. A code has a whole number of bits: round up where k is no power of two.",
            ratio_with(lambda n, kept, fillers, k, gap: (kept + fillers) * (math.log2(k) + gap) + 32 * k),
        ),
        Mistake(
            "k bits for a code",
            "You took k bits for a code. With b bits one tells 2^b values apart: ⌈log₂ k⌉ are enough.",
            ratio_with(lambda n, kept, fillers, k, gap: (kept + fillers) * (k + gap) + 32 * k),
        ),
        Mistake(
            "codebook in code bits",
            "You stored the shared values in as few bits as the codes. They are float32 numbers: 32 bits each.",
            ratio_with(
                lambda n, kept, fillers, k, gap: (kept + fillers + k) * (k - 1).bit_length() + (kept + fillers) * gap
            ),
        ),
        Mistake(
            "codes for all weights",
            "You counted a code for every weight of the dense layer. The pruned ones are skipped by the gaps.",
            ratio_with(lambda n, kept, fillers, k, gap: n * (k - 1).bit_length() + (kept + fillers) * gap + 32 * k),
        ),
        Mistake(
            "pruned weights not counted before",
            "Your ratio compares with the surviving weights in float32. The original network had all n of them.",
            ratio_with(before=1),
        ),
        Mistake(
            "mean of the layers' ratios",
            "You averaged the ratios of the layers: a tiny layer then counts as much as the largest. Add up bits first, divide once.",
            lambda layers, gap_bits: sum(shared_ratio([layer], gap_bits) for layer in layers) / len(layers),
        ),
        Mistake(
            "one codebook for all",
            "You counted one codebook. Each layer has its own.",
            ratio_with(once=True),
        ),
        Mistake(
            "share instead of ratio",
            "You divided after by before. The ratio is before / after, above 1 when something was saved.",
            lambda layers, gap_bits: 1 / shared_ratio(layers, gap_bits),
        ),
    ),
    hints=(
        "Write down the bits of one layer: entries (weights and fillers), what each entry takes, and its codebook.",
        "A code takes ⌈log₂ k⌉ bits: `(k - 1).bit_length()`. An entry takes that and gap_bits.",
        "32 · Σ n, divided by Σ [(kept + fillers) · (⌈log₂ k⌉ + gap_bits) + 32 · k], both over all layers.",
    ),
)

EXERCISES = (ITERATION, GRADIENT, GAPS, LENGTHS, RATIO)

QUIZ = (
    Question(
        "Why are gradients of one shared value SUMMED, not averaged?",
        {
            "When the value moves, all its weights move, and their effects add up": "That is the chain rule: the value appears once for each weight.",
            "So that large clusters learn faster on purpose": "They do get larger gradients, but as a consequence: more weights move.",
            "It makes no difference": "To plain gradient descent it does: the step would shrink with the size of the cluster.",
        },
        "When the value moves, all its weights move, and their effects add up",
    ),
    Question(
        "Codes of 4 bits, all 16 values used equally often. How much does Huffman's code save?",
        {
            "Nothing: all codewords have 4 bits": "The entropy is 4 bits, and no code goes below it.",
            "20 to 30 %": "So much it saved in the paper, where some values were far more frequent than others.",
            "It depends on the values": "Only how often each occurs counts, not what it is.",
        },
        "Nothing: all codewords have 4 bits",
    ),
    Question(
        "A paper reports “4-bit codes on a tenth of the weights: 80 times smaller”. What is missing?",
        {
            "The places of the weights, and the codebooks": "A gap costs about as many bits as a code. Ask for the length of the file.",
            "Nothing: 10 · 32 / 4 is 80": "So one gets if nobody needs to know where the weights stand.",
            "The time": "A fair question too, but 80 is wrong before any clock runs.",
        },
        "The places of the weights, and the codebooks",
    ),
    Question(
        "The file is 35 times smaller. How much memory does the network need while it predicts, if it is decoded as it is loaded?",
        {
            "As much as before": "Decoded weights are dense float32 again. To save memory, kernels must work on codes and gaps.",
            "35 times less": "Only if the arithmetic runs on the compressed form; ordinary layers do not.",
            "A tenth, because of the zeros": "A dense tensor stores its zeros.",
        },
        "As much as before",
    ),
)
