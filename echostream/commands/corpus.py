"""``echostream corpus``: corpora in, tables out.

... import must-c FOLDER --source en --target es --output data/must-c
... import lhotse cuts_train.jsonl.gz --output data/mine
... export fairseq-s2t data/es-en
... features data/es-en --output data/es-en-features
... opus data/es-en --output data/es-en-opus
... targets whisper-base --audio data/es-en data/fr-en --output data/targets --windows 1000
"""

import argparse
import logging
from pathlib import Path

from echostream.commands import command
from echostream.commands.adapt import add_recordings
from echostream.errors import DataError
from echostream.training.corpus.clip import Clip
from echostream.training.corpus.importing import import_corpus, read_fairseq
from echostream.training.corpus.lhotse_cuts import read_cuts, write_cuts
from echostream.training.corpus.manifest import read_manifest
from echostream.training.corpus.opus_copy import copy_as_opus
from echostream.training.corpus.published import read_covost2, read_cvss_c, read_must_c
from echostream.training.corpus.speech_tables import write_speech_table
from echostream.training.corpus.split import SPLITS
from echostream.training.corpus.utterances import parse_names
from echostream.training.features import AUGMENTATIONS

IMPORTS = ("covost2", "cvss-c", "fairseq-s2t", "lhotse", "must-c", "streamspeech")
EXPORTS = ("fairseq-s2t", "streamspeech", "lhotse")


def build_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="echostream corpus", description="Read other projects' corpora, write their tables."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    reading = commands.add_parser("import", help="a corpus's folder to 16 kHz audio and manifests")
    add = reading.add_argument
    add("corpus", choices=IMPORTS)
    add("folder", type=Path, help="folder of the corpus, or one file of cuts")
    add("--source", default="", help="spoken language, such as es")
    add("--target", default="en", help="language of the texts (%(default)s)")
    add("--covost2", type=Path, help="for cvss-c: the CoVoST 2 folder")
    add("--test", default="tst-COMMON", help="for must-c: which set is test (%(default)s)")
    add(
        "--translation",
        default="translation",
        metavar="FIELD",
        help="for lhotse: the supervisions' custom field with the translation (%(default)s)",
    )
    add(
        "--splits",
        nargs="+",
        choices=SPLITS,
        default=SPLITS,
        metavar="PART",
        help="import these parts only: train, dev, test (all that are there)",
    )
    add("--output", type=Path, required=True)
    add("--jobs", type=int, default=1, help="clips converted at once")
    writing = commands.add_parser("export", help="a manifest's rows as another project's tables")
    add = writing.add_argument
    add("format", choices=EXPORTS)
    add("folder", type=Path, help="folder with manifest.tsv")
    add("--output", type=Path, help="folder to write (FOLDER/FORMAT)")
    storing = commands.add_parser(
        "features", help="a copy that holds feature frames, for training on a GPU"
    )
    add = storing.add_argument
    add("folder", type=Path, help="folder with manifest.tsv")
    add("--output", type=Path, required=True)
    add(
        "--config",
        type=Path,
        default=Path("configs/tiny.yaml"),
        help="the system that will be trained (%(default)s)",
    )
    add(
        "--augment",
        choices=list(AUGMENTATIONS),
        default="speed",
        help="change of all but the first copy (%(default)s)",
    )
    add("--copies", type=int, default=3, help="of each training recording (%(default)s)")
    add("--seed", type=int, default=1, help="of the changes (%(default)s)")
    add("--jobs", type=int, default=1, help="processes")
    add("--ray", metavar="auto|ADDRESS", help="on a Ray cluster instead (docs/scale.md)")
    coding = commands.add_parser("opus", help="a copy with recordings as Ogg Opus, to carry")
    add = coding.add_argument
    add("folder", type=Path, help="folder with manifest.tsv")
    add("--output", type=Path, required=True)
    add("--kbps", type=float, default=24.0, help="kbit/s of the recordings (%(default)s)")
    add("--jobs", type=int, default=1, help="recordings coded at once")
    making = commands.add_parser(
        "targets", help="windows of mixed speech with a teacher's output, for `echostream distil`"
    )
    add = making.add_argument
    add("checkpoint", metavar="TEACHER", help="Whisper's folder, or whisper-base once fetched")
    add_recordings(making)
    add("--output", type=Path, required=True)
    add("--windows", type=int, default=1000, help="of 30 s, 1.7 MB each (%(default)s)")
    add("--held-out", type=int, default=24, help="windows of other recordings (%(default)s)")
    add("--seed", type=int, default=1, help="of the windows (%(default)s)")
    add("--jobs", type=int, default=1, help="processes")
    add("--ray", metavar="auto|ADDRESS", help="on a Ray cluster instead (docs/scale.md)")
    return parser


