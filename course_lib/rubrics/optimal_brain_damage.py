"""Lesson 04: saliency, second derivatives at the outputs and through a layer, prediction against fact, and surgery."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.pruning.curvature import Passed, loss_derivatives, second_back, weight_curvature
from course_lib.pruning.obs import surgeon_step
from course_lib.rubrics.exercise import Case, Exercise, Invariant, Mistake, Question
from course_lib.rubrics.verbs import BuiltIn

# --- 4.1 -----------------------------------------------------------------------------------------------------------


def weight_saliency(weight: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
    """½ h w²; at a minimum the gradient has no say."""
    return curvature * weight**2 / 2


def saliency_cases(seed: int) -> list[Case]:
    """A matrix, a kernel, and a network not quite at its minimum."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    return [
        Case("12 weights of a linear layer", (draw(3, 4), 0.01 * draw(3, 4), draw(3, 4).abs())),
        Case("a convolution's kernels", (draw(2, 3, 2, 2), 0.01 * draw(2, 3, 2, 2), draw(2, 3, 2, 2).abs())),
        Case(
            "two curvatures are negative: the network is not quite at a minimum",
            (draw(5), 0.2 * draw(5), torch.tensor([0.5, -0.2, 1.5, -0.1, 2.0]) * (1 + draw(5).abs())),
        ),
        Case(
            "a pruned weight, and one without curvature", (torch.tensor([0.0, 3.0]), draw(2), torch.tensor([2.0, 0.0]))
        ),
    ]


def of(formula: Callable) -> Callable:
    """A variant: another formula of weight, gradient and curvature."""
    return lambda weight, gradient, curvature: formula(weight, gradient, curvature)


SALIENCY = Exercise(
    id="4.1",
    name="weight_saliency",
    title="What a weight is worth",
    points=1,
    reference=weight_saliency,
    cases=saliency_cases,
    mistakes=(
        Mistake(
            "no ½",
            "Your saliencies are twice too large. The order is the same, but a sum of them no longer predicts the loss: "
            "look at the factor of the second-order term of a Taylor expansion.",
            of(lambda w, g, h: h * w**2),
        ),
        Mistake(
            "absolute curvature",
            "You took |h|. A negative curvature says that the loss falls when this weight goes, or that the network is not "
            "at a minimum: hiding the sign hides that.",
            of(lambda w, g, h: h.abs() * w**2 / 2),
        ),
        Mistake(
            "negative saliencies cut off",
            "You raised negative saliencies to 0. They carry news: the network is not at a minimum. Keep them.",
            of(lambda w, g, h: (h * w**2 / 2).clamp(min=0)),
        ),
        Mistake(
            "weight not squared",
            "You multiplied by |w|, not by its square. Removing w moves it by w, and the parabola grows with the square of "
            "the move.",
            of(lambda w, g, h: h * w.abs() / 2),
        ),
        Mistake(
            "signed weight, not squared",
            "You multiplied by w, not by its square, so half of your saliencies have the wrong sign.",
            of(lambda w, g, h: h * w / 2),
        ),
        Mistake(
            "gradient instead of curvature",
            "You used the gradient where the curvature belongs. At a minimum the gradient is zero for every weight; it "
            "tells nothing apart.",
            of(lambda w, g, h: g * w**2 / 2),
        ),
        Mistake(
            "first-order criterion",
            "That is |w · gradient|, lesson 02's criterion. It describes small moves; removing a weight is a large one.",
            of(lambda w, g, h: (w * g).abs()),
        ),
        Mistake(
            "gradient term kept",
            "You kept the first-order term. Optimal Brain Damage assumes a trained network, where it vanishes.",
            of(lambda w, g, h: h * w**2 / 2 - g * w),
        ),
        Mistake(
            "curvature squared",
            "You squared the curvature too. Only the move is squared.",
            of(lambda w, g, h: (h * w) ** 2 / 2),
        ),
        Mistake(
            "magnitude",
            "You left the curvature out, so this ranks like plain magnitude.",
            of(lambda w, g, h: w**2 / 2),
        ),
        Mistake(
            "one number for all",
            "You summed over the weights. Every weight has a saliency of its own.",
            of(lambda w, g, h: (h * w**2 / 2).sum()),
        ),
    ),
    hints=(
        "Expand the loss around the trained weight: constant, first-order term, second-order term. Which of them are left "
        "at a minimum?",
        "To remove w is to move it by −w. What becomes of ½ · h · move²?",
        "return curvature * weight ** 2 / 2",
    ),
)

