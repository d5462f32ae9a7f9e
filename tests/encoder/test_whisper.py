"""Whisper's encoder: what it was, and windows that take turns."""

import pytest
import torch

from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.encoder.whisper import Int8WhisperEncoder
from echostream.errors import ConfigError

from .dense_whisper import dense_whisper, whisper_offline
from .small_encoder import INPUT_DIM, largest_difference, noise, push
from .subjects import small_whisper

EXACT = torch.float64


def test_as_one_chunk_it_is_whisper() -> None:
    encoder = small_whisper(EXACT)
    features = noise(1, 160, INPUT_DIM)
    y = encoder(features, chunk_size=WHOLE_RECORDING)["encoder_out"][0]
    assert largest_difference(y, whisper_offline(encoder, features[0])) < 1e-10


def test_one_chunk_is_not_longer_than_the_positions() -> None:
    with pytest.raises(ConfigError, match="81 encoder frames.*at most 80"):
        small_whisper(EXACT)(noise(1, 162, INPUT_DIM), chunk_size=WHOLE_RECORDING)


@pytest.mark.parametrize("chunk_size", [32, 24, 12])
def test_chunks_divide_the_windows(chunk_size: int) -> None:
    with pytest.raises(ConfigError, match=f"chunk_size is {chunk_size}"):
        small_whisper(EXACT).init_state(chunk_size=chunk_size)


@torch.no_grad()
@pytest.mark.parametrize("first_position", [16, 32, 40])
def test_a_recording_may_begin_anywhere_in_a_window(first_position: int) -> None:
    encoder = small_whisper(EXACT)
    features = noise(1, 2 * 70, INPUT_DIM)
    how = {"chunk_size": 8, "right_context": 8, "first_position": first_position}
    y = encoder(features, **how)["encoder_out"][0]
    assert largest_difference(y, dense_whisper(encoder, features[0], **how)) < 1e-10
    with pytest.raises(ConfigError, match="first_position is 12; expected a multiple.* 8, from 0"):
        encoder(features, chunk_size=8, first_position=12)


def test_hours_leave_no_trace() -> None:
    """A frame depends on its own window alone, and the state is as large as at the start."""
    encoder = small_whisper(EXACT)
    long = noise(1, 2 * 48 * 6, INPUT_DIM)
    # The window of the last frames began at frame 240; the convolutions reach back four more.
    short = long[:, 2 * (240 - 48) :]
    y, state = push(encoder, long, [], encoder.init_state(1))
    z, other = push(encoder, short, [], encoder.init_state(1))
    assert largest_difference(y[:, -32:], z[:, -32:]) < 1e-10
    assert state.nbytes == other.nbytes == encoder.init_state(1).nbytes


@torch.no_grad()
def test_in_int8_streams_equal_whole_recordings_and_nearly_float32() -> None:
    encoder = small_whisper(torch.float32, embed_dim=48, ffn_dim=96)
    int8 = Int8WhisperEncoder(encoder)
    features = noise(1, 2 * 130, INPUT_DIM, dtype=torch.float32)
    whole, _ = push(int8, features, [], int8.init_state(1))
    cut, state = push(int8, features, [3, 70, 71, 200], int8.init_state(1))
    assert torch.equal(cut, whole)
    # Not to the bit: attention is computed otherwise, and then something is rounded otherwise.
    offline = int8(features)["encoder_out"]
    assert largest_difference(whole, offline) < 0.02
    exact = encoder(features)["encoder_out"]
    # Weights this random make more of every rounding than trained ones do.
    assert 0 < float((whole - exact).std() / exact.std()) < 0.1
    # A stream gets the same bits beside others, and goes on in the other precision.
    others = noise(2, 2 * 130, INPUT_DIM, seed=5, dtype=torch.float32)
    three, _ = push(int8, torch.cat((others, features)), [40], int8.init_state(3))
    assert torch.equal(three[2:], whole)
    assert int8.fingerprint() == encoder.fingerprint()
    encoder.restore(state.to_bytes(int8.fingerprint()))


def test_int8_is_made_of_float32_on_the_cpu() -> None:
    with pytest.raises(ConfigError, match=r"float64 on cpu.*expects torch.float32 on cpu"):
        Int8WhisperEncoder(small_whisper(torch.float64))
