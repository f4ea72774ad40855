"""Lesson 12: soften, the distillation loss, an ensemble's targets, and the bias of a class that was never seen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import distillation_loss, raise_bias, soften
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question

# --- 12.1 ----------------------------------------------------------------------------------------------------------


def soften_logits(logits: Tensor, temperature: float) -> Tensor:
    """Softened probabilities along the last dimension."""
    return soften(logits, temperature)


def soften_cases(seed: int) -> list[Case]:
    """A batch, one example, a stack of several networks, large logits, a temperature below 1."""
    generator = torch.Generator().manual_seed(seed)
    randn = lambda *shape: torch.randn(shape, generator=generator)
    hot = 2 + round(6 * torch.rand((), generator=generator).item(), 2)
    return [
        Case(f"five examples at T = {hot}", (3 * randn(5, 4), hot)),
        Case("one example, (classes,)", (2 * randn(6), 3.0)),
        Case("three networks, (3, 5, 4)", (2 * randn(3, 5, 4), 2.0)),
        Case("T = 0.5: sharper than softmax", (randn(4, 3), 0.5)),
        Case("logits in the hundreds: e to that power overflows", (400 * randn(3, 4) + 300, 1.5)),
    ]


ADDS_UP = Invariant(
    "the probabilities of each example must add up to 1",
    lambda inputs, q: torch.allclose(q.double().sum(-1), torch.ones(q.shape[:-1]).double(), atol=1e-4),
)
SOFTEN = Exercise(
    id="12.1",
    name="soften_logits",
    title="Soften a teacher's answers",
    points=1,
    reference=soften_logits,
    cases=soften_cases,
    invariants=(ADDS_UP,),
    mistakes=(
        Mistake(
            "temperature multiplies",
            "You multiplied by T, which makes answers sharper. A high temperature must bring them closer together.",
            lambda z, t: (z * t).softmax(-1),
        ),
        Mistake(
            "softmax of probabilities",
            "You softened probabilities: a softmax was taken first. The temperature divides the LOGITS, then one softmax follows.",
            lambda z, t: (z.softmax(-1) / t).softmax(-1),
        ),
        Mistake(
            "divided after the softmax",
            "You divided probabilities by T, so they no longer add up to 1. T acts inside the exponential.",
            lambda z, t: z.softmax(-1) / t,
        ),
        Mistake("temperature ignored", "This is the plain softmax: T has no effect.", lambda z, t: z.softmax(-1)),
        Mistake(
            "over the batch",
            "Your probabilities add up to 1 over the examples. Each example has its own: the classes are the LAST dimension.",
            lambda z, t: (z / t).softmax(0),
        ),
        Mistake(
            "second dimension instead of last",
            "You took dimension 1. With one example, or with several networks, the classes lie elsewhere: they are the last "
            "dimension.",
            lambda z, t: (z / t).softmax(1),
        ),
        Mistake(
            "overflow",
            "Large logits give NaN: e to the power of several hundred overflows. Something may be subtracted from all logits "
            "of an example without changing the answer; or let torch's softmax do it.",
            lambda z, t: (z / t).exp() / (z / t).exp().sum(-1, keepdim=True),
        ),
        Mistake(
            "logarithms",
            "You returned log-probabilities. Asked for are the probabilities.",
            lambda z, t: (z / t).log_softmax(-1),
        ),
        Mistake("no softmax", "You only divided the logits: the softmax is missing.", lambda z, t: z / t),
    ),
    hints=(
        "Which comes first: the softmax, or the temperature?",
        "Divide all logits by the temperature, then take one softmax over the classes, the last dimension.",
        "return (logits / temperature).softmax(dim=-1)",
    ),
)

# --- 12.2 ----------------------------------------------------------------------------------------------------------


def soft_hard_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, alpha: float) -> Tensor:
    """The library's loss."""
    return distillation_loss(student, teacher, labels, temperature=temperature, alpha=alpha)


