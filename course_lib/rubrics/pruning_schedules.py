"""Lesson 03: the cubic schedule, the sparsities of rounds, gradual pruning in a loop, and the dense network to compare."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.pruning.masks import masks_from_scores
from course_lib.pruning.schedules import gradual_sparsity, round_sparsities
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn

# --- 3.1 -----------------------------------------------------------------------------------------------------------


def cubic_sparsity(step: int, initial: float, final: float, begin: int, end: int) -> float:
    """The sparsity due at a step: initial up to begin, a cubic curve, final from end on."""
    return gradual_sparsity(step, initial=initial, final=final, begin=begin, end=end)


def cubic_cases(seed: int) -> list[Case]:
    """One schedule, before, at the start, on the way, at its end and after it; another one that starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    initial = round(0.1 + 0.3 * torch.rand((), generator=generator).item(), 2)
    final = round(0.7 + 0.2 * torch.rand((), generator=generator).item(), 2)
    begin = int(torch.randint(40, 80, (), generator=generator))
    end = begin + int(torch.randint(60, 120, (), generator=generator))
    places = {
        "before pruning begins": begin - 30,
        "the step at which it begins": begin,
        "a third of the way": begin + (end - begin) // 3,
        "three quarters of the way": begin + 3 * (end - begin) // 4,
        "the step at which it ends": end,
        "after it has ended": end + 25,
    }
    return [
        *(Case(says, (step, initial, final, begin, end)) for says, step in places.items()),
        Case("from 0 to 0.8 between steps 0 and 10, at step 5", (5, 0.0, 0.8, 0, 10)),
    ]


def cubic_with(
    *, low: bool = True, high: bool = True, power: float = 3, turned: bool = False, swapped: bool = False,
    scale: float = 1, from_zero: bool = False, no_initial: bool = False, longer: int = 0, zero_before: bool = False,
    sign: int = 1,
) -> Callable:  # fmt: skip
    """A variant of the schedule: clamped or not, another exponent, the ends swapped, another way to count."""

    def at(step: int, initial: float, final: float, begin: int, end: int) -> float:
        if zero_before and step < begin:
            return 0.0
        done = step / end if from_zero else (step - begin) / (end - begin + longer)
        done = max(done, 0) if low else done
        done = min(done, 1) if high else done
        start = 0.0 if no_initial else initial
        if turned:
            return scale * (start + (final - start) * done**power)
        if swapped:
            return start + (final - start) * (1 - done) ** power
        return scale * (final + sign * (start - final) * (1 - done) ** power)

    return at


CUBIC = Exercise(
    id="3.1",
    name="cubic_sparsity",
    title="The cubic schedule",
    points=1,
    reference=cubic_sparsity,
    cases=cubic_cases,
    mistakes=(
        Mistake(
            "not clamped after the end",
            "After `end` your curve goes on rising above the final sparsity: (1 − progress) has become negative. "
            "Progress stops at 1.",
            cubic_with(high=False),
        ),
        Mistake(
            "not clamped before the start",
            "Before `begin` your sparsity lies below the initial one: progress is negative there. It starts at 0.",
            cubic_with(low=False),
        ),
        Mistake(
            "not clamped at all",
            "Before `begin` and after `end` the curve must be flat. Keep progress between 0 and 1.",
            cubic_with(low=False, high=False),
        ),
        Mistake(
            "percent",
            "You returned percent. Sparsity is a fraction, from 0 to 1.",
            cubic_with(scale=100),
        ),
        Mistake(
            "exponent on the wrong term",
            "You cubed progress, so sparsity rises slowly at first and steeply at the end. The cube belongs to what is "
            "left, 1 − progress.",
            cubic_with(turned=True),
        ),
        Mistake("square", "Your curve is a square. The exponent is 3.", cubic_with(power=2)),
        Mistake("straight line", "Your sparsity rises in a straight line: the cube is missing.", cubic_with(power=1)),
        Mistake(
            "ends swapped",
            "Your schedule starts at the final sparsity and falls to the initial one. Where progress is 0, "
            "(1 − progress)³ is 1: initial must be what is left there.",
            cubic_with(swapped=True),
        ),
        Mistake(
            "begin forgotten",
            "You divided the step by `end`: progress counts from `begin`, over end − begin steps.",
            cubic_with(from_zero=True),
        ),
        Mistake(
            "off by one at the end",
            "At `end` the final sparsity is not yet reached: you divided by one step too many. From begin to end there are "
            "end − begin steps.",
            cubic_with(longer=1),
        ),
        Mistake(
            "initial sparsity ignored",
            "Your schedule starts from 0. It starts from `initial`.",
            cubic_with(no_initial=True),
        ),
        Mistake(
            "zero before the start",
            "Before `begin` you returned 0. A network that is already sparse keeps its `initial` sparsity.",
            cubic_with(zero_before=True),
        ),
        Mistake(
            "difference the wrong way round",
            "Your sparsity comes down to the final one from above: the factor is initial − final, not final − initial.",
            cubic_with(sign=-1),
        ),
    ),
    hints=(
        "Compute progress first: how far is this step on its way from `begin` to `end`, from 0 to 1?",
        "`min(max(progress, 0), 1)` keeps progress between 0 and 1, so that both flat parts come by themselves.",
        "return final + (initial − final) · (1 − progress)³",
    ),
)

