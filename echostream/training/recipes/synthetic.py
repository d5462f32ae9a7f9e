"""Adds synthetic speech of parallel sentences to the folder of a recipe.

The recordings of people come first (`recipe.run`), because their texts decide which sentences may
be spoken on which side; the rows of both lie in one manifest and pass one leak check.

Speech that was made elsewhere is a folder with ``manifest.tsv`` (columns ``audio voice speed
seconds LANGUAGE en``) and ``audio/``. Nothing it says about sides is believed: the split follows
from the English text as everywhere, and rows that would leak are refused.
"""

import hashlib
import json
import logging
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.clip import collapse_spaces, file_id, plausible_rate, read_clip
from echostream.training.corpus.conversion import convert, disk_errors, progress
from echostream.training.corpus.manifest import ManifestRow, read_manifest
from echostream.training.corpus.split import SPLITS, split_of
from echostream.training.corpus.tab_separated import check_fields, read_table, unique_ids
from echostream.training.recipes.apt import remove_empty
from echostream.training.recipes.espeak import Espeak
from echostream.training.recipes.kokoro import VOICE_TABLES, Kokoro
from echostream.training.recipes.mbrola import Mbrola
from echostream.training.recipes.parallel_text import SentencePair, loose_key, without_crossings
from echostream.training.recipes.pico import Pico
from echostream.training.recipes.recipe import (
    CorpusRecord,
    Options,
    Recipe,
    begin,
    in_order,
    keep_record,
    notice_path,
    write_folder,
)
from echostream.training.recipes.synthesis import Engine, VoiceTable, plan, spoken_clip, synthesise
from echostream.training.recipes.text_sources import TEXT_SOURCES, fetch_texts
from echostream.whole_file import write_whole

logger = logging.getLogger(__name__)

PROGRAMS: Mapping[str, Callable[[str], Engine]] = {"espeak": Espeak, "mbrola": Mbrola, "pico": Pico}
ENGINES = (*PROGRAMS, "kokoro")
DEFAULT_TEXTS = ("wesnoth", "freedroidrpg")


def add_synthetic(recipe: Recipe, options: Options) -> list[ManifestRow]:
    """Makes and imports the speech; returns all rows of the output folder. Raises `DataError`."""
    output, source, target = options.output, recipe.source, recipe.target
    with disk_errors(output):
        manifest = output / "manifest.tsv"
        rows = read_manifest(manifest) if manifest.is_file() else []
        people = {corpus.name for corpus in recipe.corpora}
        if options.folder is not None:
            name = corpus_of_folder(options.folder, recipe)
            others = [row for row in rows if row.corpus != name]
            voices = VOICE_TABLES[source]
            made = import_folder(options.folder, name, voices, source, target, others, output)
            rows = _keep(recipe, output, others, made, {"folder": options.folder.name})
        if options.hours:
            pairs = fetch_texts(
                options.texts,
                source if source != "en" else target,
                [row for row in rows if row.corpus in people],
                output,
                options.work,
                keep_packages=options.keep_packages,
            )
        for name, hours in options.hours.items():
            engine = make_engine(name, source, options.work)
            others = [row for row in rows if row.corpus != engine.name]
            settings = {**engine.fingerprint(), "voices": repr(engine.voices)}
            begin(output, recipe, engine.name, checksums_of(settings))
            # Speech of other engines and folders may stand on a text as recordings do.
            free = without_crossings(pairs, others)
            takes = plan(engine.name, engine.voices, free, source, hours)
            made = synthesise(engine, takes, source, target, output, options.jobs)
            rows = _keep(recipe, output, others, made, settings)
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
    if name == "kokoro":
        return Kokoro(language, work / "kokoro")
    return PROGRAMS[name](language)


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
        made = next((row for row in group if row.corpus in synthetic), None)
        other = next((row for row in group if made is not None and row.split != made.split), None)
        if made is not None and other is not None:
            raise DataError(
                f"the text {key!r} is on two sides of the split: "
                f"{made.corpus}/{made.id} in {made.split}, {other.corpus}/{other.id} in "
                f"{other.split}; delete audio/{made.corpus} and make the speech again"
            )


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
    people = {corpus.name for corpus in recipe.corpora}
    synthetic_leak_check(rows, {row.corpus for row in rows} - people)
    for name in sorted({row.corpus for row in made}):
        write_whole(notice_path(output, name), _notice(name, made, settings))
        record = CorpusRecord(packages=checksums_of(settings), splits=SPLITS)
        keep_record(output, recipe, name, record)
    write_folder(recipe, output, rows)
    return rows


