"""Gradient accumulation: the gradient of a big batch, computed in pieces that fit into memory.

A gradient of a sum is the sum of gradients, and `backward` adds to what `.grad` holds. So the only question is what to
divide by: the number of examples (or tokens) of the *whole* window, known before the first piece runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.errors import CourseError, require_positive

IGNORED = -100  # torch's label for positions that do not count: padding


def accumulate(
    model: nn.Module,
    micro_batches: Sequence[tuple[Tensor, Tensor]],
    *,
    loss_sum: Callable[[Tensor, Tensor], Tensor] | None = None,
    count: Callable[[Tensor], int] | None = None,
) -> Tensor:
    """Add the gradient of one big batch to `.grad`, one micro-batch at a time: Σ losses / Σ counts.

    Before: `model.zero_grad()`. After: clip, step the optimiser, then the scheduler, once for the window. With batch
    norm the result differs from the big batch's, because each micro-batch has statistics of its own.

    Args:
        model: inputs -> logits, (batch, …, classes).
        micro_batches: (inputs, labels) each, of any sizes, all of them before one step of the optimiser.
        loss_sum: (logits, labels) -> the *sum* of the losses; cross-entropy over all labels but −100 by default.
        count: labels -> how many losses that sum holds; by default the labels that are not −100.

    Returns:
        the mean loss over the window, a scalar without a graph.

    Raises:
        CourseError: an empty window or micro-batch, a window in which nothing counts, or a loss that is no scalar.

    >>> model, x, y = nn.Linear(3, 2), torch.randn(8, 3), torch.randint(2, (8,))
    >>> loss = accumulate(model, [(x[:5], y[:5]), (x[5:], y[5:])])
    >>> together = torch.autograd.grad(F.cross_entropy(model(x), y), model.weight)[0]
    >>> torch.allclose(model.weight.grad, together)
    True

    Lesson 14.
    """
    loss_sum, count = loss_sum or cross_entropy_sum, count or count_labels
    total = checked_count(micro_batches, count)
    loss = torch.zeros(())
    for x, y in micro_batches:
        part = loss_sum(model(x), y)
        if part.dim():
            raise CourseError(f"loss_sum must return one number, but it returned shape {tuple(part.shape)}: sum it.")
        part.backward(torch.full_like(part, 1 / total))  # as (part / total).backward(), with one operation less
        loss = loss + part.detach()
    return loss / total


def cross_entropy_sum(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum of cross-entropies over all labels that are not −100; classes last.

    >>> cross_entropy_sum(torch.zeros(1, 3, 2), torch.tensor([[0, 1, -100]]))
    tensor(1.3863)

    Lesson 14.
    """
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def count_labels(labels: Tensor) -> int:
    """How many labels are not −100.

    >>> count_labels(torch.tensor([[0, 1, -100]]))
    2

    Lesson 14.
    """
    return int((labels != IGNORED).sum())


def checked_count(micro_batches: Sequence[tuple[Tensor, Tensor]], count: Callable[[Tensor], int]) -> int:
    """What the window's losses are divided by, or a clear refusal."""
    if not isinstance(micro_batches, Sequence):
        raise CourseError(
            "accumulate needs the whole window before it starts, to know what to divide by. Pass a list of (inputs, "
            "labels), for instance from windows(loader, n)."
        )
    if not micro_batches:
        raise CourseError("The window has no micro-batches.")
    if empty := [place for place, (x, _) in enumerate(micro_batches) if len(x) == 0]:
        raise CourseError(f"Micro-batch {empty[0]} of the window is empty; leave it out.")
    total = sum(count(y) for _, y in micro_batches)
    if total == 0:
        raise CourseError(f"Nothing in this window counts: all of its labels are {IGNORED}. Skip it, without a step.")
    return total


def windows(batches: Iterable, n_accumulate: int) -> Iterator[list]:
    """Group micro-batches into windows of `n_accumulate`; the last one may be shorter, and is not lost.

    >>> list(windows("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]

    Lesson 14.
    """
    require_positive("n_accumulate", n_accumulate)
    window: list = []
    for batch in batches:
        window.append(batch)
        if len(window) == n_accumulate:
            yield window
            window = []
    if window:
        yield window


def split_batch(x: Tensor, y: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """A batch in micro-batches of at most `size` examples.

    >>> [len(x) for x, _ in split_batch(torch.zeros(8, 3), torch.zeros(8), size=3)]
    [3, 3, 2]

    Lesson 14.
    """
    require_positive("size", size)
    return list(zip(x.split(size), y.split(size), strict=True))
