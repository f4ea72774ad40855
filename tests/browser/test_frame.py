"""The frame and the two first widgets in a real browser, and the harness itself: it must fail on what is broken."""

from __future__ import annotations

import pytest

from tests.browser import sample
from tests.browser.drive import at_rest, drive, eventually, repaint_ms
from tests.browser.page import open_notebook


def opened(browser, lab, name: str, setup: str, *shown: str):
    """Write a sample notebook into the lab and open it."""
    sample.write_sample(lab.root / f"{name}.ipynb", setup, *shown)
    return open_notebook(browser, lab, f"{name}.ipynb")


def test_every_kind_of_control_repaints_and_is_named(browser, lab) -> None:
    with opened(browser, lab, "controls", sample.CONTROLS, "every_control()") as notebook:
        used = drive(notebook, notebook.run_all().widgets()[0])
        assert {"bet", "kind", "scope: layer", "grain: filter", "signed", "loud"} <= set(used)
        assert any(name.startswith("amount (25% to ") for name in used)
        assert any(name.startswith("span, from (") for name in used) and any(
            name.startswith("span, to (") for name in used
        )
        assert "preset much" in used
        assert not notebook.errors() and not notebook.complaints()


def test_a_flagship_is_dragged_and_pressed(browser, lab) -> None:
    with opened(browser, lab, "flagship", sample.CONTROLS + sample.FLAGSHIP, "flagship()") as notebook:
        widget = notebook.run_all().widgets()[0]
        used = drive(notebook, widget)
        assert "drag threshold" in used
        assert int(widget.locator(".sn-picture").get_attribute("data-frame")) > 10
        print("flagship repaints:", repaint_ms(notebook, widget))
        assert not notebook.errors() and not notebook.complaints()


def test_a_handle_stays_in_the_hand_that_holds_it(browser, lab) -> None:
    """Another setting makes the figure anew, but not under the pointer."""
    with opened(browser, lab, "held", sample.CLIP, "quantization_clip(mlp((64, 16, 10)), seen.x, seen.y)") as notebook:
        widget = notebook.run_all().widgets()[0]
        handle, mouse = widget.locator(".sn-drag").element_handle(), notebook.page.mouse
        handle.scroll_into_view_if_needed()
        at_rest(notebook)
        grip = handle.bounding_box()
        x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
        mouse.move(x, y)
        mouse.down()
        widget.locator(".noUi-handle").first.press("ArrowRight")
        at_rest(notebook)
        assert handle.evaluate("handle => handle.isConnected"), "the figure was made anew while its handle was held"
        before = handle.get_attribute("aria-valuenow")
        mouse.move(x - 60, y)
        assert eventually(notebook, lambda: handle.get_attribute("aria-valuenow") != before)
        mouse.up()
        assert eventually(notebook, lambda: not handle.evaluate("handle => handle.isConnected")), (
            "it was never made anew"
        )
        assert not notebook.errors() and not notebook.complaints()


def test_the_first_two_widgets(browser, lab, repaint_record) -> None:
    setup = sample.PICTURES + sample.COSTS
    with opened(browser, lab, "first", setup, "fewer_bits(image)", "cost_explorer(costs)") as notebook:
        for name, widget in zip(("fewer_bits", "cost_explorer"), notebook.run_all().widgets(), strict=True):
            assert drive(notebook, widget)
            repaint_record[f"sample/{name}"] = repaint_ms(notebook, widget)
            print(name, "repaints:", repaint_record[f"sample/{name}"])
        assert not notebook.errors() and not notebook.complaints()


def test_a_dead_picture_is_noticed(browser, lab, monkeypatch) -> None:
    monkeypatch.setattr("tests.browser.drive.PATIENCE", 5)
    with opened(browser, lab, "dead", sample.CONTROLS + sample.DEAD, "dead()") as notebook:
        widget = notebook.run_all().widgets()[0]
        with pytest.raises(AssertionError, match="did not follow 'amount'"):
            drive(notebook, widget)


def test_a_raising_callback_is_seen_in_the_widget(browser, lab) -> None:
    with opened(browser, lab, "raising", sample.CONTROLS + sample.RAISING, "raising()") as notebook:
        widget = notebook.run_all().widgets()[0]
        widget.locator(".noUi-handle").press("ArrowRight")
        alert = widget.get_by_role("alert")
        alert.wait_for(state="visible")
        assert "ZeroDivisionError" in alert.inner_text()
        assert notebook.errors() == [alert.inner_text()]
