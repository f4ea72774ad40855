"""Drive one lesson's widget as a learner does: bet, press keys, choose, click, drag, and watch the picture follow."""

from __future__ import annotations

import statistics

from playwright.sync_api import ElementHandle, Locator

from tests.browser.page import Notebook

PATIENCE = 60  # seconds for a picture to follow, on a busy machine
PRESSES = 12  # for the repaint latency

FOCUSABLE = "button, input, select, textarea, [tabindex='0'], [contenteditable='true']"
BOXES = ".sn-body input[type=radio]:not(:checked), .sn-body input[type=checkbox]"
TOGGLES = ".sn-body .widget-toggle-buttons button:not(.mod-active), .sn-body .widget-toggle-button:not(.widget-toggle-buttons *)"

# What is drawn, without the frame counter that a flagship keeps on its root.
DRAWN = """picture => [...picture.querySelectorAll('canvas')].map(canvas => canvas.toDataURL()).join() + picture.innerHTML"""

# From a key to the frame after the change of the picture, in milliseconds.
STOPWATCH = """widget => {
  const picture = widget.querySelector('.sn-picture');
  const watch = {start: null, times: []};
  widget.addEventListener('keydown', () => { watch.start = performance.now(); }, true);
  new MutationObserver(() => {
    if (watch.start === null) return;
    const start = watch.start;
    watch.start = null;
    requestAnimationFrame(() => watch.times.push(performance.now() - start));
  }).observe(picture, {subtree: true, childList: true, attributes: true, characterData: true});
  widget.stopwatch = watch;
}"""


def drive(notebook: Notebook, widget: Locator) -> list[str]:
    """Use everything a widget has; return what was used, in words. Any failure raises."""
    widget.scroll_into_view_if_needed()
    used = settle_bet(notebook, widget)
    names_are_told(notebook, widget)
    for handle in shown(widget, ".sn-body .noUi-handle"):
        used.append(press_slider(notebook, widget, handle))
    at_rest(notebook)  # what the kernel still sends may draw the figure anew
    for handle in shown(widget, ".sn-drag"):
        used.append(press_slider(notebook, widget, handle))
        used.append(drag(notebook, widget, handle))
    for select in shown(widget, ".sn-body select"):
        used.append(choose(notebook, widget, select))
    for box in shown(widget, BOXES):
        used.append(act_and_watch(notebook, widget, box, box.click))
    for button in shown(widget, TOGGLES):
        used.append(act_and_watch(notebook, widget, button, button.click))
    used += click_presets(notebook, widget)
    return used


def at_rest(notebook: Notebook) -> None:
    """Wait until the kernel has answered everything, and the page has drawn it."""
    notebook.page.wait_for_timeout(100)
    assert eventually(notebook, lambda: notebook.state()["kernel"] == "idle"), "the kernel does not come to rest"
    notebook.page.wait_for_timeout(100)


def shown(widget: Locator, selector: str) -> list[ElementHandle]:
    """Return the controls that a learner sees and may use."""
    found = widget.locator(selector).element_handles()  # these stay the same when classes change
    return [control for control in found if control.is_visible() and control.is_enabled()]


def settle_bet(notebook: Notebook, widget: Locator) -> list[str]:
    """Bet if asked to: the picture must be hidden before, and the gap told after."""
    if not shown(widget, ".sn-bet"):
        return []
    assert not widget.locator(".sn-body").is_visible(), "the answer is shown before the bet"
    names_are_told(notebook, widget)
    for handle in shown(widget, ".sn-bet .noUi-handle"):
        stays_in_cell(notebook, handle)
        handle.press("ArrowRight")
    for radio in shown(widget, ".sn-bet input[type=radio]")[:1]:
        radio.check()
    widget.get_by_role("button", name="Lock it in").click()
    widget.locator(".sn-picture").wait_for(state="visible")
    said = widget.locator(".sn-said").inner_text()
    assert "You bet" in said and "Measured" in said, f"the bet is not answered: {said!r}"
    return ["bet"]


def names_are_told(notebook: Notebook, widget: Locator) -> None:
    """Each focusable control has a name, and JupyterLab's shortcuts leave it alone."""
    ready = f"""widget => [...widget.querySelectorAll("{FOCUSABLE}")].every(
        control => control.getAttribute('aria-label') && control.dataset.lmSuppressShortcuts === 'true')"""
    told = f"""widget => [...widget.querySelectorAll("{FOCUSABLE}")].map(control =>
        [control.outerHTML.slice(0, 160), control.getAttribute('aria-label'), control.dataset.lmSuppressShortcuts])"""
    assert eventually(notebook, lambda: widget.evaluate(ready)), f"controls without a name: {widget.evaluate(told)}"


