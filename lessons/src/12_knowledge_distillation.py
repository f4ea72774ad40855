# %% [markdown]
# # 12 · Knowledge distillation: what does a wrong answer know?
#
# *A trained network says "2", and also how much this 2 looks like a 3. A small network that learns from such answers needs
# far fewer images, or none with labels, and recognises digits that it never saw.*
#
# **35 minutes.** You need: softmax and cross-entropy; no other lesson.
#
# At the end you can
# - soften a teacher's answers with a temperature, and train a student on them with the right loss;
# - distil without labels, and put what several networks know into one;
# - say when distillation gains something, when it does not, and prove where its gain comes from.

# %% tags=["setup"]
from course_lib.lesson import begin

begin(lesson=12)

# %% [markdown]
# Five folds of the digits, and for each a **teacher**: two hidden layers of 120 units, trained on all 1,197 labelled images with
# dropout, on images that jitter (as in the paper, by up to 2/28 of their size). Its students have one layer of 30.

# %% tags=["setup"]
from course_lib.data import load
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.knowledge_distillation import material, scores, taught, teachers_of
from course_lib.experiments.magnitude_pruning import test_accuracies

folds = [load("digits", fold=fold) for fold in range(5)]
teachers = teachers_of([data.train for data in folds])
print(f"test accuracy of the teachers: {summarise(test_accuracies(teachers, folds)):%}")

# %% [markdown]
# ## 1 · Predict

# %%
from course_lib.checking import predict

bet_soft = predict(
    "soft", unit="points",
    question="A student learns from 50 images. What does it gain if a teacher's answers replace labels?",
)
bet_soft

# %%
bet_three = predict(
    "three", unit="%",
    question="A student never sees a 3, only answers to other digits. Which share of 3s does it recognise?",
)
bet_three

# %% [markdown]
# ## 2 · The idea
#
# In 2015 Geoffrey Hinton, Oriol Vinyals and Jeff Dean put what large networks and ensembles had learned into small ones: not
# their weights, but their answers. A label says "2". A teacher says "2; perhaps a 3; surely no 0".
#
# At the end of training these hints are tiny. So divide the logits $z$ by a **temperature** $T$ before the softmax:
#
# $$q_i = \frac{e^{z_i/T}}{\sum_j e^{z_j/T}}, \qquad L = \alpha\, T^2\, \mathrm{KL}(q^{\text{teacher}} \,\|\, q^{\text{student}})
#   + (1-\alpha)\,\mathrm{CE}(\text{label}).$$
#
# $\mathrm{KL}(p \,\|\, q) = \sum_i p_i \log (p_i / q_i)$ says how far $q$ is from $p$. The teacher's $q$ are **soft
# targets**. The student is trained at the same $T$, and used at $T = 1$. Distillation has since become a family; this
# lesson takes the two branches in orange.

# %%
from course_lib.viz import BLUE, GREY, ORANGE, Picture, new_figure

WHAT = {"response": "answers", "feature": "hidden layers", "relation": "how examples\nrelate"}
WHEN = {"offline": "teacher first,\nthen student", "online": "both at once", "self": "one network"}
figure, (left, right) = new_figure(columns=2, size=(6.4, 1.7))
for axes, title, kinds in ((left, "WHAT is learned from", WHAT), (right, "WHEN the teacher learns", WHEN)):
    axes.axis("off")
    axes.set(xlim=(0, 3), ylim=(0.4, 1.9))
    axes.text(1.5, 1.7, title, ha="center", weight="bold")
    for place, (kind, says) in enumerate(kinds.items()):
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": GREY if place else ORANGE}
        axes.plot([1.5, place + 0.5], [1.6, 1.15], color=GREY)
        axes.text(place + 0.5, 1.0, kind, ha="center", va="center", bbox=box)
        axes.text(place + 0.5, 0.78, says, ha="center", va="top", fontsize=8)
alt = f"Two trees. What is learned from: {', '.join(WHAT)}. When: {', '.join(WHEN)}. Here: response, offline."
Picture(figure, "Two questions tell methods apart. This lesson: response, offline (orange).", alt)

# %% [markdown]
# ## 3 · Build it
#
# **Soften.** Its limits: as $T \to 0$ only the largest logit is left; as $T \to \infty$ all become equal.

# %%
import torch

from course_lib.distillation import soften, teacher_logits


