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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from echostream.audio import read_audio
from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError, EchoStreamError
from echostream.scoring.instance import Instance
from echostream.session import build
from echostream.text import normalise
from echostream.training.corpus.manifest import ManifestRow, read_manifest
from echostream.whole_file import write_whole
from eval.compare.grid import Run, run_grid
from eval.compare.lengths import PassJob, PassTask, length_rows, read_pass
from eval.compare.plan import ComparisonPlan, load_plan
from eval.compare.results import (
    RESULTS_NAME,
    assemble,
    read_segment_records,
    shown_recordings,
    system_of,
    utterance_of,
)
from eval.compare.statistics import paired_of, pairs_of, point_of
from eval.compare.write import write_report
from eval.sweep import CLOCKS, Source, System, read_sources
from eval.sweep.digests import ENCODING_CODE, WRITING_CODE, code_digest, digest
from eval.sweep.workers import finish

ROOT = Path(__file__).resolve().parents[2]
LENGTH_SEGMENT_MS = 320

Item = TypeVar("Item")
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
    command = shlex.join(
        ["python", "-m", "eval.compare", *(sys.argv[1:] if argv is None else argv)]
    )
    try:
        paths = compare(args, command)
    except EchoStreamError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncompare: interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    for path in paths:
        print(path)
    return 0


def compare(args: argparse.Namespace, command: str) -> list[Path]:
    """Everything; the paths written."""
    plan = load_plan(args.plan)
    rows = test_rows(args.data, args.split, args.limit)
    references = write_lists(rows, args.data, args.output)
    sources = read_sources(args.output / "wav_list", references, progress=progress)
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
    family = {system["name"]: system["family"] for system in systems}
    of = {(run.entry.name, *run.key): (run, instances) for run, instances in runs}
    matches = [
        (of[(a.name, policy, segment_ms)], of[(b.name, policy, segment_ms)])
        for a, b in pairs_of(plan, family)
        for policy in plan.policies_of(a)
        if policy in plan.policies_of(b)
        for segment_ms in plan.segment_ms
    ]
    paired = [
        row
        for one, other in progress(matches, len(matches), "paired tests")
        for row in paired_of(one, other, plan)
    ]
    results = assemble(
        plan,
        command=command,
        clock=args.clock,
        data={
            "name": f"{args.split} part of {args.data.name}",
            "recordings": len(rows),
            "seconds": round(sum(row.seconds for row in rows), 1),
            "note": "Human speech. Systems with fewer recordings say so in the tables.",
        },
        systems=systems,
        points=points,
        paired=paired,
        lengths=measure_lengths(plan, rows, args),
        utterances=utterances(plan, sources, rows, runs),
    )
    path = args.output / RESULTS_NAME
    write_whole(path, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    return [path, *write_report(results, args.output)]


def test_rows(data: Path, split: str, limit: int | None) -> list[ManifestRow]:
    """The recordings of the split, or ``limit`` of them."""
    manifest = data / "manifest.tsv"
    if not manifest.exists():
        raise DataError(f"{manifest} is not there; expected a corpus: run `echostream data es-en`")
    rows = [row for row in read_manifest(manifest) if row.split == split]
    if limit is not None and limit < 2:
        raise DataError(f"--limit is {limit}; expected at least 2 recordings")
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i * len(rows) // limit] for i in range(limit)]


def write_lists(rows: Sequence[ManifestRow], data: Path, output: Path) -> Path:
    """SimulEval's two lists; the path of the references, which are written as the model writes."""
    paths = "".join(f"{data / row.audio}\n" for row in rows)
    texts = "".join(f"{normalise(row.tgt_text)}\n" for row in rows)
    write_whole(output / "wav_list", paths.encode())
    write_whole(output / "references", texts.encode())
    return output / "references"


def long_recording(
    rows: Sequence[ManifestRow], data: Path, seconds: int
) -> tuple[NDArray[np.float32], str]:
    """Recordings one after the other, at least ``seconds`` long, and their references."""
    parts: list[NDArray[np.float32]] = []
    words: list[str] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        row = rows[len(parts) % len(rows)]
        samples, _ = read_audio(data / row.audio)
        parts.append(samples.mean(axis=1) if samples.ndim == 2 else samples)
        words.append(normalise(row.tgt_text))
    return np.concatenate(parts), " ".join(words)


def measure_lengths(
    plan: ComparisonPlan, rows: Sequence[ManifestRow], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """Compute against length, round after round over the systems; what was measured is kept."""
    audio, reference = long_recording(rows, args.data, max(plan.lengths_s))
    size = LENGTH_SEGMENT_MS * SAMPLE_RATE // 1000
    audio = audio[: -(-max(plan.lengths_s) * SAMPLE_RATE // size) * size]
    tasks: dict[str, list[PassTask]] = {}
    for entry in plan.systems:
        if not entry.lengths:
            continue
        options = entry.options(LENGTH_SEGMENT_MS, ROOT)
        settings = {
            "model": System(options).fingerprint,
            "options": vars(options),
            "audio": digest(audio.tobytes().hex()),
            "clock": args.clock,
            "code": [code_digest(ENCODING_CODE), code_digest(WRITING_CODE)],
        }
        folder = args.output / "cache" / "lengths" / digest(settings)[:32]
        tasks[entry.name] = [
            PassTask(entry.name, options, folder / f"{number}.json")
            for number in range(entry.repeats or plan.repeats)
        ]
    # In turn, so that a change in the machine's speed falls on all systems alike; in one process,
    # so that they do not fight for the memory.
    rounds = max(map(len, tasks.values()), default=0)
    todo = [
        task
        for number in range(rounds)
        for passes in tasks.values()
        for task in passes[number : number + 1]
        if read_pass(task.path) is None
    ]
    job = PassJob(audio, reference, LENGTH_SEGMENT_MS, args.clock)
    finish(job, todo, 1, progress, "compute against length")
    result = []
    for name, tasks_of in tasks.items():
        passes = [costs for task in tasks_of if (costs := read_pass(task.path)) is not None]
        result += length_rows(name, LENGTH_SEGMENT_MS, plan.lengths_s, passes)
    return result


def utterances(
    plan: ComparisonPlan,
    sources: Sequence[Source],
    rows: Sequence[ManifestRow],
    runs: Sequence[Scored],
) -> list[dict[str, Any]]:
    """Timelines of every system with its first policy and segment size."""
    shown = [
        (run, instances)
        for run, instances in runs
        if run.key == (plan.policies_of(run.entry)[0], plan.segment_ms[0])
    ]
    with_records = [(run, instances, read_segment_records(run.folder)) for run, instances in shown]
    return [
        utterance_of(source, rows[source.index].src_text, with_records)
        for source in shown_recordings(shown, sources, plan.timelines)
    ]


def progress(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """A bar on standard error, if that is a terminal and there is something to do."""
    return tqdm(items, total=total, desc=what, disable=None) if total else items


if __name__ == "__main__":
    sys.exit(main())
