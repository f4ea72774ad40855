"""A quantized network as one file: codes packed to their bits, grids, and what stayed float.

The file is safetensors, a header of names, types and places followed by the raw bytes; its length is the size that the
course reports. Reading it back gives the same codes and the same grids, so the same predictions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_lib.errors import CourseError
from course_lib.quantization import bits as bit_strings
from course_lib.quantization.post_training import QuantizedTensor, load_weights_
from course_lib.quantization.uniform import QParams

FORMAT = "small-nets uniform 1"


def pack_bits(codes: Tensor, bits: int) -> Tensor:
    """Whole numbers 0 … 2^bits − 1, one after the other without gaps.

    Args:
        codes: any shape, integers in that range.
        bits: 1..16 for each number.

    Returns:
        ⌈n · bits / 8⌉ bytes, uint8; the most significant bit of each number first.

    Raises:
        CourseError: a number that does not fit.

    >>> pack_bits(torch.tensor([1, 2, 3]), bits=2)
    tensor([108], dtype=torch.uint8)

    Lesson 08.
    """
    numbers = codes.flatten().to(torch.int32).numpy()
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**bits:
        raise CourseError(
            f"{bits} bits hold 0 to {2**bits - 1}, but the codes go from {numbers.min()} to {numbers.max()}."
        )
    packed = bit_strings.pack_bits(numbers, np.full(len(numbers), bits)) if len(numbers) else b""
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8) if packed else torch.empty(0, dtype=torch.uint8)


def unpack_bits(packed: Tensor, bits: int, count: int) -> Tensor:
    """The `count` numbers that `pack_bits` put into these bytes, int32.

    >>> unpack_bits(torch.tensor([108], dtype=torch.uint8), bits=2, count=3)
    tensor([1, 2, 3], dtype=torch.int32)

    Lesson 08.
    """
    return torch.from_numpy(bit_strings.unpack_bits(packed.numpy().tobytes(), count, bits)).to(torch.int32)


def save_quantized(path: str | Path, model: nn.Module, quantized: Mapping[str, QuantizedTensor]) -> int:
    """Write a network whose weights are codes, and return the length of the file in bytes.

    Everything of the model's state that has no codes (biases, batch norm) is written as it is.

    Args:
        path: the file; it is replaced.
        model: the network whose weights were quantized.
        quantized: what `quantize_weights(model, …)` returned.

    Raises:
        CourseError: codes for a parameter that the model does not have.

    >>> import tempfile
    >>> from course_lib.quantization.post_training import quantize_weights
    >>> net = nn.Linear(100, 100)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     n_bytes = save_quantized(Path(folder) / "net", net, quantize_weights(net, bits=4, per_channel=False))
    >>> 5400 < n_bytes < 6000  # 10,000 codes of half a byte, 100 biases of 4 bytes, the header
    True

    Lesson 08.
    """
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if unknown := quantized.keys() - state.keys():
        raise CourseError(f"The model has no {', '.join(sorted(unknown))}; pass the model that was quantized.")
    tensors = {name: tensor for name, tensor in state.items() if name not in quantized}
    about = {}
    for name, tensor in quantized.items():
        grid = tensor.qparams
        tensors[f"{name}:codes"] = pack_bits(tensor.codes.to(torch.int32) - grid.lowest, grid.bits)
        tensors[f"{name}:scale"] = grid.scale
        if not grid.symmetric:
            tensors[f"{name}:zero_point"] = grid.zero_point
        about[name] = [grid.bits, grid.symmetric, grid.axis, list(tensor.codes.shape)]
    save_file(tensors, path, metadata={"format": FORMAT, "grids": json.dumps(about, separators=(",", ":"))})
    return Path(path).stat().st_size


def load_quantized(path: str | Path, model: nn.Module) -> nn.Module:
    """Fill a network of the same architecture from a file of `save_quantized`; it then predicts what the file's does.

    Raises:
        CourseError: the file is missing, damaged or of another kind, or belongs to another architecture; the model is
            then as it was.

    >>> import tempfile
    >>> from course_lib.quantization.post_training import quantize_weights
    >>> net, weights = nn.Linear(4, 3), quantize_weights(nn.Linear(4, 3), bits=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_quantized(Path(folder) / "net", net, weights)
    ...     again = load_quantized(Path(folder) / "net", nn.Linear(4, 3))
    >>> torch.equal(again.weight, weights["weight"].dequantize())
    True

    Lesson 08.
    """
    quantized, rest = read_quantized(path)
    state = rest | {name: tensor.dequantize() for name, tensor in quantized.items()}
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != expected:
        raise CourseError(f"{path} holds another architecture than the {type(model).__name__} you passed.")
    model.load_state_dict(state)
    return load_weights_(model, quantized)


def read_quantized(path: str | Path) -> tuple[dict[str, QuantizedTensor], dict[str, Tensor]]:
    """The codes with their grids, and the tensors that stayed float."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
        if about.get("format") != FORMAT:
            raise CourseError(f"{path} is not a file of save_quantized.")
        grids = json.loads(about["grids"])
        return {name: unpacked(tensors, name, *grid) for name, grid in grids.items()}, {
            name: tensor for name, tensor in tensors.items() if ":" not in name
        }
    except FileNotFoundError:
        raise CourseError(f"There is no file {path}. Check the path, or write it first with save_quantized.") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as problem:
        if isinstance(problem, CourseError):
            raise
        raise CourseError(f"{path} is damaged or not a file of save_quantized: {problem}") from problem


def unpacked(tensors: Mapping[str, Tensor], name: str, bits: int, symmetric: bool, axis: int | None, shape: list[int]):
    """One tensor's codes and grid."""
    scale = tensors[f"{name}:scale"]
    zero_point = torch.zeros_like(scale, dtype=torch.int32) if symmetric else tensors[f"{name}:zero_point"]
    grid = QParams(scale, zero_point, bits, symmetric, axis)
    count = int(np.prod(shape))
    codes = unpack_bits(tensors[f"{name}:codes"], bits, count) + grid.lowest
    return QuantizedTensor(codes.view(shape).to(grid.dtype), grid)
