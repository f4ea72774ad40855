"""Deep chains of equal blocks, to see what depth costs."""

from __future__ import annotations

from torch import Tensor, nn

from course_lib.errors import require_choice, require_positive


class Residual(nn.Module):
    """x + dropout(relu(linear(norm(x)))): a chain of these can be trained however long it is.

    >>> import torch
    >>> Residual(8)(torch.zeros(2, 8)).shape
    torch.Size([2, 8])

    He et al. 2016. Lesson 13.
    """

    def __init__(self, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:  # (batch, width)
        """Add what the body says to its input."""
        return x + self.body(x)


class Gated(nn.Module):
    """Half of a linear layer's outputs, each multiplied by the sigmoid of one of the other half.

    >>> import torch
    >>> Gated(8)(torch.zeros(2, 8)).shape
    torch.Size([2, 8])

    Dauphin et al. 2017. Lesson 13.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:  # (batch, width)
        """Split, and let one half open or close the other."""
        values, gates = self.linear(x).chunk(2, dim=-1)
        return values * gates.sigmoid()


def deep_chain(blocks: int, width: int, *, kind: str = "plain", dropout: float = 0.0) -> nn.Sequential:
    """A chain of equal blocks: (batch, width) in, (batch, width) out.

    Args:
        blocks: how many, 1 or more.
        width: units of every block.
        kind: "plain" (linear, ReLU, and dropout where there is some), "residual" or "gated".
        dropout: probability, 0..1.

    >>> import torch
    >>> deep_chain(3, 8)(torch.zeros(2, 8)).shape
    torch.Size([2, 8])

    Lesson 13.
    """
    require_positive("blocks", blocks), require_positive("width", width)
    dropped = [nn.Dropout(dropout)] if dropout else []
    make = {
        "plain": lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), *dropped),
        "residual": lambda: Residual(width, dropout),
        "gated": lambda: Gated(width),
    }[require_choice("kind", kind, ("plain", "residual", "gated"))]
    return nn.Sequential(*(make() for _ in range(blocks)))
