"""Lesson 02: exact masks, scope, the gradient criterion, groups of weights, and masks under momentum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.pruning.masks import masks_from_scores
from course_lib.pruning.scores import gradient_scores
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn, model_spec

# --- 2.1 -----------------------------------------------------------------------------------------------------------


def magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Keep the largest magnitudes; exactly round(sparsity · n) go, of equals the first."""
    return masks_from_scores({"w": weight.abs()}, sparsity)["w"]


def mask_cases(seed: int) -> list[Case]:
    """Plain weights, ties, a count that must be rounded, and the two ends."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, 7, generator=generator)
    tied = torch.tensor([[0.5, -0.5, 2.0, 0.5], [-1.0, 0.5, 3.0, -0.5]])[:, torch.randperm(4, generator=generator)]
    return [
        Case("35 random weights, sparsity 0.6", (weight, 0.6)),
        Case("eight weights with many equal magnitudes, sparsity 0.25", (tied, 0.25)),
        Case("35 weights, sparsity 0.45: 15.75 rounds to 16", (weight, 0.45)),
        Case("sparsity 0 keeps everything", (weight, 0.0)),
        Case("sparsity 1 removes everything", (weight, 1.0)),
    ]


def ranked(score: Tensor, drop: int) -> Tensor:
    """A mask that drops the `drop` lowest scores, of equals the first."""
    mask = torch.ones(score.numel(), dtype=torch.bool)
    mask[score.flatten().argsort(stable=True)[:drop]] = False
    return mask.view_as(score)


def kth(score: Tensor, sparsity: float) -> float:
    """The largest score that must go."""
    drop = round(sparsity * score.numel())
    return score.flatten().sort().values[drop - 1].item() if drop else -1.0


EXACT_MASK = Exercise(
    id="2.1",
    name="magnitude_mask",
    title="A mask of exactly the right size",
    points=1,
    reference=magnitude_mask,
    cases=mask_cases,
    invariants=(
        Invariant(
            "exactly round(sparsity · n) weights must be removed",
            lambda inputs, mask: int((~mask).sum()) == round(inputs[1] * inputs[0].numel()),
        ),
    ),
    mistakes=(
        Mistake(
            "signed values",
            "You ranked w, not |w|: large negative weights went first. Take the absolute value.",
            lambda weight, sparsity: ranked(weight, round(sparsity * weight.numel())),
        ),
        Mistake(
            "percent for a fraction",
            "You divided the sparsity by 100. Here it is already a fraction: 0.9 means nine out of ten.",
            lambda weight, sparsity: ranked(weight.abs(), round(sparsity / 100 * weight.numel())),
        ),
        Mistake(
            "ties over-prune",
            "You removed everything up to the threshold, so all weights that equal it went too. Rank the weights, and "
            "remove exactly as many as asked.",
            lambda weight, sparsity: weight.abs() > kth(weight.abs(), sparsity),
        ),
        Mistake(
            "ties under-prune",
            "You kept every weight that equals the threshold, so too few went. Rank the weights, and remove exactly as many as asked.",
            lambda weight, sparsity: weight.abs() >= kth(weight.abs(), sparsity),
        ),
        Mistake(
            "keeps the smallest",
            "The mask is upside down: True means keep, and the largest magnitudes are to be kept.",
            lambda weight, sparsity: ~ranked(weight.abs(), round(sparsity * weight.numel())),
        ),
        Mistake(
            "rounds down",
            "int() cuts off: 15.75 weights became 15. Use round().",
            lambda weight, sparsity: ranked(weight.abs(), int(sparsity * weight.numel())),
        ),
        Mistake(
            "ties the other way",
            "Among equal magnitudes you removed those that come last. The first ones go: sort ascending, and stably.",
            lambda weight, sparsity: (
                ranked(weight.abs().flatten().flip(0), round(sparsity * weight.numel())).flip(0).view_as(weight)
            ),
        ),
        Mistake(
            "positions taken for ranks",
            "argsort gives the position of the smallest, the second smallest, …; it is not the rank of each weight. Use its "
            "first entries as places to set False.",
            lambda weight, sparsity: (
                weight.abs().flatten().argsort(stable=True) >= round(sparsity * weight.numel())
            ).view_as(weight),
        ),
        Mistake(
            "weights instead of a mask",
            "You returned the masked weights. A mask is a tensor of booleans: True where the weight stays.",
            lambda weight, sparsity: weight * ranked(weight.abs(), round(sparsity * weight.numel())),
        ),
    ),
    hints=(
        "Count first: how many weights must go? Then ask which ones.",
        "`weight.abs().flatten().argsort(stable=True)` gives the positions from the smallest to the largest magnitude; "
        "a stable sort leaves equal ones in their order.",
        "Start from `mask = torch.ones(weight.numel(), dtype=torch.bool)`, set the first `round(sparsity * n)` positions "
        "of that order to False, and return `mask.view_as(weight)`.",
    ),
)

# --- 2.2 -----------------------------------------------------------------------------------------------------------


def network_masks(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    """Masks for all weights of a network; biases are left alone."""
    scores = {name: parameter.abs() for name, parameter in parameters.items() if parameter.dim() > 1}
    return masks_from_scores(scores, sparsity, scope=scope)


def scope_cases(seed: int) -> list[Case]:
    """A network whose layers have very different weights, under both scopes; and one with equal magnitudes."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {
        "hidden.weight": 0.1 * torch.randn(6, 8, generator=generator),
        "hidden.bias": 0.01 * torch.randn(6, generator=generator),
        "norm.weight": torch.ones(6),
        "output.weight": torch.randn(3, 6, generator=generator),
        "output.bias": 0.01 * torch.randn(3, generator=generator),
    }
    tied = {"first.weight": torch.full((2, 3), 0.5), "second.weight": torch.tensor([[0.5, -1.0], [2.0, -0.5]])}
    return [
        Case("two layers, sparsity 0.5, all weights ranked together", (parameters, 0.5, "global")),
        Case("two layers, sparsity 0.5, each layer on its own", (parameters, 0.5, "layer")),
        Case("two layers, sparsity 0.8, all weights ranked together", (parameters, 0.8, "global")),
        Case("many equal magnitudes, sparsity 0.3, all weights ranked together", (tied, 0.3, "global")),
    ]


