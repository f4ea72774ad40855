"""The two optimisers against torch's, `fit_trials` against `fit`, masks at every step, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_lib.data import Dataset, Split, load
from course_lib.errors import CourseError
from course_lib.models import mlp, small_cnn
from course_lib.pruning import magnitude_scores, masks_from_scores
from course_lib.training import adam, batch_rows, evaluate, fit, fit_trials, loop, sgd, trials


@pytest.fixture(scope="module")
def digits() -> list[Dataset]:
    return [load("digits", fold=fold) for fold in range(3)]


def fresh(build, n: int, *arguments) -> list[nn.Module]:
    """`n` networks, the k-th from seed k."""
    models = []
    for seed in range(n):
        torch.manual_seed(seed)
        models.append(build(*arguments))
    return models


def masks_for(models, sparsity: float = 0.8) -> list[dict]:
    return [masks_from_scores(magnitude_scores(model), sparsity) for model in models]


def furthest(one: nn.Module, other: nn.Module) -> float:
    """The largest difference between two networks' parameters."""
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))


def with_batch_norm() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


# --- optimisers ----------------------------------------------------------------------------------------------------

PAIRS = {
    "adam": (lambda w: adam(w, 3e-3), lambda w: torch.optim.Adam(w, 3e-3)),
    "adam, other betas": (
        lambda w: adam(w, 3e-3, betas=(0.8, 0.9), eps=1e-4),
        lambda w: torch.optim.Adam(w, 3e-3, betas=(0.8, 0.9), eps=1e-4),
    ),
    "adam, L2 penalty": (
        lambda w: adam(w, 3e-3, weight_decay=0.1),
        lambda w: torch.optim.Adam(w, 3e-3, weight_decay=0.1),
    ),
    "sgd, L2 penalty": (
        lambda w: sgd(w, 0.05, weight_decay=0.01),
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, weight_decay=0.01),
    ),
    "sgd": (lambda w: sgd(w, 0.05), lambda w: torch.optim.SGD(w, 0.05, momentum=0.9)),
    "plain sgd": (lambda w: sgd(w, 0.05, momentum=0.0), lambda w: torch.optim.SGD(w, 0.05)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_optimisers_step_as_those_of_torch(name, digits):
    split = digits[0].train
    ours, theirs = fresh(mlp, 1, (64, 20, 10)) + fresh(mlp, 1, (64, 20, 10))
    make_ours, make_theirs = PAIRS[name]
    step, optimizer = make_ours(list(ours.parameters())), make_theirs(list(theirs.parameters()))
    for rows in batch_rows(len(split), 60, 20, seed=0):
        for model, advance in ((ours, step), (theirs, optimizer.step)):
            model.zero_grad()
            F.cross_entropy(model(split.x[rows]), split.y[rows]).backward()
            advance()
    assert furthest(ours, theirs) < 1e-6
    assert furthest(ours, fresh(mlp, 1, (64, 20, 10))[0]) > 1e-2


# --- batches -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 12), st.integers(0, 5))
def test_every_epoch_sees_every_example_once(n, batch_size, steps, seed):
    rows = batch_rows(n, batch_size, steps, seed)
    assert rows.shape == (steps, batch_size)
    assert rows.dtype == torch.int64
    flat = rows.flatten().tolist()
    for start in range(0, len(flat), n):
        epoch = flat[start : start + n]
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(range(n))
    assert torch.equal(rows, batch_rows(n, batch_size, steps, seed))
    longer = batch_rows(n, batch_size, steps + 1, seed)
    assert torch.equal(rows, longer[:steps])


def test_seeds_and_epochs_have_orders_of_their_own():
    one, other = batch_rows(100, 100, 2, seed=0), batch_rows(100, 100, 2, seed=1)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


# --- evaluate ------------------------------------------------------------------------------------------------------


def test_evaluation_by_hand(digits):
    split, (model,) = digits[0].test, fresh(mlp, 1, (64, 10))
    logits = model(split.x).detach()
    result = evaluate(model, split)
    assert result.loss == pytest.approx(F.cross_entropy(logits, split.y).item(), abs=1e-6)
    assert result.accuracy == pytest.approx(
        sum(int(a == b) for a, b in zip(logits.argmax(1), split.y, strict=True)) / 360
    )


def test_evaluation_does_not_depend_on_the_batch_and_puts_modes_back(digits):
    model = nn.Sequential(with_batch_norm(), nn.Dropout(0.5)).train()
    model[0][1].eval()
    before = copy.deepcopy(model.state_dict())
    results = [evaluate(model, digits[0].test, batch_size=size) for size in (1, 7, 360, 1000)]
    assert {result.accuracy for result in results} == {results[0].accuracy}
    assert max(abs(result.loss - results[0].loss) for result in results) < 1e-6
    assert (model.training, model[0].training, model[0][1].training, model[1].training) == (True, True, False, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    evaluate(model.eval(), digits[0].test)
    assert not model.training


# --- fit -----------------------------------------------------------------------------------------------------------


def test_fit_is_a_plain_loop_over_torchs_adam(digits):
    split = digits[0].train
    ours, theirs = fresh(small_cnn, 1) + fresh(small_cnn, 1)
    losses = fit(ours, split, steps=15, lr=5e-3, seed=3)
    optimizer, expected = torch.optim.Adam(theirs.parameters(), 5e-3), []
    for rows in batch_rows(len(split), 60, 15, seed=3):
        loss = F.cross_entropy(theirs(split.x[rows]), split.y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, abs=1e-5)
    assert furthest(ours, theirs) < 1e-5


def test_fit_learns_and_calls_back_after_every_step(digits):
    (model,), calls = fresh(mlp, 1, (64, 30, 10)), []
    fit(model, digits[0].train, steps=150, lr=5e-3, after_step=calls.append)
    assert calls == list(range(1, 151))
    assert evaluate(model, digits[0].validation).accuracy > 0.85


def test_frozen_weights_stay(digits):
    models = fresh(mlp, 2, (64, 12, 10))
    for model in models:
        model[1].weight.requires_grad_(False)
    before = [model[1].weight.clone() for model in models]
    alone = copy.deepcopy(models)
    fit_trials(models, digits[0].train, steps=5)
    for seed, (model, other) in enumerate(zip(models, alone, strict=True)):
        fit(other, digits[0].train, steps=5, seed=seed)
        assert torch.equal(model[1].weight, before[seed])
        assert torch.equal(other[1].weight, before[seed])
        assert furthest(model, other) < 1e-6


# --- fit_trials ----------------------------------------------------------------------------------------------------


class Shared(nn.Module):
    """One layer in two places."""

    def __init__(self) -> None:
        super().__init__()
        middle = nn.Linear(16, 16)
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), middle, nn.ReLU(), middle, nn.Linear(16, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.view(len(x), -1))


BUILDS = {"mlp": lambda: mlp((64, 30, 10)), "cnn": lambda: small_cnn(channels=(4, 8)), "shared": Shared}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", BUILDS)
def test_many_trials_at_once_are_many_fits(name, masked, optimizer, digits):
    models = fresh(BUILDS[name], 3)
    alone = copy.deepcopy(models)
    splits, seeds = [data.train for data in digits], [5, 0, 9]
    masks = masks_for(models) if masked else None
    keywords = {
        "steps": 15,
        "lr": 5e-3 if optimizer == "adam" else 0.05,
        "optimizer": optimizer,
        "batch_size": 30,
        "weight_decay": 1e-2,
    }
    losses = fit_trials(models, splits, seeds=seeds, masks=masks, **keywords)
    assert losses.shape == (3, 15)
    for trial, (model, other) in enumerate(zip(models, alone, strict=True)):
        mask = masks[trial] if masked else None
        expected = fit(other, splits[trial], seed=seeds[trial], masks=mask, **keywords)
        assert losses[trial].tolist() == pytest.approx(expected, abs=1e-4)
        assert furthest(model, other) < 1e-4
        assert all(isinstance(p, nn.Parameter) and p.is_leaf and p.requires_grad for p in model.parameters())
    assert furthest(models[0], models[1]) > 1e-2


def test_one_trial_and_one_split_for_all(digits):
    models = fresh(mlp, 1, (64, 10))
    alone = copy.deepcopy(models[0])
    losses = fit_trials(models, digits[0].train, steps=4)
    assert losses[0].tolist() == pytest.approx(fit(alone, digits[0].train, steps=4), abs=1e-5)


def test_dropout_is_the_same_again(digits):
    """Threads share torch's generator: with two of them, which trial draws first would be chance."""

    def losses():
        torch.manual_seed(0)
        models = [nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)) for _ in range(6)]
        return fit_trials(models, digits[0].train, steps=40)

    assert torch.equal(losses(), losses())


