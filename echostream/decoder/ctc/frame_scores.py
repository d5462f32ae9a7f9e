"""What one frame says to the CTC prefix beam search, and what a language model says beside it.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary.

Shallow fusion (Hannun et al. 2014, arXiv 1408.2873, equation 3): a prefix ``l`` of CTC probability
``p(l)`` counts as ``p(l) p_lm(l)^weight exp(bonus |l|)``. The bonus makes up for what every further
unit costs in the language model.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echostream.decoder.ctc.log_probs import Scores
from echostream.decoder.ctc.ngram import NgramModel

_IMPOSSIBLE = -math.inf

_HALF = math.log(2) + 1e-6
"""Logarithm of a factor of two, and a margin for rounding."""


class FrameScores(NamedTuple):
    """What a frame says; made by :func:`frame_scores`."""

    row: Scores
    """Log-probabilities ``[V]``."""
    tokens: NDArray[np.intp]
    """The tokens that can make a new prefix, most probable first, of equals the lowest."""
    log_probs: NDArray[np.float64]
    """Theirs."""
    floor: float
    """A new prefix of less log-probability cannot be kept."""


def frame_scores(
    log_probs: Scores, *, blank: int, beam_size: int, prune_log_prob: float
) -> Iterator[FrameScores]:
    """The frames of ``log_probs`` ``[T, V]``.

    Leaving out tokens and prefixes changes nothing. A new prefix scores at most its token's
    log-probability. The best prefix becomes, by staying or by growing, one that scores the row's
    maximum, or half of it if that belongs to its own last token (two cases share it): what is
    further below than the pruning allows is lost. And ``beam_size + 1`` tokens are enough: of the
    extensions of one prefix at most one (its last token again) scores less than its token's
    probability says, so ``beam_size`` others are at least as good as any token left out. All this
    is not so where the longer prefix is in the beam already, since there probabilities add up;
    those are tried in any case.
    """
    floors = log_probs.max(axis=1).astype(np.float64) + prune_log_prob - _HALF
    return _chosen(log_probs, floors, floors, blank=blank, most=beam_size + 1)


def fused_frame_scores(
    log_probs: Scores, *, blank: int, tokens: int, prune_log_prob: float, most_gained: float
) -> Iterator[FrameScores]:
    """As :func:`frame_scores` for a search with a language model, which can make any token likely.

    The best prefix stays at least as good as its blank makes it, so a new prefix must come within
    the pruning of that, with no more help from the language model than ``most_gained``. Beyond
    that only the ``tokens`` most probable are tried, which may leave out what the language model
    would have chosen.
    """
    floors = log_probs[:, blank].astype(np.float64) + prune_log_prob - _HALF
    return _chosen(log_probs, floors, floors - most_gained, blank=blank, most=tokens)


def _chosen(
    log_probs: Scores,
    floors: NDArray[np.float64],
    least: NDArray[np.float64],
    *,
    blank: int,
    most: int,
) -> Iterator[FrameScores]:
    """The ``most`` best tokens of each frame that score at least ``least`` ``[T]``."""
    # One more, since the blank may be among them.
    best = torch.from_numpy(log_probs).topk(min(most + 1, log_probs.shape[1]), dim=1)
    values = best.values.numpy().astype(np.float64)
    indices = best.indices.numpy()
    # Equal scores come in any order.
    order = np.lexsort((indices, -values))
    values = np.take_along_axis(values, order, axis=1)
    indices = np.take_along_axis(indices, order, axis=1)
    good = (values >= least[:, None]) & (values > _IMPOSSIBLE) & (indices != blank)
    for row, scores, tokens, mask, floor in zip(
        log_probs, values, indices, good, floors.tolist(), strict=True
    ):
        yield FrameScores(row, tokens[mask][:most], scores[mask][:most], floor)


@dataclass(frozen=True)
class Fusion:
    """What a language model adds to the score of a prefix with each unit."""

    model: NgramModel
    weight: float
    bonus: float

    @property
    def most(self) -> float:
        """No unit gains more than this."""
        return self.bonus

    def shorten(self, history: Sequence[int]) -> tuple[int, ...]:
        """The part of the stable tokens that has to be kept."""
        return self.model.shorten(history)

    def gains(self, history: tuple[int, ...]) -> NDArray[np.float64]:
        """``[V]``: what each unit adds after ``history``, the tokens of the stream so far (or the
        last of them, where it is longer than the model looks back)."""
        if len(history) < self.model.order - 1:
            history = (self.model.start, *history)
        return self.weight * self.model.log_probs(history) + self.bonus
