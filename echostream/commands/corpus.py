"""``echostream corpus``: corpora in, tables out.

... import must-c FOLDER --source en --target es --output data/must-c
... export fairseq-s2t data/es-en
... features data/es-en --output data/es-en-features
... opus data/es-en --output data/es-en-opus
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from echostream.errors import DataError, EchoStreamError
from echostream.training.features import AUGMENTATIONS
from echostream.training.formats.conversion import convert_corpus
from echostream.training.formats.fairseq_s2t import s2t_row, write_s2t
from echostream.training.formats.folders import (
    MUST_C_SPLITS,
    FolderUtterance,
    read_covost2,
    read_cvss_c,
    read_must_c,
)
from echostream.training.formats.lhotse_cuts import write_cuts
from echostream.training.formats.opus_copy import copy_as_opus
from echostream.training.formats.streamspeech import streamspeech_row, write_streamspeech
from echostream.training.recipes.manifest import ManifestRow, read_manifest
from echostream.training.recipes.split import SPLITS, Split

LICENCES = {"covost2": "CC0-1.0", "cvss-c": "CC-BY-4.0", "must-c": "CC-BY-NC-ND-4.0"}
EXPORTS = ("fairseq-s2t", "streamspeech", "lhotse")


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="echostream corpus", description="Read other projects' corpora, write their tables."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("import", help="a corpus's folder to 16 kHz audio and manifests")
    reading.add_argument("corpus", choices=sorted(LICENCES))
    reading.add_argument("folder", type=Path)
    reading.add_argument("--source", required=True, help="spoken language, such as es")
    reading.add_argument("--target", default="en", help="language of the texts (%(default)s)")
    reading.add_argument("--covost2", type=Path, help="for cvss-c: the CoVoST 2 folder")
    reading.add_argument(
        "--test", default="tst-COMMON", help="for must-c: which set is test (%(default)s)"
    )
    reading.add_argument("--output", type=Path, required=True)
    reading.add_argument("--jobs", type=int, default=1, help="clips converted at once")
    writing = commands.add_parser("export", help="a manifest's rows as another project's tables")
    writing.add_argument("format", choices=EXPORTS)
    writing.add_argument("folder", type=Path, help="folder with manifest.tsv")
    writing.add_argument("--output", type=Path, help="folder to write (FOLDER/FORMAT)")
    storing = commands.add_parser(
        "features", help="a copy that holds feature frames, for training on a GPU"
    )
    storing.add_argument("folder", type=Path, help="folder with manifest.tsv")
    storing.add_argument("--output", type=Path, required=True)
    storing.add_argument(
        "--config",
        type=Path,
        default=Path("configs/tiny.yaml"),
        help="the system that will be trained (%(default)s)",
    )
    storing.add_argument(
        "--augment",
        choices=list(AUGMENTATIONS),
        default="speed",
        help="change of all but the first copy (%(default)s)",
    )
    storing.add_argument(
        "--copies", type=int, default=3, help="of each training recording (%(default)s)"
    )
    storing.add_argument("--seed", type=int, default=1, help="of the changes (%(default)s)")
    storing.add_argument("--jobs", type=int, default=1, help="processes")
    coding = commands.add_parser("opus", help="a copy with recordings as Ogg Opus, to carry")
    coding.add_argument("folder", type=Path, help="folder with manifest.tsv")
    coding.add_argument("--output", type=Path, required=True)
    coding.add_argument(
        "--kbps", type=float, default=24.0, help="kbit/s of the recordings (%(default)s)"
    )
    coding.add_argument("--jobs", type=int, default=1, help="recordings coded at once")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line: 0 when done, 1 with a one-line message otherwise."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    jobs = max(1, getattr(arguments, "jobs", 1))
    try:
        if arguments.command == "import":
            rows = convert_corpus(
                read_corpus(arguments),
                corpus=arguments.corpus,
                source=arguments.source,
                target=arguments.target,
                licence=LICENCES[arguments.corpus],
                output=arguments.output,
                jobs=jobs,
            )
            print(f"{len(rows)} utterances written to {arguments.output}")
        elif arguments.command == "features":
            from echostream.config import load_config
            from echostream.training.formats.stored_features import StoringOptions, store_features

            options = StoringOptions(
                audio=load_config(arguments.config).audio,
                augment=arguments.augment,
                copies=arguments.copies,
                seed=arguments.seed,
            )
            rows = store_features(arguments.folder, arguments.output, options, jobs)
            print(f"{len(rows)} copies written to {arguments.output}")
        elif arguments.command == "opus":
            rows = copy_as_opus(arguments.folder, arguments.output, arguments.kbps, jobs)
            print(f"{len(rows)} recordings written to {arguments.output}")
        else:
            output = arguments.output or arguments.folder / arguments.format
            for path in export(arguments.format, arguments.folder, output):
                print(path)
    except EchoStreamError as error:
        print(f"echostream corpus: error: {error}", file=sys.stderr)
        return 1
    return 0


def read_corpus(arguments: argparse.Namespace) -> list[FolderUtterance]:
    """The utterances of the folder that the arguments name. Raises `DataError`."""
    if arguments.corpus == "covost2":
        return read_covost2(arguments.folder, arguments.source, arguments.target)
    if arguments.corpus == "must-c":
        if arguments.source != "en":
            raise DataError(f"MuST-C is English speech; --source is {arguments.source!r}, not en")
        splits: dict[str, Split] = {k: v for k, v in MUST_C_SPLITS.items() if v != "test"}
        return read_must_c(arguments.folder, arguments.target, {**splits, arguments.test: "test"})
    if arguments.covost2 is None:
        raise DataError("CVSS-C holds translations only; name its source speech with --covost2")
    if arguments.target != "en":
        raise DataError(f"CVSS-C is translated into English; --target is {arguments.target!r}")
    return read_cvss_c(arguments.folder, arguments.covost2, arguments.source)


def export(form: str, folder: Path, output: Path) -> list[Path]:
    """Writes one table a split; the paths written. Raises `DataError`."""
    rows = read_manifest(folder / "manifest.tsv")
    paths = []
    for split in SPLITS:
        own = [row for row in rows if row.split == split]
        if own:
            paths.append(_export(form, own, folder, output, split))
    return paths


def _export(form: str, rows: list[ManifestRow], folder: Path, output: Path, split: Split) -> Path:
    if form == "lhotse":
        path = output / f"{split}.jsonl.gz"
        write_cuts(path, rows, folder)
        return path
    path = output / f"{split}.tsv"
    if form == "fairseq-s2t":
        write_s2t(path, [s2t_row(row, folder) for row in rows])
    else:
        write_streamspeech(path, [streamspeech_row(row, folder) for row in rows])
    return path


if __name__ == "__main__":
    sys.exit(main())
