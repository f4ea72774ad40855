"""Reading a canonical Huffman code fast: one look-up finds all codewords that end within the next bits.

Only where a codeword starts has to be followed one after the other; what is looked up at each place, and
which symbols follow from that, is worked out for all places at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.errors import CourseError
from course_lib.quantization.bits import long_windows, windows

PER_ROW = 6  # symbols that one look-up can find at most
BLOCK = 1 << 16  # bytes worked on at a time


@dataclass(frozen=True)
class CodeTable:
    """The canonical code of some lengths.

    Attributes:
        lengths: (symbols,) int64.
        codewords: (symbols,) uint64.
        order: (used,) the symbols in order of (length, symbol), which is the order of their codewords.
        rank: (longest + 1,) how many codewords are shorter than each length.
        first: (longest + 1,) the first codeword of each length.
        limits: (longest,) for lengths 1..longest, where codewords of that length end, as 56-bit fractions.
    """

    lengths: np.ndarray
    codewords: np.ndarray
    order: np.ndarray
    rank: np.ndarray
    first: np.ndarray
    limits: np.ndarray

    @staticmethod
    def of(lengths: np.ndarray) -> CodeTable:
        """Number the codewords: the first of a length is twice what follows the last of the length before."""
        longest = int(lengths.max(initial=0))
        per_length = np.bincount(lengths, minlength=longest + 1)
        per_length[0] = 0
        first = np.zeros(longest + 1, dtype=np.uint64)
        for bits in range(1, longest + 1):
            first[bits] = (int(first[bits - 1]) + int(per_length[bits - 1])) << 1
        order = np.argsort(lengths, kind="stable")[len(lengths) - per_length.sum() :]
        rank = np.cumsum(per_length) - per_length
        codewords = np.zeros(len(lengths), dtype=np.uint64)
        sorted_lengths = lengths[order]
        codewords[order] = first[sorted_lengths] + (np.arange(len(order)) - rank[sorted_lengths]).astype(np.uint64)
        shifts = 56 - np.arange(1, longest + 1).astype(np.uint64)
        limits = (first[1:] + per_length[1:].astype(np.uint64)) << shifts
        return CodeTable(lengths, codewords, order, rank, first, limits)

    def lookup(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The symbol whose codeword begins each 56-bit window, and its length; length 0 where none does."""
        bits = np.searchsorted(self.limits, window, side="right") + 1
        known = bits <= len(self.limits)
        bits = np.where(known, bits, 0)
        codeword = window >> (56 - bits).astype(np.uint64)
        place = self.rank[bits] + (codeword - self.first[bits]).astype(np.int64)
        return self.order[np.where(known, place, 0)], bits


@dataclass(frozen=True)
class RowTable:
    """For every window of `width` bits: the symbols whose codewords lie whole in it, and where the last one ends.

    Attributes:
        width: bits looked up at once, at most 15: a larger table takes longer to make and to read than it saves.
        symbols: (2^width, PER_ROW); only the first `found` of a row mean something.
        found: (2^width,) how many.
        used: (2^width,) uint8, the bits they take; 0 where the first codeword is longer than the window.
    """

    width: int
    symbols: np.ndarray
    found: np.ndarray
    used: np.ndarray

    @staticmethod
    def of(table: CodeTable, width: int) -> RowTable:
        """Look up the first codeword of each row, then the first of what remains, and so on."""
        rows = np.arange(1 << width, dtype=np.uint64)
        symbol, bits = table.lookup(rows << np.uint64(56 - width))
        bits[bits > width] = 0
        symbols = np.zeros((len(rows), PER_ROW), dtype=np.uint16 if len(table.lengths) <= 1 << 16 else np.int64)
        found, used = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        active = np.arange(len(rows))
        for place in range(PER_ROW):
            rest = (active << used[active]) & ((1 << width) - 1)
            fits = (bits[rest] > 0) & (used[active] + bits[rest] <= width)
            active, rest = active[fits], rest[fits]
            symbols[active, place] = symbol[rest]
            used[active] += bits[rest]
            found[active] += 1
        return RowTable(width, symbols, found, used.astype(np.uint8))


def decode_symbols(data: bytes, table: CodeTable, count: int) -> np.ndarray:
    """The `count` symbols of these bytes, (count,) int64."""
    rows = RowTable.of(table, min(15, max(8, count.bit_length() - 4)))
    padded = np.frombuffer(data + bytes(10), np.uint8)
    parts, done, bit = [np.zeros(0, rows.symbols.dtype)], 0, 0
    while done < count:
        start = bit >> 3
        if start >= len(data):
            raise CourseError(
                f"The data end after {done} of {count} symbols: they are cut off, or the code is another."
            )
        symbols, bit = decode_block(padded, table, rows, bit, min(start + BLOCK, len(data)) * 8)
        parts.append(symbols)
        done += len(symbols)
    found = np.concatenate(parts)
    too_many = int(table.lengths[found[count:]].sum())  # bits: the last look-up may have read on into the padding
    if (bit - too_many + 7) // 8 != len(data):
        raise CourseError(f"{count} symbols end before the data do, or after: the count or the code is another.")
    return found[:count].astype(np.int64)


def decode_block(data: np.ndarray, table: CodeTable, rows: RowTable, bit: int, end: int) -> tuple[np.ndarray, int]:
    """The symbols whose look-up starts at a place from `bit` to before `end`, and the place after them."""
    origin = bit & ~7
    row_at = windows(data[origin >> 3 : (end >> 3) + 2], rows.width)
    steps = rows.used[row_at]
    long = np.flatnonzero(steps == 0)
    long_symbols, long_bits = table.lookup(long_windows(data, long + origin))
    steps[long] = long_bits
    places, after = follow(steps, bit - origin)
    return gather(rows, row_at[places], places, long, long_symbols), after + origin


def follow(steps: np.ndarray, place: int) -> tuple[np.ndarray, int]:
    """Hop from look-up to look-up until the end of the block: the places, and the one behind the end."""
    places: list[int] = []
    visit, end, step_at = places.append, len(steps), memoryview(steps)
    while place < end:
        step = step_at[place]
        if not step:
            raise CourseError(
                "The data hold bits that are no codeword of this code: it is another code, or another file."
            )
        visit(place)
        place += step
    return np.array(places, dtype=np.int64), place


def gather(
    rows: RowTable, visited: np.ndarray, places: np.ndarray, long: np.ndarray, long_symbols: np.ndarray
) -> np.ndarray:
    """The symbols that the look-ups found, in order; where one found none, the long codeword's."""
    found = rows.found[visited]
    symbols = rows.symbols[visited]  # (look-ups, PER_ROW)
    alone = np.flatnonzero(found == 0)
    if len(alone):
        symbols[alone, 0] = long_symbols[np.searchsorted(long, places[alone])]
        found[alone] = 1
    return symbols[np.arange(PER_ROW) < found[:, None]]
