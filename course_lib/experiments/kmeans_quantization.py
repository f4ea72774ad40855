"""Lesson 11: prune, share, code: what each stage costs in accuracy and saves in bytes."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import Summary, summarise
from course_lib.experiments.magnitude_pruning import DECAY
from course_lib.experiments.pruning_schedules import scheduled, schedules, trainer
from course_lib.models import lenet_300_100
from course_lib.pruning import prunable
from course_lib.quantization import deep_compression
from course_lib.quantization.kmeans import Codebook, kmeans_1d, optimal_kmeans_1d
from course_lib.quantization.weight_sharing import apply_codebooks_, read_codebooks, share_weights, shared_gradients
from course_lib.training import evaluate, fit, fit_trials
from course_lib.viz import CYCLE, GREY, Picture, new_figure

TUNING = 1e-3  # learning rate of the codebooks, for a hundred steps
LONG_TUNING = 3e-4  # and for thousands
SETTINGS = ((0.92, 6), (0.95, 4))  # sparsity and bits of a code; the first is the paper's


def pruned(networks: Sequence[nn.Module], datasets: Sequence[Dataset], sparsity: float, *, steps: int) -> list:
    """Copies of the networks, gradually pruned while they train (lesson 03); what is zero is gone."""
    return scheduled(networks, datasets, schedules(sparsity, steps)["gradual"], steps=steps)


def trained_on(networks: Sequence[nn.Module], datasets: Sequence[Dataset], *, steps: int) -> list[nn.Module]:
    """Copies of the networks, trained for some more steps: what the pruned ones are compared with."""
    longer = copy.deepcopy(list(networks))
    fit_trials(longer, [data.train for data in datasets], steps=steps, weight_decay=DECAY)
    return longer


def shared(
    network: nn.Module,
    data: Dataset,
    bits: int | Mapping[str, int],
    *,
    steps: int = 0,
    lr: float = TUNING,
    init: str = "linear",
    seed: int = 0,
) -> nn.Module:
    """A copy whose layers each share at most 2^bits values, fine-tuned for some steps; zeros stay zeros.

    Codebooks and biases are rounded to half precision at the end, so that a file holds them in 2 bytes each.

    >>> data = load("digits")
    >>> small = shared(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data, bits=1, steps=3)
    >>> len(small[1].weight.unique())
    2
    """
    small = copy.deepcopy(network)
    books = share_weights(prunable(small), bits, init=init, seed=seed)
    apply_codebooks_(small, books)
    if steps:
        with shared_gradients(small, books):
            fit(small, data.train, steps=steps, lr=lr, seed=seed)
        books = read_codebooks(small, books)
    return in_half_precision_(small, books)


@torch.no_grad()
def in_half_precision_(network: nn.Module, books: Mapping[str, Codebook]) -> nn.Module:
    """Round the shared values, and every parameter without a codebook, to what 2 bytes hold."""
    for name, parameter in network.named_parameters():
        if name not in books:
            parameter.copy_(parameter.half().float())
    return apply_codebooks_(network, {name: book.half() for name, book in books.items()})


def on_a_grid(network: nn.Module, bits: int) -> nn.Module:
    """A copy whose surviving weights are rounded to 2^bits evenly spaced values, from each layer's smallest to its largest.

    That grid is where k-means' linear start begins: `kmeans_1d` that may not move a centroid.
    """
    gridded = copy.deepcopy(network)
    with torch.no_grad():
        for weight in prunable(gridded).values():
            weight[weight != 0] = evenly_spaced(weight[weight != 0], bits).decode()
    return gridded


def evenly_spaced(survivors: Tensor, bits: int) -> Codebook:
    """The uniform grid of 2^bits values over these numbers, (n,)."""
    k = min(2**bits, len(survivors.unique()))
    return kmeans_1d(survivors, k, init="linear", max_iterations=0)


def excess_inertia(network: nn.Module, bits: int, starts: Sequence[str], *, seed: int = 0) -> dict[str, float]:
    """Start -> how many times the least possible inertia k-means reaches from it, all layers together; 1 is the best."""
    found, least = dict.fromkeys(starts, 0.0), 0.0
    for weight in prunable(network).values():
        survivors = weight.detach()[weight != 0]
        k = min(2**bits, len(survivors.unique()))
        least += optimal_kmeans_1d(survivors, k).inertia(survivors)
        for start in starts:
            found[start] += kmeans_1d(survivors, k, init=start, seed=seed).inertia(survivors)
    return {start: inertia / least for start, inertia in found.items()}


def entropy_bits(counts: Tensor) -> float:
    """Σ p log₂ 1/p: no code that gives each symbol its own codeword needs fewer bits a symbol.

    >>> entropy_bits(torch.tensor([4, 2, 0, 2]))
    1.5
    """
    p = counts[counts > 0].double() / counts.sum()
    return float(-(p * p.log2()).sum())


def in_pairs(work: Callable, *rows: Sequence) -> list:
    """`map`, two at a time: one for each core of a small machine."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, *rows))


