"""Lesson 06: which layer empties first, and how far each score can compress before; then the same masks, trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Dataset, Split, load
from course_lib.evidence import summarise
from course_lib.experiments.magnitude_pruning import test_accuracies
from course_lib.models import vgg
from course_lib.pruning import (
    apply_masks_,
    grasp_scores,
    magnitude_scores,
    masks_from_scores,
    prunable,
    random_scores,
    snip_scores,
    synflow,
    synflow_scores,
)
from course_lib.training import fit_trials

Masks = dict[str, Tensor]
SHAPE = (3, 32, 32)
METHODS = ("random", "magnitude", "SNIP", "GraSP", "SynFlow")
PAPER = {"magnitude": 2.75, "random": 3.25, "SNIP": 3.5, "GraSP": 3.5, "SynFlow": 6.0}  # log10, Tanaka et al., figure 1


# --- which layer empties first -------------------------------------------------------------------------------------


@torch.no_grad()
def restart_(model: nn.Module) -> nn.Module:
    """Draw the weights of all layers anew, normal with variance 2 / fan-in, and set biases to zero; return the model."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def fresh(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network that has never been trained, in float64 and in eval mode, as the authors score it."""
    torch.manual_seed(seed)
    return restart_(build()).double().eval()


def few_images(split: Split, per_class: int) -> tuple[Tensor, Tensor]:
    """The first `per_class` images of each class, in float64: (n, channels, height, width) and labels (n,).

    >>> few_images(load("digits").train, per_class=2)[0].shape
    torch.Size([20, 1, 8, 8])
    """
    rows = torch.cat([(split.y == label).nonzero()[:per_class, 0] for label in split.y.unique()])
    return split.x[rows].double(), split.y[rows]


def scaled_up(x: Tensor) -> Tensor:
    """Images as VGG takes them, (n, 3, 32, 32): smaller ones are scaled up, grey ones get three equal channels.

    >>> scaled_up(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3, 32, 32])
    """
    return F.interpolate(x, size=SHAPE[1:], mode="bilinear").expand(-1, 3, -1, -1)


