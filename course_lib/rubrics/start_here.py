"""Lesson 00: one line, to see what a check says."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question


def sparsity(weight: Tensor) -> float:
    """The fraction of entries that are exactly zero."""
    return (weight == 0).float().mean().item()


def weights_with_zeros(seed: int) -> list[Case]:
    """A row, a matrix and a kernel with some zeros; and one without."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 5, generator=generator)
    weight[torch.rand(4, 5, generator=generator) < 0.3] = 0.0
    weight[0, 0] = 0.0
    weight[0, 1:3] = torch.tensor([-0.04, 0.03])  # small, but not zero
    return [
        Case("a row of four weights, one of them zero", (torch.tensor([0.0, 2.0, -1.0, 0.5]),)),
        Case("a matrix with zeros and with small weights", (weight,)),
        Case("a matrix without zeros", (torch.rand(3, 3, generator=generator) + 0.5,)),
    ]


EXERCISES = (
    Exercise(
        id="0.1",
        name="sparsity",
        title="How sparse is a tensor?",
        points=1,
        reference=sparsity,
        cases=weights_with_zeros,
        invariants=(Invariant("a fraction lies between 0 and 1", lambda inputs, result: 0 <= float(result) <= 1),),
        mistakes=(
            Mistake(
                "that is the density",
                "You counted the weights that are left. Sparsity is the fraction that is zero: 1 − density.",
                lambda weight: (weight != 0).float().mean().item(),
            ),
            Mistake(
                "percent instead of a fraction",
                "In this course sparsity is always a fraction from 0 to 1: leave the factor 100 out.",
                lambda weight: 100 * (weight == 0).float().mean().item(),
            ),
            Mistake(
                "a count instead of a fraction",
                "You counted the zeros. Divide by the number of entries, or take the mean instead of the sum.",
                lambda weight: int((weight == 0).sum()),
            ),
            Mistake(
                "small is not zero",
                "Weights near zero still cost a multiplication. Only those that are exactly zero count.",
                lambda weight: (weight.abs() < 0.1).float().mean().item(),
            ),
            Mistake(
                "negative weights counted",
                "You counted weights that are at most zero. A negative weight is as alive as a positive one.",
                lambda weight: (weight <= 0).float().mean().item(),
            ),
            Mistake(
                "zeros of the first dimension only",
                "len(weight) is the number of rows. Use weight.numel(), or the mean over all entries.",
                lambda weight: int((weight == 0).sum()) / len(weight),
            ),
        ),
        hints=(
            "`weight == 0` is a tensor of booleans: True where the weight is zero.",
            "The mean of a tensor of zeros and ones is the fraction of ones; booleans need `.float()` first.",
            "return (weight == 0).float().mean().item()",
        ),
    ),
)

QUIZ = (
    Question(
        "When should you lock in a prediction?",
        {
            "Before the experiment runs": "A bet made first is compared with what you measure: that is when one learns.",
            "After reading the result": "Then it always looks obvious. Make the bet first, even a wild one.",
            "Never, it costs points": "Predictions are never graded. Wrong ones teach most.",
        },
        "Before the experiment runs",
    ),
    Question(
        "Your check says “Not yet”. What is lost?",
        {
            "Nothing": "You may check as often as you like. Only the best result counts.",
            "One of three tries": "There is no limit. After three failed tries the solution opens as well.",
            "The points of this exercise": "Points are given when it passes, whenever that is.",
        },
        "Nothing",
    ),
    Question(
        "A weight is 0.0001. Does it count towards sparsity?",
        {
            "No": "Right: it still has to be stored and multiplied. Only exact zeros can be left out.",
            "Yes, it is nearly zero": "It is small, and may be a good candidate for pruning, but it is not zero yet.",
        },
        "No",
    ),
)
