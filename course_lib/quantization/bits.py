"""Whole numbers of a few bits each, one after the other in a string of bytes; the first bit of a byte is its highest."""

from __future__ import annotations

import numpy as np

from course_lib.errors import CourseError

WORD = 64


def pack_bits(values: np.ndarray, lengths: np.ndarray) -> bytes:
    """Write each value in its own number of bits.

    Neighbours are joined while two of them fit into 64 bits; then every piece goes to its place in the row of 64-bit
    words, all at once.

    Args:
        values: (n,) uint64, each below 2^length.
        lengths: (n,) bits of each, 0..64.

    Returns:
        ⌈Σ lengths / 8⌉ bytes; the last one ends with zeros.

    >>> pack_bits(np.array([1, 5, 0]), np.array([1, 3, 4])).hex()
    'd0'

    Lesson 11.
    """
    values, lengths = values.astype(np.uint64), lengths.astype(np.uint64)
    while len(values) > 1 and 2 * int(lengths.max()) <= WORD:
        values, lengths = join_pairs(values, lengths)
    total = int(lengths.sum())
    starts = np.cumsum(lengths, dtype=np.uint64) - lengths
    aligned = values << ((WORD - lengths) & np.uint64(WORD - 1))  # the value's first bit is the word's first
    word, offset = (starts >> np.uint64(6)).astype(np.int64), starts & np.uint64(WORD - 1)
    words = np.zeros(total // WORD + 2, dtype=np.uint64)
    if len(values):
        first = np.flatnonzero(np.diff(word, prepend=-1))
        words[word[first]] = np.bitwise_or.reduceat(aligned >> offset, first)
        spilled = (aligned << np.uint64(1)) << (np.uint64(WORD - 1) - offset)  # what the word had no room for
        over = np.flatnonzero(offset + lengths > WORD)  # at most one piece a word
        words[word[over] + 1] |= spilled[over]
    return words.astype(">u8").tobytes()[: (total + 7) // 8]


def join_pairs(values: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every two neighbours become one value, the first in its upper bits."""
    if len(values) % 2:
        values, lengths = np.append(values, np.uint64(0)), np.append(lengths, np.uint64(0))
    return (values[::2] << lengths[1::2]) | values[1::2], lengths[::2] + lengths[1::2]


def unpack_bits(data: bytes, count: int, width: int) -> np.ndarray:
    """Read `count` numbers of `width` bits each, 0..16, as int64.

    >>> unpack_bits(bytes.fromhex("d0"), count=2, width=3).tolist()
    [6, 4]

    Lesson 11.
    """
    if len(data) != (count * width + 7) // 8:
        raise CourseError(f"{count} numbers of {width} bits are {(count * width + 7) // 8} bytes, not {len(data)}.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count * width).reshape(count, width)
    return bits.astype(np.int64) @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))


def windows(data: np.ndarray, width: int) -> np.ndarray:
    """The `width` bits (at most 16) that follow each bit of `data`, uint8 with 2 bytes to spare: 8 · (n - 2) numbers."""
    three = (data[:-2].astype(np.uint32) << 16) | (data[1:-1].astype(np.uint32) << 8) | data[2:]
    shifts = np.arange(24 - width, 16 - width, -1, dtype=np.uint32)
    return ((three[:, None] >> shifts) & np.uint32((1 << width) - 1)).reshape(-1)


def long_windows(data: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The 56 bits that follow each of these bits of `data`, uint8 with 8 bytes to spare, as uint64."""
    gathered = np.zeros(len(bits), dtype=np.uint64)
    for byte in range(8):
        gathered = (gathered << np.uint64(8)) | data[(bits >> 3) + byte].astype(np.uint64)
    return (gathered << (bits & 7).astype(np.uint64)) >> np.uint64(8)