def loss_cases(seed: int) -> list[Case]:
    """Random logits at several T and alpha; a teacher that is certain; equal logits, where the soft part is zero."""
    generator = torch.Generator().manual_seed(seed)
    randn = lambda *shape: torch.randn(shape, generator=generator)
    labels = lambda n, classes: torch.randint(classes, (n,), generator=generator)
    hot = 2 + round(4 * torch.rand((), generator=generator).item(), 2)
    same = 2 * randn(4, 5)
    certain = torch.zeros(3, 4)
    certain[torch.arange(3), labels(3, 4)] = 200.0
    return [
        Case(f"T = {hot}, alpha = 0.7", (2 * randn(6, 4), 3 * randn(6, 4), labels(6, 4), hot, 0.7)),
        Case("T = 4, only the teacher (alpha = 1)", (2 * randn(5, 3), 3 * randn(5, 3), labels(5, 3), 4.0, 1.0)),
        Case("T = 3, only the labels (alpha = 0)", (2 * randn(5, 3), 3 * randn(5, 3), labels(5, 3), 3.0, 0.0)),
        Case("student and teacher agree: the soft part is zero", (same, same.clone(), labels(4, 5), 2.0, 0.5)),
        Case("a teacher that is certain, T = 1", (randn(3, 4), certain, labels(3, 4), 1.0, 0.6)),
    ]


def loss_with(
    *, power: int = 2, divide: Callable = lambda loss: loss.sum(1).mean(), swapped: bool = False, plain: bool = False,
    detach: bool = True, turned: bool = False, hot_labels: bool = False, cold_student: bool = False,
    square_all: bool = False, entropy: bool = True, cold_teacher: bool = False, twice: bool = False,
) -> Callable:  # fmt: skip
    """A variant of the loss: the power of T, how it is averaged, what is softened, and which way the KL goes."""

    def loss(student, teacher, labels, t, alpha):
        teacher = teacher.detach() if detach else teacher
        says = (teacher / (1 if cold_teacher else t)).log_softmax(1)
        guess = (student / (1 if cold_student else t)).log_softmax(1)
        if plain:
            p = (teacher / t).softmax(1)
            terms = p * (p.log() - guess)
        elif twice:
            terms = F.kl_div(guess.exp().log_softmax(1), says.exp(), reduction="none")
        elif swapped:
            terms = guess.exp() * (guess - says)
        else:
            terms = says.exp() * ((says if entropy else 0) - guess)
        hard = F.cross_entropy(student / t if hot_labels else student, labels)
        weight = 1 - alpha if turned else alpha
        soft = divide(terms) * (1 if square_all else t**power)
        return (weight * soft + (1 - weight) * hard) * (t**power if square_all else 1)

    return loss


LOSS = Exercise(
    id="12.2",
    name="soft_hard_loss",
    title="The distillation loss",
    points=3,
    reference=soft_hard_loss,
    cases=loss_cases,
    verb="call_with_uneven_gradients",
    rtol=1e-3,
    atol=1e-5,
    mistakes=(
        Mistake(
            "no T²",
            "The factor T² is missing: gradients of the soft part shrink like 1/T², so at a high temperature only the labels "
            "would count.",
            loss_with(power=0),
        ),
        Mistake(
            "T instead of T²", "The soft part is multiplied by T. Its gradients shrink like 1/T².", loss_with(power=1)
        ),
        Mistake(
            "T² on everything",
            "You multiplied the labels' part by T² as well. It is computed at temperature 1 and does not shrink.",
            loss_with(square_all=True),
        ),
        Mistake(
            "mean instead of batchmean",
            "Your soft part is averaged over the classes too, so it is too small by their number. KL is a SUM over classes, "
            "then a mean over the batch.",
            loss_with(divide=lambda terms: terms.mean()),
        ),
        Mistake(
            "summed over the batch",
            "Your soft part is summed over the batch, so a larger batch would mean a larger loss. Take the mean over examples.",
            loss_with(divide=lambda terms: terms.sum()),
        ),
        Mistake(
            "arguments swapped",
            "You measured KL(student ∥ teacher). Asked for is KL(teacher ∥ student): the teacher's probabilities weigh the "
            "terms. In kl_div the student comes first, as logarithms.",
            loss_with(swapped=True),
        ),
        Mistake(
            "log of log",
            "Where the student's log-probabilities belong, you took log_softmax of its probabilities: one softmax too many.",
            loss_with(twice=True),
        ),
        Mistake(
            "teacher not detached",
            "The value is right, but gradients flow into the teacher: it would learn to agree with its student. Cut it off.",
            loss_with(detach=False),
        ),
        Mistake(
            "log of a softmax",
            "For a certain teacher your loss is NaN: its small probabilities round to 0, and 0 · log 0 is not a number. There is a "
            "function that takes softmax and logarithm in one go.",
            loss_with(plain=True),
        ),
        Mistake(
            "alpha the wrong way round",
            "alpha weighs the teacher, 1 − alpha the labels. You have it the other way round.",
            loss_with(turned=True),
        ),
        Mistake(
            "labels at temperature T",
            "The labels' part is computed at temperature T. It belongs at 1, where the student will be used.",
            loss_with(hot_labels=True),
        ),
        Mistake(
            "student not softened",
            "The teacher is softened, the student is not. Both are compared at the same temperature.",
            loss_with(cold_student=True),
        ),
        Mistake(
            "teacher not softened",
            "The student is softened, the teacher is not. Both are compared at the same temperature.",
            loss_with(cold_teacher=True),
        ),
        Mistake(
            "cross-entropy instead of KL",
            "Your gradients are right, but the value is not zero where student and teacher agree: the teacher's entropy was "
            "not subtracted. KL is Σ p (log p − log q).",
            loss_with(entropy=False),
        ),
    ),
    hints=(
        "Three pieces: the teacher's log-probabilities at T, the student's at T, and the plain cross-entropy with the labels.",
        "Soft part: Σ over classes of p · (log p − log q), mean over the batch, times T². Detach the teacher; use log_softmax.",
        "With log_p and log_q from log_softmax: soft = (log_p.exp() * (log_p − log_q)).sum(1).mean(); return "
        "alpha · T² · soft + (1 − alpha) · cross_entropy(student, labels).",
    ),
)

