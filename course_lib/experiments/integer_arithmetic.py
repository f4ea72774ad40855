"""Lesson 09: an integer network beside its fake-quantized twin, its sums in registers of any width, and its speed."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor, nn

from course_lib.data import Dataset, load
from course_lib.evidence import summarise
from course_lib.experiments.synflow import in_pairs
from course_lib.measure.clock import timed_ms
from course_lib.quantization.fixed_point import requantize
from course_lib.quantization.integer import IntegerNetwork, to_integer
from course_lib.quantization.integer_faults import real_multiplier, with_accumulators
from course_lib.quantization.integer_layers import Grid, IntegerProduct
from course_lib.training import fit

WIDTHS = (8, 12, 16, 17, 18, 19, 20, 24, 32)  # bits of an accumulator
CALIBRATION = 300  # training images that show the ranges


class SmallResidual(nn.Module):
    """Every kind of layer that an integer network knows, for small images: 16,154 parameters on the digits.

    >>> SmallResidual()(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])

    Lesson 09.
    """

    def __init__(self, input_shape: Sequence[int] = (1, 8, 8), n_classes: int = 10, *, channels: int = 16) -> None:
        super().__init__()
        depth, height, width = input_shape
        self.stem, self.stem_norm = nn.Conv2d(depth, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.inner, self.inner_norm = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.wide, self.wide_norm = nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.BatchNorm2d(2 * channels)
        self.relu, self.max, self.average, self.flatten = nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten()
        self.hidden = nn.Linear(2 * channels * (height // 4) * (width // 4), 4 * channels)
        self.last = nn.Linear(4 * channels, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> logits (batch, classes)."""
        x = self.relu(self.stem_norm(self.stem(x)))
        x = self.relu(x + self.inner_norm(self.inner(x)))
        x = self.relu(self.wide_norm(self.wide(self.max(x))))
        return self.last(self.relu(self.hidden(self.flatten(self.average(x)))))


def trained(datasets: Sequence[Dataset], *, steps: int, lr: float = 3e-3) -> list[nn.Module]:
    """One trained network for each data set, in eval mode; trial k starts from seed k."""
    networks = []
    for seed, data in enumerate(datasets):
        torch.manual_seed(seed)
        networks.append(SmallResidual(data.input_shape))
    in_pairs(lambda pair: fit(pair[0], pair[1].train, steps=steps, lr=lr), list(zip(networks, datasets, strict=True)))
    return [network.eval() for network in networks]


# --- the two networks, side by side --------------------------------------------------------------------------------


@torch.no_grad()
def logits_of(network: Callable[[Tensor], Tensor], x: Tensor, *, at_once: int = 500) -> Tensor:
    """The logits of many images, a few hundred at a time."""
    return torch.cat([network(piece) for piece in x.split(at_once)])


def accuracy(logits: Tensor, y: Tensor) -> float:
    """The fraction of images whose largest logit is the right one."""
    return (logits.argmax(1) == y).double().mean().item()


@dataclass(frozen=True)
class Gap:
    """How one integer layer differs from its float twin, where both get the same codes.

    Attributes:
        largest: in codes.
        share: of the codes that differ.
        from_tie: how far from a tie, a half between two codes, the twin's unrounded number lies at most where they differ.
    """

    largest: int
    share: float
    from_tie: float


class Unrounded(Grid):
    """A grid that leaves a number between its codes."""

    def quantize(self, x: Tensor) -> Tensor:
        """Real numbers -> where they lie on the grid, float."""
        return x / self.scale + self.zero_point


@torch.no_grad()
def gaps_on_equal_inputs(network: IntegerNetwork, x: Tensor) -> dict[str, Gap]:
    """Step -> how its integer layer differs from its float twin; both get the codes of the integer network."""
    gaps: dict[str, Gap] = {}

    def compare(step, inputs):
        gap = (step.layer(*inputs).int() - step.layer.simulated(*inputs).int()).abs()
        between = copy.copy(step.layer)
        between.out = Unrounded(step.layer.out.scale, step.layer.out.zero_point)
        position = between.simulated(*inputs)[gap > 0]
        from_tie = (position - position.floor() - 0.5).abs()
        gaps[step.name] = Gap(int(gap.max()), (gap > 0).double().mean().item(), max([0.0, *from_tie.tolist()]))

    network.run(network.grid.quantize(x), watch=compare)
    return gaps


def margins(network: IntegerNetwork, x: Tensor) -> Tensor:
    """How far the twin's best logit leads the second, in codes, (images,)."""
    best = (logits_of(network.simulated, x) / network.out.scale).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def disagreements(network: IntegerNetwork, x: Tensor) -> Tensor:
    """The margins, in codes, of those images that the integer network and its twin predict differently."""
    differ = logits_of(network, x).argmax(1) != logits_of(network.simulated, x).argmax(1)
    return margins(network, x)[differ]


