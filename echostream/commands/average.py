"""``echostream average``: the mean of the weights of two adapted checkpoints."""

import argparse
from pathlib import Path

from echostream.commands import command


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream average``."""
    parser = argparse.ArgumentParser(
        prog="echostream average",
        description="Write the mean of the weights of two checkpoints that `echostream adapt` has "
        "left, such as one that another run began with and what that run has left. It has the "
        "configuration of the first one.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="its folder, or a name")
    parser.add_argument("other", metavar="OTHER", help="its folder, or a name")
    parser.add_argument("--share", type=float, default=0.5, help="of OTHER (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new checkpoint")
    return parser


@command("average", build_parser)
def main(args: argparse.Namespace) -> None:
    """Write the mean."""
    from echostream.locations import find_checkpoint
    from echostream.training.adaptation.average import average_checkpoints

    one, other = find_checkpoint(args.checkpoint), find_checkpoint(args.other)
    average_checkpoints(one, other, args.share, args.output)
