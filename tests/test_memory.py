"""Checkpoints against the plain run, schedules against exhaustive search, accumulation against the big batch."""

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils import checkpoint as torch_checkpoint

from course_lib.errors import CourseError
from course_lib.measure import peak_bytes, saved_bytes
from course_lib.memory import accumulate, checkpoint, checkpoint_sequential, keep_or_drop, revolve, windows
from course_lib.memory.accumulation import split_batch
from course_lib.memory.checkpointing import best_segments
from course_lib.memory.schedules import count_steps, forward_steps, run_plan


def gradients(model, call):
    """The gradients of a call's sum, parameter by parameter."""
    model.zero_grad()
    call().sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def same(model, call, other):
    """Are the gradients bit-identical when both start from one random state?"""
    torch.manual_seed(0)
    first = gradients(model, call)
    torch.manual_seed(0)
    return all(torch.equal(a, b) for a, b in zip(first, gradients(model, other), strict=True))


def deep(n=6, width=8, dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)) for _ in range(n)))


# --- checkpoint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs", [False, True])
def test_gradients_are_bit_identical_with_dropout(needs):
    net, x = deep(dropout=0.5), torch.randn(4, 8)
    x.requires_grad_(needs)
    for segments in range(1, 7):
        assert same(net, lambda: net(x), lambda s=segments: checkpoint_sequential(net, x, segments=s))
    if needs:
        x.grad = None
        torch.manual_seed(0)
        net(x).sum().backward()
        expected, x.grad = x.grad, None
        torch.manual_seed(0)
        checkpoint_sequential(net, x).sum().backward()
        assert torch.equal(x.grad, expected)


def test_the_second_run_leaves_the_random_state_where_the_first_left_it():
    net, x = deep(dropout=0.5), torch.randn(4, 8)
    torch.manual_seed(0)
    loss = checkpoint(net, x).sum()
    state = torch.get_rng_state()
    loss.backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_other_arguments_several_outputs_and_nesting():
    layer = nn.Linear(4, 4)

    def fn(x, times, *, shift, flip=False):
        y = layer(x) * times + shift
        return (y, checkpoint(torch.tanh, -y if flip else y))

    x, shift = torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    results = []
    for call in (fn, lambda *a, **k: checkpoint(fn, *a, **k)):
        x.grad = shift.grad = None
        layer.zero_grad()
        first, second = call(x, 3, shift=shift, flip=True)
        (first.sum() + 2 * second.square().sum()).backward()
        results.append([x.grad.clone(), shift.grad.clone(), layer.weight.grad.clone()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    x.grad = None
    checkpoint(fn, x, 3, shift=shift)[1].sum().backward()  # only one of two outputs is used
    assert x.grad is not None


def test_autocast_is_the_same_in_both_runs():
    layer, x, seen = nn.Linear(4, 4), torch.randn(2, 4), []

    def fn(x):
        out = layer(x)
        seen.append(out.dtype)
        return out.float()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = checkpoint(fn, x)
    out.sum().backward()
    assert seen == [torch.bfloat16, torch.bfloat16]


def test_batch_norm_statistics_move_once():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    twin = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    twin.load_state_dict(net.state_dict())
    x = torch.randn(4, 1, 6, 6)
    assert all(
        torch.equal(a, b)
        for a, b in zip(gradients(net, lambda: checkpoint(net, x)), gradients(twin, lambda: twin(x)), strict=True)
    )
    assert net[1].num_batches_tracked == 1 and torch.equal(net[1].running_var, twin[1].running_var)


def test_nothing_is_kept_but_the_inputs():
    net, x = deep(8, 64), torch.randn(32, 64, requires_grad=True)
    one = 32 * 64 * 4
    parameters = sum(p.numel() for p in net.parameters()) * 4
    assert saved_bytes(lambda: checkpoint(net, x)) <= one + 16
    assert saved_bytes(lambda: net(x)) > 8 * one
    assert parameters  # counted by saved_bytes above, so the comparison is an upper bound for ours


def test_memory_of_segments_is_no_more_than_torchs():
    net, x = deep(16, 64), torch.randn(32, 64)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step = lambda forward: peak_bytes(lambda: forward().sum().backward()) / (32 * 64 * 4)
    ours = step(lambda: checkpoint_sequential(net, x, segments=4))
    theirs = step(lambda: torch_checkpoint.checkpoint_sequential(net, 4, x, use_reentrant=False))
    plain = step(lambda: net(x))
    assert ours <= theirs and ours < 0.7 * plain


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: checkpoint(lambda x: x.add_(1), torch.ones(2)), "in place"),
        (lambda: checkpoint(lambda x: [x], torch.ones(2)), "tuple of tensors"),
        (lambda: checkpoint(lambda x: x * 2, torch.ones(2)).sum().backward(), "needs a gradient"),
        (lambda: checkpoint_sequential([], torch.ones(2)), "no layers"),
        (lambda: checkpoint_sequential([torch.relu], torch.ones(2), segments=2), "at most 1"),
        (lambda: checkpoint_sequential([torch.relu], torch.ones(2), segments=0), "segments"),
        (lambda: revolve(0, 1), "length"),
        (lambda: revolve(3, 0), "slots"),
        (lambda: keep_or_drop(501, 2), "at most 500"),
        (lambda: run_plan([torch.relu], torch.ones(2), keep_or_drop(2, 2)), "2 layers"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()


# --- schedules -----------------------------------------------------------------------------------------------------


@cache
def exhaustive(length, slots):
    """The fewest forward steps, by trying every first split."""
    if length == 1:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    return min(m + exhaustive(length - m, slots - 1) + exhaustive(m, slots) for m in range(1, length))


@pytest.mark.parametrize("slots", range(1, 7))
def test_revolve_is_optimal(slots):
    for length in range(1, 60):
        assert forward_steps(length, slots) == exhaustive(length, slots)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 8))
