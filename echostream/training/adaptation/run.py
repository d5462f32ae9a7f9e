"""An adaptation run: fairseq's arguments, and where it stands."""

from dataclasses import dataclass
from pathlib import Path

import torch

from echostream.errors import ConfigError
from echostream.training.fairseq_checkpoints import FAIRSEQ
from echostream.training.fairseq_run import PLUGIN


@dataclass(frozen=True)
class AdaptationOptions:
    """What a run can be told in short."""

    updates: int = 2000
    minutes: float | None = None
    peak_rate: float = 2e-4
    warmup: int = 30
    chunk_sizes: str = ""
    leave_out: str = ""
    seed: int = 1
    save_every: int = 100
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

    def __post_init__(self) -> None:
        # The learning rate takes one update to rise and one to fall.
        for name, least in (("updates", 2), ("save_every", 1), ("workers", 0)):
            value = getattr(self, name)
            if value < least:
                raise ConfigError(f"{name} is {value}; expected at least {least}")


def adaptation_arguments(
    checkpoint: Path, folders: list[Path], run: Path, options: AdaptationOptions
) -> list[str]:
    """The command line of ``fairseq-train`` for a run in the folder ``run``."""
    warmup = min(options.warmup, max(1, options.updates // 4))
    values: dict[str, object] = {
        "user-dir": PLUGIN,
        "task": "echostream_adaptation",
        "checkpoint": checkpoint,
        "arch": "echostream_student",
        "criterion": "echostream_distillation",
        "optimizer": "echostream_adamw",
        "weight-decay": 0.0,
        "clip-norm": 1.0,
        "lr": options.peak_rate,
        "lr-scheduler": "echostream_cosine",
        "warmup-updates": warmup,
        "warmup-init-lr": options.peak_rate / warmup,
        "min-lr": options.peak_rate / 50,
        "max-update": options.updates,
        "batch-size": 1,
        "required-batch-size-multiple": 1,
        "chunk-sizes": options.chunk_sizes,
        "leave-out": options.leave_out,
        "window-seed": options.seed,
        "seed": options.seed,
        "train-subset": "train",
        "valid-subset": "valid",
        "save-dir": run / FAIRSEQ,
        "work-dir": run,
        "save-interval-updates": options.save_every,
        "validate-interval-updates": options.save_every,
        "validate-interval": 1 << 30,  # not after each epoch, too
        "keep-interval-updates": 1,
        "tensorboard-logdir": run / "tensorboard",
        "log-interval": 25,
        "log-format": "simple",
        "num-workers": options.workers,
    }
    if options.student is not None:
        values["student"] = options.student
    if options.grown_from is not None:
        values["grown-from"] = options.grown_from
    if options.from_targets:
        values["task"] = "echostream_distillation"
        del values["leave-out"], values["window-seed"]
    elif options.student is not None or options.first_stage is not None:
        values |= {
            "task": "echostream_decoder_adaptation",
            "arch": "echostream_student_system",
            "criterion": "echostream_decoder_distillation",
        }
        if options.first_stage is not None:
            values["start-from"] = options.first_stage
        else:
            values |= {"divergence-weight": 0.0, "text-weight": 0.0}
    arguments = [":".join(map(str, folders))]
    for name, value in values.items():
        arguments += [f"--{name}", str(value)]
    arguments += ["--no-epoch-checkpoints", "--no-progress-bar"]
    if not torch.cuda.is_available():
        arguments.append("--cpu")
    if options.bfloat16:
        arguments.append("--bfloat16")
    if options.minutes is not None:
        arguments += ["--stop-time-hours", str(options.minutes / 60)]
    return arguments
