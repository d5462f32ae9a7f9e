"""Feed-forward module of a Zipformer layer.

Symbols: ``C`` channels, ``H`` hidden channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from echostream.encoder.linear import Linear, scaled_linear


class FeedForward(nn.Module):
    """``Linear -> SwooshL -> Linear -> dropout``."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.in_proj = Linear(channels, hidden, swoosh_epilogue=True)
        self.out_proj = scaled_linear(hidden, channels, 0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., C] -> [..., C]``."""
        return self.dropout(self.out_proj(self.in_proj(x)))
