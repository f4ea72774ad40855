"""Pictures of signs that nobody has seen before, and what a network that was handed in for them is worth. Lesson 15."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.measure import layer_costs
from course_lib.rubrics.exercise import Case

CLASSES, SIDE, SIGN = 6, 8, 4  # how many signs; pixels a side of an image and of a sign
IMAGES, TESTS = 480, 400  # to train on; to test on
PASS, GUESSING = 0.9, 0.3  # accuracies
FORM = "a plan and its weights"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


# --- the images ----------------------------------------------------------------------------------------------------


def random_signs(generator: torch.Generator) -> Tensor:
    """Six signs of 4×4 pixels, half of them ink; two of them differ in at least six pixels."""
    signs: list[Tensor] = []
    while len(signs) < CLASSES:
        sign = torch.zeros(SIGN * SIGN)
        sign[torch.randperm(SIGN * SIGN, generator=generator)[: SIGN * SIGN // 2]] = 1
        if all((sign - other).abs().sum() >= 6 for other in signs):
            signs.append(sign)
    return torch.stack(signs).view(CLASSES, SIGN, SIGN)


def noisy_images(signs: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """N noisy images (n, 1, 8, 8), each with one sign somewhere, and which one it is, (n,)."""
    y = torch.randint(CLASSES, (n,), generator=generator)
    x = 0.3 * torch.rand(n, 1, SIDE, SIDE, generator=generator)
    places = torch.randint(SIDE - SIGN + 1, (n, 2), generator=generator).tolist()
    ink = 0.5 + 0.5 * torch.rand(n, generator=generator)
    for k, (top, left) in enumerate(places):
        x[k, 0, top : top + SIGN, left : left + SIGN] += ink[k] * signs[y[k]]
    return x, y


@functools.lru_cache(maxsize=16)
def sign_case(seed: int) -> Case:
    """New signs, images to train on, and a budget; the images to test on are hidden."""
    generator = torch.Generator().manual_seed(seed)
    signs = random_signs(generator)
    x, y = noisy_images(signs, IMAGES, generator)
    budget = 1000 * int(torch.randint(18, 28, (), generator=generator))
    start = int(torch.randint(1_000_000, (), generator=generator))
    says = f"six new signs, {budget:,} MACs an image"
    return Case(says, (x, y, budget, start), hidden=noisy_images(signs, TESTS, generator))


def sign_cases(seed: int) -> list[Case]:
    """One case: a training takes a while."""
    return [sign_case(seed)]


# --- the network ---------------------------------------------------------------------------------------------------


def build(plan: Sequence[Sequence[int]], classes: int = CLASSES) -> nn.Sequential:
    """A small MobileNet, as the exercise's set-up cell builds it.

    >>> build([[4, 1], [8, 2]])(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 6])
    """
    layers: list[nn.Module] = []
    inputs = 1
    for place, (filters, stride) in enumerate(plan):
        if place > 0:
            layers += [nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), nn.BatchNorm2d(inputs)]
            layers += [nn.ReLU(), nn.Conv2d(inputs, filters, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        else:
            layers += [nn.Conv2d(1, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        inputs = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def macs(plan: Sequence[Sequence[int]], side: int = SIDE) -> int:
    """Multiply-adds for one image.

    >>> macs([[4, 1], [8, 2]])
    3440
    """
    return sum(cost.macs for cost in layer_costs(build(plan), (1, side, side)))


def widened(width: int) -> list[list[int]]:
    """A plan that only its width decides."""
    return [[width, 1], [2 * width, 2], [4 * width, 2]]


def widest_plan(budget: int, side: int = SIDE) -> list[list[int]]:
    """The widest of these plans that stays within the budget."""
    width = 1
    while macs(widened(width + 1), side) <= budget:
        width += 1
    return widened(width)


def learned(plan: Sequence[Sequence[int]], x: Tensor, y: Tensor, seed: int, *, steps: int, lr: float = 0.2) -> dict:
    """Train with momentum, at a learning rate that falls to zero; returns what is handed in."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(plan)
        velocity = [torch.zeros_like(parameter) for parameter in network.parameters()]
        for step in range(steps):
            rows = torch.randint(len(x), (48,))
            network.zero_grad()
            nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for parameter, speed in zip(network.parameters(), velocity, strict=True):
                    speed.mul_(0.9).add_(parameter.grad)
                    parameter.sub_(lr * (1 - step / steps) * speed)
    return {"plan": [list(layer) for layer in plan], "state": network.state_dict()}


