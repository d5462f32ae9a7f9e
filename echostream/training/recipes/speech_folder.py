"""Imports a folder of synthetic speech that was made elsewhere, after checking its split.

Layout: ``manifest.tsv`` with the columns ``audio voice speed seconds LANGUAGE en``, and the audio
in ``audio/``. Nothing the folder says about sides is believed: the split follows from the English
text as everywhere, and rows that would leak are refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.corpus.clip import (
    Clip,
    collapse_spaces,
    file_id,
    plausible_rate,
    read_clip,
)
from echostream.training.corpus.conversion import convert, progress
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import split_of
from echostream.training.corpus.tab_separated import check_fields, read_table, unique_ids
from echostream.training.recipes.parallel_text import SentencePair, without_crossings
from echostream.training.recipes.text_sources import TEXT_SOURCES
from echostream.training.recipes.voices import VoiceTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """A row of the folder: its audio file, its voice and its texts with their side."""

    path: Path
    voice: str
    pair: SentencePair


def read_folder(folder: Path, language: str) -> list[Recorded]:
    """The rows of the folder's manifest. Raises `DataError`."""
    path = folder / "manifest.tsv"
    wanted = ("audio", "voice", language, "en")
    table = read_table(path, wanted)
    if table:
        # How it was spoken, and how long it is, says the audio itself.
        check_fields(path, table[0][1], (*wanted, "speed", "seconds"))
    rows = []
    for number, cells in table:
        if any(not cells[column] for column in wanted):
            raise DataError(f"{path}:{number} lacks a value; expected {sorted(wanted)}")
        audio = folder / "audio" / cells["audio"]
        if Path(cells["audio"]).name != cells["audio"] or not audio.is_file():
            raise DataError(f"{path}:{number}: there is no file {audio}")
        english, other = collapse_spaces(cells["en"]), collapse_spaces(cells[language])
        pair = SentencePair(
            file_id(audio.stem), split_of(english), _licence_of(audio.stem), english, other
        )
        rows.append(Recorded(audio, cells["voice"], pair))
    unique_ids(path, [row.pair.id for row in rows])
    return rows


def _licence_of(stem: str) -> str:
    # Files are named after the source of their text, as in wesnoth-camp-12.
    source = TEXT_SOURCES.get(re.split(r"[-_]", stem)[0])
    if source is None:
        raise DataError(
            f"the text of {stem!r} is of none of the known sources {', '.join(TEXT_SOURCES)}, so "
            "its licence is not known; expected file names that begin with the source"
        )
    return source.licence


def refused(
    rows: Sequence[Recorded], voices: VoiceTable, others: Sequence[ManifestRow]
) -> dict[str, str]:
    """Ids of rows that would leak, with the reason.

    A voice belongs to a side as a text does: held-out voices say test sentences only, and test
    sentences are said by held-out voices only.
    """
    found: dict[str, str] = {}
    kept = {pair.id for pair in without_crossings([row.pair for row in rows], others)}
    for row in rows:
        held_out = voices.is_held_out(row.voice)
        if held_out != (row.pair.split == "test"):
            found[row.pair.id] = (
                f"its text is in {row.pair.split} and its voice {row.voice} is "
                f"{'' if held_out else 'not '}held out"
            )
        elif row.pair.id not in kept:
            found[row.pair.id] = "one of its texts is on another side of the split elsewhere"
    return found


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

    What leaks is left out with a warning; what is there already is kept. Raises `DataError`.
    """
    if source == "en":
        raise DataError(
            f"{folder} is taken to be speech of its other language than English; import it into "
            "a recipe that translates into English"
        )
    recorded = read_folder(folder, source)
    leaks = refused(recorded, voices, others)
    if leaks:
        name, reason = next(iter(leaks.items()))
        logger.warning(
            "%s: %d of %d rows refused, the first is %s: %s",
            folder, len(leaks), len(recorded), name, reason,
        )  # fmt: skip
    rows = []
    wanted = [row for row in recorded if row.pair.id not in leaks]
    for row in progress(wanted, len(wanted), f"import {corpus}", "sentence"):
        audio, text = f"audio/{corpus}/{row.pair.id}.flac", row.pair.text(source)
        clip = Clip(
            id=row.pair.id,
            path=row.path,
            seconds=None,
            speaker=f"{corpus}-{row.voice}",
            src_text=text,
            tgt_text=row.pair.text(target),
            corpus=corpus,
            split=row.pair.split,
            src_lang=source,
            tgt_lang=target,
            licence=row.pair.licence,
        )
        size = convert(output / audio, partial(read_clip, clip), row.path)
        if plausible_rate(text, size / SAMPLE_RATE):
            rows.append(clip.row(audio, size))
        else:
            logger.warning("%s left out: its length does not go with %r", row.pair.id, text)
    return rows
