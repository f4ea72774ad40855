"""Lesson 05: one round of pruning, rewinding, early stopping, and the loop that finds a ticket."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from course_lib.pruning.lottery import prune_survivors
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn

Tensors = dict[str, Tensor]

# --- 5.1 -----------------------------------------------------------------------------------------------------------


def early_stop(steps: list[int], validation_loss: Tensor, test_accuracy: Tensor) -> tuple[int, float]:
    """The step of the smallest validation loss, and the test accuracy then."""
    best = int(validation_loss.argmin())
    return steps[best], float(test_accuracy[best])


def stop_cases(seed: int) -> list[Case]:
    """A noisy curve with early bumps; one whose minimum comes twice; one that is best at its last measurement."""
    generator = torch.Generator().manual_seed(seed)
    noise = lambda size, scale: scale * torch.rand(10, generator=generator)
    steps = [100 * k for k in range(1, 11)]
    loss = torch.tensor([0.9, 0.5, 0.62, 0.4, 0.3, 0.25, 0.33, 0.4, 0.46, 0.5]) + noise(10, 0.02)
    accuracy = torch.tensor([0.5, 0.7, 0.72, 0.8, 0.85, 0.88, 0.87, 0.93, 0.91, 0.9]) + noise(10, 0.005)
    twice = loss.clone()
    twice[7] = twice[5] = 0.2
    falling = torch.linspace(1, 0.3, 10) + noise(10, 0.01)
    falling[-1], falling[3] = 0.2, 0.95
    return [
        Case("a noisy curve, measured every 100 steps", (steps, loss, accuracy)),
        Case("the same minimum twice", (steps, twice, accuracy)),
        Case("a loss that is smallest at the end", ([s // 2 for s in steps], falling, accuracy)),
    ]


def stop_at(
    place: Callable[[Tensor, Tensor], int],
    *,
    test: Callable | None = None,
    step: Callable | None = None,
    scale: float = 1,
) -> Callable:
    """A variant: another place on the curves, another accuracy or step reported for it."""

    def run(steps: list[int], validation_loss: Tensor, test_accuracy: Tensor) -> tuple[int, float]:
        at = int(place(validation_loss, test_accuracy))
        shown = float(test(test_accuracy) if test else test_accuracy[at])
        return (step(at) if step else steps[at]), scale * shown

    return run


def first_rise(loss: Tensor, accuracy: Tensor) -> int:
    """The last measurement before the loss goes up for the first time."""
    rises = (loss[1:] > loss[:-1]).nonzero()
    return int(rises[0]) if len(rises) else len(loss) - 1


lowest = lambda loss, accuracy: loss.argmin()

STOP = Exercise(
    id="5.1",
    name="early_stop",
    title="Early stopping, in hindsight",
    points=1,
    reference=early_stop,
    cases=stop_cases,
    mistakes=(
        Mistake(
            "largest loss",
            "You looked for the largest loss. A loss is best where it is smallest.",
            stop_at(lambda loss, accuracy: loss.argmax()),
        ),
        Mistake(
            "chosen on the test set",
            "You stopped where the TEST accuracy is best. Then the test set has made a choice, and its accuracy is no longer "
            "an honest one. The validation loss chooses; test is only read there.",
            stop_at(lambda loss, accuracy: accuracy.argmax()),
        ),
        Mistake(
            "best accuracy at another step",
            "Your step is right, but you reported the best test accuracy of the whole curve. Report the one at that step.",
            stop_at(lowest, test=torch.max),
        ),
        Mistake(
            "accuracy at the end",
            "Your step is right, but the accuracy is the last one. Report the one at that step.",
            stop_at(lowest, test=lambda accuracy: accuracy[-1]),
        ),
        Mistake(
            "place instead of step",
            "You returned a place in the curve. The step is what `steps` says at that place.",
            stop_at(lowest, step=lambda at: at),
        ),
        Mistake(
            "the first rise",
            "You stopped when the loss rose for the first time. Curves are noisy: the paper trains to the end, and looks "
            "back for the minimum of the whole curve.",
            stop_at(first_rise),
        ),
        Mistake(
            "the end of training",
            "You returned the last measurement. Early stopping looks for the smallest validation loss.",
            stop_at(lambda loss, accuracy: len(loss) - 1),
        ),
        Mistake(
            "the last of equal minima",
            "Of equal minima you took the last. The first counts: nothing better came after it.",
            stop_at(lambda loss, accuracy: (loss == loss.min()).nonzero()[-1]),
        ),
        Mistake(
            "the wrong way round",
            "You returned the accuracy first. The step comes first, then the accuracy.",
            lambda steps, loss, accuracy: early_stop(steps, loss, accuracy)[::-1],
        ),
        Mistake(
            "percent",
            "You returned percent. Accuracy is a fraction, from 0 to 1.",
            stop_at(lowest, scale=100),
        ),
    ),
    hints=(
        "Which of the two curves may choose, and which is only read?",
        "`validation_loss.argmin()` is the place of the smallest loss; of equal ones the first.",
        "best = int(validation_loss.argmin()); return steps[best], float(test_accuracy[best])",
    ),
)

# --- 5.2 -----------------------------------------------------------------------------------------------------------


def prune_one_round(weights: Tensors, masks: Tensors, rates: dict[str, float]) -> Tensors:
    """Of each layer's survivors, the share rates[layer] with the smallest magnitudes goes."""
    return {name: prune_survivors(weights[name].abs(), mask, rates[name]) for name, mask in masks.items()}


