"""Lesson 13: bytes kept for backward, a checkpoint as an autograd function, the best segments, the cost of revolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from course_lib.memory.schedules import forward_steps
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import model_spec

# --- 13.1 ----------------------------------------------------------------------------------------------------------


def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """The bytes that autograd keeps while model(x) runs: whole storages, each once, without the parameters'."""
    exists = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes = {}
    for tensor in saved_tensors(model, x):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in exists:
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def saved_tensors(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Everything that is handed over for the backward pass, one after the other, and kept alive."""
    saved = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x)
    return saved


def kept_cases(seed: int) -> list[Case]:
    """Shared storages, a view of half a storage, numbers of eight bytes, dropout's noise."""
    generator = torch.Generator().manual_seed(seed)
    batch, width = (int(torch.randint(low, low + 9, (), generator=generator)) for low in (5, 20))
    x, images = torch.randn(batch, width, generator=generator), torch.rand(batch, 1, 8, 8, generator=generator)
    spec = lambda factory, **keywords: model_spec(factory, seed=seed, **keywords)
    return [
        Case("three linear layers with ReLUs", (spec("deep_chain", blocks=3, width=width), x)),
        Case("images, flattened at first", (spec("mlp", sizes=[64, 30, 10]), images)),
        Case(
            "two blocks that split a tensor in halves and multiply them",
            (spec("deep_chain", blocks=2, width=width, kind="gated"), x),
        ),
        Case("a convolutional network with max-pooling", (spec("small_cnn"), images)),
        Case("dropout", (spec("deep_chain", blocks=2, width=width, dropout=0.5), x)),
    ]


def kept_with(
    size: Callable[[Tensor], float], *, once: bool = True, parameters: str = "storage", input_too: bool = True
) -> Callable:
    """A variant: what counts as the size, whether each storage counts once, and how parameters are left out."""

    def count(model: nn.Module, x: Tensor) -> int:
        own = list(model.parameters())
        exists = {parameter.untyped_storage().data_ptr() for parameter in own}
        total, seen = 0, {x.untyped_storage().data_ptr()} if not input_too else set()
        for tensor in saved_tensors(model, x):
            place = tensor.untyped_storage().data_ptr()
            is_own = place in exists if parameters == "storage" else any(tensor is one for one in own)
            if (is_own and parameters != "count") or (once and place in seen):
                continue
            seen.add(place)
            total += size(tensor)
        return int(total)

    return count


whole = lambda tensor: tensor.untyped_storage().nbytes()


def bytes_of_outputs(model: nn.Module, x: Tensor) -> int:
    """The sizes of what the layers put out: not what autograd keeps."""
    sizes = []
    layers = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(lambda _layer, _x, out: sizes.append(out.nbytes)) for layer in layers]
    model(x)
    for hook in hooks:
        hook.remove()
    return sum(sizes)


