"""``echostream checkpoint``: a checkpoint folder of a training run."""

import argparse
import logging
from pathlib import Path

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream checkpoint``."""
    parser = argparse.ArgumentParser(
        prog="echostream checkpoint",
        description="Make a checkpoint folder of a training run: safetensors weights, config.json, "
        "vocabularies, curves, model card.",
    )
    add = parser.add_argument
    add("run", type=Path, help="folder of the run, such as runs/tiny")
    add("--output", type=Path, help="where to write (the run's folder)")
    add("--average", type=int, default=1, help="last checkpoints to average (%(default)s)")
    add(
        "--update",
        type=int,
        help="of the last checkpoint to take, one that is still there (the last of all)",
    )
    add(
        "--last-weights",
        action="store_true",
        help="take the weights after the last update, not their running average",
    )
    add("--dtype", choices=("float16", "float32"), default="float16", help="(%(default)s)")
    return parser


@command("checkpoint", build_parser)
def main(args: argparse.Namespace) -> None:
    """Make the folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import torch

    from echostream.training.export import export

    export(
        args.run,
        args.output,
        average=max(1, args.average),
        update=args.update,
        running=not args.last_weights,
        dtype=getattr(torch, args.dtype),
    )
