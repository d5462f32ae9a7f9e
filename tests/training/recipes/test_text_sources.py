"""Texts fetched from made-up packages; message catalogues against the standard library's reader."""

import gettext
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.recipes import text_sources
from echostream.training.recipes.parallel_text import SentencePair, read_texts
from echostream.training.recipes.text_sources import (
    TEXT_SOURCES,
    fetch_texts,
    read_catalogue,
)

from .conftest import needs_dpkg
from .packages import Archive, mo, text_packages

MESSAGES = {
    "The door is open.": "La puerta está abierta.",
    "Please close the door.": "Por favor, cierra la puerta.",
    "%d coins": "%d monedas",
    "Please, close the door!": "Cierra la puerta.",
}


@pytest.fixture
def source(archive: Archive) -> Archive:
    for name, content in text_packages(MESSAGES).items():
        archive.add(name, content)
    return archive


def fetch(tmp_path: Path, language: str = "es", **options: bool) -> list[SentencePair]:
    folders = tmp_path / "out", tmp_path / "work"
    return fetch_texts(["freedroidrpg"], language, [], *folders, **options)


@needs_dpkg
def test_texts_of_a_package_are_fetched_once(source: Archive, tmp_path: Path) -> None:
    pairs = fetch(tmp_path)
    assert {(pair.english, pair.other) for pair in pairs} == {
        ("The door is open.", "La puerta está abierta."),
        ("Please close the door.", "Por favor, cierra la puerta."),
    }
    assert all(pair.id.startswith("freedroidrpg-") for pair in pairs)
    assert {pair.licence for pair in pairs} == {"GPL-2.0-or-later"}
    assert read_texts(tmp_path / "out/texts.tsv") == pairs
    assert (tmp_path / "out/licences/freedroidrpg-data.copyright").read_text() == "GPL-2+\n"
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    source.fail("E: no network")
    assert fetch(tmp_path) == pairs
    assert source.downloads == ["freedroidrpg-data=1.0-1"]


@needs_dpkg
def test_texts_of_other_rules_are_made_again(
    source: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(tmp_path, keep_packages=True)
    monkeypatch.setattr(text_sources, "RULES", 99)
    fetch(tmp_path, keep_packages=True)
    assert '"rules": 99' in (tmp_path / "out/texts/freedroidrpg.json").read_text()
    # The package was kept, so it is not downloaded again.
    assert len(source.downloads) == 1
    with pytest.raises(DataError, match="no usable translation into 'fr'"):
        fetch(tmp_path, language="fr")


text = st.text(
    st.characters(exclude_characters="\0\x04", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@given(st.dictionaries(text, text, max_size=6), st.sampled_from("<>"))
@settings(deadline=None)
def test_catalogues_are_read_as_the_standard_library_does(
    tmp_path_factory: pytest.TempPathFactory, messages: dict[str, str], order: str
) -> None:
    data = mo(messages, order)
    path = tmp_path_factory.getbasetemp() / "a.mo"
    path.write_bytes(data)
    oracle = gettext.GNUTranslations(io.BytesIO(data))
    assert dict(read_catalogue(path)) == {each: oracle.gettext(each) for each in messages}


def test_contexts_plurals_and_untranslated(tmp_path: Path) -> None:
    path = tmp_path / "a.mo"
    path.write_bytes(
        mo({"menu\x04Open": "Abrir", "one\0many": "uno\0muchos", "Empty": "", "Yes": "Sí"})
    )
    assert read_catalogue(path) == [("Yes", "Sí"), ("Open", "Abrir")]
    # Wesnoth's way to tell apart equal originals.
    path.write_bytes(mo({"female^The door is open.": "La puerta está abierta."}))
    messages = TEXT_SOURCES["wesnoth"].messages([tmp_path], "es")
    assert list(messages) == [("The door is open.", "La puerta está abierta.")]
    folder, name = "usr/share/games/wesnoth/1.16/locale", "LC_MESSAGES/wesnoth-tb.mo"
    found = [
        TEXT_SOURCES["wesnoth"].is_wanted(f"{folder}/{code}/{name}", "es")
        for code in ("es", "es_419", "fr")
    ]
    assert found == [True, False, False]


GOOD = mo({"Yes": "Sí", "No": "No"})


@pytest.mark.parametrize(
    "data",
    [
        bytes([GOOD[0] ^ 1]) + GOOD[1:],
        GOOD[:-4],
        GOOD[:8] + (1000).to_bytes(4, "little") + GOOD[12:],
        GOOD[:-3] + b"\xff" + GOOD[-2:],
        b"",
    ],
    ids=["magic", "cut", "count", "coding", "empty"],
)
def test_damaged_catalogues_are_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.mo"
    path.write_bytes(data)
    with pytest.raises(DataError, match="bad.mo is not a gettext catalogue"):
        read_catalogue(path)
