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

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echostream.errors import DataError
from echostream.training.corpus.clip import Clip, collapse_spaces

SAMPLE_RATE_ALS = 11_025
EDGE_BYTES = 32
MAGIC = b"DRASCULA"
RECORD_BYTES = (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)
LANGUAGES = ("en", "es", "de", "fr", "it", "ru")
TEXT_TABLES = (
    ("text", "textd", "textb", "textbj", "texte", "texti", "textl", "textp", "textt", "textvb")
    + ("textsys", "texthis", "textverbs", "textmisc", "textd1")
)  # fmt: skip
SPEECH_TABLES = {
    "": "text", "D": "textd", "B": "textb", "BJ": "textbj", "E": "texte", "I": "texti",
    "L": "textl", "P": "textp", "T": "textt", "VB": "textvb",
}  # fmt: skip
FOLDER = "usr/share/scummvm/drascula"
PACKAGE_OF_LANGUAGE = {"en": "drascula", "es": "drascula-spanish"}
SPEECH_FILE = re.compile(r"([A-Z]*)(\d+)\.ALS")


@dataclass(frozen=True)
class DrasculaReader:
    """Dialogue spoken in ``source`` ("en" or "es") with subtitles in ``target``."""

    source: str
    target: str

    @property
    def packages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((PACKAGE_OF_LANGUAGE[self.source], "drascula")))

    def wanted(self, package: str, member: str) -> bool:
        if member == f"{FOLDER}/en/drascula.dat":
            return True
        return member.startswith(f"{FOLDER}/{self.source}/") and member.endswith(".ALS")

    def clips(self, roots: Mapping[str, Path]) -> list[Clip]:
        texts = read_texts(roots["drascula"] / FOLDER / "en/drascula.dat")
        speech = roots[self.packages[0]] / FOLDER / self.source
        clips = []
        for path in sorted(speech.glob("*.ALS")):
            name = SPEECH_FILE.fullmatch(path.name)
            if name is None or name[1] not in SPEECH_TABLES:
                continue  # S and F: sounds and foreign lines without subtitles
            table, number = SPEECH_TABLES[name[1]], int(name[2])
            src_text = text_at(texts[table, self.source], number)
            tgt_text = text_at(texts[table, self.target], number)
            if not src_text or not tgt_text:
                continue
            seconds = max(0, path.stat().st_size - 2 * EDGE_BYTES) / SAMPLE_RATE_ALS
            speaker = f"drascula-{self.source}-{name[1].lower() or 'main'}"
            clips.append(Clip(path.stem, path, seconds, speaker, src_text, tgt_text))
        return clips

    def decode(self, clip: Clip) -> tuple[NDArray[np.float32], int]:
        raw = np.frombuffer(clip.path.read_bytes(), dtype=np.uint8)[EDGE_BYTES:-EDGE_BYTES]
        samples: NDArray[np.float32] = (raw.astype(np.float32) - 128.0) / np.float32(128.0)
        return samples, SAMPLE_RATE_ALS


def text_at(strings: list[str], number: int) -> str:
    """The string with this index, or the empty string: a few files have no entry."""
    return collapse_spaces(strings[number]) if number < len(strings) else ""


def read_texts(path: Path) -> dict[tuple[str, str], list[str]]:
    """The strings of every text table and language, keyed by (table, language).

    Raises `DataError` unless every length in the file adds up to the last byte.
    """
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise DataError(f"{path} begins with {data[:8]!r}, expected {MAGIC!r}: not drascula.dat")
    texts: dict[tuple[str, str], list[str]] = {}
    try:
        position = len(MAGIC) + 1
        for size in RECORD_BYTES:
            (count,) = struct.unpack_from(">H", data, position)
            position += 2 + count * size
        (languages,) = struct.unpack_from(">H", data, position)
        position += 2
        if languages > len(LANGUAGES):
            raise DataError(f"{path} has {languages} languages, expected at most {len(LANGUAGES)}")
        for table in TEXT_TABLES:
            (count,) = struct.unpack_from(">H", data, position)
            position += 2
            for language in LANGUAGES[:languages]:
                (size,) = struct.unpack_from(">H", data, position)
                block = data[position + 2 : position + 2 + size]
                texts[table, language] = read_strings(block, count)
                position += 2 + size
    except (struct.error, ValueError) as error:
        raise DataError(
            f"{path} is damaged near byte {position} of {len(data)}: {error}; "
            "delete the work folder and run the recipe again"
        ) from error
    if position != len(data):
        raise DataError(f"{path} ends at byte {len(data)}, its tables end at byte {position}")
    return texts


def read_strings(block: bytes, count: int) -> list[str]:
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
