"""Quality and latency of many policies: every recording is encoded once, the rest is replayed.

    python -m eval.sweep --source wav_list --target references --chunk-ms 320 640 \\
        --policies ctc wait-k:k=3 wait-k:k=5,stride=2 local-agreement:n=2 --output runs/sweep

For each chunk and segment size the recordings go through the encoder once, on all cores; each
policy is then replayed from what was kept. Each point of the grid is a folder with the logs that a
SimulEval run would have left, scored. Interrupted, the same command goes on where it was; it does
again only what depends on something that has changed.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from echostream import decoder, policy
from echostream.config import CONFORMER_MODES
from echostream.decoder.words import UNITS
from echostream.errors import ConfigError
from echostream.scoring.folder import score_folder
from echostream.session import SystemOptions
from echostream.session.options import TASKS
from echostream.whole_file import write_whole
from eval.command import ended, progress
from eval.sweep import CLOCKS, Encodings, System, encode, read_sources, run_policy
from eval.sweep.policy_spec import PolicySpec, parse_policy
from eval.sweep.runs import run_compute_ms
from eval.sweep.sources import require_segment

TABLE_NAME = "sweep.tsv"
DETAILS_NAME = "sweep.json"
DEFAULT_POLICIES = ("ctc", "wait-k:k=3", "local-agreement:n=2", "offline")
SHOWN = ("BLEU", "LAAL", "LAAL_CA")


@dataclass(frozen=True)
class Row:
    """One point of the grid."""

    policy: str
    chunk_ms: int
    segment_ms: int
    scores: dict[str, float | None]
    """By the names of ``scores.tsv``."""
    folder: str
    compute_ms: float
    """That a live run would have spent, by the recorded costs."""


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", type=Path, required=True, help="list of recordings, as for SimulEval")
    add("--target", type=Path, required=True, help="references, one a line")
    add("--output", type=Path, required=True, help="folder of the results")
    add("--cache", type=Path, help="folder of what is kept (default: OUTPUT/cache)")
    add(
        "--checkpoint",
        metavar="DIR",
        help="checkpoint folder (default: the one shipped, tiny-es-en)",
    )
    add("--random-weights", metavar="YAML", help="untrained model instead; needs --forced")
    add("--encoder-mode", choices=CONFORMER_MODES, help="of the baseline's chunk-Conformer")
    add("--task", choices=TASKS, default="s2tt", help="(default: %(default)s)")
    add(
        "--output-unit",
        choices=UNITS,
        default="word",
        help="char for a target language without spaces (default: %(default)s)",
    )
    add(
        "--chunk-ms",
        type=int,
        nargs="+",
        metavar="MS",
        help="chunk sizes (default: the checkpoint's)",
    )
    add(
        "--segment-ms",
        type=int,
        nargs="+",
        metavar="MS",
        help="segment sizes, each with each chunk (default: as long as the chunk)",
    )
    add("--left-context-ms", type=int, metavar="MS", help="(default: the checkpoint's)")
    add("--max-future-frames", metavar="L", help="(default: the checkpoint's)")
    add(
        "--policies",
        nargs="+",
        metavar="NAME[:K=V,...]",
        default=list(DEFAULT_POLICIES),
        help=f"policies: {', '.join(policy.names())} or package.module:Class; `echostream list` "
        f"describes them (default: {' '.join(DEFAULT_POLICIES)})",
    )
    add(
        "--decoder",
        metavar="NAME",
        help=f"CTC search: {', '.join(decoder.names())} (default: the checkpoint's)",
    )
    add("--decoder-options", metavar="K=V,...", help="(default: the checkpoint's)")
    add(
        "--forced",
        action="store_true",
        help="forced writer: write the words of the references on the policy's schedule",
    )
    add(
        "--jobs",
        type=int,
        metavar="N",
        default=os.cpu_count() or 1,
        help="recordings encoded at a time, each on one thread (default: all cores, %(default)s)",
    )
    add(
        "--clock",
        choices=tuple(CLOCKS),
        default="cpu",
        help="what compute is measured in: CPU time of the thread, which other load hardly "
        "changes, or wall time, for which nothing else should run and --jobs be 1 "
        "(default: %(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Sweep and print the table."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return ended("sweep", lambda: sweep(args))


def sweep(args: argparse.Namespace) -> list[Row]:
    """The whole grid; prints the table and writes it to the output folder."""
    specs = list(dict.fromkeys(parse_policy(text) for text in args.policies))
    grid = systems(args)
    # Everything that can be wrong with the options is found before anything is encoded.
    for system, _ in grid:
        for spec in specs:
            asked = system.with_options(policy=spec.name, policy_options=spec.options)
            asked.policy_settings()
        system.decoder_settings()
    sources = read_sources(args.source, args.target, progress=progress)
    cache = args.cache or args.output / "cache"
    seconds = {"encoding": 0.0, "replay": 0.0}
    rows: list[Row] = []
    for system, segment_ms in grid:
        started = time.perf_counter()
        encodings = encode(
            system,
            sources,
            segment_ms=segment_ms,
            folder=cache,
            jobs=args.jobs,
            clock=args.clock,
            progress=progress,
        )
        encoded = time.perf_counter()
        for spec in specs:
            rows.append(point(encodings, spec, args))
        seconds["encoding"] += encoded - started
        seconds["replay"] += time.perf_counter() - encoded
    print(format_table(rows, forced=args.forced))
    print(format_savings(rows, seconds, sum(source.length_ms for source in sources)))
    write_results(args.output, rows, args.forced)
    return rows


def systems(args: argparse.Namespace) -> list[tuple[System, int]]:
    """Each chunk size with each of its segment sizes.

    Raises:
        ConfigError: if an option is wrong.
        CheckpointError: if the checkpoint cannot be loaded.
    """
    if args.random_weights and not args.forced:
        raise ConfigError(
            "--random-weights needs --forced: an untrained model has no words to write, only a "
            "schedule to keep"
        )
    for segment_ms in args.segment_ms or []:
        require_segment(segment_ms)
    first = System(
        SystemOptions(
            checkpoint=args.checkpoint,
            random_weights=args.random_weights,
            task=args.task,
            output_unit=args.output_unit,
            decoder=args.decoder,
            decoder_options=args.decoder_options,
            left_context_ms=args.left_context_ms,
            max_future_frames=args.max_future_frames,
            encoder_mode=args.encoder_mode,
        )
    )
    chunks = dict.fromkeys(args.chunk_ms or [first.chunk_ms])
    return [
        (system, segment_ms)
        for system in (first.with_options(chunk_ms=chunk_ms) for chunk_ms in chunks)
        for segment_ms in dict.fromkeys(args.segment_ms or [system.chunk_ms])
    ]


def point(encodings: Encodings, spec: PolicySpec, args: argparse.Namespace) -> Row:
    """Replay and score one point."""
    chunk_ms, segment_ms = encodings.system.chunk_ms, encodings.segment_ms
    name = f"chunk{chunk_ms}-segment{segment_ms}-{spec}"
    folder = run_policy(
        encodings,
        output=args.output / "runs" / re.sub(r"[^\w.,=+-]", "_", name),
        policy=spec.name,
        policy_options=spec.options,
        forced=args.forced,
        jobs=args.jobs,
        progress=progress,
    )
    scores = score_folder(folder, segment_size=segment_ms)
    return Row(
        policy=str(spec),
        chunk_ms=chunk_ms,
        segment_ms=segment_ms,
        scores=scores.values,
        folder=str(folder),
        compute_ms=run_compute_ms(folder),
    )


def format_table(rows: list[Row], *, forced: bool) -> str:
    """One line for each point; a forced writer's BLEU says nothing and is left out."""
    width = max(len("policy"), *(len(row.policy) for row in rows))
    lines = [
        f"{'policy':{width}} {'chunk':>6} {'segment':>8} {'BLEU':>7} {'LAAL':>8} {'LAAL_CA':>8}"
    ]
    for row in rows:
        cells = []
        for name, size in zip(SHOWN, (7, 8, 8), strict=True):
            value = None if forced and name == "BLEU" else row.scores[name]
            cells.append(f"{'-':>{size}}" if value is None else f"{value:{size}.2f}")
        lines.append(f"{row.policy:{width}} {row.chunk_ms:6} {row.segment_ms:8} {' '.join(cells)}")
    return "\n".join(lines)


