"""Sharing the weights of a network: one codebook for each layer, over the weights that pruning left.

Weights that are zero stay zero and take no place in the codebook. Training then moves the shared values only: every
weight with the same code gets the sum of their gradients, so that all of them move together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_lib.errors import CourseError, require_positive
from course_lib.quantization.kmeans import Codebook, kmeans_1d


def share_weights(
    weights: Mapping[str, Tensor], bits: int | Mapping[str, int], *, init: str = "linear", seed: int = 0
) -> dict[str, Codebook]:
    """A codebook of at most 2^bits values for the non-zero weights of each layer.

    Args:
        weights: parameter name -> weights of any shape; what is zero counts as pruned.
        bits: of a code, 1..16; one number for all layers, or parameter name -> bits.
        init: where k-means starts, see `kmeans_1d`.
        seed: for init="random".

    Returns:
        parameter name -> codebook; it has fewer than 2^bits values where a layer has fewer distinct weights.

    Raises:
        CourseError: bits outside 1..16 or missing for a layer, a layer of zeros only, or weights that are not finite.

    >>> share_weights({"w": torch.tensor([0.0, 1.0, 2.0, 9.0])}, bits=1)["w"].decode()
    tensor([0.0000, 1.5000, 1.5000, 9.0000])

    Han, Mao & Dally 2016. Lesson 11.
    """
    return {name: share(name, weight.detach(), bits_of(name, bits), init, seed) for name, weight in weights.items()}


def bits_of(name: str, bits: int | Mapping[str, int]) -> int:
    """The bits of a layer's codes."""
    if isinstance(bits, Mapping) and name not in bits:
        raise CourseError(f"bits has no entry for {name!r}; it has {', '.join(bits)}.")
    given = bits[name] if isinstance(bits, Mapping) else bits
    if require_positive("bits", given) > 16:
        raise CourseError(f"bits is the size of a code, 1..16, but you passed {given}.")
    return given


def share(name: str, weight: Tensor, bits: int, init: str, seed: int) -> Codebook:
    """One layer's codebook, and code -1 where the weight is zero."""
    kept = weight != 0
    survivors = weight[kept]
    if survivors.numel() == 0:
        raise CourseError(
            f"All weights of {name!r} are zero, so there is nothing to share. Prune less, or leave it out."
        )
    shared = kmeans_1d(survivors, min(2**bits, len(survivors.unique())), init=init, seed=seed)
    codes = torch.full(weight.shape, -1, dtype=torch.int64)
    codes[kept.cpu()] = shared.codes
    return Codebook(shared.centroids, codes)


def codebook_gradient(gradient: Tensor, codebook: Codebook) -> Tensor:
    """What the loss gains for each shared value: ∂L/∂c_k = Σ ∂L/∂w over the weights whose code is k.

    Args:
        gradient: ∂L/∂w, the weights' shape.
        codebook: of those weights.

    Returns:
        (k,), the gradient's dtype.

    Raises:
        CourseError: the shapes differ.

    >>> codebook_gradient(torch.tensor([1.0, 2.0, 3.0]), Codebook(torch.tensor([0.5, 0.7]), torch.tensor([1, -1, 1])))
    tensor([0., 4.])

    Han, Mao & Dally 2016. Lesson 11.
    """
    return per_code(gradient, codebook)[:-1]


def per_code(numbers: Tensor, codebook: Codebook) -> Tensor:
    """The sum of the numbers of each code, (k + 1,); the last entry stands for pruned weights, and is zero."""
    k, codes = len(codebook.centroids), codebook.codes
    if numbers.shape != codes.shape:
        raise CourseError(f"The codebook is for weights of shape {tuple(codes.shape)}, not {tuple(numbers.shape)}.")
    sums = numbers.new_zeros(k + 1).index_add_(0, codes.flatten() % (k + 1), numbers.flatten())
    sums[k] = 0
    return sums


@torch.no_grad()
def apply_codebooks_(model: nn.Module, codebooks: Mapping[str, Codebook]) -> nn.Module:
    """Give every weight the value its code stands for; changes the model, and returns it.

    Args:
        model: the network the codebooks were made for.
        codebooks: parameter name -> codebook.

    Raises:
        CourseError: a name is not a parameter of the model, or its shape is another.

    >>> layer = nn.Linear(2, 1)
    >>> _ = apply_codebooks_(layer, {"weight": Codebook(torch.tensor([0.5]), torch.tensor([[0, -1]]))})
    >>> layer.weight
    Parameter containing:
    tensor([[0.5000, 0.0000]], requires_grad=True)

    Lesson 11.
    """
    for name, parameter in shared_parameters(model, codebooks).items():
        parameter.copy_(codebooks[name].decode())
    return model


def shared_parameters(model: nn.Module, codebooks: Mapping[str, Codebook]) -> dict[str, Tensor]:
    """The parameters that have a codebook, once it is known that each fits."""
    parameters = dict(model.named_parameters())
    for name, codebook in codebooks.items():
        if name not in parameters:
            raise CourseError(f"The model has no parameter {name!r}. It has: {', '.join(parameters)}.")
        if parameters[name].shape != codebook.codes.shape:
            raise CourseError(
                f"The codebook of {name!r} is for shape {tuple(codebook.codes.shape)}, "
                f"the parameter has {tuple(parameters[name].shape)}."
            )
    return {name: parameters[name] for name in codebooks}


@contextmanager
def shared_gradients(model: nn.Module, codebooks: Mapping[str, Codebook]) -> Iterator[None]:
    """Within this block, `backward` gives every weight the gradient of its shared value, and pruned weights none.

    Weights that were equal then get equal steps from any optimiser that treats each weight by itself, and stay equal:
    training the model trains its codebooks. `read_codebooks` gives them back afterwards.

    Raises:
        CourseError: a codebook does not fit the model.

    >>> layer = nn.Linear(2, 1)
    >>> with shared_gradients(layer, {"weight": Codebook(torch.tensor([0.5]), torch.tensor([[0, 0]]))}):
    ...     layer(torch.tensor([1.0, 2.0])).backward()
    >>> layer.weight.grad
    tensor([[3., 3.]])

    Han, Mao & Dally 2016. Lesson 11.
    """
    parameters = shared_parameters(model, codebooks)
    hooks = [
        parameter.register_hook(lambda gradient, codebook=codebooks[name]: per_code(gradient, codebook)[codebook.codes])
        for name, parameter in parameters.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def read_codebooks(model: nn.Module, codebooks: Mapping[str, Codebook]) -> dict[str, Codebook]:
    """The same codes with the values the model's weights have now: for each code, the mean of its weights.

    After `shared_gradients`, when all weights of a code are equal, that mean is their value. After training without it,
    it is the nearest codebook: `after_step=lambda step: apply_codebooks_(model, read_codebooks(model, codebooks))`
    keeps weights shared, step by step, by the mean of their gradients instead of the sum.

    Raises:
        CourseError: a codebook does not fit the model.

    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad(): _ = layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
    >>> read_codebooks(layer, {"weight": Codebook(torch.tensor([0.5]), torch.tensor([[0, 0]]))})["weight"].centroids
    tensor([1.5000])

    Lesson 11.
    """
    found = {}
    for name, parameter in shared_parameters(model, codebooks).items():
        old = codebooks[name]
        sums, counts = (
            per_code(parameter.double(), old)[:-1],
            old.codes[old.codes >= 0].bincount(minlength=len(old.centroids)),
        )
        means = torch.where(counts > 0, sums / counts, old.centroids.double())
        found[name] = Codebook(means.to(old.centroids.dtype), old.codes)
    return found
