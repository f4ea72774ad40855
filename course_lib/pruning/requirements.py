"""What a network must be, so that filters can be removed from it."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from course_lib.errors import CourseError
from course_lib.pruning.operations import CONVOLUTIONS, NORMS


def require_own_weights(model: nn.Module) -> None:
    """Refuse layers that share a weight, or whose weight is computed from something else."""
    owned = [id(parameter) for layer in model.modules() for parameter in layer.parameters(recurse=False)]
    for name, layer in model.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)) and owned.count(id(layer.weight)) != 1:
            raise CourseError(
                f"The weight of layer {name!r} is shared with another layer, or torch.nn.utils.prune or a parametrization "
                "has taken its place.\nGive each layer a weight of its own, for example with prune.remove(layer, 'weight')."
            )


def require_all_seen(model: nn.Module, seen: Collection[str]) -> None:
    """Refuse a network of which a part did not run: it would keep its size, and not fit any more."""
    for name, layer in model.named_modules():
        if name not in seen and isinstance(layer, (*CONVOLUTIONS, *NORMS, nn.Linear)):
            raise CourseError(
                f"Layer {name!r} does not run when the network is in eval mode, so what is removed elsewhere would no longer "
                "fit it.\nRemove it from the network first (auxiliary heads: build the network with aux_logits=False)."
            )
