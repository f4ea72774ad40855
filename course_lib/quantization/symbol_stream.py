"""A row of small whole numbers in a file: as the same number throughout, in equal bits, or in Huffman's code."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.errors import CourseError
from course_lib.quantization.bits import pack_bits, unpack_bits
from course_lib.quantization.byte_stream import Reader, Writer
from course_lib.quantization.huffman import HuffmanCode, build_code, decode, encode

CONSTANT, EQUAL, HUFFMAN = 0, 1, 2
LENGTH_BITS = 3  # about what the compressed header takes for each codeword's length


def equal_width(symbols: int) -> int:
    """Bits that tell this many symbols apart."""
    return max(symbols - 1, 0).bit_length()


def cheapest(counts: np.ndarray, huffman: bool) -> tuple[int, int, HuffmanCode | None]:
    """The shortest way to store symbols that occur this often: (bytes, which way, the code)."""
    if np.count_nonzero(counts) <= 1:
        return 2, CONSTANT, None
    ways = [((int(counts.sum()) * equal_width(len(counts)) + 7) // 8, EQUAL, None)]
    if huffman:
        tally = torch.from_numpy(counts)
        code = build_code(tally)
        ways.append(((code.size_bits(tally) + LENGTH_BITS * len(counts) + 7) // 8, HUFFMAN, code))
    return min(ways, key=lambda way: way[0])


def write_symbols(writer: Writer, what: str, symbols: np.ndarray, alphabet: int, huffman: bool) -> None:
    """Put symbols 0..alphabet-1 into the file, (n,) int64; how many there are must be known to the reader."""
    _, way, code = cheapest(np.bincount(symbols, minlength=alphabet), huffman)
    writer.number(way)
    if way == CONSTANT:
        writer.number(int(symbols[0]) if len(symbols) else 0)
    elif way == EQUAL:
        writer.block(what, pack_bits(symbols, np.full(len(symbols), equal_width(alphabet))))
    else:
        stream = encode(torch.from_numpy(symbols), code)
        writer.head += bytes(code.lengths.tolist())
        writer.number(len(stream))
        writer.block(what, stream)


def read_symbols(reader: Reader, count: int, alphabet: int) -> np.ndarray:
    """The symbols, (count,) int64, each below `alphabet`."""
    way = reader.number()
    if way == CONSTANT:
        symbols = np.full(count, reader.number())
    elif way == EQUAL:
        width = equal_width(alphabet)
        symbols = unpack_bits(reader.block((count * width + 7) // 8), count, width)
    else:
        code = HuffmanCode(torch.tensor(list(reader.take(alphabet)), dtype=torch.int64))
        symbols = decode(reader.block(reader.number()), code, count).numpy()
    if count and symbols.max() >= alphabet:
        raise CourseError(
            "The file names a value that is not in its codebook: it was not written by deep_compression.save."
        )
    return symbols
