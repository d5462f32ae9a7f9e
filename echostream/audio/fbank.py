"""Kaldi's log-mel filter bank over a stream.

Legend: n = samples, f = feature frames, d = 80 mel bins.

A frame depends on its own 400 samples only (window 25 ms, shift 10 ms, snip_edges), so the whole
state of the stream is the fewer than 400 samples of which a later frame still needs some. Frames
are the same bit for bit for every segmentation.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from echostream.audio.samples import no_samples
from echostream.constants import (
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
    SAMPLE_RATE,
)

_PCM16_SCALE = np.float32(32768.0)
_PRE_EMPHASIS = np.float32(0.97)
_FLOOR = np.float32(2.0**-23)
_FFT_SIZE = 512
_LOWEST_HZ, _HIGHEST_HZ = 20.0, SAMPLE_RATE / 2
_BATCH_FRAMES = 1000
"""Frames computed at once, which bounds the memory taken when a whole recording is pushed."""


def _povey_window() -> NDArray[np.float32]:
    """Hann's window to the power of 0.85, [400]."""
    turn = 2 * np.pi * np.arange(FRAME_LENGTH_SAMPLES) / (FRAME_LENGTH_SAMPLES - 1)
    return ((0.5 - 0.5 * np.cos(turn)) ** 0.85).astype(np.float32)


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))


def _mel_weights() -> NDArray[np.float32]:
    """Triangles evenly spaced in mel, over the points of the power spectrum: [257, 80]."""
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), NUM_MEL_BINS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    points = _mel(np.arange(_FFT_SIZE // 2 + 1) * SAMPLE_RATE / _FFT_SIZE)[:, None]
    rising, falling = (points - left) / (centre - left), (right - points) / (right - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[-1] = 0.0  # Kaldi leaves the Nyquist frequency out, also where rounding would not.
    return weights.astype(np.float32)


def _kernel_room() -> Any:
    """Imports torch, which takes a second that not everybody who imports this needs to spend."""
    return importlib.import_module("echostream.kernel")


def _shared_kernel() -> Any:
    """The project's kernel, which computes what stands here faster; ``None`` without one."""
    return _kernel_room().shared_kernel()


@dataclass(frozen=True, eq=False)
class FbankState:
    """What a stream needs in order to go on. Arrays are never written to after creation.

    carry: float32 [< 400], the samples from the start of the next frame on.
    samples_in, frames_out: counted since the start of the stream.
    peak: the loudest value so far, for a bank that scales by it.
    """

    carry: NDArray[np.float32] = field(default_factory=no_samples)
    samples_in: int = 0
    frames_out: int = 0
    peak: float = 0.0

    def clone(self) -> FbankState:
        """A copy that shares no array with this one."""
        return replace(self, carry=self.carry.copy())


class Fbank:
    """80 log-mel filter-bank energies, as Kaldi and torchaudio.compliance.kaldi.fbank define them.

    16 kHz, window 25 ms, shift 10 ms, povey window, pre-emphasis 0.97, DC offset removed, no
    dither, snip_edges, power spectrum of 512 points, 80 bins from 20 Hz to 8 kHz, natural logarithm
    with floor 1.19e-7 before it. Samples in [-1, 1] are multiplied by 32768 first, as fairseq's
    speech recipes do. Immutable; one object serves any number of streams and threads.
    """

    def __init__(self) -> None:
        self._window = _povey_window()
        self._mel_weights = _mel_weights()

    def init_state(self) -> FbankState:
        """State of a stream of which nothing has been heard."""
        return FbankState()

    def step(
        self, samples: NDArray[np.float32], state: FbankState
    ) -> tuple[NDArray[np.float32], FbankState]:
        """Frames completed by more samples.

        samples: float32 [n] in [-1, 1] at 16 kHz, n >= 0.
        Returns features float32 [f, 80], f >= 0, and the new state. Nothing passed in is changed.
        """
        signal = np.concatenate((state.carry, samples))
        frames = max(0, 1 + (signal.size - FRAME_LENGTH_SAMPLES) // FRAME_SHIFT_SAMPLES)
        features, peak = self._compute(signal, frames, state)
        # A copy, so that the carry does not keep a long push alive.
        carry = signal[frames * FRAME_SHIFT_SAMPLES :].copy()
        return features, FbankState(
            carry, state.samples_in + samples.size, state.frames_out + frames, peak
        )

    def _compute(
        self, signal: NDArray[np.float32], frames: int, state: FbankState
    ) -> tuple[NDArray[np.float32], float]:
        features = np.empty((frames, NUM_MEL_BINS), np.float32)
        if frames == 0:
            return features, state.peak
        kernel = self._kernel()
        if kernel is not None:
            return self._bank.log_mel(kernel, signal, frames), state.peak
        windows = sliding_window_view(signal, FRAME_LENGTH_SAMPLES)[::FRAME_SHIFT_SAMPLES]
        for first in range(0, frames, _BATCH_FRAMES):
            part = windows[first : first + _BATCH_FRAMES]
            features[first : first + _BATCH_FRAMES], peak = self._features(part, state)
            state = replace(state, peak=peak)
        return features, state.peak

    def _kernel(self) -> Any:
        """What computes this bank faster, if there is anything."""
        return _shared_kernel()

    def _features(
        self, windows: NDArray[np.float32], state: FbankState
    ) -> tuple[NDArray[np.float32], float]:
        """Frames ``[f, 80]`` of the samples ``[f, 400]``, and the loudest value up to there."""
        return self._log_mel(windows * _PCM16_SCALE), state.peak

    @cached_property
    def _bank(self) -> Any:
        """As the kernel reads it."""
        return _kernel_room().MelBank.of(self._window, self._mel_weights)

    def _log_mel(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Frames ``[f, 80]`` of the samples ``[f, 400]``, each computed as if it were alone."""
        windows = windows - windows.mean(axis=1, keepdims=True)
        padded = np.zeros((len(windows), _FFT_SIZE), np.float32)
        emphasised = padded[:, :FRAME_LENGTH_SAMPLES]
        # The sample before the first is taken to be the first.
        np.multiply(windows[:, :1], _PRE_EMPHASIS, out=emphasised[:, :1])
        np.multiply(windows[:, :-1], _PRE_EMPHASIS, out=emphasised[:, 1:])
        np.subtract(windows, emphasised, out=emphasised)
        emphasised *= self._window
        spectrum = np.fft.rfft(padded, axis=1)
        power = spectrum.real**2 + spectrum.imag**2
        # A product for each frame: one product of all would round a frame by its place among them.
        energies = (power[:, None, :] @ self._mel_weights)[:, 0]
        return np.log(np.maximum(energies, _FLOOR))
