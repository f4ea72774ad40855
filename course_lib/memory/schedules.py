"""When to keep and when to compute again: schedules for a chain of equal steps, optimal by dynamic programming.

`revolve` keeps states of a chain in a few slots and runs one step at a time with a graph; it is optimal when nothing else
may be kept. `keep_or_drop` may keep the activations of single steps as well, which saves most of the second runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

from torch import Tensor

from course_lib.errors import CourseError, require_positive
from course_lib.memory.checkpointing import checkpoint

LONGEST = 500


@dataclass(frozen=True)
class Action:
    """One action of a schedule: "advance" from one state to another without a graph, "keep" the state reached, go
    "back" to a kept state, run one step with a graph and go "backward" through it, or "free" a slot.

    Lesson 13.
    """  # noqa: D205

    kind: str
    step: int
    to: int | None = None


def revolve(length: int, slots: int) -> list[Action]:
    """The schedule with the fewest steps that goes backward through a chain with a few slots for its states.

    Args:
        length: steps of the chain, 1 or more.
        slots: states that can be kept at once, the start included; 1 or more.

    Returns:
        actions; the steps of its "advance" actions add up to `forward_steps(length, slots)`.

    Raises:
        CourseError: length or slots below 1.

    >>> [(a.kind, a.step, a.to) for a in revolve(2, 1)]
    [('keep', 0, None), ('advance', 0, 1), ('backward', 1, None), ('back', 0, None), ('backward', 0, None), ('free', 0, None)]

    Griewank & Walther 2000. Lesson 13.
    """
    require_positive("length", length), require_positive("slots", slots)
    actions = [Action("keep", 0)]
    backward_through(actions, 0, length, slots)
    return [*actions, Action("free", 0)]


def backward_through(actions: list[Action], start: int, length: int, slots: int) -> None:
    """Write down the steps for one stretch, whose first state is kept and which we stand at."""
    while length > 1:
        if slots == 1:
            actions += [Action("advance", start, start + length - 1), Action("backward", start + length - 1)]
            actions.append(Action("back", start))
            length -= 1
            continue
        middle = best_split(length, slots)
        actions += [Action("advance", start, start + middle), Action("keep", start + middle)]
        backward_through(actions, start + middle, length - middle, slots - 1)
        actions += [Action("free", start + middle), Action("back", start)]
        length = middle
    actions.append(Action("backward", start))


def repetitions(length: int, slots: int) -> int:
    """How often a step must be run again at most: the smallest r with C(slots + r, slots) ≥ length."""
    r = 0
    while comb(slots + r, slots) < length:
        r += 1
    return r


def forward_steps(length: int, slots: int) -> int:
    """Steps without a graph that the best schedule needs: r · length − C(slots + r, slots + 1).

    Every step runs once more, with a graph, just before its backward pass; that is not counted.

    >>> forward_steps(100, 10), forward_steps(1000, 10)
    (222, 3636)

    Griewank & Walther 2000. Lesson 13.
    """
    require_positive("length", length), require_positive("slots", slots)
    r = repetitions(length, slots)
    return r * length - comb(slots + r, slots + 1)


def best_split(length: int, slots: int) -> int:
    """How far to advance before the next state is kept: one of the stretches' two bounds is always best."""
    r = repetitions(length, slots)
    return max(comb(slots + r - 2, slots), length - comb(slots - 1 + r, slots - 1)) if r > 1 else 1


@dataclass(frozen=True)
class Part:
    """A stretch of a keep-or-drop plan: one step whose activations are kept, or a checkpointed stretch with its own plan.

    Lesson 13.
    """

    length: int
    plan: tuple[Part, ...] | None = None  # None: keep


def keep_or_drop(length: int, slots: int) -> tuple[Part, ...]:
    """The plan with the fewest forward steps for a chain of equal layers, when `slots` activations fit into memory.

    For each layer in turn: keep its activations, at the price of a slot, and never run it again; or checkpoint the next
    k layers, at the price of a slot for their input, and run them again, by a plan of their own, when the rest is
    done and its slots are free.

    Args:
        length: layers of the chain, 1 or more.
        slots: activations that may live at once, 1 or more.

    Returns:
        the parts, first to last, for `run_plan`.

    Raises:
        CourseError: length or slots below 1, or a chain of more than 500 layers.

    >>> keep_or_drop(2, 2)
    (Part(length=1, plan=None), Part(length=1, plan=None))

    Beaumont et al. 2019 solve it for layers of unequal cost. Lesson 13.
    """
    require_positive("length", length), require_positive("slots", slots)
    if length > LONGEST:
        raise CourseError(f"The plan is for chains of at most {LONGEST} layers, but you passed {length}.")
    parts = []
    while length:
        drop = extra_steps(length, slots)[1]
        parts.append(Part(drop, keep_or_drop(drop, slots)) if drop else Part(1))
        length, slots = length - max(drop, 1), max(slots - 1, 1)
    return tuple(parts)


@cache
def extra_steps(length: int, slots: int) -> tuple[int, int]:
    """The fewest steps that must run again, and how many layers to drop first (0: keep one).

    With one slot left, the whole stretch but its last layer is dropped, again and again.
    """
    if length <= slots:
        return 0, 0
    if slots == 1:
        return length * (length - 1) // 2, length - 1
    keep = (extra_steps(length - 1, slots - 1)[0], 0)
    drops = ((k + extra_steps(length - k, slots - 1)[0] + extra_steps(k, slots)[0], k) for k in range(1, length))
    return min(keep, *drops)


def run_plan(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor, plan: Sequence[Part]) -> Tensor:
    """Run layers by a plan of `keep_or_drop`; nested checkpoints do the rest.

    Args:
        layers: as many as the plan is long.
        x: the first one's input.

    Raises:
        CourseError: a plan of another length.

    >>> from torch import nn, randn, equal
    >>> layers, x = [nn.Linear(3, 3) for _ in range(6)], randn(2, 3)
    >>> equal(run_plan(layers, x, keep_or_drop(6, 3)), nn.Sequential(*layers)(x))
    True

    Lesson 13.
    """
    layers = list(layers)
    if len(layers) != sum(part.length for part in plan):
        raise CourseError(f"The plan is for {sum(part.length for part in plan)} layers, but you passed {len(layers)}.")
    start = 0
    for part in plan:
        piece = layers[start : start + part.length]
        run = piece[0] if part.plan is None else lambda x, piece=piece, plan=part.plan: run_plan(piece, x, plan)
        x = run(x) if part.plan is None else checkpoint(run, x)
        start += part.length
    return x


def count_steps(plan: Sequence[Part]) -> int:
    """Forward steps of a plan in all, the first run included.

    >>> count_steps(keep_or_drop(50, 50)), count_steps(keep_or_drop(50, 10))
    (50, 96)

    Lesson 13.
    """
    return sum(part.length if part.plan is None else part.length + count_steps(part.plan) for part in plan)
