"""What the stages of the agent cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds since some moment: ``time.perf_counter`` (wall) or ``time.process_time`` (CPU)."""

DEFAULT_CLOCK: Clock = time.perf_counter


@dataclass(frozen=True)
class StageCosts:
    """Compute time of one segment in ms, stage by stage."""

    front_end_ms: float = 0.0
    """Validation, resampling, filter bank, CMVN."""
    encoder_ms: float = 0.0
    heads_ms: float = 0.0
    """CTC heads: the model's arithmetic after the encoder."""
    decoder_ms: float = 0.0
    """CTC searches, words made of tokens."""
    policy_ms: float = 0.0
    """Decisions and what follows from them."""

    @property
    def total_ms(self) -> float:
        """Of all stages."""
        return (
            self.front_end_ms + self.encoder_ms + self.heads_ms + self.decoder_ms + self.policy_ms
        )

    def __add__(self, other: StageCosts) -> StageCosts:
        return StageCosts(
            self.front_end_ms + other.front_end_ms,
            self.encoder_ms + other.encoder_ms,
            self.heads_ms + other.heads_ms,
            self.decoder_ms + other.decoder_ms,
            self.policy_ms + other.policy_ms,
        )