# --- 3.2 -----------------------------------------------------------------------------------------------------------


def sparsities_of_rounds(final: float, rounds: int) -> list[float]:
    """Sparsity after each round, where every round keeps the same share of the survivors."""
    return round_sparsities(final, rounds)


def rounds_cases(seed: int) -> list[Case]:
    """Three rounds that halve, one round, and random targets."""
    generator = torch.Generator().manual_seed(seed)
    final = round(0.8 + 0.19 * torch.rand((), generator=generator).item(), 3)
    rounds = int(torch.randint(4, 9, (), generator=generator))
    return [
        Case("three rounds to 0.875: each keeps half of the survivors", (0.875, 3)),
        Case(f"{rounds} rounds to {final}", (final, rounds)),
        Case("two rounds to 0.99", (0.99, 2)),
        Case("one round is one cut", (0.9, 1)),
    ]


def each_round(formula: Callable[[float, int, int], float], *, first: int = 1, last: int = 0) -> Callable:
    """A variant: formula(final, round, rounds), and which rounds are listed."""
    return lambda final, rounds: [formula(final, k, rounds) for k in range(first, rounds + 1 + last)]


ROUNDS = Exercise(
    id="3.2",
    name="sparsities_of_rounds",
    title="The sparsities of the rounds",
    points=2,
    reference=sparsities_of_rounds,
    cases=rounds_cases,
    invariants=(
        Invariant(
            "every round must keep the same share of the survivors",
            lambda inputs, levels: (
                max(
                    abs((1 - b) / (1 - a) - (1 - inputs[0]) ** (1 / inputs[1]))
                    for a, b in zip([0.0, *levels], levels, strict=False)
                )
                < 1e-3
            ),
        ),
    ),
    mistakes=(
        Mistake(
            "subtracting instead of multiplying",
            "You took equal parts of ALL weights in every round. The last round then takes a far larger share of the few that "
            "are left: the densities must be multiplied, not subtracted.",
            each_round(lambda final, k, rounds: final * k / rounds),
        ),
        Mistake(
            "a share of the target from the survivors",
            "Every round took final / rounds of the survivors, so the target is missed: shares of survivors multiply, "
            "they do not add up.",
            each_round(lambda final, k, rounds: 1 - (1 - final / rounds) ** k),
        ),
        Mistake(
            "densities",
            "You returned what is left. Sparsity is what is gone: 1 − density.",
            each_round(lambda final, k, rounds: (1 - final) ** (k / rounds)),
        ),
        Mistake(
            "begins with nothing pruned",
            "Your list has the sparsity BEFORE each round: it begins with 0, and the target is missing. Count from 1 to "
            "`rounds`.",
            each_round(lambda final, k, rounds: 1 - (1 - final) ** (k / rounds), first=0, last=-1),
        ),
        Mistake(
            "one round too many",
            "Your list begins with 0, the network before the first round. One number for each round.",
            each_round(lambda final, k, rounds: 1 - (1 - final) ** (k / rounds), first=0),
        ),
        Mistake(
            "the share of one round",
            "You returned the share that each round removes of the survivors. Asked for is the sparsity after each round.",
            each_round(lambda final, k, rounds: 1 - (1 - final) ** (1 / rounds)),
        ),
        Mistake(
            "sparsities multiplied",
            "You multiplied sparsities: final^(rounds / round) reaches the target, but it is the survivors' share that is the "
            "same in each round.",
            each_round(lambda final, k, rounds: final ** (rounds / k)),
        ),
        Mistake(
            "percent",
            "You returned percent. Sparsity is a fraction, from 0 to 1.",
            each_round(lambda final, k, rounds: 100 * (1 - (1 - final) ** (k / rounds))),
        ),
    ),
    hints=(
        "Think of what is left. If each round keeps the share q, what is left after k rounds?",
        "After all rounds q^rounds = 1 − final, so q = (1 − final)^(1 / rounds).",
        "return [1 - (1 - final) ** (k / rounds) for k in range(1, rounds + 1)]",
    ),
)

