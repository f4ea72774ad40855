"""Lesson 07: filters of conv, batch norm and conv; columns behind a flatten; a residual pair; blocks; MACs and the clock."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question


def others(count: int, gone: Sequence[int]) -> list[int]:
    """The numbers below `count` that are not in `gone`, in their order."""
    return [index for index in range(count) if index not in set(gone)]


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A random whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# --- 7.1 -----------------------------------------------------------------------------------------------------------

NORM = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
FILTERED = ("conv1.weight", "conv1.bias", *NORM)


def remove_channels(state: dict[str, Tensor], gone: list[int]) -> dict[str, Tensor]:
    """Rows of the first convolution and of its batch norm, columns of the second."""
    keep = others(len(state["conv1.weight"]), gone)
    shorter = {name: state[name][keep] for name in FILTERED}
    return state | shorter | {"conv2.weight": state["conv2.weight"][:, keep]}


def channel_cases(seed: int) -> list[Case]:
    """Random layers of which the first, the last, and unsorted filters go; the second has more filters than the first."""
    generator = torch.Generator().manual_seed(seed)
    inputs, filters = whole(generator, 2, 4), whole(generator, 6, 9)
    outputs = filters + whole(generator, 1, 3)
    state = {
        "conv1.weight": torch.randn(filters, inputs, 3, 3, generator=generator),
        "conv1.bias": torch.randn(filters, generator=generator),
        **{name: torch.rand(filters, generator=generator) + 0.5 for name in NORM},
        "norm.num_batches_tracked": torch.tensor(700),
        "conv2.weight": torch.randn(outputs, filters, 3, 3, generator=generator),
        "conv2.bias": torch.randn(outputs, generator=generator),
    }
    some = torch.randperm(filters - 1, generator=generator)[:3].tolist()
    return [
        Case("three filters, named in no order", (state, some)),
        Case("the first filter", (state, [0])),
        Case("the first and the last filter", (state, [filters - 1, 0])),
    ]


def cut_state(
    *, left: Sequence[str] = (), columns: bool = True, rows: bool = False, next_bias: bool = False, invert: bool = False,
    zero: bool = False, last: bool = False, counter: bool = False,
) -> Callable:  # fmt: skip
    """A variant: some tensors left whole, another axis, other filters."""

    def cut(state: dict[str, Tensor], gone: list[int]) -> dict[str, Tensor]:
        count = len(state["conv1.weight"])
        keep = list(range(count - len(gone))) if last else others(count, gone)
        keep = sorted(gone) if invert else keep
        new = {name: value.clone() for name, value in state.items()}
        for name in FILTERED:
            if name not in left:
                new[name] = new[name].index_fill(0, torch.tensor(gone), 0.0) if zero else new[name][keep]
        if zero:
            return new | {"conv2.weight": new["conv2.weight"].index_fill(1, torch.tensor(gone), 0.0)}
        if columns:
            new["conv2.weight"] = new["conv2.weight"][:, keep]
        if rows:
            new["conv2.weight"] = new["conv2.weight"][keep]
        if next_bias:
            new["conv2.bias"] = new["conv2.bias"][keep]
        if counter:
            new["norm.num_batches_tracked"] = new["norm.num_batches_tracked"][keep]
        return new

    return cut


CHANNELS = Exercise(
    id="7.1",
    name="remove_channels",
    title="Filters of conv, batch norm and conv",
    points=3,
    reference=remove_channels,
    cases=channel_cases,
    mistakes=(
        Mistake(
            "wrong axis in the next layer",
            "You removed FILTERS of the next convolution. Its filters all stay; what each of them loses is the slice that read "
            "the removed channels. Which axis of a convolution's weight holds its inputs?",
            cut_state(columns=False, rows=True),
        ),
        Mistake(
            "the next layer left",
            "The next convolution still expects the channels that are gone. Something of it must go with them.",
            cut_state(columns=False),
        ),
        Mistake(
            "running statistics left",
            "The batch norm kept its old running mean and variance. They are buffers, not parameters, but there is one for "
            "each channel all the same.",
            cut_state(left=("norm.running_mean", "norm.running_var")),
        ),
        Mistake(
            "scale and shift left",
            "The batch norm kept the scale and shift of channels that are gone.",
            cut_state(left=("norm.weight", "norm.bias")),
        ),
        Mistake(
            "batch norm left",
            "You forgot the layer in between: a batch norm holds four numbers for every channel.",
            cut_state(left=NORM),
        ),
        Mistake(
            "bias left",
            "The first convolution kept the biases of filters that are gone. A filter is its weights and its bias.",
            cut_state(left=("conv1.bias",)),
        ),
        Mistake(
            "the next bias cut",
            "You cut the bias of the next convolution. It belongs to that layer's own filters, and those stay.",
            cut_state(next_bias=True),
        ),
        Mistake(
            "keeps what should go",
            "You kept exactly the filters that were to be removed.",
            cut_state(invert=True),
        ),
        Mistake(
            "zeros instead of less",
            "You set the filters to zero. That is a mask: every tensor is as large as before, and so is the clock's reading.",
            cut_state(zero=True),
        ),
        Mistake(
            "the last ones go",
            "You removed the right number of filters, but the last ones. `gone` says which.",
            cut_state(last=True),
        ),
        Mistake(
            "the counter cut too",
            "`num_batches_tracked` is one number for the whole layer, a count of batches. It has no channels to cut.",
            cut_state(counter=True),
        ),
    ),
    hints=(
        "First make a list of the indices that stay. Then ask of each tensor: does it have a place for every filter, and on which axis?",
        "The rows (axis 0) of conv1.weight, conv1.bias and four tensors of the norm; the columns (axis 1) of conv2.weight.",
        "Indexing with a list picks rows: `value[keep]`; and `value[:, keep]` picks columns. Copy all other tensors as they are.",
    ),
)

# --- 7.2 -----------------------------------------------------------------------------------------------------------


def shrink_linear(weight: Tensor, channels: int, gone: list[int]) -> Tensor:
    """Each channel fills a block of columns."""
    pixels = weight.shape[1] // channels
    return weight.unflatten(1, (channels, pixels))[:, others(channels, gone)].flatten(1)


def linear_cases(seed: int) -> list[Case]:
    """Several pixels for each channel, also a single one."""
    generator = torch.Generator().manual_seed(seed)
    channels, pixels = whole(generator, 5, 8), whole(generator, 3, 6)
    outputs = channels * pixels + 1
    weight = torch.randn(outputs, channels * pixels, generator=generator)
    one = torch.randn(4, channels, generator=generator)
    some = torch.randperm(channels - 1, generator=generator)[:2].tolist()
    return [
        Case(f"{pixels} pixels for each of {channels} channels", (weight, channels, some)),
        Case("the first channel", (weight, channels, [0])),
        Case("the last channel", (weight, channels, [channels - 1])),
        Case("one pixel for each channel", (one, channels, some)),
    ]


def cut_columns(
    belongs: Callable[[int, int, int], int], *, invert: bool = False, rows: bool = False, zero: bool = False
) -> Callable:
    """A variant: belongs(column, channels, pixels) -> the channel that this column is taken to read."""

    def cut(weight: Tensor, channels: int, gone: list[int]) -> Tensor:
        pixels = weight.shape[1] // channels
        stays = [(belongs(column, channels, pixels) in gone) == invert for column in range(weight.shape[1])]
        keep = torch.tensor(stays)
        if zero:
            return weight * keep
        return weight[: len(keep)][keep] if rows else weight[:, keep]

    return cut


def blocks(column: int, channels: int, pixels: int) -> int:
    """How flatten orders its columns."""
    return column // pixels


LINEAR = Exercise(
    id="7.2",
    name="shrink_linear",
    title="Behind a flatten",
    points=2,
    reference=shrink_linear,
    cases=linear_cases,
    mistakes=(
        Mistake(
            "one column for each channel",
            "You removed one column for each channel. Flatten turns a channel into one column for EACH of its pixels.",
            cut_columns(lambda column, channels, pixels: column),
        ),
        Mistake(
            "pixels before channels",
            "You took every `channels`-th column, as if the channels were the fastest to change. Flatten writes all pixels of "
            "channel 0, then all of channel 1: which columns does a channel own then?",
            cut_columns(lambda column, channels, pixels: column % channels),
        ),
        Mistake(
            "off by one column",
            "Your blocks begin one column too late. Channel c owns the columns from c · pixels on.",
            cut_columns(lambda column, channels, pixels: (column - 1) // pixels if column else -1),
        ),
        Mistake(
            "only the first pixel",
            "You removed the first column of each block. All pixels of a channel go with it.",
            cut_columns(lambda column, channels, pixels: column // pixels if column % pixels == 0 else -1),
        ),
        Mistake(
            "keeps what should go",
            "You kept exactly the columns of the removed channels.",
            cut_columns(blocks, invert=True),
        ),
        Mistake(
            "rows instead of columns",
            "You removed rows: those are the linear layer's outputs. Its inputs are its columns.",
            cut_columns(blocks, rows=True),
        ),
        Mistake(
            "zeros instead of less",
            "You set the columns to zero. They must be gone.",
            cut_columns(blocks, zero=True),
        ),
    ),
    hints=(
        "How many pixels does a channel have? The weight's columns and the number of channels tell.",
        "See the columns as a table of (channels, pixels): `weight.unflatten(1, (channels, pixels))`, or `reshape`.",
        "Pick the channels that stay on axis 1 of that table, then `flatten(1)` it again.",
    ),
)

# --- 7.3 -----------------------------------------------------------------------------------------------------------


def prune_residual(weights: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """The n channels with the lowest mean score in both layers that make them go from all four."""
    return cut_residual(
        weights, others(len(weights["stem"]), weakest((size_of(weights, "stem") + size_of(weights, "outer")) / 2, n))
    )


def size_of(weights: dict[str, Tensor], name: str) -> Tensor:
    """The mean magnitude of each filter's weights."""
    return weights[name].abs().flatten(1).mean(dim=1)


