"""The widget of lesson 13: what it shows is what a real step did."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
from statistics import median
from time import perf_counter

import pytest
import torch

from course_lib.errors import CourseError
from course_lib.experiments.gradient_checkpointing import by_revolve, in_segments, layer_runs
from course_lib.memory.schedules import count_steps, forward_steps, keep_or_drop
from course_lib.models import deep_chain
from course_lib.widgets.gradient_checkpointing import step_timeline, trace_of
from course_lib.widgets.trace import traced

N = 16


def chain_and_input(kind: str = "plain", n: int = N):
    torch.manual_seed(0)
    return deep_chain(n, 32, kind=kind, dropout=0.1 if kind == "residual" else 0.0), torch.randn(60, 32)


@pytest.fixture(scope="module")
def shown():
    return step_timeline(*chain_and_input())


@pytest.mark.parametrize("amount", [1, 3, 4, 16])
def test_the_numbers_are_those_of_a_real_step(shown, amount: int) -> None:
    chain, x = chain_and_input()
    shown.set(kind="segments", amount=amount)
    assert f"{layer_runs(chain, x, in_segments(amount))} layer runs forward, {N} backward" in shown.alt
    shown.set(kind="revolve", amount=amount)
    assert f"{layer_runs(chain, x, by_revolve(amount))} layer runs forward" in shown.alt
    assert f"steps without a graph: {forward_steps(N, amount)}" in shown.formula.value
    shown.set(kind="keep or drop", amount=amount)
    assert f"{count_steps(keep_or_drop(N, amount))} layer runs forward" in shown.alt


def test_a_plain_step_keeps_everything_until_its_turn() -> None:
    chain, x = chain_and_input()
    trace = trace_of(chain, x, "segments", 1)
    assert trace.events == [("record", k) for k in range(N)] + [("back", k) for k in reversed(range(N))]
    assert {layer: (start, end) for layer, start, end, _, _ in trace.bars if layer in (0, 7)}.keys() == {0, 7}
    for layer, start, end, held, graph in trace.bars:
        assert graph and start == layer and held == pytest.approx(1, abs=0.1)
        assert abs(end - (2 * N - layer)) <= 1


def test_segments_keep_their_inputs_only() -> None:
    chain, x = chain_and_input()
    trace = trace_of(chain, x, "segments", 4)
    waiting = {layer for layer, start, end, _, graph in trace.bars if not graph and end - start > 2}
    assert waiting == {3, 7, 11}  # the outputs of the segments, which are the inputs of the next
    assert trace.peak < 0.6 * trace_of(chain, x, "segments", 1).peak
    assert max(trace.live) == trace.peak
    assert trace.live[round(trace.peak_percent * (len(trace.live) - 1) / 100)] > 0.8 * trace.peak


def test_the_learners_layers_are_left_alone() -> None:
    chain, x = chain_and_input("residual")
    before, state = [p.clone() for p in chain.parameters()], torch.get_rng_state()
    step_timeline(chain, x).set(kind="revolve", amount=3)
    assert all(p.grad is None for p in chain.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, chain.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_layer_may_stand_in_a_chain_twice() -> None:
    layer = torch.nn.Linear(4, 4)
    trace = traced(torch.nn.Sequential(layer, layer), lambda run: run[1](run[0](torch.ones(2, 4))), unit=32)
    assert [place for _, place in trace.events] == [0, 1, 1, 0]


def test_presets_and_every_end_of_every_control_draw(shown) -> None:
    for button in shown.buttons.values():
        button.click()
        ElementTree.fromstring(shown.picture.value)
    for kind in ("segments", "revolve", "keep or drop"):
        for values in ({"amount": 1}, {"amount": N}, {"moment": 0}, {"moment": 100}):
            shown.set(kind=kind, **values)
            ElementTree.fromstring(shown.picture.value)
            assert not shown.alert.value


def test_the_question_is_answered_by_measuring(shown) -> None:
    assert shown.bet.question.answer == "4 segments"
    assert step_timeline(*chain_and_input("residual", 6)).bet.question.answer in ("2 segments", "6 segments")


def test_it_is_small_and_quick(shown) -> None:
    times = []
    for kind in ("segments", "revolve"):
        for amount in range(2, N):
            start = perf_counter()
            shown.set(kind=kind, amount=amount)
            times.append(perf_counter() - start)
            assert len(shown.picture.value) < 30_000
    assert median(times) < 0.1
    png = base64.b64decode(shown._repr_mimebundle_()["image/png"])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 40_000


@pytest.mark.parametrize("n", [3, 33])
def test_other_chains_are_refused(n: int) -> None:
    with pytest.raises(CourseError, match="4 to 32 layers"):
        step_timeline(*chain_and_input(n=n))
