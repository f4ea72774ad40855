"""K-means in one dimension: k values in place of n weights.

On a line, a cluster is a run of neighbours. So with the numbers sorted once, assigning them to the nearest of k centroids
means finding k - 1 borders by binary search, and the mean of a run is a difference of two prefix sums: an iteration
costs k searches instead of n distances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.errors import CourseError, require_choice, require_positive
from course_lib.quantization.optimal_kmeans import Runs, optimal_borders

INITS = ("linear", "density", "random", "cube_root", "coarse")
COARSE_BINS = 1024
PER_BIN = 1000  # numbers that a bin should hold, so that its density is no accident


@dataclass(frozen=True)
class Codebook:
    """A few shared values, and for every weight which of them it takes.

    Attributes:
        centroids: (k,), ascending where k-means made them; float32, or float64 for float64 weights.
        codes: the weights' shape, int64, 0..k-1; -1 marks a pruned weight, which is zero.

    >>> Codebook(torch.tensor([-1.0, 2.0]), torch.tensor([[0, 1], [-1, 1]])).decode()
    tensor([[-1.,  2.],
            [ 0.,  2.]])

    Han, Mao & Dally 2016. Lesson 11.
    """

    centroids: Tensor
    codes: Tensor

    def decode(self) -> Tensor:
        """The weights these codes stand for, in their shape."""
        return F.pad(self.centroids, (0, 1))[self.codes]  # the padding is a zero, and -1 picks the last entry

    def inertia(self, x: Tensor) -> float:
        """Σ (x - its centroid)² over all of `x`, the weights' shape, added up in float64."""
        return ((x.double() - self.decode().double()) ** 2).sum().item()

    def half(self) -> Codebook:
        """The same with centroids rounded to half precision, which a file then holds in 2 bytes each."""
        return Codebook(self.centroids.half().to(self.centroids.dtype), self.codes)


def kmeans_1d(
    x: Tensor,
    k: int,
    *,
    init: str | Tensor = "linear",
    seed: int = 0,
    max_iterations: int = 1000,
    tolerance: float = 0.0,
) -> Codebook:
    """Lloyd's k-means on numbers: give each the nearest centroid, move each centroid to its mean, repeat.

    Minimises Σ (x - its centroid)² to a local minimum, so the start matters. A centroid that no number is nearest to
    moves to the number that is farthest from its own.

    Args:
        x: numbers of any shape, at least one; computed in float32, or in float64 if they are.
        k: clusters, 1..number of distinct values.
        init: "linear", evenly spaced from smallest to largest (the paper's choice: large weights get centroids too);
            "density", as many numbers between any two; "random", k of the numbers; "cube_root", spaced by the cube root
            of the density, which is the best for many clusters (Panter & Dite 1951); "coarse", the optimum for the
            numbers gathered in bins; or a tensor of k centroids.
        seed: for "random".
        max_iterations: how often centroids move at most, 0 or more.
        tolerance: stop when Σ (movement)² of the centroids is at most this times the variance of x; 0 goes on until
            no number changes its cluster.

    Returns:
        k centroids, ascending, and int64 codes of x's shape.

    Raises:
        CourseError: no numbers, NaN or infinities, k not in 1..distinct values, an unknown start.

    >>> kmeans_1d(torch.tensor([[1.0, 9.0], [2.0, 10.0]]), k=2)
    Codebook(centroids=tensor([1.5000, 9.5000]), codes=tensor([[0, 1],
            [0, 1]]))

    Lloyd 1982; Han, Mao & Dally 2016. Lesson 11.
    """
    require_positive("k", k)
    require_positive("max_iterations", max_iterations, at_least=0)
    if not tolerance >= 0:
        raise CourseError(f"tolerance must be 0 or more, but you passed {tolerance}.")
    array = usable_array(x)
    runs = Runs.of_sorted(np.sort(array, axis=None))
    require_distinct(runs.values, k)
    centroids = lloyd(runs, start(runs, k, init, seed), max_iterations, tolerance)
    return nearest_codes(array, centroids)


def optimal_kmeans_1d(x: Tensor, k: int) -> Codebook:
    """The k-means clusters of least possible inertia, by dynamic programming: the yardstick for `kmeans_1d`.

    The best k clusters of the first j values are the best k - 1 of the first i, and one cluster of the rest, for the
    best i. It takes k · log(n) passes over the distinct values: a second for 10,000 values and 16 clusters, not for millions.

    Args:
        x: numbers of any shape, at least one.
        k: clusters, 1..number of distinct values.

    Raises:
        CourseError: no numbers, NaN or infinities, or k not in 1..distinct values.

    >>> optimal_kmeans_1d(torch.tensor([0.0, 1.0, 5.0, 6.0, 20.0]), k=3).centroids
    tensor([ 0.5000,  5.5000, 20.0000])

    Wang & Song 2011 (Ckmeans.1d.dp). Lesson 11.
    """
    require_positive("k", k)
    array = usable_array(x)
    runs = Runs.of_sorted(np.sort(array, axis=None))
    require_distinct(runs.values, k)
    groups = np.append(np.flatnonzero(np.diff(runs.values, prepend=-np.inf)), len(runs.values))  # equal values together
    return nearest_codes(array, runs.means(groups[optimal_borders(runs.at(groups), k)]))


