"""The generator of CTC searches (words that a pause completes) and its candidates."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echostream.decoder import CtcGenerator, CtcState, GreedyCtc, PrefixBeamCtc, Tokenizer
from echostream.decoder.candidates import Texts
from echostream.decoder.generator import EncodedChunk, GeneratorParts
from echostream.decoder.words import Word
from echostream.policy import CtcGuided, LocalAgreement, Offline, PolicyContext, Stub, WaitK
from echostream.session.writer import Writer

FRAMES = 16


def log_probs(symbols: list[int], size: int) -> torch.Tensor:
    """``[T, V]``: these symbols and hardly anything else."""
    scores = torch.full((len(symbols), size), -20.0)
    scores[torch.arange(len(symbols)), torch.tensor(symbols)] = 0.0
    return scores.log_softmax(-1)


class Speaker:
    """Says tokens and is silent, one chunk of 16 frames at a time."""

    def __init__(self, tokenizer: Tokenizer, pause_ms: int, search: str = "greedy") -> None:
        self.blank = tokenizer.vocab_size - 1
        self.size = tokenizer.vocab_size
        kind = {"greedy": GreedyCtc, "prefix-beam": PrefixBeamCtc}[search]
        parts = GeneratorParts(
            {head: kind(blank=self.blank) for head in ("asr", "st")},
            {"asr": None, "st": tokenizer},
            frame_ms=20,
            pause_ms=pause_ms,
        )
        self.generator = CtcGenerator(parts)
        self.state: CtcState = self.generator.init_state()

    def say(self, source: list[int], target: list[int]) -> list[str]:
        """The chunk's tokens at its first frames; candidates after it."""
        chunk = {
            head: log_probs(tokens + [self.blank] * (FRAMES - len(tokens)), self.size)
            for head, tokens in (("asr", source), ("st", target))
        }
        self.state = self.generator.observe(
            EncodedChunk(torch.zeros(FRAMES, 4), chunk, is_whole=True), self.state
        )
        return [word.text for word in self.generator.candidates(self.state)[0].stable]

    def count(self, name: str) -> int:
        return self.generator.counters(self.state)[name]


@pytest.mark.parametrize("search", ["greedy", "prefix-beam"])
def test_a_pause_completes_the_word(plain: Tokenizer, search: str) -> None:
    speaker = Speaker(plain, 400, search)
    quick = plain.encode("the quick")
    assert "quick" not in speaker.say(quick, quick)
    # 32 frames: 640 ms, when even what a beam could not decide is settled.
    silent = [speaker.say([], []) for _ in range(2)]
    assert silent[-1] == ["the", "quick"]
    assert speaker.count("words_paused") == 1
    speaker.say(plain.encode("brown"), plain.encode("brown"))
    assert speaker.count("words_split") == 0
    assert not speaker.generator.candidates(speaker.state)[0].paused


def test_without_it_the_word_waits_for_the_next(plain: Tokenizer) -> None:
    speaker = Speaker(plain, 0)
    quick = plain.encode("the quick")
    speaker.say(quick, quick)
    assert [speaker.say([], []) for _ in range(20)][-1] == ["the"]
    assert "quick" in speaker.say(plain.encode("brown"), plain.encode("brown"))


def test_a_head_that_goes_on_is_no_pause(plain: Tokenizer) -> None:
    speaker = Speaker(plain, 400)
    quick = plain.encode("the quick")
    speaker.say(quick, quick)
    for _ in range(10):
        assert speaker.say(plain.encode("a"), []) == ["the"], "the speaker still speaks"


def test_a_word_that_goes_on_after_a_pause_is_counted(plain: Tokenizer) -> None:
    speaker = Speaker(plain, 400)
    *first, last = plain.encode("quick")
    assert first, "the word has several pieces"
    speaker.say(first, first)
    for _ in range(2):
        speaker.say([], [])
    speaker.say([last], [last])
    for _ in range(2):
        words = speaker.say([], [])
    assert "".join(words) == "quick" and len(words) == 2
    assert (speaker.count("words_paused"), speaker.count("words_split")) == (2, 1)


@pytest.mark.parametrize("policy", [CtcGuided(), Stub(), WaitK(k=1), LocalAgreement(n=2)])
def test_every_policy_writes_in_the_pause(plain: Tokenizer, policy: CtcGuided) -> None:
    speaker = Speaker(plain, 400)
    said, memory = [], None
    for number, text in enumerate(["the quick", "", "", ""], start=1):
        tokens = plain.encode(text) if text else []
        speaker.say(tokens, tokens)
        candidates, state = speaker.generator.candidates(speaker.state)
        counters = speaker.generator.counters(state)
        decision = policy.decide(
            PolicyContext(
                encoder_frames=torch.zeros(FRAMES, 4),
                num_encoder_frames=FRAMES * number,
                num_chunks=number,
                audio_ms=320 * number,
                source_finished=False,
                source_tokens=counters["source_tokens"],
                target_tokens=counters["target_tokens"],
                candidates=candidates,
                num_written=len(said),
                state=memory,
            )
        )
        memory = decision.state
        words, speaker.state = speaker.generator.commit(decision.write, state)
        said += [word.text for word in words]
    assert said == ["the", "quick"]


words = st.lists(st.builds(Word, st.text(max_size=3), st.integers(), st.just(0)), max_size=6)


@given(words, st.data())
def test_texts_are_a_sequence(said: list[Word], data: st.DataObject) -> None:
    values, expected = Texts(said), tuple(word.text for word in said)
    assert len(values) == len(expected)
    assert tuple(values) == expected == values == list(expected)
    assert values != (*expected, "x") and values != "".join(expected)
    assert (repr(values), hash(values)) == (repr(expected), hash(expected))
    for index in range(-len(expected), len(expected)):
        assert values[index] == expected[index]
    for index in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError):
            values[index]
    part = data.draw(st.slices(len(expected)))
    assert values[part] == expected[part]


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
