"""Global mean and variance normalisation of features.

Legend: f = feature frames, d = 80 mel bins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echostream.constants import NUM_MEL_BINS
from echostream.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

STD_FLOOR = 1e-3
"""Smallest standard deviation used. Log-mel bins of speech have about 2 to 4; a bin this flat
carries nothing, and dividing by less would only make noise loud."""


class Cmvn:
    """Subtracts a fixed mean and divides by a fixed standard deviation per mel bin.

    The statistics belong to the model (they come from its training data) and never depend on the
    stream, so normalising needs no state and no look-ahead. Immutable.

    mean, std: float32 [80], in log-mel units.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __init__(self, mean: ArrayLike, std: ArrayLike) -> None:
        """mean, std: [80], finite, std >= 0. A std below `STD_FLOOR` is raised to it, with a
        warning.

        Raises ConfigError for another shape, values that are not finite, or a negative std.
        """
        mean = _statistic("mean", mean)
        std = _statistic("std", std)
        if (std < 0).any():
            bin_index = int(np.argmin(std))
            raise ConfigError(
                f"CMVN std of bin {bin_index} is {std[bin_index]:g}; expected a positive number. "
                "Were mean and std swapped, or log-variances stored?"
            )
        flat = int(np.count_nonzero(std < STD_FLOOR))
        if flat:
            logger.warning(
                "CMVN std is below %g in %d of %d bins and is raised to it; the statistics may "
                "come from too little audio or from silence",
                STD_FLOOR,
                flat,
                std.size,
            )
            std = np.maximum(std, np.float32(STD_FLOOR))
        mean.setflags(write=False)
        std.setflags(write=False)
        self.mean = mean
        self.std = std

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """features float32 [f, 80] to normalised features float32 [f, 80] (a new array)."""
        return (features - self.mean) / self.std

    @classmethod
    def estimate(cls, features: Iterable[NDArray[np.float32]]) -> Cmvn:
        """Statistics over all frames of an iterable of arrays [f, 80] (f >= 0), in one pass.

        Sums in float64 of squared distances from running means, merged array by array (Chan, Golub
        and LeVeque 1983), so nothing cancels however long the corpus is. std is that of the
        population (divided by the number of frames).

        Raises DataError if there are no frames, if an array has another shape, or holds NaN.
        """
        count = 0
        mean = np.zeros(NUM_MEL_BINS)
        squares = np.zeros(NUM_MEL_BINS)
        for index, array in enumerate(features):
            if array.ndim != 2 or array.shape[1] != NUM_MEL_BINS:
                raise DataError(
                    f"feature array {index} has shape {array.shape}; expected [f, {NUM_MEL_BINS}]"
                )
            if not np.isfinite(array).all():
                raise DataError(
                    f"feature array {index} holds NaN or infinite values; leave that recording out"
                )
            added = array.shape[0]
            if added == 0:
                continue
            block = array.astype(np.float64)
            block_mean = block.mean(axis=0)
            delta = block_mean - mean
            total = count + added
            squares += np.square(block - block_mean).sum(axis=0)
            squares += np.square(delta) * (count * added / total)
            mean += delta * (added / total)
            count = total
        if count == 0:
            raise DataError(
                "no feature frames to estimate CMVN statistics from; is the corpus empty?"
            )
        return cls(mean, np.sqrt(squares / count))


def _statistic(name: str, values: ArrayLike) -> NDArray[np.float32]:
    array = np.array(values, dtype=np.float32)
    if array.shape != (NUM_MEL_BINS,):
        raise ConfigError(
            f"CMVN {name} has shape {array.shape}; expected ({NUM_MEL_BINS},), one value per mel "
            "bin"
        )
    if not np.isfinite(array).all():
        bad = int(np.argmin(np.isfinite(array)))
        raise ConfigError(f"CMVN {name} of bin {bad} is {array[bad]}; expected a finite number")
    return array
