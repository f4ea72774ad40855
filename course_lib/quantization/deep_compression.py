"""Deep Compression's file: pruned, shared, coded; its length is the size.

The numbers come back bit by bit (but for the sign of a zero), so the predictions are the same. Nothing in the file
is executed when it is read, and nothing of a damaged file is used.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_choice
from course_lib.quantization.byte_stream import MOST_NUMBERS, Reader, Writer, require_intact
from course_lib.quantization.packed_tensor import STAGES, read_tensor, write_tensor


def save(path: str | Path, model: nn.Module | Mapping[str, Tensor], *, stage: str = "coded") -> int:
    """Write the tensors to one file, as small as they allow, and return its length in bytes.

    A layer with many zeros is stored as gaps and values, one with few distinct values as a codebook and codes, and both
    in Huffman's code: so prune first, then share. What is neither is stored as it is. Codebooks and values
    take 4 bytes each, or 2 if half precision holds them all exactly (`Codebook.half`).

    Args:
        path: the file; an older one is replaced once the new one is complete.
        model: a network, or parameter name -> tensor.
        stage: what may be used: "pruned", gaps in equal bits; "shared", codebooks too; "coded", Huffman's code too.

    Raises:
        CourseError: a tensor with NaN or infinities, or of a kind that the file cannot hold.

    >>> import tempfile
    >>> tensors = {"w": torch.tensor([0.0, 0.5, 0.0, -0.5]).repeat(1000)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = save(f"{folder}/net.sndc", tensors)
    ...     size == Path(f"{folder}/net.sndc").stat().st_size, torch.equal(load(f"{folder}/net.sndc")["w"], tensors["w"])
    (True, True)

    Han, Mao & Dally 2016. Lesson 11.
    """
    data = pack(model, stage=stage)
    unfinished = Path(f"{path}.unfinished")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)
    return len(data)


def load(path: str | Path, *, most_numbers: int = MOST_NUMBERS) -> dict[str, Tensor]:
    """Read back what `save` wrote: parameter name -> tensor, for `model.load_state_dict`.

    Args:
        path: the file.
        most_numbers: how many numbers all tensors together may have; lower it for files of people you do not know.

    Raises:
        CourseError: there is no such file, or it is cut off, changed, of another kind, or announces too much.

    >>> load("no such file")
    Traceback (most recent call last):
    ...
    course_lib.errors.CourseError: There is no file 'no such file'.

    Han, Mao & Dally 2016. Lesson 11.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        reason = "There is no file" if isinstance(error, FileNotFoundError) else "This file cannot be read:"
        raise CourseError(f"{reason} {str(path)!r}.") from None
    return unpack(data, most_numbers=most_numbers)


def pack(model: nn.Module | Mapping[str, Tensor], *, stage: str = "coded") -> bytes:
    """The file as bytes; arguments and errors as for `save`.

    >>> len(pack({"w": torch.zeros(1000, 1000)})) < 30
    True

    Lesson 11.
    """
    return written(tensors_of(model), stage).sealed()


def tensors_of(model: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Name -> tensor."""
    if isinstance(model, nn.Module):
        return model.state_dict()
    if isinstance(model, Mapping) and all(isinstance(name, str) for name in model):
        return model
    raise CourseError(f"Pass a network or a dictionary name -> tensor, not {type(model).__name__}.")


def written(tensors: Mapping[str, Tensor], stage: str) -> Writer:
    """All tensors, one after the other."""
    require_choice("stage", stage, STAGES)
    writer = Writer()
    writer.number(len(tensors))
    for name, tensor in tensors.items():
        write_tensor(writer, name, tensor, stage)
    return writer


def unpack(data: bytes, *, most_numbers: int = MOST_NUMBERS) -> dict[str, Tensor]:
    """Tensors from the bytes of a file; arguments and errors as for `load`.

    >>> unpack(pack({"w": torch.tensor([0.0, 2.0])}))
    {'w': tensor([0., 2.])}

    Lesson 11.
    """
    require_intact(data)
    try:
        reader = Reader.opened(data, most_numbers)
        tensors = dict(read_tensor(reader) for _ in range(reader.number()))
        reader.close()
    except (ValueError, IndexError, OverflowError, MemoryError, RuntimeError, zlib.error) as error:
        raise CourseError(f"The checksum is right, but the file cannot be used: {error}") from None
    return tensors


@dataclass(frozen=True)
class LayerSize:
    """A row of the paper's table; P+Q is the stage "shared", P+Q+H the stage "coded".

    Attributes:
        name: of the tensor; "header" for names, shapes and code lengths; "total" for the file.
        weights: how many numbers.
        kept: the fraction that is not zero, 0..1.
        weight_bits: bits for each number kept, (P+Q, P+Q+H), without codebooks.
        index_bits: bits of gaps and fillers for each number kept, (P+Q, P+Q+H).
        sizes_bytes: codebooks, codes and gaps, (P+Q, P+Q+H).
    """

    name: str
    weights: int
    kept: float
    weight_bits: tuple[float, float]
    index_bits: tuple[float, float]
    sizes_bytes: tuple[int, int]

    @property
    def fractions(self) -> tuple[float, float]:
        """Of the size in float32, (P+Q, P+Q+H)."""
        return tuple(size / (4 * max(self.weights, 1)) for size in self.sizes_bytes)


def layer_sizes(model: nn.Module | Mapping[str, Tensor]) -> list[LayerSize]:
    """The table of the paper: for each tensor what it takes in the file, then the header, then the total.

    The sizes are those of the streams in the files that `save` writes at both stages, and the total is the files' length.

    Raises:
        CourseError: as for `save`.

    >>> weights, header, total = layer_sizes({"w": torch.tensor([0.0, 1.0, 2.0, 2.0])})
    >>> weights.kept, weights.sizes_bytes[1] + header.sizes_bytes[1] == total.sizes_bytes[1]
    (0.75, True)

    Han, Mao & Dally 2016, tables 2 to 5. Lesson 11.
    """
    tensors = tensors_of(model)
    rows = [layer_size(name, {name: tensor}) for name, tensor in tensors.items()]
    totals = [len(pack(tensors, stage=stage)) for stage in STAGES[1:]]
    headers = tuple(total - sum(row.sizes_bytes[at] for row in rows) for at, total in enumerate(totals))
    whole = layer_size("total", tensors)
    return [
        *rows,
        LayerSize("header", 0, 0.0, (0.0, 0.0), (0.0, 0.0), headers),
        LayerSize("total", whole.weights, whole.kept, whole.weight_bits, whole.index_bits, tuple(totals)),
    ]


def layer_size(name: str, tensors: Mapping[str, Tensor]) -> LayerSize:
    """The row of these tensors together, without the header."""
    weights = sum(tensor.numel() for tensor in tensors.values())
    kept = sum(int(torch.count_nonzero(tensor)) for tensor in tensors.values())
    bodies = [written(tensors, stage).body for stage in STAGES[1:]]

    def bits(*kinds: str) -> tuple[float, float]:
        return tuple(8 * sum(len(data) for what, data in body if what in kinds) / max(kept, 1) for body in bodies)

    sizes = tuple(sum(len(data) for _, data in body) for body in bodies)
    return LayerSize(name, weights, kept / max(weights, 1), bits("codes", "values"), bits("index"), sizes)


def stage_bytes(model: nn.Module | Mapping[str, Tensor]) -> dict[str, int]:
    """Stage -> length of the file: float32 as it is, pruned, shared, coded.

    Each stage stores the same tensors; what has not been pruned or shared is not made so.

    >>> sizes = stage_bytes({"w": torch.tensor([0.0, 0.0, 0.1, 0.2]).repeat(100)})
    >>> sizes["float32"], sizes["float32"] > sizes["pruned"] > sizes["shared"] > sizes["coded"]
    (1600, True)

    Han, Mao & Dally 2016, figure 1. Lesson 11.
    """
    plain = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(model).values())
    return {"float32": plain, **{stage: len(pack(model, stage=stage)) for stage in STAGES}}
