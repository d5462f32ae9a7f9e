"""``echostream data``: audio and manifests of a language pair from public Debian packages."""

import argparse
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from echostream.commands import command, positive
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import SPLITS, Split
from echostream.training.corpus.utterances import parse_names
from echostream.training.recipes.language_pairs import RECIPES
from echostream.training.recipes.recipe import Options, run
from echostream.training.recipes.synthetic import DEFAULT_TEXTS, ENGINES, add_synthetic

MAX_DEFAULT_JOBS = 4


def build_parser() -> argparse.ArgumentParser:
    """The options of ``echostream data``."""
    parser = argparse.ArgumentParser(
        prog="echostream data",
        description="Fetch recorded speech with translations from public Debian packages and make "
        "16 kHz audio, manifests and SimulEval lists; add synthetic speech of translated sentences "
        "on request. Nothing is installed.",
    )
    add = parser.add_argument
    add("recipe", choices=sorted(RECIPES), help="speech language, text language")
    add("--output", type=Path, help="folder to write (default: data/RECIPE)")
    add("--corpora", type=parse_names, help="only these corpora, comma-separated (default: all)")
    add(
        "--splits",
        type=_splits,
        default=SPLITS,
        help="decode only these splits, comma-separated: train, dev, test (default: all)",
    )
    add(
        "--synthetic",
        type=_engines,
        default={},
        metavar="ENGINE[=HOURS],...",
        help=f"add synthetic speech by some of {', '.join(ENGINES)} (default: none)",
    )
    add(
        "--hours",
        type=_hours,
        default=1.0,
        help="training speech by each engine that names no hours itself (default: %(default)s)",
    )
    add(
        "--texts",
        type=parse_names,
        default=DEFAULT_TEXTS,
        help=f"sentences to speak, comma-separated (default: {','.join(DEFAULT_TEXTS)})",
    )
    add(
        "--kokoro-folder",
        type=Path,
        metavar="PATH",
        help="add speech that was made elsewhere: a folder with manifest.tsv and audio/",
    )
    add("--work", type=Path, help="folder for packages while working (default: OUTPUT/work)")
    add("--keep-packages", action="store_true", help="leave the packages in the work folder")
    add(
        "--jobs",
        type=positive,
        default=min(MAX_DEFAULT_JOBS, os.cpu_count() or 1),
        help="clips converted at once (default: %(default)s)",
    )
    add(
        "--keep-marks",
        action="store_true",
        help="leave accents in Spanish texts, which Whisper knows; a corpus that writes none has "
        "none (default: none in any, as a small model cannot hear which corpus it is)",
    )
    add("--verbose", action="store_true", help="log each step")
    return parser


@command("data", build_parser)
def main(arguments: argparse.Namespace) -> None:
    """Make what is asked for, and print how much it is."""
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(message)s"
    )
    recipe = RECIPES[arguments.recipe]
    if arguments.keep_marks:
        recipe = replace(recipe, unmarked=frozenset())
    output = arguments.output or Path("data") / recipe.name
    corpora = arguments.corpora or tuple(corpus.name for corpus in recipe.corpora)
    options = Options(
        output=output,
        work=arguments.work or output / "work",
        corpora=corpora,
        splits=cast(tuple[Split, ...], arguments.splits),
        jobs=arguments.jobs,
        keep_packages=arguments.keep_packages,
        hours={
            name: arguments.hours if hours is None else hours
            for name, hours in arguments.synthetic.items()
        },
        texts=arguments.texts,
        folder=arguments.kokoro_folder,
    )
    rows = run(recipe, options)
    if options.hours or options.folder:
        rows = add_synthetic(recipe, options)
    print(summary(rows))
    print(f"written to {output}")


def summary(rows: Sequence[ManifestRow]) -> str:
    """A table: utterances and minutes per corpus and split."""
    totals: dict[tuple[str, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for row in rows:
        for corpus in (row.corpus, "all"):
            for split in (row.split, "all"):
                count, seconds = totals[corpus, split]
                totals[corpus, split] = count + 1, seconds + row.seconds
    columns = (*SPLITS, "all")
    lines = ["utterances (minutes)" + "".join(f"{column:>16}" for column in columns)]
    for corpus in (*dict.fromkeys(row.corpus for row in rows), "all"):
        cells = [totals[corpus, column] for column in columns]
        values = "".join(f"{f'{count} ({seconds / 60:.1f})':>16}" for count, seconds in cells)
        lines.append(f"{corpus:<20}{values}")
    return "\n".join(lines)


def _splits(text: str) -> tuple[str, ...]:
    names = parse_names(text)
    unknown = [name for name in names if name not in SPLITS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r}: expected some of {', '.join(SPLITS)}")
    return names


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0.0 < hours < 10_000.0:  # NaN too
        raise argparse.ArgumentTypeError(f"{text!r}: expected hours above 0")
    return hours


def _engines(text: str) -> dict[str, float | None]:
    engines: dict[str, float | None] = {}
    for part in parse_names(text):
        name, equals, hours = part.partition("=")
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"{name!r}: expected some of {', '.join(ENGINES)}")
        engines[name] = _hours(hours) if equals else None
    return engines
