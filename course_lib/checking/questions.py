"""predict and quiz: questions that never wait. A notebook that is run from top to bottom passes them by."""

from __future__ import annotations

import html
import math
import zlib
from collections.abc import Iterable, Sequence

import ipywidgets

from course_lib.checking import current
from course_lib.checking.cards import Card
from course_lib.checking.progress import store
from course_lib.errors import CourseError
from course_lib.rubrics.exercise import Question, rubric_of
from course_lib.widgets.frame import Keeper


class Bet(ipywidgets.VBox):
    """A question, a field, and a button that locks the answer; made by `predict`."""

    def __init__(self, name: str, question: str, unit: str, choices: Sequence[str]) -> None:
        self.name, self.question, self.unit, self.choices = name, question, unit, tuple(choices)
        self.lesson = current.lesson()
        self.field = (
            choice_field(choices) if choices else ipywidgets.Text(placeholder="a number", description="Your bet")
        )
        self.lock = ipywidgets.Button(description="Lock it in")
        self.said = ipywidgets.HTML().add_class("sn-said")
        self.lock.on_click(lambda _: self.commit())
        asked = ipywidgets.HTML(f"<strong>Predict.</strong> {html.escape(question)}")
        row = ipywidgets.HBox([self.field, ipywidgets.Label(unit), self.lock])
        super().__init__([asked, row, self.said, Keeper(title=question)])
        self.add_class("sn-widget").add_class("sn-question-box")
        self.show_locked()

    @property
    def value(self) -> float | str | None:
        """What was locked in, or None."""
        text = store().prediction(self.lesson, self.name)
        return text if text is None or self.choices else float(text)

    def commit(self) -> None:
        """Lock in what stands in the field; an empty field is asked for again."""
        value = self.field.value if self.choices else number_in(self.field.value)
        if value is None:
            kind = "Choose one first" if self.choices else "Give a number first, such as 42"
            self.said.value = f"{kind}: a wrong bet teaches more than none."
            return
        store().record_prediction(self.lesson, self.name, str(value))
        self.show_locked()

    def show_locked(self) -> None:
        """Close the question once there is a bet."""
        if self.value is not None:
            self.field.disabled = self.lock.disabled = True
            self.said.value = f"Locked in: {html.escape(self.told(self.value))}. The lesson measures it below."

    def told(self, value: float | str) -> str:
        """A value with its unit."""
        return str(value) if self.choices else f"{value:g} {self.unit}".strip()

    def reveal(self, measured: float | str, says: str = "") -> Card:
        """Set the bet beside what was measured; a question nobody answered counts as skipped.

        Args:
            measured: the answer, a number or one of the choices.
            says: a sentence on what it means.
        """
        bet = self.value
        if bet is None:
            store().record_prediction(self.lesson, self.name, None)
        told = [("your bet", "skipped" if bet is None else self.told(bet)), ("measured", self.told(measured))]
        if bet is not None and not self.choices:
            told.append(("gap", self.told(abs(bet - measured))))
        return Card("note", self.question, (*told, *([("", says)] if says else [])))

    def _repr_mimebundle_(self, **keywords) -> dict:
        bundle = dict(super()._repr_mimebundle_(**keywords) or {})
        listed = "".join(f"<li>{html.escape(choice)}</li>" for choice in self.choices)
        return bundle | {
            "text/plain": f"Predict. {self.question}",
            "text/html": f"<p><strong>Predict.</strong> {html.escape(self.question)}</p><ul>{listed}</ul>",
        }


