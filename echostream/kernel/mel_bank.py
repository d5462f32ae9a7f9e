"""A mel filter bank as the kernel reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echostream.kernel.operations import Operations


@dataclass(frozen=True, eq=False)
class MelBank:
    """Window and triangles."""

    window: Tensor
    """``[400]``"""
    firsts: Tensor
    """``[80]`` int64: the first point of the power spectrum that each bin weighs."""
    counts: Tensor
    """``[80]`` int64: how many it weighs from there on."""
    weights: Tensor
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
        arrays = (window.copy(), firsts.astype(np.int64), counts.astype(np.int64))
        return cls(*map(torch.from_numpy, (*arrays, np.concatenate(own))))

    def log_mel(
        self, kernel: Operations, signal: NDArray[np.float32], frames: int
    ) -> NDArray[np.float32]:
        """:meth:`Operations.log_mel` of arrays; ``signal`` must be writable memory."""
        bank = (self.window, self.firsts, self.counts, self.weights)
        features: NDArray[np.float32] = kernel.log_mel(
            torch.from_numpy(signal), frames, *bank
        ).numpy()
        return features
