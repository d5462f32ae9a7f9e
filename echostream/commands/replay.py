"""``echostream replay``: do again what a flight record tells, and point to the first difference.

0: everything was as recorded. 1: something was not. 2: it cannot be replayed.
"""

from __future__ import annotations

import argparse
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from echostream.commands import command

if TYPE_CHECKING:
    from echostream.flight.record import FlightRecord

EQUAL, DIFFERENT, IMPOSSIBLE = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="echostream replay",
        description="Do again what a flight record (--record of the agent) tells, and point to the "
        "first difference. Status 0: all as recorded; 1: a difference; 2: cannot be replayed.",
        fromfile_prefix_chars="@",
    )
    add = parser.add_argument
    add("record", metavar="FILE", help="what --record wrote")
    add(
        "--audio",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="the recordings, in any order, unless the record was made with --record-audio; "
        "@wav_list takes them from a list",
    )
    add("--checkpoint", metavar="DIR", help="instead of the recorded checkpoint folder")
    add("--device", default="cpu", help="cpu or cuda (%(default)s)")
    return parser


@command("replay", build_parser, failure=IMPOSSIBLE)
def main(args: argparse.Namespace) -> int:
    """Replay one record."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import torch
    from tqdm import tqdm

    from echostream.flight.playback import Sources, differing_settings, play, require_streams
    from echostream.flight.record import read_record
    from echostream.session import build_translator

    record = read_record(args.record)
    require_streams(record, args.record)
    changes: dict[str, Any] = {}
    if args.checkpoint is not None:
        changes = {"checkpoint": args.checkpoint, "random_weights": None}
    options = record.options(**changes)
    torch.set_num_threads(options.threads)
    translator = build_translator(options, args.device)
    print(_summary(args.record, record))
    for line in differing_settings(record, translator):
        print(f"note: {line}")
    progress = partial(tqdm, desc="replaying", unit=" events", leave=False)
    outcome = play(record, translator, Sources(record, args.audio), progress)
    for note in outcome.notes:
        print(f"note: {note}")
    if outcome.difference is not None:
        print(f"{outcome.num_segments} segments are as recorded\n{outcome.difference}")
        return DIFFERENT
    print(f"all {outcome.num_segments} segments are as recorded")
    return EQUAL


def _summary(name: str, record: FlightRecord) -> str:
    last = record.segments[-1]
    text = (
        f"{name}: {len(record.streams)} streams, {len(record.segments)} segments, echostream "
        f"{record.header['versions'].get('echostream')}"
    )
    if record.is_cut:
        place = f"stream {last.stream}, segment {last.number}"
        text += f"\nnote: the record ends in mid-line after {place}; read up to there"
    return text
