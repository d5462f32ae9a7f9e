"""Is the encoder's output still worth something? Its variance, measured during training.

An encoder has collapsed when it gives nearly the same vector for every frame (nothing about time is
left) or for every recording (nothing about the speech is left). The loss then stays at that of a
guess from unit frequencies and does not tell why. Both variances are shares of the output's mean
square, so that they do not depend on its scale: 0 is collapse, and a healthy run keeps both far
from it.

Symbols: ``T`` encoder frames of a recording, ``C`` channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """How much encoder outputs differ.

    ``frames``: variance over the frames of a recording, as a share of the mean square.
    ``utterances``: variance of the recordings' mean vectors, likewise; it is the smaller one, since
    a mean over many frames has little of each. ``dimensions``: in how many directions frames vary,
    from 1 to ``C`` (participation ratio of the eigenvalues of their covariance).
    """

    frames: float
    utterances: float
    dimensions: float


class OutputSpread:
    """Gathers the sums of which :class:`Spread` is made; sums of several processes add up."""

    def __init__(self) -> None:
        self.frames = 0
        self.scatter: Tensor | None = None
        self.squares = 0.0
        self.means: list[Tensor] = []

    def add(self, output: Tensor) -> None:
        """Encoder output ``[T, C]`` of one recording; none is taken of one without frames."""
        if output.shape[0] == 0:
            return
        values = output.detach().to("cpu", torch.float64)
        mean = values.mean(dim=0)
        centred = values - mean
        scatter = centred.T @ centred
        self.scatter = scatter if self.scatter is None else self.scatter + scatter
        self.frames += values.shape[0]
        self.squares += float((values**2).mean(dim=1).sum())
        self.means.append(mean)

    def merge(self, other: OutputSpread) -> None:
        """Add what another process has gathered."""
        if other.scatter is not None:
            self.scatter = other.scatter if self.scatter is None else self.scatter + other.scatter
        self.frames += other.frames
        self.squares += other.squares
        self.means += other.means

    def measure(self) -> Spread:
        """The spread of all that was added; all zero if nothing was."""
        if self.scatter is None or self.squares == 0.0:
            return Spread(0.0, 0.0, 0.0)
        mean_square = self.squares / self.frames
        covariance = self.scatter / self.frames
        over_frames = float(covariance.diagonal().mean())
        means = torch.stack(self.means)
        over_utterances = float(means.var(dim=0, correction=0).mean())
        energy = float((covariance**2).sum())
        trace = float(covariance.diagonal().sum())
        return Spread(
            frames=over_frames / mean_square,
            utterances=over_utterances / mean_square,
            dimensions=trace**2 / energy if energy > 0 else 0.0,
        )
