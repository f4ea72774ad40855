"""Lesson 06: SynFlow's score, its two schedules, how far one cut can go before a layer is empty, and SNIP's score."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.pruning.initial_scores import snip_scores, synflow_scores
from course_lib.pruning.scores import prunable
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import ModelSpec, model_spec

# --- 6.1 -----------------------------------------------------------------------------------------------------------


def weights_left(total: int, compression: float, iterations: int, schedule: str) -> list[int]:
    """How many weights are left after each iteration."""
    return counts(total, compression, iterations, schedule)


def counts(
    total: int, compression: float, iterations: int, schedule: str, *, first: int = 1, last: int = 0,
    swapped: bool = False, finish: Callable[[float], object] = round, linear: Callable | None = None,
    exponential: Callable | None = None,
) -> list:  # fmt: skip
    """A schedule, right or with a fault: another formula, another range of k, another last step."""
    straight = linear or (lambda done: 1 - (1 - 1 / compression) * done)
    curved = exponential or (lambda done: compression**-done)
    density = straight if (schedule == "linear") != swapped else curved
    return [finish(total * density(k / iterations)) for k in range(first, iterations + 1 + last)]


def counts_with(**how) -> Callable:
    """A variant whose formulas are given as functions of the compression."""

    def run(total: int, compression: float, iterations: int, schedule: str) -> list:
        chosen = {key: value(compression) if key in ("linear", "exponential") else value for key, value in how.items()}
        return counts(total, compression, iterations, schedule, **chosen)

    return run


def compounding(total: int, compression: float, iterations: int, schedule: str) -> list[int]:
    """Each iteration takes the share that is due in all from what is left."""
    left, out = total, []
    for k in range(1, iterations + 1):
        left *= (
            compression ** (-k / iterations)
            if schedule == "exponential"
            else 1 - (1 - 1 / compression) * k / iterations
        )
        out.append(round(left))
    return out


def counts_cases(seed: int) -> list[Case]:
    """Both schedules on a random network; and one iteration alone, where they agree."""
    generator = torch.Generator().manual_seed(seed)
    total = int(torch.randint(20_000, 90_000, (), generator=generator))
    compression = float(torch.randint(40, 300, (), generator=generator)) + 0.5
    n = int(torch.randint(6, 12, (), generator=generator))
    return [
        Case("1,600 weights to 16 times fewer, four steps", (1600, 16.0, 4, "exponential")),
        Case("the same in a straight line", (1600, 16.0, 4, "linear")),
        Case(f"compression {compression:g} in {n} steps", (total, compression, n, "exponential")),
        Case(f"compression {compression:g} in {n} steps, a straight line", (total, compression, n, "linear")),
        Case("one iteration is one cut", (total, 7.0, 1, "exponential")),
    ]


COUNTS = Exercise(
    id="6.1",
    name="weights_left",
    title="Exponential against linear",
    points=1,
    reference=weights_left,
    cases=counts_cases,
    atol=0.01,
    rtol=0.0,
    mistakes=(
        Mistake(
            "schedules swapped",
            "You gave the straight line where the exponential curve was asked for. Which of the two removes the same SHARE "
            "each time?",
            counts_with(swapped=True),
        ),
        Mistake(
            "begins with the full network",
            "Your list begins with all weights. It has one number for each iteration, after it.",
            counts_with(first=0),
        ),
        Mistake(
            "before each iteration",
            "You listed what is left BEFORE each iteration, so the target never comes. Count from 1 to `iterations`.",
            counts_with(first=0, last=-1),
        ),
        Mistake(
            "densities",
            "You returned fractions. Asked for is how many weights are left, as whole numbers.",
            lambda total, *how: counts(1, *how, finish=float),
        ),
        Mistake(
            "removed instead of left",
            "You counted the weights that are gone.",
            lambda total, *how: [total - left for left in counts(total, *how)],
        ),
        Mistake("rounded down", "You cut the fraction off. Take the nearest whole number.", counts_with(finish=int)),
        Mistake(
            "compression in a straight line",
            "You let the COMPRESSION grow by equal steps. In the linear schedule the number of weights falls by equal steps.",
            counts_with(linear=lambda rho: lambda done: 1 / (1 + (rho - 1) * done)),
        ),
        Mistake(
            "shares taken twice",
            "You multiplied what is left by the share that is due in all, again and again: far too much goes. The share "
            "counts from the full network.",
            compounding,
        ),
        Mistake(
            "target in every iteration",
            "Every entry is the final number. Iteration k of n goes only a part of the way: what is k / n for?",
            counts_with(linear=lambda rho: lambda done: 1 / rho, exponential=lambda rho: lambda done: 1 / rho),
        ),
        Mistake(
            "sparsity in the formula",
            "You raised the SPARSITY to k / n. What is left shrinks by the same factor each time: it is the density that is "
            "raised.",
            counts_with(exponential=lambda rho: lambda done: 1 - (1 - 1 / rho) ** (1 / done)),
        ),
    ),
    hints=(
        "Write the density first: the fraction that is left after iteration k. At k = n it is 1 / compression in both.",
        "Exponential: compression^(−k / n). Linear: 1 less the part k / n of what has to go, 1 − 1 / compression.",
        "`[round(total * compression ** (-k / iterations)) for k in range(1, iterations + 1)]` is the exponential one.",
    ),
)

# --- 6.2 -----------------------------------------------------------------------------------------------------------


def synflow_score(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """|w| · ∂R/∂|w| of every weight, in float64, from an input of ones in the shape of one image."""
    return synflow_scores(model, input_shape=x.shape[1:])


def flow_cases(seed: int) -> list[Case]:
    """A network with biases, a deep one with tiny weights, and one with batch norm whose numbers have both signs."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(3, 1, 2, 3, generator=generator)
    deep = model_spec("mlp", seed=seed + 1, sizes=[6] + [5] * 12)
    for name, tensor in deep.state.items():
        tensor.mul_(0.0 if name.endswith("bias") else 2e-5)
    normed = model_spec("vgg", seed=seed + 2, plan="vgg11", width=1 / 32, n_classes=3, batch_norm=True)
    for name, tensor in both_signs(normed).items():
        tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator) + (1.0 if "weight" in name else 0.0))
        tensor.mul_(torch.where(torch.rand(tensor.shape, generator=generator) < 0.5, -1.0, 1.0))
    return [
        Case("a network with one hidden layer, and biases", (model_spec("mlp", seed=seed, sizes=[6, 5, 4]), images)),
        Case("twelve layers with small weights, where R is tiny", (deep, images)),
        Case("batch norm, with numbers of both signs", (normed, torch.rand(2, 3, 32, 32, generator=generator))),
    ]


