"""Sorted numbers with prefix sums, and the best way to cut them into k runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Runs:
    """Sorted numbers and their running sums, so that any run of neighbours has its mean at the price of two reads.

    Attributes:
        values: (n,), ascending, float32 or float64.
        count: (m + 1,) how many numbers lie before each border; between all neighbours, or between groups.
        total: (m + 1,) their sum, float64; numbers are taken relative to `origin`, so that little is lost to rounding.
        square: (m + 1,) the sum of their squares.
        origin: the mean of all numbers.
    """

    values: np.ndarray
    count: np.ndarray
    total: np.ndarray
    square: np.ndarray
    origin: float

    @staticmethod
    def of_sorted(values: np.ndarray) -> Runs:
        """A border between any two neighbours."""
        origin = float(values.mean(dtype=np.float64))
        around = values.astype(np.float64) - origin
        total, square = (np.concatenate([[0.0], np.cumsum(part)]) for part in (around, around * around))
        return Runs(values, np.arange(len(values) + 1), total, square, origin)

    def at(self, groups: np.ndarray) -> Runs:
        """Borders at these places only, ascending from 0 to n."""
        return Runs(self.values, self.count[groups], self.total[groups], self.square[groups], self.origin)

    def variance(self) -> float:
        """Mean square of the distance from the mean."""
        return float(self.square[-1]) / len(self.values)

    def means(self, borders: np.ndarray) -> np.ndarray:
        """The mean of each run between two neighbouring borders, (len(borders) - 1,); of an empty run some number."""
        count = self.count[borders]
        means = self.origin + np.diff(self.total[borders]) / np.maximum(np.diff(count), 1)
        first = self.values[np.minimum(count[:-1], len(self.values) - 1)]
        last = self.values[np.maximum(count[1:] - 1, 0)]
        return np.clip(means, first, last)  # so that the mean of equal numbers is that number, whatever rounding does

    def borders(self, centroids: np.ndarray) -> np.ndarray:
        """Where each centroid's run starts and the last one's ends, (k + 1,): the numbers nearest to each centroid."""
        inner = np.searchsorted(self.values, self.halfway(centroids, self.values.dtype), side="right")
        return np.concatenate([[0], inner, [len(self.values)]])

    @staticmethod
    def halfway(centroids: np.ndarray, kind: np.dtype) -> np.ndarray:
        """The last number of its kind that belongs to the lower of two neighbouring centroids, (k - 1,)."""
        middle = np.minimum((centroids[1:] + centroids[:-1]) / 2, np.nextafter(centroids[1:], -np.inf))
        rounded = middle.astype(kind)
        return np.where(rounded > middle, np.nextafter(rounded, kind.type(-np.inf)), rounded)

    def inertia(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Σ (x - mean)² of the runs from border `start` to border `end`: Σ x² - (Σ x)² / n."""
        total = self.total[end] - self.total[start]
        total *= total
        total /= self.count[end] - self.count[start]
        return self.square[end] - self.square[start] - total


def optimal_borders(runs: Runs, k: int) -> np.ndarray:
    """The k + 1 borders of the k runs whose inertia is least together, as indices into the runs' borders.

    best_c(j) = min over i < j of best_{c-1}(i) + inertia(i, j); the minimiser moves right as j does.

    >>> runs = Runs.of_sorted(np.array([0.0, 1.0, 5.0, 6.0, 20.0]))
    >>> optimal_borders(runs, k=3).tolist()
    [0, 2, 4, 5]

    Lesson 11.
    """
    last = len(runs.count) - 1
    best = np.concatenate([[0.0], runs.inertia(np.zeros(last, np.int64), np.arange(1, last + 1))])
    choices = []
    for clusters in range(2, k + 1):
        best, choice = next_row(runs, best, clusters, last)
        choices.append(choice)
    borders = [last]
    for choice in reversed(choices):
        borders.append(int(choice[borders[-1]]))
    return np.array([0, *reversed(borders)])


def next_row(runs: Runs, best: np.ndarray, clusters: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """best_c(j) and its minimiser for j = c..last, from best_{c-1}; entries below c mean nothing."""

    def cost(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return best[start] + runs.inertia(start, end)

    choice = monotone_minimisers(cost, clusters, last)
    ends = np.arange(clusters, last + 1)
    row = np.full(last + 1, np.inf)
    row[clusters:] = cost(choice[clusters:], ends)
    return row, choice


def monotone_minimisers(cost: Callable[[np.ndarray, np.ndarray], np.ndarray], clusters: int, last: int) -> np.ndarray:
    """The i in clusters-1..j-1 that minimises cost(i, j), for j = clusters..last, when it never falls as j grows.

    The middle j is solved first, and bounds the search on both sides of it; then the middles of both halves, all
    at once; and so on. Every round looks at about last + 2 · (number of j) candidates.
    """
    rows = last - clusters + 1
    found = np.full(last + 1, clusters - 1)
    stride = 1 << (rows.bit_length() - 1)
    while stride:
        ends = np.arange(stride, rows + 1, 2 * stride) + clusters - 1
        right = ends + stride
        low = np.where(ends - stride < clusters, clusters - 1, found[ends - stride])
        high = np.minimum(np.where(right > last, last, found[np.minimum(right, last)]), ends - 1)
        found[ends] = first_minimum_in(cost, low, high, ends)
        stride //= 2
    return found


def first_minimum_in(
    cost: Callable[[np.ndarray, np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """For each of `ends`, the first i in low..high with the least cost; all ranges are laid out one after the other."""
    lengths = high - low + 1
    offsets = np.cumsum(lengths) - lengths
    candidates = np.arange(lengths.sum()) + np.repeat(low - offsets, lengths)
    values = cost(candidates, np.repeat(ends, lengths))
    hits = np.flatnonzero(values == np.repeat(np.minimum.reduceat(values, offsets), lengths))
    return candidates[hits[np.searchsorted(hits, offsets)]]
