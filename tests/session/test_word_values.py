"""Values of waiting words: a sequence like any other, that costs nothing until it is looked at."""

from __future__ import annotations

import operator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echostream.decoder import GreedyCtc, Word
from echostream.decoder.ctc.hypothesis import HypothesisState
from echostream.policy import Offline
from echostream.session.listener import EncodedChunk
from echostream.session.word_values import WordValues
from echostream.session.writer import Writer, WriterState

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

    @property
    def text(self) -> str:
        CountedWord.looks += 1
        return "word"


def test_words_that_wait_are_not_looked_at() -> None:
    """With the offline policy every word waits for the end of the recording."""
    decoders = (GreedyCtc(blank=1), GreedyCtc(blank=1))
    writer = Writer(Offline(), decoders, None, task="s2tt", frame_ms=20, frame_dim=4)
    source = writer.init_state().source
    waiting = HypothesisState(source.decoder, words=(CountedWord(),) * 1000)  # type: ignore[arg-type]
    silence = torch.tensor([[-9.0, 0.0]] * 16)
    chunk = EncodedChunk(torch.zeros(16, 4), silence, silence, is_whole=True)
    state = WriterState(source=source, target=waiting)
    CountedWord.looks = 0
    (turn,), _, state = writer.step([chunk], state, is_final=False)
    assert (turn.words, CountedWord.looks) == ((), 0)
    (turn,), _, _ = writer.step([], state, is_final=True)
    assert (turn.words, CountedWord.looks) == (("word",) * 1000, 1000)
