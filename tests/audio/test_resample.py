from math import gcd

import numpy as np
import pytest
import soxr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.audio import Resampler
from echostream.errors import AudioFormatError

from .signals import CUTS, RATES, noise, pieces, speech_like


def resampled(signal: NDArray[np.float32], rate: int, cuts: list[int]) -> NDArray[np.float32]:
    resampler = Resampler(rate)
    state = resampler.init_state()
    outputs = []
    for piece in pieces(signal, cuts):
        output, state = resampler.step(piece, state)
        outputs.append(output)
    assert state.samples_in == signal.size
    assert state.samples_out == sum(output.size for output in outputs)
    return np.concatenate((*outputs, resampler.flush(state)))


def expected_length(samples: int, rate: int) -> int:
    return (samples * 16_000 + rate // 2) // rate


@pytest.mark.fault("F19")
@settings(deadline=None, max_examples=60)
@given(
    rate=st.sampled_from(RATES) | st.integers(1000, 200_000),
    samples=st.integers(0, 30_000),
    cuts=CUTS,
)
@example(rate=44_100, samples=13_230, cuts=[1] * 700)
@example(rate=44_099, samples=30_000, cuts=[1, 10_000])  # no common factor with 16000
@example(rate=1_000, samples=3_000, cuts=[7] * 100)
@example(rate=768_000, samples=100_000, cuts=[99_999])
def test_at_any_rate_cuts_do_not_change_a_bit(rate: int, samples: int, cuts: list[int]) -> None:
    signal = noise(samples, amplitude=1.0)
    output = resampled(signal, rate, cuts)
    assert output.dtype == np.float32
    assert output.size == expected_length(samples, rate)
    np.testing.assert_array_equal(output, resampled(signal, rate, []))


def tone(frequency: float, rate: int, samples: int) -> NDArray[np.float64]:
    return 0.9 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)


@settings(deadline=None, max_examples=25)
@given(rate=st.integers(1000, 200_000))
@example(rate=1_000)
@example(rate=3_950)  # just below 4 kHz the filter is at its widest
@example(rate=3_999)
@example(rate=27_156)
@example(rate=44_099)
@example(rate=768_000)
def test_at_any_rate_a_tone_stays_the_exact_tone(rate: int) -> None:
    # Not compared with libsoxr on the whole recording, which drifts at some rates (see below).
    frequency = 0.2 * min(rate, 16_000)
    output = resampled(tone(frequency, rate, rate * 6 // 10).astype(np.float32), rate, [])
    exact = tone(frequency, 16_000, output.size)
    # Without the ends, where the tone breaks off and the filter rings for up to 150 ms.
    np.testing.assert_allclose(output[2400:-2400], exact[2400:-2400], atol=2e-6, rtol=0)


def test_errors_do_not_grow_with_the_recording() -> None:
    # At this rate libsoxr's own phase drifts: in one call the error grows tenfold in 16 s.
    rate, frequency = 27_156, 5_600.0
    source = tone(frequency, rate, 16 * rate).astype(np.float32)
    exact = tone(frequency, 16_000, 16 * 16_000)

    def errors(output: NDArray[np.float32]) -> tuple[float, float]:
        difference = np.abs(output - exact)
        return float(difference[4_000:8_000].max()), float(difference[-8_000:-4_000].max())

    early, late = errors(resampled(source, rate, []))
    assert late < 1.1 * early < 1e-5
    early, late = errors(soxr.resample(source, rate, 16_000, quality="HQ"))
    assert late > 4 * early


@pytest.mark.parametrize("kind", ["speech-like", "noise"])
@pytest.mark.parametrize("rate", RATES)
def test_differs_from_libsoxr_on_the_whole_recording_by_rounding_only(rate: int, kind: str) -> None:
    signal = noise(2 * rate, amplitude=1.0) if kind == "noise" else speech_like(2.0, rate)
    whole = soxr.resample(signal, rate, 16_000, quality="HQ")
    output = resampled(signal, rate, [320 * rate // 1000] * 6)
    assert output.size == whole.size == 32_000
    assert np.abs(output - whole).max() < 1e-6


def test_16_khz_passes_through_uncopied() -> None:
    resampler = Resampler(16_000)
    signal = noise(123)
    output, state = resampler.step(signal, resampler.init_state())
    assert output is signal
    assert (state.samples_in, state.samples_out) == (123, 123)
    assert state.carry.size == 0
    assert resampler.flush(state).size == 0
    assert resampler.look_ahead_samples == 0


@pytest.mark.parametrize(
    ("rate", "look_ahead"),
    [(8_000, 202), (11_025, 147), (22_050, 101), (44_100, 101), (48_000, 101)],
)
def test_after_every_segment_only_the_look_ahead_is_outstanding(rate: int, look_ahead: int) -> None:
    resampler = Resampler(rate)
    assert resampler.look_ahead_samples == look_ahead
    state = resampler.init_state()
    signal = noise(rate)
    for segment in range(1, 17):
        start, end = ((segment - 1) * 20 * rate // 1000, segment * 20 * rate // 1000)
        _, state = resampler.step(signal[start:end], state)
        assert state.samples_out == max(0, segment * 320 - look_ahead)


def test_state_is_small_and_keeps_no_push_alive() -> None:
    for rate in RATES:
        resampler = Resampler(rate)
        longest = 0
        state = resampler.init_state()
        signal = noise(rate)
        for piece in pieces(signal, [rate // 100] * 99):
            _, state = resampler.step(piece, state)
            longest = max(longest, state.carry.size)
        _, state = resampler.step(signal, resampler.init_state())
        assert state.carry.base is None
        period = rate // gcd(rate, 16_000)
        reach = max(100, rate // 160 + 1)
        assert max(longest, state.carry.size) <= period + 2 * reach + rate // 50 + 2


def test_the_callers_buffer_may_be_used_again() -> None:
    resampler = Resampler(48_000)
    signal = noise(4800)
    expected = resampled(signal, 48_000, [])
    buffer = signal[:2400].copy()
    first, state = resampler.step(buffer, resampler.init_state())
    buffer[:] = 0.7
    second, state = resampler.step(signal[2400:], state)
    np.testing.assert_array_equal(np.concatenate((first, second, resampler.flush(state))), expected)


@pytest.mark.fault("F07")
def test_denormal_samples_become_silence() -> None:
    output = resampled(np.full(4800, 1e-40, np.float32), 48_000, [])
    assert not output.any()


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    "rate", [0, -1, -16_000, None, 999, 768_001, 16_000.5, 44_100.0, "16000", True, np.nan]
)
def test_impossible_rates_are_refused(rate: object) -> None:
    with pytest.raises(AudioFormatError, match="sample rate is") as caught:
        Resampler(rate)  # type: ignore[arg-type]
    assert repr(rate) in str(caught.value)


def test_numpy_integers_are_rates() -> None:
    assert Resampler(np.int64(48_000)).source_rate == 48_000  # type: ignore[arg-type]
