from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import safetensors.numpy

from echostream.audio import FrontEnd, FrontEndState
from echostream.errors import StateMismatchError

from .signals import speech_like

FRONT_END = FrontEnd(None)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("cut", [0, 1, 777, 9_999])
def test_a_saved_stream_goes_on_to_the_bit(rate: int, cut: int) -> None:
    signal = speech_like(1.0, rate)
    first, state = FRONT_END.step(signal[:cut], rate, FRONT_END.init_state())
    restored = FrontEndState.from_bytes(state.to_bytes())
    assert restored.to_bytes() == state.to_bytes()
    for expected, found in zip(
        _rest(state, signal[cut:], rate), _rest(restored, signal[cut:], rate), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def _rest(state: FrontEndState, signal: np.ndarray, rate: int) -> tuple[np.ndarray, ...]:
    features, state = FRONT_END.step(signal, rate, state)
    last, state = FRONT_END.flush(state)
    counters = np.array([state.samples_heard, state.samples_16k, state.frames_out, state.closed])
    return features, last, counters


@pytest.mark.fault("F37")
def test_damaged_bytes_are_refused() -> None:
    _, state = FRONT_END.step(speech_like(0.3), 16_000, FRONT_END.init_state())
    data = state.to_bytes()
    for position in range(0, len(data), 7):
        altered = bytearray(data)
        altered[position] ^= 1
        with pytest.raises(StateMismatchError):
            FrontEndState.from_bytes(bytes(altered))
    for length in (0, 3, 11, len(data) - 1):
        with pytest.raises(StateMismatchError, match="truncated"):
            FrontEndState.from_bytes(data[:length])


@pytest.mark.parametrize(
    "header",
    [
        None,
        {"format": "other"},
        {"format": "echostream-front-end-state-1"},
        {"format": "echostream-front-end-state-1", "counters": {"x": 1}},
        {"format": "echostream-front-end-state-1", "counters": []},
        [],
    ],
)
def test_something_else_is_refused(header: object) -> None:
    metadata = None if header is None else {"echostream": json.dumps(header)}
    body = safetensors.numpy.save({"resampler": np.zeros(1)}, metadata=metadata)
    with pytest.raises(StateMismatchError, match="not a saved front-end state"):
        FrontEndState.from_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