def test_a_schedule_can_be_carried_out(length, slots):
    kept, at, due, advanced = set(), 0, length - 1, 0
    for action in revolve(length, slots):
        if action.kind == "advance":
            assert at == action.step < action.to
            at, advanced = action.to, advanced + action.to - action.step
        elif action.kind == "keep":
            assert at == action.step
            kept.add(at)
            assert len(kept) <= slots
        elif action.kind == "back":
            assert action.step in kept
            at = action.step
        elif action.kind == "backward":
            assert at == action.step == due
            due -= 1
        else:
            kept.remove(action.step)
    assert due == -1 and not kept and advanced == forward_steps(length, slots)


@cache
def cheapest(length, slots):
    """The fewest runs of layers in all, by trying every plan."""
    if length <= slots:
        return length
    if slots == 1:
        return length * (length + 1) // 2
    drops = (k + cheapest(k, slots) + cheapest(length - k, slots - 1) for k in range(1, length))
    return min(1 + cheapest(length - 1, slots - 1), *drops)


@pytest.mark.parametrize(("length", "slots"), [(1, 1), (5, 1), (7, 2), (12, 3), (20, 5), (50, 10), (50, 60)])
def test_keep_or_drop_runs_as_often_as_its_plan_says(length, slots):
    runs = []

    class Counted(nn.Linear):
        def forward(self, x):
            runs.append(self)
            return super().forward(x)

    net, x = nn.Sequential(*(Counted(3, 3) for _ in range(length))), torch.randn(2, 3)
    plan = keep_or_drop(length, slots)
    expected = gradients(net, lambda: net(x))
    runs.clear()
    assert all(torch.equal(a, b) for a, b in zip(expected, gradients(net, lambda: run_plan(net, x, plan)), strict=True))
    assert len(runs) == count_steps(plan) == cheapest(length, slots)


