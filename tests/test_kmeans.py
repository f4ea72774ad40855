"""K-means in one dimension and shared weights, against scikit-learn, brute force and autograd."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.cluster import KMeans
from torch import nn

from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.quantization.kmeans import INITS, Codebook, kmeans_1d, optimal_kmeans_1d
from course_lib.quantization.weight_sharing import (
    apply_codebooks_,
    codebook_gradient,
    read_codebooks,
    share_weights,
    shared_gradients,
)
from course_lib.training import fit

QUICK = settings(deadline=None, max_examples=60)


def weights(n: int, seed: int = 0) -> torch.Tensor:
    """Numbers that are spread as weights are: a narrow and a wide bell."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.rand(n, generator=generator) < 0.3
    return torch.randn(n, generator=generator) * torch.where(wide, 0.1, 0.02)


@st.composite
def numbers_and_k(draw, largest: int = 40):
    """A tensor with many ties, float32 or float64, and a number of clusters that it has values for."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    elements = st.integers(-6, 6).map(float) | st.floats(-1e6, 1e6, width=32)
    array = draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=6), elements=elements))
    x = torch.from_numpy(array)
    return x, draw(st.integers(1, min(len(x.unique()), largest)))


def least_inertia(x: torch.Tensor, k: int) -> float:
    """By trying all ways to cut the sorted numbers into k runs."""
    ordered = x.double().flatten().sort().values
    cuts = itertools.combinations(range(1, len(ordered)), k - 1)
    runs = ([ordered[i:j] for i, j in itertools.pairwise([0, *cut, len(ordered)])] for cut in cuts)
    return min(float(sum(((run - run.mean()) ** 2).sum() for run in parts)) for parts in runs)


@QUICK
@given(numbers_and_k(), st.sampled_from(INITS))
def test_every_number_has_its_nearest_centroid_and_no_cluster_is_empty(case, init):
    x, k = case
    book = kmeans_1d(x, k, init=init)
    assert book.codes.shape == x.shape and book.codes.dtype == torch.int64
    assert book.centroids.shape == (k,) and book.centroids.dtype == x.dtype
    assert torch.equal(book.centroids, book.centroids.sort().values)
    assert len(book.codes.unique()) == k
    distances = (x.double().reshape(-1, 1) - book.centroids.double()).abs()
    chosen = distances.gather(1, book.codes.reshape(-1, 1)).squeeze(1)
    scale = 1 + x.abs().max().item()
    assert (chosen <= distances.min(dim=1).values + 1e-6 * scale).all()
    means = torch.stack([x.double()[book.codes == code].mean() for code in range(k)])
    torch.testing.assert_close(book.centroids.double(), means, rtol=1e-5, atol=1e-6 * scale)


@QUICK
@given(numbers_and_k())
def test_as_many_clusters_as_values_give_every_value_back(case):
    x, _ = case
    for init in INITS:
        assert torch.equal(kmeans_1d(x, len(x.unique()), init=init).decode(), x)


def test_neighbouring_floats_can_be_told_apart():
    for dtype in (torch.float32, torch.float64):
        one = torch.ones(1, dtype=dtype)
        second = torch.nextafter(one, 2 * one)
        x = torch.cat([one, second, torch.nextafter(second, 2 * one)])  # one midpoint rounds down, the other up
        assert torch.equal(kmeans_1d(x, 3).decode(), x)


@pytest.mark.parametrize("k", [2, 5, 16])
def test_same_inertia_as_scikit_learn_from_the_same_start(k):
    x = weights(20_000)
    first = torch.linspace(x.min(), x.max(), k)
    for tolerance, most, within in [(1e-4, 300, 0.01), (0.0, 1000, 0.001)]:
        theirs = KMeans(k, init=first[:, None].numpy(), n_init=1, tol=tolerance, max_iter=most, algorithm="lloyd")
        inertia = theirs.fit(x[:, None].double().numpy()).inertia_
        ours = kmeans_1d(x, k, init="linear", tolerance=tolerance, max_iterations=most)
        assert ours.inertia(x) <= inertia * (1 + within)


def test_a_given_start_and_no_iteration_is_plain_assignment():
    x = torch.tensor([0.0, 0.4, 0.6, 1.0, 9.0])
    book = kmeans_1d(x, 2, init=torch.tensor([1.0, 0.0]), max_iterations=0)
    assert book.codes.tolist() == [0, 0, 1, 1, 1] and book.centroids.tolist() == [0, 1]


def test_more_iterations_never_raise_the_inertia():
    x = weights(5000)
    sizes = [kmeans_1d(x, 12, init="random", seed=3, max_iterations=n).inertia(x) for n in range(12)]
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(sizes))


def test_the_starts_are_what_they_are_called():
    x = weights(1000)
    start = lambda init, **how: kmeans_1d(x, 4, init=init, max_iterations=0, **how).centroids  # noqa: E731
    torch.testing.assert_close(start("linear"), torch.linspace(x.min(), x.max(), 4))
    torch.testing.assert_close(start("density"), x.quantile(torch.tensor([1, 3, 5, 7]) / 8), atol=1e-3, rtol=0)
    assert torch.isin(start("random"), x).all()
    assert torch.equal(start("random"), start("random")) and not torch.equal(start("random"), start("random", seed=1))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.data())
def test_the_dynamic_programme_finds_the_optimum(numbers, data):
    x = torch.tensor(numbers, dtype=torch.float32)
    k = data.draw(st.integers(1, len(x.unique())))
    best = least_inertia(x, k)
    assert optimal_kmeans_1d(x, k).inertia(x) == pytest.approx(best, rel=1e-5, abs=1e-5)
    for init in INITS:
        assert kmeans_1d(x, k, init=init).inertia(x) >= best - 1e-5


def test_good_starts_come_close_to_the_optimum():
    x = weights(30_000)
    for k, within in [(4, 1.0001), (16, 1.0001), (64, 1.025)]:
        best = optimal_kmeans_1d(x, k).inertia(x)
        assert best <= kmeans_1d(x, k, init="coarse").inertia(x) <= within * best
        assert kmeans_1d(x, k, init="cube_root").inertia(x) <= 1.06 * best


def test_an_outlier_does_not_spoil_the_good_starts():
    x = torch.cat([weights(20_000), torch.tensor([1e4])])
    best = optimal_kmeans_1d(x, 16).inertia(x)
    assert kmeans_1d(x, 16, init="coarse").inertia(x) <= 1.1 * best


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (torch.zeros(0), 1, "at least one"),
        (torch.tensor([1.0, float("nan")]), 1, "1 of the 2 numbers are NaN or infinite"),
        (torch.tensor([1.0, -float("inf")]), 1, "NaN or infinite"),
        (torch.full((5,), 0.3), 2, "only 1 distinct"),
        (torch.tensor([0.0, -0.0, 1.0]), 3, "only 2 distinct"),
        (torch.arange(5.0), 0, "k must be a whole number"),
        (torch.arange(5.0), 2.0, "k must be a whole number"),
        (torch.arange(5.0).to(torch.complex64), 2, "real number"),
        ([1.0, 2.0], 1, "must be a tensor"),
    ],
)
def test_what_cannot_be_clustered_is_refused(x, k, message):
    for cluster in (kmeans_1d, optimal_kmeans_1d):
        with pytest.raises(CourseError, match=message):
            cluster(x, k)


def test_settings_that_mean_nothing_are_refused():
    x = torch.arange(5.0)
    with pytest.raises(CourseError, match="init must be 'linear' or"):
        kmeans_1d(x, 2, init="kmeans++")
    with pytest.raises(CourseError, match="3 centroids, but k is 2"):
        kmeans_1d(x, 2, init=torch.arange(3.0))
    with pytest.raises(CourseError, match="tolerance"):
        kmeans_1d(x, 2, tolerance=-1)
    with pytest.raises(CourseError, match="max_iterations"):
        kmeans_1d(x, 2, max_iterations=-1)


def test_constant_and_half_precision_tensors():
    assert torch.equal(kmeans_1d(torch.full((2, 2), 0.25), 1).decode(), torch.full((2, 2), 0.25))
    book = kmeans_1d(torch.tensor([1, 2, 9], dtype=torch.bfloat16), 2)
    assert book.centroids.tolist() == [1.5, 9.0] and book.centroids.dtype == torch.float32
    assert kmeans_1d(torch.tensor([1, 2, 9]), 2).codes.tolist() == [0, 0, 1]


def test_half_centroids_are_held_exactly_by_half_precision():
    centroids = kmeans_1d(weights(1000), 8).half().centroids
    assert centroids.dtype == torch.float32 and torch.equal(centroids.half().float(), centroids)


# Shared weights


def small_network(seed: int = 0) -> nn.Sequential:
    """Two layers, about 60 % of the weights zero."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, 10))
    with torch.no_grad():
        for name, weight in matrices(model).items():
            weight.mul_(weight.abs() > weight.abs().quantile(0.6)), name
    return model


