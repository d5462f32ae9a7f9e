from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.decoder.words import MAX_PERIOD, RepetitionGuard, RepetitionState


def said(words: list[str], max_repeats: int) -> list[str]:
    guard, state = RepetitionGuard(max_repeats), RepetitionState()
    kept = []
    for word in words:
        admitted, state = guard.admit(word, state)
        if admitted:
            kept.append(word)
    assert state.dropped == len(words) - len(kept)
    assert len(state.recent) <= MAX_PERIOD
    return kept


def refused(words: list[str], position: int, max_repeats: int) -> bool:
    """Whether ``max_repeats`` copies of a phrase precede this word and it goes on with them."""
    for period in range(1, MAX_PERIOD + 1):
        length = max_repeats * period
        phrase = words[max(0, position - length) : position]
        copies = len(phrase) == length and phrase == phrase[:period] * max_repeats
        if copies and words[position] == phrase[0]:
            return True
    return False


@settings(deadline=None, max_examples=300)
@given(
    words=st.lists(st.sampled_from("ab"), max_size=60) | st.lists(st.sampled_from("abc")),
    max_repeats=st.integers(2, 4),
)
def test_the_rule_by_looking_back(words: list[str], max_repeats: int) -> None:
    expected = [w for i, w in enumerate(words) if not refused(words, i, max_repeats)]
    assert said(words, max_repeats) == expected


def test_phrases_of_each_length() -> None:
    for period in range(1, MAX_PERIOD + 1):
        phrase = list("abcdefghij"[:period])
        assert said(phrase * 9, 3) == phrase * 3
    longer = list("abcdefghijk")
    assert said(longer * 9, 3) == longer * 9


def test_speech_goes_on_after_the_pattern_breaks() -> None:
    assert said(list("aaaaaab" + "aac"), 3) == list("aaabaac")


def test_what_speakers_do_is_let_through() -> None:
    text = [*["no"] * 8, "and", "then", *["ha"] * 12]
    assert said(text, RepetitionGuard().max_repeats) == text
