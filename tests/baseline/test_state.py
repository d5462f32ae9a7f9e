"""What a stream's state is, and what is refused."""

from __future__ import annotations

import pytest
import torch

from echostream.baseline import ChunkConformerEncoder, ChunkConformerState
from echostream.config import ChunkConformerConfig
from echostream.errors import ConfigError, StateMismatchError, StreamClosedError

from .small_conformer import INPUT_DIM, largest_difference, noise, push, small_encoder

MODES = ("cached", "recompute")


@pytest.mark.parametrize("mode", MODES)
def test_steps_are_pure(mode: str) -> None:
    encoder = small_encoder()
    _, _, state = encoder.step(noise(1, 75, INPUT_DIM), encoder.init_state(mode=mode))
    before = state.clone()
    more = noise(1, 60, INPUT_DIM, seed=1)
    kept = more.clone()
    first, _, after = encoder.step(more, state, is_final=True)
    encoder.step(noise(1, 200, INPUT_DIM, seed=2), state)
    again, _, after_again = encoder.step(more, state, is_final=True)
    assert torch.equal(first, again) and torch.equal(more, kept)
    for one, other in ((state, before), (after, after_again)):
        tensors = dict(other.named_tensors())
        for name, tensor in one.named_tensors():
            assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("mode", MODES)
def test_state_does_not_keep_the_caller_s_memory(mode: str) -> None:
    encoder = small_encoder()
    features = noise(1, 75, INPUT_DIM)
    expected = encoder(noise(1, 75, INPUT_DIM))["encoder_out"]
    y, _, state = encoder.step(features, encoder.init_state(mode=mode))
    features.zero_()
    rest, _, _ = encoder.step(features[:, :0], state, is_final=True)
    assert largest_difference(torch.cat((y, rest), dim=1), expected) < 1e-10


def test_what_a_state_holds() -> None:
    encoder = small_encoder()
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


@pytest.mark.parametrize("mode", MODES)
def test_streams_at_the_same_place_can_share_a_batch(mode: str) -> None:
    encoder = small_encoder()
    sources = [noise(1, 150, INPUT_DIM, seed=seed) for seed in (1, 2)]
    states = [encoder.step(x[:, :70], encoder.init_state(mode=mode))[2] for x in sources]
    joined = ChunkConformerState.stack(states)
    rest = torch.cat([x[:, 70:] for x in sources])
    together, lengths, after = encoder.step(rest, joined, torch.tensor([80, 80]), is_final=True)
    assert lengths.tolist() == [22, 22]
    for row, (x, state) in enumerate(zip(sources, states, strict=True)):
        alone, _, _ = encoder.step(x[:, 70:], state, is_final=True)
        assert largest_difference(together[row : row + 1], alone) < 1e-10
    assert [one.batch_size for one in after.unstack()] == [1, 1]
    early = encoder.init_state(mode=mode)
    with pytest.raises(StateMismatchError, match="shape"):
        ChunkConformerState.stack([early, states[0]])


def test_state_moves_between_types() -> None:
    encoder = small_encoder(torch.float32)
    features = noise(1, 150, INPUT_DIM, dtype=torch.float32)
    _, _, state = encoder.step(features[:, :70], encoder.init_state())
    moved = state.to(dtype=torch.float64).to(dtype=torch.float32)
    y, _, _ = encoder.step(features[:, 70:], moved, is_final=True)
    expected = encoder(features)["encoder_out"][:, 16:]
    assert largest_difference(y, expected) < 1e-5


def test_lengths_cut_all_streams_alike() -> None:
    encoder = small_encoder()
    features = noise(2, 40, INPUT_DIM)
    _, _, state = encoder.step(features, encoder.init_state(2), torch.tensor([33, 33]))
    assert state.pending_lengths.tolist() == [1, 1]
    with pytest.raises(StateMismatchError, match=r"\[33, 32\].*advance together"):
        encoder.step(features, encoder.init_state(2), torch.tensor([33, 32]))


def test_empty_recording() -> None:
    encoder = small_encoder()
    out = encoder(noise(2, 0, INPUT_DIM))
    assert out["encoder_out"].shape == (2, 0, 16)
    assert out["encoder_out_lengths"].tolist() == [0, 0]
    y, state = push(encoder, noise(1, 0, INPUT_DIM), [], encoder.init_state())
    assert y.shape == (1, 0, 16) and state.finished.tolist() == [True]


def test_finished_stream() -> None:
    encoder = small_encoder()
    _, state = push(encoder, noise(1, 50, INPUT_DIM), [], encoder.init_state())
    y, _, state = encoder.step(noise(1, 0, INPUT_DIM), state, is_final=True)
    assert y.shape[1] == 0 and state.processed_frames.tolist() == [13]
    with pytest.raises(StreamClosedError, match="finished"):
        encoder.step(noise(1, 1, INPUT_DIM), state)


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
        small_encoder().init_state(**sizes)


def test_unknown_mode() -> None:
    with pytest.raises(ConfigError, match="'replay'.*cached, recompute"):
        small_encoder().init_state(mode="replay")


def test_state_of_another_encoder() -> None:
    encoder = small_encoder()
    other = small_encoder(conv_kernel=31)
    with pytest.raises(StateMismatchError, match="another configuration"):
        encoder.step(noise(1, 8, INPUT_DIM), other.init_state())
    with pytest.raises(StateMismatchError, match="2 streams.*for 1"):
        encoder.step(noise(1, 8, INPUT_DIM), encoder.init_state(2))


@pytest.mark.parametrize(
    ("features", "lengths", "message"),
    [
        (noise(1, 9, 5), None, r"\[batch, frames, 6\]"),
        (noise(9, 6), None, r"\[batch, frames, 6\]"),
        (noise(1, 9, 6, dtype=torch.float32), None, "float32 but the encoder is"),
        (noise(1, 9, 6), torch.tensor([10]), "numbers from 0 to 9"),
        (noise(1, 9, 6), torch.tensor([-1]), "numbers from 0 to 9"),
        (noise(1, 9, 6), torch.tensor([1, 1]), "expected 1 numbers"),
    ],
)
def test_wrong_features(features: torch.Tensor, lengths: torch.Tensor | None, message: str) -> None:
    encoder = small_encoder()
    with pytest.raises(StateMismatchError, match=message):
        encoder(features, lengths)
    with pytest.raises(StateMismatchError, match=message):
        encoder.step(features, encoder.init_state(), lengths)


def test_configuration() -> None:
    config = ChunkConformerConfig(
        embed_dim=16, ffn_dim=24, num_layers=1, num_heads=2, chunk_size=32, mode="recompute"
    )
    encoder = ChunkConformerEncoder.from_config(config)
    assert encoder.config == config
    assert (encoder.frame_ms, encoder.chunk_multiple, encoder.output_dim) == (40, 2, 16)
    state = encoder.init_state()
    assert (state.chunk_size, state.conv_chunk_size, state.mode) == (32, 16, "recompute")
    assert encoder.layout != small_encoder().layout
    with pytest.raises(ConfigError, match="conv_kernel"):
        ChunkConformerEncoder(conv_kernel=30)
