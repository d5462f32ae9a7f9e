"""What a chunk-Conformer stream carries from one step to the next.

Symbols: ``B`` streams, ``K`` encoder frames heard, ``H`` heads, ``D`` channels of a head, ``C``
channels, ``F`` mel bins, ``p`` half a convolution kernel.

Left context is unlimited, as published, so the state grows with the audio in either mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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
