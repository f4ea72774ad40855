"""Lesson 15: what an answer may not borrow, how a trained network is judged, and the experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from course_lib import models
from course_lib.cli import runs
from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.evidence import Summary
from course_lib.experiments import efficient_architectures as experiment
from course_lib.experiments.structured_pruning import macs
from course_lib.rubrics import signs
from course_lib.rubrics.efficient_architectures import clear, drawn_scaling
from course_lib.rubrics.exercise import exercise_of
from course_lib.rubrics.judge import check_answer, judge
from course_lib.rubrics.verbs import Outcome, run_case
from course_lib.rubrics.wire import pack, unpack

BORROWING = {
    "imported before": "from course_lib.models import Fire\ndef f(a): return Fire(8, 2, 4)(a)",
    "imported inside": "def f(a):\n    from course_lib.models import Fire\n    return Fire(8, 2, 4)(a)",
    "from its own file": "def f(a):\n    from course_lib.models.efficient import Fire\n    return Fire(8, 2, 4)(a)",
    "through the room": "import course_lib.models as m\ndef f(a): return m.Fire(8, 2, 4)(a)",
    "through the room, inside": "def f(a):\n    from course_lib import models\n    return models.squeezenet()",
    "the whole path": "import course_lib.models\ndef f(a): return course_lib.models.separable_conv(8, 4)(a)",
    "in a helper": "from course_lib import models as m\ndef g(a): return m.mobilenet()\ndef f(a): return g(a)",
    "a network made before": "from course_lib.models import Fire\nnet = Fire(8, 2, 4)\ndef f(a): return net(a)",
}
ALLOWED = {
    "another network": "from course_lib.models import mlp\ndef f(a): return mlp((3, 2))",
    "another one through the room": "import course_lib.models as m\ndef f(a): return m.mlp((3, 2))",
    "another one inside": "def f(a):\n    from course_lib.models import mlp\n    return mlp((3, 2))",
    "one's own of the same name": "from course_lib import models\nFire = lambda a: models.mlp((3, 2))\ndef f(a): return Fire(a)",
    "a word of the same name": "def f(a):\n    a.Fire = 3 if False else None if hasattr(a, 'Fire') else None\n    return 1",
}


def outcome_of(source: str) -> Outcome:
    space = {"__name__": "answer"}
    exec(source, space)
    return run_case(space["f"], "call", (torch.zeros(1, 8, 4, 4),))


@pytest.mark.parametrize("way", BORROWING)
def test_the_blocks_are_refused(way: str) -> None:
    outcome = outcome_of(BORROWING[way])
    assert outcome.error == "CourseImportRefused", outcome
    assert "asks you to write it" in outcome.message


@pytest.mark.parametrize("way", ALLOWED)
def test_other_networks_are_not(way: str) -> None:
    assert outcome_of(ALLOWED[way]).error is None


# --- a trained network is handed in --------------------------------------------------------------------------------

CASE = signs.sign_case(3)
RIGHT = {"form": signs.FORM, "MACs": "within the budget", "accuracy": "at least 90 %"}


@pytest.fixture(scope="module")
def trained() -> dict:
    return signs.train_mobilenet(*CASE.inputs)


def test_the_pictures_to_test_on_are_others() -> None:
    x, y, budget, start = CASE.inputs
    hidden, labels = CASE.hidden
    assert x.shape == (480, 1, 8, 8) and y.unique().tolist() == list(range(6))
    assert not any(torch.equal(picture, other) for picture in hidden[:50] for other in x)
    assert budget > 0 and start != 3
    assert signs.sign_case(4).inputs[2:] != (budget, start)
    assert labels.unique().tolist() == list(range(6))


def test_a_right_network_passes_across_the_border(trained: dict) -> None:
    back = unpack(pack(trained))
    assert signs.verdict(CASE, back) == RIGHT
    assert judge(exercise_of("15.4"), [CASE], [Outcome(back)]).status == "passed"


def test_the_macs_are_counted_by_us(trained: dict) -> None:
    """What an answer says of itself is no part of the verdict; a lie is no plan and state."""
    assert signs.verdict(CASE, trained | {"macs": 1})["form"] == "no plan and state"
    wide = signs.widened(40)
    lie = {"plan": trained["plan"], "state": signs.build(wide).state_dict()}
    assert signs.verdict(CASE, lie)["form"] == "weights of another network"
    assert signs.verdict(CASE, lie | {"plan": wide})["MACs"] == "far over the budget"


@pytest.mark.parametrize(
    "plan",
    [
        [[4, 1]], [], "plan", None, [[4, 1], [8, 3]], [[4, 1], [0, 1]], [[4, 1], [10**9, 1]], [[4, 1]] * 100, [[4, True], [8, 2]],
        [[4.0, 1], [8, 2]], [4, 1], torch.ones(2, 2), [[4, 1, 1], [8, 2]],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_plan_is_not_built(plan: object, trained: dict) -> None:
    assert signs.verdict(CASE, trained | {"plan": plan})["form"] == "a plan that is none"


@pytest.mark.parametrize(
    ("change", "form"),
    [
        (lambda state: {}, "weights of another network"),
        (lambda state: state | {"0.weight": "text"}, "weights of another network"),
        (lambda state: state | {"more": torch.ones(1)}, "weights of another network"),
        (lambda state: state | {"0.weight": state["0.weight"][None]}, "weights of another network"),
        (lambda state: state | {3: torch.ones(1)}, "weights of another network"),
        (lambda state: state | {"1.bias": state["1.bias"] + float("nan")}, "weights that are no numbers"),
        (lambda state: {k: v for k, v in state.items() if "running" not in k}, "running statistics missing"),
    ],
)
def test_damaged_states_are_named(change, form: str, trained: dict) -> None:
    assert signs.verdict(CASE, trained | {"state": change(trained["state"])})["form"] == form


def test_other_kinds_of_numbers_are_loaded(trained: dict) -> None:
    """A network trained in double precision is as good."""
    double = {name: value.double() if value.is_floating_point() else value for name, value in trained["state"].items()}
    assert signs.verdict(CASE, trained | {"state": double}) == RIGHT


def test_labels_learned_by_heart_do_not_help() -> None:
    """A network trained on a dozen pictures does well on those, and not on others."""
    x, y, budget, seed = CASE.inputs
    few = signs.learned(signs.widest_plan(budget), x[:12], y[:12], seed, steps=120)
    assert signs.accuracy_of(few, x[:12], y[:12]) > 0.9
    assert signs.verdict(CASE, few)["accuracy"] != "at least 90 %"


def test_another_way_to_train_passes() -> None:
    """Another plan, another optimiser."""

    def train_mobilenet(x, y, budget, seed):
        torch.manual_seed(seed)
        width, plan = 1, []
        while signs.macs([[width, 1], [2 * width, 2], [2 * width, 1]]) <= budget:
            plan = [(width, 1), (2 * width, 2), (2 * width, 1)]
            width += 1
        net = signs.build(plan)
        mean = [torch.zeros_like(p) for p in net.parameters()]
        square = [torch.zeros_like(p) for p in net.parameters()]
        for step in range(1, 161):
            rows = torch.randperm(len(x))[:64]
            net.zero_grad()
            torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for p, m, s in zip(net.parameters(), mean, square, strict=True):
                    m.lerp_(p.grad, 0.1), s.lerp_(p.grad**2, 0.01)
                    p -= 0.01 * (m / (1 - 0.9**step)) / ((s / (1 - 0.99**step)).sqrt() + 1e-8)
        return {"plan": plan, "state": net.state_dict()}

    assert check_answer(exercise_of("15.4"), train_mobilenet, [1], trusted=True).status == "passed"


def test_the_cases_of_compound_scaling_lie_off_every_border() -> None:
    for seed in range(20):
        inputs = drawn_scaling(torch.Generator().manual_seed(seed), (1, 3, 0.5))
        assert clear(*inputs)
    assert not clear([[24, 5]], 224, 1, 1.2, 1.1, 1.15)  # 5 layers times 1.2 are 6, or hardly more


# --- the experiment ------------------------------------------------------------------------------------------------


def test_all_kinds_give_the_same_channels() -> None:
    for kind in experiment.BLOCKS:
        net = experiment.small_net(kind, (3, 28, 28), 7)
        assert net(torch.zeros(2, 3, 28, 28)).shape == (2, 7)
        assert net[-1].in_features == 96
    separable = macs(experiment.small_net("separable"), (1, 8, 8))
    width = experiment.width_for("standard", separable)
    assert macs(experiment.small_net("standard", width=width), (1, 8, 8)) <= separable
    assert macs(experiment.small_net("standard", width=width + 1 / 24), (1, 8, 8)) > separable


def test_pairs_see_the_same_examples_and_learn() -> None:
    folds = [load("digits", fold=fold) for fold in range(2)]
    nets = experiment.trained("separable", folds, steps=60)
    again = experiment.trained("separable", folds, steps=60)
    assert torch.equal(nets[1][-1].weight, again[1][-1].weight)
    assert min(experiment.test_accuracies(nets, folds)) > 0.6


def test_course_run_15_runs_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "WIDTHS", (0.25,))
    units = experiment.units("digits", trials=2, iterations=6)
    assert len({json.dumps(unit) for unit in units}) == len(units) == 8
    first = runs.run(experiment, units, tmp_path / "results.jsonl", note=print)
    assert runs.run(experiment, units, tmp_path / "results.jsonl", note=print) == first
    assert all(kind in first for kind in experiment.BLOCKS) and "±" in first


def test_wider_and_deeper_efficientnets_are_the_published_ones() -> None:
    """B1 to B4, beside torchvision's."""
    import torchvision

    for name, width, depth in (("b1", 1.0, 1.1), ("b2", 1.1, 1.2), ("b3", 1.2, 1.4), ("b4", 1.4, 1.8)):
        with torch.device("meta"):
            theirs = getattr(torchvision.models, f"efficientnet_{name}")()
        ours = models.empty(models.efficientnet, width=width, depth=depth)
        assert sorted(p.shape for p in ours.parameters()) == sorted(p.shape for p in theirs.parameters())


def test_the_standard_twin_of_mobilenet_has_the_published_cost() -> None:
    twin = models.empty(models.mobilenet, block=models.standard_conv)
    assert sum(p.numel() for p in twin.parameters()) / 1e6 == pytest.approx(29.3, abs=0.05)
    assert macs(twin, (3, 224, 224)) / 1e6 == pytest.approx(4866, rel=1e-3)


def test_trade_off_draws_each_point_with_its_bar_and_plain_numbers() -> None:
    from course_lib.viz import trade_off

    points = {"a": (56.8, Summary(0.98, 0.01, 5)), "b": (346.5, 0.99)}
    picture = trade_off(points, xlabel="MACs", ylabel="accuracy", caption="Two.", logx=True, percent=True)
    assert picture.alt == "Points of accuracy over MACs. a: 98.0 % at 56.8; b: 99.0 % at 346."
    picture.figure.canvas.draw()
    ticks = [label.get_text() for label in picture.figure.axes[0].get_xticklabels()]
    assert "100" in ticks and not any("10^" in tick for tick in ticks)
    with pytest.raises(CourseError, match="no point to draw"):
        trade_off({}, xlabel="x", ylabel="y", caption="None.")
