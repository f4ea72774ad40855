"""From the results of an answer to a verdict: passed, failed, raised or not attempted, with the mistake named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_lib.rubrics.compare import difference, shown
from course_lib.rubrics.exercise import Case, Exercise, Mistake
from course_lib.rubrics.verbs import Outcome, run_case

SEEDS = (0, 1, 2, 3, 4)  # what the notebook's check runs; the grading of a class draws its own


@dataclass(frozen=True)
class Verdict:
    """What is said about an answer: `status` is "passed", "failed", "raised" or "not attempted"."""

    status: str
    why: str = ""  # one sentence
    case: str = ""  # what was special about the input
    inputs: str = ""
    expected: object = None
    got: object = None
    mistake: Mistake | None = None


def check_answer(
    exercise: Exercise, answer: Callable, seeds: Sequence[int] = SEEDS, *, trusted: bool = False
) -> Verdict:
    """Run an answer in this process on the cases of every seed, and judge it; the first fault ends it.

    `trusted` is for the rubric's own functions: they may use the library.

    >>> from course_lib.rubrics.exercise import exercise_of
    >>> exercise = exercise_of("2.1")
    >>> check_answer(exercise, exercise.mistakes[0].wrong, trusted=True).mistake.name == exercise.mistakes[0].name
    True
    """
    verdict = Verdict("not attempted")
    for seed in seeds:
        cases = exercise.cases(seed)
        outcomes = [run_case(answer, exercise.verb, case.inputs, trusted=trusted) for case in cases]
        verdict = judge(exercise, cases, outcomes)
        if verdict.status != "passed":
            break
    return verdict


def judge(exercise: Exercise, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict over the outcomes of one seed's cases, wherever they were run."""
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.error == "NotImplementedError":
            return Verdict("not attempted")
        expected = run_case(exercise.reference, exercise.verb, case.inputs, trusted=True).value
        why = fault(exercise, case, outcome, expected)
        if why:
            return Verdict(
                "raised" if outcome.error else "failed",
                why,
                case.says,
                ", ".join(shown(value) for value in case.inputs),
                expected,
                outcome.value,
                named_mistake(exercise, cases, outcomes),
            )
    return Verdict("passed")


def fault(exercise: Exercise, case: Case, outcome: Outcome, expected: object) -> str | None:
    """What is wrong with one outcome, or None."""
    if outcome.error:
        return f"{outcome.error}: {outcome.message}"
    found = difference(expected, outcome.value, rtol=exercise.rtol, atol=exercise.atol)
    if found:
        return found
    if outcome.changed_inputs and not exercise.in_place:
        return "the result is right, but the function changed the values it was given: work on a copy"
    broken = [invariant.says for invariant in exercise.invariants if not invariant.holds(case.inputs, outcome.value)]
    return broken[0] if broken else None


def named_mistake(exercise: Exercise, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Mistake | None:
    """The known mistake that gives the same results on all cases: a wrong name would be worse than none."""
    for mistake in exercise.mistakes:
        wrong = [run_case(mistake.wrong, exercise.verb, case.inputs, trusted=True) for case in cases]
        if all(same_outcome(exercise, one, other) for one, other in zip(wrong, outcomes, strict=True)):
            return mistake
    return None


def same_outcome(exercise: Exercise, wrong: Outcome, got: Outcome) -> bool:
    """Whether two outcomes are the same result, or the same kind of error."""
    if wrong.error or got.error:
        return wrong.error == got.error
    same = difference(wrong.value, got.value, rtol=exercise.rtol, atol=exercise.atol) is None
    return same and wrong.changed_inputs == got.changed_inputs
