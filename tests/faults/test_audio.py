"""F01 to F08: what the audio may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from echostream.audio import FrontEnd
from echostream.constants import SAMPLE_RATE
from echostream.errors import AudioFormatError
from echostream.session import Translator
from tests.faults.conftest import assert_equal_states, hear
from tests.small_system import audio

TIME = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE


def features(samples: Any, rate: int = SAMPLE_RATE, **options: Any) -> np.ndarray:
    front_end = FrontEnd(None, **options)
    first, state = front_end.step(samples, rate, front_end.init_state())
    return np.concatenate((first, front_end.flush(state)[0]))


def test_F01_silence_is_finite_and_says_nothing(shipped: Translator) -> None:
    heard = hear(shipped, np.zeros(10 * SAMPLE_RATE, np.float32))
    assert heard.words == []
    assert heard.state.writer.target.num_tokens == heard.state.writer.source.num_tokens == 0
    assert len(heard.frames) == 500
    assert len(set(heard.state_bytes)) == 1


def test_F01_speech_after_silence_is_still_heard(translate: Any) -> None:
    translator = translate(policy="stub")
    samples = np.concatenate((np.zeros(6 * SAMPLE_RATE, np.float32), audio(2.0)))
    assert hear(translator, samples).words


def test_F02_an_offset_is_removed_after_the_first_frames() -> None:
    samples = 0.45 * audio(3.0)
    plain, shifted = features(samples), features(samples + np.float32(0.5))
    # The step from the silence before the stream is in the first two windows.
    assert np.abs(shifted[2:] - plain[2:]).max() < 0.02
    assert np.abs(shifted[:2] - plain[:2]).max() > 0.1
    assert np.isfinite(shifted).all()


def test_F03_loud_floats_are_clipped_counted_and_finite(translate: Any) -> None:
    samples = 8 * audio(2.0)
    samples = np.clip(samples, -4, 4)
    heard = hear(translate(), samples)
    assert heard.state.listener.front_end.clipped == np.count_nonzero(np.abs(samples) > 1) > 0
    assert heard.decisions == hear(translate(), np.clip(samples, -1, 1)).decisions


def test_F03_a_square_wave_is_finite_and_not_clipped(translate: Any) -> None:
    heard = hear(translate(), np.sign(np.sin(2 * np.pi * 220 * TIME[:32_000])).astype(np.float32))
    assert heard.state.listener.front_end.clipped == 0


@pytest.mark.parametrize("form", [np.asarray, list])
def test_F04_sixteen_bit_numbers_as_floats_are_refused(translate: Any, form: Any) -> None:
    with pytest.raises(AudioFormatError, match="divide them by 32768"):
        hear(translate(), form((audio(0.5) * 32768).astype(np.float32)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_F05_bad_samples_are_named_and_do_not_poison_the_stream(translate: Any, bad: float) -> None:
    translator = translate(policy="stub")
    samples = audio(2.0)
    poisoned = samples[9000:14000].copy()
    poisoned[123] = bad
    _, state = translator.step(samples[:9000], SAMPLE_RATE, translator.init_state(), is_final=False)
    with pytest.raises(AudioFormatError, match=r"sample 9123 is -?(nan|inf)"):
        translator.step(poisoned, SAMPLE_RATE, state, is_final=False)
    after = hear(translator, samples[9000:], 5120, state=state)
    whole = hear(translator, samples, (9000, 5120))
    assert after.decisions == whole.decisions[-len(after.turns) :]
    assert_equal_states(after.state, whole.state)


def test_F05_with_the_zero_policy_bad_samples_are_silence_and_counted() -> None:
    samples = audio(1.0)
    poisoned = samples.copy()
    poisoned[[5, 700, 8000]] = np.nan, np.inf, -np.inf
    silenced = np.where(np.isfinite(poisoned), poisoned, 0)
    front_end = FrontEnd(None, nan_policy="zero")
    found, state = front_end.step(poisoned, SAMPLE_RATE, front_end.init_state())
    assert state.nonfinite == 3
    assert np.array_equal(found, features(silenced)[: len(found)])


NOISES = {
    "white noise": np.clip(np.random.default_rng(0).normal(0, 0.1, len(TIME)), -1, 1),
    "hum": 0.3 * np.sin(2 * np.pi * 50 * TIME),
    "impulse": np.eye(1, len(TIME), len(TIME) // 2)[0],
    "one bit": np.random.default_rng(1).integers(-1, 2, len(TIME)) / 32768,
}


@pytest.mark.parametrize("kind", NOISES)
def test_F06_noise_is_finite_and_does_not_make_it_babble(shipped: Translator, kind: str) -> None:
    heard = hear(shipped, NOISES[kind].astype(np.float32))
    assert len(heard.words) <= 5  # in 10 s


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_F07_denormals_are_silence_to_the_bit(translate: Any, rate: int) -> None:
    """All that follows the features is then exactly the work that silence is."""
    quiet = np.full(rate, 1e-40, np.float32) * np.where(np.arange(rate) % 2, 1, -1)
    assert (quiet != 0).all() and (np.abs(quiet) < np.finfo(np.float32).tiny).all()
    silence = np.zeros(rate, np.float32)
    assert np.array_equal(features(quiet.astype(np.float32), rate), features(silence, rate))


@pytest.mark.parametrize("gain", [0.01, 100.0])
def test_F08_forty_decibels_up_or_down_are_finite(translate: Any, gain: float) -> None:
    samples = audio(2.0) * np.float32(gain if gain < 1 else 0.01 * gain)
    assert np.isfinite(hear(translate(), samples).frames).all()
    if gain > 1:
        # Beyond what a float sample can be it is another scale, and refused (F04).
        with pytest.raises(AudioFormatError):
            hear(translate(), audio(2.0) * np.float32(gain))