def test_dropout_draws_anew_for_every_trial(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.Dropout(0.5), nn.Linear(30, 10))
    models = [copy.deepcopy(model) for _ in range(2)]
    losses = fit_trials(models, digits[0].train, steps=3, seeds=[0, 0])
    assert not torch.equal(losses[0], losses[1])


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_masks_are_in_force_before_every_update(at_once, optimizer, digits, monkeypatch):
    models = fresh(mlp, 2, (64, 20, 10))
    masks = masks_for(models, 0.7)
    zeros = sorted(int((~mask["1.weight"]).sum()) for mask in masks)
    build, seen = loop.OPTIMIZERS[optimizer], []

    def spied(weights, lr, **keywords):
        step = build(weights, lr, **keywords)

        def look_and_step() -> None:
            seen.append([int((one == 0).sum()) for one in weights[0].detach().view(-1, 20, 64)])
            step()

        return look_and_step

    monkeypatch.setitem(trials.OPTIMIZERS, optimizer, spied)
    if at_once:
        fit_trials(models, digits[0].train, steps=6, masks=masks, optimizer=optimizer)
    else:
        for model, mask in zip(models, masks, strict=True):
            fit(model, digits[0].train, steps=6, masks=mask, optimizer=optimizer)
    assert sorted(set(sum(seen, []))) == sorted(set(zeros))
    assert len(sum(seen, [])) == 12
    for model, mask in zip(models, masks, strict=True):
        for name, keep in mask.items():
            weight = model.get_parameter(name)
            assert torch.equal(weight != 0, keep)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_a_diverging_training_names_the_step(digits):
    split = digits[0].train
    poisoned = Split(split.x.clone(), split.y)
    poisoned.x[100] = torch.nan  # the loss is no number at the first step that meets example 100
    first = 1 + int((batch_rows(len(split), 60, 30, seed=2) == 100).any(1).nonzero()[0])
    assert first > 1
    with pytest.raises(CourseError, match=rf"diverged: the loss is not a number at step {first}\.(.|\n)*lr=0.001"):
        fit(mlp((64, 10)), poisoned, steps=30, lr=1e-3, seed=2)
    with pytest.raises(CourseError, match=rf"at step {first}\."):
        fit_trials([mlp((64, 10)) for _ in range(2)], [split, poisoned], steps=30, seeds=[0, 2])
    with pytest.raises(CourseError, match=r"diverged(.|\n)*smaller learning rate than lr=1e\+20"):
        fit(mlp((64, 20, 10)), split, steps=10, lr=1e20, optimizer="sgd")