KEPT = Exercise(
    id="13.1",
    name="kept_bytes",
    title="What autograd keeps",
    points=2,
    reference=kept_bytes,
    cases=kept_cases,
    mistakes=(
        Mistake(
            "one storage counted twice",
            "You added up tensors. A ReLU keeps its output, the next layer keeps the same numbers as its input: two saved "
            "tensors, but one piece of memory. Which property of a tensor tells that two of them share it?",
            kept_with(lambda tensor: tensor.nbytes, once=False),
        ),
        Mistake(
            "whole storages, but counted twice",
            "You took the size of whole storages, which is right, but added a storage each time a tensor of it is saved. "
            "Each one is in memory once.",
            kept_with(whole, once=False),
        ),
        Mistake(
            "size of the view",
            "You counted the bytes of the view. Half of a tensor keeps the whole storage alive: nothing can be freed "
            "before the last view of it is gone.",
            kept_with(lambda tensor: tensor.nbytes),
        ),
        Mistake(
            "parameters counted",
            "You counted the weights, too. They are saved for the gradient of the input, but they exist anyway and need no "
            "new memory.",
            kept_with(whole, parameters="count"),
        ),
        Mistake(
            "parameters compared as tensors",
            "Some weights slipped through: a linear layer saves the TRANSPOSE of its weight, another tensor with the "
            "parameter's storage. Compare storages, not tensors.",
            kept_with(whole, parameters="tensor"),
        ),
        Mistake(
            "numbers instead of bytes",
            "You counted numbers. A float32 has four bytes, the places that max-pooling keeps have eight.",
            kept_with(lambda tensor: tensor.untyped_storage().nbytes() // tensor.element_size()),
        ),
        Mistake(
            "four bytes for everything",
            "You took four bytes for every number. Max-pooling keeps the places of its maxima as integers of eight bytes: ask "
            "the storage for its size.",
            kept_with(lambda tensor: 4 * tensor.untyped_storage().nbytes() // tensor.element_size()),
        ),
        Mistake(
            "outputs of the layers",
            "You added up what the layers put out. Autograd keeps something else: what each operation needs for its "
            "gradient, sometimes its input, sometimes its output, sometimes neither.",
            bytes_of_outputs,
        ),
        Mistake(
            "the input left out",
            "You left out x. The first layer needs it for the gradient of its weight, so it must stay in memory.",
            kept_with(whole, input_too=False),
        ),
        Mistake(
            "without a graph",
            "Nothing was kept at all: is your forward pass inside torch.no_grad()? Then nothing is there to go back through.",
            lambda model, x: 0,
        ),
        Mistake(
            "kilobytes",
            "You returned kilobytes. Asked for are bytes.",
            lambda model, x: kept_bytes(model, x) / 1000,
        ),
    ),
    hints=(
        "`torch.autograd.graph.saved_tensors_hooks(pack, unpack)` is a context: `pack` is called with each tensor that is kept, "
        "and must return it.",
        "Two tensors share memory if `tensor.untyped_storage().data_ptr()` is the same. `.nbytes()` of the storage is its size.",
        "Fill a dictionary: address of the storage → its bytes. Leave out addresses of `model.parameters()`. Return the sum "
        "of the values.",
    ),
)

# --- 13.2 ----------------------------------------------------------------------------------------------------------


def recompute_with(
    *,
    plainly: bool = False,
    graph: bool = False,
    restore: bool = True,
    give_back: bool = True,
    parameters: bool = True,
    asks: bool = True,
    enable: bool = True,
    detach: bool = True,
    pulled: bool = True,
    to_input: bool = True,
    keep_output: bool = False,
) -> Callable:
    """A checkpoint with one thing left out; as it stands, the right one."""

    class Recompute(torch.autograd.Function):
        @staticmethod
        def forward(ctx, layer, x, asked):
            ctx.layer, ctx.random = layer, torch.get_rng_state()
            ctx.save_for_backward(x)
            with torch.set_grad_enabled(graph):
                y = layer(x)
            ctx.y = y if graph else None
            return y.detach()

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            again = x.detach().requires_grad_(x.requires_grad) if detach else x
            after = torch.get_rng_state()
            if restore:
                torch.set_rng_state(ctx.random)
            with torch.set_grad_enabled(enable):
                y = ctx.layer(again)
            if give_back:
                torch.set_rng_state(after)
            gradient = gradient if pulled else torch.ones_like(gradient)
            if not parameters:
                return None, torch.autograd.grad(y, again, gradient)[0], None
            y.backward(gradient)
            return None, again.grad if to_input else None, None

    def run(layer: nn.Module, x: Tensor) -> Tensor:
        return layer(x) if plainly else Recompute.apply(layer, x, torch.empty(0, requires_grad=asks))

    return run


recompute = recompute_with()


def recompute_cases(seed: int) -> list[Case]:
    """With and without dropout, an input that needs a gradient, and the data itself, which need none."""
    generator = torch.Generator().manual_seed(seed)
    batch, width = (int(torch.randint(low, low + 8, (), generator=generator)) for low in (40, 30))
    x = torch.randn(batch, width, generator=generator)
    spec = lambda **keywords: model_spec("deep_chain", seed=seed, blocks=4, width=width, **keywords)
    return [
        Case("four residual blocks without dropout; x needs a gradient", (spec(kind="residual"), x, True)),
        Case("four layers with dropout; x needs a gradient", (spec(dropout=0.5), x, True)),
        Case("four layers with dropout; x is data and needs no gradient", (spec(dropout=0.3), x, False)),
    ]


RECOMPUTE = Exercise(
    id="13.2",
    name="recompute",
    title="A checkpoint",
    points=3,
    reference=recompute,
    cases=recompute_cases,
    verb="call_and_go_back",
    mistakes=(
        Mistake(
            "no checkpoint",
            "The gradients are right, but all activations stay in memory and the layer runs once: that is a plain forward "
            "pass. The first run must leave nothing behind but x.",
            recompute_with(plainly=True),
        ),
        Mistake(
            "graph kept",
            "Your first run builds a graph: autograd keeps all activations, and then you compute them a second time. That "
            "costs time and saves nothing. Who needs a graph in the first run?",
            recompute_with(graph=True),
        ),
        Mistake(
            "random state not restored",
            "The second run drew other random numbers: dropout removed other units than in the first run, and the gradients "
            "belong to a network that never gave this output. What must be remembered besides x?",
            recompute_with(restore=False),
        ),
        Mistake(
            "random state not given back",
            "The gradients are right, but your second run leaves torch's random state in the past: the next random numbers "
            "repeat earlier ones. Put back what was there when the backward pass began.",
            recompute_with(give_back=False),
        ),
        Mistake(
            "gradients of the parameters lost",
            "The gradient of x is right, but the layer's parameters got none: torch.autograd.grad returns only what it is asked "
            "for. Which call adds to `.grad` of everything it meets?",
            recompute_with(parameters=False),
        ),
        Mistake(
            "gradients only where x needs one",
            "With x that needs no gradient nothing works: parameters are not among the inputs of your autograd function, so "
            "autograd sees no reason to come back. Give it an input that needs a gradient, whatever x is.",
            recompute_with(asks=False),
        ),
        Mistake(
            "grad disabled twice",
            "The second run built no graph: inside the backward of an autograd function gradients are off, unless you turn them "
            "on.",
            recompute_with(enable=False),
        ),
        Mistake(
            "input not detached",
            "The second run is joined to the graph of the first through x, so x gets its gradient twice: once from inside, "
            "once from what you return. Run again on a fresh copy of x, cut off from what came before.",
            recompute_with(detach=False),
        ),
        Mistake(
            "gradient from above ignored",
            "You went backward from ones. What arrives in `backward` is the gradient of the loss with respect to your output; "
            "start from it.",
            recompute_with(pulled=False),
        ),
        Mistake(
            "no gradient for x",
            "The parameters have their gradients, but x has none: the layers before this one would learn nothing. `backward` "
            "returns a gradient for each input of `forward`.",
            recompute_with(to_input=False),
        ),
    ),
    hints=(
        "In `forward` of an autograd function nothing builds a graph, so just run the layer. Keep x (ctx.save_for_backward) and "
        "torch.get_rng_state().",
        "In `backward`: detach x, give it the requires_grad it had, set the random state, run under torch.enable_grad(), and call "
        "y.backward(gradient): that fills the parameters' .grad. Return x's. torch.random.fork_rng(devices=[]) puts the random "
        "state back afterwards.",
        "So that autograd comes back even if x needs no gradient, hand `apply` one more input: "
        "torch.empty(0, requires_grad=True). Its gradient is None.",
    ),
)

# --- 13.3 ----------------------------------------------------------------------------------------------------------


def best_number_of_segments(layers: int, inner: int, boundary: int) -> int:
    """The smallest k with the least k · boundary + ⌈layers / k⌉ · inner."""
    return cheapest(range(1, layers + 1), layers, inner, boundary)


def cheapest(
    candidates: range | list[int], layers: int, inner: int, boundary: int, *, rounding: Callable = math.ceil
) -> int:
    """The first candidate with the least memory."""
    return min(candidates, key=lambda k: k * boundary + rounding(layers / k) * inner)


def by_root(ratio: Callable[[int, int], float]) -> Callable:
    """A variant: the rounded root of layers times some ratio, kept between 1 and the number of layers."""
    return lambda layers, inner, boundary: min(layers, max(1, round((layers * ratio(inner, boundary)) ** 0.5)))


SEGMENT_MISTAKES = (
    Mistake(
        "root of n",
        "You returned √n. That is right where a layer keeps as much inside as the cut between two layers, and only about "
        "right then. Here `inner` and `boundary` differ.",
        by_root(lambda inner, boundary: 1),
    ),
    Mistake(
        "rounded from calculus",
        "You took the minimum of the smooth curve, √(n · inner / boundary). Segments are whole and the longest one decides, so "
        "⌈n/k⌉ jumps: round up, and compare whole numbers.",
        by_root(lambda inner, boundary: inner / boundary),
    ),
    Mistake(
        "ratio upside down",
        "Your segments get fewer as `inner` grows. The more a layer keeps inside, the shorter a segment should be.",
        lambda layers, inner, boundary: cheapest(range(1, layers + 1), layers, boundary, inner),
    ),
    Mistake(
        "longest segment rounded down",
        "You took n // k layers for a segment. If n does not divide evenly, some segment is one longer, and the peak is its.",
        lambda layers, inner, boundary: cheapest(range(1, layers + 1), layers, inner, boundary, rounding=math.floor),
    ),
    Mistake(
        "only divisors",
        "You only tried numbers that divide n. Segments need not be of equal length; only the longest one counts.",
        lambda layers, inner, boundary: cheapest(
            [k for k in range(1, layers + 1) if layers % k == 0], layers, inner, boundary
        ),
    ),
    Mistake(
        "the larger of two equals",
        "Where two numbers need the same memory, take the smaller one: fewer segments run fewer layers twice.",
        lambda layers, inner, boundary: cheapest(range(layers, 0, -1), layers, inner, boundary),
    ),
    Mistake(
        "the memory itself",
        "You returned the least memory. Asked for is the number of segments that reaches it.",
        lambda layers, inner, boundary: min(k * boundary + math.ceil(layers / k) * inner for k in range(1, layers + 1)),
    ),
    Mistake(
        "layers of a segment",
        "You returned how many layers a segment has. Asked for is how many segments there are.",
        lambda layers, inner, boundary: math.ceil(layers / best_number_of_segments(layers, inner, boundary)),
    ),
    Mistake(
        "stops before n",
        "Your search leaves out k = n, a checkpoint at every layer. Where layers keep much inside, that is best.",
        lambda layers, inner, boundary: cheapest(range(1, layers), layers, inner, boundary),
    ),
)


def segment_cases(seed: int) -> list[Case]:
    """Numbers drawn until each known mistake shows, and the two ends: everything kept, every layer a segment."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    cases = []
    while len(cases) < 4 or any(agrees(mistake, cases) for mistake in SEGMENT_MISTAKES[:-1]):
        layers, inner, boundary = draw(20, 90), draw(2, 40), draw(2, 40)
        cases = [*cases, Case(f"{layers} layers", (layers, inner, boundary))][-4:]
    layers = draw(5, 9)
    return [
        Case("49 layers that keep as much inside as between them", (49, 1, 1)),
        *cases,
        Case("layers that keep very much inside", (layers, 40 * layers, 1)),
        Case("layers that keep very little inside", (layers, 1, 4 * layers)),
    ]


def agrees(mistake: Mistake, cases: list[Case]) -> bool:
    """Whether a wrong version gives the right answers on all of these."""
    return all(mistake.wrong(*case.inputs) == best_number_of_segments(*case.inputs) for case in cases)


SEGMENTS = Exercise(
    id="13.3",
    name="best_number_of_segments",
    title="How many segments?",
    points=1,
    reference=best_number_of_segments,
    cases=segment_cases,
    mistakes=SEGMENT_MISTAKES,
    hints=(
        "Write the memory for one k first: k cuts, and the longest segment's layers at work.",
        "The longest of k segments has ⌈n / k⌉ layers: math.ceil(layers / k). Try every k from 1 to n.",
        "return min(range(1, layers + 1), key=lambda k: k * boundary + math.ceil(layers / k) * inner): of equals, min takes "
        "the first.",
    ),
)

# --- 13.4 ----------------------------------------------------------------------------------------------------------


def fewest_steps(length: int, slots: int) -> int:
    """The fewest steps without a graph that take a chain back with so many slots."""
    return forward_steps(length, slots)


def reversal_cases(seed: int) -> list[Case]:
    """One step, one slot, more slots than steps, and random chains."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=generator))
    return [
        Case("three steps, two slots", (3, 2)),
        Case("one step: it runs with its graph at once", (1, 3)),
        Case("one slot: back to the start each time", (draw(5, 10), 1)),
        Case("more slots than steps", (draw(4, 7), 9)),
        Case("a longer chain", (draw(20, 30), 3)),
        Case("a longer chain, more slots", (draw(30, 45), 4)),
    ]


def programme(
    first: Callable[[int, Callable, Callable], int],
    *,
    one: int = 0,
    alone: Callable[[int], int] = lambda n: n * (n - 1) // 2,
) -> Callable:
    """A variant: first(m, steps before the middle, steps after it), minimised over the cut; and the two ends."""

    def cost(length: int, slots: int) -> int:
        @cache
        def best(n: int, s: int) -> int:
            if n == 1:
                return one
            return alone(n) if s == 1 else min(first(n, m, s, best) for m in range(1, n))

        return best(length, slots)

    return cost


REVOLVE = Exercise(
    id="13.4",
    name="fewest_steps",
    title="The cost of a schedule",
    points=2,
    reference=fewest_steps,
    cases=reversal_cases,
    invariants=(
        Invariant(
            "a chain of n steps must be walked n − 1 steps forward at least, and with one slot n (n − 1) / 2 at most",
            lambda inputs, steps: inputs[0] - 1 <= steps <= inputs[0] * (inputs[0] - 1) // 2,
        ),
    ),
    mistakes=(
        Mistake(
            "the slot is not given back",
            "You went through the first part with one slot less, too. When its turn comes, the second part is done, and its "
            "slot is free again.",
            programme(lambda n, m, s, best: m + best(n - m, s - 1) + best(m, s - 1)),
        ),
        Mistake(
            "the slot is not taken",
            "You gave the second part all slots. The state at the start is still needed and keeps one: the second part, done "
            "first, has to do with one less.",
            programme(lambda n, m, s, best: m + best(n - m, s) + best(m, s)),
        ),
        Mistake(
            "always in the middle",
            "You always cut in the middle. The best cut depends on the slots: try them all.",
            lambda length, slots: halved(length, slots),
        ),
        Mistake(
            "the way to the cut is free",
            "You left out the m steps that lead to the cut. Nobody carries you there.",
            programme(lambda n, m, s, best: best(n - m, s - 1) + best(m, s)),
        ),
        Mistake(
            "runs with a graph counted",
            "You counted the run of each step with its graph, too: one for every step. Asked for are the steps without one.",
            lambda length, slots: forward_steps(length, slots) + length,
        ),
        Mistake(
            "one slot costs a square",
            "With one slot you walked n steps for the last one. To stand before the last step takes n − 1: that step itself "
            "runs with a graph.",
            programme(lambda n, m, s, best: m + best(n - m, s - 1) + best(m, s), alone=lambda n: n * (n + 1) // 2),
        ),
        Mistake(
            "the start needs no slot",
            "You have one slot more than was given: the state at the start takes one of them.",
            lambda length, slots: forward_steps(length, slots + 1),
        ),
        Mistake(
            "the worst cut",
            "You took the largest cost of all cuts. Asked for is the smallest.",
            lambda length, slots: worst(length, slots),
        ),
        Mistake(
            "a checkpoint after every step",
            "You always cut after the first step. That spends all slots at the beginning: try every cut.",
            programme(lambda n, m, s, best: 1 + best(n - 1, s - 1) + best(1, s)),
        ),
    ),
    hints=(
        "What is the cost of a chain of one step? And with one slot, when you have to walk from the start each time: "
        "n − 1 steps for the last one, n − 2 for the one before …",
        "A cut at m costs: m steps to get there; the second part, n − m long, with one slot less; then the first part, "
        "m long, with all slots.",
        "T(n, s) = min over m = 1 … n − 1 of m + T(n − m, s − 1) + T(m, s), with T(1, s) = 0 and T(n, 1) = n (n − 1) / 2. "
        "Decorate the inner function with @cache.",
    ),
)


def halved(length: int, slots: int) -> int:
    """The cost when every cut is in the middle."""
    if length == 1 or slots == 1:
        return length * (length - 1) // 2
    m = length // 2
    return m + halved(length - m, slots - 1) + halved(m, slots)


@cache
def worst(length: int, slots: int) -> int:
    """The cost when every cut is as bad as can be."""
    if length == 1 or slots == 1:
        return length * (length - 1) // 2
    return max(m + worst(length - m, slots - 1) + worst(m, slots) for m in range(1, length))


EXERCISES = (KEPT, RECOMPUTE, SEGMENTS, REVOLVE)

QUIZ = (
    Question(
        "A network has 100 equal layers. You go from 10 segments to 50. What happens to the memory of a step?",
        {
            "It grows: 50 inputs of segments are kept instead of 10": "Each segment got shorter, but the cuts now take more than the segments give back.",
            "It falls: each segment is shorter": "The segments are, but their inputs must be kept, too, and there are 50 of them.",
            "It stays the same": "Only around the minimum is the curve flat.",
        },
        "It grows: 50 inputs of segments are kept instead of 10",
    ),
    Question(
        "The second run of a checkpointed part with dropout draws new random numbers. What do you notice?",
        {
            "Nothing at first: the gradients have the right shape, and belong to another network": "No error tells you. That is why the random state is part of what a checkpoint remembers.",
            "An error in the backward pass": "Shapes and graph are in order; only the numbers are wrong.",
            "The loss is another one": "The loss comes from the first run. It is the gradients that do not belong to it.",
        },
        "Nothing at first: the gradients have the right shape, and belong to another network",
    ),
    Question(
        "Your step runs out of memory with a batch of 2 and a network of a billion weights, trained with Adam. Will checkpointing help?",
        {
            "Hardly: weights, gradients and Adam's moments fill the memory": "Checkpointing forgets activations only. With small batches there are few of them.",
            "Yes: it always brings the root of n": "The root of the activations' share; the rest stays as it is.",
            "Yes, if every layer is a segment": "Then even the inputs of all layers are kept.",
        },
        "Hardly: weights, gradients and Adam's moments fill the memory",
    ),
    Question(
        "Why does revolve need so few extra steps with ten slots, even for a chain of 1,000?",
        {
            "The reach of s slots and r repetitions grows like a binomial coefficient": "C(s + r, s): with 10 slots, 4 repetitions reach 1,001 steps.",
            "It skips layers that do not matter": "Every step runs, and the gradient is exact.",
            "It keeps a state every 100 steps": "That would take 10 slots as well, but nearly 50 further runs of each step on average, since none is left inside a stretch.",
        },
        "The reach of s slots and r repetitions grows like a binomial coefficient",
    ),
)
