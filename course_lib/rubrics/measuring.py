"""Lesson 01: MACs of a convolution, the two ratios, the energy of a layer, and a fair latency."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib import measure
from course_lib.measure import energy_pj
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn, ModelSpec, model_spec

# --- 1.1 -----------------------------------------------------------------------------------------------------------


def conv_macs(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    height: int,
    width: int,
    stride: int,
    padding: int,
    groups: int,
) -> int:
    """Weights of the convolution times the positions of its output."""
    rows, columns = ((size + 2 * padding - kernel_size) // stride + 1 for size in (height, width))
    return out_channels * (in_channels // groups) * kernel_size**2 * rows * columns


def conv_cases(seed: int) -> list[Case]:
    """A plain, a strided, an unpadded, a grouped and a depthwise convolution, on images that are not square."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    inputs, outputs, height = draw(2, 5), draw(6, 9), 2 * draw(4, 8)
    width, depth = height + draw(1, 3), 4 * draw(2, 4)
    return [
        Case("stride 1, and a padding that keeps the size", (inputs, outputs, 3, height, width, 1, 1, 1)),
        Case("stride 2: a step that does not fit any more is left out", (inputs, outputs, 3, height, width, 2, 1, 1)),
        Case("a 5×5 kernel without padding", (inputs, outputs, 5, height, width, 1, 0, 1)),
        Case("four groups: each output sees a quarter of the inputs", (depth, 2 * depth, 3, height, width, 1, 1, 4)),
        Case("depthwise: as many groups as channels", (depth, depth, 3, height, width, 2, 1, depth)),
    ]


