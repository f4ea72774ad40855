"""The frame of every widget: presets, controls, a live formula, a picture, and a bet before anything is shown.

A lesson's widget writes one pure function, `paint(**values of the controls) -> View`, and hands it to `LessonWidget`.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import ipywidgets
from traitlets import Any, HasTraits, Unicode

from course_lib.errors import CourseError
from course_lib.viz import png
from course_lib.widgets.bet import BetStrip, Question
from course_lib.widgets.svg import picture_svg

__all__ = ["Canvas", "LessonWidget", "Memory", "Question", "View"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class View:
    """What a widget shows for one setting of its controls.

    Args:
        formula: HTML, the formula with its numbers in it.
        alt: the picture in words, with its numbers, for who cannot see it.
        svg: what is drawn, as the inside of an SVG of `size`; use `currentColor` for ink (it follows the theme).
        size: (width, height) of the drawing in its own units.
        traits: for a `Canvas` instead of `svg`: trait name -> value, sent to the browser in one message.

    >>> View(formula="2<sup>1</sup> = 2 levels", alt="two levels", svg="<rect width='9' height='9'/>").size
    (640, 300)
    """

    formula: str
    alt: str
    svg: str = ""
    size: tuple[float, float] = (640, 300)
    traits: Mapping[str, object] = field(default_factory=dict)


class Memory(HasTraits):
    """A value that a widget keeps and does not show, beside its controls: `Memory(value=(0.0, 0.9))`."""

    value = Any()


class Canvas(anywidget.AnyWidget):
    """A picture drawn in the browser, for figures that are dragged themselves: subclass it, set `_esm = kit(js)`."""

    alt = Unicode("").tag(sync=True)


class Keeper(anywidget.AnyWidget):
    """Invisible: keeps the controls beside it usable by keyboard and screen reader. See frame.js."""

    _esm = (HERE / "frame.js").read_text(encoding="utf-8")
    _css = (HERE / "frame.css").read_text(encoding="utf-8")
    title = Unicode("").tag(sync=True)


def kit(javascript: str) -> str:
    """Put the drawing and dragging helpers (drag.js) in front of a flagship's own JavaScript.

    >>> "draggable" in kit("export default { render() {} }")
    True
    """
    return (HERE / "drag.js").read_text(encoding="utf-8") + "\n" + javascript


class LessonWidget(ipywidgets.VBox):
    """Controls around one pure function that paints.

    Args:
        title: one line above everything.
        controls: name -> ipywidget with a `description`, or a `Memory`; each is an attribute: `widget.bits.value = 2`.
        paint: called as `paint(bits=2, …)` with the value of each control; returns a `View`.
        presets: label of a button -> {name of a control: value}; three to five telling cases.
        canvas: a `Canvas` to paint on; without it the picture is the SVG of the View.
        question: asked first; the rest stays hidden until the learner locks in a bet or skips it.
        static: returns a small matplotlib Figure (or PNG bytes) for places where no widget runs.

    Raises:
        CourseError: a control has no description, its name is taken, or a preset names no control.

    >>> slider = ipywidgets.IntSlider(2, 1, 4, description="bits")
    >>> widget = LessonWidget(
    ...     "Levels", controls={"bits": slider}, paint=lambda bits: View(f"{2**bits} levels", alt=f"{2**bits} levels")
    ... )
    >>> widget.bits.value = 3
    >>> widget.formula.value
    '8 levels'
    """

    def __init__(
        self,
        title: str,
        *,
        controls: Mapping[str, HasTraits],
        paint: Callable[..., View],
        presets: Mapping[str, Mapping[str, object]] | None = None,
        canvas: Canvas | None = None,
        question: Question | None = None,
        static: Callable[[], object] | None = None,
    ) -> None:
        self.title, self._paint, self._static = title, paint, static
        self._painted, self._holding = None, False
        self.controls, self.presets = dict(controls), dict(presets or {})
        self._check()
        self.alert, self.formula = ipywidgets.HTML(), ipywidgets.HTML()
        self.picture = canvas if canvas is not None else ipywidgets.HTML()
        self.buttons = {label: self._preset_button(label) for label in self.presets}
        self.bet = BetStrip(question, on_settled=self._open) if question else None
        self.body = ipywidgets.VBox(self._body())
        super().__init__(self._children(), layout=ipywidgets.Layout(width="100%", max_width="640px"))
        self._dress()
        for control in self.controls.values():
            control.observe(self.refresh, names="value")
        self.refresh()

    def values(self) -> dict[str, object]:
        """Return name -> value of each control."""
        return {name: control.value for name, control in self.controls.items()}

    def refresh(self, _change: object = None) -> None:
        """Paint again, if any control has changed since the last time."""
        values = self.values()
        if self._holding or values == self._painted:
            return
        self._painted = values
        with self.watching():
            self._show(self._paint(**values))

    def set(self, **values: object) -> None:
        """Set several controls and paint once: `widget.set(bits=2, dither=True)`."""
        with self._one_repaint():
            for name, value in values.items():
                self.controls[name].value = value

    @contextmanager
    def watching(self):
        """Show in the widget what goes wrong inside (a callback's error is otherwise only logged), and raise it on."""
        try:
            yield
        except Exception as error:
            text = html.escape(f"{type(error).__name__}: {error}").replace("\n", "<br>")
            self.alert.value = f'<div role="alert">{text}</div>'
            raise
        self.alert.value = ""

    @contextmanager
    def _one_repaint(self):
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        self.refresh()

    def _show(self, view: View) -> None:
        self.alt, self.formula.value = view.alt, view.formula
        if isinstance(self.picture, Canvas):
            with self.picture.hold_sync():
                self.picture.set_trait("alt", view.alt)
                for name, value in view.traits.items():
                    setattr(self.picture, name, value)
        else:
            self.picture.value = picture_svg(view.svg, size=view.size, alt=view.alt)

    def _preset_button(self, label: str) -> ipywidgets.Button:
        button = ipywidgets.Button(description=label, layout=ipywidgets.Layout(width="auto"))
        button.on_click(lambda _: self._choose(label))
        return button

    def _choose(self, label: str) -> None:
        with self.watching():
            self.set(**self.presets[label])

    def _open(self) -> None:
        self.body.layout.display = None

    def _body(self) -> list[ipywidgets.Widget]:
        shown = [control for control in self.controls.values() if isinstance(control, ipywidgets.Widget)]
        buttons = [ipywidgets.HBox(list(self.buttons.values())).add_class("sn-presets")] if self.buttons else []
        for control in shown:
            control.layout.width = control.layout.width or "auto"  # as wide as the frame
        return [*buttons, *shown, self.formula, self.picture]

    def _children(self) -> list[ipywidgets.Widget]:
        head = ipywidgets.HTML(html.escape(self.title)).add_class("sn-title")
        strip = [self.bet] if self.bet else []
        return [head, *strip, self.alert, self.body, Keeper(title=self.title)]

    def _dress(self) -> None:
        self.add_class("sn-widget")
        for part, name in (
            (self.formula, "formula"),
            (self.picture, "picture"),
            (self.alert, "alert"),
            (self.body, "body"),
        ):
            part.add_class(f"sn-{name}")
        if self.bet:
            self.body.layout.display = "none"

    def _check(self) -> None:
        for name, control in self.controls.items():
            if hasattr(self, name):
                raise CourseError(f"{name!r} cannot name a control: the widget has it already. Choose another name.")
            if isinstance(control, ipywidgets.Widget) and not control.description:
                raise CourseError(
                    f"The control {name!r} has no description: it is what a screen reader says. Pass description=…."
                )
            setattr(self, name, control)
        for label, values in self.presets.items():
            if unknown := set(values) - set(self.controls):
                raise CourseError(
                    f"The preset {label!r} sets {sorted(unknown)}, but the controls are {sorted(self.controls)}."
                )

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        bundle = dict(super()._repr_mimebundle_(**kwargs) or {})
        bundle["text/plain"] = f"{self.title}: {self.alt}"
        if self._static:
            bundle["image/png"] = base64.b64encode(png_bytes(self._static())).decode("ascii")
        return bundle


def png_bytes(figure: object) -> bytes:
    """Return a matplotlib Figure as PNG (bytes are passed through)."""
    return figure if isinstance(figure, bytes) else png(figure)
