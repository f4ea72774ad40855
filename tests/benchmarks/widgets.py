"""From a key to the repainted widget, as the browser tests measured it."""

from __future__ import annotations

import json

from tests.benchmarks.side_by_side import REPOSITORY, Row

RECORD = REPOSITORY / "results" / "repaint_ms.json"


def run() -> list[Row]:
    """The recorded medians; none before the browser tests have run."""
    if not RECORD.exists():
        print("widgets: no results/repaint_ms.json; run `pytest tests/browser` first")
        return []
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return [
        Row(f"repaint {name}, median of {entry['presses']}", entry["median_ms"], "ms", goal=100)
        for name, entry in sorted(record.items())
        if entry
    ]
