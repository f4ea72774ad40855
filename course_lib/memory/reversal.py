"""A chain of layers whose backward pass follows a schedule of `revolve`, action by action."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.memory.checkpointing import graph_edges, settings
from course_lib.memory.schedules import Action, revolve

Layer = Callable[[Tensor], Tensor]


def run_revolve(layers: Sequence[Layer], x: Tensor, *, slots: int) -> Tensor:
    """Run layers one after the other; the backward pass keeps at most `slots` of their inputs at a time.

    The layers are run `forward_steps(n, slots) + n` times in all. Gradients are those of the plain run bit for bit,
    dropout included; batch norm moves its statistics once. As with `checkpoint`, call `loss.backward()`, and once only.

    Args:
        layers: called one after the other with one tensor.
        x: the first one's input; it takes a slot.
        slots: inputs of layers that may be kept at once, 1 or more.

    Raises:
        CourseError: no layer, slots below 1, a layer that changes its input in place, or a second backward pass.

    >>> layers, x = [torch.nn.Linear(3, 3) for _ in range(6)], torch.randn(2, 3)
    >>> torch.equal(run_revolve(layers, x, slots=2), torch.nn.Sequential(*layers)(x))
    True

    Griewank & Walther 2000. Lesson 13.
    """
    layers = list(layers)
    if not layers:
        raise CourseError("There are no layers to run.")
    actions = revolve(len(layers), slots)
    if len(layers) == 1:
        return layers[0](x)
    turn = next(place for place, action in enumerate(actions) if action.kind == "backward")
    # The last layer runs plainly: its backward pass comes at once. What asks is explained in `checkpoint`.
    asks = torch.empty(0, requires_grad=True)
    return layers[-1](Reversal.apply(layers, actions[:turn], actions[turn + 1 :], asks, x))


class Reversal(torch.autograd.Function):
    """All layers but the last: forward up to the schedule's first "backward", then the rest of the schedule.

    Griewank & Walther 2000. Lesson 13.
    """

    @staticmethod
    def forward(ctx, layers: list[Layer], there: list[Action], back: list[Action], asks: Tensor, x: Tensor):
        """Advance through the chain; keep the states that the schedule says, and the settings of each step."""
        ctx.layers, ctx.back, ctx.kept, ctx.as_before = layers, back, {}, []
        state = x
        for action in there:
            if action.kind == "keep":
                ctx.kept[action.step] = state
                continue
            for layer in layers[action.step : action.to]:
                ctx.as_before.append(settings())
                state = not_in_place(layer, state)
        return state

    @staticmethod
    def backward(ctx, gradient: Tensor):
        """Carry out what is left of the schedule."""
        if not ctx.kept:
            raise CourseError("The kept states are used up: backward can run once. Run forward again.")
        state, kept = None, ctx.kept
        for action in ctx.back:
            match action.kind:
                case "keep":
                    kept[action.step] = state
                case "back":
                    state = kept[action.step]
                case "free":
                    del kept[action.step]
                case "advance":
                    with ctx.as_before[action.step]():
                        for layer in ctx.layers[action.step : action.to]:
                            state = layer(state)
                case "backward":
                    needs = action.step > 0 or ctx.needs_input_grad[-1]
                    gradient = step_back(ctx, action.step, state.detach().requires_grad_(needs), gradient)
                    state = None
        return None, None, None, None, gradient


def step_back(ctx, step: int, state: Tensor, gradient: Tensor) -> Tensor | None:
    """Run one layer with a graph, and go backward through it; the gradient of its input."""
    with ctx.as_before[step](), torch.enable_grad():
        (edge,) = graph_edges(ctx.layers[step](state))  # the output itself is freed here
    if edge is not None:
        torch.autograd.backward((edge,), (gradient,))
    return state.grad


def not_in_place(layer: Layer, state: Tensor) -> Tensor:
    """The layer's output, if it leaves its input as it was."""
    version = state._version
    output = layer(state)
    if version != state._version:
        raise CourseError("A layer of the chain changes its input in place: it could not run again.")
    return output