# --- 3.3 -----------------------------------------------------------------------------------------------------------


def prune_gradually(
    weight: Tensor, gradient: Callable[[Tensor], Tensor], sparsities: list[float], every: int, lr: float
) -> Tensor:
    """Gradient descent with a new magnitude mask every few updates; pruned weights keep their last value."""
    for sparsity in sparsities:
        mask = kept(weight, sparsity)
        for _ in range(every):
            weight = weight - lr * gradient(weight * mask) * mask
    return weight * mask


def kept(weight: Tensor, sparsity: float) -> Tensor:
    """The magnitude mask."""
    return masks_from_scores({"w": weight.abs()}, sparsity)["w"]


def loop_cases(seed: int) -> list[Case]:
    """Random quadratic losses; and one whose largest weights shrink below a pruned one."""
    generator = torch.Generator().manual_seed(seed)
    root, pull, weight = (torch.randn(size, generator=generator) for size in ((8, 8), (8,), (8,)))
    loss = BuiltIn("quadratic_gradient", {"curvature": root @ root.T / 8 + 0.2 * torch.eye(8), "pull": pull})
    jitter = 0.05 * torch.rand(6, generator=generator)
    start = torch.tensor([1.0, -0.9, 0.55, -0.5, 2.0, -3.0]) + jitter
    shrinking = BuiltIn(
        "quadratic_gradient",
        {"curvature": torch.eye(6), "pull": torch.tensor([0.05, -0.03, 1.0, -1.0, 2.2, -2.5])},
    )
    order = torch.randperm(6, generator=generator)
    start, shrinking.settings["pull"] = start[order], shrinking.settings["pull"][order]
    return [
        Case("large weights that shrink below pruned ones, two masks", (start, shrinking, [1 / 3, 1 / 3], 4, 0.3)),
        Case("the same, three masks, sparsity up to 2/3", (start, shrinking, [1 / 3, 0.5, 2 / 3], 3, 0.3)),
        Case("8 weights, three masks, sparsity up to 0.75", (weight, loss, [0.25, 0.5, 0.75], 2, 0.1)),
        Case("8 weights, one mask: one cut", (weight, loss, [0.5], 3, 0.1)),
    ]


def loop_with(
    *, forget: bool = False, only: int | None = None, at_weight: bool = False, move_all: bool = False,
    each_step: bool = False, signed: bool = False, invert: bool = False, unmasked: bool = False, late: bool = False,
    short: bool = False, sign: int = 1,
) -> Callable:  # fmt: skip
    """A variant of the loop: when masks are made, what they act on, and what becomes of pruned weights."""

    def masked(weight: Tensor, sparsity: float) -> Tensor:
        mask = masks_from_scores({"w": weight if signed else weight.abs()}, sparsity)["w"]
        return ~mask if invert else mask

    def run(weight, gradient, sparsities, every, lr):
        levels = sparsities if only is None else [sparsities[only]] * len(sparsities)
        levels = levels[:-1] if short and len(levels) > 1 else levels
        mask = torch.ones_like(weight, dtype=torch.bool) if late else masked(weight, levels[0])
        fixed = mask
        for level in levels:
            mask = mask if late else fixed if only is not None else masked(weight, level)
            weight = weight * mask if forget else weight
            for _ in range(every):
                mask = masked(weight, level) if each_step else mask
                slope = gradient(weight if at_weight else weight * mask)
                weight = weight - sign * lr * slope * (1 if move_all else mask)
            mask = masked(weight, level) if late else mask
        return weight if unmasked else weight * mask

    return run