TRAINED: dict[tuple, dict] = {}  # one training a case is enough


def train_mobilenet(x: Tensor, y: Tensor, budget: int, seed: int) -> dict[str, object]:
    """The widest plan within the budget, trained."""
    key = (budget, seed, x.sum().item())
    if key not in TRAINED:
        TRAINED[key] = learned(widest_plan(budget), x, y, seed, steps=120)
    return TRAINED[key]


# --- what was handed in --------------------------------------------------------------------------------------------


def verdict(case: Case, value: object) -> dict[str, str]:
    """What a handed-in network is worth, in words: its form, its MACs, its accuracy on images it has never seen."""
    wrong = fault_of_form(value)
    if wrong:
        return {"form": wrong, "MACs": "not counted", "accuracy": "not measured"}
    cost, budget = macs(value["plan"]), case.inputs[2]
    if cost > budget:
        over = "far over the budget" if cost > 1.5 * budget else "a little over the budget"
        return {"form": FORM, "MACs": over, "accuracy": "not measured"}
    reached = band(accuracy_of(value, *case.hidden), unused=3 * cost < budget)
    return {"form": FORM, "MACs": "within the budget", "accuracy": reached}


def band(accuracy: float, *, unused: bool) -> str:
    """An accuracy in words; `unused` says that the network is far smaller than it may be."""
    if accuracy >= PASS:
        return "at least 90 %"
    if accuracy < GUESSING:
        return "no better than guessing"
    return "below 90 %, with most of the budget unused" if unused else "better than guessing, but below 90 %"


def fault_of_form(value: object) -> str | None:
    """Why this cannot be loaded, or None."""
    if not isinstance(value, dict) or set(value) != {"plan", "state"} or not isinstance(value["state"], dict):
        return "no plan and state"
    if not is_plan(value["plan"]):
        return "a plan that is none"
    wanted, state = build(value["plan"]).state_dict(), value["state"]
    missing = wanted.keys() - state.keys()
    if missing and all(str(name).endswith(STATISTICS) for name in missing):
        return "running statistics missing"
    if missing or state.keys() - wanted.keys() or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        return "weights of another network"
    other = {name for name, tensor in wanted.items() if state[name].shape != tensor.shape}
    if other:
        depthwise = {name for name, tensor in wanted.items() if tensor.shape[1:] == (1, 3, 3) and name != "0.weight"}
        return "standard convolutions" if other <= depthwise else "weights of another network"
    return None if all(bool(tensor.isfinite().all()) for tensor in state.values()) else "weights that are no numbers"


def is_plan(plan: object) -> bool:
    """A list of 2 to 12 pairs, filters and stride."""
    if not isinstance(plan, (list, tuple)) or not 2 <= len(plan) <= 12:
        return False
    pairs = [pair for pair in plan if isinstance(pair, (list, tuple)) and len(pair) == 2]
    numbers = [number for pair in pairs for number in pair]
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    return len(pairs) == len(plan) and whole and all(1 <= n <= 256 and s in (1, 2) for n, s in pairs)


@torch.no_grad()
def accuracy_of(value: dict, x: Tensor, y: Tensor) -> float:
    """The fraction of right answers of a network that we build and load."""
    network = build(value["plan"])
    network.load_state_dict(value["state"])
    return (network.eval()(x).argmax(dim=1) == y).float().mean().item()