def weakest(score: Tensor, n: int) -> list[int]:
    """The indices of the n lowest scores."""
    return score.argsort(stable=True)[:n].tolist()


def cut_residual(weights: dict[str, Tensor], keep: list[int]) -> dict[str, Tensor]:
    """These channels of all four layers."""
    return {
        "stem": weights["stem"][keep],
        "inner": weights["inner"][:, keep],
        "outer": weights["outer"][keep],
        "head": weights["head"][:, keep],
    }


def residual_cases(seed: int) -> list[Case]:
    """Scores that the two layers rank differently, on purpose and at random."""
    generator = torch.Generator().manual_seed(seed)
    count, middle = 8, 6
    weights = {
        "stem": torch.randn(count, 2, 3, 3, generator=generator),
        "inner": torch.randn(middle, count, 3, 3, generator=generator),
        "outer": torch.randn(count, middle, 3, 3, generator=generator),
        "head": torch.randn(10, count, generator=generator),
    }
    order = torch.randperm(count, generator=generator)
    stem = torch.tensor([0.1, 0.2, 1.3, 1.4, 1.1, 1.2, 0.45, 0.5])
    outer = torch.tensor([3.0, 2.0, 0.1, 0.3, 1.5, 1.6, 0.5, 0.55])
    for name, sizes in (("stem", stem), ("outer", outer)):
        scale = sizes[order] / size_of(weights, name)
        weights[name] = weights[name] * scale.view(-1, 1, 1, 1)
    return [
        Case("two channels, and layers that disagree", (weights, 2)),
        Case("three channels", (weights, 3)),
        Case("one channel", (weights, 1)),
    ]


