"""Keys and values of the encoder frames that a decoder can look at: the last seconds of a stream.

Symbols: ``L`` layers, ``H`` attention heads, ``d`` channels of a head, ``n`` frames.

They lie in a few parts, so that a new chunk moves little and old frames leave without a copy of
the rest.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

_PART_FRAMES = 64
"""A part takes no more frames once it has as many."""


@dataclass(frozen=True, eq=False)
class Source:
    """One stream's window; bounded by whoever drops frames."""

    base: int = 0
    """Frame of the stream that is the first one here."""
    raw: tuple[Tensor, ...] = ()
    """``[L, 2, H, any, d]`` keys and values without positions, in parts."""
    placed: tuple[Tensor, ...] = ()
    """The same with positions; empty for a decoder that has none for the source."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """What tokens look at."""
        return self.placed or self.raw

    @property
    def num_frames(self) -> int:
        """Frames in the window."""
        return sum(part.shape[3] for part in self.raw)

    @property
    def end(self) -> int:
        """Frames of the stream so far."""
        return self.base + self.num_frames


def appended(source: Source, made: Tensor, rows: Tensor | None) -> Source:
    """The window with new frames.

    Args:
        source: so far.
        made: ``[L, 2, H, n, d]`` keys and values of the new frames.
        rows: ``[L, 2, H, positions, d]`` that positions add; ``None`` if they add nothing.
    """
    before = source.num_frames
    placed = source.placed
    if rows is not None:
        placed = _joined(placed, made + rows[..., before : before + made.shape[3], :])
    return Source(source.base, _joined(source.raw, made), placed)


def dropped(source: Source, base: int, rows: Tensor | None) -> Source:
    """The window from frame ``base`` of the stream on; positions count from there."""
    surplus = base - source.base
    if surplus <= 0:
        return source
    raw = []
    for part in source.raw:
        frames = part.shape[3]
        if surplus < frames:
            # A copy, since a view would hold the frames that leave.
            raw.append(part[..., surplus:, :].clone() if surplus > 0 else part)
        surplus = max(0, surplus - frames)
    kept = Source(source.end if not raw else base, tuple(raw))
    if rows is None:
        return kept
    placed, first = [], 0
    for part in kept.raw:
        placed.append(part + rows[..., first : first + part.shape[3], :])
        first += part.shape[3]
    return dataclasses.replace(kept, placed=tuple(placed))


def _joined(parts: tuple[Tensor, ...], new: Tensor) -> tuple[Tensor, ...]:
    if parts and parts[-1].shape[3] < _PART_FRAMES:
        return *parts[:-1], torch.cat((parts[-1], new.to(parts[-1].device)), dim=3)
    return *parts, new
