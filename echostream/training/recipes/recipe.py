"""Runs a recipe: packages to clips to audio and manifests, one corpus after the other."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.errors import DataError
from echostream.text import without_marks
from echostream.training.corpus.clip import Clip, check_ids, plausible_rate
from echostream.training.corpus.conversion import convert, in_parallel
from echostream.training.corpus.disk import disk_errors
from echostream.training.corpus.folder_record import CorpusRecord, read_record, write_record
from echostream.training.corpus.manifest import (
    ManifestRow,
    leak_check,
    read_manifest,
    write_tables,
)
from echostream.training.corpus.split import SPLITS, Split, split_of
from echostream.training.recipes.apt import Package, describe
from echostream.training.recipes.packages import (
    Corpus,
    check_counts,
    clear,
    copy_notices,
    fetch,
)
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Speech in ``source`` with text in ``target`` (two-letter language codes)."""

    name: str
    source: str
    target: str
    corpora: tuple[Corpus, ...]
    unmarked: frozenset[str] = frozenset()
    """Languages whose texts lose accents and tildes in the tables, since some corpora have none: a
    model cannot hear which spelling a corpus has."""

    def english_of(self, clip: Clip) -> str:
        """The side of a clip that decides its split."""
        return clip.src_text if self.source == "en" else clip.tgt_text


@dataclass(frozen=True)
class Options:
    """What one run makes, and where."""

    output: Path
    work: Path
    corpora: tuple[str, ...]
    splits: tuple[Split, ...] = SPLITS
    jobs: int = 1
    keep_packages: bool = False


def run(recipe: Recipe, options: Options) -> list[ManifestRow]:
    """Makes the audio and manifests; what an earlier run finished is kept.

    Returns all rows of the output folder, those of earlier runs too. Raises `DataError`.
    """
    chosen = choose(recipe, options.corpora)
    output = options.output
    with disk_errors(output):
        record = read_record(output, recipe.name)
        manifest = output / "manifest.tsv"
        rows = read_manifest(manifest) if record and manifest.is_file() else []
        for corpus in chosen:
            earlier = record.get(corpus.name, CorpusRecord())
            asked = (*options.splits, *earlier.splits)
            splits = tuple(split for split in SPLITS if split in asked)
            own = [row for row in rows if row.corpus == corpus.name]
            finished = bool(own) and set(splits) <= set(earlier.splits)
            if finished and all((output / row.audio).is_file() for row in own):
                logger.info("%s: already there", corpus.name)
                continue
            packages = [describe(name) for name in corpus.reader.packages]
            record[corpus.name] = begin(corpus, packages, earlier, output)
            write_record(output, recipe.name, record)
            made = make_corpus(recipe, corpus, packages, splits, options)
            rows = in_order(recipe, [row for row in rows if row.corpus != corpus.name] + made)
            leak_check(rows)
            write_folder(recipe, output, rows)
            record[corpus.name] = replace(record[corpus.name], splits=splits)
            write_record(output, recipe.name, record)
        # Once more when nothing was made: the lists name the folder, which may have been moved.
        leak_check(rows)
        write_folder(recipe, output, rows)
        if not options.keep_packages:
            clear(chosen, options.work, recipe.name)
    return rows


def choose(recipe: Recipe, names: Sequence[str]) -> list[Corpus]:
    """The corpora with these names, in the recipe's order. Raises `DataError`."""
    known = [corpus.name for corpus in recipe.corpora]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise DataError(
            f"{recipe.name} has no corpus {', '.join(unknown) or '(none named)'}; "
            f"expected some of: {', '.join(known)}"
        )
    return [corpus for corpus in recipe.corpora if corpus.name in names]


def begin(
    corpus: Corpus, packages: Sequence[Package], earlier: CorpusRecord, output: Path
) -> CorpusRecord:
    """The record of a corpus at its start. Audio of other packages is removed: it would be taken
    for this version's."""
    checksums = {package.name: package.sha256 for package in packages}
    if earlier.packages == checksums:
        return earlier
    shutil.rmtree(output / "audio" / corpus.name, ignore_errors=True)
    return CorpusRecord(packages=checksums)


def make_corpus(
    recipe: Recipe,
    corpus: Corpus,
    packages: Sequence[Package],
    splits: Sequence[Split],
    options: Options,
) -> list[ManifestRow]:
    """Fetches, checks and converts the chosen splits of one corpus."""
    roots = fetch(corpus, packages, options.work, recipe.name)
    copy_notices(roots, options.output / "licences")
    clips = []
    for clip in corpus.reader.clips(roots):
        seconds = clip.seconds or 0.0
        if not clip.tgt_text or not plausible_rate(clip.src_text, seconds):
            logger.info(
                "%s/%s left out: %.2f s do not go with the text %r",
                *(corpus.name, clip.id, seconds, clip.src_text),
            )
            continue
        clips.append(
            replace(
                clip,
                corpus=corpus.name,
                split=split_of(recipe.english_of(clip)),
                src_lang=recipe.source,
                tgt_lang=recipe.target,
                licence=corpus.licence,
            )
        )
    # A clip's file does not tell its part.
    check_ids(corpus.name, [replace(clip, split="") for clip in clips])
    selected = [clip for clip in clips if clip.split in splits]
    check_counts(
        corpus, packages, Counter(split_of(recipe.english_of(clip)) for clip in selected), splits
    )

    def store(clip: Clip) -> int:
        return convert(output / _audio(clip), lambda: corpus.reader.decode(clip), clip.path)

    output = options.output
    done = in_parallel(store, selected, options.jobs, f"convert {corpus.name}", "clip")
    return [clip.row(_audio(clip), size) for clip, size in done]


def _audio(clip: Clip) -> str:
    return f"audio/{clip.corpus}/{clip.id}.flac"


def in_order(recipe: Recipe, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Rows in the recipe's order of corpora, then by id: the same whatever was made first."""
    order = {corpus.name: index for index, corpus in enumerate(recipe.corpora)}
    return sorted(rows, key=lambda row: (order.get(row.corpus, len(order)), row.corpus, row.id))


def write_folder(recipe: Recipe, output: Path, rows: Sequence[ManifestRow]) -> None:
    """The tables and lists, and LICENCES.txt."""
    rows = [spelled_alike(recipe, row) for row in rows]
    write_tables(output, rows)
    present = {row.corpus for row in rows}
    paragraphs = [
        f"{corpus.name}\nLicence: {corpus.licence}\n{corpus.attribution}\n"
        f"Debian packages: {', '.join(corpus.reader.packages)} (their notices: licences/)\n"
        "Changed: decoded, resampled to 16 kHz, stored as FLAC; texts without markup.\n"
        for corpus in recipe.corpora
        if corpus.name in present
    ]
    synthetic = sorted(present - {corpus.name for corpus in recipe.corpora})
    notices = [notice_path(output, name) for name in synthetic]
    paragraphs += [path.read_text(encoding="utf-8") for path in notices if path.is_file()]
    write_whole(output / "LICENCES.txt", "\n".join(paragraphs))


def spelled_alike(recipe: Recipe, row: ManifestRow) -> ManifestRow:
    """The row without accents in the languages of which the recipe's corpora differ in that."""
    source = without_marks(row.src_text) if row.src_lang in recipe.unmarked else row.src_text
    target = without_marks(row.tgt_text) if row.tgt_lang in recipe.unmarked else row.tgt_text
    return replace(row, src_text=source, tgt_text=target)


def notice_path(output: Path, corpus: str) -> Path:
    """Where a corpus that is not of the recipe leaves its paragraph of LICENCES.txt."""
    return output / "licences" / f"corpus.{corpus}.txt"