def residual_with(pick: Callable, cut: Callable = cut_residual) -> Callable:
    """A variant: pick(weights, n) -> the channels that go; cut(weights, keep)."""
    return lambda weights, n: cut(weights, others(len(weights["stem"]), pick(weights, n)))


def both(weights: dict[str, Tensor], n: int) -> list[int]:
    """The right choice."""
    return weakest(size_of(weights, "stem") + size_of(weights, "outer"), n)


def leaving(*names: str) -> Callable:
    """The right choice, but some layers stay whole."""
    return residual_with(both, lambda w, keep: cut_residual(w, keep) | {name: w[name].clone() for name in names})


def each_its_own(weights: dict[str, Tensor], n: int) -> dict[str, Tensor]:
    """Stem and outer layer choose by themselves."""
    stem, outer = (others(8, weakest(size_of(weights, name), n)) for name in ("stem", "outer"))
    return cut_residual(weights, stem) | {"outer": weights["outer"][outer]}


RESIDUAL = Exercise(
    id="7.3",
    name="prune_residual",
    title="A residual pair",
    points=3,
    reference=prune_residual,
    cases=residual_cases,
    mistakes=(
        Mistake(
            "each layer chooses for itself",
            "The stem lost its own weakest filters and the outer layer its own. All shapes fit, and that is the trap: the addition "
            "now adds channels that never belonged together.",
            each_its_own,
        ),
        Mistake(
            "only the stem is asked",
            "You ranked the channels by the stem alone. Two layers make each channel; ask both.",
            residual_with(lambda w, n: weakest(size_of(w, "stem"), n)),
        ),
        Mistake(
            "only the outer layer is asked",
            "You ranked the channels by the outer layer alone. Two layers make each channel; ask both.",
            residual_with(lambda w, n: weakest(size_of(w, "outer"), n)),
        ),
        Mistake(
            "both lists go",
            "You removed the stem's n weakest and the outer layer's n weakest: more than n channels went. There is one list.",
            residual_with(lambda w, n: weakest(size_of(w, "stem"), n) + weakest(size_of(w, "outer"), n)),
        ),
        Mistake(
            "sums instead of means",
            "You added magnitudes over all weights. The layer with more weights in a filter then drowns the other one: take the "
            "mean over each filter first.",
            residual_with(lambda w, n: weakest(sum(w[k].abs().flatten(1).sum(1) for k in ("stem", "outer")), n)),
        ),
        Mistake(
            "signed weights",
            "You averaged the weights with their signs, so that large ones cancelled. Magnitudes have none.",
            residual_with(lambda w, n: weakest(sum(w[k].flatten(1).mean(1) for k in ("stem", "outer")), n)),
        ),
        Mistake(
            "the strongest go",
            "You removed the channels with the highest scores.",
            residual_with(lambda w, n: weakest(-size_of(w, "stem") - size_of(w, "outer"), n)),
        ),
        Mistake(
            "the inner layer left",
            "The inner layer still expects all channels. It reads what the stem makes.",
            leaving("inner"),
        ),
        Mistake(
            "the head left",
            "The head still expects all channels. It reads the sum.",
            leaving("head"),
        ),
        Mistake(
            "the outer layer left",
            "You cut the stem, but its partner in the addition still makes all channels. They must lose the same ones.",
            leaving("outer"),
        ),
        Mistake(
            "the outer layer's inputs cut",
            "You cut the columns of the outer layer too. They read the channels between inner and outer layer, which no addition "
            "touches: those stay.",
            residual_with(
                both,
                lambda w, keep: (
                    cut_residual(w, keep) | {"outer": w["outer"][keep][:, [k for k in keep if k < w["outer"].shape[1]]]}
                ),
            ),
        ),
    ),
    hints=(
        "Draw it: stem → x; x → inner → outer → y; x + y → head. Which layers MAKE the channels of the sum, and which READ them?",
        "Score of a channel: the mean magnitude of its stem filter plus that of its outer filter. The n lowest go, once for all.",
        "Makers lose rows, `weights['stem'][keep]` and `['outer'][keep]`; readers lose columns, `['inner'][:, keep]` and `['head'][:, keep]`.",
    ),
)

