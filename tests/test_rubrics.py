"""Every rubric: the reference passes, the stub is not attempted, each known mistake is rejected and named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.authoring import solution_source
from course_lib.errors import CourseError
from course_lib.rubrics import exercise as rubrics
from course_lib.rubrics.compare import difference
from course_lib.rubrics.exercise import Exercise, Mistake, exercise_of, rubric_of
from course_lib.rubrics.judge import check_answer, judge
from course_lib.rubrics.verbs import BuiltIn, ModelSpec, Outcome, model_spec, run_case
from course_lib.rubrics.wire import pack, unpack

LESSONS = [lesson for lesson, stem in rubrics.LESSON_STEMS.items()]
EXERCISES = [exercise for lesson in LESSONS for exercise in rubric_of(lesson).EXERCISES]
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]
REPOSITORY = Path(__file__).parents[1]
SEEDS = range(100, 106)  # none of those that the notebook's check uses
FEW = SEEDS[:2]  # where an answer is a trained network


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_rubric_is_complete(exercise: Exercise) -> None:
    """At least five mistakes, three hints, all named once."""
    names = [mistake.name for mistake in exercise.mistakes]
    assert len(names) >= 5
    assert len(set(names)) == len(names)
    assert len(exercise.hints) == 3
    assert exercise.points > 0
    assert exercise.id.split(".")[0] == str(int(exercise.id.split(".")[0]))


def test_names_and_ids_are_used_once() -> None:
    """check() finds an exercise by the name of its function, in the whole course."""
    assert len({exercise.name for exercise in EXERCISES}) == len(EXERCISES)
    assert len({exercise.id for exercise in EXERCISES}) == len(EXERCISES)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_reference_passes(exercise: Exercise) -> None:
    """On seeds the notebook does not use, and twice in the same way."""
    seeds = SEEDS if exercise.digest is None else FEW
    verdict = check_answer(exercise, exercise.reference, seeds, trusted=True)
    assert verdict.status == "passed", verdict.why


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_stub_is_not_attempted(exercise: Exercise) -> None:
    """The stub of the exercise notebook scores nothing, and says so."""

    def stub(*arguments: object) -> None:
        raise NotImplementedError(f"Exercise {exercise.id}")

    assert check_answer(exercise, stub).status == "not attempted"


@pytest.mark.parametrize(
    ("exercise", "mistake"), MISTAKES, ids=lambda value: getattr(value, "id", getattr(value, "name", ""))
)
def test_mistake_is_rejected_and_named(exercise: Exercise, mistake: Mistake) -> None:
    """On every seed, by itself."""
    for seed in SEEDS if exercise.digest is None else FEW:
        verdict = check_answer(exercise, mistake.wrong, [seed], trusted=True)
        assert verdict.status in ("failed", "raised"), seed
        assert verdict.mistake is not None, (seed, verdict.why)
        assert verdict.mistake.name == mistake.name, seed


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
@pytest.mark.parametrize("answer", [0.5, None, True, "right", [], float("nan")], ids=repr)
def test_constant_answers_fail(exercise: Exercise, answer: object) -> None:
    """`return 0.5` earns nothing."""
    assert check_answer(exercise, lambda *arguments: answer).status == "failed"


class EqualToEverything:
    """An object that claims to be equal to anything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_equality_cannot_be_claimed(exercise: Exercise) -> None:
    """Values are compared by us, not by the answer."""
    assert check_answer(exercise, lambda *arguments: EqualToEverything()).status == "failed"


CHILD = """
import sys, torch
torch.set_num_threads(1)  # as in the notebook and in the grading of a class
from course_lib.rubrics.verbs import run_case
from course_lib.rubrics.wire import pack, unpack
assert not any(name.startswith(("course_lib.pruning", "course_lib.training", "course_lib.data")) for name in sys.modules)
job = unpack(sys.stdin.buffer.read())
space = {"__name__": "answer"}
exec(job["source"], space)
outcomes = {name: [run_case(space[name], verb, tuple(i)) for i in cases] for name, verb, cases in job["exercises"]}
sys.stdout.buffer.write(pack(outcomes))
"""


def setup_source(lesson: int) -> str:
    """The cells of a solutions source that are tagged as set-up: what an answer may take for granted."""
    import jupytext

    path = REPOSITORY / "solutions" / "src" / f"{rubrics.LESSON_STEMS[lesson]}.py"
    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    return "\n".join(cell.source for cell in cells if "setup" in cell.metadata.get("tags", []))


