"""Predict, lock in, reveal: the question a widget asks before it shows anything."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets

from course_lib.errors import CourseError

__all__ = ["BetStrip", "Question"]


@dataclass(frozen=True)
class Question:
    """A question with a known answer: one of `choices`, or a number on a scale.

    Args:
        text: the question, plain text.
        answer: what was measured: one of `choices`, or a number between the ends of `scale`.
        choices: the answers to choose from; leave it out to bet a number.
        scale: (lowest, highest, step) of the slider.
        form: how a number is written, such as ".0%" or ".1f" (a format that Python and the browser both know).
        why: a sentence that is shown with the answer.

    Raises:
        CourseError: the answer is not among the choices, or lies off the scale.

    >>> Question("Which half?", answer=0.09).reveal(0.5)
    'You bet 50%. Measured: 9%. Your bet was 41 points too high.'
    """

    text: str
    answer: float | str
    choices: tuple[str, ...] = ()
    scale: tuple[float, float, float] = (0.0, 1.0, 0.01)
    form: str = ".0%"
    why: str = ""

    def __post_init__(self) -> None:
        if self.choices and self.answer not in self.choices:
            raise CourseError(f"The answer {self.answer!r} is not among the choices {self.choices}. Pass one of them.")
        low, high, _ = self.scale
        if not self.choices and not low <= self.answer <= high:
            raise CourseError(
                f"The answer {self.answer} lies off the scale {low} to {high}. Widen scale=(low, high, step)."
            )

    def reveal(self, bet: float | str | None) -> str:
        """Return the bet, the measured value and the gap between them, in words; `None` is a skipped bet."""
        measured = f"Measured: {self._write(self.answer)}."
        if bet is None:
            return self._with_reason(measured)
        return self._with_reason(f"You bet {self._write(bet)}. {measured} {self._gap(bet)}")

    def _write(self, value: float | str) -> str:
        return str(value) if self.choices else format(value, self.form)

    def _gap(self, bet: float | str) -> str:
        if self._write(bet) == self._write(self.answer):
            return "Your bet was right."
        if self.choices:
            return "Your bet was another one."
        distance = abs(bet - self.answer)
        size = f"{100 * distance:.0f} points" if self.form.endswith("%") else format(distance, self.form)
        return f"Your bet was {size} too {'high' if bet > self.answer else 'low'}."

    def _with_reason(self, text: str) -> str:
        return f"{text} {self.why}".strip()


class BetStrip(ipywidgets.VBox):
    """The strip with the question, a control to bet with, and the buttons "Lock it in" and "Skip".

    Args:
        question: what is asked.
        on_settled: called once, when the learner has locked a bet in, or skipped it.

    >>> strip = BetStrip(Question("How many?", answer=0.09), on_settled=lambda: None)
    >>> strip.guess.value = 0.09
    >>> strip.commit()
    >>> strip.said.value
    'You bet 9%. Measured: 9%. Your bet was right.'
    """

    def __init__(self, question: Question, on_settled: Callable[[], None]) -> None:
        self.question, self._on_settled = question, on_settled
        self.settled = False
        self.guess, self.said = guess_control(question), ipywidgets.HTML()
        self.lock = ipywidgets.Button(description="Lock it in", button_style="primary")
        self.skipping = ipywidgets.Button(description="Skip")
        self.lock.on_click(lambda _: self.commit())
        self.skipping.on_click(lambda _: self.settle(None))
        self.row = ipywidgets.HBox([self.lock, self.skipping])
        asked = ipywidgets.HTML(html.escape(question.text)).add_class("sn-question")
        super().__init__([asked, self.guess, self.row, self.said.add_class("sn-said")])
        self.add_class("sn-bet")

    def commit(self) -> None:
        """Lock the bet in, or ask for one where none is chosen yet."""
        if self.guess.value is None:
            self.said.value = "Choose an answer first, or skip the bet."
        else:
            self.settle(self.guess.value)

    def settle(self, bet: float | str | None) -> None:
        """Show the bet against the measured value, and open the widget; a second call does nothing."""
        if self.settled:
            return
        self.settled = True
        self.said.value = html.escape(self.question.reveal(bet))
        self.guess.layout.display = self.row.layout.display = "none"
        self._on_settled()


def guess_control(question: Question) -> ipywidgets.Widget:
    """Return radio buttons for a choice, else a slider that starts in the middle of its scale."""
    wide = ipywidgets.Layout(width="auto")
    if question.choices:
        return ipywidgets.RadioButtons(options=question.choices, value=None, description="Your bet", layout=wide)
    low, high, step = question.scale
    middle = low + step * round((high - low) / step / 2)
    return ipywidgets.FloatSlider(
        middle, min=low, max=high, step=step, readout_format=question.form, description="Your bet", layout=wide
    )
