from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.text import normalise, without_marks


def test_normalise() -> None:
    assert (
        normalise("  Don\u2019t STOP_now, 'friend' -- \u00bf\uff41?") == "don't stop now friend a"
    )
    assert normalise("... ' -") == ""


@settings(deadline=None)
@given(st.text())
def test_normalised_text_stays_as_it_is(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.lower() and once == " ".join(once.split())


def test_letters_lose_their_marks() -> None:
    assert without_marks("¿Qué? Año, pingüino; Ça où ÉL") == "¿Que? Ano, pinguino; Ca ou EL"
    assert without_marks("plain 'text', ß") == "plain 'text', ß"
