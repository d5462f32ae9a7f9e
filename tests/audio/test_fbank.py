import math
from collections.abc import Iterator
from pathlib import Path

import kaldi_native_fbank
import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from echostream.audio import Fbank, read_audio
from echostream.audio import fbank as fbank_module

from .kaldi_reference import kaldi_fbank
from .signals import CUTS, noise, pieces, speech_like

FBANK = Fbank()


@pytest.fixture(scope="module", autouse=True, params=["kernel", "numpy"])
def computed_by(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything holds with the project's kernel, where there is one, and without."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(fbank_module, "_shared_kernel", lambda: None)
        yield


def features_of(signal: NDArray[np.float32], cuts: list[int]) -> NDArray[np.float32]:
    state = FBANK.init_state()
    outputs = []
    for piece in pieces(signal, cuts):
        features, state = FBANK.step(piece, state)
        assert state.carry.size < 400
        outputs.append(features)
    joined = np.concatenate(outputs)
    assert (state.samples_in, state.frames_out) == (signal.size, joined.shape[0])
    return joined


@pytest.mark.parametrize(
    "signal",
    [noise(16_000), speech_like(1.0), 0.01 * noise(8_000), np.sign(noise(8_000))],
    ids=["noise", "speech-like", "quiet noise", "full scale"],
)
def test_equals_kaldis_definition(signal: NDArray[np.float32]) -> None:
    features = features_of(signal, [])
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, kaldi_fbank(signal), atol=1e-3, rtol=0)


def test_equals_another_program_on_human_speech() -> None:
    samples, rate = read_audio(Path(__file__).parents[2] / "eval" / "clips" / "perro.ogg")
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(rate, (samples * 32768).tolist())
    expected = np.stack([bank.get_frame(n) for n in range(bank.num_frames_ready)])
    np.testing.assert_allclose(features_of(samples, []), expected, atol=5e-3, rtol=0)


@settings(deadline=None, max_examples=40)
@given(cuts=CUTS)
@example(cuts=[1] * 1700)
@example(cuts=[399, 1, 159, 1, 160, 0, 561])
def test_cuts_do_not_change_a_bit(cuts: list[int]) -> None:
    signal = speech_like(0.5)
    np.testing.assert_array_equal(features_of(signal, cuts), features_of(signal, []))


@pytest.mark.fault("F18")
def test_long_pushes_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    signal = noise(16_000)
    expected = features_of(signal, [])
    monkeypatch.setattr(fbank_module, "_BATCH_FRAMES", 7)
    np.testing.assert_array_equal(features_of(signal, []), expected)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)]
)
def test_number_of_frames(samples: int, frames: int) -> None:
    assert features_of(noise(samples), []).shape == (frames, 80)


@pytest.mark.fault("F01")
def test_digital_silence_is_the_logarithm_of_the_floor() -> None:
    features = features_of(np.zeros(16_000, np.float32), [])
    np.testing.assert_allclose(features, math.log(2.0**-23), atol=1e-5)


@pytest.mark.fault("F02")
def test_a_constant_offset_is_removed() -> None:
    # On the grid of 16-bit samples, so that adding the offset rounds nothing away.
    signal = np.round(noise(8_000, amplitude=0.2) * 32768).astype(np.float32) / np.float32(32768)
    shifted = features_of(signal + np.float32(0.5), [])
    np.testing.assert_allclose(shifted, features_of(signal, []), atol=1e-2)
