"""The whole state of a batch of streams, and its portable form.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``F`` mel bins.
"""

from __future__ import annotations

from dataclasses import dataclass

from echostream.encoder.chunk_state import ChunkState
from echostream.encoder.memory_bank import MemoryState
from echostream.encoder.protocol import PortableEncoder
from echostream.encoder.stack import StackState
from echostream.encoder.stem import StemState


@dataclass(frozen=True)
class StreamState(ChunkState):
    """Everything the encoder remembers of ``B`` streams; its size never changes.

    Made by ``ZipformerEncoder.init_state`` and replaced by each ``step``.
    """

    chunking = ("chunk_size", "left_context", "max_future_frames")

    stem: StemState
    stacks: tuple[StackState, ...]
    memory: MemoryState | None
    left_context: int
    max_future_frames: int | None

    @classmethod
    def from_bytes(cls, data: bytes, encoder: PortableEncoder) -> StreamState:
        """The state that :meth:`to_bytes` wrote; see :meth:`PortableEncoder.restore`."""
        state: StreamState = encoder.restore(data)
        return state
