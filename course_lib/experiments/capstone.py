"""Lesson 17: the reference frontier. One given network made smaller, small ones trained anew, all on shifted digits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from course_lib.capstone import BUDGET, shifted, slowdown
from course_lib.data import Dataset, Split, load
from course_lib.distillation import distillation_targets, loss_on_targets, teacher_logits
from course_lib.evidence import Summary, summarise
from course_lib.experiments.kmeans_quantization import in_pairs, pruned, shared
from course_lib.experiments.magnitude_pruning import DECAY, retrained_with
from course_lib.models import lenet_300_100, small_cnn
from course_lib.pruning import masks_from_scores, random_scores
from course_lib.quantization import deep_compression
from course_lib.training import evaluate, fit_trials
from course_lib.viz import CYCLE, GREY, Picture, new_figure
from course_lib.viz.picture import MARKERS

TRAINING_COPIES, OTHER_COPIES = 10, 4  # shifted copies of each image
LEVELS = {0.8: 5, 0.9: 4, 0.95: 4}  # sparsity -> bits of a code
WIDTHS = {(4, 8): 5, (8, 16): 5, (16, 32): 4}  # channels -> bits of a code
SMALL_LR = 4e-3  # what small networks like, as in lesson 03; chosen on validation data


@dataclass(frozen=True)
class Point:
    """One way to make a network small, over all trials: the mean length of its files, and its accuracy."""

    name: str
    n_bytes: float
    accuracies: tuple[float, ...]
    slowdown: float

    @property
    def accuracy(self) -> Summary:
        """Mean and spread over the trials."""
        return summarise(list(self.accuracies))


def on_shifted(data: Dataset, *, seed: int) -> Dataset:
    """The data set with shifted copies of its images; no copy of a test image is in the training split.

    >>> on_shifted(load("digits"), seed=0)
    digits: 11,970 train, 960 validation, 1,440 test; images 1×8×8, 10 classes
    """
    return replace(
        data,
        train=shifted(data.train, copies=TRAINING_COPIES, seed=3 * seed),
        validation=shifted(data.validation, copies=OTHER_COPIES, seed=3 * seed + 1),
        test=shifted(data.test, copies=OTHER_COPIES, seed=3 * seed + 2),
    )


def trained_on(
    build: Callable[[], nn.Module], splits: Sequence[Split], *, steps: int, lr: float = 1.2e-3, **how
) -> list[nn.Module]:
    """One network for each split, each from its own seed, trained together."""
    networks = []
    for trial in range(len(splits)):
        torch.manual_seed(trial)
        networks.append(build())
    fit_trials(networks, splits, steps=steps, lr=lr, weight_decay=DECAY, **how)
    return networks


def given(datasets: Sequence[Dataset], *, steps: int) -> list[nn.Module]:
    """The networks that are to be made small: LeNet-300-100."""
    return trained_on(lenet_300_100, [data.train for data in datasets], steps=steps)


def cut_at_random(networks: Sequence[nn.Module], datasets: Sequence[Dataset], sparsity: float, *, steps: int) -> list:
    """The control: the same share of weights removed, whichever they are, and as much retraining."""
    masks = [masks_from_scores(random_scores(net, seed=trial), sparsity) for trial, net in enumerate(networks)]
    return retrained_with(masks, networks, datasets, steps=steps)


def cut_by_magnitude(networks: Sequence[nn.Module], datasets: Sequence[Dataset], sparsity: float, *, steps: int):
    """Gradual magnitude pruning, as in lesson 03."""
    return pruned(networks, datasets, sparsity, steps=steps)


def with_codebooks(networks: Sequence[nn.Module], datasets: Sequence[Dataset], bits: int, *, steps: int) -> list:
    """Shared values, fine-tuned, as in lesson 11."""
    return in_pairs(lambda net, data: shared(net, data, bits, steps=steps), networks, datasets)


def designed(datasets: Sequence[Dataset], channels: Sequence[int], *, steps: int) -> list[nn.Module]:
    """Small convolutional networks, trained on labels."""
    build = lambda: small_cnn(channels=channels)
    return trained_on(build, [data.train for data in datasets], steps=steps, lr=SMALL_LR)


def distilled(
    teachers: Sequence[nn.Module], datasets: Sequence[Dataset], channels: Sequence[int], *, steps: int
) -> list[nn.Module]:
    """The same networks, taught by the given ones, as in lesson 12."""
    lessons = [
        Split(data.train.x, distillation_targets(teacher_logits(teacher, data.train.x), data.train.y))
        for teacher, data in zip(teachers, datasets, strict=True)
    ]
    build, loss = lambda: small_cnn(channels=channels), loss_on_targets(temperature=4.0, alpha=0.9)
    return trained_on(build, lessons, steps=steps, lr=SMALL_LR, loss=loss)


def point(name: str, networks: Sequence[nn.Module], datasets: Sequence[Dataset]) -> Point:
    """Files, test accuracies, and the clock."""
    sizes = [len(deep_compression.pack(network)) for network in networks]
    right = [evaluate(network, data.test).accuracy for network, data in zip(networks, datasets, strict=True)]
    return Point(name, sum(sizes) / len(sizes), tuple(right), slowdown(copy.deepcopy(networks[0]).eval(), turns=20))


def plane_picture(attempts: Mapping[str, Mapping[object, Point]], start: Point, *, caption: str) -> Picture:
    """Accuracy over the bytes of the file, a curve for each family, on a logarithmic scale, with the course's budget."""
    figure, (axes,) = new_figure()
    for (family, points), colour, marker in zip(
        {**attempts, "given": {0: start}}.items(), CYCLE, MARKERS, strict=False
    ):
        row = sorted(points.values(), key=lambda made: made.n_bytes)
        style = {"color": colour, "marker": marker, "capsize": 2.5, "markersize": 5, "label": family}
        means, spreads = [made.accuracy.mean for made in row], [made.accuracy.sd for made in row]
        axes.errorbar([made.n_bytes for made in row], means, yerr=spreads, **style)
    axes.axvline(BUDGET.n_bytes, color=GREY, linestyle="--", linewidth=1, label="the budget")
    axes.axhline(BUDGET.accuracy, color=GREY, linestyle="--", linewidth=1)
    axes.set(xlabel="bytes of the file", ylabel="accuracy on shifted digits", xscale="log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(fontsize=9, frameon=False)
    every = [made for points in attempts.values() for made in points.values()]
    told = "; ".join(f"{made.name}: {made.accuracy.mean:.1%} in {made.n_bytes:,.0f} bytes" for made in every)
    return Picture(figure, caption, f"Accuracy over bytes. {told}.")


# --- course run 17 ---------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 1500) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Every point of the frontier, for one trial."""
    steps, datasets = unit["iterations"], [on_shifted(load(unit["data"], fold=unit["trial"]), seed=unit["trial"])]
    networks, row = given(datasets, steps=steps), {}
    found = {"given": networks}
    for sparsity, bits in LEVELS.items():
        found[f"random {sparsity}"] = cut_at_random(networks, datasets, sparsity, steps=steps)
        cut = found[f"magnitude {sparsity}"] = cut_by_magnitude(networks, datasets, sparsity, steps=steps)
        found[f"Deep Compression {sparsity}"] = with_codebooks(cut, datasets, bits, steps=steps // 4)
    for channels, bits in WIDTHS.items():
        plain, taught = designed(datasets, channels, steps=steps), distilled(networks, datasets, channels, steps=steps)
        found[f"designed {channels}"] = with_codebooks(plain, datasets, bits, steps=steps // 4)
        found[f"distilled {channels}"] = with_codebooks(taught, datasets, bits, steps=steps // 4)
    for name, made in found.items():
        at = point(name, made, datasets)
        row |= {f"{name}: accuracy": at.accuracies[0], f"{name}: bytes": at.n_bytes}
    return row


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Bytes and accuracy of each point, mean and spread over the trials."""
    told = []
    for name in [key.removesuffix(": bytes") for key in rows[0] if key.endswith(": bytes")]:
        n_bytes = sum(row[f"{name}: bytes"] for row in rows) / len(rows)
        right = [100 * row[f"{name}: accuracy"] for row in rows]
        spread = f" ± {summarise(right).sd:.2f}" if len(rows) > 1 else ""
        told.append(f"{name:26} {n_bytes:9,.0f} bytes  {sum(right) / len(right):5.2f}{spread} %")
    return "\n".join(told)