def my_soften(logits, temperature):
    scaled = torch.exp((logits - logits.amax(-1, keepdim=True)) / temperature)
    return scaled / scaled.sum(-1, keepdim=True)


images = folds[0].validation
logits = teacher_logits(teachers[0], images.x)  # (240, 10)
for T in (0.01, 1.0, 4.0, 20.0, 1e4):
    assert torch.allclose(my_soften(logits, T), soften(logits, T), atol=1e-6)
    print(f"T = {T:7g}:", " ".join(f"{q:.3f}" for q in my_soften(logits[7], T).tolist()))

# %% [markdown]
# **The loss.** Four traps. The logarithm is taken inside `log_softmax`: where a teacher is certain, $0 \cdot \log 0$ is NaN. KL is
# summed over classes and averaged over the *batch*. $T^2$ makes up for gradients that shrink like $1/T^2$. And the teacher
# learns nothing: `detach`.

# %%
from torch.nn.functional import cross_entropy

from course_lib.distillation import distillation_loss


def my_loss(student, teacher, labels, T, alpha):
    says = (teacher.detach() / T).log_softmax(-1)
    gap = says - (student / T).log_softmax(-1)
    soft = (says.exp() * gap).sum(-1).mean()  # sum over classes, mean over the batch
    return alpha * T**2 * soft + (1 - alpha) * cross_entropy(student, labels)


guess = torch.randn(240, 10, requires_grad=True)
mine = my_loss(guess, logits, images.y, T=4.0, alpha=0.7)
theirs = distillation_loss(guess, logits, images.y, temperature=4.0, alpha=0.7)
assert torch.allclose(mine, theirs)
print(f"the same loss: {mine.item():.4f}")

# %% [markdown]
# **What a high temperature means.** For large $T$, $e^{z/T} \approx 1 + z/T$. If student logits $z$ and teacher logits $v$ both have
# mean zero, the gradient becomes $(z_i - v_i)/N$ for $N$ classes: the student just **matches logits**, likely or not.

# %%
centred = lambda z: z - z.mean(1, keepdim=True)
matching = centred(guess.detach() - logits) / 10 / 240  # (z - v) / N, mean over the batch
for T in (1.0, 4.0, 20.0, 100.0):
    slope = torch.autograd.grad(my_loss(guess, logits, images.y, T, alpha=1.0), guess)[0]
    off = ((slope - matching).norm() / matching.norm()).item()
    print(f"T = {T:5g}: gradient {slope.norm():.4f}, {off:.0%} away from matching logits")

# %% [markdown]
# **A student.** `distill` asks the teacher once about each image of the *transfer set*, then trains on the answers. No
# label is used here, not one:

# %%
from course_lib.data import Split
from course_lib.distillation import distill
from course_lib.models import mlp
from course_lib.training import evaluate, fit

train = lambda net, x, targets, loss: fit(net, Split(x, targets), steps=400, lr=4e-3, loss=loss)
student = distill(mlp((64, 30, 10)), teachers[0], folds[0].train.x, train=train, temperature=2.0)
n_weights = [sum(p.numel() for p in net.parameters()) for net in (teachers[0], student)]
print(f"{n_weights[0]:,} parameters taught {n_weights[1]:,}: {evaluate(student, folds[0].test).accuracy:.1%}")

# %% [markdown]
# ## 4 · Play
#
# First many students, 50 images each (the first five of each digit), over temperature and alpha: five folds a point, all
# trained in one stack. `material` puts images, a teacher's answers, labels, $T$ and alpha together.

# %% tags=["setup"]
from course_lib.distillation import teacher_logits
from course_lib.experiments.knowledge_distillation import first_of_each

few = [first_of_each(data.train, 5) for data in folds]
said = [teacher_logits(teacher, split.x) for teacher, split in zip(teachers, few)]
TEMPERATURES, ALPHAS = (0.5, 1.0, 2.0, 4.0, 8.0, 20.0), (0.5, 0.9, 1.0)
softly = lambda splits, answers, T, alpha=1.0: [
    material(s.x, logits=z, labels=s.y, temperature=T, alpha=alpha) for s, z in zip(splits, answers)
]
lessons = {(T, a): softly(few, said, T, a) for T in TEMPERATURES for a in ALPHAS}
lessons["labels"] = [material(split.x, labels=split.y) for split in few]
grid = taught(lessons)
held, on_test = scores(grid, folds, "validation"), scores(grid, folds)

