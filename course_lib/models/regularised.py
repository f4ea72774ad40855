"""A large network that is kept from learning by heart: its inputs move a little, and its units drop out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.errors import require_fraction
from course_lib.models.classic import mlp


class Jitter(nn.Module):
    """While it trains, move each image by up to `share` of its size along both axes; in evaluation do nothing.

    A move by a part of a pixel weighs two neighbours, so that 8×8 images can be moved a little too.

    >>> moved = Jitter(share=0.5)(torch.ones(9, 1, 4, 4))
    >>> moved.shape, bool((moved < 0.99).any())
    (torch.Size([9, 1, 4, 4]), True)
    """

    def __init__(self, share: float = 2 / 28) -> None:
        super().__init__()
        self.share = require_fraction("share", share, of="the image's height and width")

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> the same shape."""
        if not self.training:
            return x
        down, across = (movers(len(x), size, self.share) for size in x.shape[2:])
        return down @ x @ across.transpose(-1, -2)


def movers(n: int, size: int, share: float) -> Tensor:
    """For each of n images a matrix, (n, 1, size, size), that moves its columns of pixels by a random distance.

    >>> torch.equal(movers(1, 3, share=0.0)[0, 0], torch.eye(3))
    True
    """
    places = torch.arange(size)
    distance = (2 * torch.rand(n, 1, 1, 1) - 1) * share * size  # in pixels
    return (1 - (places[:, None] + distance - places).abs()).clamp(min=0)


def regularised_mlp(sizes: Sequence[int], *, dropout: float = 0.3, jitter: float = 2 / 28) -> nn.Sequential:
    """A multilayer perceptron with jittered inputs and dropout after each hidden layer: a teacher.

    Args:
        sizes: units from input to output, as for `mlp`.
        dropout: the share of hidden units that are silent at each step, 0..1.
        jitter: how far images move, as a share of their size; 2 of 28 pixels in Hinton et al.

    >>> regularised_mlp((4, 3, 2)).eval()(torch.zeros(5, 1, 2, 2)).shape
    torch.Size([5, 2])

    Hinton, Vinyals & Dean 2015. Lesson 12.
    """
    layers: list[nn.Module] = [Jitter(jitter)]
    for layer in mlp(sizes):
        layers += [layer, nn.Dropout(dropout)] if isinstance(layer, nn.ReLU) else [layer]
    return nn.Sequential(*layers)