# --- 7.4 -----------------------------------------------------------------------------------------------------------


def cost_of_blocks(x: Tensor, labels: Tensor, blocks: list[list[Tensor]], head: Tensor) -> list[float]:
    """For each block the accuracy that is lost when it is replaced by its input."""
    return [
        accuracy(x, labels, blocks, head) - accuracy(x, labels, blocks[:k] + blocks[k + 1 :], head)
        for k in range(len(blocks))
    ]


def accuracy(x: Tensor, labels: Tensor, blocks: list[list[Tensor]], head: Tensor) -> float:
    """Of the network h ← relu(h + relu(h A) B), block by block, then the head."""
    for first, second in blocks:
        x = F.relu(x + F.relu(x @ first) @ second)
    return ((x @ head).argmax(dim=1) == labels).float().mean().item()


def block_cases(seed: int) -> list[Case]:
    """Four blocks, the third of which counts most; labels that are the network's answers, a fifth of them wrong."""
    generator = torch.Generator().manual_seed(seed)
    n, width = 400, 12
    x = torch.rand(n, width, generator=generator)
    stack = [
        [torch.randn(width, 16, generator=generator), size * torch.randn(16, width, generator=generator)]
        for size in (0.1, 0.3, 0.6, 0.2)
    ]
    head = torch.randn(width, 5, generator=generator)
    h = x
    for first, second in stack:
        h = F.relu(h + F.relu(h @ first) @ second)
    labels = (h @ head).argmax(dim=1)
    wrong = torch.rand(n, generator=generator) < 0.2
    labels = torch.where(wrong, torch.randint(5, (n,), generator=generator), labels)
    return [
        Case("four blocks, labels that are mostly right", (x, labels, stack, head)),
        Case("two blocks", (x, labels, stack[1:3], head)),
    ]


