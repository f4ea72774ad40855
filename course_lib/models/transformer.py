"""A small transformer that writes one token after the other, with or without a cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.attention import KeyValueCache, attention
from course_lib.errors import CourseError


class Block(nn.Module):
    """Attention over the tokens so far, then a small network on each token; both add to what came in.

    Lesson 16.
    """

    def __init__(self, width: int, heads: int, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.heads, self.attend = heads, attend
        self.norm, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """(batch, tokens, width) -> the same shape; `cache` holds the keys and values of the tokens before."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if cache is not None:
            k, v = cache.append(k, v)
        looked = self.attend(q, k, v, causal=True)  # (batch, heads, tokens, width / heads)
        x = x + self.out(looked.transpose(1, 2).flatten(2))
        return x + self.network(self.norm_2(x))


class Transformer(nn.Module):
    """A decoder: tokens -> logits of the next token at every place.

    Args:
        vocabulary: number of different tokens.
        width: of each token's vector; `heads` divides it.
        heads, layers: attention heads in each layer, and layers.
        longest: the most tokens of a sequence.
        attend: the attention to use, called as attend(q, k, v, causal=True).

    Raises:
        CourseError: heads that do not divide the width, or a sequence that is too long.

    >>> model = Transformer(12, width=16, heads=2, layers=1, longest=8)
    >>> model(torch.zeros(3, 5, dtype=torch.int64)).shape
    torch.Size([3, 5, 12])

    Vaswani et al. 2017. Lesson 16.
    """

    def __init__(
        self, vocabulary: int, *, width: int = 64, heads: int = 4, layers: int = 2, longest: int = 64,
        attend: Callable[..., Tensor] = attention,
    ) -> None:  # fmt: skip
        super().__init__()
        if width % heads:
            raise CourseError(f"Each head gets width / heads numbers, but {heads} heads do not divide {width}.")
        self.longest = longest
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(longest, width)
        self.blocks = nn.ModuleList(Block(width, heads, attend) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor, caches: list[KeyValueCache] | None = None) -> Tensor:
        """(batch, tokens) -> logits, (batch, tokens, vocabulary); `caches`, one a layer, hold the tokens before."""
        start = caches[0].length if caches else 0
        if start + tokens.shape[1] > self.longest:
            raise CourseError(f"This transformer reads {self.longest} tokens, but there are {start + tokens.shape[1]}.")
        x = self.tokens(tokens) + self.places(torch.arange(start, start + tokens.shape[1]))
        for block, cache in zip(self.blocks, caches or [None] * len(self.blocks), strict=True):
            x = block(x, cache)
        return self.head(self.norm(x))


@torch.no_grad()
def generate(
    model: Transformer, prompt: Tensor, n_tokens: int, *, new_cache: Callable[[], KeyValueCache] | None = KeyValueCache
) -> Tensor:
    """Write the most likely next token, again and again.

    Args:
        model: a transformer.
        prompt: (batch, tokens), int64, at least one token.
        n_tokens: how many to write.
        new_cache: makes the cache of a layer; None reads the whole sequence again for each token.

    Returns:
        the new tokens, (batch, n_tokens).

    >>> model = Transformer(12, width=16, heads=2, layers=1, longest=8)
    >>> prompt = torch.tensor([[1, 2, 3]])
    >>> torch.equal(generate(model, prompt, 4), generate(model, prompt, 4, new_cache=None))
    True

    Lesson 16.
    """
    if prompt.shape[1] == 0:
        raise CourseError("The prompt is empty: there is no token to go on from.")
    caches = [new_cache() for _ in model.blocks] if new_cache else None
    tokens = unread = prompt
    for _ in range(n_tokens):
        following = model(unread, caches)[:, -1].argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, following], dim=1)
        unread = following if caches else tokens
    return tokens[:, prompt.shape[1] :]
