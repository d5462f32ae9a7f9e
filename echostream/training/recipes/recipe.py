"""Runs a recipe: packages to clips to audio and manifests, one corpus after the other.

``recipe.json`` in the output folder tells in which languages the texts have no accents and, for
each corpus, the SHA-256 of the packages it was begun with and the splits that are finished.
"""

import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.text import without_marks
from echostream.training.corpus.clip import Clip, check_ids, plausible_rate
from echostream.training.corpus.conversion import convert, disk_errors, in_parallel
from echostream.training.corpus.manifest import ManifestRow, leak_check, read_manifest, write_tables
from echostream.training.corpus.split import SPLITS, Split, split_of
from echostream.training.recipes.apt import (
    Package,
    clear,
    copy_notices,
    describe,
    fetch,
    remove_empty,
)
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

RECORD = "recipe.json"


@dataclass(frozen=True)
class Corpus(ABC):
    """Recordings in ``source`` with text in ``target``: packages in one layout, and their reader.

    ``counts`` are the utterances in train, dev and test.
    """

    source: str
    target: str
    counts: tuple[int, int, int]
    name: ClassVar[str]
    licence: ClassVar[str]

    @property
    @abstractmethod
    def attribution(self) -> str:
        """Whose the recordings are, for LICENCES.txt."""

    @property
    @abstractmethod
    def packages(self) -> tuple[str, ...]:
        """Debian packages that hold the corpus."""

    @abstractmethod
    def wanted(self, package: str, member: str) -> bool:
        """Whether the member of the package (path without a leading ``./``) is read."""

    @abstractmethod
    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        """All recordings with text on both sides, sorted; ``roots`` are unpacked packages."""

    @abstractmethod
    def decode(self, path: Path) -> tuple[NDArray[np.float32], int]:
        """Samples [n] of a recording in [-1, 1] and their sample rate in Hz."""


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

    @property
    def unmarked_languages(self) -> list[str]:
        """Those of ``unmarked`` that the recipe is of."""
        return sorted(self.unmarked & {self.source, self.target})


@dataclass(frozen=True)
class Options:
    """What one run makes, and where.

    ``hours`` of synthetic training speech by engine, of the sentences of ``texts``; dev and test
    come on top, in proportion. ``folder`` holds speech that was made elsewhere.
    """

    output: Path
    work: Path
    corpora: tuple[str, ...]
    splits: tuple[Split, ...] = SPLITS
    jobs: int = 1
    keep_packages: bool = False
    hours: Mapping[str, float] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class CorpusRecord:
    """SHA-256 of each package that the corpus was begun with, and the splits that are finished."""

    packages: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


def read_record(output: Path, recipe: Recipe) -> dict[str, CorpusRecord]:
    """What the folder holds already, by corpus; nothing where there is no record.

    Raises `DataError` when it is damaged, of another recipe, or of texts that are spelled
    otherwise: accents that were taken away are not in the tables any more.
    """
    path = output / RECORD
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, unmarked = content["recipe"], content.get("unmarked")
        corpora = {
            corpus: CorpusRecord(dict(entry["packages"]), tuple(entry["splits"]))
            for corpus, entry in content["corpora"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error!r}); delete {output} and run the recipe again"
        ) from error
    if name != recipe.name:
        raise DataError(
            f"{output} holds the recipe {name!r}, expected {recipe.name!r}; "
            "name another folder with --output"
        )
    # Earlier versions did not write it.
    if unmarked not in (None, recipe.unmarked_languages):
        raise DataError(
            f"{output} was made {'without' if unmarked else 'with'} --keep-marks, which goes for "
            "the whole folder; run it as then, or name another folder with --output"
        )
    return corpora


def keep_record(output: Path, recipe: Recipe, corpus: str, entry: CorpusRecord) -> None:
    """Writes the entry of a corpus for `read_record`."""
    entries = {**read_record(output, recipe), corpus: entry}
    corpora = {name: asdict(record) for name, record in entries.items()}
    content = {"recipe": recipe.name, "unmarked": recipe.unmarked_languages, "corpora": corpora}
    write_whole(output / RECORD, json.dumps(content, indent=2, sort_keys=True) + "\n")


def begin(output: Path, recipe: Recipe, corpus: str, sums: Mapping[str, str]) -> CorpusRecord:
    """The record of a corpus that is made of what has these sums.

    Audio that was made of something else is removed: it would be taken for this version's.
    """
    earlier = read_record(output, recipe).get(corpus, CorpusRecord())
    if earlier.packages != sums:
        shutil.rmtree(output / "audio" / corpus, ignore_errors=True)
        earlier = CorpusRecord(packages=sums)
        keep_record(output, recipe, corpus, earlier)
    return earlier


