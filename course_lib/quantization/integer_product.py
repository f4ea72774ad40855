"""Products of int8 matrices, summed in int32: the one step that makes an integer network fast."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from course_lib.errors import CourseError

EXACT_IN_FLOAT32 = 1024  # so many products of 128 · 127 stay below 2^24, up to where float32 counts without gaps


def integer_matmul(a: Tensor, b: Tensor, *, a_zero_point: int = 0, b_zero_point: int = 0) -> Tensor:
    """Σ (a − a_zero_point) · (b − b_zero_point) over the inner dimension, exactly.

    The product is expanded, so that the costly sum is one of plain codes:
    Σ a·b − a_zero_point · Σ b − b_zero_point · Σ a + K · a_zero_point · b_zero_point.

    Args:
        a: codes, int8, (rows, K).
        b: codes, int8, (K, columns).
        a_zero_point, b_zero_point: −128..127.

    Returns:
        accumulators, int32, (rows, columns).

    Raises:
        CourseError: other types than int8, shapes that do not fit, or a K so large that int32 could overflow.

    >>> a, b = torch.tensor([[1, 2]], dtype=torch.int8), torch.tensor([[3], [4]], dtype=torch.int8)
    >>> integer_matmul(a, b), integer_matmul(a, b, a_zero_point=1, b_zero_point=1)
    (tensor([[11]], dtype=torch.int32), tensor([[3]], dtype=torch.int32))

    Jacob et al. 2018, equation 7. Lesson 09.
    """
    check_factors(a, b)
    sums = codes_matmul(a, b)
    if a_zero_point:
        sums = sums - a_zero_point * b.sum(dim=0, dtype=torch.int32)
    if b_zero_point:
        sums = sums - b_zero_point * a.sum(dim=1, keepdim=True, dtype=torch.int32)
    return sums + a.shape[1] * a_zero_point * b_zero_point


def check_factors(a: Tensor, b: Tensor) -> None:
    """Refuse what cannot be multiplied exactly."""
    if a.dtype != torch.int8 or b.dtype != torch.int8:
        raise CourseError(f"integer_matmul multiplies int8 codes, but you passed {a.dtype} and {b.dtype}.")
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        raise CourseError(
            f"Shapes (rows, K) and (K, columns) are needed, but you passed {tuple(a.shape)}, {tuple(b.shape)}."
        )
    if a.shape[1] * 255 * 255 >= 2**31:
        raise CourseError(f"A sum of {a.shape[1]:,} products can overflow 32 bits; at most 33,025 are safe.")


def codes_matmul(a: Tensor, b: Tensor) -> Tensor:
    """The sum of plain codes: torch's int8 product where this processor does it right, else float32 in exact pieces.

    On processors without dot-product instructions for int8, libraries have been wrong without a word: they add pairs of
    products in 16 bits, which saturate.
    """
    if int8_product_is_exact():
        return torch._int_mm(a, b)
    return split_matmul(a, b)


def split_matmul(a: Tensor, b: Tensor) -> Tensor:
    """The same in float32: pieces of 1,024 products, whose sums float32 still holds exactly."""
    total = torch.zeros(a.shape[0], b.shape[1], dtype=torch.int32)
    for k in range(0, a.shape[1], EXACT_IN_FLOAT32):
        piece = slice(k, k + EXACT_IN_FLOAT32)
        total += (a[:, piece].float() @ b[piece].float()).to(torch.int32)
    return total


@cache
def int8_product_is_exact() -> bool:
    """Does torch's int8 product survive the worst cases: the largest codes, of equal and of opposite signs?"""
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(-128, 128, (19, 259), generator=generator).to(torch.int8)
    b = torch.randint(-128, 128, (259, 23), generator=generator).to(torch.int8)
    a[:4], b[:, :2], b[:, 2:4] = torch.tensor([[-128], [127], [-128], [127]]), -128, 127
    try:
        return torch.equal(torch._int_mm(a, b), split_matmul(a, b))
    except (AttributeError, RuntimeError):
        return False
