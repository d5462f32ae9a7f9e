"""Values of waiting words: a sequence like any other, that costs nothing until it is looked at."""

from __future__ import annotations

import dataclasses
import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echostream.decoder import CtcGenerator, CtcState, GreedyCtc
from echostream.decoder.candidates import WordValues
from echostream.decoder.generator import EncodedChunk, GeneratorParts
from echostream.decoder.words import Word
from echostream.policy import Offline
from echostream.session.writer import Writer

words = st.lists(st.builds(Word, st.text(max_size=3), st.integers(), st.just(0)), max_size=6)


@given(words, words, st.data())
def test_it_is_a_sequence(first: list[Word], second: list[Word], data: st.DataObject) -> None:
    values = WordValues(operator.attrgetter("num_tokens"), first, second)
    expected = tuple(word.num_tokens for word in (*first, *second))
    assert len(values) == len(expected)
    assert tuple(values) == expected == values
    assert values != (*expected, 0)
    assert (repr(values), hash(values)) == (repr(expected), hash(expected))
    for index in range(-len(expected), len(expected)):
        assert values[index] == expected[index]
    for index in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            values[index]
    part = data.draw(st.slices(len(expected)))
    assert values[part] == expected[part]


def test_it_is_no_string() -> None:
    values = WordValues(operator.attrgetter("text"), [Word("a", 1, 0), Word("b", 2, 0)])
    assert values != "ab"
    assert values == ["a", "b"]


class CountedWord:
    """Counts how often it is asked for its text."""

    looks = 0
    num_tokens = 1
    frame = 0

    @property
    def text(self) -> str:
        CountedWord.looks += 1
        return "word"


def test_words_that_wait_are_not_looked_at() -> None:
    """With the offline policy every word waits for the end of the recording."""
    searches = {"asr": GreedyCtc(blank=1), "st": GreedyCtc(blank=1)}
    parts = GeneratorParts(searches, {"asr": None, "st": None}, frame_ms=20)
    writer = Writer(Offline(), CtcGenerator(parts), frame_ms=20, frame_dim=4)
    state = writer.init_state()
    source, target = state.generator.hypotheses
    waiting = dataclasses.replace(target, words=(CountedWord(),) * 1000)
    silence = torch.tensor([[-9.0, 0.0]] * 16)
    chunk = EncodedChunk(torch.zeros(16, 4), {"asr": silence, "st": silence}, is_whole=True)
    state = dataclasses.replace(state, generator=CtcState((source, waiting)))
    CountedWord.looks = 0
    (turn,), _, state = writer.step([chunk], state, is_final=False)
    assert (turn.words, CountedWord.looks) == ((), 0)
    (turn,), _, _ = writer.step([], state, is_final=True)
    assert (turn.words, CountedWord.looks) == (("word",) * 1000, 1000)
