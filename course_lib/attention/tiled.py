"""Exact attention without the n² scores: a tile of keys at a time, with a softmax that is corrected as it runs.

softmax needs the largest score and the sum over all keys, but both can be kept up to date: when a new tile brings a larger
score, everything summed so far is scaled down. The backward pass computes the tiles again instead of keeping them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib.attention.exact import check_places, check_shapes
from course_lib.errors import require_positive


def tiled_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, tile: int = 128) -> Tensor:
    """The same as `attention`, to rounding, with memory linear in the number of keys.

    Args:
        q: queries, (…, n, d).
        k: keys, (…, m, d); the leading dimensions are q's.
        v: values, (…, m, e).
        causal: as in `attention`.
        tile: keys at a time, 1 or more.

    Raises:
        CourseError: shapes that do not fit, or a tile below 1.

    >>> q, k, v = torch.randn(3, 5, 4), torch.randn(3, 9, 4), torch.randn(3, 9, 2)
    >>> from course_lib.attention import attention
    >>> torch.allclose(tiled_attention(q, k, v, tile=4), attention(q, k, v), atol=1e-6)
    True

    Dao et al. 2022; Milakov & Gimelshein 2018 for the running softmax. Lesson 16.
    """
    check_shapes(q, k, v)
    if causal:
        check_places(q.shape[-2], k.shape[-2])
    return TiledAttention.apply(q, k, v, causal, require_positive("tile", tile))


def running_softmax(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, tile: int) -> tuple[Tensor, Tensor]:
    """Attention by tiles: the outputs (…, n, e), and the logarithm of each query's sum of exponentials (…, n, 1)."""
    largest = q.new_full((*q.shape[:-1], 1), -math.inf)
    total = torch.zeros_like(largest)
    weighted = q.new_zeros(*q.shape[:-1], v.shape[-1])
    for keys, scores in tiles(q, k, causal, tile):
        new_largest = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
        shrink = (largest - new_largest).exp()  # what was summed against a smaller maximum
        weights = (scores - new_largest).exp_()
        total = total * shrink + weights.sum(dim=-1, keepdim=True)
        weighted = weighted * shrink + weights @ v[..., keys, :]
        largest = new_largest
    return weighted / total, largest + total.log()


def tiles(q: Tensor, k: Tensor, causal: bool, tile: int) -> Iterator[tuple[slice, Tensor]]:
    """For each tile of keys: which they are, and their scores with all queries, (…, n, tile)."""
    n, m = q.shape[-2], k.shape[-2]
    places = torch.arange(m - n, m)[:, None]  # of the queries among the keys
    scaled = q / math.sqrt(q.shape[-1])
    for start in range(0, m, tile):
        keys = slice(start, min(start + tile, m))
        scores = scaled @ k[..., keys, :].transpose(-2, -1)
        if causal:
            scores.masked_fill_(torch.arange(keys.start, keys.stop) > places, -math.inf)
        yield keys, scores


class TiledAttention(torch.autograd.Function):
    """What is kept for the backward pass: inputs, outputs, and one number a query.

    Dao et al. 2022. Lesson 16.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, causal: bool, tile: int) -> Tensor:
        """The outputs, (…, n, e)."""
        out, log_total = running_softmax(q, k, v, causal=causal, tile=tile)
        ctx.save_for_backward(q, k, v, out, log_total)
        ctx.how = causal, tile
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):
        """Each tile's weights again, and from them its share of the gradients."""
        q, k, v, out, log_total = ctx.saved_tensors
        to_q, to_k, to_v = torch.zeros_like(q), torch.empty_like(k), torch.empty_like(v)
        common = (gradient * out).sum(dim=-1, keepdim=True)  # what softmax subtracts for every key of a query
        for keys, scores in tiles(q, k, *ctx.how):
            weights = (scores - log_total).exp_()
            to_v[..., keys, :] = weights.transpose(-2, -1) @ gradient
            to_scores = weights.mul_(gradient @ v[..., keys, :].transpose(-2, -1) - common)
            to_scores /= math.sqrt(q.shape[-1])
            to_q += to_scores @ k[..., keys, :]
            to_k[..., keys, :] = to_scores.transpose(-2, -1) @ q
        return to_q, to_k, to_v, None, None
