"""The generator of a text decoder against decoding from the first token."""

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from echostream import codec
from echostream.decoder.generator import EncodedChunk, GeneratorParts
from echostream.decoder.text import (
    TextState,
    TransformerDecoder,
    TransformerGenerator,
    alignment,
    guards,
)
from echostream.decoder.tokenizer import Tokenizer
from echostream.errors import ConfigError

from ...small_system import SENTENCES
from .plain_decoder import CONFIG, decode, random_decoder
from .small_vocabulary import PIECES, SPECIAL, TOKENS, WORDS, tokenizer

CHUNK = 8
SMALL = dataclasses.replace(CONFIG, vocab_size=len(TOKENS))
TOKENIZER = tokenizer()
PROMPT = [SPECIAL.index(name) for name in (b"<|startoftranscript|>", b"<|es|>", b"<|translate|>")]
PROMPT.append(SPECIAL.index(b"<|notimestamps|>"))
END = 0


def decoder(seed: int = 0) -> TransformerDecoder:
    found = random_decoder(seed, config=SMALL)
    with torch.no_grad():
        # No silence without an end, and words that do not all look the same.
        found.embedding.weight[END] *= 0.3
    return found


def parts(model: TransformerDecoder, **options: Any) -> GeneratorParts:
    options = {"source_language": "es", **options}
    return GeneratorParts(
        {}, {}, frame_ms=20, text_decoder=model, text_tokenizer=TOKENIZER, **options
    )


def generator(seed: int = 0, window: int = 40, **options: Any) -> TransformerGenerator:
    options = {"history": 6, "max_repeats": 8, "no_speech": 1.0, **options}
    return TransformerGenerator(parts(decoder(seed)), window_ms=window * 20, **options)


def frames(count: int, seed: int = 1) -> Tensor:
    return 2 * torch.randn(count, SMALL.embed_dim, generator=torch.Generator().manual_seed(seed))


def heard(part: Tensor) -> EncodedChunk:
    return EncodedChunk(part, {}, is_whole=len(part) == CHUNK)


class Oracle:
    """What has to be true of a stream: each token's view ends where the next one was committed."""

    def __init__(self) -> None:
        self.prompt = len(PROMPT)
        self.tokens = list(PROMPT)
        self.views: list[int] = []
        self.text: list[int] = []

    def commit(self, tokens: list[int], end: int) -> None:
        for token in tokens:
            self.views += [end] * (len(self.tokens) - len(self.views))
            self.tokens.append(token)
            self.text.append(token)

    def cut(self, state: TextState, end: int) -> None:
        """Old words have become the prompt; which is told by the state, and is checked here."""
        kept = len(state.prefix.tokens) - state.prompt_tokens
        words = self.tokens[self.prompt :]
        assert list(state.prefix.tokens[state.prompt_tokens :]) == words[len(words) - kept :]
        history = list(state.history)
        assert len(history) <= 6
        assert history == self.text[len(self.text) - kept - len(history) : len(self.text) - kept]
        before = [SPECIAL.index(b"<|startofprev|>"), *history] if history else []
        views = self.views[-(kept - 1) :] if kept > 1 else []
        self.tokens = [*before, *PROMPT, *words[len(words) - kept :]]
        self.prompt = len(before) + len(PROMPT)
        fixed = len(self.tokens) - 1 if kept else len(before)
        self.views = [end] * (fixed - len(views)) + views


