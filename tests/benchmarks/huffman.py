"""Huffman's code on a million symbols, beside the pure-Python library dahuffman where it is installed, and beside zlib and zstd.

dahuffman is no dependency of the course: `uv pip install dahuffman` brings it for one run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import torch

from course_lib.quantization.huffman import HuffmanCode, build_code, decode, encode
from tests.benchmarks.side_by_side import Row, medians

try:
    from compression import zstd  # a part of Python from 3.14 on
except ImportError:
    from backports import zstd


def kinds(n: int = 1_000_000) -> dict[str, np.ndarray]:
    """Codes as k-means makes them, of 4 and 8 bits, and 4-bit codes of which nine in ten are zero."""
    random = np.random.default_rng(0)
    bell = lambda k: np.clip(np.rint(random.normal((k - 1) / 2, k / 8, n)), 0, k - 1)  # noqa: E731
    sparse = np.where(random.random(n) < 0.9, 0, random.integers(1, 16, n))
    return {"4 bits": bell(16), "8 bits": bell(256), "4 bits, 90 % zeros": sparse}


def run(repetitions: int = 5) -> Iterator[Row]:
    """Bytes and milliseconds of each."""
    for kind, row in kinds().items():
        symbols = torch.from_numpy(row.astype(np.int64))
        counts = torch.bincount(symbols)
        code = build_code(counts)
        data = encode(symbols, code)
        if not torch.equal(decode(data, code, len(symbols)), symbols):
            raise RuntimeError("what was encoded did not come back")
        calls = {
            "encode": lambda symbols=symbols, code=code: encode(symbols, code),
            "decode": lambda data=data, lengths=code.lengths, row=row: decode(data, HuffmanCode(lengths), len(row)),
        }
        theirs, size = by_dahuffman(row)
        calls |= theirs
        ms = {name: 1000 * seconds for name, seconds in medians(calls, repetitions=repetitions).items()}
        name = "dahuffman" if theirs else ""
        what = f"Huffman, 1 million symbols, {kind}"
        goals = (1 / 3, 1 / 8) if theirs and kind == "4 bits" else (None, None)
        for action, goal in zip(("encode", "decode"), goals, strict=True):
            yield Row(f"{what}: {action}", ms[action], "ms", ms.get(f"their {action}"), name, goal=goal)
        yield Row(f"{what}: size", len(data), "bytes", size, name, goal=1.0 if theirs else None)
        for other, packed in by_others(row).items():
            yield Row(f"{what}: size, beside {other}", len(data), "bytes", packed, other)


def by_dahuffman(row: np.ndarray) -> tuple[dict, int | None]:
    """Calls that do the same, and the bytes they make; nothing where it is not installed."""
    try:
        import dahuffman
    except ImportError:
        return {}, None
    symbols = row.astype(int).tolist()
    codec = dahuffman.HuffmanCodec.from_data(symbols)
    data = codec.encode(symbols)
    calls = {"their encode": lambda: codec.encode(symbols), "their decode": lambda: codec.decode(data)}
    return calls, len(data)


def by_others(row: np.ndarray) -> dict[str, int]:
    """Bytes of general compressors on one byte a symbol."""
    raw = row.astype(np.uint8).tobytes()
    return {"zlib -9": len(zlib.compress(raw, 9)), "zstd -19": len(zstd.compress(raw, 19))}
