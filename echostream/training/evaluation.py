"""What a validation finds: word error rate, BLEU, and whether the encoder has collapsed.

Greedy search on whole recordings, chunked as the configuration says: cheap enough for each epoch,
and below what the shipped search reaches.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import jiwer
import sacrebleu

from echostream.training.collapse import OutputSpread

logger = logging.getLogger(__name__)

_SHOWN = 3


@dataclass
class Evaluation:
    """Gathers hypotheses and encoder outputs of recordings; several processes' are merged."""

    transcripts: list[tuple[str, str]] = field(default_factory=list)
    """What was said and what was heard."""
    translations: list[tuple[str, str]] = field(default_factory=list)
    """Reference and hypothesis."""
    spread: OutputSpread = field(default_factory=OutputSpread)

    def merge(self, other: Evaluation) -> None:
        """Add what another process has found."""
        self.transcripts += other.transcripts
        self.translations += other.translations
        self.spread.merge(other.spread)

    def figures(self) -> dict[str, float]:
        """``wer`` in percent, ``bleu``, and the shares and dimensions of `collapse.Spread`."""
        spread = self.spread.measure()
        return {
            "wer": word_error_rate(self.transcripts),
            "bleu": bleu(self.translations),
            "frame_variance": spread.frames,
            "utterance_variance": spread.utterances,
            "dimensions": spread.dimensions,
        }

    def log_samples(self) -> None:
        """Log a few references beside what was made of them."""
        for pairs in (self.transcripts, self.translations):
            for pair in pairs[:: max(1, len(pairs) // _SHOWN)][:_SHOWN]:
                logger.info("  %s | %s", *pair)


def word_error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Word error rate of (reference, hypothesis) pairs in percent; 0 for none."""
    if not pairs:
        return 0.0
    return 100.0 * float(jiwer.wer([said for said, _ in pairs], [heard for _, heard in pairs]))


def bleu(pairs: Sequence[tuple[str, str]]) -> float:
    """BLEU of (reference, hypothesis) pairs; 0 for none."""
    if not pairs:
        return 0.0
    return float(sacrebleu.corpus_bleu([h for _, h in pairs], [[r for r, _ in pairs]]).score)
