"""An encoder whose chunks are computed by a compiled graph.

Symbols: ``B`` streams, ``c`` encoder frames of a chunk, ``C`` output channels, ``F`` mel bins.
"""

import dataclasses
import functools
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echostream.backend.cache import description_of, exported
from echostream.backend.graph import ChunkGraph, Engine, EngineKind, GraphSettings
from echostream.backend.packing import PackedState, StatePacking, after_chunk, pack_masks
from echostream.encoder.chunk_masks import cached_chunk_masks
from echostream.encoder.stepping import ChunkEncoder, call_sizes
from echostream.encoder.stream_state import StreamState
from echostream.encoder.zipformer import ZipformerEncoder
from echostream.errors import ConfigError

_BATCH_SIZES = (1, 4)
"""Smaller batches that get graphs of their own."""

_log = logging.getLogger(__name__)
_packed_masks = functools.lru_cache(maxsize=64)(pack_masks)


class CompiledEncoder(ChunkEncoder[StreamState]):
    """The interface of :class:`ZipformerEncoder` for streams, without ``forward``.

    Its states are the same :class:`StreamState`, so that a stream may go on in another backend.
    A graph is for one number of streams and one chunking; it is made when the first chunk of that
    kind comes, or before by :meth:`prepare`.

    Args:
        encoder: on the CPU, in float32 and in evaluation mode; its weights must stay as they are.
        kind: the package that compiles.
        precision: ``float32`` or ``int8``.
        threads: for one chunk.
        cache: folder for exported graphs; ``None`` to export at each start.

    Raises:
        ConfigError: if the encoder is not of that kind.
    """

    def __init__(
        self,
        encoder: ZipformerEncoder,
        kind: EngineKind,
        *,
        precision: str = "float32",
        threads: int = 1,
        cache: Path | None = None,
    ) -> None:
        weights = encoder.stem.norm.bias
        if weights.device.type != "cpu" or weights.dtype != torch.float32 or encoder.training:
            raise ConfigError(
                f"the encoder is {weights.dtype} on {weights.device}"
                f"{' in training' if encoder.training else ''}; backend {kind.name} expects "
                "torch.float32 on cpu, in evaluation mode: use backend torch"
            )
        self._encoder = encoder
        self._kind = kind
        self.name = kind.name
        self.precision = precision
        self.threads = threads
        self._cache = cache
        self.config = encoder.config
        self.layout = encoder.layout
        self._fingerprint = encoder.fingerprint()
        self._graphs: dict[GraphSettings, tuple[Engine, StatePacking]] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of features and encoder frames."""
        return torch.float32

    def fingerprint(self) -> str:
        """Of the encoder that was compiled: states go from one to the other and back."""
        return self._fingerprint

    def init_state(self, batch_size: int = 1, **chunking: Any) -> StreamState:
        """As :meth:`ZipformerEncoder.init_state`."""
        return self._encoder.init_state(batch_size, **chunking)

    def prepare(self, state: StreamState) -> None:
        """Make the graph for states like this one now, which takes seconds without a cache."""
        for size in set(self._calls(state.batch_size, state)):
            self._graph(_settings(state, size))

    def batch_sizes(self, most: int) -> frozenset[int]:
        """One stream, a few, and ``most``: a graph of ``base`` takes half a gigabyte."""
        return frozenset(size for size in _BATCH_SIZES if size < most) | {most}

    def _encode_chunk(
        self, features: Tensor, lengths: tuple[int, ...], state: StreamState
    ) -> tuple[Tensor, StreamState]:
        engine, packing = self._graph(_settings(state, len(lengths)))
        heard = state.processed_frames
        settings = self._encoder.settings(state)
        masks = cached_chunk_masks(heard.tolist(), lengths, settings, features.device)
        packed = packing.pack(state)
        frames, *left = engine.run((features, *_packed_masks(masks), *packed))
        heard = heard + torch.tensor(lengths)
        packed = after_chunk(packed, tuple(left))
        return frames, PackedState.of(state, packing, packed, processed_frames=heard)

    def _calls(self, busy: int, state: StreamState) -> tuple[int, ...]:
        """Only sizes whose graphs are there, and the whole batch: making one takes seconds."""
        batch = state.batch_size
        if busy == batch:
            return (batch,)
        own = dataclasses.astuple(_settings(state, batch))[1:]
        made = {
            settings.batch_size
            for settings in self._graphs
            if dataclasses.astuple(settings)[1:] == own
        }
        return call_sizes(busy, frozenset(made | {batch}))

    def _graph(self, settings: GraphSettings) -> tuple[Engine, StatePacking]:
        found = self._graphs.get(settings)
        if found is None:
            found = self._graphs[settings] = self._made(settings)
        return found

    def _made(self, settings: GraphSettings) -> tuple[Engine, StatePacking]:
        started = time.monotonic()
        graph = ChunkGraph(self._encoder, settings)
        description = description_of(self._kind, self._fingerprint, self.precision, settings)
        with exported(
            self._cache,
            description,
            lambda folder: self._kind.export(graph, self.precision, folder),
        ) as folder:
            engine = self._kind.load(folder, self.precision, self.threads)
        _log.info(
            "%s %s graph for %s ready after %.1f s",
            self.name,
            self.precision,
            settings,
            time.monotonic() - started,
        )
        return engine, graph.packing


def _settings(state: StreamState, batch_size: int) -> GraphSettings:
    return GraphSettings(batch_size, state.chunk_size, state.left_context, state.max_future_frames)
