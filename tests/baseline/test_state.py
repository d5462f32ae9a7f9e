"""What a stream's state holds, and which streams there cannot be."""

from __future__ import annotations

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder
from echostream.config import ChunkConformerConfig
from echostream.errors import ConfigError, StateMismatchError
from tests.encoder.small_encoder import noise

from .small_conformer import INPUT_DIM, small_conformer

MODES = ("cached", "recompute")


def test_what_a_state_holds() -> None:
    encoder = small_conformer()
    cached, recompute = (
        encoder.step(noise(1, 100, INPUT_DIM), encoder.init_state(mode=mode))[2] for mode in MODES
    )
    # 8 bytes a number: 96 feature frames encoded, 4 waiting, and three counters and a flag.
    assert recompute.nbytes == 8 * (96 + 4) * INPUT_DIM + 3 * 8 + 1
    # Keys and values of 24 frames, the past of three kinds of convolutions, the same 4 frames.
    convolutions = 2 * INPUT_DIM + 2 * 10 + 2 * 3 * 16
    assert cached.nbytes == 8 * (2 * 2 * 24 * 16 + convolutions + 4 * INPUT_DIM) + 3 * 8 + 1
    assert cached.heard.numel() == 0 and recompute.cache is None
    assert cached.device == torch.device("cpu")
    assert (cached.chunk_size, cached.conv_chunk_size, cached.mode) == (8, 8, "cached")


def test_lengths_cut_all_streams_alike() -> None:
    encoder = small_conformer()
    features = noise(2, 40, INPUT_DIM)
    _, _, state = encoder.step(features, encoder.init_state(2), torch.tensor([33, 33]))
    assert state.pending_lengths.tolist() == [1, 1]
    with pytest.raises(StateMismatchError, match=r"\[33, 32\].*advance together"):
        encoder.step(features, encoder.init_state(2), torch.tensor([33, 32]))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"chunk_size": 7}, "7 .*stride of 2.*even number"),
        ({"chunk_size": 1}, "stride of 2"),
        ({"chunk_size": 24}, "24 .*end at different frames"),
        ({"chunk_size": 18}, "end at different frames"),
        ({"chunk_size": 10, "conv_chunk_size": 8}, "end at different frames"),
        ({"chunk_size": 99999}, "end of the recording"),
        ({"chunk_size": 0}, "end of the recording"),
        ({"chunk_size": -1}, "end of the recording"),
        ({"chunk_size": 8, "conv_chunk_size": 999}, "end of the recording"),
        ({"chunk_size": 16, "conv_chunk_size": 0}, "end of the recording"),
    ],
)
def test_chunks_that_cannot_be_streamed(sizes: dict[str, int], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        small_conformer().init_state(**sizes)


def test_configuration() -> None:
    config = ChunkConformerConfig(
        embed_dim=16, ffn_dim=24, num_layers=1, num_heads=2, chunk_size=32, mode="recompute"
    )
    encoder = ChunkConformerEncoder.from_config(config)
    assert encoder.config == config
    assert (encoder.frame_ms, encoder.chunk_multiple, encoder.output_dim) == (40, 2, 16)
    state = encoder.init_state()
    assert (state.chunk_size, state.conv_chunk_size, state.mode) == (32, 16, "recompute")
    assert encoder.layout != small_conformer().layout
    with pytest.raises(ConfigError, match="'replay'.*cached, recompute"):
        encoder.init_state(mode="replay")
    with pytest.raises(ConfigError, match="conv_kernel"):
        ChunkConformerEncoder(conv_kernel=30)