# --- accumulators --------------------------------------------------------------------------------------------------


@torch.no_grad()
def sums_of(network: IntegerNetwork, x: Tensor) -> dict[str, Tensor]:
    """Step -> all its sums of products with the bias, whole numbers (…, out), for convolutions and linear layers."""
    sums: dict[str, Tensor] = {}

    def keep(step, inputs):
        if isinstance(step.layer, IntegerProduct):
            sums[step.name] = step.layer.products(*inputs) + step.layer.bias

    network.run(network.grid.quantize(x), watch=keep)
    return sums


def requantization_gap(layer: IntegerProduct, sums: Tensor) -> int:
    """The largest gap in codes between multiplying with m₀ · 2^−shift and with the real multiplier."""
    codes = requantize(sums, layer.m0, layer.shift, layer.out.zero_point)
    wanted = (sums * real_multiplier(layer)).round().add(layer.out.zero_point).clamp(-128, 127)
    return int((codes - wanted).abs().max())


# --- clocks --------------------------------------------------------------------------------------------------------


def torch_int8(model: nn.Module, batch: Tensor) -> nn.Module | None:
    """The same network through torch.ao and its compiled int8 layers, while torch still has it; else None."""
    try:
        from torch.ao.quantization import get_default_qconfig_mapping
        from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
    except ImportError:
        return None
    quick = mock.patch("torch.fx.config.do_not_emit_stack_traces", True)  # traces would import torch's whole compiler
    with quick, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        mapping = get_default_qconfig_mapping(torch.backends.quantized.engine)
        try:
            prepared = prepare_fx(copy.deepcopy(model).eval(), mapping, (batch,))
            prepared(batch)
            converted = convert_fx(prepared)
            converted(batch)
        except (RuntimeError, NotImplementedError):  # no int8 layers for this processor
            return None
        return converted


@torch.no_grad()
def in_turns(ways: Mapping[str, Callable[[], object]], *, runs: int = 30) -> dict[str, float]:
    """The median time of each way in milliseconds; they take turns, so that a busy moment hits all of them."""
    rounds = [[timed_ms(way, time.perf_counter) for way in ways.values()] for _ in range(runs + 5)]
    return dict(zip(ways, map(statistics.median, zip(*rounds[5:], strict=True)), strict=True))  # the first five warm up


def timed(model: nn.Module, network: IntegerNetwork, x: Tensor, *, runs: int = 30) -> dict[str, float]:
    """Milliseconds for one batch: in float32, through our integer network, and through torch's own int8 layers."""
    ways = {"float32": lambda: model(x), "ours": lambda: network(x)}
    if (peer := torch_int8(model, x)) is not None:
        ways["torch.ao int8"] = lambda: peer(x)
    return in_turns(ways, runs=runs)


# --- course run 09 -------------------------------------------------------------------------------------------------


def units(data: str, *, trials: int, iterations: int = 3000) -> list[dict]:
    """One unit for each trial."""
    return [{"data": data, "trial": trial, "iterations": iterations} for trial in range(trials)]


def measure(unit: dict) -> dict:
    """Train one network, make it integer, and measure accuracy at every width, agreement, gaps and clocks."""
    data = load(unit["data"], fold=unit["trial"])
    torch.manual_seed(unit["trial"])
    model = SmallResidual(data.input_shape)
    fit(model, data.train, steps=unit["iterations"], lr=3e-3, seed=unit["trial"])
    network = to_integer(model.eval(), data.train.x[:CALIBRATION])
    x, y = data.test.x, data.test.y
    row = {
        f"accuracy, {bits:2}-bit sums": accuracy(logits_of(with_accumulators(network, bits), x), y) for bits in WIDTHS
    }
    row |= {"accuracy, float32": accuracy(logits_of(model, x), y)}
    row |= {"accuracy, fake-quantized": accuracy(logits_of(network.simulated, x), y)}
    differ = disagreements(network, x)
    row |= {
        "agreement": 1 - len(differ) / len(x),
        "largest margin of a disagreement, codes": max([0, *differ.tolist()]),
    }
    row |= {
        "largest gap of a layer, codes": max(gap.largest for gap in gaps_on_equal_inputs(network, x[:500]).values())
    }
    clocks = timed(model, network, x[:64])
    return row | {f"ms a batch of 64, {name}": clock for name, clock in clocks.items()}


def report(rows: Sequence[Mapping[str, float]]) -> str:
    """Mean and spread over the trials, a line for each number."""
    if len(rows) < 2:
        return "\n".join(f"{name:40} {value:.4g}" for name, value in rows[0].items())
    return "\n".join(f"{name:40} {summarise([row[name] for row in rows]):.4g}" for name in rows[0])
