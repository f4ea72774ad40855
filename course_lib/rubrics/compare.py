"""Are two results the same, and if not, where do they part?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.rubrics.verbs import BuiltIn, ModelSpec


def difference(expected: object, got: object, *, rtol: float, atol: float) -> str | None:
    """None where `got` equals `expected`, else a sentence that says where and how they differ.

    Kinds, names, shapes and dtypes are compared before values; ints and floats of the same value are equal.

    >>> difference([1.0, 2.0], [1.0, 3.0], rtol=1e-4, atol=1e-6)
    'at position 1: expected 2, got 3'
    """
    match expected:
        case Tensor():
            return tensor_difference(expected, got, rtol, atol)
        case bool() | None | str():
            return None if got is expected or got == expected else f"expected {expected!r}, got {shown(got)}"
        case int() | float():
            return number_difference(expected, got, rtol, atol)
        case list() | tuple():
            return list_difference(expected, got, rtol, atol)
        case dict():
            return dict_difference(expected, got, rtol, atol)
    return f"expected {expected!r}, got {shown(got)}"


def number_difference(expected: float, got: object, rtol: float, atol: float) -> str | None:
    """Numbers, also as tensors of one element."""
    if isinstance(got, Tensor) and got.numel() == 1:
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, (int, float)):
        return f"expected the number {expected:.6g}, got {shown(got)}"
    if math.isclose(expected, got, rel_tol=rtol, abs_tol=atol) or (math.isnan(expected) and math.isnan(got)):
        return None
    return f"expected {expected:.6g}, got {got:.6g}"


def tensor_difference(expected: Tensor, got: object, rtol: float, atol: float) -> str | None:
    """Tensors: shape, then kind of number, then values."""
    if not isinstance(got, Tensor):
        return f"expected a tensor of shape {tuple(expected.shape)}, got {shown(got)}"
    if got.shape != expected.shape:
        return f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
    if (got.dtype == torch.bool) != (expected.dtype == torch.bool):
        return f"expected a tensor of {expected.dtype}, got one of {got.dtype}"
    close = torch.isclose(got.double(), expected.double(), rtol=rtol, atol=atol, equal_nan=True)
    if bool(close.all()):
        return None
    where = tuple((~close).nonzero()[0].tolist())
    wrong = int((~close).sum())
    place = f"at {list(where)}: " if where else ""
    return (
        f"{place}expected {shown(expected[where])}, got {shown(got[where])} ({wrong} of {close.numel()} values differ)"
    )


def list_difference(expected: list | tuple, got: object, rtol: float, atol: float) -> str | None:
    """Lists and tuples, element by element."""
    if not isinstance(got, (list, tuple)):
        return f"expected {len(expected)} values, got {shown(got)}"
    if len(got) != len(expected):
        return f"expected {len(expected)} values, got {len(got)}"
    for place, (one, other) in enumerate(zip(expected, got, strict=True)):
        found = difference(one, other, rtol=rtol, atol=atol)
        if found:
            return f"at position {place}: {found}"
    return None


def dict_difference(expected: dict, got: object, rtol: float, atol: float) -> str | None:
    """Dictionaries: the same names, then name by name."""
    if not isinstance(got, dict):
        return f"expected a dictionary with {', '.join(map(repr, expected))}, got {shown(got)}"
    if got.keys() != expected.keys():
        missing, extra = sorted(map(str, expected.keys() - got.keys())), sorted(map(str, got.keys() - expected.keys()))
        return "; ".join(
            [f"missing: {', '.join(missing)}"] * bool(missing) + [f"not expected: {', '.join(extra)}"] * bool(extra)
        )
    for name, one in expected.items():
        found = difference(one, got[name], rtol=rtol, atol=atol)
        if found:
            return f"{name!r}: {found}"
    return None


def shown(value: object) -> str:
    """A value in few characters."""
    if isinstance(value, Tensor):
        if value.numel() == 1:
            return f"{value.item():.6g}" if value.dtype != torch.bool else str(bool(value))
        if value.numel() <= 24:
            return str(
                value.tolist() if value.dtype == torch.bool else torch.round(value.double(), decimals=4).tolist()
            )
        return f"a tensor of shape {tuple(value.shape)}"
    match value:
        case None:
            text = "nothing (None); perhaps a `return` is missing"
        case ModelSpec(factory, keywords):
            text = f"a network, {factory}({', '.join(f'{name}={item}' for name, item in keywords.items())})"
        case BuiltIn(name):
            text = f"a function, {name}"
        case dict():
            text = "{" + ", ".join(f"{key!r}: {shown(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            text = "[" + ", ".join(map(shown, value)) + "]"
        case _:
            text = repr(value)
    return text if len(text) <= 300 else text[:300] + " …"
