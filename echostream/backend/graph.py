"""One chunk of one encoder as a function of a few tensors, for exporters, and what runs it.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``C`` output channels, ``F`` mel bins.

The function is :meth:`ZipformerEncoder.run` itself, traced; there is no second description of the
model. First chunks and ragged ends are no special cases, because the masks are inputs. An engine is
made from a file that its ``export`` wrote, so that a later start finds the file ready.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

    def forward(self, features: Tensor, masks: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        rows, packed = (more[0], more[1:]) if self.packing.has_memory else (None, more)
        state = self.packing.unpack(packed, self._state)
        unpacked = unpack_masks(masks, rows, self._view)
        frames, state = self.encoder.run(features, unpacked, state)
        return frames, *self.packing.pack_new(state)


class Engine(Protocol):
    """A graph ready to run."""

    def run(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The inputs and results of :class:`ChunkGraph`.

        The results are new tensors, and the inputs stay as they are.
        """


class EngineKind(Protocol):
    """A package that can compile a graph."""

    name: str
    file_name: str
    """Of the exported graph, in a folder of its own."""
    at_once: bool
    """Whether a graph is made in seconds; for one that takes a minute nobody waits unasked."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it computes in here, of ``float32`` and ``int8``."""

    def version(self) -> str | None:
        """Of the package; ``None`` if it is not installed."""

    def export(self, graph: ChunkGraph, precision: str, folder: Path) -> None:
        """Write the graph, ``precision`` being ``float32`` or ``int8``."""

    def load(self, folder: Path, precision: str, threads: int) -> Engine:
        """Compile what :meth:`export` wrote."""
