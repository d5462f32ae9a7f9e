"""Changes to a recording that keep its words: tempo, pitch, band, level, noise.

The corpora differ in sample rate, loudness and background, so a model could learn a corpus by its
spectrum instead of the words. Each recording therefore gets a band, a level and a noise drawn from
the same ranges, whatever it had. The order matters: noise comes last and reaches over the whole
band, or the edge of a recording of 11 kHz would still stand out.

All functions are pure: samples float32 [n] at 16 kHz in, new samples out, and what is random is
drawn from the generator given. `augment` with an equal generator gives equal samples.

Symbols: ``n`` samples.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE

Samples = NDArray[np.float32]

STRETCH_WINDOW = 640  # samples of a window for time stretching: 40 ms
STRETCH_SHIFT = STRETCH_WINDOW // 2
STRETCH_SEARCH = 128
"""How far a window may be moved to fit (8 ms each way: the period of a voice of 62 Hz)."""
COARSE = 4  # the fit is looked for on means of this many samples first
NOISE_BANK = 1 << 18  # samples of noise of each colour, drawn once: 16 s, read from a random place
NOISE_COLOURS = (0.0, 1.0, 2.0)  # power falls as frequency to this exponent: white, pink, brown
COLOUR_HZ = (0.0, 150.0, 300.0, 600.0, 1200.0, 2000.0, 3000.0, 4000.0, 5500.0, 7000.0, 8000.0)
"""Where the gains of a colouring are drawn; voices and microphones differ on this scale."""
EDGE_HZ = 200.0  # width of the edge of a band limit
CEILING = 0.99  # peaks above full scale are brought down to this by scaling the whole recording
QUIET = 1e-5  # RMS below which a recording counts as silence and is left at its level


@dataclass(frozen=True)
class Augmentation:
    """Ranges to draw from and how often each change is made.

    ``speed`` changes tempo and pitch together (a factor), ``pitch`` the pitch alone (semitones).
    ``high`` is the upper band limit and ``low`` the lower one (Hz); ``colour_spread`` how far the
    gains at `COLOUR_HZ` may go up and down (dB); ``level`` the RMS that the
    recording is brought to (dB below full scale) and ``snr`` the speech by the noise (dB). Each
    chance is a probability.
    """

    speed: tuple[float, float] = (0.9, 1.1)
    speed_chance: float = 1.0
    pitch: tuple[float, float] = (-2.0, 2.0)
    pitch_chance: float = 0.25
    high: tuple[float, float] = (3400.0, 7600.0)
    high_chance: float = 0.8
    low: tuple[float, float] = (50.0, 300.0)
    low_chance: float = 0.5
    level: tuple[float, float] = (-32.0, -14.0)
    level_chance: float = 1.0
    colour_chance: float = 0.8
    colour_spread: float = 10.0
    snr: tuple[float, float] = (10.0, 40.0)
    noise_chance: float = 0.8


DEFAULT = Augmentation()


def augment(
    samples: Samples, chance: np.random.Generator, options: Augmentation = DEFAULT
) -> Samples:
    """``[n]`` to ``[n / speed]`` samples, within [-1, 1].

    Each draw is made whether or not it is used, so that switching one change off leaves the others
    as they were.
    """
    used = chance.random(7)
    drawn = chance.random(6)
    gains = chance.uniform(-1.0, 1.0, len(COLOUR_HZ)) * options.colour_spread
    seed = int(chance.integers(1 << 62))

    def value(index: int, limits: tuple[float, float]) -> float:
        return limits[0] + float(drawn[index]) * (limits[1] - limits[0])

    speed = value(0, options.speed) if used[0] < options.speed_chance else 1.0
    semitones = value(1, options.pitch) if used[1] < options.pitch_chance else 0.0
    result = change_voice(samples, round(speed, 2), semitones)
    high = value(2, options.high) if used[2] < options.high_chance else SAMPLE_RATE / 2
    low = value(3, options.low) if used[3] < options.low_chance else 0.0
    coloured = used[6] < options.colour_chance
    result = band_limit(result, low, high, gains if coloured else None)
    if used[4] < options.level_chance:
        result = set_level(result, value(4, options.level))
    if used[5] < options.noise_chance:
        colour = NOISE_COLOURS[seed % len(NOISE_COLOURS)]
        result = add_noise(result, value(5, options.snr), colour, seed // len(NOISE_COLOURS))
    return within_scale(result)


def change_voice(samples: Samples, speed: float, semitones: float) -> Samples:
    """``[n]`` to about ``[n / speed]``: faster and higher by ``speed``, then higher by
    ``semitones`` at the same tempo. 1.0 and 0.0 change nothing."""
    ratio = 2.0 ** (semitones / 12.0)
    factor = speed * ratio
    moved = samples.copy()
    if samples.size and abs(factor - 1.0) >= 1e-3:
        # One resampling does both; what the pitch took from the length is stretched back.
        moved = soxr.resample(samples, round(SAMPLE_RATE * factor), SAMPLE_RATE, quality="MQ")
    return moved if abs(ratio - 1.0) < 1e-3 else stretch(moved, round(samples.size / speed))


def stretch(samples: Samples, size: int) -> Samples:
    """``[n]`` to ``[size]`` at the same pitch, by waveform-similarity overlap-add.

    WSOLA (Verhelst and Roelands, ICASSP 1993): windows are taken from where they belong in time,
    moved by up to `STRETCH_SEARCH` samples to where they continue the previous one best.
    """
    if samples.size < 2 * STRETCH_SHIFT + 2 * STRETCH_SEARCH or size < STRETCH_WINDOW:
        return _fit(samples, size)
    count = -(-size // STRETCH_SHIFT) + 1
    before = STRETCH_SHIFT + STRETCH_SEARCH
    padded = np.pad(samples, (before, STRETCH_WINDOW + 2 * before))
    last = padded.size - STRETCH_WINDOW - STRETCH_SHIFT - STRETCH_SEARCH
    coarse = padded[: padded.size // COARSE * COARSE].reshape(-1, COARSE).mean(axis=1)
    starts = [before - STRETCH_SHIFT]
    for number in range(1, count):
        place = before - STRETCH_SHIFT + round(number * STRETCH_SHIFT * samples.size / size)
        starts.append(_best_start(padded, coarse, starts[-1] + STRETCH_SHIFT, min(place, last)))
    window = np.hanning(STRETCH_WINDOW + 1)[:-1].astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(padded, STRETCH_WINDOW)
    halves = (views[starts] * window).reshape(count, 2, STRETCH_SHIFT)
    # Hann windows at half their length sum to one. The first half window is before the beginning.
    joined = halves[:-1, 1] + halves[1:, 0]
    return _fit(joined.reshape(-1), size)


def _best_start(padded: Samples, coarse: Samples, continued: int, place: int) -> int:
    """The start within the search range around ``place`` whose window is most like the one at
    ``continued``: found on every fourth sample first, then exactly."""
    size, reach = STRETCH_SHIFT // COARSE, STRETCH_SEARCH // COARSE
    model = coarse[continued // COARSE : continued // COARSE + size]
    first = place // COARSE - reach
    field = coarse[first : first + size + 2 * reach]
    # Both are compared at whole coarse samples; what that shifts the model by is put back.
    found = (first + _most_alike(model, field)) * COARSE + continued % COARSE
    model = padded[continued : continued + STRETCH_SHIFT]
    field = padded[found - COARSE : found + COARSE + STRETCH_SHIFT]
    return found - COARSE + _most_alike(model, field)


def _most_alike(model: Samples, field: Samples) -> int:
    """The offset in ``field`` with the highest normalised correlation; the middle if all are
    silent."""
    products = np.correlate(field, model, "valid")
    squares = np.concatenate((np.zeros(1, np.float32), np.cumsum(field * field)))
    energies = squares[model.size :] - squares[: -model.size]
    if float(np.abs(products).max()) < 1e-9:
        return int(products.size // 2)
    return int(np.argmax(products / np.sqrt(np.maximum(energies, np.float32(1e-9)))))


def _fit(samples: Samples, size: int) -> Samples:
    return np.pad(samples[:size], (0, max(0, size - samples.size)))


def band_limit(
    samples: Samples, low: float, high: float, gains: NDArray[np.float64] | None = None
) -> Samples:
    """``[n]`` with what is below ``low`` and above ``high`` Hz taken away, with soft edges.

    ``gains`` (dB at the frequencies `COLOUR_HZ`, straight lines between) colour what is left.
    """
    unlimited = low <= 0.0 and high >= SAMPLE_RATE / 2
    if samples.size == 0 or (unlimited and gains is None):
        return samples.copy()
    size = _fast_size(samples.size + round(SAMPLE_RATE / EDGE_HZ))
    spectrum = np.fft.rfft(samples, size)
    frequencies = np.arange(spectrum.size, dtype=np.float32) * np.float32(SAMPLE_RATE / size)
    if gains is not None:
        # The curve has few corners: it is drawn on a coarse grid and stretched to the bins.
        grid = np.linspace(0.0, SAMPLE_RATE / 2, 257)
        curve = np.interp(grid, COLOUR_HZ, 10.0 ** (gains / 20.0)).astype(np.float32)
        spectrum *= np.interp(frequencies, grid, curve).astype(np.float32)
    spectrum *= _edge(frequencies, low) if low > 0.0 else 1.0
    spectrum *= _edge(-frequencies, -high) if high < SAMPLE_RATE / 2 else 1.0
    limited: Samples = np.fft.irfft(spectrum, size)[: samples.size].astype(np.float32, copy=False)
    return limited


def _edge(frequencies: Samples, limit: float) -> Samples:
    """0 below the limit, 1 above, half a cosine of `EDGE_HZ` between."""
    position = np.clip((frequencies - np.float32(limit)) / np.float32(EDGE_HZ) + 0.5, 0.0, 1.0)
    curve: Samples = np.float32(0.5) - np.float32(0.5) * np.cos(np.float32(np.pi) * position)
    return curve


def _fast_size(size: int) -> int:
    """The next size that is 1, 3 or 5 times a power of two: other sizes transform slowly."""
    return min(factor << max(0, (-(-size // factor) - 1).bit_length()) for factor in (1, 3, 5))


def set_level(samples: Samples, decibels: float) -> Samples:
    """``[n]`` scaled to an RMS of ``decibels`` below full scale; silence stays silence."""
    rms = _rms(samples)
    return samples if rms < QUIET else samples * np.float32(10.0 ** (decibels / 20.0) / rms)


def add_noise(samples: Samples, snr: float, colour: float, seed: int) -> Samples:
    """``[n]`` with stationary noise ``snr`` dB below it; none is added to silence.

    ``colour`` is the exponent by which the noise's power falls with frequency, ``seed`` picks the
    stretch of noise.
    """
    rms = _rms(samples)
    if rms < QUIET:
        return samples
    bank = _noise(colour)
    places = np.arange(seed % bank.size, seed % bank.size + samples.size)
    noise = bank.take(places, mode="wrap")
    return samples + noise * np.float32(rms * 10.0 ** (-snr / 20.0))


@lru_cache(maxsize=8)
def _noise(colour: float) -> Samples:
    """`NOISE_BANK` samples of noise with RMS 1; always the same ones."""
    white = np.random.default_rng(20_000).standard_normal(NOISE_BANK).astype(np.float32)
    spectrum = np.fft.rfft(white)
    # Below 20 Hz the power would grow without bound.
    hertz = np.maximum(np.arange(spectrum.size) * SAMPLE_RATE / NOISE_BANK, 20.0)
    shaped = np.fft.irfft(spectrum * hertz ** (-colour / 2.0), NOISE_BANK)
    noise: Samples = (shaped / np.sqrt(np.mean(shaped**2))).astype(np.float32)
    noise.setflags(write=False)
    return noise


def within_scale(samples: Samples) -> Samples:
    """``[n]`` scaled down to a peak of 0.99 where it would pass full scale."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(CEILING / peak) if peak > 1.0 else samples


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.dot(samples, samples) / max(1, samples.size)))
