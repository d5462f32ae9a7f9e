"""Feature frames of a segment, with those that wait in the state, cut into chunks.

Symbols: ``B`` streams, ``T`` feature frames of the segment, ``c`` encoder frames of a chunk,
``F`` mel bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from echostream.constants import SUBSAMPLING


@dataclass(frozen=True)
class CutSegment:
    """What a segment gives to encode now, and what waits for the next."""

    chunks: tuple[Tensor, ...]
    """``[B, 2 c, F]`` each; zeros after what is each stream's own."""
    lengths: tuple[tuple[int, ...], ...]
    """For each chunk the encoder frames of each stream in it, 0 to ``c``."""
    totals: tuple[int, ...]
    """Encoder frames of each stream in all chunks."""
    pending: Tensor
    """``[B, 2 c, F]`` feature frames that wait, then zeros."""
    pending_lengths: tuple[int, ...]


def cut_segment(
    pending: Tensor,
    pending_lengths: Sequence[int],
    features: Tensor,
    lengths: Sequence[int],
    *,
    is_final: bool | Sequence[bool],
) -> CutSegment:
    """Put ``features`` [B, T, F] behind ``pending`` [B, 2 c, F] and cut off whole chunks.

    With ``is_final``, of all streams or of each, everything is cut off, the last chunk being
    shorter, and an odd last feature frame is dropped.
    """
    window = pending.shape[1]
    if not any(pending_lengths) and features.shape[1] == window == min(lengths):
        # The usual segment of a stream, one whole chunk, goes through as it is.
        frames = (window // SUBSAMPLING,) * len(lengths)
        rest = features.new_zeros(pending.shape)
        return CutSegment((features,), (frames,), frames, rest, (0,) * len(lengths))
    queued = [waiting + new for waiting, new in zip(pending_lengths, lengths, strict=True)]
    ending = [is_final] * len(queued) if isinstance(is_final, bool) else list(is_final)
    units = [SUBSAMPLING if end else window for end in ending]
    usable = [count // unit * unit for count, unit in zip(queued, units, strict=True)]
    chunks = -(-max(usable) // window)
    queue = features.new_zeros(len(queued), (chunks + 1) * window, features.shape[2])
    for row, (waiting, new) in enumerate(zip(pending_lengths, lengths, strict=True)):
        queue[row, :waiting] = pending[row, :waiting]
        queue[row, waiting : waiting + new] = features[row, :new]
    rest = features.new_zeros(pending.shape)
    left = [
        0 if end else count - used for count, used, end in zip(queued, usable, ending, strict=True)
    ]
    for row, (start, count) in enumerate(zip(usable, left, strict=True)):
        rest[row, :count] = queue[row, start : start + count]
        queue[row, start:] = 0.0
    starts = range(0, chunks * window, window)
    return CutSegment(
        chunks=tuple(queue[:, start : start + window] for start in starts),
        lengths=tuple(
            tuple(min(max(used - start, 0), window) // SUBSAMPLING for used in usable)
            for start in starts
        ),
        totals=tuple(used // SUBSAMPLING for used in usable),
        pending=rest,
        pending_lengths=tuple(left),
    )