def block_variant(of: Callable[[Callable, int, int], float]) -> Callable:
    """A variant: of(accuracy with these blocks, k, how many) -> the number for block k."""

    def costs(x, labels, blocks, head):
        def keep(kept: Sequence[int]) -> float:
            return accuracy(x, labels, [blocks[k] for k in kept], head)

        return [of(keep, k, len(blocks)) for k in range(len(blocks))]

    return costs


def broken(run: Callable) -> Callable:
    """A variant: run(h, first, second) is what a removed block does."""

    def costs(x, labels, blocks, head):
        def without(gone: int | None) -> float:
            h = x
            for k, (first, second) in enumerate(blocks):
                h = run(h, first, second) if k == gone else F.relu(h + F.relu(h @ first) @ second)
            return ((h @ head).argmax(dim=1) == labels).float().mean().item()

        return [without(None) - without(k) for k in range(len(blocks))]

    return costs


BLOCKS = Exercise(
    id="7.4",
    name="cost_of_blocks",
    title="Whole blocks",
    points=2,
    reference=cost_of_blocks,
    cases=block_cases,
    mistakes=(
        Mistake(
            "the shortcut removed too",
            "Your removed block passes nothing on: you took the shortcut away with it. A removed block hands its INPUT on.",
            broken(lambda h, first, second: torch.zeros_like(h)),
        ),
        Mistake(
            "the shortcut removed instead",
            "You removed the shortcut and kept the branch. It is the branch that goes.",
            broken(lambda h, first, second: F.relu(F.relu(h @ first) @ second)),
        ),
        Mistake(
            "one after the other",
            "You took the blocks away one after the other and left them out. Each is to be judged alone, with all others in place.",
            block_variant(lambda keep, k, n: keep(range(n)) - keep(range(k + 1, n))),
        ),
        Mistake(
            "only this block left",
            "You kept block k and removed all others. It is the other way round.",
            block_variant(lambda keep, k, n: keep(range(n)) - keep([k])),
        ),
        Mistake(
            "accuracies instead of losses",
            "You returned the accuracy without the block. Asked for is what is lost: with all blocks, less without this one.",
            block_variant(lambda keep, k, n: keep(others(n, [k]))),
        ),
        Mistake(
            "wrong sign",
            "Your numbers have the wrong sign: a block that is needed costs a positive number of points.",
            block_variant(lambda keep, k, n: keep(others(n, [k])) - keep(range(n))),
        ),
        Mistake(
            "against perfection",
            "You subtracted from 1. The whole network is not always right: compare with its own accuracy.",
            block_variant(lambda keep, k, n: 1 - keep(others(n, [k]))),
        ),
        Mistake(
            "percent",
            "You returned percent. Accuracies are fractions in this course.",
            block_variant(lambda keep, k, n: 100 * (keep(range(n)) - keep(others(n, [k])))),
        ),
    ),
    hints=(
        "Write a small function first that gives the accuracy for any list of blocks.",
        "One block: `h = torch.relu(h + torch.relu(h @ first) @ second)`. After the last: `(h @ head).argmax(dim=1)`.",
        "Without block k the list is `blocks[:k] + blocks[k + 1:]`; the answer is accuracy(all) − accuracy(without k).",
    ),
)

