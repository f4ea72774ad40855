"""Pruning: score every weight, turn scores into masks, put the masks in force. Lessons 02 to 07."""

from course_lib.pruning.initial_scores import grasp_scores, snip_scores, synflow_scores
from course_lib.pruning.masks import apply_masks_, masks_from_scores, sparsity_of
from course_lib.pruning.schedules import gradual, gradual_sparsity, iterative, one_shot, round_sparsities
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
    "gradual",
    "gradual_sparsity",
    "grasp_scores",
    "iterative",
    "magnitude_scores",
    "masks_from_scores",
    "one_shot",
    "prunable",
    "random_scores",
    "round_sparsities",
    "snip_scores",
    "sparsity_of",
    "synflow_scores",
]
