"""Runs a recipe: packages to clips to audio and manifests, one corpus after the other."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.text import without_marks
from echostream.training.recipes.apt import Package, describe, disk_errors
from echostream.training.recipes.clip import Clip, usable
from echostream.training.recipes.convert import convert
from echostream.training.recipes.corpus import (
    Corpus,
    check_counts,
    check_ids,
    clear,
    copy_notices,
    fetch,
)
from echostream.training.recipes.manifest import (
    ManifestRow,
    read_manifest,
    write_lists,
    write_manifest,
    write_text,
)
from echostream.training.recipes.progress import progress
from echostream.training.recipes.record import CorpusRecord, read_record, write_record
from echostream.training.recipes.split import SPLITS, Split, leak_check, split_of

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
            write_tables(recipe, output, rows)
            record[corpus.name] = replace(record[corpus.name], splits=splits)
            write_record(output, recipe.name, record)
        # Once more when nothing was made: the lists name the folder, which may have been moved.
        leak_check(rows)
        write_tables(recipe, output, rows)
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
    kept, dropped = usable(corpus.reader.clips(roots))
    for clip in dropped:
        logger.info(
            "%s/%s left out: %.2f s do not go with the text %r",
            corpus.name,
            clip.id,
            clip.seconds,
            clip.src_text,
        )
    check_ids(corpus, kept)
    sided = [(clip, split_of(recipe.english_of(clip))) for clip in kept]
    selected = [(clip, split) for clip, split in sided if split in splits]
    check_counts(corpus, packages, Counter(split for _, split in selected), splits)
    rows: list[ManifestRow] = []
    pool = ThreadPoolExecutor(max_workers=options.jobs)
    try:
        sizes = pool.map(
            lambda pair: convert(
                corpus.reader, pair[0], options.output / audio_of(corpus, pair[0])
            ),
            selected,
        )
        pairs = zip(selected, sizes, strict=True)
        title = f"convert {corpus.name}"
        for (clip, split), size in progress(pairs, len(selected), title, "clip"):
            rows.append(make_row(recipe, corpus, clip, split, size))
    finally:
        # After a fault or Ctrl-C the clips still waiting are not converted.
        pool.shutdown(cancel_futures=True)
    return rows


def audio_of(corpus: Corpus, clip: Clip) -> str:
    """Where the clip's audio is, relative to the output folder."""
    return f"audio/{corpus.name}/{clip.id}.flac"


def make_row(
    recipe: Recipe, corpus: Corpus, clip: Clip, split: Split, num_samples: int
) -> ManifestRow:
    """The manifest row of a converted clip of ``num_samples`` at 16 kHz."""
    return ManifestRow(
        id=clip.id,
        corpus=corpus.name,
        split=split,
        audio=audio_of(corpus, clip),
        num_samples=num_samples,
        seconds=round(num_samples / SAMPLE_RATE, 4),
        speaker=clip.speaker,
        src_lang=recipe.source,
        tgt_lang=recipe.target,
        src_text=clip.src_text,
        tgt_text=clip.tgt_text,
        licence=corpus.licence,
    )


def in_order(recipe: Recipe, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Rows in the recipe's order of corpora, then by id: the same whatever was made first."""
    order = {corpus.name: index for index, corpus in enumerate(recipe.corpora)}
    return sorted(rows, key=lambda row: (order.get(row.corpus, len(order)), row.corpus, row.id))


def write_tables(recipe: Recipe, output: Path, rows: Sequence[ManifestRow]) -> None:
    """manifest.tsv, one table per split, SimulEval's lists and LICENCES.txt."""
    rows = [spelled_alike(recipe, row) for row in rows]
    write_manifest(output / "manifest.tsv", rows)
    for split in SPLITS:
        write_manifest(output / f"{split}.tsv", [row for row in rows if row.split == split])
    write_lists(output / "lists", rows, output)
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
    write_text(output / "LICENCES.txt", "\n".join(paragraphs))


def spelled_alike(recipe: Recipe, row: ManifestRow) -> ManifestRow:
    """The row without accents in the languages of which the recipe's corpora differ in that."""
    source = without_marks(row.src_text) if row.src_lang in recipe.unmarked else row.src_text
    target = without_marks(row.tgt_text) if row.tgt_lang in recipe.unmarked else row.tgt_text
    return replace(row, src_text=source, tgt_text=target)


def notice_path(output: Path, corpus: str) -> Path:
    """Where a corpus that is not of the recipe leaves its paragraph of LICENCES.txt."""
    return output / "licences" / f"corpus.{corpus}.txt"
