"""``echostream distil``: an encoder with random weights learns what Whisper's encoder gives."""

import argparse
from pathlib import Path

from echostream.commands import command
from echostream.commands.adapt import AUDIO_HELP, add_run_options, run_options


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream distil``."""
    parser = argparse.ArgumentParser(
        prog="echostream distil",
        description="Teach the encoder of a configuration, the student, to give in chunks what "
        "Whisper's encoder gives for a whole window; Whisper's decoder can then be put "
        "behind it. It needs no transcripts, but CTC heads learn from the texts that "
        "there are. With --first-stage student and decoder learn together, from "
        "recordings with texts. Stop it at any time: run the same command again and it "
        "goes on. It leaves a checkpoint that stands on TEACHER, and the held-out "
        "error by update in history.jsonl.",
    )
    parser.add_argument("system", type=Path, metavar="SYSTEM", help="such as configs/small.yaml")
    parser.add_argument(
        "--teacher",
        default="whisper-base",
        metavar="CHECKPOINT",
        help="Whisper's folder, or its name once fetched (%(default)s)",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--targets", type=Path, metavar="FOLDER", help="made by `echostream corpus targets`"
    )
    source.add_argument("--audio", type=Path, nargs="+", metavar="FOLDER", help=AUDIO_HELP)
    parser.add_argument(
        "--grow",
        metavar="CHECKPOINT",
        help="start with the weights of a smaller encoder of the same kind and channels, such as "
        "tiny-es-en, and with its vocabularies (random weights)",
    )
    add_run_options(parser, peak_rate=1e-3)
    return parser


@command("distil", build_parser)
def main(args: argparse.Namespace) -> None:
    """Teach or go on, and leave a checkpoint in ``args.output``."""
    from echostream.config import load_config
    from echostream.errors import ConfigError
    from echostream.locations import find_checkpoint
    from echostream.training.adaptation.export import export_student
    from echostream.training.adaptation.run import adaptation_arguments
    from echostream.training.fairseq_run import configure_logging, require_fairseq, run_fairseq

    if args.grow is not None and args.first_stage is not None:
        raise ConfigError("--grow is for the first stage; the second goes on from --first-stage")
    if args.audio is None and args.first_stage is not None:
        raise ConfigError(
            "the second stage, which --first-stage begins, learns from texts, of which --targets "
            "has none; expected --audio"
        )
    if args.audio is None and (features := load_config(args.system).audio.features) != "whisper":
        raise ConfigError(
            f"--targets has Whisper's features, audio.features of {args.system} is {features!r}; "
            "expected --audio, or 'whisper'"
        )
    configure_logging()
    require_fairseq()
    checkpoint = find_checkpoint(args.teacher)
    args.output.mkdir(parents=True, exist_ok=True)
    grown_from = args.grow and find_checkpoint(args.grow)
    options = run_options(
        args, student=args.system, grown_from=grown_from, from_targets=args.audio is None
    )
    folders = args.audio or [args.targets]
    run_fairseq(adaptation_arguments(checkpoint, folders, args.output, options))
    export_student(args.output, checkpoint, args.system, args.output)
