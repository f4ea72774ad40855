"""What importing a notebook's rooms adds to importing torch, each in a fresh process."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator

from tests.benchmarks.side_by_side import Row, child

ROOMS = {
    "data, models, measure": "course_lib.data course_lib.models course_lib.measure",
    "training, pruning": "course_lib.training course_lib.pruning",
    "evidence, viz": "course_lib.evidence course_lib.viz",
    "lesson, checking (ipywidgets)": "course_lib.lesson course_lib.checking",
    "first widget": "course_lib.lesson course_lib.widgets.frame",
}
EVERYTHING = " ".join(ROOMS.values())
CODE = """
import importlib, json, sys, time
start = time.perf_counter(); import torch; torch_seconds = time.perf_counter() - start
start = time.perf_counter()
for name in {names!r}.split(): importlib.import_module(name)
added = time.perf_counter() - start
heavy = [name for name in ("torchvision", "matplotlib", "sklearn", "ipywidgets", "IPython", "torch._dynamo") if name in sys.modules]
print(json.dumps({{"torch": torch_seconds, "added": added, "heavy": heavy}}))
"""


def measure(names: str, repetitions: int) -> dict:
    """Medians of the seconds, and which heavy packages came along."""
    runs = [json.loads(child(CODE.format(names=names))) for _ in range(repetitions)]
    return {key: statistics.median(run[key] for run in runs) for key in ("torch", "added")} | {
        "heavy": runs[0]["heavy"]
    }


def run(repetitions: int = 3) -> Iterator[Row]:
    """One row for each group of rooms alone, and one for all of them."""
    for what, names in {**ROOMS, "every room above": EVERYTHING}.items():
        got = measure(names, repetitions)
        heavy = f", brings {', '.join(got['heavy'])}" if got["heavy"] else ""
        yield Row(f"import {what}{heavy}", got["added"], "s", goal=0.3)
    outside = measure("IPython ipywidgets", repetitions)
    yield Row("import torch, for comparison", outside["torch"], "s")
    yield Row("import IPython and ipywidgets, for comparison (a kernel has IPython already)", outside["added"], "s")
