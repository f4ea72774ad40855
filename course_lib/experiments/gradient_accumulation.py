"""Lesson 14: numbers written in words, so that sequences differ in length; and batch norm in micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, load
from course_lib.errors import require_choice, require_positive
from course_lib.evidence import paired_difference, summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.memory.accumulation import IGNORED, accumulate, split_batch
from course_lib.models import Transformer
from course_lib.training import adam, batch_rows

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
VOCABULARY = ("", "end", "=", *"0123456789", *UNITS, *TENS, "hundred", "thousand", "million")
RECIPES = ("sum over count", "mean of means")
NORMS = ("batch norm", "layer norm")
SHORT = 4  # words of an answer, its end included, up to which it counts as short
LR = 6e-3  # of 3e-3, 6e-3, 1.2e-2 and 2.4e-2 the largest that is steady over seeds, on numbers kept for choosing


# --- numbers in words ----------------------------------------------------------------------------------------------


def in_words(number: int) -> list[str]:
    """A number from 0 to 999,999,999 in words.

    >>> in_words(40_215)
    ['forty', 'thousand', 'two', 'hundred', 'fifteen']
    """
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            return [*in_words(number // size), name, *(in_words(rest) if rest else [])]
    if number < 20:
        return [UNITS[number]]
    return [TENS[number // 10 - 2], *(in_words(number % 10) if number % 10 else [])]


def number_sequences(n: int, *, seed: int, digits: int = 9) -> tuple[Tensor, Tensor]:
    """Numbers of 1 to `digits` digits, each length equally often: "42=" and then the words to be predicted.

    Returns:
        tokens x and labels y, both (n, longest), int64. A label is the next token; −100 where the next token belongs to
        the question, or is padding.

    >>> x, y = number_sequences(100, seed=0)
    >>> x.shape == y.shape, int((y != -100).sum(dim=1).min())
    (True, 2)
    """
    require_positive("n", n)
    generator = torch.Generator().manual_seed(seed)
    place, pairs = {token: place for place, token in enumerate(VOCABULARY)}, []
    for _ in range(n):
        length = int(torch.randint(1, digits + 1, (), generator=generator))
        number = int(torch.randint(10 ** (length - 1), 10**length, (), generator=generator))
        pairs.append((f"{number}=", [*in_words(number), "end"]))
    longest = max(len(question) + len(answer) for question, answer in pairs) - 1
    x, y = torch.zeros(n, longest, dtype=torch.int64), torch.full((n, longest), IGNORED)
    for row, (question, answer) in enumerate(pairs):
        tokens = torch.tensor([place[token] for token in (*question, *answer)])
        x[row, : len(tokens) - 1] = tokens[:-1]
        y[row, len(question) - 1 : len(tokens) - 1] = tokens[len(question) :]
    return x, y


def number_speller(seed: int, *, width: int = 32) -> Transformer:
    """A transformer of one layer that is to spell numbers, with weights drawn from the seed."""
    torch.manual_seed(seed)
    return Transformer(len(VOCABULARY), width=width, heads=2, layers=1, longest=40)


# --- two recipes ---------------------------------------------------------------------------------------------------


def gradient_of(model: nn.Module) -> Tensor:
    """All of `.grad` as one vector."""
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def token_weights(y: Tensor, micro_batch: int, recipe: str) -> Tensor:
    """How much each label counts in the loss of a window that is cut into micro-batches, the shape of y; they sum to 1.

    >>> token_weights(torch.tensor([[3, -100], [1, 2]]), 1, "mean of means")
    tensor([[0.5000, 0.0000],
            [0.2500, 0.2500]])
    """
    require_choice("recipe", recipe, RECIPES)
    counts = (y != IGNORED).float()
    if recipe == "sum over count":
        return counts / counts.sum()
    pieces = counts.split(micro_batch)
    return torch.cat([piece / piece.sum() / len(pieces) for piece in pieces])


def losses_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each label, the shape of y; zero where it is −100."""
    logits = model(x).flatten(0, -2)
    return F.cross_entropy(logits, y.flatten(), ignore_index=IGNORED, reduction="none").view_as(y)


def spellers(
    seeds: Sequence[int],
    recipe: str,
    *,
    micro_batch: int = 1,
    steps: int = 120,
    batch: int = 16,
    every: int | None = None,
    test: tuple[Tensor, Tensor] | None = None,
) -> list[list[dict[str, float]]]:
    """Train a number speller for each seed, and test it: its scores after every `every` steps (the end by default).

    Each window of `batch` sequences counts as if it had come in micro-batches. A recipe only weighs the tokens of a window,
    so one pass with these weights gives the gradient of its accumulation, many times faster. Equal seeds start from
    equal weights and see equal windows. The test is on numbers of another seed.
    """
    networks = [number_speller(seed) for seed in seeds]
    test = test or number_sequences(600, seed=10_000)

    def train(network: nn.Module, seed: int) -> list[dict[str, float]]:
        x, y = number_sequences(batch * steps, seed=seed)
        step_weights, found = adam(list(network.parameters()), lr=LR), []
        for step, (a, b) in enumerate(zip(x.split(batch), y.split(batch), strict=True), start=1):
            network.zero_grad()
            (losses_of(network, a, b) * token_weights(b, micro_batch, recipe)).sum().backward()
            step_weights()
            if step % (every or steps) == 0:
                found.append(scores_of(network, *test))
        return found

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(train, networks, seeds))


