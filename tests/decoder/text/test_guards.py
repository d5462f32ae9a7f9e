"""A decoder that goes in circles, or stands still, does not keep a stream from what comes next."""

import dataclasses

import pytest
import torch

from echostream.decoder.repetition import RepetitionState
from echostream.decoder.text import TextState, TransformerGenerator, guards, search
from echostream.decoder.text.search import repeating
from echostream.decoder.text.segments import Speaking

from .small_vocabulary import TOKENS
from .test_text_generator import CHUNK, END, PROMPT, decoder, frames, generator, heard, parts


def test_what_would_be_a_copy_is_named() -> None:
    assert repeating([1, 2, 3, 4, 1, 2, 3], 3) == [4]
    assert repeating([5] * 4, 2) == [5, 5]
    assert repeating([1, 2, 3], 3) == repeating([1, 2], 3) == []


def test_a_stream_that_stands_still_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "STALLED", 3 * CHUNK)
    made = generator(window=60)
    state, committed = made.init_state(), 0
    for part in frames(6 * CHUNK).split(CHUNK):
        state = made.observe(heard(part), state)
        candidates, state = made.candidates(state)
        assert candidates.tentative[0]
        if not committed:
            words, state = made.commit(1, state)
            committed = len(words)
            spoken_until = state.last_frame
    assert committed == 1 and state.num_cuts == 1
    assert list(state.prefix.tokens) == PROMPT and state.written == () == state.history
    assert spoken_until < state.source.base < state.source.end
    # And it goes on.
    candidates, state = made.candidates(state)
    assert isinstance(candidates.tentative[:1], tuple) and not torch.isnan(state.prefix.past).any()


def one_chunk(made: TransformerGenerator, count: int) -> TextState:
    return made.observe(heard(frames(count)), made.init_state())


def test_an_end_that_looks_at_speech_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder()
    usual = model.logits
    always = 1e4 * torch.nn.functional.one_hot(torch.tensor(END), len(TOKENS))
    monkeypatch.setattr(model, "logits", lambda output: usual(output) + always)
    made = TransformerGenerator(parts(model), window_ms=800, no_speech=1.0)

    def drafted(near: int) -> list[tuple[bool, int]]:
        """Of each token of a draft whether it is an end, and the frame that it looks at."""
        monkeypatch.setattr(search, "NEAR_END", near)
        state = one_chunk(made, 30)
        candidates, state = made.candidates(state)
        assert len(candidates.tentative[:9]) < 9
        return [(token.id == END, token.frame) for token in state.draft.tokens]

    # Wherever it looks it would end, were it not for the rule.
    assert all(is_end for is_end, _ in drafted(near=30))
    found = drafted(near=3)
    reached = [max(frame for _, frame in found[: place + 1]) for place in range(len(found))]
    assert [is_end for is_end, _ in found] == [frame >= 27 for frame in reached]
    assert len(found) > 1


def test_a_word_that_looks_far_back_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "REWOUND", 5)
    made = generator(window=60)
    state = one_chunk(made, 30)
    (word,), _ = made.commit(1, state)
    for behind, shown in ((5, True), (6, False)):
        later = dataclasses.replace(state, last_frame=word.frame + behind)
        candidates, _ = made.candidates(later)
        assert bool(candidates.tentative[:1]) is shown


def test_a_decoder_that_only_looks_back_begins_anew_behind_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = TransformerGenerator(parts(decoder(), task="asr"), window_ms=1200, no_speech=1.0)
    state = one_chunk(made, 30)
    _, state = made.commit(1, state)
    assert made.candidates(state)[0].tentative[:1]
    first = state.draft.tokens[0].frame
    for rewound, waits, cuts in ((5, 0, 1), (5, CHUNK, 0), (6, 0, 0)):
        monkeypatch.setattr(guards, "REWOUND", rewound)
        monkeypatch.setattr(guards, "REWINDING", waits)
        # Its next word looks six frames further back than one that is written, CHUNK frames ago.
        later = dataclasses.replace(state, last_frame=first + 6, last_turn=30 - CHUNK)
        after = made.observe(heard(frames(CHUNK)), later)
        assert after.num_cuts == state.num_cuts + cuts
        assert after.source.base == (first + 7 if cuts else state.source.base)


def test_speech_that_a_text_leaves_out_at_the_end_is_a_text_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = TransformerGenerator(parts(decoder(), task="asr"), window_ms=1200, no_speech=1.0)
    state = one_chunk(made, 30)
    whole = made.finish(state)
    text = list(made.candidates(whole)[0].tentative)
    assert text and whole.source.base == 0
    reached = max(word.frame for word in text)
    # What no word is about is heard once more, by itself.
    monkeypatch.setattr(guards, "LEFT_OUT", 29 - reached)
    again = made.finish(state)
    assert again.source.base == reached + 1 and again.num_cuts == state.num_cuts + 1
    assert list(made.candidates(again)[0].stable)[: len(text)] == text
    monkeypatch.setattr(guards, "LEFT_OUT", 30 - reached)
    assert made.finish(state).source.base == 0


def test_a_circle_of_few_words_ends_a_draft() -> None:
    made = generator(window=60)
    state = one_chunk(made, 30)
    assert made.candidates(state)[0].tentative[:1]
    circle = tuple("abcbabcba")
    for said, shown in ((circle, False), (circle[1:], True), (tuple("mnopqrstu"), True)):
        later = dataclasses.replace(state, repetition=RepetitionState(said))
        assert bool(made.candidates(later)[0].tentative[:1]) is shown


def test_once_nothing_more_is_heard_a_sentence_at_the_end_is_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = generator(window=60)
    made.search._sentence_ends = frozenset(range(len(TOKENS)))
    monkeypatch.setattr(search, "AT_END", 10)

    def ends_after(silent: int) -> int | None:
        state = made.finish(one_chunk(made, 30))
        state = dataclasses.replace(state, speaking=Speaking(30, silent))
        list(made.candidates(state)[0].tentative)
        frames = [token.frame for token in state.draft.tokens]
        ids = [token.id for token in state.draft.tokens]
        assert END in ids
        reached = max(frames[: ids.index(END) + 1])
        assert reached >= 30 - silent - 10
        assert all(each < 30 - silent - 10 for each in frames[: ids.index(END)])
        return ids.index(END)

    assert ends_after(29) == 0 <= ends_after(0)


def test_a_word_about_nothing_that_was_heard_is_not_written_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = generator(window=60)
    state = one_chunk(made, 30)
    for grounded, finished, shown in ((2.0, True, True), (-1.0, False, True), (-1.0, True, False)):
        monkeypatch.setattr(guards, "GROUNDED", grounded)
        later = made.finish(state) if finished else state
        candidates, _ = made.candidates(later)
        assert bool(candidates.tentative[:1]) is shown
