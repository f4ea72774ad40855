"""Huffman's code in its canonical form: the lengths of the codewords are all a decoder needs.

Frequent symbols get short codewords. Of all codes with the same lengths, the canonical one numbers codewords in order of
(length, symbol), so that it follows from the lengths. Encoding is a look-up for all symbols at once; decoding looks up
many bits at a time, and finds several symbols in them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import CourseError, require_positive
from course_lib.quantization.bits import pack_bits
from course_lib.quantization.huffman_decoding import CodeTable, decode_symbols

LONGEST = 56  # bits of a codeword; only counts of 10^11 and more would need longer ones


@dataclass(frozen=True)
class HuffmanCode:
    """A canonical code.

    Attributes:
        lengths: (symbols,) int64, bits of each symbol's codeword; 0 marks a symbol that never occurs.

    >>> code = HuffmanCode(torch.tensor([1, 2, 0, 2]))
    >>> [code.codeword(symbol) for symbol in (0, 1, 3)]
    ['0', '10', '11']

    Huffman 1952. Lesson 11.
    """

    lengths: Tensor

    def __post_init__(self) -> None:
        lengths = self.lengths
        if lengths.dim() != 1 or lengths.is_floating_point() or (len(lengths) and lengths.min() < 0):
            raise CourseError(
                "lengths is a row of whole numbers of 0 or more, one for each symbol: build_code(counts).lengths."
            )
        if len(lengths) and lengths.max() > LONGEST:
            raise CourseError(f"A codeword has {int(lengths.max())} bits, and {LONGEST} is the most that is supported.")
        if (room := sum(2 ** (LONGEST - bits) for bits in lengths[lengths > 0].tolist())) > 2**LONGEST:
            raise CourseError(
                f"No code has these lengths: Σ 2^-length is {room / 2**LONGEST:g}, and it must be at most 1 (Kraft).\n"
                "Take the lengths from build_code(counts)."
            )

    @cached_property
    def table(self) -> CodeTable:
        """What encoding and decoding look things up in."""
        return CodeTable.of(self.lengths.numpy())

    def codeword(self, symbol: int) -> str:
        """A symbol's codeword as a string of 0 and 1, empty where it has none."""
        bits = int(self.lengths[symbol])
        return f"{int(self.table.codewords[symbol]):0{bits}b}" if bits else ""

    def size_bits(self, counts: Tensor) -> int:
        """Bits that symbols which occur this often take: Σ count · length."""
        return int((counts * self.lengths).sum())


def build_code(counts: Tensor) -> HuffmanCode:
    """The code that needs the fewest bits for symbols that occur this often.

    The two rarest symbols become one whose count is their sum, until one is left; a symbol's codeword has one bit for each
    time it was merged. A single symbol gets a codeword of one bit.

    Args:
        counts: (symbols,) whole numbers, 0 or more; symbol s occurs counts[s] times. `torch.bincount(symbols)` counts.

    Raises:
        CourseError: counts are negative, not whole, or not one row.

    >>> build_code(torch.tensor([5, 1, 0, 2])).lengths
    tensor([1, 2, 0, 2])

    Huffman 1952. Lesson 11.
    """
    if not isinstance(counts, Tensor) or counts.dim() != 1 or counts.is_floating_point() or counts.is_complex():
        raise CourseError("counts is a row of whole numbers, one for each symbol. Count with torch.bincount(symbols).")
    counts = counts.detach().cpu().long()
    if len(counts) and counts.min() < 0:
        raise CourseError(f"counts must be 0 or more, but symbol {int(counts.argmin())} has {int(counts.min())}.")
    used = counts.nonzero().squeeze(1)
    lengths = torch.zeros_like(counts)
    lengths[used] = torch.tensor(limited_depths(counts[used].tolist()), dtype=torch.int64)
    return HuffmanCode(lengths)