# %% [markdown]
# 1. Take *A sure answer* at $T = 1$, and drag the temperature up. Which wrong digits light up first? Why these?
# 2. Go on to 20. What is still told apart?
# 3. Below: where do the students learn most? What do the labels add (alpha below 1)?

# %% tags=["setup", "widget"]
from course_lib.widgets.frame import Question
from course_lib.widgets.knowledge_distillation import teacher_temperature

means = {a: {T: summarise(held[T, a]).mean for T in TEMPERATURES} for a in ALPHAS}
choices = ("below 1", "1 to 2", "4 or more")
best_T = max(TEMPERATURES, key=lambda T: summarise(held[T, 1.0]).mean)
question = Question(
    "Fifty images, no labels: at which temperature does a student learn most?",
    answer=choices[(best_T >= 1) + (best_T >= 4)], choices=choices,
)  # fmt: skip
labelled, shown = summarise(held["labels"]).mean, folds[0].validation
teacher_temperature(teachers[0], shown.x, shown.y, accuracies=means, labels=labelled, question=question)

# %% [markdown]
# ## 5 · Evidence
#
# **The same 50 images, other targets.** $T$ is chosen on validation images. Two controls keep the teacher's likeliest answer and
# *how likely* it is: one makes all wrong answers equal, one shuffles them among the wrong digits.

# %%
from course_lib.experiments.knowledge_distillation import wrong_answers

for kind in ("equal", "shuffled"):
    fakes = [wrong_answers(z, kind=kind, temperature=best_T, seed=k) for k, z in enumerate(said)]
    lessons[kind] = softly(few, fakes, best_T)
controls = scores(taught({kind: lessons[kind] for kind in ("equal", "shuffled")}), folds)
rows = {"labels": on_test["labels"], f"soft targets, T = {best_T:g}": on_test[best_T, 1.0]}
rows |= {f"... wrong answers {kind}": accuracies for kind, accuracies in controls.items()}
for name, accuracies in rows.items():
    print(f"{name:28} {summarise(accuracies):%}")

# %% [markdown]
# **How many images?** The same on more of them, up to all. Labels here are the true ones.

# %%
from course_lib import viz

sets = {n: [first_of_each(data.train, n) for data in folds] for n in (2, 5, 10, 20, 40, 1000)}
lessons = {}
for n, splits in sets.items():
    answers = [teacher_logits(teacher, split.x) for teacher, split in zip(teachers, splits)]
    lessons["true labels", n] = [material(split.x, labels=split.y) for split in splits]
    for T in (1.0, 4.0):
        lessons[f"soft targets, T = {T:g}", n] = softly(splits, answers, T)
grown = scores(taught(lessons), folds)
series = {}
for (name, _), accuracies in grown.items():
    series.setdefault(name, []).append(summarise(accuracies))

# %%
viz.curves(
    [sum(map(len, splits)) / 5 for splits in sets.values()], series, xlabel="images to learn from",
    ylabel="test accuracy", percent=True, logx=True,
    levels={"teacher": summarise(test_accuracies(teachers, folds)).mean},
    caption="Soft targets gain most where images are few; with enough of them labels do as well or better.",
)  # fmt: skip

# %% [markdown]
# **Temperature and size.** The hotter, the more a student must match *all* logits (see above). Has a small one room for
# that? All images, students of 8, 30 and 100 units:

# %%
everything = [data.train for data in folds]
answers = [teacher_logits(teacher, split.x) for teacher, split in zip(teachers, everything)]
by_size = {
    units: scores(taught({T: softly(everything, answers, T) for T in (1.0, 4.0, 20.0)}, units=units), folds)
    for units in (8, 30, 100)
}
for units, found in by_size.items():
    print(f"{units:3} units:", ", ".join(f"T = {T:g}: {summarise(a):%}" for T, a in found.items()))

# %% [markdown]
# **A student that never saw a 3.** All 3s leave the transfer set; no label is used. It seldom dares to say "3", so raise
# that answer's bias: by how much is chosen on validation images. (The paper tuned it on the test set, and says so.) With 24
# threes to choose on, the choice is a noisy one, so that row only reports.

# %%
from course_lib.distillation import choose_bias, raise_bias

