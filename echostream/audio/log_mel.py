"""Whisper's log-mel spectrogram over a stream.

Legend: f = feature frames, d = 80 mel bins.

Whisper (Radford et al. 2022, arXiv 2212.04356) takes log10 of the mel energies of a whole 30 s
window, raises everything to at least 8 below the loudest value of the window, and computes
``(x + 4) / 4``. A stream does not know what will be loudest, so here the floor hangs from the
loudest value so far, or from :data:`USUAL_PEAK` while nothing was louder. Frames that are heard
never change, and are the same bit for bit for every segmentation.
"""

import numpy as np
from numpy.typing import NDArray

from echostream.audio.fbank import Fbank, FbankState
from echostream.constants import (
    FRAME_LENGTH_SAMPLES,
    FRAME_SHIFT_SAMPLES,
    NUM_MEL_BINS,
    SAMPLE_RATE,
)

USUAL_PEAK = 1.0
"""log10 of the loudest mel energy that a recording of speech is expected to have at least."""

_RANGE = 8.0
_FLOOR = 1e-10


def normalised(
    log_energies: NDArray[np.float32], peaks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Whisper's scaling of log10 energies ``[f, d]``, given the loudest value at each frame [f]."""
    raised = np.maximum(log_energies, peaks[:, None] - np.float32(_RANGE))
    scaled: NDArray[np.float32] = (raised + np.float32(4.0)) / np.float32(4.0)
    return scaled


class LogMel(Fbank):
    """80 log-mel bins as Whisper defines them, of windows of 25 ms every 10 ms.

    The window is Hann's, the spectrum has 400 points, the triangles are Slaney's. Windows lie as
    :class:`~echostream.audio.fbank.Fbank` cuts them: the n-th begins at sample 160 n. Immutable.
    """

    def __init__(self) -> None:
        turn = 2 * np.pi * np.arange(FRAME_LENGTH_SAMPLES) / FRAME_LENGTH_SAMPLES
        self._window = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)
        self._mel_weights = _slaney_weights()

    def init_state(self) -> FbankState:
        """State of a stream of which nothing has been heard."""
        return FbankState(peak=USUAL_PEAK)

    def _kernel(self) -> None:
        """None of its own: numpy is quick enough beside Whisper's encoder."""

    def recording_energies(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """:meth:`log_energies` of all whole windows of samples ``[n]``, at least 400."""
        windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH_SAMPLES)
        return self.log_energies(windows[::FRAME_SHIFT_SAMPLES])

    def log_energies(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """log10 of the mel energies ``[f, d]`` of the samples ``[f, 400]``, not yet scaled."""
        spectrum = np.fft.rfft(windows * self._window, axis=1)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        # A product for each frame: one product of all would round a frame by its place among them.
        energies = (power[:, None, :] @ self._mel_weights)[:, 0]
        return np.log10(np.maximum(energies, np.float32(_FLOOR)))

    def _features(
        self, windows: NDArray[np.float32], state: FbankState
    ) -> tuple[NDArray[np.float32], float]:
        energies = self.log_energies(windows)
        loudest = np.maximum.accumulate(energies.max(axis=1))
        peaks = np.maximum(loudest, np.float32(state.peak))
        return normalised(energies, peaks), float(peaks[-1])


def _slaney_weights() -> NDArray[np.float32]:
    """Triangles of unit area, evenly spaced on Slaney's mel scale: [201, 80].

    The scale is linear to 1 kHz, 15 mel there, and logarithmic above (Slaney, Auditory Toolbox,
    1998).
    """
    per_mel, knee, step = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
    top = knee / per_mel + np.log(SAMPLE_RATE / 2 / knee) / step
    mels = np.linspace(0.0, top, NUM_MEL_BINS + 2)
    above = knee * np.exp(step * (mels - knee / per_mel))
    hertz = np.where(mels < knee / per_mel, mels * per_mel, above)
    left, centre, right = hertz[:-2], hertz[1:-1], hertz[2:]
    points = np.fft.rfftfreq(FRAME_LENGTH_SAMPLES, 1 / SAMPLE_RATE)[:, None]
    rising, falling = (points - left) / (centre - left), (right - points) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (right - left)
    return triangles.astype(np.float32)
