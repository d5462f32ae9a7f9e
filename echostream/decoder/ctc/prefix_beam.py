"""The CTC prefix beam decoder: options and the streaming interface of :mod:`.prefix_search`.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary (pieces and blank).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from echostream.decoder.ctc.frame_scores import (
    FrameScores,
    Fusion,
    frame_scores,
    fused_frame_scores,
)
from echostream.decoder.ctc.log_probs import CtcSearch, Scores
from echostream.decoder.ctc.ngram import NgramModel
from echostream.decoder.ctc.prefix_search import PrefixBeamState, PrefixSearch
from echostream.decoder.ctc.protocol import DecoderOutput, register, require_open
from echostream.errors import ConfigError
from echostream.registry import option


@register("prefix-beam")
@dataclass(frozen=True)
class PrefixBeamCtc(CtcSearch):
    """Sum over the alignments of each prefix; tokens are final once all live prefixes share them.

    The search and its equations are in :mod:`echostream.decoder.ctc.prefix_search`.
    """

    beam_size: int = option(int, "prefixes kept after each frame", default=8, minimum=1)
    prune_log_prob: float = option(
        float,
        "prefixes this much (natural log) less probable than the best are dropped; -inf keeps all",
        default=-8.0,
    )
    hold_frames: int = option(
        int,
        "encoder frames after which a token that is still undecided is settled",
        default=32,
        minimum=1,
    )

    lm_weight: float = option(
        float,
        "weight of the language model's log-probabilities; 0 searches without it",
        default=0.0,
        minimum=0,
    )
    unit_bonus: float = option(
        float, "added for each unit, where a language model is used", default=0.0
    )
    lm_tokens: int = option(
        int,
        "most probable tokens of a frame that are tried with a language model",
        default=24,
        minimum=1,
    )
    language_model: NgramModel | None = dataclasses.field(
        default=None, metadata={"help": "n-gram model over the head's units"}
    )

    def __post_init__(self) -> None:
        self.check("decoder 'prefix-beam'")
        if self.lm_weight > 0 and self.language_model is None:
            raise ConfigError(
                f"option 'lm_weight' of decoder 'prefix-beam' is {self.lm_weight}, but there is no "
                "language model; expected one in the checkpoint folder (`echostream "
                "language-model` makes it), or lm_weight=0"
            )
        if self.prune_log_prob > 0:
            raise ConfigError(
                f"option 'prune_log_prob' of decoder 'prefix-beam' is {self.prune_log_prob}; "
                "expected 0 or less: it is a distance below the best prefix"
            )

    def init_state(self) -> PrefixBeamState:
        """State of a stream of which nothing has been heard."""
        return PrefixBeamState()

    def step(
        self, log_probs: Tensor, state: PrefixBeamState
    ) -> tuple[DecoderOutput, PrefixBeamState]:
        """Search the next ``[T, V]`` frames; see :class:`~echostream.decoder.ctc.protocol.Decoder`.

        A frame in which no prefix could go on counts as blank.
        """
        require_open(state.finished)
        search = self._search(state)
        for frame in self._frames(self.usable(log_probs)):
            search.frame(frame)
        return search.output(), search.state()

    def flush(self, state: PrefixBeamState) -> tuple[DecoderOutput, PrefixBeamState]:
        """End of stream: the best prefix is the result."""
        if state.finished:
            return DecoderOutput(), state
        search = self._search(state)
        search.settle()
        return search.output(), dataclasses.replace(search.state(), finished=True)

    def _frames(self, scores: Scores) -> Iterator[FrameScores]:
        blank, prune = self.blank, self.prune_log_prob
        if self._fusion is None:
            return frame_scores(scores, blank=blank, beam_size=self.beam_size, prune_log_prob=prune)
        return fused_frame_scores(
            scores,
            blank=blank,
            tokens=self.lm_tokens,
            prune_log_prob=prune,
            most_gained=self._fusion.most,
        )

    @property
    def _fusion(self) -> Fusion | None:
        if self.language_model is None or self.lm_weight == 0:
            return None
        return Fusion(self.language_model, self.lm_weight, self.unit_bonus)

    def _search(self, state: PrefixBeamState) -> PrefixSearch:
        return PrefixSearch(
            state,
            blank=self.blank,
            beam_size=self.beam_size,
            prune_log_prob=self.prune_log_prob,
            hold_frames=self.hold_frames,
            fusion=self._fusion,
        )
