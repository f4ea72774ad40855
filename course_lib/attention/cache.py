"""The cache of keys and values: a token that was read once need not be read again for every new one."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.errors import CourseError


class KeyValueCache:
    """Keys and values of the tokens so far; room is doubled when it is full, so a token costs the same on average.

    Attributes:
        length: tokens in the cache.

    >>> cache = KeyValueCache()
    >>> for _ in range(3):
    ...     keys, values = cache.append(torch.ones(2, 1, 4), torch.ones(2, 1, 4))
    >>> keys.shape, cache.length
    (torch.Size([2, 3, 4]), 3)

    Lesson 16.
    """

    def __init__(self) -> None:
        self.length = 0
        self.room: list[Tensor] = []

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add new tokens' keys and values, (…, new, d) and (…, new, e); returns those of all tokens."""
        self.store([keys.detach(), values.detach()])
        return self.seen(0), self.seen(1)

    def store(self, tensors: list[Tensor]) -> None:
        """Copy new rows behind the old ones."""
        new = tensors[0].shape[-2]
        if any(tensor.shape[-2] != new for tensor in tensors):
            raise CourseError("There must be a value for each key: their numbers of tokens differ.")
        if not self.room:
            self.room = [empty_like(tensor, 2 * new) for tensor in tensors]
        for place, (room, tensor) in enumerate(zip(self.room, tensors, strict=True)):
            if room.shape[:-2] != tensor.shape[:-2] or room.shape[-1] != tensor.shape[-1]:
                raise CourseError(f"The cache holds shape {tuple(room.shape)}, but you appended {tuple(tensor.shape)}.")
            if self.length + new > room.shape[-2]:
                bigger = empty_like(room, 2 * (self.length + new))
                bigger[..., : self.length, :] = room[..., : self.length, :]
                self.room[place] = bigger
            self.room[place][..., self.length : self.length + new, :] = tensor
        self.length += new

    def seen(self, place: int) -> Tensor:
        """A view of what is stored at one place, without the empty room."""
        return self.room[place][..., : self.length, :]

    def stored_bytes(self) -> int:
        """Bytes of the tokens so far, empty room not counted."""
        return sum(self.seen(place).numel() * room.element_size() for place, room in enumerate(self.room))


class QuantizedCache(KeyValueCache):
    """The same in int8: every token's key and value with a scale of its own, a quarter of the bytes and a little more.

    >>> cache = QuantizedCache()
    >>> x = torch.randn(1, 5, 64)
    >>> keys, values = cache.append(x, x)
    >>> (keys - x).abs().max().item() < x.abs().max().item() / 200, cache.stored_bytes()
    (True, 680)

    Lesson 16.
    """

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add new tokens' keys and values; returns those of all tokens, as their codes stand for them."""
        self.store([*symmetric_codes(keys.detach()), *symmetric_codes(values.detach())])
        return self.seen(0) * self.seen(1), self.seen(2) * self.seen(3)


def symmetric_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes −127..127, int8, and one scale for each row."""
    scale = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / 127
    return (x / scale).round_().to(torch.int8), scale


def empty_like(tensor: Tensor, rows: int) -> Tensor:
    """Room for so many rows, of the tensor's other sizes and type."""
    return tensor.new_empty(*tensor.shape[:-2], rows, tensor.shape[-1])