without = [(data.train.y != 3).nonzero()[:, 0] for data in folds]
others = [Split(data.train.x[rows], data.train.y[rows]) for data, rows in zip(folds, without)]
blind = {T: softly(others, [z[r] for z, r in zip(answers, without)], T) for T in (1.0, 20.0)}
blind["labels"] = [material(split.x, labels=split.y) for split in others]
never = taught(blind, units=100)


def threes(net, data, bias=0.0):
    raised = raise_bias(teacher_logits(net, data.test.x[data.test.y == 3]), [3], bias)
    return (raised.argmax(1) == 3).float().mean().item()


seen = {name: [threes(net, data) for net, data in zip(nets, folds)] for name, nets in never.items()}

# %%
bias_on = lambda net, split: choose_bias(teacher_logits(net, split.x), split.y, [3])
hot_pairs = list(zip(never[20.0], folds))
corrected = [threes(net, data, bias_on(net, data.validation)) for net, data in hot_pairs]
peeked = [threes(net, data, bias_on(net, data.test)) for net, data in hot_pairs]  # the paper's way
told = {f"T = {T:g}": shares for T, shares in seen.items() if T != "labels"}
told |= {"labels": seen["labels"], "bias from validation": corrected, "bias tuned on the test set": peeked}
for name, shares in told.items():
    print(f"{name:28} {summarise(shares):%} of the 3s")

# %% [markdown]
# **Five teachers, one student.** Five clinics have 40 labelled images each and may not share them. They share five small
# networks. The *ensemble* answers with the mean of five probabilities; one student learns it on images without labels.

# %%
from course_lib.experiments.knowledge_distillation import newborn
from course_lib.training import fit_trials

orders = [torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0)) for data in folds]
owned = [
    Split(data.train.x[rows[k : k + 40]], data.train.y[rows[k : k + 40]])
    for data, rows in zip(folds, orders) for k in range(0, 200, 40)
]  # fmt: skip
members = newborn(lambda: mlp((64, 30, 10)), seeds=range(25))
fit_trials(members, owned, steps=400, lr=4e-3)
groups = [members[k : k + 5] for k in range(0, 25, 5)]
one = [sum(test_accuracies(group, [data] * 5)) / 5 for group, data in zip(groups, folds)]
together = [
    (teacher_logits(group, data.test.x).argmax(1) == data.test.y).float().mean().item()
    for group, data in zip(groups, folds)
]

# %%
public = [material(data.train.x, logits=teacher_logits(g, data.train.x)) for data, g in zip(folds, groups)]
(single,) = scores(taught({"student": public}), folds).values()
for name, accuracies in {"one of five": one, "all five": together, "one student of all five": single}.items():
    print(f"{name:24} {summarise(accuracies):%}")

# %% [markdown]
# **Paper says / measured here.** The cell fails if a judged claim does not hold. "Gains" means a paired gain of more than two
# standard errors over 50 labels (over equal wrong answers in row two); "kept" means at least half of the ensemble's gain;
# "most" 3s is more than half. The paper's errors are on MNIST's 10,000 test images.

# %%
from course_lib.evidence import Claim, evidence

soft = on_test[best_T, 1.0]
gain = paired_difference(soft, on_test["labels"])
by_wrong = paired_difference(soft, controls["equal"])
harm = paired_difference(controls["shuffled"], on_test["labels"])
more = paired_difference(grown["soft targets, T = 1", 1000], on_test["labels"])
enough = paired_difference(grown["soft targets, T = 1", 1000], grown["true labels", 1000])
loses = {units: [b - a for a, b in zip(found[1.0], found[20.0])] for units, found in by_size.items()}
by_width = paired_difference(loses[100], loses[8])
kept = (sum(single) - sum(one)) / (sum(together) - sum(one))
cold, hot = summarise(seen[1.0]), summarise(seen[20.0])
bias_gain = paired_difference(corrected, seen[20.0])

# %%
small_students = "30 units: T 2.5 to 4 best"
evidence(
    Claim("50 images: soft targets gain on labels", "", f"{gain:points}", gain.low > 0.02),
    Claim("… because of the wrong answers", "", f"{by_wrong:points}", by_wrong.low > 0.02),
    Claim("… shuffled, they harm", "", f"{harm:points}", harm.high < 0),
    Claim("images without labels help (1,197)", "", f"{more:points}", more.low > 0.05),
    Claim("all images: gain on true labels", "146 to 74 errors", f"{enough:points}", None),
    Claim("T = 20 costs small students more", small_students, f"{by_width:points}", by_width.low > 0),
    Claim("never saw a 3, T = 20: most 3s known", "133 of 1,010 wrong", f"{hot:%}", hot.low > 0.5),
    Claim("… at T = 1", "", f"{cold:%}", None),
    Claim("… from labels", "", f"{max(seen['labels']):.0%} right", max(seen["labels"]) < 0.01),
    Claim("… bias from validation", "14 wrong (tuned on test)", f"{bias_gain:points}", None),
    Claim("one student keeps an ensemble's gain", "over 80 % (speech)", f"{kept:.0%}", kept > 0.5),
)

