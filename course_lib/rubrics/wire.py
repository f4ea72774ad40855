"""How inputs and results cross a process border: JSON for the structure, safetensors for the numbers. Never pickle."""

from __future__ import annotations

import json

from safetensors.torch import load, save
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.rubrics.verbs import BuiltIn, ModelSpec, Outcome

KINDS = {"ModelSpec": ModelSpec, "BuiltIn": BuiltIn, "Outcome": Outcome}


def pack(value: object) -> bytes:
    """The value as bytes: 8 bytes of length, JSON, safetensors.

    Raises:
        CourseError: the value holds something that is not a tensor, a number, a string, or a list or dictionary.

    >>> unpack(pack({"a": [1, 2.5, None]}))
    {'a': [1, 2.5, None]}
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(fold(value, tensors)).encode()
    return len(text).to_bytes(8, "little") + text + save(tensors)


def unpack(data: bytes) -> object:
    """The value that `pack` made these bytes from; tuples come back as lists."""
    length = int.from_bytes(data[:8], "little")
    return unfold(json.loads(data[8 : 8 + length]), load(data[8 + length :]))


def fold(value: object, tensors: dict[str, Tensor]) -> object:
    """Replace everything JSON does not know; tensors are moved to `tensors`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Tensor():
            tensors[str(len(tensors))] = value.detach().clone().contiguous()
            return {"tensor": str(len(tensors) - 1)}
        case list() | tuple():
            return [fold(item, tensors) for item in value]
        case dict():
            return {"items": [[fold(key, tensors), fold(item, tensors)] for key, item in value.items()]}
        case ModelSpec() | BuiltIn() | Outcome():
            return {"kind": type(value).__name__, "fields": fold(vars(value), tensors)}
    raise CourseError(
        f"A {type(value).__name__} cannot be handed in: return tensors, numbers, strings, or lists and dictionaries of them."
    )


def unfold(value: object, tensors: dict[str, Tensor]) -> object:
    """The way back."""
    if isinstance(value, list):
        return [unfold(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "kind" in value:
        return KINDS[value["kind"]](**unfold(value["fields"], tensors))
    return {unfold(key, tensors): unfold(item, tensors) for key, item in value["items"]}