def both_signs(spec: ModelSpec) -> dict[str, Tensor]:
    """The scales, shifts and means of the batch norms: vectors that are no biases of a convolution."""
    norms = {name.rsplit(".", 1)[0] for name in spec.state if name.endswith("running_mean")}
    wanted = ("weight", "bias", "running_mean")
    return {f"{norm}.{kind}": spec.state[f"{norm}.{kind}"] for norm in norms for kind in wanted}


def flow_with(
    *, absolute: str = "all", data: str = "one", train: bool = False, kind: torch.dtype = torch.float64,
    in_place: bool = False, product: str = "score", biases: bool = False, power: int = 1,
) -> Callable:  # fmt: skip
    """A variant of the score: what is made absolute, what flows in, and what is multiplied."""

    def run(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        twin = (model if in_place else copy.deepcopy(model)).to(kind).train(train)
        chosen = dict(twin.named_parameters()) if biases else prunable(twin)
        signs = {name: weight.detach().sign() for name, weight in chosen.items()}
        with torch.no_grad():
            for tensor in {"all": twin.state_dict(), "weights": prunable(twin), "none": {}}[absolute].values():
                tensor.abs_()
        flow_in = {"one": torch.ones_like(x[:1]), "batch": torch.ones_like(x), "data": x, "zero": 0 * x[:1]}[data]
        gradients = torch.autograd.grad((twin(flow_in.to(kind)) ** power).sum(), list(chosen.values()))
        scores = {name: (w.detach(), g) for (name, w), g in zip(chosen.items(), gradients, strict=True)}
        if product == "gradient":
            return {name: g for name, (w, g) in scores.items()}
        return {name: w * g * (signs[name] if product == "signed" else 1) for name, (w, g) in scores.items()}

    return run


FLOW = Exercise(
    id="6.2",
    name="synflow_score",
    title="SynFlow's score",
    points=3,
    reference=synflow_score,
    cases=flow_cases,
    atol=0.0,
    mistakes=(
        Mistake(
            "no absolute values",
            "You scored the network with its signs. Positive and negative flows then cancel, and the scores are no longer "
            "conserved: R is the flow through absolute values.",
            flow_with(absolute="none"),
        ),
        Mistake(
            "only the weights made absolute",
            "Biases and batch norm carry signs too, and they still cut the flow. Which other numbers does the network hold?",
            flow_with(absolute="weights"),
        ),
        Mistake(
            "the network is changed",
            "Your scores are right, but the network came back without its signs (or as float64). It is to be trained "
            "afterwards: work on a copy, or put back all that you changed.",
            flow_with(in_place=True),
        ),
        Mistake(
            "uses data",
            "You sent the images through the network. SynFlow needs none: the images only tell the shape of its input, "
            "which is ones.",
            flow_with(data="data"),
        ),
        Mistake(
            "a whole batch of ones",
            "You sent as many inputs of ones as there are images, so the flow is that many times too large. One is enough.",
            flow_with(data="batch"),
        ),
        Mistake(
            "an input of zeros",
            "You sent zeros through the network: only the biases flow. The input is ones.",
            flow_with(data="zero"),
        ),
        Mistake(
            "batch norm in training mode",
            "Your batch norm measured the mean of its single input and took it away. For R the network must be one fixed "
            "function: which mode gives that?",
            flow_with(train=True),
        ),
        Mistake(
            "float32 underflow",
            "In the deep network your scores are wrong or all zero: products of many small numbers leave the range of "
            "float32. Which kind of number has more room below?",
            flow_with(kind=torch.float32),
        ),
        Mistake(
            "the gradient alone",
            "You returned ∂R/∂|w|. It says how much flow one more unit of weight would bring; the score is what this weight "
            "carries now.",
            flow_with(product="gradient"),
        ),
        Mistake(
            "the signs put back into the score",
            "Your scores are negative where the weight is. A large negative weight carries as much flow as a positive one.",
            flow_with(product="signed"),
        ),
        Mistake(
            "biases scored",
            "You returned scores for biases or batch norm. Only the weights of linear and convolutional layers are pruned.",
            flow_with(biases=True),
        ),
        Mistake(
            "outputs squared",
            "You summed the squares of the outputs. R is their plain sum.",
            flow_with(power=2),
        ),
    ),
    hints=(
        "Make a copy of the network that you may spoil: `copy.deepcopy(model).double().eval()`.",
        "Without gradients, take `abs_()` of every tensor in the copy's `state_dict()`. Then one input of ones, forward, "
        "sum, and the gradient with respect to the weights.",
        "`torch.autograd.grad(twin(ones).sum(), weights)` gives the gradients; multiply each with its weight, which is "
        "positive by now. The weights are the `weight` of each nn.Linear and nn.Conv2d in `twin.named_modules()`.",
    ),
)

# --- 6.3 -----------------------------------------------------------------------------------------------------------


def last_safe_compression(scores: dict[str, Tensor]) -> float:
    """All weights / weights left, for the deepest single cut that leaves no layer empty."""
    return safe_with()(scores)


def safe_with(
    *, threshold: Callable[[list[Tensor]], Tensor] | None = None, strict: bool = False, absolute: bool = False,
    result: Callable[[int, int], float] = lambda total, left: total / left,
) -> Callable:  # fmt: skip
    """A variant: another threshold, `>` for `≥`, absolute scores, another result of (total, left)."""

    def run(scores: dict[str, Tensor]) -> float:
        layers = [score.abs() if absolute else score for score in scores.values()]
        bar = threshold(layers) if threshold else min(score.max() for score in layers)
        left = sum(int((score > bar if strict else score >= bar).sum()) for score in layers)
        return result(sum(score.numel() for score in layers), max(left, 1))

    return run


def safe_cases(seed: int) -> list[Case]:
    """Layers of different size and scale, scores of both signs, and equal scores."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.rand(shape, generator=generator)
    wide = {"first.weight": 2 + draw(4, 3, 3, 3), "wide.weight": 2.5 * draw(40, 9), "output.weight": 4 + draw(5, 8)}
    signed = {
        "a.weight": torch.randn(12, 9, generator=generator),
        "b.weight": torch.cat([-4 - draw(1, 9), -0.5 * draw(1, 9), 0.1 + 0.3 * draw(2, 9)]),
        "c.weight": torch.randn(10, 12, generator=generator),
    }
    return [
        Case("a small first layer, a wide one, an output layer", (wide,)),
        Case("scores of both signs, as GraSP gives them", (signed,)),
        Case("equal scores", ({"a": torch.tensor([3.0, 3.0, 1.0, 5.0]), "b": torch.tensor([3.0, 2.0])},)),
        Case("one layer only", ({"only": draw(3, 5)},)),
    ]


SAFE = Exercise(
    id="6.3",
    name="last_safe_compression",
    title="Detect layer collapse",
    points=2,
    reference=last_safe_compression,
    cases=safe_cases,
    invariants=(Invariant("a compression is at least 1", lambda inputs, result: result >= 1),),
    mistakes=(
        Mistake(
            "one weight too far",
            "At your compression the poorest layer has just lost its last weight. Asked for is the last cut that spares it.",
            safe_with(strict=True),
        ),
        Mistake(
            "the lowest score of all",
            "Your cut stops at the worst weight of the network. A layer lives until its BEST weight goes.",
            safe_with(threshold=lambda layers: min(score.min() for score in layers)),
        ),
        Mistake(
            "the richest layer",
            "You cut until only the best weight of the network is left: by then all other layers are empty.",
            safe_with(threshold=lambda layers: max(score.max() for score in layers)),
        ),
        Mistake(
            "means",
            "You compared the layers' mean scores. How long a layer lives is decided by its best weight, not its average one.",
            safe_with(threshold=lambda layers: min(score.mean() for score in layers)),
        ),
        Mistake(
            "the smallest layer",
            "You took the layer with the fewest weights. It is not always the first to go: look at the scores.",
            safe_with(threshold=lambda layers: min(layers, key=lambda score: score.numel()).max()),
        ),
        Mistake(
            "absolute scores",
            "You ranked absolute scores. A score may be negative (GraSP's are), and then the weight goes first.",
            safe_with(absolute=True),
        ),
        Mistake(
            "density",
            "You returned the fraction that is left. Compression is the other way round: all weights / weights left.",
            safe_with(result=lambda total, left: left / total),
        ),
        Mistake(
            "sparsity",
            "You returned the fraction of zeros. Compression is all weights / weights left.",
            safe_with(result=lambda total, left: 1 - left / total),
        ),
        Mistake(
            "weights left",
            "You returned how many weights are left. Divide the number of all weights by it.",
            safe_with(result=lambda total, left: left),
        ),
        Mistake(
            "the theoretical maximum",
            "You returned weights / layers. That is what the best method could reach; which cut do THESE scores allow?",
            lambda scores: sum(score.numel() for score in scores.values()) / len(scores),
        ),
    ),
    hints=(
        "Which weight of a layer goes last? And which layer's last weight goes first?",
        "The threshold is the smallest of the layers' highest scores. Every weight that scores at least as high stays.",
        "`min(score.max() for score in scores.values())`; then count `score >= threshold` over all layers.",
    ),
)

# --- 6.4 -----------------------------------------------------------------------------------------------------------


def snip_score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """|w · ∂L/∂w| of every weight, divided by the sum of all of them."""
    return snip_scores(model, x, y)


def snip_cases(seed: int) -> list[Case]:
    """A multilayer perceptron and a convolutional network, both with biases."""
    generator = torch.Generator().manual_seed(seed)
    labels = lambda n, classes: torch.randint(classes, (n,), generator=generator)
    flat, image = torch.randn(7, 1, 2, 3, generator=generator), torch.rand(6, 1, 8, 8, generator=generator)
    return [
        Case("one hidden layer", (model_spec("mlp", seed=seed, sizes=[6, 5, 4]), flat, labels(7, 4))),
        Case("convolutions", (model_spec("small_cnn", seed=seed, channels=[2, 3], n_classes=4), image, labels(6, 4))),
    ]


def snip_with(
    *, product: Callable[[Tensor, Tensor], Tensor] = lambda w, g: (w * g).abs(), divide: str = "sum",
    biases: bool = False, outputs: Callable[[Tensor], Tensor] = lambda z: z, in_place: bool = False,
) -> Callable:  # fmt: skip
    """A variant of SNIP's score: what is multiplied, divided by what, over which parameters."""

    def run(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        chosen = dict(model.named_parameters()) if biases else prunable(model)
        gradients = torch.autograd.grad(F.cross_entropy(outputs(model(x)), y), list(chosen.values()))
        scores = {n: product(w.detach(), g) for (n, w), g in zip(chosen.items(), gradients, strict=True)}
        total = sum(score.sum() for score in scores.values())
        largest = max(score.max() for score in scores.values())
        if in_place:
            with torch.no_grad():
                for weight, gradient in zip(chosen.values(), gradients, strict=True):
                    weight.mul_(gradient).abs_()
        by = {"sum": lambda s: total, "layer": lambda s: s.sum(), "max": lambda s: largest, "nothing": lambda s: 1}[
            divide
        ]
        return {name: score / by(score) for name, score in scores.items()}

    return run


SNIP = Exercise(
    id="6.4",
    name="snip_score",
    title="SNIP's score",
    points=2,
    reference=snip_score,
    cases=snip_cases,
    atol=1e-7,
    invariants=(
        Invariant(
            "all scores together must sum to 1",
            lambda inputs, scores: abs(sum(float(score.sum()) for score in scores.values()) - 1) < 1e-4,
        ),
    ),
    mistakes=(
        Mistake(
            "not normalised",
            "Your scores are right up to a factor: divide them by their sum over the whole network.",
            snip_with(divide="nothing"),
        ),
        Mistake(
            "normalised layer by layer",
            "Each layer of yours sums to 1, so layers can no longer be compared. There is one sum, over the whole network.",
            snip_with(divide="layer"),
        ),
        Mistake(
            "divided by the largest",
            "You divided by the largest score. SNIP divides by the sum.",
            snip_with(divide="max"),
        ),
        Mistake(
            "signs kept",
            "Some of your scores are negative. A weight whose removal would LOWER the loss matters as well: SNIP takes the "
            "absolute value.",
            snip_with(product=lambda w, g: w * g),
        ),
        Mistake(
            "the gradient alone",
            "You left out the weight. Removing w moves it by w, so the loss moves by about w times the gradient.",
            snip_with(product=lambda w, g: g.abs()),
        ),
        Mistake(
            "the weight alone",
            "You left out the gradient: that is magnitude, and it needs no data.",
            snip_with(product=lambda w, g: w.abs()),
        ),
        Mistake(
            "squared",
            "You squared the product. SNIP takes its absolute value.",
            snip_with(product=lambda w, g: (w * g).square()),
        ),
        Mistake(
            "biases scored",
            "You scored biases too. Only weights are pruned, and only they count in the sum.",
            snip_with(biases=True),
        ),
        Mistake(
            "softmax twice",
            "You took a softmax before the cross-entropy, which takes one itself.",
            snip_with(outputs=lambda z: z.softmax(dim=1)),
        ),
        Mistake(
            "the network is changed",
            "Your scores are right, but the weights came back changed. Work on new tensors.",
            snip_with(in_place=True),
        ),
    ),
    hints=(
        "Removing a weight moves it from w to 0. By how much does the loss move, to first order?",
        "`torch.autograd.grad(F.cross_entropy(model(x), y), weights)` gives the gradients in the order of `weights`.",
        "Score = (w · gradient).abs(); at the end divide every layer by the sum over all layers.",
    ),
)

EXERCISES = (COUNTS, FLOW, SAFE, SNIP)

# --- quiz ----------------------------------------------------------------------------------------------------------

QUIZ = (
    Question(
        "One cut by SNIP or SynFlow scores to a high compression. Which layers empty first, and why?",
        {
            "The largest ones: a layer's total is shared among more weights": "With conserved scores every layer has the same total, so the mean score is 1 / size.",
            "The smallest ones: they have the fewest weights to lose": "That is what happens when scores are random.",
            "The last ones: their gradients are the smallest": "Conserved scores have the same total in every layer, the last included.",
        },
        "The largest ones: a layer's total is shared among more weights",
    ),
    Question(
        "Why does SynFlow survive where one cut by the same score collapses?",
        {
            "A layer that shrinks shares the same total among fewer weights, so their new scores rise": "That is why scores must be taken again after each removal.",
            "It looks at the training images before each removal": "SynFlow uses no data at all.",
            "It keeps the same share of weights in every layer": "It ranks all layers together; no share is fixed beforehand.",
        },
        "A layer that shrinks shares the same total among fewer weights, so their new scores rise",
    ),
    Question(
        "A network with tanh is passed to SynFlow. What is lost?",
        {
            "The conservation of scores: tanh is not homogeneous": "φ(2x) is not 2 φ(x), so what flows in and what flows out of a unit no longer agree.",
            "Nothing: any activation has a gradient": "A gradient is there, but the conservation law, and with it the guarantee, is not.",
            "The gradient: tanh has none": "It has one everywhere.",
        },
        "The conservation of scores: tanh is not homogeneous",
    ),
    Question(
        "You shuffle a mask inside each layer, train, and the accuracy stays the same. What have you learned?",
        {
            "That the numbers of weights in each layer did the work, not their places": "At this compression: where weights are so few that paths break, places begin to matter.",
            "That the method is useless": "It chose how many weights each layer keeps, and that can be worth a lot.",
            "That the scores were computed wrongly": "The check says nothing about that.",
        },
        "That the numbers of weights in each layer did the work, not their places",
    ),
)
