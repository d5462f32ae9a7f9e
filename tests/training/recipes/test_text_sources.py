"""Texts fetched from made-up packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from echostream.errors import DataError
from echostream.training.recipes import text_sources
from echostream.training.recipes.parallel_text import SentencePair, read_texts
from echostream.training.recipes.text_sources import (
    TEXT_SOURCES,
    choose_sources,
    fetch_texts,
    pairs_of_catalogue,
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
    sources = choose_sources(["freedroidrpg"])
    return fetch_texts(sources, language, [], tmp_path / "out", tmp_path / "work", **options)


@needs_dpkg
def test_texts_of_a_package(source: Archive, tmp_path: Path) -> None:
    pairs = fetch(tmp_path)
    assert {(pair.english, pair.other) for pair in pairs} == {
        ("The door is open.", "La puerta está abierta."),
        ("Please close the door.", "Por favor, cierra la puerta."),
    }
    assert all(pair.id.startswith("freedroidrpg-") for pair in pairs)
    assert {pair.licence for pair in pairs} == {"GPL-2.0-or-later"}
    assert read_texts(tmp_path / "out/texts.tsv") == pairs
    assert (tmp_path / "out/licences/freedroidrpg-data.copyright").read_text() == "GPL-2+\n"
    left = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert left == []


@needs_dpkg
def test_texts_are_fetched_once(source: Archive, tmp_path: Path) -> None:
    first = fetch(tmp_path)
    source.fail("E: no network")
    assert fetch(tmp_path) == first
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


@needs_dpkg
def test_a_language_without_translations_is_an_error(source: Archive, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable translation into 'fr'"):
        fetch(tmp_path, language="fr")


def test_context_before_a_caret_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.mo"
    path.write_bytes(mo({"female^The door is open.": "La puerta está abierta."}))
    (pair,) = pairs_of_catalogue(path, TEXT_SOURCES["wesnoth"])
    assert pair.english == "The door is open."


WESNOTH = "usr/share/games/wesnoth/1.16/locale"


@pytest.mark.parametrize(
    ("name", "member", "language", "wanted"),
    [
        ("wesnoth", f"{WESNOTH}/es/LC_MESSAGES/wesnoth-tb.mo", "es", True),
        ("wesnoth", f"{WESNOTH}/es/LC_MESSAGES/wesnoth-tb.mo", "fr", False),
        ("wesnoth", f"{WESNOTH}/es_419/LC_MESSAGES/wesnoth-tb.mo", "es", False),
        ("freedroidrpg", "usr/share/locale/fr/LC_MESSAGES/freedroidrpg-dialogs.mo", "fr", True),
        ("freedroidrpg", "usr/share/locale/fr/LC_MESSAGES/freedroidrpg.mo.gz", "fr", False),
    ],
)
def test_which_members_are_catalogues(name: str, member: str, language: str, wanted: bool) -> None:
    assert TEXT_SOURCES[name].is_catalogue(member, language) == wanted


@pytest.mark.parametrize("names", [["tatoeba"], []])
def test_unknown_sources(names: list[str]) -> None:
    with pytest.raises(DataError, match="expected some of: wesnoth, freedroidrpg"):
        choose_sources(names)
