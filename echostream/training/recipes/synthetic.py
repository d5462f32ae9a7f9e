"""Adds synthetic speech of parallel sentences to the folder of a recipe.

The recordings of people come first (`recipe.run`), because their texts decide which sentences may
be spoken on which side; the rows of both lie in one manifest and pass one leak check.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.clip import file_id
from echostream.training.corpus.disk import disk_errors
from echostream.training.corpus.folder_record import CorpusRecord, read_record, write_record
from echostream.training.corpus.manifest import ManifestRow, leak_check, read_manifest
from echostream.training.corpus.split import SPLITS
from echostream.training.recipes.espeak import Espeak
from echostream.training.recipes.kokoro import VOICE_TABLES, Kokoro
from echostream.training.recipes.packages import remove_empty
from echostream.training.recipes.parallel_text import (
    SentencePair,
    loose_key,
    without_crossings,
)
from echostream.training.recipes.recipe import Recipe, in_order, notice_path, write_folder
from echostream.training.recipes.speech_folder import import_folder
from echostream.training.recipes.synthesis import Engine, plan, synthesise
from echostream.training.recipes.text_sources import TEXT_SOURCES, choose_sources, fetch_texts
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

ENGINES = ("espeak", "kokoro")
DEFAULT_TEXTS = ("wesnoth", "freedroidrpg")


@dataclass(frozen=True)
class SyntheticOptions:
    """What synthetic speech one run adds, and where.

    ``hours`` of training speech by engine; dev and test sentences come on top, in proportion.
    """

    output: Path
    work: Path
    hours: Mapping[str, float] = field(default_factory=dict)
    texts: tuple[str, ...] = DEFAULT_TEXTS
    folder: Path | None = None
    jobs: int = 1
    keep_packages: bool = False


def add_synthetic(recipe: Recipe, options: SyntheticOptions) -> list[ManifestRow]:
    """Makes and imports the speech; returns all rows of the output folder. Raises `DataError`."""
    unknown = sorted(set(options.hours) - set(ENGINES))
    if unknown:
        raise DataError(
            f"there is no speech engine {', '.join(unknown)}; expected {' or '.join(ENGINES)}"
        )
    output = options.output
    with disk_errors(output):
        manifest = output / "manifest.tsv"
        rows = read_manifest(manifest) if manifest.is_file() else []
        people = {corpus.name for corpus in recipe.corpora}
        if options.folder is not None:
            corpus = corpus_of_folder(options.folder, recipe)
            others = [row for row in rows if row.corpus != corpus]
            made = import_folder(
                options.folder, corpus, VOICE_TABLES[recipe.source],
                recipe.source, recipe.target, others, output,
            )  # fmt: skip
            rows = _keep(recipe, output, others, made, {"folder": options.folder.name})
        if options.hours:
            human = [row for row in rows if row.corpus in people]
            language = recipe.source if recipe.source != "en" else recipe.target
            pairs = fetch_texts(
                choose_sources(options.texts), language, human, output, options.work,
                keep_packages=options.keep_packages,
            )  # fmt: skip
            for name, hours in options.hours.items():
                engine = make_engine(name, recipe.source, options.work)
                others = [row for row in rows if row.corpus != engine.name]
                # Speech of other engines and folders may stand on a text as recordings do.
                free = without_crossings(pairs, others)
                rows = _speak(recipe, engine, free, hours, others, options)
        if not options.keep_packages:
            shutil.rmtree(options.work / "kokoro", ignore_errors=True)
            remove_empty(options.work)
    return rows


def corpus_of_folder(folder: Path, recipe: Recipe) -> str:
    """The corpus an imported folder becomes: its name. Raises `DataError` when that is taken."""
    name = file_id(folder.resolve().name)
    if name in {*ENGINES, *(corpus.name for corpus in recipe.corpora)} or not name:
        raise DataError(
            f"the folder {folder} would become a corpus named {name!r}, which is another corpus "
            "of the recipe; rename the folder"
        )
    return name


def make_engine(name: str, language: str, work: Path) -> Engine:
    """The engine of this name, ready to speak. Raises `DataError`."""
    return Espeak(language) if name == "espeak" else Kokoro(language, work / "kokoro")


def synthetic_leak_check(rows: Sequence[ManifestRow], synthetic: set[str]) -> None:
    """Raises `DataError` when a text of synthetic speech is on two sides, in either language.

    Stricter than `leak_check`: it looks at the spoken text too, and sees through accents and
    apostrophes. Recordings of people alone may share a spoken text across sides.
    """
    groups: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        for text in (row.src_text, row.tgt_text):
            groups[loose_key(text)].append(row)
    for key, group in groups.items():
        made = [row for row in group if row.corpus in synthetic]
        for row in made[:1]:
            other = next((each for each in group if each.split != row.split), None)
            if other is not None:
                raise DataError(
                    f"the text {key!r} is on two sides of the split: "
                    f"{row.corpus}/{row.id} in {row.split}, {other.corpus}/{other.id} in "
                    f"{other.split}; delete audio/{row.corpus} and make the speech again"
                )


def _speak(
    recipe: Recipe,
    engine: Engine,
    pairs: Sequence[SentencePair],
    hours: float,
    others: list[ManifestRow],
    options: SyntheticOptions,
) -> list[ManifestRow]:
    output = options.output
    settings = {**engine.fingerprint(), "voices": repr(engine.voices)}
    begin_engine(recipe, engine.name, settings, output)
    takes = plan(engine.name, engine.voices, pairs, recipe.source, hours)
    made = synthesise(engine, takes, recipe.source, recipe.target, output, options.jobs)
    return _keep(recipe, output, others, made, settings)


def begin_engine(recipe: Recipe, name: str, settings: Mapping[str, str], output: Path) -> None:
    """Removes audio that another version of the engine or other voices made."""
    record = read_record(output, recipe.name)
    checksums = checksums_of(settings)
    if record.get(name, CorpusRecord()).packages != checksums:
        shutil.rmtree(output / "audio" / name, ignore_errors=True)
        record[name] = CorpusRecord(packages=checksums)
        write_record(output, recipe.name, record)


def checksums_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings in the form of a record's packages: a name and a SHA-256 each."""
    return {key: hashlib.sha256(value.encode()).hexdigest() for key, value in settings.items()}


