"""Message catalogues against the standard library's reader."""

from __future__ import annotations

import gettext
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.recipes.catalogue import Message, read_catalogue

from .packages import mo

text = st.text(
    st.characters(exclude_characters="\0\x04", exclude_categories=["Cs"]), min_size=1, max_size=12
)


@given(st.dictionaries(text, text, max_size=6), st.sampled_from("<>"))
@settings(deadline=None)
def test_agrees_with_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory, messages: dict[str, str], order: str
) -> None:
    data = mo(messages, order)
    path = tmp_path_factory.getbasetemp() / "a.mo"
    path.write_bytes(data)
    found = {message.original: message.translation for message in read_catalogue(path)}
    oracle = gettext.GNUTranslations(io.BytesIO(data))
    assert found == {original: oracle.gettext(original) for original in messages}


def test_contexts_plurals_and_untranslated(tmp_path: Path) -> None:
    path = tmp_path / "a.mo"
    path.write_bytes(
        mo({"menu\x04Open": "Abrir", "one\0many": "uno\0muchos", "Empty": "", "Yes": "Sí"})
    )
    assert read_catalogue(path) == [Message("Yes", "Sí"), Message("Open", "Abrir")]


@pytest.mark.parametrize("fault", ["magic", "cut", "count", "coding", "empty"])
def test_damaged_catalogues_are_named(tmp_path: Path, fault: str) -> None:
    data = bytearray(mo({"Yes": "Sí", "No": "No"}))
    if fault == "magic":
        data[0] ^= 1
    elif fault == "cut":
        del data[-4:]
    elif fault == "count":
        data[8:12] = (1000).to_bytes(4, "little")
    elif fault == "coding":
        data[-3] = 0xFF
    else:
        data.clear()
    path = tmp_path / "bad.mo"
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="bad.mo is not a gettext catalogue"):
        read_catalogue(path)
