"""Attention through a window: a query sees only the keys just before it, so cost grows with n, not n²."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.attention.exact import attention, check_shapes
from course_lib.errors import CourseError, require_positive


def window_mask(n: int, window: int) -> Tensor:
    """True where a query may look: at its own place and the window − 1 places before it.

    >>> window_mask(4, 2).int()
    tensor([[1, 0, 0, 0],
            [1, 1, 0, 0],
            [0, 1, 1, 0],
            [0, 0, 1, 1]], dtype=torch.int32)

    Beltagy et al. 2020. Lesson 16.
    """
    require_positive("window", window)
    allowed = torch.ones(n, n, dtype=torch.bool)
    return allowed.tril() & allowed.triu(1 - window)


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, *, window: int) -> Tensor:
    """`attention` under `window_mask`, without the n² scores: blocks of queries against two blocks of keys.

    Args:
        q, k, v: (…, n, d), (…, n, d), (…, n, e).
        window: how many keys a query sees, its own included; 1 or more.

    Raises:
        CourseError: shapes that do not fit, other numbers of queries than of keys, or a window below 1.

    >>> q, k, v = torch.randn(3, 2, 10, 4)
    >>> torch.allclose(windowed_attention(q, k, v, window=3), attention(q, k, v, mask=window_mask(10, 3)), atol=1e-6)
    True

    Beltagy et al. 2020. Lesson 16.
    """
    check_shapes(q, k, v)
    require_positive("window", window)
    n = q.shape[-2]
    if k.shape[-2] != n:
        raise CourseError(f"A window slides along one sequence, but there are {n} queries and {k.shape[-2]} keys.")
    missing = -n % window  # so that blocks of `window` places come out even
    queries = F.pad(q, (0, 0, 0, missing)).unflatten(-2, (-1, window))  # (…, blocks, window, d)
    keys, values = (two_blocks(F.pad(x, (0, 0, window, missing)), window) for x in (k, v))
    places = torch.arange(n + missing).view(-1, window, 1)
    seen = torch.arange(-window, n + missing).unfold(0, 2 * window, window)[:, None]  # (blocks, 1, 2 · window)
    # A place before the start is seen by nobody but padding queries, which are cut off below.
    mask = (seen <= places) & (seen > places - window) & (seen >= 0)
    return attention(queries, keys, values, mask=mask).flatten(-3, -2)[..., :n, :]


def two_blocks(x: Tensor, window: int) -> Tensor:
    """For each block of places: that block and the one before, (…, blocks, 2 · window, channels)."""
    return x.unfold(-2, 2 * window, window).transpose(-2, -1)
