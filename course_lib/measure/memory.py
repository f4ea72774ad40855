"""Bytes: of a file that is really written, and of what autograd really keeps."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from course_lib.errors import CourseError


def stored_bytes(model: nn.Module) -> int:
    """The length in bytes of a file that holds the network's parameters and buffers and is read back unchanged.

    The file is safetensors: 8 bytes of length, a JSON header, the raw numbers. Zeros take as much room as other
    numbers: pruning alone does not shrink a file.

    Raises:
        CourseError: what was read back differs from what was written, or the network has no numbers (`models.empty`).

    >>> stored_bytes(nn.Linear(100, 10)) - 4 * 1010 < 200  # 1,010 numbers of 4 bytes, and a short header
    True

    Lesson 01.
    """
    from safetensors.torch import load_file, save_model

    if any(tensor.is_meta for tensor in model.state_dict().values()):
        raise CourseError(
            "This network was built empty: it has shapes but no numbers to store. Build it without empty()."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(model, str(path))
        restored = load_file(path)
        for name, tensor in model.state_dict().items():
            if name in restored and not torch.equal(restored[name], tensor.cpu()):
                raise CourseError(f"The file does not give {name} back as it was: is there a NaN in it?")
        return path.stat().st_size


def saved_bytes(fn: Callable[[], object]) -> int:
    """The bytes that autograd keeps for the backward pass while `fn()` runs, each piece of memory counted once.

    Two saved tensors that share one storage (a view and its base) cost that storage only once. Parameters, which
    exist anyway, count too: subtract what you do not ask about.

    Args:
        fn: called once without arguments; it runs a forward pass.

    >>> x = torch.ones(1000, requires_grad=True)
    >>> saved_bytes(lambda: x.exp())  # exp keeps its result: 1,000 numbers of 4 bytes
    4000

    Lessons 01 and 13.
    """
    storages: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no address is used twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fn()
    return sum(storage.nbytes() for storage in storages.values())


def peak_bytes(fn: Callable[[], object]) -> int:
    """The most bytes of new tensors that are alive at one time while `fn()` runs: forward, backward, or both.

    Every operation's results are noted when they are made and struck off when their memory is freed. What existed
    before does not count.

    >>> x = torch.ones(1000)
    >>> peak_bytes(lambda: (x + 1) * 2)  # the sum and the product are alive together, for a moment
    8000

    Lesson 13.
    """
    with AllocationTracker() as tracker:
        fn()
    return tracker.peak


class AllocationTracker(TorchDispatchMode):
    """Sees every operation, and when the memory of its results is freed; `live` and `peak` are bytes.

    Lesson 13.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch would import its compiler, which takes seconds, only to mark this mode as not to be compiled."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run the operation, then note what is new."""
        before = {storage_of(t)._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and storage_of(tensor)._cdata not in before | self.known:
                self.note(storage_of(tensor))
        return out

    def note(self, storage: torch.UntypedStorage) -> None:
        """Count a new piece of memory until it is freed."""
        key, n_bytes = storage._cdata, storage.nbytes()
        self.known.add(key)
        self.live += n_bytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.strike_off, key, n_bytes)

    def strike_off(self, key: int, n_bytes: int) -> None:
        """Its memory is free again."""
        self.known.discard(key)
        self.live -= n_bytes


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage:
    """The piece of memory that a tensor looks at."""
    return tensor.untyped_storage()
