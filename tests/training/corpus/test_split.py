"""The split rule and the leak check."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow, leak_check
from echostream.training.corpus.split import normalise_english, split_of

# Digests printed by coreutils' sha1sum. The bucket by hand: 16 is 1 modulo 5, so the number is its
# digit sum modulo 5, and its last digit modulo 4; the two give it modulo 20.
DIGESTS = {
    "thank you": "897a1c59876432ed1daf0b5c99acf2351d6418ac",
    "don't press 1 please": "89a8adee1bb02053f69acc7b731fc98574b2d262",
    "the conference is now locked": "8cb34b19a4df1216bbce9339cdc355d56b5e236d",
    "one": "fe05bcdcdc4928012781a5f1a2a77cbb5398e106",
    "three": "b802f384302cb24fbab0a44997e820bf2e8507bb",
    "red": "78988010b890ce6f4d2136481f392787ec6d6106",
    "yes": "fb360f9c09ac8c5edb2f18be5de4e80ea4c430d0",
}
GOLDEN = {
    "thank you": (0, "test"),
    "the conference is now locked": (1, "test"),
    "red": (2, "dev"),
    "yes": (4, "train"),
    "one": (6, "train"),
    "three": (3, "train"),
    "don't press 1 please": (18, "train"),
}


@pytest.mark.parametrize("text", sorted(GOLDEN))
def test_golden_buckets(text: str) -> None:
    bucket, split = GOLDEN[text]
    digest = DIGESTS[text]
    assert bucket % 5 == sum(int(digit, 16) for digit in digest) % 5
    assert bucket % 4 == int(digest[-1], 16) % 4
    assert split_of(text) == split


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Thank   you. ", "thank you"),
        ("Don't PRESS 1,\tplease!", "don't press 1 please"),
        ("Tux—the Linux mascot!", "tux the linux mascot"),
        ("«Ñandú», 0.50 €", "ñandú 0 50"),
        ("...?!", ""),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalise_english(text) == normal


@given(
    words=st.lists(st.sampled_from(["press", "One", "don't", "42", "señor"]), min_size=1),
    marks=st.lists(st.sampled_from([" ", "  ", ", ", "! ", " - ", "\n", ". “"]), min_size=1),
)
@settings(deadline=None)
def test_split_ignores_case_marks_and_spaces(words: list[str], marks: list[str]) -> None:
    decorated = "".join(word + marks[i % len(marks)] for i, word in enumerate(words))
    assert split_of(decorated.upper()) == split_of(" ".join(words).lower())


def row(
    name: str, split: str, english: str, source: str = "x", *, corpus: str = "c"
) -> ManifestRow:
    """English speech where a source is given."""
    languages = ("es", "en") if source == "x" else ("en", "fr")
    texts = (source, english) if source == "x" else (english, source)
    return ManifestRow(name, corpus, split, "a.flac", 16_000, 1.0, "a", *languages, *texts, "y")


texts = st.sampled_from(["Thank you", "thank you!", "No.", "NO", "Red", "hello world"])


@given(st.lists(st.tuples(texts, st.sampled_from(["train", "dev", "test"])), max_size=8))
@settings(deadline=None)
def test_leak_check_agrees_with_sets(pairs: list[tuple[str, str]]) -> None:
    rows = [row(str(i), split, text) for i, (text, split) in enumerate(pairs)]
    sides: dict[str, set[str]] = {}
    for text, split in pairs:
        sides.setdefault("".join(filter(str.isalpha, text.lower())), set()).add(split)
    if all(len(side) == 1 for side in sides.values()):
        leak_check(rows)
    else:
        with pytest.raises(DataError):
            leak_check(rows)


def test_leak_names_both_utterances() -> None:
    rows = [
        row("vm-bye", "train", "Good bye.", corpus="asterisk"),
        row("12", "train", "HELLO", corpus="drascula"),
        row("31", "test", "GOOD BYE!", corpus="drascula"),
    ]
    with pytest.raises(DataError, match=r"'good bye'.*asterisk/vm-bye in train.*drascula/31 in te"):
        leak_check(rows)


def test_a_leak_is_found_on_the_english_side_of_english_speech() -> None:
    first = row("a", "test", "Thank you", "Merci")
    leak_check([first, row("b", "test", "Thank you", "Je vous remercie")])
    with pytest.raises(DataError):
        leak_check([first, row("b", "train", "Thank you", "Je vous remercie")])