def matrices(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights without the biases."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}


def test_sharing_leaves_zeros_alone_and_spends_no_centroid_on_them():
    model = small_network()
    books = share_weights(matrices(model), {"1.weight": 3, "3.weight": 2})
    for name, weight in matrices(model).items():
        kept = weight != 0
        assert torch.equal(books[name].codes < 0, ~kept) and torch.equal(books[name].decode() != 0, kept)
        assert len(books[name].centroids) == {"1.weight": 8, "3.weight": 4}[name]
        assert torch.equal(books[name].centroids, kmeans_1d(weight[kept], len(books[name].centroids)).centroids)
    apply_codebooks_(model, books)
    assert torch.equal(model[1].weight, books["1.weight"].decode())
    assert torch.equal(read_codebooks(model, books)["1.weight"].centroids, books["1.weight"].centroids)


def test_a_layer_with_few_survivors_gets_few_centroids():
    books = share_weights({"w": torch.tensor([[0.0, 3.0], [-0.0, 1.0]])}, 8)
    assert books["w"].centroids.tolist() == [1, 3] and books["w"].codes.tolist() == [[-1, 1], [-1, 0]]


def test_the_codebook_gradient_is_autograds():
    model = small_network()
    book = share_weights(matrices(model), 2)["3.weight"]
    centroids = book.centroids.clone().requires_grad_()
    x, target = torch.rand(7, 20), torch.randint(10, (7,))
    decoded = torch.where(book.codes >= 0, centroids[book.codes], 0.0)
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(x @ decoded.T, target), centroids)
    weight = book.decode().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(x @ weight.T, target), weight)
    torch.testing.assert_close(codebook_gradient(gradient, book), expected)


