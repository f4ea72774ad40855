"""Lesson 09's experiment: registers that wrap, gaps to the twin, faults that codes show, and `course run 09`."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from course_lib.cli import runs
from course_lib.data import load
from course_lib.experiments import integer_arithmetic as experiment
from course_lib.quantization.fixed_point import requantize, wrapped
from course_lib.quantization.integer import to_integer
from course_lib.quantization.integer_faults import (
    products_of,
    real_multiplier,
    with_accumulators,
    with_multipliers,
    without_rounding,
)


@pytest.fixture(scope="module")
def trained():
    data = load("digits")
    (model,) = experiment.trained([data], steps=80)
    return model, to_integer(model, data.train.x[:200]), data.test


def test_wide_registers_change_nothing_and_narrow_ones_destroy(trained):
    _, network, test = trained
    right = network.run(network.grid.quantize(test.x))
    for bits in (24, 32):
        wide = with_accumulators(network, bits)
        assert torch.equal(wide.run(wide.grid.quantize(test.x)), right)
    for bits in (8, 16):
        logits = experiment.logits_of(with_accumulators(network, bits), test.x)
        assert experiment.accuracy(logits, test.y) < 0.5 < experiment.accuracy(right, test.y)


def test_a_wrapped_layer_is_the_arithmetic_of_such_a_register(trained):
    _, network, _ = trained
    layer = products_of(network)[0]
    narrow = products_of(with_accumulators(network, 12))[0]
    sums = torch.randint(-5000, 5000, (50, len(layer.codes)), dtype=torch.int32)
    wanted = requantize(wrapped(sums + layer.bias, 12).int(), layer.m0, layer.shift, layer.out.zero_point)
    assert torch.equal(narrow.rescale(sums), wanted)
    assert not torch.equal(layer.rescale(sums), wanted)


def test_the_sums_are_those_that_are_rescaled(trained):
    _, network, test = trained
    seen = {}
    network.run(network.grid.quantize(test.x[:9]), watch=lambda step, inputs: seen.update({step.name: inputs}))
    sums = experiment.sums_of(network, test.x[:9])
    layers = {step.name: step.layer for step in network.steps}
    assert len(sums) == len(products_of(network)) == 5
    for name, values in sums.items():
        layer = layers[name]
        assert torch.equal(layer.rescale(values - layer.bias), layer.rescale(layer.products(*seen[name])))
        assert experiment.requantization_gap(layer, values) == 0


def test_every_code_that_differs_is_a_tie(trained):
    _, network, test = trained
    for gap in experiment.gaps_on_equal_inputs(network, test.x).values():
        assert gap.largest <= 1
        assert gap.share < 0.01
        assert gap.from_tie < 1e-3


def test_a_fault_is_seen_in_the_gaps(trained):
    _, network, test = trained
    for faulty in (without_rounding(network), with_multipliers(network, 4)):
        gaps = experiment.gaps_on_equal_inputs(faulty, test.x[:50])
        assert max(gap.share for gap in gaps.values()) > 0.05
        assert max(gap.from_tie for gap in gaps.values()) > 0.1
    assert all(layer.m0.max() < 16 for layer in products_of(with_multipliers(network, 4)))
    assert (products_of(network)[0].multiplier / real_multiplier(products_of(network)[0]) - 1).abs().max() < 1e-6


def test_disagreements_are_found_with_their_margin(trained):
    _, network, test = trained
    assert len(experiment.disagreements(network, test.x)) <= 0.005 * len(test.x)
    spoiled = copy.deepcopy(network)
    last = products_of(spoiled)[-1]
    last.offset = last.offset.flip(0)  # the integer half only: its twin has biases of its own
    margins = experiment.disagreements(spoiled, test.x)
    logits = experiment.logits_of(spoiled, test.x).argmax(1), experiment.logits_of(spoiled.simulated, test.x).argmax(1)
    assert len(margins) == int((logits[0] != logits[1]).sum()) > 0
    assert (margins >= 0).all()


def test_torchs_own_int8_network_predicts_alike(trained):
    model, _, test = trained
    peer = experiment.torch_int8(model, test.x)
    if peer is None:
        pytest.skip("this torch has no int8 layers for this processor")
    assert (peer(test.x).argmax(1) == model(test.x).argmax(1)).double().mean() > 0.95


def test_it_runs_and_resumes(tmp_path: Path) -> None:
    units = experiment.units("digits", trials=2, iterations=20)
    assert len({json.dumps(unit) for unit in units}) == 2
    path = tmp_path / "results.jsonl"
    first = runs.run(experiment, units, path, note=print)
    assert runs.run(experiment, units, path, note=print) == first
    assert "accuracy, 16-bit sums" in first
    assert "agreement" in first
    assert "±" in first
    assert "agreement" in experiment.report([json.loads(path.read_text().splitlines()[0])["result"]])
