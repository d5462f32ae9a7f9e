import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.audio import Cmvn
from echostream.audio.cmvn import STD_FLOOR
from echostream.errors import ConfigError, DataError

ZEROS = np.zeros(80, np.float32)
ONES = np.ones(80, np.float32)


def test_subtracts_the_mean_and_divides_by_the_standard_deviation() -> None:
    cmvn = Cmvn(ZEROS + 3, ONES * 2)
    features = np.full((2, 80), 7, np.float32)
    features[1] = 0
    normalised = cmvn(features)
    assert normalised.dtype == np.float32
    np.testing.assert_array_equal(normalised[0], ONES * 2)
    np.testing.assert_array_equal(normalised[1], ONES * -1.5)
    np.testing.assert_array_equal(features[0], ONES * 7)
    assert cmvn(features[:0]).shape == (0, 80)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 1000))
def test_how_the_corpus_is_divided_does_not_matter(lengths: list[int], seed: int) -> None:
    lengths.append(2)
    frames = np.random.default_rng(seed).normal(-5, 4, (sum(lengths), 80)).astype(np.float32)
    ends = np.cumsum(lengths)
    cmvn = Cmvn.estimate(np.split(frames, ends[:-1]))
    np.testing.assert_allclose(
        cmvn.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5
    )
    std = np.maximum(frames.std(axis=0, dtype=np.float64), STD_FLOOR)
    np.testing.assert_allclose(cmvn.std, std, rtol=1e-5, atol=1e-5)


def test_a_large_mean_does_not_swallow_a_small_deviation() -> None:
    # In float32, or as mean(x^2) - mean(x)^2 there, the deviation of 1/8 would be lost.
    frames = np.full((100_000, 80), 40_000.0, np.float32)
    frames[::2] += np.float32(0.25)
    cmvn = Cmvn.estimate(frames[start : start + 1000] for start in range(0, 100_000, 1000))
    np.testing.assert_allclose(cmvn.std, 0.125, rtol=1e-6)


def test_statistics_do_not_follow_the_callers_arrays() -> None:
    mean = ZEROS.copy()
    cmvn = Cmvn(mean, ONES)
    mean[:] = 5
    assert not cmvn.mean.any()
    with pytest.raises(ValueError, match="read-only"):
        cmvn.std[0] = 2
    mean[0] = 1  # and the caller's array stays writable


@pytest.mark.fault("F31")
def test_a_flat_bin_is_floored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    std = ONES.copy()
    std[[3, 7]] = (0.0, STD_FLOOR / 2)
    with caplog.at_level(logging.WARNING):
        cmvn = Cmvn(ZEROS, std)
    assert "2 of 80" in caplog.text
    assert cmvn.std[3] == cmvn.std[7] == np.float32(STD_FLOOR)
    assert np.isfinite(cmvn(np.full((1, 80), 20, np.float32))).all()
    caplog.clear()
    Cmvn(ZEROS, ONES * np.float32(STD_FLOOR))
    assert not caplog.records


@pytest.mark.fault("F31")
@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (ZEROS[:40], ONES, r"mean has shape \(40,\)"),
        (ZEROS, ONES[None], r"std has shape \(1, 80\)"),
        (np.where(np.arange(80) == 5, np.nan, 0), ONES, "mean of bin 5 is nan"),
        (ZEROS, np.where(np.arange(80) == 9, np.inf, 1), "std of bin 9 is inf"),
        (ZEROS, np.where(np.arange(80) == 2, -1, 1), "std of bin 2 is -1"),
    ],
)
def test_unusable_statistics_are_refused(mean: object, std: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cmvn(mean, std)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ([], "no feature frames"),
        ([np.zeros((0, 80), np.float32)], "no feature frames"),
        ([np.zeros((3, 80)), np.zeros((3, 40))], r"array 1 has shape \(3, 40\)"),
        ([np.zeros(80)], r"array 0 has shape \(80,\)"),
        ([np.full((2, 80), np.nan)], "array 0 holds NaN"),
    ],
)
def test_an_unusable_corpus_is_refused(corpus: list[np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Cmvn.estimate(corpus)
