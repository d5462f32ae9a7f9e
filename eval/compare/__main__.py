"""EchoStream beside the StreamSpeech baseline: one command, one folder, one report.

    python -m eval.compare --data data/es-en --output runs/compare

Runs every system of the plan (configs/compare.yaml) with every policy and segment size on the test
recordings, measures compute against the length of the recording, and writes results.json, tables in
Markdown and a report that needs no network. Interrupted, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from echostream.errors import DataError
from echostream.machine import machine, versions
from echostream.scoring.instance import Instance
from echostream.session import build
from echostream.training.corpus.manifest import ManifestRow
from echostream.whole_file import write_whole
from eval.command import ended, progress
from eval.compare.grid import Run, run_grid
from eval.compare.lengths import measure_lengths
from eval.compare.page import write_report
from eval.compare.plan import ComparisonPlan, load_plan
from eval.compare.points import paired_of, pairs_of, point_of, system_of
from eval.compare.schema import Data, Results, Utterance
from eval.compare.timelines import shown_recordings, utterance_of
from eval.recordings import listed_sources, long_recording, read_corpus_part
from eval.sweep import CLOCKS, Source

ROOT = Path(__file__).resolve().parents[2]
RESULTS_NAME = "results.json"

Scored = tuple[Run, Sequence[Instance]]


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--plan",
        type=Path,
        default=ROOT / "configs" / "compare.yaml",
        help="systems, policies, segment sizes, lengths (default: configs/compare.yaml)",
    )
    add(
        "--data",
        type=Path,
        default=ROOT / "data" / "es-en",
        help="corpus made by `echostream data` (default: data/es-en)",
    )
    add("--split", default="test", choices=("dev", "test"), help="(default: %(default)s)")
    add(
        "--output",
        type=Path,
        default=ROOT / "runs" / "compare",
        help="folder of the results (default: runs/compare)",
    )
    add(
        "--limit",
        type=int,
        metavar="N",
        help="only N recordings, evenly spread, for a quick look (default: all)",
    )
    add(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        help="recordings encoded at a time (default: all cores, %(default)s)",
    )
    add(
        "--clock",
        choices=tuple(CLOCKS),
        default="cpu",
        help="what compute is measured in: CPU time, which other load hardly changes, or wall "
        "time, with --jobs 1 and nothing else running (default: %(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Compare and report."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "-m", "eval.compare", *arguments])
    return ended("compare", lambda: print(*compare(args, command), sep="\n"))


def compare(args: argparse.Namespace, command: str) -> list[Path]:
    """Everything; the paths written."""
    plan = load_plan(args.plan)
    rows = some_of(read_corpus_part(args.data, args.split), args.limit)
    sources = listed_sources(rows, args.data, args.output / "lists", progress=progress)
    systems = [
        system_of(entry, build.build_model(entry.options(plan.segment_ms[0], ROOT)))
        for entry in plan.systems
    ]
    runs: list[Scored] = [
        (run, run.instances())
        for run in run_grid(
            plan,
            sources,
            root=ROOT,
            output=args.output,
            jobs=args.jobs,
            clock=args.clock,
            progress=progress,
        )
    ]
    points = [
        point_of(run, instances, plan, str((run.folder / "instances.log").relative_to(args.output)))
        for run, instances in progress(runs, len(runs), "intervals")
    ]
    of = {(run.entry.name, *run.key): (run, instances) for run, instances in runs}
    matches = [
        (of[a.name, *key], of[b.name, *key])
        for a, b in pairs_of(systems)
        for key in dict.fromkeys(run.key for run, _ in runs)
        if (a.name, *key) in of and (b.name, *key) in of
    ]
    paired = [
        row
        for one, other in progress(matches, len(matches), "paired tests")
        for row in paired_of(one, other, plan)
    ]
    audio, reference = long_recording(rows, args.data, max(plan.lengths_s))
    lengths = measure_lengths(
        plan,
        audio,
        reference,
        root=ROOT,
        folder=args.output / "cache" / "lengths",
        clock=args.clock,
        progress=progress,
    )
    clock = {"cpu": "CPU time of the process", "wall": "wall time"}[args.clock]
    results = Results(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine={**machine(), "torch_threads": 1, "clock": clock, **versions()},
        resampling={"resamples": plan.resamples, "seed": plan.seed},
        data=Data(
            f"{args.split} part of {args.data.name}",
            len(rows),
            round(sum(row.seconds for row in rows), 1),
            "Human speech. References are in lower case and without punctuation, as the models "
            "write. Systems with fewer recordings say so in the tables.",
        ),
        systems=tuple(systems),
        points=tuple(points),
        paired=tuple(paired),
        lengths=tuple(lengths),
        utterances=tuple(utterances(plan, sources, rows, runs)),
    )
    path = args.output / RESULTS_NAME
    write_whole(path, json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")
    return [path, *write_report(results, args.output)]


def some_of(rows: list[ManifestRow], limit: int | None) -> list[ManifestRow]:
    """``limit`` recordings, evenly spread, or all."""
    if limit is not None and limit < 2:
        raise DataError(f"--limit is {limit}; expected at least 2 recordings")
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def utterances(
    plan: ComparisonPlan,
    sources: Sequence[Source],
    rows: Sequence[ManifestRow],
    runs: Sequence[Scored],
) -> list[Utterance]:
    """Timelines of every system with its first policy and segment size."""
    shown = [
        (run, instances)
        for run, instances in runs
        if run.key == (plan.policies_of(run.entry)[0], plan.segment_ms[0])
    ]
    return [
        utterance_of(source, rows[source.index].src_text, shown)
        for source in shown_recordings(shown, sources, plan.timelines)
    ]


if __name__ == "__main__":
    sys.exit(main())
