"""CT-mask: which frames a frame may see, for one stack's frame rate.

Symbols: ``B`` streams, ``N`` chunks in one call, ``S`` frames of a chunk at the stack's rate,
``P`` frames of left context at the stack's rate, ``W = P + S`` frames of an attention window.

The rule, for frame ``i`` of chunk ``k`` (frames ``kS .. kS + S - 1``) and a look-ahead of ``L``:
it sees frames ``i - P`` to ``min(i + L, kS + S - 1)`` that exist. The left context is counted back
from the frame itself, not from its chunk, so with ``L = 0`` the chunk size does not matter.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Finite, so that a padding frame that may see nothing gives numbers instead of NaN; far below any
# score, so that the softmax weight of a hidden frame is exactly zero in float32.
HIDDEN = -1e9


@dataclass(frozen=True)
class StackMask:
    """How one stack sees the frames of a call: sizes, existing frames, attention mask."""

    chunk: int
    """``S``: frames of a chunk at the stack's rate."""
    left: int
    """``P``: cached frames before the chunk."""
    future: int
    """Frames that a frame may look ahead, never beyond its chunk; at most ``S - 1``."""
    valid: Tensor
    """``[B, N * S, 1]`` 1.0 for a frame of the recording, 0.0 for padding after its end."""
    mask: Tensor
    """``[B * N, 1, S, W]`` added to attention scores: 0.0 seen, -1e9 hidden."""
    whole: bool = False
    """Known to have no padding, so that ``valid`` need not be looked at."""


def stack_mask(
    heard: Tensor,
    lengths: Tensor,
    *,
    num_chunks: int,
    chunk_size: int,
    left_context: int,
    max_future_frames: int | None,
    downsampling: int,
    whole: bool = False,
) -> StackMask:
    """The :class:`StackMask` of a stack that pools ``downsampling`` encoder frames into one.

    Args:
        heard: ``[B]`` encoder frames of each stream before this call, a multiple of 8.
        lengths: ``[B]`` encoder frames of each stream in this call, at most ``N * chunk_size``.
        num_chunks: ``N``.
        chunk_size: encoder frames of a chunk, a multiple of 8.
        left_context: encoder frames of left context, a multiple of 8.
        max_future_frames: ``L`` at the stack's own rate, ``None`` for the whole chunk.
        downsampling: encoder frames per frame of the stack.
        whole: whether all lengths are known to be ``N * chunk_size``.
    """
    chunk = chunk_size // downsampling
    left = left_context // downsampling
    future = chunk - 1 if max_future_frames is None else min(max_future_frames, chunk - 1)
    device = heard.device

    frames_before = torch.div(heard, downsampling, rounding_mode="floor")
    frames_here = torch.div(lengths + downsampling - 1, downsampling, rounding_mode="floor")
    position = torch.arange(num_chunks * chunk, device=device)
    valid = position < frames_here[:, None]

    query = torch.arange(chunk, device=device)[:, None]
    key = torch.arange(left + chunk, device=device)[None, :]
    in_reach = (key >= query) & (key <= query + left + future)

    # Absolute number of the key in window column w of chunk k: before + kS - P + w.
    start = torch.arange(num_chunks, device=device) * chunk - left
    offset = start[:, None] + torch.arange(left + chunk, device=device)
    heard_key = (offset >= -frames_before[:, None, None]) & (offset < frames_here[:, None, None])
    seen = heard_key[:, :, None, :] & in_reach
    mask = torch.zeros(seen.shape, dtype=torch.float32, device=device).masked_fill(~seen, HIDDEN)
    return StackMask(
        chunk=chunk,
        left=left,
        future=future,
        valid=valid[:, :, None].to(torch.float32),
        mask=mask.flatten(0, 1).unsqueeze(1),
        whole=whole,
    )
