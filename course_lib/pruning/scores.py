"""How important is a weight? Four answers, each a dictionary: parameter name -> score of the weight's shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning may remove: those of linear and convolutional layers, without biases and norms.

    Returns:
        parameter name, as in `model.named_parameters()` -> the parameter itself; a shared weight stands once.

    Raises:
        CourseError: the model has no such layer, or torch.nn.utils.prune has replaced a weight.

    >>> list(prunable(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))))
    ['0.weight', '2.weight']

    Han et al. 2015. Lesson 02.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights = [layer.weight for layer in model.modules() if isinstance(layer, LAYERS)]
    if not weights:
        raise CourseError(
            f"{type(model).__name__} has no linear or convolutional layer, so there is nothing to prune.\n"
            "Pass a model built from nn.Linear or nn.Conv2d."
        )
    if any(id(weight) not in names for weight in weights):
        raise CourseError(
            "A layer's weight is not a parameter: torch.nn.utils.prune or a parametrization has taken its place.\n"
            "Make it one again first, with torch.nn.utils.prune.remove(layer, 'weight')."
        )
    return {names[id(weight)]: weight for weight in weights}


def magnitude_scores(model: nn.Module) -> dict[str, Tensor]:
    """Score |w|: a small weight changes the output little.

    Returns:
        parameter name -> score, the weight's shape, 0 or more.

    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad(): _ = layer.weight.copy_(torch.tensor([[-2.0, 1.0]]))
    >>> magnitude_scores(layer)
    {'weight': tensor([[2., 1.]])}

    Han et al. 2015. Lesson 02.
    """
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}


def random_scores(model: nn.Module, *, seed: int = 0) -> dict[str, Tensor]:
    """Score every weight at random, uniform in 0..1: the control that any good score must beat.

    Args:
        model: a model with prunable layers.
        seed: the same seed gives the same scores.

    >>> random_scores(nn.Linear(2, 1))["weight"].shape
    torch.Size([1, 2])

    Lesson 02.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(weight.shape, generator=generator) for name, weight in prunable(model).items()}


def gradient_scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Score |w · ∂L/∂w|: to first order, how much the loss moves when the weight becomes zero.

    Args:
        model: returns logits (batch, classes); its own `.grad` fields are left as they are.
        x: inputs (batch, ...), those that `model` takes.
        y: labels (batch,), whole numbers from 0 to classes - 1.

    Returns:
        parameter name -> score, the weight's shape, 0 or more.

    >>> model = nn.Linear(3, 2)
    >>> scores = gradient_scores(model, torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
    >>> float(scores["weight"].sum())  # zero inputs: no weight matters
    0.0

    Mozer & Smolensky 1989; Molchanov et al. 2017. Lesson 02.
    """
    weights = prunable(model)
    loss = F.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return {name: (w.detach() * g).abs() for (name, w), g in zip(weights.items(), gradients, strict=True)}


def activity_scores(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Score every weight by how often the unit it feeds is active (output above zero) on the inputs `x`.

    A unit that is silent on all data can go with all its incoming weights. The output layer has no ReLU behind it: its units are
    the classes, so its weights all score 1.

    Args:
        model: layers followed by ReLUs, called as `model(x)`.
        x: inputs (batch, ...).

    Returns:
        parameter name -> fraction of activity, 0..1, the same for all weights of one unit; the weight's shape.

    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
    >>> with torch.no_grad(): _ = model[0].weight.fill_(1.0)
    >>> activity_scores(model, torch.tensor([[1.0], [-1.0], [-2.0], [-3.0]]))["0.weight"]
    tensor([[0.2500]])

    Hu et al. 2016 (average percentage of zeros). Lesson 02.
    """
    weights = prunable(model)
    rates: dict[int, Tensor] = {}
    layers = [layer for layer in model.modules() if isinstance(layer, LAYERS)]
    hooks = [layer.register_forward_hook(activity_recorder(rates)) for layer in layers]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    rates[id(layers[-1].weight)] = torch.ones(layers[-1].weight.shape[0])
    return {name: per_unit(rates[id(weight)], weight) for name, weight in weights.items()}


def activity_recorder(rates: dict[int, Tensor]):
    """A forward hook that stores the fraction of positive outputs of each unit of a layer."""

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        units = (
            -1 if isinstance(layer, nn.Linear) else 1
        )  # linear: (batch, ..., units); convolution: (batch, units, ...)
        active = (output > 0).float()
        rates[id(layer.weight)] = active.movedim(units, 0).flatten(1).mean(dim=1)  # (units,)

    return record


def per_unit(rate: Tensor, weight: Tensor) -> Tensor:
    """Spread one number per unit over all weights that feed it."""
    return rate.reshape(-1, *[1] * (weight.dim() - 1)).expand_as(weight).clone()
