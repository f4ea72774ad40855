"""Lesson 15: Fire's parameters, a separable convolution, compound scaling, and a MobileNet under a budget of MACs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.rubrics import signs
from course_lib.rubrics.exercise import Case, Exercise, Mistake, Question


def whole(generator: torch.Generator, low: int, high: int) -> int:
    """A random whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


# --- 15.1 ----------------------------------------------------------------------------------------------------------


def fire_parameters(inputs: int, squeeze: int, expand_1x1: int, expand_3x3: int) -> int:
    """Weights and biases of the three convolutions."""
    return count_fire(inputs, squeeze, expand_1x1, expand_3x3)


def count_fire(
    inputs: int, squeeze: int, ones: int, threes: int, *, biases: bool = True, area: int = 9, reads: int | None = None,
    squeeze_area: int = 1, chained: bool = False, one_bias: bool = False, without: str = "",
) -> int:  # fmt: skip
    """A Fire module's parameters, or a variant: another kernel, other channels that are read, a part left out."""
    middle = squeeze if reads is None else reads
    bias = 0 if one_bias or not biases else 1
    parts = {
        "squeeze": (squeeze_area * inputs + bias) * squeeze,
        "1x1": (middle + bias) * ones,
        "3x3": (area * (ones if chained else middle) + bias) * threes,
    }
    return sum(count for name, count in parts.items() if name != without) + one_bias


def fire_cases(seed: int) -> list[Case]:
    """SqueezeNet's first module, and random ones whose two branches differ."""
    generator = torch.Generator().manual_seed(seed)
    inputs, squeeze = whole(generator, 70, 200), whole(generator, 10, 40)
    ones, threes = whole(generator, 45, 90), whole(generator, 100, 140)
    return [
        Case("SqueezeNet's first Fire module", (96, 16, 64, 64)),
        Case("branches of different widths", (inputs, squeeze, ones, threes)),
        Case("one channel in the middle", (inputs, 1, ones, threes)),
    ]


FIRE = Exercise(
    id="15.1",
    name="fire_parameters",
    title="Fire's parameter count",
    points=1,
    reference=fire_parameters,
    cases=fire_cases,
    mistakes=(
        Mistake(
            "biases forgotten",
            "You counted the weights. Every filter of the three convolutions also has a bias.",
            partial(count_fire, biases=False),
        ),
        Mistake(
            "one bias for the whole module",
            "You added a single bias. A convolution has one bias for each of its filters.",
            partial(count_fire, one_bias=True),
        ),
        Mistake(
            "kernel not squared",
            "A 3×3 kernel has more than 3 weights for each channel it reads.",
            partial(count_fire, area=3),
        ),
        Mistake(
            "expand reads the module's inputs",
            "Your two branches read all channels that come into the module. They come after the squeeze: how many channels "
            "are left there? That is the whole trick.",
            lambda inputs, squeeze, ones, threes: count_fire(inputs, squeeze, ones, threes, reads=inputs),
        ),
        Mistake(
            "branches one after the other",
            "Your 3×3 branch reads what the 1×1 branch gives. The two stand side by side: both read the squeezed channels.",
            partial(count_fire, chained=True),
        ),
        Mistake(
            "squeeze with 3×3 kernels",
            "You gave the squeeze 3×3 kernels. It only mixes channels, with 1×1 kernels.",
            partial(count_fire, squeeze_area=9),
        ),
        Mistake(
            "both branches 3×3",
            "You gave both branches 3×3 kernels. One of them has 1×1 kernels: which saves more, the more of them there are?",
            lambda inputs, squeeze, ones, threes: count_fire(inputs, squeeze, 0, ones + threes),
        ),
        Mistake(
            "1×1 branch left out",
            "You counted one branch only: the 1×1 filters are missing.",
            partial(count_fire, without="1x1"),
        ),
        Mistake(
            "squeeze left out",
            "You counted the two branches. The squeeze before them has parameters too.",
            partial(count_fire, without="squeeze"),
        ),
    ),
    hints=(
        "Three convolutions. For each: how many channels does a filter read, over how many pixels, and how many filters are there?",
        "A convolution with k×k kernels has (k² · inputs + 1) · filters parameters; the 1 is the bias.",
        "The squeeze reads `inputs`; both branches read `squeeze` channels. Add the three counts.",
    ),
)

