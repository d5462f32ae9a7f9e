"""``echostream adapt``: Whisper is made streaming, its encoder first and then with its decoder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from echostream.commands import add_settings, command
from echostream.training.run_options import AdaptationOptions

AUDIO_HELP = "recordings: a folder with manifest.tsv (its training part), or of audio files"
OPTIONS = {
    "updates": "windows of 30 s",
    "minutes": "stop after this wall time in all (none)",
    "peak_rate": "",
    "chunk_sizes": "encoder frames of 20 ms to draw chunks from, or whole; one that is given twice "
    "is drawn twice as often (8,16,16,32,32,32,64,whole)",
    "seed": "of the windows",
    "save_every": "",
    "workers": "processes that make windows, beside the one that learns; each has the teacher",
}
"""Those of :class:`AdaptationOptions` that every such command has."""


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream adapt``."""
    parser = argparse.ArgumentParser(
        prog="echostream adapt",
        description="Teach Whisper's encoder to give in chunks, from the past, the chunk and a "
        "short right context, what it gives for a whole window. It needs no "
        "transcripts, and any languages will do. With --first-stage encoder and "
        "decoder learn together, from recordings with texts. Stop it at any time: run "
        "the same command again and it goes on. It leaves a checkpoint that holds the "
        "difference from CHECKPOINT, and the held-out error by update in "
        "history.jsonl.",
    )
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="Whisper's folder, or whisper-base once fetched"
    )
    add_recordings(parser)
    add_run_options(parser, peak_rate=2e-4)
    return parser


def add_recordings(parser: argparse.ArgumentParser) -> None:
    """Add which recordings there are to hear, and which of them are not heard."""
    add = parser.add_argument
    add("--audio", type=Path, nargs="+", required=True, metavar="FOLDER", help=AUDIO_HELP)
    add(
        "--leave-out",
        default="",
        metavar="CORPUS,...",
        help="corpora of the manifests that are kept for tests (none)",
    )


def add_run_options(parser: argparse.ArgumentParser, *, peak_rate: float) -> None:
    """Add what every run in which a student learns can be told."""
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--first-stage",
        metavar="RUN",
        help="second stage: the decoder learns too, beside the encoder of this run, or of a "
        "checkpoint that it goes on from; of --audio only recordings with texts are used",
    )
    add_settings(
        parser,
        AdaptationOptions(peak_rate=peak_rate),
        OPTIONS,
        minutes={"type": float},
        chunk_sizes={"metavar": "FRAMES,..."},
        save_every={"metavar": "UPDATES"},
    )
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="compute updates in bfloat16: about twice as fast on a processor that has it (AMX, "
        "AVX512-BF16), slower on others",
    )


def run_options(args: argparse.Namespace, **others: Any) -> AdaptationOptions:
    """What :func:`add_run_options` was told, and others."""
    from echostream.locations import find_checkpoint

    return AdaptationOptions(
        **{name: getattr(args, name) for name in (*OPTIONS, "bfloat16")},
        first_stage=args.first_stage and find_checkpoint(args.first_stage),
        **others,
    )


@command("adapt", build_parser)
def main(args: argparse.Namespace) -> None:
    """Adapt or go on, and leave a checkpoint in ``args.output``."""
    from echostream.locations import find_checkpoint
    from echostream.training.adaptation.export import export_adaptation
    from echostream.training.adaptation.run import adaptation_arguments
    from echostream.training.adaptation.windows import find_recordings
    from echostream.training.corpus.utterances import parse_names
    from echostream.training.fairseq_run import configure_logging, require_fairseq, run_fairseq

    configure_logging()
    require_fairseq()
    options = run_options(args, leave_out=args.leave_out)
    checkpoint = find_checkpoint(args.checkpoint)
    recordings = find_recordings(args.audio, parse_names(args.leave_out))
    args.output.mkdir(parents=True, exist_ok=True)
    run_fairseq(adaptation_arguments(checkpoint, args.audio, args.output, options))
    export_adaptation(args.output, checkpoint, recordings, args.output, seed=args.seed)
