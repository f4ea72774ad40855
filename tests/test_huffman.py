"""Huffman's code against a textbook's tree and the entropy; rows of bits and relative indices there and back."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from course_lib.errors import CourseError
from course_lib.quantization import huffman_decoding
from course_lib.quantization.bits import pack_bits, unpack_bits
from course_lib.quantization.huffman import LONGEST, HuffmanCode, build_code, decode, encode
from course_lib.quantization.relative_index import absolute_indices, relative_indices

QUICK = settings(deadline=None, max_examples=80)


def optimal_bits(counts: list[int]) -> int:
    """Bits of the best code: the sum of all merged counts, two smallest first; one symbol takes one bit each."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    if len(heap) < 2:
        return sum(heap)
    bits = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        bits += merged
        heapq.heappush(heap, merged)
    return bits


def entropy_bits(counts: torch.Tensor) -> float:
    """Shannon's bound for symbols that occur this often."""
    p = counts[counts > 0].double() / counts.sum()
    return float(-(p * p.log2()).sum() * counts.sum())


def symbols_in(row: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(row.astype(np.int64))


rows = hnp.arrays(np.int64, st.integers(0, 300), elements=st.integers(0, 40) | st.sampled_from([3, 3, 3, 7]))


@QUICK
@given(rows)
def test_what_is_encoded_comes_back_in_as_few_bytes_as_can_be(row):
    symbols = symbols_in(row)
    counts = torch.bincount(symbols)
    code = build_code(counts)
    data = encode(symbols, code)
    assert len(data) == (optimal_bits(counts.tolist()) + 7) // 8
    assert code.size_bits(counts) == optimal_bits(counts.tolist())
    assert torch.equal(decode(data, HuffmanCode(code.lengths.clone()), len(symbols)), symbols)  # from lengths alone


@QUICK
@given(st.lists(st.integers(0, 10**9), max_size=60))
def test_the_code_is_canonical_prefix_free_and_within_a_bit_of_the_entropy(counts):
    code = build_code(torch.tensor(counts, dtype=torch.int64))
    words = [code.codeword(symbol) for symbol in range(len(counts)) if counts[symbol]]
    assert all(len(code.codeword(symbol)) == 0 for symbol in range(len(counts)) if not counts[symbol])
    assert not any(b.startswith(a) for a, b in itertools.permutations(words, 2))
    assert sorted(words, key=lambda word: (len(word), words.index(word))) == sorted(words, key=lambda w: (len(w), w))
    total = sum(counts)
    if len(words) > 1:
        bound = entropy_bits(torch.tensor(counts))
        assert bound - 1e-6 * total <= code.size_bits(torch.tensor(counts)) < bound + total


def test_a_textbook_example():
    code = build_code(torch.tensor([45, 13, 12, 16, 9, 5]))  # Cormen, Leiserson, Rivest & Stein, section 16.3
    assert code.lengths.tolist() == [1, 3, 3, 3, 4, 4]
    assert [code.codeword(s) for s in range(6)] == ["0", "100", "101", "110", "1110", "1111"]


@pytest.mark.parametrize("block", [1, 5, 1 << 15])
@pytest.mark.parametrize("kind", ["bell", "sparse", "long words", "65536 symbols", "one symbol"])
def test_long_rows_across_blocks_and_codewords_longer_than_a_look_up(kind, block):
    random = np.random.default_rng(0)
    row = {
        "bell": lambda: np.clip(np.rint(random.normal(127, 30, 20_000)), 0, 255),
        "sparse": lambda: np.where(random.random(20_000) < 0.95, 0, random.integers(0, 16, 20_000)),
        "long words": lambda: random.permutation(np.repeat(np.arange(18), 2 ** np.arange(18) // 8 + 1)),
        "65536 symbols": lambda: np.concatenate([np.arange(1 << 16), np.zeros(30_000), np.full(9999, 65535)]),
        "one symbol": lambda: np.full(20_000, 9),
    }[kind]()
    symbols = symbols_in(row)
    if block < 100:
        symbols = symbols[:3000] if kind != "65536 symbols" else symbols[60_000:68_000]
    counts = torch.bincount(symbols)
    code = build_code(counts)
    data = encode(symbols, code)
    assert len(data) == (optimal_bits(counts.tolist()) + 7) // 8
    with mock.patch.object(huffman_decoding, "BLOCK", block):
        assert torch.equal(decode(data, code, len(symbols)), symbols)


def test_counts_that_would_need_endless_codewords_get_a_limited_code():
    fibonacci = [1, 1]
    while len(fibonacci) < 80:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    code = build_code(torch.tensor(fibonacci))
    assert code.lengths.min() > 0 and code.lengths.max() <= LONGEST
    symbols = torch.arange(80).repeat(3)
    assert torch.equal(decode(encode(symbols, code), code, 240), symbols)
    assert build_code(torch.tensor(fibonacci[:50])).lengths.max() == 49  # as deep as the optimum asks for


def test_empty_and_single():
    none = build_code(torch.zeros(0, dtype=torch.int64))
    assert encode(torch.zeros(0, dtype=torch.int64), none) == b"" and decode(b"", none, 0).tolist() == []
    assert build_code(torch.zeros(4, dtype=torch.int64)).lengths.tolist() == [0, 0, 0, 0]
    one = build_code(torch.tensor([0, 0, 5]))
    assert one.lengths.tolist() == [0, 0, 1] and one.codeword(2) == "0" and one.codeword(0) == ""
    assert encode(torch.full((2, 5), 2), one) == bytes(2) and decode(bytes(2), one, 10).tolist() == [2] * 10


def test_symbols_of_any_shape_and_whole_kind():
    code = build_code(torch.tensor([3, 2, 1]))
    for dtype in (torch.uint8, torch.int32, torch.int64):
        symbols = torch.tensor([[0, 1], [2, 0]], dtype=dtype)
        assert decode(encode(symbols, code), code, 4).tolist() == [0, 1, 2, 0]


@QUICK
@given(rows.filter(len), st.data())
def test_truncated_or_changed_bytes_never_give_the_wrong_number_of_symbols(row, data):
    symbols = symbols_in(row)
    code = build_code(torch.bincount(symbols))
    stream = encode(symbols, code)
    with pytest.raises(CourseError):
        decode(stream[:-1], code, len(symbols))
    with pytest.raises(CourseError):
        decode(stream + b"\0", code, len(symbols))
    with pytest.raises(CourseError):
        decode(stream, code, len(symbols) + 8)
    at = data.draw(st.integers(0, len(stream) - 1))
    changed = stream[:at] + bytes([stream[at] ^ data.draw(st.integers(1, 255))]) + stream[at + 1 :]
    with contextlib.suppress(CourseError):
        assert len(decode(changed, code, len(symbols))) == len(symbols)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: build_code(torch.tensor([1.0, 2.0])), "whole numbers"),
        (lambda: build_code(torch.tensor([[1, 2]])), "a row"),
        (lambda: build_code([1, 2]), "a row"),
        (lambda: build_code(torch.tensor([1, -2])), "symbol 1 has -2"),
        (lambda: HuffmanCode(torch.tensor([1, 1, 1])), "1.5, and it must be at most 1"),
        (lambda: HuffmanCode(torch.tensor([-1])), "0 or more"),
        (lambda: HuffmanCode(torch.tensor([57, 1])), "57 bits"),
        (lambda: encode(torch.tensor([0, 3]), build_code(torch.tensor([1, 1]))), "knows the symbols 0..1"),
        (lambda: encode(torch.tensor([-1]), build_code(torch.tensor([1, 1]))), "-1..-1"),
        (lambda: encode(torch.tensor([0, 1]), build_code(torch.tensor([1, 0, 1]))), "Symbol 1 has no codeword"),
        (lambda: encode(torch.tensor([0.0]), build_code(torch.tensor([1, 1]))), "whole numbers"),
        (lambda: decode(b"a", build_code(torch.tensor([1, 1])), -1), "count must be"),
        (lambda: decode(b"a", build_code(torch.tensor([0, 0])), 3), "no codewords"),
        (lambda: decode(b"\xff", build_code(torch.tensor([4])), 8), "no codeword of this code"),
    ],
)
def test_what_cannot_be_coded_is_refused(call, message):
    with pytest.raises(CourseError, match=message):
        call()