def number_in(text: str) -> float | None:
    """The number a learner typed ("30", "30 %", "2,5"), or None.

    >>> number_in("30 %"), number_in("2,5"), number_in("most")
    (30.0, 2.5, None)
    """
    try:
        value = float(text.replace("%", "").replace(",", ".").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def choice_field(choices: Sequence[str]) -> ipywidgets.RadioButtons:
    """Radio buttons with nothing chosen."""
    return ipywidgets.RadioButtons(
        options=list(choices), value=None, description="Your bet", layout={"width": "max-content"}
    )


def predict(name: str, question: str, *, unit: str = "", choices: Sequence[str] = ()) -> Bet:
    """Ask for a bet before anything is shown: a number with a unit, or one of the choices.

    Nothing waits for the answer. Keep what is returned: `bet.reveal(measured)` answers it later.

    Args:
        name: a short name, under which the bet is kept.
        question: one sentence.
        unit: what the number counts.
        choices: if given, the answer is one of them.

    >>> bet = predict("demo", "How many of four weights can go?", unit="weights")
    >>> bet.reveal(3)
    How many of four weights can go?
      your bet: skipped
      measured: 3 weights

    Lesson 00.
    """
    return Bet(name, question, unit, choices)


class Quiz(ipywidgets.VBox):
    """The questions of a lesson; every choice explains itself when it is clicked. Made by `quiz`."""

    def __init__(self, lesson: int, questions: Sequence[Question]) -> None:
        self.questions = tuple(questions)
        self.boxes = [QuestionBox(lesson, number, question) for number, question in enumerate(questions, start=1)]
        super().__init__([*self.boxes, Keeper(title=f"Quiz of lesson {lesson:02}")])
        self.add_class("sn-widget").add_class("sn-question-box")

    def _repr_mimebundle_(self, **keywords) -> dict:
        bundle = dict(super()._repr_mimebundle_(**keywords) or {})
        asked = [
            f"<li>{html.escape(q.text)}<ul>{''.join(f'<li>{html.escape(choice)}</li>' for choice in shuffled(q.choices))}</ul></li>"
            for q in self.questions
        ]
        return bundle | {"text/plain": f"Quiz: {len(asked)} questions", "text/html": f"<ol>{''.join(asked)}</ol>"}


class QuestionBox(ipywidgets.VBox):
    """One question: a button for each choice, and the explanation of the last one clicked."""

    def __init__(self, lesson: int, number: int, question: Question) -> None:
        self.lesson, self.number, self.question = lesson, number, question
        self.said = ipywidgets.HTML().add_class("sn-said")
        self.buttons = [self.button(choice) for choice in shuffled(question.choices)]
        super().__init__(
            [ipywidgets.HTML(f"<strong>{number}.</strong> {html.escape(question.text)}"), *self.buttons, self.said]
        )

    def button(self, choice: str) -> ipywidgets.Button:
        """The button of a choice."""
        button = ipywidgets.Button(description=choice, layout={"width": "auto", "max_width": "600px"})
        button.on_click(lambda _: self.answer(choice))
        return button

    def answer(self, choice: str) -> None:
        """Explain a choice, and keep it."""
        right = choice == self.question.answer
        store().record_answer(self.lesson, self.number, choice, right=right)
        why = html.escape(self.question.choices[choice])
        self.said.value = f"<strong>{'Right' if right else 'Not this one'}.</strong> “{html.escape(choice)}”: {why}"


def shuffled(choices: Iterable[str]) -> list[str]:
    """The choices in an order that says nothing about them, but stays the same from day to day.

    >>> sorted(shuffled(["a", "b", "c"]))
    ['a', 'b', 'c']
    """
    return sorted(choices, key=lambda choice: zlib.crc32(choice.encode()))


def quiz(lesson: int | None = None) -> Quiz:
    """The quiz of a lesson, by default of the one that was begun.

    Raises:
        CourseError: the lesson has no quiz.

    >>> len(quiz(2).boxes) >= 3
    True

    Lesson 00.
    """
    number = current.lesson() if lesson is None else lesson
    questions = getattr(rubric_of(number), "QUIZ", ())
    if not questions:
        raise CourseError(f"Lesson {number} has no quiz.")
    return Quiz(number, questions)