def read_back(network: nn.Module, stage: str = "coded") -> tuple[nn.Module, int]:
    """Write the network to one file, and read it into a fresh copy: that copy, and the file's length in bytes."""
    fresh = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.sndc"
        size = deep_compression.save(path, network, stage=stage)
        fresh.load_state_dict(deep_compression.load(path))
    return fresh, size


def from_files(networks: Sequence[nn.Module], stage: str) -> tuple[list[nn.Module], list[int]]:
    """The networks as read back from files of one stage, and the files' bytes."""
    found = [read_back(network, stage) for network in networks]
    return [network for network, _ in found], [size for _, size in found]


def raw_bytes(network: nn.Module) -> bytes:
    """All parameters as float32 bytes, one after the other."""
    return b"".join(parameter.detach().numpy().tobytes() for parameter in network.parameters())


def size_picture(series: Mapping[str, Sequence[tuple[float, Summary]]], level: float, *, caption: str) -> Picture:
    """Accuracy over size: label -> (share of the float32 size, accuracy), each curve at its own sizes."""
    figure, (axes,) = new_figure()
    told = []
    for (label, points), colour, marker in zip(series.items(), CYCLE, "os^", strict=False):
        sizes, found = zip(*sorted(points, key=lambda point: point[0]), strict=True)
        style = {"color": colour, "marker": marker, "capsize": 2.5, "markersize": 5}
        axes.errorbar(sizes, [a.mean for a in found], yerr=[a.sd for a in found], label=label, **style)
        told.append(f"{label}: {found[0]:%} at {sizes[0]:.1%} of the size, {found[-1]:%} at {sizes[-1]:.1%}")
    axes.axhline(level, color=GREY, linestyle="--", linewidth=1, label="dense")
    axes.set(xlabel="bytes of the file / bytes in float32", ylabel="test accuracy", xscale="log")
    ticks = [0.01, 0.02, 0.03, 0.05, 0.1]
    axes.set_xticks(ticks, [f"{tick:.0%}" for tick in ticks], minor=False)
    axes.xaxis.set_minor_formatter(lambda value, _: "")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(fontsize=9, frameon=False)
    return Picture(figure, caption, f"Test accuracy over the size of the file. {'; '.join(told)}.")


# --- course run 11 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 10_000) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Train one LeNet-300-100, compress it at each setting, and read its file back: errors and bytes.

    The dense network it is compared with takes as many steps, with the same learning rates.
    """
    data, steps, seed = load(unit["data"], fold=unit["trial"]), unit["iterations"], unit["trial"]
    slow = {"steps": max(1, steps // 5), "lr": LONG_TUNING}
    torch.manual_seed(seed)
    network = lenet_300_100(data.input_shape)
    fit(network, data.train, steps=steps, weight_decay=DECAY, seed=seed)
    dense = copy.deepcopy(network)
    fit(dense, data.train, steps=steps, weight_decay=DECAY, seed=seed + 1000)
    for part in (2000, 3000):
        fit(dense, data.train, **slow, weight_decay=DECAY, seed=seed + part)
    row = {"dense": {"error": error_of(dense, data), "bytes": len(deep_compression.pack(dense, stage="pruned"))}}
    for sparsity, bits in SETTINGS:
        sparse = copy.deepcopy(network)
        train = trainer(sparse, data.train, steps=steps, seed=seed + 1000)
        masks = schedules(sparsity, steps)["gradual"](sparse, train)
        fit(sparse, data.train, **slow, weight_decay=DECAY, masks=masks, seed=seed + 2000)
        again, size = read_back(shared(sparse, data, bits, **slow, seed=seed + 3000))
        row[f"{sparsity:.0%} pruned, {bits} bits"] = {"error": error_of(again, data), "bytes": size}
    return row


def error_of(network: nn.Module, data: Dataset) -> float:
    """The share of wrong answers on the test split."""
    return 1 - evaluate(network, data.test).accuracy


def report(rows: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Test error and bytes of each setting, and whether it costs nothing: at most one standard error above dense."""
    lines = []
    for name in rows[0]:
        sizes = [row[name]["bytes"] for row in rows]
        ratio = rows[0]["dense"]["bytes"] * len(sizes) / sum(sizes)
        errors = [100 * row[name]["error"] for row in rows]
        spread = f" ± {summarise(errors).sd:.2f}" if len(rows) > 1 else ""
        line = f"{name:20} {sum(errors) / len(errors):5.2f}{spread} % error, {sum(sizes) / len(sizes):11,.0f} bytes"
        lines.append(f"{line}, {ratio:5.1f} times smaller{verdict(name, rows)}")
    return "\n".join([*lines, "Han, Mao & Dally 2016, MNIST: 1.58 % error (dense 1.64 %), 27 KB, 40 times smaller."])


def verdict(name: str, rows: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """Whether the mean error is at most the dense networks' mean and one standard error; nothing for one trial."""
    if len(rows) < 2 or name == "dense":
        return ""
    dense, ours = (summarise([row[which]["error"] for row in rows]) for which in ("dense", name))
    return "; no loss" if ours.mean <= dense.mean + dense.standard_error else "; a loss"
