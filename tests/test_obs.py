"""Optimal Brain Surgeon against torch's inverse, against constrained minimisation, and on XOR and MONK's problems."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from course_lib.data import monks, xor
from course_lib.errors import CourseError
from course_lib.pruning.obs import inverse_hessian, removals, surgeon_step

QUICK = settings(deadline=None, max_examples=40)


def summed_outer_products(model, x):
    """1/P Σ X Xᵀ from torch's jacobian."""
    names, values = zip(*((name, value.detach()) for name, value in model.named_parameters()), strict=True)
    run = lambda *given: torch.func.functional_call(model, dict(zip(names, given, strict=True)), (x,))  # noqa: E731
    parts = torch.autograd.functional.jacobian(run, values)  # each (P, outputs, *shape)
    jacobian = torch.cat([part.flatten(2) for part in parts], dim=2).flatten(0, 1)  # (P · outputs, n)
    return jacobian.T @ jacobian / len(x)


def positive(n, seed):
    """A random positive definite matrix."""
    root = torch.randn(n, n + 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / n


@pytest.mark.parametrize("damping", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_recursion_gives_the_inverse_of_the_sum(damping, outputs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    x = torch.randn(30, 4, dtype=torch.float64)
    hessian = summed_outer_products(model, x) + damping * torch.eye(sum(p.numel() for p in model.parameters()))
    found = inverse_hessian(model, x, damping=damping)
    assert found.dtype == torch.float64 and not found.requires_grad
    torch.testing.assert_close(found, torch.linalg.inv(hessian), rtol=1e-6, atol=1e-8 / damping)
    torch.testing.assert_close(found @ hessian, torch.eye(len(hessian), dtype=torch.float64), rtol=0, atol=1e-7)


def test_the_inverse_of_what_is_kept():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double(), torch.randn(20, 3).double()
    kept = torch.arange(21) % 3 != 0
    hessian = (summed_outer_products(model, x) + 0.01 * torch.eye(21))[kept][:, kept]
    found = inverse_hessian(model, x, damping=0.01, kept=kept)
    torch.testing.assert_close(found[kept][:, kept], torch.linalg.inv(hessian))
    assert not found[~kept].any() and not found[:, ~kept].any()


@QUICK
@given(st.integers(1, 8), st.integers(0, 10**6))
def test_a_step_is_the_best_change_that_removes_a_weight(n, seed):
    hessian = positive(n, seed)
    weights = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    rises = []
    for q in range(n):  # remove q and minimise ½ δᵀHδ over all others
        rest = torch.arange(n) != q
        change = torch.zeros(n, dtype=torch.float64)
        change[q] = -weights[q]
        change[rest] = torch.linalg.solve(hessian[rest][:, rest], hessian[rest, q] * weights[q])
        rises.append((float(change @ hessian @ change) / 2, change))
    best = min(range(n), key=lambda q: rises[q][0])
    step = surgeon_step(weights, torch.linalg.inv(hessian))
    assert step.index == best
    assert step.saliency == pytest.approx(rises[best][0], rel=1e-6)
    torch.testing.assert_close(step.weights, weights + rises[best][1], rtol=1e-6, atol=1e-8)
    assert step.weights[best].item() == 0.0


@QUICK
@given(st.integers(2, 8), st.integers(0, 10**6), st.sampled_from([torch.float32, torch.float64]))
def test_what_is_pruned_stays_pruned_to_the_last_weight(n, seed, kind):
    hessian = positive(n, seed)
    start = torch.randn(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64).to(kind)
    weights, inverse, gone, before = start, torch.linalg.inv(hessian), [], (start.clone(),)
    for _ in range(n):
        step = surgeon_step(weights, inverse)
        gone.append(step.index)
        weights, inverse = step.weights, step.inverse
        assert weights.dtype == kind
        assert weights[gone].tolist() == [0.0] * len(gone)
        kept = torch.ones(n, dtype=torch.bool).index_fill(0, torch.tensor(gone), False)
        expected = torch.linalg.inv(hessian[kept][:, kept])
        torch.testing.assert_close(inverse[kept][:, kept], expected, rtol=1e-5, atol=1e-8)
        assert not inverse[~kept].any() and not inverse[:, ~kept].any()
    assert sorted(gone) == list(range(n))
    assert torch.equal(start, before[0])
    with pytest.raises(CourseError, match="pruned already"):
        surgeon_step(weights, inverse)


def xor_network(seed, decay=1e-4):
    """2-2-1 with biases, nine weights, trained with weight decay, as the paper trains."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    x, y = xor().x.double(), xor().y.double().unsqueeze(1) * 1.6 - 0.8
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure():
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean() + decay * sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return model, x, y


def is_right(model, weights, x, y):
    """Whether the network with these weights gives every case its sign."""
    vector_to_parameters(weights, model.parameters())
    return torch.equal(model(x) > 0, y > 0)


def test_surgery_on_xor_keeps_the_function_where_removing_the_smallest_weight_does_not():
    kept = {"surgeon": 0, "magnitude": 0}
    for seed in range(8):
        model, x, y = xor_network(seed)
        weights = parameters_to_vector(model.parameters()).detach()
        assert is_right(model, weights.clone(), x, y)
        step = surgeon_step(weights, inverse_hessian(model, x))
        smallest = weights.abs().argmin()
        kept["surgeon"] += is_right(model, step.weights, x, y)
        kept["magnitude"] += is_right(model, weights.index_fill(0, smallest, 0.0), x, y)
    assert kept == {"surgeon": 8, "magnitude": 0}


# --- the problems --------------------------------------------------------------------------------------------------


def test_xor_is_xor():
    assert [(int(a) ^ int(b)) for a, b in xor().x] == xor().y.tolist()


@pytest.mark.parametrize(("problem", "learn", "yes"), [(1, 124, 216), (2, 169, 142), (3, 122, 228)])
def test_monks_problems_have_the_published_sizes(problem, learn, yes):
    train, test = monks(problem, seed=3)
    assert (len(train), len(test), int(test.y.sum())) == (learn, 432, yes)
    assert train.x.shape[1] == 17 and bool((train.x.sum(1) == 6).all()) and set(train.x.unique().tolist()) == {0.0, 1.0}
    assert len(test.x.unique(dim=0)) == 432 and len(train.x.unique(dim=0)) == learn
    truth = {tuple(x): y for x, y in zip(test.x.tolist(), test.y.tolist(), strict=True)}
    wrong = sum(truth[tuple(x)] != y for x, y in zip(train.x.tolist(), train.y.tolist(), strict=True))
    assert wrong == (6 if problem == 3 else 0)
    again, other = monks(problem, seed=3)[0], monks(problem, seed=4)[0]
    assert torch.equal(train.x, again.x) and torch.equal(train.y, again.y) and not torch.equal(train.x, other.x)


def test_monks_rules_in_words():
    for problem in (1, 2, 3):
        test = monks(problem)[1]
        parts = test.x.split([3, 3, 2, 3, 4, 2], dim=1)
        for row, label in enumerate(test.y.tolist()):
            head, body, smiling, holding, jacket, tie = (int(part[row].argmax()) + 1 for part in parts)
            first = [head, body, smiling, holding, jacket, tie].count(1)
            rules = {
                1: head == body or jacket == 1,
                2: first == 2,
                3: (jacket == 3 and holding == 1) or (jacket != 4 and body != 3),
            }
            assert label == int(rules[problem])


# --- refusals ------------------------------------------------------------------------------------------------------

LAYER, X = nn.Linear(2, 1), torch.ones(3, 2)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: inverse_hessian(LAYER, X, damping=0), "damping must be above 0"),
        (lambda: inverse_hessian(LAYER, X, damping=float("nan")), "damping must be above 0"),
        (lambda: inverse_hessian(LAYER, X[:0]), "no example"),
        (lambda: inverse_hessian(nn.Linear(100, 50), torch.ones(1, 100)), "5,050 weights and its Hessian"),
        (lambda: inverse_hessian(nn.ReLU(), X), "has 0 weights"),
        (lambda: inverse_hessian(LAYER, X, kept=torch.ones(3)), "kept must be bool"),
        (lambda: inverse_hessian(LAYER, X, kept=torch.ones(2).bool()), r"of shape \(3,\)"),
        (lambda: surgeon_step(torch.ones(3), torch.eye(2)), r"\(3,\) and \(2, 2\)"),
        (lambda: surgeon_step(torch.ones(1, 3), torch.eye(3)), "weights must be"),
        (lambda: surgeon_step(torch.ones(2), torch.zeros(2, 2)), "pruned already"),
        (lambda: surgeon_step(torch.ones(2), torch.diag(torch.tensor([1.0, -1e-9]))), "larger damping"),
        (lambda: monks(4), "1, 2 and 3, but you passed problem=4"),
        (lambda: monks(1, seed=-1), "seed must be"),
    ],
)
def test_refusals_say_what_is_wrong(run, words):
    with pytest.raises(CourseError, match=words):
        run()


# --- one weight after the other ------------------------------------------------------------------------------------


def bent(seed=0):
    """A tanh network and its inputs."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double(), torch.randn(12, 3).double()


@pytest.mark.parametrize("method", ["surgeon", "saliency", "magnitude"])
def test_removals_go_one_by_one_and_never_come_back(method):
    model, x = bent()
    before = parameters_to_vector(model.parameters()).detach().clone()
    path = removals(model, x, method=method)
    assert torch.equal(parameters_to_vector(model.parameters()), before) and torch.equal(path[0], before)
    assert [int((weights == 0).sum()) for weights in path] == list(range(len(before)))
    assert all(bool((later[earlier == 0] == 0).all()) for earlier, later in zip(path, path[1:], strict=False))
    assert [len(removals(model, x, method=method, count=k)) for k in (0, 1, 3)] == [1, 2, 4]


def test_only_the_surgeon_moves_what_stays():
    model, x = bent()
    for method, moves in (("surgeon", True), ("saliency", False), ("magnitude", False)):
        start, *_, end = removals(model, x, method=method, count=5)
        assert torch.equal(start[end != 0], end[end != 0]) != moves
    start, end = removals(model, x, method="magnitude", count=1)
    assert int((end == 0).nonzero()) == int(start.abs().argmin())


def test_saliency_is_that_of_the_surgeons_hessian():
    model, x = bent(1)
    start, end = removals(model, x, method="saliency", count=1)
    cost = start**2 * summed_outer_products(model, x).diagonal() / 2
    assert int((end == 0).nonzero()) == int(cost.argmin())


def test_more_outputs_than_go_backward_at_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3)).double()
    x = torch.randn(150, 2, dtype=torch.float64)
    hessian = summed_outer_products(model, x) + 0.1 * torch.eye(15)
    torch.testing.assert_close(inverse_hessian(model, x, damping=0.1), torch.linalg.inv(hessian))


@pytest.mark.parametrize(("options", "words"), [({"method": "luck"}, "'surgeon'"), ({"count": 4}, "3 weights"), ({"count": -1}, "count")])  # fmt: skip
def test_removals_refuse(options, words):
    with pytest.raises(CourseError, match=words):
        removals(nn.Linear(2, 1), X, **options)
