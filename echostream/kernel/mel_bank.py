"""A mel filter bank as the kernel reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MelBank:
    """Window and triangles; each array is contiguous."""

    window: NDArray[np.float32]
    """``[400]``"""
    firsts: NDArray[np.int64]
    """``[80]``: the first point of the power spectrum that each bin weighs."""
    counts: NDArray[np.int64]
    """``[80]``: how many it weighs from there on."""
    weights: NDArray[np.float32]
    """Of all bins, one after the other."""

    @classmethod
    def of(cls, window: NDArray[np.float32], weights: NDArray[np.float32]) -> MelBank:
        """Of a window and the weights ``[257, 80]`` of all points in all bins; none of the last."""
        weighed = weights > 0
        firsts = weighed.argmax(axis=0)
        ends = len(weights) - weighed[::-1].argmax(axis=0)
        counts = np.where(weighed.any(axis=0), ends - firsts, 0)
        own = [
            weights[first : first + count, mel]
            for mel, (first, count) in enumerate(zip(firsts, counts, strict=True))
        ]
        return cls(
            np.ascontiguousarray(window),
            firsts.astype(np.int64),
            counts.astype(np.int64),
            np.concatenate(own),
        )

    @property
    def addresses(self) -> tuple[int, ...]:
        """Where the arrays lie in this process."""
        arrays = (self.window, self.firsts, self.counts, self.weights)
        return tuple(array.ctypes.data for array in arrays)
