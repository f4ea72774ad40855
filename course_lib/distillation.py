"""Distillation: a small network learns from what a large one says, not only from the labels.

A trained network's wrong answers know something: a 2 that it takes for a 7 with probability 0.01 and for a tree with
10⁻⁹ looks a bit like a 7. Softened with a temperature, these answers become targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError, require_fraction

Loss = Callable[[Tensor, Tensor], Tensor]


def soften(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / temperature): the higher the temperature, the more evenly the probabilities lie.

    Args:
        logits: (…, classes).
        temperature: above 0; 1 is the plain softmax, towards 0 all goes to the largest, towards ∞ all are equal.

    Returns:
        probabilities, of the same shape.

    Raises:
        CourseError: a temperature that is not above 0.

    >>> soften(torch.tensor([0.0, 2.0, 6.0]), temperature=2.0)
    tensor([0.0420, 0.1142, 0.8438])

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    return (logits / checked_temperature(temperature)).softmax(dim=-1)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    """The mix alpha · T² · KL(teacher ∥ student, both at T) + (1 − alpha) · cross-entropy with the labels.

    Gradients of the soft part shrink like 1/T², so T² keeps the two parts in balance when T changes. The teacher gets no
    gradient.

    Args:
        student_logits: (batch, classes).
        teacher_logits: (batch, classes).
        labels: (batch,) classes, or (batch, classes) probabilities; None if alpha is 1.
        temperature: T, above 0.
        alpha: the weight of the teacher, 0..1.

    Returns:
        the mean over the batch, a scalar; finite also where a teacher is certain.

    Raises:
        CourseError: shapes that differ, a temperature not above 0, alpha outside 0..1, or labels missing.

    >>> teacher = torch.tensor([[1.0, 2.0, 4.0]])
    >>> distillation_loss(teacher.clone(), teacher, alpha=1.0).item() < 1e-6
    True

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    if student_logits.shape != teacher_logits.shape:
        shapes = f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}"
        raise CourseError(f"Student and teacher must give logits of one shape, but they are {shapes}.")
    require_fraction("alpha", alpha, of="the weight of the teacher against the labels")
    soft = soft_loss(student_logits, teacher_logits.detach(), checked_temperature(temperature)) if alpha else 0.0
    if alpha == 1:
        return soft
    if labels is None:
        raise CourseError(f"alpha={alpha} leaves {1 - alpha:g} of the loss to the labels: pass them, or alpha=1.")
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ∥ student), mean over the batch: their cross-entropy, less the teacher's own entropy.

    The logarithm is taken before the exponential: where a teacher is certain, log(0) would be −∞, and 0 · (−∞) is NaN.
    """
    log_targets = (teacher_logits / temperature).log_softmax(dim=-1)
    targets = log_targets.exp()
    entropy = -torch.dot(targets.flatten(), log_targets.flatten()) / len(targets)
    return temperature**2 * (F.cross_entropy(student_logits / temperature, targets) - entropy)


def checked_temperature(temperature: float) -> float:
    """Refuse a temperature that is not above 0."""
    if not temperature > 0:
        raise CourseError(f"The temperature must be above 0, but you passed {temperature!r}. 1 is the plain softmax.")
    return temperature


@torch.no_grad()
def teacher_logits(teachers: nn.Module | Sequence[nn.Module], x: Tensor, *, batch_size: int = 512) -> Tensor:
    """What a teacher says about each example, in evaluation mode; of several, the logits of their mean answer.

    An ensemble's answer is the mean of its members' *probabilities*; its logarithm serves as logits.

    Args:
        teachers: one network, or several.
        x: (n, *shape).
        batch_size: examples at a time.

    Returns:
        logits, (n, classes).

    Raises:
        CourseError: no teacher, or no example.

    >>> teacher_logits([nn.Linear(4, 3), nn.Linear(4, 3)], torch.randn(5, 4)).shape
    torch.Size([5, 3])

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    teachers = [teachers] if isinstance(teachers, nn.Module) else list(teachers)
    if not teachers or len(x) == 0:
        raise CourseError(f"There are {len(teachers)} teachers and {len(x)} examples; at least one of each is needed.")
    logits = torch.stack([in_evaluation(teacher, x, batch_size) for teacher in teachers])  # (teachers, n, classes)
    if len(teachers) == 1:
        return logits[0]
    return logits.log_softmax(dim=-1).logsumexp(dim=0) - torch.tensor(float(len(teachers))).log()


