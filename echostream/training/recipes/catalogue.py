"""GNU gettext message catalogues (.mo): texts of a program with their translations.

Layout (gettext manual, section 10.3), little- or big-endian as the magic number tells:

    u32 magic 0x950412de, u32 revision, u32 count, u32 offset of the originals' table,
    u32 offset of the translations' table; each table is count times [u32 length, u32 offset].

An original may begin with a context that ends with the byte 4, and holds singular and plural
separated by NUL. The empty original's translation is the catalogue's header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from echostream.errors import DataError

MAGIC = 0x950412DE
CONTEXT_END = "\x04"


@dataclass(frozen=True)
class Message:
    """An original without its context and the translation that was made of it."""

    original: str
    translation: str


def read_catalogue(path: Path) -> list[Message]:
    """The translated messages without plural forms, in the file's order. Raises `DataError`."""
    data = path.read_bytes()
    try:
        order = next(sign for sign in "<>" if struct.unpack_from(f"{sign}I", data)[0] == MAGIC)
        _, count, originals, translations = struct.unpack_from(f"{order}4I", data, 4)
        messages = []
        for index in range(count):
            original = _string(data, order, originals + 8 * index)
            translation = _string(data, order, translations + 8 * index)
            original = original.rpartition(CONTEXT_END)[2]
            if original and translation and "\0" not in original:
                messages.append(Message(original, translation))
    except (StopIteration, struct.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a gettext catalogue in UTF-8 ({error!r}); "
            "delete the work folder and run the recipe again"
        ) from error
    return messages


def _string(data: bytes, order: str, entry: int) -> str:
    length, start = struct.unpack_from(f"{order}2I", data, entry)
    if start + length > len(data):
        raise struct.error(f"a string ends at byte {start + length} of {len(data)}")
    return data[start : start + length].decode("utf-8")