WRONG_MASK = {"1.weight": torch.ones(2, 2, dtype=torch.bool)}
RIGHT_MASK = {"1.weight": torch.ones(10, 64, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": 1, "batch_size": 0}, "batch_size must be"),
        ({"steps": 1, "optimizer": "rmsprop"}, "optimizer must be 'adam' or 'sgd'"),
        (
            {"steps": 1, "masks": WRONG_MASK},
            r"mask of shape \(2, 2\) for '1.weight'(.|\n)*parameters are: 1.weight, 1.bias",
        ),
        ({"steps": 1, "masks": {"2.weight": RIGHT_MASK["1.weight"]}}, "for '2.weight', but no parameter"),
    ],
)
def test_fit_refuses(keywords, words, digits):
    with pytest.raises(CourseError, match=words):
        fit(mlp((64, 10)), digits[0].train, **keywords)


@pytest.mark.parametrize(
    ("models", "keywords", "words"),
    [
        (0, {}, "got no model"),
        (3, {"seeds": [0, 1]}, "3 models but 2 seeds"),
        (3, {"masks": [{}]}, "3 models but 1 masks"),
        (2, {"masks": [{}, RIGHT_MASK]}, "same names and shapes in every trial"),
        (2, {"masks": [RIGHT_MASK, WRONG_MASK]}, "same names and shapes in every trial"),
        (2, {"masks": [WRONG_MASK] * 2}, "no parameter of that name and shape"),
        (2, {"steps": 0}, "steps must be"),
    ],
)
def test_fit_trials_refuses(models, keywords, words, digits):
    with pytest.raises(CourseError, match=words):
        fit_trials([mlp((64, 10)) for _ in range(models)], digits[0].train, **{"steps": 2, **keywords})


