"""Reading what came out of a sandbox: sizes, names, kinds and counts are checked before any value is looked at."""

from __future__ import annotations

import json

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from course_lib.rubrics.verbs import Outcome
from course_lib.rubrics.wire import pack

TEXT_BYTES, TENSORS, DEPTH, MESSAGE = 2**20, 2000, 30, 600
DTYPES = {"BOOL", "U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64"}
FIELDS = {"value", "error", "message", "changed_inputs"}


class BadOutput(ValueError):
    """What a sandbox sent is not what was asked for."""


def cap_for(expected: object) -> int:
    """How many bytes a result may have: much more than the right one has, and no more than that."""
    return 2**22 + 4 * len(pack(expected))


def read_outcomes(data: bytes, count: int) -> list[Outcome]:
    """The outcomes of `count` calls.

    Raises:
        BadOutput: the bytes are anything else.

    >>> read_outcomes(pack([Outcome(1.5)]), 1)[0].value
    1.5
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 16 or length > min(TEXT_BYTES, len(data) - 16):
            raise BadOutput("its length is wrong")
        tensors = read_tensors(data[8 + length :])
        outcomes = value_of(json.loads(data[8 : 8 + length]), tensors, 0)
    except (ValueError, TypeError, KeyError, RecursionError, RuntimeError, SafetensorError, OverflowError) as error:
        raise BadOutput(str(error)[:MESSAGE]) from None
    if not isinstance(outcomes, list) or len(outcomes) != count:
        raise BadOutput(f"{count} results were asked for")
    if not all(isinstance(outcome, Outcome) for outcome in outcomes):
        raise BadOutput("a result is none")
    return outcomes


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors, after a look at how many and of what kind they are."""
    length = int.from_bytes(data[:8], "little")
    if length > min(TEXT_BYTES, len(data) - 8):
        raise BadOutput("the tensors' length is wrong")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    if len(header) > TENSORS:
        raise BadOutput(f"{len(header)} tensors")
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise BadOutput(f"tensor {name[:20]!r} is of an unknown kind")
    return load(data)


def value_of(folded: object, tensors: dict[str, Tensor], depth: int) -> object:
    """The way back from wire.fold, for results only: no networks and no functions."""
    if depth > DEPTH:
        raise BadOutput("it is nested too deep")
    match folded:
        case None | bool() | int() | float() | str():
            return folded
        case list():
            return [value_of(item, tensors, depth + 1) for item in folded]
        case {"tensor": str(name), **rest} if not rest:
            return tensors[name]
        case {"items": list(items), **rest} if not rest:
            pairs = [(value_of(key, tensors, depth + 1), value_of(item, tensors, depth + 1)) for key, item in items]
            return dict(pairs)
        case {"kind": "Outcome", "fields": fields, **rest} if not rest and depth == 1:
            return outcome_of(value_of(fields, tensors, depth + 1))
    raise BadOutput("it holds something that is no number, tensor, string, list or dictionary")


def outcome_of(fields: object) -> Outcome:
    """One outcome whose parts are of the right kinds."""
    if not isinstance(fields, dict) or set(fields) != FIELDS:
        raise BadOutput("a result has the wrong parts")
    error, message = fields["error"], fields["message"]
    if not (error is None or (isinstance(error, str) and error)) or not isinstance(message, str):
        raise BadOutput("an error is no text")
    if not isinstance(fields["changed_inputs"], bool):
        raise BadOutput("a flag is no flag")
    value = None if error else fields["value"]
    return Outcome(value, error and error[:60], message[:MESSAGE], fields["changed_inputs"])
