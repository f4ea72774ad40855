"""Lesson 10: the straight-through estimator, a range that follows the batches, where grids go, and steps of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.quantization.calibration import moving_average
from course_lib.quantization.straight_through import FakeQuantize
from course_lib.rubrics.exercise import Case, Exercise, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn

# --- 10.1 ----------------------------------------------------------------------------------------------------------


def straight_through(x: Tensor, scale: float, lowest: int, highest: int) -> Tensor:
    """Values on the grid; the gradient goes through where the grid does not clip."""
    return FakeQuantize.apply(x, scale, lowest, highest)


def estimator_cases(seed: int) -> list[Case]:
    """Both signs and clipping at both ends; a grid from 0 up; values that round to an end without being clipped."""
    generator = torch.Generator().manual_seed(seed)
    step = 0.2 + 0.3 * torch.rand((), generator=generator).item()
    edge = torch.tensor([3.3, -3.3, 3.7, -3.7, 0.4, -0.6]) * step
    return [
        Case("scale 0.5, codes −2 … 2", (torch.tensor([0.2, 0.9, -1.6, 5.0]), 0.5, -2, 2)),
        Case("a matrix, codes −3 … 3", (2 * step * torch.randn(4, 5, generator=generator), step, -3, 3)),
        Case("codes 0 … 3, as after a ReLU", (2 * step * torch.randn(12, generator=generator), step, 0, 3)),
        Case("values just beyond the last code: 3.3 steps round to 3, 3.7 to 4", (edge, step, -3, 3)),
    ]


class Given(torch.autograd.Function):
    """A result and its slope, both given."""

    @staticmethod
    def forward(ctx, x: Tensor, result: Tensor, slope: Tensor, ignore: bool) -> Tensor:
        """The given result."""
        ctx.save_for_backward(slope)
        ctx.ignore = ignore
        return result.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        """The given slope, times what comes in."""
        (slope,) = ctx.saved_tensors
        return (slope if ctx.ignore else gradient * slope), None, None, None


def estimator_with(
    *, result: Callable | None = None, slope: Callable | None = None, ignore: bool = False, attached: bool = True
) -> Callable:
    """A variant: another result of (steps, codes, scale, lowest, highest), another slope of the same."""

    def run(x: Tensor, scale: float, lowest: int, highest: int) -> Tensor:
        steps = x.detach() / scale
        seen = (steps, steps.round().clamp(lowest, highest), scale, lowest, highest)
        out = result(*seen) if result else seen[1] * scale
        if not attached:
            return out
        passed = slope(*seen) if slope else seen[1] == steps.round()
        return Given.apply(x, out, passed.to(x.dtype), ignore)

    return run


ESTIMATOR = Exercise(
    id="10.1",
    name="straight_through",
    title="The straight-through estimator",
    points=2,
    reference=straight_through,
    cases=estimator_cases,
    verb="call_with_uneven_gradients",
    mistakes=(
        Mistake(
            "no clipping in backward",
            "Your gradient also goes through where the grid clips. There the output stands still however the input moves, "
            "so no gradient may pass.",
            estimator_with(slope=lambda v, *_: torch.ones_like(v)),
        ),
        Mistake(
            "the true slope of round",
            "Your gradient is 0 everywhere: that is what rounding really has, and nothing could learn from it. Inside the "
            "grid the estimator takes rounding for the identity.",
            estimator_with(slope=lambda v, *_: torch.zeros_like(v)),
        ),
        Mistake(
            "cut off from the graph",
            "Your result has no gradient at all: it was computed outside autograd. What do you have to call so that your "
            "`backward` is used?",
            estimator_with(attached=False),
        ),
        Mistake(
            "gradient times scale",
            "Your gradient is multiplied by the scale. x is divided by it and multiplied by it again: what is left of it?",
            estimator_with(slope=lambda v, codes, scale, *_: scale * (codes == v.round())),
        ),
        Mistake(
            "gradient over scale",
            "Your gradient is divided by the scale. x is divided by it and multiplied by it again: what is left of it?",
            estimator_with(slope=lambda v, codes, scale, *_: (codes == v.round()) / scale),
        ),
        Mistake(
            "incoming gradient ignored",
            "You returned 1 inside the grid and 0 outside. That is the slope; the chain rule wants it multiplied with what "
            "comes in from behind.",
            estimator_with(ignore=True),
        ),
        Mistake(
            "the mask the wrong way round",
            "Your gradient passes where the grid clips, and stops where it does not.",
            estimator_with(slope=lambda v, codes, *_: codes != v.round()),
        ),
        Mistake(
            "clips half a step too early",
            "A value that lies a little beyond the last grid point, and still rounds to it, is not clipped: its gradient "
            "passes. Compare after rounding.",
            estimator_with(slope=lambda v, codes, scale, low, high: (v >= low) & (v <= high)),
        ),
        Mistake(
            "only the upper end",
            "Below the lowest code your gradient still passes. A grid has two ends.",
            estimator_with(slope=lambda v, codes, scale, low, high: v.round() <= high),
        ),
        Mistake(
            "no clipping in forward",
            "Your values leave the grid: there is no code above `highest` and none below `lowest`.",
            estimator_with(result=lambda v, codes, scale, *_: v.round() * scale),
        ),
        Mistake(
            "codes",
            "You returned codes. FAKE quantization comes back to real values: one step is worth `scale`.",
            estimator_with(result=lambda v, codes, *_: codes),
        ),
        Mistake(
            "cut off instead of rounded",
            "You took the code towards 0. The grid point that is nearest is wanted.",
            estimator_with(result=lambda v, codes, scale, low, high: v.trunc().clamp(low, high) * scale),
        ),
        Mistake(
            "rounded down",
            "You took the code below. The grid point that is nearest is wanted.",
            estimator_with(result=lambda v, codes, scale, low, high: v.floor().clamp(low, high) * scale),
        ),
    ),
    hints=(
        "Write a class that inherits from torch.autograd.Function, with static `forward(ctx, …)` and "
        "`backward(ctx, gradient)`, and return `YourClass.apply(…)`.",
        "In forward, compare the rounded steps before and after clamping: they are equal where nothing is clipped. "
        "`ctx.save_for_backward` keeps that for backward.",
        "backward returns one entry for each argument of forward after ctx: `gradient * inside, None, None, None`.",
    ),
)

# --- 10.2 ----------------------------------------------------------------------------------------------------------


def moving_range(batches: list[Tensor], momentum: float, freeze_after: int) -> list[float]:
    """The moving average of the batches' ends, which stands still after `freeze_after` batches."""
    low, high = moving_average(batches[:freeze_after], momentum=momentum)
    return [float(low), float(high)]


