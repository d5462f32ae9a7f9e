"""Results on recorded speech: every corpus, every chunk size, one or several checkpoints.

    python -m eval.results checkpoints/tiny-es-en --data data/es-en --output runs/results

Each recording of the test part is streamed in segments as long as the chunk, once for translation
(policy of the checkpoint) and once for transcription (all of it, when it has ended). Printed with
95 % intervals, by a bootstrap over recordings: WER of the transcripts, BLEU and chrF of the
translations, LAAL, compute RTF. With several checkpoints each is tested against the first, at each
chunk size, by approximate randomisation. Texts are compared in lower case, without punctuation and
without accents, which not all references have. Interrupted, the same command goes on where it was.

With ``--join 60`` recordings of a corpus are first put end to end, a minute or more at a time. One
such table has an output folder of its own. Options of the agent make another system of a
checkpoint: ``checkpoints/tiny-es-en@backend=openvino,precision=int8``.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from echostream.errors import ConfigError
from echostream.scoring.instance import Instance
from echostream.scoring.intervals import paired_tests, samples_of
from echostream.scoring.log import read_log
from echostream.scoring.quality import QualityOptions
from echostream.scoring.resampling import Sample
from echostream.scoring.significance import bootstrap
from echostream.scoring.tables import markdown_table
from echostream.session import SystemOptions
from eval.command import add_workers, ended, heading, parser_of, write_results
from eval.recordings import add_corpus_part, join_recordings, listed_sources, read_corpus_part
from eval.sweep import Source, System, Work, encode, run_policy
from eval.sweep.system import SYSTEM_ARGUMENT

ALL = "all"
FIGURES = {"asr": ("WER",), "s2tt": ("BLEU", "chrF", "LAAL", "compute_RTF")}
"""By the task whose output they are of."""
QUALITY = QualityOptions(is_normalised=True, ignores_accents=True)
COLUMNS = [name for names in FIGURES.values() for name in names]
DIGITS = {"LAAL": 0, "compute_RTF": 3}


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = parser_of("results", __doc__)
    add = parser.add_argument
    add("systems", nargs="+", **SYSTEM_ARGUMENT,
        help="checkpoint folders, with options of the agent if wanted; the first is the "
        "baseline")  # fmt: skip
    add_corpus_part(parser)
    add("--output", type=Path, default=Path("runs/results"), help="(default: %(default)s)")
    add("--chunks", type=int, nargs="+", metavar="MS", default=[160, 320, 640, 1280],
        help="chunk sizes, which are the segment sizes too (default: 160 320 640 "
        "1280)")  # fmt: skip
    add("--join", type=float, metavar="SECONDS", help="put recordings end to end (default: do not)")
    add_workers(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    args = build_parser().parse_args(argv)
    return ended("results", lambda: print(results(args, heading("results", argv))))


def results(args: argparse.Namespace, head: dict[str, Any]) -> str:
    """The tables as Markdown; the figures are also written to ``results.json``."""
    names = [system.name for system in args.systems]
    if len(set(names)) < len(names):
        raise ConfigError(f"checkpoints are named {', '.join(names)}; expected names that differ")
    rows, data = read_corpus_part(args.data, args.split, args.corpora), args.data
    if args.join is not None:
        data = args.output / "joined"
        rows = join_recordings(rows, args.data, args.join, data)
    work = Work(args.output / "cache", args.jobs, args.ray)
    runs: dict[tuple[str, int, str], tuple[Instance, ...]] = {}
    for task in FIGURES:
        sources = listed_sources(rows, data, args.output / "lists", task)
        for system, chunk_ms in product(args.systems, args.chunks):
            folder = args.output / "runs" / system.name / f"{task}-{chunk_ms}"
            options = replace(system.options, chunk_ms=chunk_ms, task=task)
            runs[system.name, chunk_ms, task] = run(options, sources, work, folder)

    def of_corpus(name: str, chunk_ms: int, task: str, corpus: str) -> list[Instance]:
        instances = runs[name, chunk_ms, task]
        return [ins for ins in instances if corpus in (ALL, rows[ins.index].corpus)]

    counts = Counter(row.corpus for row in rows)
    # One recording has no interval; it still counts among all.
    parts = [*sorted(corpus for corpus, count in counts.items() if count > 1), ALL]
    figures = [
        {
            "checkpoint": system.name,
            "corpus": corpus,
            "chunk_ms": chunk_ms,
            **figures_of(
                {task: of_corpus(system.name, chunk_ms, task, corpus) for task in FIGURES}
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
        for task, names in FIGURES.items()
        for name, found in paired_tests(
            {s.name: of_corpus(s.name, chunk_ms, task, corpus) for s in args.systems},
            names=names,
            quality=QUALITY,
        ).items()
        for figure, test in found.items()
    ]
    write_results(args.output / "results.json", {**head, "figures": figures, "tests": tests})
    return format_figures(figures) + ("\n\n" + format_tests(tests) if tests else "")


def run(
    options: SystemOptions, sources: Sequence[Source], work: Work, folder: Path
) -> tuple[Instance, ...]:
    """One pass over all recordings; the instances are in their order."""
    system = System(options)
    encodings = encode(system, sources, segment_ms=system.chunk_ms, work=work)
    policy = "offline" if options.task == "asr" else None
    return read_log(run_policy(encodings, output=folder, policy=policy), is_strict=True).instances


def figures_of(instances: dict[str, list[Instance]]) -> dict[str, Any]:
    """Each figure as ``[value, low, high]``; ``None`` where there is no value."""
    samples: dict[str, Sample] = {}
    for task, names in FIGURES.items():
        samples |= samples_of(instances[task], names, QUALITY)
    found: dict[str, Any] = {"recordings": len(instances["s2tt"]), **dict.fromkeys(COLUMNS)}
    for name, estimate in bootstrap(samples).estimates.items():
        found[name] = [estimate.value, estimate.low, estimate.high]
    return found


def format_figures(figures: Sequence[dict[str, Any]]) -> str:
    """A Markdown table."""
    rows = []
    for row in figures:
        cells = [str(row[name]) for name in ("checkpoint", "corpus", "recordings", "chunk_ms")]
        for name in COLUMNS:
            numbers = [f"{number:.{DIGITS.get(name, 1)}f}" for number in row[name] or ()]
            cells.append("{} [{}, {}]".format(*numbers) if numbers else "-")
        rows.append(cells)
    header = ("checkpoint", "corpus", "recordings", "chunk (ms)", *COLUMNS)
    return markdown_table(header, rows, text_columns=2)


def format_tests(tests: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of differences to the first checkpoint."""
    rows = []
    for row in tests:
        digits = DIGITS.get(row["figure"], 1)
        value, low, high = (f"{row[name]:+.{digits}f}" for name in ("difference", "low", "high"))
        cells = [str(row[name]) for name in ("corpus", "chunk_ms", "checkpoint", "figure")]
        rows.append([*cells, value, f"[{low}, {high}]", f"{row['p']:.4f}"])
    header = ("corpus", "chunk (ms)", "checkpoint", "figure", "difference", "95 % interval", "p")
    return markdown_table(header, rows, text_columns=4)


if __name__ == "__main__":
    sys.exit(main())