LOOP = Exercise(
    id="3.3",
    name="prune_gradually",
    title="Gradual pruning in a loop",
    points=3,
    reference=prune_gradually,
    cases=loop_cases,
    invariants=(
        Invariant(
            "at the end round(sparsity · n) weights must be exactly zero",
            lambda inputs, weight: int((weight == 0).sum()) == round(inputs[2][-1] * weight.numel()),
        ),
    ),
    mistakes=(
        Mistake(
            "pruned weights forget their value",
            "You set pruned weights to zero for good, so they can never come back. Keep their last value in `weight`, and "
            "mask only what the gradient sees.",
            loop_with(forget=True),
        ),
        Mistake(
            "the first mask for ever",
            "You made one mask, from the first sparsity. A new one is due for each entry of `sparsities`.",
            loop_with(only=0),
        ),
        Mistake(
            "one shot",
            "You cut to the last sparsity at once. The sparsities come one after the other, each with its updates.",
            loop_with(only=-1),
        ),
        Mistake(
            "gradient of the dense network",
            "You took the gradient at the unmasked weight: the network that is trained is the pruned one, weight · mask.",
            loop_with(at_weight=True),
        ),
        Mistake(
            "pruned weights are updated",
            "Pruned weights moved too. They keep their last value: only those in the mask get the update.",
            loop_with(move_all=True),
        ),
        Mistake(
            "a new mask at every update",
            "You made a new mask before every update. It stays the same for `every` updates.",
            loop_with(each_step=True),
        ),
        Mistake(
            "signed values",
            "You ranked w, not |w|: large negative weights went first. Take the absolute value.",
            loop_with(signed=True),
        ),
        Mistake(
            "upside-down mask",
            "You kept the smallest magnitudes. True means keep, and the largest are kept.",
            loop_with(invert=True),
        ),
        Mistake(
            "not masked at the end",
            "You returned the stored values, the pruned ones among them. The pruned network is weight · mask.",
            loop_with(unmasked=True),
        ),
        Mistake(
            "trains before it prunes",
            "You made each mask after its updates. First the mask, then `every` updates with it.",
            loop_with(late=True),
        ),
        Mistake(
            "the last sparsity left out",
            "You stopped before the last sparsity. Every entry gets its mask and its updates.",
            loop_with(short=True),
        ),
        Mistake("uphill", "You added lr · gradient. Descent subtracts it.", loop_with(sign=-1)),
    ),
    hints=(
        "Two loops: the outer one over the sparsities makes a mask, the inner one takes `every` updates with it.",
        "Keep all values in `weight`, the pruned ones too, and give the gradient `weight * mask`.",
        "The update: weight = weight − lr · gradient(weight · mask) · mask. At the very end, return weight · mask.",
    ),
)

# --- 3.4 -----------------------------------------------------------------------------------------------------------


def widest_that_fits(inputs: int, hidden: int, classes: int, sparsity: float) -> int:
    """The hidden width of the dense network with as many parameters as the sparse one has non-zeros."""
    n = weights_of(inputs, hidden, classes)
    return widest(inputs, classes, n - round(sparsity * n) + biases_of(hidden, classes))


def weights_of(inputs: int, width: int, classes: int) -> int:
    """How many weights a network with two hidden layers of equal width has."""
    return inputs * width + width * width + width * classes


def biases_of(width: int, classes: int) -> int:
    """How many biases it has."""
    return 2 * width + classes


def widest(
    inputs: int, classes: int, budget: float, *, weights: Callable = weights_of, biases: Callable = biases_of
) -> int:
    """The largest width whose parameters do not exceed the budget; 1 at least."""
    width = 1
    while weights(inputs, width + 1, classes) + biases(width + 1, classes) <= budget:
        width += 1
    return width


