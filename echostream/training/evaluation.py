"""What a validation finds: word error rate, BLEU, and whether the encoder has collapsed.

Greedy search on whole recordings, chunked as the configuration says: cheap enough for each epoch,
and below what the shipped search reaches.

An encoder has collapsed when it gives nearly the same vector for every frame or every recording.
The loss then stays at that of a guess from unit frequencies and does not tell why. Both variances
are shares of the output's mean square: 0 is collapse, whatever the scale.

Symbols: ``T`` encoder frames of a recording, ``C`` channels.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import jiwer
import sacrebleu
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Pairs = list[tuple[str, str]]


class OutputSpread:
    """The sums of which the figures of collapse are made; those of several processes add up."""

    def __init__(self) -> None:
        self.frames = 0
        self.scatter: Tensor | float = 0.0
        self.squares = 0.0
        self.means: list[Tensor] = []

    def add(self, output: Tensor) -> None:
        """Encoder output ``[T, C]`` of one recording; none is taken of one without frames."""
        if output.shape[0] == 0:
            return
        values = output.detach().to("cpu", torch.float64)
        mean = values.mean(dim=0)
        self.scatter = self.scatter + (values - mean).T @ (values - mean)
        self.frames += values.shape[0]
        self.squares += float((values**2).mean(dim=1).sum())
        self.means.append(mean)

    def merge(self, other: OutputSpread) -> None:
        """Add what another process has gathered."""
        self.scatter = self.scatter + other.scatter
        self.frames += other.frames
        self.squares += other.squares
        self.means += other.means

    def figures(self) -> dict[str, float]:
        """Figures of all that was added; all zero if nothing was.

        ``frame_variance``: over the frames of a recording; ``utterance_variance``: of the
        recordings' mean vectors, which is the smaller one; ``dimensions``: in how many directions
        frames vary, from 1 to ``C`` (participation ratio of their covariance's eigenvalues).
        """
        if self.squares == 0.0:
            return dict.fromkeys(("frame_variance", "utterance_variance", "dimensions"), 0.0)
        mean_square = self.squares / self.frames
        covariance = torch.as_tensor(self.scatter) / self.frames
        energy = float((covariance**2).sum())
        means = torch.stack(self.means)
        return {
            "frame_variance": float(covariance.diagonal().mean()) / mean_square,
            "utterance_variance": float(means.var(dim=0, correction=0).mean()) / mean_square,
            "dimensions": float(covariance.trace()) ** 2 / energy if energy > 0 else 0.0,
        }


@dataclass
class Evaluation:
    """Gathers (reference, hypothesis) pairs and encoder outputs; several processes' are merged."""

    transcripts: Pairs = field(default_factory=list)
    translations: Pairs = field(default_factory=list)
    spread: OutputSpread = field(default_factory=OutputSpread)

    def merge(self, other: Evaluation) -> None:
        """Add what another process has found."""
        self.transcripts += other.transcripts
        self.translations += other.translations
        self.spread.merge(other.spread)

    def figures(self) -> dict[str, float]:
        """``wer`` in percent, ``bleu``, and those of `OutputSpread`; zero for nothing."""
        figures = {"wer": 0.0, "bleu": 0.0, **self.spread.figures()}
        if self.transcripts:
            figures["wer"] = 100.0 * float(jiwer.wer(*_lists(self.transcripts)))
            references, hypotheses = _lists(self.translations)
            figures["bleu"] = float(sacrebleu.corpus_bleu(hypotheses, [references]).score)
        return figures

    def log_samples(self) -> None:
        """Log a few references beside what was made of them."""
        for pairs in (self.transcripts, self.translations):
            for pair in pairs[:: max(1, len(pairs) // 3)][:3]:
                logger.info("  %s | %s", *pair)


def best_path(log_probs: Tensor) -> list[int]:
    """Units of the most probable path of ``[T, V]``: ``V`` units and the blank, which is last."""
    units: list[int] = torch.unique_consecutive(log_probs.argmax(dim=1)).tolist()
    return [unit for unit in units if unit != log_probs.shape[1] - 1]


def _lists(pairs: Pairs) -> tuple[list[str], list[str]]:
    return [reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs]