def _notice(name: str, rows: Sequence[ManifestRow], settings: Mapping[str, str]) -> str:
    texts = sorted({row.id.split("-")[0] for row in rows} & TEXT_SOURCES.keys())
    shown = {key: value for key, value in settings.items() if key != "voices"}
    return (
        f"{name}\nSynthetic speech; the licence is that of its texts: "
        f"{', '.join(sorted({row.licence for row in rows}))}\n"
        + "".join(f"{TEXT_SOURCES[text].attribution}\n" for text in texts)
        + f"Made with: {json.dumps(shown, sort_keys=True)}\n"
    )


def read_folder(folder: Path, language: str) -> list[tuple[Path, str, SentencePair]]:
    """Audio file, voice and texts of the rows of the folder's manifest. Raises `DataError`."""
    path = folder / "manifest.tsv"
    wanted = ("audio", "voice", language, "en")
    rows = []
    for number, cells in read_table(path, wanted):
        # How it was spoken, and how long it is, says the audio itself.
        check_fields(path, cells, (*wanted, "speed", "seconds"))
        audio = folder / "audio" / cells["audio"]
        if any(not cells[column] for column in wanted):
            raise DataError(f"{path}:{number} lacks a value; expected {sorted(wanted)}")
        if Path(cells["audio"]).name != cells["audio"] or not audio.is_file():
            raise DataError(f"{path}:{number}: there is no file {audio}")
        # Files are named after the source of their text, as in wesnoth-camp-12.
        source = TEXT_SOURCES.get(re.split(r"[-_]", audio.stem)[0])
        if source is None:
            raise DataError(
                f"the text of {audio.stem!r} is of none of the known sources "
                f"{', '.join(TEXT_SOURCES)}, so its licence is not known; expected file names that "
                "begin with the source"
            )
        english, other = collapse_spaces(cells["en"]), collapse_spaces(cells[language])
        name, split = file_id(audio.stem), split_of(english)
        pair = SentencePair(name, split, source.licence, english, other)
        rows.append((audio, cells["voice"], pair))
    unique_ids(path, [pair.id for _, _, pair in rows])
    return rows


def import_folder(
    folder: Path,
    corpus: str,
    voices: VoiceTable,
    source: str,
    target: str,
    others: Sequence[ManifestRow],
    output: Path,
) -> list[ManifestRow]:
    """The folder's audio as 16 kHz FLAC under ``audio/CORPUS``, and its rows.

    What leaks is left out with a warning: a row one of whose texts is on another side elsewhere,
    and one whose voice is of the other side. Held-out voices say test sentences only, and test
    sentences are said by them only. What is there already is kept. Raises `DataError`.
    """
    if source == "en":
        raise DataError(
            f"{folder} is taken to be speech of its other language than English; import it into "
            "a recipe that translates into English"
        )
    recorded = read_folder(folder, source)
    free = {pair.id for pair in without_crossings([pair for _, _, pair in recorded], others)}
    kept = [
        (path, voice, pair)
        for path, voice, pair in recorded
        if pair.id in free and voices.is_held_out(voice) == (pair.split == "test")
    ]
    taken = {pair.id for _, _, pair in kept}
    refused = [pair.id for _, _, pair in recorded if pair.id not in taken]
    if refused:
        logger.warning(
            "%s: %d of %d rows refused, the first is %s: its voice or one of its texts is on "
            "another side of the split",
            *(folder, len(refused), len(recorded), refused[0]),
        )
    rows = []
    for path, voice, pair in progress(kept, len(kept), f"import {corpus}", "sentence"):
        audio = f"audio/{corpus}/{pair.id}.flac"
        clip = spoken_clip(pair, path, corpus, pair.id, voice, source, target)
        size = convert(output / audio, partial(read_clip, clip), path)
        if plausible_rate(clip.src_text, size / SAMPLE_RATE):
            rows.append(clip.row(audio, size))
        else:
            logger.warning("%s left out: its length is not that of %r", clip.id, clip.src_text)
    return rows
