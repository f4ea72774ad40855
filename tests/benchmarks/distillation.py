"""The distillation loss, forward and backward, beside the textbook's form and torchdistill's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import distillation_loss
from tests.benchmarks.side_by_side import Row, medians


def run(repetitions: int = 200) -> Iterator[Row]:
    """128 examples, 1,000 classes; torchdistill is no dependency of the course: `uv pip install torchdistill`."""
    torch.manual_seed(0)
    student, teacher = torch.randn(128, 1000, requires_grad=True), torch.randn(128, 1000)
    labels = torch.randint(1000, (128,))

    def textbook() -> Tensor:
        log_student, soft = (student / 4).log_softmax(1), (teacher / 4).softmax(1)
        return 0.9 * 16 * F.kl_div(log_student, soft, reduction="batchmean") + 0.1 * F.cross_entropy(student, labels)

    losses: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: distillation_loss(student, teacher, labels, temperature=4.0, alpha=0.9),
        "the textbook's form": textbook,
    }
    if (peer := by_torchdistill(student, teacher, labels)) is not None:
        losses["torchdistill"] = peer

    def both_ways(loss: Callable[[], Tensor]) -> None:
        student.grad = None
        loss().backward()

    seconds = medians({name: lambda f=f: both_ways(f) for name, f in losses.items()}, repetitions=repetitions)
    for name in list(losses)[1:]:
        goal = 0.7 if name == "torchdistill" else None
        yield Row(
            f"distillation loss against {name}", 1e3 * seconds["ours"], "ms", 1e3 * seconds[name], name, goal=goal
        )


def by_torchdistill(student: Tensor, teacher: Tensor, labels: Tensor) -> Callable[[], Tensor] | None:
    """The KDLoss of torchdistill on the same logits."""
    try:
        from torchdistill.losses.mid_level import KDLoss
    except ImportError:
        return None
    loss = KDLoss("out", "output", "out", "output", temperature=4.0, alpha=0.1, reduction="batchmean")
    return lambda: loss({"out": {"output": student}}, {"out": {"output": teacher}}, targets=labels)
