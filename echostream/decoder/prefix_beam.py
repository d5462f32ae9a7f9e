"""The CTC prefix beam decoder: options and the streaming interface of :mod:`.prefix_search`.

Symbols: ``T`` encoder frames, ``V`` CTC vocabulary (pieces and blank).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from echostream.decoder.log_probs import CtcSearch
from echostream.decoder.prefix_search import PrefixBeamState, PrefixSearch, frame_scores
from echostream.decoder.protocol import DecoderOutput, register, require_open
from echostream.errors import ConfigError
from echostream.registry import option


@register("prefix-beam")
@dataclass(frozen=True)
class PrefixBeamCtc(CtcSearch):
    """Sum over the alignments of each prefix; tokens are final once all live prefixes share them.

    The search and its equations are in :mod:`echostream.decoder.prefix_search`.
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

    def __post_init__(self) -> None:
        self.check("decoder 'prefix-beam'")
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
        """Search the next ``[T, V]`` frames; see :class:`~echostream.decoder.protocol.Decoder`.

        A frame in which no prefix could go on counts as blank.
        """
        require_open(state.finished)
        search = self._search(state)
        for frame in frame_scores(
            self.usable(log_probs),
            blank=self.blank,
            beam_size=self.beam_size,
            prune_log_prob=self.prune_log_prob,
        ):
            search.frame(frame)
        return search.output(), search.state()

    def flush(self, state: PrefixBeamState) -> tuple[DecoderOutput, PrefixBeamState]:
        """End of stream: the best prefix is the result."""
        if state.finished:
            return DecoderOutput(), state
        search = self._search(state)
        search.settle()
        return search.output(), dataclasses.replace(search.state(), finished=True)

    def _search(self, state: PrefixBeamState) -> PrefixSearch:
        return PrefixSearch(
            state,
            blank=self.blank,
            beam_size=self.beam_size,
            prune_log_prob=self.prune_log_prob,
            hold_frames=self.hold_frames,
        )