def counted(
    *, stride: bool = True, sides: int = 2, end: int = 1, positions: str = "output", group: Callable = lambda c, n, g: c * n // g,
    area: Callable = lambda k: k * k, bias: bool = False, factor: int = 1, exact: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the count: another output size, another number of weights, or something more."""

    def count(in_channels, out_channels, kernel_size, height, width, step, padding, groups):
        step = step if stride else 1
        spans = [size + sides * padding - kernel_size for size in (height, width)]
        rows, columns = (span / step + end if exact else span // step + end for span in spans)
        if positions == "input":
            rows, columns = height, width
        weights = group(in_channels, out_channels, groups) * area(kernel_size)
        if positions == "none":
            return weights
        return factor * rows * columns * (weights + (out_channels if bias else 0))

    return count


CONVOLUTION = Exercise(
    id="1.1",
    name="conv_macs",
    title="MACs of a convolution",
    points=2,
    reference=conv_macs,
    cases=conv_cases,
    rtol=1e-9,
    mistakes=(
        Mistake(
            "stride forgotten",
            "You let the kernel stop at every position. With stride s it stops at every s-th one: divide by the stride "
            "(rounding down) when you compute the output size.",
            counted(stride=False),
        ),
        Mistake(
            "padding forgotten",
            "You left the padding out, so the output came out too small. The image grows by `padding` on both sides first.",
            counted(sides=0),
        ),
        Mistake(
            "padding on one side only",
            "You added the padding once. It stands on both sides: height + 2 · padding.",
            counted(sides=1),
        ),
        Mistake(
            "groups forgotten",
            "You let every output channel see all input channels. With groups it sees in_channels / groups of them.",
            counted(group=lambda c, n, g: c * n),
        ),
        Mistake(
            "groups divided twice",
            "You divided the inputs and the outputs by groups. Every output channel is still computed; only the inputs it "
            "sees are fewer. Divide once.",
            counted(group=lambda c, n, g: (c // g) * (n // g)),
        ),
        Mistake(
            "bias as a MAC",
            "You counted the bias. It is one add without a multiply, so it is no multiply-add: leave it out.",
            counted(bias=True),
        ),
        Mistake(
            "input size instead of output size",
            "You multiplied by the positions of the input. The kernel is put to work once for each position of the OUTPUT.",
            counted(positions="input"),
        ),
        Mistake(
            "kernel not squared",
            "You multiplied by kernel_size once. A square kernel has kernel_size · kernel_size weights for each input channel.",
            counted(area=lambda k: k),
        ),
        Mistake(
            "off by one",
            "Your output is one row and one column too small. Between the first and the last stop lie span // stride steps, "
            "so there is one stop more than steps: add 1.",
            counted(end=0),
        ),
        Mistake(
            "operations instead of MACs",
            "You counted multiplies and adds one by one. In this course one MAC is one multiply with its add: drop the factor 2.",
            counted(factor=2),
        ),
        Mistake(
            "parameters instead of MACs",
            "You counted the weights. Each weight is used once for every position of the output: multiply by height · width there.",
            counted(positions="none"),
        ),
        Mistake(
            "a fraction of a position",
            "You divided with `/`. Where a last step does not fit there is no position, not half of one: use `//`.",
            counted(exact=True),
        ),
    ),
    hints=(
        "Two questions, one product. How many weights does the layer have? At how many positions is each one used?",
        "Output height: (height + 2 · padding − kernel_size) // stride + 1. Weights: out_channels · (in_channels // groups) · kernel_size².",
        "Compute `rows` and `columns` of the output with that formula, then return "
        "`out_channels * (in_channels // groups) * kernel_size**2 * rows * columns`.",
    ),
)

# --- 1.2 -----------------------------------------------------------------------------------------------------------


def compression_ratio(original: nn.Module, compressed: nn.Module) -> float:
    """All parameters of the original / non-zero parameters of what is left."""
    return measure.compression_ratio(original, compressed)


def with_zeros(spec: ModelSpec, share: float, seed: int) -> ModelSpec:
    """The same network with a share of its weights (never of its biases) set to zero, at random."""
    generator = torch.Generator().manual_seed(seed)
    state = {name: tensor.clone() for name, tensor in spec.state.items()}
    for tensor in state.values():
        if tensor.dim() > 1:
            tensor[torch.rand(tensor.shape, generator=generator) < share] = 0.0
            tensor.view(-1)[0], tensor.view(-1)[1] = 0.0, 1e-4  # one zero and one small weight for certain
    return ModelSpec(spec.factory, spec.keywords, state)


def ratio_cases(seed: int) -> list[Case]:
    """A masked, a shrunk, and a shrunk and masked network; one with zeros from the start; one with batch norms."""
    dense = model_spec("mlp", seed=seed, sizes=[6, 9, 4])
    small = model_spec("mlp", seed=seed + 1, sizes=[6, 5, 4])
    normed = model_spec("vgg", seed=seed, plan="vgg11", width=1 / 128, batch_norm=True)
    return [
        Case("masked: the same network with about 70 % of its weights at zero", (dense, with_zeros(dense, 0.7, seed))),
        Case("shrunk: a network with 5 hidden units instead of 9", (dense, small)),
        Case("shrunk and masked", (dense, with_zeros(small, 0.5, seed))),
        Case("the original has zeros too", (with_zeros(dense, 0.2, seed), with_zeros(dense, 0.8, seed + 1))),
        Case("a convolutional network with batch norms, masked", (normed, with_zeros(normed, 0.6, seed))),
    ]


def size(model: nn.Module, *, zeros: bool, biases: bool = True, buffers: bool = False, least: float = 0.0) -> int:
    """How many numbers a network holds; `least` is the magnitude up to which one counts as zero."""
    tensors = list(model.state_dict().values()) if buffers else list(model.parameters())
    tensors = [tensor for tensor in tensors if biases or tensor.dim() > 1]
    return sum(tensor.numel() if zeros else int((tensor.abs() > least).sum()) for tensor in tensors)


def mean_over_layers(original: nn.Module, compressed: nn.Module) -> float:
    """The mean of the ratios of the single tensors."""
    pairs = zip(original.parameters(), compressed.parameters(), strict=True)
    return statistics.fmean(one.numel() / max(1, int(torch.count_nonzero(other))) for one, other in pairs)


RATIO = Exercise(
    id="1.2",
    name="compression_ratio",
    title="Compression ratio of a masked and of a shrunk network",
    points=2,
    reference=compression_ratio,
    cases=ratio_cases,
    mistakes=(
        Mistake(
            "against the compressed network's own total",
            "You divided the compressed network's own total by its non-zero parameters. What was removed altogether then "
            "counts for nothing: the total is always the ORIGINAL's.",
            lambda original, compressed: size(compressed, zeros=True) / size(compressed, zeros=False),
        ),
        Mistake(
            "zeros counted as parameters",
            "You compared the two totals, so a mask seems to save nothing. Count only the non-zero parameters of the "
            "compressed network.",
            lambda original, compressed: size(original, zeros=True) / size(compressed, zeros=True),
        ),
        Mistake(
            "zeros of the original left out",
            "You left out zeros of the original as well. Its total counts every parameter it has, whatever the value.",
            lambda original, compressed: size(original, zeros=False) / size(compressed, zeros=False),
        ),
        Mistake(
            "upside down",
            "You divided compressed by original: that is the density. A ratio of 10 means ten times smaller, so the original stands on top.",
            lambda original, compressed: size(compressed, zeros=False) / size(original, zeros=True),
        ),
        Mistake(
            "sparsity instead of a ratio",
            "You returned the fraction that is gone. The ratio is total / non-zero; a sparsity of 0.9 is a ratio of 10.",
            lambda original, compressed: 1 - size(compressed, zeros=False) / size(original, zeros=True),
        ),
        Mistake(
            "biases left out",
            "You counted weights only. Biases and norm layers are parameters too, and they stay when the weights go: count them on both sides.",
            lambda original, compressed: (
                size(original, zeros=True, biases=False) / size(compressed, zeros=False, biases=False)
            ),
        ),
        Mistake(
            "buffers counted",
            "You counted the whole state_dict. A batch norm's running mean and variance are buffers, not parameters: use `.parameters()`.",
            lambda original, compressed: (
                size(original, zeros=True, buffers=True) / size(compressed, zeros=False, buffers=True)
            ),
        ),
        Mistake(
            "small is not zero",
            "You counted tiny weights as zero. They are stored and multiplied like any other: only exact zeros count.",
            lambda original, compressed: size(original, zeros=True) / size(compressed, zeros=False, least=1e-3),
        ),
        Mistake(
            "mean of the layers' ratios",
            "You averaged the ratios of the layers, so a tiny bias weighs as much as a large matrix. Add up the counts first, then divide once.",
            mean_over_layers,
        ),
    ),
    hints=(
        "Two counts, one division. Which network gives which count, and which of the two leaves zeros out?",
        "`sum(p.numel() for p in model.parameters())` counts everything; `torch.count_nonzero(p)` counts what is not zero.",
        "Divide the sum of `p.numel()` over `original.parameters()` by the sum of `int(torch.count_nonzero(p))` over "
        "`compressed.parameters()`.",
    ),
)

# --- 1.3 -----------------------------------------------------------------------------------------------------------


def theoretical_speedup(macs: list[int], weights: list[Tensor]) -> float:
    """All MACs / those on weights that are not zero."""
    left = sum(count * int(torch.count_nonzero(w)) / w.numel() for count, w in zip(macs, weights, strict=True))
    return sum(macs) / left


def speedup_cases(seed: int) -> list[Case]:
    """Pruning where the weights are, pruning where the work is, and a layer that is gone altogether."""
    generator = torch.Generator().manual_seed(seed)

    def thinned(*shape: int, share: float) -> Tensor:
        weight = torch.randn(shape, generator=generator)
        weight.view(-1)[torch.randperm(weight.numel(), generator=generator)[: round(share * weight.numel())]] = 0.0
        return weight

    work = [
        int(torch.randint(50, 80, (), generator=generator)) for _ in range(3)
    ]  # output positions of the convolutions
    macs = [36 * work[0], 72 * work[1], 240]
    first, last = thinned(4, 1, 3, 3, share=0.8), thinned(10, 24, share=0.9)
    return [
        Case("two convolutions and a large linear layer, which is the most sparse",
             (macs, [thinned(4, 1, 3, 3, share=0.2), thinned(2, 4, 3, 3, share=0.4), last])),
        Case("the same network, the first convolution the most sparse",
             (macs, [first, thinned(2, 4, 3, 3, share=0.5), thinned(10, 24, share=0.1)])),
        Case("one layer has lost all its weights", (macs, [first, torch.zeros(2, 4, 3, 3), thinned(10, 24, share=0.3)])),
    ]  # fmt: skip


def density(weight: Tensor) -> float:
    """The fraction of a weight that is not zero."""
    return int(torch.count_nonzero(weight)) / weight.numel()


def speedup_with(kept: Callable[[Tensor], float]) -> Callable:
    """A variant of the speedup: another fraction of each layer's MACs is kept."""
    return lambda macs, weights: sum(macs) / sum(m * kept(w) for m, w in zip(macs, weights, strict=True))


SPEEDUP = Exercise(
    id="1.3",
    name="theoretical_speedup",
    title="Theoretical speedup of a pruned network",
    points=2,
    reference=theoretical_speedup,
    cases=speedup_cases,
    mistakes=(
        Mistake(
            "that is the compression ratio",
            "You divided numbers of weights. A weight of a convolution works at many positions, so each layer's density must "
            "be weighed by the layer's MACs.",
            lambda macs, weights: sum(w.numel() for w in weights) / sum(int(torch.count_nonzero(w)) for w in weights),
        ),
        Mistake(
            "mean of the layers' speedups",
            "You averaged 1 / density over the layers, so a cheap layer counts as much as a dear one. Add up the MACs that are left, then divide once.",
            lambda macs, weights: statistics.fmean(1 / density(w) for w in weights),
        ),
        Mistake(
            "mean density",
            "You averaged the densities without their MACs. A layer that does most of the work must weigh most: sum macs · density.",
            lambda macs, weights: len(weights) / sum(density(w) for w in weights),
        ),
        Mistake(
            "MACs on zeros instead of non-zeros",
            "You divided by the MACs that are spared. Divide by those that are left: the weights that are NOT zero.",
            speedup_with(lambda w: 1 - density(w)),
        ),
        Mistake(
            "upside down",
            "You divided what is left by what there was. A speedup of 4 means a quarter of the MACs is left: dense MACs stand on top.",
            lambda macs, weights: sum(m * density(w) for m, w in zip(macs, weights, strict=True)) / sum(macs),
        ),
        Mistake(
            "share saved instead of a speedup",
            "You returned the share of MACs that is spared. The speedup is MACs before / MACs left: 0.75 spared is a speedup of 4.",
            lambda macs, weights: 1 - sum(m * density(w) for m, w in zip(macs, weights, strict=True)) / sum(macs),
        ),
        Mistake(
            "negative weights counted as zero",
            "You kept weights above zero only. A negative weight needs its multiplication too: use `!= 0` or count_nonzero.",
            speedup_with(lambda w: int((w > 0).sum()) / w.numel()),
        ),
        Mistake(
            "whole layers only",
            "You counted a layer in full as long as it had one weight left. Theoretical hardware skips every single zero: take the layer's density.",
            speedup_with(lambda w: float(bool(torch.count_nonzero(w)))),
        ),
        Mistake(
            "layers' speedups multiplied",
            "You multiplied the layers' speedups. Layers run one after the other, so their MACs add up: sum first, divide once.",
            lambda macs, weights: math.prod(1 / density(w) for w in weights),
        ),
    ),
    hints=(
        "Of a layer's MACs, which fraction falls on weights that are not zero?",
        "For one layer: `macs * count_nonzero(weight) / weight.numel()`. The network's layers add up.",
        "Let `left` be the sum of that over all layers (`zip(macs, weights)`), and return `sum(macs) / left`.",
    ),
)

# --- 1.4 -----------------------------------------------------------------------------------------------------------

MULTIPLY, ADD, SRAM, DRAM = 3.7, 0.9, 5.0, 640.0


def layer_energy(macs: int, weight_bytes: int, activation_bytes: int, batch: int) -> float:
    """Arithmetic, plus weights from DRAM once for the batch, plus activations from SRAM; per example."""
    return energy_pj(macs, sram_bytes=activation_bytes, dram_bytes=weight_bytes / batch)


def energy_cases(seed: int) -> list[Case]:
    """A linear layer for one example and in a batch, and a convolution."""
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs, batch = (int(n) for n in torch.randint(40, 90, (3,), generator=generator))
    side = int(torch.randint(6, 12, (), generator=generator))
    linear = (inputs * outputs, 4 * inputs * outputs, 4 * (inputs + outputs))
    convolution = (8 * 4 * 9 * side**2, 4 * 8 * 4 * 9, 4 * 12 * side**2)
    return [
        Case("a linear layer, one example at a time", (*linear, 1)),
        Case(f"the same layer, {batch} examples at a time", (*linear, batch)),
        Case("a convolution: few weights, much work, large activations", (*convolution, 8)),
    ]


def energy(
    *, multiply: float = MULTIPLY, add: float = ADD, weight: float = DRAM, activation: float = SRAM, word: float = 4,
    batched: bool = True, whole_batch: bool = False, all_shared: bool = False, unit: float = 1,
) -> Callable:  # fmt: skip
    """A variant of the energy: other prices, another word, or another way to share the fetches."""

    def total(macs, weight_bytes, activation_bytes, batch):
        own = macs * (multiply + add) + activation_bytes / word * activation
        shared = weight_bytes / word * weight
        if whole_batch:
            return (own * batch + shared) / unit
        if all_shared:
            return (own + shared) / batch / unit
        return (own + (shared / batch if batched else shared)) / unit

    return total


ENERGY = Exercise(
    id="1.4",
    name="layer_energy",
    title="The energy of a layer",
    points=2,
    reference=layer_energy,
    cases=energy_cases,
    invariants=(
        Invariant(
            "the arithmetic alone costs 4.6 pJ a MAC, so the total cannot be less",
            lambda inputs, pj: float(pj) >= 4.6 * inputs[0],
        ),
    ),
    mistakes=(
        Mistake(
            "memory traffic forgotten",
            "You paid for the arithmetic only. Fetching the weights costs over a hundred times as much at batch 1: add the words from DRAM and SRAM.",
            energy(weight=0, activation=0),
        ),
        Mistake(
            "activations forgotten",
            "You left the activations out. They are fetched too, from SRAM at 5 pJ a word.",
            energy(activation=0),
        ),
        Mistake(
            "bytes for words",
            "You paid for every byte. The table's prices are for a word of 32 bits: divide bytes by 4.",
            energy(word=1),
        ),
        Mistake(
            "SRAM for DRAM",
            "You fetched the weights at SRAM's price. They come from main memory: 640 pJ a word.",
            energy(weight=SRAM),
        ),
        Mistake(
            "DRAM for everything",
            "You fetched the activations at DRAM's price. They stay on the chip: 5 pJ a word from SRAM.",
            energy(activation=DRAM),
        ),
        Mistake(
            "multiply without add",
            "You paid 3.7 pJ a MAC. A MAC is a multiply and an add: 3.7 + 0.9.",
            energy(add=0),
        ),
        Mistake(
            "add without multiply",
            "You paid 0.9 pJ a MAC. A MAC is a multiply and an add: 3.7 + 0.9.",
            energy(multiply=0),
        ),
        Mistake(
            "weights fetched for every example",
            "You fetched all weights again for each example. In a batch they are fetched once and shared: divide their part by the batch.",
            energy(batched=False),
        ),
        Mistake(
            "the whole batch",
            "You returned the energy of the whole batch. One example is asked for: its own arithmetic and activations, and its share of the weights.",
            energy(whole_batch=True),
        ),
        Mistake(
            "everything divided by the batch",
            "You divided arithmetic and activations by the batch too. Every example needs its own; only the weights are shared.",
            energy(all_shared=True),
        ),
        Mistake(
            "another unit",
            "You returned nanojoules. The answer is in picojoules, as in the table: leave the factor 1000 out.",
            energy(unit=1000),
        ),
    ),
    hints=(
        "Three parts: arithmetic, weights, activations. Which of them does the batch share?",
        "A word is 4 bytes. Weights: weight_bytes / 4 · 640 pJ, divided by the batch. Activations: activation_bytes / 4 · 5 pJ.",
        "return macs * (3.7 + 0.9) + weight_bytes / 4 * 640 / batch + activation_bytes / 4 * 5",
    ),
)

# --- 1.5 -----------------------------------------------------------------------------------------------------------


def fair_latency(fn: Callable, clock: Callable, warmup: int, runs: int) -> float:
    """The median of the timed runs, in milliseconds, after the warm-up."""
    return measure.latency(fn, clock=clock, warmup=warmup, runs=runs).median_ms


def latency_cases(seed: int) -> list[Case]:
    """Slow first calls and one outlier, with an odd and with an even number of runs; and no warm-up at all."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(number: int, low: float, high: float) -> list[float]:
        return (low + (high - low) * torch.rand(number, generator=generator)).tolist()

    def case(says: str, warmup: int, runs: int, slow: list[float]) -> Case:
        times = drawn(runs, 2.0, 4.0)
        times[1] = 100.0  # the computer did something else
        times[runs // 2] = 4.5  # the run in the middle is not the middle of the runs
        return Case(says, (BuiltIn("fake_work", {"times_ms": slow + times}), BuiltIn("fake_clock"), warmup, runs))

    return [
        case("three slow calls at first, then 7 runs, one of them an outlier", 3, 7, drawn(3, 20.0, 60.0)),
        case("four slow calls at first, then 8 runs (an even number)", 4, 8, drawn(4, 20.0, 60.0)),
        case("no warm-up asked for, 5 runs", 0, 5, []),
    ]


def timed(
    summary: Callable[[list[float]], float],
    *,
    warm: bool = True,
    all_calls: bool = False,
    running: bool = False,
    unit: float = 1000,
) -> Callable:
    """A variant of the measurement: another summary of the times, another set of calls, or another unit."""

    def measured(fn, clock, warmup, runs):
        if warm and not all_calls:
            for _ in range(warmup):
                fn()
        times, begin = [], clock()
        for _ in range(runs + (warmup if all_calls else 0)):
            start = begin if running else clock()
            fn()
            times.append(unit * (clock() - start))
        return summary(times)

    return measured


def stopwatch(fn: Callable, clock: Callable, warmup: int, runs: int) -> float:
    """One stopwatch around everything, divided by the runs."""
    start = clock()
    for _ in range(warmup + runs):
        fn()
    return 1000 * (clock() - start) / runs


LATENCY = Exercise(
    id="1.5",
    name="fair_latency",
    title="A fair latency",
    points=2,
    reference=fair_latency,
    cases=latency_cases,
    mistakes=(
        Mistake(
            "no warm-up",
            "You timed the first calls. They pay for memory and caches that later calls find ready: call fn `warmup` times before you start the clock.",
            timed(statistics.median, warm=False),
        ),
        Mistake(
            "a mean, fooled by one outlier",
            "You averaged the runs (timing the whole loop and dividing is an average too). One run in which the computer did "
            "something else moves the mean far; time each run and take the median.",
            timed(statistics.fmean),
        ),
        Mistake(
            "the fastest run",
            "You took the minimum. Nobody gets the luckiest run every time; the median is what half of the runs reach.",
            timed(min),
        ),
        Mistake(
            "the slowest run",
            "You took the maximum: that is the outlier itself. Take the median.",
            timed(max),
        ),
        Mistake(
            "seconds instead of milliseconds",
            "The clock gives seconds. Multiply by 1000 for milliseconds.",
            timed(statistics.median, unit=1),
        ),
        Mistake(
            "warm-up calls counted",
            "You timed the warm-up calls together with the runs. Call fn `warmup` times first, without keeping the times.",
            timed(statistics.median, all_calls=True),
        ),
        Mistake(
            "one stopwatch around everything",
            "You timed warm-up and runs together and divided by the runs. Warm up before the clock starts, time each run alone, take the median.",
            stopwatch,
        ),
        Mistake(
            "the middle run, not the middle value",
            "You took the run in the middle of the list. The median is the middle of the SORTED times.",
            timed(lambda times: times[len(times) // 2]),
        ),
        Mistake(
            "the upper of two middle values",
            "With an even number of runs two values stand in the middle. The median is their mean; `statistics.median` knows.",
            timed(lambda times: sorted(times)[len(times) // 2]),
        ),
        Mistake(
            "the clock never restarted",
            "You measured each run from the start of the first one, so the times pile up. Read the clock again before every run.",
            timed(statistics.median, running=True),
        ),
    ),
    hints=(
        "What may be slow about a function's first calls? And what does one very slow run do to a mean?",
        "First `for _ in range(warmup): fn()`. Then, in a loop of `runs`: read the clock, call fn, read the clock, keep the difference.",
        "Collect `1000 * (clock() - start)` for each run in a list and return `statistics.median` of it.",
    ),
)

EXERCISES = (CONVOLUTION, RATIO, SPEEDUP, ENERGY, LATENCY)

QUIZ = (
    Question(
        "A network has half the parameters of another. Is it twice as fast?",
        {
            "Not necessarily: it depends on how often each parameter is used": "Right: a weight of an early convolution works at "
            "hundreds of positions, one of a linear layer once. The clock must be read, not guessed.",
            "Yes, it does half the work": "Only if every parameter were used equally often. Weights of a convolution are used at every position.",
            "No, parameters and time have nothing to do with each other": "They have something to do with each other: every weight "
            "must be fetched at least once. But it is no law of proportion.",
        },
        "Not necessarily: it depends on how often each parameter is used",
    ),
    Question(
        "You set nine tenths of the weights to zero, spread at random. What happens on an ordinary processor?",
        {
            "The compression ratio rises, the latency stays": "Dense kernels multiply zeros like any other number. Lessons 02, 07 and 11 turn zeros into savings.",
            "The latency falls to a tenth": "That is the theoretical speedup: what hardware would gain that skips every zero. Yours does not.",
            "The file shrinks to a tenth": "A dense file stores zeros in four bytes each, like other numbers.",
        },
        "The compression ratio rises, the latency stays",
    ),
    Question(
        "Why does a larger batch cost less energy for each example?",
        {
            "The weights are fetched once for all of them": "And fetching is what costs: the larger the batch, the smaller each example's share.",
            "Each example needs fewer multiplications": "Every example still needs all its multiplications.",
            "The processor works at a lower voltage": "Nothing in the table changes. Only the number of fetches for each example does.",
        },
        "The weights are fetched once for all of them",
    ),
    Question(
        "Thirty runs: one took 90 ms, the others about 3 ms. What do you report?",
        {
            "The median and the spread of the middle half": "The outlier happened to your computer, not to the network. The spread says how much to trust the median.",
            "The mean": "One outlier moves it to about twice the usual time.",
            "The fastest run": "It shows what was possible once. Nobody who uses the network gets it every time.",
        },
        "The median and the spread of the middle half",
    ),
)
