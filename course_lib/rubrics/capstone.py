"""Lesson 17: the frontier of what was tried, and a network under a budget, handed in as a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from course_lib.capstone import BUDGET, Inspection, frontier, inspect
from course_lib.data import load
from course_lib.models import mlp, small_cnn
from course_lib.quantization import deep_compression
from course_lib.rubrics.exercise import Case, Exercise, Mistake, Question

# --- 17.1 ----------------------------------------------------------------------------------------------------------

Points = list[list[float]]


def pareto_frontier(attempts: Points) -> Points:
    """Those that no other beats, ascending in bytes."""
    return [list(point) for point in frontier([(n_bytes, accuracy) for n_bytes, accuracy in attempts])]


def frontier_cases(seed: int) -> list[Case]:
    """Random attempts; some with equal bytes, equal accuracy, or both."""
    generator = torch.Generator().manual_seed(seed)

    def attempts(n: int, sizes: int = 9000) -> Points:
        n_bytes = (100 + torch.randint(sizes, (n,), generator=generator)).tolist()
        accuracy = (torch.randint(500, 990, (n,), generator=generator) / 1000).tolist()
        return [[size, right] for size, right in zip(n_bytes, accuracy, strict=True)]

    many = attempts(14)
    best = max(many, key=lambda point: point[1])
    return [
        Case("fourteen attempts", (many,)),
        Case("equal bytes", ([*attempts(12, sizes=3), [100, 0.4], [100, 0.995]],)),
        Case("the best accuracy twice", ([*many, [best[0] + 50, best[1]]],)),
        Case("one attempt twice", ([*many, best],)),
        Case("a middle that lies below the line between its neighbours", ([[100, 0.8], [5000, 0.82], [9000, 0.95]],)),
    ]


def beaten_only_by_better_in_both(attempts: Points) -> Points:
    """Keeps points of equal bytes or equal accuracy."""
    beaten = lambda one: any(other[0] < one[0] and other[1] > one[1] for other in attempts)
    return sorted([point for point in unique(attempts) if not beaten(point)])


def unique(attempts: Points) -> Points:
    """Each point once."""
    return [list(point) for point in sorted({tuple(point) for point in attempts})]


def compares_with_the_next(attempts: Points) -> Points:
    """A point stays if it is better than the one before it, kept or not."""
    ordered = [list(point) for point in sorted(map(tuple, attempts), key=lambda point: (point[0], -point[1]))]
    return [point for before, point in zip([[0, -1.0], *ordered], ordered, strict=False) if point[1] > before[1]]


def keeps_twins(attempts: Points) -> Points:
    """Equal attempts are all kept."""
    kept = pareto_frontier(attempts)
    return [point for point in kept for _ in range(sum(list(other) == point for other in attempts))]


def in_order_of_accuracy_first(attempts: Points) -> Points:
    """The right points, the most accurate first."""
    return pareto_frontier(attempts)[::-1]


def largest_wins(attempts: Points) -> Points:
    """More bytes are taken for better."""
    kept = frontier([(-n_bytes, accuracy) for n_bytes, accuracy in attempts])
    return [[-n_bytes, accuracy] for n_bytes, accuracy in reversed(kept)]


def under_the_hull(attempts: Points) -> Points:
    """Only the corners of the curve's hull."""
    kept: Points = []
    for point in pareto_frontier(attempts):
        while len(kept) > 1 and slope(kept[-2], kept[-1]) <= slope(kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def slope(one: Sequence[float], other: Sequence[float]) -> float:
    """Accuracy gained for each byte."""
    return (other[1] - one[1]) / (other[0] - one[0])


FRONTIER = Exercise(
    id="17.1",
    name="pareto_frontier",
    title="The frontier of what was tried",
    points=3,
    reference=pareto_frontier,
    cases=frontier_cases,
    mistakes=(
        Mistake(
            "only what is worse in both is dropped",
            "An attempt with the same bytes and less accuracy is beaten too: one of the two need not be strictly worse.",
            beaten_only_by_better_in_both,
        ),
        Mistake(
            "each is compared with its neighbour",
            "A smaller attempt further away may beat it as well: compare with the best of all that are smaller.",
            compares_with_the_next,
        ),
        Mistake(
            "an attempt made twice is kept twice",
            "Equal attempts are one point of the plane: keep it once.",
            keeps_twins,
        ),
        Mistake(
            "the order is turned round",
            "The right points, but the smallest file is to stand first.",
            in_order_of_accuracy_first,
        ),
        Mistake(
            "more bytes are taken for better",
            "Bytes are a price: of two equally accurate networks, the smaller file is the better one.",
            largest_wins,
        ),
        Mistake(
            "only corners of the hull are kept",
            "A point below the line between its neighbours still stands for a network that nothing beats: you cannot "
            "hand in the mean of two files.",
            under_the_hull,
        ),
    ),
    hints=(
        "When is an attempt beaten? Write that sentence down first; mind equal bytes and equal accuracies.",
        "Sort by bytes; among equal bytes, the most accurate first. Then walk along.",
        "Keep an attempt only if it is more accurate than the last one you kept.",
    ),
)


# --- 17.2 ----------------------------------------------------------------------------------------------------------

KINDS = {b"SNDC": "a compressed network", b"PK\x03\x04": "a pickle from torch.save", b"\x80": "a pickle"}


@lru_cache(maxsize=64)
def found_in(data: bytes, seed: int) -> Inspection:
    """One inspection for digest and marks."""
    return inspect(data, seed=seed)


def digest(case: Case, data: object) -> dict[str, str]:
    """What kind of file it is, and which parts of the budget it keeps."""
    if not isinstance(data, bytes):
        return {"result": f"{type(data).__name__}, not the bytes of a file"}
    kind = next((name for start, name in KINDS.items() if data.startswith(start)), "another kind of file")
    found = found_in(data, *case.hidden)
    if found.problem:
        return {"file": kind, "network": "none that can be judged"}
    kept = lambda yes: "kept" if yes else "exceeded"
    return {
        "file": kind,
        "bytes": kept(found.n_bytes <= BUDGET.n_bytes),
        "accuracy": accuracy_of(found),
        "time": kept(found.slowdown <= BUDGET.slowdown),
    }


def accuracy_of(found: Inspection) -> str:
    """How the network does on fresh images, in words that tell one fault from another."""
    if found.accuracy >= BUDGET.accuracy:
        return "reached"
    if found.constant:
        return "one answer to every image"
    return "reached only on images that are not shifted" if found.still_accuracy >= BUDGET.accuracy else "not reached"


def marks(case: Case, data: object) -> tuple[float, str]:
    """The share of the points, and the numbers."""
    if not isinstance(data, bytes):
        return 0.0, ""
    found = found_in(data, *case.hidden)
    return found.share(), str(found)


@cache
def reference_file() -> bytes:
    """A network that keeps the budget: small by design, its weights shared, as the solution makes it."""
    return Path(__file__).with_suffix(".sndc").read_bytes()


def reference() -> dict[str, Tensor]:
    """Its tensors."""
    return deep_compression.unpack(reference_file())


def changed(change: Callable[[Tensor], Tensor]) -> bytes:
    """The reference with all its tensors changed."""
    return deep_compression.pack({name: change(tensor) for name, tensor in reference().items()})


def pickled() -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(reference(), file)
    return file.getvalue()


def widened(channels: Sequence[int], noise: float) -> bytes:
    """The same function in a wider network, whose other weights are noise."""
    generator, wide = torch.Generator().manual_seed(0), small_cnn(channels=channels).state_dict()
    for name, tensor in wide.items():
        inner = reference()[name]
        tensor.copy_(noise * torch.randn(tensor.shape, generator=generator))
        tensor[tuple(slice(size) for size in inner.shape)] = inner
    return deep_compression.pack(wide)


def least_magnitude_cut() -> bytes:
    """Most of each tensor set to zero, and never retrained."""
    return changed(lambda tensor: tensor * (tensor.abs() > tensor.abs().flatten().quantile(0.8)))


@cache
def fitted_to_still_images() -> bytes:
    """Random hidden weights of ±1/8, and a last layer fitted to images that are not shifted, by least squares."""
    train = load("digits").train
    network = mlp([64, 200, 10])
    hidden, last = network[1], network[3]
    generator = torch.Generator().manual_seed(0)
    hidden.weight.data = (torch.rand(hidden.weight.shape, generator=generator) < 0.5).float() / 4 - 1 / 8
    hidden.bias.data.zero_()
    with torch.no_grad():
        features = hidden(train.x.flatten(1)).relu()
        features = torch.cat([features, torch.ones(len(train), 1)], dim=1)
        goal = torch.nn.functional.one_hot(train.y, 10).float()
        gram = features.T @ features + 0.3 * torch.eye(features.shape[1])
        solved = torch.linalg.solve(gram, features.T @ goal).half().float()
    last.weight.data, last.bias.data = solved[:-1].T.contiguous(), solved[-1]
    return deep_compression.pack(network)


def renamed() -> bytes:
    """Layers called fc1, fc2, ..., as in a class of one's own."""
    return deep_compression.pack({f"fc{place}": tensor for place, tensor in enumerate(reference().values())})


COMPRESSED = Exercise(
    id="17.2",
    name="compressed_network",
    title="A network under a budget",
    points=10,
    reference=reference_file,
    cases=lambda seed: [Case("held-out digits, shifted anew", (), (seed,))],
    digest=digest,
    marks=marks,
    files=("*.sndc",),
    mistakes=(
        Mistake(
            "torch.save was used",
            "It writes a pickle: a program, which nobody should run for a stranger, and no compressed one. Use "
            "deep_compression.save.",
            pickled,
        ),
        Mistake(
            "these are not the tensors of a course network",
            "The names say which layer is which: pass the state_dict of mlp(...) or small_cnn(...) itself, unchanged.",
            renamed,
        ),
        Mistake(
            "the file is too large",
            "The network answers well. Now make it small: prune it, share its values, or begin with a smaller one.",
            lambda: widened((16, 32), noise=1e-4),
        ),
        Mistake(
            "it has only seen digits in their place",
            "On unshifted images it does well, on shifted ones not: train it on shifted(...) copies.",
            fitted_to_still_images,
        ),
        Mistake(
            "weights were cut and the rest not retrained",
            "It is small enough, but has forgotten what it knew: retrain after pruning, fine-tune after sharing, and "
            "measure before you save.",
            least_magnitude_cut,
        ),
        Mistake(
            "it gives one answer to every image",
            "Nothing of the training is in this file. Did you save the network that you trained?",
            lambda: changed(torch.zeros_like),
        ),
        Mistake(
            "zeros are not time",
            "The file is small, but it unpacks into a wide network, and every zero of it is multiplied. Remove whole "
            "channels, or begin narrow.",
            lambda: widened((96, 192), noise=0.0),
        ),
    ),
    hints=(
        "First make anything pass: lesson 11's recipe on a network that was trained on shifted digits.",
        "Then ask which network to begin with: convolutions share their weights over all places, so they need few.",
        "small_cnn(channels=(8, 16)), trained on shifted copies, 5-bit codebooks, fine-tuned, saved. Then tune.",
    ),
)

EXERCISES = (FRONTIER, COMPRESSED)

QUIZ = (
    Question(
        "A file of 40 bytes says that it holds a matrix of a million zeros. How large is it?",
        {
            "40 bytes": "Right. What is stored is what counts; what it unpacks to costs memory and time later.",
            "4 megabytes": "That is what it unpacks to. Count the file; and look at the clock for the rest.",
            "It depends on who reads it": "Its length does not.",
        },
        "40 bytes",
    ),
    Question(
        "Two networks: 2,000 bytes at 95 %, 2,000 bytes at 94 %. Which lie on the frontier?",
        {
            "Both: they cost the same": "The second is beaten: as large, and less accurate.",
            "The first": "Right: nothing is at most as large and at least as accurate.",
            "Neither": "Something must beat them for that.",
        },
        "The first",
    ),
    Question(
        "Why is accuracy measured on images with shifts that were drawn after the file was handed in?",
        {
            "Shifted digits look more natural": "Perhaps, but that is not why.",
            "To make the task harder": "It does, but a fixed set of hard images could be learned by heart as well.",
            "What nobody has seen cannot be learned by heart": "Right: only what the network can do is left to measure.",
        },
        "What nobody has seen cannot be learned by heart",
    ),
    Question(
        "small_cnn(channels=(8, 16)) has half of LeNet's multiplications. Why does it take longer?",
        {
            "It moves more data, in smaller pieces, for each multiplication": "Right, as lesson 15 measured: count, and "
            "then time.",
            "Convolutions cannot be compressed": "Its file is the smallest of all.",
            "Its accuracy is higher": "Accuracy costs no time by itself.",
        },
        "It moves more data, in smaller pieces, for each multiplication",
    ),
)
