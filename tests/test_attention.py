"""Every attention against torch's or against the n² form, gradients included; the cache; the transformer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.attention import (
    KeyValueCache,
    QuantizedCache,
    attention,
    linear_attention,
    tiled_attention,
    window_mask,
    windowed_attention,
)
from course_lib.errors import CourseError
from course_lib.measure import saved_bytes
from course_lib.models import Transformer, generate


def inputs(n, m=None, d=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 3, n, d), (2, 3, m or n, d), (2, 3, m or n, d + 1)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]


def both_agree(one, other, tensors):
    gradient = torch.randn_like(one(*tensors))
    first = [one(*tensors), *torch.autograd.grad(one(*tensors), tensors, gradient)]
    second = [other(*tensors), *torch.autograd.grad(other(*tensors), tensors, gradient)]
    return all(torch.allclose(a, b, atol=1e-10) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("causal", [True, False])
def test_exact_attention_is_torchs(causal):
    tensors = inputs(11)
    assert both_agree(
        lambda *t: attention(*t, causal=causal),
        lambda *t: F.scaled_dot_product_attention(*t, is_causal=causal),
        tensors,
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(0, 10), st.integers(1, 25), st.booleans())
def test_tiles_change_nothing_but_the_memory(n, more, tile, causal):
    tensors = inputs(n, n + more)
    how = {"causal": causal}
    assert both_agree(lambda *t: tiled_attention(*t, tile=tile, **how), lambda *t: attention(*t, **how), tensors)


def test_large_scores_do_not_overflow():
    q, k, v = (1e3 * t.detach() for t in inputs(9))
    assert torch.allclose(tiled_attention(q, k, v, tile=2), attention(q, k, v))
    assert tiled_attention(q, k, v, tile=2).isfinite().all()


def test_tiles_keep_little():
    q, k, v = (torch.randn(1, 1, 4096, 32, requires_grad=True) for _ in range(3))
    assert saved_bytes(lambda: tiled_attention(q, k, v)) <= 0.05 * saved_bytes(lambda: attention(q, k, v))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 12))
def test_a_window_is_a_mask(n, window):
    by_mask = lambda q, k, v: attention(q, k, v, mask=window_mask(n, window))
    assert both_agree(lambda *t: windowed_attention(*t, window=window), by_mask, inputs(n))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 12), st.booleans())
def test_linear_attention_in_the_costly_order(n, chunk, causal):
    def costly(q, k, v):
        weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-2, -1)
        weights = weights.tril() if causal else weights
        return weights @ v / weights.sum(-1, keepdim=True)

    assert both_agree(lambda *t: linear_attention(*t, causal=causal, chunk=chunk), costly, inputs(n))


@pytest.mark.parametrize(("new_cache", "error"), [(KeyValueCache, 0), (QuantizedCache, 1 / 254)])
def test_a_cache_gives_back_what_it_got(new_cache, error):
    cache, x = new_cache(), torch.randn(2, 3, 20, 8)
    for piece in x.split([4, 1, 7, 8], dim=-2):
        keys, values = cache.append(piece, -piece)
    assert cache.length == 20 and keys.shape == x.shape
    limit = error * x.abs().amax(-1, keepdim=True) + 1e-6
    assert ((keys - x).abs() <= limit).all() and ((values + x).abs() <= limit).all()
    full = 2 * x.numel() * 4
    assert cache.stored_bytes() == full if error == 0 else cache.stored_bytes() < 0.4 * full


@pytest.mark.parametrize("attend", [attention, tiled_attention])
def test_generation_with_and_without_cache_is_identical(attend):
    torch.manual_seed(0)
    model = Transformer(20, width=32, heads=4, layers=2, longest=40, attend=attend)
    prompt = torch.randint(20, (5, 8))
    assert torch.equal(generate(model, prompt, 20), generate(model, prompt, 20, new_cache=None))


def test_a_token_does_not_see_the_next():
    torch.manual_seed(0)
    model, tokens = Transformer(20, longest=10).eval(), torch.randint(20, (1, 10))
    changed = tokens.clone()
    changed[0, 6:] = 0
    assert torch.allclose(model(tokens)[0, :6], model(changed)[0, :6], atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: attention(torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 4)), "q \\(…, n, d\\)"),
        (lambda: attention(torch.ones(2, 3), torch.ones(4, 3), torch.ones(5, 3)), "k \\(…, m, d\\)"),
        (lambda: attention(torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3), mask=torch.tensor([[True, True], [False, False]])), "no key"),
        (lambda: attention(torch.ones(3, 3), torch.ones(2, 3), torch.ones(2, 3), causal=True), "3 queries"),
        (lambda: tiled_attention(torch.ones(3, 3), torch.ones(2, 3), torch.ones(2, 3), causal=True), "3 queries"),
        (lambda: tiled_attention(torch.ones(3, 3), torch.ones(3, 3), torch.ones(3, 3), tile=0), "tile"),
        (lambda: windowed_attention(torch.ones(3, 3), torch.ones(2, 3), torch.ones(2, 3), window=2), "one sequence"),
        (lambda: windowed_attention(*torch.ones(3, 3, 3), window=0), "window"),
        (lambda: linear_attention(torch.ones(3, 3), torch.ones(2, 3), torch.ones(2, 3), causal=True), "a key for each"),
        (lambda: KeyValueCache().append(torch.ones(2, 3), torch.ones(1, 3)), "value for each key"),
        (lambda: Transformer(5, width=10, heads=3), "do not divide"),
        (lambda: Transformer(5, longest=4)(torch.zeros(1, 5, dtype=torch.int64)), "reads 4"),
        (lambda: generate(Transformer(5), torch.zeros(1, 0, dtype=torch.int64), 1), "empty"),
    ],
)  # fmt: skip
def test_bad_input_is_told_what_is_wrong(bad, says):
    with pytest.raises(CourseError, match=says):
        bad()


def test_a_cache_refuses_another_shape():
    cache = KeyValueCache()
    cache.append(torch.ones(1, 2, 4), torch.ones(1, 2, 4))
    with pytest.raises(CourseError, match="appended"):
        cache.append(torch.ones(1, 2, 5), torch.ones(1, 2, 4))