def _keep(
    recipe: Recipe,
    output: Path,
    others: list[ManifestRow],
    made: list[ManifestRow],
    settings: Mapping[str, str],
) -> list[ManifestRow]:
    """Checks and writes the tables with the rows made."""
    rows = in_order(recipe, others + made)
    leak_check(rows)
    people = {corpus.name for corpus in recipe.corpora}
    synthetic_leak_check(rows, {row.corpus for row in rows} - people)
    for name in sorted({row.corpus for row in made}):
        write_whole(notice_path(output, name), _notice(name, made, settings))
        record = read_record(output, recipe.name)
        record[name] = CorpusRecord(packages=checksums_of(settings), splits=SPLITS)
        write_record(output, recipe.name, record)
    write_folder(recipe, output, rows)
    return rows


def _notice(name: str, rows: Sequence[ManifestRow], settings: Mapping[str, str]) -> str:
    texts = sorted({row.id.split("-")[0] for row in rows})
    sources = [TEXT_SOURCES[text] for text in texts if text in TEXT_SOURCES]
    shown = {key: value for key, value in settings.items() if key != "voices"}
    return (
        f"{name}\nSynthetic speech; the licence is that of its texts: "
        f"{', '.join(sorted({row.licence for row in rows}))}\n"
        + "".join(f"{source.attribution}\n" for source in sources)
        + f"Made with: {json.dumps(shown, sort_keys=True)}\n"
    )
