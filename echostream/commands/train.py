"""``echostream train``: the short form of ``fairseq-train`` with EchoStream's plug-in."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from pathlib import Path

from echostream.errors import EchoStreamError
from echostream.training.features import AUGMENTATIONS
from echostream.training.run_options import TrainingOptions

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream train``."""
    defaults = TrainingOptions()
    parser = argparse.ArgumentParser(
        prog="echostream train",
        description="Train a system with ASR CTC and ST CTC on the training part of a corpus, by "
        "fairseq. Stop it at any time: run the same command again and it goes on. It leaves a "
        "checkpoint folder, curves and a model card.",
    )
    parser.add_argument("config", type=Path, help="system to train, such as configs/tiny.yaml")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="folder with manifest.tsv, or StreamSpeech's or fairseq's train.tsv (%(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/tiny"), help="folder of the run (%(default)s)"
    )
    parser.add_argument("--updates", type=int, default=defaults.updates, help="(%(default)s)")
    parser.add_argument("--minutes", type=float, help="stop after this wall time (none)")
    parser.add_argument(
        "--max-frames",
        type=int,
        default=defaults.max_frames,
        help="feature frames of a process's batch, 100 a second (%(default)s)",
    )
    parser.add_argument("--peak-rate", type=float, default=defaults.peak_rate, help="(%(default)s)")
    parser.add_argument(
        "--solo-epochs",
        type=int,
        default=defaults.solo_epochs,
        help="epochs of the first stage, short single utterances without masking (%(default)s)",
    )
    parser.add_argument(
        "--solo-seconds",
        type=float,
        default=defaults.solo_seconds,
        help="length of the longest utterance in the first stage (%(default)s)",
    )
    parser.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        default=defaults.augment,
        help="change of the recordings (%(default)s)",
    )
    parser.add_argument(
        "--corpora",
        default=defaults.corpora,
        metavar="CORPUS,...",
        help="train and validate on these corpora only (all)",
    )
    parser.add_argument(
        "--repeat",
        default=defaults.repeat,
        metavar="CORPUS=TIMES,...",
        help="corpora that come several times in an epoch, each time augmented otherwise (none)",
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="CHECKPOINT",
        help="checkpoint folder that a new run starts from: weights, normalisation and, where "
        "their sizes are the configuration's, vocabularies (random weights)",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="(%(default)s)")
    parser.add_argument(
        "--processes",
        type=int,
        default=defaults.processes,
        help="processes that train together on the CPU; a batch each (%(default)s)",
    )
    parser.add_argument("--workers", type=int, help="processes that load data (by the machine)")
    parser.add_argument(
        "--save-every", type=int, default=defaults.save_every, help="updates (%(default)s)"
    )
    parser.add_argument(
        "--average",
        type=int,
        default=1,
        help="last checkpoints to average at the end, if there are so many (%(default)s)",
    )
    parser.add_argument(
        "--fairseq-options",
        nargs=argparse.REMAINDER,
        default=[],
        help="everything after this goes to fairseq-train, e.g. --st-ctc-weight 2 --amp",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 after a one-line error."""
    arguments = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(arguments)
    from echostream.training.fairseq_run import configure_logging

    configure_logging()
    try:
        train(args, "echostream train " + shlex.join(arguments))
    except EchoStreamError as error:
        logger.error("error: %s", error)
        return 1
    return 0


def train(args: argparse.Namespace, command: str) -> None:
    """Prepare, train or go on, and leave a checkpoint folder in ``args.output``."""
    from echostream.config import load_config
    from echostream.training.corpus.utterances import parse_corpora, parse_repeat, repeated, select
    from echostream.training.export import export
    from echostream.training.fairseq_checkpoints import FAIRSEQ, last_checkpoints
    from echostream.training.fairseq_run import (
        fairseq_arguments,
        require_fairseq,
        run_fairseq,
        updates_done,
    )
    from echostream.training.preparation import SYSTEM, prepare, start_from
    from echostream.training.run_record import record_run

    require_fairseq()
    options = TrainingOptions(
        updates=args.updates,
        minutes=args.minutes,
        peak_rate=args.peak_rate,
        max_frames=args.max_frames,
        solo_epochs=args.solo_epochs,
        solo_seconds=args.solo_seconds,
        augment=args.augment,
        start_from=args.start_from,
        corpora=args.corpora,
        repeat=args.repeat,
        seed=args.seed,
        processes=args.processes,
        workers=args.workers,
        save_every=args.save_every,
        keep=max(TrainingOptions.keep, args.average),
    )
    config = load_config(args.config)
    if args.start_from is not None:
        start_from(args.start_from, config, args.output)
    prepared = prepare(config, args.data, args.output, parse_corpora(args.corpora))
    training, dev = (select(prepared.utterances, part) for part in ("train", "dev"))
    training = repeated(training, parse_repeat(args.repeat))
    done = updates_done(args.output)
    record_run(args.output, command, options.seed, training, updates=done)
    logger.info(
        "%d training recordings (%.1f min), %d for development; %s",
        len(training),
        sum(utterance.seconds for utterance in training) / 60,
        len(dev),
        f"going on at update {done}" if done else "a new run",
    )
    if done < options.updates:
        arguments = fairseq_arguments(
            args.output / SYSTEM,
            config,
            args.data,
            args.output,
            options,
            validate=bool(dev),
            more=args.fairseq_options,
        )
        run_fairseq(arguments, options.processes)
    there = len(last_checkpoints(args.output / FAIRSEQ, args.average))
    export(args.output, average=min(args.average, there))
