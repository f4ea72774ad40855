"""One tensor in the file, in the shortest of the forms that give it back exactly.

Values: as they are, or a codebook and codes. Zeros: as one more value, or left out and skipped by gaps, along rows or
along columns. Floats are stored in the narrowest kind that holds each of them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.quantization.byte_stream import Reader, Writer
from course_lib.quantization.relative_index import absolute_indices, with_fillers
from course_lib.quantization.symbol_stream import cheapest, read_symbols, write_symbols

DTYPES = (
    torch.float32, torch.float64, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip
FLOATS = ("<f2", "<f4", "<f8")
STAGES = ("pruned", "shared", "coded")  # what may be used: gaps; codebooks too; Huffman's code too
LARGEST_CODEBOOK = 1 << 16
GAP_BITS = range(1, 13)


@dataclass(frozen=True)
class Form:
    """How a float tensor is stored.

    Attributes:
        width: index into FLOATS, of the values or of the codebook.
        codes: codes and a codebook instead of values.
        gap_bits: 0 where zeros are stored like other values; else they are skipped by gaps of 1..2^bits - 1.
        columns: gaps run along the first dimension instead of the second.
    """

    width: int
    codes: bool
    gap_bits: int
    columns: bool


def write_tensor(writer: Writer, name: str, tensor: Tensor, stage: str) -> None:
    """Name, kind, shape, and the numbers."""
    if not isinstance(tensor, Tensor) or tensor.dtype not in DTYPES or tensor.layout != torch.strided:
        kind = f"{tensor.layout} {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise CourseError(f"{name!r} is {kind}, which the file cannot hold. It holds dense real tensors.")
    writer.text(name.encode())
    writer.number(DTYPES.index(tensor.dtype))
    writer.number(tensor.dim())
    for size in tensor.shape:
        writer.number(size)
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        write_floats(writer, name, tensor, stage)
    else:
        writer.head += tensor.contiguous().numpy().tobytes()


def write_floats(writer: Writer, name: str, tensor: Tensor, stage: str) -> None:
    """The shortest form, and the numbers in it."""
    array = tensor.numpy() if tensor.dtype == torch.float64 else tensor.float().numpy()
    if not np.isfinite(array).all():
        raise CourseError(
            f"{name!r} holds NaN or infinities: the training diverged, and there is nothing worth keeping."
        )
    array = array + array.dtype.type(0)  # -0.0 becomes 0.0
    form = shortest_form(array, stage)
    writer.number(form.width + 3 * (form.codes + 2 * (form.columns + 2 * form.gap_bits)))
    flat = array.swapaxes(0, 1).ravel() if form.columns else array.ravel()
    if form.gap_bits:
        positions = np.flatnonzero(flat)
        write_gaps(writer, positions, form.gap_bits, stage == "coded")
        flat = flat[positions]
    write_values(writer, flat, form, stage == "coded")


def write_gaps(writer: Writer, positions: np.ndarray, bits: int, huffman: bool) -> None:
    """The last of the 2^bits symbols is the filler, which skips 2^bits - 1 places and has no weight."""
    gaps, kept = with_fillers(torch.from_numpy(positions), reach=2**bits - 1)
    symbols = torch.where(kept, gaps - 1, 2**bits - 1).numpy()
    writer.number(len(symbols))
    write_symbols(writer, "index", symbols, 2**bits, huffman)


def write_values(writer: Writer, values: np.ndarray, form: Form, huffman: bool) -> None:
    """The numbers themselves, or the codebook and the codes."""
    if not form.codes:
        writer.block("values", values.astype(FLOATS[form.width]).tobytes())
        return
    codebook, codes = np.unique(values, return_inverse=True)
    writer.number(len(codebook))
    writer.block("codebook", codebook.astype(FLOATS[form.width]).tobytes())
    write_symbols(writer, "codes", codes.reshape(-1).astype(np.int64), len(codebook), huffman)


def shortest_form(array: np.ndarray, stage: str) -> Form:
    """Compare the forms by what their streams will take."""
    width, flat = narrowest(array), array.ravel()
    nonzero = flat[flat != 0]
    dense_size, dense_codes = values_size(flat, width, stage)
    sparse_size, sparse_codes = values_size(nonzero, width, stage)
    orders = [(array.ravel(), False), *([(array.swapaxes(0, 1).ravel(), True)] if array.ndim > 1 else [])]
    forms = [(dense_size, Form(width, dense_codes, 0, False))]
    for ordered, columns in orders if len(nonzero) < len(flat) else []:
        index_size, bits = gap_bits_for(ordered, stage == "coded")
        forms.append((sparse_size + index_size, Form(width, sparse_codes, bits, columns)))
    return min(forms, key=lambda form: form[0])[1]


def narrowest(array: np.ndarray) -> int:
    """The first of FLOATS that holds every number exactly."""
    with np.errstate(over="ignore", under="ignore"):
        return next(width for width, kind in enumerate(FLOATS) if np.array_equal(array.astype(kind), array))


def values_size(values: np.ndarray, width: int, stage: str) -> tuple[int, bool]:
    """Bytes the numbers take, and whether with a codebook."""
    plain = len(values) * 2 ** (width + 1)
    if stage == "pruned" or len(values) == 0:
        return plain, False
    codebook, counts = np.unique(values, return_counts=True)
    if len(codebook) > LARGEST_CODEBOOK:
        return plain, False
    coded = len(codebook) * 2 ** (width + 1) + cheapest(counts, stage == "coded")[0]
    return min((plain, False), (coded, True))


def gap_bits_for(flat: np.ndarray, huffman: bool) -> tuple[int, int]:
    """Bytes the gaps take, and the bits of a gap that make them fewest."""
    distances, times = np.unique(np.diff(np.flatnonzero(flat), prepend=-1) - 1, return_counts=True)
    return min((cheapest(gap_counts(distances, times, bits), huffman)[0], bits) for bits in GAP_BITS)


def gap_counts(distances: np.ndarray, times: np.ndarray, bits: int) -> np.ndarray:
    """How often each of the 2^bits symbols occurs, when a distance (from 0) occurs so many times."""
    reach = 2**bits - 1
    counts = np.bincount(distances % reach, weights=times, minlength=reach + 1).astype(np.int64)
    counts[reach] = int((distances // reach * times).sum())
    return counts


def read_tensor(reader: Reader) -> tuple[str, Tensor]:
    """Name and tensor."""
    name, dtype = reader.text().decode(), DTYPES[reader.number()]
    shape = [reader.number() for _ in range(reader.number())]
    reader.make_room(prod(shape))
    if dtype.is_floating_point:
        return name, read_floats(reader, shape).to(dtype)
    empty = torch.empty(0, dtype=dtype)
    array = np.frombuffer(reader.take(prod(shape) * empty.element_size()), empty.numpy().dtype)
    return name, torch.from_numpy(array.reshape(shape).copy())


def read_floats(reader: Reader, shape: list[int]) -> Tensor:
    """The numbers, in the narrowest of numpy's kinds that held them."""
    rest, width = divmod(reader.number(), 3)
    form = Form(width, bool(rest & 1), rest >> 2, bool(rest & 2))
    stored = [shape[1], shape[0], *shape[2:]] if form.columns else shape
    if form.gap_bits:
        positions = read_gaps(reader, form.gap_bits, most=prod(shape))
        if len(positions) and positions[-1] >= prod(shape):
            raise CourseError("The file has a weight outside its layer: it was not written by deep_compression.save.")
        flat = np.zeros(prod(shape), FLOATS[width])
        flat[positions] = read_values(reader, len(positions), form)
    else:
        flat = read_values(reader, prod(shape), form)
    array = flat.reshape(stored)
    return torch.from_numpy(np.ascontiguousarray(array.swapaxes(0, 1)) if form.columns else array)


def read_gaps(reader: Reader, bits: int, most: int) -> np.ndarray:
    """Where the stored weights stand, ascending; every symbol moves on by a place at least, so `most` are enough."""
    n_symbols = reader.number()
    if n_symbols > most:
        raise CourseError("The file skips more places than its layer has: it was not written by deep_compression.save.")
    symbols = torch.from_numpy(read_symbols(reader, n_symbols, 2**bits))
    kept = symbols < 2**bits - 1
    return absolute_indices(torch.where(kept, symbols + 1, symbols), kept).numpy()


def read_values(reader: Reader, count: int, form: Form) -> np.ndarray:
    """The numbers in the order they are stored in, (count,)."""
    kind = np.dtype(FLOATS[form.width])
    if not form.codes:
        return np.frombuffer(reader.block(count * kind.itemsize), kind).copy()
    size = reader.number()
    codebook = np.frombuffer(reader.block(size * kind.itemsize), kind)
    return codebook[read_symbols(reader, count, size)]