def limited_depths(counts: list[int]) -> list[int]:
    """Merging depths of at most LONGEST: where they are deeper, all counts are halved and rounded up, and so made more even."""
    order = sorted(range(len(counts)), key=counts.__getitem__)
    depths = merging_depths([counts[symbol] for symbol in order])
    while depths and max(depths) > LONGEST:
        counts = [(count + 1) // 2 for count in counts]
        depths = merging_depths([counts[symbol] for symbol in order])
    found = dict(zip(order, depths, strict=True))
    return [found[symbol] for symbol in range(len(counts))]


def merging_depths(ascending: list[int]) -> list[int]:
    """How often each symbol is merged. Sums come out in ascending order, so two queues do: symbols and sums."""
    n = len(ascending)
    symbols = deque(zip(ascending, range(n), strict=True))
    sums: deque[tuple[int, int]] = deque()
    parents = [0] * max(2 * n - 1, 0)
    for node in range(n, 2 * n - 1):
        weight = 0
        for _ in range(2):
            queue = symbols if symbols and (not sums or symbols[0] <= sums[0]) else sums
            count, child = queue.popleft()
            weight += count
            parents[child] = node
        sums.append((weight, node))
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[:n] if n != 1 else [1]


def encode(symbols: Tensor, code: HuffmanCode) -> bytes:
    """Write the codeword of each symbol, one after the other.

    Args:
        symbols: any shape, whole numbers 0..len(code.lengths) - 1.
        code: has a codeword for each of them.

    Returns:
        ⌈bits / 8⌉ bytes. How many symbols there are is not in them.

    Raises:
        CourseError: a symbol has no codeword.

    >>> encode(torch.tensor([0, 1, 3]), HuffmanCode(torch.tensor([1, 2, 0, 2]))).hex()
    '58'

    Huffman 1952. Lesson 11.
    """
    found = require_encodable(symbols, code)
    table = code.table
    return pack_bits(table.codewords[found], table.lengths[found])


def require_encodable(symbols: Tensor, code: HuffmanCode) -> np.ndarray:
    """The symbols as one row, once it is known that each has a codeword."""
    if not isinstance(symbols, Tensor) or symbols.is_floating_point() or symbols.is_complex():
        raise CourseError(
            "symbols must be a tensor of whole numbers, such as the codes of a codebook: codes.flatten()."
        )
    row = symbols.detach().cpu().reshape(-1).long().numpy()
    if len(row) == 0:
        return row
    if row.min() < 0 or row.max() >= len(code.lengths):
        raise CourseError(
            f"This code knows the symbols 0..{len(code.lengths) - 1}, but there are {row.min()}..{row.max()}."
        )
    if not code.table.lengths.all():
        unknown = row[code.table.lengths[row] == 0]
        if len(unknown):
            raise CourseError(
                f"Symbol {unknown[0]} has no codeword, as it did not occur when the code was built.\n"
                "Build the code from the counts of what you encode."
            )
    return row


def decode(data: bytes, code: HuffmanCode, count: int) -> Tensor:
    """Read `count` symbols back.

    Args:
        data: what `encode` returned.
        code: the one it was encoded with; one that was rebuilt from the lengths alone will do.
        count: how many symbols there are, 0 or more.

    Returns:
        (count,) int64.

    Raises:
        CourseError: the bytes are not those of `count` symbols in this code.

    >>> code = build_code(torch.tensor([5, 1, 0, 2]))
    >>> decode(encode(torch.tensor([0, 3, 1, 0]), code), code, count=4)
    tensor([0, 3, 1, 0])

    Huffman 1952. Lesson 11.
    """
    require_positive("count", count, at_least=0)
    if count == 0 and not data:
        return torch.zeros(0, dtype=torch.int64)
    if not code.lengths.any():
        raise CourseError(f"This code has no codewords, so it cannot be the code of {count} symbols.")
    return torch.from_numpy(decode_symbols(data, code.table, count))
