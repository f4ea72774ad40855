"""The worked example of a private exercise: limit the size of a gradient. Keep your copy where learners cannot read it."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake


def clip(gradient: Tensor, limit: float) -> Tensor:
    """The gradient, scaled down so that its norm is at most `limit`; a shorter one stays as it is."""
    norm = gradient.norm()
    return gradient * (limit / norm) if norm > limit else gradient.clone()


def cases(seed: int) -> list[Case]:
    """Inputs from a seed: always draw them from a generator of your own."""
    generator = torch.Generator().manual_seed(seed)
    gradient = torch.randn(3, 4, generator=generator)
    return [
        Case("a gradient longer than the limit", (10 * gradient, 1.0)),
        Case("a gradient shorter than the limit", (0.01 * gradient, 1.0)),
        Case("a limit below 1", (10 * gradient, 0.25)),
        Case("a gradient of zeros", (torch.zeros(5), 1.0)),
    ]


EXERCISES = (
    Exercise(
        id="101.1",  # lessons from 101 on are yours
        name="clip_gradient",  # the name of the learner's function
        title="Limit the norm",
        points=2,
        reference=clip,
        cases=cases,
        invariants=(
            Invariant("the norm is at most the limit", lambda inputs, result: result.norm() <= inputs[1] + 1e-5),
        ),
        mistakes=(
            Mistake(
                "each value clipped",
                "You limited each value on its own. The direction must stay: scale the whole gradient.",
                lambda gradient, limit: gradient.clamp(-limit, limit),
            ),
            Mistake(
                "always scaled",
                "You also scaled gradients that are short enough: those stay as they are.",
                lambda gradient, limit: gradient * limit / gradient.norm(),
            ),
            Mistake(
                "scaled to norm 1",
                "You divided by the norm and forgot to multiply by the limit.",
                lambda gradient, limit: gradient / gradient.norm() if gradient.norm() > limit else gradient.clone(),
            ),
            Mistake(
                "squared norm",
                "You compared the sum of squares with the limit. The norm is its root.",
                lambda gradient, limit: (
                    gradient * limit / gradient.square().sum() if gradient.square().sum() > limit else gradient.clone()
                ),
            ),
            Mistake(
                "nothing is clipped",
                "You returned the gradient as it was.",
                lambda gradient, limit: gradient.clone(),
            ),
        ),
        hints=(
            "First compute the norm of the whole gradient.",
            "If it is larger than the limit, multiply by limit / norm.",
            "return gradient * min(1, limit / norm), but mind a norm of zero.",
        ),
    ),
)
