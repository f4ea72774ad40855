"""Lesson 12: what a teacher's answers are worth, for many students, temperatures and seeds at once."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, Split, load
from course_lib.distillation import choose_bias, distillation_targets, loss_on_targets, raise_bias, teacher_logits
from course_lib.evidence import summarise
from course_lib.models import mlp, regularised_mlp
from course_lib.training import evaluate, fit, fit_trials

STEPS, LR = 400, 4e-3  # of teachers and students alike


def newborn(build, seeds: Sequence[int]) -> list[nn.Module]:
    """One untrained network for each seed."""
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        networks.append(build())
    return networks


def teachers_of(splits: Sequence[Split], *, units: int = 120, steps: int = STEPS) -> list[nn.Module]:
    """A large network for each split, trained on its labels with dropout and jittered images; trial k has seed k."""
    pixels = splits[0].x[0].numel()
    teachers = newborn(lambda: regularised_mlp((pixels, units, units, 10)), range(len(splits)))
    fit_trials(teachers, splits, steps=steps, lr=LR)
    return [teacher.eval() for teacher in teachers]


# --- many students at once -----------------------------------------------------------------------------------------


def material(
    x: Tensor,
    *,
    logits: Tensor | None = None,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    alpha: float = 1.0,
) -> Split:
    """What one student learns from: images, and for each three rows: a teacher's logits, the label, and (T, alpha, 0 …).

    Since the temperature travels with the rows, students of all temperatures train in one stack.

    Args:
        x: (n, c, h, w).
        logits: (n, classes); without them only labels count.
        labels: (n,); without them only the teacher counts.
        temperature, alpha: as in `distillation_loss`.

    >>> material(torch.zeros(2, 1, 8, 8), logits=torch.ones(2, 10), temperature=4).y[0, 2, :3]
    tensor([4., 1., 0.])
    """
    alpha = 0.0 if logits is None else 1.0 if labels is None else alpha
    logits = torch.zeros(len(x), 10) if logits is None else logits
    targets = distillation_targets(logits, labels)  # (n, 2, classes)
    setting = F.pad(torch.tensor([temperature, alpha]), (0, logits.shape[1] - 2)).expand(len(x), 1, -1)
    return Split(x, torch.cat([targets, setting], dim=1))


def loss_of_rows(logits: Tensor, rows: Tensor) -> Tensor:
    """`distillation_loss` with the temperature and alpha that stand in the rows; logits (n, classes), rows (n, 3, classes).

    >>> x, teacher = torch.zeros(2, 1, 8, 8), torch.arange(20.0).view(2, 10)
    >>> ours = loss_of_rows(torch.ones(2, 10), material(x, logits=teacher, temperature=4.0).y)
    >>> torch.allclose(ours, loss_on_targets(temperature=4.0, alpha=1.0)(torch.ones(2, 10), distillation_targets(teacher)))
    True
    """
    temperature, alpha = rows[:, 2, :1], rows[:, 2, 1]
    says = (rows[:, 0] / temperature).log_softmax(dim=1)
    gap = says - (logits / temperature).log_softmax(dim=1)
    soft = temperature[:, 0] ** 2 * (says.exp() * gap).sum(dim=1)
    hard = -(rows[:, 1] * logits.log_softmax(dim=1)).sum(dim=1)
    return (alpha * soft + (1 - alpha) * hard).mean()


def taught(
    lessons: Mapping[object, Sequence[Split]], *, units: int = 30, steps: int = STEPS
) -> dict[object, list[nn.Module]]:
    """Students with one hidden layer, one for each material of each lesson, all trained in one stack.

    Trial k of every lesson starts from the same weights and sees its examples in the same order.

    Args:
        lessons: name -> material for trial 0, 1, …
        units: in the hidden layer.
        steps: of training.

    >>> splits = [material(torch.rand(60, 1, 8, 8), labels=torch.arange(60) % 10)] * 2
    >>> len(taught({"labels": splits}, steps=2)["labels"])
    2
    """
    splits = [split for trials in lessons.values() for split in trials]
    seeds = [trial for trials in lessons.values() for trial in range(len(trials))]
    students = newborn(lambda: mlp((splits[0].x[0].numel(), units, 10)), seeds)
    fit_trials(students, splits, steps=steps, lr=LR, seeds=seeds, loss=loss_of_rows)
    left = iter(students)
    return {name: [next(left) for _ in trials] for name, trials in lessons.items()}


def scores(
    students: Mapping[object, Sequence[nn.Module]], datasets: Sequence[Dataset], part: str = "test"
) -> dict[object, list[float]]:
    """The accuracies of each lesson's students, trial by trial, on the test or the validation split."""
    return {
        name: [evaluate(net, getattr(data, part)).accuracy for net, data in zip(nets, datasets, strict=True)]
        for name, nets in students.items()
    }


# --- what to learn from --------------------------------------------------------------------------------------------


def first_of_each(split: Split, n: int) -> Split:
    """The first n images of each class: few labels, but equally many of all.

    >>> first_of_each(load("digits").train, 5).y.bincount().tolist()
    [5, 5, 5, 5, 5, 5, 5, 5, 5, 5]
    """
    rows = torch.cat([(split.y == digit).nonzero()[:n, 0] for digit in split.y.unique()])
    return Split(split.x[rows], split.y[rows])


