"""An adaptation run: fairseq's arguments, and where it stands."""

from pathlib import Path

from echostream.training.fairseq_run import run_arguments
from echostream.training.run_options import AdaptationOptions


def adaptation_arguments(
    checkpoint: Path, folders: list[Path], run: Path, options: AdaptationOptions
) -> list[str]:
    """The command line of ``fairseq-train`` for a run in the folder ``run``."""
    values: dict[str, object] = {
        "task": "echostream_adaptation",
        "checkpoint": checkpoint,
        "arch": "echostream_student",
        "criterion": "echostream_distillation",
        "weight-decay": 0.0,
        "clip-norm": 1.0,
        "min-lr": options.peak_rate / 50,
        "batch-size": 1,
        "required-batch-size-multiple": 1,
        "chunk-sizes": options.chunk_sizes,
        "leave-out": options.leave_out,
        "window-seed": options.seed,
        "valid-subset": "valid",
        "validate-interval-updates": options.save_every,
        "validate-interval": 1 << 30,  # not after each epoch, too
        "keep-interval-updates": 1,
        "log-interval": 25,
        "num-workers": options.workers,
    }
    if options.student is not None:
        values["student"] = options.student
    if options.grown_from is not None:
        values["grown-from"] = options.grown_from
    with_texts = not options.from_targets and (options.student or options.first_stage) is not None
    if options.from_targets:
        values["task"] = "echostream_distillation"
        del values["leave-out"], values["window-seed"]
    elif with_texts:
        values |= {
            "task": "echostream_decoder_adaptation",
            "arch": "echostream_student_system",
            "criterion": "echostream_decoder_distillation",
        }
        if options.first_stage is not None:
            values["start-from"] = options.first_stage
        else:
            values |= {"divergence-weight": 0.0, "text-weight": 0.0}
    arguments = run_arguments(":".join(map(str, folders)), run, options, values)
    if with_texts:
        # Where there are GPUs, too: what the teachers say of texts does not go there.
        arguments += ["--cpu", "--distributed-world-size", "1"]
    if options.bfloat16:
        arguments.append("--bfloat16")
    if options.minutes is not None:
        arguments += ["--stop-time-hours", str(options.minutes / 60)]
    return arguments
