"""Audio made up for verification: it has to be varied, not beautiful.

Symbols: ``n`` samples at 16 kHz.
"""

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE

Audio = NDArray[np.float32]

_SHORTEST, _LONGEST = 800, 3200
"""Samples of a piece: 50 to 200 ms, about as long as speech sounds."""


def varied(chance: np.random.Generator, samples: int) -> Audio:
    """``[n]`` coloured noise, harmonic tones, clicks and pauses, a few sounds each second."""
    pieces: list[NDArray[np.float64]] = []
    missing = samples
    while missing > 0:
        length = int(chance.integers(_SHORTEST, _LONGEST))
        make = _SOUNDS[int(chance.choice(len(_SOUNDS), p=_SHARES))]
        pieces.append(make(chance, length) * chance.uniform(0.01, 0.5))
        missing -= length
    joined = np.concatenate(pieces or [np.zeros(0)])[:samples]
    return np.clip(joined, -1.0, 1.0).astype(np.float32)


def silent(chance: np.random.Generator, samples: int) -> Audio:
    """``[n]`` digital silence, in one draw of two around one second of sound."""
    audio = np.zeros(samples, np.float32)
    if chance.random() < 0.5:
        start = samples // 3
        sound = varied(chance, min(SAMPLE_RATE, samples - start))
        audio[start : start + len(sound)] = sound
    return audio


def _noise(chance: np.random.Generator, length: int) -> NDArray[np.float64]:
    width = int(chance.integers(1, 40))
    return np.convolve(chance.standard_normal(length), np.ones(width) / width, "same")


def _tone(chance: np.random.Generator, length: int) -> NDArray[np.float64]:
    pitch = chance.uniform(80, 300) * np.linspace(1.0, chance.uniform(0.8, 1.25), length)
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    harmonics = np.arange(1, 13)
    weights = chance.uniform(0.0, 1.0, len(harmonics)) / harmonics
    tone: NDArray[np.float64] = weights @ np.sin(np.outer(harmonics, phase))
    return tone


def _click(chance: np.random.Generator, length: int) -> NDArray[np.float64]:
    audio = np.zeros(length)
    audio[int(chance.integers(length))] = 2.0
    return audio


def _pause(chance: np.random.Generator, length: int) -> NDArray[np.float64]:
    return np.zeros(length)


_SOUNDS = (_noise, _tone, _click, _pause)
_SHARES = (0.4, 0.4, 0.1, 0.1)