@command("corpus", build_parser)
def main(arguments: argparse.Namespace) -> None:
    """Read or write a corpus."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    jobs = max(1, getattr(arguments, "jobs", 1))
    if arguments.command == "import":
        rows = import_corpus(read_clips(arguments), arguments.output, jobs)
        print(f"{len(rows)} utterances written to {arguments.output}")
    elif arguments.command == "features":
        from echostream.config import load_config
        from echostream.training.corpus.stored_features import StoringOptions, store_features

        options = StoringOptions(
            audio=load_config(arguments.config).audio,
            augment=arguments.augment,
            copies=arguments.copies,
            seed=arguments.seed,
        )
        rows = store_features(arguments.folder, arguments.output, options, jobs, arguments.ray)
        print(f"{len(rows)} copies written to {arguments.output}")
    elif arguments.command == "opus":
        rows = copy_as_opus(arguments.folder, arguments.output, arguments.kbps, jobs)
        print(f"{len(rows)} recordings written to {arguments.output}")
    elif arguments.command == "targets":
        from echostream.locations import find_checkpoint
        from echostream.training.adaptation.targets import write_targets
        from echostream.training.adaptation.windows import find_recordings

        made = write_targets(
            find_checkpoint(arguments.checkpoint),
            find_recordings(arguments.audio, parse_names(arguments.leave_out)),
            arguments.output,
            windows=arguments.windows,
            held_out=arguments.held_out,
            seed=arguments.seed,
            jobs=jobs,
            ray=arguments.ray,
        )
        print(f"{made} windows written to {arguments.output}")
    else:
        output = arguments.output or arguments.folder / arguments.format
        for path in export(arguments.format, arguments.folder, output):
            print(path)


def read_clips(arguments: argparse.Namespace) -> list[Clip]:
    """The recordings that the arguments name. Raises `DataError`."""
    corpus, folder, splits = arguments.corpus, arguments.folder, tuple(arguments.splits)
    source, target = arguments.source, arguments.target
    if corpus == "must-c" and source not in ("", "en"):
        raise DataError(f"MuST-C is English speech; --source is {source!r}, not en")
    if corpus == "must-c":
        return read_must_c(folder, target, splits, arguments.test)
    if corpus == "lhotse":
        clips = read_cuts(folder, source, target, arguments.translation)
        return _of_parts(clips, folder, splits)
    if not source:
        raise DataError(f"the speech of {corpus} is of several languages; name one with --source")
    if corpus == "covost2":
        return read_covost2(folder, source, target, splits)
    if corpus in ("fairseq-s2t", "streamspeech"):
        return _of_parts(read_fairseq(folder, source, target), folder, splits)
    if arguments.covost2 is None:
        raise DataError("CVSS-C holds translations only; name its source speech with --covost2")
    if target != "en":
        raise DataError(f"CVSS-C is translated into English; --target is {target!r}")
    return read_cvss_c(folder, arguments.covost2, source, splits)


def _of_parts(clips: list[Clip], folder: Path, splits: tuple[str, ...]) -> list[Clip]:
    found = [clip for clip in clips if clip.split in splits]
    if not found:
        raise DataError(f"{folder} has no recordings of {', '.join(splits)}")
    return found


def export(form: str, folder: Path, output: Path) -> list[Path]:
    """Writes one table a split; the paths written. Raises `DataError`."""
    rows = read_manifest(folder / "manifest.tsv")
    paths = []
    for split in SPLITS:
        own = [row for row in rows if row.split == split]
        if not own:
            continue
        paths.append(output / (f"{split}.jsonl.gz" if form == "lhotse" else f"{split}.tsv"))
        if form == "lhotse":
            write_cuts(paths[-1], own, folder)
        else:
            write_speech_table(paths[-1], own, folder, streamspeech=form == "streamspeech")
    return paths
