"""Results on recorded speech: every corpus, every chunk size, one or several checkpoints.

    python -m eval.results checkpoints/tiny-es-en --data data/es-en --output runs/results

Each recording of the test part is streamed in segments as long as the chunk, once for translation
(policy of the checkpoint) and once for transcription (all of it, when it has ended). Printed with
95 % intervals, by a bootstrap over recordings: WER of the transcripts, BLEU and chrF of the
translations, LAAL, compute RTF. With several checkpoints each is tested against the first, at each
chunk size, by approximate randomisation. References are lower-cased and without punctuation, as the
models write text. Interrupted, the same command goes on where it was.

With ``--join 60`` recordings of a corpus are first put end to end, a minute or more at a time. One
such table has an output folder of its own. Options of the agent make another system of a
checkpoint: ``checkpoints/tiny-es-en@backend=openvino,precision=int8``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from echostream.errors import EchoStreamError
from echostream.scoring.instance import Instance
from echostream.scoring.intervals import paired_tests, samples_of
from echostream.scoring.log import read_log
from echostream.scoring.significance import bootstrap
from echostream.session import SystemOptions
from echostream.training.corpus.manifest import ManifestRow
from echostream.whole_file import write_whole
from eval.command import ended, progress
from eval.recordings import join_recordings, listed_sources, read_corpus_part
from eval.sweep import System, encode, run_policy

ALL = "all"
TRANSLATION = ("BLEU", "chrF", "LAAL", "compute_RTF")
TRANSCRIPT = ("WER",)
COLUMNS = (*TRANSCRIPT, *TRANSLATION)
DIGITS = {"LAAL": 0, "compute_RTF": 3}

Item = TypeVar("Item")


@dataclass(frozen=True)
class Measured:
    """A checkpoint and what the agent is told beside it; ``name`` stands in the tables."""

    name: str
    options: SystemOptions


def parse_system(text: str) -> Measured:
    """``CHECKPOINT[@OPTION=VALUE,...]``; an option that the agent does not have is an error."""
    known = {field.name for field in fields(SystemOptions)} - {"checkpoint", "task", "chunk_ms"}
    # A folder may have an @ in its name, and the value of an option several parts: an option starts
    # where there is the name of one.
    option = rf"(?:{'|'.join(sorted(known))})="
    folder, *rest = re.split(rf"@(?={option})", text, maxsplit=1)
    if not rest and not Path(folder).exists():
        folder, *rest = text.split("@", 1)
    path, options = Path(folder), "".join(rest)
    name = path.name + (f"@{options}" if options else "")
    values = {}
    for part in re.split(rf",(?={option})", options) if options else ():
        key, equals, value = part.partition("=")
        if not equals or key not in known:
            raise argparse.ArgumentTypeError(
                f"{part!r} in {text!r} is no option of the agent; expected NAME=VALUE with one of "
                f"{', '.join(sorted(known))}"
            )
        values[key] = value
    try:
        return Measured(name, SystemOptions(checkpoint=str(path), **values))  # type: ignore[arg-type]
    except EchoStreamError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.results",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "systems",
        nargs="+",
        type=parse_system,
        metavar="CHECKPOINT[@OPTION=VALUE,...]",
        help="checkpoint folders, with options of the agent if wanted; the first is the baseline",
    )
    add("--data", type=Path, default=Path("data/es-en"), help="corpus (default: %(default)s)")
    add("--split", default="test", choices=("dev", "test"), help="(default: %(default)s)")
    add("--corpora", help="only these, comma-separated (default: all of the manifest)")
    add("--output", type=Path, default=Path("runs/results"), help="(default: %(default)s)")
    add(
        "--chunks",
        type=int,
        nargs="+",
        metavar="MS",
        default=[160, 320, 640, 1280],
        help="chunk sizes, which are the segment sizes too (default: 160 320 640 1280)",
    )
    add("--join", type=float, metavar="SECONDS", help="put recordings end to end (default: do not)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="(default: all cores, %(default)s)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    args = build_parser().parse_args(argv)
    return ended("results", lambda: print(results(args)))


def results(args: argparse.Namespace) -> str:
    """The tables as Markdown; the figures are also written to ``results.json``."""
    rows, data = read_corpus_part(args.data, args.split, args.corpora), args.data
    if args.join is not None:
        data = args.output / "joined"
        rows = join_recordings(rows, args.data, args.join, data)
    runs: dict[tuple[str, int, str], tuple[Instance, ...]] = {}
    for system in args.systems:
        for chunk_ms in args.chunks:
            for task in ("s2tt", "asr"):
                runs[system.name, chunk_ms, task] = run(system, chunk_ms, task, rows, data, args)
    counts = Counter(row.corpus for row in rows)
    # One recording has no interval; it still counts among all.
    parts = [*sorted(corpus for corpus, count in counts.items() if count > 1), ALL]
    figures = [
        {
            "checkpoint": system.name,
            "corpus": corpus,
            "chunk_ms": chunk_ms,
            **figures_of(
                {
                    task: of_corpus(runs[system.name, chunk_ms, task], rows, corpus)
                    for task in ("s2tt", "asr")
                }
            ),
        }
        for system in args.systems
        for corpus in parts
        for chunk_ms in args.chunks
    ]
    tests = [
        {
            "corpus": corpus,
            "chunk_ms": chunk_ms,
            "checkpoint": name,
            "figure": figure,
            "difference": test.difference.value,
            "low": test.difference.low,
            "high": test.difference.high,
            "p": test.p_value,
        }
        for corpus in parts
        for chunk_ms in args.chunks
        for task, names in (("asr", TRANSCRIPT), ("s2tt", TRANSLATION))
        for name, found in paired_tests(
            {
                system.name: of_corpus(runs[system.name, chunk_ms, task], rows, corpus)
                for system in args.systems
            },
            names=names,
        ).items()
        for figure, test in found.items()
    ]
    details = {"figures": figures, "tests": tests}
    write_whole(args.output / "results.json", (json.dumps(details, indent=1) + "\n").encode())
    return format_figures(figures) + ("\n\n" + format_tests(tests) if tests else "")


def run(
    measured: Measured,
    chunk_ms: int,
    task: str,
    rows: Sequence[ManifestRow],
    data: Path,
    args: argparse.Namespace,
) -> tuple[Instance, ...]:
    """One pass over all recordings; the instances are in the order of the rows."""
    sources = listed_sources(rows, data, args.output / "lists", task=task)
    system = System(replace(measured.options, chunk_ms=chunk_ms, task=task))
    encodings = encode(
        system,
        sources,
        segment_ms=chunk_ms,
        folder=args.output / "cache",
        jobs=args.jobs,
        progress=progress,
    )
    folder = run_policy(
        encodings,
        output=args.output / "runs" / measured.name / f"{task}-{chunk_ms}",
        policy="offline" if task == "asr" else None,
        jobs=args.jobs,
    )
    return read_log(folder, is_strict=True).instances


def of_corpus(
    instances: Sequence[Instance], rows: Sequence[ManifestRow], corpus: str
) -> list[Instance]:
    """Those of one corpus, or all."""
    return [ins for ins in instances if corpus in (ALL, rows[ins.index].corpus)]


def figures_of(instances: dict[str, list[Instance]]) -> dict[str, Any]:
    """Each figure as ``[value, low, high]``; ``None`` where there is no value."""
    samples = {
        **samples_of(instances["asr"], TRANSCRIPT),
        **samples_of(instances["s2tt"], TRANSLATION),
    }
    found: dict[str, Any] = {"recordings": len(instances["s2tt"]), **dict.fromkeys(COLUMNS)}
    for name, estimate in bootstrap(samples).estimates.items():
        found[name] = [estimate.value, estimate.low, estimate.high]
    return found


def format_figures(figures: Sequence[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        f"| checkpoint | corpus | recordings | chunk (ms) | {' | '.join(COLUMNS)} |",
        "| --- | --- | ---: | ---: |" + " ---: |" * len(COLUMNS),
    ]
    for row in figures:
        cells = []
        for name in COLUMNS:
            if row[name] is None:
                cells.append("-")
                continue
            value, low, high = (f"{number:.{DIGITS.get(name, 1)}f}" for number in row[name])
            cells.append(f"{value} [{low}, {high}]")
        head = f"{row['checkpoint']} | {row['corpus']} | {row['recordings']} | {row['chunk_ms']}"
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_tests(tests: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of differences to the first checkpoint."""
    lines = [
        "| corpus | chunk (ms) | checkpoint | figure | difference | 95 % interval | p |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: |",
    ]
    for row in tests:
        digits = DIGITS.get(row["figure"], 1)
        difference, low, high = (
            f"{row[name]:+.{digits}f}" for name in ("difference", "low", "high")
        )
        lines.append(
            f"| {row['corpus']} | {row['chunk_ms']} | {row['checkpoint']} | {row['figure']} | "
            f"{difference} | [{low}, {high}] | {row['p']:.4f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
