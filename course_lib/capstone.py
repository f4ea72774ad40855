"""The capstone's judge: a file, a budget, and accuracy on images drawn fresh. Nothing of a learner's is executed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import Split, load
from course_lib.errors import CourseError
from course_lib.models import lenet_300_100, mlp, small_cnn
from course_lib.quantization import deep_compression

LARGEST_FILE = 1_000_000  # bytes; a larger one is not opened
LARGEST_NETWORK = 1_000_000  # numbers
COPIES = 8  # of each held-out digit, each shifted in its own way
BATCH = 64  # images that are timed together


@dataclass(frozen=True)
class Budget:
    """What a network may cost, and what it must be able to do.

    Attributes:
        n_bytes: the largest file that passes.
        accuracy: the least accuracy on fresh images, 0..1.
        slowdown: how many times the time of LeNet-300-100 a batch may take.
        full_bytes: a file this small earns all points; the largest that passes earns `pass_share` of them.
        pass_share: 0..1.
    """

    n_bytes: int = 6_500
    accuracy: float = 0.93
    slowdown: float = 6.0
    full_bytes: int = 1_500
    pass_share: float = 0.6


BUDGET = Budget()


@dataclass(frozen=True)
class Inspection:
    """What was found in a file.

    Attributes:
        n_bytes: its length.
        accuracy: on fresh, shifted images, 0..1.
        still_accuracy: on the same images, not shifted.
        slowdown: the time of a batch, in times LeNet-300-100's.
        constant: it gives one answer to all images.
        problem: why the file could not be used, or "".
    """

    n_bytes: int
    accuracy: float = 0.0
    still_accuracy: float = 0.0
    slowdown: float = 0.0
    constant: bool = False
    problem: str = ""

    def faults(self, budget: Budget = BUDGET) -> list[str]:
        """What keeps it from passing, in words; empty if it passes."""
        if self.problem:
            return [self.problem]
        said = []
        if self.n_bytes > budget.n_bytes:
            said.append(f"the file has {self.n_bytes:,} bytes, {budget.n_bytes:,} are allowed")
        if self.accuracy < budget.accuracy:
            said.append(f"{self.accuracy:.1%} of the fresh images are right, {budget.accuracy:.0%} are needed")
        if self.slowdown > budget.slowdown:
            said.append(f"it takes {self.slowdown:.1f} times as long as LeNet-300-100, {budget.slowdown:g} are allowed")
        return said

    def share(self, budget: Budget = BUDGET) -> float:
        """The share of the points, 0..1: nothing without passing, then the more the smaller the file.

        >>> [round(Inspection(n, accuracy=0.95).share(), 2) for n in (6501, 6500, 3000, 1500, 900)]
        [0.0, 0.6, 0.81, 1.0, 1.0]
        """
        if self.faults(budget):
            return 0.0
        way = math.log(budget.n_bytes / self.n_bytes) / math.log(budget.n_bytes / budget.full_bytes)
        return budget.pass_share + (1 - budget.pass_share) * min(1.0, way)

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        return (
            f"{self.n_bytes:,} bytes; fresh images {self.accuracy:.1%} right, unshifted {self.still_accuracy:.1%}; "
            f"{self.slowdown:.1f} times LeNet-300-100's time"
        )


def inspect(data: bytes, *, seed: int = 0) -> Inspection:
    """Read a file of `deep_compression.save` into a network of ours, and measure it on images drawn from `seed`.

    The file's length is its size, whatever it says of itself; it holds numbers only, and none of it is executed.

    Args:
        data: the bytes of the file.
        seed: which shifts the held-out digits get.

    >>> inspect(b"PK...").problem
    'This is not a file that deep_compression.save wrote: it begins otherwise.'

    Lesson 17.
    """
    if len(data) > LARGEST_FILE:
        return Inspection(len(data), problem=f"A file of {len(data):,} bytes is not opened: far over any budget.")
    try:
        network = rebuilt(deep_compression.unpack(data, most_numbers=LARGEST_NETWORK))
    except CourseError as error:
        return Inspection(len(data), problem=str(error))
    fresh, still = fresh_images(seed), load("digits").test
    with torch.no_grad():
        answers, plain = network(fresh.x).argmax(dim=1), network(still.x).argmax(dim=1)
    return Inspection(
        len(data),
        accuracy=float((answers == fresh.y).float().mean()),
        still_accuracy=float((plain == still.y).float().mean()),
        slowdown=slowdown(network),
        constant=bool((answers == answers[0]).all()),
    )


def rebuilt(tensors: Mapping[str, Tensor]) -> nn.Module:
    """The course's own network for these tensors: `mlp` or `small_cnn`, of whatever widths.

    Raises:
        CourseError: the names and shapes are of no such network for 8×8 digits.

    >>> rebuilt(small_cnn(channels=(4, 8)).state_dict())[0]
    Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))

    Lesson 17.
    """
    shapes = [tuple(tensor.shape) for name, tensor in tensors.items() if name.endswith(".weight")]
    channels = [shape[0] for shape in shapes if len(shape) == 4]
    try:
        network = small_cnn(channels=channels) if channels else mlp([64, *[shape[0] for shape in shapes]])
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (CourseError, RuntimeError, ValueError, IndexError):
        raise CourseError(
            f"These tensors are of no network that can be judged here: {described(tensors)}. Hand in the state_dict of "
            "mlp([64, ..., 10]) or small_cnn(channels=(...)) from course_lib.models."
        ) from None
    if network(torch.zeros(1, 1, 8, 8)).shape != (1, 10):
        raise CourseError(f"This network does not give ten logits for a digit: {described(tensors)}.")
    return network.eval()


def described(tensors: Mapping[str, Tensor]) -> str:
    """The first few names and shapes."""
    told = [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()]
    return ", ".join(told[:4]) + (", ..." if len(told) > 4 else "") if told else "none at all"


def shifted(split: Split, *, copies: int, seed: int, most: float = 1.0) -> Split:
    """Several copies of each image, each shifted at random by up to `most` pixels, in fractions of a pixel too.

    Args:
        split: images (n, channels, height, width).
        copies: how many of each.
        seed: of the shifts.
        most: in each direction; what leaves the frame is lost, what enters is 0.

    >>> shifted(load("digits").test, copies=2, seed=0).x.shape
    torch.Size([720, 1, 8, 8])

    Lesson 17.
    """
    x, y = split.x.repeat(copies, 1, 1, 1), split.y.repeat(copies)
    height, width = x.shape[2:]
    random = 2 * torch.rand(len(x), 2, generator=torch.Generator().manual_seed(seed)) - 1  # (n, 2), -1..1
    move = most * random * torch.tensor([2 / width, 2 / height])  # affine_grid counts in half images
    turn = torch.cat([torch.eye(2).expand(len(x), 2, 2), move.unsqueeze(2)], dim=2)  # (n, 2, 3)
    return Split(F.grid_sample(x, F.affine_grid(turn, x.shape, align_corners=False), align_corners=False), y)


def fresh_images(seed: int) -> Split:
    """The held-out digits of fold 0, each in several random shifts that nobody has seen before.

    Lesson 17.
    """
    return shifted(load("digits").test, copies=COPIES, seed=seed + 1_000_003)


@torch.no_grad()
def slowdown(network: nn.Module, *, turns: int = 60) -> float:
    """The time of a batch, in times LeNet-300-100's; both take turns, and the best turn of each counts."""
    rival, x = lenet_for_timing(), torch.zeros(BATCH, 1, 8, 8)
    best = {network: math.inf, rival: math.inf}
    for _ in range(turns):
        for model in best:
            start = perf_counter()
            model(x)
            best[model] = min(best[model], perf_counter() - start)
    return best[network] / best[rival]


@cache
def lenet_for_timing() -> nn.Module:
    """The network that others are timed against; its weights do not matter."""
    return lenet_300_100().eval()


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those (bytes, accuracy) that no other beats: none has at most the bytes and at least the accuracy.

    Equal points are kept once; the result ascends in bytes.

    >>> frontier([(300, 0.9), (100, 0.8), (200, 0.7), (300, 0.95)])
    [(100, 0.8), (300, 0.95)]

    Lesson 17.
    """
    kept: list[tuple[float, float]] = []
    for n_bytes, accuracy in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not kept or accuracy > kept[-1][1]:
            kept.append((n_bytes, accuracy))
    return kept
