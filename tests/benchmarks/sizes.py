"""What one real network takes in a dozen formats: ResNet-18, 90 % sparse, its layers shared in 5 bits; random weights.

Every format gets the same pruned and shared weights. Some give them back exactly, some only nearly; ours must be the smallest of those
that give them back exactly.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from course_lib.quantization.deep_compression import pack, unpack
from course_lib.quantization.weight_sharing import share_weights
from tests.benchmarks.side_by_side import Row

try:
    from compression import zstd  # a part of Python from 3.14 on
except ImportError:
    from backports import zstd


def network(sparsity: float = 0.9, bits: int = 5) -> dict[str, Tensor]:
    """The parameters; each layer is pruned by magnitude and shared, biases and scales are rounded to half precision."""
    import torchvision

    torch.manual_seed(0)
    parameters = {name: p.detach().clone() for name, p in torchvision.models.resnet18().named_parameters()}
    for name, weight in parameters.items():
        if weight.dim() > 1:
            weight[weight.abs() <= weight.abs().flatten().kthvalue(round(sparsity * weight.numel())).values] = 0
            parameters[name] = share_weights({name: weight}, bits)[name].half().decode()
        else:
            parameters[name] = weight.half().float()
    return parameters


def sizes(parameters: dict[str, Tensor]) -> dict[str, tuple[int, bool]]:
    """Format -> (bytes, whether the weights come back exactly)."""
    flat = torch.cat([p.flatten() for p in parameters.values()]).numpy()
    n, kept = len(flat), int(np.count_nonzero(flat))
    rows = sum(p.shape[0] for p in parameters.values() if p.dim() > 1)
    raw, mask = flat.tobytes(), np.packbits(flat != 0).tobytes()
    values = flat[flat != 0]
    return {
        "float32": (4 * n, True),
        "float16": (2 * n, bool(np.array_equal(flat.astype(np.float16), flat))),
        "int8 per channel, float32 scales": (n + 4 * rows, False),
        "4 bits, a scale for 32 (GGUF Q4_0)": (n // 32 * 18, False),
        "float32, gzip -6": (len(gzip.compress(raw, 6)), True),
        "float32, bz2 -9": (len(bz2.compress(raw, 9)), True),
        "bit mask + float32": (len(mask) + 4 * kept, True),
        "bit mask + float16": (len(mask) + 2 * kept, bool(np.array_equal(values.astype(np.float16), values))),
        "bit mask + float16, lzma": (len(lzma.compress(mask + values.astype(np.float16).tobytes())), True),
        **by_zstd(mask + values.astype(np.float16).tobytes(), "bit mask + float16, zstd -19"),
        **by_zstd(codes_of(parameters), "one byte a code + codebooks, zstd -19"),
    }


def codes_of(parameters: dict[str, Tensor]) -> bytes:
    """The strongest start for a general compressor: a byte for each weight, zeros included."""
    found = b""
    for parameter in parameters.values():
        values, codes = parameter.unique(return_inverse=True)
        found += values.half().numpy().tobytes() + codes.to(torch.uint8).numpy().tobytes()
    return found


def by_zstd(raw: bytes, name: str) -> dict[str, tuple[int, bool]]:
    """One row of the table."""
    return {name: (len(zstd.compress(raw, 19)), True)}


def run() -> Iterator[Row]:
    """Our bytes beside each format's; a goal only where the weights come back exactly."""
    parameters = network()
    start = time.perf_counter()
    data = pack(parameters)
    packed = time.perf_counter()
    read = unpack(data)
    done = time.perf_counter()
    if any(not torch.equal(read[name], parameter) for name, parameter in parameters.items()):
        raise RuntimeError("the weights did not come back")
    for name, (size, is_exact) in sizes(parameters).items():
        what = f"ResNet-18, 90 % sparse: our file beside {name}"
        yield Row(
            what,
            len(data) / 1e6,
            "MB",
            size / 1e6,
            "exact" if is_exact else "not exact",
            goal=1.0 if is_exact else None,
        )
    yield Row("ResNet-18, 90 % sparse: writing our file", packed - start, "s")
    yield Row("ResNet-18, 90 % sparse: reading our file", done - packed, "s")
