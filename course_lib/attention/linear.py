"""Linear attention: without the softmax, a product of three matrices may be taken in the cheaper order."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.attention.exact import check_shapes
from course_lib.errors import CourseError, require_positive


def linear_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, chunk: int = 64) -> Tensor:
    """φ(q) · (φ(k)ᵀ · v) / (φ(q) · Σ φ(k)), with φ(x) = elu(x) + 1.

    (φ(q) · φ(k)ᵀ) · v would be the same and cost n²; taken from the right, the middle factor is d × e whatever n is.

    Args:
        q, k, v: (…, n, d), (…, m, d), (…, m, e); n = m if causal.
        causal: a query sees the keys up to its own place; then a running sum takes the place of the sum.
        chunk: places at a time when causal.

    Raises:
        CourseError: shapes that do not fit.

    >>> q, k, v = torch.randn(3, 2, 10, 4)
    >>> linear_attention(q, k, v, causal=True).shape
    torch.Size([2, 10, 4])

    Katharopoulos et al. 2020. Lesson 16.
    """
    check_shapes(q, k, v)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    v = F.pad(v, (0, 1), value=1.0)  # a column of ones sums the weights along with the values
    weighted = causal_product(q, k, v, require_positive("chunk", chunk)) if causal else q @ (k.transpose(-2, -1) @ v)
    return weighted[..., :-1] / weighted[..., -1:]


def causal_product(q: Tensor, k: Tensor, v: Tensor, chunk: int) -> Tensor:
    """(q · kᵀ, lower triangle) · v, chunk by chunk: inside a chunk the triangle, before it one running sum."""
    if q.shape[-2] != k.shape[-2]:
        raise CourseError(f"Causal linear attention needs a key for each query, not {k.shape[-2]} for {q.shape[-2]}.")
    state = k.new_zeros(*k.shape[:-2], k.shape[-1], v.shape[-1])  # Σ φ(k)ᵀ · v so far
    parts = []
    for queries, keys, values in zip(*(x.split(chunk, dim=-2) for x in (q, k, v)), strict=True):
        inside = (queries @ keys.transpose(-2, -1)).tril()
        parts.append(queries @ state + inside @ values)
        state = state + keys.transpose(-2, -1) @ values
    return torch.cat(parts, dim=-2)