def usable_array(x: Tensor) -> np.ndarray:
    """The numbers as a float32 or float64 array of the same shape, once it is known that they can be clustered."""
    if not isinstance(x, Tensor) or x.is_complex() or x.numel() == 0:
        raise CourseError("x must be a tensor of at least one real number. An empty layer has nothing to cluster.")
    x = x.detach().cpu()
    array = (x if x.dtype == torch.float64 else x.float()).numpy()
    if bad := int(array.size - np.isfinite(array).sum()):
        raise CourseError(
            f"{bad} of the {array.size} numbers are NaN or infinite, so they have no nearest centroid.\n"
            "Look for a training run that diverged."
        )
    return array + array.dtype.type(0)  # a copy, in which -0.0 has become 0.0


def require_distinct(ordered: np.ndarray, k: int) -> None:
    """Refuse more clusters than there are different numbers: some would stay empty for ever."""
    distinct = 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    if k > distinct:
        raise CourseError(
            f"k is the number of clusters, but you asked for {k} and there are only {distinct} distinct values.\n"
            f"Pass k={distinct} or fewer."
        )


def start(runs: Runs, k: int, init: str | Tensor, seed: int) -> np.ndarray:
    """The first k centroids, ascending, (k,) float64."""
    if isinstance(init, Tensor):
        if init.numel() != k or not torch.isfinite(init).all():
            raise CourseError(f"init has {init.numel()} centroids, but k is {k}: pass {k} finite numbers.")
        return np.sort(init.detach().double().flatten().numpy())
    values, n = runs.values, len(runs.values)
    match require_choice("init", init, INITS):
        case "linear":
            return np.linspace(float(values[0]), float(values[-1]), k)
        case "density":
            return values[((np.arange(k) + 0.5) / k * n).astype(np.int64)].astype(np.float64)
        case "random":
            return np.sort(np.random.default_rng(seed).choice(values, k, replace=n < k)).astype(np.float64)
        case "cube_root":
            return cube_root_spaced(values, (np.arange(k) + 0.5) / k)
        case _:
            return coarse_optimum(runs, k)


def cube_root_spaced(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The places up to which ∫ density^⅓ dx has reached these shares of its total, 0..1.

    The density is measured between edges that lie even in x or even in rank, so that neither tails nor peaks are lost.
    """
    bins = min(max(len(values) // PER_BIN, 16), COARSE_BINS)
    even = np.linspace(float(values[0]), float(values[-1]), bins + 1)
    ranks = np.linspace(0, len(values) - 1, bins + 1).astype(np.int64)
    edges = np.unique(np.concatenate([even, values[ranks]]))
    if len(edges) == 1:
        return np.full(len(shares), edges[0])
    counts = np.diff(np.searchsorted(values, edges.astype(values.dtype)))
    counts[-1] += 1  # the largest number itself
    filled = np.concatenate([[0.0], np.cumsum(np.cbrt(counts) * np.cbrt(np.diff(edges) ** 2))])
    return np.interp(shares * filled[-1], filled, edges)


def coarse_optimum(runs: Runs, k: int) -> np.ndarray:
    """The centroids that are best if numbers in one of about 1,000 small bins must stay together."""
    bins = max(COARSE_BINS, 4 * k)
    cuts = cube_root_spaced(runs.values, np.arange(1, bins) / bins).astype(runs.values.dtype)
    groups = np.unique(np.concatenate([[0], np.searchsorted(runs.values, cuts), [len(runs.values)]]))
    if len(groups) <= k:  # a few values hold nearly everything
        return cube_root_spaced(runs.values, (np.arange(k) + 0.5) / k)
    return runs.means(groups[optimal_borders(runs.at(groups), k)])


def lloyd(runs: Runs, centroids: np.ndarray, max_iterations: int, tolerance: float) -> np.ndarray:
    """Move the centroids until they stand still."""
    limit = tolerance * runs.variance()
    before = None
    for _ in range(max_iterations):
        borders = runs.borders(centroids)
        if before is not None and np.array_equal(borders, before):
            break  # no number changed its cluster
        moved = np.sort(fill_empty(runs, borders, runs.means(borders)))
        shift, centroids, before = float(((moved - centroids) ** 2).sum()), moved, borders
        if shift <= limit and tolerance > 0:
            break
    return centroids


def fill_empty(runs: Runs, borders: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Send the centroid of every empty cluster to one of the numbers that are farthest from their cluster's mean."""
    empty = np.flatnonzero(borders[1:] == borders[:-1])
    if len(empty) == 0:
        return means
    full = np.flatnonzero(borders[1:] > borders[:-1])
    ends = runs.values[np.stack([borders[full], borders[full + 1] - 1])].ravel()  # on a line, an end is the farthest
    distance = np.abs(ends - np.tile(means[full], 2))
    means[empty] = np.resize(ends[np.argsort(-distance, kind="stable")], len(empty))
    return means


def nearest_codes(array: np.ndarray, centroids: np.ndarray) -> Codebook:
    """Every number's nearest centroid; halfway between two it is the lower one."""
    between = torch.from_numpy(Runs.halfway(centroids, array.dtype))
    codes = torch.bucketize(torch.from_numpy(array), between)
    return Codebook(torch.from_numpy(centroids.astype(array.dtype)), codes)
