"""``echostream vad``: a checkpoint with a text decoder learns where nobody speaks."""

import argparse
from pathlib import Path

from echostream.commands import command
from echostream.commands.adapt import add_recordings


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream vad``."""
    parser = argparse.ArgumentParser(
        prog="echostream vad",
        description="Give a checkpoint with a text decoder a head that tells encoder frames with "
        "speech (voice activity detection), by which streams are cut at pauses. `echostream adapt` "
        "does it too. A head that there is already is learned anew. CHECKPOINT is not changed.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="its folder, or a name")
    add_recordings(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument(
        "--windows", type=int, default=120, help="of 30 s, to learn from (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the windows (%(default)s)")
    return parser


@command("vad", build_parser)
def main(args: argparse.Namespace) -> None:
    """Learn the head, and print how well it does on windows that were kept."""
    from echostream.errors import ConfigError
    from echostream.locations import find_checkpoint
    from echostream.training.adaptation.voice_activity import add_voice_activity
    from echostream.training.adaptation.windows import WindowMaker, find_recordings
    from echostream.training.corpus.utterances import parse_names

    if args.windows < 12:
        raise ConfigError(f"--windows is {args.windows}; expected at least 12")
    recordings = find_recordings(args.audio, parse_names(args.leave_out))
    maker = WindowMaker(recordings.train, args.seed)
    checkpoint = find_checkpoint(args.checkpoint)
    found = add_voice_activity(checkpoint, maker, args.windows, args.output)
    print(
        f"speech missed: {100 * found.missed:.1f} %, other frames taken for speech: "
        f"{100 * found.false:.1f} %"
    )
