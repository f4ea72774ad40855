"""From the results of an answer to a verdict: passed, failed, raised or not attempted, with the mistake named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    share: float = 1.0  # of the points, if passed
    measured: str = ""  # what the points hang on, in words


def check_answer(
    exercise: Exercise, answer: Callable, seeds: Sequence[int] = SEEDS, *, trusted: bool = False
) -> Verdict:
    """Run an answer in this process on the cases of every seed, and judge it; the first fault ends it.

    `trusted` is for the rubric's own functions: they may use the library. So may what is handed in as a file.

    >>> from course_lib.rubrics.exercise import exercise_of
    >>> exercise = exercise_of("2.1")
    >>> check_answer(exercise, exercise.mistakes[0].wrong, trusted=True).mistake.name == exercise.mistakes[0].name
    True
    """
    verdicts, trusted = [], trusted or bool(exercise.files)
    for seed in seeds:
        cases = exercise.cases(seed)
        outcomes = [run_case(answer, exercise.verb, case.inputs, trusted=trusted) for case in cases]
        verdicts.append(judge(exercise, cases, outcomes))
        if verdicts[-1].status != "passed":
            return verdicts[-1]
    return least(verdicts)


def least(verdicts: Sequence[Verdict]) -> Verdict:
    """Of those that passed, the one with the smallest share of the points."""
    return min(verdicts, key=lambda verdict: verdict.share)


def judge(exercise: Exercise, cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Verdict:
    """The verdict over the outcomes of one seed's cases, wherever they were run."""
    shares = []
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.error == "NotImplementedError":
            return Verdict("not attempted")
        expected = run_trusted(exercise, exercise.reference, case).value
        share, measured = marked(exercise, case, outcome)
        shares.append((share, measured))
        outcome = digested(exercise, case, outcome)
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
                measured=measured,
            )
    share, measured = min(shares, default=(1.0, ""))
    return Verdict("passed", share=share, measured=measured)


def marked(exercise: Exercise, case: Case, outcome: Outcome) -> tuple[float, str]:
    """The share of the points that a passing outcome earns, and what was measured, in words."""
    return (1.0, "") if exercise.marks is None or outcome.error else exercise.marks(case, outcome.value)


def run_trusted(exercise: Exercise, function: Callable, case: Case) -> Outcome:
    """What a function of the rubric gives, as it is compared."""
    return digested(exercise, case, run_case(function, exercise.verb, case.inputs, trusted=True))


def digested(exercise: Exercise, case: Case, outcome: Outcome) -> Outcome:
    """The outcome with what is compared in place of the value."""
    if exercise.digest is None or outcome.error:
        return outcome
    return replace(outcome, value=exercise.digest(case, outcome.value))


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
    outcomes = [digested(exercise, case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
    for mistake in exercise.mistakes:
        wrong = [run_trusted(exercise, mistake.wrong, case) for case in cases]
        if all(same_outcome(exercise, one, other) for one, other in zip(wrong, outcomes, strict=True)):
            return mistake
    return None


def same_outcome(exercise: Exercise, wrong: Outcome, got: Outcome) -> bool:
    """Whether two outcomes are the same result, or the same kind of error."""
    if wrong.error or got.error:
        return wrong.error == got.error
    same = difference(wrong.value, got.value, rtol=exercise.rtol, atol=exercise.atol) is None
    return same and wrong.changed_inputs == got.changed_inputs
