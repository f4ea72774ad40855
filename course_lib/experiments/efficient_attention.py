"""Lesson 16: a transformer that reverses or sorts, with four kinds of attention; what each keeps; the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib.attention import (
    KeyValueCache,
    QuantizedCache,
    attention,
    linear_attention,
    window_mask,
)
from course_lib.data import Split
from course_lib.errors import require_choice
from course_lib.evidence import summarise
from course_lib.measure import Latency, latency, saved_bytes
from course_lib.models import Transformer, generate
from course_lib.training import adam, fit

aten = torch.ops.aten
DIGITS, SEPARATOR = 10, 10  # tokens 0 to 9, and one that says: now answer
TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse": lambda digits: digits.flip(1),
    "sort": lambda digits: digits.sort(dim=1).values,
}
LR, BATCH, STEPS, WINDOW = 5e-3, 16, 250, 8
Attend = Callable[..., Tensor]


def windowed(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = True, window: int = WINDOW) -> Tensor:
    """Attention under a window, as a transformer calls it; the last query stands at the last key."""
    return attention(q, k, v, mask=window_mask(k.shape[-2], window)[k.shape[-2] - q.shape[-2] :])


KINDS: dict[str, Attend] = {"exact": attention, "windowed": windowed, "linear": linear_attention}


def examples(n: int, length: int, *, seed: int, task: str = "reverse") -> Split:
    """Rows to learn from: x is digits, the separator, and the answer but its last digit; y is the answer.

    Args:
        n: how many.
        length: digits of each.
        seed: of the digits.
        task: "reverse" or "sort".

    Raises:
        CourseError: an unknown task.

    >>> rows = examples(1, 3, seed=0)
    >>> rows.x[0, 3:].tolist() == [SEPARATOR, *rows.y[0, :2].tolist()]
    True

    Lesson 16.
    """
    answer_of = TASKS[require_choice("task", task, TASKS)]
    digits = torch.randint(DIGITS, (n, length), generator=torch.Generator().manual_seed(seed))
    answers = answer_of(digits)
    return Split(torch.cat([digits, torch.full((n, 1), SEPARATOR), answers[:, :-1]], dim=1), answers)


def answer_loss(logits: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy of the places that write the answer: the last ones."""
    writing = logits[:, -answers.shape[1] :]  # (batch, length, vocabulary)
    return F.cross_entropy(writing.flatten(0, 1), answers.flatten())


def newborn(attend: Attend, length: int, *, seed: int, width: int = 32, heads: int = 2) -> Transformer:
    """A transformer of two layers with weights from `seed`, just long enough for the task."""
    torch.manual_seed(seed)
    return Transformer(DIGITS + 1, width=width, heads=heads, layers=2, longest=2 * length + 1, attend=attend)


def trained(
    attend: Attend, length: int, *, seeds: Sequence[int], steps: int = STEPS, task: str = "reverse", width: int = 32
) -> list[Transformer]:
    """One transformer for each seed, each trained on examples of its own; two learn at a time."""
    models = [newborn(attend, length, seed=seed, width=width) for seed in seeds]

    def learn(model: Transformer, seed: int) -> None:
        train = examples(steps * BATCH, length, seed=1000 + seed, task=task)
        fit(model, train, steps=steps, batch_size=BATCH, lr=LR, seed=seed, loss=answer_loss)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(learn, models, seeds))
    return models


def written(model: Transformer, rows: Split, *, new_cache: Callable[[], KeyValueCache] | None = None) -> Tensor:
    """The answers that a model writes, (n, length): a token at a time, from the digits and the separator alone."""
    length = rows.y.shape[1]
    return generate(model, rows.x[:, : length + 1], length, new_cache=new_cache)


def right_by_place(model: Transformer, rows: Split) -> list[float]:
    """For each place of the answer, the fraction of rows where the written digit is right."""
    return (written(model, rows) == rows.y).float().mean(dim=0).tolist()


def with_attention(model: Transformer, attend: Attend) -> Transformer:
    """The same weights, looking in another way.

    >>> with_attention(newborn(attention, 4, seed=0), windowed).blocks[0].attend is windowed
    True

    Lesson 16.
    """
    twin = Transformer(
        model.head.out_features, width=model.head.in_features, heads=model.blocks[0].heads,
        layers=len(model.blocks), longest=model.longest, attend=attend,
    )  # fmt: skip
    twin.load_state_dict(model.state_dict())
    return twin


