"""Verses of two Bibles that say the same, in the SWORD project's compressed modules.

A module has two testaments, ``ot`` and ``nt``, each in three files of little-endian records:

    .bzs   blocks: u32 offset and size in .bzz, u32 size when unpacked
    .bzv   entries: u32 block, u32 offset in the unpacked block, u16 size
    .bzz   the blocks, each compressed by zlib

An entry is a verse, or what stands before a book or a chapter, in OSIS markup. The entry before the
first verse of a chapter names it, so verses are paired by chapter and number, whatever books and in
what order a Bible has.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from echostream.errors import DataError
from echostream.training.corpus.clip import collapse_spaces

TESTAMENTS = ("ot", "nt")

Verse = tuple[str, int]
"""A chapter as ``Gen.1``, and a number."""

_CHAPTER = re.compile(r'<chapter\b[^>]*\bosisID="([^"]+)"')
_ASIDE = re.compile(r"<(note|title)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_SPACE_BEFORE = re.compile(r"\s+(?=[,.;:!?)”’])")
_CAPITALS = re.compile(r"\b[^\W\d_a-zß-öø-ÿ]{2,}\b")


def verse_pairs(english: Path, other: Path) -> list[tuple[str, str]]:
    """English verses and those of another Bible, without markup, in the order of the other.

    Raises:
        DataError: if a folder is not such a module.
    """
    texts = dict(read_module(english))
    return [(texts[verse], text) for verse, text in read_module(other) if texts.get(verse)]


def read_module(folder: Path) -> Iterator[tuple[Verse, str]]:
    """The verses of a module that have a text.

    Raises:
        DataError: if the folder is not such a module.
    """
    for testament in TESTAMENTS:
        chapter, number = "", 0
        try:
            for entry in _entries(folder / testament):
                if found := _CHAPTER.search(entry):
                    chapter, number = found[1], 0
                    continue
                number += 1
                if chapter and (text := _plain(entry)):
                    yield (chapter, number), text
        except (OSError, struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
            raise DataError(
                f"{folder / testament} is not a compressed SWORD module in UTF-8 ({error!r}); "
                "delete the work folder and run the recipe again"
            ) from error


def _entries(testament: Path) -> Iterator[str]:
    blocks, entries, packed = (
        testament.with_suffix(suffix).read_bytes() for suffix in (".bzs", ".bzv", ".bzz")
    )
    places = list(struct.iter_unpack("<3I", blocks))

    @cache
    def block(number: int) -> bytes:
        begin, size, _ = places[number]
        return zlib.decompress(packed[begin : begin + size])

    for number, begin, size in struct.iter_unpack("<2IH", entries):
        yield block(number)[begin : begin + size].decode("utf-8") if size else ""


def _plain(entry: str) -> str:
    """A verse without notes and tags; the capitals that begin a chapter become usual ones."""
    text = _TAG.sub("", _ASIDE.sub(" ", entry))
    text = _CAPITALS.sub(lambda found: found[0].capitalize(), text)
    return _SPACE_BEFORE.sub("", collapse_spaces(text))