def check_draft(model: TransformerDecoder, state: TextState, oracle: Oracle, all_: Tensor) -> None:
    """Every token of the draft is what decoding from the first token finds likeliest."""
    end, base = state.source.end, state.source.base
    draft = [token.id for token in state.draft.tokens]
    tokens = [*oracle.tokens, *draft[:-1]]
    views = oracle.views + [end] * (len(tokens) - len(oracle.views))
    inside = [min(max(view - base, 1), end - base) for view in views]
    logits, attention = decode(model, tokens, all_[base:end], inside)
    first = len(oracle.tokens) - 1
    barred = np.zeros(SMALL.vocab_size)
    barred[list(TOKENIZER.suppressed)] = -np.inf
    for place, token in enumerate(state.draft.tokens):
        row = logits[first + place] + barred
        if place == 0 and len(oracle.tokens) == oracle.prompt:
            row[list(TOKENIZER.suppressed_at_start)] = -np.inf
        said = [*oracle.tokens, *draft[:place]]
        runs = {tuple(said[at : at + 9]) for at in range(len(said) - 8)}
        # Nine tokens in a row are not said twice.
        row[[run[-1] for run in runs if list(run[:-1]) == said[-8:]]] = -np.inf
        chances = row - np.logaddexp.reduce(row)
        assert token.log_prob == pytest.approx(chances.max(), abs=1e-4)
        assert chances[token.id] == pytest.approx(chances.max(), abs=1e-4)
        looked = attention[first + place].mean(axis=0)
        # A token is about what it looks at more than those before it in this window, near the last.
        known = state.prefix.looked.count + len(state.draft.opening)
        latest = attention[first - known : first + place].mean(axis=1)
        more = (looked - (latest.mean(axis=0) if len(latest) else 0.0)).clip(0)
        before = state.draft.tokens[place - 1] if place else state.prefix.looked
        if before.frame is not None:
            more *= np.exp(-np.abs(np.arange(base, end) - before.frame) / alignment.NEAR)
        assert more[token.frame - base] == pytest.approx(more.max(), abs=1e-5)
        assert token.silent == pytest.approx(1 - looked.sum(), abs=1e-5)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_kept_state_is_decoding_again_under_the_views(data: st.DataObject) -> None:
    made = generator(data.draw(st.integers(0, 5), label="weights"))
    model = made.search.decoder
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=4, max_size=14), label="chunks")
    every = frames(sum(sizes))
    state, oracle, cuts = made.init_state(), Oracle(), 0
    committed = made.search.committed

    def observed(prefix: Any, draft: Any, count: int, source: Any) -> Any:
        """Words that a policy takes, and those that are settled before frames leave."""
        oracle.commit([token.id for token in draft.tokens[:count]], source.end)
        return committed(prefix, draft, count, source)

    made.search.committed = observed  # type: ignore[method-assign]
    for part in every.split(sizes):
        state = made.observe(heard(part), state)
        if state.num_cuts > cuts:
            cuts = state.num_cuts
            oracle.cut(state, state.source.end)
        assert state.source.num_frames <= 40
        assert list(state.prefix.tokens) == oracle.tokens
        candidates, state = made.candidates(state)
        looked = data.draw(st.integers(0, 4), label="looked at")
        seen = [word for word, _ in zip(candidates, range(looked), strict=False)]
        if state.draft.tokens:
            check_draft(model, state, oracle, every)
        count = data.draw(st.integers(0, 3), label="committed")
        words, state = made.commit(count, state)
        assert words[: len(seen)] == tuple(seen[: len(words)])
        assert list(state.prefix.tokens) == oracle.tokens
        if state.draft.tokens:
            check_draft(model, state, oracle, every)


