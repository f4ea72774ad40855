"""Tiled attention beside exact attention and torch's kernels, and what one more token costs with a cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_lib.attention import KeyValueCache, QuantizedCache, attention, linear_attention, tiled_attention
from course_lib.attention import windowed_attention as windowed
from course_lib.measure import peak_bytes, saved_bytes
from course_lib.models import Transformer
from tests.benchmarks.side_by_side import Row, medians

N, WIDTH, WINDOW = 4096, 32, 64
LAST = 1024  # tokens in the longest cache


def run(repetitions: int = 7) -> Iterator[Row]:
    """One head over 4,096 tokens; then a transformer that writes."""
    torch.manual_seed(0)
    yield from one_head(repetitions)
    yield from training_step(repetitions)
    for name, new_cache in {"whole": KeyValueCache, "int8": QuantizedCache}.items():
        yield next_token(name, new_cache, repetitions)


def one_head(repetitions: int) -> Iterator[Row]:
    """Bytes kept for backward, and the forward pass."""
    q, k, v = (torch.randn(1, 1, N, WIDTH, requires_grad=True) for _ in range(3))
    kept = {way.__name__: saved_bytes(lambda way=way: way(q, k, v)) for way in (attention, tiled_attention)}
    what = "tiled attention, 4,096 tokens"
    yield Row(f"{what}: kept", kept["tiled_attention"] / 2**20, "MiB", kept["attention"] / 2**20, "exact", goal=0.05)
    with torch.no_grad():
        works = {
            "tiled": lambda: tiled_attention(q, k, v),
            "windowed": lambda: windowed(q, k, v, window=WINDOW),
            "linear": lambda: linear_attention(q, k, v),
            "exact": lambda: attention(q, k, v),
            "math": lambda: by_torch(SDPBackend.MATH, q, k, v),
            "flash": lambda: by_torch(SDPBackend.FLASH_ATTENTION, q, k, v),
        }
        peaks = {name: peak_bytes(works[name]) / 2**20 for name in ("tiled", "exact")}
        ms = {name: 1e3 * seconds for name, seconds in medians(works, repetitions=repetitions).items()}
    yield Row(f"{what}: peak", peaks["tiled"], "MiB", peaks["exact"], "exact", goal=0.1)
    yield Row(f"{what}: forward", ms["tiled"], "ms", ms["math"], "torch's math path", goal=3.0)
    yield Row(f"{what}: forward, fused", ms["tiled"], "ms", ms["flash"], "torch's tiled kernel")
    yield Row("windowed attention, 4,096 tokens: forward", ms["windowed"], "ms", ms["exact"], "exact", goal=0.2)
    yield Row("linear attention, 4,096 tokens: forward", ms["linear"], "ms", ms["exact"], "exact", goal=0.05)


def by_torch(backend: SDPBackend, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Torch's attention with one kernel."""
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v)


def training_step(repetitions: int) -> Iterator[Row]:
    """Forward and backward: tiles are computed twice."""
    q, k, v = (torch.randn(1, 1, N, WIDTH, requires_grad=True) for _ in range(3))
    steps = {
        "tiled": lambda: tiled_attention(q, k, v).sum().backward(),
        "math": lambda: by_torch(SDPBackend.MATH, q, k, v).sum().backward(),
    }
    ms = {name: 1e3 * seconds for name, seconds in medians(steps, repetitions=repetitions).items()}
    yield Row("tiled attention: forward + backward", ms["tiled"], "ms", ms["math"], "torch's math path", goal=3.0)


def next_token(name: str, new_cache: type[KeyValueCache], repetitions: int) -> Row:
    """The time of one token after 1,024 others, beside that after 64."""
    model = Transformer(11, width=64, heads=4, layers=2, longest=LAST + 20 * repetitions)
    steps = {}
    with torch.no_grad():
        for n in (64, LAST):
            caches = [new_cache() for _ in model.blocks]
            model(torch.zeros(1, n, dtype=torch.int64), caches)
            steps[n] = lambda caches=caches: model(torch.zeros(1, 1, dtype=torch.int64), caches)
        ms = {n: 1e3 * seconds for n, seconds in medians(steps, repetitions=10 * repetitions, warmup=3).items()}
    return Row(f"next token, {name} cache, after 1,024", ms[LAST], "ms", ms[64], "after 64", goal=2.0)
