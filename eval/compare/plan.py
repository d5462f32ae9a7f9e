"""What is compared with what: the YAML file of a comparison."""

from dataclasses import dataclass
from pathlib import Path

from echostream.config_mapping import check_types, from_mapping, read_yaml
from echostream.errors import ConfigError
from echostream.session.options import SystemOptions
from eval.command import ROOT
from eval.sweep.system import parse_policy


@dataclass(frozen=True)
class SystemEntry:
    """One system. Give a checkpoint, or a configuration for untrained weights.

    With untrained weights there is nothing to say, so the reference is written on the policy's
    schedule: compute and latency are real, quality is not and is not shown.
    """

    name: str
    """Short, for folders and tables."""
    label: str
    """For readers."""
    checkpoint: str | None = None
    random_weights: str | None = None
    encoder_mode: str | None = None
    """Of the chunk-Conformer: cached or recompute."""
    backend: str = "torch"
    precision: str = "float32"
    output_unit: str = "word"
    """``char`` for a target language without spaces."""
    lengths: bool = True
    """Whether compute against length is measured."""
    recordings: int | None = None
    """Only so many recordings, evenly spread over all; ``None`` for all."""
    policies: tuple[str, ...] | None = None
    """``None`` for the plan's. The schedule of an untrained system should not depend on what its
    heads say, which is noise."""
    repeats: int | None = None
    """Passes over the long recording; ``None`` for the plan's."""

    def __post_init__(self) -> None:
        check_types(self)
        if (self.checkpoint is None) == (self.random_weights is None):
            raise ConfigError(
                f"system {self.name!r} has checkpoint {self.checkpoint!r} and random_weights "
                f"{self.random_weights!r}; expected exactly one of them"
            )
        if self.recordings is not None and self.recordings < 2:
            raise ConfigError(
                f"system {self.name!r} has recordings {self.recordings}; expected at least 2"
            )

    @property
    def trained(self) -> bool:
        """Whether there is something to say about quality."""
        return self.checkpoint is not None

    def options(self, chunk_ms: int) -> SystemOptions:
        """The system's options for chunks of this length; paths are relative to the project."""
        return SystemOptions(
            checkpoint=self.checkpoint and str(ROOT / self.checkpoint),
            random_weights=self.random_weights and str(ROOT / self.random_weights),
            encoder_mode=self.encoder_mode,
            backend=self.backend,
            precision=self.precision,
            chunk_ms=chunk_ms,
            output_unit=self.output_unit,
        )


@dataclass(frozen=True)
class ComparisonPlan:
    """A whole comparison."""

    systems: tuple[SystemEntry, ...]
    policies: tuple[str, ...] = ("ctc", "wait-k:k=3")
    """``name`` or ``name:option=value,...``; a name may be a ``package.module:Class``."""
    segment_ms: tuple[int, ...] = (320, 640, 1280)
    """Segment sizes; the chunk is as long as the segment, as in the published agents."""
    lengths_s: tuple[int, ...] = (5, 10, 20, 30, 60)
    repeats: int = 3
    timelines: int = 12
    """Recordings whose timelines are shown."""
    resamples: int = 1000
    seed: int = 12345

    def __post_init__(self) -> None:
        check_types(self)
        names = [system.name for system in self.systems]
        if len(set(names)) < len(names) or not names:
            raise ConfigError(
                f"systems are named {', '.join(names) or 'nothing'}; expected names that differ"
            )
        for name in ("segment_ms", "lengths_s", "policies"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; expected at least one")
        for milliseconds in self.segment_ms:
            if milliseconds <= 0 or milliseconds % 160:
                raise ConfigError(
                    f"segment_ms has {milliseconds}; expected positive multiples of 160 ms, which "
                    "every encoder can take as its chunk"
                )
        if self.repeats < 1 or self.resamples < 100:
            raise ConfigError(
                f"repeats is {self.repeats} and resamples {self.resamples}; expected at least 1 "
                "and at least 100"
            )
        for policy in (p for s in self.systems for p in self.policies_of(s)):
            parse_policy(policy)

    def policies_of(self, system: SystemEntry) -> tuple[str, ...]:
        """Those that a system is run with."""
        return self.policies if system.policies is None else system.policies


def load_plan(path: str | Path) -> ComparisonPlan:
    """Read a comparison from YAML.

    Raises:
        ConfigError: if the file cannot be read or does not describe a comparison.
    """
    values = read_yaml(path, "comparison")
    if not isinstance(values, dict) or "systems" not in values:
        raise ConfigError(f"{path} names no systems; expected a list `systems:`")
    return from_mapping(ComparisonPlan, values)
