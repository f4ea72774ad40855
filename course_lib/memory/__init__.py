"""Training in less memory: compute activations twice instead of keeping them, and big batches in small pieces."""

from course_lib.memory.accumulation import accumulate, windows
from course_lib.memory.checkpointing import checkpoint, checkpoint_sequential
from course_lib.memory.reversal import run_revolve
from course_lib.memory.schedules import keep_or_drop, revolve, run_plan

__all__ = [
    "accumulate", "checkpoint", "checkpoint_sequential", "keep_or_drop", "revolve", "run_plan", "run_revolve", "windows",
]  # fmt: skip