def wrong_answers(logits: Tensor, *, kind: str, temperature: float, seed: int = 0) -> Tensor:
    """A control: logits whose likeliest class keeps its probability at T, but the others' are "equal" or "shuffled".

    >>> wrong_answers(torch.tensor([[4.0, 2.0, 0.0]]), kind="equal", temperature=2.0).div(2).softmax(1)
    tensor([[0.6652, 0.1674, 0.1674]])
    """
    others = ~F.one_hot(logits.argmax(dim=1), logits.shape[1]).bool()
    says = (logits / temperature).log_softmax(dim=1)
    wrong = says[others].view(len(logits), -1)  # (n, classes - 1)
    if kind == "equal":
        wrong = wrong.exp().mean(dim=1, keepdim=True).log().expand_as(wrong)
    else:
        order = torch.rand(wrong.shape, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)
        wrong = wrong.gather(1, order)
    return temperature * says.masked_scatter(others, wrong)


# --- course run 12 -------------------------------------------------------------------------------------------------

BATCH, HOT = 100, 20.0  # Hinton et al. distilled at T = 20
KINDS = ("teacher", "plain", "distilled", "no 3s", "7s and 8s")
UNSEEN = {"no 3s": [3], "7s and 8s": [7, 8]}  # the classes whose bias is corrected
PAPER = {
    "teacher": 67, "plain": 146, "distilled": 74, "no 3s": 206, "no 3s, among the 3s": 133,
    "no 3s, bias tuned on the test set": 109, "no 3s, bias tuned on the test set, among the 3s": 14,
    "7s and 8s": 4730, "7s and 8s, bias tuned on the test set": 1320,
}  # fmt: skip


def units(data: str, *, trials: int, iterations: int = 12_000) -> list[dict]:
    """For each trial a teacher, then the students that need it; `iterations` steps of 100 images for each network.

    On MNIST 550 steps are one epoch (5,000 of the 60,000 images are kept for validation).
    """
    return [
        {"data": data, "trial": trial, "net": kind, "iterations": iterations}
        for trial in range(trials)
        for kind in KINDS
    ]


def measure(unit: dict, result_of) -> dict:
    """Wrong answers of one network on the test split; the teacher's answers are kept for its students."""
    data, kind = load(unit["data"], fold=unit["trial"]), unit["net"]
    pixels, targets, rows, how = data.train.x[0].numel(), data.train.y, slice(None), {}
    if kind == "teacher":
        (network,) = newborn(lambda: regularised_mlp((pixels, 1200, 1200, 10), dropout=0.5), [unit["trial"]])
    else:
        (network,) = newborn(lambda: mlp((pixels, 800, 800, 10)), [unit["trial"]])
    if kind not in ("teacher", "plain"):
        targets = distillation_targets(unpacked(result_of(unit | {"net": "teacher"})["logits"]))
        how = {"loss": loss_on_targets(temperature=HOT, alpha=1.0)}
        rows = {"no 3s": data.train.y != 3, "7s and 8s": (data.train.y == 7) | (data.train.y == 8)}.get(kind, rows)
    slow_down(network, Split(data.train.x[rows], targets[rows]), unit, **how)
    held, test = (teacher_logits(network, split.x) for split in (data.validation, data.test))
    result = {"wrong": wrong(test, data.test.y, kind)}
    if kind in UNSEEN:
        result["wrong"] |= corrected(held, test, data, kind)
    if kind == "teacher":
        result["logits"] = packed(teacher_logits(network, data.train.x))
    return result


def slow_down(network: nn.Module, split: Split, unit: dict, **how) -> None:
    """Train for three quarters of the steps at one rate, and for the last quarter at a tenth of it."""
    early = max(1, 3 * unit["iterations"] // 4)
    for steps, lr in ((early, 1e-3), (max(1, unit["iterations"] - early), 1e-4)):
        fit(network, split, steps=steps, batch_size=BATCH, lr=lr, seed=unit["trial"] + steps, **how)


def wrong(logits: Tensor, labels: Tensor, kind: str, how: str = "") -> dict[str, int]:
    """How many answers are wrong; and how many among the classes that the transfer set lacked, or was made of."""
    missed = logits.argmax(dim=1) != labels
    counts = {f"{kind}{how}": int(missed.sum())}
    if kind in UNSEEN:
        among = torch.isin(labels, torch.tensor(UNSEEN[kind]))
        counts[f"{kind}{how}, among the {kind.removeprefix('no ')}"] = int(missed[among].sum())
    return counts


def corrected(held: Tensor, test: Tensor, data: Dataset, kind: str) -> dict[str, int]:
    """Wrong answers on the test split with a bias chosen on the validation split, or on the test split itself."""
    counts, classes = {}, UNSEEN[kind]
    for how, logits, split in (
        (", bias chosen on validation", held, data.validation),
        (", bias tuned on the test set", test, data.test),
    ):
        bias = choose_bias(logits, split.y, classes, [step / 4 for step in range(-60, 61)])
        counts |= wrong(raise_bias(test, classes, bias), data.test.y, kind, how)
    return counts


def packed(logits: Tensor) -> str:
    """Logits as text, in half precision."""
    return base64.b64encode(logits.half().numpy().tobytes()).decode("ascii")


def unpacked(text: str) -> Tensor:
    """Logits from their text, (n, 10)."""
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), dtype=np.float16).copy()).view(-1, 10).float()


def report(rows: Sequence[Mapping]) -> str:
    """Wrong answers beside the paper's, which are for MNIST (10,000 test images, one network of each kind)."""
    names = dict.fromkeys(name for row in rows for name in row["wrong"])
    counts = {name: [row["wrong"][name] for row in rows if name in row["wrong"]] for name in names}
    told = {name: f"{summarise(n):.1f}" if len(n) > 1 else f"{n[0]}" for name, n in counts.items()}
    lines = [f"{name:52} {said:>22}  {PAPER.get(name, '')}" for name, said in told.items()]
    return "\n".join([f"{'wrong answers on the test images':52} {'here':>22}  paper", *lines])
