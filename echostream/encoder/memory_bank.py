"""Memory bank: one summary for each past memory segment, attended to by every frame.

Symbols: ``B`` streams, ``T`` encoder frames in this call, ``G = T / 8`` groups of 8 frames,
``R`` groups per memory segment, ``M`` memory slots, ``P`` pieces of this call, each within one
memory segment, ``L`` frames of a piece, ``C`` channels, ``A`` attention channels, ``H`` heads.

After Emformer (arXiv 2010.10759, section 2.2), with two changes. It stands once after the last
stack instead of in every layer, so its summaries are made from the encoder's own output. And a
segment is a fixed number of frames instead of the chunk, so chunk size and memory do not depend on
each other. A frame of segment ``s`` attends to the summaries of segments ``s - M`` to ``s - 1``,
which were complete before its own began, and to one learned slot that is always there.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echostream.constants import CHUNK_MULTIPLE
from echostream.encoder.attention import extend
from echostream.encoder.ct_mask import HIDDEN
from echostream.encoder.linear import Linear, scaled_linear
from echostream.encoder.state import State


@dataclass(frozen=True)
class MemoryMask:
    """Which groups of frames the ``P`` pieces of a call may read."""

    rows: Tensor
    """``[B, P, M, R]`` int64: where the groups of each slot's segment lie among the cached groups
    and those of the call, all streams one after the other."""
    mask: Tensor
    """``[B, P, 1, 1, M + 1]`` added to scores: 0.0 heard, -1e9 before the start of the stream; the
    last, of the learned slot, is 0.0."""


@dataclass(frozen=True)
class MemoryState(State):
    """Means of the last groups: the ``M`` segments in reach and the part of the running one."""

    groups: Tensor
    """``[B, M R + R - 1, C]``, oldest first; zeros before the start of the stream."""


class MemoryBank(nn.Module):
    """Attention from frames to the summaries of the last ``M`` complete segments."""

    def __init__(self, channels: int, size: int, segment: int, dim: int, heads: int) -> None:
        super().__init__()
        self.size = size
        self.groups_per_segment = segment // CHUNK_MULTIPLE
        self.heads = heads
        # As many channels for each head, so a few less than asked for where it does not divide.
        self.dim = dim // heads * heads
        self.summary = Linear(channels, channels)
        self.query = Linear(channels, self.dim)
        self.key_value = Linear(channels, 2 * self.dim)
        self.empty_slot = nn.Parameter(torch.zeros(channels))
        self.output = scaled_linear(self.dim, channels, 0.5)

    def init_state(self, batch_size: int) -> MemoryState:
        """The state before the first frame."""
        groups = (self.size + 1) * self.groups_per_segment - 1
        with torch.no_grad():
            return MemoryState(self.empty_slot.new_zeros(batch_size, groups, len(self.empty_slot)))

    def forward(
        self, x: Tensor, valid: Tensor | None, masks: MemoryMask, state: MemoryState
    ) -> tuple[Tensor, MemoryState]:
        """Add what the memory says to ``x``.

        Args:
            x: ``[B, T, C]``, ``T`` a multiple of 8 ``P``.
            valid: ``[B, T, 1]`` 1.0 for frames of the recording; ``None`` if all are.
            masks: of this call.
            state: of the frames before.
        """
        batch, frames, channels = x.shape
        pieces = masks.rows.shape[1]
        own = x if valid is None else x * valid
        means = own.reshape(batch, -1, CHUNK_MULTIPLE, channels).mean(dim=2)
        groups, kept = extend(state.groups, means)

        summary = torch.tanh(self.summary(self._slots(groups, masks)))
        empty = self.empty_slot.expand(batch, pieces, 1, -1)
        key, value = self.key_value(torch.cat((summary, empty), dim=2)).chunk(2, dim=-1)
        query = self.query(x).view(batch, pieces, -1, self.dim)
        # [B, P, H, L, M + 1]
        scores = self._heads(query) @ self._heads(key).transpose(3, 4)
        weights = scores.mul_((self.dim // self.heads) ** -0.5).add_(masks.mask).softmax(dim=-1)
        mixed = (weights @ self._heads(value)).transpose(2, 3).reshape(batch, frames, self.dim)
        return x + self.output(mixed), MemoryState(kept)

    def _heads(self, x: Tensor) -> Tensor:
        """``[B, P, n, A] -> [B, P, H, n, A / H]``."""
        return x.reshape(*x.shape[:3], self.heads, -1).transpose(2, 3)

    def _slots(self, groups: Tensor, masks: MemoryMask) -> Tensor:
        """Mean frame of the segments in reach of each piece, ``[B, P, M, C]``."""
        found = groups.flatten(0, 1)[masks.rows.flatten()]
        return found.view(*masks.rows.shape, -1).mean(dim=3)


def memory_mask(
    heard: Tensor, count: int, size: int, per_segment: int, per_piece: int = 1
) -> MemoryMask:
    """The :class:`MemoryMask` of ``count`` groups after ``heard`` [B] encoder frames.

    Args:
        heard: a multiple of the frames of a piece.
        count: ``G``.
        size: ``M``.
        per_segment: ``R``.
        per_piece: groups, a divisor of ``count`` and of ``per_segment``. What frames of a piece
            read is made once for all of them.
    """
    device = heard.device
    first = torch.div(heard, CHUNK_MULTIPLE, rounding_mode="floor")
    # The piece's first group, from stream start.
    number = first[:, None] + torch.arange(0, count, per_piece, device=device)
    # Groups from the start of the slot's segment to this group.
    back = (
        number % per_segment + torch.arange(size, 0, -1, device=device)[:, None, None] * per_segment
    )
    starts = (number - back).permute(1, 2, 0)  # [B, P, M]
    cached = (size + 1) * per_segment - 1
    column = starts - first[:, None, None] + cached
    columns = column.unsqueeze(-1) + torch.arange(per_segment, device=device)
    streams = torch.arange(len(heard), device=device).view(-1, 1, 1, 1)
    hidden = torch.zeros(*starts.shape[:2], size + 1, dtype=torch.float32, device=device)
    hidden[..., :size].masked_fill_(starts < 0, HIDDEN)
    return MemoryMask(streams * (cached + count) + columns, hidden[:, :, None, None, :])
