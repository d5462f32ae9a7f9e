"""One Zipformer layer (arXiv 2310.11230, figure 2) and its feed-forward module.

Symbols: ``B`` streams, ``N`` chunks in this call, ``S`` frames of a chunk, ``P`` frames of left
context, ``C`` channels, ``H`` hidden channels of the feed-forward module.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echostream.encoder.attention import AttentionWeights, NonlinearAttention, SelfAttention
from echostream.encoder.convolution import Convolution
from echostream.encoder.ct_mask import StackMask
from echostream.encoder.linear import Linear, scaled_linear
from echostream.encoder.norm import BiasNorm, Bypass
from echostream.encoder.state import State


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


@dataclass(frozen=True)
class LayerState(State):
    """What a layer remembers: the last ``P`` keys and values, ``K // 2`` convolution inputs."""

    keys: Tensor
    """``[B, P, heads * query_head_dim]``"""
    nonlinear_values: Tensor
    """``[B, P, 3 C / 4]``"""
    values1: Tensor
    """``[B, P, heads * value_head_dim]``"""
    values2: Tensor
    """``[B, P, heads * value_head_dim]``"""
    conv1: Tensor
    """``[B, K // 2, C]``"""
    conv2: Tensor
    """``[B, K // 2, C]``"""


class ZipformerLayer(nn.Module):
    """Attention weights once; feed-forward, attention, convolution twice; bypass in the middle."""

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        ffn_dim: int,
        conv_kernel: int,
        query_head_dim: int,
        value_head_dim: int,
        pos_head_dim: int,
        pos_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        # Hidden sizes in proportion 3 : 4 : 5, in multiples of what a vector register holds.
        small, middle, large = (max(1, round(ffn_dim * part / 5 / 16)) * 16 for part in (3, 4, 5))
        hidden = 3 * channels // 4
        self.attention_weights = AttentionWeights(
            channels, heads, query_head_dim, pos_head_dim, pos_dim
        )
        self.feed_forward1 = FeedForward(channels, small, dropout)
        self.nonlinear_attention = NonlinearAttention(channels, hidden)
        self.self_attention1 = SelfAttention(channels, heads, value_head_dim)
        self.convolution1 = Convolution(channels, conv_kernel)
        self.feed_forward2 = FeedForward(channels, middle, dropout)
        self.bypass_middle = Bypass(channels)
        self.self_attention2 = SelfAttention(channels, heads, value_head_dim)
        self.convolution2 = Convolution(channels, conv_kernel)
        self.feed_forward3 = FeedForward(channels, large, dropout)
        self.norm = BiasNorm(channels)
        self.bypass = Bypass(channels)
        # Channels of each past in the order of LayerState, and the frames of the last two.
        values = heads * value_head_dim
        self._past_channels = (heads * query_head_dim, hidden, values, values, channels, channels)
        self._conv_history = conv_kernel // 2

    def init_state(self, batch_size: int, left: int) -> LayerState:
        """The state before the first frame, with ``left`` frames of left context."""
        like = self.norm.bias
        frames = (left, left, left, left, self._conv_history, self._conv_history)
        pasts = (
            like.new_zeros(batch_size, length, channels)
            for length, channels in zip(frames, self._past_channels, strict=True)
        )
        with torch.no_grad():
            return LayerState(*pasts)

    def forward(self, x: Tensor, masks: StackMask, state: LayerState) -> tuple[Tensor, LayerState]:
        """``[B, N * S, C] -> ([B, N * S, C], state)``."""
        before = x
        weights, keys = self.attention_weights(x, masks, state.keys)
        x = x + self.feed_forward1(x)
        y, nonlinear_values = self.nonlinear_attention(x, weights, masks, state.nonlinear_values)
        x = x + y
        y, values1 = self.self_attention1(x, weights, masks, state.values1)
        x = x + y
        y, conv1 = self.convolution1(x, masks, state.conv1)
        x = x + y
        x = x + self.feed_forward2(x)
        x = self.bypass_middle(before, x)
        y, values2 = self.self_attention2(x, weights, masks, state.values2)
        x = x + y
        y, conv2 = self.convolution2(x, masks, state.conv2)
        x = x + y
        x = x + self.feed_forward3(x)
        x = self.bypass(before, self.norm(x))
        return x, LayerState(keys, nonlinear_values, values1, values2, conv1, conv2)
