"""check, hint, solution, predict, quiz, and the progress they keep."""

from __future__ import annotations

import html
import os
import sqlite3
from pathlib import Path

import pytest
import torch

from course_lib.authoring import solution_source
from course_lib.checking import check, current, hint, predict, quiz, solution
from course_lib.checking.progress import Store, store
from course_lib.errors import CourseError
from course_lib.lesson import begin, lessons_done, show_map, show_savings
from course_lib.rubrics.exercise import rubric_of


def answer(source: str, name: str = "magnitude_mask"):
    """A learner's function, from its source."""
    space: dict = {}
    exec(f"import torch\nfrom torch import Tensor\n{source}", space)
    return space[name]


RIGHT = answer(solution_source("2.1"))
WRONG = answer(
    "def magnitude_mask(w, s):\n    k = max(1, round(s * w.numel()))\n    return w.abs() > w.abs().flatten().kthvalue(k).values"
)
STUB = answer("def magnitude_mask(w, s):\n    raise NotImplementedError('Exercise 2.1')")


def test_four_outcomes() -> None:
    """Passed, failed with the mistake named, raised, not attempted; each says so in its first line."""
    raised = answer("def magnitude_mask(w, s):\n    return w.foo")
    for function, status, word in (
        (RIGHT, "passed", "Passed"),
        (STUB, "not attempted", "Not attempted"),
        (raised, "raised", "error"),
    ):
        card = check(function)
        assert card.status == status
        assert word in card.heading
    failed = check(
        answer(
            "def magnitude_mask(w, s):\n    k = round(s * w.numel())\n    return w.abs() > (w.abs().flatten().sort().values[k - 1] if k else -1)"
        )
    )
    assert failed.status == "failed"
    assert failed.mistake == "ties over-prune"
    assert "Rank the weights" in repr(failed)
    assert "expected" in repr(failed)
    assert "got" in repr(failed)
    assert "0 of 1 points" in failed.heading


def test_failure_is_shown_as_html_without_injection() -> None:
    """What an answer returns is escaped."""
    card = check(answer("def magnitude_mask(w, s):\n    return '<script>alert(1)</script>'"))
    assert "<script>" not in card._repr_html_()
    assert "&lt;script&gt;" in card._repr_html_()


def test_check_is_found_by_name() -> None:
    """A renamed function and a call instead of a function are explained."""
    with pytest.raises(CourseError, match="keep the name of the stub"):
        check(lambda w, s: w)
    with pytest.raises(CourseError, match="without calling it"):
        check(torch.ones(2))


def test_hints_go_on_and_stay_at_the_last() -> None:
    """Three different hints, then the third again."""
    told = [repr(hint("2.1")) for _ in range(4)]
    assert len(set(told[:3])) == 3
    assert told[3] == told[2]


def test_solution_opens_after_three_failures_or_a_pass() -> None:
    """Not before, unless asked to."""
    assert "closed" in solution("2.1").heading
    assert "argsort" in repr(solution("2.1", reveal=True))
    check(STUB), check(STUB), check(STUB)
    assert "closed" in solution("2.1").heading  # an untouched stub is no try
    check(WRONG), check(WRONG)
    assert "one more try" in repr(solution("2.1"))
    check(WRONG)
    assert "argsort" in repr(solution("2.1"))
    check(answer(solution_source("2.4"), "group_scores"))
    assert "mean" in repr(solution("2.4"))


def test_every_exercise_has_a_solution_to_show() -> None:
    """Also the one of lesson 00, which has no notebook of its own."""
    assert "weight" in repr(solution("0.1", reveal=True))


def test_progress_is_kept_and_shown() -> None:
    """The strip, the map and the table know what was passed."""
    assert "0 of 5" in repr(begin(lesson=2))
    check(WRONG), check(RIGHT)
    assert "1 of 5" in repr(begin(lesson=2))
    assert store().summary() == [{"exercise": "2.1", "status": "passed", "points": 1.0, "attempts": 2}]
    assert 0 not in lessons_done()
    check(answer(solution_source_of_lesson_00(), "sparsity"))
    assert 0 in lessons_done()
    assert "(done)" in show_map().text
    assert show_savings().html.count("?") > 10


def test_an_optional_exercise_is_extra() -> None:
    """A lesson is done without it; its points are called extra wherever they stand."""
    setup = "from collections.abc import Callable\n"
    needed = [exercise for exercise in rubric_of(4).EXERCISES if not exercise.optional]
    assert len(needed) == 4
    for exercise in needed:
        assert check(answer(setup + solution_source(exercise.id), exercise.name)).status == "passed"
    assert 4 in lessons_done()
    assert "4 of 4" in repr(begin(lesson=4)) and "○ 4.5 (optional)" in repr(begin(lesson=4))
    extra = check(answer(setup + solution_source("4.5"), "surgeon_removal"))
    assert "2 of 2 extra points (optional)" in extra.heading
    assert "4 of 4" in repr(begin(lesson=4)) and "● 4.5 (optional)" in repr(begin(lesson=4))


def solution_source_of_lesson_00() -> str:
    """The one-line exercise, solved."""
    return "def sparsity(weight):\n    return (weight == 0).float().mean().item()"


