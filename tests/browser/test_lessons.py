"""Every lesson's widgets in a real browser: only the cells tagged `setup` or `widget` run."""

from __future__ import annotations

import pytest

from tests.browser.drive import drive, repaint_ms
from tests.browser.lab import REPOSITORY
from tests.browser.page import open_notebook

LESSONS = sorted(path.stem for path in (REPOSITORY / "lessons").glob("*.ipynb"))


@pytest.mark.parametrize("stem", LESSONS)
def test_each_widget_of_a_lesson_follows_its_controls(stem, browser, lab, repaint_record) -> None:
    with open_notebook(browser, lab, f"driven/{stem}.ipynb") as notebook:
        widgets = notebook.run_all().widgets()
        assert widgets, "no widget is shown: is its cell tagged `widget`, and what it needs `setup`?"
        for number, widget in enumerate(widgets):
            used = drive(notebook, widget)
            assert used, f"widget {number} has no control that can be used"
            record(repaint_record, f"{stem}/{number}", repaint_ms(notebook, widget))
        assert not notebook.errors(), notebook.errors()
        assert not notebook.complaints(), notebook.complaints()


def record(kept: dict, name: str, found: dict | None) -> None:
    """Keep and print the median repaint; how fast it must be is the benchmarks' affair."""
    if found:
        kept[name] = found
        print(f"{name}: {found['median_ms']} ms from key to picture ({found['presses']} presses)")
