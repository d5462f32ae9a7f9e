"""One Conformer layer with a chunk-based convolution, and what a stream carries between steps.

Symbols: ``B`` recordings, ``n`` frames of this call, ``K`` encoder frames heard, ``H`` heads, ``D``
channels of a head, ``C`` channels, ``F`` mel bins, ``p`` half a convolution kernel.

Half a feed-forward module, attention, convolution, half a feed-forward module, normalisation
(Conformer, arXiv 2005.08100). The names of modules are those of the published weights. Left context
is unlimited, as published, so the state grows with the audio in either mode.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echostream.baseline.attention import Dropout, RelativeAttention
from echostream.baseline.convolution import ChunkConv1d
from echostream.encoder.linear import Linear
from echostream.encoder.state import EncoderState, State


@dataclass(frozen=True)
class LayerState(State):
    """Of one Conformer layer."""

    keys: Tensor
    """``[B, H, K, D]``."""
    values: Tensor
    """``[B, H, K, D]``."""
    convolution: Tensor
    """``[B, C, p]``: the last inputs of the depthwise convolution, zeros before the start."""


@dataclass(frozen=True)
class ConformerCache(State):
    """What encoding needs of the frames that were encoded before."""

    subsampler: tuple[Tensor, ...]
    """The last inputs of each subsampler convolution, ``[B, channels, p]``."""
    layers: tuple[LayerState, ...]


@dataclass(frozen=True)
class ChunkConformerState(EncoderState):
    """Everything the encoder remembers of ``B`` streams, which advance together.

    Made by ``ChunkConformerEncoder.init_state`` and replaced by each ``step``.
    """

    counters = frozenset(("processed_frames", "segment_id", "finished", "pending_lengths"))

    processed_frames: Tensor
    """``[B]`` int64: encoder frames given out so far."""
    segment_id: Tensor
    """``[B]`` int64: segments pushed so far."""
    finished: Tensor
    """``[B]`` bool: the end of the recordings was pushed."""
    pending: Tensor
    """``[B, w, F]``: feature frames that do not fill a chunk yet, ``w < 4 chunk_size``."""
    pending_lengths: Tensor
    """``[B]`` int64, each ``w``."""
    heard: Tensor
    """``[B, T, F]``: each feature frame that was encoded, in mode ``recompute``; else none."""
    cache: ConformerCache | None
    """In mode ``cached``."""
    chunk_size: int
    conv_chunk_size: int
    mode: str
    layout: str
    """Which configuration the tensors are laid out for (``ChunkConformerEncoder.layout``)."""


class FeedForward(nn.Module):
    """Normalisation and two linear layers with SiLU between them."""

    def __init__(self, embed_dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(embed_dim)
        self.w_1 = Linear(embed_dim, ffn_dim)
        self.w_2 = Linear(ffn_dim, embed_dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, n, C] -> [B, n, C]``."""
        x = self.dropout(functional.silu(self.w_1(self.layer_norm(x))))
        return self.dropout(self.w_2(x))


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise and pointwise convolution; none has a bias."""

    def __init__(self, embed_dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(embed_dim)
        self.pointwise_conv1 = nn.Conv1d(embed_dim, 2 * embed_dim, 1, bias=False)
        self.depthwise_conv = ChunkConv1d(
            embed_dim, embed_dim, kernel, groups=embed_dim, bias=False
        )
        self.batch_norm = nn.BatchNorm1d(embed_dim)
        self.pointwise_conv2 = nn.Conv1d(embed_dim, embed_dim, 1, bias=False)
        self.dropout = Dropout(dropout)

    def init_past(self, batch_size: int) -> Tensor:
        """The inputs of the depthwise convolution before the first frame."""
        return self.depthwise_conv.init_past(batch_size)

    def forward(
        self, x: Tensor, conv_chunk_size: int, past: Tensor, valid: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """``[B, n, C]`` after ``past``; ``valid`` ``[B, n]`` is 0 after a recording's end."""
        x = functional.glu(self.pointwise_conv1(self.layer_norm(x).transpose(1, 2)), dim=1)
        if valid is not None:
            # The published code convolves padding in; alone a recording is followed by zeros.
            x = x * valid.unsqueeze(1)
        x, past = self.depthwise_conv(x, conv_chunk_size, past)
        x = self.pointwise_conv2(functional.silu(self.batch_norm(x)))
        return self.dropout(x.transpose(1, 2)), past


class ConformerLayer(nn.Module):
    """``[B, n, C] -> [B, n, C]``, with what it keeps of the frames before."""

    def __init__(
        self, embed_dim: int, ffn_dim: int, num_heads: int, conv_kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.ffn1 = FeedForward(embed_dim, ffn_dim, dropout)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.self_attn = RelativeAttention(embed_dim, num_heads, dropout)
        self.self_attn_dropout = Dropout(dropout)
        self.conv_module = ConvolutionModule(embed_dim, conv_kernel, dropout)
        self.ffn2 = FeedForward(embed_dim, ffn_dim, dropout)
        self.final_layer_norm = nn.LayerNorm(embed_dim)

    @torch.no_grad()
    def shrink_branches(self, factor: float) -> None:
        """Scale what each branch adds to its input, so that a new layer nearly passes it on."""
        convolution = self.conv_module.pointwise_conv2
        for last in (self.ffn1.w_2, self.self_attn.linear_out, convolution, self.ffn2.w_2):
            last.weight *= factor

    def init_state(self, batch_size: int) -> LayerState:
        """The state before the first frame."""
        nothing = self.self_attn.init_past(batch_size)
        return LayerState(nothing, nothing, self.conv_module.init_past(batch_size))

    def forward(
        self,
        x: Tensor,
        hidden: Tensor | None,
        valid: Tensor | None,
        conv_chunk_size: int,
        state: LayerState,
    ) -> tuple[Tensor, LayerState]:
        """Encode frames that follow ``state``.

        Args:
            x: ``[B, n, C]``.
            hidden: keys that each frame must not see, ``[B, 1, n, K]``; ``None`` for none.
            valid: ``[B, n]`` 0 after the end of a recording; ``None`` if none ends before ``n``.
            conv_chunk_size: frames of a convolution window.
            state: of the frames before.
        """
        x = x + 0.5 * self.ffn1(x)
        mixed, (keys, values) = self.self_attn(
            self.self_attn_layer_norm(x), hidden, (state.keys, state.values)
        )
        x = x + self.self_attn_dropout(mixed)
        convolved, past = self.conv_module(x, conv_chunk_size, state.convolution, valid)
        x = x + convolved
        x = x + 0.5 * self.ffn2(x)
        return self.final_layer_norm(x), LayerState(keys, values, past)