# --- 15.2 ----------------------------------------------------------------------------------------------------------


def separable(x: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int) -> Tensor:
    """Each channel with its own kernel, then every output as a mix of the channels."""
    return in_two_steps(x, depthwise, pointwise, stride)


def in_two_steps(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, stride: int, *, strides: tuple | None = None, pad: Callable[[int], int] = lambda side: (side - 1) // 2,
    kernels: Callable[[Tensor], Tensor] = lambda kernels: kernels, groups: bool = True, between: Callable | None = None,
    mix: Callable[[Tensor], Tensor] = lambda weight: weight, mix_first: bool = False, only: str = "",
) -> Tensor:  # fmt: skip
    """The separable convolution, or a variant: other strides, other kernels, the steps in another order."""
    channels, side = depthwise.shape[0], depthwise.shape[-1]
    first, second = strides or (stride, 1)
    weight = kernels(depthwise)[:, None]  # (channels, 1, k, k)
    weight = weight if groups else weight.expand(channels, channels, side, side)

    def filtered(x: Tensor) -> Tensor:
        return F.conv2d(x, weight, stride=first, padding=pad(side), groups=channels if groups else 1)

    def mixed(x: Tensor) -> Tensor:
        return F.conv2d(x, mix(pointwise)[:, :, None, None], stride=second)

    if mix_first:
        return filtered(mixed(x))
    if only:
        return filtered(x) if only == "filter" else F.conv2d(x, pointwise[:, :, None, None], stride=first)
    middle = filtered(x)
    return mixed(between(middle) if between else middle)


