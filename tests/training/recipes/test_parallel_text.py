"""Cleaning, sides and crossings of sentence pairs."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.errors import DataError
from echostream.training.corpus.manifest import ManifestRow
from echostream.training.corpus.split import split_of
from echostream.training.recipes.parallel_text import (
    SentencePair,
    clean_pairs,
    loose_key,
    read_texts,
    sentence_pair,
    split_sentences,
    unique,
    without_crossings,
)

LONG = "This is the first sentence of a long message. " * 2 + "Here comes the last of the three!"
LARGO = "Esta es la primera frase de un mensaje largo. " * 2 + "¡Aquí viene la última de las tres!"


@pytest.mark.parametrize(
    ("english", "other"),
    [
        ("Two words", "Dos palabras"),
        ("The <b>door</b> is open", "La puerta está abierta"),
        ("The door is open", "La <i>puerta</i> está abierta"),
        ("Press 1234 to open", "Pulse 1234 para abrir"),
        ("The same text here", "The same text here"),
        ("THE DOOR IS OPEN", "LA PUERTA ESTÁ ABIERTA"),
        ("Aaaargh, not the door", "Aaaargh, la puerta no"),
        ("Open the door", "Дверь открыта сейчас"),
        ("It is open now", "No"),
        ("word " * 21, "palabra " * 21),
    ],
)
def test_what_is_left_out(english: str, other: str) -> None:
    assert clean_pairs(english, other) == []


def test_texts_are_tidied_and_long_ones_cut_where_both_sides_agree() -> None:
    assert clean_pairs("Don’t  stop\nhere...", "No pares\taquí...") == [
        ("Don't stop here…", "No pares aquí…")
    ]
    first, last = "This is the first sentence of a long message.", LONG[92:]
    pairs = clean_pairs(LONG, LARGO)
    # 9 + 9 words make 18; the 7 of the last would pass the limit of 20.
    assert [pair[0] for pair in pairs] == [f"{first} {first}", last]
    assert pairs[1][1] == "¡Aquí viene la última de las tres!"
    assert clean_pairs(LONG, LARGO.replace("largo. ", "largo, ", 1)) == []


def test_sentence_ends() -> None:
    for text, parts in (
        ("Yes. No! What? Well… So", 5),
        ("¿Qué? ¡No! «Sí.» Bueno", 4),
        ("He said “no.” Then he left.", 2),
        ("Wait... what is it", 1),
    ):
        cut = split_sentences(text)
        assert len(cut) == parts and " ".join(cut) == text


def test_ids_follow_the_english_text() -> None:
    pair = sentence_pair("wesnoth", "GPL", "Don't go.", "No vayas.")
    assert pair.id == sentence_pair("wesnoth", "GPL", "don't  GO!", "Ne va pas.").id
    assert pair.id != sentence_pair("wesnoth", "GPL", "Do go.", "No vayas.").id
    assert pair.split == split_of("Don't go.")
    assert (pair.text("en"), pair.text("es")) == ("Don't go.", "No vayas.")
    assert loose_key("Grandma’s esta") == loose_key("grandmas ESTÁ!") != loose_key("grandma sesta")
    again = replace(TRAIN, english="YES!", other="otra")
    assert unique([TRAIN, again, DEV]) == [TRAIN, DEV]


# Sides by the split rule (test_split.py): "thank you" test, "red" dev, "yes" and "one" train.
TRAIN = sentence_pair("t", "x", "Yes", "Si")
TRAIN_2 = sentence_pair("t", "x", "One", "Uno")
DEV = sentence_pair("t", "x", "Red", "Rojo")
TEST = sentence_pair("t", "x", "Thank you", "Gracias")


def recorded(pair: SentencePair, split: str) -> ManifestRow:
    return ManifestRow(
        "r", "asterisk", split, "r.flac", 16_000, 1.0, "s", "es", "en", pair.other, pair.english, ""
    )


def test_one_translation_of_two_texts_stays_on_the_test_side() -> None:
    assert [pair.split for pair in (TRAIN, TRAIN_2, DEV, TEST)] == ["train", "train", "dev", "test"]
    both = [replace(TRAIN, other="¡Gracias!"), TRAIN_2, DEV, TEST]
    assert without_crossings(both, []) == [TRAIN_2, DEV, TEST]
    crossed = [TRAIN, replace(DEV, other="Sí"), TEST]
    assert without_crossings(crossed, []) == crossed[1:]
    assert without_crossings([TRAIN, replace(TRAIN_2, other="Sí")], []) == [
        TRAIN, replace(TRAIN_2, other="Sí"),
    ]  # fmt: skip


def test_recordings_on_another_side_remove_a_pair() -> None:
    every = [TRAIN, DEV, TEST]
    assert without_crossings(every, [recorded(TRAIN, "train"), recorded(TEST, "test")]) == every
    assert without_crossings(every, [recorded(TRAIN, "test")]) == [DEV, TEST]
    # Even a test pair goes: the recording in train was there first.
    assert without_crossings(every, [recorded(TEST, "train")]) == [TRAIN, DEV]
    only_spoken = replace(recorded(TEST, "train"), tgt_text="Cheers")
    assert without_crossings(every, [only_spoken]) == [TRAIN, DEV]


texts = st.sampled_from(["Yes", "One", "Red", "Thank you", "Three"])


@given(
    st.lists(st.tuples(texts, st.sampled_from(["sí", "uno", "rojo", "Si!"])), max_size=7),
    st.lists(st.tuples(st.sampled_from(["uno", "nada"]), st.sampled_from(["train", "test"]))),
)
@settings(deadline=None)
def test_no_text_is_left_on_two_sides(
    pairs: list[tuple[str, str]], said: list[tuple[str, str]]
) -> None:
    made = [sentence_pair("t", "x", english, other) for english, other in pairs]
    human = [recorded(replace(TRAIN, english="-", other=text), split) for text, split in said]
    left = without_crossings(made, human)
    sides: dict[str, set[str]] = {}
    for text, split in [
        *((p.other, p.split) for p in left),
        *(pair for pair in said if any(loose_key(p.other) == pair[0] for p in left)),
    ]:
        sides.setdefault(loose_key(text), set()).add(split)
    assert all(len(side) == 1 for side in sides.values())


def test_texts_on_another_side_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("id\tsplit\tlicence\tenglish\tother\na\ttest\tGPL\tYes\tSí\n")
    with pytest.raises(DataError, match="texts.tsv:2.*its key says 'train'"):
        read_texts(path)
