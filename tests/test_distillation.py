"""The softened softmax and its limits, the loss against the textbook's, and a student that learns from a teacher."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from course_lib.data import Split, load
from course_lib.distillation import (
    distill,
    distillation_loss,
    distillation_targets,
    loss_on_targets,
    soften,
    teacher_logits,
)
from course_lib.errors import CourseError
from course_lib.models import mlp
from course_lib.training import fit, fit_trials


def textbook(student, teacher, labels, temperature, alpha):
    """The formula as it stands."""
    soft = F.kl_div((student / temperature).log_softmax(1), (teacher / temperature).softmax(1), reduction="batchmean")
    return alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)


@settings(deadline=None, max_examples=50)
@given(st.floats(0.5, 30), st.floats(0, 1), st.integers(0, 99))
def test_value_and_gradient_are_the_textbooks(temperature, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (7,), generator=generator)
    results = []
    for loss in (distillation_loss, textbook):
        x = student.clone().requires_grad_()
        value = loss(x, teacher, labels, temperature=temperature, alpha=alpha)
        results.append((value.detach(), torch.autograd.grad(value, x)[0]))
    assert torch.allclose(results[0][0], results[1][0]) and torch.allclose(results[0][1], results[1][1])


def test_the_limits_of_temperature():
    logits = torch.tensor([0.0, 1.0, 3.0])
    assert torch.allclose(soften(logits, 1e-3), torch.tensor([0.0, 0.0, 1.0]))
    assert torch.allclose(soften(logits, 1e6), torch.full((3,), 1 / 3), atol=1e-5)


def test_at_high_temperature_the_gradient_is_that_of_matching_logits():
    student, teacher = torch.randn(2, 4, 6, dtype=torch.float64)
    student, teacher = student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True)
    student.requires_grad_()
    hot = torch.autograd.grad(distillation_loss(student, teacher, temperature=1e4, alpha=1.0), student)[0]
    matching = (student - teacher) / 6 / 4  # (z − v) / N, mean over the batch
    assert torch.allclose(hot, matching.detach(), rtol=1e-3, atol=1e-5)


def test_a_certain_teacher_gives_no_nan():
    student, teacher = torch.zeros(1, 3, requires_grad=True), torch.tensor([[0.0, 200.0, -200.0]])
    loss = distillation_loss(student, teacher, temperature=1.0, alpha=1.0)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_the_teacher_gets_no_gradient():
    student, teacher = torch.zeros(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    distillation_loss(student, teacher, alpha=1.0).backward()
    assert teacher.grad is None and student.grad is not None


def test_an_ensembles_answer_is_the_mean_of_probabilities():
    x, teachers = torch.randn(5, 4), [nn.Sequential(nn.Linear(4, 3), nn.Dropout()) for _ in range(3)]
    logits = teacher_logits(teachers, x, batch_size=2)
    mean = torch.stack([teacher.eval()(x).softmax(1) for teacher in teachers]).mean(0)
    assert torch.allclose(logits.softmax(1), mean, atol=1e-6)
    teachers[0].train()
    teacher_logits(teachers, x)
    assert teachers[0].training and teachers[0][1].training


def test_a_student_learns_without_labels():
    data = load("digits")
    torch.manual_seed(0)
    teacher, student = mlp((64, 100, 10)), mlp((64, 20, 10))
    fit(teacher, data.train, steps=300)
    train = lambda student, x, targets, loss: fit(student, Split(x, targets), steps=300, lr=3e-3, loss=loss)
    distill(student, teacher, data.train.x, train=train)
    agree = (student(data.test.x).argmax(1) == teacher(data.test.x).argmax(1)).float().mean()
    assert agree > 0.9


def test_many_students_at_once():
    data = load("digits")
    targets = distillation_targets(torch.randn(len(data.train), 10), data.train.y)
    split, loss = Split(data.train.x, targets), loss_on_targets(temperature=3.0, alpha=0.7)
    alone, together = ([], [])
    for students in (alone, together):
        for seed in range(2):
            torch.manual_seed(seed)
            students.append(mlp((64, 10)))
    expected = torch.tensor([fit(student, split, steps=5, seed=k, loss=loss) for k, student in enumerate(alone)])
    assert torch.allclose(fit_trials(together, split, steps=5, loss=loss), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: soften(torch.ones(2), 0.0), "above 0"),
        (lambda: soften(torch.ones(2), -1.0), "above 0"),
        (lambda: soften(torch.ones(2), float("nan")), "above 0"),
        (lambda: distillation_loss(torch.ones(1, 2), torch.ones(1, 3)), "one shape"),
        (lambda: distillation_loss(torch.ones(1, 2), torch.ones(1, 2), alpha=1.5), "alpha"),
        (lambda: distillation_loss(torch.ones(1, 2), torch.ones(1, 2), alpha=0.5), "labels"),
        (lambda: distillation_loss(torch.ones(1, 2), torch.ones(1, 2), temperature=0), "above 0"),
        (lambda: teacher_logits([], torch.ones(1, 2)), "0 teachers"),
        (lambda: teacher_logits(nn.Linear(2, 2), torch.ones(0, 2)), "0 examples"),
    ],
)
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()
