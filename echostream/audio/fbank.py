"""Kaldi's log-mel filter bank over a stream.

Legend: n = samples, f = feature frames, d = 80 mel bins.

A frame depends on its own 400 samples only (window 25 ms, shift 10 ms, snip_edges), so the whole
state of the stream is the fewer than 400 samples of which a later frame still needs some. Frames
are the same bit for bit for every segmentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

from echostream.constants import (
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
    SAMPLE_RATE,
)

_PCM16_SCALE = np.float32(32768.0)
_BATCH_FRAMES = 1000
"""Frames computed by one extractor, which bounds its memory when a whole recording is pushed."""


def _no_samples() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class FbankState:
    """What a stream needs in order to go on. Arrays are never written to after creation.

    carry: float32 [< 400], the samples from the start of the next frame on.
    samples_in, frames_out: counted since the start of the stream.
    """

    carry: NDArray[np.float32] = field(default_factory=_no_samples)
    samples_in: int = 0
    frames_out: int = 0

    def clone(self) -> FbankState:
        """A copy that shares no array with this one."""
        return FbankState(self.carry.copy(), self.samples_in, self.frames_out)


class Fbank:
    """80 log-mel filter-bank energies, as Kaldi and torchaudio.compliance.kaldi.fbank define them.

    16 kHz, window 25 ms, shift 10 ms, povey window, pre-emphasis 0.97, DC offset removed, no
    dither, snip_edges, power spectrum of 512 points, 80 bins from 20 Hz to 8 kHz, natural logarithm
    with floor 1.19e-7 before it. Samples in [-1, 1] are multiplied by 32768 first, as fairseq's
    speech recipes do. Immutable; one object serves any number of streams and threads.
    """

    def __init__(self) -> None:
        options = knf.FbankOptions()
        options.frame_opts.samp_freq = SAMPLE_RATE
        options.frame_opts.frame_length_ms = 1000 * FRAME_LENGTH_SAMPLES / SAMPLE_RATE
        options.frame_opts.frame_shift_ms = 1000 * FRAME_SHIFT_SAMPLES / SAMPLE_RATE
        options.frame_opts.dither = 0.0
        options.frame_opts.preemph_coeff = 0.97
        options.frame_opts.remove_dc_offset = True
        options.frame_opts.window_type = "povey"
        options.frame_opts.round_to_power_of_two = True
        options.frame_opts.snip_edges = True
        options.mel_opts.num_bins = NUM_MEL_BINS
        options.mel_opts.low_freq = 20.0
        options.mel_opts.high_freq = 0.0  # Kaldi: 0 or less counts from the Nyquist frequency.
        options.use_energy = False
        options.use_log_fbank = True
        options.use_power = True
        self._options = options

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
        features = self._compute(signal, frames)
        # A copy, so that the carry does not keep a long push alive.
        carry = signal[frames * FRAME_SHIFT_SAMPLES :].copy()
        return features, FbankState(
            carry, state.samples_in + samples.size, state.frames_out + frames
        )

    def _compute(self, signal: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        features = np.empty((frames, NUM_MEL_BINS), np.float32)
        for first in range(0, frames, _BATCH_FRAMES):
            last = min(first + _BATCH_FRAMES, frames)
            start = first * FRAME_SHIFT_SAMPLES
            stop = (last - 1) * FRAME_SHIFT_SAMPLES + FRAME_LENGTH_SAMPLES
            # OnlineFbank keeps all it has been given, so each call gets one of its own. The binding
            # walks over a sequence of numbers, and a list is the sequence it walks fastest.
            extractor = knf.OnlineFbank(self._options)
            extractor.accept_waveform(SAMPLE_RATE, (signal[start:stop] * _PCM16_SCALE).tolist())
            for frame in range(last - first):
                features[first + frame] = extractor.get_frame(frame)
        return features