# Rows of bits


@QUICK
@given(st.lists(st.integers(0, 64).flatmap(lambda n: st.tuples(st.integers(0, 2**n - 1), st.just(n))), max_size=200))
def test_bits_stand_one_after_the_other(pieces):
    text = "".join(f"{value:0{length}b}" if length else "" for value, length in pieces)
    expected = int(text.ljust(-(-len(text) // 8) * 8, "0") or "0", 2).to_bytes(-(-len(text) // 8), "big")
    values, lengths = (
        (np.array(list(column), dtype=np.uint64) for column in zip(*pieces, strict=True))
        if pieces
        else 2 * [np.zeros(0)]
    )
    assert pack_bits(values, lengths) == expected


@QUICK
@given(st.integers(0, 16).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 2**n - 1), max_size=50))))
def test_equal_widths_come_back(case):
    width, values = case
    data = pack_bits(np.array(values, dtype=np.uint64), np.full(len(values), width))
    assert unpack_bits(data, len(values), width).tolist() == values
    with pytest.raises(CourseError, match="bytes, not"):
        unpack_bits(data + b"a", len(values), width)


# Relative indices


@QUICK
@given(st.sets(st.integers(0, 3000)), st.integers(1, 16))
def test_positions_come_back_from_gaps_that_fit_their_bits(positions, bits):
    ascending = torch.tensor(sorted(positions), dtype=torch.int64)
    gaps, kept = relative_indices(ascending, bits)
    assert torch.equal(absolute_indices(gaps, kept), ascending)
    assert ((gaps >= 1) & (gaps <= 2**bits)).all() and (gaps[~kept] == 2**bits).all()
    assert int(kept.sum()) == len(positions) and (len(kept) == 0 or kept[-1])
    distances = np.diff(sorted(positions), prepend=-1)
    assert int((~kept).sum()) == sum((distances - 1) // 2**bits)


def test_the_papers_example_needs_one_filler():
    gaps, kept = relative_indices(torch.tensor([1, 4, 15]), bits=3)  # figure 2: 3 bits, a filler after a span of 8
    assert gaps.tolist() == [2, 3, 8, 3] and kept.tolist() == [True, True, False, True]
    assert relative_indices(torch.tensor([7, 15]), bits=3)[0].tolist() == [8, 8]  # a gap of exactly 8 needs none


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_indices(torch.tensor([1]), 0), "bits must be"),
        (lambda: relative_indices(torch.tensor([1]), 17), "1..16"),
        (lambda: relative_indices(torch.tensor([2, 2]), 3), "ascending"),
        (lambda: relative_indices(torch.tensor([-1, 2]), 3), "ascending"),
        (lambda: relative_indices(torch.tensor([1.0]), 3), "whole numbers"),
        (lambda: absolute_indices(torch.tensor([1, 2]), torch.tensor([True])), "2 gaps and 1"),
        (lambda: absolute_indices(torch.tensor([1]), torch.tensor([1])), "one bool"),
    ],
)
def test_indices_that_cannot_be_are_refused(call, message):
    with pytest.raises(CourseError, match=message):
        call()