def come_back(attend: Attend, n: int, *, d: int = 8, e: int = 64, steps: int = 200, trials: int = 3) -> list[float]:
    """Store n random values of e numbers, learn the best keys and queries of d numbers, and read the values back.

    Returns:
        what comes back, for each of `trials` sets of values: 1 − |answers − values|² / |values|².

    >>> min(come_back(attention, 4, trials=2)) > 0.99
    True

    Lesson 16.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = (trials, n, d), (trials, n, d), (trials, n, e)
    queries, keys, values = (torch.randn(shape, generator=generator) for shape in shapes)
    learned = [queries.requires_grad_(), keys.requires_grad_()]
    step = adam(learned, lr=0.1)
    for _ in range(steps):
        for tensor in learned:
            tensor.grad = None
        (attend(queries, keys, values) - values).square().mean().backward()
        step()
    missing = (attend(queries, keys, values) - values).detach().square().sum(dim=(1, 2))
    return (1 - missing / values.square().sum(dim=(1, 2))).tolist()


def heads_of(model: Transformer, tokens: Tensor, *, layer: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of one layer on one row of tokens: each (heads, tokens, width / heads)."""
    seen = []

    def note(q: Tensor, k: Tensor, v: Tensor, **how) -> Tensor:
        seen.append([tensor[0].detach() for tensor in (q, k, v)])
        return attention(q, k, v, **how)

    with torch.no_grad():
        with_attention(model, note)(tokens[None])
    return tuple(seen[layer])


def kept_bytes(attend: Attend, n: int, *, d: int = 32) -> int:
    """Bytes kept for the backward pass by one head of width d over n tokens, its inputs included.

    >>> kept_bytes(attention, 64) == 4 * (64 * 64 + 3 * 64 * 32)  # the weights; q, k and v
    True

    Lesson 16.
    """
    q, k, v = (torch.randn(1, n, d, requires_grad=True) for _ in range(3))
    return saved_bytes(lambda: attend(q, k, v))


def token_times(model: Transformer, n: int, *, runs: int = 9) -> tuple[Latency, Latency]:
    """The time of the next token after n, with a cache that holds them and without."""
    tokens = torch.randint(DIGITS, (1, n + 1), generator=torch.Generator().manual_seed(0))
    caches = [KeyValueCache() for _ in model.blocks]
    with torch.no_grad():
        model(tokens[:, :n], caches)
        cached = latency(lambda: model(tokens[:, n:], caches), runs=runs, warmup=2)
        return cached, latency(lambda: model(tokens), runs=max(4, runs // 2), warmup=1)


class ProductCounter(TorchDispatchMode):
    """Counts the multiply-adds of every matrix product that runs; `macs` is their number.

    >>> with ProductCounter() as counter:
    ...     _ = torch.ones(2, 3) @ torch.ones(3, 5)
    >>> counter.macs
    30

    Lesson 16.
    """

    macs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation; a product of (…, a, b) and (…, b, c) costs b for each number it makes."""
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in (aten.mm, aten.bmm, aten.addmm):
            self.macs += out.numel() * args[-1].shape[-2]
        return out


def token_macs(model: Transformer, n: int) -> tuple[int, int]:
    """The multiply-adds of the next token after n, with a cache that holds them and without."""
    tokens, caches = torch.zeros(1, n + 1, dtype=torch.int64), [KeyValueCache() for _ in model.blocks]
    with torch.no_grad():
        model(tokens[:, :n], caches)
        with ProductCounter() as cached:
            model(tokens[:, n:], caches)
        with ProductCounter() as again:
            model(tokens)
    return cached.macs, again.macs


# --- course run 16 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 1500) -> list[dict]:
    """One unit for each task, kind of attention and trial; `data` only names the results, examples are generated."""
    return [
        {"task": task, "kind": kind, "trial": trial, "iterations": iterations}
        for trial in range(trials) for task in TASKS for kind in KINDS
    ]  # fmt: skip


def measure(unit: dict) -> dict:
    """Train a transformer of width 64 on 24 digits, and let it write with and without caches."""
    seed, task, length = unit["trial"], unit["task"], 24
    attend = KINDS[unit["kind"]]
    (model,) = trained(attend, length, seeds=[seed], steps=unit["iterations"], task=task, width=64)
    rows = examples(500, length, seed=5000 + seed, task=task)
    plain = written(model, rows)
    right = plain == rows.y
    row = {"digits right": right.float().mean().item(), "rows right": right.all(dim=1).float().mean().item()}
    if unit["kind"] == "exact":
        for name, cache in {"cache": KeyValueCache, "int8 cache": QuantizedCache}.items():
            row[f"same digits with {name}"] = (written(model, rows, new_cache=cache) == plain).float().mean().item()
    return {f"{task}, {unit['kind']}: {name}": value for name, value in row.items()}


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Percent, mean and spread over the trials."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    said = {name: f"{summarise(v):%}" if len(v) > 1 else f"{100 * v[0]:.1f} %" for name, v in found.items()}
    return "\n".join(f"{name:48} {value}" for name, value in said.items())
