"""One chunk of one encoder as a function of a few tensors, in the form that exporters take.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``C`` output channels, ``F`` mel bins.

The function is :meth:`ZipformerEncoder.run` itself, traced; there is no second description of the
model. First chunks and ragged ends are no special cases, because the masks are inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from echostream.backend.packing import StatePacking, pack_masks, unpack_masks
from echostream.encoder.chunk_masks import cached_chunk_masks
from echostream.encoder.zipformer import ZipformerEncoder


@dataclass(frozen=True)
class GraphSettings:
    """What a graph is fixed to besides the weights."""

    batch_size: int
    chunk_size: int
    """Encoder frames."""
    left_context: int
    """Encoder frames."""
    max_future_frames: int | None


class ChunkGraph(nn.Module):
    """``(features, masks, memory rows, packed state) -> (frames, what the chunk leaves)``.

    ``features`` [B, 2 c, F], ``frames`` [B, c, C]; the others are packed as in
    :mod:`echostream.backend.packing`. Memory rows are there with a memory bank only.
    """

    def __init__(self, encoder: ZipformerEncoder, settings: GraphSettings) -> None:
        super().__init__()
        self.encoder = encoder
        self._state = encoder.init_state(
            settings.batch_size,
            chunk_size=settings.chunk_size,
            left_context=settings.left_context,
            max_future_frames=settings.max_future_frames,
        )
        batch, chunk = settings.batch_size, settings.chunk_size
        self._view = cached_chunk_masks(
            [0] * batch, [chunk] * batch, encoder.settings(self._state), torch.device("cpu")
        )
        self.packing = StatePacking.of(self._state)
        self.eval()

    def example(self) -> tuple[Tensor, ...]:
        """Inputs of the right shapes.

        The graph has then run once, so that what the modules prepare (see
        :mod:`echostream.encoder.prepared`) is there and does not become part of a trace.
        """
        state = self.packing.pack(self._state)
        example = (self._state.pending, *pack_masks(self._view), *state)
        with torch.no_grad():
            self(*example)
        return example

    @property
    def input_names(self) -> tuple[str, ...]:
        """What an exported graph calls its inputs."""
        rows = ("memory_rows",) if self.packing.has_memory else ()
        blocks = (f"block_{number}" for number in range(self.packing.blocks))
        return ("features", "masks", *rows, "changing", *blocks)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What an exported graph calls its results."""
        return ("frames", "changed", *(["new_block"] if self.packing.blocks else []))

    def forward(self, features: Tensor, masks: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        rows, packed = (more[0], more[1:]) if self.packing.has_memory else (None, more)
        state = self.packing.unpack(packed, self._state)
        unpacked = unpack_masks(masks, rows, self._view)
        frames, state = self.encoder.run(features, unpacked, state)
        return frames, *self.packing.pack_new(state)
