"""Global magnitude pruning of VGG-16 (138 million weights) to 90 %, each run in a process of its own."""

from __future__ import annotations

import json
import statistics

from tests.benchmarks.side_by_side import Row, child

PREPARE = """
import json, time, torch
torch.set_num_threads(1)
from torch import nn
from torch.nn.utils import prune
from course_lib.models import vgg
from course_lib.pruning import apply_masks_, magnitude_scores, masks_from_scores
from tests.benchmarks.side_by_side import PeakMemory
torch.manual_seed(0)
model = vgg("vgg16", form="imagenet", n_classes=1000)
layers = [(layer, "weight") for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]
with PeakMemory() as memory:
    start = time.perf_counter()
"""
OURS = """
    scores = magnitude_scores(model)
    masks = masks_from_scores(scores, 0.9)
    seconds = time.perf_counter() - start
peak = memory.mib
apply_masks_(model, masks)
with_apply = time.perf_counter() - start
flat = torch.cat([score.flatten() for score in scores.values()])
exact = flat.kthvalue(round(0.9 * len(flat))).values
gone = sum(int((~mask).sum()) for mask in masks.values())
keep = torch.cat([mask.flatten() for mask in masks.values()])
is_exact = gone == round(0.9 * len(flat)) and bool(flat[~keep].max() == exact) and bool(flat[keep].min() >= exact)
print(json.dumps({"seconds": seconds, "mib": peak, "with_apply": with_apply, "exact": is_exact}))
"""
PEER = """
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=0.9)
    seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "mib": memory.mib}))
"""


def run(repetitions: int = 3) -> list[Row]:
    """Time, time with the masks applied (torch applies its own), and memory above the model's own."""
    ours, theirs = [], []
    for _ in range(repetitions):
        ours.append(json.loads(child(PREPARE + OURS)))
        theirs.append(json.loads(child(PREPARE + PEER)))
    if not all(one["exact"] for one in ours):
        raise RuntimeError("the threshold is not the exact one")
    median = lambda runs, key: statistics.median(one[key] for one in runs)  # noqa: E731
    name, what = "torch global_unstructured", "prune VGG-16 to 90 %"
    seconds, mib = median(theirs, "seconds"), median(theirs, "mib")
    return [
        Row(f"{what}: masks", median(ours, "seconds"), "s", seconds, name, goal=1 / 12),
        Row(f"{what}: masks, applied", median(ours, "with_apply"), "s", seconds, name),
        Row(f"{what}: peak memory", median(ours, "mib"), "MiB", mib, name, goal=0.16),
    ]
