"""What a comparison measured: the content of its ``results.json``, from which the report is drawn.

The file is ``dataclasses.asdict`` of :class:`Results`. All times are in ms unless the name says
otherwise; ``None`` (``null``) is what could not be measured. ``costs`` map a stage of the system to
its computing time, as in :mod:`echostream.session.costs`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from echostream.scoring.significance import JointDistribution
from echostream.session.costs import Costs
from echostream.session.segment_log import SegmentRecord


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
    """``echostream`` or ``streamspeech``."""
    mode: str
    """``stateful``, ``cached`` or ``recompute``: what it keeps from segment to segment."""
    weights: str
    trained: bool
    """False for random weights: good for measuring time, not quality."""
    parameters: int
    frame_ms: float


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
    distribution: JointDistribution


@dataclass(frozen=True)
class Point:
    """One run of a system with a policy and a segment size over all recordings."""

    system: str
    policy: str
    policy_options: Mapping[str, Any]
    policy_label: str
    segment_ms: int
    """The chunk is as long."""
    forced: bool
    """The system is untrained: the words of the reference were written when the policy said so."""
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
    segment_ms: int
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    better: str
    """``higher`` or ``lower``."""


@dataclass(frozen=True)
class SegmentCost:
    """One segment of a long recording."""

    audio_ms: int
    """Audio pushed so far."""
    costs: Costs
    state_bytes: int
    """Of the encoder, after the segment."""

    @property
    def compute_ms(self) -> float:
        """All stages together."""
        return sum(self.costs.values())


@dataclass(frozen=True)
class LengthRun:
    """One recording of a given length through one system."""

    system: str
    seconds: int
    segment_ms: int
    repeats: int
    segments: tuple[SegmentCost, ...]
    """At least one; costs are medians over the repeats."""

    @property
    def compute_ms(self) -> float:
        """Of all segments."""
        return sum(segment.compute_ms for segment in self.segments)

    @property
    def compute_rtf(self) -> float:
        """Computing time over audio time."""
        return self.compute_ms / self.segments[-1].audio_ms

    @property
    def state_bytes(self) -> int:
        """At the end."""
        return self.segments[-1].state_bytes


@dataclass(frozen=True)
class Delay:
    """When a word was written, and what it was waiting for until then."""

    waiting_ms: float
    """For audio."""
    costs: Costs

    @property
    def total_ms(self) -> float:
        """All parts together."""
        return self.waiting_ms + sum(self.costs.values())


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


READINGS = ("elapsed", "real_time")
"""The two ways to date a word, as :class:`TimelineWord` names them."""


@dataclass(frozen=True)
class TimelineRun:
    """How one system went through one utterance."""

    system: str
    policy_label: str
    segment_ms: int
    prediction: str
    segments: tuple[SegmentRecord, ...]
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
    versions: Mapping[str, str]
    resampling: Mapping[str, int]
    data: Data
    systems: tuple[System, ...]
    """At least one, of different names."""
    points: tuple[Point, ...]
    paired: tuple[Paired, ...]
    lengths: tuple[LengthRun, ...]
    utterances: tuple[Utterance, ...]

    def system(self, name: str) -> System:
        """The system of this name."""
        return next(system for system in self.systems if system.name == name)

    def place(self, name: str) -> int:
        """Of the system of this name among all."""
        return [system.name for system in self.systems].index(name)

    def is_trained(self, part: Point | TimelineRun) -> bool:
        """Whether its words are the system's own and say something about quality."""
        return self.system(part.system).trained

    @property
    def units(self) -> dict[str, str]:
        """Of each figure of the points."""
        return {name: score.unit for point in self.points for name, score in point.figures.items()}

    def runs_by_system(self) -> list[list[LengthRun]]:
        """The runs of each system and segment size, from short to long recordings."""
        groups: dict[tuple[int, int], list[LengthRun]] = {}
        for run in sorted(self.lengths, key=lambda run: run.seconds):
            groups.setdefault((self.place(run.system), run.segment_ms), []).append(run)
        return [groups[key] for key in sorted(groups)]

    @property
    def stages(self) -> list[str]:
        """All that cost something somewhere, in the order in which they are met."""
        segments: Iterable[SegmentCost | SegmentRecord] = chain(
            *(run.segments for run in self.lengths),
            *(run.segments for utterance in self.utterances for run in utterance.runs),
        )
        return list(dict.fromkeys(stage for segment in segments for stage in segment.costs))


def parts_of(delay: Delay, stages: Iterable[str]) -> list[float]:
    """The waiting and what each stage cost, in the order in which they are drawn."""
    return [delay.waiting_ms, *(delay.costs.get(stage, 0.0) for stage in stages)]


def part_names(stages: Iterable[str]) -> list[str]:
    """What a delay is made of, for readers: the waiting and each stage."""
    return ["waiting for audio", *(stage.replace("_", " ") for stage in stages)]