def test_pruned_weights_get_no_gradient():
    layer = nn.Linear(3, 1)
    with shared_gradients(layer, {"weight": Codebook(torch.tensor([0.5]), torch.tensor([[0, -1, 0]]))}):
        layer(torch.tensor([1.0, 2.0, 4.0])).backward()
    assert layer.weight.grad.tolist() == [[5, 0, 5]]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_with_shared_gradients_trains_the_codebooks_only(optimizer):
    model, data = small_network(), load("digits")
    books = share_weights(matrices(model), 3)
    apply_codebooks_(model, books)
    with shared_gradients(model, books):
        losses = fit(model, data.train, steps=60, lr=2e-3, optimizer=optimizer)
    assert losses[-1] < losses[0]
    trained = read_codebooks(model, books)
    for name, weight in matrices(model).items():
        torch.testing.assert_close(trained[name].decode(), weight.detach(), rtol=1e-5, atol=1e-6)
        assert not torch.equal(trained[name].centroids, books[name].centroids)
        assert (weight[books[name].codes < 0] == 0).all()
    model(data.train.x[:5]).sum().backward()  # the hooks are gone
    assert len(model[1].weight.grad.unique()) > 100


def test_weights_can_be_shared_again_after_every_step():
    model, data = small_network(), load("digits")
    books = share_weights(matrices(model), 3)
    keep = lambda step: apply_codebooks_(model, read_codebooks(model, books))  # noqa: E731
    keep(0)
    losses = fit(model, data.train, steps=40, after_step=keep)
    assert losses[-1] < losses[0]
    assert len(model[1].weight.unique()) <= 9


def test_a_code_that_no_weight_has_keeps_its_value():
    layer = nn.Linear(2, 1)
    book = Codebook(torch.tensor([0.5, 0.7]), torch.tensor([[1, 1]]))
    assert read_codebooks(layer, {"weight": book})["weight"].centroids[0].item() == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, books: share_weights(matrices(model), 0), "bits must be a whole number"),
        (lambda model, books: share_weights(matrices(model), 17), "1..16"),
        (lambda model, books: share_weights(matrices(model), {"1.weight": 3}), "no entry for '3.weight'"),
        (lambda model, books: share_weights({"w": torch.zeros(3)}, 2), "All weights of 'w' are zero"),
        (lambda model, books: share_weights({"w": torch.full((3,), float("nan"))}, 2), "NaN"),
        (lambda model, books: apply_codebooks_(model, {"2.weight": books["1.weight"]}), "no parameter '2.weight'"),
        (lambda model, books: apply_codebooks_(model, {"3.weight": books["1.weight"]}), "is for shape"),
        (lambda model, books: shared_gradients(model, {"x": books["1.weight"]}).__enter__(), "no parameter 'x'"),
        (lambda model, books: codebook_gradient(torch.zeros(3), books["1.weight"]), "is for weights of shape"),
    ],
)
def test_what_cannot_be_shared_is_refused(call, message):
    model = small_network()
    books = share_weights(matrices(model), 2)
    with pytest.raises(CourseError, match=message):
        call(model, books)