# --- 4.2 -----------------------------------------------------------------------------------------------------------


def output_curvature(logits: Tensor, labels: Tensor) -> Tensor:
    """p(1 − p) / N for the mean cross-entropy."""
    return loss_derivatives("cross_entropy", logits, labels)[1]


def output_cases(seed: int) -> list[Case]:
    """Small batches; and logits so large that exp alone overflows."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    labels = lambda n, classes: torch.randint(classes, (n,), generator=generator)
    return [
        Case("one example, three classes", (draw(1, 3), labels(1, 3))),
        Case("five examples, four classes", (2 * draw(5, 4), labels(5, 4))),
        Case("as many examples as classes", (draw(3, 3), labels(3, 3))),
        Case("logits of 200 and more", (200 + draw(2, 3), labels(2, 3))),
    ]


def p_of(formula: Callable, *, dim: int = 1, mean: bool = True, squash: Callable | None = None) -> Callable:
    """A variant: another formula of the probabilities and the one-hot labels."""

    def curvature(logits: Tensor, labels: Tensor) -> Tensor:
        p = squash(logits) if squash else logits.softmax(dim)
        found = formula(p, nn.functional.one_hot(labels, logits.shape[1]).to(p.dtype))
        return found / len(logits) if mean else found

    return curvature


bell = lambda p, onehot: p * (1 - p)

OUTPUT = Exercise(
    id="4.2",
    name="output_curvature",
    title="Where the pass back begins",
    points=1,
    reference=output_curvature,
    cases=output_cases,
    mistakes=(
        Mistake(
            "not averaged",
            "The loss is the mean over the examples, so every derivative of it carries a factor 1/N. Yours are those of the "
            "sum.",
            p_of(bell, mean=False),
        ),
        Mistake(
            "averaged over the classes too",
            "You divided by the number of all entries. The mean runs over the examples only.",
            lambda logits, labels: p_of(bell)(logits, labels) / logits.shape[1],
        ),
        Mistake(
            "first derivative",
            "p − onehot is the first derivative. Differentiate once more: the one-hot part is a constant.",
            p_of(lambda p, onehot: p - onehot),
        ),
        Mistake(
            "squared gradient",
            "You squared the first derivative. That resembles a curvature, and has the right mean over many labels drawn "
            "from p, but it is not the second derivative: the labels must not matter here.",
            p_of(lambda p, onehot: (p - onehot) ** 2),
        ),
        Mistake(
            "probability alone",
            "You returned p. Its derivative by its own logit is meant, and that vanishes also where p comes near 1.",
            p_of(lambda p, onehot: p),
        ),
        Mistake(
            "wrong sign",
            "Yours is negative. Cross-entropy is bowl-shaped in the logits: its curvature is never below zero.",
            p_of(lambda p, onehot: p * (p - 1)),
        ),
        Mistake(
            "p squared",
            "You returned p². What is left when p nears 1 should vanish, and does not.",
            p_of(lambda p, onehot: p**2),
        ),
        Mistake(
            "softmax over the examples",
            "You normalised over the batch. Each row, one example, is a distribution over its classes.",
            p_of(bell, dim=0),
        ),
        Mistake(
            "sigmoid",
            "You squashed each logit on its own. Cross-entropy compares the classes: it takes the softmax.",
            p_of(bell, squash=torch.sigmoid),
        ),
        Mistake(
            "log-probabilities",
            "You took the logarithm of the softmax. The formula holds for the probabilities themselves.",
            p_of(bell, squash=lambda logits: logits.log_softmax(1)),
        ),
        Mistake(
            "only the right class",
            "You kept the curvature of the right class only. The loss bends along every logit.",
            p_of(lambda p, onehot: p * (1 - p) * onehot),
        ),
        Mistake(
            "exponentials overflow",
            "exp() of a large logit is infinite, so your probabilities are not numbers. softmax subtracts the largest logit "
            "first.",
            p_of(bell, squash=lambda logits: logits.exp() / logits.exp().sum(1, keepdim=True)),
        ),
    ),
    hints=(
        "The first derivative of cross-entropy by a logit is known: p − onehot, divided by N. Differentiate it by the same "
        "logit once more.",
        "The labels are constants. What is the derivative of a softmax probability by its own logit?",
        "p = logits.softmax(dim=1), and the answer is p * (1 - p) / len(logits)",
    ),
)

# --- 4.3 -----------------------------------------------------------------------------------------------------------


def through_linear(weight: Tensor, x: Tensor, h: Tensor) -> dict[str, Tensor]:
    """Second derivatives by the weight, the bias and the input of a linear layer."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight
    passed = Passed(layer, x, h)
    return {**weight_curvature(passed, h), "input": second_back(passed, None, h)}