def in_evaluation(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    """The model's outputs in evaluation mode; its modes are put back."""
    modes = {layer: layer.training for layer in model.modules()}
    model.eval()
    outputs = torch.cat([model(batch) for batch in x.split(batch_size)])
    for layer, was_training in modes.items():
        layer.training = was_training
    return outputs


def distill(
    student: nn.Module,
    teachers: nn.Module | Sequence[nn.Module],
    x: Tensor,
    labels: Tensor | None = None,
    *,
    train: Callable[[nn.Module, Tensor, Tensor, Loss], object],
    temperature: float = 4.0,
    alpha: float = 1.0,
) -> nn.Module:
    """Train a student on a transfer set: examples, with a teacher's answers and, if alpha < 1, with labels.

    The teacher answers once, before the training.

    Args:
        student: trained in place, and returned.
        teachers: one network, or an ensemble.
        x: the transfer set, (n, *shape); it needs no labels if alpha is 1.
        labels: (n,).
        train: called as `train(student, x, targets, loss)`, where `loss(logits, rows of targets)` is a scalar.
        temperature, alpha: as in `distillation_loss`.

    Raises:
        CourseError: as in `distillation_loss`.

    >>> from course_lib.data import Split
    >>> from course_lib.training import fit
    >>> student, teacher, x = nn.Linear(4, 3), nn.Linear(4, 3), torch.randn(200, 4)
    >>> train = lambda student, x, targets, loss: fit(student, Split(x, targets), steps=200, lr=0.05, loss=loss)
    >>> _ = distill(student, teacher, x, train=train)
    >>> (student(x).argmax(1) == teacher(x).argmax(1)).float().mean().item() > 0.9
    True

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    targets = distillation_targets(teacher_logits(teachers, x), labels)
    train(student, x, targets, loss_on_targets(temperature=temperature, alpha=alpha))
    return student


def raise_bias(logits: Tensor, classes: Sequence[int], bias: float) -> Tensor:
    """A copy of the logits (n, classes) with `bias` added to those of some classes, as if it stood in the last layer.

    >>> raise_bias(torch.zeros(1, 3), [1], 2.5)
    tensor([[0.0000, 2.5000, 0.0000]])

    Lesson 12.
    """
    change = torch.zeros_like(logits[0])
    change[list(classes)] = bias
    return logits + change


def choose_bias(
    logits: Tensor, labels: Tensor, classes: Sequence[int], candidates: Sequence[float] = tuple(range(-12, 13))
) -> float:
    """The bias of some classes that gives most right answers; of equally good ones the middle one.

    Args:
        logits, labels: (n, classes) and (n,), of a validation split.
        classes, candidates: which logits are raised, and by what, to be tried in order.

    Raises CourseError where there is no candidate, or labels do not fit.

    >>> choose_bias(torch.tensor([[1.0, 0.0], [1.0, -2.0]]), torch.tensor([1, 0]), [1], [0.0, 2.0, 4.0])
    2.0

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    if not len(candidates) or labels.shape != logits.shape[:1]:
        got = f"{len(candidates)} candidates, {len(logits)} logits and {len(labels)} labels"
        raise CourseError(f"Pass some candidates, and a label for each example; you passed {got}.")
    right = [int((raise_bias(logits, classes, bias).argmax(dim=1) == labels).sum()) for bias in candidates]
    best = [float(bias) for bias, n in zip(candidates, right, strict=True) if n == max(right)]
    return best[len(best) // 2]


def distillation_targets(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """A teacher's logits and one-hot labels side by side, (n, 2, classes), so that a training loop can pick rows.

    Without labels the second half is zeros.

    >>> distillation_targets(torch.zeros(2, 3), torch.tensor([0, 2]))[1]
    tensor([[0., 0., 0.],
            [0., 0., 1.]])

    Lesson 12.
    """
    n_classes = logits.shape[-1]
    hard = torch.zeros_like(logits) if labels is None else F.one_hot(labels, n_classes).to(logits)
    return torch.stack([logits, hard], dim=1)


def loss_on_targets(*, temperature: float = 4.0, alpha: float = 0.9) -> Loss:
    """`distillation_loss` as a function of logits and rows of `distillation_targets`.

    >>> loss = loss_on_targets(alpha=0.5)
    >>> loss(torch.zeros(2, 3), distillation_targets(torch.zeros(2, 3), torch.tensor([0, 2])))
    tensor(0.5493)

    Lesson 12.
    """

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return distillation_loss(logits, targets[:, 0], targets[:, 1], temperature=temperature, alpha=alpha)

    return loss