def range_cases(seed: int) -> list[Case]:
    """Two batches by hand; ranges that shrink, unequal batches, one outlier; frozen on the way, and never."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda n, size: size * torch.randn(n, generator=generator)
    shrinking = [draw(7 + k, 3.0 - 0.4 * k) for k in range(6)]
    shrinking[2] = torch.cat([shrinking[2], torch.tensor([19.0])])
    matrices = [1.5 + draw(12, 1.0).view(3, 4) for _ in range(4)]
    ones = [torch.tensor([0.0, 1.0]), torch.tensor([0.0, 3.0]), torch.tensor([-2.0, 2.0])]
    return [
        Case("three batches, momentum 0.5", (ones, 0.5, 3)),
        Case("six batches with one outlier, frozen after the fourth", (shrinking, 0.8, 4)),
        Case("the same, frozen after the first", (shrinking, 0.8, 1)),
        Case("matrices, more patience than batches", (matrices, 0.9, 100)),
    ]


def range_with(
    *, follow: Callable | None = None, first: Callable | None = None, ends: Callable | None = None, shift: int = 0,
    freeze: bool = True,
) -> Callable:  # fmt: skip
    """A variant: another step (old, new, momentum), another beginning, other ends of a batch, another freezing."""
    follow = follow or (lambda old, new, momentum: momentum * old + (1 - momentum) * new)

    def run(batches: list[Tensor], momentum: float, freeze_after: int) -> list[float]:
        seen = batches[: max(1, freeze_after + shift)] if freeze else batches
        found = [ends(b) if ends else (float(b.min()), float(b.max())) for b in seen]
        average = found[0] if first is None else [follow(first(), new, momentum) for new in found[0]]
        for new in found[1:]:
            average = [follow(old, end, momentum) for old, end in zip(average, new, strict=True)]
        return list(average)

    return run


def over_seen(combine: Callable) -> Callable:
    """A variant that combines the ends of all batches up to freezing, without momentum."""

    def run(batches: list[Tensor], momentum: float, freeze_after: int) -> list[float]:
        seen = batches[:freeze_after]
        return list(combine([float(b.min()) for b in seen], [float(b.max()) for b in seen]))

    return run


RANGE = Exercise(
    id="10.2",
    name="moving_range",
    title="A range that follows",
    points=1,
    reference=moving_range,
    cases=range_cases,
    mistakes=(
        Mistake(
            "momentum on the wrong side",
            "You gave the new batch the weight `momentum`. Momentum is the weight of what WAS: at 0.9 one batch moves the "
            "range by a tenth of the way.",
            range_with(follow=lambda old, new, m: (1 - m) * old + m * new),
        ),
        Mistake(
            "starts at zero",
            "Your range starts at 0..0 and needs many batches to grow. There is nothing to average with yet: let the first "
            "batch count in full.",
            range_with(first=lambda: 0.0),
        ),
        Mistake(
            "never forgets",
            "You keep the widest range ever seen. One outlier then makes the grid coarse for ever: average, so that "
            "it fades.",
            over_seen(lambda lows, highs: (min(lows), max(highs))),
        ),
        Mistake(
            "the last batch alone",
            "Your range is that of the last batch. It would jump with every batch: momentum is not used.",
            over_seen(lambda lows, highs: (lows[-1], highs[-1])),
        ),
        Mistake(
            "plain mean",
            "You took the mean of all batches. The network changes while it trains: old batches must fade, and momentum "
            "says how fast.",
            over_seen(lambda lows, highs: (sum(lows) / len(lows), sum(highs) / len(highs))),
        ),
        Mistake(
            "never frozen",
            "Your range moves after batch `freeze_after` too. Late in training it must stand still.",
            range_with(freeze=False),
        ),
        Mistake(
            "frozen one batch late",
            "You used one batch too many: after `freeze_after` batches have been seen, the range stands still.",
            range_with(shift=1),
        ),
        Mistake(
            "frozen one batch early",
            "You used one batch too few: batch number `freeze_after` still counts.",
            range_with(shift=-1),
        ),
        Mistake(
            "symmetric",
            "You made the range symmetric. After a ReLU half of such a grid would never be used: follow both ends, each "
            "for itself.",
            range_with(ends=lambda b: (-float(b.abs().max()), float(b.abs().max()))),
        ),
        Mistake(
            "low fixed at zero",
            "Your lower end is 0. That suits what comes out of a ReLU, but here there are negative values: follow "
            "the minimum.",
            range_with(ends=lambda b: (0.0, float(b.max()))),
        ),
        Mistake(
            "ends swapped",
            "You returned the upper end first.",
            range_with(ends=lambda b: (float(b.max()), float(b.min()))),
        ),
        Mistake(
            "mean instead of extremes",
            "You followed the mean of the values. A range must hold them: follow the smallest and the largest.",
            range_with(ends=lambda b: (float(b.mean()), float(b.mean()))),
        ),
    ),
    hints=(
        "Keep two numbers, low and high. The first batch sets them; every later batch pulls them a little.",
        "new = momentum · old + (1 − momentum) · of this batch, for `batch.min()` and for `batch.max()`.",
        "Only the first `freeze_after` batches count: `batches[:freeze_after]`.",
    ),
)

# --- 10.3 ----------------------------------------------------------------------------------------------------------


def forward_on_grid(
    x: Tensor, layers: list[dict[str, Tensor]], input_grid: Callable[[Tensor], Tensor], weight_grid: Callable[[Tensor], Tensor]
) -> Tensor:  # fmt: skip
    """Linear layers with folded batch norm, computed on grids."""
    for place, layer in enumerate(layers):
        x = x.relu() if place else x
        folded = layer["gain"][:, None] * layer["weight"]  # (out, in)
        x = input_grid(x) @ weight_grid(folded).T + layer["shift"]
    return x


def placing_cases(seed: int) -> list[Case]:
    """Two layers, three layers of equal width, and one layer alone; gains of both signs and different sizes."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator)

    def layers(*sizes: int) -> list[dict[str, Tensor]]:
        gains = lambda n: torch.linspace(0.3, 3.0, n)[torch.randperm(n, generator=generator)] * draw(n).sign()
        return [
            {"weight": draw(out, inputs), "gain": gains(out), "shift": draw(out)}
            for inputs, out in zip(sizes, sizes[1:], strict=False)
        ]

    two, three, one = layers(6, 5, 3), layers(4, 4, 4, 4), layers(5, 4)
    two[0]["shift"][0] = -30.0  # so that the largest value before ReLU is a negative one
    grids = BuiltIn("fake_quantizer", {"steps": 7}), BuiltIn("fake_quantizer", {"steps": 3})
    return [
        Case("two layers", (draw(4, 6), two, *grids)),
        Case("three layers of the same width", (draw(3, 4), three, *grids)),
        Case("one layer: no ReLU at all", (draw(3, 5), one, *grids)),
    ]


