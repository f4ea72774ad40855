"""Lesson 14: how many steps an epoch has, an epoch in windows, the mean over tokens, and where to clip."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.memory.accumulation import IGNORED, accumulate, count_labels, cross_entropy_sum, windows
from course_lib.rubrics.exercise import Case, Exercise, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn, model_spec

# --- 14.1 ----------------------------------------------------------------------------------------------------------


def optimizer_steps(n_examples: int, micro_batch: int, n_accumulate: int, epochs: int) -> int:
    """The optimiser steps of a training; the last window of an epoch may be partial."""
    return epochs * math.ceil(math.ceil(n_examples / micro_batch) / n_accumulate)


def step_cases(seed: int) -> list[Case]:
    """With and without remains at either level; windows larger than an epoch."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    micro, more, windows_, epochs = draw(5, 9), draw(1, 4), draw(6, 12), draw(4, 7)
    n_accumulate = micro + more
    full = micro * n_accumulate
    return [
        Case("whole windows only", (full * windows_, micro, n_accumulate, epochs)),
        Case("the last window has two micro-batches", (full * windows_ + 2 * micro, micro, n_accumulate, epochs)),
        Case("the last micro-batch has two examples", (full * windows_ + 2, micro, n_accumulate, epochs)),
        Case("the last micro-batch of a full window is short", (full * windows_ - 2, micro, n_accumulate, epochs)),
        Case("one window is more than an epoch", (3 * micro - 1, micro, n_accumulate, epochs)),
        Case("micro-batches of one, no accumulation, one epoch", (draw(20, 40), 1, 1, 1)),
    ]


def steps_with(rule: Callable[[float, float, int], float]) -> Callable:
    """A variant: a rule from (examples / micro-batch, micro-batches in a window, epochs)."""
    return lambda n_examples, micro_batch, n_accumulate, epochs: rule(n_examples / micro_batch, n_accumulate, epochs)


