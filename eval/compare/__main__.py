"""EchoStream beside the StreamSpeech baseline: one command, one folder, one report.

    python -m eval.compare --data data/es-en --output runs/compare

Runs every system of the plan (configs/compare.yaml) with every policy and segment size on the test
recordings, measures compute against the length of the recording, and writes results.json, tables in
Markdown and a report that needs no network. Interrupted, the same command goes on where it was.
"""

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from echostream.errors import DataError
from echostream.session import build
from eval.command import ROOT, add_workers, ended, heading, parser_of, progress, write_results
from eval.compare.grid import run_grid, spread
from eval.compare.lengths import measure_lengths
from eval.compare.page import write_report
from eval.compare.plan import load_plan
from eval.compare.points import paired_of, pairs_of, point_of, system_of
from eval.compare.schema import Data, Results
from eval.compare.side_by_side import require_base, run_side_by_side
from eval.compare.timelines import shown_recordings, utterance_of
from eval.recordings import listed_sources, long_recording, read_corpus_part
from eval.sweep import Work

RESULTS_NAME = "results.json"


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("compare", __doc__)
    add = parser.add_argument
    add("--plan", type=Path, default=ROOT / "configs" / "compare.yaml",
        help="systems, policies, sizes, lengths (default: configs/compare.yaml)")  # fmt: skip
    add("--data", type=Path, default=ROOT / "data" / "es-en",
        help="corpus made by `echostream data` (default: data/es-en)")  # fmt: skip
    add("--split", default="test", choices=("dev", "test"), help="(default: %(default)s)")
    add("--output", type=Path, default=ROOT / "runs" / "compare",
        help="folder of the results (default: runs/compare)")  # fmt: skip
    add("--limit", type=int, metavar="N",
        help="only N recordings, evenly spread, for a quick look (default: all)")  # fmt: skip
    add_workers(parser)
    add(
        "--whisper",
        type=int,
        nargs="?",
        const=24,
        metavar="N",
        help="also N recordings, evenly spread, with Whisper base: streaming, re-encoded at "
        "every segment as it is used today, and offline (default: without; N is %(const)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Compare and report."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    head = heading("compare", argv)
    return ended("compare", lambda: print(*compare(args, head), sep="\n"))


def compare(args: argparse.Namespace, head: dict[str, Any]) -> list[Path]:
    """Everything; the paths written."""
    plan = load_plan(args.plan)
    for name in ("limit", "whisper"):
        number = getattr(args, name)
        if number is not None and number < 2:
            raise DataError(f"--{name} is {number}; expected at least 2 recordings")
    if args.whisper is not None:
        require_base()
    rows = spread(read_corpus_part(args.data, args.split), args.limit)
    sources = listed_sources(rows, args.data, args.output / "lists")
    systems = [
        system_of(entry, build.build_model(entry.options(plan.segment_ms[0])))
        for entry in plan.systems
    ]
    work = Work(args.output / "cache", args.jobs, args.ray)
    runs = list(run_grid(plan, sources, args.output / "runs", work))
    of = {(run.entry.name, *run.key): run for run in runs}
    matches = [
        (of[a.name, *key], of[b.name, *key])
        for a, b in pairs_of(systems)
        for key in dict.fromkeys(run.key for run in runs)
        if (a.name, *key) in of and (b.name, *key) in of
    ]
    if args.whisper is not None:
        heard = spread(sources, args.whisper)
        beside = run_side_by_side(heard, rows[0].src_lang, args.output / "runs", work)
        systems += [system for system, _ in beside]
        (_, ours), *others = beside
        runs += [run for _, run in beside]
        matches += [(ours, theirs) for _, theirs in others]
    points = [
        point_of(run, plan, str((run.folder / "instances.log").relative_to(args.output)))
        for run in progress(runs, len(runs), "intervals")
    ]
    paired = [
        row
        for one, other in progress(matches, len(matches), "paired tests")
        for row in paired_of(one, other, plan)
    ]
    audio, reference = long_recording(rows, args.data, max(plan.lengths_s))
    lengths = measure_lengths(plan, audio, reference, work)
    # Timelines of every system with its first policy and segment size.
    shown = [r for r in runs if r.key == (plan.policies_of(r.entry)[0], plan.segment_ms[0])]
    head["machine"] |= {"torch_threads": 1, "clock": "CPU time of the process"}
    results = Results(
        **head,
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
        utterances=tuple(
            utterance_of(source, rows[source.index].src_text, shown)
            for source in shown_recordings(shown, sources, plan.timelines)
        ),
    )
    path = args.output / RESULTS_NAME
    write_results(path, asdict(results))
    return [path, *write_report(results, args.output)]


if __name__ == "__main__":
    sys.exit(main())