def placed(
    *, weight: Callable | None = None, inputs: Callable | None = None, shift: Callable | None = None,
    product: Callable | None = None, before_relu: bool = False, relu_last: bool = False, out: Callable | None = None,
) -> Callable:  # fmt: skip
    """A variant: what happens to weight (layer, grid), input (x, grid, place), shift (shift, grid), product and output."""
    weight = weight or (lambda layer, grid: grid(layer["gain"][:, None] * layer["weight"]))
    inputs = inputs or (lambda x, grid, place: grid(x))

    def run(x: Tensor, layers: list[dict[str, Tensor]], input_grid: Callable, weight_grid: Callable) -> Tensor:
        for place, layer in enumerate(layers):
            x = inputs(x, input_grid, place) if not (place and before_relu) else input_grid(x).relu()
            x = x @ weight(layer, weight_grid).T
            x = product(x, input_grid) if product else x
            x = x + (shift(layer["shift"], weight_grid) if shift else layer["shift"])
            x = x.relu() if relu_last or (place + 1 < len(layers) and not before_relu) else x
        return out(x, input_grid) if out else x

    return run


def grids_swapped(x, layers, input_grid, weight_grid):
    return forward_on_grid(x, layers, weight_grid, input_grid)


PLACES = Exercise(
    id="10.3",
    name="forward_on_grid",
    title="Where the fake quantizers go",
    points=2,
    reference=forward_on_grid,
    cases=placing_cases,
    mistakes=(
        Mistake(
            "grid before folding",
            "You put the weight on the grid before its gain was folded in (or multiplied the product by the gain). What will "
            "be stored is the folded weight, so the grid must see that one: with one grid for a whole tensor the codes differ.",
            placed(weight=lambda layer, grid: layer["gain"][:, None] * grid(layer["weight"])),
        ),
        Mistake(
            "gain forgotten",
            "You left out the gain of batch norm.",
            placed(weight=lambda layer, grid: grid(layer["weight"])),
        ),
        Mistake(
            "gain on the wrong axis",
            "You multiplied the gain along the inputs. There is one gain for each OUTPUT, and the weight is (out, in).",
            placed(weight=lambda layer, grid: grid(layer["gain"] * layer["weight"])),
        ),
        Mistake(
            "the first input left as float",
            "The input of the first layer is not on the grid. An integer product needs both factors as integers.",
            placed(inputs=lambda x, grid, place: grid(x) if place else x),
        ),
        Mistake(
            "weights left as floats",
            "Your weights are not on the grid.",
            placed(weight=lambda layer, grid: layer["gain"][:, None] * layer["weight"]),
        ),
        Mistake(
            "inputs left as floats",
            "Your activations are not on the grid: only the weights are.",
            placed(inputs=lambda x, grid, place: x),
        ),
        Mistake(
            "grid before ReLU",
            "You put activations on the grid before ReLU. Half of the codes then stand for values that ReLU "
            "removes: the grid belongs where the next layer reads.",
            placed(before_relu=True),
        ),
        Mistake(
            "shift on a grid",
            "You put the shift on a grid. It is added to the accumulator, which has 32 bits: it needs no coarse grid.",
            placed(shift=lambda shift, grid: grid(shift)),
        ),
        Mistake(
            "output on a grid",
            "You put the logits on a grid too. No further product reads them.",
            placed(out=lambda x, grid: grid(x)),
        ),
        Mistake(
            "product on a grid",
            "You put the product on a grid before the shift is added. The accumulator stays exact; rounding comes "
            "where the next layer reads.",
            placed(product=lambda x, grid: grid(x)),
        ),
        Mistake(
            "grids swapped",
            "You used the inputs' grid for weights and the weights' grid for inputs.",
            grids_swapped,
        ),
        Mistake(
            "ReLU after the last layer",
            "You cut the negative logits off. ReLU stands between layers, not after the last.",
            placed(relu_last=True),
        ),
    ),
    hints=(
        "Follow one product: which two tensors are multiplied in integers when the network is used? Exactly those are on a grid.",
        'Fold first: each row of the weight times its gain, `layer["gain"][:, None] * layer["weight"]`. Then the grid.',
        "x = input_grid(x) @ weight_grid(folded).T + shift; between two layers, `x.relu()` before the next grid.",
    ),
)

