"""Take pictures of a notebook's widgets and of its page, in the light and the dark theme, to look at by hand.

python -m tests.browser.shoot lessons/02_magnitude_pruning.ipynb out/
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser.lab import REPOSITORY, browser_path, copy_course, running_browser, running_lab, write_clean
from tests.browser.page import Notebook, open_notebook

SETTLE_MS = 800  # for fonts and themes; nothing is asserted here


def screenshot(notebook: str | Path, out: str | Path) -> list[Path]:
    """Run all cells of a notebook and save PNGs of each widget (before and after the bet) and of the page.

    Args:
        notebook: a path; relative ones are looked up in the repository.
        out: folder for the pictures; it is made if missing.

    Returns:
        the paths of the pictures.
    """
    path, out = (REPOSITORY / notebook).resolve(), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shoot-", ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "course"
        copy_course(root)
        place = f"{path.parent.name}/{path.name}"
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        write_clean(path, root / place)
        with running_browser(browser_path()) as browser, running_lab(Path(folder)) as lab:
            with open_notebook(browser, lab, place) as opened:
                return shoot_all(opened.run_all(), out / path.stem)


def shoot_all(notebook: Notebook, stem: Path) -> list[Path]:
    """Shoot the bets, then the widgets and the page in both themes."""
    saved = shoot_widgets(notebook, f"{stem}-bet") if notebook.page.locator(".sn-bet").count() else []
    for skip in notebook.page.get_by_role("button", name="Skip", exact=True).all():
        skip.click()
    for theme in ("Light", "Dark"):
        notebook.page.evaluate(
            f"() => window.jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})"
        )
        saved += shoot_widgets(notebook, f"{stem}-{theme.lower()}")
        saved += shoot_pages(notebook, f"{stem}-{theme.lower()}-page")
    return saved


def shoot_widgets(notebook: Notebook, stem: str) -> list[Path]:
    """Shoot each widget by itself."""
    saved = []
    for number, widget in enumerate(notebook.widgets()):
        widget.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(SETTLE_MS)
        saved.append(Path(f"{stem}-widget{number}.png"))
        widget.screenshot(path=saved[-1])
    return saved


def shoot_pages(notebook: Notebook, stem: str) -> list[Path]:
    """Shoot the notebook screen by screen, from top to bottom."""
    scroller = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer"
    heights = notebook.page.locator(scroller).evaluate(
        "node => { node.scrollTop = 0; return [node.scrollHeight, node.clientHeight]; }"
    )
    saved = []
    for number, top in enumerate(range(0, heights[0], max(heights[1] - 40, 1))):
        notebook.page.locator(scroller).evaluate("(node, top) => { node.scrollTop = top; }", top)
        notebook.page.wait_for_timeout(SETTLE_MS)
        saved.append(Path(f"{stem}{number:02}.png"))
        notebook.page.screenshot(path=saved[-1])
    return saved


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    for saved_path in screenshot(sys.argv[1], sys.argv[2]):
        print(saved_path)