def test_begin_sets_seed_and_threads() -> None:
    """Every notebook starts from the same random state, on one thread."""
    begin(lesson=2)
    first = torch.rand(3)
    begin(lesson=2)
    assert torch.equal(first, torch.rand(3))
    assert torch.get_num_threads() == 1
    assert current.lesson() == 2
    with pytest.raises(CourseError, match="no lesson 99"):
        begin(lesson=99)


def test_course_check_can_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where COURSE_RESULTS is set, every check writes a line."""
    monkeypatch.setenv("COURSE_RESULTS", str(tmp_path / "results"))
    check(RIGHT), check(STUB)
    lines = (tmp_path / "results").read_text().splitlines()
    assert '"status": "passed", "points": 1' in lines[0]
    assert '"status": "not attempted", "points": 0' in lines[1]


def test_damaged_progress_is_set_aside(tmp_path: Path) -> None:
    """Never overwritten."""
    path = tmp_path / "progress.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.warns(UserWarning, match="set aside"):
        opened = Store(path)
    opened.record_attempt("2.1", "passed", points=1)
    aside = next(tmp_path.glob("progress.sqlite.damaged-*"))
    assert aside.read_bytes() == b"this is no database" * 100
    assert Store(path).passed("2.1")


def test_truncated_database_is_set_aside(tmp_path: Path) -> None:
    """A file cut in the middle is not a fresh start."""
    path = tmp_path / "progress.sqlite"
    kept = Store(path)
    for number in range(500):
        kept.record_attempt(f"2.{number}", "failed", mistake="x" * 50)
    kept.connection.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="set aside"):
        Store(path)
    assert list(tmp_path.glob("progress.sqlite.damaged-*"))


def test_foreign_database_is_set_aside(tmp_path: Path) -> None:
    """A database of another program, with a table of the same name, is left as it is."""
    path = tmp_path / "progress.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE attempts (something TEXT)")
    other.commit(), other.close()
    with pytest.warns(UserWarning, match="cannot be|set aside"):
        Store(path).record_attempt("2.1", "passed", points=1)


def test_progress_without_a_place_to_write(tmp_path: Path) -> None:
    """A warning, and the notebook goes on."""
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be saved"):
        kept = Store(tmp_path / "file" / "progress.sqlite")
    kept.record_attempt("2.1", "passed", points=1)
    assert kept.passed("2.1")


def test_two_notebooks_write_at_once(tmp_path: Path) -> None:
    """Two kernels share one file."""
    one, two = Store(tmp_path / "p.sqlite"), Store(tmp_path / "p.sqlite")
    one.record_attempt("2.1", "failed")
    two.record_attempt("2.1", "passed", points=1)
    assert one.passed("2.1")
    assert one.summary()[0]["attempts"] == 2


def test_predict_never_waits_and_locks_once() -> None:
    """A skipped bet is recorded; a locked one cannot be changed, and is still there tomorrow."""
    begin(lesson=2)
    bet = predict("share", "How many?", unit="%")
    assert "skipped" in repr(bet.reveal(60))
    bet.commit()
    assert "Give a number" in bet.said.value
    for typed in ("most", "nan", "inf"):
        bet.field.value = typed
        bet.commit()
        assert bet.value is None
    bet.field.value = "30"
    bet.lock.click()
    assert bet.field.disabled
    assert "30 %" in repr(bet.reveal(60))
    assert "gap: 30 %" in repr(bet.reveal(60))
    again = predict("share", "How many?", unit="%")
    again.field.value = "60"
    again.commit()
    assert again.value == 30


def test_predict_with_choices() -> None:
    """A choice is kept as text."""
    begin(lesson=2)
    bet = predict("which", "Which?", choices=["a", "b"])
    bet.commit()
    assert bet.value is None
    bet.field.value = "b"
    bet.commit()
    assert bet.value == "b"
    assert "Which?" in bet._repr_mimebundle_()["text/html"]


def test_right_choices_do_not_stand_in_one_place() -> None:
    """A learner who always clicks the first choice is not always right."""
    boxes = [box for lesson in (0, 1, 2) for box in quiz(lesson).boxes]
    first = [box.buttons[0].description == box.question.answer for box in boxes]
    assert 0 < sum(first) < len(first) / 2 + 1


@pytest.mark.parametrize("lesson", [0, 1, 2])
def test_quiz_explains_every_choice(lesson: int) -> None:
    """Each choice has its own explanation, and exactly one is right."""
    shown = quiz(lesson)
    assert 3 <= len(shown.boxes) <= 5
    for box in shown.boxes:
        assert len(set(box.question.choices.values())) == len(box.question.choices) >= 2
        assert box.question.answer in box.question.choices
        verdicts = []
        for button in box.buttons:
            button.click()
            assert len(box.question.choices[button.description]) > 20
            assert button.description in html.unescape(box.said.value)
            verdicts.append("<strong>Right" in box.said.value)
        assert sum(verdicts) == 1


def test_progress_folder_is_the_learners_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without COURSE_HOME the file lies in the user's data folder, and tests never see that."""
    from course_lib.checking.progress import progress_file

    assert str(progress_file()).startswith(os.environ["COURSE_HOME"])
    monkeypatch.delenv("COURSE_HOME")
    assert "small-nets" in str(progress_file())