def press_slider(notebook: Notebook, widget: Locator, handle: ElementHandle) -> str:
    """Move a slider by keyboard towards its farther end, five steps: picture and spoken value follow."""
    low, high, now = (float(handle.get_attribute(f"aria-value{part}")) for part in ("min", "max", "now"))
    key = "ArrowLeft" if now - low > high - now else "ArrowRight"
    said = handle.get_attribute("aria-valuetext")

    def five_presses() -> None:
        for _ in range(5):
            handle.press(key)

    name = act_and_watch(notebook, widget, handle, five_presses)
    assert eventually(notebook, lambda: handle.get_attribute("aria-valuetext") not in (said, "", None)), (
        f"{name} does not say its value"
    )
    stays_in_cell(notebook, handle)
    return f"{name} ({said} to {handle.get_attribute('aria-valuetext')})"


def stays_in_cell(notebook: Notebook, control: ElementHandle) -> None:
    """Type what JupyterLab takes for "cut the cell" and "delete it": no cell may vanish."""
    before = notebook.state()["cells"]
    control.focus()
    for key in ("x", "d", "d"):
        notebook.page.keyboard.press(key)
    notebook.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert notebook.state()["cells"] == before, "typing on a control has deleted a cell"


def drag(notebook: Notebook, widget: Locator, handle: ElementHandle) -> str:
    """Drag a part of the figure with the mouse, towards the middle of the picture."""
    mouse = notebook.page.mouse
    handle.scroll_into_view_if_needed()
    grip, sheet = handle.bounding_box(), widget.locator(".sn-picture").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    towards = 1 if x < sheet["x"] + sheet["width"] / 2 else -1

    def by_mouse() -> None:
        mouse.move(x, y)
        mouse.down()
        for step in range(1, 9):
            mouse.move(x + towards * 10 * step, y)
        mouse.up()

    return "drag " + act_and_watch(notebook, widget, handle, by_mouse)


def choose(notebook: Notebook, widget: Locator, select: ElementHandle) -> str:
    """Choose another entry of a dropdown."""
    other = select.evaluate("select => (select.selectedIndex + 1) % select.options.length")
    stays_in_cell(notebook, select)
    return act_and_watch(notebook, widget, select, lambda: select.select_option(index=other))


def click_presets(notebook: Notebook, widget: Locator) -> list[str]:
    """Click each preset once, from the last to the first: each changes the picture (the first may stand already)."""
    buttons = shown(widget, ".sn-presets button")
    used = []
    for button in [*reversed(buttons), *buttons[-1:]]:
        before = drawing(widget)
        button.click()
        changed = eventually(notebook, lambda before=before: drawing(widget) != before, seconds=None if used else 3)
        assert changed or not used, f"the picture did not follow the preset {button.inner_text()!r}"
        used.append(f"preset {button.inner_text()}")
    return used


def act_and_watch(notebook: Notebook, widget: Locator, control: ElementHandle, act) -> str:
    """Do something with a control and wait until the picture has changed; return the control's name."""
    name = control.get_attribute("aria-label")
    before = drawing(widget)
    act()
    assert eventually(notebook, lambda: drawing(widget) != before), f"the picture did not follow {name!r}"
    assert not notebook.errors(), f"{name!r} raised: {notebook.errors()}"
    return name


def drawing(widget: Locator) -> str:
    """Return what the picture shows, as text."""
    return widget.locator(".sn-picture").evaluate(DRAWN)


def eventually(notebook: Notebook, holds, seconds: float | None = None) -> bool:
    """Ask again and again, until it holds or the time is up."""
    for _ in range(int((seconds or PATIENCE) * 20)):
        if holds():
            return True
        notebook.page.wait_for_timeout(50)
    return False


def repaint_ms(notebook: Notebook, widget: Locator) -> dict[str, float] | None:
    """Press a key back and forth on the first slider; return the median time until the picture has changed."""
    handles = shown(widget, ".sn-drag") or shown(widget, ".sn-body .noUi-handle")
    if not handles:
        return None
    widget.evaluate(STOPWATCH)
    low, now = (float(handles[0].get_attribute(f"aria-value{part}")) for part in ("min", "now"))
    keys = ("ArrowLeft", "ArrowRight") if now > low else ("ArrowRight", "ArrowLeft")
    for press in range(PRESSES):
        handles[0].press(keys[press % 2])
        eventually(notebook, lambda: widget.evaluate("widget => widget.stopwatch.start === null"), seconds=5)
        notebook.page.wait_for_timeout(60)  # let the kernel come to rest, as between two presses of a finger
    times = widget.evaluate("widget => widget.stopwatch.times")
    return {"median_ms": round(statistics.median(times), 1), "presses": len(times)} if times else None
