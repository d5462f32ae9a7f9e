"""A mel filter bank as the kernel reads it, and what the kernel makes of it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.kernel import Kernel, MelBank
from tests.audio.kaldi_reference import kaldi_fbank, triangles

from .needs import needs_compiler

WINDOW = ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85).astype(np.float32)


def bank() -> MelBank:
    weights = np.zeros((257, 80), np.float32)
    weights[:256] = triangles().T
    return MelBank.of(WINDOW, weights)


@given(seed=st.integers(0, 99), density=st.floats(0, 1))
def test_nothing_is_lost(seed: int, density: float) -> None:
    """Also of bins with gaps, or that weigh nothing."""
    rng = np.random.default_rng(seed)
    weights = rng.random((257, 80), np.float32) * (rng.random((257, 80)) < density)
    stored = MelBank.of(WINDOW, weights)
    found, start = np.zeros_like(weights), 0
    for mel, (first, count) in enumerate(zip(stored.firsts, stored.counts, strict=True)):
        found[first : first + count, mel] = stored.weights[start : start + count]
        start += count
    assert start == len(stored.weights)
    np.testing.assert_array_equal(found, weights)


@needs_compiler
@settings(deadline=None, max_examples=60)
@given(
    frames=st.integers(1, 50), loudness=st.sampled_from([1.0, 0.1, 1e-3]), seed=st.integers(0, 9)
)
def test_equals_kaldis_definition(kernel: Kernel, frames: int, loudness: float, seed: int) -> None:
    signal = noise(frames, loudness, seed)
    features = bank().log_mel(kernel, signal, frames)
    np.testing.assert_allclose(features, kaldi_fbank(signal), atol=1e-3, rtol=0)


@needs_compiler
def test_a_frame_is_the_same_wherever_it_stands(kernel: Kernel) -> None:
    signal = noise(50, 0.3, 0)
    features = bank().log_mel(kernel, signal, 50)
    for start in range(50):
        alone = bank().log_mel(kernel, signal[160 * start :].copy(), 1)
        np.testing.assert_array_equal(alone[0], features[start])


def noise(frames: int, loudness: float, seed: int) -> NDArray[np.float32]:
    """Samples of so many frames."""
    rng = np.random.default_rng(seed)
    samples = loudness * rng.uniform(-1, 1, 400 + 160 * (frames - 1))
    return samples.astype(np.float32)
