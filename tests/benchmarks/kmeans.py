"""K-means on a million weights, beside scikit-learn, and beside ckwrap (the optimum) where it is installed.

ckwrap is no dependency of the course: `uv pip install ckwrap` brings it for one run. With 256 clusters it needs 4 GB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans

from course_lib.quantization.kmeans import kmeans_1d
from tests.benchmarks.side_by_side import Row, medians

TOLERANCE = 1e-4  # scikit-learn's own


def weights(n: int = 1_000_000) -> torch.Tensor:
    """Four bells, 0.01 to 0.1 wide, as layers of one network are."""
    random = np.random.default_rng(0)
    bells = np.concatenate([random.normal(0, width, n // 4) for width in (0.01, 0.03, 0.06, 0.1)])
    return torch.from_numpy(random.permutation(bells).astype(np.float32))


def run(repetitions: int = 3) -> Iterator[Row]:
    """Time and inertia: from the same start, from a good start, and beside the optimum."""
    x = weights()
    yield from same_start(x, repetitions)
    for k, starts in {16: {"cube_root": 1.0001}, 256: {"cube_root": 1.06, "coarse": 1.025}}.items():
        yield from beside_mini_batches(x, k, next(iter(starts)), repetitions if k == 16 else 1)
        yield from beside_the_optimum(x, k, starts)


def same_start(x: torch.Tensor, repetitions: int, k: int = 16) -> Iterator[Row]:
    """Evenly spaced centroids and the same tolerance."""
    first = np.linspace(x.min(), x.max(), k)[:, None]
    theirs = KMeans(k, init=first, n_init=1, tol=TOLERANCE, algorithm="lloyd")
    calls = {
        "ours": lambda: kmeans_1d(x, k, tolerance=TOLERANCE, max_iterations=300),
        "theirs": lambda: theirs.fit(x[:, None].numpy()),
    }
    seconds = medians(calls, repetitions=repetitions)
    what, name = f"k-means, 1 million weights, {k} clusters, linear start", "sklearn KMeans"
    yield Row(what, 1000 * seconds["ours"], "ms", 1000 * seconds["theirs"], name, goal=1 / 8)
    yield Row(f"{what}: inertia", calls["ours"]().inertia(x), "", sklearn_inertia(theirs, x), name, goal=1.0001)


def beside_mini_batches(x: torch.Tensor, k: int, init: str, repetitions: int) -> Iterator[Row]:
    """Scikit-learn's fast way."""
    theirs = MiniBatchKMeans(k, n_init=1, random_state=0)
    calls = {"ours": lambda: kmeans_1d(x, k, init=init), "theirs": lambda: theirs.fit(x[:, None].numpy())}
    seconds = medians(calls, repetitions=repetitions)
    what, name = f"k-means, 1 million weights, {k} clusters, {init} start", "MiniBatchKMeans"
    yield Row(f"{what}, beside mini-batches", 1000 * seconds["ours"], "ms", 1000 * seconds["theirs"], name, goal=1.0)
    inertia = calls["ours"]().inertia(x)
    yield Row(f"{what}, beside mini-batches: inertia", inertia, "", sklearn_inertia(theirs, x), name, goal=1.0)


def beside_the_optimum(x: torch.Tensor, k: int, starts: dict[str, float]) -> Iterator[Row]:
    """The optimal library, which takes half a minute, so it runs once; `starts`: start -> inertia / optimum to stay under."""
    try:
        import ckwrap
    except ImportError:
        return
    values = x.double().numpy()
    start = time.perf_counter()
    best = ckwrap.ckmeans(values, k)
    peer_seconds = time.perf_counter() - start
    optimum = float(((values - best.centers[best.labels]) ** 2).sum())
    calls = {init: lambda init=init: kmeans_1d(x, k, init=init) for init in starts}
    seconds = medians(calls, repetitions=5)
    for init, within in starts.items():
        what = f"k-means, 1 million weights, {k} clusters, {init} start, beside the optimum"
        yield Row(what, seconds[init], "s", peer_seconds, "ckwrap", goal=1 / 8 if k == 16 else 1 / 30)
        yield Row(f"{what}: inertia", calls[init]().inertia(x), "", optimum, "ckwrap", goal=within)


def sklearn_inertia(fitted: KMeans | MiniBatchKMeans, x: torch.Tensor) -> float:
    """Σ (x - its centroid)² of a fitted model, added up in float64 as ours is."""
    centroids = np.sort(fitted.cluster_centers_[:, 0].astype(np.float64))
    values = x.double().numpy()
    return float(((values - centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]) ** 2).sum())
