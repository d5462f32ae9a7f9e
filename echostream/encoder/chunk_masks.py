"""What each part of the encoder may see in one call.

Symbols: ``B`` streams, ``N`` chunks in one call, ``D`` down-sampling factor of a stack.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echostream.constants import CHUNK_MULTIPLE, DOWNSAMPLING
from echostream.encoder.ct_mask import StackMask, stack_mask
from echostream.encoder.memory_bank import MemoryMask, memory_mask


@dataclass(frozen=True)
class MaskSettings:
    """The settings that masks follow from."""

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
class ChunkMasks:
    """The masks of one call; equal only to itself."""

    frames: Mapping[int, StackMask]
    """By ``D``."""
    memory: MemoryMask | None
    valid: Tensor | None
    """``[B, T, 1]`` at 50 Hz: 1.0 for a frame of the recording; ``None`` if all are known to be."""


def chunk_masks(
    heard: Tensor, lengths: Tensor, num_chunks: int, settings: MaskSettings, *, whole: bool = False
) -> ChunkMasks:
    """The masks of a call of ``num_chunks`` chunks.

    Args:
        heard: ``[B]`` encoder frames of each stream before this call, in whole chunks.
        lengths: ``[B]`` encoder frames of each stream in this call.
        num_chunks: ``N``.
        settings: what the masks follow from.
        whole: whether all lengths are known to fill the call.
    """
    frames = {
        downsampling: stack_mask(
            heard,
            lengths,
            num_chunks=num_chunks,
            chunk_size=settings.chunk_size,
            left_context=settings.left_context,
            max_future_frames=settings.max_future_frames,
            downsampling=downsampling,
            whole=whole,
        )
        for downsampling in sorted(set(DOWNSAMPLING))
    }
    memory = None
    if settings.memory_size > 0:
        memory = memory_mask(
            heard,
            num_chunks * settings.chunk_size // CHUNK_MULTIPLE,
            settings.memory_size,
            settings.memory_segment // CHUNK_MULTIPLE,
            math.gcd(settings.chunk_size, settings.memory_segment) // CHUNK_MULTIPLE,
        )
    return ChunkMasks(frames, memory, None if whole else frames[1].valid)


def cached_chunk_masks(
    heard: Sequence[int], lengths: Sequence[int], settings: MaskSettings, device: torch.device
) -> ChunkMasks:
    """The masks of a call of one chunk; as :func:`chunk_masks`, but made once for all alike.

    Once a stream has heard more than left context and memory reach back, only its place within a
    memory segment still makes a difference, so a long stream has the same masks again and again.
    """
    segment = settings.memory_segment
    reach = max(settings.left_context, (settings.memory_size + 1) * segment)
    reach = -(-reach // segment) * segment
    alike = tuple(h if h < reach else reach + (h - reach) % segment for h in heard)
    return _cached_chunk_masks(alike, tuple(lengths), settings, device)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _cached_chunk_masks(
    heard: tuple[int, ...], lengths: tuple[int, ...], settings: MaskSettings, device: torch.device
) -> ChunkMasks:
    return chunk_masks(
        torch.tensor(heard, device=device),
        torch.tensor(lengths, device=device),
        1,
        settings,
        whole=all(length == settings.chunk_size for length in lengths),
    )