def round_cases(seed: int) -> list[Case]:
    """Two layers with biases, half pruned; leftovers at pruned places; equal magnitudes; a layer that keeps all."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *size: torch.randn(size, generator=generator)
    masks = {"hidden.weight": half(30, 18, generator).view(6, 5), "output.weight": half(24, 16, generator).view(4, 6)}
    weights = {
        "hidden.weight": normal(6, 5),
        "hidden.bias": normal(6),
        "output.weight": 3 * normal(4, 6),
        "output.bias": normal(4),
    }
    zeroed = {name: weight * masks.get(name, 1) for name, weight in weights.items()}
    equal = {"w": torch.tensor([2.0, -1.0, 1.0, 5.0, -1.0, 1.0, -2.0, 4.0])[torch.randperm(8, generator=generator)]}
    rates = {"hidden.weight": 0.2, "output.weight": 0.1}
    return [
        Case("two layers, pruned weights are zero, 18 and 16 survivors", (zeroed, masks, rates)),
        Case("the same with other values left over at pruned places", (weights, masks, rates)),
        Case("the first layer keeps all, the second loses a quarter", (weights, masks, rates | {"hidden.weight": 0.0, "output.weight": 0.25})),
        Case("magnitudes that are equal", (equal, {"w": torch.ones(8, dtype=torch.bool)}, {"w": 0.25})),
    ]  # fmt: skip


def half(size: int, n_kept: int, generator: torch.Generator) -> Tensor:
    """A flat mask with n_kept places True, at random."""
    return torch.randperm(size, generator=generator) < n_kept


def round_with(
    *, score: Callable[[Tensor], Tensor] = torch.abs,
    drop: Callable[[float, int, int], int] = lambda rate, left, size: round(rate * left),
    among_all: bool = False, biases: str = "", same_rate: bool = False, flip: bool = False, write: bool = False,
    ties: str = "", as_float: bool = False,
) -> Callable:  # fmt: skip
    """A variant: another score, another count, another set to choose from, another result."""

    def smaller(weight: Tensor, mask: Tensor, rate: float) -> Tensor:
        pool = torch.ones_like(mask) if among_all else mask
        n = drop(rate, int(mask.sum()), mask.numel())
        places = pool.flatten().nonzero()[:, 0]
        scores = score(weight).flatten()[places]
        order = scores.argsort(stable=True)[: max(n, 0)]
        gone = torch.isin(torch.arange(len(scores)), order)
        if ties and len(order):
            gone = scores <= scores[order[-1]] if ties == "go" else scores < scores.sort().values[len(order)]
        result = mask if write else pool.clone()
        result.view(-1)[places[gone]] = False
        return (~result if flip else result).float() if as_float else ~result if flip else result

    def run(weights: Tensors, masks: Tensors, rates: Mapping[str, float]) -> Tensors:
        rates = dict.fromkeys(rates, next(iter(rates.values()))) if same_rate else rates
        if biases == "all kept":
            masks = {name: masks.get(name, torch.ones_like(w, dtype=torch.bool)) for name, w in weights.items()}
            rates = dict.fromkeys(weights, 0.0) | rates
        names = list(weights) if biases == "pruned" else list(masks)
        return {name: smaller(weights[name], masks[name], rates[name]) for name in names}

    return run


def ranked_together(weights: Tensors, masks: Tensors, rates: Mapping[str, float]) -> Tensors:
    """As many go in all, but from one ranking of all layers."""
    n = sum(round(rates[name] * int(mask.sum())) for name, mask in masks.items())
    order = torch.cat([weights[name].abs()[mask] for name, mask in masks.items()]).argsort(stable=True)
    keep = ~torch.isin(torch.arange(len(order)), order[:n])
    result, start = {}, 0
    for name, mask in masks.items():
        result[name] = mask.clone()
        result[name][mask] = keep[start : start + int(mask.sum())]
        start += int(mask.sum())
    return result


ROUND = Exercise(
    id="5.2",
    name="prune_one_round",
    title="One round of pruning",
    points=2,
    reference=prune_one_round,
    cases=round_cases,
    invariants=(
        Invariant(
            "a weight that was pruned before came back",
            lambda inputs, masks: not any(bool((masks[name] & ~before).any()) for name, before in inputs[1].items()),
        ),
    ),
    mistakes=(
        Mistake(
            "share of all weights",
            "You removed a share of ALL weights of the layer. In every round it is a share of those that are left, so the "
            "rounds remove fewer and fewer.",
            round_with(drop=lambda rate, left, size: min(round(rate * size), left)),
        ),
        Mistake(
            "pruned weights come back",
            "You ranked all weights, the pruned ones too: some of those came back, and they took the place of weights that "
            "should have gone. Rank only what the old mask keeps.",
            round_with(among_all=True),
        ),
        Mistake(
            "prunes biases",
            "You looked for a mask or a rate of every parameter, but biases have none. Go through the names in `masks`.",
            round_with(biases="pruned"),
        ),
        Mistake(
            "masks for biases",
            "Your result has masks for biases too. Only the names in `masks` are pruned.",
            round_with(biases="all kept"),
        ),
        Mistake(
            "signed values",
            "You ranked w, not |w|: large negative weights went first. Size is what counts, not sign.",
            round_with(score=lambda weight: weight),
        ),
        Mistake(
            "keeps the smallest",
            "You removed the largest magnitudes. The smallest go.",
            round_with(score=lambda weight: -weight.abs()),
        ),
        Mistake(
            "one rate for all layers",
            "You used the first layer's rate everywhere. The output layer is pruned more gently: each layer has its own.",
            round_with(same_rate=True),
        ),
        Mistake(
            "layers ranked together",
            "You ranked all layers in one list. Here each layer loses its own share of its own survivors.",
            ranked_together,
        ),
        Mistake(
            "rounded down",
            "int() cuts decimals off: of 18 survivors 0.2 is 3.6, so 4 go. Use round().",
            round_with(drop=lambda rate, left, size: int(rate * left)),
        ),
        Mistake(
            "a threshold takes ties along",
            "You compared with a threshold, and equal magnitudes went along with it. Prune an exact number, by rank.",
            round_with(ties="go"),
        ),
        Mistake(
            "a threshold spares ties",
            "You kept everything that is at least as large as a threshold, so equal magnitudes stayed that should go. Prune "
            "an exact number, by rank.",
            round_with(ties="stay"),
        ),
        Mistake(
            "percent",
            "You divided the rate by 100. It is a fraction, from 0 to 1.",
            round_with(drop=lambda rate, left, size: round(rate / 100 * left)),
        ),
        Mistake(
            "rate of what stays",
            "You kept the share `rate` of the survivors. That share is what goes.",
            round_with(drop=lambda rate, left, size: left - round(rate * left)),
        ),
        Mistake("upside-down mask", "Your mask is upside down: True means keep.", round_with(flip=True)),
        Mistake(
            "mask of floats",
            "Your masks hold numbers. A mask is a tensor of bool, True = keep.",
            round_with(as_float=True),
        ),
        Mistake(
            "old masks overwritten",
            "You wrote into the old masks. The caller still needs them: clone first.",
            round_with(write=True),
        ),
    ),
    hints=(
        "Take one layer: which places survive, how many are they, and how many of them go?",
        "`weight[mask]` is the flat list of survivors. Sort their magnitudes, then find out where the smallest ones stand "
        "in the whole mask: `mask.flatten().nonzero()[:, 0]` gives the places.",
        "places = mask.flatten().nonzero()[:, 0]; order = weight.abs().flatten()[places].argsort(stable=True); in a clone of "
        "the mask, the first round(rate · len(places)) of places[order] become False.",
    ),
)

# --- 5.3 -----------------------------------------------------------------------------------------------------------


def rewind(snapshots: dict[int, Tensors], masks: Tensors, step: int) -> Tensors:
    """What the next training starts from: the values at `step`, pruned weights zero."""
    return {name: value * masks[name] if name in masks else value.clone() for name, value in snapshots[step].items()}


def rewind_cases(seed: int) -> list[Case]:
    """Snapshots of a network in training, not in their order; back to the start, and to a later step."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"hidden.weight": (4, 3), "hidden.bias": (4,), "output.weight": (2, 4), "output.bias": (2,)}
    snapshots = {
        step: {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for step in (20, 0, 100, 400)
    }
    masks = {
        "hidden.weight": half(12, 7, generator).view(4, 3),
        "output.weight": half(8, 5, generator).view(2, 4),
    }
    return [Case(says, (snapshots, masks, step)) for says, step in (
        ("back to the first values, of step 0", 0), ("late rewinding, to step 20", 20), ("late rewinding, to step 100", 100),
    )]  # fmt: skip


def rewind_with(
    *, at: Callable[[dict, int], Tensors] = lambda snapshots, step: snapshots[step], masked: bool = True,
    biases: str = "rewound", flip: bool = False, pruned: str = "zero", survivors: bool = True, shared: bool = False,
) -> Callable:  # fmt: skip
    """A variant: another snapshot, biases or pruned weights treated otherwise, memory shared."""

    def run(snapshots: dict[int, Tensors], masks: Tensors, step: int) -> Tensors:
        then, trained, start = at(snapshots, step), snapshots[max(snapshots)], {}
        for name, value in then.items():
            if name not in masks:
                if biases != "left out":
                    start[name] = {"trained": trained[name], "zero": 0 * value}.get(biases, value).clone()
                continue
            mask = ~masks[name] if flip else masks[name]
            kept = value if survivors else trained[name]
            gone = trained[name] if pruned == "trained" else value if not survivors else torch.zeros_like(value)
            start[name] = torch.where(mask, kept, gone) if masked else kept.clone()
        if shared:
            start |= {name: value for name, value in then.items() if name not in masks}
        return start

    return run


REWIND = Exercise(
    id="5.3",
    name="rewind",
    title="Rewind",
    points=2,
    reference=rewind,
    cases=rewind_cases,
    verb="call_then_overwrite",
    mistakes=(
        Mistake(
            "trained values",
            "You kept the trained values: that is fine-tuning. A ticket goes back to what the survivors were at `step`.",
            rewind_with(at=lambda snapshots, step: snapshots[max(snapshots)]),
        ),
        Mistake(
            "mask lost",
            "Your weights are back, but so are the pruned ones: what the mask leaves out is zero.",
            rewind_with(masked=False),
        ),
        Mistake(
            "always the first values",
            "You went back to step 0 whatever was asked. Late rewinding starts some steps into the training.",
            rewind_with(at=lambda snapshots, step: snapshots[min(snapshots)]),
        ),
        Mistake(
            "biases keep their trained values",
            "You rewound the weights only. Biases are never pruned, but they go back too.",
            rewind_with(biases="trained"),
        ),
        Mistake(
            "biases at zero",
            "You set biases to zero. They have no mask, so they only go back to their values at `step`.",
            rewind_with(biases="zero"),
        ),
        Mistake(
            "biases left out",
            "Your result lacks the biases. The next training needs every parameter of the network.",
            rewind_with(biases="left out"),
        ),
        Mistake("upside-down mask", "You kept what was pruned. True means keep.", rewind_with(flip=True)),
        Mistake(
            "pruned weights at their trained values",
            "Where the mask is False your weights have their trained values. There they must be zero.",
            rewind_with(pruned="trained"),
        ),
        Mistake(
            "the pruned ones rewound, the survivors trained",
            "You rewound the weights that were pruned and kept the others trained: it is the survivors that go back, and the "
            "pruned ones are zero.",
            rewind_with(survivors=False),
        ),
        Mistake(
            "a mask for every parameter",
            "You asked for the mask of a parameter that has none. Biases are not pruned: look first whether the name is in "
            "`masks`.",
            lambda snapshots, masks, step: {name: value * masks[name] for name, value in snapshots[step].items()},
        ),
        Mistake(
            "place instead of step",
            "You took `step` as a place in a list. The dictionary's keys are steps, in no order: look it up.",
            rewind_with(at=lambda snapshots, step: list(snapshots.values())[step]),
        ),
        Mistake(
            "snapshot not copied",
            "The values are right, but part of your result IS the snapshot: the next training would overwrite it, and the "
            "round after would rewind to trained values. Clone what you do not multiply.",
            rewind_with(shared=True),
        ),
    ),
    hints=(
        "Which values does a parameter that has no mask get? And one that has a mask, where it is False?",
        "Go through all parameters of `snapshots[step]`. Multiplying by a mask makes a new tensor; for the others call `.clone()`.",
        "{name: value * masks[name] if name in masks else value.clone() for name, value in snapshots[step].items()}",
    ),
)

# --- 5.4 -----------------------------------------------------------------------------------------------------------


def find_ticket(
    first: Tensors, rates: dict[str, float], rounds: int, train: Callable[[Tensors, Tensors], None]
) -> tuple[Tensors, Tensors]:
    """Train, prune, rewind, `rounds` times; the masks and the values the ticket starts from."""
    masks = {name: torch.ones_like(first[name], dtype=torch.bool) for name in rates}
    for _ in range(rounds):
        weights = rewind({0: first}, masks, 0)
        train(weights, masks)
        masks = prune_one_round(weights, masks, rates)
    return masks, rewind({0: first}, masks, 0)


def loop_cases(seed: int) -> list[Case]:
    """Two layers with biases on a quadratic loss: no round, one, three; a training long enough to change the order."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"hidden.weight": (6, 4), "hidden.bias": (6,), "output.weight": (3, 6), "output.bias": (3,)}
    first = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    n = sum(value.numel() for value in first.values())
    root, pull = torch.randn(n, n, generator=generator), torch.randn(n, generator=generator)
    train = BuiltIn(
        "quadratic_training", {"curvature": root @ root.T / n + 0.1 * torch.eye(n), "pull": pull, "lr": 0.2, "steps": 6}
    )
    rates = {"hidden.weight": 0.2, "output.weight": 0.1}
    return [
        Case("three rounds of 0.2 and 0.1", (first, rates, 3, train)),
        Case("two rounds of 0.5 and 0.25", (first, {"hidden.weight": 0.5, "output.weight": 0.25}, 2, train)),
        Case("one round", (first, rates, 1, train)),
        Case("no round: everything stays", (first, rates, 0, train)),
    ]


def loop_with(
    *, rewinds: bool = True, alias: str = "", at_once: bool = False, prune: Callable = prune_one_round,
    by_first: bool = False, dense: bool = False, more: int = 0, unmasked: bool = False, biases: bool = True,
    returned: str = "first",
) -> Callable:  # fmt: skip
    """A variant of the loop: what a round starts from, what it prunes by, how often, what is returned."""

    def run(first: Tensors, rates: Mapping[str, float], rounds: int, train: Callable) -> tuple[Tensors, Tensors]:
        masks = {name: torch.ones_like(first[name], dtype=torch.bool) for name in rates}
        shared = {name: value for name, value in first.items() if name not in masks} if alias else {}
        weights = first if "first" in alias else rewind({0: first}, masks, 0) | shared
        if at_once:
            rates, rounds = {name: 1 - (1 - rate) ** rounds for name, rate in rates.items()}, min(rounds, 1)
        for _ in range(max(rounds + more, 0)):
            train(weights, {name: torch.ones_like(mask) for name, mask in masks.items()} if dense else masks)
            masks = prune(first if by_first else weights, masks, rates)
            before = weights if not rewinds else first
            again = before if unmasked else rewind({0: before}, masks, 0)
            again |= {} if biases else {name: weights[name] for name in weights if name not in masks}
            weights = {name: value.clone() for name, value in again.items()} | ({} if alias == "first" else shared)
        start = {"first": rewind({0: first}, masks, 0), "dense": first, "last": weights}[returned]
        return masks, start

    return run


LOOP = Exercise(
    id="5.4",
    name="find_ticket",
    title="The whole loop",
    points=3,
    reference=find_ticket,
    cases=loop_cases,
    mistakes=(
        Mistake(
            "never rewinds",
            "You went on training from where the round before had ended. Every round starts from the first values.",
            loop_with(rewinds=False),
        ),
        Mistake(
            "fine-tuning",
            "You went on training without rewinding, and returned trained values. That is Han's iterative pruning; a ticket "
            "is the mask with the FIRST values.",
            loop_with(rewinds=False, returned="last"),
        ),
        Mistake(
            "first values overwritten",
            "`train` works in place, and you handed it `first` itself: after that there is nothing left to rewind to. "
            "Clone every tensor before training.",
            loop_with(alias="first"),
        ),
        Mistake(
            "first values overwritten, biases in every round",
            "`train` works in place, and you handed it tensors of `first` itself: after that there is nothing left to rewind "
            "to. Clone every tensor before training, the biases too.",
            loop_with(alias="first and biases"),
        ),
        Mistake(
            "first biases overwritten",
            "Multiplying by a mask makes a new tensor, but the biases you handed to `train` are those of `first`, and it "
            "overwrites them. Clone what has no mask.",
            loop_with(alias="biases"),
        ),
        Mistake(
            "one cut",
            "You trained once and made one deep cut. Every round trains, prunes a little, and rewinds.",
            loop_with(at_once=True),
        ),
        Mistake(
            "share of all weights",
            "Every round removed a share of all weights of a layer. It is a share of the survivors.",
            loop_with(prune=round_with(drop=lambda rate, left, size: min(round(rate * size), left))),
        ),
        Mistake(
            "pruned weights come back",
            "You ranked the pruned weights too, and the new mask revived some. Rank the survivors, inside the old mask.",
            loop_with(prune=round_with(among_all=True)),
        ),
        Mistake(
            "pruned by first values",
            "You ranked the first values. Which weights matter is known only after training: rank the trained ones.",
            loop_with(by_first=True),
        ),
        Mistake(
            "trained without masks",
            "You trained with masks that keep everything, so pruned weights grew again. Hand the current masks to `train`.",
            loop_with(dense=True),
        ),
        Mistake(
            "pruned weights not at zero",
            "You rewound without the mask: pruned weights stood at their first values and acted in the next training. "
            "They start, and stay, at zero.",
            loop_with(unmasked=True),
        ),
        Mistake(
            "biases not rewound",
            "You rewound the weights, but biases went on from their trained values.",
            loop_with(biases=False),
        ),
        Mistake("one round too many", "You pruned once more than `rounds` says.", loop_with(more=1)),
        Mistake("one round too few", "You pruned one time less than `rounds` says.", loop_with(more=-1)),
        Mistake(
            "no zeros in the result",
            "The masks are right, but the values you returned still hold the pruned weights: they are zero in a ticket.",
            loop_with(returned="dense"),
        ),
        Mistake(
            "keeps the smallest",
            "You removed the largest magnitudes. The smallest go.",
            loop_with(prune=round_with(score=lambda weight: -weight.abs())),
        ),
    ),
    hints=(
        "Before the loop: masks of all True. In the loop: three lines, train, prune, rewind. Which values does each of them read?",
        "`train` overwrites what it is given, so give it copies: `{name: value.clone() for …}`. Biases have no rate and no mask.",
        "for each round: start = copies of `first`, masked weights times their mask; train(start, masks); then each mask loses "
        "the round(rate · survivors) smallest of |start| among its survivors. Return the masks, and `first` times the masks.",
    ),
)

EXERCISES = (STOP, ROUND, REWIND, LOOP)

QUIZ = (
    Question(
        "What makes a winning ticket: the mask, or the first values?",
        {
            "Both together": "The mask was made for these values: with new ones it learns late, and a random mask on the old values does too.",
            "The mask: any values will do": "That is the reinitialised control, and it falls behind as the mask gets smaller.",
            "The values: any mask of that size will do": "That is the random mask, and it did worst of all.",
        },
        "Both together",
    ),
    Question(
        "Somebody shows a pruned and rewound network that trains as well as the dense one. Which control do you ask for first?",
        {
            "The same mask with new random values": "If that trains as well, the first values did not matter, and there is no ticket: only a smaller network.",
            "A larger dense network": "It says nothing about what makes the small one good.",
            "More rounds": "They make the ticket smaller; they do not tell why it works.",
        },
        "The same mask with new random values",
    ),
    Question(
        "Does a winning ticket save training time?",
        {
            "Not yet: to find it, the dense network and every round above it were trained": "It shows that small trainable networks exist. Lesson 06 tries to find one without training.",
            "Yes: it needs fewer steps than the dense network": "It does once you have it. Getting it took many trainings.",
            "Yes: masked weights cost no arithmetic": "A masked dense layer does all its multiplications, with zeros.",
        },
        "Not yet: to find it, the dense network and every round above it were trained",
    ),
    Question(
        "Which step does early stopping report?",
        {
            "The one of the smallest validation loss, found in hindsight": "Training goes to the end, and the test split is only read at that step.",
            "The one of the best test accuracy": "Then the test split has made a choice, and its accuracy is flattered.",
            "The first one at which the validation loss rises": "Curves are noisy: a first rise is often a bump.",
        },
        "The one of the smallest validation loss, found in hindsight",
    ),
    Question(
        "Two trainings of a network from the same start, with other orders of examples, end in different valleys. Then…",
        {
            "rewind later: to a step after which both would end in one valley": "Before that step the noise decides where training goes, so a mask from one run does not fit the next.",
            "rewind earlier": "Step 0 is as early as there is, and just there the network is not stable.",
            "train longer before pruning": "The valley was chosen early; more steps only go deeper into it.",
        },
        "rewind later: to a step after which both would end in one valley",
    ),
)
