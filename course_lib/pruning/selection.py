"""The k-th smallest number among many tensors: exact, in two reads of the data and no copy of it.

A float's bits, read as a whole number, are in the same order as the floats themselves (for negative ones after
flipping all bits but the sign). So a histogram of the upper 16 bits tells in which of 65,536 buckets the k-th
smallest lies, and a second histogram, over the few numbers in that bucket, tells the lower 16 bits. Sorting
138 million weights takes most of a minute; this takes a second, and needs no memory worth naming.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

CHUNK = 1 << 20  # numbers looked at at once: small enough to stay in the cache
BITS = {torch.float32: (torch.int32, 32), torch.float64: (torch.int64, 64)}


def kth_smallest(tensors: Sequence[Tensor], k: int) -> Tensor:
    """The k-th smallest value, k = 1..n, of all the numbers in `tensors` together, as a scalar tensor.

    Args:
        tensors: finite numbers of any shape; float32 and float64 are read in place, others are made float32.
        k: 1 for the smallest.

    >>> kth_smallest([torch.tensor([3.0, 1.0]), torch.tensor([-2.0])], k=2)
    tensor(1.)

    Lesson 02.
    """
    kind = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    _, width = BITS[kind]
    prefix = 0  # the upper bits of the answer, as far as they are known
    for shift in range(width - 16, -1, -16):
        counts = torch.zeros(1 << 16, dtype=torch.int64)
        for keys in ordered_keys(tensors, kind):
            digits = keys >> shift  # the bits known so far and 16 more
            if shift < width - 16:
                digits = digits[(digits >> 16) == prefix]
            first = prefix << 16 if shift < width - 16 else -(1 << 15)
            counts += torch.bincount(digits.sub_(first), minlength=1 << 16)
        digit = int(torch.searchsorted(counts.cumsum(0), k))
        k -= int(counts[:digit].sum())
        prefix = first + digit
    key = torch.tensor(prefix, dtype=BITS[kind][0])
    return flip_negative(key).view(kind)


def ordered_keys(tensors: Sequence[Tensor], kind: torch.dtype) -> Iterator[Tensor]:
    """The numbers, chunk by chunk, as whole numbers in the same order."""
    for tensor in tensors:
        for chunk in tensor.detach().reshape(-1).split(CHUNK):
            yield flip_negative((chunk.to(kind) + 0.0).view(BITS[kind][0]))  # + 0.0 turns -0.0 into 0.0


def flip_negative(keys: Tensor) -> Tensor:
    """Negative floats are stored as sign and size: flip the size, so that a larger size is a lower number."""
    size_bits = torch.iinfo(keys.dtype).max
    return torch.where(keys < 0, keys ^ size_bits, keys)
