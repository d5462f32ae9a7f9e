"""A layer of Whisper's encoder, over a chunk with its cache or over a whole window.

Symbols: ``B`` streams, ``c`` frames of this call, ``N`` frames in the cache, ``C`` channels,
``H`` heads.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from echostream.encoder.linear import Linear
from echostream.encoder.whisper.state import LayerCache


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

    def forward(
        self,
        x: Tensor,
        visible: Tensor | None,
        cache: LayerCache | None = None,
        places: Tensor | None = None,
        reach: int = 0,
    ) -> tuple[Tensor, LayerCache | None]:
        """``[B, c, C]`` to the same, and the cache with these frames in it.

        ``visible`` is true where a frame may look, broadcast to ``[B, 1, c, n]``; ``None`` for
        everywhere. With a cache the frames go to its ``places`` [B, c, C] int64, and what is looked
        at are its first ``n = reach`` frames; without one it is the ``n = c`` frames themselves.
        """
        y = self.attention_norm(x)
        keys, values = self.key(y), self.value(y)
        if cache is not None and places is not None:
            keys = cache.keys.scatter(1, places, keys)
            values = cache.values.scatter(1, places, values)
            cache = LayerCache(keys, values)
            keys, values = keys[:, :reach], values[:, :reach]
        attended = functional.scaled_dot_product_attention(
            self._heads(self.query(y)), self._heads(keys), self._heads(values), attn_mask=visible
        )
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        y = self.ffn_in(self.ffn_norm(x))
        return x + self.ffn_out(functional.gelu(y)), cache

    def _heads(self, x: Tensor) -> Tensor:
        """``[B, n, C] -> [B, H, n, C / H]``."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