# --- 10.4 ----------------------------------------------------------------------------------------------------------


def train_on_grid(
    weight: Tensor, gradient: Callable[[Tensor], Tensor], scale: float, highest: int, lr: float, steps: int
) -> list[Tensor]:
    """Gradient descent on a float weight whose gradient is taken on the grid: [the float weight, the same on the grid]."""
    return trained_with()(weight, gradient, scale, highest, lr, steps)


def trained_with(
    *, read: str = "grid", write: str = "latent", mask: str = "inside", clamp: bool = True, sign: int = 1,
    extra: int = 0, stale: bool = False, give: str = "both", factor: Callable = lambda scale: 1.0, in_place: bool = False,
) -> Callable:  # fmt: skip
    """Training right or with a fault: where the gradient is read, what it moves, and what is returned."""

    def on_grid(weight: Tensor, scale: float, highest: int) -> tuple[Tensor, Tensor]:
        steps = (weight / scale).round()
        codes = steps.clamp(-highest, highest) if clamp else steps
        return codes * scale, codes == steps

    def run(weight, gradient, scale, highest, lr, steps):
        grid, _ = on_grid(weight, scale, highest)
        for _ in range(steps + extra):
            grid, inside = on_grid(weight, scale, highest)
            slope = gradient(grid if read == "grid" else weight) * factor(scale)
            slope = slope * {"inside": inside, "all": 1, "none": 0, "outside": ~inside}[mask]
            moved = (weight if write == "latent" else grid) - sign * lr * slope
            weight = weight.copy_(moved) if in_place else moved
        grid = grid if stale else on_grid(weight, scale, highest)[0]
        return {"both": [weight, grid], "swapped": [grid, weight], "grid": [grid, grid]}[give]

    return run