def scores_by(method: str, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """The scores of one method; for SynFlow, those before anything is removed."""
    match method:
        case "random":
            return random_scores(model, seed=seed)
        case "magnitude":
            return magnitude_scores(model)
        case "SNIP":
            return snip_scores(model, x, y)
        case "GraSP":
            return grasp_scores(model, x, y)
    return synflow_scores(model, input_shape=x.shape[1:])


def critical_compression(scores: Mapping[str, Tensor]) -> float:
    """How far one cut by these scores can go before it empties a layer: all weights / weights left.

    A layer lives while its best weight does. So the last cut that spares every layer keeps all weights that score at
    least as high as the best one of the poorest layer.

    >>> critical_compression({"a": torch.tensor([9.0, 8.0, 7.0, 6.0]), "b": torch.tensor([1.0, 7.5])})
    2.0
    """
    poorest = min(score.max() for score in scores.values())
    left = sum(int((score >= poorest).sum()) for score in scores.values())
    return sum(score.numel() for score in scores.values()) / left


def first_to_die(scores: Mapping[str, Tensor]) -> str:
    """The name of the layer that one cut by these scores empties first.

    >>> first_to_die({"a": torch.tensor([9.0, 8.0]), "b": torch.tensor([1.0, 7.5])})
    'b'
    """
    return min(scores, key=lambda name: float(scores[name].max()))


def left_by_cut(scores: Mapping[str, Tensor], totals: Sequence[int]) -> Tensor:
    """How many weights of each layer are among the `total` with the highest scores: (totals, layers), int64.

    >>> left_by_cut({"a": torch.tensor([9.0, 1.0]), "b": torch.tensor([2.0, 3.0])}, [4, 2, 1])
    tensor([[2, 2],
            [1, 1],
            [1, 0]])
    """
    best_first = torch.cat([score.flatten() for score in scores.values()]).argsort(descending=True)
    ends = torch.tensor([score.numel() for score in scores.values()]).cumsum(0)
    layer = torch.bucketize(best_first, ends, right=True)  # the layer of each weight, the best weight first
    return torch.stack([layer[:total].bincount(minlength=len(ends)) for total in totals])


def left_by_synflow(model: nn.Module, *, input_shape: Sequence[int], iterations: int = 100) -> Tensor:
    """How many weights of each layer are left after each iteration of one run to the maximum, (iterations, layers)."""
    sizes, rows = [weight.numel() for weight in prunable(model).values()], []
    synflow.prune(
        model, sum(sizes) / len(sizes), input_shape=input_shape, iterations=iterations,
        after_iteration=lambda k, masks: rows.append([int(mask.sum()) for mask in masks.values()]),
    )  # fmt: skip
    return torch.tensor(rows)


def critical_of_run(left: Tensor, total: int) -> float:
    """The last compression of a run, (iterations, layers), at which no layer was empty.

    >>> critical_of_run(torch.tensor([[4, 2], [2, 1], [2, 0]]), total=12)
    4.0
    """
    alive = left[(left > 0).all(dim=1)]
    return total / int(alive[-1].sum())


def in_pairs(function: Callable, items: Sequence) -> list:
    """Call the function on each item, two at a time: one for each core of a laptop."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, items))


# --- the masks, trained --------------------------------------------------------------------------------------------


def masks_by(
    method: str, networks: Sequence[nn.Module], datasets: Sequence[Dataset], compression: float, *, per_class: int = 10
) -> list[Masks]:
    """Masks that leave one weight in `compression` of each network, which is scored on its own training images."""

    def one(trial: int) -> Masks:
        network, data = copy.deepcopy(networks[trial]).double(), datasets[trial]
        if method == "SynFlow":
            return synflow.prune(network, compression, input_shape=data.input_shape)
        scores = scores_by(method, network, *few_images(data.train, per_class), seed=trial)
        return masks_from_scores(scores, 1 - 1 / compression)

    return in_pairs(one, range(len(networks)))


def accuracies(
    masks: Mapping[str, Sequence[Masks]],
    networks: Sequence[nn.Module],
    datasets: Sequence[Dataset],
    *,
    steps: int,
    lr: float,
) -> dict[str, list[float]]:
    """Test accuracies by name, after copies of the networks were trained under each entry of `masks`, all at once.

    Trial k of every entry starts from network k, and sees data set k in the same order.
    """
    n, every_mask = len(networks), [mask for entry in masks.values() for mask in entry]
    copies = [apply_masks_(copy.deepcopy(networks[k % n]), mask) for k, mask in enumerate(every_mask)]
    folds = list(datasets) * len(masks)
    fit_trials(
        copies, [data.train for data in folds],
        steps=steps, lr=lr, masks=every_mask, seeds=[k % n for k in range(len(copies))],
    )  # fmt: skip
    found = test_accuracies(copies, folds)
    return {name: found[n * place : n * (place + 1)] for place, name in enumerate(masks)}


# --- course run 06 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 100, width: float = 1.0) -> list[dict]:
    """One unit for each trial and method; `iterations` are those of SynFlow, `width` 1 is the paper's VGG-16."""
    shared = {"data": data, "iterations": iterations, "width": width}
    return [shared | {"trial": trial, "method": method} for trial in range(trials) for method in METHODS]


def measure(unit: dict) -> dict:
    """How far one method compresses one VGG-16 with batch norm and 100 outputs: exactly, and on the paper's grid."""
    model = fresh(lambda: vgg("vgg16", n_classes=100, width=unit["width"], batch_norm=True), unit["trial"])
    sizes = [weight.numel() for weight in prunable(model).values()]
    if unit["method"] == "SynFlow":
        exact = critical_of_run(left_by_synflow(model, input_shape=SHAPE, iterations=unit["iterations"]), sum(sizes))
        grid, first = synflow_on_grid(model, sum(sizes) / len(sizes), unit["iterations"]), ""
    else:
        x, y = few_images(load(unit["data"], fold=unit["trial"]).train, per_class=10)
        scores = scores_by(unit["method"], model, scaled_up(x), y, seed=unit["trial"])
        exact, first = critical_compression(scores), first_to_die(scores)
        grid = math.floor(4 * math.log10(exact)) / 4
    return {"method": unit["method"], "exact": math.log10(exact), "grid": grid, "first": first, "sizes": sizes}


def synflow_on_grid(model: nn.Module, most: float, iterations: int) -> float:
    """The largest power of ten on the paper's grid (steps of 0.25) at which SynFlow leaves no layer empty."""
    power = math.floor(4 * math.log10(most)) / 4
    while power > 0:
        masks = synflow.prune(model, 10**power, input_shape=SHAPE, iterations=iterations)
        if not synflow.collapsed_layers(masks):
            break
        power -= 0.25
    return power


def report(rows: Sequence[Mapping]) -> str:
    """Powers of ten, method by method, with the paper's beside them."""
    sizes = rows[0]["sizes"]
    most = sum(sizes) / len(sizes)
    lines = [
        f"VGG-16, {len(sizes)} prunable layers, {sum(sizes):,} weights: at most 10^{math.log10(most):.2f}",
        "largest compression without an empty layer, as a power of ten (grid: steps of 0.25)",
        f"{'method':10} {'grid, each trial':20} {'exact':24} {'paper':6} first layer to empty",
    ]
    for method in METHODS:
        ours = [row for row in rows if row["method"] == method]
        exact = f"{summarise([row['exact'] for row in ours]):.2f}" if len(ours) > 1 else f"{ours[0]['exact']:.2f}"
        grid, first = ", ".join(f"{row['grid']:g}" for row in ours), sorted({row["first"] for row in ours} - {""})
        lines.append(f"{method:10} {grid:20} {exact:24} {PAPER[method]:<6} {', '.join(first)}")
    return "\n".join(lines)
