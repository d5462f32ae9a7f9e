"""Verses of two modules, which are written here as the SWORD project's tools write them."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from echostream.errors import DataError
from echostream.training.recipes.text_sources import TEXT_SOURCES
from echostream.training.recipes.verses import TESTAMENTS, verse_pairs

FOLDER = "usr/share/sword/modules/texts/ztext/"


def chapter(name: str) -> str:
    return f'<div sID="gen1" type="x-p"/><chapter n="1" osisID="{name}" sID="{name}"/>'


def write_module(folder: Path, books: Sequence[Sequence[str]]) -> Path:
    """A module whose Old Testament has these books, a block each; the New one has the last."""
    folder.mkdir(parents=True)
    for testament, own in zip(TESTAMENTS, (books, books[-1:]), strict=True):
        blocks, entries, packed = b"", struct.pack("<2IH", 0, 0, 0), b""
        for number, book in enumerate(own):
            text = "".join(book).encode()
            squeezed = zlib.compress(text)
            blocks += struct.pack("<3I", len(packed), len(squeezed), len(text))
            packed += squeezed
            begin = 0
            for entry in book:
                size = len(entry.encode())
                entries += struct.pack("<2IH", number, begin, size)
                begin += size
        for suffix, data in ((".bzs", blocks), (".bzv", entries), (".bzz", packed)):
            (folder / testament).with_suffix(suffix).write_bytes(data)
    return folder


def test_verses_are_paired_by_chapter_and_number(tmp_path: Path) -> None:
    write_module(
        tmp_path / FOLDER / "engWEB2015eb",
        [
            ["A book of its own", chapter("Tob.1"), "Of another canon."],
            [
                chapter("Gen.1"),
                '<w lemma="strong:H7225">In</w> the beginning'
                "<note>a <hi>note</hi></note>God<w> created</w> .",
                "",
                "The third.",
            ],
            [chapter("Matt.1"), "The <title>Birth</title>book."],
        ],
    )
    write_module(
        tmp_path / FOLDER / "spaRV1909eb",
        [
            [
                chapter("Gen.1"),
                "<w>EN el principio</w> crió Dios ÁRBOLES.",
                "El segundo.",
                "El tercero.",
            ],
            [chapter("Matt.1"), "LIBRO."],
        ],
    )
    bible = TEXT_SOURCES["bible"]
    # The New Testament has its last book again, as the Old one.
    assert list(bible.messages([tmp_path], "es")) == [
        ("In the beginning God created.", "En el principio crió Dios Árboles."),
        ("The third.", "El tercero."),
        ("The book.", "Libro."),
        ("The book.", "Libro."),
    ]
    assert list(bible.messages([tmp_path], "fr")) == []
    wanted = [f"{FOLDER}{name}/ot.bzz" for name in ("engWEB2015eb", "spaRV1909eb", "engKJV2006eb")]
    assert [bible.is_wanted(member, "es") for member in wanted] == [True, True, False]


@pytest.mark.parametrize("suffix", [".bzs", ".bzv", ".bzz"])
def test_damaged_modules_are_named(tmp_path: Path, suffix: str) -> None:
    module = write_module(tmp_path / "en", [[chapter("Gen.1"), "A verse."]])
    assert verse_pairs(module, module) == [("A verse.", "A verse.")] * 2
    path = (module / "ot").with_suffix(suffix)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="ot is not a compressed SWORD module"):
        verse_pairs(module, module)
