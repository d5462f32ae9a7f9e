"""What each written word's delay is made of.

Legend: segment ``i`` of a recording is complete at ``a_i`` ms of audio and costs ``c_i`` ms of
compute, the sum of its stages; its words are there at ``t_i``.

Two readings. SimulEval's adds all compute so far to the audio, as if nothing were computed while
the next audio comes in::

    t_i = a_i + c_1 + ... + c_i

In real time compute overlaps with waiting::

    t_i = max(t_{i-1}, a_i) + c_i

Then the parts are those of the critical path: the system waited for audio until the busy stretch
that ends at ``t_i`` began, and has computed since. Less compute anywhere in that stretch would have
brought the word forward by as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.session.costs import StageCosts, sum_costs
from echostream.session.segment_log import SegmentRecord

_STRETCHES = 400
"""Columns of a drawn waveform."""


@dataclass(frozen=True)
class DelayParts:
    """A delay in ms and what it is made of; the parts add up to the total."""

    total_ms: float
    waiting_ms: float
    """For audio."""
    costs: StageCosts

    def plain(self) -> dict[str, float]:
        """As ``results.json`` has it."""
        return {
            "total_ms": self.total_ms,
            "waiting_ms": self.waiting_ms,
            **{f"{stage}_ms": cost for stage, cost in self.costs.items()},
        }


def elapsed_parts(segments: Sequence[SegmentRecord]) -> list[DelayParts]:
    """SimulEval's reading, for the words of each segment."""
    parts = []
    spent = StageCosts()
    for segment in segments:
        spent = StageCosts(**sum_costs(spent, segment.costs))
        total = segment.audio_ms + spent.total_ms
        parts.append(DelayParts(total, segment.audio_ms, spent))
    return parts


def real_time_parts(segments: Sequence[SegmentRecord]) -> list[DelayParts]:
    """The real-time reading, for the words of each segment."""
    parts: list[DelayParts] = []
    waiting = free_at = 0.0
    busy = StageCosts()
    for segment in segments:
        if segment.audio_ms >= free_at:  # it had finished and was waiting
            waiting, busy = segment.audio_ms, StageCosts()
        busy = StageCosts(**sum_costs(busy, segment.costs))
        free_at = waiting + busy.total_ms
        parts.append(DelayParts(free_at, waiting, busy))
    return parts


def timeline(
    words: Sequence[str], segments: Sequence[SegmentRecord], reasons: Sequence[str] | None = None
) -> dict[str, Any]:
    """Segments and words of one recording, as ``results.json`` has them.

    Raises:
        DataError: if the segments wrote another number of words.
    """
    written = sum(segment.num_words for segment in segments)
    if written != len(words):
        raise DataError(
            f"the segment log counts {written} words and the prediction has {len(words)}; expected "
            "as many: the two logs are not of the same run"
        )
    elapsed, real_time = elapsed_parts(segments), real_time_parts(segments)
    left = iter(words)
    return {
        "segments": [
            {
                "audio_ms": segment.audio_ms,
                "arrival_ms": segment.audio_ms,
                **vars(segment.costs),
                "words": segment.num_words,
                "reason": reasons[number] if reasons else "",
            }
            for number, segment in enumerate(segments)
        ],
        "words": [
            {
                "text": next(left),
                "segment": number,
                "delay_ms": segment.audio_ms,
                "elapsed": elapsed[number].plain(),
                "real_time": real_time[number].plain(),
            }
            for number, segment in enumerate(segments)
            for _ in range(segment.num_words)
        ],
    }


def outline(samples: NDArray[np.float32], stretches: int = _STRETCHES) -> list[list[float]]:
    """Least and greatest sample of each of ``stretches`` equal stretches of mono ``samples``."""
    edges = np.linspace(0, len(samples), stretches + 1).astype(int)
    return [
        [round(float(part.min()), 3), round(float(part.max()), 3)] if len(part) else [0.0, 0.0]
        for part in (samples[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True))
    ]