def linear_cases(seed: int) -> list[Case]:
    """Layers of unequal sides; a square one, where a transposed weight would fit; one example; negative curvature."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    return [
        Case("6 examples, 4 inputs, 3 outputs", (draw(3, 4), draw(6, 4), draw(6, 3).abs())),
        Case("as many outputs as inputs and examples", (draw(3, 3), draw(3, 3), draw(3, 3).abs())),
        Case("one example", (draw(2, 5), draw(1, 5), draw(1, 2).abs())),
        Case("some curvatures are negative", (draw(3, 2), draw(4, 2), draw(4, 3))),
    ]


def layer_with(
    *, at_weight: Callable = lambda x, h: h.T @ x**2, at_bias: Callable = lambda x, h: h.sum(0),
    at_input: Callable = lambda w, h: h @ w**2,
) -> Callable:  # fmt: skip
    """A variant: another rule for one of the three."""
    return lambda weight, x, h: {"weight": at_weight(x, h), "bias": at_bias(x, h), "input": at_input(weight, h)}


THROUGH = Exercise(
    id="4.3",
    name="through_linear",
    title="Back through one linear layer",
    points=3,
    reference=through_linear,
    cases=linear_cases,
    mistakes=(
        Mistake(
            "input not squared",
            "The weight's curvature has x, not x²: that is the rule for first derivatives. Differentiate a = w·x twice by w, "
            "and x comes out twice.",
            layer_with(at_weight=lambda x, h: h.T @ x),
        ),
        Mistake(
            "weight not squared",
            "Towards the input you used w, not w²: that is the rule for first derivatives.",
            layer_with(at_input=lambda w, h: h @ w),
        ),
        Mistake(
            "nothing squared",
            "You passed h back as if it were a gradient. In a second derivative every slope, x or w, comes in twice.",
            layer_with(at_weight=lambda x, h: h.T @ x, at_input=lambda w, h: h @ w),
        ),
        Mistake(
            "absolute values for squares",
            "You used |x| and |w|. They have the right sign but the wrong size: squares are meant.",
            layer_with(at_weight=lambda x, h: h.T @ x.abs(), at_input=lambda w, h: h @ w.abs()),
        ),
        Mistake(
            "the sum squared",
            "You squared after adding up. Each term's slope is squared on its own, then the terms are added.",
            layer_with(at_weight=lambda x, h: (h.T @ x) ** 2, at_input=lambda w, h: (h @ w) ** 2),
        ),
        Mistake(
            "curvature squared too",
            "You squared h as well. Slopes are squared; the curvature that is passed back is not.",
            layer_with(at_weight=lambda x, h: (h**2).T @ x**2, at_input=lambda w, h: h**2 @ w**2),
        ),
        Mistake(
            "averaged over the examples",
            "You averaged over the batch. h belongs to the mean loss and carries its 1/N already: add up.",
            layer_with(at_weight=lambda x, h: h.T @ x**2 / len(x), at_bias=lambda x, h: h.mean(0)),
        ),
        Mistake(
            "transposed weight",
            "You took the weight the wrong way round. It is (out, in); h is (examples, out), and the result must be "
            "(examples, in).",
            layer_with(at_input=lambda w, h: h @ (w.T) ** 2),
        ),
        Mistake(
            "bias with a square of the input",
            "The bias meets no input: a = w·x + b changes by 1 when b does.",
            layer_with(at_bias=lambda x, h: (h * (x**2).sum(1, keepdim=True)).sum(0)),
        ),
        Mistake(
            "bias for each example",
            "You left the bias's curvature apart for each example. One bias serves them all: add them up.",
            layer_with(at_bias=lambda x, h: h),
        ),
    ),
    hints=(
        "Write one output: a_i = Σ_j w_ij x_j + b_i. Its slope by w_ij is x_j, by b_i it is 1, by x_j it is w_ij, and a "
        "line has no curvature of its own.",
        "Each second derivative is h_i times that slope squared; then add up over whatever shares the variable: over the "
        "examples for w and b, over the outputs for x.",
        "weight: h.T @ x**2    bias: h.sum(0)    input: h @ weight**2",
    ),
)

# --- 4.4 -----------------------------------------------------------------------------------------------------------


def predicted_and_actual(
    weight: Tensor, curvature: Tensor, loss: Callable[[Tensor], float], counts: list[int]
) -> list[list[float]]:
    """For each count: the sum of the lowest saliencies, and what the loss really gains."""
    return rises()(weight, curvature, loss, counts)


def rises(
    *, rank: Callable = lambda w, h: h * w**2 / 2, predict: Callable = lambda s, order, k: s[order[:k]].sum(),
    gone: Callable = lambda order, k: order[:k], base: bool = True, highest: bool = False, in_place: bool = False,
) -> Callable:  # fmt: skip
    """A variant: another ranking, another prediction, or other weights that go."""

    def run(weight, curvature, loss, counts):
        order = rank(weight, curvature).argsort(stable=True, descending=highest)
        before, found = loss(weight) if base else 0.0, []
        for k in counts:
            pruned = weight if in_place else weight.clone()
            saliencies = curvature * pruned**2 / 2 if not in_place else curvature * weight**2 / 2
            predicted = float(predict(saliencies, order, k))
            pruned[gone(order, k)] = 0.0
            found.append([predicted, loss(pruned) - before])
        return found

    return run


def rise_cases(seed: int) -> list[Case]:
    """A loss without cross terms, where the prediction is exact; one with them; and all weights removed."""
    generator = torch.Generator().manual_seed(seed)
    weight, root = torch.randn(8, generator=generator), torch.randn(8, 8, generator=generator)
    hessian = root @ root.T / 8 + 0.1 * torch.eye(8)
    plain, mixed = torch.diag(hessian.diagonal()), hessian
    loss = lambda h: BuiltIn("quadratic_loss", {"curvature": h, "minimum": weight.clone(), "lowest": 0.25})
    return [
        Case("no cross terms: both are equal", (weight, plain.diagonal().clone(), loss(plain), [1, 3, 5])),
        Case("with cross terms they part", (weight, mixed.diagonal().clone(), loss(mixed), [2, 4, 6])),
        Case("from no weight to all of them", (weight, mixed.diagonal().clone(), loss(mixed), [0, 1, 8])),
        Case("counts that do not rise", (weight, mixed.diagonal().clone(), loss(mixed), [5, 2])),
    ]


RISES = Exercise(
    id="4.4",
    name="predicted_and_actual",
    title="Predicted against actual",
    points=3,
    reference=predicted_and_actual,
    cases=rise_cases,
    mistakes=(
        Mistake(
            "loss instead of its rise",
            "You compared the prediction with the loss itself. A saliency predicts a CHANGE: take away the loss of the "
            "whole network.",
            rises(base=False),
        ),
        Mistake(
            "ranked by magnitude",
            "You removed the smallest weights first. Here the lowest saliencies go.",
            rises(rank=lambda w, h: w.abs()),
        ),
        Mistake(
            "ranked by curvature",
            "You removed the weights of lowest curvature. The weight's own size counts too.",
            rises(rank=lambda w, h: h),
        ),
        Mistake("the dearest first", "You removed the highest saliencies. The cheap ones go.", rises(highest=True)),
        Mistake(
            "no ½ in the prediction",
            "Your prediction is twice too large: the ½ of the second-order term is missing.",
            rises(predict=lambda s, order, k: 2 * s[order[:k]].sum()),
        ),
        Mistake(
            "only the last saliency",
            "You predicted with the saliency of the last weight that went. All that went add up.",
            rises(predict=lambda s, order, k: s[order[k - 1]] if k else torch.tensor(0.0)),
        ),
        Mistake(
            "only one weight removed",
            "You removed the k-th weight alone. All k of them go together: only then cross terms can show.",
            rises(gone=lambda order, k: order[k - 1 : k]),
        ),
        Mistake(
            "one too many",
            "One weight too many goes at each count.",
            rises(predict=lambda s, order, k: s[order[: k + 1]].sum(), gone=lambda order, k: order[: k + 1]),
        ),
        Mistake(
            "saliencies that stay",
            "You added up the saliencies of what is left. The prediction is the price of what goes.",
            rises(predict=lambda s, order, k: s[order[k:]].sum()),
        ),
        Mistake(
            "zeroed for good",
            "You wrote the zeros into the caller's weights, so one count spoils the next, and the network of whoever called "
            "you is gone. Work on a copy for each count.",
            rises(in_place=True),
        ),
    ),
    hints=(
        "Saliencies first, then the order of their ranks: `argsort(stable=True)`.",
        "For each k: the prediction is the sum of the k lowest saliencies; for the fact, zero those k weights in a CLONE "
        "and ask `loss`.",
        "actual = loss(pruned) − loss(weight), with pruned = weight.clone() and pruned[order[:k]] = 0.",
    ),
)

# --- 4.5, optional ---------------------------------------------------------------------------------------------------


def surgeon_removal(weight: Tensor, inverse: Tensor) -> list:
    """Which weight goes, what it costs, and all weights afterwards."""
    step = surgeon_step(weight, inverse)
    return [step.index, step.saliency, step.weights]


def surgery_cases(seed: int) -> list[Case]:
    """Random Hessians; one where each wrong cost picks another weight; no cross terms at all."""
    generator = torch.Generator().manual_seed(seed)
    cases = []
    while len(cases) < 3:
        n = 4 + 2 * len(cases)
        root = torch.randn(n, n, generator=generator)
        inverse = torch.linalg.inv(root @ root.T / n + 0.3 * torch.eye(n))
        weight = torch.randn(n, generator=generator)
        if telling(weight, inverse):
            cases.append(Case(f"{n} weights that depend on each other", (weight, inverse)))
    spread = torch.diag(0.5 + torch.rand(4, generator=generator))
    weight = torch.tensor([0.3, -0.4, 2.0, -1.0])
    return [*cases, Case("no cross terms: nothing else moves", (weight, spread))]


def telling(weight: Tensor, inverse: Tensor) -> bool:
    """Whether rounding leaves a trace of the removed weight, and the wrong costs choose another weight."""
    d = inverse.diagonal()
    q = int((weight**2 / d).argmin())
    traces = [weight[q] - weight[q] / d[q] * d[q], weight[q] - weight[q] * d[q] / d[q]]
    others = [weight.abs(), weight**2 * d, weight**2 / torch.linalg.inv(inverse).diagonal()]
    return any(bool(trace) for trace in traces[:1]) and all(int(cost.argmin()) != q for cost in others[:2])


def operation(
    *, cost: Callable = lambda w, m: w**2 / (2 * m.diagonal()), move: Callable = lambda w, m, q: -w[q] / m[q, q] * m[:, q],
    exact: bool = True, highest: bool = False, alone: bool = False,
) -> Callable:  # fmt: skip
    """A variant: another cost, another move of the other weights, the weight itself not quite zero."""

    def run(weight: Tensor, inverse: Tensor) -> list:
        costs = cost(weight, inverse)
        q = int(costs.argmax() if highest else costs.argmin())
        after = weight.clone() if alone else weight + move(weight, inverse, q)
        if exact:
            after[q] = 0.0
        return [q, float(costs[q]), after]

    return run


SURGERY = Exercise(
    id="4.5",
    name="surgeon_removal",
    title="Optimal Brain Surgeon: remove one, move all",
    points=2,
    optional=True,
    reference=surgeon_removal,
    cases=surgery_cases,
    invariants=(
        Invariant(
            "the removed weight must be exactly 0, not 0 up to rounding",
            lambda inputs, found: float(found[2][int(found[0])]) == 0.0,
        ),
    ),
    mistakes=(
        Mistake(
            "diagonal of H instead of its inverse",
            "You used the diagonal of H⁻¹ as if it were the curvature. In the surgeon's cost it stands below the line: a "
            "large entry means that others can make up for this weight.",
            operation(cost=lambda w, m: w**2 * m.diagonal() / 2),
        ),
        Mistake(
            "Optimal Brain Damage",
            "You turned H⁻¹ back into H and used H's diagonal. That is the cost when all other weights stay where they are; "
            "here they may move.",
            operation(cost=lambda w, m: w**2 * torch.linalg.inv(m).diagonal() / 2),
        ),
        Mistake(
            "not exactly zero",
            "Rounding leaves a trace of the removed weight. Set it to 0 after the update: a mask needs exact zeros.",
            operation(exact=False),
        ),
        Mistake(
            "nothing else moves",
            "You only zeroed the weight. The surgeon also moves all others, along a column of H⁻¹.",
            operation(alone=True),
        ),
        Mistake(
            "moves the wrong way",
            "Your other weights move away from where they should go: look at the sign of δw.",
            operation(move=lambda w, m, q: w[q] / m[q, q] * m[:, q]),
        ),
        Mistake(
            "column not divided",
            "You moved by w_q times the column, without dividing by [H⁻¹]_qq. Check: the q-th entry of δw must be −w_q.",
            operation(move=lambda w, m, q: -w[q] * m[:, q]),
        ),
        Mistake(
            "column of H",
            "You moved along a column of H. It is a column of its inverse.",
            operation(move=lambda w, m, q: -w[q] / m[q, q] * torch.linalg.inv(m)[:, q]),
        ),
        Mistake(
            "the dearest first",
            "You removed the weight that costs most. The cheapest goes.",
            operation(highest=True),
        ),
        Mistake(
            "no ½ in the cost",
            "Your cost is twice too large: ½ is missing.",
            operation(cost=lambda w, m: w**2 / m.diagonal()),
        ),
        Mistake(
            "smallest magnitude",
            "You removed the smallest weight. Size alone does not say what the others can make up for.",
            lambda weight, inverse: (
                lambda q: [
                    q,
                    float(weight[q] ** 2 / (2 * inverse[q, q])),
                    (weight - weight[q] / inverse[q, q] * inverse[:, q]).index_fill(0, torch.tensor(q), 0.0),
                ]
            )(int(weight.abs().argmin())),
        ),
    ),
    hints=(
        "First the cost of each weight: its square, divided by twice its entry on the diagonal of H⁻¹. Then the cheapest.",
        "All weights change by −(w_q / [H⁻¹]_qq) times column q of H⁻¹.",
        "after = weight - weight[q] / inverse[q, q] * inverse[:, q], then after[q] = 0.0",
    ),
)

EXERCISES = (SALIENCY, OUTPUT, THROUGH, RISES, SURGERY)

QUIZ = (
    Question(
        "Two weights: 0.1 with curvature 50, and 0.5 with curvature 1. Which one goes first, by saliency?",
        {
            "The larger one, 0.5": "½ · 1 · 0.25 = 0.125, and ½ · 50 · 0.01 = 0.25: the small weight is the dear one.",
            "The smaller one, 0.1": "That is magnitude. Its curvature makes it twice as dear.",
            "They cost the same": "0.125 against 0.25.",
        },
        "The larger one, 0.5",
    ),
    Question(
        "Why does Optimal Brain Damage ask for a trained network?",
        {
            "At a minimum the gradient is zero, so the first-order term may be dropped": "That is the extremal approximation.",
            "Curvature cannot be computed before": "It can, anywhere; but then the gradient term would matter more.",
            "Untrained networks have no small weights": "They have many; it is the expansion that does not fit there.",
        },
        "At a minimum the gradient is zero, so the first-order term may be dropped",
    ),
    Question(
        "Each of two inputs carries the same signal, with weights 1 and 1. Removing either is cheap. Removing both?",
        {
            "Far dearer than the sum: that is a cross term, which the diagonal leaves out": "This is why the prediction parts from the fact after many removals.",
            "As dear as the sum of both": "That would need their second derivative ∂²E/∂w₁∂w₂ to be zero; for equal inputs it is large.",
            "Free, since each was cheap": "Each was cheap because the other one stayed.",
        },
        "Far dearer than the sum: that is a cross term, which the diagonal leaves out",
    ),
    Question(
        "When is the Gauss-Newton diagonal the Hessian's own diagonal?",
        {
            "Where the outputs are piecewise linear in each weight, as with ReLU and max pooling": "Then the term with the outputs' own curvature vanishes.",
            "Always": "With tanh the outputs bend too, and that term is left out.",
            "Only for one linear layer": "There too; but ReLUs keep it exact at any depth.",
        },
        "Where the outputs are piecewise linear in each weight, as with ReLU and max pooling",
    ),
)
