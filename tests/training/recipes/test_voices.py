"""Drawing of voices, and voices held out."""

from __future__ import annotations

from collections import Counter

import pytest

from echostream.errors import DataError
from echostream.training.recipes.espeak import ACCENTS
from echostream.training.recipes.kokoro import VOICE_TABLES
from echostream.training.recipes.voices import PITCHES, SPEEDS, VoiceTable, draw_manner

from .speakers import VOICES


def test_draws_depend_on_the_name_alone_and_spread() -> None:
    names = [f"n{number}" for number in range(4000)]
    manners = [draw_manner("tone", VOICES, name, "train") for name in names]
    assert manners == [draw_manner("tone", VOICES, name, "train") for name in names]
    assert manners != [draw_manner("other", VOICES, name, "train") for name in names]
    counts = Counter(manner.voice for manner in manners)
    # Expected 1000 each with a deviation of 27.
    assert set(counts) == set(VOICES.heard)
    assert all(850 < count < 1150 for count in counts.values())
    for values, limits in (
        ([manner.speed for manner in manners], SPEEDS),
        ([manner.pitch for manner in manners], PITCHES),
    ):
        assert limits[0] <= min(values) < max(values) <= limits[1]
        middle = sum(limits) / 2
        assert abs(sum(values) / len(values) - middle) < 0.1 * (limits[1] - limits[0])


def test_sides_have_voices_of_their_own() -> None:
    for split, voices in (
        ("train", VOICES.heard),
        ("dev", VOICES.heard),
        ("test", VOICES.held_out),
    ):
        drawn = {draw_manner("e", VOICES, str(n), split).voice for n in range(200)}  # type: ignore[arg-type]
        assert drawn == set(voices)


@pytest.mark.parametrize(
    ("heard", "held_out", "message"),
    [
        (("a", "b"), ("b", "c", "d"), "voices b are held out"),
        (("a+c",), ("b", "c", "d"), r"a\+c are held out"),
        (("a",), ("b",), "1 held out"),
        ((), ("b", "c", "d"), "0 voices"),
    ],
)
def test_tables_that_mix_the_sides_are_refused(
    heard: tuple[str, ...], held_out: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        VoiceTable(heard, held_out)


def test_blends_of_a_held_out_voice_are_held_out() -> None:
    table = VoiceTable(("a", "b"), ("c", "d", "e"))
    assert [table.is_held_out(voice) for voice in ("a", "a+b", "a+c", "e")] == [
        False, False, True, True,
    ]  # fmt: skip


def test_every_language_has_voices_of_both_engines() -> None:
    assert set(VOICE_TABLES) == set(ACCENTS) == {"es", "fr", "en"}
    # The speech that lies ready was made without these three.
    assert set(VOICE_TABLES["es"].held_out) == {"pm_alex", "ff_siwis", "am_adam"}