def run(recipe: Recipe, options: Options) -> list[ManifestRow]:
    """Makes the audio and manifests; what an earlier run finished is kept.

    Returns all rows of the output folder, those of earlier runs too. Raises `DataError`.
    """
    chosen = choose(recipe, options.corpora)
    output = options.output
    with disk_errors(output):
        record = read_record(output, recipe)
        manifest = output / "manifest.tsv"
        rows = read_manifest(manifest) if record and manifest.is_file() else []
        for corpus in chosen:
            done = record.get(corpus.name, CorpusRecord()).splits
            splits = tuple(split for split in SPLITS if split in (*options.splits, *done))
            own = [row for row in rows if row.corpus == corpus.name]
            finished = bool(own) and set(splits) <= set(done)
            if finished and all((output / row.audio).is_file() for row in own):
                logger.info("%s: already there", corpus.name)
                continue
            packages = [describe(name) for name in corpus.packages]
            entry = begin(output, recipe, corpus.name, {p.name: p.sha256 for p in packages})
            made = make_corpus(recipe, corpus, packages, splits, options)
            rows = in_order(recipe, [row for row in rows if row.corpus != corpus.name] + made)
            write_folder(recipe, output, rows)
            keep_record(output, recipe, corpus.name, replace(entry, splits=splits))
        # Once more when nothing was made: the lists name the folder, which may have been moved.
        write_folder(recipe, output, rows)
        if not options.keep_packages:
            for corpus in chosen:
                clear(corpus.packages, options.work, _unpacked(options.work, recipe, corpus))
            remove_empty(options.work)
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


def _unpacked(work: Path, recipe: Recipe, corpus: Corpus) -> Path:
    # Kept apart by recipe and corpus, each of which wants other members of a package.
    return work / "unpacked" / f"{recipe.name}.{corpus.name}"


def make_corpus(
    recipe: Recipe,
    corpus: Corpus,
    packages: Sequence[Package],
    splits: Sequence[Split],
    options: Options,
) -> list[ManifestRow]:
    """Fetches, checks and converts the chosen splits of one corpus."""
    output, name = options.output, corpus.name
    unpacked = _unpacked(options.work, recipe, corpus)
    roots = fetch(packages, options.work, unpacked, corpus.wanted, name)
    copy_notices(roots, output / "licences")
    clips = []
    for clip in corpus.clips(roots):
        seconds = clip.seconds or 0.0
        if not plausible_rate(clip.src_text, seconds):
            logger.info(
                "%s/%s left out: %.2f s do not go with the text %r",
                *(name, clip.id, seconds, clip.src_text),
            )
            continue
        split = split_of(clip.src_text if recipe.source == "en" else clip.tgt_text)
        clip = replace(clip, corpus=name, split=split, licence=corpus.licence)
        clips.append(replace(clip, src_lang=recipe.source, tgt_lang=recipe.target))
    # A clip's file does not tell its part.
    check_ids(name, [replace(clip, split="") for clip in clips])
    selected = [clip for clip in clips if clip.split in splits]
    found = Counter(clip.split for clip in selected)
    for split, expected in zip(SPLITS, corpus.counts, strict=True):
        if split in splits and found[split] != expected:
            text = f"{name}: {split} has {found[split]} utterances, expected {expected}"
            if not found[split]:
                raise DataError(text + "; delete the work folder and run the recipe again")
            logger.warning("%s: the packages are of other versions, or damaged", text)

    def audio(clip: Clip) -> str:
        return f"audio/{name}/{clip.id}.flac"

    def store(clip: Clip) -> int:
        return convert(output / audio(clip), lambda: corpus.decode(clip.path), clip.path)

    done = in_parallel(store, selected, options.jobs, f"convert {name}", "clip")
    return [clip.row(audio(clip), size) for clip, size in done]


def in_order(recipe: Recipe, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Rows in the recipe's order of corpora, then by id: the same whatever was made first."""
    order = [corpus.name for corpus in recipe.corpora]
    order += sorted({row.corpus for row in rows} - set(order))
    return sorted(rows, key=lambda row: (order.index(row.corpus), row.id))


def write_folder(recipe: Recipe, output: Path, rows: Sequence[ManifestRow]) -> None:
    """The tables and lists, and LICENCES.txt. Raises `DataError` where the rows leak."""
    leak_check(rows)
    write_tables(output, [spelled_alike(recipe, row) for row in rows])
    present = {row.corpus for row in rows}
    paragraphs = [
        f"{corpus.name}\nLicence: {corpus.licence}\n{corpus.attribution}\n"
        f"Debian packages: {', '.join(corpus.packages)} (their notices: licences/)\n"
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