def separable_cases(seed: int) -> list[Case]:
    """Odd sides, strides, wider and narrower outputs, a single channel, and as many outputs as inputs."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator)
    channels, outputs = whole(generator, 3, 5), whole(generator, 6, 9)
    return [
        Case(
            f"{channels} channels to {outputs}, 3×3",
            (draw(2, channels, 7, 6), draw(channels, 3, 3), draw(outputs, channels), 1),
        ),
        Case(
            "5×5 kernels, stride 2, odd sides",
            (draw(2, channels, 9, 7), draw(channels, 5, 5), draw(outputs, channels), 2),
        ),
        Case("as many outputs as inputs", (draw(1, 4, 6, 6), draw(4, 3, 3), draw(4, 4), 2)),
        Case("one channel in", (draw(3, 1, 5, 5), draw(1, 3, 3), draw(outputs, 1), 1)),
        Case("1×1 kernels in both steps", (draw(1, 5, 4, 4), draw(5, 1, 1), draw(2, 5), 1)),
    ]


SEPARABLE = Exercise(
    id="15.2",
    name="separable",
    title="A depthwise separable convolution",
    points=2,
    reference=separable,
    cases=separable_cases,
    rtol=1e-3,
    atol=1e-4,
    mistakes=(
        Mistake(
            "every kernel reads every channel",
            "Your first step adds up all channels: that is a standard convolution with one kernel repeated. Depthwise means "
            "that channel c is filtered by kernel c and by nothing else. Which argument of conv2d splits the channels?",
            partial(in_two_steps, groups=False),
        ),
        Mistake(
            "one kernel for all channels",
            "You filtered every channel with the first kernel. Each channel has its own.",
            partial(in_two_steps, kernels=lambda kernels: kernels[:1].expand_as(kernels)),
        ),
        Mistake(
            "mixes first",
            "You mixed the channels before you filtered them. There is one kernel for each channel that comes IN.",
            partial(in_two_steps, mix_first=True),
        ),
        Mistake(
            "stride forgotten",
            "Your image keeps its size: the stride is missing.",
            partial(in_two_steps, strides=(1, 1)),
        ),
        Mistake(
            "stride in both steps",
            "Your image shrinks twice. Only one of the two steps takes the stride, the one that looks at neighbours.",
            lambda x, depthwise, pointwise, stride: in_two_steps(
                x, depthwise, pointwise, stride, strides=(stride, stride)
            ),
        ),
        Mistake(
            "no padding",
            "Your image lost its border: pad by (k − 1) / 2, for the k that the kernels have.",
            partial(in_two_steps, pad=lambda side: 0),
        ),
        Mistake(
            "padded for 3×3 kernels only",
            "You padded by 1 whatever the kernel. That fits 3×3 kernels; these are k×k.",
            partial(in_two_steps, pad=lambda side: 1),
        ),
        Mistake(
            "kernels flipped",
            "You turned the kernels upside down, as a convolution does in mathematics. In deep learning they are not flipped.",
            partial(in_two_steps, kernels=lambda kernels: kernels.flip(1, 2)),
        ),
        Mistake(
            "rows and columns swapped",
            "Your kernels are transposed: their first axis goes down the image, their second to the right.",
            partial(in_two_steps, kernels=lambda kernels: kernels.transpose(1, 2)),
        ),
        Mistake(
            "a ReLU between",
            "You put an activation between the two steps. Many networks do (and a norm too), but this task asks for the bare "
            "convolution.",
            partial(in_two_steps, between=torch.relu),
        ),
        Mistake(
            "pointwise weights transposed",
            "You mixed with the transposed weight. It is (outputs, channels): a row for each output.",
            partial(in_two_steps, mix=lambda weight: weight.T),
        ),
        Mistake(
            "never mixed",
            "You returned the filtered channels. Without the second step no channel ever learns of another one.",
            partial(in_two_steps, only="filter"),
        ),
        Mistake(
            "never filtered",
            "You mixed the channels and left out the kernels: no pixel sees its neighbours.",
            partial(in_two_steps, only="mix"),
        ),
    ),
    hints=(
        "Two calls of torch.nn.functional.conv2d, one after the other. Which shape of weight does each of them want?",
        "conv2d with groups=channels wants a weight of shape (channels, 1, k, k); the 1×1 step wants (outputs, channels, 1, 1).",
        "conv2d(x, depthwise[:, None], stride=stride, padding=(k − 1) // 2, groups=channels), then conv2d with "
        "pointwise[:, :, None, None].",
    ),
)

# --- 15.3 ----------------------------------------------------------------------------------------------------------


def compound_scale(
    stages: list, resolution: int, phi: float, alpha: float, beta: float, gamma: float
) -> dict[str, object]:
    """Layers by alpha to the phi, filters by beta to the phi, the side of the images by gamma to the phi."""
    return scaled(stages, resolution, phi, alpha, beta, gamma)


def eights(filters: float) -> int:
    """The nearest multiple of 8, and 8 at least."""
    return max(8, int(filters + 4) // 8 * 8)


def power(base: float, phi: float) -> float:
    """The factor of one dimension."""
    return base**phi


def scaled(
    stages: list, resolution: int, phi: float, alpha: float, beta: float, gamma: float, *,
    factor: Callable[[float, float], float] = power, width: float = 1, layers: Callable[[float], int] = math.ceil,
    filters: Callable[[float], int] = eights, side: Callable[[float], int] = round,
) -> dict[str, object]:  # fmt: skip
    """Compound scaling, or a variant: another factor, another way to round."""
    return {
        "stages": [[filters(n * factor(beta, phi) ** width), layers(d * factor(alpha, phi))] for n, d in stages],
        "resolution": side(resolution * factor(gamma, phi)),
    }


def clear(stages: list, resolution: int, phi: float, alpha: float, beta: float, gamma: float) -> bool:
    """Whether no number lies so near to a border of rounding that arithmetic in another order could cross it."""
    numbers = [value for n, d in stages for value in (n * beta**phi / 8 + 0.5, d * alpha**phi)]
    return all(abs(value - round(value)) > 1e-3 for value in [*numbers, resolution * gamma**phi + 0.5])


def drawn_scaling(generator: torch.Generator, phis: tuple[float, ...]) -> tuple:
    """A random network and random coefficients, clear of every border."""
    while True:
        stages = [[8 * whole(generator, 2, 12), whole(generator, 2, 6)] for _ in range(4)]
        alpha, beta, gamma = (base + whole(generator, 0, 40) / 1000 for base in (1.21, 1.07, 1.14))
        phi = phis[whole(generator, 0, len(phis) - 1)]
        inputs = (stages, 8 * whole(generator, 20, 32), phi, alpha, beta, gamma)
        if clear(*inputs):
            return inputs


def scaling_cases(seed: int) -> list[Case]:
    """Large, small and broken exponents; phi = 0, which changes nothing; and a stage that is narrower than 8."""
    generator = torch.Generator().manual_seed(seed)
    stages, resolution, _, *coefficients = drawn_scaling(generator, (1,))
    return [
        Case("phi = 3", drawn_scaling(generator, (3,))),
        Case("phi = 1", drawn_scaling(generator, (1,))),
        Case("phi = 0.5", drawn_scaling(generator, (0.5,))),
        Case("phi = 5 or 6", drawn_scaling(generator, (5, 6))),
        Case("phi = 0: the network itself", (stages, resolution, 0, *coefficients)),
        Case("a stage of three filters", ([[3, 2], [48, 3]], 64, 1, 1.2, 1.1, 1.15)),
    ]


SCALING = Exercise(
    id="15.3",
    name="compound_scale",
    title="Compound scaling",
    points=2,
    reference=compound_scale,
    cases=scaling_cases,
    mistakes=(
        Mistake(
            "times phi",
            "You multiplied by alpha · phi. Each step of phi multiplies the cost once more: phi is an exponent. What should "
            "phi = 0 do?",
            partial(scaled, factor=lambda base, phi: base * phi),
        ),
        Mistake(
            "phi ignored",
            "You scaled once, whatever phi is.",
            partial(scaled, factor=lambda base, phi: base),
        ),
        Mistake(
            "linear growth",
            "You added (alpha − 1) for each step of phi. The factors multiply.",
            partial(scaled, factor=lambda base, phi: 1 + (base - 1) * phi),
        ),
        Mistake(
            "cost instead of width",
            "You multiplied filters by beta² a step. That is what a width of beta COSTS: inputs and outputs both grow.",
            partial(scaled, width=2),
        ),
        Mistake(
            "alpha and beta swapped",
            "You took alpha for the filters and beta for the layers. Alpha is depth, beta width, gamma resolution.",
            lambda stages, resolution, phi, alpha, beta, gamma: scaled(stages, resolution, phi, beta, alpha, gamma),
        ),
        Mistake(
            "beta and gamma swapped",
            "You took gamma for the filters and beta for the images. Alpha is depth, beta width, gamma resolution.",
            lambda stages, resolution, phi, alpha, beta, gamma: scaled(stages, resolution, phi, alpha, gamma, beta),
        ),
        Mistake(
            "layers rounded down",
            "You cut off part of a layer. The task says that layers are rounded up.",
            partial(scaled, layers=int),
        ),
        Mistake(
            "layers rounded to the nearest",
            "You rounded layers to the nearest number. The task says up.",
            partial(scaled, layers=round),
        ),
        Mistake(
            "filters not in eights",
            "Your filters are whole numbers, but not multiples of 8. Why do processors like such widths? See lesson 07.",
            partial(scaled, filters=round),
        ),
        Mistake(
            "filters rounded down",
            "You took the multiple of 8 below. The nearest one is meant, also where it lies above.",
            partial(scaled, filters=lambda n: max(8, int(n) // 8 * 8)),
        ),
        Mistake(
            "filters rounded up",
            "You took the multiple of 8 above. The nearest one is meant.",
            partial(scaled, filters=lambda n: math.ceil(n / 8) * 8),
        ),
        Mistake(
            "no filters left",
            "A narrow stage was rounded to no filters at all. At least 8 stay.",
            partial(scaled, filters=lambda n: int(n + 4) // 8 * 8),
        ),
        Mistake(
            "resolution left",
            "Your images keep their size. Resolution is the third dimension, and grows by gamma.",
            lambda stages, resolution, phi, alpha, beta, gamma: scaled(stages, resolution, phi, alpha, beta, 1.0),
        ),
        Mistake(
            "resolution not whole",
            "An image has a whole number of pixels a side: round to the nearest.",
            partial(scaled, side=float),
        ),
    ),
    hints=(
        "Three factors first: alpha, beta and gamma, each to the power of phi.",
        "For each stage [filters, layers]: filters times one factor, layers times another. Then round, each in its own way.",
        "math.ceil rounds layers up; int(n + 4) // 8 * 8 is the multiple of 8 nearest to n; max(8, …) keeps eight.",
    ),
)

# --- 15.4 ----------------------------------------------------------------------------------------------------------


def untrained(plan_for: Callable[[int], list], *, change: Callable[[dict], object] = lambda answer: answer) -> Callable:
    """An answer with fresh weights: which plan it takes for a budget, and what becomes of what it hands in."""

    def answer(x: Tensor, y: Tensor, budget: int, seed: int) -> object:
        return change(signs.learned(plan_for(budget), x, y, seed, steps=0))

    return answer


def one_wider(budget: int) -> list:
    """The first plan that does not fit any more."""
    return signs.widened(signs.widest_plan(budget)[0][0] + 1)


def parameters_for_macs(budget: int) -> list:
    """The widest plan whose 1×1 kernels have no more weights than the budget has MACs."""
    return signs.widened(int((budget / 10) ** 0.5))


def without_statistics(answer: dict) -> dict:
    """Only what has a gradient, as from named_parameters()."""
    state = {name: value for name, value in answer["state"].items() if not name.endswith(signs.STATISTICS)}
    return answer | {"state": state}


def with_full_kernels(answer: dict) -> dict:
    """Every 3×3 kernel reads every channel."""
    state = answer["state"]
    full = {
        name: value.expand(-1, len(value), -1, -1).clone()
        for name, value in state.items()
        if value.shape[1:] == (1, 3, 3) and name != "0.weight"
    }
    return answer | {"state": state | full}


def too_narrow(x: Tensor, y: Tensor, budget: int, seed: int) -> dict:
    """An eighth of the budget, well trained."""
    return signs.learned(signs.widest_plan(budget // 8), x, y, seed, steps=120)


def learned_too_little(x: Tensor, y: Tensor, budget: int, seed: int) -> dict:
    """A fifth of the images, half of the steps."""
    return signs.learned(signs.widest_plan(budget), x[:100], y[:100], seed, steps=60)


BUDGET = Exercise(
    id="15.4",
    name="train_mobilenet",
    title="A MobileNet under a budget",
    points=4,
    reference=signs.train_mobilenet,
    cases=signs.sign_cases,
    digest=signs.verdict,
    mistakes=(
        Mistake(
            "the weights alone",
            "What you returned is no dictionary with `plan` and `state`. The check builds the network itself: it needs the plan "
            "for that, and then the state dict of your trained network.",
            untrained(signs.widest_plan, change=lambda answer: answer["state"]),
        ),
        Mistake(
            "running statistics left out",
            "The weights are there, but not the running means and variances of the batch norms. They are buffers, not "
            "parameters: what gives you both?",
            untrained(signs.widest_plan, change=without_statistics),
        ),
        Mistake(
            "standard convolutions",
            "Your 3×3 kernels read every channel. In a MobileNet all but the first are depthwise; `build(plan)` makes them.",
            untrained(signs.widest_plan, change=with_full_kernels),
        ),
        Mistake(
            "plan and weights of two networks",
            "The weights do not fit the network that your plan describes. Hand in the plan that you trained.",
            untrained(signs.widest_plan, change=lambda answer: answer | {"plan": signs.widened(2)}),
        ),
        Mistake(
            "weights that are no numbers",
            "There are weights that are infinite or no numbers at all: the training blew up. Which setting takes steps that "
            "are too large?",
            untrained(
                signs.widest_plan,
                change=lambda answer: (
                    answer | {"state": answer["state"] | {"0.weight": answer["state"]["0.weight"] / 0}}
                ),
            ),
        ),
        Mistake(
            "far over the budget",
            "Your network needs far more multiply-adds than allowed. A parameter of a convolution is not one MAC: it is used "
            "at every position of the output. And the 1×1 convolutions, not the 3×3 ones, do most of the work.",
            untrained(parameters_for_macs),
        ),
        Mistake(
            "a little over the budget",
            "Your network is a little too large: some part is missing in your count. Go through it: first convolution, "
            "depthwise and 1×1 of each block at the size of their OUTPUT, linear layer. And the last plan that fits counts, "
            "not the first that does not.",
            untrained(one_wider),
        ),
        Mistake(
            "no better than guessing",
            "It fits the budget and has learned nothing that holds for new images. Was it trained, on images and labels "
            "in the same order, before its state was taken? And long enough for the running statistics to settle?",
            untrained(signs.widest_plan),
        ),
        Mistake(
            "budget left unused",
            "Your network has learned something, but it is far smaller than it may be. Wider layers would use the rest of the "
            "budget: how wide can they be?",
            too_narrow,
        ),
        Mistake(
            "learned too little",
            "Your network is large enough and better than guessing, but not by enough. Did it see all the images, and often "
            "enough? A learning rate that falls to zero helps at the end.",
            learned_too_little,
        ),
    ),
    hints=(
        "Two parts: find the widest plan whose MACs fit, then train it. Images are 8×8; after a stride of 2 they are 4×4.",
        "MACs: 9 · filters · 64 for a first convolution of stride 1; then for each block (9 + filters) · inputs · positions of "
        "its output; classes · inputs for the linear layer. Try plans [[w, 1], [2w, 2], [4w, 2]] with growing w.",
        "About 120 steps with batches of 48, momentum 0.9 and a learning rate that falls from 0.2 to 0 are enough. Return "
        '{"plan": plan, "state": network.state_dict()}.',
    ),
)

EXERCISES = (FIRE, SEPARABLE, SCALING, BUDGET)

QUIZ = (
    Question(
        "A 3×3 convolution from 256 to 256 channels becomes depthwise separable. What share of its MACs is left?",
        {
            "About 11.5 %": "1/256 + 1/9: with many channels, nearly all of it is the 1/9.",
            "About 0.4 %": "That is the depthwise half alone, 1/256. The 1×1 convolution that mixes costs 1/9.",
            "About 33 %": "1/3 would be right for kernels of 3 pixels; a 3×3 kernel has 9.",
        },
        "About 11.5 %",
    ),
    Question(
        "Where does most of a MobileNet's arithmetic happen?",
        {
            "In the 1×1 convolutions": "They mix all channels with all. The depthwise ones touch each channel only once per pixel of the kernel.",
            "In the depthwise convolutions": "They have the large kernels, but each reads one channel only.",
            "In the linear layer at the end": "It holds a quarter of the parameters, but uses each of them once.",
        },
        "In the 1×1 convolutions",
    ),
    Question(
        "A depthwise convolution has 1/64 of the MACs and takes more than 1/64 of the time. Why?",
        {
            "It does few multiplications for each number that it loads": "The work around a multiplication takes the time: loading, finding one's place, storing. Few MACs share it.",
            "Its kernels are larger": "They are of the same size: 3×3.",
            "It has more parameters to load": "It has far fewer. What it must load is the image, as before.",
        },
        "It does few multiplications for each number that it loads",
    ),
    Question(
        "SqueezeNet has about 1/50 of AlexNet's parameters. What follows for its MACs?",
        {
            "Nothing: count them": "You counted. Most of AlexNet's parameters sit in linear layers, which use each of them once.",
            "They are 1/50 too": "A parameter of a convolution is used at every position, one of a linear layer once.",
            "They are 1/50²": "No rule ties the two: it depends on which layers lost the parameters.",
        },
        "Nothing: count them",
    ),
    Question(
        "Why does EfficientNet ask for α · β² · γ² ≈ 2, with squares on width and resolution only?",
        {
            "Twice the layers cost twice, twice the channels or the side four times": "Width grows inputs and outputs, resolution grows height and width. So each step of φ doubles the MACs.",
            "Depth matters less than the others": "The formula says what each costs, not what it brings.",
            "Because images have two dimensions": "That explains γ². For β² it is inputs times outputs.",
        },
        "Twice the layers cost twice, twice the channels or the side four times",
    ),
)