def test_fit_trials_refuses_other_splits_batch_norm_and_unlike_networks(digits):
    with pytest.raises(CourseError, match="2 models but 3 splits"):
        fit_trials([mlp((64, 10)) for _ in range(2)], [data.train for data in digits], steps=1)
    with pytest.raises(CourseError, match="batch norm(.|\n)*use fit"):
        fit_trials([with_batch_norm() for _ in range(2)], digits[0].train, steps=1)
    with pytest.raises(CourseError, match="same architecture"):
        fit_trials([mlp((64, 10)), mlp((64, 20, 10))], digits[0].train, steps=1)


def test_no_examples_are_refused():
    nothing = Split(torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(CourseError, match="number of examples"):
        fit(mlp((64, 10)), nothing, steps=1)
    with pytest.raises(CourseError, match="no examples"):
        evaluate(mlp((64, 10)), nothing)


def test_trials_can_be_watched_on_the_way() -> None:
    """Every so many steps each trial's network is shown as it is then: the same as fit's at that step."""
    data = load("digits")
    starts = []
    for seed in range(3):
        torch.manual_seed(seed)
        starts.append(mlp((64, 12, 10)))
    seen, snapshots = [], {}

    def watch(step: int, trial: int, model: nn.Module) -> None:
        seen.append((trial, step))
        snapshots[trial, step] = copy.deepcopy(model.state_dict())

    fit_trials(copy.deepcopy(starts), data.train, steps=7, after_step=watch, every=3)
    assert sorted(seen) == [(trial, step) for trial in range(3) for step in (3, 6)]
    for trial, start in enumerate(starts):
        alone = copy.deepcopy(start)
        fit(alone, data.train, steps=6, seed=trial)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(snapshots[trial, 6][name], value, rtol=1e-4, atol=1e-5)


def test_another_loss_trains_alone_and_together_alike() -> None:
    """Targets may be anything with a row for each example: here the logits of a teacher."""
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.randn(64, 10, generator=torch.Generator().manual_seed(1))
    split = Split(x, targets)
    alone, together = fresh(mlp, 2, (64, 20, 10)), fresh(mlp, 2, (64, 20, 10))
    losses = torch.tensor([fit(m, split, steps=5, loss=F.mse_loss, seed=k) for k, m in enumerate(alone)])
    assert torch.allclose(fit_trials(together, split, steps=5, loss=F.mse_loss), losses, atol=1e-5)
    soft = Split(x, targets.softmax(1))
    by_name = fit_trials(fresh(mlp, 2, (64, 20, 10)), soft, steps=3)
    by_lambda = fit_trials(
        fresh(mlp, 2, (64, 20, 10)), soft, steps=3, loss=lambda logits, t: F.cross_entropy(logits, t)
    )
    assert torch.allclose(by_name, by_lambda, atol=1e-6)
