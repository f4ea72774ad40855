"""A chain carried back by revolve's schedule: the plain run's gradients, the promised runs and slots."""

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.experiments.gradient_checkpointing import (
    by_plan,
    by_revolve,
    fewest_by_search,
    gradients,
    in_segments,
    layer_runs,
    peak_activations,
    plain,
    report,
    units,
)  # fmt: skip
from course_lib.memory import revolve, run_revolve
from course_lib.memory.schedules import forward_steps
from course_lib.models import deep_chain


def identical(a, b):
    return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ["plain", "residual", "gated"])
@pytest.mark.parametrize("slots", [1, 2, 3, 7, 12])
def test_gradients_are_bit_identical_with_dropout(kind, slots):
    torch.manual_seed(1)
    chain, x = deep_chain(9, 8, kind=kind, dropout=0.4), torch.randn(5, 8)
    assert identical(gradients(chain, x, plain), gradients(chain, x, by_revolve(slots)))


def test_the_input_gets_its_gradient_and_the_random_state_stays():
    chain, x = deep_chain(6, 8, dropout=0.4), torch.randn(5, 8, requires_grad=True)
    found = []
    for way in (plain, by_revolve(2)):
        x.grad = None
        torch.manual_seed(0)
        loss = way(chain, x).square().sum()
        torch.rand(3)
        loss.backward()
        found.append((x.grad.clone(), torch.rand(3)))
    assert identical(*found)


@pytest.mark.parametrize(("length", "slots"), [(1, 1), (2, 1), (7, 1), (12, 3), (20, 5), (20, 30)])
def test_layers_run_as_often_as_the_schedule_says(length, slots):
    chain, x = deep_chain(length, 4), torch.randn(3, 4)
    assert layer_runs(chain, x, by_revolve(slots)) == forward_steps(length, slots) + length


def test_each_slot_costs_one_activation():
    chain, x = deep_chain(30, 32), torch.randn(64, 32)
    peaks = [peak_activations(chain, x, by_revolve(slots)) for slots in (1, 2, 3, 5, 9)]
    assert [round(peak - peaks[0]) for peak in peaks] == [0, 1, 2, 4, 8]
    assert peaks[0] < 8


def test_batch_norm_statistics_move_once():
    chain = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(5)))
    run_revolve(chain, torch.randn(8, 4), slots=2).sum().backward()
    assert [int(layer[1].num_batches_tracked) for layer in chain] == [1] * 5


@pytest.mark.parametrize("slots", range(1, 5))
def test_no_order_of_actions_is_shorter(slots):
    for length in range(1, 8):
        assert fewest_by_search(length, slots) == forward_steps(length, slots)
        assert sum(a.to - a.step for a in revolve(length, slots) if a.to) == forward_steps(length, slots)


def test_peaks_of_segments_are_lowest_near_the_root():
    chain, x = deep_chain(36, 32), torch.randn(64, 32)
    peaks = {k: peak_activations(chain, x, in_segments(k)) for k in (1, 2, 4, 6, 9, 18, 36)}
    assert min(peaks, key=peaks.get) == 6
    assert peak_activations(chain, x, by_plan(9)) < 0.95 * peaks[6]
    residual = deep_chain(36, 32, kind="residual")  # four activations inside, one at a cut: the root of 4 n
    peaks = {k: peak_activations(residual, x, in_segments(k)) for k in (1, 2, 4, 6, 12, 18, 36)}
    assert min(peaks, key=peaks.get) == 12


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: run_revolve([], torch.ones(2), slots=1), "no layers"),
        (lambda: run_revolve([torch.relu], torch.ones(2), slots=0), "slots"),
        (lambda: run_revolve([torch.relu, lambda x: x.add_(1), torch.relu], torch.ones(2), slots=1), "in place"),
        (lambda: deep_chain(0, 3), "blocks"),
        (lambda: deep_chain(3, 3, kind="curly"), "kind"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()


def test_a_second_backward_is_refused():
    loss = run_revolve(deep_chain(4, 3), torch.randn(2, 3), slots=2).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(CourseError, match="backward can run once"):
        loss.backward()


def test_course_run_measures_and_compares(monkeypatch):
    from course_lib.experiments import gradient_checkpointing as lesson

    monkeypatch.setattr(lesson, "BLOCKS", 9)
    monkeypatch.setattr(lesson, "SCHEDULES", {"plain": plain, "3 segments": in_segments(3), "revolve": by_revolve(2)})
    rows = [lesson.measure(unit) for unit in units("digits", trials=2, iterations=1)]
    said = report(rows)
    assert len(said.splitlines()) == 3
    assert said.count("identical") == 3
    assert report(rows[:3]).count("identical") == 3
    rows[1]["gradient"] = "other"
    assert "DIFFERS" in report(rows)
    assert rows[2]["peak_mb"] < rows[1]["peak_mb"] < rows[0]["peak_mb"]
