"""Signals and cuts shared by the tests of the audio room."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

RATES = (8_000, 11_025, 12_345, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

CUTS = st.lists(st.one_of(st.just(0), st.just(1), st.integers(1, 500), st.integers(500, 9000)))
"""Lengths of the first pushes of a stream; the rest follows in one push."""


def noise(samples: int, *, amplitude: float = 0.5, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).uniform(-amplitude, amplitude, samples)
    return values.astype(np.float32)


def speech_like(seconds: float, rate: int = 16_000) -> NDArray[np.float32]:
    """Harmonics of a gliding pitch in syllables of 200 ms, and some noise, as speech has them."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 40 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    envelope = 0.05 + np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)
    hiss = np.random.default_rng(1).standard_normal(time.size)
    signal = 0.15 * envelope * voice + 0.003 * hiss
    return signal.astype(np.float32)


def pieces(signal: NDArray[Any], lengths: Iterable[int]) -> Iterator[NDArray[Any]]:
    """The signal cut into pieces of the given lengths, and what remains as the last piece."""
    start = 0
    for length in lengths:
        yield signal[start : start + length]
        start += length
    yield signal[start:]
