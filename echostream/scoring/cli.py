"""``echostream score DIR...``: score SimulEval output folders again from their logs."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence

from echostream.errors import EchoStreamError
from echostream.scoring.report import format_scores, score_folder


def main(argv: Sequence[str] | None = None) -> int:
    """Score each folder, print its figures, and write scores.tsv and scores.json into it.

    A folder that cannot be scored costs one line on standard error; the others are still scored.
    Returns 0, 1 if a folder could not be scored, 2 for wrong usage.
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed its message, or the help
        return stop.code if isinstance(stop.code, int) else 2
    failed = False
    for folder in arguments.folders:
        try:
            scores = score_folder(folder, arguments.segment_size)
        except EchoStreamError as error:
            print(f"echostream score: error: {error}", file=sys.stderr)
            failed = True
            continue
        if arguments.json:
            print(json.dumps({"folder": folder, **scores.details()}, ensure_ascii=False))
        else:
            print(format_scores(scores, folder))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="echostream score",
        description="Compute BLEU and latency (LAAL, AL, AP, DAL, ATD, each ideal and "
        "computation-aware) from the instances.log of SimulEval runs with speech source and text "
        "output. Each figure is printed with its signature. scores.tsv in the folder is replaced, "
        "what stood in it is kept in scores.json.",
    )
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="what SimulEval was given as --output"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a line of JSON per folder instead of a table",
    )
    parser.add_argument(
        "--segment-size",
        type=_milliseconds,
        metavar="MS",
        help="the runs' --source-segment-size, for the signatures (default: an upper bound that "
        "follows from the delays)",
    )
    return parser


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:  # false for NaN
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds above 0")
    return value


if __name__ == "__main__":
    sys.exit(main())
