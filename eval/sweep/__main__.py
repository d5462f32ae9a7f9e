r"""Quality and latency of many policies: every recording is encoded once, the rest is replayed.

    python -m eval.sweep --source wav_list --target references --chunk-ms 320 640 \\
        --policies ctc wait-k:k=3 wait-k:k=5,stride=2 local-agreement:n=2 --output runs/sweep

For each chunk and segment size the recordings go through the encoder once, on all cores; each
policy is then replayed from what was kept. Each point of the grid is a folder with the logs that a
SimulEval run would have left, scored. Interrupted, the same command goes on where it was; it does
again only what depends on something that has changed.
"""

import argparse
import logging
import re
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from echostream import policy
from echostream.constants import TASKS
from echostream.errors import ConfigError
from echostream.scoring.folder import score_folder
from echostream.whole_file import write_whole
from eval.command import add_workers, aligned, ended, heading, parser_of, write_results
from eval.sweep import Encodings, System, Work, encode, read_sources, run_policy
from eval.sweep.runs import run_compute_ms
from eval.sweep.sources import segment_samples
from eval.sweep.system import SYSTEM_ARGUMENT, PolicySpec, parse_policy

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
    parser = parser_of("sweep", __doc__)
    add = parser.add_argument
    add("--source", type=Path, required=True, help="list of recordings, as for SimulEval")
    add("--target", type=Path, required=True, help="references, one a line")
    add("--output", type=Path, required=True, help="folder of the results")
    add("--cache", type=Path, help="folder of what is kept (default: OUTPUT/cache)")
    add("--system", default="", **SYSTEM_ARGUMENT,
        help="checkpoint folder with options of the agent if wanted (default: the one shipped); "
        "@random_weights=YAML for an untrained model, which needs --forced")  # fmt: skip
    add("--task", choices=TASKS, default="s2tt", help="(default: %(default)s)")
    add("--chunk-ms", type=int, nargs="+", metavar="MS",
        help="chunk sizes (default: the checkpoint's)")  # fmt: skip
    add("--segment-ms", type=int, nargs="+", metavar="MS",
        help="segment sizes, each with each chunk (default: as long as the chunk)")  # fmt: skip
    add(
        "--policies",
        nargs="+",
        metavar="NAME[:K=V,...]",
        default=list(DEFAULT_POLICIES),
        help=f"policies: {', '.join(policy.names())} or package.module:Class; `echostream list` "
        f"describes them (default: {' '.join(DEFAULT_POLICIES)})",
    )
    add("--forced", action="store_true",
        help="write the words of the references on the policy's schedule")  # fmt: skip
    add_workers(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Sweep and print the table."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return ended("sweep", lambda: sweep(args, heading("sweep", argv)))


def sweep(args: argparse.Namespace, head: dict[str, Any]) -> None:
    """The whole grid; prints the table and writes it to the output folder."""
    specs = list(dict.fromkeys(parse_policy(text) for text in args.policies))
    grid = systems(args)
    # Everything that can be wrong with the options is found before anything is encoded.
    for system, _ in grid:
        for spec in specs:
            system.with_options(policy=spec.name, policy_options=spec.options).policy_settings()
        system.decoder_settings()
    work = Work(args.cache or args.output / "cache", args.jobs, args.ray)
    sources = read_sources(args.source, args.target)
    seconds = {"encoding": 0.0, "replay": 0.0}
    rows: list[Row] = []
    for system, segment_ms in grid:
        started = time.perf_counter()
        encodings = encode(system, sources, segment_ms=segment_ms, work=work)
        encoded = time.perf_counter()
        rows += [point(encodings, spec, args) for spec in specs]
        seconds["encoding"] += encoded - started
        seconds["replay"] += time.perf_counter() - encoded
    print(format_table(rows, forced=args.forced))
    print(format_savings(rows, seconds, sum(source.length_ms for source in sources)))
    table = [["policy", "chunk_ms", "segment_ms", *rows[0].scores]]
    for row in rows:
        values = ["nan" if value is None else repr(value) for value in row.scores.values()]
        table.append([row.policy, str(row.chunk_ms), str(row.segment_ms), *values])
    write_whole(args.output / TABLE_NAME, "".join("\t".join(line) + "\n" for line in table))
    details = {**head, "forced": args.forced, "rows": [asdict(row) for row in rows]}
    write_results(args.output / DETAILS_NAME, details)


def systems(args: argparse.Namespace) -> list[tuple[System, int]]:
    """Each chunk size with each of its segment sizes.

    Raises:
        ConfigError: if an option is wrong.
        CheckpointError: if the checkpoint cannot be loaded.
    """
    options = args.system.options
    if options.random_weights and not args.forced:
        raise ConfigError(
            "random_weights needs --forced: an untrained model has no words to write, only a "
            "schedule to keep"
        )
    for segment_ms in args.segment_ms or []:
        segment_samples(1, segment_ms)
    first = System(replace(options, task=args.task))
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
    lines = []
    for row in rows:
        values = [None if forced and name == "BLEU" else row.scores[name] for name in SHOWN]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append([row.policy, str(row.chunk_ms), str(row.segment_ms), *cells])
    return aligned(["policy", "chunk", "segment", *SHOWN], lines)


def format_savings(rows: list[Row], seconds: dict[str, float], audio_ms: float) -> str:
    """What this call took, and what live runs of the same points would have computed."""
    live = sum(row.compute_ms for row in rows) / 1000
    return (
        f"{len(rows)} runs of {audio_ms / 1000:.0f} s of audio. This call: encoding "
        f"{seconds['encoding']:.1f} s, replay and scores {seconds['replay']:.1f} s; what "
        f"was there from earlier calls took no time. Live runs: {live:.1f} s of compute on one "
        "core, by the recorded costs, and the evaluator's own time"
    )


if __name__ == "__main__":
    sys.exit(main())
