"""Imports a folder of synthetic speech that was made elsewhere, after checking its split.

Layout: ``manifest.tsv`` with the columns ``audio voice speed seconds LANGUAGE en``, and the audio
in ``audio/``. Nothing the folder says about sides is believed: the split follows from the English
text as everywhere, and rows that would leak are refused.
"""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from echostream.constants import SAMPLE_RATE
from echostream.errors import DataError
from echostream.training.recipes.clip import collapse_spaces, file_id, plausible_rate
from echostream.training.recipes.convert import flac_samples, to_sample_rate, write_flac
from echostream.training.recipes.manifest import ManifestRow
from echostream.training.recipes.parallel_text import SentencePair, without_crossings
from echostream.training.recipes.progress import progress
from echostream.training.recipes.split import split_of
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
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read {path}: {error}; name a folder with manifest.tsv and audio/"
        ) from error
    wanted = {"audio", "voice", language, "en"}
    if not table or not wanted <= table[0].keys():
        raise DataError(
            f"{path} has the columns {list(table[0]) if table else []}, expected at least "
            f"{sorted(wanted)}"
        )
    rows = []
    for number, cells in enumerate(table, start=2):
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
    repeated = [name for name, count in Counter(r.pair.id for r in rows).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: {repeated[0]!r} stands for several recordings")
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
        audio = f"audio/{corpus}/{row.pair.id}.flac"
        size = _store(row.path, output / audio)
        text = row.pair.text(source)
        if not plausible_rate(text, size / SAMPLE_RATE):
            logger.warning("%s left out: its length does not go with %r", row.pair.id, text)
            continue
        rows.append(
            ManifestRow(
                id=row.pair.id,
                corpus=corpus,
                split=row.pair.split,
                audio=audio,
                num_samples=size,
                seconds=round(size / SAMPLE_RATE, 4),
                speaker=f"{corpus}-{row.voice}",
                src_lang=source,
                tgt_lang=target,
                src_text=text,
                tgt_text=row.pair.text(target),
                licence=row.pair.licence,
            )
        )
    return rows


def _store(path: Path, target: Path) -> int:
    done = flac_samples(target)
    if done is not None:
        return done
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.SoundFileError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if samples.ndim != 1 or samples.size == 0:
        raise DataError(f"{path} has samples of shape {samples.shape}, expected one channel")
    return write_flac(target, to_sample_rate(samples, int(rate)))
