"""Compute and memory against the length of the recording.

One long recording is pushed segment by segment and the cost of every segment noted. A shorter
recording with the same beginning has the same segments, so one pass gives the figures of all
lengths, apart from what the end of a recording costs.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echostream.constants import SAMPLE_RATE
from echostream.errors import ConfigError
from echostream.session import SystemOptions, Translator, build_translator
from echostream.session.costs import StageCosts
from echostream.whole_file import write_whole
from eval.sweep.system import clock_named


@dataclass(frozen=True)
class SegmentCost:
    """One segment of a pass."""

    audio_ms: int
    """Audio pushed so far."""
    costs: StageCosts
    state_bytes: int
    """Of the encoder, after the segment."""


def one_pass(
    translator: Translator,
    audio: NDArray[np.float32],
    segment_ms: int,
    *,
    reference: str | None,
) -> list[SegmentCost]:
    """Push ``audio`` [samples at 16 kHz]; what is shorter than a segment at its end is left out.

    ``reference`` are the words of a forced writer.
    """
    size = segment_ms * SAMPLE_RATE // 1000
    state = translator.init_state(reference)
    result = []
    for end in range(size, len(audio) + 1, size):
        step, state = translator.step(audio[end - size : end], SAMPLE_RATE, state, is_final=False)
        audio_ms = end * 1000 // SAMPLE_RATE
        result.append(
            SegmentCost(audio_ms, StageCosts(**step.costs), state.listener.encoder.nbytes)
        )
    return result


def median_pass(passes: Sequence[Sequence[SegmentCost]]) -> list[SegmentCost]:
    """Segment by segment the median of each stage's cost over passes of the same audio."""
    if not passes:
        raise ConfigError("no pass was measured; expected at least one repeat")

    def median(costs: Sequence[StageCosts]) -> StageCosts:
        stages = [dict(cost) for cost in costs]
        return StageCosts(
            **{name: statistics.median(s[name] for s in stages) for name in stages[0]}
        )

    return [
        SegmentCost(same[0].audio_ms, median([s.costs for s in same]), same[0].state_bytes)
        for same in zip(*passes, strict=True)
    ]


def length_rows(
    system: str, segment_ms: int, lengths_s: Sequence[int], passes: Sequence[Sequence[SegmentCost]]
) -> list[dict[str, Any]]:
    """The entries of ``results.json`` for one system, one for each length that was reached."""
    segments = median_pass(passes)
    rows = []
    for seconds in lengths_s:
        heard = [segment for segment in segments if segment.audio_ms <= 1000 * seconds]
        if not heard or heard[-1].audio_ms + segment_ms <= 1000 * seconds:
            continue  # the audio is shorter than this length
        compute = sum(segment.costs.total_ms for segment in heard)
        rows.append(
            {
                "system": system,
                "seconds": seconds,
                "segment_ms": segment_ms,
                "repeats": len(passes),
                "segments": [
                    {"audio_ms": segment.audio_ms, **_plain(segment.costs)} for segment in heard
                ],
                "compute_ms": compute,
                "compute_rtf": compute / heard[-1].audio_ms,
                "state_bytes": heard[-1].state_bytes,
            }
        )
    return rows


@dataclass(frozen=True)
class PassTask:
    """One pass of one system, and the file that keeps it."""

    system: str
    options: SystemOptions
    path: Path


@dataclass(frozen=True, eq=False)
class PassJob:
    """Measures passes; can be sent to another process."""

    audio: NDArray[np.float32]
    reference: str
    segment_ms: int
    clock: str

    def start(self) -> Callable[[PassTask], None]:
        """What measures and keeps one pass; a system is loaded when it is first met."""
        translators: dict[str, Translator] = {}

        def work(task: PassTask) -> None:
            if task.system not in translators:
                clock = clock_named(self.clock)
                translators[task.system] = build_translator(task.options, clock=clock)
            forced = task.options.random_weights is not None
            costs = one_pass(
                translators[task.system],
                self.audio,
                self.segment_ms,
                reference=self.reference if forced else None,
            )
            write_pass(task.path, costs)

        return work


def _plain(costs: StageCosts) -> dict[str, float]:
    return {f"{stage}_ms": cost for stage, cost in costs.items()}


def write_pass(path: Path, costs: Sequence[SegmentCost]) -> None:
    """Keep a pass."""
    rows = [[cost.audio_ms, *cost.costs.values(), cost.state_bytes] for cost in costs]
    write_whole(path, (json.dumps(rows) + "\n").encode())


def read_pass(path: Path) -> list[SegmentCost] | None:
    """A pass that was kept; ``None`` if it was not, or is damaged."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            SegmentCost(audio_ms, StageCosts(front_end, encoder, heads, decoder, policy), nbytes)
            for audio_ms, front_end, encoder, heads, decoder, policy, nbytes in rows
        ]
    except (OSError, ValueError, TypeError, IndexError):
        return None
