"""Whisper's encoder: what it was, and windows that take turns."""

from __future__ import annotations

import pytest
import torch

from echostream.encoder.stepping import WHOLE_RECORDING
from echostream.errors import ConfigError

from .dense_whisper import whisper_offline
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
