"""Encoders in mid-stream and offline, ready to be measured.

Symbols: ``B`` streams, ``T`` feature frames (100 Hz), ``F`` mel bins.

Features and weights are random, which costs what real ones do.
"""

import dataclasses
import math
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor

from echostream.backend import make_backend
from echostream.backend.compiled_encoder import CompiledEncoder
from echostream.baseline import ChunkConformerEncoder, ChunkConformerState
from echostream.constants import ENCODER_FRAME_MS, FRAME_SHIFT_MS
from echostream.encoder import StreamState, ZipformerEncoder
from eval.bench.cases import Case
from eval.bench.limits import Demand, chunk_multiply_adds, multiply_adds, weight_bytes
from eval.bench.rounds import Setting


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A case, its setting, and what is known of it beforehand."""

    case: Case
    setting: Setting
    demand: Demand
    state_bytes: int | None
    """Of each stream after the chunk; ``None`` offline."""


class Streams:
    """Makes settings of one encoder.

    Args:
        encoder: in evaluation mode, on the CPU.
        graphs: folder for exported graphs; ``None`` to export each time.
    """

    def __init__(self, encoder: ZipformerEncoder, graphs: Path | None) -> None:
        self._encoder = encoder
        # Backends, states and counts are the same for many cases.
        self._backend = cache(
            lambda name, precision, threads: make_backend(
                encoder, name, precision=precision, threads=threads, cache=graphs
            )
        )
        self._settled = cache(partial(settled_state, encoder))
        self._chunk_multiply_adds = cache(partial(chunk_multiply_adds, encoder))

    def measured(self, case: Case) -> Measured:
        """The setting of one case; a graph it needs is compiled now."""
        if case.is_offline:
            return offline(self._encoder, case, max_future_frames=case.max_future_frames)
        encoder = self.backend(case)
        features, state = self.start(case)
        demand = Demand(
            self._chunk_multiply_adds(state.chunk_size, state.max_future_frames),
            weight_bytes(self._encoder),
        )
        # Steps are pure: each call encodes the same chunk at the same place.
        setting = Setting(case.name, lambda: encoder.step(features, state), case.threads)
        return Measured(case, setting, demand.times(case.streams), state.nbytes // case.streams)

    def backend(self, case: Case) -> ZipformerEncoder | CompiledEncoder:
        """What runs the case."""
        return self._backend(case.backend, case.precision, case.threads)

    def forget(self) -> None:
        """Let go of the compiled backends; they are made again when they are needed."""
        self._backend.cache_clear()

    def start(self, case: Case) -> tuple[Tensor, StreamState]:
        """The features ``[B, T, F]`` of a chunk and the state before it."""
        settled = self._settled(case.chunk_ms // ENCODER_FRAME_MS, case.max_future_frames)
        segment = self._encoder.config.memory_segment
        frames = 1000 * case.position_s // ENCODER_FRAME_MS
        # Streams at different positions, a second or two apart.
        state = StreamState.stack(
            [moved(settled, frames + 5 * n * segment, segment) for n in range(case.streams)]
        )
        shape = (case.streams, case.chunk_ms // FRAME_SHIFT_MS, self._encoder.config.input_dim)
        features = torch.randn(shape)
        # A step more, so that the state lies in memory as this backend leaves it.
        _, _, state = self.backend(case).step(features, state)
        return features, state


def measured_baseline(encoder: ChunkConformerEncoder, case: Case) -> Measured:
    """The setting of one case; the encoder is in evaluation mode."""
    if case.is_offline:
        return offline(encoder, case)
    state = baseline_state(encoder, case)
    features = torch.randn(1, case.chunk_ms // FRAME_SHIFT_MS, encoder.config.input_dim)

    def step() -> object:
        return encoder.step(features, state)

    demand = Demand(multiply_adds(step), weight_bytes(encoder))
    return Measured(case, Setting(case.name, step, case.threads), demand, state.nbytes)


def offline(
    encoder: ZipformerEncoder | ChunkConformerEncoder, case: Case, **options: int | None
) -> Measured:
    """``forward`` over a recording under the chunk mask."""
    features = torch.randn(1, case.audio_ms // FRAME_SHIFT_MS, encoder.config.input_dim)
    chunk_size = case.chunk_ms // encoder.frame_ms

    @torch.no_grad()
    def run() -> object:
        return encoder(features, chunk_size=chunk_size, **options)

    run()  # What depends on weights alone is made now and not counted.
    demand = Demand(multiply_adds(run), weight_bytes(encoder))
    return Measured(case, Setting(case.name, run, case.threads), demand, None)


def baseline_state(encoder: ChunkConformerEncoder, case: Case) -> ChunkConformerState:
    """The state of a stream that has heard as many whole chunks as there are in the time.

    Recomputing keeps the features and nothing else, so it needs no steps to get there.
    """
    state = encoder.init_state(1, chunk_size=case.chunk_ms // encoder.frame_ms, mode=case.mode)
    chunks = 1000 * case.position_s // case.chunk_ms
    window = case.chunk_ms // FRAME_SHIFT_MS
    heard = torch.randn(1, chunks * window, encoder.config.input_dim)
    if case.mode == "recompute":
        return dataclasses.replace(
            state,
            heard=heard,
            processed_frames=state.processed_frames + chunks * state.chunk_size,
            segment_id=state.segment_id + chunks,
        )
    for chunk in heard.split(window, dim=1) if chunks else ():
        _, _, state = encoder.step(chunk, state)
    return state


def settled_state(
    encoder: ZipformerEncoder, chunk_size: int, max_future_frames: int | None
) -> StreamState:
    """A stream that has heard all that its left context and memory reach back to, or more."""
    state = encoder.init_state(1, chunk_size=chunk_size, max_future_frames=max_future_frames)
    config = encoder.config
    reach = max(state.left_context, (config.memory_size + 1) * config.memory_segment)
    while (heard := int(state.processed_frames)) < reach or heard % config.memory_segment:
        _, _, state = encoder.step(torch.randn_like(state.pending), state)
    return state


def moved(state: StreamState, frames: int, memory_segment: int) -> StreamState:
    """The state as if at least ``frames`` encoder frames had been heard, and hardly more.

    A stream remembers nothing of where it is but its counters, and they only tell which frames do
    not exist yet and where in a memory segment it is. So a stream that has heard enough and one
    that has heard hours compute the same, if they are at the same place in a segment.

    Args:
        state: of streams that have heard as much as they can look back on.
        frames: encoder frames.
        memory_segment: encoder frames of a memory segment.
    """
    step = math.lcm(memory_segment, state.chunk_size)
    missing = (frames - state.processed_frames).clamp_min(0)
    whole = -(-missing // step) * step
    chunks = torch.div(whole, state.chunk_size, rounding_mode="floor")
    return dataclasses.replace(
        state,
        processed_frames=state.processed_frames + whole,
        segment_id=state.segment_id + chunks,
    )