def format_savings(rows: list[Row], seconds: dict[str, float], audio_ms: float) -> str:
    """What this call took, and what live runs of the same points would have computed."""
    live = sum(row.compute_ms for row in rows) / 1000
    return (
        f"{len(rows)} runs of {audio_ms / 1000:.0f} s of audio. This call: encoding "
        f"{seconds['encoding']:.1f} s, searches, replay and scores {seconds['replay']:.1f} s; what "
        f"was there from earlier calls took no time. Live runs: {live:.1f} s of compute on one "
        "core, by the recorded costs, and the evaluator's own time"
    )


def write_results(output: Path, rows: list[Row], forced: bool) -> None:
    """``sweep.tsv`` for a spreadsheet, ``sweep.json`` with everything."""
    names = list(rows[0].scores)
    lines = ["\t".join(("policy", "chunk_ms", "segment_ms", *names))]
    for row in rows:
        values = ("nan" if row.scores[n] is None else repr(row.scores[n]) for n in names)
        lines.append("\t".join((row.policy, str(row.chunk_ms), str(row.segment_ms), *values)))
    details = {"forced": forced, "rows": [asdict(row) for row in rows]}
    write_whole(output / TABLE_NAME, "\n".join(lines) + "\n")
    write_whole(output / DETAILS_NAME, json.dumps(details, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
