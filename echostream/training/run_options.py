"""What a training run can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from echostream.errors import ConfigError

ARCHITECTURES = {"zipformer": "echostream_zipformer", "chunk-conformer": "streamspeech_conformer"}
"""fairseq's ``--arch`` for the ``encoder.name`` of a configuration."""


@dataclass(frozen=True)
class RunOptions:
    """What every run can be told in short; ``minutes`` is wall time, ``None`` no end."""

    updates: int = 9000
    minutes: float | None = None
    peak_rate: float = 3e-3
    warmup: int = 300
    seed: int = 1
    save_every: int = 400
    least: ClassVar[Mapping[str, int]] = {}
    """The least values of fields."""

    def __post_init__(self) -> None:
        for name, least in self.least.items():
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}")
        # fairseq takes 0 for no end.
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes is {self.minutes}; expected more than 0, or none at all")


@dataclass(frozen=True)
class TrainingOptions(RunOptions):
    """What a training run can be told; ``minutes`` are of this start."""

    weight_decay: float = 0.02
    max_frames: int = 1500
    solo_epochs: int = 12
    solo_seconds: float = 3.0
    augment: str = "full"
    start_from: Path | None = None
    corpora: str = ""
    repeat: str = ""
    processes: int = 1
    workers: int | None = None
    report_every: int = 50
    keep: int = 5
    least = dict.fromkeys(("updates", "max_frames", "processes", "report_every", "save_every"), 1)


@dataclass(frozen=True)
class AdaptationOptions(RunOptions):
    """What an adaptation can be told; ``minutes`` are of all its starts."""

    updates: int = 2000
    peak_rate: float = 2e-4
    warmup: int = 30
    save_every: int = 100
    chunk_sizes: str = ""
    leave_out: str = ""
    workers: int = 1
    """Processes that make windows and what teachers say of them, beside the one that learns."""
    bfloat16: bool = False
    """Whether updates are computed in it; half the time on a processor with AMX or AVX512-BF16."""
    first_stage: str | Path | None = None
    """Run or checkpoint whose encoder the decoder learns with, in the second stage."""
    student: Path | None = None
    """Configuration of the encoder that learns; else it is the teacher's."""
    grown_from: Path | None = None
    """Checkpoint of a smaller encoder, whose weights the student starts with."""
    from_targets: bool = False
    """Whether a student learns from stored targets, without texts."""
    # The learning rate takes one update to rise and one to fall.
    least = {"updates": 2, "save_every": 1, "workers": 0}
