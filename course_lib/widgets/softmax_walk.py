"""What the widget of lesson 16 draws: one head's scores, its running softmax, and what attention keeps and takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from course_lib.attention import attention, linear_attention, tiled_attention, window_mask, windowed_attention
from course_lib.attention.exact import causal_mask
from course_lib.errors import CourseError
from course_lib.measure import latency, saved_bytes

__all__ = ["State", "Walk", "checked", "measured"]

WINDOW, MOST = 64, 40  # of the texts that are measured; tokens that can be drawn


@dataclass(frozen=True)
class State:
    """The running softmax of one query: largest score, sum of exponentials, weighted values, last shrink factor."""

    largest: float
    total: float
    weighted: Tensor
    shrink: float = 1.0


class Walk:
    """One head's scores, and everything that is drawn of them.

    Args:
        q, k, v: as for `tile_walk`.
        names: of the tokens.
    """

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, names: tuple[str, ...]) -> None:
        self.q, self.k, self.v, self.names, self.n = q, k, v, names, len(q)
        mask = causal_mask(self.n, self.n)
        self.scores = (q @ k.T / math.sqrt(q.shape[1])).masked_fill(~mask, -math.inf)
        self.weights = self.scores.softmax(dim=1)
        self.exact = self.weights @ v

    def states(self, row: int, tile: int) -> list[State]:
        """After each tile, the state of the query at `row`; what lies in its future changes nothing."""
        states = [State(-math.inf, 0.0, torch.zeros(self.v.shape[1]))]
        for scores, values in zip(self.scores[row].split(tile), self.v.split(tile), strict=True):
            largest = max(states[-1].largest, scores.max().item())
            shrink = math.exp(states[-1].largest - largest)
            weights = (scores - largest).exp()
            total = shrink * states[-1].total + weights.sum().item()
            states.append(State(largest, total, shrink * states[-1].weighted + weights @ values, shrink))
        return states[1:]

    def surprise(self, tile: int) -> tuple[int, int]:
        """The query (from 1) and the tile (from 1, not the first) where a new maximum shrinks the sum the most."""
        found = [
            (state.shrink, row + 1, place + 2)
            for row in range(self.n)
            for place, state in enumerate(self.states(row, tile)[1:])
        ]
        return min(found)[1:] if found else (self.n, 1)

    def answer(self, kind: str, row: int, tile: int, place: int) -> Tensor:
        """What a kind of attention answers at `row`; with tiles, so far."""
        if kind == "tiled":
            state = self.states(row, tile)[place - 1]
            return state.weighted / state.total
        if kind == "windowed":
            return attention(self.q, self.k, self.v, mask=window_mask(self.n, tile))[row]
        return (linear_attention(self.q, self.k, self.v, causal=True) if kind == "linear" else self.exact)[row]

    def cells(self, kind: str, tile: int, place: int) -> tuple[Tensor, Tensor]:
        """Which scores are in memory now, and which were computed before, both (n, n)."""
        seen = causal_mask(self.n, self.n)
        if kind == "tiled":
            tile_of = torch.arange(self.n) // tile + 1  # of each key
            return seen & (tile_of == place), seen & (tile_of < place)
        live = {"exact": seen, "windowed": window_mask(self.n, tile), "linear": seen & False}[kind]
        return live, seen & False


@cache
def measured(kind: str, n: int, d: int) -> tuple[int, float]:
    """Bytes kept for backward, and median milliseconds, of one causal head of width d over n tokens."""
    q, k, v = (torch.randn(n, d, requires_grad=True) for _ in range(3))
    attend: Callable[[], Tensor] = {
        "exact": lambda: attention(q, k, v, causal=True),
        "tiled": lambda: tiled_attention(q, k, v, causal=True),
        "windowed": lambda: windowed_attention(q, k, v, window=WINDOW),
        "linear": lambda: linear_attention(q, k, v, causal=True),
    }[kind]
    kept = saved_bytes(attend)
    with torch.no_grad():
        return kept, latency(attend, runs=4, warmup=0).median_ms


def checked(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three without their history, or say what does not fit."""
    if q.dim() != 2 or q.shape != k.shape or v.dim() != 2 or len(v) != len(q) or not 4 <= len(q) <= MOST:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise CourseError(
            f"This picture needs q (n, d), k (n, d), v (n, e) of one head, n from 4 to {MOST}, but you passed {shapes}."
        )
    return q.detach(), k.detach(), v.detach()