# %% [markdown]
# And your bets:

# %%
bet_soft.reveal(round(100 * gain.mean, 1), "The same 50 images, the same student, the same steps.")

# %%
bet_three.reveal(round(100 * hot.mean), "At T = 20, before any correction of its bias.")

# %% [markdown]
# ## 6 · Where it fails
#
# **Where labels are plenty.** Look at the right end of the curves, and at "all images" in the table: true labels do as
# well, or better. Our teacher is hardly better than a student that has all labels; the paper's made half its student's errors. And with
# all images, even the teacher's likeliest digit alone is enough:

# %%
likeliest = [torch.nn.functional.one_hot(z.argmax(1), 10) * 100.0 for z in answers]
hard = scores(taught({"hard": softly(everything, likeliest, 1.0)}), folds)["hard"]
by_hint = paired_difference(grown["soft targets, T = 1", 1000], hard)
print(f"all images, teacher's likeliest digit only: {summarise(hard):%}; soft targets gain {by_hint:points}")

# %% [markdown]
# **Was it only the teacher's labels?** Our teachers had seen 1,197. Now let them see no more than the student's 50, and answer
# the images without labels. What is gained now comes from a large, jittered network and from images nobody labelled:

# %%
modest = teachers_of(few)
opinions = [teacher_logits(teacher, data.train.x) for teacher, data in zip(modest, folds)]
humble = scores(taught({"unlabelled": softly(everything, opinions, 1.0)}), folds)["unlabelled"]
own = paired_difference(humble, on_test["labels"])
print(f"teacher of 50 labels {summarise(test_accuracies(modest, folds)):%}")
print(f"its student          {summarise(humble):%}, {own:points} on the 50 labels themselves")

# %% [markdown]
# Few labels and many images without: on small data that is where distillation can still gain. Read the spread before you
# count on it: a teacher that knows little has little to hand on, and in some folds its student gains nothing.
#
# **"Most 3s" hides a wide spread** from fold to fold. And the bias needs validation images of the missing digit: without
# any, nobody can tell how far to raise it.
#
# ## 7 · In practice
#
# PyTorch needs no library: `cross_entropy` takes probabilities as targets. It differs from KL only by the teacher's
# entropy, which has no gradient.

# %%
target = soften(logits, 4.0)
by_torch = 4.0**2 * cross_entropy(guess / 4.0, target)
slopes = [
    torch.autograd.grad(loss, guess)[0]
    for loss in (by_torch, distillation_loss(guess, logits, temperature=4.0, alpha=1.0))
]
assert torch.allclose(*slopes, atol=1e-7)
print("the same gradient from torch's own cross-entropy")

# %% [markdown]
# `nn.KLDivLoss()` has two traps: it wants the student's *log*-probabilities, and its default `reduction="mean"` divides by
# classes too, so use `"batchmean"`. torchdistill adds feature and relation losses from layers named in a file.
#
# DistilBERT was distilled from BERT: reported as 40 % smaller, 60 % faster, with 97 % of its score on GLUE.
# `course run 12 --data mnist` repeats Hinton's table (67, 146, 74 errors, and the 3s) with your counts beside it.
#
# ## 8 · Quiz

# %%
from course_lib.checking import quiz

quiz()

# %% [markdown]
# ## 9 · Next
#
# The **exercises** let you soften, write the loss, build an ensemble's targets and correct a bias. **Lesson 13** turns to training:
# how to store less for the backward pass.
#
# - Hinton, Vinyals, Dean 2015, *Distilling the Knowledge in a Neural Network*, arXiv:1503.02531.
# - Gou, Yu, Maybank, Tao 2021, *Knowledge Distillation: A Survey*, IJCV.
# - Sanh, Debut, Chaumond, Wolf 2019, *DistilBERT, a distilled version of BERT*, arXiv:1910.01108.
