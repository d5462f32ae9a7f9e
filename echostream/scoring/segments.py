"""What each segment of a run cost: ``segments.log``, written beside ``instances.log``.

SimulEval's log has times for words only. An agent that is told to (``--segment-log``) writes one
JSON object per utterance, ``{"index": 0, "segments": [segment, ...]}``, for every segment that was
pushed, whether or not anything was written after it:

    {"audio_ms": 320.0, "costs_ms": {"encoder": 5.3, ...}, "words": 2}

audio_ms counts from the start of the utterance to the end of the segment; costs_ms are wall time by
the name of the stage, whatever stages there are; words is how many were written after the segment.
The order of segments is that of time.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from echostream.scoring.lines import read_lines
from echostream.scoring.units import milliseconds

SEGMENT_LOG_NAME = "segments.log"

_TOLERANCE_MS = 1.0
"""Agents may round the audio they have heard to whole ms."""


@dataclass(frozen=True)
class Segment:
    """One segment of an utterance."""

    audio_ms: float
    """Audio heard when it had been pushed: at least 0, never decreasing."""
    compute_ms: float
    """What all stages took, at least 0."""
    words: int
    """Written after it, at least 0."""


def read_segments(path: str | os.PathLike[str]) -> tuple[dict[int, tuple[Segment, ...]], list[int]]:
    """Segments by index, and the numbers of the lines that cannot be used.

    Of lines with the same index the last one counts. Raises DataError for an unreadable file.
    """
    found: dict[int, tuple[Segment, ...]] = {}
    unusable: list[int] = []
    for line in read_lines(path):
        try:
            index, segments = _utterance(line.record or {})
        except (ValueError, TypeError, LookupError, AttributeError):
            unusable.append(line.number)
        else:
            found[index] = segments
    return found, unusable


def fits(segments: Sequence[Segment], delays: Sequence[float]) -> bool:
    """Whether the segments are of the utterance whose words have these delays."""
    if sum(segment.words for segment in segments) != len(delays):
        return False
    written = [segment.audio_ms for segment in segments for _ in range(segment.words)]
    return all(
        abs(one - other) <= _TOLERANCE_MS for one, other in zip(written, delays, strict=True)
    )


def _utterance(record: Mapping[str, Any]) -> tuple[int, tuple[Segment, ...]]:
    index = _count(record["index"])
    segments = tuple(_segment(row) for row in record["segments"])
    if any(later.audio_ms < earlier.audio_ms for earlier, later in pairwise(segments)):
        raise ValueError("audio_ms decreases")
    return index, segments


def _segment(record: Mapping[str, Any]) -> Segment:
    costs = [milliseconds(cost, stage) for stage, cost in record["costs_ms"].items()]
    audio_ms = milliseconds(record["audio_ms"], "audio_ms")
    return Segment(audio_ms, sum(costs), _count(record["words"]))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r}; expected a whole number from 0 up")
    return value