# --- 12.3 ----------------------------------------------------------------------------------------------------------


def ensemble_targets(logits: Tensor, temperature: float) -> Tensor:
    """The mean over the members of their softened probabilities."""
    return soften(logits, temperature).mean(dim=0)


def ensemble_cases(seed: int) -> list[Case]:
    """Members that disagree, members of unequal confidence, one member, as many members as classes."""
    generator = torch.Generator().manual_seed(seed)
    randn = lambda *shape: torch.randn(shape, generator=generator)
    hot = 1.5 + round(3 * torch.rand((), generator=generator).item(), 2)
    loud = randn(3, 4, 5) * torch.tensor([12.0, 2.0, 1.0]).view(3, 1, 1)
    return [
        Case(f"five members, six examples, four classes, T = {hot}", (3 * randn(5, 6, 4), hot)),
        Case("one member is far surer than the others", (loud, 2.0)),
        Case("four members, four examples, four classes", (2 * randn(4, 4, 4), 3.0)),
        Case("two members, T = 1", (2 * randn(2, 3, 5), 1.0)),
        Case("a single member", (2 * randn(1, 3, 4), 2.5)),
    ]


def votes(z: Tensor, t: float) -> Tensor:
    """The share of members that answer with each class."""
    return F.one_hot(z.argmax(-1), z.shape[-1]).float().mean(0)


def surest(z: Tensor, t: float) -> Tensor:
    """For each example, the answer of the member that is surest."""
    q = (z / t).softmax(-1)
    return q[q.amax(-1).argmax(0), torch.arange(z.shape[1])]


ENSEMBLE = Exercise(
    id="12.3",
    name="ensemble_targets",
    title="What an ensemble says",
    points=2,
    reference=ensemble_targets,
    cases=ensemble_cases,
    invariants=(ADDS_UP,),
    mistakes=(
        Mistake(
            "average of logits",
            "You averaged logits, so a member with large logits shouts the others down. Each member's PROBABILITIES count "
            "equally: soften first, then average.",
            lambda z, t: (z.mean(0) / t).softmax(-1),
        ),
        Mistake(
            "sum instead of mean",
            "Your probabilities add up to the number of members. Take their mean.",
            lambda z, t: (z / t).softmax(-1).sum(0),
        ),
        Mistake(
            "temperature ignored",
            "The members are not softened: T has no effect.",
            lambda z, t: z.softmax(-1).mean(0),
        ),
        Mistake(
            "temperature multiplies",
            "You multiplied by T: answers get sharper. Divide the logits by it.",
            lambda z, t: (z * t).softmax(-1).mean(0),
        ),
        Mistake(
            "softened after averaging",
            "You averaged the plain probabilities, and softened the mean. Each member is softened on its own, then the mean is "
            "taken.",
            lambda z, t: (z.softmax(-1).mean(0).log() / t).softmax(-1),
        ),
        Mistake(
            "softmax of the mean probabilities",
            "You took another softmax of the mean. It is a distribution already.",
            lambda z, t: (z / t).softmax(-1).mean(0).softmax(-1),
        ),
        Mistake(
            "mean over the examples",
            "You averaged over the examples. The members are the FIRST dimension, and each example keeps its own targets.",
            lambda z, t: (z / t).softmax(-1).mean(1),
        ),
        Mistake(
            "softmax over the members",
            "You took the softmax over the members. It goes over the classes, the last dimension.",
            lambda z, t: (z / t).softmax(0).mean(0),
        ),
        Mistake(
            "votes",
            "You counted votes. That throws away what each member thinks of the other classes, which is what a student is to learn.",
            votes,
        ),
        Mistake(
            "the surest member",
            "You took the surest member's answer. The ensemble's is the mean of all: being sure is not being right.",
            surest,
        ),
    ),
    hints=(
        "Should a member whose logits are ten times as large have ten times the say?",
        "Soften each member's logits on its own, over the classes. Then average over the members.",
        "return (logits / temperature).softmax(dim=-1).mean(dim=0)",
    ),
)

