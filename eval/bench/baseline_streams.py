"""The baseline's encoder in mid-stream and offline, ready to be measured.

Symbols: ``T`` feature frames (100 Hz), ``F`` mel bins.
"""

from __future__ import annotations

import dataclasses

import torch

from echostream.baseline import ChunkConformerEncoder, ChunkConformerState
from echostream.constants import FRAME_SHIFT_MS
from eval.bench.cases import Case
from eval.bench.operations import Demand, multiply_adds, weight_bytes
from eval.bench.rounds import Setting
from eval.bench.streams import Measured


def measured_baseline(encoder: ChunkConformerEncoder, case: Case) -> Measured:
    """The setting of one case; the encoder is in evaluation mode."""
    read = weight_bytes(encoder)
    if case.is_offline:
        features = torch.randn(1, case.audio_ms // FRAME_SHIFT_MS, encoder.config.input_dim)
        chunk_size = case.chunk_ms // encoder.frame_ms

        @torch.no_grad()
        def forward() -> object:
            return encoder(features, chunk_size=chunk_size)

        demand = Demand(multiply_adds(forward), read)
        return Measured(case, Setting(case.name, forward, case.threads), demand, None)
    state = baseline_state(encoder, case)
    features = torch.randn(1, case.chunk_ms // FRAME_SHIFT_MS, encoder.config.input_dim)

    def step() -> object:
        return encoder.step(features, state)

    demand = Demand(multiply_adds(step), read)
    return Measured(case, Setting(case.name, step, case.threads), demand, state.nbytes)


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
