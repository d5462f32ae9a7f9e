"""The split rule and the leak check."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow, leak_check
from echostream.training.corpus.split import normalise_english, split_of

# Remainders by 20 of digests that coreutils' sha1sum printed.
GOLDEN = {
    "thank you": "test",  # 0
    "the conference is now locked": "test",  # 1
    "red": "dev",  # 2
    "three": "train",  # 3
    "yes": "train",  # 4
    "don't press 1 please": "train",  # 18
}


def test_golden_sides_and_forms() -> None:
    assert {text: split_of(text) for text in GOLDEN} == GOLDEN
    forms = {
        "Don't PRESS 1,\tplease! ": "don't press 1 please",
        "Tux—the Linux mascot!": "tux the linux mascot",
        "«Ñandú», 0.50 €": "ñandú 0 50",
        "...?!": "",
    }
    assert {text: normalise_english(text) for text in forms} == forms


@given(
    words=st.lists(st.sampled_from(["press", "One", "don't", "42", "señor"]), min_size=1),
    marks=st.lists(st.sampled_from([" ", "  ", ", ", "! ", " - ", "\n", ". “"]), min_size=1),
)
@settings(deadline=None)
def test_the_rule_looks_at_words_alone(words: list[str], marks: list[str]) -> None:
    decorated = "".join(word + marks[i % len(marks)] for i, word in enumerate(words))
    digest = int(hashlib.sha1(" ".join(words).lower().encode()).hexdigest(), 16)
    expected = {0: "test", 1: "test", 2: "dev"}.get(digest % 20, "train")
    assert split_of(decorated.upper()) == split_of(decorated) == expected


def row(name: str, split: str, *texts: str, source: str = "es") -> ManifestRow:
    """Speech in a language with its transcript and translation."""
    languages = (source, "en" if source == "es" else "es")
    return ManifestRow(name, "c", split, "a.flac", 16_000, 1.0, "a", *languages, *texts, "y")


texts = st.sampled_from(["Thank you", "thank you!", "No.", "NO", "Red", "hello world"])


@given(
    st.lists(st.tuples(texts, st.sampled_from(["train", "dev", "test"])), max_size=8), st.booleans()
)
@settings(deadline=None)
def test_leak_check_agrees_with_sets(pairs: list[tuple[str, str]], spoken: bool) -> None:
    rows = [
        row(str(i), split, *((text, "x") if spoken else ("x", text)), source=["es", "en"][spoken])
        for i, (text, split) in enumerate(pairs)
    ]
    sides: dict[str, set[str]] = {}
    for text, split in pairs:
        sides.setdefault(re.sub("[^a-z]", "", text.lower()), set()).add(split)
    if all(len(side) == 1 for side in sides.values()):
        leak_check(rows)
    else:
        with pytest.raises(DataError):
            leak_check(rows)
