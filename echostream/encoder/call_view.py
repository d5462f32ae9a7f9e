"""What each part of the encoder may see in one call.

Symbols: ``B`` streams, ``N`` chunks in one call, ``D`` down-sampling factor of a stack.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echostream.constants import CHUNK_MULTIPLE, DOWNSAMPLING
from echostream.encoder.ct_mask import FrameView, frame_view
from echostream.encoder.memory_bank import MemoryView, memory_view


@dataclass(frozen=True)
class Sight:
    """The settings that views follow from."""

    chunk_size: int
    """Encoder frames."""
    left_context: int
    """Encoder frames."""
    max_future_frames: int | None
    memory_size: int
    """``M`` summaries; 0 without a memory bank."""
    memory_segment: int
    """Encoder frames."""


@dataclass(frozen=True, eq=False)
class CallView:
    """The views of one call; equal only to itself."""

    frames: Mapping[int, FrameView]
    """By ``D``."""
    memory: MemoryView | None
    exists: Tensor | None
    """``[B, T, 1]`` at 50 Hz: 1.0 for a frame of the recording; ``None`` if all are known to be."""


def call_view(
    heard: Tensor, lengths: Tensor, num_chunks: int, sight: Sight, *, whole: bool = False
) -> CallView:
    """The views of a call of ``num_chunks`` chunks.

    Args:
        heard: ``[B]`` encoder frames of each stream before this call, in whole chunks.
        lengths: ``[B]`` encoder frames of each stream in this call.
        num_chunks: ``N``.
        sight: the settings.
        whole: whether all lengths are known to fill the call.
    """
    frames = {
        downsampling: frame_view(
            heard,
            lengths,
            num_chunks=num_chunks,
            chunk_size=sight.chunk_size,
            left_context=sight.left_context,
            max_future_frames=sight.max_future_frames,
            downsampling=downsampling,
            whole=whole,
        )
        for downsampling in sorted(set(DOWNSAMPLING))
    }
    memory = None
    if sight.memory_size > 0:
        memory = memory_view(
            heard,
            num_chunks * sight.chunk_size // CHUNK_MULTIPLE,
            sight.memory_size,
            sight.memory_segment // CHUNK_MULTIPLE,
            math.gcd(sight.chunk_size, sight.memory_segment) // CHUNK_MULTIPLE,
        )
    return CallView(frames, memory, None if whole else frames[1].exists)


def chunk_view(
    heard: Sequence[int], lengths: Sequence[int], sight: Sight, device: torch.device
) -> CallView:
    """The views of a call of one chunk; as :func:`call_view`, but made once for all alike.

    Once a stream has heard more than left context and memory reach back, only its place within a
    memory segment still makes a difference, so a long stream has one view again and again.
    """
    segment = sight.memory_segment
    reach = max(sight.left_context, (sight.memory_size + 1) * segment)
    reach = -(-reach // segment) * segment
    alike = tuple(h if h < reach else reach + (h - reach) % segment for h in heard)
    return _chunk_view(alike, tuple(lengths), sight, device)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _chunk_view(
    heard: tuple[int, ...], lengths: tuple[int, ...], sight: Sight, device: torch.device
) -> CallView:
    return call_view(
        torch.tensor(heard, device=device),
        torch.tensor(lengths, device=device),
        1,
        sight,
        whole=all(length == sight.chunk_size for length in lengths),
    )
