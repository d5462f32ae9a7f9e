"""Whole words of tokens, and the guard against endless ones."""

import logging
from collections.abc import Sequence

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from echostream.codec import decode, encode
from echostream.decoder import Token, Tokenizer, Word, WordAssembler
from echostream.decoder.repetition import MAX_PERIOD, RepetitionGuard, RepetitionState
from echostream.decoder.words import MAX_WORD_CHARACTERS
from echostream.errors import ConfigError

NO_GUARD = 10_000


def tokens_of(ids: Sequence[int]) -> list[Token]:
    """Tokens three frames apart."""
    return [Token(index, 3 * position) for position, index in enumerate(ids)]


def assemble(assembler: WordAssembler, tokens: Sequence[Token], sizes: Sequence[int]) -> list[Word]:
    """Words of ``tokens`` given in groups of ``sizes``, the last group being the rest."""
    state = assembler.init_state()
    words: list[Word] = []
    rest = list(tokens)
    for size in [*sizes, len(rest)]:
        new, state = assembler.step(rest[:size], state)
        words.extend(new)
        rest = rest[size:]
    new, state = assembler.flush(state)
    words.extend(new)
    assert state.num_words == len(words)
    assert (state.text, state.held) == ("", ())
    assert assembler.flush(state) == ((), state)
    return words


def pieces(tokenizer: Tokenizer, *names: str) -> list[int]:
    sp = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
    ids = [sp.piece_to_id(name) for name in names]
    assert sp.unk_id() not in ids
    return ids


@pytest.mark.fault("F40")
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_words_are_the_split_text_however_the_tokens_come(
    data: st.DataObject, plain: Tokenizer, byte_fallback: Tokenizer, multi_word: Tokenizer
) -> None:
    tokenizer = data.draw(st.sampled_from([plain, byte_fallback, multi_word]))
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    sizes = data.draw(st.lists(st.integers(0, 7), max_size=8))
    words = assemble(WordAssembler(tokenizer, max_repeats=NO_GUARD), tokens_of(ids), sizes)
    # SentencePiece itself is the reference; its marks for unknown and bad bytes are left out.
    sp = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
    reference = sp.decode(ids).replace(" \u2047 ", "").replace("\ufffd", "")
    assert [w.text for w in words] == reference.split() == tokenizer.decode(ids).split()
    for number, word in enumerate(words):
        assert word.text and len(word.text.split()) == 1
        assert tokenizer.decode(ids[: word.num_tokens]).split()[number] == word.text
        before = tokenizer.decode(ids[: word.num_tokens - 1]).split()
        assert len(before) <= number or before[number] != word.text
    ends = [w.num_tokens for w in words]
    assert ends == sorted(ends)


def test_a_word_is_held_until_the_next_begins(plain: Tokenizer) -> None:
    ids = pieces(plain, "▁", "h", "e", "l", "▁", "o")
    assembler = WordAssembler(plain)
    state = assembler.init_state()
    seen = []
    for token in tokens_of(ids):
        words, state = assembler.step([token], state)
        seen.append(words)
    # "hel" is 4 tokens long and known to be complete at the frame of the second "▁", 4 * 3
    assert seen == [(), (), (), (), (Word("hel", 4, 12),), ()]
    assert assembler.flush(state)[0] == (Word("o", 6, 15),)
    assert assembler.flush(state, frame=99)[0] == (Word("o", 6, 99),)


def test_one_token_with_several_words(multi_word: Tokenizer) -> None:
    ids = pieces(multi_word, "▁the▁people", "s", "▁b")
    words = assemble(WordAssembler(multi_word), tokens_of(ids), [])
    assert words == [Word("the", 1, 0), Word("peoples", 2, 6), Word("b", 3, 6)]


@pytest.mark.fault("F43")
def test_characters_for_languages_without_spaces(chinese: Tokenizer) -> None:
    text = "你好 世界今天"
    assembler = WordAssembler(chinese, unit="char")
    tokens = tokens_of(chinese.encode(text))
    words, state = assembler.step(tokens, assembler.init_state())
    assert [w.text for w in words] == list("你好世界今天")  # complete without waiting for more
    assert assembler.flush(state)[0] == ()
    assert words[0] == Word("你", 2, 3)  # "▁" is the first token


def test_preview_of_a_tentative_hypothesis_changes_nothing(plain: Tokenizer) -> None:
    assembler = WordAssembler(plain)
    _, state = assembler.step(tokens_of(pieces(plain, "▁", "h", "e")), assembler.init_state())
    tentative = tokens_of(pieces(plain, "l", "▁", "o"))
    first = assembler.step(tentative, state)
    assert [w.text for w in first[0]] == ["hel"]
    assert assembler.step(tentative, state) == first
    assert [w.text for w in assembler.flush(state)[0]] == ["he"]


@pytest.mark.fault("F42")
def test_an_endless_word_is_cut_and_counted(
    plain: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    ids = pieces(plain, "▁", *"h" * (MAX_WORD_CHARACTERS + 50), "▁", "o")
    assembler = WordAssembler(plain)
    with caplog.at_level(logging.WARNING):
        words, state = assembler.step(tokens_of(ids), assembler.init_state())
    assert [w.text for w in words] == ["h" * MAX_WORD_CHARACTERS]
    assert words[0].num_tokens == MAX_WORD_CHARACTERS + 51
    assert state.cut_characters == 50
    assert len(caplog.records) == 1
    assert [w.text for w in assembler.flush(state)[0]] == ["o"]


@pytest.mark.fault("F42")
def test_endless_repetition_is_cut_and_counted(plain: Tokenizer) -> None:
    again = pieces(plain, "▁", "h", "o")
    other = pieces(plain, "▁", "e", "▁")
    assembler = WordAssembler(plain, max_repeats=3)
    words, state = assembler.step(tokens_of(again * 50 + other), assembler.init_state())
    assert [w.text for w in words] == ["ho", "ho", "ho", "e"]
    assert state.repetition.dropped == 47
    assert words[-1].num_tokens == 50 * 3 + 2  # dropped words' tokens count


def test_state_is_bounded_and_goes_through_json(plain: Tokenizer) -> None:
    assembler = WordAssembler(plain)
    ids = plain.encode("the quick brown fox jumps over the lazy dog") * 40
    state = assembler.init_state()
    sizes = []
    for token in tokens_of(ids):
        _, state = assembler.step([token], state)
        saved = encode(state, "state")
        assert decode(saved, "state") == state
        sizes.append(len(saved))
    # only the digits of the counters grow
    assert max(sizes[len(sizes) // 2 :]) <= max(sizes[20:200]) + 12


def test_unknown_unit_and_bad_limit(plain: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"'syllable'; expected one of word, char"):
        WordAssembler(plain, unit="syllable")
    with pytest.raises(ConfigError, match="max_repeats is 1"):
        WordAssembler(plain, max_repeats=1)


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