def with_biases(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    return masks_from_scores({name: parameter.abs() for name, parameter in parameters.items()}, sparsity, scope=scope)


def biases_in_the_count(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    masks = with_biases(parameters, sparsity, scope)
    return {name: mask for name, mask in masks.items() if mask.dim() > 1}


def mean_threshold(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    if scope == "layer":
        return network_masks(parameters, sparsity, scope)
    weights = {name: parameter.abs() for name, parameter in parameters.items() if parameter.dim() > 1}
    threshold = sum(kth(weight, sparsity) for weight in weights.values()) / len(weights)
    return {name: weight > threshold for name, weight in weights.items()}


def same_slice(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    weights = {name: parameter for name, parameter in parameters.items() if parameter.dim() > 1}
    if scope == "layer":
        return network_masks(parameters, sparsity, scope)
    together = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    mask = ranked(together, round(sparsity * together.numel()))
    return {name: mask[: weight.numel()].view_as(weight) for name, weight in weights.items()}


def by_name(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    scores = {name: parameter.abs() for name, parameter in parameters.items() if "weight" in name}
    return masks_from_scores(scores, sparsity, scope=scope)


def signed_scope(parameters: dict[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    weights = {name: parameter for name, parameter in parameters.items() if parameter.dim() > 1}
    return masks_from_scores(weights, sparsity, scope=scope)


SCOPE = Exercise(
    id="2.2",
    name="network_masks",
    title="Global or layer by layer",
    points=2,
    reference=network_masks,
    cases=scope_cases,
    mistakes=(
        Mistake(
            "always layer by layer",
            "With scope='global' all layers share one ranking; you gave each layer its own threshold.",
            lambda parameters, sparsity, scope: network_masks(parameters, sparsity, "layer"),
        ),
        Mistake(
            "always global",
            "With scope='layer' every layer loses the same fraction; you ranked all layers together.",
            lambda parameters, sparsity, scope: network_masks(parameters, sparsity, "global"),
        ),
        Mistake(
            "biases pruned",
            "Your masks cover biases. They are few and matter much: only parameters with two or more dimensions are pruned.",
            with_biases,
        ),
        Mistake(
            "biases in the count",
            "Biases took part in the ranking, so too few weights went. Leave them out before you rank.",
            biases_in_the_count,
        ),
        Mistake(
            "chosen by name",
            "You took every parameter with “weight” in its name: the scale of a norm layer has that name too. Go by the "
            "number of dimensions.",
            by_name,
        ),
        Mistake(
            "the same slice for every layer",
            "You cut the long mask from its beginning for each layer. Move on by the size of the layers before, or use .split().",
            same_slice,
        ),
        Mistake(
            "averaged thresholds",
            "You averaged the layers' thresholds. The global threshold is the one of all weights put together.",
            mean_threshold,
        ),
        Mistake(
            "signed values",
            "You ranked w, not |w|: large negative weights went first. Take the absolute value.",
            signed_scope,
        ),
    ),
    hints=(
        "Keep only the parameters with `parameter.dim() > 1`, then treat the two scopes one after the other.",
        "For 'global', join all flattened magnitudes with `torch.cat`, make one mask for the long vector, and cut it again "
        "with `.split([w.numel() for w in ...])`.",
        "Your `magnitude_mask` from exercise 2.1 does both: on the long vector for 'global', on each weight for 'layer'.",
    ),
)

# --- 2.3 -----------------------------------------------------------------------------------------------------------


def gradient_criterion(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """|w · ∂L/∂w| for every weight."""
    return gradient_scores(model, x, y)


def gradient_cases(seed: int) -> list[Case]:
    """Two small networks with a batch."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(12, 5, generator=generator), torch.randint(3, (12,), generator=generator)
    return [
        Case("one linear layer, 12 examples", (model_spec("mlp", seed=seed, sizes=[5, 3]), x, y)),
        Case("a hidden layer of 4 units, 12 examples", (model_spec("mlp", seed=seed + 1, sizes=[5, 4, 3]), x, y)),
    ]


def scores_with(formula: Callable, *, reduction: str = "mean", softmax: bool = False, biases: bool = False) -> Callable:
    """A variant of the criterion: another formula of (w, g), another loss, or biases too."""

    def score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        logits = model(x).softmax(dim=1) if softmax else model(x)
        named = {name: p for name, p in model.named_parameters() if biases or p.dim() > 1}
        gradients = torch.autograd.grad(F.cross_entropy(logits, y, reduction=reduction), list(named.values()))
        return {name: formula(p, g).detach() for (name, p), g in zip(named.items(), gradients, strict=True)}

    return score


GRADIENT = Exercise(
    id="2.3",
    name="gradient_criterion",
    title="The gradient criterion",
    points=2,
    reference=gradient_criterion,
    cases=gradient_cases,
    atol=1e-8,
    in_place=True,
    mistakes=(
        Mistake(
            "gradient alone",
            "You scored |∂L/∂w|. Removing w moves it by w, so the change of the loss is about w · ∂L/∂w.",
            scores_with(lambda w, g: g.abs()),
        ),
        Mistake(
            "signed product",
            "You kept the sign of w · ∂L/∂w: weights whose removal would lower the loss rank below useless ones. Take the absolute value.",
            scores_with(lambda w, g: w * g),
        ),
        Mistake(
            "sign of the weight kept",
            "You took the absolute value of the gradient only: w · |∂L/∂w| is negative for negative weights.",
            scores_with(lambda w, g: w * g.abs()),
        ),
        Mistake(
            "squared",
            "You squared the product. The order is the same, but the score is no longer a change of the loss: use the absolute value.",
            scores_with(lambda w, g: (w * g) ** 2),
        ),
        Mistake(
            "magnitude only",
            "You scored |w|. The criterion needs the gradient of the loss on this batch as well.",
            scores_with(lambda w, g: w.abs()),
        ),
        Mistake(
            "summed loss",
            "You summed the loss over the batch, so the score grows with the batch size. cross_entropy's mean is meant.",
            scores_with(lambda w, g: (w * g).abs(), reduction="sum"),
        ),
        Mistake(
            "softmax twice",
            "cross_entropy takes logits and applies the softmax itself; you gave it probabilities.",
            scores_with(lambda w, g: (w * g).abs(), softmax=True),
        ),
        Mistake(
            "biases scored",
            "Your dictionary has the biases too. Only weights are pruned: parameters with two or more dimensions.",
            scores_with(lambda w, g: (w * g).abs(), biases=True),
        ),
    ),
    hints=(
        "Compute the loss with `F.cross_entropy(model(x), y)`; then you need its gradient for each weight.",
        "`torch.autograd.grad(loss, list_of_weights)` returns the gradients in the same order and leaves `.grad` alone.",
        "Collect `{name: p for name, p in model.named_parameters() if p.dim() > 1}`, take the gradients, and return "
        "`(p * g).abs().detach()` for each name.",
    ),
)

# --- 2.4 -----------------------------------------------------------------------------------------------------------


def group_scores(weight: Tensor, granularity: str) -> Tensor:
    """The mean magnitude of each kernel, (out, in), or of each filter, (out,)."""
    return weight.abs().flatten({"kernel": 2, "filter": 1}[granularity]).mean(dim=-1)


def group_cases(seed: int) -> list[Case]:
    """A convolution with more inputs than outputs, and one with a kernel that is not square."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 4, 3, 3, generator=generator)
    flat = torch.randn(4, 2, 1, 3, generator=generator)
    return [
        Case("3 filters of 4 kernels of 3×3, by filter", (weight, "filter")),
        Case("3 filters of 4 kernels of 3×3, by kernel", (weight, "kernel")),
        Case("4 filters of 2 kernels of 1×3, by filter", (flat, "filter")),
    ]


def grouped_by(reduce: Callable, *, dims: dict[str, tuple[int, ...]] | None = None) -> Callable:
    """A variant: another way to reduce a group, or other dimensions."""
    over = dims or {"kernel": (2, 3), "filter": (1, 2, 3)}
    return lambda weight, granularity: reduce(weight, over[granularity])


GROUPS = Exercise(
    id="2.4",
    name="group_scores",
    title="Score kernels and filters",
    points=2,
    reference=group_scores,
    cases=group_cases,
    mistakes=(
        Mistake(
            "sum instead of mean",
            "You summed. A filter with more weights then always scores higher, and a global ranking never removes it: take the mean.",
            grouped_by(lambda w, dims: w.abs().sum(dims)),
        ),
        Mistake(
            "absolute value too late",
            "You averaged first: positive and negative weights cancel, and a strong edge detector scores zero. Take |w| before the mean.",
            grouped_by(lambda w, dims: w.mean(dims).abs()),
        ),
        Mistake(
            "input channels scored",
            "You scored what each input channel sends. A filter makes one OUTPUT channel: the first dimension of the weight stays.",
            grouped_by(lambda w, dims: w.abs().mean(dims), dims={"kernel": (2, 3), "filter": (0, 2, 3)}),
        ),
        Mistake(
            "largest weight only",
            "You took the largest weight of each group. One outlier then saves a whole filter: take the mean.",
            grouped_by(lambda w, dims: w.abs().amax(dims)),
        ),
        Mistake(
            "root of squares",
            "You took the Euclidean norm, which grows with the group like a sum does. The mean magnitude is asked for.",
            grouped_by(lambda w, dims: w.pow(2).sum(dims).sqrt()),
        ),
        Mistake(
            "always by filter",
            "You gave one score per filter for both granularities. Look at the second argument.",
            grouped_by(lambda w, dims: w.abs().mean(dims), dims={"kernel": (1, 2, 3), "filter": (1, 2, 3)}),
        ),
        Mistake(
            "always by kernel",
            "You gave one score per kernel for both granularities. Look at the second argument.",
            grouped_by(lambda w, dims: w.abs().mean(dims), dims={"kernel": (2, 3), "filter": (2, 3)}),
        ),
        Mistake(
            "kernel and filter swapped",
            "A kernel is the weights between one input and one output channel, (out, in) of them; a filter is all kernels of one output.",
            grouped_by(lambda w, dims: w.abs().mean(dims), dims={"filter": (2, 3), "kernel": (1, 2, 3)}),
        ),
    ),
    hints=(
        "A convolution's weight has the shape (out, in, height, width). Which of these dimensions name a filter? A kernel?",
        "`weight.abs().mean(dim=(2, 3))` averages over the positions of each kernel.",
        "return weight.abs().mean(dim=(2, 3) if granularity == 'kernel' else (1, 2, 3))",
    ),
)

# --- 2.5 -----------------------------------------------------------------------------------------------------------


def masked_descent(
    weight: Tensor, velocity: Tensor, mask: Tensor, gradient: Callable, steps: int, lr: float, momentum: float
) -> Tensor:
    """Gradient descent with momentum that keeps masked weights at zero."""
    weight = weight * mask
    for _ in range(steps):
        velocity = momentum * velocity + gradient(weight)
        weight = (weight - lr * velocity) * mask
    return weight


def descent_cases(seed: int) -> list[Case]:
    """A quadratic loss, a mask, and a velocity that remembers the time before the mask."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(6, 6, generator=generator)
    loss = BuiltIn("quadratic_gradient", {"curvature": root @ root.T / 6, "pull": torch.randn(6, generator=generator)})
    mask = torch.tensor([True, False, True, False, True, True])[torch.randperm(6, generator=generator)]
    weight, velocity = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    return [
        Case("one step, with a velocity from before the pruning", (weight, velocity, mask, loss, 1, 0.1, 0.9)),
        Case("four steps, with a velocity from before the pruning", (weight, velocity, mask, loss, 4, 0.1, 0.9)),
        Case("three steps from rest", (weight, torch.zeros(6), mask, loss, 3, 0.2, 0.5)),
    ]


def descent(
    *, start: bool = True, each: bool = True, end: bool = False, on_gradient: bool = False, invert: bool = False,
    forget: bool = False, uphill: bool = False, rest: bool = False, average: bool = False, late: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the loop: where the mask is applied, and what happens to the velocity."""

    def run(weight, velocity, mask, gradient, steps, lr, momentum):
        mask = ~mask if invert else mask
        velocity = torch.zeros_like(velocity) if rest else velocity
        weight = weight * mask if start else weight.clone()
        for _ in range(steps):
            slope = gradient(weight) * mask if on_gradient else gradient(weight)
            before = velocity
            velocity = slope if forget else momentum * velocity + (1 - momentum if average else 1) * slope
            move = lr * (before if late else velocity)
            weight = weight + move if uphill else weight - move
            weight = weight * mask if each else weight
        return weight * mask if end else weight

    return run


MOMENTUM = Exercise(
    id="2.5",
    name="masked_descent",
    title="A mask under momentum",
    points=3,
    reference=masked_descent,
    cases=descent_cases,
    invariants=(
        Invariant("a pruned weight must be exactly zero", lambda inputs, weight: not weight[~inputs[2]].any()),
    ),
    mistakes=(
        Mistake(
            "momentum revives weights",
            "You masked the gradient. The velocity remembers the steps before the pruning and moves the weight all the same: mask the weight after every step.",
            descent(each=False, on_gradient=True),
        ),
        Mistake(
            "masked only once",
            "You masked before the first step only: the next updates bring the weights back.",
            descent(each=False),
        ),
        Mistake(
            "masked only at the end",
            "During training the pruned weights were alive, so the others learned to rely on them. Mask after every step.",
            descent(start=False, each=False, end=True),
        ),
        Mistake(
            "not masked before the first step",
            "The first gradient was taken with the pruned weights still in place. Mask the weight before the loop too.",
            descent(start=False),
        ),
        Mistake(
            "upside-down mask",
            "True means keep. You set the kept weights to zero.",
            descent(invert=True),
        ),
        Mistake(
            "starts from rest",
            "You threw the given velocity away. It is the memory of the training so far: go on from it.",
            descent(rest=True),
        ),
        Mistake(
            "averaged gradient",
            "You weighted the gradient by 1 − momentum. Here it is added whole: velocity = momentum · velocity + gradient.",
            descent(average=True),
        ),
        Mistake(
            "steps before it looks",
            "You moved the weight with the old velocity. First update the velocity with the new gradient, then step.",
            descent(late=True),
        ),
        Mistake(
            "momentum lost",
            "You stepped along the gradient alone. The velocity is momentum · velocity + gradient.",
            descent(forget=True),
        ),
        Mistake(
            "uphill",
            "You added lr · velocity. Descent subtracts it.",
            descent(uphill=True),
        ),
    ),
    hints=(
        "Write the loop without a mask first: velocity = momentum · velocity + gradient(weight), weight = weight − lr · velocity.",
        "Where must the mask act so that a pruned weight is zero whenever the gradient is taken?",
        "Multiply the weight by the mask once before the loop, and once at the end of every pass through it.",
    ),
)

EXERCISES = (EXACT_MASK, SCOPE, GRADIENT, GROUPS, MOMENTUM)

QUIZ = (
    Question(
        "You prune 90 % of a network's weights and save it with torch.save. How does the file change?",
        {
            "It stays as large as before": "Zeros are numbers too: a dense file stores every one. Lessons 07 and 11 turn zeros into bytes.",
            "It shrinks to a tenth": "Only if the format leaves zeros out and stores where the others are. A dense file does not.",
            "It shrinks by half": "No dense format stores a zero in fewer bytes than another number.",
        },
        "It stays as large as before",
    ),
    Question(
        "Why does a global threshold beat the same fraction in every layer at high sparsity?",
        {
            "Layers differ in how much they can spare": "A large layer can spare many of its weights, the small last one few: one ranking finds that out.",
            "It removes more weights": "Both remove exactly the same number; only the places differ.",
            "It is faster to compute": "Speed has nothing to do with accuracy, and one big ranking is not faster.",
        },
        "Layers differ in how much they can spare",
    ),
    Question(
        "What does retraining with the mask in force add?",
        {
            "The weights that are left make up for those that went": "That is why the knee moves from about half of the weights to about a tenth.",
            "Removed weights may come back": "Not here: the mask keeps them at zero. (Lesson 03 has a schedule in which they may.)",
            "It makes the network faster": "The network does the same multiplications, most of them by zero.",
        },
        "The weights that are left make up for those that went",
    ),
    Question(
        "At equal sparsity, pruning whole filters costs more accuracy than pruning single weights. Why do it?",
        {
            "What is left is a smaller dense network that every computer runs faster": "Right: structure is what the clock rewards. Lesson 07 builds it.",
            "Filters are easier to rank": "Ranking is the easy part in both cases.",
            "It is not done": "It is what most deployed pruned networks use, because the speed is real.",
        },
        "What is left is a smaller dense network that every computer runs faster",
    ),
)
