"""Structured pruning: take whole filters or layers out, so that the network is really smaller and needs no mask."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.pruning.dependencies import Slot, follow_channels
from course_lib.pruning.filter_choice import Choice, choose
from course_lib.pruning.operations import CONVOLUTIONS, NORMS


def remove_filters(
    model: nn.Module,
    sparsity: Choice,
    *,
    example_input: Tensor,
    round_to: int = 8,
    scores: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A smaller copy of the network, without its least important filters and all that belonged to them.

    With a filter go its bias, its place in the batch norm (running mean and variance too), the columns of every layer
    that reads it, also behind a flatten, and the filters it is added to (residual), or whose group it shares.
    Channels that are coupled so count as one. Their score is the mean of |w| over all their filters' weights.
    The network's inputs and outputs stay.

    Args:
        model: any network torch.fx can trace, of the layers this module understands; it is left as it is.
        sparsity: fraction of the filters to remove from each layer, 0 up to, but not, 1; or {layer: indices of filters to
            remove}, and what is coupled to them goes too.
        example_input: a batch (batch, ...), to learn shapes from.
        round_to: with a fraction, each layer keeps a multiple of so many filters (the nearest, and never none; all where
            it has fewer): processors work in blocks of 8 or 16. 1 rounds to whole filters only.
        scores: parameter name -> score, the weight's shape, instead of |w|.

    Returns:
        a network of the same class, in the same mode.

    Raises:
        CourseError: the network cannot be followed, a layer would be left empty, nothing can be removed, or an index or
            a name is wrong.

    >>> model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    >>> remove_filters(model, 0.5, example_input=torch.zeros(1, 4))
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )

    Li et al. 2017; Fang et al. 2023 (dependencies). Lesson 07.
    """
    channels = follow_channels(model, example_input)
    gone = choose(model, channels, sparsity, round_to, scores)
    layers = dict(model.named_modules())
    lists = {slot.ids for slot in channels.slots}
    keep = {ids: torch.tensor([place for place, channel in enumerate(ids) if channel not in gone]) for ids in lists}
    tensors: dict[int, Tensor] = {}
    for slot in channels.slots:
        tensor = getattr(layers[slot.layer], slot.tensor)
        shorter = tensors.get(id(tensor), tensor).detach().index_select(slot.axis, keep[slot.ids].to(tensor.device))
        tensors[id(tensor)] = shortened(tensor, shorter)
    smaller = copy.deepcopy(model, tensors | no_hooks(model))  # what stands in the memo is taken instead of a copy
    layers = dict(smaller.named_modules())
    for name in {slot.layer for slot in channels.slots}:
        tell_size_(layers[name])
    require_same_output(smaller, channels.example, channels.output)
    return smaller


def mask_filters(
    model: nn.Module,
    sparsity: Choice,
    *,
    example_input: Tensor,
    round_to: int = 8,
    scores: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A copy of the same size with zeros wherever `remove_filters` would take something out: it computes the same.

    Arguments and errors are those of `remove_filters`. Running variances stay as they are, they divide.

    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> masked = mask_filters(model, {"0": [1]}, example_input=torch.zeros(1, 1))
    >>> masked[0].weight[1].item(), masked[2].weight[0, 1].item()
    (0.0, 0.0)

    Li et al. 2017. Lesson 07.
    """
    channels = follow_channels(model, example_input)
    gone = choose(model, channels, sparsity, round_to, scores)
    masked = copy.deepcopy(model)
    for slot in channels.slots:
        if slot.tensor != "running_var":
            places = [place for place, channel in enumerate(slot.ids) if channel in gone]
            tensor = tensor_of(masked, slot)
            tensor.detach().index_fill_(slot.axis, torch.tensor(places, dtype=torch.long, device=tensor.device), 0.0)
    return masked


def remove_layer(model: nn.Module, name: str, *, example_input: Tensor) -> nn.Module:
    """A copy of the network in which the layer `name` does nothing: its input is its output.

    Args:
        model: any network; it is left as it is.
        name: as in `model.named_modules()`, such as "layer1.1", a whole residual block of a ResNet.
        example_input: a batch (batch, ...), to learn shapes from.

    Raises:
        CourseError: there is no such layer, or its output has another shape than its input.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> remove_layer(model, "0", example_input=torch.zeros(1, 4))[0]
    Identity()

    Lesson 07.
    """
    layers = dict(model.named_modules())
    if name not in layers or name == "":
        raise CourseError(f"The network has no layer {name!r}. It has: {', '.join(filter(None, layers))}.")
    smaller = copy.deepcopy(model)
    shapes: list[tuple[object, object]] = []
    hook = smaller.get_submodule(name).register_forward_hook(lambda _, x, out: shapes.append((shape(x), shape((out,)))))
    run(smaller, example_input)
    hook.remove()
    if not shapes or any(before != after for before, after in shapes):
        seen = "does not run" if not shapes else f"turns {shapes[0][0]} into {shapes[0][1]}"
        raise CourseError(
            f"Layer {name!r} {seen}, so it cannot be replaced by its input.\n"
            "Choose a layer whose output has its input's shape, such as a residual block without downsampling."
        )
    return copy.deepcopy(model, {id(layers[name]): nn.Identity()})


def no_hooks(model: nn.Module) -> dict[int, OrderedDict]:
    """Fresh empty dictionaries for the empty ones of all layers: they are quicker to make than to copy."""
    held = (value for layer in model.modules() for value in vars(layer).values())
    return {id(value): OrderedDict() for value in held if type(value) is OrderedDict and not value}


def shape(values: tuple[object, ...]) -> list[tuple[int, ...] | None]:
    """The shapes of some tensors."""
    return [tuple(value.shape) if isinstance(value, Tensor) else None for value in values]


@torch.no_grad()
def run(model: nn.Module, example_input: Tensor) -> Tensor:
    """The output in eval mode; the model is a copy of ours, whose modes come back."""
    modes = {layer: layer.training for layer in model.modules()}
    try:
        return model.eval()(example_input)
    except Exception as error:  # a learner's forward may raise anything
        raise CourseError(f"The network does not take example_input: {str(error).splitlines()[0]}") from None
    finally:
        for layer, was_training in modes.items():
            layer.training = was_training


def tensor_of(model: nn.Module, slot: Slot) -> Tensor:
    """The parameter or buffer that a slot names."""
    return getattr(model.get_submodule(slot.layer), slot.tensor)


def shortened(tensor: Tensor, shorter: Tensor) -> Tensor:
    """A parameter or buffer of the same kind, with fewer channels."""
    return nn.Parameter(shorter, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shorter


def tell_size_(layer: nn.Module) -> None:
    """Make a layer's own numbers agree with the tensors it now holds."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, CONVOLUTIONS):
        rows = layer.weight.shape[0]
        if layer.groups == layer.in_channels:  # depthwise, or one input channel
            layer.groups = rows * layer.in_channels // layer.out_channels if layer.groups > 1 else 1
        layer.out_channels, layer.in_channels = rows, layer.weight.shape[1] * layer.groups
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, NORMS):
        layer.num_features = len(layer.weight if layer.weight is not None else layer.running_mean)


def require_same_output(smaller: nn.Module, example_input: Tensor, output: object) -> None:
    """Refuse a result that does not run, or gives an output of another shape."""
    try:
        found = shape((run(smaller, example_input),))
    except CourseError as error:
        found = str(error)
    if found != shape((output,)):
        raise CourseError(
            "Without these filters the network no longer works, because its forward counts on their number "
            f"({found} in place of {shape((output,))}).\nWrite shapes in forward as x.shape[1], or x.flatten(1)."
        )
