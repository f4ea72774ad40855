"""Pruning: score every weight, turn scores into masks, put the masks in force. Lessons 02 to 07."""

from course_lib.pruning.masks import apply_masks_, masks_from_scores, sparsity_of
from course_lib.pruning.scores import (
    activity_scores,
    gradient_scores,
    magnitude_scores,
    prunable,
    random_scores,
)

__all__ = [
    "activity_scores",
    "apply_masks_",
    "gradient_scores",
    "magnitude_scores",
    "masks_from_scores",
    "prunable",
    "random_scores",
    "sparsity_of",
]