STEPS = Exercise(
    id="14.1",
    name="optimizer_steps",
    title="How many optimiser steps?",
    points=1,
    reference=optimizer_steps,
    cases=step_cases,
    mistakes=(
        Mistake(
            "micro-batches counted",
            "You counted backward passes. The optimiser steps once for a whole window of micro-batches.",
            steps_with(lambda n, k, epochs: epochs * math.ceil(n)),
        ),
        Mistake(
            "the last window dropped",
            "You counted full windows only. What is left at the end of an epoch is a window too, and gets its step.",
            steps_with(lambda n, k, epochs: epochs * (math.ceil(n) // k)),
        ),
        Mistake(
            "the last micro-batch dropped",
            "You counted full micro-batches only. A shorter one at the end belongs to the last window.",
            steps_with(lambda n, k, epochs: epochs * math.ceil(math.floor(n) / k)),
        ),
        Mistake(
            "all remains dropped",
            "You rounded down. Examples that do not fill a micro-batch or a window are trained on as well.",
            steps_with(lambda n, k, epochs: epochs * math.floor(n / k)),
        ),
        Mistake(
            "windows across epochs",
            "Your windows run on from one epoch into the next. Each epoch closes its last window with a step.",
            steps_with(lambda n, k, epochs: math.ceil(math.ceil(n) * epochs / k)),
        ),
        Mistake(
            "not a whole number",
            "You returned a fraction of a step. Round up at the right place: a partial window takes one whole step.",
            steps_with(lambda n, k, epochs: epochs * n / k),
        ),
        Mistake(
            "one epoch",
            "You counted the steps of one epoch.",
            steps_with(lambda n, k, epochs: math.ceil(math.ceil(n) / k)),
        ),
        Mistake(
            "the micro-batch forgotten",
            "You divided the examples by n_accumulate: a window holds n_accumulate micro-batches, not examples.",
            lambda n_examples, micro_batch, n_accumulate, epochs: epochs * math.ceil(n_examples / n_accumulate),
        ),
        Mistake(
            "multiplied",
            "You multiplied by n_accumulate. More micro-batches in a window mean fewer steps.",
            steps_with(lambda n, k, epochs: epochs * math.ceil(n) * k),
        ),
    ),
    hints=(
        "First: how many micro-batches has an epoch, the short one at its end included?",
        "Then: how many windows do they fill, the partial one at the end included? Each window is one step.",
        "return epochs * math.ceil(math.ceil(n_examples / micro_batch) / n_accumulate)",
    ),
)

# --- 14.2 ----------------------------------------------------------------------------------------------------------


def train_epoch(
    model: nn.Module, micro_batches: list[tuple[Tensor, Tensor]], n_accumulate: int, lr: float
) -> nn.Module:
    """One epoch of plain gradient descent, one step for each window."""
    for window in windows(micro_batches, n_accumulate):
        model.zero_grad()
        accumulate(model, window)
        descend(model, lr)
    return model


@torch.no_grad()
def descend(model: nn.Module, lr: float) -> None:
    """Subtract lr times the gradient from every weight."""
    for parameter in model.parameters():
        parameter -= lr * parameter.grad


def epoch_cases(seed: int) -> list[Case]:
    """Equal and ragged micro-batches, full and partial windows."""
    generator = torch.Generator().manual_seed(seed)
    model = model_spec("mlp", seed=seed, sizes=[5, 7, 3])

    def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
        x = torch.randn(sum(sizes), 5, generator=generator)
        y = torch.randint(3, (sum(sizes),), generator=generator)
        return list(zip(x.split(sizes), y.split(sizes), strict=True))

    return [
        Case("two full windows of equal micro-batches", (model, batches(4, 4, 4, 4, 4, 4), 3, 0.5)),
        Case("equal micro-batches, the last window has one", (model, batches(4, 4, 4, 4, 4, 4, 4), 3, 0.5)),
        Case("micro-batches of 6, 1, 3, 2, 5 examples, windows of two", (model, batches(6, 1, 3, 2, 5), 2, 0.5)),
        Case("one window of 1, 8 and 2 examples that is not full", (model, batches(1, 8, 2), 4, 0.5)),
        Case("no accumulation", (model, batches(4, 3), 1, 0.5)),
    ]


def epoch_with(
    scale: Callable[[list, int, Tensor], float], *, clear: str = "window", each: bool = False, drop: bool = False
) -> Callable:
    """A variant: another factor for a micro-batch's mean loss, gradients cleared elsewhere, other times to step."""

    def run(model: nn.Module, micro_batches: list, n_accumulate: int, lr: float) -> nn.Module:
        for window in windows(micro_batches, n_accumulate):
            if drop and len(window) < n_accumulate:
                continue
            if clear == "window":
                model.zero_grad()
            for x, y in window:
                if clear == "micro-batch":
                    model.zero_grad()
                (F.cross_entropy(model(x), y) * scale(window, n_accumulate, y)).backward()
                if each:
                    descend(model, lr)
            if not each:
                descend(model, lr)
        return model

    return run


examples_in = lambda window: sum(len(y) for _, y in window)
right_share = lambda window, k, y: len(y) / examples_in(window)

EPOCH = Exercise(
    id="14.2",
    name="train_epoch",
    title="An epoch in windows",
    points=3,
    reference=train_epoch,
    cases=epoch_cases,
    in_place=True,
    mistakes=(
        Mistake(
            "no division",
            "You added up the mean losses of a window without dividing: the step is as many times too long as the window "
            "has micro-batches.",
            epoch_with(lambda window, k, y: 1.0),
        ),
        Mistake(
            "sums of losses",
            "You added up all losses of a window. The big batch's loss is their mean: divide by the window's examples.",
            epoch_with(lambda window, k, y: float(len(y))),
        ),
        Mistake(
            "divides twice",
            "You divided by the window's examples, and then by its micro-batches too. Once is enough.",
            epoch_with(lambda window, k, y: len(y) / examples_in(window) / len(window)),
        ),
        Mistake(
            "mean of means",
            "You averaged the means of the micro-batches. With unequal ones, the examples of a small one count more than "
            "others. What did you want the mean over?",
            epoch_with(lambda window, k, y: 1 / len(window)),
        ),
        Mistake(
            "divided by n_accumulate",
            "You divided each mean by n_accumulate. Where a window is partial or its micro-batches are unequal, that is not "
            "the mean over its examples.",
            epoch_with(lambda window, k, y: 1 / k),
        ),
        Mistake(
            "gradients cleared in the loop",
            "You cleared the gradients before every backward pass, so only the last micro-batch of each window counts.",
            epoch_with(right_share, clear="micro-batch"),
        ),
        Mistake(
            "gradients never cleared",
            "The gradients of earlier windows are still in `.grad` when the next one begins.",
            epoch_with(right_share, clear="never"),
        ),
        Mistake(
            "a step for every micro-batch",
            "You stepped after every micro-batch: the rest of the window then sees other weights.",
            epoch_with(right_share, each=True),
        ),
        Mistake(
            "a step and a clearing for every micro-batch",
            "You cleared and stepped for every micro-batch. That is training with small batches, not accumulation.",
            epoch_with(right_share, each=True, clear="micro-batch"),
        ),
        Mistake(
            "the last partial window dropped",
            "Micro-batches that do not fill the last window were never stepped on. They are a window too.",
            epoch_with(right_share, drop=True),
        ),
        Mistake(
            "the common recipe",
            "Two things at once: you divided each mean by n_accumulate, whatever the micro-batches hold, and you stepped "
            "only when a window was full. What becomes of unequal micro-batches, and of those left at the end?",
            epoch_with(lambda window, k, y: 1 / k, drop=True),
        ),
    ),
    hints=(
        "Cut the list into windows first. A window is known as a whole before its first backward pass.",
        "For each window: clear the gradients; for each micro-batch, the sum of its losses divided by the examples of the "
        "whole window, backward; then one step.",
        "for start in range(0, len(micro_batches), n_accumulate): window = micro_batches[start : start + n_accumulate]; "
        "total = sum(len(y) for _, y in window); … (F.cross_entropy(model(x), y, reduction='sum') / total).backward()",
    ),
)

# --- 14.3 ----------------------------------------------------------------------------------------------------------


def window_gradient(weight: Tensor, micro_batches: list[tuple[Tensor, Tensor]], forward: Callable) -> Tensor:
    """The gradient of the mean loss over all labels of the window that count."""
    return weighed_gradient(weight, micro_batches, forward, lambda labels: 1 / max(sum(map(count_labels, labels)), 1))


def weighed_gradient(weight: Tensor, micro_batches: list, forward: Callable, factor: Callable) -> Tensor:
    """Σ over micro-batches of the summed losses' gradient, times a factor of all labels."""
    weight, share = weight.clone().requires_grad_(), factor([y for _, y in micro_batches])
    for x, y in micro_batches:
        (cross_entropy_sum(forward(weight, x), y) * share).backward()
    return weight.grad


def token_cases(seed: int) -> list[Case]:
    """Padding of all lengths; a micro-batch, and a window, in which nothing counts."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 6, generator=generator)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=generator))

    def piece(*lengths: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(len(lengths), max(*lengths, 1) + 1, 6, generator=generator)
        y = torch.randint(4, x.shape[:2], generator=generator)
        y[torch.arange(y.shape[1]) >= torch.tensor(lengths)[:, None]] = IGNORED
        return x, y

    most = lambda window: {"most": 2 * max(y.numel() for _, y in window)}  # room for two micro-batches
    named = {
        "equal micro-batches without padding but one place": [piece(5, 5), piece(5, 5), piece(5, 5)],
        "short and long sequences": [piece(draw(1, 3)), piece(draw(7, 10), draw(5, 8), 3), piece(2, draw(2, 5))],
        "one micro-batch is all padding": [piece(3, draw(3, 6)), piece(0, 0), piece(draw(6, 9))],
        "one micro-batch": [piece(draw(1, 3), draw(4, 8))],
        "nothing in the window counts": [piece(0), piece(0, 0)],
    }
    return [
        Case(says, (weight, window, BuiltIn("forward_in_small_memory", most(window)))) for says, window in named.items()
    ]


def mean_of_means(weight: Tensor, micro_batches: list, forward: Callable, *, padding: bool = False) -> Tensor:
    """The 2024 bug: each micro-batch's own mean, averaged."""
    weight = weight.clone().requires_grad_()
    for x, y in micro_batches:
        n = y.numel() if padding else count_labels(y)
        (cross_entropy_sum(forward(weight, x), y) / n / len(micro_batches)).backward()
    return weight.grad


def mean_of_sequences(weight: Tensor, micro_batches: list, forward: Callable) -> Tensor:
    """Each sequence's own mean, averaged over the sequences."""
    weight, n = weight.clone().requires_grad_(), sum(len(y) for _, y in micro_batches)
    for x, y in micro_batches:
        for row in range(len(y)):
            if count_labels(y[row]):
                (cross_entropy_sum(forward(weight, x[row : row + 1]), y[row]) / count_labels(y[row]) / n).backward()
    return torch.zeros_like(weight) if weight.grad is None else weight.grad


def last_only(weight: Tensor, micro_batches: list, forward: Callable) -> Tensor:
    """The gradient is written over, not added to."""
    total = max(sum(count_labels(y) for _, y in micro_batches), 1)
    return weighed_gradient(weight, micro_batches[-1:], forward, lambda labels: 1 / total)


def one_backward(weight: Tensor, micro_batches: list, forward: Callable) -> Tensor:
    """All losses are kept, and one backward pass comes at the end."""
    weight = weight.clone().requires_grad_()
    loss = sum(cross_entropy_sum(forward(weight, x), y) for x, y in micro_batches)
    (loss / max(sum(count_labels(y) for _, y in micro_batches), 1)).backward()
    return weight.grad


weighed_by = lambda factor: lambda *arguments: weighed_gradient(*arguments, factor)
counted = lambda labels: sum(map(count_labels, labels))

TOKENS = Exercise(
    id="14.3",
    name="window_gradient",
    title="The mean over tokens",
    points=2,
    reference=window_gradient,
    cases=token_cases,
    mistakes=(
        Mistake(
            "mean of means",
            "This is the bug of 2024: you averaged the micro-batches' means, so the tokens of short micro-batches count "
            "more. (And where a micro-batch is all padding, its mean is 0 / 0.)",
            mean_of_means,
        ),
        Mistake(
            "mean of means, padding counted",
            "You divided each micro-batch by all its places, padding included, and then averaged. Padding has no loss, so it "
            "must not count, and a mean of means is not the mean.",
            lambda *arguments: mean_of_means(*arguments, padding=True),
        ),
        Mistake(
            "padding counted",
            "You divided by all places of the window. A label of −100 has no loss, so it must not count.",
            weighed_by(lambda labels: 1 / sum(y.numel() for y in labels)),
        ),
        Mistake(
            "sequences counted",
            "You divided the sum of the losses by the number of sequences. The mean is over tokens.",
            weighed_by(lambda labels: 1 / sum(len(y) for y in labels)),
        ),
        Mistake(
            "mean of sequences",
            "You averaged within each sequence first. A token of a short sequence then counts more than others.",
            mean_of_sequences,
        ),
        Mistake(
            "not divided",
            "You added up the losses and never divided by how many there are.",
            weighed_by(lambda labels: 1.0),
        ),
        Mistake(
            "divided twice",
            "You divided by the window's tokens, and by its micro-batches as well.",
            weighed_by(lambda labels: 1 / max(counted(labels), 1) / len(labels)),
        ),
        Mistake(
            "nothing counts",
            "A window in which nothing counts stops your function with a division by zero. Return zeros: there is nothing "
            "to learn.",
            weighed_by(lambda labels: 1 / counted(labels)),
        ),
        Mistake("only the last", "Only your last micro-batch counts: gradients must be added up.", last_only),
        Mistake(
            "all at once",
            "More waited in memory than fits. You ran the whole window in one pass, or kept all losses for one backward pass "
            "at the end. Go back after each micro-batch: gradients add up just as well.",
            one_backward,
        ),
    ),
    hints=(
        "What is the denominator of the big batch's loss? Can you know it before the first forward pass?",
        "Sum the losses of each micro-batch (`reduction='sum'`, `ignore_index=-100`), and divide by the labels of the whole "
        "window that are not −100.",
        "total = max(sum(int((y != -100).sum()) for _, y in micro_batches), 1), then for each micro-batch "
        "(F.cross_entropy(forward(weight, x).flatten(0, 1), y.flatten(), ignore_index=-100, reduction='sum') / total).backward()",
    ),
)

# --- 14.4 ----------------------------------------------------------------------------------------------------------

Gradient = dict[str, Tensor]


def clipped_gradient(parts: list[Gradient], counts: list[int], max_norm: float) -> Gradient:
    """The window's mean gradient, clipped once, all parameters together."""
    return clip(window_mean(parts, counts), max_norm)


def window_mean(parts: list[Gradient], counts: list[int]) -> Gradient:
    """Σ gradients / Σ counts."""
    return {name: sum(part[name] for part in parts) / sum(counts) for name in parts[0]}


def length_of(gradient: Gradient) -> float:
    """The length of all entries as one vector."""
    return math.sqrt(sum(float((entries**2).sum()) for entries in gradient.values()))


def clip(gradient: Gradient, max_norm: float, *, length: Callable = length_of, up: bool = False) -> Gradient:
    """Shortened to max_norm where it is longer; `up` also stretches shorter ones."""
    norm = length(gradient)
    scale = max_norm / norm if norm > max_norm else 1.0
    if up:
        scale = max_norm / norm if norm else math.nan
    return {name: scale * entries for name, entries in gradient.items()}


def clip_cases(seed: int) -> list[Case]:
    """Long, short and no gradients; micro-batches that cancel; one in which nothing counts."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (3, 4), "bias": (3,)}
    draw = lambda size: {name: size * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    long, other, small = draw(60.0), draw(20.0), draw(0.05)
    against = {name: 0.1 * other[name] - entries for name, entries in long.items()}
    nothing = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return [
        Case("a long gradient, unequal counts", ([long, other, draw(30.0)], [2, 9, 4], 1.0)),
        Case("a short gradient: nothing to clip", ([small, draw(0.05)], [3, 5], 1.0)),
        Case("two long gradients that nearly cancel", ([long, against], [4, 4], 1.5)),
        Case("a micro-batch in which nothing counts", ([long, nothing, other], [6, 0, 3], 2.0)),
        Case("a gradient of zeros", ([nothing, nothing], [2, 3], 1.0)),
    ]


def stretched(gradient: Gradient, max_norm: float, *, most: float = math.inf) -> Gradient:
    """Scaled by max_norm / norm, whatever the norm is."""
    scale = min(most, max_norm / length_of(gradient))
    return {name: scale * entries for name, entries in gradient.items()}


def clipped_on_the_way(parts: list[Gradient], counts: list[int], max_norm: float) -> Gradient:
    """What has been added up so far is clipped after every micro-batch."""
    so_far = {name: torch.zeros_like(entries) for name, entries in parts[0].items()}
    for part in parts:
        so_far = clip({name: so_far[name] + part[name] / sum(counts) for name in part}, max_norm)
    return so_far


def each_clipped(parts: list[Gradient], counts: list[int], max_norm: float) -> Gradient:
    """Every micro-batch is clipped for itself, then added."""
    pieces = [clip({name: g / sum(counts) for name, g in part.items()}, max_norm) for part in parts]
    return {name: sum(piece[name] for piece in pieces) for name in parts[0]}


def averaged_means(parts: list[Gradient], counts: list[int], max_norm: float) -> Gradient:
    """Mean of the micro-batches' means, then clipped."""
    shares = [count * len(parts) for count in counts]
    pieces = [{name: g / share for name, g in part.items()} for part, share in zip(parts, shares, strict=True)]
    return clip({name: sum(piece[name] for piece in pieces) for name in parts[0]}, max_norm)


def written_over(parts: list[Gradient], counts: list[int], max_norm: float) -> Gradient:
    """Adds into the first micro-batch's tensors."""
    for part in parts[1:]:
        for name in part:
            parts[0][name] += part[name]
    return clip({name: entries / sum(counts) for name, entries in parts[0].items()}, max_norm)


by_parameter = lambda gradient, max_norm: {n: clip({n: g}, max_norm)[n] for n, g in gradient.items()}

CLIPPING = Exercise(
    id="14.4",
    name="clipped_gradient",
    title="Clip at the right place",
    points=2,
    reference=clipped_gradient,
    cases=clip_cases,
    mistakes=(
        Mistake(
            "clipped inside the loop",
            "You clipped what had been added up so far after every micro-batch. Clip once, when the window is complete.",
            clipped_on_the_way,
        ),
        Mistake(
            "every micro-batch clipped",
            "You clipped every micro-batch for itself. Long gradients that would cancel are cut before they can.",
            each_clipped,
        ),
        Mistake(
            "clipped before dividing",
            "You clipped the sum and divided afterwards: the step becomes far too short. First the mean, then the clipping.",
            lambda parts, counts, max_norm: window_mean([clip(window_mean(parts, [1]), max_norm)], [sum(counts)]),
        ),
        Mistake(
            "not divided",
            "You clipped the sum of the gradients. max_norm belongs to the mean over the window: divide by all counts first.",
            lambda parts, counts, max_norm: clip(window_mean(parts, [1]), max_norm),
        ),
        Mistake(
            "mean of means",
            "You averaged the micro-batches' means. Divide the sum of all gradients by the sum of all counts.",
            averaged_means,
        ),
        Mistake(
            "each parameter for itself",
            "You clipped each parameter for itself, which turns the gradient's direction. One norm is taken over all of them.",
            lambda parts, counts, max_norm: by_parameter(window_mean(parts, counts), max_norm),
        ),
        Mistake(
            "short gradients stretched",
            "You brought every gradient to length max_norm, also those that were shorter. Clipping never makes one longer.",
            lambda parts, counts, max_norm: clip(window_mean(parts, counts), max_norm, up=True),
        ),
        Mistake(
            "short gradients stretched, zeros divided",
            "You brought every gradient to length max_norm, also those that were shorter. Clipping never makes one longer; "
            "and where all gradients are zero, their norm is no divisor.",
            lambda parts, counts, max_norm: stretched(window_mean(parts, counts), max_norm),
        ),
        Mistake(
            "zeros divided",
            "Where all gradients are zero, you divide by their norm. There is nothing to clip: return the zeros.",
            lambda parts, counts, max_norm: stretched(window_mean(parts, counts), max_norm, most=1.0),
        ),
        Mistake(
            "clipped by value",
            "You cut the single entries at max_norm. Clipping by norm scales the whole gradient and keeps its direction.",
            lambda parts, counts, max_norm: {
                n: g.clamp(-max_norm, max_norm) for n, g in window_mean(parts, counts).items()
            },
        ),
        Mistake(
            "no root",
            "You divided by the sum of squares. The norm is its square root.",
            lambda parts, counts, max_norm: clip(
                window_mean(parts, counts), max_norm, length=lambda g: length_of(g) ** 2
            ),
        ),
        Mistake(
            "never clipped",
            "Your gradient is longer than max_norm: it was never scaled down.",
            lambda parts, counts, max_norm: window_mean(parts, counts),
        ),
        Mistake(
            "first micro-batch written over",
            "The result is right, but you added into the first micro-batch's tensors, which are the caller's.",
            written_over,
        ),
    ),
    hints=(
        "Three things in this order: add up, divide, clip. Each happens once for the window.",
        "The norm is the root of the sum of all squared entries of all parameters. The factor is max_norm / norm, 1 at most.",
        "mean = {name: sum(part[name] for part in parts) / sum(counts) for name in parts[0]}, then every entry times "
        "min(1, max_norm / norm), and 1 where the norm is 0.",
    ),
)

EXERCISES = (STEPS, EPOCH, TOKENS, CLIPPING)

QUIZ = (
    Question(
        "What does accumulating over 8 micro-batches save?",
        {
            "Memory for activations": "Only one micro-batch's activations live at a time; the arithmetic stays the same.",
            "Time": "The same examples go forward and backward, in smaller and less efficient pieces.",
            "Memory for weights, gradients and the optimiser": "These do not depend on the batch: they are as large as before.",
        },
        "Memory for activations",
    ),
    Question(
        "Three micro-batches hold 10, 10 and 2 tokens that count. In the mean of their means, a token of the last one …",
        {
            "weighs five times as much as one of the first": "1/3 · 1/2 against 1/3 · 1/10.",
            "weighs the same": "Only if all means are weighted by their counts.",
            "weighs a fifth": "The other way round: its mean is over fewer tokens.",
        },
        "weighs five times as much as one of the first",
    ),
    Question(
        "Where does gradient clipping belong?",
        {
            "After the last backward pass of the window, before the step": "Then it clips what a big batch would have clipped.",
            "After every backward pass": "Then it cuts parts that might have cancelled, or been averaged away.",
            "After the step": "Then the long step has been taken.",
        },
        "After the last backward pass of the window, before the step",
    ),
    Question(
        "A network with batch norm is trained with micro-batches of 2 instead of one batch of 64. What changes?",
        {
            "Its normalisation: each pair has a mean and a spread of its own": "Right division cannot mend that; layer norm or frozen statistics can.",
            "Nothing, if the losses are summed and divided by 64": "The losses themselves differ: they come from other activations.",
            "Only the running statistics": "They change too, but so does the forward pass of every pair.",
        },
        "Its normalisation: each pair has a mean and a spread of its own",
    ),
)