# --- 12.4 ----------------------------------------------------------------------------------------------------------


def best_bias(logits: Tensor, labels: Tensor, missing: int, candidates: list[float]) -> float:
    """The first candidate that gives most right answers in all."""
    right = [n_right(raise_bias(logits, [missing], bias), labels) for bias in candidates]
    return candidates[right.index(max(right))]


def n_right(logits: Tensor, labels: Tensor) -> int:
    """How many answers are right."""
    return int((logits.argmax(dim=1) == labels).sum())


def bias_cases(seed: int) -> list[Case]:
    """Students who never saw a class: they know its images, but their answer for it lies too low; once it lies too high."""
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for classes, missing, low in ((5, 2, 4.0), (4, 0, 3.0), (6, 5, 5.0), (4, 1, -3.0)):
        labels = torch.arange(12 * classes) % classes
        logits = 1.2 * torch.randn(len(labels), classes, generator=generator)
        logits[torch.arange(len(labels)), labels] += 3.0
        logits[:, missing] -= low
        grid = [-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.0, 9.0, 40.0]
        says = "too low" if low > 0 else "too HIGH"
        cases.append(Case(f"{classes} classes; logits of class {missing} are {says}", (logits, labels, missing, grid)))
    logits, labels, missing, grid = cases[0].inputs
    cases.append(Case("the candidates in falling order", (logits, labels, missing, grid[::-1])))
    tied = torch.tensor([[2.0, 0.0], [2.0, -8.0]])
    tied = tied + 0.1 * torch.rand((), generator=generator)
    ties = [0.0, 3.0, 5.0, 7.0, 12.0]
    return [*cases, Case("two images; 3, 5 and 7 are equally good", (tied, torch.tensor([1, 0]), 1, ties))]


def bias_by(score: Callable, *, pick: Callable = lambda values: values.index(max(values))) -> Callable:
    """A variant: another score(logits, labels, missing, bias), or another way to pick."""

    def choose(logits, labels, missing, candidates):
        return candidates[pick([score(logits, labels, missing, bias) for bias in candidates])]

    return choose


def right_after(z: Tensor, y: Tensor, missing: int, bias: float) -> int:
    """How many answers are right with this bias."""
    return n_right(raise_bias(z, [missing], bias), y)


def recall_after(z: Tensor, y: Tensor, missing: int, bias: float) -> int:
    """How many images of the missing class are recognised."""
    return n_right(raise_bias(z, [missing], bias)[y == missing], y[y == missing])


def in_place(logits: Tensor, labels: Tensor, missing: int, candidates: list[float]) -> float:
    """Biases pile up in the caller's tensor."""
    right = []
    for bias in candidates:
        logits[:, missing] += bias
        right.append(n_right(logits, labels))
    return candidates[right.index(max(right))]


