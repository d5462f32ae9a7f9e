"""What `eval/compare.py` measured, read from its ``results.json`` and checked.

Every key of the format is a field here, under the same name; keys that are not known are left
alone. All times are in ms unless the name says otherwise, and a number that could not be measured
is None (``null`` in the file).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

READINGS = ("elapsed", "real_time")
"""The two ways to date a word, and the names under which :class:`TimelineWord` has them."""


@dataclass(frozen=True)
class Data:
    """The recordings that were translated."""

    name: str
    recordings: int
    seconds: float
    note: str


@dataclass(frozen=True)
class System:
    """One side of the comparison."""

    name: str
    """What the rest of the file refers to."""
    label: str
    family: str
    mode: str
    """``stateful``, ``cached`` or ``recompute``: what it keeps from segment to segment."""
    weights: str
    trained: bool
    """False for random weights: good for measuring time, not quality."""
    parameters: int | None
    frame_ms: float | None


@dataclass(frozen=True)
class Score:
    """One figure of one point."""

    value: float | None
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None
    unit: str
    signature: str


@dataclass(frozen=True)
class Joint:
    """Where two figures of one point are likely to be, together."""

    x: str
    y: str
    center: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    """Of the two figures over the bootstrap samples."""


@dataclass(frozen=True)
class Point:
    """One run of a system with a policy and a segment size over all recordings."""

    system: str
    policy: str
    policy_options: Mapping[str, Any]
    policy_label: str
    segment_ms: float
    chunk_ms: float | None
    forced: bool
    """The words of the reference were written, when the policy said so: no sign of quality."""
    log: str
    instances: int
    degenerate: bool
    figures: Mapping[str, Score]
    joint: Joint | None


@dataclass(frozen=True)
class Paired:
    """``a`` minus ``b`` on the same recordings."""

    a: str
    b: str
    policy_label: str
    segment_ms: float
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    better: str
    """``higher`` or ``lower``."""


@dataclass(frozen=True)
class SegmentCost:
    """Computing time of one segment that ends at ``audio_ms``."""

    audio_ms: float
    front_end_ms: float
    encoder_ms: float
    heads_ms: float
    decoder_ms: float
    policy_ms: float

    @property
    def compute_ms(self) -> float:
        """All five together."""
        return (
            self.front_end_ms + self.encoder_ms + self.heads_ms + self.decoder_ms + self.policy_ms
        )


@dataclass(frozen=True)
class LengthRun:
    """One recording of a given length through one system."""

    system: str
    seconds: float
    segment_ms: float
    repeats: int
    segments: tuple[SegmentCost, ...]
    """Medians over the repeats."""
    compute_ms: float
    compute_rtf: float
    state_bytes: int | None


@dataclass(frozen=True)
class TimelineSegment:
    """One segment and the decision that was taken after it."""

    audio_ms: float
    arrival_ms: float
    front_end_ms: float
    encoder_ms: float
    heads_ms: float
    decoder_ms: float
    policy_ms: float
    words: int
    """How many were written; 0 is READ."""
    reason: str


@dataclass(frozen=True)
class Delay:
    """When a word was written, and what it was waiting for until then."""

    total_ms: float
    waiting_ms: float
    front_end_ms: float
    encoder_ms: float
    heads_ms: float
    decoder_ms: float
    policy_ms: float

    @property
    def parts(self) -> tuple[float, ...]:
        """In the order in which they are drawn; they add up to the total."""
        return (
            self.waiting_ms,
            self.front_end_ms,
            self.encoder_ms,
            self.heads_ms,
            self.decoder_ms,
            self.policy_ms,
        )


@dataclass(frozen=True)
class TimelineWord:
    """One written word."""

    text: str
    segment: int
    """Index of the segment after which it was written."""
    delay_ms: float
    elapsed: Delay
    """As SimulEval reads it: all computing so far is added to the audio heard."""
    real_time: Delay
    """As a listener would have it: computing goes on while more audio comes in."""


@dataclass(frozen=True)
class TimelineRun:
    """How one system went through one utterance."""

    system: str
    policy_label: str
    segment_ms: float
    prediction: str
    segments: tuple[TimelineSegment, ...]
    words: tuple[TimelineWord, ...]


@dataclass(frozen=True)
class Utterance:
    """One recording and all runs over it."""

    index: int
    id: str
    seconds: float
    source_text: str
    reference: str
    waveform: tuple[tuple[float, float], ...]
    """Lowest and highest sample of equal stretches, in [-1, 1]."""
    runs: tuple[TimelineRun, ...]


@dataclass(frozen=True)
class Results:
    """Everything in the file."""

    format: str
    created: str
    command: str
    machine: Mapping[str, Any]
    data: Data
    systems: tuple[System, ...]
    points: tuple[Point, ...]
    paired: tuple[Paired, ...]
    lengths: tuple[LengthRun, ...]
    utterances: tuple[Utterance, ...]

    def system(self, name: str) -> System:
        """The system of this name."""
        return next(system for system in self.systems if system.name == name)

    def comparable(self, point: Point) -> bool:
        """Whether the point's words say something about quality."""
        return self.system(point.system).trained and not point.forced

    def forced(self, run: TimelineRun) -> bool:
        """Whether the run is of a point that wrote the words of the reference."""
        key = (run.system, run.policy_label, run.segment_ms)
        return any(
            point.forced and (point.system, point.policy_label, point.segment_ms) == key
            for point in self.points
        )
