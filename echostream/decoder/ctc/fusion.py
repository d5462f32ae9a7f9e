"""Shallow fusion: a language model's say in a CTC search.

Source: Hannun et al. 2014 (arXiv 1408.2873), equation 3: a prefix ``l`` of CTC probability ``p(l)``
counts as ``p(l) p_lm(l)^weight exp(bonus |l|)``. The bonus makes up for what every further unit
costs in the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echostream.decoder.ctc.ngram import NgramModel


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
