"""Softmax attention as it is written down: every query looks at every key, so n² scores are kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.errors import CourseError


def attention(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """softmax(q · kᵀ / √d) · v, row by row.

    Args:
        q: queries, (…, n, d).
        k: keys, (…, m, d).
        v: values, (…, m, e).
        mask: bool, True = may look, broadcast to (…, n, m).
        causal: a query sees the keys up to its own place; the last query stands at the last key.

    Returns:
        (…, n, e).

    Raises:
        CourseError: shapes that do not fit, or a query that may look at nothing.

    >>> q = k = v = torch.eye(2)
    >>> attention(q, k, v, causal=True)
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])

    Vaswani et al. 2017. Lesson 16.
    """  # noqa: D403
    check_shapes(q, k, v)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (…, n, m)
    if causal:
        mask = causal_mask(q.shape[-2], k.shape[-2]) if mask is None else mask & causal_mask(q.shape[-2], k.shape[-2])
    if mask is not None:
        if not mask.any(dim=-1).all():
            raise CourseError("A query may look at no key at all: a row of the mask is all False.")
        scores = scores.masked_fill(~mask, -math.inf)  # before the softmax: what is masked takes no part in the sum
    return scores.softmax(dim=-1) @ v


def causal_mask(n_queries: int, n_keys: int) -> Tensor:
    """True where a query may look: at keys up to its own place. The last query stands at the last key.

    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])

    Lesson 16.
    """
    check_places(n_queries, n_keys)
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)


def check_places(n_queries: int, n_keys: int) -> None:
    """Refuse more queries than keys where each query stands at a key."""
    if n_queries > n_keys:
        raise CourseError(f"{n_queries} queries stand at the last of only {n_keys} keys: the first would see nothing.")


def check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse what cannot be multiplied."""
    if min(q.dim(), k.dim(), v.dim()) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise CourseError(f"Attention needs q (…, n, d), k (…, m, d) and v (…, m, e), but you passed {shapes}.")
