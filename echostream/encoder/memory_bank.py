"""Memory bank: one summary for each past memory segment, attended to by every frame.

Symbols: ``B`` streams, ``T`` encoder frames in this call, ``G = T / 8`` groups of 8 frames,
``R`` groups per memory segment, ``M`` memory slots, ``C`` channels, ``A`` attention channels,
``H`` heads.

After Emformer (arXiv 2010.10759, section 2.2), with two changes. It stands once after the last
stack instead of in every layer, so its summaries are made from the encoder's own output. And a
segment is a fixed number of frames instead of the chunk, so chunk size and memory do not depend on
each other. A frame of segment ``s`` attends to the summaries of segments ``s - M`` to ``s - 1``,
which were complete before its own began, and to one learned slot that is always there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echostream.constants import CHUNK_MULTIPLE
from echostream.encoder.norm import scaled_linear
from echostream.encoder.state import State

_HIDDEN = -1e9


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
        self.summary = nn.Linear(channels, channels)
        self.query = nn.Linear(channels, self.dim)
        self.key_value = nn.Linear(channels, 2 * self.dim)
        self.empty_slot = nn.Parameter(torch.zeros(channels))
        self.output = scaled_linear(self.dim, channels, 0.5)

    def init_state(self, batch_size: int) -> MemoryState:
        """The state before the first frame."""
        groups = (self.size + 1) * self.groups_per_segment - 1
        with torch.no_grad():
            return MemoryState(self.empty_slot.new_zeros(batch_size, groups, len(self.empty_slot)))

    def forward(
        self, x: Tensor, exists: Tensor, heard: Tensor, state: MemoryState
    ) -> tuple[Tensor, MemoryState]:
        """Add what the memory says to ``x``.

        Args:
            x: ``[B, T, C]``, ``T`` a multiple of 8.
            exists: ``[B, T, 1]`` 1.0 for frames of the recording.
            heard: ``[B]`` encoder frames before this call, a multiple of 8.
            state: of the frames before.
        """
        batch, frames, _ = x.shape
        count = frames // CHUNK_MULTIPLE
        grouped = (x * exists).unflatten(1, (count, CHUNK_MULTIPLE))
        groups = torch.cat((state.groups, grouped.mean(dim=2)), dim=1)

        slots, known = self._slots(groups, heard, count)
        memory = torch.cat(
            (
                torch.tanh(self.summary(slots)),
                self.empty_slot.expand(batch, count, 1, -1),
            ),
            dim=2,
        )
        key, value = self.key_value(memory).chunk(2, dim=-1)
        query = self.query(x).unflatten(1, (count, CHUNK_MULTIPLE))
        # [B, G, H, 8, M + 1]
        scores = (
            self._heads(query) @ self._heads(key).transpose(3, 4) * (self.dim // self.heads) ** -0.5
        )
        hidden = torch.where(known, 0.0, _HIDDEN)
        hidden = torch.cat((hidden, hidden.new_zeros(batch, count, 1)), dim=2)
        weights = (scores + hidden[:, :, None, None, :]).softmax(dim=-1)
        mixed = (weights @ self._heads(value)).transpose(2, 3).flatten(3).flatten(1, 2)
        kept = groups[:, groups.shape[1] - state.groups.shape[1] :].clone()
        return x + self.output(mixed), MemoryState(kept)

    def _heads(self, x: Tensor) -> Tensor:
        """``[B, G, n, A] -> [B, G, H, n, A / H]``."""
        return x.unflatten(3, (self.heads, -1)).transpose(2, 3)

    def _slots(self, groups: Tensor, heard: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Mean frame of the segments in reach of each group.

        Returns:
            ``[B, G, M, C]`` means and ``[B, G, M]`` whether that segment has been heard at all.
        """
        per_segment = self.groups_per_segment
        device = groups.device
        first = torch.div(heard, CHUNK_MULTIPLE, rounding_mode="floor")
        number = first[:, None] + torch.arange(count, device=device)  # group, from stream start
        # Groups from the start of the slot's segment to this group.
        back = (
            number % per_segment
            + torch.arange(self.size, 0, -1, device=device)[:, None, None] * per_segment
        )
        starts = (number - back).permute(1, 2, 0)  # [B, G, M]
        cached = groups.shape[1] - count
        column = starts - first[:, None, None] + cached
        columns = column.unsqueeze(-1) + torch.arange(per_segment, device=device)
        rows = torch.arange(groups.shape[0], device=device).view(-1, 1, 1, 1)
        return groups[rows, columns].mean(dim=3), starts >= 0
