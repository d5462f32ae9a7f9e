"""A layer of Whisper's encoder, over a chunk with its cache or over a whole window.

Symbols: ``B`` streams, ``c`` frames of a chunk, ``n`` frames of this call, a chunk and its right
context, ``P`` frames before them, ``C`` channels, ``H`` heads, ``d = C / H``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.linear import Linear
from echostream.encoder.whisper.state import LayerCache
from echostream.kernel import graph_kernel, kernel_for


@dataclass(frozen=True, eq=False)
class Place:
    """Where the chunks of streams stand in their windows."""

    blocks: tuple[int, ...]
    """Of each stream how many blocks are before its chunk."""
    mask: Tensor
    """``[B, 1, n, P + n]``, ``P`` frames of as many blocks as any stream has, and then the call's:
    minus infinity where a stream has heard nothing, else 0."""
    chunk_size: int
    """Frames that go into the caches; those after them are right context, and come again."""


class WhisperLayer(nn.Module):
    """Pre-norm self-attention and feed-forward (Radford et al. 2022, arXiv 2212.04356)."""

    def __init__(self, channels: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(channels)
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels, bias=False)
        self.value = Linear(channels, channels)
        self.out = Linear(channels, channels)
        self.ffn_norm = nn.LayerNorm(channels)
        self.ffn_in = Linear(channels, ffn_dim, gelu_epilogue=True)
        self.ffn_out = Linear(ffn_dim, channels)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """A whole window ``[B, n, C]``; ``visible`` [n, n] bool is where a frame may look."""
        y = self.attention_norm(x)
        query, key, value = (self._split(each(y)) for each in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self._after(x, attended.transpose(1, 2).flatten(2))

    def step(self, x: Tensor, cache: LayerCache, place: Place) -> tuple[Tensor, LayerCache]:
        """Frames ``[B, n, C]`` behind what the cache holds, and the cache with their chunk."""
        y = self.attention_norm(x)
        query, key, value = self.query(y), self.key(y), self.value(y)
        past = max(place.blocks)
        attended = self._attended(
            query, (*cache.keys[:past], key), (*cache.values[:past], value), place.mask
        )
        key, value = (each[:, : place.chunk_size].contiguous() for each in (key, value))
        written = LayerCache(
            _written(cache.keys, key, place.blocks), _written(cache.values, value, place.blocks)
        )
        return self._after(x, attended), written

    def _attended(
        self,
        query: Tensor,
        keys: tuple[Tensor, ...],
        values: tuple[Tensor, ...],
        mask: Tensor,
    ) -> Tensor:
        """``[B, n, C]`` for keys and values in blocks ``[B, c, C]``, those of the call last."""
        query = query * math.sqrt(self.num_heads / query.shape[-1])
        kernel = kernel_for(query) if graph_kernel() is None else None
        if kernel is not None:
            nothing = query[:, :0]
            projected = torch.cat((query, keys[-1]), 2)
            # Scores that have no part for relative positions.
            positions = query.new_zeros(self.num_heads, 0, 0)
            weights = kernel.attention_weights(
                projected, keys[:-1] or (nothing,), positions, mask, self.num_heads
            )
            return kernel.attention_mix(
                weights, values[:-1] or (nothing,), values[-1], self.num_heads
            )
        key, value = self._split(torch.cat(keys, 1)), self._split(torch.cat(values, 1))
        weights = (self._split(query) @ key.transpose(2, 3) + mask).softmax(dim=3)
        return (weights @ value).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """``[B, any, C] -> [B, H, any, d]``."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = self.out.added_to(x, attended)
        return self.ffn_out.added_to(x, self.ffn_in(self.ffn_norm(x)))


def _written(
    blocks: tuple[Tensor, ...], new: Tensor, places: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Blocks ``[B, c, C]`` with the chunk ``[B, c, C]`` of each stream at its place."""
    written = list(blocks)
    numbers = set(places)
    if len(numbers) == 1:
        written[places[0]] = new
        return tuple(written)
    for number in numbers:
        own = torch.tensor([place == number for place in places], device=new.device)
        written[number] = torch.where(own[:, None, None], new, blocks[number])
    return tuple(written)