BIAS = Exercise(
    id="12.4",
    name="best_bias",
    title="The bias of a class never seen",
    points=2,
    reference=best_bias,
    cases=bias_cases,
    mistakes=(
        Mistake(
            "only the missing class counts",
            "You counted right answers among images of the missing class only. Then the largest bias always wins: it calls "
            "everything by that class. All images count.",
            bias_by(recall_after),
        ),
        Mistake(
            "the others only",
            "You left the images of the missing class out. They are why the bias is raised at all.",
            bias_by(lambda z, y, m, b: n_right(raise_bias(z, [m], b)[y != m], y[y != m])),
        ),
        Mistake(
            "position instead of bias",
            "You returned the place of the best candidate in the list. Asked for is the candidate itself.",
            lambda z, y, m, c: float(c.index(best_bias(z, y, m, c))),
        ),
        Mistake(
            "subtracted",
            "You subtracted the bias. It is added to the logits of the class.",
            bias_by(lambda z, y, m, b: right_after(z, y, m, -b)),
        ),
        Mistake(
            "added to all classes",
            "You added the bias to every class, which changes no answer. Only the missing class gets it.",
            lambda z, y, m, c: c[0],
        ),
        Mistake(
            "added to probabilities",
            "You added the bias to probabilities. It belongs to the logits, before the softmax, like a bias of the last layer.",
            bias_by(lambda z, y, m, b: n_right(raise_bias(z.softmax(1), [m], b), y)),
        ),
        Mistake(
            "added in place",
            "Your biases pile up: each candidate is added on top of those before it, in the caller's tensor. Start from a copy "
            "of the logits for each.",
            in_place,
        ),
        Mistake(
            "the last of equals",
            "Where several candidates are equally good you took the last one. Asked for is the first.",
            bias_by(right_after, pick=lambda values: len(values) - 1 - values[::-1].index(max(values))),
        ),
        Mistake(
            "most wrong answers",
            "You took the candidate with the fewest right answers.",
            bias_by(right_after, pick=lambda values: values.index(min(values))),
        ),
        Mistake(
            "accuracy instead of bias",
            "You returned the best share of right answers. Asked for is the bias that gives it.",
            lambda z, y, m, c: max(right_after(z, y, m, bias) for bias in c) / len(y),
        ),
    ),
    hints=(
        "For each candidate: what would the answers be if the logits of the missing class were that much higher?",
        "Copy the logits, add the candidate to column `missing`, count right answers over ALL images; keep the first best one.",
        "raised = logits.clone(); raised[:, missing] += bias; right = (raised.argmax(1) == labels).sum(); update the best only "
        "if right is larger.",
    ),
)

EXERCISES = (SOFTEN, LOSS, ENSEMBLE, BIAS)

QUIZ = (
    Question(
        "Fifty images, a certain teacher: its probabilities are 1.000 and nine times 0.000. What does T = 1 teach beyond the label?",
        {
            "Next to nothing: what it knows of the wrong digits is too small to matter": "The hints are there in the logits. A higher temperature makes them count.",
            "As much as any temperature: the logits are the same": "The student sees probabilities, and these are 0 to three digits.",
            "Nothing can be learned from a certain teacher": "At T = 4 its wrong answers differ by factors again.",
        },
        "Next to nothing: what it knows of the wrong digits is too small to matter",
    ),
    Question(
        "You leave out T² and raise the temperature from 2 to 10. What happens to the mix with the labels?",
        {
            "The teacher's part fades: its gradients shrink about 25 times": "They go like 1/T²: (10/2)² = 25.",
            "Nothing, alpha keeps the balance": "alpha weighs losses; gradients of the soft part shrink all the same.",
            "The teacher's part grows": "Softened distributions lie closer together, so their differences shrink.",
        },
        "The teacher's part fades: its gradients shrink about 25 times",
    ),
    Question(
        "A student trained on soft targets beats one trained on labels. Which control shows that the wrong answers did it?",
        {
            "Keep the likeliest answer's probability, and make all wrong ones equal": "Everything else stays: the softness, the images, the steps. If the gain vanishes, it was in the wrong answers.",
            "Train the student longer": "That tests whether it was done learning, not where the gain came from.",
            "Use a larger teacher": "A better teacher, but still with all its hints.",
        },
        "Keep the likeliest answer's probability, and make all wrong ones equal",
    ),
    Question(
        "The bias of the missing 3 was tuned on the test images. What is wrong with the accuracy reported on them?",
        {
            "It is too good: the test images had a say in the network": "Choose on validation images, then look at the test images once.",
            "Nothing, it is one number only": "One number or a million: what was fitted to the test images cannot be measured on them.",
            "It is too bad: biases should be learned": "A tuned bias is at least as good on the images it was tuned on.",
        },
        "It is too good: the test images had a say in the network",
    ),
)
