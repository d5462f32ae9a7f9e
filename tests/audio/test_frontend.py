from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from echostream.audio import Cmvn, FrontEnd, FrontEndState, Resampler
from echostream.errors import AudioFormatError, ConfigError, StreamClosedError

from .kaldi_reference import kaldi_fbank
from .signals import CUTS, RATES, noise, pieces, speech_like

CMVN = Cmvn(np.linspace(5, 12, 80), np.linspace(2, 4, 80))
FRONT_END = FrontEnd(CMVN)
PLAIN = FrontEnd(None)


def heard(
    front_end: FrontEnd, signal: NDArray[Any], rate: int, cuts: list[int]
) -> tuple[NDArray[np.float32], FrontEndState]:
    """All features of a recording pushed in pieces, and the final state."""
    state = front_end.init_state()
    outputs = []
    for piece in pieces(signal, cuts):
        features, state = front_end.step(piece, rate, state)
        outputs.append(features)
    features, state = front_end.flush(state)
    return np.concatenate((*outputs, features)), state


def frames_of(samples: int, source_rate: int) -> int:
    """Whole windows in the lead-in and so many samples at 16 kHz."""
    if samples == 0:
        return 0
    padded = 240 + Resampler(source_rate).look_ahead_samples + samples
    return max(0, 1 + (padded - 400) // 160)


@pytest.mark.fault("F11")
@pytest.mark.parametrize("rate", RATES)
@settings(deadline=None, max_examples=10)
@given(cuts=CUTS)
@example(cuts=[1] * 500)
def test_cuts_do_not_change_a_bit(rate: int, cuts: list[int]) -> None:
    signal = speech_like(0.4, rate)
    features, state = heard(FRONT_END, signal, rate, cuts)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, heard(FRONT_END, signal, rate, [])[0])
    assert state.samples_heard == signal.size
    assert state.samples_16k == (signal.size * 16_000 + rate // 2) // rate
    assert state.frames_out == features.shape[0] == frames_of(state.samples_16k, rate)


def test_features_are_kaldis_of_the_audio_after_the_lead_in() -> None:
    signal = speech_like(1.0)
    features, _ = heard(FRONT_END, signal, 16_000, [5120, 5120])
    padded = np.concatenate((np.zeros(240, np.float32), signal))
    expected = (kaldi_fbank(padded) - CMVN.mean) / CMVN.std
    np.testing.assert_allclose(features, expected, atol=1e-3)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_the_same_sound_at_another_rate_has_the_same_features(rate: int) -> None:
    def tones(rate: int) -> NDArray[np.float32]:
        time = np.arange(rate) / rate
        harmonics = [np.sin(2 * np.pi * 110 * k * time + k * k) for k in range(1, 65)]
        return (0.05 * np.sum(harmonics, axis=0)).astype(np.float32)

    # The lead-in is longer by what the resampler has to look ahead.
    shifted = FrontEnd(None, lead_in_samples=240 + Resampler(rate).look_ahead_samples)
    features, _ = heard(shifted, tones(16_000), 16_000, [])
    resampled, _ = heard(PLAIN, tones(rate), rate, [320 * rate // 1000] * 3)
    # Up to 7 kHz, and away from the ends, where the tones break off and the filter rings.
    assert features.shape == resampled.shape == (100, 80)
    np.testing.assert_allclose(resampled[4:96, :75], features[4:96, :75], atol=0.01)


def test_frames_end_on_multiples_of_ten_milliseconds() -> None:
    state = FRONT_END.init_state()
    for milliseconds in range(10, 210, 10):
        features, state = FRONT_END.step(noise(159), 16_000, state)
        assert features.shape[0] == 0
        features, state = FRONT_END.step(noise(1), 16_000, state)
        assert features.shape[0] == 1
        assert state.frames_out == milliseconds // 10


def test_a_frame_depends_on_its_audio_up_to_its_end_and_no_further() -> None:
    signal = noise(1600)
    features, _ = heard(PLAIN, signal, 16_000, [])
    end = 160 * (4 + 1)
    later, earlier = signal.copy(), signal.copy()
    later[end:] = 0.3
    earlier[end - 40 : end] *= -1
    np.testing.assert_array_equal(heard(PLAIN, later, 16_000, [])[0][:5], features[:5])
    assert (heard(PLAIN, earlier, 16_000, [])[0][4] != features[4]).any()


def test_without_lead_in_the_first_frame_takes_a_whole_window() -> None:
    front_end = FrontEnd(None, lead_in_samples=0)
    features, state = front_end.step(noise(399), 16_000, front_end.init_state())
    assert features.shape == (0, 80)
    features, _ = front_end.step(noise(1), 16_000, state)
    assert features.shape == (1, 80)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_chunk_is_complete_with_its_own_audio_at_every_rate(rate: int) -> None:
    """Otherwise segments as long as a chunk would always be one segment late."""
    state = FRONT_END.init_state()
    for segment in range(1, 5):
        features, state = FRONT_END.step(noise(320 * rate // 1000), rate, state)
        assert features.shape[0] == 32
        assert state.frames_out == 32 * segment


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("samples", [0, 1, 50])
def test_audio_too_short_for_a_frame_gives_none(rate: int, samples: int) -> None:
    features, state = heard(FRONT_END, noise(samples), rate, [])
    assert features.shape == (frames_of(state.samples_16k, rate), 80)
    assert state.samples_heard == samples
    assert state.closed


@pytest.mark.fault("F12")
def test_an_empty_push_changes_nothing_and_needs_no_rate() -> None:
    _, state = FRONT_END.step(noise(1000), 44_100, FRONT_END.init_state())
    for rate in (44_100, 16_000, -1, None):
        features, after = FRONT_END.step([], rate, state)
        assert features.shape == (0, 80)
        assert after is state


@pytest.mark.fault("F20")
def test_a_change_of_rate_is_refused_and_the_stream_goes_on() -> None:
    signal = noise(8000)
    _, state = FRONT_END.step(signal[:4000], 16_000, FRONT_END.init_state())
    with pytest.raises(AudioFormatError, match=r"16000 to 48000 Hz after 4000 samples"):
        FRONT_END.step(signal[4000:], 48_000, state)
    features, _ = FRONT_END.step(signal[4000:], 16_000, state)
    np.testing.assert_array_equal(features, heard(FRONT_END, signal, 16_000, [])[0][25:])


@pytest.mark.parametrize("rate", [None, 0, -1, 500, 16_000.5, "16000"])
def test_a_missing_rate_is_refused(rate: Any) -> None:
    for state in (
        FRONT_END.init_state(),
        FRONT_END.step(noise(100), 16_000, FRONT_END.init_state())[1],
    ):
        with pytest.raises(AudioFormatError, match="sample rate is"):
            FRONT_END.step(noise(100), rate, state)


@pytest.mark.fault("F14")
def test_a_finished_stream_takes_no_audio() -> None:
    _, state = heard(FRONT_END, noise(1000), 44_100, [])
    for late in (noise(10), []):
        with pytest.raises(StreamClosedError, match="after 1000 samples"):
            FRONT_END.step(late, 44_100, state)
    again, after = FRONT_END.flush(state)
    assert again.shape == (0, 80)
    assert (after.frames_out, after.samples_16k) == (state.frames_out, state.samples_16k)


@pytest.mark.fault("F05")
def test_a_nan_does_not_poison_the_stream() -> None:
    signal = noise(48_00, seed=2)
    broken = signal[2400:3000].copy()
    broken[17] = np.nan
    _, state = FRONT_END.step(signal[:2400], 48_000, FRONT_END.init_state())
    with pytest.raises(AudioFormatError, match="sample 2417 is nan"):
        FRONT_END.step(broken, 48_000, state)
    features, _ = FRONT_END.step(signal[2400:], 48_000, state)
    first = state.frames_out
    expected = heard(FRONT_END, signal, 48_000, [])[0]
    np.testing.assert_array_equal(features, expected[first : first + features.shape[0]])


@pytest.mark.fault("F03", "F05")
def test_zeroed_and_clipped_samples_are_counted() -> None:
    signal = noise(1600)
    signal[[3, 900]] = np.nan
    signal[[5, 6, 1000]] = (1.5, -2.0, 3.0)
    repaired = np.clip(np.nan_to_num(signal), -1, 1)
    front_end = FrontEnd(CMVN, nan_policy="zero")
    features, state = heard(front_end, signal, 16_000, [800])
    assert (state.nonfinite, state.clipped) == (2, 3)
    np.testing.assert_array_equal(features, heard(FRONT_END, repaired, 16_000, [])[0])


@pytest.mark.fault("F38")
def test_branches_of_a_stream_agree() -> None:
    signal = noise(9000)
    _, state = FRONT_END.step(signal[:4000], 44_100, FRONT_END.init_state())
    for array in (state.resampler.carry, state.fbank.carry):
        assert array.base is None  # a long push is not kept alive
        array.setflags(write=False)
    before = state.clone()
    first, after_first = FRONT_END.step(signal[4000:], 44_100, state)
    second, after_second = FRONT_END.step(signal[4000:], 44_100, state)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(FRONT_END.flush(after_first)[0], FRONT_END.flush(after_second)[0])
    np.testing.assert_array_equal(state.resampler.carry, before.resampler.carry)
    np.testing.assert_array_equal(state.fbank.carry, before.fbank.carry)


@pytest.mark.fault("F17")
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_state_does_not_grow(rate: int) -> None:
    sizes = []
    state = PLAIN.init_state()
    for _ in range(20):
        _, state = PLAIN.step(noise(rate // 5), rate, state)
        sizes.append(state.resampler.carry.nbytes + state.fbank.carry.nbytes)
    assert len(set(sizes[1:])) == 1


@pytest.mark.parametrize("lead_in", [-1, 2.5, "240", None])
def test_an_impossible_lead_in_is_refused(lead_in: Any) -> None:
    with pytest.raises(ConfigError, match="lead_in_samples"):
        FrontEnd(None, lead_in_samples=lead_in)