@pytest.fixture
def no_circles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights have few words to say."""
    monkeypatch.setattr(guards, "FEW_WORDS", 0)


def walk(
    made: TransformerGenerator, count: int, every: Tensor, state: TextState | None = None
) -> tuple[list[str], TextState]:
    """Words that are written when ``count`` are committed at every chunk that has them."""
    state = made.init_state() if state is None else state
    said: list[str] = []
    for part in every.split(CHUNK):
        state = made.observe(heard(part), state)
        words, state = made.commit(count, state)
        said += [word.text for word in words]
    return said, state


@pytest.mark.usefixtures("no_circles")
def test_a_saved_stream_goes_on_the_same() -> None:
    made = generator()
    every = frames(30 * CHUNK)
    said, state = walk(made, 1, every)
    before, half = walk(made, 1, every[: 13 * CHUNK])
    list(made.candidates(half)[0].tentative)
    restored = codec.decode(codec.encode(half, "stream"), "stream")
    after, ended = walk(made, 1, every[13 * CHUNK :], restored)
    assert said == before + after
    assert len(said) > 15
    assert codec.encode(ended.prefix, "state") == codec.encode(state.prefix, "state")


def test_words_that_a_policy_lets_wait_outlive_their_frames() -> None:
    made = generator()
    every = frames(20 * CHUNK)
    said: list[str] = []
    at_once = late = made.init_state()
    for part in every.split(CHUNK):
        at_once = made.observe(heard(part), at_once)
        candidates, at_once = made.candidates(at_once)
        words, at_once = made.commit(len(candidates.stable), at_once)
        said += [word.text for word in words]
        late = made.observe(heard(part), late)
    assert made.counters(late)["windows_cut"] > 3 and len(said) > 5
    words, _ = made.commit(len(said), late)
    assert [word.text for word in words] == said == list(made.at_hand(late))


@pytest.mark.usefixtures("no_circles")
def test_the_state_does_not_grow() -> None:
    made = generator()
    sizes = []
    _, state = walk(made, 1, frames(20 * CHUNK))
    for seed in range(6):
        _, state = walk(made, 1, frames(20 * CHUNK, seed), state)
        sizes.append(len(codec.encode(state, "stream")))
    assert max(sizes[3:]) < 1.5 * max(sizes[:3])
    assert made.counters(state)["windows_cut"] > 15


class Counted(TransformerDecoder):
    """Counts tokens of each call."""

    def step(self, tokens: Tensor, *rest: Any) -> Any:  # type: ignore[override]
        self.calls = [*getattr(self, "calls", []), len(tokens)]
        return super().step(tokens, *rest)


def test_drafts_cost_nothing_twice_and_are_verified_in_one_call() -> None:
    model = decoder()
    model.__class__ = Counted
    assert isinstance(model, Counted)
    made = TransformerGenerator(parts(model), window_ms=1000, no_speech=1.0, max_repeats=8)
    state = made.observe(heard(frames(CHUNK)), made.init_state())
    assert not hasattr(model, "calls")
    candidates, state = made.candidates(state)
    words = [candidates.tentative[place].text for place in range(3)]
    calls = list(model.calls)
    assert calls == [len(PROMPT)] + [1] * (len(calls) - 1)
    assert len(calls) == len(state.draft.tokens) < 12
    again, state = made.candidates(state)
    assert [again.tentative[place].text for place in range(3)] == words
    written, state = made.commit(1, state)
    rest, state = made.candidates(state)
    assert [written[0].text, rest.tentative[0].text, rest.tentative[1].text] == words
    assert model.calls == calls
    # Frames that change nothing: silence of length 0 is not a chunk, the same draft is right again.
    drafted = [token.id for token in state.draft.tokens]
    state = dataclasses.replace(state, draft=made.search.outdated(state.draft))
    renewed, state = made.candidates(state)
    assert renewed.tentative[0].text == words[1]
    assert model.calls == [*calls, 1 + len(drafted)]
    assert [token.id for token in state.draft.tokens][: len(drafted)] == drafted


def test_words_are_whole_and_half_characters_are_held() -> None:
    made = generator()
    at = {token: place for place, token in enumerate(TOKENS)}
    first, second = at[b"\xc3"], at[b"\xa9"]
    vocabulary = made.vocabulary
    word = [at[b" a"], at[b"ij"], first, second, at[b"."]]
    assert vocabulary.text(word) == "aij\u00e9."
    assert vocabulary.completes(word, at[WORDS[1]])
    assert vocabulary.completes(word, END)
    assert not vocabulary.completes(word, at[PIECES[0]])
    assert vocabulary.text([at[b" a"], first]) == "a"
    # Nothing but half a character is no word, and waits for more.
    assert not vocabulary.completes([first], at[WORDS[1]])
    characters = TransformerGenerator(parts(decoder(), output_unit="char")).vocabulary
    assert characters.completes([at[b" a"]], at[b"ij"])
    assert not characters.completes([at[b" a"], first], second)


def test_words_of_a_sentencepiece_vocabulary() -> None:
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=trained, vocab_size=32, minloglevel=2
    )
    tokenizer = Tokenizer(trained.getvalue())
    config = dataclasses.replace(SMALL, vocab_size=tokenizer.vocab_size, activation="relu")
    model = random_decoder(2, silence=False, config=config)
    own = GeneratorParts({}, {}, frame_ms=20, text_decoder=model, text_tokenizer=tokenizer)
    made = TransformerGenerator(own, window_ms=40 * 20, history=6, max_repeats=8)
    committed, tokens = made.search.committed, list[int]()

    def observed(prefix: Any, draft: Any, count: int, source: Any) -> Any:
        tokens.extend(token.id for token in draft.tokens[:count])
        return committed(prefix, draft, count, source)

    made.search.committed = observed  # type: ignore[method-assign]
    said, state = walk(made, 5, frames(20 * CHUNK))
    assert state.num_cuts > 3 and len(said) > 15
    reference = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    assert "".join(said) == "".join(reference.decode(tokens).split())
    assert not any(reference.is_control(token) or reference.is_unknown(token) for token in tokens)


def test_special_tokens_are_never_said() -> None:
    for seed in range(4):
        said, state = walk(generator(seed), 2, frames(8 * CHUNK))
        assert not any("<" in word or "|" in word for word in said)
        assert END not in state.prefix.tokens


def test_a_stream_that_heard_nothing_has_nothing_to_say() -> None:
    made = generator()
    state = made.finish(made.init_state())
    candidates, state = made.candidates(state)
    assert len(candidates) == 0
    assert made.commit(3, state)[0] == ()


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({"text_decoder": None}, {}, "--generator ctc"),
        ({"source_language": None}, {}, "--source-language with one of es"),
        ({"source_language": "xx"}, {}, "no language 'xx'"),
        ({}, {"window_ms": 1220}, "expected 40 to 1200"),
        ({}, {"beam": "two"}, "'beam' of generator 'transformer' is 'two'.*of at least 1"),
        ({}, {"history": None}, "'history' of generator 'transformer' is None"),
    ],
)
def test_what_does_not_fit_is_refused(
    changed: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    given_parts = dataclasses.replace(parts(decoder()), **changed)
    with pytest.raises(ConfigError, match=message):
        TransformerGenerator(given_parts, **{"window_ms": 800, **options})


def test_nothing_is_said_where_nothing_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator(no_speech=0.0)
    monkeypatch.setattr(guards, "UNSURE", 0.0)
    said, state = walk(made, 1, frames(5 * CHUNK))
    assert said == []
    # The last draft is not counted before the next chunk.
    assert made.counters(state)["chunks_without_speech"] == 4
    # A word that the decoder is sure of is said, however little it believes in speech.
    monkeypatch.setattr(guards, "UNSURE", -100.0)
    said, state = walk(made, 1, frames(5 * CHUNK))
    assert said and made.counters(state)["chunks_without_speech"] == 0