def width_cases(seed: int) -> list[Case]:
    """Networks of random width for pictures and for a few measurements; and sparsity 0, where both are the same one."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randint(900, 1500, (4,), generator=generator).tolist()
    return [
        Case("784 pixels, sparsity 0.9", (784, hidden[0], 10, 0.9)),
        Case("8 measurements, 3 classes, sparsity 0.8", (8, hidden[1], 3, 0.8)),
        Case("10 measurements, 4 classes, sparsity 0.9", (10, hidden[1], 4, 0.9)),
        Case("256 pixels, 100 classes, sparsity 0.95", (256, hidden[2], 100, 0.95)),
        Case("sparsity 0: the same network", (64, hidden[3], 10, 0.0)),
    ]


def budget_with(budget: Callable[[int, int, float], float], **counts: Callable) -> Callable:
    """A variant: another budget from (weights, biases, sparsity), or other ways to count the dense network."""

    def width(inputs: int, hidden: int, classes: int, sparsity: float) -> int:
        n = weights_of(inputs, hidden, classes)
        return widest(inputs, classes, budget(n, biases_of(hidden, classes), sparsity), **counts)

    return width


no_biases = lambda width, classes: 0
right_budget = lambda n, biases, sparsity: n - round(sparsity * n) + biases

WIDTH = Exercise(
    id="3.4",
    name="widest_that_fits",
    title="A fair dense rival",
    points=2,
    reference=widest_that_fits,
    cases=width_cases,
    mistakes=(
        Mistake(
            "density times width",
            "You multiplied the width by the density. The middle layer has width² weights, so parameters do not shrink in "
            "proportion: count them.",
            lambda inputs, hidden, classes, sparsity: round((1 - sparsity) * hidden),
        ),
        Mistake(
            "root of the density times width",
            "You multiplied the width by the root of the density. That would be right if every layer had width² weights; "
            "the first and the last do not.",
            lambda inputs, hidden, classes, sparsity: round((1 - sparsity) ** 0.5 * hidden),
        ),
        Mistake(
            "biases pruned too",
            "You took the sparsity from the biases as well. They all stay: only weights are pruned.",
            budget_with(lambda n, biases, sparsity: n + biases - round(sparsity * (n + biases))),
        ),
        Mistake(
            "biases of the dense network forgotten",
            "You did not count the dense network's own biases, so it has more parameters than the sparse one has non-zeros.",
            budget_with(right_budget, biases=no_biases),
        ),
        Mistake(
            "biases of the sparse network forgotten",
            "You left the sparse network's biases out of its non-zeros. They are stored too.",
            budget_with(lambda n, biases, sparsity: n - round(sparsity * n)),
        ),
        Mistake(
            "zeros as the budget",
            "Your budget is what was pruned. The dense network may have as many parameters as are LEFT.",
            budget_with(lambda n, biases, sparsity: round(sparsity * n) + biases),
        ),
        Mistake(
            "one too wide",
            "Your network has more parameters than the budget: take the last width that still fits.",
            lambda inputs, hidden, classes, sparsity: widest_that_fits(inputs, hidden, classes, sparsity) + 1,
        ),
        Mistake(
            "strictly fewer",
            "At sparsity 0 the network itself fits exactly. At most as many parameters: <=, not <.",
            budget_with(lambda n, biases, sparsity: right_budget(n, biases, sparsity) - 1),
        ),
        Mistake(
            "middle layer forgotten",
            "You left out the width² weights between the two hidden layers of the dense network.",
            budget_with(right_budget, weights=lambda inputs, width, classes: (inputs + classes) * width),
        ),
    ),
    hints=(
        "Write a count first: how many weights and how many biases has a network of width w?",
        "Weights: inputs · w + w · w + w · classes. Biases: w + w + classes. Pruning leaves all biases alone.",
        "Start with width 1, and go on while the next width still has at most n − round(sparsity · n) + biases parameters.",
    ),
)

EXERCISES = (CUBIC, ROUNDS, LOOP, WIDTH)

QUIZ = (
    Question(
        "The cubic schedule removes most of its weights early. Why there?",
        {
            "At first there are many redundant weights, and many steps are left to heal": "As fewer weights are left, each cut hurts more, so cuts become smaller.",
            "Early gradients are smaller": "They are usually larger; and the mask does not look at gradients.",
            "It makes training faster": "A masked dense layer does the same arithmetic however many zeros it has.",
        },
        "At first there are many redundant weights, and many steps are left to heal",
    ),
    Question(
        "You compare five rounds of 100 steps with one cut and 100 steps. The rounds win. What have you shown?",
        {
            "Not yet that rounds help: they had five times the steps": "Give the one cut all 500 steps, then compare.",
            "That rounds are better": "They may only have trained longer.",
            "That 100 steps are enough": "For which of the two? Nothing here varies the steps.",
        },
        "Not yet that rounds help: they had five times the steps",
    ),
    Question(
        "In gradual pruning, how can a weight that was pruned come back?",
        {
            "It keeps its last value, and others shrink below it before the next mask": "It gets no update while masked; it waits, and the ranking moves.",
            "Its gradient moves it while it is masked": "Here a masked weight gets no update.",
            "It cannot": "That is iterative pruning, where what has gone stays gone.",
        },
        "It keeps its last value, and others shrink below it before the next mask",
    ),
    Question(
        "Two networks have 5,000 non-zero parameters: a large sparse one and a small dense one. Which statement is safe?",
        {
            "The sparse one's file also needs the places of its non-zeros": "Equal non-zeros are not equal bytes. Lesson 11 counts them.",
            "Both need the same memory and time": "Places must be stored, and scattered weights are slower to use.",
            "The sparse one always predicts better": "Not always: you saw the lead shrink as fewer weights were left.",
        },
        "The sparse one's file also needs the places of its non-zeros",
    ),
)