def test_segments_near_the_root():
    assert all(abs(best_segments(n) - math.sqrt(n)) <= 0.3 * math.sqrt(n) + 1 for n in range(1, 200))


# --- accumulation --------------------------------------------------------------------------------------------------


def relative_error(model, pieces, x, y, **how):
    model.zero_grad()
    accumulate(model, pieces, **how)
    ours = torch.cat([p.grad.flatten() for p in model.parameters()])
    mean = torch.autograd.grad(F.cross_entropy(model(x).flatten(0, -2), y.flatten()), list(model.parameters()))
    whole = torch.cat([g.flatten() for g in mean])
    return ((ours - whole).norm() / whole.norm()).item()


@pytest.mark.parametrize("sizes", [(8, 8, 8, 8), (100, 100, 56), (1, 30)])
def test_ragged_micro_batches_give_the_big_batchs_gradient(sizes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)).double()
    x, y = torch.randn(sum(sizes), 6, dtype=torch.float64), torch.randint(4, (sum(sizes),))
    assert relative_error(model, list(zip(x.split(sizes), y.split(sizes), strict=True)), x, y) < 1e-12


def test_tokens_that_are_padding_do_not_count():
    torch.manual_seed(0)
    model = nn.Linear(6, 4).double()
    x, y = torch.randn(8, 10, 6, dtype=torch.float64), torch.randint(4, (8, 10))
    for row in range(8):
        y[row, row + 2 :] = -100
    pieces = split_batch(x, y, 3)
    assert relative_error(model, pieces, x, y) < 1e-12
    model.zero_grad()
    for a, b in pieces:  # the common recipe: the mean of means
        (F.cross_entropy(model(a).flatten(0, 1), b.flatten()) / len(pieces)).backward()
    wrong = model.weight.grad.clone()
    model.zero_grad()
    accumulate(model, pieces)
    assert ((wrong - model.weight.grad).norm() / model.weight.grad.norm()) > 0.05


def test_memory_is_flat_in_the_number_of_micro_batches():
    model = deep(4, 64)
    x, y = torch.randn(256, 64), torch.randint(64, (256,))
    model.zero_grad(set_to_none=False)
    gradients(model, lambda: model(x[:1]))
    kept = lambda n: peak_bytes(lambda: accumulate(model, split_batch(x[: 32 * n], y[: 32 * n], 32)))
    assert kept(8) <= 1.05 * kept(2)
    big = saved_bytes(lambda: F.cross_entropy(model(x), y))
    little, labels = x[:32].clone(), y[:32].clone()
    small = saved_bytes(lambda: F.cross_entropy(model(little), labels))
    weights = sum(p.numel() for p in model.parameters()) * 4
    assert small - weights <= (big - weights) / 7


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 9))
def test_no_batch_is_lost(n, size):
    groups = list(windows(range(n), size))
    assert [b for group in groups for b in group] == list(range(n))
    assert all(len(group) == size for group in groups[:-1]) and len(groups) == math.ceil(n / size)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda m, x, y: accumulate(m, []), "no micro-batches"),
        (lambda m, x, y: accumulate(m, [(x, y), (x[:0], y[:0])]), "Micro-batch 1"),
        (lambda m, x, y: accumulate(m, [(x, y - 200)], count=lambda y: 0), "Nothing in this window"),
        (lambda m, x, y: accumulate(m, [(x, torch.full_like(y, -100))]), "Nothing in this window"),
        (lambda m, x, y: accumulate(m, ((a, b) for a, b in [(x, y)])), "whole window"),
        (lambda m, x, y: accumulate(m, [(x, y)], loss_sum=lambda a, b: a), "one number"),
        (lambda m, x, y: list(windows([1], 0)), "n_accumulate"),
    ],
)
def test_bad_windows_are_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad(nn.Linear(3, 2), torch.randn(4, 3), torch.randint(2, (4,)))
