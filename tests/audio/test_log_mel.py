"""Whisper's log-mel spectrogram against torch's own transform and the published filters."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.audio import FrontEnd
from echostream.audio.log_mel import USUAL_PEAK, LogMel

from .signals import noise, speech_like
from .test_frontend import heard

BANK = LogMel()

# Of the filters that OpenAI publishes with Whisper: (bin, point of the spectrum, weight).
PUBLISHED = (
    (0, 1, 0.024862595),
    (10, 10, 0.01990822),
    (40, 42, 0.005411105),
    (79, 198, 0.00089751807),
)


TONE = np.sin(2 * np.pi * 440 / 16_000 * np.arange(4_000)).astype(np.float32)
"""Louder than speech ever is in one band."""


def whisper_offline(signal: NDArray[np.float32], filters: NDArray[np.float32]) -> torch.Tensor:
    """As OpenAI's code states it, of windows that begin at the first sample: ``[f, 80]``."""
    window = torch.hann_window(400)
    spectrum = torch.stft(
        torch.from_numpy(signal), 400, 160, window=window, center=False, return_complex=True
    )
    log = (torch.from_numpy(filters.T) @ spectrum.abs().square()).clamp(min=1e-10).log10()
    log = torch.maximum(log, log.max() - 8.0)
    return ((log + 4.0) / 4.0).T


def test_equals_whispers_definition_once_the_loudest_was_heard() -> None:
    loud = np.concatenate((TONE, speech_like(1.0)))
    features, _ = BANK.step(loud, BANK.init_state())
    expected = whisper_offline(loud, BANK._mel_weights).numpy()
    assert features.shape == expected.shape and features.min() == expected.min()
    # What is quiet is rounded by what is loud beside it.
    np.testing.assert_allclose(features, expected, atol=2e-3, rtol=0)


def test_filters_are_the_published_ones() -> None:
    for mel, point, weight in PUBLISHED:
        np.testing.assert_allclose(BANK._mel_weights[point, mel], weight, rtol=1e-4)


def test_the_floor_hangs_from_the_loudest_so_far() -> None:
    quiet = 1e-4 * noise(8_000)
    features, state = BANK.step(quiet, BANK.init_state())
    assert state.peak == USUAL_PEAK and features.min() >= (USUAL_PEAK - 8 + 4) / 4
    features, state = BANK.step(TONE, state)
    assert state.peak > USUAL_PEAK
    after, _ = BANK.step(np.zeros(8_000, np.float32), state)
    np.testing.assert_allclose(after[-1], (state.peak - 8 + 4) / 4, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 16_000), max_size=8), st.sampled_from((8_000, 16_000, 44_100)))
def test_cuts_change_no_bit(cuts: list[int], rate: int) -> None:
    front_end = FrontEnd(None, features="whisper")
    signal = speech_like(1.0)
    features, _ = heard(front_end, signal, rate, sorted(cuts))
    np.testing.assert_array_equal(features, heard(front_end, signal, rate, [])[0])
