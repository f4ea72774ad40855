"""Run the benchmarks named on the command line, or all of them, and print one table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch

from tests.benchmarks.side_by_side import Row, print_table

NAMES = (
    "trials",
    "pruning",
    "masked_steps",
    "lottery",
    "synflow",
    "structured",
    "obd",
    "kmeans",
    "huffman",
    "sizes",
    "quantization",
    "distillation",
    "memory",
    "attention",
    "counting",
    "imports",
    "lessons",
    "widgets",
    "start",
    "grading",
)
RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks.json"


def main() -> None:
    """Run, print, and write the rows to results/benchmarks.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all without a name")
    names = parser.parse_args().names or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in names:
        start = time.perf_counter()
        for row in importlib.import_module(f"tests.benchmarks.{name}").run():
            rows.append(row)
            print(f"  {row.what}: {row.ours:.3g} {row.unit}", flush=True)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        save(rows)
    print_table(rows)


def save(rows: list[Row]) -> None:
    """Keep what was measured, with what it was measured on; other rows of the file stay."""
    RESULTS.parent.mkdir(exist_ok=True)
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    on = {"torch": torch.__version__, "cores": os.cpu_count(), "day": time.strftime("%Y-%m-%d")}
    known |= {row.what: asdict(row) | on for row in rows}
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
