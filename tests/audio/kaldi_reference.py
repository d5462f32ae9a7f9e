"""Kaldi's filter bank written from its definition, frame by frame in float64.

Follows the description of compute-fbank-feats (feature-window.h, mel-computations.h): each window
has its mean removed, is pre-emphasised, multiplied by the povey window, padded to 512 and
transformed; the power spectrum is summed under 80 triangles evenly spaced in mel between 20 Hz and
8 kHz.
"""

import numpy as np
from numpy.typing import NDArray


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))


def triangles() -> NDArray[np.float64]:
    """Weights [80, 256] of the bins below the Nyquist frequency."""
    edges = np.linspace(mel(20.0), mel(8000.0), 82)
    position = mel(np.arange(256) * 16_000 / 512)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (position - left) / (centre - left)
    falling = (right - position) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def kaldi_fbank(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-mel features [f, 80] of samples in [-1, 1] at 16 kHz."""
    scaled = signal.astype(np.float64) * 32768
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    weights = triangles()
    frames = []
    for start in range(0, scaled.size - 399, 160):
        frame = scaled[start : start + 400]
        frame = frame - frame.mean()
        emphasised = np.empty(400)
        emphasised[0] = frame[0] - 0.97 * frame[0]
        emphasised[1:] = frame[1:] - 0.97 * frame[:-1]
        power = np.abs(np.fft.rfft(emphasised * window, 512)) ** 2
        energies = weights @ power[:256]
        frames.append(np.log(np.maximum(energies, np.finfo(np.float32).eps)))
    return np.array(frames).reshape(-1, 80)