def run_in_child(exercises: list[Exercise], source: str, seed: int) -> dict[str, list[Outcome]]:
    """Run answers in a process of their own; only bytes cross the border."""
    job = {
        "source": source,
        "exercises": [[e.name, e.verb, [case.inputs for case in e.cases(seed)]] for e in exercises],
    }
    done = subprocess.run([sys.executable, "-c", CHILD], input=pack(job), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return unpack(done.stdout)


@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if lesson > 0])
def test_rubric_crosses_a_process_border(lesson: int) -> None:
    """Run in another process, the published solutions pass, and the same answers in a list fail."""
    exercises = [exercise for exercise in rubric_of(lesson).EXERCISES if not exercise.files]  # a file is only read
    source = "\n".join([setup_source(lesson), *(solution_source(exercise.id) for exercise in exercises)])
    for exercise in exercises:
        source += f"\ndef wrong_{exercise.name}(*a): return [{exercise.name}(*a), 1]\n"
    wrong = [replace(exercise, name=f"wrong_{exercise.name}") for exercise in exercises]
    outcomes = run_in_child(exercises + wrong, source, seed=7)
    for exercise in exercises + wrong:
        verdict = judge(exercise, exercise.cases(7), outcomes[exercise.name])
        assert verdict.status == ("failed" if exercise in wrong else "passed"), (exercise.name, verdict.why)


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, "text", [1, [2.0, "a"]], {"a": torch.ones(2), 3: [None]},
        torch.tensor([True, False]), torch.zeros(0, 3), torch.tensor(1.5, dtype=torch.float64),
    ],
    ids=repr,
)  # fmt: skip
def test_wire_brings_values_back(value: object) -> None:
    """Whatever goes over the wire comes back equal."""
    assert difference(value, unpack(pack(value)), rtol=0, atol=0) is None


def test_wire_brings_stand_ins_back() -> None:
    """A model and a built-in cross as specifications."""
    spec = unpack(pack(model_spec("mlp", seed=3, sizes=[4, 2])))
    assert isinstance(spec, ModelSpec)
    value = run_case(
        lambda model, work: [model(torch.ones(1, 4)).shape[1], work()],
        "call",
        (spec, BuiltIn("fake_work", {"times_ms": [1.0]})),
    )
    assert value.value == [2, None]


def test_wire_refuses_other_objects() -> None:
    """Nothing that would need pickle."""
    with pytest.raises(CourseError, match="cannot be handed in"):
        pack({"a": object()})


def test_answers_may_not_borrow() -> None:
    """Importing the technique, before or inside the answer, is refused and named."""
    space: dict = {}
    exec(
        "from course_lib.pruning import masks_from_scores\ndef magnitude_mask(w, s):\n    return masks_from_scores({'w': w.abs()}, s)['w']",
        space,
    )
    outside = check_answer(exercise_of("2.1"), space["magnitude_mask"])
    exec(
        "def magnitude_mask(w, s):\n    from course_lib.pruning import masks_from_scores\n    return masks_from_scores({'w': w.abs()}, s)['w']",
        space,
    )
    inside = check_answer(exercise_of("2.1"), space["magnitude_mask"])
    exec(
        "import course_lib.pruning as p\ndef helper(w, s):\n    return p.masks_from_scores({'w': w.abs()}, s)['w']\ndef magnitude_mask(w, s):\n    return helper(w, s)",
        space,
    )
    helper = check_answer(exercise_of("2.1"), space["magnitude_mask"])
    exec(
        "def magnitude_mask(w, s):\n    import importlib\n    return importlib.import_module('course_lib.pruning').masks_from_scores({'w': w.abs()}, s)['w']",
        space,
    )
    for verdict in (outside, inside, helper):
        assert verdict.status == "raised"
        assert "asks you to write it" in verdict.why


def test_the_reference_itself_is_refused() -> None:
    """check(the library's own function) earns nothing."""
    verdict = check_answer(exercise_of("2.1"), exercise_of("2.1").reference)
    assert verdict.status == "raised"


def test_errors_become_verdicts() -> None:
    """An error in an answer is told with its line, and ends nothing."""

    def magnitude_mask(weight, sparsity):
        return weight.no_such_thing

    verdict = check_answer(exercise_of("2.1"), magnitude_mask)
    assert verdict.status == "raised"
    assert "no_such_thing" in verdict.why
    assert "line" in verdict.why


def test_changed_inputs_are_seen() -> None:
    """A right result is not enough if the caller's tensor was written to."""

    def group_scores(weight, granularity):
        return weight.abs_().mean(dim=(2, 3) if granularity == "kernel" else (1, 2, 3))

    verdict = check_answer(exercise_of("2.4"), group_scores)
    assert verdict.status == "failed"
    assert "changed the values" in verdict.why


def test_inputs_are_fresh_for_every_run() -> None:
    """What one answer does to its inputs never reaches the next one."""
    inputs = (torch.ones(3), [torch.zeros(2)], {"a": torch.ones(1)})

    def vandal(weight, pair, named):
        weight.zero_(), pair[0].fill_(7), named.clear()

    assert run_case(vandal, "call", inputs).changed_inputs
    assert torch.equal(inputs[0], torch.ones(3))
    assert torch.equal(inputs[1][0], torch.zeros(2))
    assert list(inputs[2]) == ["a"]


def test_verbs() -> None:
    """Gradients and the state after an in-place change come back as values."""
    gradients = run_case(lambda x: x**2, "call_with_gradients", (torch.tensor([3.0]),)).value
    assert gradients["gradients"][0].item() == 6.0

    def zero_(model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.data.zero_()

    state = run_case(zero_, "model_after_call", (model_spec("mlp", seed=0, sizes=[2, 2]),)).value
    assert not any(tensor.any() for tensor in state.values())


@pytest.mark.parametrize("bad", ["99.1", "2.99", "two", ""])
def test_unknown_exercise(bad: str) -> None:
    """The error lists what there is."""
    with pytest.raises(CourseError):
        exercise_of(bad)
