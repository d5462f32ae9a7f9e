"""Augmentation, measured on signals whose outcome is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echostream.training.augment import (
    DEFAULT,
    add_noise,
    augment,
    band_limit,
    change_voice,
    set_level,
    stretch,
    within_scale,
)

RATE = 16_000
Samples = NDArray[np.float32]


def sine(hertz: float, seconds: float = 1.0, amplitude: float = 0.5) -> Samples:
    time = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0) -> Samples:
    values = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (0.1 * values).astype(np.float32)


def loudest(samples: Samples) -> float:
    """Frequency (Hz) of the strongest bin."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * RATE / samples.size)


def power(samples: Samples, low: float, high: float) -> float:
    """Decibels between two frequencies."""
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.arange(spectrum.size) * RATE / samples.size
    return float(10 * np.log10(spectrum[(hertz >= low) & (hertz < high)].sum() + 1e-20))


def test_edges_of_a_voice() -> None:
    for speed in (0.9, 1.2):
        faster = change_voice(sine(440.0), speed, 0.0)
        assert faster.size == pytest.approx(RATE / speed, abs=2)
        assert loudest(faster) == pytest.approx(440.0 * speed, abs=2)
    for size in (0, 1, 500, 1023):  # shorter than a window
        result = change_voice(noise()[:size], 1.1, 2.0)
        assert (result.dtype, result.size) == (np.float32, round(size / 1.1))
    # Each window continues the one before it, and the windows sum to one.
    assert np.abs(stretch(noise(0.5), RATE // 2) - noise(0.5)).max() < 1e-6
    assert np.allclose(within_scale(sine(100.0, amplitude=2.0)), sine(100.0, amplitude=0.99))
    assert np.array_equal(within_scale(sine(100.0, amplitude=1.0)), sine(100.0, amplitude=1.0))
    silence = np.zeros(RATE, np.float32)
    assert not any(augment(silence, np.random.default_rng(seed)).any() for seed in range(20))


@pytest.mark.parametrize(("speed", "semitones"), [(1.0, -2.0), (0.9, 1.0), (1.0, 7.0)])
def test_pitch_leaves_the_tempo(speed: float, semitones: float) -> None:
    # A tone, a pause, a tone of another pitch: places in time must stay.
    parts = (sine(440.0, 0.6), np.zeros(RATE // 2, np.float32), sine(700.0, 0.6))
    moved = change_voice(np.concatenate(parts), speed, semitones)
    assert moved.size == round(1.7 * RATE / speed)
    factor = speed * 2 ** (semitones / 12)
    first, pause, last = (
        moved[round(begin * RATE / speed) : round(end * RATE / speed)]
        for begin, end in ((0.1, 0.5), (0.7, 1.0), (1.2, 1.6))
    )
    assert loudest(first) == pytest.approx(440.0 * factor, abs=3)
    assert loudest(last) == pytest.approx(700.0 * factor, abs=3)
    assert np.abs(pause).max() < 0.02
    for part in (first, last):
        assert np.sqrt(np.mean(part**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_the_band_is_limited_on_both_sides() -> None:
    limited = band_limit(noise(), 300.0, 3400.0)
    kept = power(noise(), 450.0, 3250.0)
    assert power(limited, 450.0, 3250.0) == pytest.approx(kept, abs=0.1)
    assert power(limited, 0.0, 150.0) < kept - 45
    assert power(limited, 3550.0, 8000.0) < kept - 45
    assert limited.size == RATE and limited.dtype == np.float32
    # A click at the very end must not ring at the beginning, as a plain circular filter would.
    click = np.zeros(RATE, np.float32)
    click[-1] = 1.0
    assert np.abs(band_limit(click, 100.0, 4000.0)[: RATE // 2]).max() < 1e-3
    gains = np.zeros(11)
    gains[4] = 12.0  # 1200 Hz
    coloured = band_limit(noise(), 0.0, RATE / 2, gains)
    assert power(coloured, 1150, 1250) == pytest.approx(power(noise(), 1150, 1250) + 12, abs=0.6)
    assert power(coloured, 2100, 7900) == pytest.approx(power(noise(), 2100, 7900), abs=0.1)


@given(st.floats(-40, -10), st.floats(1e-3, 0.9))
@settings(deadline=None)
def test_levels_do_not_depend_on_the_level_before(decibels: float, amplitude: float) -> None:
    levelled = set_level(sine(300.0, 0.2, amplitude), decibels)
    rms = np.sqrt(np.mean(levelled.astype(np.float64) ** 2))
    assert 20 * np.log10(rms) == pytest.approx(decibels, abs=0.01)


@pytest.mark.parametrize(("colour", "snr"), [(0.0, 5.0), (1.0, 30.0), (2.0, 5.0)])
def test_noise_has_its_level_and_colour(colour: float, snr: float) -> None:
    samples = sine(1000.0, 4.0)
    added = add_noise(samples, snr, colour, 12345) - samples
    level = 10 * np.log10(np.mean(samples**2) / np.mean(added**2))
    # The level is that of the whole bank; brown noise wanders in a few seconds.
    assert level == pytest.approx(snr, abs=3.0 if colour == 2.0 else 0.5)
    # Power density falls by 3 dB an octave and exponent: two octaves from 500 Hz to 2 kHz.
    fall = power(added, 450, 550) - power(added, 1950, 2050)
    assert fall == pytest.approx(6.02 * colour, abs=1.5)


@given(st.integers(0, 10**6), st.integers(0, 6000))
@settings(deadline=None, max_examples=40)
def test_results_are_usable_and_repeatable(seed: int, size: int) -> None:
    samples = noise(0.5)[:size]
    before = samples.copy()
    result = augment(samples, np.random.default_rng(seed))
    assert result.dtype == np.float32 and result.ndim == 1
    assert np.isfinite(result).all() and np.abs(result).max(initial=0.0) <= 1.0
    assert 0.85 * size - 2 <= result.size <= 1.15 * size + 2
    assert np.array_equal(samples, before)
    assert np.array_equal(result, augment(samples, np.random.default_rng(seed)))


def test_switching_one_change_off_leaves_the_others() -> None:
    # Without noise the rest is drawn as before: the same length and the same band.
    samples = noise(2.0)
    quiet = replace(DEFAULT, noise_chance=0.0)
    for seed in range(10):
        loud, still = (
            augment(samples, np.random.default_rng(seed), options) for options in (DEFAULT, quiet)
        )
        assert loud.size == still.size
        assert np.corrcoef(loud, still)[0, 1] > 0.7


def tell_apart(first: list[float], second: list[float]) -> float:
    """How often the best single threshold names the right one of two corpora (0.5 is chance)."""
    best = 0.5
    for limit in first + second:
        right = np.mean([value > limit for value in first] + [value <= limit for value in second])
        best = max(best, float(right), 1 - float(right))
    return best


def test_a_corpus_is_hard_to_tell_by_its_band_or_its_level() -> None:
    # One corpus is full-band and loud, one comes from 11 kHz and is soft.
    def corpora(change: bool) -> tuple[list[Samples], list[Samples]]:
        wide = [noise(0.5, seed) for seed in range(120)]
        narrow = [0.2 * band_limit(noise(0.5, 500 + seed), 0.0, 5200.0) for seed in range(120)]
        if not change:
            return wide, narrow
        chance = np.random.default_rng(3)
        strong = replace(DEFAULT, high_chance=1.0, high=(3400.0, 5200.0), noise_chance=1.0)
        return [augment(x, chance, strong) for x in wide], [
            augment(x, chance, strong) for x in narrow
        ]

    def upper(samples: Samples) -> float:
        return power(samples, 5600, 7800) - power(samples, 300, 3000)

    def level(samples: Samples) -> float:
        return float(np.mean(samples**2))

    for measure in (upper, level):
        wide, narrow = ([measure(x) for x in corpus] for corpus in corpora(change=False))
        assert tell_apart(wide, narrow) == 1.0
        wide, narrow = ([measure(x) for x in corpus] for corpus in corpora(change=True))
        assert tell_apart(wide, narrow) < 0.65
