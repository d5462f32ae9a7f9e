"""What the programs have in common: their parsers, how they end, what they print and write."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from echostream.commands import ended as ended
from echostream.machine import machine, versions
from echostream.whole_file import write_whole

FORMAT = "echostream-eval-1"
"""Of every JSON file with results."""

ROOT = Path(__file__).resolve().parents[1]

Item = TypeVar("Item")


def parser_of(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m eval.NAME``, without options yet."""
    return argparse.ArgumentParser(
        prog=f"python -m eval.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """``--jobs`` and ``--ray``: who works on the recordings."""
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count() or 1,
        help="recordings worked on at a time, each on one thread (default: all cores, "
        "%(default)s)")  # fmt: skip
    parser.add_argument("--ray", metavar="auto|ADDRESS",
        help="on a Ray cluster instead, with all its processors; auto: the one that runs, else one "
        "on this machine (docs/scale.md)")  # fmt: skip


def progress(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """A bar on standard error, if that is a terminal and there is something to do."""
    return tqdm(items, total=total, desc=what, disable=None) if total else items


def heading(name: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """What stands before the results of every program: by what, when and where they were made."""
    arguments = sys.argv[1:] if argv is None else argv
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"eval.{name}", *arguments]),
        "machine": machine(),
        "versions": versions(),
    }


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write results, which begin with a :func:`heading`; DataError if that is not possible."""
    write_whole(path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for the terminal: the first column to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
