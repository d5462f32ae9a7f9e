"""What a training run can be told."""

from dataclasses import dataclass
from pathlib import Path

from echostream.errors import ConfigError

ARCHITECTURES = {"zipformer": "echostream_zipformer", "chunk-conformer": "streamspeech_conformer"}
"""fairseq's ``--arch`` for the ``encoder.name`` of a configuration."""


@dataclass(frozen=True)
class TrainingOptions:
    """What a run can be told in short; ``minutes`` is wall time of this start, ``None`` no end."""

    updates: int = 9000
    minutes: float | None = None
    peak_rate: float = 3e-3
    warmup: int = 300
    weight_decay: float = 0.02
    max_frames: int = 1500
    solo_epochs: int = 12
    solo_seconds: float = 3.0
    augment: str = "full"
    start_from: Path | None = None
    corpora: str = ""
    repeat: str = ""
    seed: int = 1
    processes: int = 1
    workers: int | None = None
    report_every: int = 50
    save_every: int = 400
    keep: int = 5

    def __post_init__(self) -> None:
        for name in ("updates", "max_frames", "processes", "report_every", "save_every"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1")
