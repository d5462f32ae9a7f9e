"""Drascula: acted game dialogue, raw speech files and one table of subtitles in six languages.

Layout: ``usr/share/scummvm/drascula/<lang>/<PREFIX><number>.ALS``, unsigned 8-bit samples at
11,025 Hz with 32 bytes to drop at each end; ``en/drascula.dat`` holds the texts, big-endian:

    "DRASCULA", 1 byte version
    13 tables:      u16 count, count records of 4 4 4 2 4 2 4 2 2 20 20 10 8 bytes in turn
    u16 languages   (en, es, de, fr, it, ru)
    15 text tables: u16 count, then per language: u16 size and that many bytes, namely
                    2 bytes of padding and count records of [u16 record length, string, NUL, pad]

A file's prefix names its text table and its number is the index in it.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces
from echostream.training.recipes.recipe import Corpus

SAMPLE_RATE_ALS = 11_025
EDGE_BYTES = 32
MAGIC = b"DRASCULA"
RECORD_BYTES = (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)
LANGUAGES = ("en", "es", "de", "fr", "it", "ru")
SPEECH_TABLES = ("", "D", "B", "BJ", "E", "I", "L", "P", "T", "VB")
"""Prefixes of the speech files, in the order of their text tables, which come first."""
NUM_TABLES = 15
FOLDER = "usr/share/scummvm/drascula"
SPEECH_FILE = re.compile(r"([A-Z]*)(\d+)\.ALS")


@dataclass(frozen=True)
class Drascula(Corpus):
    """Dialogue spoken in ``source`` ("en" or "es")."""

    name = "drascula"
    licence = "LicenseRef-Drascula"
    attribution = (
        "Drascula: The Vampire Strikes Back. Copyright 1996-2008 Alcachofa Soft S.L. "
        "This is a modified version of the game's data: speech and subtitles only. It may "
        "be distributed free of charge with this notice and the game's readme; no fee may "
        "be charged for the game itself. The data is provided AS IS, without warranty."
    )

    @property
    def packages(self) -> tuple[str, ...]:
        return ("drascula",) if self.source == "en" else ("drascula-spanish", "drascula")

    def wanted(self, package: str, member: str) -> bool:
        speech = member.startswith(f"{FOLDER}/{self.source}/") and member.endswith(".ALS")
        return speech or member == f"{FOLDER}/en/drascula.dat"

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        texts = read_texts(roots["drascula"] / FOLDER / "en/drascula.dat")
        speech = roots[self.packages[0]] / FOLDER / self.source
        clips = []
        for path in sorted(speech.glob("*.ALS")):
            name = SPEECH_FILE.fullmatch(path.name)
            if name is None or name[1] not in SPEECH_TABLES:
                continue  # S and F: sounds and foreign lines without subtitles
            # A few files have no entry.
            src_text, tgt_text = (
                collapse_spaces("".join(texts[name[1], language][int(name[2]) :][:1]))
                for language in (self.source, self.target)
            )
            if src_text and tgt_text:
                seconds = max(0, path.stat().st_size - 2 * EDGE_BYTES) / SAMPLE_RATE_ALS
                speaker = f"drascula-{self.source}-{name[1].lower() or 'main'}"
                clips.append(Clip(path.stem, path, seconds, speaker, src_text, tgt_text))
        return clips

    def decode(self, path: Path) -> tuple[NDArray[np.float32], int]:
        raw = np.frombuffer(path.read_bytes(), dtype=np.uint8)[EDGE_BYTES:-EDGE_BYTES]
        samples: NDArray[np.float32] = (raw.astype(np.float32) - 128.0) / np.float32(128.0)
        return samples, SAMPLE_RATE_ALS


def read_texts(path: Path) -> dict[tuple[str, str], list[str]]:
    """The strings of every text table with speech, keyed by (prefix of its files, language).

    Raises `DataError` unless every length in the file adds up to the last byte.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise DataError(f"{path} begins with {data[:8]!r}, expected {MAGIC!r}: not drascula.dat")
    texts: dict[tuple[str, str], list[str]] = {}
    position = len(MAGIC) + 1

    def number() -> int:
        nonlocal position
        position += 2
        return int(struct.unpack_from(">H", data, position - 2)[0])

    try:
        for size in RECORD_BYTES:
            count = number()
            position += count * size
        languages = LANGUAGES[: number()]
        for table in range(NUM_TABLES):
            count = number()
            for language in languages:
                size = number()
                strings = _strings(data[position : position + size], count)
                if table < len(SPEECH_TABLES):
                    texts[SPEECH_TABLES[table], language] = strings
                position += size
    except (struct.error, ValueError) as error:
        raise DataError(
            f"{path} is damaged near byte {position} of {len(data)}: {error}; "
            "delete the work folder and run the recipe again"
        ) from error
    if position != len(data):
        raise DataError(f"{path} ends at byte {len(data)}, its tables end at byte {position}")
    return texts


def _strings(block: bytes, count: int) -> list[str]:
    """``count`` strings (cp850) of one table in one language."""
    strings = []
    position = 2
    for _ in range(count):
        (length,) = struct.unpack_from(">H", block, position)
        record = block[position + 2 : position + length]
        strings.append(record[: record.index(b"\0")].decode("cp850"))
        position += length
    if position != len(block):
        raise ValueError(f"strings fill {position} bytes of a table of {len(block)}")
    return strings