@torch.no_grad()
def scores_of(network: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Mean loss of a token: of all, of short answers, of long ones; and the share of answers without a mistake."""
    counts, losses = y != IGNORED, losses_of(network, x, y)
    right = ((network(x).argmax(dim=-1) == y) | ~counts).all(dim=1)
    short = counts.sum(dim=1) <= SHORT
    mean = lambda rows: (losses[rows].sum() / counts[rows].sum()).item()
    return {
        "all": mean(slice(None)), "short": mean(short), "long": mean(~short), "right": right.float().mean().item(),
    }  # fmt: skip


# --- batch norm ----------------------------------------------------------------------------------------------------


def normed(norm: str, inputs: int = 64, n_classes: int = 10) -> nn.Sequential:
    """A network with 100 hidden units, and batch norm or layer norm on them.

    >>> normed("layer norm")(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    layer = {"batch norm": nn.BatchNorm1d, "layer norm": nn.LayerNorm}[require_choice("norm", norm, NORMS)]
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 100), layer(100), nn.ReLU(), nn.Linear(100, n_classes))


def accumulated(
    build: Callable[[], nn.Module], datasets: Sequence[Dataset], *, micro_batch: int, steps: int, batch: int = 64
) -> list[nn.Module]:
    """A network for each data set, trained by accumulation: the same windows whatever the micro-batch."""
    networks = []
    for seed in range(len(datasets)):
        torch.manual_seed(seed)
        networks.append(build())

    def train(network: nn.Module, data: Dataset, seed: int) -> nn.Module:
        step_weights = adam(list(network.parameters()), lr=4e-3)
        for rows in batch_rows(len(data.train), batch, steps, seed):
            network.zero_grad()
            accumulate(network, split_batch(data.train.x[rows], data.train.y[rows], micro_batch))
            step_weights()
        return network

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(train, networks, datasets, range(len(datasets))))


# --- course run 14 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 1000) -> list[dict]:
    """Each trial: spellers with both recipes, by size of the micro-batch; and batch norm against layer norm on `data`."""
    shared = [{"trial": trial, "iterations": iterations} for trial in range(trials)]
    spell = [{"kind": "speller", "recipe": "sum over count", "micro_batch": 16}]
    spell += [{"kind": "speller", "recipe": "mean of means", "micro_batch": size} for size in (1, 2, 4, 8)]
    norms = [{"kind": norm, "micro_batch": size, "data": data} for norm in NORMS for size in (64, 8, 2)]
    return [both | one for one in shared for both in spell + norms]


def measure(unit: dict) -> dict:
    """Train one network; its scores on numbers, or images, that it has never seen."""
    row = {
        "name": f"{unit.get('recipe', unit['kind'])}, micro-batches of {unit['micro_batch']}",
        "trial": unit["trial"],
    }
    if unit["kind"] == "speller":
        steps, seed, size = unit["iterations"], unit["trial"], unit["micro_batch"]
        test = number_sequences(2000, seed=10_000 + seed)
        ((scores,),) = spellers([seed], unit["recipe"], micro_batch=size, steps=steps, test=test)
        return row | scores
    data = load(unit["data"], fold=unit["trial"])
    networks = accumulated(
        lambda: normed(unit["kind"], data.train.x[0].numel(), data.n_classes),
        [data],
        micro_batch=unit["micro_batch"],
        steps=unit["iterations"] // 4,
    )
    return row | {"error %": 100 * (1 - test_accuracies(networks, [data])[0])}


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Mean and spread over the trials; for spellers also the difference to the right recipe, trial by trial."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    of = lambda name, key: [row[key] for row in rows if row["name"] == name]
    write = lambda values: f"{summarise(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"
    lines = []
    for name in names:
        first = next(row for row in rows if row["name"] == name)
        keys = [key for key in first if key not in ("name", "trial")]
        lines.append(f"{name:36} " + "; ".join(f"{key} {write(of(name, key))}" for key in keys))
        if name.startswith("mean") and len(of(name, "all")) > 1:
            apart = {key: paired_difference(of(name, key), of(names[0], key)) for key in keys}
            lines.append(f"{'  less the right recipe':36} " + "; ".join(f"{k} {d:.3f}" for k, d in apart.items()))
    return "\n".join(lines)
