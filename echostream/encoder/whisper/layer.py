"""A layer of Whisper's encoder, over a chunk with its cache or over a whole window.

Symbols: ``B`` streams, ``c`` frames of this call, ``P`` frames of a page, ``C`` channels, ``H``
heads, ``d = C / H``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.linear import Linear
from echostream.encoder.whisper.state import LayerCache


@dataclass(frozen=True, eq=False)
class Place:
    """Where the frames of a chunk stand in the windows of their streams."""

    page: int
    """Frames of a page, ``P``."""
    starts: tuple[int, ...]
    """Position of the first frame of each stream's chunk."""
    reach: int
    """Positions of the window that any stream looks at."""
    hidden: Tensor | None
    """``[B, 1, 1, reach]`` bool: positions that a stream has not heard; ``None`` for none."""


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
        self.ffn_in = Linear(channels, ffn_dim)
        self.ffn_out = Linear(ffn_dim, channels)

    def forward(self, x: Tensor, visible: Tensor | None) -> Tensor:
        """A whole window ``[B, c, C]``; ``visible`` [c, c] bool is where a frame may look."""
        query, key, value = self._projected(x)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self._after(x, attended)

    def step(self, x: Tensor, cache: LayerCache, place: Place) -> tuple[Tensor, LayerCache]:
        """A chunk ``[B, c, C]`` behind what the cache holds, and the cache with it."""
        query, key, value = self._projected(x)
        cache = LayerCache(_written(cache.keys, key, place), _written(cache.values, value, place))
        query = query * (1 / math.sqrt(query.shape[-1]))
        keys, values = _read(cache.keys, place), _read(cache.values, place)
        scores = torch.cat([query @ page.transpose(2, 3) for page in keys], dim=3)
        if place.hidden is not None:
            scores = scores.masked_fill(place.hidden, -math.inf)
        weights = scores.softmax(dim=3).split(place.page, dim=3)
        attended = weights[0] @ values[0]
        for own, page in zip(weights[1:], values[1:], strict=True):
            attended = attended + own @ page
        return self._after(x, attended), cache

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[B, H, c, d]``."""
        y = self.attention_norm(x)
        query, key, value = (
            part(y).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        return query, key, value

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        y = self.ffn_in(self.ffn_norm(x))
        return x + self.ffn_out(functional.gelu(y))


def _written(pages: tuple[Tensor, ...], new: Tensor, place: Place) -> tuple[Tensor, ...]:
    """Pages ``[B, H, P, d]`` with the chunk ``[B, H, c, d]`` in them; only those are copied.

    A chunk divides a page, so that it never lies across two.
    """
    written = list(pages)
    frames = new.shape[2]
    for number in {start // place.page for start in place.starts}:
        page = pages[number].clone()
        for row, start in enumerate(place.starts):
            if start // place.page == number:
                at = start % place.page
                page[row, :, at : at + frames] = new[row]
        written[number] = page
    return tuple(written)


def _read(pages: tuple[Tensor, ...], place: Place) -> list[Tensor]:
    """The pages that are looked at, the last one as far as anybody has heard."""
    count = -(-place.reach // place.page)
    rest = place.reach - (count - 1) * place.page
    return [*pages[: count - 1], pages[count - 1][:, :, :rest]]
