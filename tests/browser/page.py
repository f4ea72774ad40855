"""One notebook open in JupyterLab: run its cells, read its outputs, collect what the console says."""

from __future__ import annotations

import re
from contextlib import contextmanager

from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Page, TimeoutError

from tests.browser.lab import PATIENCE, Lab

MS = 1000 * PATIENCE
PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"

# What JupyterLab itself says in a healthy session; nothing of ours may be added here.
KNOWN_NOISE: dict[str, str] = {}

STATE = """() => {
  const app = window.jupyterapp, panel = app && app.shell.currentWidget;
  if (!panel || !panel.content || !panel.content.model || !panel.sessionContext) return null;
  const kernel = panel.sessionContext.session && panel.sessionContext.session.kernel;
  const code = panel.content.widgets.filter(cell => cell.model.type === "code" && cell.model.sharedModel.source.trim());
  return {kernel: kernel ? kernel.status : "none",
          pending: code.filter(cell => !cell.model.executionCount || cell.model.executionState === "running").length,
          cells: panel.content.widgets.length};
}"""

OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(cell => {
  const outputs = cell.model.type === "code" ? cell.model.outputs.toJSON() : [];
  const text = v => Array.isArray(v) ? v.join("") : (v || "");
  return {id: cell.model.id, type: cell.model.type, source: cell.model.sharedModel.source,
          errors: outputs.filter(o => o.output_type === "error").map(o => `${o.ename}: ${o.evalue}`),
          text: outputs.map(o => text(o.text) + (o.data ? text(o.data["text/plain"]) + text(o.data["text/html"])
                                                          + text(o.data["text/markdown"]) : "")).join("\\n")};
})"""


# Each widget that an output announces stands in the page, and the frame's keeper has named each lesson's widget.
DRAWN = """() => {
  const shown = document.querySelectorAll(".jp-OutputArea-output > .jupyter-widgets");
  const announced = window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === "code")
    .flatMap(cell => cell.model.outputs.toJSON())
    .filter(output => output.data && "application/vnd.jupyter.widget-view+json" in output.data);
  return shown.length >= announced.length
    && [...document.querySelectorAll(".sn-widget")].every(widget => widget.getAttribute("aria-label"));
}"""


OPEN = """async path => {
  const panel = await window.jupyterapp.commands.execute("docmanager:open", {path: path});
  await panel.context.ready;
}"""

CLOSE = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.sessionContext.shutdown();
  panel.dispose();
}"""


class Notebook:
    """A notebook in a page of JupyterLab.

    Args:
        page: the browser's page.
    """

    def __init__(self, page: Page) -> None:
        self.page, self.console = page, []
        page.on("console", self.hear)
        page.on("pageerror", self.hear)

    def hear(self, said: ConsoleMessage | Error) -> None:
        """Keep an error of the console, and one that nobody caught."""
        if isinstance(said, Error):
            self.console.append(f"uncaught: {said}")
        elif said.type == "error":
            self.console.append(said.text)

    def open(self, lab: Lab, path: str) -> Notebook:
        """Open the notebook, in JupyterLab if it is there already, and wait for the kernel."""
        if self.page.url.startswith(lab.address):
            self.page.evaluate(OPEN, path)
        else:
            self.page.goto(lab.page_address(path), timeout=MS)
        self.until(f"() => {{ const s = ({STATE})(); return s && s.cells > 0 && s.kernel === 'idle'; }}")
        return self

    def close(self) -> None:
        """End the kernel, so that kernels do not pile up, and leave JupyterLab empty for the next notebook."""
        self.page.evaluate(CLOSE)
        self.page.remove_listener("console", self.hear)
        self.page.remove_listener("pageerror", self.hear)

    def until(self, condition: str, argument: object = None, timeout: float | None = None) -> None:
        """Wait until a JavaScript function returns something true; say what the page showed if it never does."""
        try:
            self.page.wait_for_function(condition, arg=argument, timeout=timeout or MS, polling=100)
        except TimeoutError as error:
            shown = self.page.locator("body").inner_text()[-2000:]
            raise AssertionError(
                f"waited in vain for {condition}\nstate: {self.state()}\nconsole: {self.console}\n{shown}"
            ) from error

    def state(self) -> dict:
        """Return the kernel's status, how many cells are still to run, and how many cells there are."""
        return self.page.evaluate(STATE)

    def run_all(self) -> Notebook:
        """Run all cells and wait until each code cell has run and the kernel is idle."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.widgets.forEach("
            "cell => { if (cell.model.type === 'code') cell.model.sharedModel.execution_count = null; })"
        )
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        self.until(
            f"() => {{ const s = ({STATE})(); return s && s.kernel === 'idle' && s.pending === 0; }}", timeout=5 * MS
        )
        self.until(DRAWN)
        return self

    def outputs(self) -> list[dict]:
        """Return, for each cell: id, type, source, errors, and the text of its outputs."""
        return self.page.evaluate(OUTPUTS)

    def errors(self) -> list[str]:
        """Return every error in an output or in a widget's alert."""
        alerts = self.page.locator('.sn-alert [role="alert"]').all_inner_texts()
        return [error for cell in self.outputs() for error in cell["errors"]] + alerts

    def write_cell(self, cell_id: str, source: str) -> None:
        """Replace the source of a cell, as a learner who types."""
        self.page.evaluate(
            "([id, text]) => window.jupyterapp.shell.currentWidget.content.widgets"
            ".find(cell => cell.model.id === id).model.sharedModel.setSource(text)",
            [cell_id, source],
        )

    def widgets(self) -> list[Locator]:
        """Return every lesson widget that is shown; no cell may have raised."""
        assert not self.errors(), self.errors()
        return self.page.locator(f"{PANEL} .sn-widget").all()

    def complaints(self) -> list[str]:
        """Return what the browser's console says, without JupyterLab's own known noise."""
        return [text for text in self.console if not any(re.search(noise, text) for noise in KNOWN_NOISE.values())]


@contextmanager
def open_notebook(browser: Browser, lab: Lab, path: str):
    """Open a notebook and close it at the end. One page serves all of them, until something goes wrong in it."""
    context = browser.contexts[0] if browser.contexts else browser.new_context(viewport={"width": 1280, "height": 1100})
    notebook = Notebook(context.pages[0] if context.pages else context.new_page())
    try:
        yield notebook.open(lab, path)
        notebook.close()
    except BaseException:
        notebook.page.close()
        raise