# --- 7.5 -----------------------------------------------------------------------------------------------------------


def speedups(
    channels: list[int], kept: list[int], positions: list[int], dense_ms: list[float], pruned_ms: list[float]
) -> dict:
    """Expected by MACs, and measured by the median."""
    return {
        "expected": macs_of(channels, positions) / macs_of(kept, positions),
        "measured": statistics.median(dense_ms) / statistics.median(pruned_ms),
    }


def macs_of(widths: Sequence[int], positions: Sequence[int], kernel: int = 9) -> int:
    """Of a chain of 3×3 convolutions."""
    return sum(kernel * a * b * p for a, b, p in zip(widths, widths[1:], positions, strict=False))


def speed_cases(seed: int) -> list[Case]:
    """A chain of three convolutions at falling resolution, timed with one run that was disturbed."""
    generator = torch.Generator().manual_seed(seed)
    channels = [3, *(16 * whole(generator, 2, 4) for _ in range(2)), 64]
    kept = [3, channels[1] // 2, channels[2] // 4, 64]
    positions = [1024, 256, 64]
    times = 1 + 0.05 * torch.rand(2, 9, generator=generator)
    dense, pruned = (10 * times[0]).tolist(), (4 * times[1]).tolist()
    dense[0] += 25.0
    pruned[whole(generator, 1, 8)] += 60.0
    return [
        Case("three convolutions; one run of each network was disturbed", (channels, kept, positions, dense, pruned)),
        Case("other widths and sizes", ([3, 32, 48, 64], [3, 24, 12, 64], [900, 225, 25], dense, pruned)),
        Case("nothing was removed", (channels, channels, positions, dense, dense)),
    ]


def speed_with(
    macs: Callable = macs_of,
    middle: Callable = statistics.median,
    *,
    invert: bool = False,
    expected: Callable | None = None,
) -> Callable:
    """A variant: another count, another middle, the ratio upside down."""

    def run(channels, kept, positions, dense_ms, pruned_ms):
        by_macs = expected(channels, kept, positions) if expected else macs(channels, positions) / macs(kept, positions)
        by_clock = middle(dense_ms) / middle(pruned_ms)
        return (
            {"expected": 1 / by_macs, "measured": 1 / by_clock}
            if invert
            else {"expected": by_macs, "measured": by_clock}
        )

    return run


def rows_of(channels, kept, positions):
    """Each layer's share of filters that stay, its inputs taken as they were."""
    after = sum(a * b * p for a, b, p in zip(channels, kept[1:], positions, strict=False))
    return macs_of(channels, positions, 1) / after


def mean_of_layers(channels, kept, positions):
    """The mean of the layers' own speedups."""
    return statistics.fmean(channels[k] * channels[k + 1] / (kept[k] * kept[k + 1]) for k in range(len(positions)))


SPEED = Exercise(
    id="7.5",
    name="speedups",
    title="Latency against MACs",
    points=2,
    reference=speedups,
    cases=speed_cases,
    invariants=(
        Invariant(
            "where nothing was removed, both numbers must be 1",
            lambda inputs, found: inputs[0] != inputs[1] or all(abs(value - 1) < 1e-6 for value in found.values()),
        ),
    ),
    mistakes=(
        Mistake(
            "mean instead of median",
            "You took the mean, so the one disturbed run decides. The median does not hear it.",
            speed_with(middle=statistics.fmean),
        ),
        Mistake(
            "the first run",
            "You took the first run of each network. It may be the one that was disturbed; look at all of them.",
            speed_with(middle=lambda times: times[0]),
        ),
        Mistake(
            "upside down",
            "You returned pruned / dense. A speedup is dense / pruned, above 1 where it is faster.",
            speed_with(invert=True),
        ),
        Mistake(
            "inputs forgotten",
            "You shrank each layer's filters, but not the channels it reads. What one layer loses, the next one need not read.",
            speed_with(expected=rows_of),
        ),
        Mistake(
            "parameters instead of MACs",
            "You counted weights. A weight of an early layer works at many positions, one of a late layer at few: multiply by "
            "`positions`.",
            speed_with(lambda widths, positions: macs_of(widths, [1] * len(positions))),
        ),
        Mistake(
            "mean of the layers' speedups",
            "You averaged the speedups of the layers. Time adds up: add the MACs of all layers first, then divide once.",
            speed_with(expected=mean_of_layers),
        ),
        Mistake(
            "filters counted",
            "You counted channels, not their products: a layer's work is inputs times outputs, so half of both is a quarter.",
            speed_with(lambda widths, positions: sum(b * p for b, p in zip(widths[1:], positions, strict=False))),
        ),
    ),
    hints=(
        "MACs of one 3×3 convolution: 9 · channels in · channels out · positions of its output.",
        "Layer k reads channels[k] and makes channels[k + 1] at positions[k]. Sum over the layers, for `channels` and for `kept`.",
        "expected = MACs(channels) / MACs(kept); measured = statistics.median(dense_ms) / statistics.median(pruned_ms).",
    ),
)

EXERCISES = (CHANNELS, LINEAR, RESIDUAL, BLOCKS, SPEED)

QUIZ = (
    Question(
        "You remove half of the filters of every layer in a plain chain of convolutions. About how many MACs are left?",
        {
            "A quarter": "A middle layer loses half of its filters AND half of the channels it reads: ½ · ½.",
            "A half": "That counts the filters, but each filter that stays also reads only half as many channels.",
            "An eighth": "The pixels stay: only inputs and outputs are halved.",
        },
        "A quarter",
    ),
    Question(
        "In a residual network two convolutions are added. Each removes its own weakest filters, equally many. What happens?",
        {
            "It runs, and computes nonsense": "Shapes agree, so nothing complains; but channel 3 of one now meets channel 5 of the other.",
            "PyTorch raises an error": "Only if the numbers differ. Equal numbers of different channels pass unnoticed.",
            "Retraining is not needed": "It would have to learn the mixed-up channels anew. Coupled filters must go together.",
        },
        "It runs, and computes nonsense",
    ),
    Question(
        "Half of all weights are zero, scattered. Why is the network no faster?",
        {
            "A dense kernel multiplies zeros like any number": "It does not look. Only a smaller tensor means fewer multiplications.",
            "Half is too few": "With 90 % zeros in a dense tensor the clock says the same.",
            "The batch norm slows it down": "It has nothing to do with it.",
        },
        "A dense kernel multiplies zeros like any number",
    ),
    Question(
        "Why does remove_filters round the number of filters to a multiple of 8?",
        {
            "Processors work in blocks": "35 channels fill five blocks of 8, the last one mostly with nothing. Measure it on yours.",
            "To keep accuracy": "It may keep or cost a filter; the reason is the clock.",
            "PyTorch requires it": "Any number works. It only may not pay.",
        },
        "Processors work in blocks",
    ),
)
