"""What Whisper's encoder remembers of a stream.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``C`` channels, ``F`` mel bins.
"""

from dataclasses import dataclass

from torch import Tensor

from echostream.encoder.chunk_state import ChunkState
from echostream.encoder.state import State


@dataclass(frozen=True)
class LayerCache(State):
    """Keys and values of one layer, by position in the window; zeros where none is yet.

    They lie in blocks of a chunk, ``[B, c, C]``, so that a chunk puts in its own and copies none.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True)
class WhisperState(ChunkState):
    """Everything the encoder remembers of ``B`` streams; its size never changes."""

    chunking = ("chunk_size", "right_context")

    features: Tensor
    """``[B, 3, F]``: the last feature frames, which the convolutions reach back to."""
    current: tuple[LayerCache, ...]
    """By layer, of the window that frames are given out of."""
    following: tuple[LayerCache, ...]
    """Of the next window, which is encoded beside it before it takes over: as far as the two
    overlap."""