def training_cases(seed: int) -> list[Case]:
    """A random quadratic loss; updates far smaller than a step of the grid; weights beyond its ends."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    root = draw(8, 8)
    bowl = BuiltIn("quadratic_gradient", {"curvature": root @ root.T / 8 + 0.2 * torch.eye(8), "pull": draw(8)})
    jitter = lambda: 0.02 * torch.rand(4, generator=generator)
    near = BuiltIn(
        "quadratic_gradient", {"curvature": torch.eye(4), "pull": torch.tensor([1.5, -1.2, 0.2, -0.8]) + jitter()}
    )
    outside = torch.tensor([1.9, -2.3, 0.6, -0.4]) + jitter()
    return [
        Case("8 weights, a random bowl", (0.6 * draw(8), bowl, 0.3, 7, 0.1, 6)),
        Case(
            "small updates: none reaches the next grid point alone", (torch.zeros(4) + jitter(), near, 0.5, 3, 0.04, 9)
        ),
        Case("two weights beyond the ends of the grid", (outside, near, 0.5, 2, 0.1, 5)),
    ]


TRAINING = Exercise(
    id="10.4",
    name="train_on_grid",
    title="Steps of training",
    points=3,
    reference=train_on_grid,
    cases=training_cases,
    mistakes=(
        Mistake(
            "gradient at the float weights",
            "You took the gradient at the float weights and rounded at the end: that is post-training quantization. The "
            "loss must be the one that the rounded network has.",
            trained_with(read="latent"),
        ),
        Mistake(
            "rounded weights updated",
            "Your update starts from the rounded weight, so whatever was less than half a step is forgotten. "
            "Small updates must add up: in which copy can they?",
            trained_with(write="grid"),
        ),
        Mistake(
            "no clipping in backward",
            "Weights beyond the ends of the grid got updates too. Where the grid clips, the output does not follow the weight.",
            trained_with(mask="all"),
        ),
        Mistake(
            "the true slope of round",
            "Your weights never move: you used the slope that rounding really has, 0.",
            trained_with(mask="none"),
        ),
        Mistake(
            "the mask the wrong way round",
            "Only clipped weights are updated in your version. It must be the others.",
            trained_with(mask="outside"),
        ),
        Mistake(
            "no clipping in forward",
            "Your grid has no ends: codes go from −highest to highest.",
            trained_with(clamp=False),
        ),
        Mistake(
            "uphill",
            "You added the gradient. Descent subtracts it.",
            trained_with(sign=-1),
        ),
        Mistake(
            "one step too many",
            "You took one update more than `steps`.",
            trained_with(extra=1),
        ),
        Mistake(
            "one step too few",
            "You took one update less than `steps`.",
            trained_with(extra=-1),
        ),
        Mistake(
            "grid before the last update",
            "The weight on the grid is that of before the last update. Round once more at the end.",
            trained_with(stale=True),
        ),
        Mistake(
            "the float weight lost",
            "You returned the rounded weight twice. Training can only go on from the float one.",
            trained_with(give="grid"),
        ),
        Mistake(
            "order swapped",
            "You returned the weight on the grid first.",
            trained_with(give="swapped"),
        ),
        Mistake(
            "gradient times scale",
            "You multiplied the gradient by the scale. x is divided by it and multiplied by it again: what is left of it?",
            trained_with(factor=lambda scale: scale),
        ),
        Mistake(
            "the caller's tensor is changed",
            "Your result is right, but the weight that you were given has changed. Make a new tensor at each update.",
            trained_with(in_place=True),
        ),
    ),
    hints=(
        "Two copies: a float weight that collects small updates, and the same on the grid, made anew at each step.",
        "Each step: round and clamp; `gradient(on_grid)`; multiply it by where nothing was clipped; move the FLOAT weight.",
        "weight = weight − lr · gradient(on_grid) · inside. After the last update, put the weight on the grid once more.",
    ),
)

EXERCISES = (ESTIMATOR, RANGE, PLACES, TRAINING)

# --- quiz ----------------------------------------------------------------------------------------------------------

QUIZ = (
    Question(
        "What is the derivative of round(x) with respect to x?",
        {
            "0 almost everywhere": "So gradient descent through it never moves anything: that is why an estimator is needed.",
            "1": "That is what the straight-through estimator pretends.",
            "It depends on the number of bits": "However fine the steps are, each of them is flat.",
        },
        "0 almost everywhere",
    ),
    Question(
        "During training on the grid, which weights does the optimiser change?",
        {
            "A float copy; the grid is laid over it anew in each forward pass": "Small updates add up in it until a code flips.",
            "The codes, by whole steps": "An update is nearly always smaller than half a step: no code would ever change.",
            "The float copy and the codes in turn": "Codes are not stored at all while training.",
        },
        "A float copy; the grid is laid over it anew in each forward pass",
    ),
    Question(
        "Why does the gradient stop where the grid clips?",
        {
            "There the output does not follow the input at all": "Outside, not even the coarse trend of the staircase rises.",
            "To keep gradients small": "It removes some, but that is not the reason.",
            "Because clipped values are rarely needed": "They may be large and important: that is why ranges are chosen with care.",
        },
        "There the output does not follow the input at all",
    ),
    Question(
        "A network trained on a 2-bit grid beats a rounded one. What must the control be?",
        {
            "The same extra steps in float, then rounding as well as one can": "Otherwise the gain could come from the steps, or from a careless rounding.",
            "The float network": "It tells what was lost, not whether training on the grid was needed.",
            "The rounded network before the extra steps": "Then the one had more training than the other.",
        },
        "The same extra steps in float, then rounding as well as one can",
    ),
    Question(
        "Why is batch norm frozen late in training?",
        {
            "The stored network folds in the running statistics, so training should end with them": "With statistics of each batch the folded weights would be others in every step.",
            "Batch norm cannot be quantized": "It is folded into the layer before it, and needs no codes of its own.",
            "It saves time": "A little, but that is not the reason.",
        },
        "The stored network folds in the running statistics, so training should end with them",
    ),
)
