"""``echostream check``: look at all recordings of a list before a run."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from echostream.commands import command
from echostream.errors import DataError
from echostream.text import read_lines


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="echostream check",
        description="Read every recording of SimulEval's --source list from start to end and say "
        "what it is: length, rate, channels, peak, clipped samples; and which ones cannot be used. "
        "Status 0: all can; 1: some cannot; 2: wrong usage.",
    )
    add = parser.add_argument
    add("list", type=Path, help="text file with one audio file a line")
    add("--json", action="store_true", help="print a line of JSON per recording")
    return parser


@command("check", build_parser)
def main(args: argparse.Namespace) -> int:
    """Check the recordings of a list; 0 if all of them can be used, 1 otherwise."""
    from echostream.audio.survey import format_survey, survey

    names = [line.strip() for line in read_lines(args.list, "list of recordings")]
    if not names:
        raise DataError(f"the list {args.list} is empty; expected one audio file a line")
    has_mark = args.list.read_bytes().startswith(b"\xef\xbb\xbf")
    recordings = [survey(name) for name in names]
    if args.json:
        for each in recordings:
            print(json.dumps(dataclasses.asdict(each), ensure_ascii=False))
    else:
        print(format_survey(recordings))
    if has_mark:
        print(
            f"echostream check: error: {args.list} begins with a byte-order mark, which SimulEval "
            "takes for a part of the first name; save it without one",
            file=sys.stderr,
        )
    return int(has_mark or any(each.error for each in recordings))
