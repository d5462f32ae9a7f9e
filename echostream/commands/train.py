"""``echostream train``: the short form of ``fairseq-train`` with EchoStream's plug-in."""

import argparse
import logging
from pathlib import Path

from echostream.commands import add_settings, command
from echostream.training.features import AUGMENTATIONS
from echostream.training.run_options import TrainingOptions

logger = logging.getLogger(__name__)


OPTIONS = {
    "updates": "",
    "minutes": "stop after this wall time (none)",
    "max_frames": "feature frames of a process's batch, 100 a second",
    "peak_rate": "",
    "solo_epochs": "epochs of the first stage, short single utterances without masking",
    "solo_seconds": "length of the longest utterance in the first stage",
    "augment": "change of the recordings",
    "corpora": "train and validate on these corpora only (all)",
    "repeat": "corpora that come several times in an epoch, each time augmented otherwise (none)",
    "start_from": "checkpoint folder that a new run starts from: weights, normalisation and, where "
    "their sizes are the configuration's, vocabularies (random weights)",
    "seed": "",
    "processes": "processes that train together on the CPU; a batch each",
    "workers": "processes that load data (by the machine)",
    "save_every": "updates",
}
"""Those of :class:`TrainingOptions` that the command has."""


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream train``."""
    parser = argparse.ArgumentParser(
        prog="echostream train",
        description="Train a system with ASR CTC and ST CTC on the training part of a corpus, by "
        "fairseq. Stop it at any time: run the same command again and it goes on. It leaves a "
        "checkpoint folder, curves and a model card.",
    )
    add = parser.add_argument
    add("config", type=Path, help="system to train, such as configs/tiny.yaml")
    add(
        "--data",
        type=Path,
        default=Path("data/es-en"),
        help="folder with manifest.tsv, or StreamSpeech's or fairseq's train.tsv (%(default)s)",
    )
    add("--output", type=Path, default=Path("runs/tiny"), help="folder of the run (%(default)s)")
    add_settings(
        parser,
        TrainingOptions(),
        OPTIONS,
        minutes={"type": float},
        workers={"type": int},
        start_from={"type": Path, "metavar": "CHECKPOINT"},
        augment={"choices": AUGMENTATIONS},
        corpora={"metavar": "CORPUS,..."},
        repeat={"metavar": "CORPUS=TIMES,..."},
    )
    add(
        "--average",
        type=int,
        default=1,
        help="last checkpoints to average at the end, if there are so many (%(default)s)",
    )
    add(
        "--fairseq-options",
        nargs=argparse.REMAINDER,
        default=[],
        help="everything after this goes to fairseq-train, e.g. --st-ctc-weight 2 --amp",
    )
    return parser


@command("train", build_parser)
def main(args: argparse.Namespace) -> None:
    """Prepare, train or go on, and leave a checkpoint folder in ``args.output``."""
    from echostream.config import load_config
    from echostream.training.corpus.utterances import parse_names, parse_repeat, repeated, select
    from echostream.training.export import export
    from echostream.training.fairseq_checkpoints import FAIRSEQ, last_checkpoints
    from echostream.training.fairseq_run import (
        configure_logging,
        fairseq_arguments,
        require_fairseq,
        run_fairseq,
        updates_done,
    )
    from echostream.training.preparation import SYSTEM, prepare, start_from
    from echostream.training.run_record import record_run

    configure_logging()
    require_fairseq()
    options = TrainingOptions(
        **{name: getattr(args, name) for name in OPTIONS},
        keep=max(TrainingOptions.keep, args.average),
    )
    config = load_config(args.config)
    if args.start_from is not None:
        start_from(args.start_from, config, args.output)
    prepared = prepare(config, args.data, args.output, parse_names(args.corpora))
    training, dev = (select(prepared.utterances, part) for part in ("train", "dev"))
    training = repeated(training, parse_repeat(args.repeat))
    done = updates_done(args.output)
    record_run(args.output, args.command_line, options.seed, training, updates=done)
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
